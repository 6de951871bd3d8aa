"""Before anything is changed all that is wrong is told at once: node, found, wanted, fix."""

from __future__ import annotations

import dataclasses

import pytest

from omsfab.command import command
from omsfab.errors import (
    Finding,
    Locked,
    MetaDbAway,
    OmsfabError,
    PreflightError,
    SecurityRefusal,
    StepFailed,
    Unreachable,
    refusal,
)
from omsfab.next_line import fab
from omsfab.plan.observed import NodeFacts
from omsfab.plan.procedures import node as repair
from omsfab.plan.procedures import scale_out
from omsfab.plan.records import ExitsZero, Plan, Stage, Step
from omsfab.run.engine.runner import Runner
from omsfab.run.start import planned
from tests.unit.test_runner import FakeWorld


def question(word, node, **fields):
    made = Step(
        word, node, f"{word} is so", verify=(ExitsZero(command(word), "no"),), fault="A-001"
    )
    return dataclasses.replace(made, **fields)


def asked(*steps, there=(), gather=True, world=None):
    runner = Runner(world or FakeWorld(*there), lambda event: None)
    with pytest.raises(OmsfabError) as caught:
        runner.carry_out(Plan("t", "t", (), (Stage("preflight", steps, gather=gather),)))
    return caught.value


def test_of_a_container_that_is_down_only_that_is_told():
    """What else is asked of its node is asked within it; the other nodes are asked as ever."""
    error = asked(
        question("runs", "oms1", fault="RUN-004"),
        question("b", "oms1", fault="B-001"),
        question("c", "oms2", fault="C-001"),
    )

    assert {("RUN-004", "oms1"), ("C-001", "oms2")} == {
        (one.id, one.node) for one in error.findings
    }


def test_every_question_of_every_node_is_asked():
    """A node does not stop at its first fault, and warnings stand beside what is hard."""
    error = asked(
        question("a", "oms1"),
        question("b", "oms1", fault="B-001", next=fab("fleet.check"), wanted="a good b"),
        question("c", "oms2", fault="C-001"),
        question("d", "oms2", fault="D-001", warn=True),
        question("e", "oms2", fault="E-001"),
        there=["e"],
    )

    found = {(one.id, one.node, one.weight) for one in error.findings}
    assert {
        ("A-001", "oms1", "hard"),
        ("B-001", "oms1", "hard"),
        ("C-001", "oms2", "hard"),
        ("D-001", "oms2", "warning"),
    } == found
    assert 3 == error.exit_code
    assert "nothing" == error.changed


def test_each_finding_says_where_what_was_found_what_is_wanted_and_how_to_fix_it():
    error = asked(
        question("a", "oms1"),
        question(
            "b", "oms2", fault="B-001", fix="mend b", next=fab("fleet.check"), wanted="a good b"
        ),
    )

    told = error.render()
    assert (
        "✗ B-001 oms2: check failed: b is so\n"
        "                found:  not there\n"
        "                wanted: a good b\n"
        "                fix:    mend b\n"
        "                        fab fleet.check"
    ) in told
    assert "✗ A-001 oms1" in told


def test_a_node_that_does_not_answer_is_asked_no_further():
    """It would only say the same once more."""
    world = FakeWorld()
    calls = []

    def ask(probe, node, *_):
        calls.append(probe.command.argv[0])
        raise Unreachable("SSH-002", "silence", next=fab("fleet.check"))

    world.ask = ask
    asked(question("a", "oms1"), question("b", "oms1"), world=world)

    assert ["a"] == calls


@pytest.mark.parametrize("kind", [OmsfabError, StepFailed, MetaDbAway])
def test_what_fails_where_only_questions_are_asked_is_a_refusal(kind):
    """D20: a MetaDB that let in nobody else ended with 6, as a step that had failed."""
    world = FakeWorld()

    def ask(*_):
        raise kind("DB-003", "no further connection", next=fab("fleet.check"))

    world.ask = ask

    assert 3 == asked(question("a", "oms1"), world=world).exit_code


def test_a_stage_that_changes_something_stops_at_the_first_fault():
    error = asked(question("a", "oms1"), question("b", "oms1", fault="B-001"), gather=False)

    assert "A-001" == error.id
    assert ("A-001",) == error.ids


def test_the_sharpest_exit_status_wins():
    """A lock or a host key that changed is not drowned by a full disk."""
    faults = [PreflightError("A-001", "a"), PreflightError("B-001", "b")]

    assert 10 == refusal([*faults, SecurityRefusal("SSH-010", "key")]).exit_code
    assert 4 == refusal([*faults, Locked("INIT-010", "runs")]).exit_code
    assert ("RUN-010", 3) == (refusal(faults).id, refusal(faults).exit_code)


def test_errors_that_sum_up_others_are_taken_apart():
    inner = refusal([PreflightError("A-001", "a"), PreflightError("B-001", "b")])
    warned = Finding("W-001", "oms1", "w", "x", weight="warning")

    outer = refusal([inner, PreflightError("C-001", "c")], [warned])

    assert ("A-001", "B-001", "C-001") == outer.ids
    assert ["A-001", "B-001", "C-001", "W-001"] == [one.id for one in outer.findings]


def test_all_refusals_of_a_planner_are_told_at_once(fleet, package, present):
    """Unknown hosts in MetaDB, keys that nobody knows, a region at work: one look tells all."""
    seen = present(package)
    first = dataclasses.replace(seen.nodes["oms1"], unknown_keys=("a_key",))
    seen = dataclasses.replace(
        seen,
        hosts={**seen.hosts, "10.0.0.77": "ONLINE"},
        traffic=("project 7 runs",),
        nodes={**seen.nodes, "oms1": first},
    )

    _, _, refused = planned(scale_out.scale_out, fleet, seen, {})

    assert ["PLAN-007", "CFG-005", "PLAN-011"] == [error.id for error in refused]


def test_a_refusal_that_cannot_be_left_out_ends_the_planning(fleet, package, present):
    """No plan, and what was found so far."""
    seen = dataclasses.replace(present(package), hosts={})

    plan, _, refused = planned(scale_out.scale_out, fleet, seen, {})

    assert (None, ["PLAN-006"]) == (plan, [error.id for error in refused])


def test_a_silent_vip_has_a_cure_and_a_line_that_asks_it_again(fleet, package, present):
    """VIP-001: the same command said the same once more.  node.check asks the VIP from that node
    and changes nothing; on a new node, behind which nobody may answer yet, it only warns."""
    now = present(package, oms2=NodeFacts(), oms3=NodeFacts())
    plan = scale_out.scale_out(fleet, now)
    silent = [step for step in plan.steps if step.fault == "VIP-001"]
    again = [repair.check(fleet, now, node=name) for name in ("oms1", "oms2")]

    assert {"vip", "vip-last"} == {step.name for step in silent}
    for step in silent:
        assert f"fab node.check --node={step.node}" == step.next.line
        assert "bind 10.0.0.100" in step.fix
    asked = [next(one for one in plan.steps if one.name == "vip") for plan in again]
    assert [("VIP-001", False), ("VIP-001", True)] == [(one.fault, one.warn) for one in asked]
    assert ["nc -vz 10.0.0.100 8088"] * 2 == [one.next.line for one in asked]
    assert not any(plan.changes for plan in again)
