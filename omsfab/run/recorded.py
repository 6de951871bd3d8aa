"""What resume, undo and abandon share: which run is meant, how far it is, who else was at it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from omsfab.errors import InputError, PreflightError
from omsfab.next_line import fab, meant
from omsfab.plan import step_names
from omsfab.plan.events import RunEnd
from omsfab.plan.procedures import node as repair
from omsfab.plan.procedures import regions, undo
from omsfab.plan.procedures.registry import TASKS
from omsfab.plan.progress import progress
from omsfab.plan.records import Plan
from omsfab.run import clock, lifecycle, other_hosts
from omsfab.run.engine.runner import stands
from omsfab.run.record import claims, local_lock, replica
from omsfab.run.record.journal import Past
from omsfab.run.record.outages import History
from omsfab.run.record.past_run import PastRun, runs, ways_back
from omsfab.run.session import Session
from omsfab.show.progress import progress_lines
from omsfab.show.text import NOT_RECORDED, outage_lines, outage_text


def fetch(session: Session, task: str, run: str, source: str) -> PastRun:
    """With ``--plan`` the copy is looked at elsewhere, and gone when this ends."""
    (node, *_) = repair.nodes_named(session.fleet, source, fab(task, run=run), "from_")
    if session.flags.plan:
        session.scratch = TemporaryDirectory(prefix="omsfab-")
        looked_at = replica.fetch(session.shells[node.name], run, Path(session.scratch.name))
        if not PastRun(session.home / looked_at.name).exists:
            session.home = looked_at.parent
        return PastRun(session.home / looked_at.name)
    fetched = PastRun(replica.fetch(session.shells[node.name], run, session.home))
    session.print(f"run {fetched.name} is here, from {node.name}")
    return fetched


def unfinished(session: Session, named: str) -> PastRun:
    """The run named, or the newest one that goes on by itself: not one that was never begun,
    nor a line in a container, which is not repeated."""
    for run in runs(session.home):
        task = run.task
        if named not in ("", run.name):
            continue
        found = complete(session, run) if not named and task in TASKS else run
        chosen = named or (found.past.events and task != "node.exec")
        if chosen and not found.past.ended:
            return found
    if named in (run.name for run in runs(session.home)):
        past = PastRun(session.home / named).past
        raise InputError(
            "INPUT-025",
            f"run {named} has ended: nothing of it is left to go on with",
            where=str(session.home / named),
            evidence=next((event.text for event in reversed(past.events) if event.end), ""),
            next=fab("run.show", run=named),
        )
    raise InputError(
        "INPUT-025",
        f"there is no unfinished run {named}".rstrip(),
        where=str(session.home),
        **meant([named], [run.name for run in runs(session.home)]),
        next=fab("run.list"),
    )


def changed(session: Session, named: str) -> PastRun:
    """The run to roll back; a newer one that changed something stands in its way."""
    newer = ""
    for run in runs(session.home):
        open_ = run.reversible
        if named == run.name and not open_:
            raise InputError(
                "RUN-027",
                f"what {run.task} does cannot be rolled back"
                if not run.undoable
                else f"run {named} can no longer be rolled back: its backups on the nodes are gone"
                if run.forgotten
                else f"run {named} has nothing to roll back",
                evidence="fab fleet.forget has removed them" if run.forgotten else "",
                where=str(run.directory),
                next=fab("run.show", run=named),
            )
        if named == run.name and newer:
            raise PreflightError(
                "RUN-026",
                f"run {newer} came after {named}, and builds on it",
                where=str(session.home / newer),
                next=fab("run.undo", run=newer),
            )
        if open_ and named in ("", run.name):
            return run
        newer = newer or (run.name if open_ else "")
    raise InputError(
        "INPUT-008",
        f"there is no run {named or 'that changed something and can be rolled back'}",
        where=str(session.home),
        **meant([named], [run.name for run in runs(session.home)]),
        next=fab("run.list"),
    )


def idle(session: Session, named: str) -> PastRun | None:
    """The newest run, or the one named, if it was stopped before it had begun anything."""
    for run in runs(session.home):
        if named not in ("", run.name):
            continue
        known = run.task in TASKS
        found = complete(session, run) if known else run
        if named or found.past.events:  # else it was never begun
            return found if known and not (found.past.ended or found.past.changed) else None
    return None


def complete(session: Session, run: PastRun) -> PastRun:
    """Return the run with its journal from its copy, if it has none here: it was killed before its
    first word, or has lost it since."""
    initial = session.shells.get(run.record["initial"])
    there = (run.directory / "journal.jsonl").exists()
    if initial is None or there or session.flags.looks:
        return run
    if replica.complete(initial, run.directory):
        session.print(f"note: the journal was not here; its copy on {initial.node} is used")
    return run.anew


def past_of(session: Session, run: PastRun) -> Past:
    """Return what the run did, or may have done."""
    if run.past.torn:
        session.print("note: the last line of the journal was torn and is dropped")
    return run.past


def left(plan: Plan, past: Past) -> Plan:
    """The plan with those steps alone that a resumed run looks at; stages keep their numbers."""
    stages = tuple(
        replace(
            stage,
            steps=tuple(s for s in stage.steps if not stands(s, stage, plan, past)),
        )
        for stage in plan.stages
    )
    return replace(plan, stages=stages)


def tell_progress(session: Session, run: PastRun, plan: Plan, past: Past) -> None:
    """Say what of a run is done, failed, unknown and left, and what that will interrupt."""
    if session.flags.json:
        return
    lines = progress_lines(
        progress(plan, past.events), run=run.name, of=run.line.line, by=run.owner, now=clock.now()
    )
    down = [f"  OUTAGE    {line}" for line in outage_of(session, run)]
    session.print("\n".join([*lines, *down, *outage_lines(left(plan, past))]))


def outage_of(session: Session, run: PastRun) -> list[str]:
    """Since when OMS is down by this run, if it is; or that this is not recorded."""
    history = History(session.home)
    found = history.outage(run.directory)
    if found is None and not history.recorded(run.directory):
        return [NOT_RECORDED]
    return [outage_text(found)] if found and found.down else []


def refuse_others(
    session: Session, run: PastRun, *, back: bool, rollback: PastRun | None = None
) -> None:
    """Ask the copies on all nodes and MetaDB's marker whether somebody else has ended the run,
    rolled it back, gone on with it, or begun another one since; and whether somebody has gone on
    with the ``rollback`` of it that is to go on.  Asked before it is shown, and again under the
    locks."""
    if session.flags.dry:
        return
    past = run.past
    seen = other_hosts.look(session.shells)
    if rollback:
        other_hosts.refuse_elsewhere(seen, rollback.directory, rollback.past)
    known = {other.name for other in runs(session.home)}
    other_hosts.refuse(seen, run.directory, past, known, back=back)
    if seen.silent:
        names = ", ".join(seen.silent)
        session.print(f"note: {names} cannot be asked what other jump hosts did")
    touched = past.begun.intersection(replica.ROWS)
    fleet = run.fleet(session.fleet) if touched else session.fleet
    named = run.args.get("region", "")
    where = regions.named(fleet, named) if named or len(fleet.regions) == 1 else None
    if not touched or where is None:
        return
    put_back = set(map(step_names.key, undo.ROWS_BACK))
    ours = any(put_back & one.past.begun for one in ways_back(run))
    theirs = any(copy.undoes == run.name and copy.intents for _, copy in seen.copies)
    mark = other_hosts.mark_of(session.metadb, run.name, where.location)
    other_hosts.refuse_contradiction(
        mark, run.directory, past, own_rollback=ours or theirs, back=back
    )


def taken_back(run: PastRun, way: PastRun) -> PreflightError:
    return PreflightError(
        "RUN-029",
        f"run {run.name} is being rolled back, by {way.name}",
        where=str(run.directory),
        next=fab("run.undo", run=run.name),
    )


def close(session: Session, run: PastRun, end: RunEnd, why: str) -> None:
    """End a run here, and free its lease and its claims; a rollback has those of its run, which
    keeps them unless it has ended, too."""
    owner = lifecycle.owner(session.home)
    kept = bool(run.undoes) and not run.undone_run.past.ended
    holder = run.undoes or run.name
    with local_lock.held(session.home, run.name, owner, "now"):
        if not kept and (run.undoes or (run.task in TASKS and TASKS[run.task].lease)):
            lease = session.metadb.lease_take(
                holder, owner, on_busy=lambda: session.print(lifecycle.STILL_OPEN)
            )
            session.metadb.lease_release(lease)
        if not kept:
            claims.free(session.shells.values(), holder)
        lifecycle.close(run.directory, end, why)
