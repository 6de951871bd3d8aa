"""oms.restart: all nodes of a region, one at a time, and nothing that did not run before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from omsfab.errors import Locked, Mismatch
from omsfab.plan.events import Event
from omsfab.plan.observed import NodeFacts
from omsfab.plan.procedures.restart import restart
from omsfab.plan.records import Run
from omsfab.run.engine.runner import Runner
from tests.unit.test_plans import compare

RUNNING = {"nginx": "RUNNING", "oms_console": "RUNNING", "oms_drc_cm": "RUNNING"}


def node(**states: str) -> NodeFacts:
    runs = tuple(name for name, state in states.items() if state == "RUNNING")
    return NodeFacts(container="running", programs=runs, states=states)


@pytest.fixture
def now(present):
    """All programs of oms1 run, the CM of oms2 is off, and oms3 has no container."""
    return present(oms1=node(**RUNNING), oms2=node(**{**RUNNING, "oms_drc_cm": "STOPPED"}))


class World:
    """Does what it is told; what is broken is not as wanted afterwards."""

    def __init__(self, *broken: str) -> None:
        self.broken, self.done = broken, []

    def ask(self, probe, node, tell=None):
        asked = (word for word, sign in SIGNS.items() if sign in repr(probe))
        return "not so" if any(f"{word}@{node}" in self.broken for word in asked) else None

    def perform(self, effect, step, attempt, tell):
        self.done.append(step.key)

    def ended(self, step, attempt):
        return True


SIGNS = {"init": "docker_init.sh already runs", "programs": "Programs(", "health": "Healthy("}
"""What is asked -> how its probe is recognised."""


def carried_out(plan, world) -> list[Event]:
    events: list[Event] = []
    Runner(world, events.append, pause=lambda _: None).carry_out(plan)
    return events


def test_a_region_is_restarted_node_by_node(fleet, now):
    """The plan as it is shown: what is asked first, each node's turn, what is left alone."""
    compare("oms_restart", restart(fleet, now), fleet)


def test_programs_that_did_not_run_are_not_started(fleet, now):
    """Off on purpose or broken, by name: no `restart all`, no docker restart."""
    plan = restart(fleet, now)
    words = {s.node: e.command.argv for s in plan.steps for e in s.apply if isinstance(e, Run)}

    assert {"oms1", "oms2"} == set(words)
    assert ("nginx", "oms_console") == words["oms2"][-2:]
    assert not {"all", "oms_drc_cm"} & set(words["oms2"])


@pytest.mark.parametrize("broken", ["programs@oms1", "health@oms1"])
def test_the_next_node_waits_until_this_one_is_healthy(fleet, now, broken):
    """One that does not come back stays the only one."""
    world = World(broken)

    with pytest.raises(Mismatch):
        carried_out(restart(fleet, now), world)

    assert ["restart@oms1"] == world.done


def test_nothing_is_restarted_while_docker_init_runs_on_any_node(fleet, now):
    """INIT-010 of the last node stops the first one, too: exit 4, nothing was changed."""
    world = World("init@oms2")

    with pytest.raises(Locked) as error:
        carried_out(restart(fleet, now), world)

    assert ([], "nothing") == (world.done, error.value.changed)


def test_a_region_where_nothing_runs_is_left_as_it_is(fleet, now):
    """No step, and a word for each node."""
    plan = restart(fleet, replace(now, nodes={}))

    assert ((), 3) == (plan.stages, len(plan.reasons))
