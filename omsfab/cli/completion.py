"""What may stand at the end of a line that is being typed: tasks, flags, and the names of a fleet.

The shell filters by what is typed already; nothing is contacted, and no secret is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from omsfab.errors import OmsfabError
from omsfab.fleet.model import Fleet
from omsfab.next_line import CALLED
from omsfab.run.record import journal as journals
from omsfab.run.session import home_of, load

KINDS = {
    "-H": "node",
    "--node": "node",
    "--nodes": "node",
    "--from": "node",
    "--region": "region",
    "--run": "run",
}
"""What the value of a flag is; any other one is for the shell, which knows files."""


def candidates(words: Sequence[str], tasks: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what may stand in place of the last word.

    ``tasks`` has the flags of each task, ``--node=`` where one takes a value.  bash hands
    ``--node=x`` over in three words, zsh in one, and wants all of it back.
    """
    *before, last = _joined(words) or [""]
    whole = bool(words) and last == words[-1]
    flag, equals, value = last.partition("=")
    if not (equals and flag.startswith("-")):
        flag, value, whole = (before[-1] if before else ""), last, False
    task = next((word for word in reversed(before) if word in tasks), "")
    if flag in KINDS:
        lead = f"{flag}=" if whole else ""
        return [lead + one for one in _listed(value, _names(KINDS[flag], before))]
    if f"{flag}=" in tasks.get(task, ()):
        return []
    if last.startswith("-"):
        return list(tasks[task]) if task else ["--dry", "--help", "--hosts=", "--list", "--version"]
    return list(tasks)


def _joined(words: Sequence[str]) -> list[str]:
    """What bash has cut at each ``=`` as it was typed."""
    made: list[str] = []
    glue = False
    for word in words:
        if made and (word == "=" or glue):
            made[-1] += word
        else:
            made.append(word)
        glue = word == "="
    return made


def _listed(value: str, names: Sequence[str]) -> list[str]:
    """Each name behind those of a comma separated list that stand there already."""
    head, comma, _ = value.rpartition(",")
    there = head.split(",")
    return [f"{head}{comma}{name}" for name in names if name not in there]


def _names(kind: str, before: Sequence[str]) -> list[str]:
    for word, after in zip(before, [*before[1:], ""], strict=True):
        flag, _, value = word.partition("=")
        if flag == "--hosts":
            CALLED.hosts = value or after
    try:
        fleet = load(secrets=False, quiet=True)
        return _of(fleet, kind)
    except OmsfabError:
        return []


def _of(fleet: Fleet, kind: str) -> list[str]:
    if kind == "node":
        return [node.name for node in fleet.nodes]
    if kind == "region":
        return [region.name for region in fleet.regions]
    return [path.name for path in journals.runs(home_of(fleet))]
