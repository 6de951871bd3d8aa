"""What happened, as data: journal, terminal and summary are functions of events."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal[
    "run",  # a run begins, is resumed, or ends; text says which
    "stage",  # a stage begins
    "satisfied",  # a step's outcome is there already
    "intent",  # a step is about to change something
    "accepted",  # the operator accepts an error; text is its id
    "warning",  # something is not as it should be, and nothing is refused
    "line",  # a line of output of a job
    "state",  # where a job is, or that a line dropped
    "progress",  # bytes of a transfer; shown, never journalled
    "done",  # a step's outcome is proven
    "failed",  # a step failed
]


@dataclass(frozen=True, slots=True)
class Event:
    """``at`` is seconds since the epoch, jump host clock; durations come from ``clock``.

    ``clock`` is the monotonic clock in seconds: comparable within one session of a run only.
    """

    at: float
    clock: float
    node: str
    step: str
    kind: Kind
    text: str = ""

    def record(self) -> dict[str, object]:
        return asdict(self)
