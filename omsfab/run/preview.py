"""Asking without changing: what a plan would find, and what of it is so already."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from omsfab.commands.next_line import plus
from omsfab.errors import Finding, Next, OmsfabError
from omsfab.plan import step_names
from omsfab.plan.events import Event
from omsfab.plan.records import METADB, Plan, SameTime, Stage, Step
from omsfab.run import observe
from omsfab.run.engine.interpreter import Site
from omsfab.run.engine.runner import Runner
from omsfab.run.session import Session, secrets_of
from omsfab.show.text import Found, plan_lines


def asked(
    session: Session, stage: Stage, accepted: frozenset[str]
) -> tuple[list[OmsfabError], list[Finding]]:
    """Return what the questions of a stage find: refusals, and warnings."""
    site = Site("", session.home, session.shells, session.metadb, secrets=secrets_of(session.fleet))
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
    show = session.show()
    site = Site("", session.home, session.shells, session.metadb, secrets=secrets_of(session.fleet))
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
) -> None:
    """Ask the preflight, and the checks of every other step; print the plan with what they
    said (``--plan``).  A preflight that would stop the run ends this, too.

    ``again`` is the line of the task, ``directory`` that of a run which is looked at.
    """
    run, place = (directory.name, directory) if directory else ("", session.home)
    site = Site(run, place, session.shells, session.metadb, secrets=secrets_of(session.fleet))
    found: dict[str, Found] = {}
    refused: OmsfabError | None = None

    def hear(event: Event) -> None:
        if sign := {"done": "✓", "warning": "!", "failed": "✗"}.get(event.kind):
            text = () if sign == "✓" else (site.redact(event.text),)
            found[step_names.key(event.step, event.node)] = Found(sign, text)

    def ask(steps: list[Step]) -> None:
        for step in steps:
            why = (site.ask(probe, step.node) for probe in step.check if step.apply)
            lacking = dict.fromkeys(site.redact(text) for text in why if text is not None)
            needed = "+" if not step.check or lacking else "="
            found[step.key] = Found(needed if step.apply else "?", tuple(lacking))

    preflight = [stage for stage in plan.stages[:-1][:1] if stage.asks_only]
    lanes: dict[str, list[Step]] = {}
    for stage in plan.stages[len(preflight) :]:
        for step in stage.steps:
            lanes.setdefault(step.node, []).append(step)
    try:
        try:
            Runner(site, hear, accepted=accepted).carry_out(replace(plan, stages=tuple(preflight)))
        except OmsfabError as error:
            refused = error
        with ThreadPoolExecutor(min(observe.WIDTH, len(lanes) or 1)) as pool:
            list(pool.map(ask, lanes.values()))
    finally:
        session.hang_up()
    session.print("\n".join(plan_lines(plan, found)))
    would = sum(one.sign == "+" for one in found.values())
    session.print(
        f"{plan.task}: {would} changes would be made (+); what is so already stands with =; "
        "nothing was changed"
    )
    if refused:
        refused.next = refused.next or (plus(again, plan=True),)
        raise refused


def asks_metadb(step: Step) -> bool:
    return step.node == METADB or any(isinstance(probe, SameTime) for probe in step.verify)
