"""Whoever asks about a run that has left OMS down is told so, with the same figure everywhere."""

from __future__ import annotations

import pytest

from omsfab.cli import fleet
from omsfab.commands import supervisor
from omsfab.errors import Detached, OmsfabError, StepFailed
from omsfab.fleet import hosts_file
from omsfab.plan.events import Event
from omsfab.run import clock, lifecycle
from omsfab.run.lifecycle import Order
from omsfab.run.record import journal as journals
from omsfab.run.session import home_of
from tests.unit.test_looks_only import HOSTS, RUN, THEN, fab, place  # noqa: F401  # a fixture
from tests.unit.test_undo_runs import the_plan, world

FROM_THEN = "OMS of cn-hangzhou is DOWN for 1:30 (since 00:00:10Z)"
ENDS = {
    "killed": [],
    "failed": ["failed: INIT-011"],
    "detached": ["let go by the operator"],
    "resumed": ["failed: INIT-011", "resumed x", "failed: INIT-011"],
}
"""How a session ended -> the words of the run in its journal behind the stop."""


def heard(at, state):
    states = dict.fromkeys(supervisor.PROGRAMS, state)
    return Event(THEN + at, at, "oms1", "any", "programs", "", {"states": states})


def told(directory, *words):
    """What the containers said: OMS ran, was stopped at second 10, and stands still since."""
    serving = {"serving": {"cn-hangzhou": ["oms1"]}}
    book = journals.Journal(directory)
    stop = Event(THEN + 10, 10, "oms1", "any", "programs", "", {"act": "stop"})
    for event in (
        Event(THEN, 0, "", "", "run", f"begun {directory.name}", serving),
        heard(5, "RUNNING"),
        stop,
        heard(12, "STOPPED"),
        *(Event(THEN + 20, 20, "", "", "run", word) for word in words),
    ):
        book.write(event)
    book.close()
    return directory


@pytest.fixture
def now(monkeypatch):
    """Ninety seconds later."""
    monkeypatch.setattr(clock, "now", lambda: THEN + 100)


@pytest.fixture
def asked(monkeypatch):
    """What the nodes would say now: OMS is stopped on the first, and nothing is on the second."""
    states = dict.fromkeys(supervisor.PROGRAMS, "STOPPED")
    rows = (
        fleet.Row(
            "oms1", "10.0.0.1", "cn-hangzhou", "running", states=states, health="unhealthy",
            host="ONLINE", beat=9,
        ),
        fleet.Row("oms2", "10.0.0.2", "cn-hangzhou", "absent"),
    )  # fmt: skip
    monkeypatch.setattr(fleet, "ask", lambda loaded: fleet.State(rows))


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize(
    "words",
    [
        ["run.list"],
        ["run.show", f"--run={RUN}"],
        ["--dry", "run.resume"],
        ["--dry", "run.undo"],
        ["fleet.status"],
        ["run.report"],
    ],
    ids=" ".join,
)
def test_each_screen_says_that_production_stands_still(place, now, asked, capsys, how, words):  # noqa: F811
    """After a kill, a failure, Ctrl-C, and a resumed run that failed once more."""
    told(home_of(hosts_file.load(HOSTS)) / RUN, *ENDS[how])

    assert (5 if words == ["fleet.status"] else 0) == fab(*words)

    said = capsys.readouterr().out
    if words[0] == "run.report":
        said = (home_of(hosts_file.load(HOSTS)) / RUN / "report.html").read_text()
    assert FROM_THEN in " ".join(said.split())


@pytest.mark.parametrize("words", [["run.list"], ["run.show"], ["run.report"], ["fleet.status"]])
def test_a_single_node_that_was_stopped_is_told_with_what_starts_it(
    place,  # noqa: F811
    now,
    asked,
    capsys,
    words,
):
    """node.stop comes to a good end, and OMS stays down."""
    home = home_of(hosts_file.load(HOSTS))
    run = home / "20260102T000000Z-node-stop-bbbb"
    record = {"task": "node.stop", "args": {"node": "oms1"}, "owner": "li", "initial": ""}
    journals.begin(run, record)
    told(run, "ended: 1 changes")

    assert (5 if words == ["fleet.status"] else 0) == fab(*words)

    said = capsys.readouterr().out
    if words[0] == "run.report":
        said = (run / "report.html").read_text()
    said = " ".join(said.split())
    assert FROM_THEN in said
    assert words[0] == "fleet.status" or "node.start brings it back" in said


def ended(home, monkeypatch, how):
    """A resumed run that ends so, and what it raises."""
    run = home / RUN
    journals.begin(run, {"task": "scale.out", "args": {}, "owner": "x", "initial": ""})
    told(run)

    def carry_out(self, plan):
        self._changed.append("oms1: stop")
        raise how

    monkeypatch.setattr("omsfab.run.engine.runner.Runner.carry_out", carry_out)
    past = journals.read(run / "journal.jsonl")
    with pytest.raises(OmsfabError) as error:
        lifecycle.carry_out(world(home), Order(run, the_plan("scale.out"), lease=True, past=past))
    return error.value


@pytest.mark.parametrize("how", [StepFailed("INIT-011", "failed"), KeyboardInterrupt()])
def test_a_failure_and_ctrl_c_begin_with_the_outage(tmp_path, now, monkeypatch, how):
    """Ctrl-C said only that docker_init.sh keeps running."""
    error = ended(tmp_path, monkeypatch, how)

    first = error.render().splitlines()[0]
    assert isinstance(error, Detached if isinstance(how, KeyboardInterrupt) else StepFailed)
    assert f"OUTAGE  {FROM_THEN}; run.resume or run.undo brings it back" == first
