"""The time of events: the wall clock as it was at the start, and the monotonic one from there.

A wall clock that is set while a run is under way changes no duration, the outage least of all.
"""

from __future__ import annotations

import time

_BEGAN = time.time() - time.monotonic()


def now() -> float:
    """Return seconds since the epoch, by this process's steady clock."""
    return _BEGAN + time.monotonic()
