"""What an operator looks at first: hosts.yaml as it was understood, the fleet as it is, and where
the two differ.  Nothing is changed."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omsfab.command import question
from omsfab.commands import docker, files, node_checks, oms, supervisor
from omsfab.errors import (
    Finding,
    LostSession,
    MetaDbAway,
    NoAnswer,
    OmsfabError,
    Unreachable,
    finding_of,
    refusal,
)
from omsfab.fleet import values
from omsfab.fleet.mask import Redactor, one_line, plain
from omsfab.fleet.model import Fleet, Install, Node, Region
from omsfab.metadb import tunnel
from omsfab.metadb.client import MetaDbEdge
from omsfab.next_line import fab
from omsfab.plan.differences import differences
from omsfab.plan.observed import Observed
from omsfab.plan.outage import Outage
from omsfab.plan.procedures import refusals, regions, scale_out
from omsfab.plan.records import METADB, Plan
from omsfab.run import observe
from omsfab.run.engine.interpreter import Interpreter, health_says, no_health_page
from omsfab.run.engine.runner import Runner
from omsfab.run.preview import asks_metadb
from omsfab.run.record import journal as journals
from omsfab.run.record.outages import History
from omsfab.run.session import home_of, hosts_path, load, secrets_of
from omsfab.show import arrivals, columns
from omsfab.show.check import check_lines, of_differences, of_findings
from omsfab.show.document import SCHEMA, document
from omsfab.show.fleet import fleet_lines, fleet_tree
from omsfab.show.metrics import metrics_text
from omsfab.show.text import outage_text, say
from omsfab.ssh import shell as ssh
from omsfab.ssh.protocol import Shell

AS_WANTED, ILL, UNREACHABLE = 0, 5, 3
"""Exit statuses of ``fleet.status`` and ``fleet.check``, which monitoring reads."""

STALE = 200
"""Seconds after which a heartbeat is old; those of OMS come every ten."""


def show(*, as_json: bool = False, secrets: bool = False) -> None:
    """Print hosts.yaml as it was understood; secrets as ****, and only read if that is asked."""
    loaded = load(secrets=secrets, quiet=True)
    if as_json:
        tree, missing = fleet_tree(loaded)
        return print(document(hosts_file=str(hosts_path()), fleet=tree, missing_files=missing))
    print(f"# {hosts_path()}: valid")
    for line in fleet_lines(loaded):
        print(line)
    return None


# --- the fleet as it is --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One node, as it answered.  ``beat`` is in seconds, by the clock of MetaDB."""

    node: str
    address: str
    region: str
    container: str = ""
    """running, stopped or absent; "" where the node could not be asked."""
    error: str = ""
    """Why it could not be asked, with the id of the error."""
    states: Mapping[str, str] = field(default_factory=dict)
    """Its programs, as supervisord says."""
    health: str = ""
    """"healthy" or "CM answers" is well; "" where nothing runs that could be asked."""
    image: str = ""
    """The version in the tag of its image, or that tag."""
    host: str | None = None
    """host_status in MetaDB; None without a row, or where MetaDB could not be asked."""
    beat: float | None = None

    @property
    def deployed(self) -> bool:
        """Whether OMS belongs there."""
        return self.container in ("running", "stopped") or self.host is not None

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

    @property
    def healthy(self) -> bool:
        return self.health in WELL and not self.missing

    @property
    def running(self) -> int:
        return sum(state == "RUNNING" for state in self.states.values())

    def record(self) -> dict[str, Any]:
        """The row as ``--json`` has it; docs/json.md."""
        return {
            "node": self.node,
            "address": self.address,
            "region": self.region,
            "error": self.error or None,
            "container": self.container or None,
            "programs": dict(self.states),
            "running": self.running if self.container == "running" else None,
            "healthy": self.healthy if self.container else None,
            "health": self.health or None,
            "image": self.image or None,
            "host_status": self.host,
            "heartbeat_seconds": None if self.beat is None else round(self.beat),
        }


WELL = ("healthy", "CM answers")


@dataclass(frozen=True, slots=True)
class Summary:
    """A region: how many of the nodes where OMS belongs are well, its VIP, what runs left open."""

    region: str
    healthy: int
    deployed: int
    vip: bool | None = None
    """Whether the address of cm_url answers; None where it is a node's own, or nobody could ask."""
    outage: Outage | None = None
    down: tuple[str, ...] = ()
    """The nodes on which OMS is down."""

    @property
    def silent_vip(self) -> bool:
        """Where no OMS is yet, nobody need answer."""
        return self.vip is False and self.deployed > 0

    def record(self) -> dict[str, Any]:
        found = self.outage
        return {
            "region": self.region,
            "healthy": self.healthy,
            "deployed": self.deployed,
            "vip_answers": self.vip,
            "down": list(self.down),
            "down_since": found.since if found else None,
            "down_seconds": round(found.seconds) if found else None,
        }


@dataclass(frozen=True, slots=True)
class State:
    """The fleet at one moment."""

    rows: tuple[Row, ...]
    metadb: str = ""
    """Why MetaDB could not be asked, with the id of the error."""
    vips: Mapping[str, bool] = field(default_factory=dict)
    """Region -> whether its VIP answers."""
    open_runs: tuple[str, ...] = ()
    """The ids of the runs of this jump host that have not ended."""


AGAIN = 5.0
"""Seconds between two looks of ``--watch``."""

SOON = 1.0
"""Seconds after which those who have answered are shown, and the others named."""

NAMED = 8
"""So many of them are named."""

UNASKED = "…"
"""In the place of what MetaDB says, before it has."""


def status(*, as_json: bool = False, watch: bool = False) -> int:
    """Print how each region and each node is; return 0, 5 if something is ill, 3 if a node or
    MetaDB cannot be reached.  ``watch``: again and again, until Ctrl-C."""
    loaded = load(quiet=as_json)
    while True:
        state, found, code = _judged(loaded)
        if as_json:
            print(json.dumps(record(state, found, code), ensure_ascii=False), flush=True)
        else:
            if watch and columns.width():
                print("\033[H\033[2J", end="")
            for line in status_lines(state, found, code, columns.width()):
                print(plain(line))
        if not watch:
            return code
        time.sleep(AGAIN)


def told(loaded: Fleet) -> dict[str, Any]:
    """Return the state of the fleet as ``--json`` has it."""
    return record(*_judged(loaded))


def _judged(loaded: Fleet) -> tuple[State, list[Summary], int]:
    home = home_of(loaded)
    state = replace(ask(loaded), open_runs=tuple(open_runs(home)))
    found = summaries(loaded, state, History(home))
    return state, found, exit_code(state, found)


def open_runs(home: Path) -> Iterator[str]:
    """Yield the runs of this jump host that have not ended and were not rolled back."""
    for directory in journals.runs(home):
        with contextlib.suppress(OmsfabError):
            past = journals.read(directory / "journal.jsonl")
            if not (past.ended or past.undone):
                yield directory.name


def record(state: State, found: list[Summary], code: int) -> dict[str, Any]:
    """What ``--json`` prints; docs/json.md."""
    return {
        "schema": SCHEMA,
        "hosts_file": str(hosts_path()),
        "exit": code,
        "metadb_error": state.metadb or None,
        "open_runs": list(state.open_runs),
        "regions": [one.record() for one in found],
        "nodes": [row.record() for row in state.rows],
    }


def exit_code(state: State, found: list[Summary]) -> int:
    """Unreachable before ill: what is not known may be worse."""
    if state.metadb or any(row.error for row in state.rows):
        return UNREACHABLE
    ill = any(one.down or one.silent_vip or one.healthy < one.deployed for one in found)
    stale = any((row.beat or 0) > STALE for row in state.rows if row.deployed)
    return ILL if ill or stale else AS_WANTED


def summaries(loaded: Fleet, state: State, history: History) -> list[Summary]:
    """Tell of each region where OMS does not serve, as the containers say; since when, as the runs
    of this jump host know."""
    found = []
    for region in loaded.regions:
        there = [row for row in state.rows if row.region == region.name and row.deployed]
        known = {row.node: history.down(row.node) for row in there if row.idle or row.missing}
        down = [row.node for row in there if row.idle or (row.missing and known.get(row.node))]
        told = next((outage for node in down if (outage := known[node])), None)
        same = told if told and set(told.nodes) == set(down) else None
        found.append(
            Summary(
                region.name,
                sum(row.healthy for row in there),
                len(there),
                state.vips.get(region.name),
                same,
                tuple(down),
            )
        )
    return found


HEADS = ("node", "address", "region", "container", "programs", "health", "MetaDB", "beat", "image")
GOES_FIRST = ("image", "beat", "MetaDB", "region")


def status_lines(state: State, found: list[Summary], code: int, wide: int | None) -> Iterator[str]:
    """Yield a line per region, what is down, the table, and what the exit status says."""
    for one in found:
        yield f"{one.region}   {_in_short(one, state)}"
    for one in found:
        yield from _outage_lines(one, [row for row in state.rows if row.region == one.region])
    if state.metadb:
        yield f"MetaDB   {state.metadb}"
    heads = [head for head in HEADS if len(found) > 1 or head != "region"]
    yield from columns.table(heads, [_cells(row, heads) for row in state.rows], wide, GOES_FIRST)
    if code:
        yield f"exit {code}: {_why(state, found)}"


def _in_short(one: Summary, state: State) -> str:
    vip = ["VIP IS SILENT"] if one.silent_vip else ["VIP answers"] if one.vip else []
    runs = [f"run {run} has not ended" for run in state.open_runs] or ["no open run"]
    well = f"{one.healthy} of {one.deployed} healthy" if one.deployed else "no OMS yet"
    return " · ".join([well, *vip, *runs])


def _outage_lines(one: Summary, rows: list[Row]) -> Iterator[str]:
    if one.outage:
        yield f"OUTAGE  {outage_text(one.outage, 'fab run.list names the run')}"
    elif one.down:
        on = "" if len(one.down) == one.deployed else f" on {', '.join(one.down)}"
        yield f"OUTAGE  OMS of {one.region} is DOWN{on} (since when is not known here)"
    for row in rows:
        if row.container == "running" and row.states and row.missing and row.node not in one.down:
            yield f"{row.node}: {', '.join(row.missing)}"


def _cells(row: Row, heads: list[str]) -> list[str]:
    named = [row.node, row.address, *([row.region] if "region" in heads else [])]
    if row.error:
        return [*named, one_line(row.error)]
    runs = row.container == "running"
    beat = "-" if row.beat is None else f"{row.beat:.0f} s"
    return [
        *(*named, row.container, f"{row.running}/{len(row.states)}" if runs else "-"),
        *(row.health or "-", row.host or "no row", beat, row.image or "-"),
    ]


def _why(state: State, found: list[Summary]) -> str:
    silent = [row.node for row in state.rows if row.error] + (["MetaDB"] if state.metadb else [])
    down = [node for one in found for node in one.down]
    ill = [
        row.node
        for row in state.rows
        if row.deployed and not row.error and not row.healthy and row.node not in down
    ]
    old = [row.node for row in state.rows if row.deployed and (row.beat or 0) > STALE]
    vips = [one.region for one in found if one.silent_vip]
    said = (
        ("unreachable", silent),
        ("down", down),
        ("not healthy", ill),
        ("heartbeat is old", old),
        ("VIP is silent", vips),
    )
    return "; ".join(f"{word}: {', '.join(names)}" for word, names in said if names)


def _rows(loaded: Fleet, metadb: MetaDbEdge, hosts: dict[str, str], beats: dict[str, float]) -> str:
    """Fill in what the rows of each region say by address, and return why they do not."""
    look = metadb.one_look(("cluster_info", "host", "resource_group"))
    try:
        known = {row.code for row in look.clusters()} if look.exists() else set()
        for region in loaded.regions:
            if region.location in known:
                hosts.update({row.ip: row.status for row in look.hosts(region.location)})
                beats.update(look.beats(region.heartbeat_db))
    except OmsfabError as error:
        return f"{error.what} ({error.id})"
    return ""


def ask(loaded: Fleet) -> State:
    """Ask all nodes side by side, and MetaDB beside them; who does not answer is not tried again,
    and told on the terminal meanwhile."""
    shells = ssh.connect(loaded.nodes, loaded.ssh, tries=1)
    metadb = tunnel.edge(loaded.metadb, shells)
    hosts: dict[str, str] = {}
    beats: dict[str, float] = {}

    try:
        with ThreadPoolExecutor(min(observe.WIDTH, len(loaded.nodes)) + 1) as pool:
            wrong = pool.submit(_rows, loaded, metadb, hosts, beats)
            rows_of = {
                pool.submit(_row, loaded, node, shells[node.name]): node for node in loaded.nodes
            }
            _, late = wait(rows_of, SOON)
            if late:
                arrivals.shown(as_completed(late), lambda: _so_far(rows_of))
            asked = [one.result() for one in rows_of]
            told = list(pool.map(lambda region: _vip(region, asked, shells), loaded.regions))
            why = wrong.result()
    finally:
        for shell in shells.values():
            shell.close()
    return State(
        tuple(
            replace(row, host=hosts.get(row.address), beat=beats.get(row.address)) for row in asked
        ),
        why,
        {region.name: answers for region, answers in zip(loaded.regions, told, strict=True)
         if answers is not None},
    )  # fmt: skip


def _so_far(rows_of: Mapping[Future[Row], Node]) -> list[str]:
    """Who has not answered, and the rows of those who have."""
    rows = [replace(one.result(), host=UNASKED) for one in rows_of if one.done()]
    late = [node.name for one, node in rows_of.items() if not one.done()]
    more = f" and {len(late) - NAMED} more" if len(late) > NAMED else ""
    told = [f"waiting for {', '.join(late[:NAMED])}{more} …"] if late else ["all have answered"]
    return [*told, *columns.table(HEADS, [_cells(row, [*HEADS]) for row in rows], None)]


def _row(loaded: Fleet, node: Node, shell: Shell) -> Row:
    row = Row(node.name, node.ip, loaded.region_of(node).name)
    install = loaded.install_of(node)
    try:
        if shell.run(question(docker.version())).status != 0:
            return replace(row, error="docker does not answer (HOST-001)")
        there = shell.run(question(docker.running_from(install.container)))
        if there.status != 0:
            return replace(row, container="absent")
        runs, image = there.out.split()[:2]
        version = ".".join(map(str, values.version_of(image))) or image.rpartition(":")[2][:12]
        row = replace(row, image=version)
        if runs != "true":
            return replace(row, container="stopped")
        states = supervisor.states(shell.run(question(supervisor.status(install.container))).out)
        return replace(row, container="running", states=states, health=health(node, install, shell))
    except OmsfabError as error:
        return replace(row, container="", error=f"{error.what} ({error.id})")


def health(node: Node, install: Install, shell: Shell) -> str:
    """healthy, unhealthy; of an OMS without a health page: CM answers, CM is silent."""
    page = shell.run(question(files.http_get(oms.health_url(node, install))))
    cm = oms.page_of_cm(node.ip, install)
    if cm is not None and no_health_page(page):
        return "CM is silent" if shell.run(question(cm)).status else "CM answers"
    return "unhealthy" if health_says(page) else "healthy"


def _vip(region: Region, rows: list[Row], shells: Mapping[str, Shell]) -> bool | None:
    """Whether the address of cm_url is answered, as a node of the region sees it."""
    if region.cm_url.host in region.ips:
        return None
    for row in rows:
        if row.region == region.name and not row.error:
            try:
                to = node_checks.connects(region.cm_url.host, region.cm_url.port)
                return shells[row.node].run(question(to)).status == 0
            except OmsfabError:
                continue
    return None


# --- where it differs from hosts.yaml ------------------------------------------------------------


def check(region: str, *, as_json: bool = False) -> int:
    """Print what is not as hosts.yaml wants it, each thing once with the nodes that have it.

    Return 0 as wanted; 5 with differences, or findings that would stop a run; 3 where a node or
    MetaDB cannot be asked (10 where a key forbids it), with all the others told.
    """
    loaded = load(quiet=as_json)
    asked = (regions.named(loaded, region, fab("fleet.check")),) if region else loaded.regions
    errors, findings, found, checks = _compared(loaded, asked)
    away = {error.node for error in errors}
    known = {node.name: node.ip for node in loaded.nodes}
    groups = [
        *of_findings(
            (finding_of(one) for one in errors if isinstance(one, AWAY)),
            known,
            weight="unreachable",
        ),
        *of_findings((finding_of(one) for one in errors if not isinstance(one, AWAY)), known),
        *of_differences(
            (
                one
                for one in differences(loaded, found)
                if (one.node or METADB) not in away
                and not (one.kind == "host row" and METADB in away)
            ),
            known,
        ),
        *of_findings((one for one in findings if one.node not in away), known),
    ]
    wrong = any(one.weight in ("hard", "difference") for one in groups)
    code = refusal(errors).exit_code if errors else ILL if wrong else AS_WANTED
    nodes = sum(len(one.nodes) for one in asked)
    redact = Redactor(secrets_of(loaded))  # what is wanted, and the fix, are words of our own
    groups = [replace(one, what=redact(one.what), found=redact(one.found)) for one in groups]
    if as_json:
        said = document(
            hosts_file=str(hosts_path()),
            exit=code,
            regions=[one.name for one in asked],
            asked_nodes=nodes,
            checks=checks,
            groups=[one.record() for one in groups],
        )
        print(said)
        return code
    named = [region] if region else []
    for line in check_lines(groups, nodes, checks, code, named, columns.width()):
        say(line)
    return code


AWAY = (Unreachable, MetaDbAway, LostSession, NoAnswer)
"""Errors by which it is not known how a node or MetaDB is."""


def _compared(
    loaded: Fleet, asked: Sequence[Region]
) -> tuple[list[OmsfabError], list[Finding], dict[str, Observed], int]:
    """Return what could not be asked, what the preflight finds, what is so by region, and how many
    questions that were; a node that is silent once is asked nothing more."""
    shells = ssh.connect(loaded.nodes, loaded.ssh)
    metadb = tunnel.edge(loaded.metadb, shells)
    found: dict[str, Observed] = {}
    errors: list[OmsfabError] = []
    told: dict[Finding, None] = {}
    checks = 0
    site = Interpreter("", home_of(loaded), shells, metadb, secrets=secrets_of(loaded))
    try:
        for where in asked:
            found[where.name], wrong = observe.at_region(loaded, where, shells, metadb, None)
            errors += wrong
            away = {error.node for error in wrong if isinstance(error, AWAY)}
            runner = Runner(site, lambda event: None)
            stage = scale_out.preflight(loaded, where, found[where.name])
            steps = tuple(step for step in stage.steps if step.node not in away)
            if any(error.node == METADB for error in wrong):  # told once
                steps = tuple(step for step in steps if not asks_metadb(step))
            hidden = refusals.mistaken(loaded, found[where.name])
            steps = tuple(step for step in steps if step.node not in hidden)
            checks += len(steps)
            try:
                runner.carry_out(Plan("fleet.check", "", (), (replace(stage, steps=steps),)))
            except OmsfabError as error:
                parts = error.parts or (error,)
                told |= dict.fromkeys(finding_of(part) for part in parts)
            told |= dict.fromkeys(runner.warnings)
    finally:
        for shell in shells.values():
            shell.close()
    return errors, list(told), found, checks


# --- for Prometheus ------------------------------------------------------------------------------


def metrics(file: str) -> None:
    """Print the figures of ``status`` as Prometheus text, or put them into a file, whole at once:
    whoever reads it never sees a half."""
    text = metrics_text(told(load(quiet=True)), time.time())
    if not file:
        return print(text, end="")
    path = Path(file).expanduser()
    fd, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "w") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(part, 0o644)  # the collector is another user
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
    return None
