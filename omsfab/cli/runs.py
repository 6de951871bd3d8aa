"""`fab run.list`, `run.show`, `run.log`, `run.report`: what runs did, as their journals tell it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omsfab.errors import InputError, Next, OmsfabError
from omsfab.fleet.mask import one_line, plain
from omsfab.next_line import fab, meant
from omsfab.plan.events import Event
from omsfab.plan.outage import Outage
from omsfab.plan.procedures import undo
from omsfab.plan.procedures.registry import TASKS
from omsfab.plan.records import Plan
from omsfab.plan.story import StageTold, story
from omsfab.run import clock
from omsfab.run.record import journal as journals
from omsfab.run.record import local_lock
from omsfab.run.record.outages import History
from omsfab.run.record.past_run import PastRun, short, whole_name
from omsfab.run.record.past_run import runs as past_runs
from omsfab.run.session import home_of, hosts_path, load
from omsfab.show import columns
from omsfab.show.document import document
from omsfab.show.history import log_line, moment, stage_lines
from omsfab.show.progress import age, folded
from omsfab.show.report import Axis, html, warnings
from omsfab.show.text import NOT_RECORDED, clock_span, outage_text

OUTCOMES = (
    "done", "failed", "undone", "abandoned", "unchanged",  # how it ended
    "running", "detached", "cut off", "not started",  # it has not; or failed, and can be resumed
    "unreadable",
)  # fmt: skip
WORDS = {"undone": "rolled back", "unchanged": "nothing changed"}
"""Outcomes that have other words on a screen."""

HEADS = ("id", "task", "started (UTC)", "took", "outage", "outcome")
GOES_FIRST = ("outage", "took")


@dataclass(frozen=True, slots=True)
class RunTold:
    """A run as list and show tell it; times are seconds since the epoch, ``took`` is in seconds,
    without the time in which it lay still before it was resumed."""

    run: str
    outcome: str = "not started"
    is_open: bool = False
    """Whether it can be gone on with, and so keeps others away."""
    task: str = ""
    args: dict[str, str] = field(default_factory=dict)
    regions: tuple[str, ...] = ()
    owner: str = ""
    began: float | None = None
    ended: float | None = None
    took: float | None = None
    stage: int = 0
    """The stage that it was in last; 0 = it was in none."""
    error: str = ""
    """Id of the error by which it failed, or cannot be read."""
    outage: Outage | None = None
    recorded: bool = True
    """Whether its journal can tell of an outage."""

    @property
    def on(self) -> str:
        """What it works on, in a word."""
        named = self.args.get("node") or self.args.get("region") or ""
        return short(self.args.get("run", "")) or named or ", ".join(self.regions)

    def record(self) -> dict[str, Any]:
        """The run as ``--json`` has it; docs/json.md."""
        return {
            "run": self.run,
            "task": self.task or None,
            "args": {name: value for name, value in self.args.items() if value},
            "regions": list(self.regions),
            "owner": self.owner or None,
            "outcome": self.outcome,
            "open": self.is_open,
            "began": self.began,
            "ended": self.ended,
            "took_seconds": None if self.took is None else round(self.took, 1),
            "stage": self.stage or None,
            "error": self.error or None,
            "outage_recorded": self.recorded,
            "outage_seconds": round(self.outage.seconds) if self.outage else None,
            "down": list(self.outage.nodes) if self.outage and self.outage.down else [],
        }


def _home() -> Path:
    return home_of(load(secrets=False, quiet=True))


def told(run: PastRun, history: History, under_way: str) -> RunTold:
    """Return what is to be told of a run; ``under_way`` is the one that this jump host carries out
    now.  One that cannot be read says why."""
    try:
        owner, past, record = run.owner, run.past, run.record
    except OmsfabError as error:
        return RunTold(run.name, "unreadable", error=error.id)
    events, end = past.events, past.end
    last = next((event.left for event in reversed(events) if event.kind == "run"), None)
    stages = [one.number for one in story(events)]
    failed = next((event.id for event in reversed(events) if event.kind == "failed"), "")
    outcome: str = end.outcome if end else last or "cut off" if events else "not started"
    running = under_way == run.name and end is None
    took = Axis.of(events).whole if events else None
    if running and took is not None:
        took += max(clock.now() - events[-1].at, 0.0)
    return RunTold(
        run.name,
        "running" if running else outcome,
        end is None,
        run.task,
        run.args,
        _regions(record),
        owner,
        events[0].at if events else None,
        end.at if end else None,
        took,
        stages[-1] if stages else 0,
        (end.error or failed if end else failed) if outcome == "failed" else "",
        history.outage(run.directory),
        history.recorded(run.directory),
    )


def _regions(record: dict[str, Any]) -> tuple[str, ...]:
    """The regions that it concerns: the one named, those of its nodes, or all of its fleet."""
    regions = (record.get("fleet") or {}).get("regions") or ()
    args = record["args"]
    nodes = {word.strip() for word in args.get("node", "").split(",") if word.strip()}
    if named := args.get("region"):
        return (named,)
    return tuple(
        str(one["name"])
        for one in regions
        if not nodes or any({each["name"], each["ip"]} & nodes for each in one["nodes"])
    )


# --- run.list ------------------------------------------------------------------------------------


def runs(*, region: str, task: str, state: str, since: str, as_json: bool) -> None:
    """Print a line per run, newest first; the filters narrow it."""
    home = _home()
    wanted = _filter(region, task, state, since)
    history, under_way = History(home), local_lock.under_way(home)
    every = list(past_runs(home))
    found = [one for run in every if wanted(one := told(run, history, under_way))]
    if as_json:
        records = [one.record() for one in found]
        print(document(hosts_file=str(hosts_path()), runs=records))
        return
    for line in _lines(found, [run.name for run in every], history):
        print(plain(line))


def lines(home: Path) -> Iterator[str]:
    """Yield what ``run.list`` prints of all runs."""
    history, every = History(home), list(past_runs(home))
    found = [told(run, history, local_lock.under_way(home)) for run in every]
    yield from _lines(found, [run.name for run in every], history)


def _lines(found: Sequence[RunTold], every: Sequence[str], history: History) -> Iterator[str]:
    home = _home()
    if not found:
        yield f"none of {len(every)} runs in {home} is so" if every else f"no runs in {home}"
        return
    names = _ids(every)
    rows = [_cells(one, names[one.run]) for one in found]
    yield from columns.table(HEADS, rows, columns.width(), GOES_FIRST)
    for one in (each for each in found if not each.recorded or (each.outage and each.outage.down)):
        for label, text in _outage(one, history, home / one.run):
            yield f"{label}  {names[one.run]}: {text}"
    yield f"Details: {fab('run.show', run=names[found[0].run])}"


def _cells(one: RunTold, id: str) -> list[str]:
    outage = "-" if one.recorded else "?"
    if one.outage:
        outage = clock_span(one.outage.seconds) + "+" * one.outage.down
    return [
        id,
        one_line(f"{one.task or '?'} {one.on}".rstrip()),
        moment(one.began, "%m-%d %H:%M") if one.began else "-",
        clock_span(one.took) if one.took is not None else "-",
        outage,
        _outcome(one),
    ]


def _outcome(one: RunTold) -> str:
    """E.g. ``done``, ``FAILED stage 6``, ``running stage 2``."""
    word = WORDS.get(one.outcome, one.outcome)
    if one.outcome == "unreadable":
        return f"unreadable ({one.error})"
    if one.outcome == "failed":
        word = "FAILED"
    return f"{word} stage {one.stage}" if one.is_open and one.stage else word


def _ids(names: Sequence[str]) -> dict[str, str]:
    """The short id of each run; the whole one where two have the same."""
    ends = [short(name) for name in names]
    return {name: end if ends.count(end) == 1 else name for name, end in zip(names, ends)}  # noqa: B905


def _filter(region: str, task: str, state: str, since: str) -> Callable[[RunTold], bool]:
    again = fab("run.list", since="7d")
    after = clock.begins(clock.since(since, again)) if since else 0.0
    chosen = {word: name for name in OUTCOMES for word in (name, WORDS.get(name, name))}
    chosen = {word.replace(" ", "-"): name for word, name in chosen.items()}
    if state and state not in (*chosen, "open"):
        raise InputError(
            "INPUT-042",
            f"no run can be '{state}'",
            where="--state",
            evidence=f"there are: open, {', '.join(sorted(chosen))}",
            next=fab("run.list", state="open"),
        )

    def wanted(one: RunTold) -> bool:
        return (
            (not region or region in one.regions)
            and (not task or one.task == task or one.task.partition(".")[0] == task)
            and (one.is_open if state == "open" else one.outcome == chosen.get(state, one.outcome))
            and (one.began is None or one.began >= after)
        )

    return wanted


# --- run.show ------------------------------------------------------------------------------------


def show(name: str, *, as_json: bool) -> None:
    """Print what a run did and what it did not, stage by stage."""
    run = _named(name)
    home = run.directory.parent
    history = History(home)
    past, one = run.past, told(run, history, local_lock.under_way(home))
    stages = story(past.events, _planned(run))
    warned = warnings(past.events)
    ways = _ways(run, one)
    if as_json:
        print(
            document(
                hosts_file=str(hosts_path()),
                **one.record(),
                directory=str(run.directory),
                torn=past.torn,
                stages=[_stage(stage) for stage in stages],
                warnings=[{"id": id or None, "nodes": on, "text": text} for id, on, text in warned],
                next=[line.line for line in ways],
            )
        )
        return
    for line in _show_lines(run, one, stages, history):
        print(plain(line))
    for way in ways:
        print(f"next: {way}")


def _show_lines(
    run: PastRun, one: RunTold, stages: Sequence[StageTold], history: History
) -> Iterator[str]:
    yield f"Run {run.name}"
    began = f", started {moment(one.began, '%Y-%m-%d %H:%M:%SZ')}" if one.began else ""
    yield from folded("task", f"{run.line}{began} by {one.owner}")
    took = f" · took {clock_span(one.took)}" if one.took is not None else ""
    error = f", {one.error}" if one.error else ""
    yield from folded("outcome", f"{_outcome(one)}{error}{took}")
    for label, text in _outage(one, history, run.directory):
        yield from folded(label, text)
    for id, on, text in warnings(run.past.events):
        said = text if id in text else f"{id} {text}"
        yield from folded("warning", f"{', '.join(on)}: {said}" if any(on) else said)
    for id in sorted(run.past.accepted):
        yield from folded("accepted", id)
    if run.past.torn:
        yield from folded("note", "the last line of its journal is torn: it counts as not written")
    yield from stage_lines(stages, running=one.outcome == "running")
    yield f"every word of it: {fab('run.log', run=run.name)}"
    yield f"its files: {run.directory}"


def _outage(one: RunTold, history: History, directory: Path) -> Iterator[tuple[str, str]]:
    """Yield what its outage means for production, behind a label; nothing where there was none."""
    if one.outage:
        cure = history.brings_back(directory) if one.outage.down else ""
        yield "OUTAGE", outage_text(one.outage, cure)
        if one.outage.down:
            seen = age(max(clock.now() - one.outage.seen, 0.0))
            yield "seen", f"{seen} ago; what is so now: {fab('fleet.status')}"
    elif not one.recorded:
        yield "OUTAGE", NOT_RECORDED


def _stage(stage: StageTold) -> dict[str, Any]:
    return {
        "number": stage.number,
        "title": stage.title,
        "over": stage.over,
        "took_seconds": stage.seconds,
        "steps": [
            {
                "step": step.step,
                "node": step.node,
                "title": step.title,
                "state": step.state,
                "began": step.began,
                "took_seconds": step.seconds,
                "error": step.error or None,
                "text": step.text or None,
            }
            for step in stage.steps
        ],
    }


def _planned(run: PastRun) -> Plan | None:
    """Return the plan of a run, if it can still be made: it tells what was not begun."""
    task = TASKS.get(run.task)
    if task is None or "fleet" not in run.record:
        return None
    try:
        with journals.readable(run.directory):
            fleet = undo.fleet_of(run.record, load(secrets=False, quiet=True))
            return task.planner(fleet, run.present, **run.args)
    except OmsfabError:
        return None


def _ways(run: PastRun, one: RunTold) -> list[Next]:
    """What can be done with it now."""
    if one.outcome == "running":
        return [fab("run.log", run=run.name, follow=True, note="follows it")]
    ways = []
    if one.is_open:
        ways.append(fab("run.resume", run=run.name, note="goes on with it"))
    if run.reversible:
        ways.append(fab("run.undo", run=run.name, note="rolls back what it did"))
    return ways


def _named(name: str) -> PastRun:
    home = _home()
    wanted = whole_name(home, name)
    for run in past_runs(home):
        if wanted in ("", run.name):
            return run
    raise InputError(
        "INPUT-025",
        f"there is no run {name}".rstrip(),
        where=str(home),
        **meant([name], [run.name for run in past_runs(home)]),
        next=fab("run.list"),
    )


# --- run.log -------------------------------------------------------------------------------------

LOOK = 1.0
"""Seconds between two looks at the journal of a run that is followed."""


def log(name: str, *, node: str, follow: bool, as_json: bool) -> None:
    """Print every event of a run, or those of ``node``; ``follow``: as long as it is under way."""
    run = _named(name)
    nodes = {word.strip() for word in node.split(",") if word.strip()}
    known = {event.node for event in run.past.events}
    if nodes - known:
        raise InputError(
            "INPUT-022",
            f"run {run.name} says nothing of {', '.join(sorted(nodes - known))}",
            where="--node",
            evidence=f"there are: {', '.join(sorted(filter(None, known)))}",
            next=fab("run.log", run=run.name),
        )
    shown = 0
    while True:
        under_way = local_lock.under_way(run.directory.parent) == run.name
        events = run.past.events
        for event in events[shown:]:
            if not nodes or event.node in nodes:
                print(_line(event) if as_json else log_line(event), flush=True)
        shown = len(events)
        if not follow or not under_way:
            break
        time.sleep(LOOK)
        run = run.anew
    if follow and not as_json:
        for way in _ways(run, told(run, History(run.directory.parent), "")):
            print(f"next: {way}")


def _line(event: Event) -> str:
    return json.dumps({**event.record(), "text": plain(event.text)}, ensure_ascii=False)


# --- run.report ----------------------------------------------------------------------------------


def report(name: str, out: str) -> None:
    """Write a run as one HTML page, 0600, and say where."""
    run = _named(name)
    directory, past = run.directory, run.past
    path = Path(out) if out else directory / "report.html"
    history = History(directory.parent)
    found = history.outage(directory)
    line = outage_text(found, history.brings_back(directory)) if found else ""
    recorded = history.recorded(directory)
    ways = [] if past.ended or past.undone else [fab("run.resume", run=run.name)]
    if run.reversible:
        ways.append(fab("run.undo", run=run.name, note="rolls back what it did"))
    page = html(
        *(run.name, run.owner, past.events, found, line),
        recorded=recorded,
        record=run.record,
        ways=ways,
    )
    journals.write_durably(path, page.encode(errors="replace"))
    print(path)
