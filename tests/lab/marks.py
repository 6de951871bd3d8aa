"""What `scripts/test` leaves to `scripts/crash`.

A case stays where it is the only one of its kind.  What goes is a further case of a kind that
stays: the same on another engine, the same fault at another step; the simulation strikes each step
with each fault, and tests/wire has each statement on three engines.
"""

from __future__ import annotations

import os

import pytest

LONG = pytest.mark.skipif(
    not os.environ.get("OMSFAB_CRASH"), reason="takes long: scripts/crash runs it"
)
