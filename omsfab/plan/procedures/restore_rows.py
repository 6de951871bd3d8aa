"""Rows of MetaDB by themselves: putting a backup back, without any node."""

from __future__ import annotations

from omsfab.fleet.model import Fleet
from omsfab.plan import step_names
from omsfab.plan.observed import Observed
from omsfab.plan.procedures import regions
from omsfab.plan.procedures.declared import procedure
from omsfab.plan.records import METADB, Plan, RestoreRows, Stage, Step


@procedure("meta.restore", "metadb", lease=True, by_hand=True)
def restore(fleet: Fleet, present: Observed, *, file: str, region: str) -> Plan:
    """Return the plan that replaces the rows of a region by those of a backup.

    No node is asked or changed: this must be possible when all of them are away.
    """
    where = regions.named(fleet, region)
    here = present.clusters.get(where.location, "no row")
    step = Step(
        name=step_names.RESTORE_ROWS,
        node=METADB,
        title=f"put the rows of location {where.location} back; those of now are saved beside them",
        kind="transaction",
        apply=(RestoreRows(where.location, file),),
        fault="DB-017",
    )
    return Plan(
        "meta.restore",
        f"restore the rows of region {where.name} from {file}",
        (
            f"cm_url in MetaDB now: {here}",
            "OMS must not write meanwhile: stop its processes first (fab node.stop), and initialise"
            " afterwards (fab node.initialise), or its components keep what they have",
        ),
        (Stage("rows of MetaDB", (step,)),),
    )
