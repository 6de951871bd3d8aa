"""What an operator looks at: past runs, and the lock, which may be broken."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from omsfab import next_line
from omsfab.errors import InputError, OmsfabError
from omsfab.fleet import hosts_file
from omsfab.fleet.model import Fleet
from omsfab.metadb import tunnel
from omsfab.metadb.client import MetaDbEdge
from omsfab.next_line import fab
from omsfab.plan import step_names
from omsfab.plan.events import ENDED
from omsfab.plan.procedures import undo
from omsfab.plan.procedures.registry import TASKS
from omsfab.run import clock
from omsfab.run.confirmation import Flags, confirm
from omsfab.run.record import claims
from omsfab.run.record import journal as journals
from omsfab.run.record.outages import History
from omsfab.run.record.past_run import PastRun
from omsfab.run.record.past_run import runs as past_runs
from omsfab.run.session import home_of, hosts_path
from omsfab.show.report import html
from omsfab.show.text import NOT_RECORDED, clock_span, event_line, outage_text, say
from omsfab.ssh import shell as ssh


def _metadb(loaded: Fleet) -> MetaDbEdge:
    return tunnel.edge(loaded.metadb, ssh.connect(loaded.nodes, loaded.ssh))


# --- runs and lock -------------------------------------------------------------------------------


def _home() -> Path:
    return home_of(hosts_file.load(hosts_path()))


def runs() -> None:
    """Print a line per run: id, state, owner, last word.  One that cannot be read says why."""
    home = _home()
    found = list(past_runs(home))
    history = History(home)
    for run in found:
        try:
            owner, past = run.owner, run.past
        except OmsfabError as error:
            print(f"{run.name}  {error.id}  {error.what}")
            continue
        last = next((e for e in reversed(past.events) if e.kind == "run"), None)
        said = last.text if last else "not started"
        said = said[len(f"{ENDED}: ") :] if last and last.end else said
        print(f"{run.name}  {_state(past):<6}  {owner}  {said}")
        down = history.outage(run.directory)
        if down and down.down:
            print(f"  OUTAGE  {outage_text(down, history.brings_back(run.directory))}")
        elif not (past.ended or history.recorded(run.directory)):
            print(f"  OUTAGE  {NOT_RECORDED}")
    if not found:
        print(f"no runs in {home}")


def _state(past: journals.Past) -> str:
    if past.undone:
        return "undone"
    return "ended" if past.ended else "open"


SIGNS = {"done": "✓ done", "satisfied": "= was so", "begun": "? begun", "not": "  not begun"}


def run(name: str, *, whole: bool) -> None:
    """Print what a run did and what it did not, or ``whole``: every event of it."""
    found_run = _named(name)
    directory, past = found_run.directory, found_run.past
    if whole:
        for event in past.events:
            print(event_line(event))
    else:
        _summary(found_run)
    print(f"run {found_run.name} in {directory}")
    history = History(directory.parent)
    if found := history.outage(directory):
        print(f"OUTAGE  {outage_text(found, history.brings_back(directory))}")
        if found.down:
            print(f"        last seen {_ago(found.seen)} ago; what is so now: fab fleet.status")
    elif not history.recorded(directory):
        print(f"OUTAGE  {NOT_RECORDED}")
    if past.torn:
        print("the last line of its journal is torn, and counts as not written")
    if not past.ended:
        print(f"it has not ended; next: {fab('run.resume', run=directory.name)}")
        if found_run.undoable:
            print(f"or back:                {fab('run.undo', run=directory.name)}")


def _ago(at: float) -> str:
    return clock_span(max(clock.now() - at, 0.0))


def _summary(run: PastRun) -> None:
    past = run.past
    flags = " ".join(f"--{name}={value}" for name, value in run.args.items() if value)
    print(f"fab {run.task} {flags}".rstrip(), f"by {run.owner}: {_state(past)}")
    ends: dict[str, tuple[str, str]] = {}
    for event in past.events:
        key = step_names.key(event.step, event.node)
        if event.kind == "intent":
            ends[key] = ("begun", event.text)
        elif event.kind in ("done", "satisfied"):
            ends[key] = (event.kind, event.text)
        elif event.kind == "failed":
            ends[key] = ("failed", event.text)
    for key, title in _planned(run):
        ends.setdefault(key, ("not", title))
    for key, (how, text) in ends.items():
        step, node = step_names.parts(key)
        print(f"  {SIGNS.get(how, '✗ failed'):<12}  {node:<10}  {step:<16}  {text}")
    for event in past.events:
        if event.kind == "run":
            print(event_line(event))


def _planned(run: PastRun) -> list[tuple[str, str]]:
    """Return key and title of the run's steps that change something, in order."""
    task = TASKS.get(run.task)
    if task is None or "fleet" not in run.record:
        return []
    try:
        with journals.readable(_home() / "run"):
            fleet = undo.fleet_of(run.record, hosts_file.load(hosts_path()))
            plan = task.planner(fleet, run.present, **run.args)
    except OmsfabError:
        return []
    return [(step.key, step.title) for step in plan.steps if step.apply]


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
    if run.undoable and not past.undone:
        ways.append(fab("run.undo", run=run.name, note="rolls back what it did"))
    page = html(
        *(run.name, run.owner, past.events, found, line),
        recorded=recorded,
        record=run.record,
        ways=ways,
    )
    journals.write_durably(path, page.encode(errors="replace"))
    print(path)


def _named(name: str) -> PastRun:
    home = _home()
    for run in past_runs(home):
        if name in ("", run.name):
            return run
    raise InputError(
        "INPUT-025", f"there is no run {name}".rstrip(), where=str(home), next=fab("run.list")
    )


def lock() -> None:
    """Print who holds the lock, here, in MetaDB and on the nodes."""
    loaded = hosts_file.load(hosts_path())
    note = _note(home_of(loaded) / "lock")
    print(f"this jump host: {note or 'free'}")
    holder = _metadb(loaded).lease_holder()
    if holder is None:
        print("MetaDB: free")
    else:
        life = f"alive until {holder.expires}" if holder.live else f"expired at {holder.expires}"
        say(f"MetaDB: run {holder.run_id} of {holder.owner} since {holder.since}, {life}")
    shells = ssh.connect(loaded.nodes, loaded.ssh)
    try:
        held = claims.held(shells.values())
    finally:
        for shell in shells.values():
            shell.close()
    for node in loaded.nodes:
        run, owner, since = held.get(node.name, ("", "", ""))
        say(f"{node.name}: {f'run {run} of {owner} since {since}' if run else 'free'}")


def _note(path: Path) -> dict[str, Any] | None:
    """Return what the lock file says, if its process is alive."""
    try:
        note: dict[str, Any] = json.loads(path.read_text())
        os.kill(int(note["pid"]), 0)
    except (OSError, ValueError, KeyError):
        return None
    return note


def break_lock(run: str, flags: Flags) -> None:
    """Free the lease of a dead run, and its claims on the nodes.

    A lease must have expired by the clock of MetaDB, and lie still.  A claim has no life of its
    own, so a run that holds nothing but claims is asked about.
    """

    def wait(span: float) -> None:
        print(
            f"the lease of run {run} has expired; it is watched for {span:.0f} s, in case that run"
            " lives after all (Ctrl-C: nothing is changed)",
            flush=True,
        )
        time.sleep(span)

    if flags.dry:
        print(f"dry: nothing was contacted; lease and claims of run {run} would be freed")
        return
    loaded = hosts_file.load(hosts_path())
    metadb = _metadb(loaded)
    holder = metadb.lease_holder()
    leased = bool(holder and holder.run_id == run)
    if leased and flags.plan:
        metadb.lease_breakable(run)
    elif leased:
        metadb.lease_break(run, wait=wait)
        print(f"the lease of run {run} is free")
    shells = ssh.connect(loaded.nodes, loaded.ssh)
    try:
        nodes = [node for node, held in claims.held(shells.values()).items() if held[0] == run]
        if not nodes and not leased:
            metadb.lease_breakable(run)  # says what is so
        if flags.plan:
            return print(f"{_holdings(run, nodes, leased=leased)}; nothing was changed")
        if nodes and not leased:
            print(f"run {run} has claimed {', '.join(nodes)}; whether it is alive, nobody can tell")
            line = next_line.fab("lock.break", run=run)
            free = f"Free the claims of run {run}: is its omsfab certainly dead?"
            confirm(flags, free, line)
        claims.free((shells[node] for node in nodes), run)
    finally:
        for shell in shells.values():
            shell.close()
    if nodes:
        print(f"the claims of run {run} are free: {', '.join(nodes)}")


def _holdings(run: str, nodes: list[str], *, leased: bool) -> str:
    """What of a run would be freed."""
    held = [*(["its lease, once watched"] if leased else []), *(f"its claim on {n}" for n in nodes)]
    return f"of run {run} would be freed: {', '.join(held)}"
