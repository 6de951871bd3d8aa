"""The time of events: the wall clock as it was at the start, and the monotonic one from there.

A wall clock that is set while a run is under way changes no duration, the outage least of all.
"""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone

from omsfab.errors import InputError, Next

_BEGAN = time.time() - time.monotonic()


def now() -> float:
    """Return seconds since the epoch, by this process's steady clock."""
    return _BEGAN + time.monotonic()


SPANS = {"m": 60, "h": 3600, "d": 86_400}


def since(text: str, again: Next) -> str:
    """Return what ``--since`` means: ``-SECONDS``, ago by whichever clock counts, or seconds since
    the epoch.  Raises INPUT-043; ``again`` is a line that would do.
    """
    if found := re.fullmatch(r"(\d{1,6})([mhd])", text):
        return f"-{int(found[1]) * SPANS[found[2]]}"
    try:
        at = datetime.fromisoformat(text.removesuffix("Z"))
    except ValueError:
        raise InputError(
            "INPUT-043",
            f"'{text}' is no time",
            where="--since",
            fix="write 90m, 12h, 7d, or a day or moment, UTC: 2026-11-25, 2026-11-25T18:04",
            next=again,
        ) from None
    return f"{(at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp():.0f}"


def begins(since: str) -> float:
    """Return from when on that is, in seconds since the epoch, by the clock of this machine."""
    seconds = float(since)
    return now() + seconds if seconds < 0 else seconds
