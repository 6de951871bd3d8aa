"""The user's and the system's ssh_config, in the shape that paramiko understands."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from glob import glob
from pathlib import Path

import paramiko

from omsfab.commands.next_line import fab
from omsfab.errors import InputError

FILES = (Path("~/.ssh/config"), Path("/etc/ssh/ssh_config"))

DEPTH = 16
"""How deep files may include one another, as in OpenSSH."""

MATCH_ALL = re.compile(r"(?:(canonical|final)\s+)?all", re.IGNORECASE)
NAMES = re.compile(r'"([^"]+)"|(\S+)')


def read() -> Callable[[], paramiko.SSHConfig]:
    """Read the files once; returns a maker of copies.

    A Config that reads the files by itself reads them again at each ``clone()``, and then
    every key is offered several times, until sshd has had too many.
    Raises InputError SSH-014, which names the file and the line.
    """
    lines: list[str] = []
    for path in FILES:
        path = path.expanduser()
        lines += ["Host *", *_lines(path, path.parent, (), 0)]
    text = "\n".join(lines)
    return lambda: paramiko.SSHConfig.from_text(text)


def _lines(path: Path, base: Path, outer: tuple[str, ...], depth: int) -> Iterator[str]:
    """The lines of a file, those it includes in their place.

    ``outer`` are the criteria of Match under which the file is included: they hold for each block
    in it, and paramiko, which knows no Include, knows no block in a block either.
    """
    here = outer
    for number, line in enumerate(_text(path).splitlines(), 1):
        found = paramiko.SSHConfig.SETTINGS_REGEX.match(line.strip())
        key, value = (found[1].lower(), found[2].strip()) if found else ("", "")
        if key == "include":
            if depth == DEPTH:
                raise _bad(path, number, f"files include one another more than {DEPTH} deep")
            for name in (quoted or plain for quoted, plain in NAMES.findall(value)):
                for file in sorted(glob(str(base / os.path.expanduser(name)))):
                    yield _block(here)
                    yield from _lines(Path(file), base, here, depth + 1)
            line = _block(here)
        elif key == "match":
            whole = MATCH_ALL.fullmatch(value)  # of "final all", paramiko takes only "final"
            here = (*outer, *filter(None, [whole[1] if whole else value]))
            line = _block(here)
        elif key == "host":
            here = (*outer, "originalhost " + ",".join(value.replace('"', " ").split()))
            line = _block(here) if outer else line
        try:
            paramiko.SSHConfig.from_text(line)
        except (paramiko.ConfigParseError, ValueError) as error:
            raise _bad(path, number, str(error)) from error
        yield line


def _block(criteria: tuple[str, ...]) -> str:
    return f"Match {' '.join(criteria)}" if criteria else "Host *"


def _text(path: Path) -> str:
    """Comments may be in any encoding."""
    try:
        return path.read_text("utf-8", "surrogateescape")
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        return ""


def _bad(path: Path, number: int, why: str) -> InputError:
    return InputError(
        "SSH-014",
        f"{path} cannot be read as an ssh_config",
        where=f"{path}, line {number}",
        evidence=why,
        fix="mend that line",
        next=fab("fleet.check"),
    )
