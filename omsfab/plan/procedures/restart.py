"""Restarting OMS on all nodes of a region, one at a time."""

from __future__ import annotations

from dataclasses import replace

from omsfab.commands import supervisor
from omsfab.fleet.model import Fleet, Node
from omsfab.next_line import fab
from omsfab.plan import step_names, steps
from omsfab.plan.observed import Observed
from omsfab.plan.procedures import regions
from omsfab.plan.procedures.declared import procedure
from omsfab.plan.records import Await, Plan, Programs, Run, Stage, Step


@procedure(
    "oms.restart",
    "members",
    lease=True,
    words={"region": "needed with several regions"},
)
def restart(fleet: Fleet, present: Observed, *, region: str = "") -> Plan:
    """Restart OMS on all nodes of a region, one at a time, each healthy before the next.

    Only programs that run are restarted: one that is off, or broken, is nobody's wish to start.
    """
    where = regions.named(fleet, region, fab("oms.restart", plan=True))
    found = {node: _programs(present, node) for node in where.nodes}
    nodes = [node for node in where.nodes if found[node]]
    asked = tuple(_alone(fleet, node) for node in nodes)
    work = tuple(s for node in nodes for s in _restarted(fleet, present, node, found[node]))
    others = "the others serve" if len(nodes) > 1 else "no other node serves"
    return Plan(
        "oms.restart",
        f"restart OMS of region {where.name}, 1 node at a time",
        (
            *([f"production of a node stands while it is restarted; {others}"] if nodes else []),
            *(
                f"{node.name}: nothing of OMS runs there, and nothing is started"
                for node in where.nodes
                if node not in nodes
            ),
        ),
        (
            Stage("preflight", asked, gather=True),
            Stage("restart, 1 node at a time", work, width=1, outage=True),
        )
        if nodes
        else (),
    )


def _programs(present: Observed, node: Node) -> tuple[str, ...]:
    """Return the programs that run; OMS's own where nobody has asked."""
    return supervisor.PROGRAMS if present.assumed else present.facts(node.name).programs


def _alone(fleet: Fleet, node: Node) -> Step:
    wait = fab("node.status", node=node.name, note="wait for its end; then the same line again")
    return replace(steps.no_init_runs(fleet, node), fix=str(wait))


def _restarted(
    fleet: Fleet, present: Observed, node: Node, programs: tuple[str, ...]
) -> tuple[Step, Step]:
    container = fleet.install.container
    runs = Await(Programs(supervisor.status(container), names=programs), limit=180)
    step = Step(
        name=step_names.RESTART,
        node=node.name,
        title=f"restart what runs in {container}: {', '.join(programs)}",
        apply=(Run(supervisor.restart(container, *programs), any_status=True, programs="restart"),),
        verify=(runs,),
        fault="RUN-003",
        fix="see why a program does not start; the other nodes are not restarted",
        next=fab("node.logs", node=node.name),
    )
    health = steps.healthy(fleet, node)
    worked = steps.worked(present.facts(node.name), steps.BEHIND_PAGE)
    return step, health if worked else steps.only_told(health)
