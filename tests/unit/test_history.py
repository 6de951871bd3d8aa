"""`fab run.list`, `run.show`, `run.log`: what runs did, told by stages, filtered, followed."""

from __future__ import annotations

import json
import threading
import time

import pytest

from omsfab.cli import runs
from omsfab.fleet import hosts_file
from omsfab.plan.events import Event, RunEnd
from omsfab.plan.story import story
from omsfab.run import clock
from omsfab.run.record import journal as journals
from omsfab.run.record import local_lock
from omsfab.run.session import home_of
from tests.unit.test_looks_only import HOSTS, RUN, THEN, fab, half_done, place  # noqa: F401

LATER = "20260105T000000Z-node-restart-bbbb"
DAY = 86_400.0


@pytest.fixture
def home(place):  # noqa: F811
    return home_of(hosts_file.load(HOSTS))


@pytest.fixture(autouse=True)
def now(monkeypatch):
    """Ten days after the scale-out was begun."""
    monkeypatch.setattr(clock, "now", lambda: THEN + 10 * DAY)


def repair(home, name=LATER, node="oms1", *events, at=THEN + 4 * DAY):
    """A restart of one node, with these events behind its beginning."""
    journals.begin(
        home / name,
        {"task": "node.restart", "args": {"node": node}, "owner": "wu@jump1", "initial": ""},
    )
    book = journals.Journal(home / name)
    for n, (kind, text, data) in enumerate((("run", f"begun {name}", None), *events)):
        step = () if kind in ("run", "stage") else (node, "restart")
        book.write(Event(at + n, n, *(step or ("", "")), kind, text, data))
    book.close()


DONE = (
    ("stage", "1/1 node.restart", None),
    ("intent", "restart oms_427", None),
    ("done", "restart oms_427 (1.0 s)", None),
    ("run", "ended: 1 changes", RunEnd("done").data()),
)


def listed(capsys, *words):
    assert 0 == fab("run.list", *words, "--json")
    return [one["run"] for one in json.loads(capsys.readouterr().out)["runs"]]


def test_runs_stand_below_heads_the_newest_first(home, capsys):
    """Id, what was done on what, when, for how long, how it ended: a line a run."""
    repair(home, LATER, "oms1", *DONE)

    assert 0 == fab("run.list")

    heads, first, second, *_ = capsys.readouterr().out.splitlines()
    assert ["id", "task", "started (UTC)", "took", "outage", "outcome"] == [
        word.strip() for word in heads.split("  ") if word.strip()
    ]
    assert ["bbbb", "node.restart oms1", "01-05 00:00", "0:04", "-", "done"] == [
        word.strip() for word in first.split("  ") if word.strip()
    ]
    assert ["aaaa", "scale.out cn-hangzhou", "01-01 00:00", "0:01", "-", "cut off"] == [
        word.strip() for word in second.split("  ") if word.strip()
    ]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], {LATER, RUN}),
        (["--task=node"], {LATER}),
        (["--task=scale.out"], {RUN}),
        (["--state=open"], {RUN}),
        (["--state=done"], {LATER}),
        (["--since=7d"], {LATER}),
        (["--since=2026-01-02"], {LATER}),
        (["--since=20d", "--state=cut-off"], {RUN}),
        (["--region=cn-hangzhou"], {RUN}),
        (["--region=elsewhere"], set()),
    ],
)
def test_a_filter_leaves_what_it_says(home, capsys, words, wanted):
    repair(home, LATER, "oms1", *DONE)

    assert wanted == set(listed(capsys, *words))


def test_since_is_an_hour_of_that_day_in_utc(home, capsys):
    assert [] == listed(capsys, "--since=2026-01-01T00:01")
    assert [RUN] == listed(capsys, "--since=2026-01-01T08:00+08:00")


@pytest.mark.parametrize(
    ("words", "id"), [("--since=yesterday", "INPUT-043"), ("--state=good", "INPUT-042")]
)
def test_a_filter_that_means_nothing_says_what_would(home, capsys, words, id):
    assert 2 == fab("run.list", words)
    said = capsys.readouterr().err
    assert id in said
    assert "fab run.list" in said


@pytest.mark.parametrize(
    ("last", "outcome", "is_open"),
    [
        (("run", "failed: INIT-011", {"left": "failed"}), "failed", True),
        (("run", "failed: INIT-011", None), "failed", True),
        (("run", "let go by the operator", None), "detached", True),
        (("run", "detached by the operator (Ctrl-C)", {"left": "detached"}), "detached", True),
        (("run", "resumed x", None), "cut off", True),
        (("run", "ended: x", RunEnd("failed", 6, "RUN-004").data()), "failed", False),
        (("run", "ended: undone by x", RunEnd("undone", by="x").data()), "undone", False),
        (("run", "ended: abandoned by x", None), "abandoned", False),
    ],
)
def test_how_a_run_was_left_is_its_outcome(home, capsys, last, outcome, is_open):
    """By values; journals of an earlier omsfab say it in words alone."""
    repair(home, LATER, "oms1", *DONE[:2], last)

    fab("run.show", f"--run={LATER}", "--json")

    told = json.loads(capsys.readouterr().out)
    assert (outcome, is_open) == (told["outcome"], told["open"])


def test_a_run_whose_process_lives_is_running(home, capsys):
    """What a killed run has left in the lock file is none: the lock itself is asked."""
    repair(home, LATER, "oms1", *DONE[:2])
    (home / "lock").write_text(json.dumps({"run": LATER, "pid": 1, "owner": "x", "since": "y"}))
    assert [] == listed(capsys, "--state=running")

    with local_lock.held(home, LATER, "wu@jump1", "now"):
        assert [LATER] == listed(capsys, "--state=running")
        fab("run.show")
    said = capsys.readouterr().out
    assert "1 under way" in said
    assert f"next: fab run.log --run={LATER} --follow" in said


def test_show_tells_stages_with_what_was_done_and_what_was_left(home, capsys):
    """Numbered as in the plan: what changed, what is unknown, what was not begun."""
    assert 0 == fab("run.show")

    said = capsys.readouterr().out.splitlines()
    stages = [line.strip() for line in said if line[:3].strip().isdigit()]
    assert [str(n) for n in range(1, len(stages) + 1)] == [one.split()[0] for one in stages]
    assert any("stop production: 1 changed" in one for one in stages), stages
    assert any("1 begun, end not known" in one for one in stages), stages
    assert any(one.endswith("not started") for one in stages), stages
    assert any("? metadb  back up and delete the rows" in line for line in said), said


def test_show_as_json_has_each_step_of_each_stage(home, capsys):
    fab("run.show", "--json")

    told = json.loads(capsys.readouterr().out)
    states = {
        (step["step"], step["node"]): step["state"]
        for stage in told["stages"]
        for step in stage["steps"]
    }
    assert "changed" == states["stop-processes", "oms1"]
    assert "unknown" == states["clear-rows", "metadb"]
    assert "not started" == states["initialise", "oms1"]
    assert [f"fab run.resume --run={RUN}", f"fab run.undo --run={RUN}"] == told["next"]


def test_a_step_that_a_resumed_session_finds_done_was_changed_all_the_same():
    """Its second look says "satisfied"; that this run changed it stays so."""

    def heard(at, kind):
        return Event(at, at, "oms1", "image", kind, "send the image")

    first = [Event(0, 0, "", "", "stage", "2/9 stage the new nodes"), heard(1, "intent")]
    again = [heard(2, "done"), heard(3, "satisfied")]

    (stage,) = story([*first, *again])

    assert (2, ["changed"]) == (stage.number, [step.state for step in stage.steps])


def test_a_run_is_called_by_the_last_word_of_its_id(home, capsys):
    """`--run=aaaa`, as run.list shows it, for looking and for going on."""
    assert 0 == fab("run.show", "--run=aaaa")
    assert RUN in capsys.readouterr().out
    assert 0 == fab("--dry", "run.resume", "--run=aaaa")
    assert f"Run {RUN}" in capsys.readouterr().out


def test_a_last_word_that_two_runs_have_calls_neither(home, capsys):
    twin = "20260106T000000Z-node-restart-aaaa"
    repair(home, twin, "oms1", *DONE)

    assert 2 == fab("run.show", "--run=aaaa")
    capsys.readouterr()
    fab("run.list")

    assert {twin, RUN} <= set(capsys.readouterr().out.split())


def test_a_run_that_cannot_be_read_hides_no_other(home, capsys):
    repair(home, LATER, "oms1", *DONE)
    (home / LATER / "run.json").write_text("{")

    fab("run.list", "--json")

    told = json.loads(capsys.readouterr().out)["runs"]
    assert [("unreadable", "JRN-004"), ("cut off", None)] == [
        (one["outcome"], one["error"]) for one in told
    ]


def test_the_log_of_a_node_is_that_of_this_node(home, capsys):
    fab("run.log", "--node=metadb")

    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all("  metadb  " in line for line in lines)


def test_the_log_says_which_nodes_there_are(home, capsys):
    assert 2 == fab("run.log", "--node=oms9")
    assert "metadb" in capsys.readouterr().err


def test_the_log_as_json_is_the_events(home, capsys):
    fab("run.log", "--json")

    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert journals.read(home / RUN / "journal.jsonl").events == tuple(map(Event.of, told))


def test_a_followed_log_shows_what_comes_and_ends_with_the_run(home, monkeypatch, capsys):
    """From another terminal, as long as the run is under way."""
    repair(home, LATER, "oms1", *DONE[:2])
    monkeypatch.setattr(runs, "LOOK", 0.01)

    def goes_on():
        with local_lock.held(home, LATER, "wu@jump1", "now"):
            there.set()
            shown.wait()
            book = journals.Journal(home / LATER)
            book.write(Event(THEN, 9, "oms1", "restart", "line", "a later word"))
            book.write(Event(THEN, 9, "", "", "run", "ended: 1", RunEnd("done").data()))
            book.close()

    there, shown = threading.Event(), threading.Event()
    runner = threading.Thread(target=goes_on)
    runner.start()
    there.wait()
    real = time.sleep
    monkeypatch.setattr(runs.time, "sleep", lambda span: (shown.set(), real(span)))

    assert 0 == fab("run.log", f"--run={LATER}", "--follow")

    runner.join()
    assert "a later word" in capsys.readouterr().out


def test_a_run_that_nobody_carries_out_is_not_waited_for(home, capsys):
    """It was killed: what leads on stands there."""
    assert 0 == fab("run.log", "--follow")
    assert f"next: fab run.resume --run={RUN}" in capsys.readouterr().out
