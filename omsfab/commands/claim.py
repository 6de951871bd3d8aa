"""Words for the claim on a node: one small file that says which run changes it now.

It comes into being whole, by a hard link, which only one can make.
"""

from __future__ import annotations

from omsfab.command import Command, script
from omsfab.commands.scripts import script_text

PLACE = "/var/lib/omsfab"

_TAKE = script_text("claim_take")
_FREE = script_text("claim_free")
_HELD = script_text("claim_held")

TAKEN = 75
"""Exit status of ``take`` when another run has the node; it prints run, owner and since then."""


def take(run: str, owner: str, since: str) -> Command:
    """Claim the node; a run enters its own claim again, and so does its owner.

    An owner is a state directory whose lock is held: no other run of it can be alive.
    """
    return script(_TAKE, PLACE, run, owner, since)


def free(run: str) -> Command:
    return script(_FREE, PLACE, run)


def held() -> Command:
    """Print run, owner and since, a line each; nothing if the node is free."""
    return script(_HELD, PLACE)
