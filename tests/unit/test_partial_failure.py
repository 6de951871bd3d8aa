"""Nodes for themselves, warnings, and lines to paste: what a run does when something is amiss."""

from __future__ import annotations

import pytest

from omsfab.command import command
from omsfab.errors import OutcomeUnknown, PartOfFleet, StepFailed
from omsfab.plan.records import ExitsZero, Plan, Run, Stage, Step
from omsfab.run.engine.runner import Runner


class World:
    """Does what it is told, but for the words in ``broken``."""

    def __init__(self, **broken):
        self.broken = broken
        self.done = []

    def ask(self, probe, node, tell=None):
        return "no" if probe.command.argv[0] in self.broken else None

    def ended(self, step, attempt):
        return True

    def perform(self, effect, step, attempt, tell):
        word = effect.command.argv[0]
        if word in self.broken:
            raise self.broken[word]
        self.done.append(word)


def step(word, node, **fields):
    return Step(word, node, word, **{"apply": (Run(command(word)),), **fields})


def joining(**fields):
    """Containers of two nodes, their initialisation one at a time, the proof."""
    return Plan(
        "t",
        "t",
        (),
        (
            Stage(
                "run",
                (step("run2", "oms2"), step("run3", "oms3")),
                tolerate_failures=True,
                **fields,
            ),
            Stage(
                "init",
                (step("init2", "oms2"), step("init3", "oms3")),
                width=1,
                tolerate_failures=True,
            ),
            Stage("proof", (step("proof2", "oms2"), step("proof3", "oms3"))),
        ),
    )


def test_one_node_that_fails_does_not_hold_the_others_up():
    """I16: after the outage the others finish, exit 11, and the missing one is named."""
    world = World(run2=StepFailed("RUN-004", "it ended", evidence="last words"))

    with pytest.raises(PartOfFleet, match="RUN-012 oms2 is not in service") as caught:
        Runner(world, lambda _: None).carry_out(joining())

    assert ["run3", "init3", "proof3"] == world.done
    assert "last words" in caught.value.evidence


def test_a_failed_initialisation_lets_the_next_node_begin():
    """It came to an end, so the next one cannot overlap it."""
    world = World(init2=StepFailed("INIT-011", "init failed!"))

    with pytest.raises(PartOfFleet):
        Runner(world, lambda _: None).carry_out(joining())

    assert ["init3", "proof3"] == world.done[2:]


def test_nobody_is_begun_while_an_initialisation_may_still_run():
    """INIT-021: two initialisations must never overlap, so oms3 waits for the resume."""
    world = World(init2=OutcomeUnknown("INIT-021", "node away"))

    with pytest.raises(OutcomeUnknown):
        Runner(world, lambda _: None).carry_out(joining())

    assert {"run2", "run3"} == set(world.done)


def test_a_warning_is_told_and_nothing_is_refused():
    """A step that only warns says its id and why, and the run goes on."""
    world, events = World(slow=None), []
    probe = (ExitsZero(command("slow"), "no"),)
    warning = step("line", "oms1", apply=(), verify=probe, warn=True, fault="NET-004")
    plan = Plan("t", "t", (), (Stage("s", (warning, step("a", "oms1"))),))

    Runner(world, events.append).carry_out(plan)

    assert ["NET-004 line: no"] == [event.text for event in events if event.kind == "warning"]
    assert ["a"] == world.done
