"""Bytes as they come from a node: whole characters, whole lines, bounded memory."""

from __future__ import annotations

from collections import deque

from omsfab.ssh.protocol import OnLine

LONGEST = 1 << 20
"""A line longer than this is handed on in pieces."""

HEAD = TAIL = 4 << 20
"""How much of the beginning and of the end of an output is kept."""

NOISE = 1 << 16
"""How much is kept of what comes before the first mark."""


BEHIND = 64
"""How much is kept of what comes behind the second mark: a status."""


class Lines:
    """Cuts bytes into lines, however a line or a character of it arrives in pieces."""

    def __init__(self) -> None:
        self._open = b""

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that are whole now, without their line ends."""
        *whole, self._open = (self._open + data).split(b"\n")
        lines = [_text(line) for line in whole]
        while len(self._open) > LONGEST:
            cut = _whole_characters(self._open, LONGEST)
            lines.append(_text(self._open[:cut]))
            self._open = self._open[cut:]
        return lines

    def rest(self) -> list[str]:
        """Return what stands after the last line end, at most one line."""
        last, self._open = self._open, b""
        return [_text(last)] if last else []


class Kept:
    """The head and the tail of what was fed; a note says how much is missing between them."""

    def __init__(self, head: int = HEAD, tail: int = TAIL) -> None:
        self._room, self._tail_size = head, tail
        self._head: list[bytes] = []
        self._tail: deque[bytes] = deque()
        self._held = self._dropped = 0

    def feed(self, data: bytes) -> None:
        first, later = data[: self._room], data[self._room :]
        if first:
            self._head.append(first)
            self._room -= len(first)
        if later:
            self._tail.append(later)
            self._held += len(later)
        while self._held > self._tail_size:
            oldest = self._tail.popleft()
            over = min(len(oldest), self._held - self._tail_size)
            if over < len(oldest):
                self._tail.appendleft(oldest[over:])
            self._held -= over
            self._dropped += over

    def text(self) -> str:
        note = f"\n… {self._dropped} bytes left out …\n".encode() if self._dropped else b""
        return b"".join((*self._head, note, *self._tail)).decode(errors="replace")


class Stream:
    """One output stream of a framed command: what stands between its two marks."""

    def __init__(self, mark: str, on_line: OnLine | None) -> None:
        self._begin, self._end = f"{mark}<".encode(), f">{mark}".encode()
        self._held = b""
        self._lines = Lines()
        self._on_line = on_line
        self._kept = Kept()
        self.begun = self.ended = False
        self.after = b""
        """The first of what came behind the end."""

    def feed(self, data: bytes) -> None:
        if self.ended:
            self.after = (self.after + data)[:BEHIND]
            return
        data = self._held + data
        if not self.begun:
            _, self.begun, data = _after(data, self._begin)
            if not self.begun:
                self._held = data[-NOISE:]
                return
        body, found, rest = data.partition(self._end)
        self.ended, self.after = bool(found), rest[:BEHIND]
        cut = len(body) if found else _before_part_of(self._end, body)
        self._held = body[cut:]
        self._take(body[:cut])
        if self.ended:
            self._close_line()

    def finish(self) -> None:
        """Nothing more will come."""
        if self.begun and not self.ended:
            self._take(self._held)
            self._held = b""
            self._close_line()

    @property
    def noise(self) -> str:
        """What came instead of the first mark."""
        return "" if self.begun else self._held.decode(errors="replace").strip()

    def text(self) -> str:
        return self._kept.text()

    def _take(self, data: bytes) -> None:
        self._kept.feed(data)
        if self._on_line:
            for line in self._lines.feed(data):
                self._on_line(line)

    def _close_line(self) -> None:
        if self._on_line:
            for line in self._lines.rest():
                self._on_line(line)


def _text(line: bytes) -> str:
    return line.rstrip(b"\r").decode(errors="replace")


def _whole_characters(data: bytes, cut: int) -> int:
    """The largest place up to ``cut`` that is not inside a UTF-8 character."""
    for place in range(cut, cut - 4, -1):
        if data[place] & 0xC0 != 0x80:
            return place
    return cut


def _after(data: bytes, mark: bytes) -> tuple[bytes, bool, bytes]:
    before, found, after = data.partition(mark)
    return (before, True, after) if found else (b"", False, data)


def _before_part_of(mark: bytes, data: bytes) -> int:
    """Where the beginning of a mark may stand at the end of the data; its length if nowhere."""
    start = data.find(mark[:1], max(0, len(data) - len(mark) + 1))
    while start >= 0:
        if mark.startswith(data[start:]):
            return start
        start = data.find(mark[:1], start + 1)
    return len(data)
