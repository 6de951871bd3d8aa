"""Which runs that have not ended hold which nodes, as far as this jump host knows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from omsfab.errors import Next, PreflightError
from omsfab.next_line import fab
from omsfab.plan import step_names
from omsfab.plan.procedures.registry import UNDO
from omsfab.plan.records import METADB
from omsfab.run.record.past_run import PastRun, runs

FREE = ("node.exec",)
"""Tasks whose runs hold nothing: nobody repeats a line in a container, or rolls it back."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A run that has changed something and has not ended, and the nodes that it holds."""

    run: PastRun
    nodes: frozenset[str]

    @property
    def lines(self) -> tuple[Next, ...]:
        """What goes on with it, to be pasted: forward, and where there is one the rollback."""
        if self.run.undoes:
            return (fab(UNDO, run=self.run.undoes),)
        forward = fab("run.resume", run=self.run.name)
        back = fab(UNDO, run=self.run.name, note="rolls back what it did")
        return (forward, back) if self.run.undoable else (forward,)


def holders(home: Path) -> Iterator[Holder]:
    """Yield the runs that hold nodes, newest first."""
    for run in runs(home):
        if found := holder(run):
            yield found


def holder(run: PastRun) -> Holder | None:
    """Return what a run holds; None where it holds nothing, or is not here."""
    if not run.exists or run.task in FREE or run.past.ended or not run.past.changed:
        return None
    keys = {*run.steps, *run.past.begun}
    if run.undoes and (undone := PastRun(run.directory.parent / run.undoes)).exists:
        keys |= set(undone.steps)
    return Holder(run, frozenset({step_names.parts(key)[1] for key in keys} - {METADB}))


def held_by(home: Path, nodes: Collection[str]) -> Holder | None:
    """Return the newest run that holds one of these nodes."""
    return next((one for one in holders(home) if one.nodes & set(nodes)), None)


def refusal(found: Holder, nodes: Collection[str] = ()) -> PreflightError:
    """RUN-020 for a run that holds these nodes, or for one that stands in the way of any other."""
    both = ", ".join(sorted(found.nodes & set(nodes)))
    return PreflightError(
        "RUN-020",
        f"run {found.run.name} has not ended" + (f", and holds {both}" if both else ""),
        where=str(found.run.directory),
        evidence="it has changed nodes or MetaDB: what is done beside it, it would not know of",
        next=found.lines,
    )
