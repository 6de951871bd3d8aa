"""What is at stake when a plan is confirmed: whose OMS stops, which rows go, which nodes come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from omsfab.fleet.model import Region
from omsfab.plan import step_names
from omsfab.plan.records import ClearRows, DropHosts, Effect, Job, Plan, RestoreRows

STOP_OMS, STOP_CONTAINER = "stop OMS on", "stop the container on"
STOPS = (STOP_OMS, STOP_CONTAINER)

ACTS = {
    step_names.STOP_PROCESSES: STOP_OMS,
    step_names.RESTART: "restart OMS on",
    step_names.REMOVE_CONTAINER: "remove OMS on",
    step_names.STOP_CONTAINER: STOP_CONTAINER,
    step_names.CONTAINER: "add",
    step_names.INITIALISE: "run docker_init.sh on",
    step_names.REFRESH: "restart console and supervisor on",
    step_names.NGINX: "restart nginx on",
    step_names.CONFIG: "write config.yaml on",
    step_names.START_CONTAINER: "start OMS on",
    step_names.START_PROCESSES: "start OMS on",
    step_names.IMAGE: "load the image on",
}
"""Step -> what it does to the nodes that follow, the gravest first: a node is named once."""

TYPED = ("scale.out", "run.undo")
"""Tasks whose confirmation is the region's name, where they stop OMS or touch rows."""

WAIT = (2, 4)
"""Minutes that one docker_init.sh takes (guide)."""


@dataclass(frozen=True, slots=True)
class Stakes:
    """``acts`` are pairs of a verb and nodes, ``rows`` what is done to rows, in words.

    ``minutes`` is how long OMS will be down, about; None: for a few seconds, or until it is
    started.  ``region`` is what has to be typed, "" = a yes will do.
    """

    acts: tuple[tuple[str, tuple[str, ...]], ...]
    rows: tuple[str, ...]
    minutes: tuple[int, int] | None
    region: str


def stakes(plan: Plan, regions: Sequence[Region]) -> Stakes:
    """Return what is at stake; ``regions`` are those of the run's fleet."""
    named: dict[str, str] = {}
    for step, verb in ACTS.items():
        for one in plan.steps:
            if one.name == step and one.apply and one.node not in named:
                named[one.node] = verb
    acts = {verb: tuple(n for n, v in named.items() if v == verb) for verb in ACTS.values()}
    effects = [effect for step in plan.steps for effect in step.apply]
    down = [step for stage in plan.stages if stage.outage for step in stage.steps]
    inits = sum(isinstance(effect, Job) for step in down for effect in step.apply)
    rows = tuple(_rows(effects, regions))
    meant = [e.location for e in effects if isinstance(e, (ClearRows, DropHosts, RestoreRows))]
    nodes = [step.node for step in down]
    concerned = [
        region.name
        for region in regions
        if region.location in meant or any(node.name in nodes for node in region.nodes)
    ]
    grave = plan.task in TYPED and (rows or acts[STOP_OMS])
    return Stakes(
        acts=tuple((verb, nodes) for verb, nodes in acts.items() if nodes),
        rows=rows,
        minutes=(inits * WAIT[0] + 1, inits * WAIT[1] + 1) if inits else None,
        region=concerned[0] if grave and concerned else "",
    )


def _rows(effects: Iterable[Effect], regions: Sequence[Region]) -> Iterable[str]:
    """Yield what is done to rows, by whom that is meant for."""
    names = {region.location: region.name for region in regions}
    for effect in effects:
        match effect:
            case ClearRows(location, _, how):
                of = f"of region {names.get(location, location)}"
                # What is shown of a row may be more than one line; its table names the row itself.
                shown = sum(table in effect.tables for table, *_ in effect.shown)
                count = f"{shown} row{'s' * (shown != 1)}" if shown else "the rows"
                if how == "delete":
                    yield f"delete {count} {of}"
                else:
                    yield f"delete the row of cluster_info and change the other rows {of}"
            case DropHosts(location, ips):
                yield f"delete {len(ips)} host rows of region {names.get(location, location)}"
            case RestoreRows(location, _, saved):
                of = "all regions" if saved else f"region {names.get(location, location)}"
                yield f"put back the saved rows of {of}"
            case _:
                pass
