"""Words for a node, and the only place where they become shell text."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace
from functools import lru_cache

from omsfab.secret import Secret


@dataclass(frozen=True, slots=True)
class Command:
    """Words to run on a node.

    Words are public on a node (``ps`` shows them), so they are plain text and a Secret does not
    fit: secrets travel on ``stdin``.  ``limit`` is in seconds: how long an answer is waited for.
    """

    argv: tuple[str, ...]
    limit: float = 30
    stdin: str | Secret | None = None
    most: float = 0
    """Seconds after which one that talks and never ends is given up; 0 = ten times ``limit``, and
    ten minutes at least."""

    asks: bool = field(default=False, compare=False)
    """It may be run twice, for it changes nothing, or only what is so already; where nobody knows
    whether it was run, it is run again."""

    bulk: bool = field(default=False, compare=False)
    """What it reads is long: megabytes and more."""

    @property
    def patience(self) -> float:
        return self.most or max(600.0, 10 * self.limit)


def command(*words: str, limit: float = 30, stdin: str | Secret | None = None) -> Command:
    """Return the words as a Command; nothing is run or quoted here."""
    return Command(words, limit, stdin)


def question(cmd: Command) -> Command:
    """Return the same words as a question: what it asks may be asked twice."""
    return replace(cmd, asks=True)


def script(text: str, *args: str, limit: float = 30, stdin: str | Secret | None = None) -> Command:
    """Return a Command for a constant ``sh`` script, whose data arrives as "$1", "$2", …"""
    return Command(("sh", "-c", text, "omsfab", *args), limit, stdin)


def wire(cmd: Command, *, sudo: bool) -> str:
    """Return the text handed to the node's login shell: the whole of omsfab's quoting."""
    prefix = ("sudo", "-n", "--") if sudo else ()
    return shlex.join((*prefix, *cmd.argv))


# One line, so that a login shell of any kind takes it.  LC_ALL: messages are compared in English.
FRAME = (
    'mark=$1; shift; LC_ALL=C; export LC_ALL; printf "%s<" "$mark"; printf "%s<" "$mark" >&2; '
    '"$@"; status=$?; printf ">%s" "$mark"; printf ">%s" "$mark" >&2; exit $status'
)


def framed(cmd: Command, mark: str, *, sudo: bool) -> str:
    """Return what ``wire`` returns, with ``mark<`` and ``>mark`` around both streams of output.

    Whatever a login profile or a banner prints stands outside.
    """
    prefix = ("sudo", "-n", "--") if sudo else ()
    return wire(script(FRAME, mark, *prefix, *cmd.argv), sudo=False)


def kept_line(cmd: Command, mark: str, *, sudo: bool) -> str:
    """Return a line for a ``sh`` that reads one command after another, framed as ``framed`` does;
    behind the second mark of its output stands its status."""
    words = wire(cmd, sudo=sudo)
    return (
        f"printf '%s<' {mark}; printf '%s<' {mark} >&2; {words} </dev/null; status=$?; "
        f"printf '>%s %s\\n' {mark} $status; printf '>%s' {mark} >&2\n"
    )


def shown(cmd: Command) -> str:
    """Return the command as an operator reads it; a script stands as its first line."""
    if cmd.argv[:2] == ("sh", "-c"):
        return " ".join((_title(cmd.argv[2]), *(shlex.quote(word) for word in cmd.argv[4:])))
    for at, word in enumerate(cmd.argv[:-3]):
        if (word, cmd.argv[at + 1]) == ("sh", "-c"):  # in a container: its name says what it does
            return shlex.join((*cmd.argv[:at], *cmd.argv[at + 3 :]))
    return shlex.join(cmd.argv)


@lru_cache(256)
def _title(text: str) -> str:
    """The first line of a script, in brackets."""
    first = text.strip().splitlines()[0].lstrip("# ")
    return f"[{first}]"
