"""The runner and its journal, with a world of a few lines."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import threading
import time

import pytest

from omsfab.command import command
from omsfab.errors import (
    InputError,
    Locked,
    LockLost,
    LostSession,
    MetaDbAway,
    Mismatch,
    NoAnswer,
    OmsfabError,
    OutcomeUnknown,
    PartOfFleet,
    PreflightError,
    StepFailed,
    Unreachable,
)
from omsfab.next_line import fab
from omsfab.plan.events import Event, RunEnd
from omsfab.plan.records import ExitsZero, Plan, Run, Stage, Step
from omsfab.run import clock
from omsfab.run.engine import failpoint
from omsfab.run.engine.runner import Runner, stands
from omsfab.run.record import journal as journals


class FakeWorld:
    """Outcomes are words in a set: an effect adds its word, a probe asks for it."""

    def __init__(self, *there: str) -> None:
        self.there = set(there)
        self.done: list[str] = []
        self.broken: dict[str, list[Exception]] = {}
        self.attempts: list[int] = []
        self.lock = threading.Lock()

    def ask(self, probe, node, tell=None):
        return None if probe.command.argv[0] in self.there else "not there"

    def ended(self, step, attempt):
        return True

    def begun(self, step, attempt):
        return False

    def perform(self, effect, step, attempt, tell):
        word = effect.command.argv[0]
        if self.broken.get(word):
            raise self.broken[word].pop(0)
        with self.lock:
            self.attempts.append(attempt)
            self.done.append(word)
            self.there.add(word)


def step(word, node="oms1", **fields):
    probe = (ExitsZero(command(word), "no"),)
    return Step(
        word,
        node,
        word,
        **{"check": probe, "apply": (Run(command(word)),), "verify": probe, **fields},
    )


def plan(*stages):
    return Plan("test", "a test", (), tuple(Stage(f"stage {n}", s) for n, s in enumerate(stages)))


@pytest.fixture
def events():
    return []


def test_the_intent_is_told_before_the_effect_and_done_after_the_proof(events):
    """Journal protocol: no mutating effect before its intent; done only after verify."""
    world = FakeWorld()

    Runner(world, events.append).carry_out(plan((step("a"),)))

    assert ["stage", "intent", "done"] == [event.kind for event in events]


def test_what_is_there_is_left_alone(events):
    """A second run of a finished plan changes nothing."""
    world = FakeWorld("a", "b")

    tally = Runner(world, events.append).carry_out(plan((step("a"), step("b", "oms2"))))

    assert ([], 0, 2) == (world.done, tally.changes, tally.satisfied)


def test_an_effect_whose_outcome_is_not_proven_is_no_success(events):
    """The command said 0, the outcome is not there: Mismatch, exit 5."""
    other = (ExitsZero(command("other"), "no"),)

    with pytest.raises(Mismatch) as caught:
        Runner(FakeWorld(), events.append).carry_out(plan((step("a", verify=other),)))

    assert "oms1: a" == caught.value.changed


def test_an_initialisation_that_runs_already_is_a_lock(events):
    """C08: exit 4, whatever else does not hold while it goes on; nothing was changed."""
    other = step("vip", node="oms2", apply=(), check=())
    asked = step("runs", apply=(), check=(), fault="INIT-010", kind="read-only")

    with pytest.raises(Locked) as error:
        Runner(FakeWorld(), events.append).carry_out(plan((asked, other)))

    assert "INIT-010" in error.value.ids
    assert "nothing" == error.value.changed


def test_nothing_begins_after_ctrl_c(events):
    """It came while the step looked whether it is so: neither intent nor effect follow."""
    asked, go = threading.Event(), threading.Event()
    world = FakeWorld()

    def ask(probe, node, tell=None):
        asked.set()
        go.wait(10)
        return "not so"

    world.ask = ask
    runner = Runner(world, events.append)

    def carry_out():
        with contextlib.suppress(OmsfabError):
            runner.carry_out(plan((step("a"),)))

    lane = threading.Thread(target=carry_out)
    lane.start()
    asked.wait(10)
    runner.leave()
    go.set()
    lane.join(10)

    assert ("nothing", []) == (runner.changed, world.done)
    assert [] == [event for event in events if event.kind == "intent"]


def test_an_unknown_outcome_stays_one_whatever_else_failed(events):
    """Exit 7, and each failure once: else the rollback would be offered beside a running init."""
    known, unknown = StepFailed("INIT-011", "x"), OutcomeUnknown("INIT-021", "away")
    runner = Runner(FakeWorld(), events.append)
    runner._changed = ["something"]

    error = runner._together(Stage("s", ()), [known, unknown, known])

    assert (7, 1) == (error.exit_code, error.evidence.count("INIT-011"))


def test_a_preflight_that_fails_has_changed_nothing(events):
    """Read-only steps first: exit 3, and the stages behind never begin."""
    world = FakeWorld()
    question = step("vip", check=(), apply=(), kind="read-only", fault="VIP-001")

    with pytest.raises(PreflightError) as caught:
        Runner(world, events.append).carry_out(plan((question,), (step("a"),)))

    assert ("VIP-001", "nothing", []) == (caught.value.id, caught.value.changed, world.done)


def test_a_preflight_tells_all_that_stands_in_the_way(events):
    """Two probes of one question do not hold: both are told, to be cured at once."""
    both = (ExitsZero(command("port"), "taken"), ExitsZero(command("room"), "little"))
    question = step("ready", check=(), apply=(), kind="read-only", fault="HOST-002", verify=both)

    with pytest.raises(PreflightError) as caught:
        Runner(FakeWorld(), events.append).carry_out(plan((question,)))

    assert "not there\nnot there" == caught.value.evidence


def test_all_lanes_end_before_a_failure_is_raised(events):
    """oms1 fails; oms2 of the same stage is finished all the same, and both are told."""
    world = FakeWorld()
    world.broken = {
        "a": [StepFailed("X-1", "a broke")],
        "c": [StepFailed("X-2", "c broke")],
    }

    with pytest.raises(PartOfFleet) as caught:
        Runner(world, events.append).carry_out(
            plan((step("a"), step("b", "oms2"), step("c", "oms3")), (step("never"),))
        )

    assert ["b"] == world.done
    assert "X-1" in caught.value.evidence
    assert "X-2" in caught.value.evidence


def test_what_all_nodes_see_wrong_is_one_mismatch(events):
    """Exit 5, not 11: the VIP is away, and every node says so."""
    change = step("a")
    asked = [step("vip", f"oms{n}", apply=(), check=(), kind="read-only") for n in (1, 2)]

    with pytest.raises(Mismatch, match="RUN-011") as caught:
        Runner(FakeWorld(), events.append).carry_out(plan((change,), tuple(asked)))

    assert 5 == caught.value.exit_code


def test_what_two_nodes_meet_in_one_place_is_one_failure(events):
    """J06b: the disk of the jump host is full, and two nodes have something to write down."""
    world = FakeWorld()
    world.broken = {
        name: [StepFailed("JRN-001", "cannot write the journal", where="/x/journal.jsonl")]
        for name in ("a", "b")
    }

    with pytest.raises(StepFailed, match="JRN-001") as caught:
        Runner(world, events.append).carry_out(plan((step("x"),), (step("a"), step("b", "oms2"))))

    assert 6 == caught.value.exit_code


def test_one_at_a_time_stops_at_the_first_failure(events):
    """Width 1: after oms1 failed, oms2 is not begun."""
    world = FakeWorld()
    world.broken = {"a": [StepFailed("X-1", "a broke")]}
    one = Plan("t", "t", (), (Stage("s", (step("a"), step("b", "oms2")), width=1),))

    with pytest.raises(StepFailed):
        Runner(world, events.append).carry_out(one)

    assert [] == world.done


def test_a_lost_session_of_a_repeatable_step_is_tried_again(events):
    """The line dropped twice; the step asks its check anew and goes on."""
    world = FakeWorld()
    world.broken = {"a": [LostSession("SSH-011", "lost"), LostSession("SSH-011", "lost")]}

    Runner(world, events.append, pause=lambda _: None).carry_out(plan((step("a"),)))

    assert ["a"] == world.done


def test_a_lost_session_of_a_once_only_step_is_not_repeated(events):
    """Whether it happened is unknown, so it is not done twice."""
    world = FakeWorld()
    world.broken = {"a": [LostSession("SSH-011", "lost")]}

    with pytest.raises(LostSession):
        Runner(world, events.append, pause=lambda _: None).carry_out(
            plan((step("a", kind="once-only"),))
        )

    assert [] == world.done


def silence(seconds=30):
    error = NoAnswer("SSH-021", "oms1 did not answer", next=fab("run.resume"))
    error.waited = seconds
    return error


@pytest.mark.parametrize("kind", ["repeatable", "read-only"])
def test_a_node_that_is_slow_is_asked_again(events, kind):
    """R1.7: one silence of a small command must not end a run while production stands still."""
    world = FakeWorld()
    world.broken = {"b": [silence() for _ in range(10)]}
    steps = (step("a"), step("b", kind=kind))

    Runner(world, events.append, pause=lambda _: None).carry_out(plan(steps))

    assert ["a", "b"] == world.done


def test_a_node_that_stays_silent_is_given_up_in_ten_minutes(events):
    """Silence counts as waiting: twenty times thirty seconds, and not forty."""
    world = FakeWorld()
    world.broken = {"b": [silence() for _ in range(100)]}

    with pytest.raises(NoAnswer):
        Runner(world, events.append, pause=lambda _: None).carry_out(plan((step("a"), step("b"))))

    assert 80 == len(world.broken["b"])


def test_before_the_first_change_a_silent_node_is_told_soon(events):
    """It is the operator who waits."""
    world = FakeWorld()
    world.broken = {"a": [silence() for _ in range(100)]}

    with pytest.raises(NoAnswer):
        Runner(world, events.append, pause=lambda _: None).carry_out(
            plan((step("a", kind="read-only"),))
        )

    assert 97 == len(world.broken["a"])


def test_what_must_not_happen_twice_is_unknown_after_silence(events):
    """Exit 7: resume finds out."""
    world = FakeWorld()
    world.broken = {"a": [silence()]}

    with pytest.raises(OutcomeUnknown, match="SSH-021"):
        Runner(world, events.append, pause=lambda _: None).carry_out(
            plan((step("a", kind="once-only"),))
        )

    assert [] == world.done


@pytest.mark.parametrize("kind", ["repeatable", "once-only", "transaction"])
def test_a_node_that_is_away_in_the_middle_is_waited_for(events, kind):
    """No connection was had, so nothing was begun: whatever the step is, it may be tried again."""
    world = FakeWorld()
    world.broken = {"b": [Unreachable("SSH-001", "away"), Unreachable("SSH-001", "away")]}
    steps = (step("a"), step("b", kind=kind))

    tally = Runner(world, events.append, pause=lambda _: None).carry_out(plan(steps))

    assert ["a", "b"] == world.done
    assert 2 == tally.changes


def away():
    return MetaDbAway("DB-001", "the MetaDB is not reached")


def test_a_metadb_that_fails_over_is_waited_for(events):
    """Neither the effect nor the question after it ends the run; nothing is done twice."""
    world = FakeWorld()
    world.broken["rows"] = [away(), away()]
    asked = world.ask
    lost = [away()]

    def ask(probe, node, tell=None):
        if lost and "rows" in world.there:
            raise lost.pop()
        return asked(probe, node)

    world.ask = ask
    pauses = []
    runner = Runner(world, events.append, pause=pauses.append)

    runner.carry_out(plan((step("a"),), (step("rows", kind="transaction"),)))

    assert (["a", "rows"], [1.0, 2.0, 1.0]) == (world.done, pauses)
    assert 2 == sum(event.kind == "intent" for event in events)


def test_a_metadb_that_stays_away_ends_the_run(events):
    """After a minute of pauses; and at once while nothing was changed."""
    world = FakeWorld()
    world.broken["rows"] = [away() for _ in range(99)]
    pauses = []

    with pytest.raises(MetaDbAway):
        Runner(world, events.append, pause=pauses.append).carry_out(
            plan((step("a"),), (step("rows"),))
        )
    world.ask = lambda probe, node, tell: (_ for _ in ()).throw(away())
    with pytest.raises(MetaDbAway):
        Runner(world, events.append, pause=pauses.append).carry_out(plan((step("b"),)))

    assert 60 == sum(pauses)


def test_a_node_that_is_away_before_any_change_is_told_at_once(events):
    """The operator sits there and can mend it sooner than ten minutes of waiting would tell."""
    world = FakeWorld()
    world.broken = {"a": [Unreachable("SSH-001", "away")]}
    paused = []

    with pytest.raises(Unreachable):
        Runner(world, events.append, pause=paused.append).carry_out(
            plan((step("a", kind="read-only", check=()),))
        )

    assert [] == paused


@pytest.mark.parametrize(("before", "status"), [((), 3), ((step("a"),), 6)])
def test_exit_3_says_that_nothing_was_changed(events, before, status):
    """The same refusal, alone and behind a change."""
    world = FakeWorld()
    world.broken = {"b": [PreflightError("SUDO-001", "sudo wants a password")]}
    refused = step("b", kind="read-only", check=())

    with pytest.raises(PreflightError) as error:
        Runner(world, events.append).carry_out(plan(before, (refused,)))

    assert status == error.value.exit_code


def test_a_clock_that_is_set_meanwhile_changes_no_time_of_an_event(events, monkeypatch):
    """J09: the wall clock counts at the start only, so the outage stays what it was."""
    before = clock.now()
    monkeypatch.setattr(time, "time", lambda: before - 86400)

    Runner(FakeWorld(), events.append).carry_out(plan((step("a"),)))

    assert 60 > events[-1].at - before >= 0


def test_a_defect_of_omsfab_is_told_as_one(events):
    """Not a traceback over the screen: an id, where, what was changed, how to go on."""
    world = FakeWorld()
    world.broken = {"a": [ValueError("oops")]}

    with pytest.raises(OmsfabError, match="BUG-001"):
        Runner(world, events.append).carry_out(plan((step("a"),)))


# --- journal -------------------------------------------------------------------------------


def run_into(directory, world, the_plan, past=None):
    book = journals.Journal(directory)
    try:
        return Runner(world, book.write, past, pause=lambda _: None).carry_out(the_plan)
    finally:
        book.close()


def test_a_resumed_run_does_not_repeat_what_is_done(tmp_path):
    """Stage 2 failed; the second session skips stage 1 and finishes stage 2."""
    world = FakeWorld()
    world.broken = {"b": [StepFailed("INIT-011", "b broke")]}
    two = plan((step("a", check=()),), (step("b", check=()),))
    with pytest.raises(StepFailed):
        run_into(tmp_path, world, two)

    run_into(tmp_path, world, two, journals.read(tmp_path / "journal.jsonl"))

    assert ["a", "b"] == world.done
    assert [1, 2] == world.attempts


def test_a_resumed_run_makes_again_what_is_gone(tmp_path):
    """An image that was pruned, a file that was edited; but what is true only for a while, and what
    cannot be asked, counts as done."""
    lasting, passing, silent = (
        step("a", recheck_on_resume=True),
        step("b"),
        step("c", "oms2", recheck_on_resume=True),
    )
    the_plan = plan((lasting, passing, silent), (step("d"),))
    first = FakeWorld()
    first.broken["d"] = [StepFailed("X-001", "no")]
    with pytest.raises(StepFailed):
        run_into(tmp_path, first, the_plan)
    second = FakeWorld()
    asked = second.ask

    def ask(probe, node, tell=None):
        if node == "oms2":
            raise Unreachable("SSH-001", "away")
        return asked(probe, node)

    second.ask = ask

    run_into(tmp_path, second, the_plan, journals.read(tmp_path / "journal.jsonl"))

    assert ["a", "d"] == second.done


def test_what_must_hold_until_a_step_is_asked_again_until_it_is_done(tmp_path):
    """Killed after "stop production", the container restarted meanwhile: stopped once more before
    rows go, and not again once they are gone."""
    the_plan = plan((step("stop", until="rows@m"),), (step("rows", "m"),), (step("end"),))
    first, second, third = FakeWorld(), FakeWorld(), FakeWorld()
    first.broken["rows"] = [StepFailed("X-001", "no")]
    with pytest.raises(StepFailed):
        run_into(tmp_path, first, the_plan)
    second.broken["end"] = [StepFailed("X-001", "no")]
    with pytest.raises(StepFailed):
        run_into(tmp_path, second, the_plan, journals.read(tmp_path / "journal.jsonl"))
    run_into(tmp_path, third, the_plan, journals.read(tmp_path / "journal.jsonl"))

    assert ["stop", "rows"] == second.done
    assert ["end"] == third.done


@pytest.mark.parametrize("bad", ["", "INIT-011"])
def test_what_came_out_otherwise_is_done_in_the_other_way(events, bad):
    """The script failed, or made something else of the rows: INIT-019, once, and the step holds."""
    world = FakeWorld()
    world.broken["script"] = [StepFailed(bad, "no")] if bad else []
    spare = (Run(command("rows")),)
    init = step("script", check=(), verify=(ExitsZero(command("rows"), "no"),), spare=spare)

    Runner(world, events.append).carry_out(plan((init,)))

    assert [*([] if bad else ["script"]), "rows"] == world.done
    told = [event.text for event in events if event.kind == "warning"]
    assert [True] == [text.startswith("INIT-019 ") for text in told]
    assert "done" == events[-1].kind


def test_without_the_first_of_the_other_way_the_step_has_failed(events):
    """The container cannot be brought up: nothing of it was done, so nothing is told as done, and
    the next rollback does the step again."""
    world = FakeWorld()
    world.broken["script"] = [StepFailed("INIT-013", "docker does not answer")]
    world.broken["up"] = [StepFailed("CMD-001", "docker does not answer")]
    spare = (Run(command("up")), Run(command("files")))
    init = step("script", check=(), verify=(ExitsZero(command("rows"), "no"),), spare=spare)

    with pytest.raises(StepFailed, match="CMD-001") as failed:
        Runner(world, events.append).carry_out(plan((init,)))

    assert ([], True) == (world.done, failed.value.proven)
    assert {"failed"} == {event.kind for event in events} & {"warning", "done", "failed"}


def test_what_a_step_needs_elsewhere_is_asked_right_before_it(tmp_path):
    """The programs of another node run again: RUN-040, and no row is touched."""
    needed = (("oms1", ExitsZero(command("stopped"), "no")),)
    the_plan = plan((step("other"),), (step("rows", "m", needs=needed),))
    world, good = FakeWorld(), FakeWorld("stopped")

    for name in "ab":
        (tmp_path / name).mkdir()
    with pytest.raises(Mismatch, match="RUN-040") as refused:
        run_into(tmp_path / "a", world, the_plan)
    run_into(tmp_path / "b", good, the_plan)

    assert "oms1, before step rows" == refused.value.where
    assert ["other"] == world.done
    assert ["other", "rows"] == good.done


@pytest.mark.parametrize(
    ("error", "attempt"),
    [("INIT-011", 2), ("INIT-012", 2), ("INIT-015", 2), ("INIT-014", 1), ("INIT-021", 1)],
)
def test_another_attempt_only_after_a_known_end(tmp_path, error, attempt):
    """While the node is away an initialisation may go on: the resumed run looks for the same one.

    A second attempt beside it would be a surplus initialisation.
    """
    world = FakeWorld()
    world.broken = {"a": [OmsfabError(error, "no good")]}
    one = plan((step("a", check=()),))
    with pytest.raises(OmsfabError):
        run_into(tmp_path, world, one)

    run_into(tmp_path, world, one, journals.read(tmp_path / "journal.jsonl"))

    assert [attempt] == world.attempts


def test_a_wrong_outcome_is_looked_at_again_without_doing_it_again(tmp_path):
    """VER-001 after an initialisation: the operator mends, resume finds attempt 1 and verifies."""
    world = FakeWorld()
    other = (ExitsZero(command("other"), "no"),)
    one = plan((step("a", check=(), verify=other, fault="VER-001"),))
    with pytest.raises(Mismatch):
        run_into(tmp_path, world, one)
    world.there.add("other")

    run_into(tmp_path, world, one, journals.read(tmp_path / "journal.jsonl"))

    assert [1, 1] == world.attempts


def test_a_run_that_lost_its_lock_does_nothing_more(events):
    """The guard is asked before each effect, so a holder that slept changes nothing."""
    world = FakeWorld()

    def guard():
        if "a" in world.done and events[-1].step == "b":
            raise LockLost("DB-031", "lost")

    with pytest.raises(LockLost):
        Runner(world, events.append, guard=guard).carry_out(plan((step("a"), step("b"))))

    assert ["a"] == world.done


def begun(*keys, open_=()):
    """What a journal says of a run that has begun and done these steps; ``open_`` only begun."""
    ends = [(key, kind) for key in keys for kind in ("intent", "done")]
    ends += [(key, "intent") for key in open_]
    events = [Event(0, 0, *key.split("@")[::-1], kind, "") for key, kind in ends]
    return journals._fold(tuple(events), False, "")


@pytest.mark.parametrize(
    ("past", "again"),
    [
        (begun("stop@oms1"), ["stop"]),
        (begun("stop@oms1", "init@oms1"), []),
        (begun("stop@oms1", open_=["init@oms1"]), []),
        (begun("stop@oms1", "init@oms2"), ["stop"]),
    ],
)
def test_what_must_still_be_so_is_made_so_again(events, past, again):
    """Production was stopped, and a reboot has started it: it is stopped again before what follows,
    and never once that has begun."""
    world = FakeWorld("init")
    one = plan((step("stop", until="init@oms1"),), (step("init", kind="once-only"),))

    Runner(world, events.append, past).carry_out(one)

    assert again == world.done


@pytest.mark.parametrize("ended", [True, False])
def test_a_journal_is_not_believed_against_the_attempt(events, ended):
    """It says done, and the initialisation still runs, or has failed: it is followed to its end
    before anybody else is begun."""
    world = FakeWorld()
    world.ended = lambda one, attempt: ended
    stages = plan((step("init", kind="once-only", check=()),), (step("other", "oms2"),))

    Runner(world, events.append, begun("init@oms1")).carry_out(stages)

    assert (["other"] if ended else ["init", "other"]) == world.done


def question(word, node):
    return step(word, node, apply=(), check=(), kind="read-only", fault="X-001")


def test_questions_are_asked_again_by_a_resumed_run(events):
    """Those at the end always; those of the preflight where nothing was done to the node yet."""
    world = FakeWorld("a", "b", "c", "d", "e")
    asked = []
    world.ask = lambda probe, *_: asked.append(probe.command.argv[0])
    stages = plan(
        (question("a", "oms1"), question("b", "oms2")),
        (step("c"),),
        (question("d", "oms1"), question("e", "oms2")),
    )
    keys = ("a@oms1", "b@oms2", "d@oms1")
    done = [Event(0, 0, *key.split("@")[::-1], "done", "") for key in keys]
    past = begun("c@oms1")
    past = journals._fold((*past.events, *done), False, "")

    Runner(world, events.append, past).carry_out(stages)

    assert ["b", "d", "e"] == sorted(asked)


@pytest.mark.parametrize("ends", ["fails", "is not proven", "is proven"])
def test_what_is_seen_after_the_lock_was_lost_is_nobodys_failure(events, ends):
    """A holder slept in the effect while others acted: exit 7, no step has failed, none is done."""
    world, lost = FakeWorld(), []
    effect = world.perform

    def perform(*args):
        lost.append(LockLost("DB-031", "lost"))
        if ends == "fails":
            raise StepFailed("INIT-012", "ended by signal")
        effect(*args)

    def guard():
        if lost:
            raise lost[0]

    world.perform = perform
    verify = (ExitsZero(command("other" if ends == "is not proven" else "a"), "no"),)
    one = step("a", verify=verify, kind="once-only")

    with pytest.raises(LockLost) as error:
        Runner(world, events.append, guard=guard).carry_out(plan((one,), (step("b"),)))

    assert 7 == error.value.exit_code
    assert ["stage", "intent", "state"] == [event.kind for event in events]
    assert "b" not in world.done


def test_a_lost_lock_is_told_before_all_else(events):
    """Of the lanes of one stage one saw it: the failures of the others may be anybody's."""
    lost = LockLost("DB-031", "lost")
    runner = Runner(FakeWorld(), events.append)
    runner._changed = ["something"]

    assert lost is runner._together(Stage("s", ()), [StepFailed("X-1", "x"), lost])


# --- failpoints ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "done", "kinds"),
    [
        ("a:before:raise", [], ["stage", "intent", "failed"]),
        ("a@oms1:mid:raise", ["a"], ["stage", "intent", "failed"]),
        ("a:mid2:raise", ["a", "more"], ["stage", "intent", "failed"]),
        ("a:after:raise", ["a", "more"], ["stage", "intent", "failed"]),
        ("a@oms2:before:raise", ["a", "more"], ["stage", "intent", "done"]),
    ],
)
def test_a_failpoint_strikes_at_its_place(monkeypatch, events, place, done, kinds):
    """Before: nothing is done; mid: inside an effect; after: done, not proven."""
    monkeypatch.setenv("OMSFAB_FAILPOINT", place)
    world = FakeWorld()
    two = step("a", apply=(Run(command("a")), Run(command("more"))))

    with contextlib.suppress(StepFailed):
        Runner(world, events.append, failpoint=failpoint.wanted()).carry_out(plan((two,)))

    assert (done, kinds) == (world.done, [event.kind for event in events])


def test_no_failpoint_unless_asked_for(monkeypatch):
    """Production never meets one."""
    monkeypatch.delenv("OMSFAB_FAILPOINT", raising=False)

    assert failpoint.wanted() is None


def test_a_misspelt_failpoint_is_refused(monkeypatch):
    """A crash test whose point is never reached would prove nothing."""
    monkeypatch.setenv("OMSFAB_FAILPOINT", "initialise:midd:kill")

    with pytest.raises(InputError, match="INPUT-028"):
        failpoint.wanted()


# --- journal, torn or edited -----------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_torn_last_line_is_dropped(tmp_path, cut):
    """The machine died in the middle of a write: the line counts as not written."""
    run_into(tmp_path, FakeWorld(), plan((step("a"),)))
    path = tmp_path / "journal.jsonl"
    whole = journals.read(path).events
    path.write_bytes(path.read_bytes()[:-cut])

    past = journals.read(path)
    journals.Journal(tmp_path).close()

    assert past.torn
    assert whole[:-1] == past.events == journals.read(path).events


@pytest.mark.parametrize(
    ("texts", "well"),
    [
        (["begun x", "ended: 3 changes, 2 already so, in 9 s"], True),
        (["begun x", "ended: 3 changes", "ended: undone by y"], True),
        (["begun x", "failed: INIT-011", "ended: undone by y"], False),
        (["begun x", "ended: abandoned by the operator"], False),
        (["begun x", "failed: HOST-001", "ended: nothing was changed"], False),
        (["begun x"], False),
    ],
)
def test_a_run_that_was_taken_back_or_given_up_did_not_end_well(tmp_path, texts, well):
    """run.undo ends with 8 after a run that had not, and with 0 after one that had."""
    book = journals.Journal(tmp_path)
    for text in texts:
        book.write(Event(0.0, 0.0, "", "", "run", text))
    book.close()

    assert well is journals.read(tmp_path / "journal.jsonl").well


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("ended: 3 changes, 2 already so, in 9 s", "done"),
        ("ended: undone by y", "undone"),
        ("ended: abandoned by the operator", "abandoned"),
        ("ended: failed: CMD-001", "failed"),
        ("ended: nothing was changed", "unchanged"),
    ],
)
def test_a_journal_that_says_its_end_in_words_alone_is_understood(tmp_path, text, outcome):
    """Those of omsfab 0.1.0; one that has values counts by them, whatever it says in words."""
    book = journals.Journal(tmp_path)
    book.write(Event(7.0, 0.0, "", "", "run", text))
    worded = journals.read(tmp_path / "journal.jsonl").end
    end = RunEnd("failed", 4, "CMD-001", at=8.0)
    book.write(Event(8.0, 0.0, "", "", "run", text, end.data()))
    book.close()

    assert RunEnd(outcome, at=7.0) == worded
    assert end == journals.read(tmp_path / "journal.jsonl").end


def test_a_journal_that_was_edited_is_refused(tmp_path):
    """A line of the middle is missing: what was done cannot be told."""
    run_into(tmp_path, FakeWorld(), plan((step("a"), step("b"))))
    path = tmp_path / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))

    with pytest.raises(PreflightError, match="JRN-002"):
        journals.read(path)


def test_a_full_disk_stops_before_the_effect(tmp_path, monkeypatch):
    """The intent cannot be written, so nothing is done."""
    world = FakeWorld()
    book = journals.Journal(tmp_path)

    def full(fd, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journals, "_write_all", full)

    with pytest.raises(OmsfabError, match="JRN-001"):
        Runner(world, book.write).carry_out(plan((step("a"),)))

    assert [] == world.done


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_line_that_did_not_fit_breaks_no_journal(tmp_path, monkeypatch, call):
    """J06: half of it, or all but its sync; what is said next is read again."""
    book = journals.Journal(tmp_path)
    real, calls = getattr(os, call), []

    def full(fd, *data):
        calls.append(fd)
        if call == "write" and len(calls) == 1:
            return real(fd, bytes(data[0])[:20])
        if len(calls) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, *data)

    monkeypatch.setattr(f"omsfab.run.record.journal.os.{call}", full)
    for _ in range(1 if call == "write" else 2):
        with pytest.raises(OmsfabError, match="JRN-001"):
            book.write(Event(0, 0, "oms1", "image", "intent", "x" * 500))
    book.write(Event(0, 0, "", "", "run", "failed: JRN-001"))
    book.close()

    past = journals.read(tmp_path / "journal.jsonl")
    assert ["failed: JRN-001"] == [event.text for event in past.events]


def test_the_ends_of_questions_go_to_the_disk_with_the_next_effect(tmp_path, monkeypatch):
    """A fleet of 1,000 nodes has 9,000 checks; what guards an effect is on the disk before it."""
    book = journals.Journal(tmp_path)
    synced, real = [], os.fsync

    def fsync(fd):
        synced.append(len(book.path.read_bytes().splitlines()))
        return real(fd)

    monkeypatch.setattr("omsfab.run.record.journal.os.fsync", fsync)
    said = (
        *((f"oms{n}", "clock", "done") for n in range(5)),
        ("oms9", "clock", "failed"),
        ("oms1", "image", "intent"),
        ("oms1", "image", "done"),
        ("oms1", "config", "intent"),
        ("oms1", "config", "failed"),
        ("", "", "run"),
    )
    for node, step, kind in said:
        book.write(Event(0, 0, node, step, kind, "x"))

    assert [7, 8, 9, 10, 11] == synced


def test_an_almost_full_disk_stops_before_the_effect_too(tmp_path, monkeypatch):
    """J06: the last blocks are for what must still be said; no effect is begun in them."""
    world = FakeWorld()
    book = journals.Journal(tmp_path)
    left = os.statvfs_result((4096, 4096, 10000, 1000, 1000, 9, 9, 9, 0, 255))
    monkeypatch.setattr(os, "fstatvfs", lambda fd: left)

    with pytest.raises(OmsfabError, match=r"JRN-001 .*No space left"):
        Runner(world, book.write).carry_out(plan((step("a"),)))

    assert [] == world.done
    assert "failed" == journals.read(tmp_path / "journal.jsonl").events[-1].kind


def test_the_journal_is_for_the_operator_alone(tmp_path):
    """Mode 0600."""
    run_into(tmp_path, FakeWorld(), plan((step("a"),)))

    assert 0o600 == (tmp_path / "journal.jsonl").stat().st_mode & 0o777


def test_the_word_that_a_run_has_ended_is_found(tmp_path):
    """run.resume offers only what has not ended."""
    run_into(tmp_path, FakeWorld(), plan((step("a"),)))
    path = tmp_path / "journal.jsonl"
    before = journals.read(path).ended
    book = journals.Journal(tmp_path)
    event = journals.read(path).events[-1]
    book.write(dataclasses.replace(event, kind="run", text="ended: well"))
    book.close()

    assert (False, True) == (before, journals.read(path).ended)


def test_a_node_that_was_away_in_the_end_is_proven_anew(events):
    """It was restarted meanwhile: what it had answered before is no longer so."""
    world = FakeWorld("runs", "vip")
    ask = world.ask

    def restarted(probe, node, tell=None):
        if probe.command.argv[0] == "vip" and "runs" in world.there and "back" not in world.there:
            world.there -= {"runs"}
            world.there |= {"back"}
            raise Unreachable("SSH-001", "away")
        return ask(probe, node, tell)

    world.ask = restarted
    asked = [step(word, kind="read-only", check=(), apply=()) for word in ("runs", "vip")]

    with pytest.raises(Mismatch) as caught:
        Runner(world, events.append, pause=lambda _: None).carry_out(
            plan((step("a"),), tuple(asked))
        )

    assert "check failed: runs" == caught.value.what


def test_what_a_copy_may_lag_behind_by_counts_as_begun(events):
    """A run that was fetched from a node may have stopped production already: what its preflight
    had asked of that node is not asked again, for it cannot be so any more."""
    vip = step("vip", kind="read-only", check=(), apply=())
    stop = step("stop")
    made = plan((vip,), (stop,), (step("end", kind="read-only", check=(), apply=()),))
    past = journals.Past((), frozenset({vip.key}), frozenset(), {}, (), False, "")

    asked_again = [
        not stands(vip, made.stages[0], made, one)
        for one in (past, dataclasses.replace(past, maybe=frozenset({stop.key})))
    ]

    assert [True, False] == asked_again


def copied(*done, begun=()):
    """A journal that came from a node and has these keys."""
    return journals.Past((), frozenset(done), frozenset(begun), {}, False, False, "", copied=True)


def surgery(*, tolerate_failures=False):
    """Stop, rows, rows once more, the initialisation: what a scale-out does to the first node."""
    stages = plan(
        (step("stop", check=(), until="init@oms1"),),
        (step("rows", "metadb", check=(), kind="transaction"),),
        (step("quiet", "metadb", check=(), kind="transaction"),),
        (step("init", kind="once-only"),),
    )
    last = dataclasses.replace(stages.stages[-1], tolerate_failures=tolerate_failures)
    return dataclasses.replace(stages, stages=(*stages.stages[:-1], last))


@pytest.mark.parametrize("has", [[], ["stop"], ["stop@oms1", "rows@metadb"]])
@pytest.mark.parametrize(("there", "again"), [(True, []), (False, ["stop", "quiet"])])
def test_what_stands_before_an_initialisation_that_was_begun_is_not_done_again(
    events, has, there, again
):
    """The copy of the journal lags behind, and docker_init.sh runs or has run: programs are not
    stopped in its middle, and rows that it has written are none that came back."""
    world = FakeWorld("init")
    world.begun = lambda one, attempt: there and (one.key, attempt) == ("init@oms1", 1)

    Runner(world, events.append, copied(*has)).carry_out(surgery())

    assert set(again) <= set(world.done)
    assert bool(world.done) != there


def test_who_cannot_tell_whether_it_initialises_is_not_passed_over(events):
    """With the journal of a copy: the rows would go that docker_init.sh may have written."""
    world = FakeWorld("init")

    def away(one, attempt):
        raise Unreachable("SSH-001", "away")

    world.begun = away

    with pytest.raises(Unreachable):
        Runner(world, events.append, copied("stop@oms1")).carry_out(surgery())

    assert [] == world.done


def test_a_node_that_joins_and_is_away_keeps_nobody_from_going_on(events):
    """Nothing before it hangs on whether it was begun."""
    world = FakeWorld("init")

    def away(one, attempt):
        raise Unreachable("SSH-001", "away")

    world.begun = away

    Runner(world, events.append, copied()).carry_out(surgery(tolerate_failures=True))

    assert ["stop", "rows", "quiet"] == world.done


def test_a_run_by_a_copy_never_says_that_nothing_was_changed(events):
    """Its locks would be freed, and the run called ended, over production that stands still."""
    question = step("q", apply=(), check=(), kind="read-only")

    with pytest.raises(Mismatch) as caught:
        Runner(FakeWorld(), events.append, copied()).carry_out(plan((question,)))

    assert "nothing" != caught.value.changed
    assert copied().changed
