"""`fab fleet.forget`: what omsfab has left on nodes, in MetaDB and here, told and removed.

OMS needs nothing of it.  What goes is what makes a run reversible, so it is said for which runs
that is over; a run that has not ended refuses, wherever it is known.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath

from omsfab.command import Command
from omsfab.commands import init_job, leftovers, oms
from omsfab.errors import Locked, Next, OmsfabError, PreflightError, StepFailed
from omsfab.fleet.model import Fleet
from omsfab.metadb.client import Lease, Place
from omsfab.next_line import fab
from omsfab.plan.procedures.registry import UNDOABLE
from omsfab.run import jump_host, lifecycle, signals
from omsfab.run.confirmation import confirm
from omsfab.run.observe import WIDTH
from omsfab.run.record import claims, local_lock, replica
from omsfab.run.record.past_run import PastRun, runs
from omsfab.run.session import Session, hosts_path, told_safely
from omsfab.show.columns import folded, width
from omsfab.show.document import document
from omsfab.ssh.protocol import Shell

SELF = "fleet-forget"
"""The name under which all locks are held meanwhile; always the same, so that where it was cut off
the same line goes on at once."""

UNREACHABLE = 3
"""Exit status where a node could not be asked: what it has is left as it is."""

KINDS = {
    "run": ("copy of a run", "copies of runs"),
    "backup": ("backup of a file", "backups of files"),
    "package": ("image package", "image packages"),
    "attempt": ("output of docker_init.sh", "outputs of docker_init.sh"),
}


@dataclass(frozen=True, slots=True)
class Traces:
    """What a node has of omsfab's, by kind and path; ``error``: why it could not be asked."""

    node: str
    found: tuple[tuple[str, str], ...] = ()
    copies: tuple[replica.Copy, ...] = ()
    error: str = ""

    def count(self, kind: str) -> int:
        return sum(one == kind for one, _ in self.found)

    @property
    def text(self) -> str:
        if self.error:
            return f"UNREACHABLE, stays as it is: {self.error}"
        counts = {kind: self.count(kind) for kind in KINDS}
        told = [f"{n} {KINDS[kind][n > 1]}" for kind, n in counts.items() if n]
        return " · ".join(told) or ("what is left of them" if self.found else "nothing")


@dataclass(frozen=True, slots=True)
class Found:
    """All that omsfab has left of this OMS; ``here`` are the runs of this jump host."""

    nodes: tuple[Traces, ...]
    places: tuple[Place, ...]
    home: Path
    here: tuple[PastRun, ...]
    local: bool
    """Whether the state directory goes, too."""

    @property
    def silent(self) -> list[str]:
        return [one.node for one in self.nodes if one.error]

    @property
    def nothing(self) -> bool:
        there = self.places or any(one.found for one in self.nodes)
        return not there and not (self.local and self.home.exists())

    @property
    def runs(self) -> frozenset[str]:
        """All runs of this OMS that are known."""
        copies = (copy.run for one in self.nodes for copy in one.copies)
        return frozenset((*copies, *(run.name for run in self.here)))

    @property
    def reversible(self) -> list[str]:
        """The runs that can be rolled back until then; those of other jump hosts by their copies
        and their markers."""
        known = {run.name: run.reversible for run in self.here}
        copies = {
            copy.run
            for one in self.nodes
            for copy in one.copies
            if not (copy.undoes or (copy.end and copy.end.without_trace))
        }
        marked = {run for place in self.places if place.goes for run in place.markers}
        others = {run for run in copies | marked if run not in known and _undoable(run)}
        return sorted({*others, *(name for name, way in known.items() if way)}, reverse=True)


def _undoable(run: str) -> bool:
    return any(f"-{task.replace('.', '-')}-" in run for task in UNDOABLE)


@told_safely
def forget(session: Session, *, local: bool) -> int:
    """Tell what there is, ask, remove it; return 3 if a node could not be reached, else 0."""
    flags = session.flags
    if flags.dry:
        session.print(_dry(session, local=local))
        return 0
    local_lock.refuse_taken(session.home)
    found = look(session, local=local)
    acts = not (found.nothing or flags.plan)
    if not found.nothing:
        refuse_open(session, found)
    if not flags.json:
        session.print("\n".join(lines(found, width())))
    if acts:
        line = fab("fleet.forget", local=local)
        confirm(flags, stakes(found), line, word="forget" if found.reversible else "")
        remove(session, found)
    if flags.json:
        print(record(found, removed=acts))
    else:
        session.print("\n".join(ending(found, removed=acts)))
    return UNREACHABLE if found.silent else 0


def _dry(session: Session, *, local: bool) -> str:
    nodes = ", ".join(node.name for node in session.fleet.nodes)
    here = f", {session.home}" if local else ""
    return (
        f"dry: nothing was contacted; omsfab's own would be removed from {nodes}, MetaDB{here};"
        " what there is, --plan asks"
    )


# --- look ----------------------------------------------------------------------------------------


def look(session: Session, *, local: bool) -> Found:
    """Ask MetaDB and all nodes, side by side, and what is here."""
    here = tuple(runs(session.home))
    with ThreadPoolExecutor(min(WIDTH, len(session.shells)) or 1) as pool:
        nodes = tuple(pool.map(lambda name: _traces(session, name), session.shells))
    found = Found(nodes, (), session.home, here, local)
    places = session.metadb.own_places(found.runs)
    return replace(found, places=tuple(place for place in places if place.ours))


def _traces(session: Session, name: str) -> Traces:
    shell = session.shells[name]
    try:
        said = shell.run(leftovers.look(*_where(session.fleet)))
        found = (line.partition(" ") for line in said.out.splitlines())
        copies = tuple(replica.copies(shell))
    except OmsfabError as error:
        return Traces(name, error=f"{error.what} ({error.id})")
    return Traces(name, tuple((kind, path) for kind, _, path in found), copies)


def _where(fleet: Fleet) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The logs mount, the files that runs write, and where they send packages to."""
    mounts = fleet.install.mounts
    above = [str(PurePosixPath(mounts.logs).parent)]
    if fleet.tsdb:
        above.append(str(PurePosixPath(fleet.tsdb.data).parent))
    return (
        mounts.logs,
        tuple(path for path in (mounts.config, mounts.https_crt, mounts.https_key) if path),
        tuple(dict.fromkeys(above)),
    )


# --- what stands against it ----------------------------------------------------------------------


def refuse_open(session: Session, found: Found) -> None:
    """Raise for a run that has not ended: here, by its copy on a node, by the lease in MetaDB; and
    for a docker_init.sh that runs, since its output would go."""
    for run in found.here:
        if run.past.events and not run.past.ended:
            raise _open(run.name, str(run.directory), "")
    ended = {run.name for run in found.here}
    for one in found.nodes:
        for copy in one.copies:
            if not copy.end and copy.run not in ended:
                raise _open(copy.run, f"{one.node}, by its copy there", one.node)
    held = session.metadb.lease_holder()
    if held and held.run_id != SELF:
        session.metadb.lease_refuse_taken()
    container = session.fleet.install.container
    for one in found.nodes:
        if not one.count("attempt"):
            continue
        over = session.shells[one.node].run(init_job.over(container, oms.INIT, unasked=True))
        if over.status:
            raise Locked(
                "INIT-010",
                f"docker_init.sh is running on {one.node}; its output would be removed",
                where=f"{one.node}, container {container}",
                evidence=over.err.strip() or over.out.strip(),
                next=fab("node.status", node=one.node, note="wait for its end"),
            )


def _open(run: str, where: str, node: str) -> PreflightError:
    resume = fab("run.resume", run=run, from_=node)
    return PreflightError(
        "RUN-038",
        f"run {run} has not ended: what it needs to go on, or back, is not removed",
        where=where,
        fix="finish it, roll it back or give it up first",
        next=resume
        if node
        else (resume, fab("run.abandon", run=run, note="what it changed stays as it is")),
    )


# --- tell ----------------------------------------------------------------------------------------


def lines(found: Found, wide: int | None) -> Iterator[str]:
    """What there is, and what is over without it."""
    if found.nothing:
        yield "nothing to forget: omsfab has left nothing on " + _reached(found)
    else:
        yield "What omsfab has left of this fleet; OMS needs none of it"
        rows = [(one.node, one.text) for one in found.nodes]
        rows += [("MetaDB", _metadb(found)), ("here", _here(found))]
        label = max(len(name) for name, _ in rows)
        for name, text in rows:
            told = folded(text, wide - label - 4) if wide else [text]
            yield from (f"  {'' if n else name:<{label}}  {line}" for n, line in enumerate(told))
    if not found.nothing and found.reversible:
        yield "run.undo will be IMPOSSIBLE for:"
        yield from (f"  {run}" for run in found.reversible)


def _reached(found: Found) -> str:
    names = [one.node for one in found.nodes if not one.error]
    return f"{', '.join([*names, 'MetaDB'])}" + (", here" if found.local else "")


def _metadb(found: Found) -> str:
    told = []
    for place in found.places:
        whole = place.goes and place.alone
        what = "schema" if whole else "tables" if place.goes else "rows of this OMS in"
        names = place.schema if whole else ", ".join(f"{place.schema}.{t}" for t in place.tables)
        used = f" (used by {', '.join(place.others)}, too)" if place.others else ""
        told.append(f"{what} {names}{used}")
    return " · ".join(told) or "nothing"


def _here(found: Found) -> str:
    kept = "" if found.local else ", stays: --local removes it, with all backups of rows"
    return f"{found.home}: {_runs(len(found.here))}{kept}" if found.home.exists() else "nothing"


def _runs(count: int) -> str:
    return f"{count} run{'s'[: count != 1]}"


def stakes(found: Found) -> str:
    """One sentence, for the question."""
    where = _reached(replace(found, local=False))
    here = f", and {found.home} with all backups of rows" if found.local else ""
    count = len(found.reversible)
    over = f"; {_runs(count)} can then no longer be rolled back" if count else ""
    return f"Remove what omsfab has left on {where}{here}{over}."


def again(found: Found, note: str = "removes what is left") -> Next:
    """The same line, which goes on where it ended."""
    return fab("fleet.forget", local=found.local, note=note)


def ending(found: Found, *, removed: bool) -> Iterator[str]:
    if removed:
        yield "removed: omsfab has left nothing on " + _reached(found)
    elif not found.nothing:
        yield "nothing was changed"
    if found.silent:
        yield f"exit {UNREACHABLE}: unreachable: {', '.join(found.silent)}"
        yield f"next: {again(found, note='once they answer: it removes what is left there')}"


def record(found: Found, *, removed: bool) -> str:
    """What ``--json`` prints; docs/json.md."""
    return document(
        hosts_file=str(hosts_path()),
        removed=removed,
        exit=UNREACHABLE if found.silent else 0,
        nodes=[
            {
                "node": one.node,
                "error": one.error or None,
                "copies": one.count("run"),
                "backups": one.count("backup"),
                "packages": one.count("package"),
                "init_outputs": one.count("attempt"),
            }
            for one in found.nodes
        ],
        metadb=[
            {
                "schema_name": place.schema,
                "drops": list(place.tables) if place.goes else [],
                "shared_with": list(place.others),
            }
            for place in found.places
        ],
        jump_host={
            "directory": str(found.home),
            "runs": len(found.here),
            "goes": found.local,
        },
        no_longer_undoable=found.reversible,
    )


# --- remove --------------------------------------------------------------------------------------


def remove(session: Session, found: Found) -> None:
    """Remove it under all locks: nodes first, then MetaDB, where the lock is, this directory last.

    A node that fails keeps nobody else's from going; the first failure is raised at the end, and
    the same line then does what is left.
    """
    new = not session.home.exists()
    jump_host.make(session.home)
    me, now = lifecycle.owner(session.home), f"{datetime.now(timezone.utc):%H:%M:%SZ}"
    shells = [session.shells[one.node] for one in found.nodes if one.found]
    with ExitStack() as stack:
        stack.enter_context(local_lock.held(session.home, SELF, me, now))
        stack.enter_context(signals.by_signal())
        lease = None
        if any(len(place.tables) > 1 for place in found.places):
            lease = session.metadb.lease_take(SELF, me)
            stack.callback(_release, session, lease)
            stack.enter_context(session.metadb.lease_keep(lease))
        stack.callback(claims.free, shells, SELF)
        claims.take(shells, SELF, me, now, again=False)
        refuse_open(session, look(session, local=found.local))
        for run in found.here:
            if run.reversible:
                run.forget()
        gone = leftovers.remove(*_where(session.fleet))
        with ThreadPoolExecutor(min(WIDTH, len(shells)) or 1) as pool:
            said = pool.map(lambda shell: _removed(shell, gone, again(found)), shells)
            failed = [one for one in said if one]
        if found.places:
            session.metadb.forget(lease, found.runs)
        if failed:
            raise failed[0]
        if found.local or new:
            shutil.rmtree(session.home)


def _removed(shell: Shell, gone: Command, rest: Next) -> OmsfabError | None:
    try:
        said = shell.run(gone)
    except OmsfabError as error:
        error.changed = CHANGED
        return error
    if said.status == 0:
        return None
    return StepFailed(
        "RUN-039",
        f"{shell.node} keeps what omsfab has left there",
        where=shell.node,
        changed=CHANGED,
        evidence=said.err.strip(),
        fix="see why these cannot be removed: their mode, lsattr, a read-only mount",
        next=rest,
    )


CHANGED = "what the other nodes and MetaDB had is removed"


def _release(session: Session, lease: Lease) -> None:
    with suppress(OmsfabError):  # it went with the table
        session.metadb.lease_release(lease)
