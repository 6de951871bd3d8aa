"""omsfab is killed at a point, resumed, and what came of it is compared with an undisturbed run.

Here stand the points that hurt most; `scripts/crash` walks all of them, scenario beside scenario.
"""

from __future__ import annotations

import os
import random
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lab.crash import Crash
from tests.lab.scenarios import SCENARIOS, Scenario

WALKED = tuple(os.environ.get("OMSFAB_CRASH", "").split())
"""Scenarios that are walked whole; without any, what hurts most is tried."""

HERE = WALKED or ("deploy", "physical", "vip")  # a new region has tests of its own

WORST = (
    "clear-rows:after",  # COMMIT was answered, `done` is not on disk
    "initialise@oms1:mid",  # docker_init.sh has said its first line
)
POINTS = [(name, point) for name in WALKED for point in SCENARIOS[name].points] or [
    ("physical", point) for point in WORST
]


@pytest.fixture(scope="module")
def fleet(make_fleet):
    return make_fleet("crash", nodes=2, metadb=os.environ.get("OMSFAB_METADB", "oceanbase"))


@pytest.fixture(scope="module")
def scenario(request) -> Scenario:
    return SCENARIOS[request.param]


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """What a scenario takes a minute to make; pytest makes a parameter's fixtures for each test."""
    return {}


@pytest.fixture(scope="module")
def crash(fleet, scenario, made) -> Crash:
    """The fleet as it is before the scenario."""
    if made.get("scenario") != scenario.name:  # there is one fleet: who comes next makes it anew
        made.update(scenario=scenario.name, crash=scenario.ready(fleet))
    return made["crash"]


@dataclass(frozen=True)
class Golden:
    """What an undisturbed run comes to, and the steps in its journal."""

    outcome: dict[str, Any]
    steps: set[str]
    changing: set[str]


@pytest.fixture(scope="module")
def golden(crash, scenario, made) -> Golden:
    if golden := made.get(f"golden {scenario.name}"):
        return golden
    crash.reset()
    said = crash.fleet.fab(scenario.task, "--yes")
    assert said.status == 0, said
    found = Golden(crash.outcome(), crash.journalled("done", "warning"), crash.journalled("intent"))
    made[f"golden {scenario.name}"] = found
    return found


@pytest.mark.parametrize("scenario", HERE, indirect=True)
def test_the_points_are_those_of_every_step(scenario, golden):
    """A step that is new, or that has begun to change something, is to be killed at as well."""
    assert set() == set(scenario.steps) ^ golden.steps
    assert set() == scenario.changing ^ golden.changing


@pytest.mark.parametrize("scenario", HERE, indirect=True)
def test_each_new_node_is_initialised_once(scenario, golden):
    """The undisturbed run itself: no surplus initialisation, no overlap, no lock left."""
    inits = {step.split("@")[1]: 1 for step in scenario.steps if step.startswith("initialise")}

    assert {"oms1": 0, "oms2": 0} | inits == golden.outcome["inits"]
    assert (0, []) == (golden.outcome["overlaps"], golden.outcome["locks"])


@pytest.mark.parametrize(("scenario", "point"), POINTS, indirect=["scenario"])
def test_a_killed_run_is_finished_by_resume(crash, scenario, golden, point):
    """J01: rows, files, containers, programs and executions equal the undisturbed run's."""
    crash.reset(images=point.startswith("image"))

    killed = crash.kill_at(f"{point}:kill", scenario.task, "--yes")
    resumed = crash.fleet.fab("run.resume", "--yes")

    assert -9 == killed.status, killed
    assert 0 == resumed.status, resumed
    assert golden.outcome == crash.outcome()


PLACES = ("before", "mid", "mid2", "mid3", "after")


@pytest.mark.parametrize("place", PLACES if WALKED else ["mid"])
@pytest.mark.parametrize("scenario", WALKED or ["vip"], indirect=True)
def test_a_run_that_is_killed_at_every_step_in_turn_ends_the_same(crash, scenario, golden, place):
    """Resumed, killed at the next step, resumed, and so on: as bad as it gets, and much faster."""
    left = [point for point in scenario.points if point.endswith(f":{place}")]
    while left:
        crash.reset(images=any(point.startswith("image") for point in left))
        killed = []
        for point in left:
            words = ("run.resume" if killed else scenario.task, "--yes")
            said = crash.kill_at(f"{point}:kill", *words)
            if said.status == 0:
                break  # a step beside another one: that one's kill came after it
            assert -9 == said.status, f"{point}: {said}"
            killed.append(point)
        else:
            said = crash.fleet.fab("run.resume", "--yes")
        assert (0, golden.outcome) == (said.status, crash.outcome()), said
        assert killed, f"never reached: {left}"
        left = [point for point in left if point not in killed]


# --- rolled back ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def before(crash):
    """What was so before any run."""
    crash.reset()
    return crash.outcome()


TAKEN_BACK = WALKED or ("deploy",)  # test_runs has the outage, quickly
STOPPED_ON_THE_WAY_BACK = (
    ("deploy", "remove-container@oms1:mid"),
    ("deploy", "restore-rows:mid"),
    ("deploy", "restore-rows:after"),
    ("vip", "drop-hosts:before"),
    ("vip", "drop-hosts:mid"),
    ("vip", "drop-hosts:after"),
    ("vip", "put-back-config.yaml@oms1:after"),
    ("vip", "refresh@oms1:mid"),
    ("region", "restore-rows:mid"),
    ("region", "other-regions:after"),
    ("physical", "stop-processes:after"),
    ("physical", "restore-rows:mid"),
    ("physical", "put-back-config.yaml@oms1:mid"),
    ("physical", "initialise:after"),
    ("physical", "health:after"),  # docker_init.sh may have started the processes already
)


ELSEWHERE = [
    pytest.param("physical", "", marks=pytest.mark.skip(reason="takes long: scripts/crash runs it"))
]
"""An empty list of cases would be a failure: that nothing is run here is said instead."""


def but_inits(outcome):
    return {key: value for key, value in outcome.items() if key != "inits"}


@pytest.mark.parametrize("scenario", TAKEN_BACK, indirect=True)
def test_what_was_taken_back_can_be_done_again(crash, scenario, golden, before):
    """Rows, files, containers, programs are as before the run; then it comes to the same again."""
    crash.reset(images=False)
    done = crash.fleet.fab(scenario.task, "--yes")
    back = crash.fleet.fab("run.undo", "--yes")
    left = crash.outcome()

    again = crash.fleet.fab(scenario.task, "--yes")

    assert (0, 0, 0) == (done.status, back.status, again.status), f"{done}{back}{again}"
    assert but_inits(before) == but_inits(left)
    assert golden.outcome["inits"] | scenario.once_more == left["inits"]
    assert but_inits(golden.outcome) == but_inits(crash.outcome())


@pytest.mark.parametrize(
    ("scenario", "point"),
    [(name, point) for name, point in STOPPED_ON_THE_WAY_BACK if name in WALKED] or ELSEWHERE,
    indirect=["scenario"],
)
def test_a_way_back_that_was_killed_goes_on(crash, scenario, golden, before, point):
    """run.undo once more; no initialisation beside those of the run and the one of the rollback."""
    crash.reset(images=False)
    done = crash.fleet.fab(scenario.task, "--yes")
    killed = crash.kill_at(f"{point}:kill", "run.undo", "--yes")

    said = crash.fleet.fab("run.undo", "--yes")

    left = crash.outcome()
    assert (0, -9, 0) == (done.status, killed.status, said.status), f"{killed}{said}"
    assert but_inits(before) == but_inits(left)
    assert golden.outcome["inits"] | scenario.once_more == left["inits"]


# --- at any moment ---------------------------------------------------------------------------

RANDOM = int(os.environ.get("OMSFAB_RANDOM", "0"))


DRAWN = [
    (name, seed)
    for name in WALKED or SCENARIOS
    for seed in range(RANDOM)
    if name == ("vip" if seed % 3 == 2 else "physical")  # two of three stop production
]


@pytest.mark.parametrize(("scenario", "seed"), DRAWN or ELSEWHERE, indirect=["scenario"])
def test_killed_at_any_moment_it_ends_golden_or_taken_back(crash, scenario, golden, before, seed):
    """Not at a failpoint, but by the clock; then forward or back, by the toss of a coin."""
    dice = random.Random(seed)
    crash.reset(images=dice.random() < 0.5)
    process = crash.fleet.start(scenario.task, "--yes")
    try:
        process.communicate(timeout=dice.uniform(1, 25))
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    way = dice.choice(["run.resume", "run.undo"])

    said = crash.fleet.fab(way, "--yes")
    outcome = crash.outcome()
    back = but_inits(before) == but_inits(outcome)

    if said.status == 2:  # nothing had been begun, or all was done
        assert back or golden.outcome == outcome, said
    elif way == "run.resume":
        assert (0, golden.outcome) == (said.status, outcome), said
    else:  # 0: it had come to its end already
        assert (True, True) == (said.status in (0, 8), back), said
    assert max(outcome["inits"].values()) <= 2
