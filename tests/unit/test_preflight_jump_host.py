"""What is asked of the jump host, the clocks and the machines before anything begins."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import os
import resource
import subprocess
from types import SimpleNamespace

import pytest

from omsfab.commands import files
from omsfab.errors import Locked, PreflightError, SecurityRefusal
from omsfab.fleet.values import CmUrl
from omsfab.plan.events import Event
from omsfab.plan.observed import NodeFacts, Observed
from omsfab.plan.records import ClearRows, Plan, SameTime, Stage, Step
from omsfab.run import jump_host, observe, recheck
from omsfab.run.engine.interpreter import Interpreter
from omsfab.run.record import journal as journals
from omsfab.run.record import local_lock
from omsfab.ssh.protocol import Result


class OutputIs:
    """A node that says one thing."""

    def __init__(self, out: str) -> None:
        self.out = out

    def run(self, cmd, on_line=None):
        return Result(0, self.out, "")


def test_a_full_disk_is_found_before_anything_begins(tmp_path, monkeypatch):
    """J06: 200 MB for the journal and the rows, or exit 3."""
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=15, f_frsize=4096))

    with pytest.raises(PreflightError, match="ENV-002 need 200 MB"):
        jump_host.ready(tmp_path)


def limited(monkeypatch, what, limits):
    """This limit is so, all others are none."""
    none = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits if kind == what else none)


def test_files_that_may_not_grow_are_found_before_anything_begins(tmp_path, monkeypatch):
    """J08: ulimit -f 8.  The journal would come to its limit in the middle of a run."""
    limited(monkeypatch, resource.RLIMIT_FSIZE, (8192, 8192))

    with pytest.raises(PreflightError, match="ENV-005 need files of 200 MB, have 8192"):
        jump_host.ready(tmp_path)


def test_too_few_file_descriptors_are_found_before_anything_begins(tmp_path, monkeypatch):
    """J08: ulimit -n 32."""
    limited(monkeypatch, resource.RLIMIT_NOFILE, (32, 32))

    with pytest.raises(PreflightError, match="ENV-003 need 256 file descriptors, have 32"):
        jump_host.ready(tmp_path)


def test_a_soft_limit_is_raised_where_the_hard_one_allows(tmp_path, monkeypatch):
    """No reason to bother the operator."""
    wanted = []
    limited(monkeypatch, resource.RLIMIT_NOFILE, (32, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, pair: wanted.append(pair))

    jump_host.ready(tmp_path)

    assert [(256, 4096)] == wanted


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("1795341432.5 +0800", None),
        ("1795341480.0 +0800", None),
        ("1795341000.0 +0800", "its clock differs -432 s from MetaDB's"),
        ("1795341432.5 +0000", "it is +00:00 from UTC there, MetaDB +08:00"),
        ("1795341432.5 -0330", "it is -03:30 from UTC there, MetaDB +08:00"),
        ("", "the node does not tell its time: ''"),
    ],
)
def test_a_node_with_another_time_is_refused(tmp_path, said, why):
    """J09: 60 s or another zone, and OMS itself would break."""
    metadb = SimpleNamespace(time_and_zone=lambda: (1795341432.0, 480))
    site = Interpreter("run", tmp_path, {"oms1": OutputIs(said)}, metadb)

    answer = site.ask(SameTime(files.clock()), "oms1")

    assert why == answer


CLEAR = ClearRows(1, ("host",), shown=(("host", "10.0.0.1", "d1"),))
THEN = NodeFacts(container="running", id="c1", config_sha256="aa", machine="m1")


PLAN = Plan("scale.out", "t", stages=(Stage("s", (Step("c", "m", "t", apply=(CLEAR,)),)),))


@pytest.fixture
def asked(fleet, monkeypatch):
    """Compare what was planned upon with what is so now; returns the error, or None."""

    def ask(now: NodeFacts, url: str = "http://10.0.0.1:8088", rows: str | None = None):
        monkeypatch.setattr(observe, "at_nodes", lambda *args: {"oms1": now})
        metadb = SimpleNamespace(
            clusters=lambda: [SimpleNamespace(code=1, cm_url=CmUrl.read(url))],
            changed_rows=lambda clear: rows,
            one_look=lambda tables: metadb,
        )
        present = Observed(clusters={1: CmUrl("10.0.0.1", 8088)}, nodes={"oms1": THEN})
        try:
            recheck.as_planned(fleet, present, {}, metadb, PLAN)
        except (PreflightError, SecurityRefusal) as error:
            return error

    return ask


def test_rows_that_changed_since_they_were_shown_are_a_stale_plan(asked):
    """A DBA's edit while the operator read: nothing is begun, and what changed stands there."""
    error = asked(THEN, rows="host 10.0.0.3: new")

    assert "stale plan: host 10.0.0.3: new" == error.what


def test_what_is_as_it_was_planned_is_begun(asked):
    """No false alarm."""
    assert asked(THEN) is None


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("config_sha256", "bb", "stale plan: config.yaml on oms1 changed"),
        ("id", "c2", "stale plan: the container on oms1 changed"),
        ("container", "stopped", "stale plan: the container on oms1 changed"),
    ],
)
def test_a_stale_plan_is_not_begun(asked, field, value, what):
    """J14: somebody changed it while the operator read the plan; exit 3."""
    error = asked(dataclasses.replace(THEN, **{field: value}))

    assert ("PLAN-004", what, 3) == (error.id, error.what, error.exit_code)


def test_a_cm_url_that_changed_meanwhile_is_a_stale_plan(asked):
    """The scenario itself may be another one."""
    assert "PLAN-004" == asked(THEN, "http://10.0.0.100:8088").id


def test_another_machine_under_the_planned_name_is_refused(asked):
    """N07: exit 10, nothing changed."""
    error = asked(dataclasses.replace(THEN, machine="m2"))

    assert ("SSH-011", 10) == (error.id, error.exit_code)


def test_a_resumed_run_wants_the_same_machines():
    """N07 between two sessions of one run."""
    present = Observed(nodes={"oms1": THEN})

    with pytest.raises(SecurityRefusal, match="SSH-011"):
        recheck.same_machines(present, {"oms1": OutputIs("m2\n")}, run="r")


def test_a_run_of_a_newer_omsfab_is_refused(tmp_path):
    """JRN-003: what its journal means is not known here."""
    directory = tmp_path / "20261123T080521Z-scale-out-99d3"
    journals.begin(directory, {"schema": journals.SCHEMA + 1, "task": "scale.out"})

    with pytest.raises(PreflightError, match="JRN-003"):
        journals.load_record(directory)


def test_a_state_directory_that_takes_nothing_is_refused(tmp_path):
    """ENV-004 before anything is contacted: a file is where the directory should be."""
    (tmp_path / "home").write_text("")

    with pytest.raises(PreflightError, match="ENV-004"):
        jump_host.ready(tmp_path / "home" / "state")


@pytest.mark.parametrize("text", ["", '{"schema": 1, "task"', "[]", '{"schema": 1}'])
def test_a_damaged_record_is_told_and_can_be_set_aside(tmp_path, text):
    """JRN-004, not a traceback; what its next line makes of it counts as a run no more."""
    directory = tmp_path / "20261123T080521Z-scale-out-99d3"
    directory.mkdir()
    (directory / "run.json").write_text(text)

    with pytest.raises(PreflightError, match="JRN-004") as refusal:
        journals.load_record(directory)
    subprocess.run(["sh", "-c", refusal.value.next[0].line], check=True)

    assert [] == list(journals.runs(tmp_path))


def test_a_damaged_journal_of_a_run_that_ended_can_be_set_aside(tmp_path):
    """JRN-002 stops every other run: its next line ends that, as it does for the record."""
    directory = tmp_path / "20261123T080521Z-scale-out-99d3"
    journals.begin(directory, {"task": "scale.out", "args": {}})
    book = journals.Journal(directory)
    for text in ("began", "ended: 2 changes"):
        book.write(Event(0, 0, "", "", "run", text))
    book.close()
    path = directory / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"began", b"begun"))

    with pytest.raises(PreflightError, match="JRN-002") as refusal:
        journals.read(path)
    subprocess.run(["sh", "-c", refusal.value.next[0].line], check=True)

    assert [] == list(journals.runs(tmp_path))


def test_a_record_is_whole_or_not_there(tmp_path, monkeypatch):
    """The disk is full when run.json is written: no run is left that could not be read."""

    def full(fd, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journals, "_write_all", full)

    with pytest.raises(Exception, match="JRN-001"):
        journals.begin(tmp_path / "run", {"task": "scale.out"})
    assert [] == list(tmp_path.iterdir())


def test_a_second_run_is_told_who_works_and_where(tmp_path):
    """J10: pid, run, operator, since, and the step, by the journal of the first one."""
    (tmp_path / "r1").mkdir()
    book = journals.Journal(tmp_path / "r1")
    book.write(Event(0, 0, "oms1", "stop-processes", "intent"))
    book.close()

    with (
        local_lock.held(tmp_path, "r1", "li@jump1#3fa9c1", "09:57:12Z"),
        pytest.raises(Locked) as taken,
    ):
        local_lock.refuse_taken(tmp_path)

    assert f"li@jump1#3fa9c1 (pid {os.getpid()}, run r1) since 09:57:12Z" in taken.value.what
    assert "it is at step stop-processes of oms1" in taken.value.evidence


def test_a_file_system_without_locks_is_no_run_that_works(tmp_path, monkeypatch):
    """ENV-004 in its own words: LOCK-001 would name a run for ever that there is not."""

    def refuses(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    (tmp_path / "lock").touch()
    monkeypatch.setattr(fcntl, "flock", refuses)

    with pytest.raises(PreflightError, match=r"ENV-004 .*No locks available"):
        local_lock.refuse_taken(tmp_path)
    with (
        pytest.raises(PreflightError, match=r"ENV-004 .*No locks available"),
        local_lock.held(tmp_path, "r1", "li", "09:57:12Z"),
    ):
        pass


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o702])
def test_a_state_directory_that_others_may_touch_is_refused(tmp_path, mode):
    """ENV-004: a journal that anybody may write proves nothing; the printed line heals it."""
    home = tmp_path / "state"
    home.mkdir()
    home.chmod(mode)

    with pytest.raises(PreflightError, match="ENV-004") as error:
        jump_host.ready(home)
    subprocess.run(["sh", "-c", error.value.next[0].line], check=True)

    jump_host.ready(home)
    assert 0o700 == home.stat().st_mode & 0o777


def test_a_state_directory_of_somebody_else_is_refused(tmp_path, monkeypatch):
    """ENV-004, with his uid."""
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    with pytest.raises(PreflightError, match=r"ENV-004 .*another user"):
        jump_host.ready(tmp_path)
