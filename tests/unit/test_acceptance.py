"""--accept: what an operator may take upon himself, and what nobody may."""

from __future__ import annotations

import dataclasses
import inspect
import io
from typing import get_args

import pytest
from rich.console import Console

from omsfab.command import command
from omsfab.errors import InputError, Mismatch, OmsfabError, PreflightError, StepFailed
from omsfab.next_line import fab
from omsfab.plan import acceptance
from omsfab.plan.events import Event, Kind
from omsfab.plan.procedures import scale_out
from omsfab.plan.procedures.registry import TASKS
from omsfab.plan.records import ExitsZero, Plan, Run, Stage, Step
from omsfab.run.engine.runner import Runner
from omsfab.run.record import journal as journals
from omsfab.run.start import planned
from omsfab.show.report import html
from omsfab.show.terminal import Terminal
from omsfab.show.text import event_line
from tasks import namespace
from tests.unit.test_docs import ids_in_code
from tests.unit.test_runner import FakeWorld

HARD = [id for ids in acceptance.HARD.values() for id in ids.split()]


def test_each_error_can_be_accepted_or_says_why_not():
    """Every id of the code stands in one of the two tables, and in one only."""
    assert ids_in_code() == set(acceptance.ACCEPTABLE) | set(HARD)
    assert len(acceptance.ACCEPTABLE) + len(HARD) == len(set(acceptance.ACCEPTABLE) | set(HARD))


@pytest.mark.parametrize("id", ["DB-016", "RUN-002", "SSH-010", "PLAN-007", "VER-002", "NO-001"])
def test_what_protects_data_is_never_accepted(id):
    """INPUT-029, with the reason, and the list of what can be accepted."""
    with pytest.raises(InputError) as caught:
        acceptance.parsed(f"ENV-006,{id}", fab("scale.out", plan=True))

    assert "INPUT-029" == caught.value.id
    assert f"{id}: " in caught.value.evidence
    assert "ENV-006  a clock" in caught.value.evidence


def test_ids_may_be_written_with_blanks_and_in_small_letters():
    assert {"ENV-006", "VIP-001"} == acceptance.parsed(" env-006 , VIP-001,", fab("scale.out"))


def asked(fault):
    """A question that does not hold."""
    return Step("q", "oms1", "q", verify=(ExitsZero(command("q"), "no"),), fault=fault)


def carried_out(*steps, accepted=(), broken=None):
    events: list[Event] = []
    world = FakeWorld()
    world.broken = broken or {}
    runner = Runner(world, events.append, accepted=frozenset(accepted))
    runner.carry_out(Plan("t", "t", (), (Stage("s", steps),)))
    return world, events


def test_an_accepted_answer_is_a_warning():
    """The step says so and the run goes on; without --accept it stops."""
    _, events = carried_out(asked("ENV-006"), accepted=["ENV-006"])

    assert ["stage", "warning"] == [event.kind for event in events]
    assert "ENV-006 accepted" in events[-1].text
    with pytest.raises(PreflightError):
        carried_out(asked("ENV-006"))


def test_an_accepted_failure_still_has_its_outcome_asked():
    """CMD-001: the command ended badly; what it was to reach is asked, and then counts."""
    wants = (ExitsZero(command("there"), "no"),)
    step = Step("a", "oms1", "a", apply=(Run(command("a")),), verify=wants)
    broken = StepFailed("CMD-001", "it ended with 1")

    with pytest.raises(Mismatch) as caught:
        carried_out(step, accepted=["CMD-001"], broken={"a": [broken]})
    _, events = carried_out(
        dataclasses.replace(step, verify=()), accepted=["CMD-001"], broken={"a": [broken]}
    )

    assert "STEP-001" == caught.value.id
    assert ["stage", "intent", "warning", "done"] == [event.kind for event in events]


def test_what_is_hard_stays_hard_in_the_runner_too():
    """Whatever a record says: only what the table has is accepted."""
    with pytest.raises(OmsfabError, match="RUN-002"):
        carried_out(asked("RUN-002"), accepted=["RUN-002"])


def test_a_planners_refusal_is_waived_and_told(fleet, package, present):
    """PLAN-011 accepted: there is a plan, and what would have stopped it is told."""
    busy = dataclasses.replace(present(package), traffic=("project 7 runs",))

    plan, seen, refused = planned(scale_out.scale_out, fleet, busy, {})

    assert ["PLAN-011"] == [error.id for error in refused]
    assert ("PLAN-011",) == seen.waived
    assert plan == scale_out.scale_out(fleet, seen)


def test_the_journal_and_the_report_say_what_was_accepted(tmp_path):
    """An event each; a resumed run reads it there."""
    event = Event(1.0, 1.0, "", "", "accepted", "ENV-006")
    journals.begin(tmp_path / "r", {"task": "t", "args": {}})
    book = journals.Journal(tmp_path / "r")
    book.write(event)
    book.close()

    assert {"ENV-006"} == journals.read(tmp_path / "r" / "journal.jsonl").accepted
    assert "accepted: ENV-006 a clock" in event_line(event)
    assert "ENV-006 a clock" in html("r", "li", [event])


def test_a_refusal_offers_the_line_that_accepts_it():
    """A line of its own below `next`, with what is accepted."""
    error = PreflightError("ENV-006", "x", next=fab("a"))
    error.accept = fab("scale.out", accept="ENV-006")

    assert "  accept:   fab scale.out --accept=ENV-006" in error.render()


def test_every_kind_of_event_can_be_shown():
    """A kind without a colour ended the run that told it."""
    console = Console(file=io.StringIO(), width=200)
    show = Terminal(console)

    for kind in get_args(Kind):
        data = {"bytes": (1, 2)} if kind == "progress" else None
        show(Event(1.0, 1.0, "oms1", "s", kind, "ENV-006", data))

    assert "accepted: ENV-006 a clock" in console.file.getvalue()


def test_a_line_that_accepts_is_offered_by_tasks_that_take_it_alone():
    """node.exec printed `--accept=CMD-001`, which it has not."""
    takes = {
        name
        for name in namespace.task_names
        if "accept" in inspect.signature(namespace[name].body).parameters
    }

    assert set(TASKS) - takes == set(acceptance.WITHOUT)
    assert () == acceptance.acceptable(["CMD-001"], "node.exec")
    assert ("CMD-001",) == acceptance.acceptable(["CMD-001"], "node.run")
