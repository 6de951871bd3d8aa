"""The one maker of what an operator does next: a line that a shell takes whole."""

from __future__ import annotations

import shlex

from omsfab.errors import Next


def fab(task: str, *, first: str = "", note: str = "", **flags: str | bool) -> Next:
    """Return the line that calls a task, each value quoted for the shell.

    A flag that is empty or False is left out, one that is True stands alone.  ``first`` is what a
    person does before it, ``note`` why: both become a comment.
    """
    words = ["fab", task]
    for name, value in flags.items():
        flag = f"--{name.rstrip('_').replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value:
            words.append(f"{flag}={shlex.quote(str(value))}")
    return Next(" ".join(words), first, note)


def shell(*words: str, first: str = "", note: str = "") -> Next:
    """Return a line of another program, each word quoted."""
    return Next(shlex.join(words), first, note)
