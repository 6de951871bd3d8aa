"""Which runs that have not ended hold which nodes, as far as this jump host knows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from omsfab.commands.next_line import fab
from omsfab.errors import Next, PreflightError
from omsfab.plan import step_names
from omsfab.plan.procedures.registry import UNDO
from omsfab.plan.procedures.undo import UNDOABLE
from omsfab.plan.records import METADB
from omsfab.run.record import journal as journals
from omsfab.run.record import replica

FREE = ("node.exec",)
"""Tasks whose runs hold nothing: nobody repeats a line in a container, or rolls it back."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A run that has changed something and has not ended; ``undoes`` is the run it rolls back."""

    directory: Path
    task: str
    nodes: frozenset[str]
    undoes: str = ""

    @property
    def lines(self) -> tuple[Next, ...]:
        """What goes on with it, to be pasted: forward, and where there is one the way back."""
        if self.undoes:
            return (fab(UNDO, run=self.undoes),)
        forward = fab("run.resume", run=self.directory.name)
        back = fab(UNDO, run=self.directory.name, note="rolls back what it did")
        return (forward, back) if self.task in UNDOABLE else (forward,)


def holders(home: Path) -> Iterator[Holder]:
    """Yield the runs that hold nodes, newest first."""
    for directory in journals.runs(home):
        if found := holder(directory):
            yield found


def holder(directory: Path) -> Holder | None:
    """Return what a run holds; None where it holds nothing, or is not here."""
    if not (directory / "run.json").exists():
        return None
    record = journals.load_record(directory)  # one of a newer omsfab has a journal of its own kind
    past = replica.past_of(directory)
    if past.ended or not past.changed or record["task"] in FREE:
        return None
    undoes = record["args"].get("run", "") if record["task"] == UNDO else ""
    keys = {*record.get("steps", ()), *past.begun}
    if undoes and (directory.parent / undoes / "run.json").exists():
        keys |= set(journals.load_record(directory.parent / undoes).get("steps", ()))
    nodes = {step_names.parts(key)[1] for key in keys} - {METADB}
    return Holder(directory, record["task"], frozenset(nodes), undoes)


def held_by(home: Path, nodes: Collection[str]) -> Holder | None:
    """Return the newest run that holds one of these nodes."""
    return next((one for one in holders(home) if one.nodes & set(nodes)), None)


def refusal(found: Holder, nodes: Collection[str] = ()) -> PreflightError:
    """RUN-020 for a run that holds these nodes, or for one that stands in the way of any other."""
    both = ", ".join(sorted(found.nodes & set(nodes)))
    return PreflightError(
        "RUN-020",
        f"run {found.directory.name} has not ended" + (f", and holds {both}" if both else ""),
        where=str(found.directory),
        evidence="it has changed nodes or MetaDB: what is done beside it, it would not know of",
        next=found.lines,
    )
