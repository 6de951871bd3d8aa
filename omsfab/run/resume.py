"""Going on with a run that has not ended, or giving it up."""

from __future__ import annotations

from dataclasses import replace

from omsfab.errors import PreflightError
from omsfab.next_line import fab
from omsfab.plan.events import RunEnd
from omsfab.plan.observed import Observed
from omsfab.plan.procedures.registry import TASKS, UNDO, Task
from omsfab.plan.records import Plan
from omsfab.run import preview, recheck, recorded, undo
from omsfab.run.lifecycle import Order
from omsfab.run.record import decisions
from omsfab.run.record import journal as journals
from omsfab.run.record.past_run import PastRun, ways_back, whole_name
from omsfab.run.session import Session, told_safely


@told_safely
def resume(session: Session, named: str = "", source: str = "", *, stop_init: bool = False) -> None:
    """Finish a run that has not ended: the newest, or the one named.

    ``source`` is a node with a copy of it.  With ``stop_init`` a docker_init.sh of it is ended.
    """
    accepted = session.accepted(fab("run.resume", run=named, from_=source))
    session.ready()
    named = whole_name(session.home, named)
    if source:
        if session.flags.dry:
            return session.print(f"dry: nothing was contacted, so nothing is known of {source}")
        named = recorded.fetch(session, "run.resume", named, source).name
    run = recorded.unfinished(session, named)
    if run.task == UNDO:
        return undo.go_on(session, run, accepted, stop_init=stop_init)
    _refuse_undone(run)
    _refuse_line(run)
    run = recorded.complete(session, run)
    task, present, plan = _planned(session, run)
    past = recorded.past_of(session, run)
    recorded.refuse_others(session, run, back=False)
    _refuse_changed(session, run, plan)
    recorded.tell_progress(session, run, plan, past)
    accepted |= past.accepted
    session.tell_accepted(accepted)
    again, left = fab("run.resume", run=run.name), recorded.left(plan, past)
    if session.flags.dry:
        if session.flags.json:
            session.tell_plan(left, run=run.name, accepted=sorted(accepted))
        return session.print("dry: nothing was contacted; what is so now, --plan asks")
    if session.flags.plan:
        return preview.compare(session, left, again, accepted, run.directory)
    session.confirm(f"go on with run {run.name}", left, again)

    def still() -> None:
        recheck.same_machines(present, session.shells, run=run.name)
        recorded.refuse_others(session, run, back=False)

    order = Order(run.directory, plan, task.lease, past, fresh=still, accepted=accepted)
    session.execute(replace(order, stop_init=stop_init))


def _planned(session: Session, run: PastRun) -> tuple[Task, Observed, Plan]:
    """Plan once more, from what was so then."""
    with journals.readable(run.directory):
        task = TASKS[run.task]
        present = _with_package(session, task, run.present)
        return task, present, task.planner(session.fleet, present, **run.args)


def _refuse_line(run: PastRun) -> None:
    if run.task == "node.exec":
        raise PreflightError(
            "RUN-031",
            "what a line did in the container is not known, so it is not repeated",
            where=str(run.directory),
            evidence=run.args.get("words", ""),
            next=fab("run.abandon", run=run.name, note="after a look at what it did"),
        )


def _refuse_undone(run: PastRun) -> None:
    """What a rollback has changed, steps that are done would not do again."""
    for way in ways_back(run):
        if way.past.begun:
            raise recorded.taken_back(run, way)


def _refuse_changed(session: Session, run: PastRun, plan: Plan) -> None:
    """What was decided and confirmed must still hold."""
    why = decisions.changed(run.record, plan, session.fleet, run.name)
    if why is None:
        return
    back = run.past.changed and run.undoable
    refused = PreflightError(
        "PLAN-004",
        f"run {run.name} {why.what}",
        where=str(session.fleet.origin),
        evidence="\n".join(why.evidence),
        fix=f"{why.cure}, or give the run up",
        next=(
            fab("run.resume", run=run.name, note=f"first {why.cure}"),
            fab("run.undo" if back else "run.abandon", run=run.name),
        ),
    )
    refused.outage = next(iter(recorded.outage_of(session, run)), "")
    raise refused


def _with_package(session: Session, task: Task, present: Observed) -> Observed:
    """The same package may lie elsewhere on another jump host."""
    part = session.part(task)
    path = part.package if part else None
    if present.package is None or path is None or str(path) == present.package.path:
        return present
    return replace(present, package=replace(present.package, path=str(path)))


@told_safely
def abandon(session: Session, named: str) -> None:
    """Close a run without finishing it; what it did stays as it is."""
    run = recorded.unfinished(session, whole_name(session.home, named))
    for way in ways_back(run):
        if way.past.begun and not way.past.ended:
            raise recorded.taken_back(run, way)
    if session.flags.looks:
        return session.print(
            f"run {run.name} would be closed, its lease and its claims freed; nothing was changed"
        )
    recorded.close(session, run, RunEnd("abandoned"), "abandoned by the operator")
    session.print(f"run {run.name} is closed; what it changed stays: fab fleet.status")
