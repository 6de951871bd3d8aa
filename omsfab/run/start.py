"""A new run, from a task's flags on: look, plan, show; then, if wanted, confirm and carry out."""

from __future__ import annotations

import secrets as randomness
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone

from omsfab.command import question
from omsfab.commands import init_job, oms
from omsfab.errors import Locked, Next, OmsfabError, PreflightError, refusal
from omsfab.fleet import certificate as certificates
from omsfab.fleet import image_package
from omsfab.fleet.image_package import Package
from omsfab.fleet.model import Fleet, Node
from omsfab.next_line import fab, recorded
from omsfab.plan import acceptance, outage, step_names
from omsfab.plan.observed import Observed, assumed
from omsfab.plan.procedures import node as repair
from omsfab.plan.procedures import refusals, regions, scale_out, undo
from omsfab.plan.procedures.registry import TASKS, UNDO, Task, is_repair
from omsfab.plan.records import METADB, CopyFile, Plan
from omsfab.run import lifecycle, observe, preview, recheck
from omsfab.run.engine import failpoint
from omsfab.run.lifecycle import Order
from omsfab.run.record import claims, decisions, holders, local_lock
from omsfab.run.record import journal as journals
from omsfab.run.record.decisions import digest
from omsfab.run.record.past_run import runs
from omsfab.run.session import Session, told_safely
from omsfab.show.text import accepted_line


@told_safely
def start(session: Session, name: str, **args: str) -> None:
    """Look, plan, show; then, if wanted, confirm and run."""
    task = TASKS[name]
    accepted = session.accepted(recorded(name, args, plan=True))
    session.ready()
    failpoint.wanted()  # a misspelt one is refused before anything is locked
    if task.lease and not session.flags.looks:
        _refuse_beside_another(session, name)
    if task.scope == "region" and not args.get("region") and not session.flags.dry:
        args["region"] = _region(session, name)
    package = _package(session, task)
    with _offering(name, args, accepted):
        present, errors = _present(session, name, package, args)
        present = replace(present, certificates=certificates.pairs(session.fleet.regions))
        try:
            plan, present, waived = _planned(session, task, present, errors, args, accepted)
        except PreflightError as error:
            _name_who_deleted(session, error, args)
            raise
        _refuse_unfit(session, task, plan, accepted)
    if session.flags.dry or (plan.changes and not session.flags.plan):
        session.tell_plan(plan, assumed=present.assumed, accepted=sorted(accepted))
    if not session.flags.json:
        session.tell_accepted(accepted, waived)
    if session.flags.dry:
        session.print(f"dry: nothing was contacted{_about(present)}")
    elif session.flags.plan:
        with _offering(name, args, accepted):
            preview.compare(session, plan, recorded(name, args), accepted)
        _refuse_held(session, name, plan, present, recorded(name, args))
    elif plan.changes:
        _confirmed(session, name, args, present, plan, accepted)
    else:
        preview.only_ask(session, plan)


def _confirmed(
    session: Session,
    name: str,
    args: Mapping[str, str],
    present: Observed,
    plan: Plan,
    accepted: frozenset[str],
) -> None:
    """Ask, then carry the plan out."""
    again = recorded(name, args)
    _refuse_second(session, name)
    _refuse_held(session, name, plan, present, again)
    session.confirm("", plan, again)
    try:
        _new_run(session, name, args, present, plan, accepted)
    except PreflightError as error:
        _with_findings(session, error, plan, accepted)
        raise


def _name_who_deleted(session: Session, error: PreflightError, args: Mapping[str, str]) -> None:
    """Where MetaDB has no region (PLAN-002), a run of ours may have deleted its rows."""
    if error.id != "PLAN-002" or session.flags.dry:
        return
    location = regions.named(session.fleet, args.get("region", "")).location
    for run in runs(session.home):
        if step_names.key(step_names.CLEAR_ROWS) not in run.past.begun or run.past.undone:
            continue
        if session.metadb.deleted_by(run.name, location):
            error.evidence = f"run {run.name} has deleted the rows of location {location}"
            error.next = (fab(UNDO, run=run.name, note="puts them back"),)
            return


def _planned(
    session: Session,
    task: Task,
    present: Observed,
    errors: Sequence[OmsfabError],
    args: Mapping[str, str],
    accepted: frozenset[str],
) -> tuple[Plan, Observed, tuple[OmsfabError, ...]]:
    """Return the plan and what was accepted of all that stands against it, or raise all of it,
    with what the preflight finds on the nodes that answer."""
    refusals.called_otherwise(session.fleet, present)
    plan: Plan | None = None
    refused = tuple(errors)
    if all(error.id in accepted for error in errors):
        plan, present, more = planned(task.planner, session.fleet, present, args)
        refused = (*errors, *more)
    hard = [error for error in refused if error.id not in accepted]
    if plan and not hard:
        return plan, present, refused
    if session.flags.dry or task.scope != "region":
        raise refusal(hard or refused)
    region = regions.named(session.fleet, args.get("region", ""))
    stage = next((one for one in plan.stages if one.gather), None) if plan else None
    stage = stage or scale_out.preflight(session.fleet, region, present)
    if any(error.node == METADB for error in errors):  # told once
        asked = (step for step in stage.steps if not preview.asks_metadb(step))
        stage = replace(stage, steps=tuple(asked))
    hidden = refusals.mistaken(session.fleet, present)
    stage = replace(stage, steps=tuple(one for one in stage.steps if one.node not in hidden))
    with session.console.status("asking everything else that the plan would need"):
        found, warnings = preview.asked(session, stage, accepted)
    raise refusal([*(hard or refused), *found], warnings)


def _with_findings(
    session: Session, error: PreflightError, plan: Plan, accepted: frozenset[str]
) -> None:
    """A node that cannot be claimed is told with all that the preflight would have found."""
    stage = next((one for one in plan.stages if one.gather), None)
    if error.id != "LOCK-003" or error.findings or stage is None:
        return
    with session.console.status("asking everything else that the plan would need"):
        found, warnings = preview.asked(session, stage, accepted)
    if found or warnings:
        raise refusal([error, *found], warnings) from error


def _region(session: Session, name: str) -> str:
    """Return the name of the region that is meant when none was named."""
    if len(session.fleet.regions) == 1:
        return session.fleet.regions[0].name
    return observe.chosen_region(session.fleet, session.metadb, fab(name, plan=True))


def _package(session: Session, task: Task) -> Package | None:
    part = session.part(task)
    if not task.package or part is None or part.package is None:
        return None
    with session.console.status(f"reading {part.package.name} (once)"):
        key = "tsdb" if task.tsdb else "oms"
        keep = not session.flags.looks
        return image_package.examine(part.package, part.image, session.home, part=key, keep=keep)


def _present(
    session: Session, name: str, package: Package | None, args: Mapping[str, str]
) -> observe.Seen:
    task = TASKS[name]
    if task.scope == "region":
        again = fab(name, dry=session.flags.dry, plan=not session.flags.dry)
        region = regions.named(session.fleet, args.get("region", ""), again)
        if session.flags.dry:
            deployed = task.planner is not scale_out.deploy
            return assumed(session.fleet, region, package, deployed=deployed), []
        with session.console.status("asking MetaDB and the nodes"):
            return observe.at_region(
                session.fleet, region, session.shells, session.metadb, package, args.get("rows", "")
            )
    if task.scope == "metadb":
        rows = () if session.flags.dry else session.metadb.clusters()
        return Observed(clusters={row.code: row.cm_url for row in rows}), []
    nodes = _asked_nodes(session, task, args)
    part = session.part(task) or session.fleet.install
    if session.flags.dry:
        image = package.image if package else part.image
        return Observed(assumed=True, package=package, image=image), []
    with session.console.status("asking the nodes"):
        facts, errors = observe.ask_nodes(session.fleet, nodes, session.shells, package, part.image)
    image = observe.wanted_image(session.fleet, facts, package)
    if task.tsdb and not package:  # what runs is OMS; the id of this image is asked for
        found = {one.loaded for one in facts.values() if one.loaded}
        image = found.pop() if len(found) == 1 else part.image
    return Observed(nodes=facts, package=package, image=image), errors


def _asked_nodes(session: Session, task: Task, args: Mapping[str, str]) -> Sequence[Node]:
    if task.scope == "fleet":
        return session.fleet.nodes
    if task.scope == "members":
        again = fab(task.name, plan=True)
        return regions.named(session.fleet, args.get("region", ""), again).nodes
    again = recorded(task.name, {**args, "node": ""})
    return repair.nodes_named(session.fleet, args.get("node", ""), again)


def _refuse_unfit(session: Session, task: Task, plan: Plan, accepted: frozenset[str]) -> None:
    """A certificate that could not work is not sent.  One that is on the nodes already stops
    nobody, and a run once begun ends with the one it began with."""
    sent = {e.source for step in plan.steps for e in step.apply if isinstance(e, CopyFile)}
    for region in session.fleet.regions:
        if region.https and region.https.crt in sent:
            try:
                certificates.judge(region, region.https, dates=not task.any_dates)
            except OmsfabError as error:
                if error.id not in accepted:
                    raise
                session.print(f"! {accepted_line(error.id, error)}")


def _refuse_beside_another(session: Session, name: str) -> None:
    """Beside a run that is under way nothing is looked at: what is seen is half a change."""
    local_lock.refuse_taken(session.home)
    _refuse_second(session, name)
    session.metadb.lease_refuse_taken(lambda held: lifecycle.left_behind(session.home, held))


def _refuse_second(session: Session, name: str) -> None:
    """A scale-out that has not ended is to be resumed; of repairs see ``_refuse_held``."""
    if is_repair(name):
        return
    for found in holders.holders(session.home):
        raise holders.refusal(found)


def _refuse_held(session: Session, name: str, plan: Plan, present: Observed, again: Next) -> None:
    """A repair changes nothing on a node where docker_init.sh runs (INIT-010), or that a run
    which has not ended holds (RUN-020).

    Under the lock both are asked again: by the claim, and by the first step of the plan.
    """
    if not is_repair(name):
        return
    local_lock.refuse_taken(session.home)
    nodes = [shell.node for shell in claims.nodes_of(plan, session.shells)]
    found = holders.held_by(session.home, nodes)
    for node in nodes:
        if present.facts(node).container == "running":
            _refuse_while_it_initialises(session, node, found, again)
    if found:
        raise holders.refusal(found, nodes)


def _refuse_while_it_initialises(
    session: Session, node: str, found: holders.Holder | None, again: Next
) -> None:
    container = session.fleet.install.container
    over = session.shells[node].run(question(init_job.over(container, oms.INIT, unasked=True)))
    if over.status == 0:
        return
    said = over.err.strip() or over.out.strip()
    held = f"run {found.run.name} follows it, and has not ended" if found else ""
    wait = fab("node.status", node=node, note=f"once it has ended: {again}")
    raise Locked(
        "INIT-010",
        f"docker_init.sh is running on {node}; it must not be interrupted",
        where=f"{node}, container {container}",
        evidence="\n".join(filter(None, (said, held))),
        next=found.lines if found else wait,
    )


def _new_run(
    session: Session,
    name: str,
    args: Mapping[str, str],
    present: Observed,
    plan: Plan,
    accepted: frozenset[str],
) -> None:
    now = datetime.now(timezone.utc)
    run = f"{now:%Y%m%dT%H%M%SZ}-{name.replace('.', '-')}-{randomness.token_hex(2)}"
    directory = session.home / run
    record = {
        "task": name,
        "args": dict(args),
        "owner": lifecycle.owner(session.home),
        "fleet": undo.public(session.fleet),
        "present": present.record(),
        "omsfab": decisions.VERSION,
        "form": decisions.FORM,
        "digest": digest(plan, run),
        "initial": plan.initial,
        "steps": [step.key for step in plan.steps if step.apply],
    }
    journals.begin(directory, record)

    def still() -> None:
        recheck.as_planned(session.fleet, present, session.shells, session.metadb, plan)

    session.execute(
        Order(
            directory,
            plan,
            lease=TASKS[name].lease,
            fresh=still,
            accepted=accepted,
            serving=outage.serving(session.fleet, present),
        )
    )


def planned(
    planner: Callable[..., Plan], fleet: Fleet, present: Observed, args: Mapping[str, str]
) -> tuple[Plan | None, Observed, tuple[OmsfabError, ...]]:
    """Return the plan, the Observed that gives it, and all refusals that stand against it.

    Each refusal is waived and the planner asked again, so that all are told at once; the caller
    goes on only if every one of them is accepted.  None is returned where one cannot be left out.
    """
    refused: list[OmsfabError] = []
    while True:
        present = replace(present, waived=tuple(error.id for error in refused))
        try:
            return planner(fleet, present, **args), present, tuple(refused)
        except PreflightError as error:
            if error.id in present.waived:
                return None, present, tuple(refused)
            refused.append(error)


@contextmanager
def _offering(name: str, args: Mapping[str, str], accepted: frozenset[str]) -> Iterator[None]:
    """What can be accepted of a refusal is offered as a line, with what was accepted already."""
    try:
        yield
    except OmsfabError as error:
        if ids := acceptance.acceptable(error.ids, name):
            error.accept = recorded(
                name, args, plan=True, accept=",".join(sorted({*ids, *accepted}))
            )
        raise


def _about(present: Observed) -> str:
    return "; MetaDB and nodes are assumed, ask them with --plan" if present.assumed else ""
