"""The outages of runs, as the journals of this jump host tell them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from omsfab.errors import OmsfabError
from omsfab.plan import step_names
from omsfab.plan.events import Event
from omsfab.plan.outage import Outage, outage
from omsfab.plan.procedures.registry import UNDO, UNDOABLE
from omsfab.run import clock
from omsfab.run.record.past_run import PastRun, runs

WATCHED = 2
"""The first schema of journals that tells of programs."""

CONCERNED = frozenset(
    (
        step_names.STOP_PROCESSES,
        step_names.START_PROCESSES,
        step_names.START_CONTAINER,
        step_names.RESTART,
        step_names.INITIALISE,
        step_names.REFRESH,
    )
)
"""Steps that stop or start programs."""


class History:
    """The runs below ``home``, each read once; one that cannot be read tells nothing."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._read: dict[Path, PastRun | None] = {}

    def outage(self, directory: Path, now: float | None = None) -> Outage | None:
        """Return the outage of a run, which a later run may have ended; ``now`` as in outage()."""
        return outage(
            self.story(directory),
            clock.now() if now is None else now,
            later=self._later(directory),
        )

    def recorded(self, directory: Path) -> bool:
        """False where the run has stopped or started programs and its journal cannot tell which:
        those of schema 1 have no events of programs."""
        told = self._told(directory)
        if told is None or told.record.get("schema", 1) >= WATCHED:
            return True
        return not any(step_names.parts(key)[0] in CONCERNED for key in told.past.begun)

    def down(self, node: str, now: float | None = None) -> Outage | None:
        """Return the outage that this node is in, as far as it is known here."""
        for run in runs(self._home):
            found = self.outage(run.directory, now)
            if found and found.down and node in found.nodes:
                return found
        return None

    def story(self, directory: Path) -> list[Event]:
        """Return the events of a run; one that rolls back begins with those of the run before it,
        where that one had left OMS down."""
        told = self._told(directory)
        if told is None:
            return []
        before = self.before(self._home / told.undoes) if told.undoes else []
        return [*before, *told.past.events]

    def before(self, undone: Path) -> list[Event]:
        """Return the events of a run that is to be rolled back, if it has left OMS down."""
        told = self._told(undone)
        events = list(told.past.events) if told else []
        left = outage(events)
        return events if left and left.down else []

    def brings_back(self, directory: Path) -> str:
        """Return which task ends the outage of this run, in words."""
        told = self._told(directory)
        return cure(told.task, ended=told.past.ended) if told else ""

    def _later(self, directory: Path) -> Iterator[Event]:
        newer = [one.directory for one in runs(self._home) if one.name > directory.name]
        for one in reversed(newer):
            if told := self._told(one):
                yield from (event for event in told.past.events if event.kind == "programs")

    def _told(self, directory: Path) -> PastRun | None:
        if directory not in self._read:
            run = PastRun(directory)
            try:
                self._read[directory] = run if run.record and run.past else None
            except (OmsfabError, OSError):
                self._read[directory] = None
        return self._read[directory]


def cure(task: str, *, ended: bool) -> str:
    """Return which task ends the outage of a run of this task."""
    if task == UNDO and not ended:
        return "run.undo brings it back"
    if ended:
        return f"{'run.undo' if task in UNDOABLE else 'node.start'} brings it back"
    return f"run.resume{' or run.undo' if task in UNDOABLE else ''} brings it back"
