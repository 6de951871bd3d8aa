"""The scripts that run on nodes, a file each, as shellcheck reads them.

Data arrives as "$1", "$2", …; the first line of a file says what it does, in the operator's words.
``lib_*.sh`` are parts of others.
"""

from __future__ import annotations

import functools
from pathlib import Path

HERE = Path(__file__).parent
INCLUDE = ". ./"


@functools.cache
def script_text(name: str) -> str:
    """Return the script as it goes to a node: with the parts that it includes in their place
    (``. ./lib_ctl.sh``, for there are no files of ours there), and without its comments but the
    first line, which an operator reads in a plan."""
    return "\n".join(_lines(f"{name}.sh", first=True)) + "\n"


def _lines(file: str, *, first: bool) -> list[str]:
    found: list[str] = []
    for number, line in enumerate((HERE / file).read_text("utf-8").splitlines()):
        if line.startswith(INCLUDE):
            found += _lines(line.removeprefix(INCLUDE), first=False)
        elif not line.startswith("#") or (first and not number):
            found.append(line)
    return found
