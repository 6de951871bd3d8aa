"""What happened, as data: journal, terminal and summary are functions of events."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class Event:
    """``at`` is seconds since the epoch, jump host clock; durations come from ``clock``.

    ``clock`` is the monotonic clock in seconds: comparable within one session of a run only.
    ``data`` are values where others would have to read a sentence: of "programs" ``act`` "stop", or
    ``states`` (program -> state), ``uptime`` (program -> seconds) and ``settled`` (when what
    started them had ended); of the first "run" ``serving`` (region -> nodes).
    """

    at: float
    clock: float
    node: str
    step: str
    kind: Kind
    text: str = ""
    data: Mapping[str, Any] | None = None

    def record(self) -> dict[str, object]:
        record: dict[str, object] = {name: getattr(self, name) for name in self.__slots__}
        if self.data is None:
            del record["data"]
        return record

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Event:
        """Return the event of a record; what a later omsfab added to it is left out."""
        return cls(**{key: value for key, value in record.items() if key in cls.__slots__})
