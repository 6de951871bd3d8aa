"""What every task may be told beforehand, and the one question that it asks."""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NoReturn

from rich.cells import cell_len

from omsfab.errors import InputError, Next
from omsfab.next_line import plus
from omsfab.show import columns

ANSWER = 12
"""Columns that are left behind the question for what is typed."""

TRIES = 3
"""Answers that are neither what is wanted nor no before that counts as no."""


@dataclass(frozen=True, slots=True)
class Flags:
    """What every changing task takes: ``--dry`` (fab's own), ``--plan``, ``--yes``, ``--json``,
    ``--verbose``."""

    dry: bool = False
    plan: bool = False
    yes: bool = False
    json: bool = False
    verbose: bool = False
    """Whether every step of a plan, and every line of output, is shown."""
    accept: str = ""
    """Error ids, comma separated: ``--accept``."""

    @property
    def looks(self) -> bool:
        """Whether nothing may be changed, nowhere."""
        return self.dry or self.plan


def confirm(flags: Flags, stakes: str, line: Next, *, word: str = "") -> None:
    """Ask whether to go on; ``--yes`` has said it.  Raises INPUT-023 or INPUT-024.

    ``stakes`` is one sentence, with its end, ``line`` the task as it was called.  ``word`` is what
    has to be typed where much is at stake, the region's name; otherwise a "yes" in full will do.
    ``--json`` never asks: its plan is not on the screen, and its output is for a program.
    """
    if flags.yes:
        return
    shown = plus(line, plan=True)
    if flags.json:
        refuse_json(line)
    if not (sys.stdin and sys.stdin.isatty()):  # a closed one is None
        raise InputError(
            "INPUT-023", "there is no terminal to ask on", where=line.line, next=_first(line)
        )
    asks = f"Type {word} to continue: " if word else "Continue? [yes/no] "
    prompt = folded(stakes, asks)
    for _ in range(TRIES):
        answer = _answer(prompt)
        if answer == word if word else answer.lower() == "yes":
            return
        if answer.lower() in ("", "n", "no"):
            break
        prompt = asks if word else "Please type yes or no: "
    raise InputError("INPUT-024", "not confirmed", where=line.line, next=shown)


def refuse_json(line: Next) -> NoReturn:
    """Raise INPUT-023 for a task by ``--json`` that would ask."""
    raise InputError(
        "INPUT-023",
        "--json asks nothing: it wants --yes, or --plan",
        where=line.line,
        next=_first(line),
    )


def _first(line: Next) -> tuple[Next, Next]:
    return plus(line, plan=True), plus(line, yes=True, note="when you have read it")


def folded(stakes: str, asks: str) -> str:
    """Return both as they fit on the terminal: folded between words, the question in one piece."""
    wide = shutil.get_terminal_size().columns
    *lines, last = columns.folded(stakes, wide)
    room = cell_len(last) + 1 + cell_len(asks) + ANSWER <= wide
    return "\n".join([*lines, f"{last} {asks}" if room else f"{last}\n{asks}"])


def _answer(prompt: str) -> str:
    """Ask on the terminal, whatever standard output is: a file that somebody keeps, say."""
    with ExitStack() as stack:
        out = sys.stderr
        if not (out and out.isatty()):
            try:
                out = stack.enter_context(open("/dev/tty", "w", encoding="utf-8"))
            except OSError:
                out = sys.stderr
        print(prompt, end="", file=out, flush=True)
        return sys.stdin.readline().strip()
