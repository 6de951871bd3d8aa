"""Asking without changing: what a plan would find, and what of it is so already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from omsfab.errors import Finding, Next, OmsfabError
from omsfab.fleet.model import Fleet
from omsfab.next_line import plus
from omsfab.plan import step_names
from omsfab.plan.events import Event
from omsfab.plan.overview import Answer, State
from omsfab.plan.records import METADB, Plan, SameTime, Stage, Step
from omsfab.run import observe
from omsfab.run.engine.interpreter import Interpreter
from omsfab.run.engine.runner import Runner
from omsfab.run.session import Session, secrets_of
from omsfab.show.text import counted


def asked(
    session: Session, stage: Stage, accepted: frozenset[str]
) -> tuple[list[OmsfabError], list[Finding]]:
    """Return what the questions of a stage find: refusals, and warnings."""
    site = Interpreter(
        "", session.home, session.shells, session.metadb, secrets=secrets_of(session.fleet)
    )
    runner = Runner(site, lambda event: None, accepted=accepted)
    try:
        runner.carry_out(Plan("preflight", "", (), (stage,)))
    except OmsfabError as error:
        return [error], runner.warnings
    finally:
        session.hang_up()
    return [], runner.warnings


def only_ask(session: Session, plan: Plan) -> None:
    """Run a plan that changes nothing: no lock, no journal."""
    show = session.show(plan, whole=True)
    site = Interpreter(
        "", session.home, session.shells, session.metadb, secrets=secrets_of(session.fleet)
    )
    try:
        with show:
            runner = Runner(site, lambda e: show(replace(e, text=site.redact(e.text))))
            runner.carry_out(plan)
    finally:
        session.hang_up()
    for reason in plan.reasons:
        session.print(reason)
    session.print(f"{plan.task}: 0 changes")


def compare(
    session: Session,
    plan: Plan,
    again: Next,
    accepted: frozenset[str],
    directory: Path | None = None,
    *,
    fleet: Fleet | None = None,
) -> None:
    """Ask the preflight, and the checks of every other step; print the plan with what they
    said (``--plan``).  A preflight that would stop the run ends this, too.

    ``again`` is the line of the task, ``directory`` that of a run which is looked at; ``fleet`` is
    the one that is meant, if it is not the session's.
    """
    run = directory.name if directory else ""
    place, hidden = directory or session.home, secrets_of(session.fleet)
    site = Interpreter(run, place, session.shells, session.metadb, secrets=hidden)
    preflight = [stage for stage in plan.stages[:-1][:1] if stage.asks_only]
    rest = [step for stage in plan.stages[len(preflight) :] for step in stage.steps]
    ended: dict[str, Event] = {}

    def hear(event: Event) -> None:
        if event.kind in HEARD:
            ended[step_names.key(event.step, event.node)] = event

    runner = Runner(site, hear, accepted=accepted)
    try:
        refused = _refusal(runner, replace(plan, stages=tuple(preflight)))
        found = _heard(site, plan, ended, refused, runner.warnings) | _needed(site, rest)
    finally:
        session.hang_up()
    more = {"accepted": sorted(accepted), "error": refused.id if refused else None}
    session.tell_plan(plan, found, fleet=fleet, assumed=False, run=run or None, **more)
    session.print(_last_line(session, plan, found, again, accepted, refused=refused is not None))
    if refused:
        refused.next = refused.next or (plus(again, plan=True),)
        raise refused


def _refusal(runner: Runner, preflight: Plan) -> OmsfabError | None:
    try:
        runner.carry_out(preflight)
    except OmsfabError as error:
        return error
    return None


def _last_line(
    session: Session,
    plan: Plan,
    found: Mapping[str, Answer],
    again: Next,
    accepted: frozenset[str],
    *,
    refused: bool,
) -> str:
    if session.flags.verbose:
        would = sum(one.state == "needed" for one in found.values())
        what = f"{counted(would, 'change')} would be made (+); what is so already stands with =; "
        return f"{plan.task}: {what}nothing was changed"
    if not plan.changes:
        return "No changes."
    apply = plus(again, accept=",".join(sorted(accepted)))
    return f"Nothing was changed.{'' if refused else f' Apply with: {apply}'}"


HEARD: Mapping[str, State] = {"done": "passed", "warning": "warning", "failed": "failed"}
"""Kinds of events with which a question ends."""


def _heard(
    site: Interpreter,
    plan: Plan,
    ended: Mapping[str, Event],
    refused: OmsfabError | None,
    warnings: Sequence[Finding],
) -> dict[str, Answer]:
    """Return what the questions of the preflight came to: how each ended, and what was found."""
    errors = (refused.parts or (refused,)) if refused else ()
    found: dict[str, Answer] = {}
    for step in plan.steps:
        if step.key not in ended:
            continue
        event = ended[step.key]
        state = HEARD[event.kind]
        texts: list[str] = []
        if state == "warning":
            texts = [w.found for w in warnings if (w.node, w.what) == (step.node, step.title)]
        if state == "failed":
            texts = [e.evidence for e in errors if (e.node, e.id) == (step.node, event.id)]
        found[step.key] = Answer(state, tuple(map(site.redact, texts)), event.id)
    return found


def _needed(site: Interpreter, steps: Sequence[Step]) -> dict[str, Answer]:
    """Ask the checks of these steps, nodes side by side: what is so already, and what is not."""
    lanes: dict[str, list[Step]] = {}
    for step in steps:
        lanes.setdefault(step.node, []).append(step)

    def ask(lane: list[Step]) -> dict[str, Answer]:
        return {step.key: one(step) for step in lane}

    def one(step: Step) -> Answer:
        why = (site.ask(probe, step.node) for probe in step.check if step.apply)
        lacking = dict.fromkeys(site.redact(text) for text in why if text is not None)
        needed: State = "needed" if not step.check or lacking else "unchanged"
        return Answer(needed if step.apply else "unasked", tuple(lacking))

    with ThreadPoolExecutor(min(observe.WIDTH, len(lanes) or 1)) as pool:
        return {key: each for lane in pool.map(ask, lanes.values()) for key, each in lane.items()}


def asks_metadb(step: Step) -> bool:
    return step.node == METADB or any(isinstance(probe, SameTime) for probe in step.verify)
