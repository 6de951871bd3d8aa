"""A file of gigabytes to a node: constant memory, resumed where it was cut, proven at the end."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from omsfab import retry
from omsfab.command import Command, command, shown
from omsfab.commands import files
from omsfab.errors import LostSession, OmsfabError, PreflightError, StepFailed, Unreachable
from omsfab.ssh.exchange import PACKET
from omsfab.ssh.protocol import OnBytes, OnLine, Result, Shell
from omsfab.ssh.relay import Link

PATIENCE = 600
"""Seconds without progress until a transfer gives up."""

LOST = (LostSession, Unreachable)
"""After these a transfer is tried again."""

SMALL = 1 << 20
"""A file of at most so many bytes goes whole, in one command."""

CHUNK = 1 << 18
"""Bytes that are read at once."""

REPORT = 1 << 20
"""Progress is told every so many bytes."""


class Pipe(Shell, Protocol):
    """A shell whose commands can be fed from any source."""

    def feed(
        self, cmd: Command, chunks: Iterable[bytes], on_line: OnLine | None = None
    ) -> Result: ...


def send(
    shell: Pipe,
    source: Path,
    dest: str,
    size: int,
    sha256: str,
    on_bytes: OnBytes,
    on_lost: OnLine = lambda _: None,
    reader: Sequence[str] = (),
    patience: float = PATIENCE,
    link: Link | None = None,
) -> None:
    """Send ``source`` (of this size and digest) to ``dest`` on the node, by ``dest.part``.

    A part that is a true beginning of the file is continued, any other is begun anew; a file that
    is there already is not sent.  When the line drops, ``on_lost`` hears of it, and the transfer
    goes on where it was cut.  A small file goes in one command: nothing of it is kept then.

    ``reader`` are words which read the file on the node while it arrives, unless it is small or
    there.  They come to its end only when it is proven; ask whether they did their work.

    Raises StepFailed: XFER-001 the source is not the file that was planned, or cannot be read,
    XFER-002 no room on the node (the part is removed), XFER-003 something else arrived, XFER-004
    unreachable for ``patience`` seconds, XFER-005 any other refusal of the node.
    """
    _refuse_another_size(source, size)
    progress = _Progress(on_bytes, patience, link)
    file = (shell, source, dest, size, sha256, progress)
    try:
        retry.call(
            lambda: _whole(*file) if size <= SMALL else _go_on(*file, reader, on_lost),
            on=LOST,
            waits=progress.waits,
            again=lambda _: progress.goes_on(),
            on_wait=lambda lost, pause: on_lost(
                f"link to {shell.node} lost ({lost.id}); again in {pause:g} s"
            ),
        )
    except LOST as error:
        raise _given_up(shell.node, dest, size, progress.most, error) from error


def _refuse_another_size(source: Path, size: int) -> None:
    try:
        have = source.stat().st_size
    except OSError as error:
        raise _unreadable(source, error) from error
    if have != size:
        raise _changed(source, f"it has not {size} bytes")


def _whole(
    shell: Pipe, source: Path, dest: str, size: int, sha256: str, progress: _Progress
) -> None:
    for _ in range(2):
        chunks = list(_pieces(source, 0, size, PACKET))
        _refuse_another_content(source, chunks, sha256)
        done = _checked(shell, dest, shell.feed(files.put_whole(dest, sha256), chunks))
        if done.out.split() == [sha256]:
            progress.reached(size)
            return
    raise _other_content(shell, dest, sha256, done.out)


def _go_on(
    shell: Pipe,
    source: Path,
    dest: str,
    size: int,
    sha256: str,
    progress: _Progress,
    reader: Sequence[str],
    on_lost: OnLine,
) -> None:
    """One connection's worth; a second round only if the part turns out to be another file, or
    another node has not had it all."""
    whole, link, rounds = [sha256, str(size)], progress.link, 2
    while rounds:
        rounds -= 1
        asked = shell.run(files.part_state(dest, size, progress.sent))
        kind, *there = _checked(shell, dest, asked).out.split() or [""]
        if kind == "dest" and there == whole:
            progress.reached(size)
            return
        if kind != "part" or there != whole:
            progress.sent = _trusted(source, there, size) if kind == "part" else 0
            if link and link.before and not link.tried:
                there = link.fetch(progress.sent, size, sha256, reader, progress.heard, on_lost)
                if there != whole:
                    rounds += 1
                    continue
            else:
                append = files.append(dest, progress.sent, size, sha256, reader)
                fed = shell.feed(append, _read(source, size, progress))
                there = _checked(shell, dest, fed).out.split()
        if there == whole:
            _checked(shell, dest, shell.run(files.finish_part(dest)))
            progress.reached(size)
            return
        shell.run(files.drop_part(dest))
        progress.sent = 0
        _refuse_another_content(source, _pieces(source, 0, size, 1 << 20), sha256)
    raise _other_content(shell, dest, sha256, " ".join(there))


def _refuse_another_content(source: Path, chunks: Iterable[bytes], sha256: str) -> None:
    mine = hashlib.sha256()
    for chunk in chunks:
        mine.update(chunk)
    if mine.hexdigest() != sha256:
        raise _changed(source, f"its sha256 was {sha256} and is {mine.hexdigest()}")


def _other_content(shell: Pipe, dest: str, sha256: str, there: str) -> StepFailed:
    return StepFailed(
        "XFER-003",
        f"{dest} arrived on {shell.node} with another content, twice",
        where=shell.node,
        evidence=f"sha256 planned, and on the jump host: {sha256}; there {there.strip() or 'none'};"
        " what had arrived was removed",
        fix=f"look for faults of disk, memory and network on {shell.node} (dmesg)",
    )


class _Progress:
    """How far it came, when, and whom to tell."""

    def __init__(self, on_bytes: OnBytes, patience: float, link: Link | None = None) -> None:
        self._on_bytes = on_bytes
        self.link = link
        self._patience = patience
        self._told = -1
        self.most = 0
        self.sent = 0
        """So long a part on the node is of our own sending."""
        self._at = time.monotonic()
        self.waits = retry.Backoff()

    def heard(self, line: str) -> None:
        """A node has told how much it has."""
        if line.isdigit():
            self.reached(int(line))

    def reached(self, offset: int, *, quietly: bool = False) -> None:
        if self.link:
            self.link.reached(offset)
        if offset > self.most:
            self.most, self._at = offset, time.monotonic()
            self.waits.reset()
        if offset != self._told and not quietly:
            self._told = offset
            self._on_bytes(offset)

    def goes_on(self) -> bool:
        """Whether the last byte beyond what there was is not too long ago."""
        return time.monotonic() - self._at <= self._patience


def _read(source: Path, size: int, progress: _Progress) -> Iterator[bytes]:
    """Yield what is to be sent yet."""
    told = progress.sent
    progress.reached(told)
    for chunk in _pieces(source, told, size, CHUNK):
        progress.sent += len(chunk)
        yield chunk
        if progress.sent - told >= REPORT:
            told = progress.sent
            progress.reached(told)
    if progress.sent != size:
        raise _changed(source, f"it has not {size} bytes")


def _pieces(source: Path, offset: int, end: int, most: int) -> Iterator[bytes]:
    """Yield the bytes from ``offset`` to ``end`` by at most so many, fewer if the file is shorter.

    An OSError that left here would pass for one of the line to the node.
    """
    try:
        with source.open("rb", buffering=0) as file:
            file.seek(offset)
            while offset < end and (chunk := file.read(min(most, end - offset))):
                yield chunk
                offset += len(chunk)
    except OSError as error:
        raise _unreadable(source, error) from error


def _trusted(source: Path, part: Sequence[str], size: int) -> int:
    """Return where to go on: the length of the part if it is a true beginning of the file.

    One of our own sending is taken for it: its digest comes with that of the whole.
    """
    digest, there = part[0], int(part[1])
    if there > size:
        return 0
    if digest == files.OURS:
        return there
    mine = hashlib.sha256()
    left = there
    for chunk in _pieces(source, 0, there, 1 << 20):
        mine.update(chunk)
        left -= len(chunk)
    return there if not left and mine.hexdigest() == digest else 0


def _checked(shell: Pipe, dest: str, result: Result) -> Result:
    """Return the result if its status is 0; else say why the node did not take the file."""
    if result.status == 0:
        return result
    if result.status == files.IS_DIRECTORY:
        raise PreflightError(
            "XFER-006",
            f"{dest} is a directory",
            where=shell.node,
            next=shell.ssh_line(shown(command("rmdir", dest))),
        )
    if "No space left" in result.err or "quota exceeded" in result.err:
        raise _full(shell, dest, result)
    raise StepFailed(
        "XFER-005",
        f"{shell.node} does not take {dest} (status {result.status})",
        where=shell.node,
        evidence=(result.err or result.out).strip(),
    )


def _full(shell: Pipe, dest: str, result: Result) -> OmsfabError:
    directory = dest.rpartition("/")[0] or "/"
    usage = shell.run(files.disk_usage(directory)).out.strip()
    shell.run(files.drop_part(dest))
    return StepFailed(
        "XFER-002",
        f"no room for {dest} on {shell.node}; what had arrived was removed",
        where=shell.node,
        evidence=f"{result.err.strip()}\n{usage}",
        fix="make room there",
    )


def _changed(source: Path, how: str) -> StepFailed:
    return StepFailed(
        "XFER-001",
        f"{source} is not the file that was planned: {how}",
        where="jump host",
        fix="put the package that was planned there again",
    )


def _unreadable(source: Path, error: OSError) -> StepFailed:
    return StepFailed(
        "XFER-001",
        f"{source} cannot be read: {error.strerror or error}",
        where="jump host",
        evidence="it could be when the run was planned",
        fix="put it back as it was",
    )


def _given_up(node: str, dest: str, size: int, most: int, lost: OmsfabError) -> StepFailed:
    return StepFailed(
        "XFER-004",
        f"{node} was not reached again while {dest} was sent; {most} of {size} bytes are there",
        where=node,
        evidence=f"{lost.id} {lost.what}",
    )
