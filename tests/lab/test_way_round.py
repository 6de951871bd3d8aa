"""The way back does not hang on the script that has just failed.

Judged past omsfab: rows, config.yaml, containers and programs are as before, whatever makes
docker_init.sh fail on the way there and, since the knob stays, on the way back as well.
"""

from __future__ import annotations

import os

import pytest

from tests.lab.crash import Crash
from tests.lab.test_runs import ALL, as_before

LONG = pytest.mark.skipif(
    not os.environ.get("OMSFAB_CRASH"), reason="takes long: scripts/crash runs it"
)
KNOBS = ("INIT_FAIL_STEP", "INIT_EXIT", "INIT_HANG", "INIT_FATAL", "INIT_FLAG", "BANNER")


@pytest.fixture(scope="module")
def crash(make_fleet) -> Crash:
    """OMS on oms1 of two."""
    return Crash.deployed(make_fleet("round", nodes=2, oms={"init": "always"}))


@pytest.fixture
def fresh(crash):
    """The fleet as before the scale-out, and what was so then."""
    for node in crash.fleet.lab.nodes:
        crash.fleet.lab.knob(node.name, **dict.fromkeys(KNOBS))
    crash.reset()
    yield crash, crash.outcome()
    for node in crash.fleet.lab.nodes:
        crash.fleet.lab.knob(node.name, **dict.fromkeys(KNOBS))


@pytest.mark.parametrize(
    "knobs",
    [
        pytest.param({"INIT_FAIL_STEP": 1}, marks=LONG),
        pytest.param({"INIT_FAIL_STEP": 2}, marks=LONG),
        {"INIT_FAIL_STEP": 3},
        pytest.param({"INIT_FAIL_STEP": 4}, marks=LONG),
        pytest.param({"INIT_FAIL_STEP": 5}, marks=LONG),
        pytest.param({"BANNER": "none", "INIT_FLAG": 0}, marks=LONG),
        pytest.param({"BANNER": "none", "INIT_FLAG": 0, "INIT_EXIT": 3}, marks=LONG),
    ],
)
def test_production_is_back_although_the_script_fails_there_too(fresh, knobs):
    """R1.2, R1.5: exit 8, what was not done is told, nothing of the outage is left."""
    crash, before = fresh
    crash.fleet.lab.knob("oms1", **knobs)
    there = crash.fleet.fab("scale.out", "--yes")

    back = crash.fleet.fab("run.undo", "--yes")

    assert 0 != there.status
    assert 8 == back.status, back
    assert ALL == as_before(crash.outcome(), before)
    assert "INIT-019" in back.out
    assert "fab node.initialise --node=oms1" in back.out


def test_a_script_that_hangs_is_ended_and_production_is_back(fresh):
    """R1.5: in the middle of a run, from omsfab alone; its lock is free, nothing of it lives."""
    crash, before = fresh
    crash.fleet.lab.knob("oms1", INIT_HANG=3)
    killed = crash.kill_at("initialise@oms1:mid:kill")
    back = crash.fleet.fab("run.undo", "--stop-init", "--yes")
    left = crash.fleet.lab.enter("oms1", ["docker", "exec", "oms_427", "ps", "-eo", "args"])

    assert (-9, 8) == (killed.status, back.status), back
    assert ALL == as_before(crash.outcome(), before)
    assert [] == [line for line in left.stdout.splitlines() if "docker_init" in line]


@LONG
def test_a_hung_script_is_ended_and_begun_again(fresh):
    """R1.5: run.resume --stop-init, the cause cured: the run comes to its end."""
    crash, _ = fresh
    crash.fleet.lab.knob("oms1", INIT_HANG=3)
    killed = crash.kill_at("initialise@oms1:mid:kill")
    crash.fleet.lab.knob("oms1", INIT_HANG=None)
    said = crash.fleet.fab("run.resume", "--stop-init", "--yes")

    assert (-9, 0) == (killed.status, said.status), said
    assert "ended docker_init.sh" in said.out


def test_a_bad_status_after_the_banner_is_a_warning(fresh):
    """R1.2: INIT-023, the run goes on to its end; MetaDB has agreed."""
    crash, _ = fresh
    crash.fleet.lab.knob("oms1", INIT_EXIT=3)
    said = crash.fleet.fab("scale.out", "--yes")

    assert 0 == said.status, said
    assert "INIT-023" in said.out


def test_a_program_that_breaks_in_the_initialisation_is_no_dead_end(fresh):
    """R1.1b: FATAL in step 4; the way back starts what ran before."""
    crash, before = fresh
    crash.fleet.lab.knob("oms1", INIT_FATAL="oms_drc_supervisor", INIT_FAIL_STEP=5)
    there = crash.fleet.fab("scale.out", "--yes")
    back = crash.fleet.fab("run.undo", "--yes")

    assert 0 != there.status
    assert 8 == back.status, back
    assert ALL == as_before(crash.outcome(), before)
