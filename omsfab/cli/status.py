"""What an operator looks at: the fleet, its state, past runs, the lock.  Nothing is changed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from omsfab.commands import docker, files, next_line, oms, supervisor
from omsfab.commands.next_line import fab
from omsfab.errors import Finding, InputError, OmsfabError, finding_of, refusal
from omsfab.fleet import hosts_file
from omsfab.fleet.mask import one_line
from omsfab.fleet.model import Fleet, Node
from omsfab.metadb import tunnel
from omsfab.metadb.client import MetaDbEdge
from omsfab.plan.observed import Present
from omsfab.plan.procedures import regions, scale_out, undo
from omsfab.plan.records import METADB, Plan
from omsfab.run import clock, observe
from omsfab.run.confirmation import Flags, confirm
from omsfab.run.engine.interpreter import Site, health_says, no_health_page
from omsfab.run.engine.runner import Runner
from omsfab.run.record import claims
from omsfab.run.record import journal as journals
from omsfab.run.record.outages import History
from omsfab.run.session import TASKS, asks_metadb, home_of, hosts_path, secrets_of
from omsfab.show.fleet import fleet_lines
from omsfab.show.report import html
from omsfab.show.text import NOT_RECORDED, clock_span, event_line, outage_text, say
from omsfab.ssh import shell as ssh
from omsfab.ssh.protocol import Shell


def fleet() -> None:
    """Print hosts.yaml as it was understood; secrets as ****."""
    loaded = hosts_file.load(hosts_path())
    print(f"# {hosts_path()}: valid")
    for line in fleet_lines(loaded):
        print(line)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of ``fleet.status``; ``beat`` is in seconds, by the clock of MetaDB."""

    node: str
    ip: str
    region: str
    container: str
    programs: str
    health: str
    host: str
    beat: str

    listed: bool = False
    """Whether MetaDB has a host row of it."""
    states: Mapping[str, str] = field(default_factory=dict)
    """Its programs, as supervisord says."""

    @property
    def deployed(self) -> bool:
        """Whether OMS belongs there."""
        return self.container in ("running", "stopped") or self.listed

    @property
    def idle(self) -> bool:
        """Whether no part of OMS runs there; a node that cannot be asked is not called so."""
        if self.container == "running":
            return bool(self.states) and len(self.missing) == len(supervisor.CORE)
        return self.container in ("stopped", "absent")

    @property
    def missing(self) -> list[str]:
        """The parts of OMS that do not run, with their states."""
        states = {name: self.states.get(name, "absent") for name in supervisor.CORE}
        return [f"{name} {state}" for name, state in states.items() if state != "RUNNING"]

    def shown(self) -> dict[str, str]:
        return {head: getattr(self, head) for head in HEADS}


HEADS = ("node", "ip", "region", "container", "programs", "health", "host", "beat")


def status(*, as_json: bool = False) -> None:
    """Print a row per node; what cannot be asked stands there as a word."""
    loaded = hosts_file.load(hosts_path())
    rows = status_rows(loaded)
    down = list(down_lines(loaded, rows, History(home_of(loaded))))
    if as_json:
        print(json.dumps([row.shown() for row in rows], ensure_ascii=False))
        return
    for line in down:
        print(line)
    table = Table()
    for head in HEADS:
        table.add_column("address" if head == "ip" else head)
    for row in rows:
        table.add_row(*(escape(one_line(str(cell))) for cell in row.shown().values()))
    Console().print(table)


def down_lines(loaded: Fleet, rows: list[Row], history: History) -> Iterator[str]:
    """Yield where OMS does not serve, as the containers say; since when, as runs here know."""
    for region in loaded.regions:
        there = [row for row in rows if row.region == region.name and row.deployed]
        known = {row.node: history.down(row.node) for row in there if row.idle or row.missing}
        down = [row.node for row in there if row.idle or (row.missing and known[row.node])]
        told = next((found for node in down if (found := known[node])), None)
        if told and set(told.nodes) == set(down):
            yield f"OUTAGE  {outage_text(told, 'fab run.list names the run')}"
        elif down:
            on = "" if len(down) == len(there) else f" on {', '.join(down)}"
            yield f"OUTAGE  OMS of {region.name} is DOWN{on} (since when is not known here)"
        for row in there:
            if row.container == "running" and row.states and row.missing and row.node not in down:
                yield f"{row.node}: {', '.join(row.missing)}"


def status_rows(loaded: Fleet) -> list[Row]:
    """Ask all nodes side by side, MetaDB once."""
    shells = ssh.connect(loaded.nodes, loaded.ssh)
    metadb = tunnel.edge(loaded.metadb, shells)
    hosts: dict[str, str] = {}
    beats: dict[str, str] = {}
    away = False
    try:
        known = {row.code for row in metadb.clusters()} if metadb.exists() else set()
        for region in loaded.regions:
            if region.location in known:
                hosts |= {row.ip: row.status for row in metadb.hosts(region.location)}
                ages = metadb.beats(region.heartbeat_db)
                beats |= {ip: f"{age:.0f} s" for ip, age in ages.items()}
    except OmsfabError as error:
        hosts, away = {node.ip: error.id for node in loaded.nodes}, True

    def ask(node: Node) -> Row:
        container, states, health = _node(loaded, node, shells[node.name])
        running = sum(now == "RUNNING" for now in states.values())
        programs = f"{running}/{len(states)}" if container == "running" else "-"
        region = loaded.region_of(node).name
        host, beat = hosts.get(node.ip, "no row"), beats.get(node.ip, "-")
        listed = node.ip in hosts and not away
        return Row(
            node.name, node.ip, region, container, programs, health, host, beat, listed, states
        )

    try:
        with ThreadPoolExecutor(min(observe.WIDTH, len(loaded.nodes))) as pool:
            return list(pool.map(ask, loaded.nodes))
    finally:
        for shell in shells.values():
            shell.close()


def _node(loaded: Fleet, node: Node, shell: Shell) -> tuple[str, dict[str, str], str]:
    try:
        if shell.run(docker.version()).status != 0:
            return "docker is silent", {}, "-"
        state = shell.run(docker.running(loaded.install.container))
        if state.status != 0:
            return "absent", {}, "-"
        if state.out.strip() != "true":
            return "stopped", {}, "-"
        programs = supervisor.states(shell.run(supervisor.status(loaded.install.container)).out)
        install = loaded.install_of(node)
        page = shell.run(files.http_get(oms.health_url(node, install)))
        why, cm = health_says(page), oms.page_of_cm(node.ip, install)
        if cm is not None and no_health_page(page):
            return "running", programs, "CM is silent" if shell.run(cm).status else "CM answers"
    except OmsfabError as error:
        return error.id, {}, "-"
    else:
        return "running", programs, "unhealthy" if why else "healthy"


def _metadb(loaded: Fleet) -> MetaDbEdge:
    return tunnel.edge(loaded.metadb, ssh.connect(loaded.nodes, loaded.ssh))


def check(region: str) -> None:
    """Print every difference between hosts.yaml and what is so, a line each."""
    loaded = hosts_file.load(hosts_path())
    asked = (regions.named(loaded, region, fab("fleet.check")),) if region else loaded.regions
    shells = ssh.connect(loaded.nodes, loaded.ssh)
    metadb = tunnel.edge(loaded.metadb, shells)
    found: dict[str, Present] = {}
    errors: list[OmsfabError] = []
    told: dict[Finding, None] = {}
    site = Site("", home_of(loaded), shells, metadb, secrets=secrets_of(loaded))
    try:
        for where in asked:
            found[where.name], wrong = observe.at_region(loaded, where, shells, metadb, None)
            errors += wrong
            runner = Runner(site, lambda event: None)
            stage = scale_out.preflight(loaded, where, found[where.name])
            if any(error.node == METADB for error in wrong):  # told once
                steps = (step for step in stage.steps if not asks_metadb(step))
                stage = replace(stage, steps=tuple(steps))
            try:
                runner.carry_out(Plan("fleet.check", "", (), (stage,)))
            except OmsfabError as error:
                parts = error.parts or (error,)
                told |= dict.fromkeys(finding_of(part) for part in parts)
            told |= dict.fromkeys(runner.warnings)
    finally:
        for shell in shells.values():
            shell.close()
    if errors:
        raise refusal(errors, told)
    for one in told:
        say("\n".join(one.lines()))
    lines = tuple(regions.differences(loaded, found))
    for line in lines:
        say(line)
    count = "1 difference" if len(lines) == 1 else f"{len(lines)} differences"
    print(f"fleet.check: {count} from {hosts_path()}; {len(told)} findings (✗ would stop a run)")


# --- runs and lock -------------------------------------------------------------------------------


def _home() -> Path:
    return home_of(hosts_file.load(hosts_path()))


def runs() -> None:
    """Print a line per run: id, state, owner, last word.  One that cannot be read says why."""
    home = _home()
    found = list(journals.runs(home))
    history = History(home)
    for directory in found:
        try:
            owner = journals.load_record(directory)["owner"]
            past = journals.read(directory / "journal.jsonl")
        except OmsfabError as error:
            print(f"{directory.name}  {error.id}  {error.what}")
            continue
        last = next((e.text for e in reversed(past.events) if e.kind == "run"), "no word")
        print(f"{directory.name}  {_state(past):<6}  {owner}  {last.removeprefix('ended: ')}")
        down = history.outage(directory)
        if down and down.down:
            print(f"  OUTAGE  {outage_text(down, history.brings_back(directory))}")
        elif not (past.ended or history.recorded(directory)):
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
    directory = _named(name)
    record = journals.load_record(directory)
    past = journals.read(directory / "journal.jsonl")
    if whole:
        for event in past.events:
            print(event_line(event))
    else:
        _summary(directory, record, past)
    print(f"run {directory.name} in {directory}")
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
        if record["task"] in undo.UNDOABLE:
            print(f"or back:                {fab('run.undo', run=directory.name)}")


def _ago(at: float) -> str:
    return clock_span(max(clock.now() - at, 0.0))


def _summary(directory: Path, record: dict[str, Any], past: journals.Past) -> None:
    flags = " ".join(f"--{name}={value}" for name, value in record["args"].items() if value)
    print(f"fab {record['task']} {flags}".rstrip(), f"by {record['owner']}: {_state(past)}")
    ends: dict[str, tuple[str, str]] = {}
    for event in past.events:
        key = f"{event.step}@{event.node}"
        if event.kind == "intent":
            ends[key] = ("begun", event.text)
        elif event.kind in ("done", "satisfied"):
            ends[key] = (event.kind, event.text)
        elif event.kind == "failed":
            ends[key] = ("failed", event.text)
    for key, title in _planned(record):
        ends.setdefault(key, ("not", title))
    for key, (how, text) in ends.items():
        step, _, node = key.rpartition("@")
        print(f"  {SIGNS.get(how, '✗ failed'):<12}  {node:<10}  {step:<16}  {text}")
    for event in past.events:
        if event.kind == "run":
            print(event_line(event))


def _planned(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return key and title of the run's steps that change something, in order."""
    task = TASKS.get(record["task"])
    if task is None or "fleet" not in record:
        return []
    try:
        with journals.readable(_home() / "run"):
            fleet = undo.fleet_of(record, hosts_file.load(hosts_path()))
            plan = task.planner(fleet, Present.of(record["present"]), **record["args"])
    except OmsfabError:
        return []
    return [(step.key, step.title) for step in plan.steps if step.apply]


def report(name: str, out: str) -> None:
    """Write a run as one HTML page, 0600, and say where."""
    directory = _named(name)
    record = journals.load_record(directory)
    past = journals.read(directory / "journal.jsonl")
    path = Path(out) if out else directory / "report.html"
    history = History(directory.parent)
    found = history.outage(directory)
    line = outage_text(found, history.brings_back(directory)) if found else ""
    recorded = history.recorded(directory)
    page = html(directory.name, record["owner"], past.events, found, line, recorded=recorded)
    journals.write_durably(path, page.encode(errors="replace"))
    print(path)


def _named(name: str) -> Path:
    home = _home()
    for directory in journals.runs(home):
        if name in ("", directory.name):
            return directory
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
