"""omsfab is killed at a point, resumed, and what came of it is compared with an undisturbed run.

Here stand the points that hurt most; `scripts/crash` walks all of them (about half an hour).
"""

from __future__ import annotations

import os
import random
import subprocess

import pytest

from tests.lab.crash import Crash

NEW = ("ready", "directories", "image", "config", "container", "initialise")
STEPS = (
    *("docker@oms1", "vip@oms1", "stop-processes@oms1", "clear-rows@metadb"),
    *("config@oms1", "initialise@oms1", "cm-url@metadb", "other-regions@metadb"),
    *(f"{step}@oms2" for step in NEW),
    *("programs@oms1", "health@oms2", "cm-url-last@metadb", "hosts@metadb"),
)
EVERY = tuple(
    f"{step}:{place}"
    for step in STEPS
    for place in (
        "before",
        *(("mid", "mid2", "mid3") if step.startswith("image") else ("mid",)),
        "after",
    )
    if place in ("before", "after")
    or step.split("@")[0] in (*NEW[1:], "stop-processes", "clear-rows")
)
WORST = (
    "image@oms2:mid2",  # docker load is running
    "clear-rows:mid",  # rows are locked, their backup is copied, nothing is deleted
    "clear-rows:after",  # COMMIT was answered, `done` is not on disk
    "config@oms1:mid",  # the file is being written
    "initialise@oms1:mid",  # docker_init.sh has said its first line
)
POINTS = EVERY if os.environ.get("OMSFAB_CRASH") == "all" else WORST


@pytest.fixture(scope="module")
def crash(make_fleet) -> Crash:
    """OMS on oms1 of two; new containers are initialised at once, to save time."""
    return Crash.deployed(make_fleet("crash", nodes=2, oms={"init": "always"}))


@pytest.fixture(scope="module")
def golden(crash):
    """What an undisturbed scale-out comes to."""
    crash.reset()
    said = crash.fleet.fab("scale.out", "--yes")
    assert said.status == 0, said
    outcome = crash.outcome()
    assert {"oms1": 1, "oms2": 1} == outcome["inits"]
    return outcome


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_run_is_finished_by_resume(crash, golden, point):
    """J01: rows, files, containers, programs and executions equal the undisturbed run's."""
    crash.reset()

    killed = crash.kill_at(f"{point}:kill")
    resumed = crash.fleet.fab("run.resume", "--yes")

    assert -9 == killed.status, killed
    assert 0 == resumed.status, resumed
    assert golden == crash.outcome()


RANDOM = int(os.environ.get("OMSFAB_RANDOM", "0"))


@pytest.fixture(scope="module")
def before(crash):
    """What was so before any scale-out."""
    crash.reset()
    return crash.outcome()


@pytest.mark.parametrize("seed", range(RANDOM))
def test_killed_at_any_moment_it_ends_golden_or_taken_back(crash, golden, before, seed):
    """Not at a failpoint, but by the clock; then forward or back, by the toss of a coin."""
    dice = random.Random(seed)
    crash.reset()
    process = crash.fleet.start("scale.out", "--yes")
    try:
        process.communicate(timeout=dice.uniform(1, 25))
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    way = dice.choice(["run.resume", "run.undo"])

    said = crash.fleet.fab(way, "--yes")
    outcome = crash.outcome()
    was = {key: value for key, value in before.items() if key != "inits"}
    back = {key: value for key, value in outcome.items() if key != "inits"} == was

    if said.status == 2:  # nothing had been begun, or all was done
        assert back or golden == outcome, said
    elif way == "run.resume":
        assert (0, golden) == (said.status, outcome), said
    else:
        assert (0, True) == (said.status, back), said
    assert max(outcome["inits"].values()) <= 2
