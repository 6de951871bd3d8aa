"""What the runner may ask of a node: the shape of a Shell, without any network in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from omsfab.command import Command
from omsfab.errors import Next
from omsfab.secret import Secret

OnLine = Callable[[str], None]
"""Called with each whole line of output, decoded, without its line end."""

OnBytes = Callable[[int], None]
"""Called now and then with the number of bytes there so far."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a command said; ``status`` is its exit status, never -1 (that raises LostSession)."""

    status: int
    out: str
    err: str


class Shell(Protocol):
    """One node, reached over SSH (ssh/shell.py), or a fake of six lines in a unit test."""

    node: str
    guard: Callable[[], None]
    """Asked before every command: it raises once the lock of the run is lost, so that a process
    which was stopped for a while does nothing more on any node when it wakes."""
    connections: int
    """How often a connection was opened: more than once means that the line dropped."""

    def run(self, cmd: Command, on_line: OnLine | None = None) -> Result:
        """Run the words; the status is returned, whatever it is.

        ``out`` and ``err`` keep at most 8 MB each (head and tail); ``on_line`` sees every line.
        Raises LostSession when the session ends without a status, StepFailed when ``cmd.limit``
        seconds pass in silence, Unreachable when no connection can be had.
        """

    def write(self, path: str, content: Secret, mode: int | None, backup: str) -> None:
        """Replace the content of a file in place, so that a bind mount keeps its inode."""

    def send(
        self,
        source: Path,
        dest: str,
        size: int,
        sha256: str,
        on_bytes: OnBytes,
        on_lost: OnLine = lambda _: None,
        reader: Sequence[str] = (),
        *,
        relay: bool = False,
    ) -> None:
        """Send a file through ``dest.part``, resumed at a verified offset.

        ``on_lost`` hears of a line that dropped, and of another node that it comes from, which it
        may with ``relay``.  ``reader`` are words that read the file on the node while it arrives.
        """

    def ssh_line(self, text: str, note: str = "") -> Next:
        """Return a line for the operator's own shell, which does this on the node as root."""

    def close(self) -> None:
        """End the connection; a later call opens a new one."""
