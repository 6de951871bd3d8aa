"""The one maker of what an operator does next: a line that a shell takes whole."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from omsfab.errors import Next


class Cure(TypedDict, total=False):
    """Words of an error that are only sometimes there."""

    fix: str


@dataclass(slots=True)
class Called:
    """How this process was called: a line to paste is for the same program and the same file."""

    program: str = "fab"
    hosts: str = ""
    """The value of ``--hosts``, as it was typed."""


CALLED = Called()

FLAGS = {"words": "command"}
"""Names in the records of runs that are flags of another name."""

SWITCHES = {"accept_interruption"}
"""Flags that stand alone; a record has them as ``yes``."""


def fab(task: str, *, dry: bool = False, first: str = "", note: str = "", **flags: object) -> Next:
    """Return the line that calls a task, each value quoted for the shell.

    A flag that is empty or False is left out, one that is True stands alone.  ``first`` is what a
    person does before it, ``note`` why.
    """
    hosts = _words({"hosts": CALLED.hosts})
    words = [CALLED.program, *(["--dry"] if dry else []), task, *hosts, *_words(flags)]
    return Next(" ".join(words), first, note, task)


def recorded(task: str, args: Mapping[str, str], **more: object) -> Next:
    """Return the line that a run began with, by the task and the flags of its record."""
    flags = {
        FLAGS.get(name, name): True if name in SWITCHES and value else value
        for name, value in args.items()
    }
    return _with(fab(task), {**flags, **more})


def plus(line: Next, *, note: str = "", **flags: object) -> Next:
    """Return the line with further flags behind it."""
    return replace(_with(line, flags), note=note or line.note)


def after_loss(go_on: Next) -> Next:
    """Who has the lock is looked at first; ``go_on`` is the line for when it is free."""
    return fab(
        "lock.show",
        note=f"and fab run.list on the other jump host; once it is free: {go_on},"
        " which asks first what others did",
    )


def shell(*words: str, first: str = "", note: str = "") -> Next:
    """Return a line of another program, each word quoted."""
    return Next(" ".join(map(quote, words)), first, note)


def typed(words: Sequence[str]) -> Next:
    """Return the line that was typed, behind ``fab`` or ``omsfab``."""
    return Next(
        " ".join([CALLED.program, *map(quote, words)]),
        task=next((w for w in words if w[0:1] != "-"), ""),
    )


def edit(path: str) -> Next:
    """Return the line that opens a file in the operator's editor."""
    return Next(f"${{EDITOR:-vi}} {quote(path)}")


def nearest(word: str, names: Iterable[str]) -> str:
    """Return the name that ``word`` was probably meant to be, or ""."""
    return next(iter(difflib.get_close_matches(word, list(names), 1)), "")


def meant(words: Sequence[str], names: Iterable[str]) -> Cure:
    """Return the ``fix`` of an error about words that are none of these names; none is none."""
    known = list(names)
    near = [one for word in words if (one := nearest(word, known))]
    return {"fix": f"did you mean {', '.join(near)}?"} if near else {}


def quote(text: str) -> str:
    """One word for bash, on one line whatever is in it: a line feed would be pasted as Enter."""
    if text.isprintable():
        return shlex.quote(text)
    signs = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return "$'" + "".join(signs.get(c) or (c if c.isprintable() else _code(c)) for c in text) + "'"


def _code(sign: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in sign.encode("utf-8", "surrogateescape"))


def chain(*lines: Next, note: str = "", by: str = "&&") -> Next:
    """Return lines as one: each runs if the one before it went well."""
    return Next(f" {by} ".join(one.line for one in lines), note=note or lines[-1].note)


def _with(line: Next, flags: Mapping[str, object]) -> Next:
    return replace(line, line=" ".join([line.line, *_words(flags)]))


def _words(flags: Mapping[str, object]) -> list[str]:
    words = []
    for name, value in flags.items():
        flag = f"--{name.rstrip('_').replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value:
            words.append(f"{flag}={quote(str(value))}")
    return words
