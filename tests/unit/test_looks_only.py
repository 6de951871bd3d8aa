"""With `fab --dry` and with --plan no byte changes, whichever task it is."""

from __future__ import annotations

import inspect
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from fabric import Config, Executor
from fabric.main import Fab
from invoke.exceptions import Exit

from omsfab import next_line
from omsfab.errors import InputError, StepFailed
from omsfab.fleet import hosts_file
from omsfab.fleet.values import CmUrl
from omsfab.plan.events import Event
from omsfab.plan.observed import NodeFacts, Observed
from omsfab.plan.procedures import scale_out, undo
from omsfab.plan.progress import progress
from omsfab.run.confirmation import Flags, confirm
from omsfab.run.record import journal as journals
from omsfab.run.record.decisions import FORM, digest
from omsfab.run.session import home_of
from omsfab.show.progress import progress_lines
from tasks import guarded, namespace

ROOT = Path(__file__).parents[2]
HOSTS = ROOT / "tests/unit/good_hosts/one-region.yaml"
RUN = "20260101T000000Z-scale-out-aaaa"
THEN = 1767225600.0
KEY = "SHA256:" + "A" * 43


class Contact(BaseException):
    """A socket was opened; no handler of errors may swallow that."""


def begun(base):
    """The state directory of a jump host with a run that is half done; made once."""
    state = base / "begun"
    if not state.exists():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OMSFAB_HOME", str(state))
            half_done(hosts_file.load(HOSTS))
    return state


@pytest.fixture
def place(tmp_path, monkeypatch, tmp_path_factory):
    """A jump host with a run that is half done; all that it has is below this directory."""
    monkeypatch.setenv("OMSFAB_HOSTS", str(HOSTS))
    monkeypatch.setenv("OMS_META_PASSWORD", "x")
    monkeypatch.setenv("OMSFAB_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/known_hosts").write_text("oms1 ssh-ed25519 AAAA\n")
    shutil.copytree(begun(tmp_path_factory.getbasetemp()), tmp_path / "state")
    return tmp_path


def half_done(fleet):
    """A scale-out that has stopped OMS on its first node, and was killed in the next step."""
    region = fleet.regions[0]
    first = region.nodes[0]
    present = Observed(
        clusters={region.location: CmUrl(first.ip, 8088)},
        hosts={first.ip: "ONLINE"},
        nodes={
            node.name: NodeFacts(container="running" if node == first else "absent", has_image=True)
            for node in region.nodes
        },
        image=fleet.install.image,
    )
    args = {"nodes": "", "region": region.name, "accept_interruption": ""}
    plan = scale_out.scale_out(fleet, present, **args)
    directory = home_of(fleet) / RUN
    home_of(fleet).mkdir(parents=True, mode=0o700)
    record = {
        "task": "scale.out",
        "args": args,
        "owner": "li@jump1#3fa9c1",
        "fleet": undo.public(fleet),
        "present": present.record(),
        "form": FORM,
        "digest": digest(plan, RUN),
        "initial": plan.initial,
        "steps": [step.key for step in plan.steps if step.apply],
    }
    journals.begin(directory, record)
    book = journals.Journal(directory)
    book.write(Event(THEN, 0, "", "", "run", f"begun {RUN}"))
    for step in plan.steps:
        if step.name == "clear-rows":
            book.write(Event(THEN + 1, 1, step.node, step.name, "intent", step.title))
            break
        if step.apply:
            book.write(Event(THEN + 1, 1, step.node, step.name, "intent", step.title))
        book.write(Event(THEN + 1, 1, step.node, step.name, "done", step.title))
    book.close()
    return plan


GIVEN = {
    "run": RUN,
    "file": "/nowhere.jsonl",
    "command": "touch x",
    "node": "oms1",
    "replace": KEY,
    "out": "report.html",
}
"""What a flag is given, so that a task does something if it does anything."""


def flags_of(name: str):
    """Not by get_arguments(), which uses the help of a task up."""
    return {word.strip("_") for word in inspect.signature(namespace[name].body).parameters} - {"c"}


def calls(look: str, given=GIVEN):
    """Every task of the tree, as it is called; each flag that is known gets its value."""
    for name in sorted(namespace.task_names):
        flags = flags_of(name)
        if look == "--plan" and "plan" not in flags:
            continue
        words = [f"--{flag}={given[flag]}" for flag in sorted(flags & given.keys())]
        bare = [word for word in words if not word.startswith("--replace=")]
        extra = ["--yes"] if "yes" in flags else []
        yield name, [*words, *extra]
        if bare != words:
            yield name, [*bare, *extra]
        if name in ("run.resume", "run.undo"):
            yield name, extra
            yield name, ["--from=oms1", *extra]


def snapshot(place):
    """Every file with its content, its mode and its time, and every directory."""
    return {
        str(path.relative_to(place)): (
            path.read_bytes() if path.is_file() else b"",
            path.stat().st_mode,
            path.stat().st_mtime_ns if path.is_file() else 0,
        )
        for path in place.rglob("*")
    }


def fab(*words):
    """Run the task tree here, as `fab` does; returns its exit status."""
    program = Fab(version="0", namespace=namespace, executor_class=Executor, config_class=Config)
    helps = {name: dict(namespace[name].help) for name in namespace.task_names}
    typed, sys.argv = sys.argv, ["fab", *words]  # what an error without a line of its own repeats
    try:
        program.run(["fab", *words])
    except SystemExit as end:
        return end.code
    finally:
        sys.argv = typed
        for name, help in helps.items():  # a parser uses it up
            namespace[name].help = help
    return 0


@pytest.mark.parametrize(("name", "words"), list(calls("--dry")))
def test_dry_contacts_nobody_and_changes_nothing(place, monkeypatch, capsys, name, words):
    """Every task of the tree: no socket is opened, no byte below the jump host's home changes."""
    before = snapshot(place)

    def refuse(*_, **__):
        raise Contact(name)

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    fab("--dry", name, *words)

    said = capsys.readouterr()
    assert before == snapshot(place)
    assert "BUG-00" not in said.err
    assert said.out or "INPUT-" in said.err or "TSDB-" in said.err or "CERT-" in said.err, said.err


@pytest.mark.parametrize(("name", "words"), list(calls("--plan")))
def test_plan_changes_no_byte_on_the_jump_host(place, monkeypatch, capsys, name, words):
    """Every task that has --plan, with all nodes away; the lab tells of nodes and MetaDB."""
    before = snapshot(place)

    def away(*_, **__):
        raise OSError(113, "No route to host")

    monkeypatch.setattr(socket.socket, "connect", away)
    monkeypatch.setattr(socket, "create_connection", away)

    fab(name, *words, "--plan")

    assert before == snapshot(place)
    assert "BUG-00" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", sorted(name for name in namespace.task_names if {"json", "yes"} <= flags_of(name))
)
def test_json_that_would_have_to_ask_is_refused_at_once(place, monkeypatch, capsys, name):
    """INPUT-023 before any socket is opened, not behind a minute of questions to nodes."""

    def refuse(*_, **__):
        raise Contact(name)

    monkeypatch.setattr(socket, "socket", refuse)
    words = [f"--{flag}={GIVEN[flag]}" for flag in sorted(flags_of(name) & GIVEN.keys())]

    assert 2 == fab(name, *words, "--json")
    assert "INPUT-023" in capsys.readouterr().err


def test_a_state_directory_is_not_made_by_looking(tmp_path, monkeypatch):
    """The first `fab --dry` of a new user leaves his home as it was."""
    monkeypatch.setenv("OMSFAB_HOSTS", str(HOSTS))
    monkeypatch.setenv("OMS_META_PASSWORD", "x")
    monkeypatch.setenv("OMSFAB_HOME", str(tmp_path / "state"))

    assert 0 == fab("--dry", "scale.out")
    assert 0 == fab("run.list")
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("node.status", {"plan", "yes"}),
        ("node.logs", {"plan", "yes"}),
        ("node.check", {"plan", "yes"}),
        ("node.trust", {"json"}),
        ("lock.break", {"json"}),
        ("run.abandon", {"yes", "json"}),
        ("fleet.status", {"plan", "yes"}),
        ("meta.save", {"yes", "json"}),
    ],
)
def test_a_flag_that_means_nothing_is_not_there(name, without):
    """--plan on a task that only asks would promise a difference."""
    assert set() == without & flags_of(name)


# --- before a run goes on ------------------------------------------------------------------------


def test_resume_tells_what_is_done_unknown_and_left(place, capsys):
    """A bare run.resume names the run that it picked, and how old it is."""
    fab("--dry", "run.resume")

    said = capsys.readouterr().out
    assert f"Run {RUN}\n" in said
    assert "fab scale.out --region=cn-hangzhou, started by li@jump1#3fa9c1" in said
    assert "days ago" in said
    assert "  unknown   metadb: back up and delete the rows" in said
    assert "initialise" in said[said.index("  remains") :]
    assert "OMS processes are stopped in" in said
    assert all(len(line) <= 80 for line in said.splitlines() if line[:2] == "  "), said


def test_undo_tells_which_run_and_how_old_it_is(place, capsys):
    """The newest that can be rolled back may be from last month."""
    fab("--dry", "run.undo")

    said = capsys.readouterr().out
    assert said.startswith(f"run {RUN} (fab scale.out --region=cn-hangzhou, started ")
    assert "days ago by li@jump1" in said


@pytest.mark.parametrize("task", ["run.resume", "run.undo"])
def test_without_a_terminal_a_run_does_not_go_on_unasked(place, monkeypatch, capsys, task):
    """INPUT-023, and nothing has changed; the line with --yes stands there."""
    before = snapshot(place / "state")
    monkeypatch.setattr("sys.stdin", None)
    monkeypatch.setattr("omsfab.run.recorded.refuse_others", lambda *_, **__: None)

    assert 2 == fab(task)

    error = capsys.readouterr().err
    assert "INPUT-023" in error
    assert f"fab {task} --run={RUN} --yes" in error
    assert before == snapshot(place / "state")


def test_a_run_that_was_never_begun_is_not_picked(place, capsys):
    """A task that was refused by a lock came back to life: run.resume restarted a container."""
    later = home_of(hosts_file.load(HOSTS)) / "20270101T000000Z-node-restart-bbbb"
    journals.begin(later, {"task": "node.restart", "args": {"node": "oms1"}, "initial": ""})

    fab("--dry", "run.resume")

    assert f"Run {RUN}\n" in capsys.readouterr().out


def test_a_stage_that_is_done_in_part_names_the_nodes_that_are_left(place):
    """Numbers are those of the plan; nothing is cut at 80 columns."""
    fleet = hosts_file.load(HOSTS)
    past = journals.read(home_of(fleet) / RUN / "journal.jsonl")
    record = journals.load_record(home_of(fleet) / RUN)
    plan = scale_out.scale_out(fleet, Observed.of(record["present"]), **record["args"])
    how = progress(plan, past.events)

    lines = list(progress_lines(how, run=RUN, of="fab scale.out", by="li", now=how.began + 200))

    assert (1, 2, 3) == how.stages_done[:3]
    assert ["clear-rows"] == [step.name for step in how.unknown]
    assert 5 == how.left[0].number
    assert "started by li 3 min ago" in lines[1]


def test_a_guess_is_headed_as_one(place, capsys):
    """`--dry` said "because cm_url in MetaDB is …", and asked nobody."""
    fab("--dry", "scale.out")

    said = capsys.readouterr().out
    assert said.startswith("ASSUMED (nothing was asked)")
    assert "  assuming  cm_url in MetaDB" in said
    assert "because" not in said


def test_a_backup_that_is_not_there_leads_to_those_that_are(place, capsys):
    """A typo led to run.resume."""
    saved = home_of(hosts_file.load(HOSTS)) / "saved/20260102T000000Z-meta-save/rows.jsonl"
    saved.parent.mkdir(parents=True)
    saved.write_text("{}\n")

    assert 2 == fab("meta.restore", "--file=/nope.jsonl")

    error = capsys.readouterr().err
    assert "INPUT-041" in error
    assert f"fab meta.restore --file={saved} --plan" in error
    assert "run.resume" not in error


def test_what_can_never_be_rolled_back_invites_nobody_to_another_rollback(place, capsys):
    """run.undo of a node.stop named the scale-out: production would have been torn down."""
    older = home_of(hosts_file.load(HOSTS)) / "20250101T000000Z-node-stop-bbbb"
    journals.begin(
        older, {"task": "node.stop", "args": {"node": "oms1"}, "owner": "li", "initial": ""}
    )
    book = journals.Journal(older)
    book.write(Event(THEN, 0, "oms1", "stop-processes", "intent", ""))
    book.close()

    assert 2 == fab("run.undo", f"--run={older.name}")

    error = capsys.readouterr().err
    assert "RUN-027" in error
    assert "fab run.undo" not in error


@pytest.mark.parametrize("changed", ["nothing", "oms1: a"])
def test_a_node_that_falls_silent_before_anything_is_exit_3(monkeypatch, capsys, changed):
    """Outside a run there is nothing to resume: the task once more."""
    monkeypatch.setattr("sys.argv", ["fab", "node.exec", "--command=echo a; touch X"])

    def body():
        raise StepFailed("SSH-021", "silent", changed=changed, next=next_line.fab("run.resume"))

    with pytest.raises(Exit) as end:
        guarded(body)()

    error = capsys.readouterr().err
    quoted = "fab node.exec '--command=echo a; touch X'"
    assert (3, True) == (end.value.code, quoted in error) or changed != "nothing"
    assert (6, True) == (end.value.code, "fab run.resume" in error) or changed == "nothing"


# --- the one question ----------------------------------------------------------------------------


class Terminal:
    """What is typed, and what is shown."""

    def __init__(self, *typed):
        self.typed, self.shown = list(typed), ""

    def isatty(self):
        return True

    def readline(self):
        return self.typed.pop(0) if self.typed else ""

    def write(self, text):
        self.shown += text

    def flush(self):
        pass


@pytest.fixture
def asked(monkeypatch, capsys):
    """Ask on a terminal where this is typed; returns what it showed, and the error, if any."""

    def ask(*typed, **flags):
        terminal, error = Terminal(*typed), None
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdin", terminal)
            patch.setattr("sys.stderr", terminal)
            try:
                confirm(
                    Flags(**flags), "Stop OMS on oms1.", next_line.fab("node.stop", node="oms1")
                )
            except InputError as refused:
                error = refused.id
        assert capsys.readouterr().out == ""
        return terminal.shown, error

    return ask


def test_yes_in_full_is_a_yes(asked):
    """On the terminal, never on standard output, which may be a file."""
    assert ("Stop OMS on oms1. Continue? [yes/no] ", None) == asked("yes\n")


@pytest.mark.parametrize("typed", [["no\n"], ["\n"], [], ["y\n", "y\n", "y\n"], ["y\n", "no\n"]])
def test_anything_else_is_no(asked, typed):
    """One rule for all questions: a lone y is asked about once more."""
    assert "INPUT-024" == asked(*typed)[1]


def test_a_second_try_may_be_in_full(asked):
    """What is wanted is said."""
    shown, error = asked("y\n", "YES\n")

    assert (None, True) == (error, "Please type yes or no: " in shown)


def test_json_asks_nothing(asked):
    """Its plan is not on the screen, so nobody knows to what the answer would be."""
    assert ("", "INPUT-023") == asked("yes\n", json=True)
    assert ("", None) == asked(json=True, yes=True)


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_stops_nothing(place, closed):
    """J20: cron, or an operator, may have closed any of the three."""
    line = f'"$@" {closed}'
    words = [str(Path(sys.executable).with_name("fab")), "--dry", "scale.out"]
    done = subprocess.run(["sh", "-c", line, "sh", *words], cwd=ROOT, check=False, timeout=60)

    assert 0 == done.returncode
