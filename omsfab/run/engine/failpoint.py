"""``OMSFAB_FAILPOINT=<step>:<before|mid|after>:<kill|raise|hang>``: omsfab fails there, on purpose.

``step`` is a name, or ``name@node``.  *before*: the intent is on disk, nothing was done.
*mid*: inside the first effect; *mid2* inside the second one, and so on.  *after*: all is done and
nothing proven yet.  Without the variable there is no failpoint and no cost.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from omsfab.errors import InputError, StepFailed
from omsfab.next_line import shell
from omsfab.plan.records import CopyFile, Effect, Job, Run, Send, Step, Write

VARIABLE = "OMSFAB_FAILPOINT"
PATTERN = re.compile(r"(?P<step>[\w.@-]+):(?P<place>before|mid\d*|after):(?P<what>kill|raise|hang)")

SOON = 0.03
"""Seconds into a command that says nothing, or into a write, which count as its middle."""

Tell = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Failpoint:
    """``place`` is before, mid1, mid2, …, or after."""

    step: str
    place: str
    what: str

    def reached(self, step: Step, place: str) -> None:
        """Fail if this is the place."""
        if self._is(step, place):
            self._strike()

    @contextmanager
    def inside(self, step: Step, number: int, effect: Effect, tell: Tell) -> Iterator[Tell]:
        """Fail while the effect is under way: at a sign of it, soon, or at the latest at its end.

        A job is under way with its first line, a transfer when half of it is there, a surgery when
        its backup has been copied (rows are locked then).
        """
        if not self._is(step, f"mid{number}"):
            yield tell
            return
        if isinstance(effect, (Run, Write, CopyFile)) and self.what == "kill":
            threading.Timer(SOON, self._strike).start()

        def told(kind: str, text: str, *data: Mapping[str, Any] | None) -> None:
            tell(kind, text, *data)
            if _under_way(effect, kind, *data):
                self._strike()

        yield told
        self._strike()

    def _is(self, step: Step, place: str) -> bool:
        return self.place == place and self.step in (step.name, step.key)

    def _strike(self) -> None:
        if self.what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        while self.what == "hang":
            time.sleep(1)
        raise StepFailed("FAIL-001", f"failpoint {self.step}:{self.place}")


def _under_way(effect: Effect, kind: str, data: Mapping[str, Any] | None = None) -> bool:
    match effect:
        case Job():
            return kind == "line"
        case Send():
            there, size = (data or {}).get("bytes", (0, 1))
            return kind == "progress" and there * 2 >= size
        case _:
            return kind == "state"


def wanted() -> Failpoint | None:
    """Return the failpoint that the environment asks for; InputError INPUT-028 if it is none."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return None
    found = PATTERN.fullmatch(text)
    if not found:
        raise InputError(
            "INPUT-028",
            f"{VARIABLE} is {text!r}",
            next=shell("unset", VARIABLE, note="or: initialise@oms1:mid:kill"),
        )
    place = "mid1" if found["place"] == "mid" else found["place"]
    return Failpoint(found["step"], place, found["what"])
