"""How long OMS was down, out of recorded events: what the containers said, never a step's name."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from omsfab.cli import runs
from omsfab.commands import supervisor
from omsfab.commands.supervisor import uptimes
from omsfab.errors import PreflightError, StepFailed
from omsfab.plan.events import Event
from omsfab.plan.outage import Outage, outage
from omsfab.plan.records import Await, Plan, Programs, Run, Stage, Step
from omsfab.run.engine import interpreter as site_module
from omsfab.run.engine import runner as runner_module
from omsfab.run.engine.interpreter import Interpreter
from omsfab.run.engine.runner import Runner
from omsfab.run.record import journal as journals
from omsfab.run.record.outages import History, cure
from omsfab.run.resume import resume
from omsfab.run.session import Flags, Session
from omsfab.show.text import clock_span, outage_text
from omsfab.ssh.protocol import Result

PROGRAMS = ("nginx", "oms_console", "oms_drc_cm", "oms_drc_supervisor", "sshd")


def begun(**serving):
    data = {"serving": {region.replace("_", "-"): nodes for region, nodes in serving.items()}}
    return Event(0.0, 0.0, "", "", "run", "begun x", data)


def stop(at, node="oms1"):
    return Event(at, at, node, "any", "programs", "", {"act": "stop"})


def seen(at, state="RUNNING", node="oms1", *, up=0.0, settled=None, **others):
    states = {name: state for name in PROGRAMS} | others
    uptime = {name: up for name, now in states.items() if now == "RUNNING"}
    data = {"states": states, "uptime": uptime}
    if settled is not None:
        data["settled"] = settled
    return Event(at, at, node, "any", "programs", "", data)


ONE = begun(cn_lab=["oms1"])
STOPPED = (ONE, seen(5, up=900), stop(10), seen(12, "STOPPED"))


def figures(found: Outage | None):
    return found and (found.nodes, found.since, found.until, found.seconds)


def test_it_lasts_from_the_intent_of_the_stop_to_the_end_of_the_initialisation():
    """The stop's intent is the earliest bound; what started the programs had ended at 60."""
    found = outage([*STOPPED, seen(61, up=3, settled=60)])

    assert (("oms1",), 10, 60, 50) == figures(found)


def test_a_run_that_fails_in_it_leaves_oms_down():
    """Down until it is asked; a component that does not start leaves the whole OMS down."""
    broken = (*STOPPED, seen(61, up=9, oms_drc_supervisor="FATAL"))

    assert (("oms1",), 10, None, 90) == figures(outage(broken, now=100))


def test_a_detached_run_leaves_oms_down_until_somebody_sees_it_up():
    """What is not known to be over is not over; the container's word counts, not the hour of it."""
    later = [seen(600, up=530)]

    assert (("oms1",), 10, None, 590) == figures(outage(STOPPED, now=600))
    assert (("oms1",), 10, 70, 60) == figures(outage(STOPPED, now=700, later=later))


def test_a_killed_and_resumed_run_counts_what_the_container_lived_through():
    """docker_init.sh ended at 70 by itself; the run was resumed ten minutes later."""
    resumed = Event(660, 1, "", "", "run", "resumed x")

    found = outage([*STOPPED, resumed, seen(670, up=605, settled=70)])

    assert (("oms1",), 10, 70, 60) == figures(found)


def test_a_stop_that_never_came_to_be_is_no_outage():
    """Killed between the intent and the command: the programs' uptime says so."""
    assert outage([ONE, seen(5, up=900), stop(10), seen(600, up=1495)]) is None


def test_programs_that_stood_still_before_are_no_outage_of_the_run():
    """Somebody had stopped OMS by hand; the run has only found that."""
    assert outage([ONE, seen(5, "STOPPED"), stop(10), seen(60, up=5)]) is None


def test_a_program_that_was_broken_before_does_not_prolong_it():
    """What ran before runs again: that is the end, whatever else is FATAL."""
    events = [
        ONE,
        seen(5, up=900, crond="FATAL"),
        stop(10),
        seen(12, "STOPPED", crond="FATAL"),
        seen(62, up=3, settled=60, crond="FATAL"),
    ]

    assert (("oms1",), 10, 60, 50) == figures(outage(events))


def test_a_new_node_is_never_down():
    """It did not serve before, so it interrupts nobody when it is initialised."""
    new = [seen(20, node="oms2"), stop(30, "oms2"), seen(31, "STOPPED", "oms2")]

    assert (("oms1",), 10, 60, 50) == figures(outage([*STOPPED, *new, seen(61, up=2, settled=60)]))


def test_a_rollback_ends_the_outage_of_the_run_before_it():
    """The run failed; run.undo started the programs at 300."""
    back = [stop(200), seen(201, "STOPPED"), seen(302, up=3, settled=300)]

    assert (("oms1",), 10, 300, 290) == figures(outage(STOPPED, now=400, later=back))


def test_what_a_later_run_stops_is_its_own_outage():
    """The first one is over by then."""
    over = [*STOPPED, seen(61, up=3, settled=60)]

    assert 50 == outage(over, now=900, later=[stop(500), seen(501, "STOPPED")]).seconds


def test_a_single_node_that_is_stopped_stays_down():
    """node.stop comes to a good end, and OMS is down: on this node, the others serve."""
    events = [
        begun(cn_lab=["oms1", "oms2"]),
        seen(5, up=900),
        stop(10),
        seen(12, "STOPPED"),
    ]

    found = outage(events, now=40)

    assert (("oms1",), 10, None, 30) == figures(found)
    assert "OMS of cn-lab is DOWN on oms1 for 0:30 (since 00:00:10Z)" == outage_text(found)


def test_nodes_one_after_another_are_down_as_long_as_any_of_them_is():
    """Two restarts of 10 s with a pause between: 20 s in two parts, and no longer."""
    events = [
        begun(cn_lab=["oms1", "oms2"]),
        stop(10),
        seen(20, settled=20),
        stop(50, "oms2"),
        seen(60, node="oms2", settled=60),
    ]

    found = outage(events)

    assert ((10, 20), (50, 60)) == found.spans
    assert (("oms1", "oms2"), 10, 60, 20) == figures(found)


def test_nodes_side_by_side_count_once():
    """Both were down from 10 to 40: 30 s, and no node of the region served."""
    both = begun(cn_lab=["oms1", "oms2"])
    events = [both, stop(10), stop(15, "oms2"), seen(30), seen(40, node="oms2")]

    found = outage(events)

    assert 30 == found.seconds
    assert "OMS of cn-lab was DOWN for 0:30 (00:00:10Z to 00:00:40Z)" == outage_text(found)


def test_a_machine_that_goes_down_meanwhile_is_seen():
    """Nobody of ours stopped them: known from the moment they were seen not to run."""
    assert (("oms1",), 30, None, 70) == figures(outage([ONE, seen(5), seen(30, "EXITED")], now=100))


def test_no_event_no_outage():
    """Runs that stop nothing, and journals of an omsfab that did not ask yet."""
    old = Event(10, 0, "oms1", "stop-processes", "intent", "stop")

    assert (None, None) == (outage([]), outage([ONE, old]))


@pytest.mark.parametrize(
    ("text", "span"), [("0:09", 9.4), ("1:18", 78), ("14:20", 860), ("1:02:03", 3723)]
)
def test_durations_are_written_as_a_clock_shows_them(text, span):
    """Minutes and seconds, hours only where there are some."""
    assert text == clock_span(span)


# --- over the runs of a jump host ----------------------------------------------------------------


def run(home, name, task, *events, **args):
    directory = home / name
    journals.begin(directory, {"task": task, "args": args})
    book = journals.Journal(directory)
    for event in events:
        book.write(event)
    book.close()
    return directory


ENDED = Event(900, 0, "", "", "run", "ended: undone by y")


def test_a_rolled_back_run_is_over_when_its_rollback_started_the_programs(tmp_path):
    """Its journal ends with OMS down; that of run.undo knows more."""
    first = run(tmp_path, "1-a", "scale.out", *STOPPED, ENDED)
    run(tmp_path, "2-b", "run.undo", ONE, seen(250, "STOPPED"), seen(302, up=3), run="1-a")

    assert (("oms1",), 10, 302, 292) == figures(History(tmp_path).outage(first, 1000))


def test_a_rollback_that_fails_has_the_outage_it_was_to_end(tmp_path):
    """It found the programs stopped already: by the run it rolls back."""
    run(tmp_path, "1-a", "scale.out", *STOPPED)
    back = run(tmp_path, "2-b", "run.undo", ONE, seen(250, "STOPPED"), run="1-a")

    assert (("oms1",), 10, None, 290) == figures(History(tmp_path).outage(back, 300))


def test_a_run_that_cannot_be_read_hides_no_other(tmp_path):
    """A damaged journal beside it."""
    first = run(tmp_path, "1-a", "node.stop", *STOPPED)
    (run(tmp_path, "2-b", "node.start", seen(50, up=1)) / "journal.jsonl").write_text("{}\n{}\n")

    assert History(tmp_path).outage(first, 100).down


def test_a_journal_of_a_later_omsfab_is_read_all_the_same(tmp_path):
    """What it added to an event is left out; what this one knows is there."""
    book = journals.Journal(tmp_path)
    book.write(stop(10))
    book.close()
    path = tmp_path / "journal.jsonl"
    path.write_text(path.read_text().replace('"prev"', '"stage": 3, "prev"'))

    assert [stop(10)] == list(journals.read(path).events)


# --- journals of an earlier omsfab ---------------------------------------------------------------

OLD = Path(__file__).parent / "runs" / "20261124T230512Z-scale-out-3f9c"
"""Recorded by the code of commit bba7584: schema 1, killed behind the stop of production."""


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A state directory with that run alone."""
    monkeypatch.setattr(runs, "_home", lambda: tmp_path)
    return shutil.copytree(OLD, tmp_path / OLD.name)


@pytest.mark.parametrize(
    "tell",
    [
        lambda: runs.runs(region="", task="", state="", since="", as_json=False),
        lambda: runs.show("", as_json=False),
    ],
)
def test_a_run_of_an_omsfab_that_did_not_watch_says_so(old, capsys, tell):
    """run.list and run.show: no outage was recorded, which is not that there was none."""
    tell()

    said = " ".join(capsys.readouterr().out.split())
    assert "whether OMS was down is not recorded" in said


def test_its_report_does_not_say_that_oms_was_never_down(old):
    """Where the figure stands, the page says that there is none."""
    runs.report("", str(old / "page.html"))
    page = (old / "page.html").read_text()

    assert "not recorded" in page
    assert "not at all" not in page


def test_its_refused_resume_says_it_first(fleet, old):
    """PLAN-004 of a run that another omsfab has recorded: what matters stands at the top."""
    session = Session(Flags(), fleet)
    session.home = old.parent

    with pytest.raises(PreflightError, match="another form") as caught:
        resume(session, OLD.name)

    assert caught.value.render().startswith("OUTAGE  whether OMS was down is not recorded")


def test_a_run_that_has_touched_no_program_has_nothing_to_say_of_it(old):
    """Its staging alone is no outage, whoever recorded it."""
    book = old / "journal.jsonl"
    lines = book.read_text().splitlines(keepends=True)
    stop = next(n for n, line in enumerate(lines) if "stop-processes" in line)
    book.write_text("".join(lines[:stop]))

    assert History(old.parent).recorded(old)


# --- where it is told ----------------------------------------------------------------------------


def test_uptimes_are_read_as_supervisord_prints_them():
    """Of programs that are RUNNING: hours, minutes, seconds, and days before them."""
    text = (
        "nginx                RUNNING   pid 12, uptime 0:01:03\n"
        "oms_console          RUNNING   pid 7, uptime 2 days, 1:00:05\n"
        "oms_drc_cm           RUNNING   pid 7, uptime 1 day, 0:00:00\n"
        "oms_drc_supervisor   FATAL     Exited too quickly (process log may have details)\n"
        "sshd                 STARTING\n"
    )

    assert {"nginx": 63.0, "oms_console": 176405.0, "oms_drc_cm": 86400.0} == uptimes(text)


def test_a_failure_screen_begins_with_the_outage():
    """What matters first: production stands still, since when, and what brings it back."""
    error = StepFailed("INIT-011", "docker_init.sh failed", where="oms1")
    error.outage = outage_text(outage(STOPPED, now=88), cure("scale.out", ended=False))

    assert [
        "OUTAGE  OMS of cn-lab is DOWN for 1:18 (since 00:00:10Z);"
        " run.resume or run.undo brings it back",
        "",
        "INIT-011  docker_init.sh failed",
    ] == error.render().splitlines()[:3]


class Container:
    """A shell whose supervisorctl says one thing after the other."""

    def __init__(self, *said):
        self.said = list(said)

    def run(self, command, on_line=None):
        return Result(0, self.said.pop(0) if len(self.said) > 1 else self.said[0], "")


UP = "nginx   RUNNING   pid 12, uptime 0:00:03\n"
DOWN = "nginx   STOPPED   Nov 25 07:04 PM\n"


def heard(site, work):
    events = []

    def tell(kind, text, data=None):
        events.append((kind, data))

    work(site, tell)
    return [data for kind, data in events if kind == "programs"]


def test_the_interpreter_tells_what_the_programs_do(tmp_path):
    """Once for each change that it sees, not once for each question."""
    site = Interpreter("r", tmp_path, {"oms1": Container(UP, UP, DOWN, UP)}, None)
    asked = Programs(supervisor.status("oms"))

    told = heard(site, lambda site, tell: [site.ask(asked, "oms1", tell) for _ in range(4)])

    assert ["RUNNING", "STOPPED", "RUNNING"] == [data["states"]["nginx"] for data in told]
    assert {"nginx": 3.0} == told[-1]["uptime"]


def test_the_intent_of_a_stop_is_told_before_it(tmp_path):
    """It is the earliest bound of the outage, also for a run that is killed in it."""
    site = Interpreter("r", tmp_path, {"oms1": Container("")}, None)
    stopping = Run(supervisor.stop_all("oms"), programs="stop")

    told = heard(site, lambda site, tell: site.perform(stopping, Step("s", "oms1", "s"), 1, tell))

    assert [{"act": "stop"}] == told


def test_a_wait_says_what_it_waits_for(tmp_path, monkeypatch):
    """Every few seconds, with the reason why it is not so yet."""
    seconds = iter(range(0, 10_000, 4))
    monkeypatch.setattr(site_module.time, "monotonic", lambda: float(next(seconds)))
    monkeypatch.setattr(site_module.time, "sleep", lambda span: None)
    site = Interpreter(
        "r", tmp_path, {"oms1": Container(DOWN.replace("STOPPED", "STARTING"))}, None
    )
    said = []

    def tell(kind, text, data=None):
        if kind == "state":
            said.append(text)

    site.ask(Await(Programs(supervisor.status("oms")), limit=40), "oms1", tell)

    assert [
        "waiting, 12 s of 40 s: nginx is STARTING",
        "waiting, 24 s of 40 s: nginx is STARTING",
        "waiting, 36 s of 40 s: nginx is STARTING",
    ] == said


def test_a_command_that_says_nothing_is_told_of(monkeypatch):
    """docker load takes minutes: its step goes on, and so is said."""
    monkeypatch.setattr(runner_module, "SIGN_EVERY", 0.3)
    events = []

    class World:
        def ask(self, probe, node, tell):
            return None

        def ended(self, step, attempt):
            return True

        def perform(self, effect, step, attempt, tell):
            threading.Event().wait(1.2)

    load = Step("image", "oms2", "load it", apply=(Run(supervisor.stop_all("oms")),))
    Runner(World(), events.append).carry_out(Plan("t", "t", (), (Stage("s", (load,)),)))

    assert "load it: 0 s so far" in [e.text for e in events if e.kind == "state"]
