"""Repairs of single nodes: what keeps them away, and what they leave behind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from omsfab.command import command
from omsfab.errors import Locked, LostSession, Mismatch, PreflightError
from omsfab.next_line import recorded
from omsfab.plan import questions
from omsfab.plan.differences import differences
from omsfab.plan.events import Event, RunEnd
from omsfab.plan.procedures import node as repair
from omsfab.plan.records import Plan, Run, Stage, Step
from omsfab.run import lifecycle
from omsfab.run.confirmation import Flags
from omsfab.run.lifecycle import Order
from omsfab.run.record import claims, holders
from omsfab.run.record import journal as journals
from omsfab.run.recorded import unfinished
from omsfab.run.session import Session
from omsfab.run.start import _refuse_held
from omsfab.show.check import of_differences
from omsfab.ssh.protocol import Result
from tests.unit.test_undo_runs import BACK, FORWARD, Shell, made, world

TOUCHING = {
    "node.stop": repair.stop,
    "node.start": repair.start,
    "node.restart": repair.restart,
    "node.run": repair.run,
    "node.refresh": repair.refresh,
    "node.push-config": repair.push_config,
    "node.initialise": repair.initialise,
    "node.exec": lambda *args, **names: repair.execute(*args, **names, words="true"),
}


@pytest.mark.parametrize("task", TOUCHING)
def test_a_repair_asks_first_whether_docker_init_runs(fleet, present, task):
    """Under its claim, before anything else: a restart would kill it in the middle."""
    plan = TOUCHING[task](fleet, present(), node="oms1")
    first = plan.steps[0]

    assert ("INIT-010", (), "read-only") == (first.fault, first.apply, first.kind)
    assert plan.stages[0].asks_only
    assert "fab node.status --node=oms1" in first.fix


@pytest.mark.parametrize("task", [repair.run, repair.refresh, repair.push_config])
def test_every_node_is_asked_before_the_first_is_changed(fleet, present, package, task):
    """R2.6: a config.yaml that was replaced by rename on the second node: the first was changed,
    and the task stopped at the second."""
    now = present(package)
    both = {f"oms{n}": replace(now.nodes["oms1"], host_ip=f"10.0.0.{n}") for n in (1, 2)}
    first = task(fleet, replace(now, nodes=both), node="oms1,oms2").stages[0]

    asked = {f"{name}@{node}" for name in ("kept", "seen", "keeps") for node in ("oms1", "oms2")}
    assert asked <= {step.key for step in first.steps}
    assert first.asks_only


def test_a_container_that_runs_is_no_reason_to_run_one(fleet, present, package):
    """`docker run` said that the name was taken, and run.resume said it again."""
    plan = repair.run(fleet, present(package), node="oms1")
    (step,) = (one for one in plan.steps if one.name == "container")

    said = " ".join(word for effect in step.apply for word in effect.command.argv)
    assert "docker start oms_427" == said
    assert "left as it is" in plan.reasons[0]


def test_a_restart_brings_back_what_ran(fleet, present):
    """A program that does not start with its container: RUN-003, for ever."""
    now = present()
    first = replace(now.nodes["oms1"], programs=("oms_console",))

    plan = repair.restart(fleet, present(oms1=first), node="oms1")

    start = next(step for step in plan.steps if step.name == "start-processes")
    assert any("oms_console" in effect.command.argv for effect in start.apply)
    assert "fab node.start --node=oms1" == start.next.line


def test_a_config_yaml_replaced_by_rename_leads_to_a_restart(fleet, present):
    """The container's mount holds the former inode: the same task again would never end that."""
    written = repair.push_config(fleet, present(), node="oms1").steps[-1]
    before = questions.to_change(fleet, fleet.regions[0].nodes[:1], present())
    asked = next(step for step in before if step.name == "seen")
    now = present(oms1=replace(present().nodes["oms1"], stale=True))
    found = differences(fleet, {"cn-hangzhou": now})
    (one,) = of_differences([one for one in found if one.kind == "stale"], {"oms1": "10.0.0.1"})

    assert "CFG-006" == written.fault
    assert all("fab node.restart --node=oms1" in said for said in (written.fix, asked.fix, one.fix))


# --- a run that has not ended --------------------------------------------------------------------


class Open(Session):
    """A session with a home and one node, whose container runs nothing."""

    def __init__(self, home, fleet, init=False):
        shell = Shell("oms1")
        if init:
            shell.run = lambda cmd, on_line=None: Result(1, "", "pid 17 since Wed")
        self.home, self.fleet, self.flags, self.shells = home, fleet, Flags(), {"oms1": shell}


def again(task="node.stop"):
    return recorded(task, {"node": "oms1"})


def test_a_node_that_a_run_holds_is_not_repaired(tmp_path, fleet, present):
    """RUN-020 says which run, and both ways on."""
    made(tmp_path, FORWARD, "stop-processes@oms1")
    plan = repair.stop(fleet, present(), node="oms1")

    with pytest.raises(PreflightError, match="RUN-020") as error:
        _refuse_held(Open(tmp_path, fleet), "node.stop", plan, present(), again())

    assert f"run {FORWARD} has not ended, and holds oms1" == error.value.what
    assert f"fab run.resume --run={FORWARD}" in error.value.render()
    assert f"fab run.undo --run={FORWARD}" in error.value.render()


def test_while_docker_init_runs_nothing_is_repaired(tmp_path, fleet, present):
    """INIT-010 and exit 4; who follows it is named."""
    made(tmp_path, FORWARD, "initialise@oms1")
    plan = repair.restart(fleet, present(), node="oms1")

    with pytest.raises(Locked, match="INIT-010") as error:
        _refuse_held(Open(tmp_path, fleet, init=True), "node.restart", plan, present(), again())

    assert "pid 17" in error.value.evidence
    assert FORWARD in error.value.evidence
    assert error.value.next[0].line.startswith(f"fab run.resume --run={FORWARD}")


def test_another_node_may_be_repaired(tmp_path, fleet, present):
    """What a run does not touch, it does not hold."""
    made(tmp_path, FORWARD, "stop-processes@oms2")
    plan = repair.stop(fleet, present(), node="oms1")

    _refuse_held(Open(tmp_path, fleet), "node.stop", plan, present(), again())


@pytest.mark.parametrize(("over", "taken"), [(True, True), (False, False)])
def test_a_claim_of_a_run_that_goes_on_is_not_taken_over(tmp_path, over, taken):
    """A good node.exec took a scale-out's claim and freed it: others then plan upon half of it."""
    run = made(tmp_path, FORWARD, "stop-processes@oms1")
    if over:
        lifecycle.close(run, RunEnd("done"), "2 changes")
    shell = Shell("oms1")
    shell.run = lambda cmd, on_line=None: (
        shell.ran.append(cmd.argv[2]) or Result(0, f"{FORWARD}\nme\nthen\n", "")
    )

    def take():
        open_run = lambda other, node: lifecycle._held(tmp_path / other, node)  # noqa: E731
        claims.take([shell], BACK, "me", "now", again=False, open_run=open_run)

    if taken:
        take()
    else:
        with pytest.raises(PreflightError, match="RUN-020"):
            take()

    assert taken == any("claim this node" in text for text in shell.ran)


# --- what a repair leaves ------------------------------------------------------------------------


def failing(task, kind="repeatable"):
    step = Step("a", "oms1", "a", kind=kind, apply=(Run(command("act")),))
    return Plan(task, "t", (), (Stage("s", (step,)),))


def failed(home, task, result, kind="repeatable"):
    words = {"words": "false"} if task == "node.exec" else {}
    run = made(home, task=task, node="oms1", **words)
    here = world(home)
    here.shells["oms1"].run = lambda cmd, on_line=None: result(cmd)
    with pytest.raises(Exception) as error:
        lifecycle.carry_out(here, Order(run, failing(task, kind)))
    return error.value, journals.read(run / "journal.jsonl")


def ends_with_1(cmd):
    return Result(1 if cmd.argv[0] == "act" else 0, "", "")


def lost(cmd):
    if cmd.argv[0] == "act":
        raise LostSession("SSH-021", "the session ended")
    return Result(0, "", "")


def test_a_repair_that_failed_is_over_and_done_again_whole(tmp_path):
    """It blocked every scale.out (RUN-020), and only run.undo freed it."""
    error, past = failed(tmp_path, "node.run", ends_with_1)

    assert (True, False) == (past.ended, past.well)
    assert "run.resume" not in error.render()
    assert f"fab run.undo --run={FORWARD}" in error.render()
    assert None is holders.held_by(tmp_path, ["oms1"])


@pytest.mark.parametrize("task", ["node.restart", "node.refresh"])
def test_a_program_that_does_not_start_with_the_others_is_started_alone(
    fleet, present, tmp_path, task
):
    """RUN-003 of a repair, which is over and holds nothing: the first line that goes on is
    node.start, and not the same restart of everything once more."""
    facts = replace(present().nodes["oms1"], programs=("oms_console",))
    plan = TOUCHING[task](fleet, present(oms1=facts), node="oms1")
    (step,) = (one for one in plan.steps if one.fault == "RUN-003")
    at_once = replace(step, check=(), verify=(step.verify[0].probe,))
    run = made(tmp_path, task=task, node="oms1")
    here = world(tmp_path)
    here.shells["oms1"].run = lambda cmd, on_line=None: Result(0, "oms_console FATAL\n", "")

    with pytest.raises(Mismatch) as error:
        lifecycle.carry_out(here, Order(run, Plan(task, "t", (), (Stage("s", (at_once,)),))))

    assert "RUN-003" == error.value.id
    assert "fab node.start --node=oms1" == error.value.next[0].line
    assert "fab node.logs --node=oms1" in error.value.fix


@pytest.mark.parametrize("result", [ends_with_1, lost])
def test_a_line_in_a_container_holds_nothing(tmp_path, result):
    """However it ended: it blocks no scale-out, and no bare run.resume picks it."""
    error, past = failed(tmp_path, "node.exec", result, kind="once-only")

    assert past.ended
    assert "run.resume" not in error.render()


def test_an_unknown_outcome_stays_open(tmp_path):
    """An initialisation may still run: run.resume follows it."""
    error, past = failed(tmp_path, "node.initialise", lost, kind="once-only")

    assert not past.ended
    assert "run.resume" in error.render()


def test_a_killed_line_is_not_picked_by_a_bare_resume(tmp_path, fleet):
    """Nobody knows what it did; the run before it is the one to go on with."""
    older = made(tmp_path, FORWARD, "stop-processes@oms1")
    made(tmp_path, BACK, "exec@oms1", task="node.exec", words="x", node="oms1")

    assert older == unfinished(Open(tmp_path, fleet), "").directory
    assert [older] == [one.run.directory for one in holders.holders(tmp_path)]


def test_a_run_that_cannot_free_its_locks_has_ended_all_the_same(tmp_path):
    """Nothing was changed: its owner takes them again at once, and run.resume must not pick it."""
    run = made(tmp_path)
    here = world(tmp_path)

    def away(lease):
        raise LostSession("DB-001", "not reached")

    here.metadb.lease_release = away

    def refuse():
        raise PreflightError("PLAN-004", "stale plan")

    with pytest.raises(PreflightError, match="PLAN-004"):
        lifecycle.carry_out(here, Order(run, failing("scale.out"), lease=True, fresh=refuse))

    assert journals.read(run / "journal.jsonl").ended


def test_a_run_that_never_wrote_a_word_leaves_no_directory(tmp_path):
    """Refused by a lock: it came back to life by the next run.resume."""
    run = made(tmp_path)
    (run / "journal.jsonl").unlink(missing_ok=True)
    other = made(tmp_path, BACK, "stop-processes@oms1")

    journals.forget_unbegun(run)
    journals.forget_unbegun(other)

    assert (False, True) == (run.exists(), other.exists())


def test_events_of_a_run_are_read_once_more(tmp_path):
    """A run that failed and is over is no success: rolled back, it ends with 8."""
    run = made(tmp_path, task="node.run")
    book = journals.Journal(run)
    book.write(Event(0, 0, "", "", "run", "ended: failed: CMD-001"))
    book.close()

    past = journals.read(run / "journal.jsonl")
    assert (True, False) == (past.ended, past.well)


def test_a_config_that_is_pushed_is_not_read_yet(fleet, present):
    """The plan says so, and with which line it is: scale.out would see nothing left to do."""
    plan = repair.push_config(fleet, present(), node="oms1")

    assert any("fab node.refresh --node=oms1" in one for one in plan.reasons)
