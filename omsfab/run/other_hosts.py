"""What others did meanwhile: asked of every node and of MetaDB before a run goes on or back.

Each run leaves a copy on its initial node (run/record/replica.py).  A copy proves nothing, since a
node may be in other hands; it only ever stops a run, before anything is done.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from omsfab.commands.claim import PLACE
from omsfab.errors import OmsfabError, PreflightError
from omsfab.metadb.client import MetaDbEdge
from omsfab.next_line import fab
from omsfab.plan import step_names
from omsfab.run.observe import WIDTH
from omsfab.run.record import journal as journals
from omsfab.run.record import replica
from omsfab.ssh.protocol import Shell

OVER = "RUN-032"
"""Another jump host has ended the run."""

ACTED = frozenset({OVER, "RUN-029", "RUN-033", "RUN-034", "RUN-035"})
"""Errors that say that somebody else has acted: what is so now, the journal here cannot tell."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The copies that nodes have, each with its node; ``silent`` nodes could not be asked."""

    copies: tuple[tuple[str, replica.Copy], ...]
    silent: tuple[str, ...]

    def of(self, run: str) -> Iterable[tuple[str, replica.Copy]]:
        return ((node, copy) for node, copy in self.copies if copy.run == run)


def look(shells: Mapping[str, Shell]) -> Seen:
    """Ask all nodes for the copies they have; one that is away cannot stop a run."""

    def ask(name: str) -> tuple[str, list[replica.Copy] | None]:
        try:
            return name, replica.copies(shells[name])
        except OmsfabError:
            return name, None

    with ThreadPoolExecutor(min(WIDTH, len(shells)) or 1) as pool:
        answers = list(pool.map(ask, shells))
    return Seen(
        tuple((name, copy) for name, found in answers for copy in found or ()),
        tuple(name for name, found in answers if found is None),
    )


def refuse_elsewhere(seen: Seen, directory: Path, past: journals.Past) -> None:
    """Raise if another jump host has ended this very run (RUN-032), or gone on with it (RUN-033).

    For a rollback, and for a run that has begun nothing here: neither stands in another's way.
    """
    for node, copy in seen.of(directory.name):
        if copy.end and not past.ended:
            raise _ended_there(node, copy, directory)
        _refuse_gone_on(node, copy, directory, past, back=True)


def refuse(
    seen: Seen, directory: Path, past: journals.Past, known: Collection[str], *, back: bool
) -> None:
    """Raise if another jump host has ended the run (RUN-032), gone on with it (RUN-033), rolled it
    back in part (RUN-029), or done another one since (RUN-034).

    ``known`` are the runs of this jump host, which are judged by their own journals.  ``back`` =
    the run is to be rolled back: that may follow upon its end, and goes on with what another
    rollback has left.
    """
    for node, copy in seen.of(directory.name):
        _refuse_further(node, copy, directory, past, back=back)
    others = [(node, copy) for node, copy in seen.copies if copy.run not in known and copy.intents]
    if not back:
        for node, copy in others:
            _refuse_rolled_back(node, copy, directory.name)
    for node, copy in others:
        _refuse_built_upon(node, copy, directory.name, back=back)


def _refuse_further(
    node: str, copy: replica.Copy, directory: Path, past: journals.Past, *, back: bool
) -> None:
    """The copy of the run itself says more than its journal here."""
    run = directory.name
    undone = copy.end is not None and copy.end.outcome == "undone"
    if copy.end and not past.ended and (undone or not back):
        raise _ended_there(node, copy, directory)
    if undone and not past.undone:
        raise PreflightError(
            "RUN-032",
            f"run {run} was rolled back on another jump host",
            where=str(directory),
            evidence=f"its copy on {node} says {copy.said}",
            next=fab("fleet.status", note="nothing is left of that run to roll back"),
        )
    _refuse_gone_on(node, copy, directory, past, back=back)


def _ended_there(node: str, copy: replica.Copy, directory: Path) -> PreflightError:
    return PreflightError(
        "RUN-032",
        f"run {directory.name} has ended on another jump host",
        where=str(directory),
        evidence=f"its copy on {node} says {copy.said}",
        next=(
            fab("run.abandon", run=directory.name, note="closes it here, too"),
            fab("fleet.status", note="what is so now"),
        ),
    )


def _refuse_gone_on(
    node: str, copy: replica.Copy, directory: Path, past: journals.Past, *, back: bool
) -> None:
    run = directory.name
    if copy.intents > sum(event.kind == "intent" for event in past.events):
        raise PreflightError(
            "RUN-033",
            f"another jump host has gone on with run {run}",
            where=str(directory),
            evidence=f"its copy on {node} has {copy.intents} begun steps, more than here",
            next=fab(
                "run.undo" if back else "run.resume",
                run=run,
                from_=node,
                note="goes by that copy",
            ),
        )


def _refuse_rolled_back(node: str, copy: replica.Copy, run: str) -> None:
    if copy.undoes == run and not copy.end:
        raise PreflightError(
            "RUN-029",
            f"run {run} is being rolled back on another jump host, by {copy.run}",
            where=f"{node}:{PLACE}/{copy.run}",
            next=fab("run.undo", run=run),
        )


def _refuse_built_upon(node: str, copy: replica.Copy, run: str, *, back: bool) -> None:
    nothing_left = copy.end is not None and copy.end.without_trace
    if copy.run > run and not copy.undoes and not nothing_left:
        raise PreflightError(
            "RUN-034",
            f"run {copy.run} of another jump host came after {run}, and builds on it",
            where=f"{node}:{PLACE}/{copy.run}",
            evidence=f"it has begun {copy.intents} steps; " + (copy.said or "it has not ended"),
            next=fab("run.undo", run=copy.run, from_=node, note="rolls that one back first")
            if back
            else fab("run.abandon", run=run, note="closes it here; what it did stays"),
        )


Mark = Literal["deleted", "put back", "none"]


def mark_of(metadb: MetaDbEdge, run: str, location: int) -> Mark:
    """What MetaDB's marker says of the rows of a region: the last word about them."""
    marks = metadb.marks(run, location)
    if "clear" in marks:
        return "deleted"
    return "put back" if "restore" in marks else "none"


def refuse_contradiction(
    mark: Mark, directory: Path, past: journals.Past, *, own_rollback: bool, back: bool
) -> None:
    """Raise RUN-035 if MetaDB's marker and the journal tell two stories of the rows.

    ``own_rollback``: a rollback of this run, known here or from a copy, may have put them back.
    A deletion that the journal only begins may have come to its COMMIT or not: that is no
    contradiction; nor is one without a marker upon which nothing was initialised yet, when the run
    goes on: it is then done, with a backup of its own.
    """
    run = directory.name
    backups = sorted((directory / "backup").glob("region-*.jsonl"))
    file = str(backups[-1]) if backups else ""
    hint = f"; the rows it saved: {fab('meta.restore', file=file)}" if file else ""
    if mark == "put back" and not own_rollback:
        what = "MetaDB has it that the rows of this run were put back, and not by this jump host"
    elif (
        mark == "none"
        and step_names.key(step_names.CLEAR_ROWS) in past.done
        and (back or _initialised(past))
    ):
        what = "the journal has it that rows were deleted, and MetaDB has no marker of it"
    else:
        return
    raise PreflightError(
        "RUN-035",
        f"MetaDB and the journal of run {run} contradict each other",
        where=str(directory),
        evidence=f"{what}: somebody has rolled it back, or MetaDB is of another day",
        next=fab("run.abandon", run=run, note=f"after a look at fab meta.show{hint}"),
    )


def _initialised(past: journals.Past) -> bool:
    return any(step_names.parts(key)[0] == step_names.INITIALISE for key in past.begun)
