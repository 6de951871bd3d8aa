"""Rolling a run back: shown, confirmed, carried out, and gone on with where it was cut off."""

from __future__ import annotations

import secrets as randomness
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone

from omsfab.errors import (
    Detached,
    Locked,
    LockLost,
    Mismatch,
    Next,
    OmsfabError,
    OutcomeUnknown,
    RollbackIncomplete,
    RolledBack,
)
from omsfab.next_line import fab, plus
from omsfab.plan import acceptance, outage
from omsfab.plan.events import Event, RunEnd
from omsfab.plan.procedures import undo as procedure
from omsfab.plan.procedures.registry import UNDO
from omsfab.plan.records import METADB, Plan
from omsfab.run import lifecycle, other_hosts, preview, recorded
from omsfab.run.confirmation import confirm
from omsfab.run.engine.runner import MOVED, SPARED
from omsfab.run.lifecycle import Order
from omsfab.run.record import decisions, replica
from omsfab.run.record import journal as journals
from omsfab.run.record.journal import Past
from omsfab.run.record.past_run import PastRun, ways_back, whole_name
from omsfab.run.session import Session, told_safely
from omsfab.show.columns import folded, width
from omsfab.ssh import shell as ssh


@told_safely
def undo(session: Session, named: str = "", source: str = "", *, stop_init: bool = False) -> None:
    """Roll back what a run did: the newest one that changed something, or the one named.

    With ``stop_init`` a docker_init.sh that still runs is ended, and the rollback runs none.
    """
    accepted = session.accepted(fab("run.undo", run=named, from_=source))
    session.ready()
    named = whole_name(session.home, named)
    if session.flags.dry and source:
        return session.print(f"dry: nothing was contacted, so nothing is known of {source}")
    if not source and (idle := recorded.idle(session, named)):
        return _undo_idle(session, idle)
    run = _meant(session, named, source)
    if begun := next((way for way in ways_back(run) if not way.past.ended), None):
        return go_on(session, begun, accepted, stop_init=stop_init)
    copied = source or run.fetched  # it may lag behind by a stage
    args = {"run": run.name, "all": "yes" if copied else ""}
    args["stop_init"] = "yes" if stop_init else ""
    accepted |= run.past.accepted
    plan = _plan(session, run, args, accepted)
    recorded.refuse_others(session, run, back=True)
    meant = run.fleet(session.fleet)
    again = fab(UNDO, run=run.name)
    _tell_of(session, run)
    if session.flags.plan and not session.flags.dry:
        session.tell_accepted(accepted)
        return preview.compare(session, plan, again, accepted, run.directory, fleet=meant)
    session.tell_plan(plan, fleet=meant, run=run.name, accepted=sorted(accepted))
    session.tell_accepted(accepted)
    if session.flags.looks:
        return session.print("nothing was changed")
    session.confirm(f"roll back run {run.name}", plan, again, meant)
    rollback = _begin(session, args, plan)
    order = _order(session, rollback, run, plan, accepted)
    _carry_out(session, order, run)


def _tell_of(session: Session, run: PastRun) -> None:
    """Which run it is, and whether OMS is down by it."""
    if not session.flags.json:
        outages = (f"OUTAGE {line}" for line in recorded.outage_of(session, run))
        wide = width()
        lines = folded(run.of_age, wide) if wide else [run.of_age]
        session.print("\n".join([*lines, *outages]))


def _meant(session: Session, named: str, source: str) -> PastRun:
    """The run to roll back; it comes along with the copy of its rollback, if that is the newest."""
    if not source:
        return recorded.changed(session, named)
    run = recorded.fetch(session, UNDO, named, source)
    return run.undone_run if run.task == UNDO else run


def _begin(session: Session, args: Mapping[str, str], plan: Plan) -> PastRun:
    now = datetime.now(timezone.utc)
    name = f"{now:%Y%m%dT%H%M%SZ}-{UNDO.replace('.', '-')}-{randomness.token_hex(2)}"
    record = {
        "task": UNDO,
        "args": dict(args),
        "owner": lifecycle.owner(session.home),
        "omsfab": decisions.VERSION,
        "form": decisions.FORM,
        "digest": decisions.digest(plan, name),
        "initial": plan.initial,
    }
    journals.begin(session.home / name, record)
    return PastRun(session.home / name)


def _plan(
    session: Session, run: PastRun, args: Mapping[str, str], accepted: frozenset[str]
) -> Plan:
    """Return the plan of the rollback; from here on the nodes are those of that run's fleet."""
    fleet = run.fleet(session.fleet)
    session.shells = ssh.connect(fleet.nodes, fleet.ssh)
    every = args.get("all")
    planned = run.record["steps"] if every else ()
    return procedure.undo(
        fleet,
        run.present,
        run=run.name,
        region=run.args.get("region", ""),
        begun=replica.may_have_begun(run.directory, planned) if every else run.past.begun,
        made_ids=run.past.containers,
        aside="CFG-013" in accepted,
        without_init=bool(args.get("stop_init")),
    )


def go_on(
    session: Session, rollback: PastRun, accepted: frozenset[str], *, stop_init: bool
) -> None:
    """Go on with a rollback that has not ended."""
    past = recorded.past_of(session, rollback)
    args = rollback.args | ({"stop_init": "yes"} if stop_init else {})
    run = rollback.undone_run
    accepted |= past.accepted
    plan = _plan(session, run, args, accepted)
    recorded.refuse_others(session, run, back=True, rollback=rollback)
    recorded.tell_progress(session, rollback, plan, past)
    session.tell_accepted(accepted)
    left, meant = recorded.left(plan, past), run.fleet(session.fleet)
    if session.flags.looks:
        if session.flags.json:
            session.tell_plan(left, fleet=meant, run=run.name, accepted=sorted(accepted))
        return session.print("nothing was changed")
    again = fab(UNDO, run=run.name)
    session.confirm(f"go on rolling back {run.of_age}", left, again, meant)
    order = _order(session, rollback, run, plan, accepted, past)
    _carry_out(session, order, run)


def _order(
    session: Session,
    rollback: PastRun,
    run: PastRun,
    plan: Plan,
    accepted: frozenset[str],
    past: Past | None = None,
) -> Order:
    """``past``: what the rollback has done so far, if it is gone on with."""

    def fresh() -> None:
        begun = rollback.anew if past else None
        recorded.refuse_others(session, run.anew, back=True, rollback=begun)

    return Order(
        rollback.directory, plan, True, past, run.directory, fresh=fresh, accepted=accepted
    )


def _carry_out(session: Session, order: Order, run: PastRun) -> None:
    """A rollback that fails is the worst case, so it has an exit status of its own; and so has
    the good end of a run that had failed, which must not pass for its success."""
    well = run.anew.past.well
    try:
        session.execute(replace(order, serving=_served(session, run)))
    except (Locked, LockLost, Detached, OutcomeUnknown):  # it may still come to a good end
        raise
    except OmsfabError as error:
        if error.changed == "nothing" or error.id in other_hosts.ACTED:
            raise
        if error.id == MOVED:  # others have acted meanwhile: nothing of the rollback has failed
            error.next = _back_again(order, run, error)
            raise
        incomplete = RollbackIncomplete(
            "RUN-025",
            f"run {run.name} is rolled back in part only: {error.id} {error.what}",
            where=error.where,
            changed=error.changed,
            evidence=error.evidence,
            fix=error.cure,
            next=_back_again(order, run, error),
        )
        incomplete.outage, incomplete.accept = error.outage, error.accept
        raise incomplete from error
    events = PastRun(order.directory).past.events
    warned = [event for event in events if event.kind == "warning"]
    _tell_not_done(session, [event for event in warned if event.id == SPARED])
    failed = _failed_instead(warned)
    if unlike := [*failed, *(e for e in warned if e.id in acceptance.ROLLED_BACK)]:
        raise _not_as_before(run, unlike)
    if not well:
        raise _rolled_back(run, "images and data directories, each step verified")


def _failed_instead(warned: Sequence[Event]) -> Iterator[Event]:
    """What a step warned of behind SPARED: something of its other way has failed."""
    spared = set()
    for event in warned:
        if event.id == SPARED:
            spared.add((event.node, event.step))
        elif (event.node, event.step) in spared:
            yield event


def _served(session: Session, run: PastRun) -> dict[str, list[str]]:
    """Where OMS served before the run that is rolled back."""
    return outage.serving(run.fleet(session.fleet), run.present)


def _tell_not_done(session: Session, told: Sequence[Event]) -> None:
    if told:
        session.print("\n".join(f"{event.node}: {event.text}" for event in told))
        nodes = dict.fromkeys(event.node for event in told)
        session.print(
            "it was done without docker_init.sh; once that works again:"
            f" {fab('node.initialise', node=','.join(nodes))}"
        )


def _undo_idle(session: Session, run: PastRun) -> None:
    """Its lease and its claims are all there is to roll back, unless somebody has carried it out
    from its copy."""
    if not session.flags.dry:
        seen = other_hosts.look(session.shells)
        other_hosts.refuse_elsewhere(seen, run.directory, run.past)
    if not session.flags.json:
        session.print(f"{run.of_age} had begun nothing: only its locks are to be freed")
    if session.flags.looks:
        return session.print("nothing was changed")
    again = fab(UNDO, run=run.name)
    confirm(session.flags, f"Free the lease and the claims of run {run.name}.", again)
    recorded.close(session, run, RunEnd("unchanged"), "nothing was changed")
    raise _rolled_back(run, "its journal")


def _back_again(order: Order, run: PastRun, error: OmsfabError) -> tuple[Next, ...]:
    """What leads on where a rollback has failed: what the error advises; then the rollback again,
    but where it would only find the same, which can be accepted."""
    own = tuple(line for line in error.next if line.task != "run.resume")
    if own and (error.accept or any(line.task == UNDO for line in own)):
        return own
    lost = {"DB-014", "DB-021"} & set(error.ids)
    source = order.plan.initial if lost else ""
    again = fab(UNDO, run=run.name, from_=source, note="goes on where it stopped")
    return (*own, again)


def _not_as_before(run: PastRun, told: Sequence[Event]) -> Mismatch:
    """The rollback is at its end, and once more would do nothing else."""
    last = {(event.node, event.step): event for event in told}
    nodes = dict.fromkeys(event.node for event in last.values() if event.node != METADB)
    observe = [fab("node.logs", node=node, note="why it does not run") for node in nodes]
    return Mismatch(
        "RUN-041",
        f"run {run.name} is rolled back, and not all is as before",
        where=", ".join(dict.fromkeys(event.node for event in last.values())),
        changed="nothing is left of it but images and data directories",
        evidence="\n".join(f"{event.node}: {event.text}" for event in last.values()),
        next=(*observe, fab("fleet.check")),
    )


def _rolled_back(run: PastRun, left: str) -> RolledBack:
    return RolledBack(
        "RUN-028",
        f"run {run.name} had not come to its end, and is rolled back",
        where=str(run.directory),
        changed=f"nothing is left of it but {left}",
        fix="mend what stopped it",
        next=plus(run.line, plan=True),
    )
