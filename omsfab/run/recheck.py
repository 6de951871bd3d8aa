"""Is it still so, now that the lock is held?  The operator may have read the plan for an hour."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from omsfab import retry
from omsfab.command import question
from omsfab.commands import files
from omsfab.errors import LostSession, NoAnswer, PreflightError, SecurityRefusal, Unreachable
from omsfab.fleet.model import Fleet
from omsfab.metadb.client import MetaDbEdge
from omsfab.next_line import fab
from omsfab.plan import steps
from omsfab.plan.observed import NodeFacts, Observed
from omsfab.plan.records import ClearRows, Plan
from omsfab.run import observe
from omsfab.ssh.protocol import Shell


def same_machines(present: Observed, shells: Mapping[str, Shell], *, run: str) -> None:
    """Raise SSH-011 if a node's name leads to another machine than when it was planned.

    A node that is away now is asked when a step needs it; one that is silent, twice more.
    """
    silent = (LostSession, NoAnswer)

    def ask(name: str) -> str | None:
        look = partial(shells[name].run, question(files.machine_id()))
        with suppress(Unreachable, *silent):
            return retry.call(look, on=silent, waits=retry.SLOW_LOGIN).out.strip()
        return None

    known = [name for name, facts in present.nodes.items() if facts.machine and name in shells]
    with ThreadPoolExecutor(min(observe.WIDTH, len(known)) or 1) as pool:
        for name, now in zip(known, pool.map(ask, known), strict=True):
            if now is not None:
                _same_machine(name, present.facts(name).machine, now, run)


def as_planned(
    fleet: Fleet, present: Observed, shells: Mapping[str, Shell], metadb: MetaDbEdge, plan: Plan
) -> None:
    """Raise PLAN-004 if cm_url, rows, a container or a config.yaml is not what it was at
    planning."""
    nodes = [node for node in fleet.nodes if node.name in present.nodes]
    now = observe.at_nodes(fleet, nodes, shells, present.package)
    for name, facts in now.items():
        _same_machine(name, present.facts(name).machine, facts.machine, "")
    changed = [
        f"{what} on {name} changed"
        for name, facts in now.items()
        for what in _differences(present.facts(name), facts)
    ]
    metadb = metadb.one_look(steps.TABLES)
    if present.clusters:
        clusters = {row.code: row.cm_url for row in metadb.clusters()}
        if clusters != dict(present.clusters):
            then, here = (
                {c: str(url) for c, url in of.items()} for of in (present.clusters, clusters)
            )
            changed.append(f"cluster_info changed: {then} -> {here}")
    clears = [e for step in plan.steps for e in step.apply if isinstance(e, ClearRows)]
    for clear in clears:
        changed += (metadb.changed_rows(clear) or "").splitlines()
    if changed:
        raise PreflightError(
            "PLAN-004",
            f"stale plan: {changed[0]}",
            where=", ".join(node.name for node in nodes),
            evidence="\n".join(["since this plan was made:", *changed]),
            next=fab(plan.task, plan=True, note="shows the plan for what is so now"),
        )


def _differences(then: NodeFacts, now: NodeFacts) -> list[str]:
    pairs = {
        "config.yaml": (then.config_sha256, now.config_sha256),
        "the container": ((then.container, then.id), (now.container, now.id)),
    }
    return [what for what, (before, after) in pairs.items() if before != after]


def _same_machine(name: str, then: str, now: str, run: str) -> None:
    if then and now != then:
        raise SecurityRefusal(
            "SSH-011",
            f"{name} is not the machine that was planned",
            where=name,
            evidence=f"machine-id {then} at planning, {now} now: did a name or an address move?",
            fix=f"make {name} lead to that machine again",
            next=fab("run.show", run=run) if run else fab("fleet.check"),
        )
