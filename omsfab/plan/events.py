"""What happened, as data: journal, terminal and summary are functions of events."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal[
    "run",  # a run begins, is resumed, or ends; text says which
    "stage",  # a stage begins
    "satisfied",  # a step's outcome is there already
    "intent",  # a step is about to change something
    "accepted",  # the operator accepts an error; text is its id
    "warning",  # something is not as it should be, and nothing is refused
    "line",  # a line of output of a job
    "state",  # where a job is, or that a line dropped
    "programs",  # what the programs of a node do: they are stopped, or seen in these states
    "progress",  # bytes of a transfer; shown, never journalled
    "done",  # a step's outcome is proven
    "failed",  # a step failed
]


Outcome: TypeAlias = Literal["done", "failed", "undone", "abandoned", "unchanged"]

Left: TypeAlias = Literal["failed", "detached"]
"""How a session of a run came to its end where the run did not come to its own."""

LEFT_IN_WORDS: Mapping[str, Left] = {
    "failed": "failed",
    "detached": "detached",
    "let go": "detached",
}
"""How journals said it that have no values of it."""

ENDED = "ended"
"""First word of the event with which a run ends; what it says stands in its data."""

IN_WORDS: Mapping[str, Outcome] = {
    "ended: undone": "undone",
    "ended: nothing was changed": "unchanged",
    "ended: abandoned": "abandoned",
    "ended: failed": "failed",
    "ended": "done",
}
"""How journals said it that have no values of it (omsfab 0.1.0 up to November 2026)."""

_ID = re.compile(r"[A-Z]+-[0-9]{3}\b")


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended: the exit status of omsfab then, the error by which, or the run that rolled
    it back; ``at`` is seconds since the epoch.

    A run can end twice: it is done, and then undone.  ``unchanged``: it had nothing to roll back.
    ``failed``: a repair, which is not gone on with but done again as a whole.
    """

    outcome: Outcome
    status: int = 0
    error: str = ""
    by: str = ""
    at: float = 0.0

    @property
    def without_trace(self) -> bool:
        """Whether nothing of the run is left."""
        return self.outcome in ("undone", "unchanged")

    def data(self) -> dict[str, Any]:
        """Return what the event of this end has as its data."""
        names = ("outcome", "status", "error", "by")
        return {"end": {name: getattr(self, name) for name in names if getattr(self, name) != ""}}

    @classmethod
    def of(cls, said: Mapping[str, Any], at: float) -> RunEnd:
        """Return the end of such data; an outcome that is not known here is none that was good."""
        known = {key: value for key, value in said.items() if key in ("status", "error", "by")}
        outcome = (one for one in IN_WORDS.values() if one == said.get("outcome"))
        return cls(next(outcome, "failed"), **known, at=at)


@dataclass(frozen=True, slots=True)
class Event:
    """``at`` is seconds since the epoch, jump host clock; durations come from ``clock``.

    ``clock`` is the monotonic clock in seconds: comparable within one session of a run only.
    ``data`` are values where others would have to read a sentence: of "programs" ``act`` "stop", or
    ``states`` (program -> state), ``uptime`` (program -> seconds) and ``settled`` (when what
    started them had ended); of the first "run" ``serving`` (region -> nodes), of the last one
    ``end`` (RunEnd), of one that ends a session ``left`` (failed, detached); of "failed" and
    "warning" ``id``, the id of the error; of "stage" ``number``, ``title`` and
    ``steps`` (node -> how many); of "state" ``phase``, or ``alive`` (seconds) where it only says
    that a step goes on; of "progress" ``bytes`` (there, all).
    """

    at: float
    clock: float
    node: str
    step: str
    kind: Kind
    text: str = ""
    data: Mapping[str, Any] | None = None

    @property
    def end(self) -> RunEnd | None:
        """How the run ended, if this event says so."""
        if self.kind != "run":
            return None
        if isinstance(said := (self.data or {}).get("end"), Mapping):
            return RunEnd.of(said, self.at)
        told = (outcome for words, outcome in IN_WORDS.items() if self.text.startswith(words))
        outcome = next(told, None)
        return RunEnd(outcome, at=self.at) if outcome else None

    @property
    def left(self) -> Left | None:
        """How a session of the run ended, if this event says so."""
        if self.kind != "run" or self.end:
            return None
        said = (self.data or {}).get("left")
        told = (how for word, how in LEFT_IN_WORDS.items() if self.text.startswith(word))
        return next((how for how in LEFT_IN_WORDS.values() if how == said), next(told, None))

    @property
    def id(self) -> str:
        """The id of the error that failed, or is warned of; "" where there is none.  Journals that
        have no values of it begin with it."""
        if self.kind not in ("failed", "warning"):
            return ""
        if self.data and "id" in self.data:
            return str(self.data["id"])
        found = _ID.match(self.text)
        return found[0] if found else ""

    def record(self) -> dict[str, object]:
        record: dict[str, object] = {name: getattr(self, name) for name in self.__slots__}
        if self.data is None:
            del record["data"]
        return record

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Event:
        """Return the event of a record; what a later omsfab added to it is left out."""
        return cls(**{key: value for key, value in record.items() if key in cls.__slots__})
