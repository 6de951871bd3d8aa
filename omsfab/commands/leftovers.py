"""Words for what omsfab leaves on a node: looked at, and removed (fab fleet.forget)."""

from __future__ import annotations

from collections.abc import Sequence

from omsfab.command import Command, script
from omsfab.commands.claim import PLACE
from omsfab.commands.scripts import script_text

_LOOK = script_text("left_here")
_REMOVE = script_text("forget_here")


def look(logs: str, written: Sequence[str], packages: Sequence[str]) -> Command:
    """Print ``KIND PATH`` for each: run, backup, package, attempt, and trace, which is none of
    these but belongs to one.

    ``written`` are files that runs write, ``packages`` directories to which image packages go.
    """
    return script(_LOOK, PLACE, logs, *written, *(f"{one}/" for one in packages))


def remove(logs: str, written: Sequence[str], packages: Sequence[str]) -> Command:
    """Remove what ``look`` finds; ends with 1 if something of it is there still, naming it."""
    return script(_REMOVE, PLACE, logs, *written, *(f"{one}/" for one in packages), limit=120)
