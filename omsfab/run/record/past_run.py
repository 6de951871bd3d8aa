"""A run that is looked at: what its directory says, each file read once, nothing written."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from omsfab.errors import Next, PreflightError
from omsfab.fleet.model import Fleet
from omsfab.next_line import fab, recorded
from omsfab.plan.observed import Observed
from omsfab.plan.procedures import undo
from omsfab.plan.procedures.registry import UNDO, UNDOABLE
from omsfab.run import clock
from omsfab.run.record import journal as journals
from omsfab.run.record import replica
from omsfab.run.record.journal import Past
from omsfab.show.progress import age

FORGOTTEN = "forgotten"
"""A file in the directory of a run whose markers and backups of files fleet.forget removes."""


class PastRun:
    """A run of this jump host.

    It says what was so when it was first asked: under the locks it is asked ``anew``.  The record
    counts before the journal: one that a newer omsfab has written has a journal of its own kind.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.name = directory.name

    @property
    def anew(self) -> PastRun:
        """The same run, as it is now."""
        return PastRun(self.directory)

    @property
    def exists(self) -> bool:
        return (self.directory / "run.json").exists()

    # --- run.json: JRN-003 of a newer omsfab, JRN-004 if it is damaged ---

    @cached_property
    def record(self) -> dict[str, Any]:
        return journals.load_record(self.directory)

    @property
    def task(self) -> str:
        return str(self.record["task"])

    @property
    def args(self) -> dict[str, str]:
        return dict(self.record["args"])

    @property
    def owner(self) -> str:
        return str(self.record["owner"])

    @property
    def initial(self) -> str:
        """The node that keeps its copy; "" = none."""
        return str(self.record.get("initial", ""))

    @property
    def steps(self) -> tuple[str, ...]:
        """Keys of its planned steps that change something."""
        return tuple(self.record.get("steps", ()))

    @property
    def line(self) -> Next:
        """The line that it began with."""
        return recorded(self.task, self.args)

    @property
    def undoable(self) -> bool:
        return self.task in UNDOABLE

    @property
    def reversible(self) -> bool:
        """Whether there is anything to roll back, and what that needs."""
        open_ = self.undoable and self.past.changed and not self.past.undone
        return open_ and not self.forgotten

    @property
    def forgotten(self) -> bool:
        """Whether fleet.forget has removed what a rollback needs."""
        return (self.directory / FORGOTTEN).exists()

    def forget(self) -> None:
        """Say so, before it is done."""
        journals.write_durably(self.directory / FORGOTTEN, b"")

    @property
    def undoes(self) -> str:
        """The run that it rolls back."""
        return self.args.get("run", "") if self.task == UNDO else ""

    @property
    def undone_run(self) -> PastRun:
        with journals.readable(self.directory):
            return PastRun(self.directory.parent / replica.named(self.undoes))

    @cached_property
    def present(self) -> Observed:
        """What was so when it was planned."""
        with journals.readable(self.directory):
            return Observed.of(self.record["present"])

    def fleet(self, now: Fleet) -> Fleet:
        """Return the fleet of the run; RUN-037 where a copy from a node names another than ours."""
        with journals.readable(self.directory):
            unlike = undo.unlike(self.record, now) if self.fetched else ()
            fleet = undo.fleet_of(self.record, now)
        if unlike:
            raise PreflightError(
                "RUN-037",
                f"the copy of run {self.name} acts elsewhere than hosts.yaml says",
                where=str(self.directory / "run.json"),
                evidence="\n".join(unlike),
                next=fab(
                    "run.show",
                    run=self.name,
                    note="what of it is right belongs into hosts.yaml, then the same line again",
                ),
            )
        return fleet

    # --- journal.jsonl: JRN-002 if it is broken ---

    @cached_property
    def past(self) -> Past:
        return replica.past_of(self.directory)

    @property
    def fetched(self) -> bool:
        """Whether it came from a node: it may have begun more than its copy says."""
        return (self.directory / replica.FETCHED).exists()

    @property
    def of_age(self) -> str:
        """E.g. ``run 20261125T…-5f98 (fab scale.out, started 3 days ago by li@jump1)``."""
        events = self.past.events
        since = f", started {age(clock.now() - events[0].at)} ago" if events else ""
        return f"run {self.name} ({self.line}{since} by {self.owner})"


def runs(home: Path) -> Iterator[PastRun]:
    """Yield all runs below ``home``, newest first."""
    yield from map(PastRun, journals.runs(home))


def ways_back(run: PastRun) -> Iterator[PastRun]:
    """Yield the runs that take this one back, newest first."""
    yield from (one for one in runs(run.directory.parent) if one.undoes == run.name)


def short(name: str) -> str:
    """The last word of the id of a run, by which it is called on a screen."""
    return name.rpartition("-")[2]


def whole_name(home: Path, named: str) -> str:
    """Return the id of the run that is called so: by its whole id, or by its last word, if there is
    one such run; anything else stays as it is."""
    found = [run.name for run in runs(home) if named and named in (run.name, short(run.name))]
    return found[0] if len(found) == 1 else named
