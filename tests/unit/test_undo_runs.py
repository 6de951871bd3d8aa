"""A run that is being rolled back: what it holds, what is asked before, and what nobody may do."""

from __future__ import annotations

import base64
import errno
import json
import re
from types import SimpleNamespace

import pytest

from omsfab import retry
from omsfab.command import command
from omsfab.errors import Detached, InputError, NoAnswer, OmsfabError, PreflightError, Unreachable
from omsfab.next_line import shell
from omsfab.plan.events import Event, RunEnd
from omsfab.plan.observed import NodeFacts, Observed
from omsfab.plan.procedures import undo
from omsfab.plan.records import ExitsZero, Plan, Run, Stage, Step
from omsfab.run import lifecycle, other_hosts, recheck, recorded, resume
from omsfab.run import undo as rollback
from omsfab.run.lifecycle import Order, World
from omsfab.run.record import claims, holders, replica
from omsfab.run.record import journal as journals
from omsfab.run.record.past_run import PastRun
from omsfab.run.session import Flags, Session
from omsfab.secret import Secret
from omsfab.ssh.protocol import Result

FORWARD, BACK = "20260101T000000Z-scale-out-aaaa", "20260102T000000Z-run-undo-bbbb"


class Shell:
    """A node that does all it is told, but for commands with ``away`` in them."""

    def __init__(self, node, away="nothing"):
        self.node, self.connections, self.away, self.ran = node, 1, away, []

    def run(self, cmd, on_line=None):
        text = " ".join(cmd.argv)
        if self.away in text:
            raise Unreachable("SSH-001", "away", next=shell("ping"))
        self.ran.append(text)
        return Result(0, "", "")

    def write(self, *_):
        pass

    def send(self, *_):
        pass

    def close(self):
        pass


class Rows:
    """A MetaDB that writes down what becomes of the lease."""

    def __init__(self, *, free=False):
        self.log = []
        self.keeper = None
        self.free = free

    def lease_take(self, run, me, on_busy=None):
        return SimpleNamespace(run_id=run, was_free=self.free)

    def lease_keep(self, lease):
        self.keeper = LeaseKeeper(lease)
        return self.keeper

    def lease_release(self, lease):
        assert self.keeper is None or self.keeper.stopped, (
            "it would be renewed, or moved, while it is given back"
        )
        self.log.append(("release", lease.run_id))

    def running(self, on_statement=None):
        return self


class Quiet:
    def __call__(self, event):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class LeaseKeeper(Quiet):
    def __init__(self, lease):
        self.lease, self.stopped = lease, False

    def check(self):
        pass

    def stop(self):
        self.stopped = True


def made(home, name=FORWARD, *steps, task="scale.out", **args):
    """A run that has done these steps, and was killed."""
    directory = home / name
    record = {"task": task, "args": args, "owner": "x", "initial": "oms1"}
    journals.begin(directory, record)
    book = journals.Journal(directory)
    for kind, key in (("intent", key) for key in steps):
        step, _, node = key.partition("@")
        book.write(Event(0, 0, node, step, kind, ""))
        book.write(Event(0, 0, node, step, "done", ""))
    book.close()
    return directory


def the_plan(task, node="oms1", check=()):
    step = Step("a", node, "a", check=check, apply=(Run(command("act")),))
    return Plan(task, "t", (), (Stage("s", (step,)),))


def world(home, rows=None, **away):
    shells = {name: Shell(name, away.get(name, "nothing")) for name in ("oms1", "oms2")}
    return World(home, shells, rows or Rows(), (), Quiet())


@pytest.mark.parametrize("over", [False, True])
def test_a_way_back_that_changed_nothing_leaves_the_run_as_it_was(tmp_path, over):
    """Half done, it keeps its lease and can be rolled back again; ended before, it has none."""
    run = made(tmp_path, FORWARD, "stop-processes@oms1", "clear-rows@metadb")
    if over:
        lifecycle.close(run, RunEnd("done"), "2 changes")
    back = made(tmp_path, BACK, task="run.undo", run=FORWARD, all="")
    rows = Rows()

    with pytest.raises(Unreachable) as error:
        plan = the_plan("run.undo", check=(ExitsZero(command("look"), "no"),))
        lifecycle.carry_out(
            world(tmp_path, rows, oms1="look"), Order(back, plan, lease=True, undoes=run)
        )

    past = journals.read(run / "journal.jsonl")
    assert (False, over) == (past.undone, past.ended)
    assert [("release", FORWARD)] * over == rows.log
    assert "nothing" == error.value.changed
    assert f"fab run.undo --run={FORWARD}" in error.value.render()


@pytest.mark.parametrize("free", [False, True])
def test_the_locks_of_a_run_that_ended_elsewhere_are_not_kept(tmp_path, free):
    """Nobody held them when this session took them: MetaDB itself bears the other jump host out."""
    run = made(tmp_path, FORWARD, "stop-processes@oms1")
    back = made(tmp_path, BACK, "stop-processes@oms1", task="run.undo", run=FORWARD, all="")
    rows = Rows(free=free)

    def over():
        raise PreflightError("RUN-032", "it has ended on another jump host")

    with pytest.raises(PreflightError):
        past = journals.read(back / "journal.jsonl")
        order = Order(back, the_plan("run.undo"), True, past, run, fresh=over)
        lifecycle.carry_out(world(tmp_path, rows), order)

    assert [("release", FORWARD)] * free == rows.log


def test_deleted_rows_are_put_back_whoever_stopped_the_programs(fleet, present, package):
    """They were stopped by hand before: then the step was satisfied, and never begun."""
    begun = {"clear-rows@metadb", "initialise@oms1"}

    plan = undo.undo(fleet, present(package), run="r", region="", begun=begun)

    steps = [step.key for step in plan.steps]
    assert {"stop-processes@oms1", "restore-rows@metadb", "initialise@oms1"} <= set(steps)


def test_an_initialisation_that_began_is_always_taken_back_by_one(fleet, present, package):
    """Only without any is the marker of the surgery asked whether one is needed."""
    base = {"stop-processes@oms1", "clear-rows@metadb"}

    def asked(begun):
        plan = undo.undo(fleet, present(package), run="r", region="", begun=begun)
        return [bool(step.check) for step in plan.steps if step.name == "initialise"]

    assert ([True], [False]) == (asked(base), asked(base | {"initialise@oms1"}))


class Asking(Session):
    """A session with a home and nodes, without hosts.yaml."""

    def __init__(self, home, shell=None):
        self.flags = Flags()
        self.home, self.shells = home, {"oms1": shell or Shell("oms1")}


def test_a_run_that_is_being_taken_back_is_not_resumed(tmp_path):
    """Its steps that are done would be skipped, although the rollback has reversed them."""
    made(tmp_path, FORWARD, "clear-rows@metadb")
    made(tmp_path, BACK, "restore-rows@metadb", task="run.undo", run=FORWARD, all="")

    for call in (resume.resume, resume.abandon):
        with pytest.raises(PreflightError, match="RUN-029") as error:
            call(Asking(tmp_path), FORWARD)
        assert f"fab run.undo --run={FORWARD}" == error.value.next[0].line


def copy_line(run, intents=3, undoes="-", ended=""):
    """What a node says of a copy of a run (posix.copies)."""
    event = f'{{"kind": "run", "text": "{ended}"}}' if ended else ""
    return f"{run} {intents} {undoes} {base64.b64encode(event.encode()).decode()}\n"


class Told(Shell):
    """A node with these copies."""

    def __init__(self, node, *lines):
        super().__init__(node)
        self.lines = lines

    def run(self, cmd, on_line=None):
        here = "the copies of runs" in " ".join(cmd.argv)
        return Result(0, "".join(self.lines), "") if here else super().run(cmd, on_line)


LATER = "20260103T000000Z-scale-out-cccc"


@pytest.mark.parametrize(
    ("line", "back", "id", "task"),
    [
        (copy_line(FORWARD, 1, ended="ended: undone by X"), False, "RUN-032", "run.abandon"),
        (copy_line(FORWARD, 1, ended="ended: 9 changes"), False, "RUN-032", "run.abandon"),
        (copy_line(FORWARD, 1, ended="ended: undone by X"), True, "RUN-032", "run.abandon"),
        (copy_line(FORWARD, 2), False, "RUN-033", "run.resume"),
        (copy_line(FORWARD, 9, ended="ended: 9 changes"), True, "RUN-033", "run.undo"),
        (copy_line(BACK, 2, FORWARD), False, "RUN-029", "run.undo"),
        (copy_line(LATER), False, "RUN-034", "run.abandon"),
        (copy_line(LATER), True, "RUN-034", "run.undo"),
        (copy_line(LATER, ended="ended: 9 changes"), True, "RUN-034", "run.undo"),
        (copy_line(FORWARD, 1), False, "", ""),
        (copy_line(FORWARD, 1, ended="ended: 1 changes"), True, "", ""),
        (copy_line(BACK, 2, FORWARD), True, "", ""),
        (copy_line(LATER, 0), True, "", ""),
        (copy_line(LATER, ended="ended: undone by X"), True, "", ""),
        (copy_line(LATER, ended="ended: nothing was changed"), True, "", ""),
        ("../../x 3 - \nnonsense\n", True, "", ""),
    ],
)
def test_what_others_did_stops_a_run_before_it_does_anything(tmp_path, line, back, id, task):
    """Any node may have the word, not the initial one only: finished or rolled back elsewhere,
    gone on with, being rolled back, or another run since; and none of that stops nothing."""
    run = made(tmp_path, FORWARD, "stop-processes@oms1")
    seen = other_hosts.look({"oms1": Shell("oms1"), "oms2": Told("oms2", line)})
    past = journals.read(run / "journal.jsonl")

    try:
        other_hosts.refuse(seen, run, past, {FORWARD}, back=back)
        said = ("", "")
    except PreflightError as error:
        said = (error.id, error.next[0].task)

    assert (id, task) == said


@pytest.mark.parametrize(
    ("line", "id", "task"),
    [
        (copy_line(BACK, 1, FORWARD, ended="ended: 9 changes"), "RUN-032", "run.abandon"),
        (copy_line(BACK, 2, FORWARD), "RUN-033", "run.undo"),
    ],
)
def test_a_rollback_that_another_jump_host_went_on_with_is_not_gone_on_with(
    tmp_path, line, id, task
):
    """Its copy on the node is asked as that of any run: what it says is no failure of it."""
    run = made(tmp_path, FORWARD, "stop-processes@oms1")
    back = made(tmp_path, BACK, "stop-processes@oms1", task="run.undo", run=FORWARD)
    there = Asking(tmp_path, Told("oms1", line))

    with pytest.raises(PreflightError, match=id) as error:
        recorded.refuse_others(there, PastRun(run), back=True, rollback=PastRun(back))

    assert BACK in error.value.what
    assert task == error.value.next[0].task


def test_what_others_did_is_no_failure_of_a_rollback(tmp_path, monkeypatch):
    """9 would say that it is rolled back in part only, and call for it once more."""
    run = made(tmp_path, FORWARD, "stop-processes@oms1")
    back = made(tmp_path, BACK, "stop-processes@oms1", task="run.undo", run=FORWARD)

    def execute(self, order):
        raise PreflightError("RUN-032", "has ended elsewhere", changed="stop-processes@oms1")

    monkeypatch.setattr(Session, "execute", execute)
    monkeypatch.setattr(rollback, "_served", lambda *_: {})
    with pytest.raises(OmsfabError) as error:
        order = Order(back, the_plan("run.undo"), undoes=run)
        rollback._carry_out(Asking(tmp_path), order, PastRun(run))

    assert ("RUN-032", 3) == (error.value.id, error.value.exit_code)


def test_a_run_that_has_ended_is_named_as_that(tmp_path):
    """And not as one that is not known, with its own name as what may be meant."""
    run = made(tmp_path, FORWARD, "stop-processes@oms1")
    book = journals.Journal(run)
    data = RunEnd("undone").data()
    book.write(Event(0.0, 0.0, "", "", "run", "ended: undone by X", data))
    book.close()

    with pytest.raises(InputError, match="INPUT-025") as error:
        recorded.unfinished(Asking(tmp_path), FORWARD)

    assert "has ended" in error.value.what
    assert "undone by X" in error.value.evidence
    assert ["run.show"] == [line.task for line in error.value.next]


def test_a_node_that_is_away_stops_nobody(tmp_path):
    """It is named instead: what is there cannot be asked."""
    seen = other_hosts.look({"oms1": Shell("oms1", away="copies"), "oms2": Shell("oms2")})

    assert (("oms1",), ()) == (seen.silent, seen.copies)


@pytest.mark.parametrize(
    ("mark", "steps", "own", "back", "refused"),
    [
        ("deleted", ["clear-rows@metadb"], False, True, False),
        ("put back", ["clear-rows@metadb"], False, True, True),
        ("put back", ["clear-rows@metadb"], True, True, False),
        ("none", ["clear-rows@metadb"], False, True, True),
        ("none", ["clear-rows@metadb"], False, False, False),
        ("none", ["clear-rows@metadb", "initialise@oms1"], False, False, True),
        ("none", ["save-rows@metadb"], False, True, False),
        ("put back", ["save-rows@metadb"], False, True, True),
    ],
)
def test_the_marker_in_metadb_contradicts_the_journal(tmp_path, mark, steps, own, back, refused):
    """RUN-035, before anything is stopped; a deletion that is begun only may be done or not."""
    run = made(tmp_path, FORWARD, *steps)
    past = journals.read(run / "journal.jsonl")

    try:
        other_hosts.refuse_contradiction(mark, run, past, own_rollback=own, back=back)
        said = ""
    except PreflightError as error:
        said = error.id

    assert ("RUN-035" if refused else "") == said


@pytest.mark.parametrize("end", ["ended: undone by X", "ended: 3 changes, in 9 s"])
def test_a_run_that_has_ended_elsewhere_is_not_resumed(tmp_path, end):
    """Rolled back or brought to its end: the session asks before it plans anything."""
    made(tmp_path, FORWARD, "stop-processes@oms1")
    shell = Told("oms1", copy_line(FORWARD, 1, ended=end))

    with pytest.raises(PreflightError, match="RUN-032") as error:
        recorded.refuse_others(Asking(tmp_path, shell), PastRun(tmp_path / FORWARD), back=False)

    assert end in error.value.evidence


@pytest.mark.parametrize("id", ["RUN-003", "RUN-005", "VER-004"])
def test_a_rollback_after_which_not_all_is_as_before_says_so(tmp_path, monkeypatch, id):
    """RUN-041, exit 5, with a look as the next line: once more would do nothing else."""
    run = made(tmp_path, FORWARD, "stop-processes@oms1")
    back = made(tmp_path, BACK, task="run.undo", run=FORWARD, all="")

    def execute(self, order):
        book = journals.Journal(order.directory)
        book.write(Event(0, 0, "oms1", "start-processes", "warning", f"{id} start: it is FATAL"))
        book.close()

    monkeypatch.setattr(Session, "execute", execute)
    monkeypatch.setattr(rollback, "_served", lambda *_: {})
    with pytest.raises(OmsfabError) as error:
        order = Order(back, the_plan("run.undo"), undoes=run)
        rollback._carry_out(Asking(tmp_path), order, PastRun(run))

    assert ("RUN-041", 5) == (error.value.id, error.value.exit_code)
    assert "it is FATAL" in error.value.evidence
    assert "run.undo" not in {line.task for line in error.value.next}


@pytest.mark.parametrize(("ids", "ends"), [(["INIT-023", "INIT-019"], "RUN-028"),
                                            (["INIT-019", "CMD-001"], "RUN-041")])  # fmt: skip
def test_what_fails_of_the_other_way_is_no_good_end(tmp_path, monkeypatch, ids, ends):
    """What was warned of before docker_init.sh was given up counts for nothing; behind that, the
    components' files were not written, say: 5 and not 8."""
    run = made(tmp_path, FORWARD, "initialise@oms1")
    back = made(tmp_path, BACK, task="run.undo", run=FORWARD, all="")

    def execute(self, order):
        book = journals.Journal(order.directory)
        for id in ids:
            book.write(Event(0, 0, "oms1", "initialise", "warning", f"{id} no", data={"id": id}))
        book.close()

    monkeypatch.setattr(Session, "execute", execute)
    monkeypatch.setattr(rollback, "_served", lambda *_: {})
    monkeypatch.setattr(rollback, "_tell_not_done", lambda *_: None)
    with pytest.raises(OmsfabError, match=ends):
        order = Order(back, the_plan("run.undo"), undoes=run)
        rollback._carry_out(Asking(tmp_path), order, PastRun(run))


def test_a_line_in_the_container_is_not_repeated(tmp_path):
    """node.exec that was cut off: nobody knows whether it had its effect."""
    made(tmp_path, FORWARD, "exec@oms1", task="node.exec", words="rm -rf x", node="oms1")

    with pytest.raises(PreflightError, match="RUN-031"):
        resume.resume(Asking(tmp_path), FORWARD)


def test_a_run_of_a_newer_omsfab_is_named_as_that(tmp_path):
    """Its journal may have other fields: JRN-003 and not JRN-002, edited."""
    run = made(tmp_path)
    record = (run / "run.json").read_text()
    (run / "run.json").write_text(re.sub(r'"schema": \d+', '"schema": 99', record))
    (run / "journal.jsonl").write_text('{"of": "a newer kind"}\n{"of": "a newer kind"}\n')

    with pytest.raises(PreflightError, match="JRN-003"):
        recorded.unfinished(Asking(tmp_path), "")


def test_a_claim_that_fails_leaves_those_of_a_half_done_run(tmp_path):
    """A node is away when the rollback begins: no other run may come in between."""
    run = made(tmp_path, FORWARD, "container@oms2")
    back = made(tmp_path, BACK, task="run.undo", run=FORWARD, all="")
    here = world(tmp_path, oms2="claim")
    order = Order(back, the_plan("run.undo", "oms2"), lease=True, undoes=run)

    lifecycle.carry_out(here, order)  # is done without it, as claims of its own are there

    assert journals.read(run / "journal.jsonl").undone


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("silences", [1, 9])
def test_a_node_with_slow_logins_ends_no_resume(tmp_path, monkeypatch, again, silences):
    """R1.7: one silence of 30 s while it was locked, or asked who it is, ended a run.resume with
    SSH-021, production stopped; what stays silent a step waits for, if it needs that node."""
    monkeypatch.setattr(retry, "time", SimpleNamespace(sleep=lambda seconds: None))
    left = [silences]

    class Slow(Shell):
        def run(self, cmd, on_line=None):
            left[0] -= 1
            if left[0] >= 0:
                raise NoAnswer("SSH-021", "no answer in 30 s")
            return Result(0, "m1\n", "")

    shells = {"oms1": Slow("oms1")}
    present = Observed(nodes={"oms1": NodeFacts(machine="m1")})

    def lock():
        claims.take(shells.values(), FORWARD, "li", "now", again=again)

    if silences > 3 and not again:
        with pytest.raises(NoAnswer):
            lock()
    else:
        lock()
    left[0] = silences
    recheck.same_machines(present, shells, run=FORWARD)


def test_every_node_is_behind_the_lock_of_the_run(tmp_path):
    """R2b.2: once it is lost nothing is sent to any node, for whatever reason: copies of the run,
    questions of a verdict, the end of a failure."""
    run, rows = made(tmp_path), Rows()
    here = world(tmp_path, rows)

    lifecycle.carry_out(here, Order(run, the_plan("scale.out"), lease=True))

    assert [rows.keeper.check] * 2 == [shell.guard for shell in here.shells.values()]


def test_ctrl_c_while_it_locks_leaves_nothing(tmp_path, monkeypatch):
    """130, the line it began with, and neither lease nor a run on disk."""
    run, rows = made(tmp_path), Rows()

    def let_go(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(claims, "take", let_go)
    with pytest.raises(Detached) as error:
        lifecycle.carry_out(world(tmp_path, rows), Order(run, the_plan("scale.out"), lease=True))

    assert (130, "fab scale.out") == (error.value.exit_code, error.value.next[0].line)
    assert [("release", FORWARD)] == rows.log
    assert not run.exists()


@pytest.mark.parametrize("secret", ["e", "-", "1", "ended", "INIT"])
def test_a_password_that_is_a_word_of_the_journal_hides_no_end(tmp_path, secret):
    """The run is found as ended; texts from outside are redacted all the same."""
    run = made(tmp_path)
    here = world(tmp_path)
    here = World(here.home, here.shells, here.metadb, (Secret(secret),), here.show)
    lifecycle.carry_out(here, Order(run, the_plan("scale.out"), lease=True))

    assert journals.read(run / "journal.jsonl").ended


def test_all_done_and_a_metadb_that_is_away_tells_what_was_done(tmp_path):
    """Only the lease is left: not `changed: nothing`, and run.resume frees it."""
    run, rows = made(tmp_path), Rows()

    def away(lease):
        raise OmsfabError("DB-001", "not reached", next=shell("nc", "-vz", "x", "1"))

    rows.lease_release = away
    with pytest.raises(OmsfabError) as error:
        lifecycle.carry_out(world(tmp_path, rows), Order(run, the_plan("scale.out"), lease=True))

    assert "oms1: a" == error.value.changed
    assert error.value.next[0].line.startswith(f"fab run.resume --run={FORWARD}")


def test_a_copy_acts_nowhere_but_where_hosts_yaml_says(fleet):
    """Other addresses, paths, containers, nodes: each is named by its key."""
    record = {"fleet": undo.public(fleet)}
    same = undo.unlike(record, fleet)
    forged = json.loads(json.dumps(record))
    forged["fleet"]["install"]["container"] = "other"
    forged["fleet"]["install"]["mounts"]["config"] = "/etc/passwd"
    forged["fleet"]["regions"][0]["nodes"][0]["ip"] = "10.9.9.9"
    forged["fleet"]["regions"][0]["nodes"][1]["name"] = "evil"

    keys = [line.split()[0] for line in undo.unlike(forged, fleet)]

    assert () == same
    assert ["oms.container:", "oms.mounts:", "oms1.ip:", "nodes:"] == keys


@pytest.mark.parametrize("fetched", [True, False])
def test_a_copy_that_acts_elsewhere_is_refused(fleet, tmp_path, fetched):
    """RUN-037: what came from a node is measured against hosts.yaml; a run of this jump host keeps
    what it was made with, whatever hosts.yaml says by now."""
    record = {"task": "scale.out", "args": {}, "fleet": undo.public(fleet)}
    record["fleet"]["install"]["mounts"]["config"] = "/etc/passwd"
    journals.begin(tmp_path / FORWARD, record)
    run = PastRun(tmp_path / FORWARD)
    if fetched:
        (run.directory / replica.FETCHED).touch()

    if not fetched:
        assert "/etc/passwd" == run.fleet(fleet).install.mounts.config
        return
    with pytest.raises(PreflightError, match="RUN-037") as refused:
        run.fleet(fleet)
    assert "oms.mounts:" in refused.value.evidence


@pytest.mark.parametrize("text", ["[]", "1", '"x"', "null", '{"schema": 1}', '{"schema": "x"}',
    '{"schema": 1, "task": "scale.out", "args": []}',
    '{"schema": 1, "task": "scale.out", "args": {"a": 1}}',
    '{"schema": 1, "task": 3, "args": {}}',
    '{"schema": 1, "task": "scale.out", "args": {}, "present": []}',
])  # fmt: skip
def test_a_run_json_that_is_none_is_told(tmp_path, text):
    """JRN-004 and no defect of ours: a copy comes from a node, which may be in other hands."""
    run = tmp_path / FORWARD
    run.mkdir()
    (run / "run.json").write_text(text)

    with pytest.raises(PreflightError, match="JRN-004"):
        journals.load_record(run)


def test_what_a_run_json_lacks_is_told(tmp_path):
    """When it is asked for: JRN-004, with what is missing."""
    record = journals.load_record(made(tmp_path))

    with pytest.raises(PreflightError, match="JRN-004") as error:
        record["present"]
    with pytest.raises(PreflightError, match="JRN-004"), journals.readable(tmp_path / FORWARD):
        Observed.of({"assumed": 1})

    assert "it has no present" in error.value.evidence


def test_a_disk_that_fills_between_two_stages_does_not_hide_what_was_changed(tmp_path, monkeypatch):
    """The word that a stage begins belongs to no step; what the run had changed is told all the
    same."""
    write = journals._write_all

    def full(fd, data):
        if b"2/2 further" in data:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(fd, data)

    monkeypatch.setattr(journals, "_write_all", full)
    run = made(tmp_path)
    step = Step("a", "oms1", "act", apply=(Run(command("act")),))
    further = Step("b", "oms1", "further", apply=(Run(command("act")),))
    plan = Plan("scale.out", "t", (), (Stage("s", (step,)), Stage("further", (further,))))

    with pytest.raises(OmsfabError) as error:
        lifecycle.carry_out(world(tmp_path), Order(run, plan))

    assert ("JRN-001", "oms1: act") == (error.value.id, error.value.changed)


def test_a_copy_that_names_no_step_may_have_begun_all_the_same(tmp_path):
    """The jump host that began it died before its next copy: the run holds its nodes, is no idle
    one whose locks alone are freed, and is there to be rolled back."""
    directory = made(tmp_path)
    session = Asking(tmp_path, Shell("oms2"))
    session.shells = {}

    def seen():
        idle = recorded.idle(session, FORWARD)
        return bool(idle), bool(holders.holder(PastRun(directory)))

    before = seen()
    (directory / replica.FETCHED).touch()

    assert ((True, False), (False, True)) == (before, seen())
    assert directory == recorded.changed(session, FORWARD).directory
