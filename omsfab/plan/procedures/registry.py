"""The procedures that there are: for each its planner, what it must observe, what it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from omsfab.plan.procedures import node, restore_rows, scale_out, tsdb
from omsfab.plan.records import Plan


@dataclass(frozen=True, slots=True)
class Task:
    """A planner, and what it must know of the present."""

    planner: Callable[..., Plan]
    scope: Literal["region", "node", "fleet", "metadb"]
    package: bool = False
    tsdb: bool = False
    """Whether package and image are those of the time-series database."""
    lease: bool = False
    any_dates: bool = False
    """Whether a certificate that has expired will do: it must not stop a repair."""


TASKS: Mapping[str, Task] = {
    "scale.out": Task(scale_out.scale_out, "region", package=True, lease=True),
    "oms.deploy": Task(scale_out.deploy, "region", package=True, lease=True),
    "tsdb.deploy": Task(tsdb.deploy, "fleet", package=True, tsdb=True, lease=True),
    "tsdb.enable": Task(tsdb.enable, "fleet", lease=True),
    "meta.restore": Task(restore_rows.restore, "metadb", lease=True),
    "node.push-config": Task(node.push_config, "node"),
    "node.push-certs": Task(node.push_certs, "node"),
    "node.load-image": Task(node.load_image, "node", package=True),
    "node.run": Task(node.run, "node", package=True, any_dates=True),
    "node.stop": Task(node.stop, "node"),
    "node.start": Task(node.start, "node"),
    "node.restart": Task(node.restart, "node"),
    "node.initialise": Task(node.initialise, "node", lease=True),
    "node.refresh": Task(node.refresh, "node"),
    "node.exec": Task(node.execute, "node"),
    "node.logs": Task(node.logs, "node"),
    "node.status": Task(node.status, "node"),
    "node.check": Task(node.check, "node"),
}

UNDO = "run.undo"


def is_repair(task: str) -> bool:
    """Whether it works on single nodes: small, and done again as a whole."""
    return task in TASKS and TASKS[task].scope == "node"
