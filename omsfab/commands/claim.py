"""Words for the claim on a node: one small file that says which run changes it now.

It comes into being whole, by a hard link, which only one can make.
"""

from __future__ import annotations

from omsfab.commands.command import Command, script

PLACE = "/var/lib/omsfab"

_TAKE = r"""# claim this node for a run
dir=$1; run=$2; owner=$3; since=$4; umask 077
mkdir -p -- "$dir" || exit
new=$dir/claim.$$
printf '%s\n' "$run" "$owner" "$since" >"$new" || exit
if ! ln -- "$new" "$dir/claim" 2>/dev/null; then
  held=$(cat -- "$dir/claim")
  if [ "$(printf %s "$held" | sed -n 1p)" = "$run" ] ||
     [ "$(printf %s "$held" | sed -n 2p)" = "$owner" ]; then
    mv -f -- "$new" "$dir/claim" || exit
  else
    rm -f -- "$new"
    printf '%s\n' "$held"
    exit 75
  fi
fi
rm -f -- "$new"
"""

_FREE = r"""# free the claim of a run on this node
[ "$(sed -n 1p "$1/claim" 2>/dev/null)" != "$2" ] || rm -f -- "$1/claim"
"""

_HELD = r"""# who has claimed this node
[ ! -f "$1/claim" ] || cat -- "$1/claim"
"""

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
