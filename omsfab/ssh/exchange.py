"""One command on one channel: its input goes out while both of its outputs come in."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator

import paramiko

from omsfab.command import Command
from omsfab.ssh.streams import Stream
from omsfab.ssh.transport import end_input

PACKET = 32_704
"""What fits one packet of OpenSSH: a larger send is split, and copied, for every packet."""


def endless(cmd: Command) -> str:
    """Why a command was given up that went on talking."""
    return f"did not come to an end in {cmd.patience:g} s, though it goes on talking"


def silent(cmd: Command) -> str:
    """Why a command was given up of which nothing was heard."""
    return f"did not answer in {cmd.limit:g} s"


class Exchange:
    """Sends the chunks and reads both streams at once until the command has ended.

    It has ended when its status is there and both streams are at their mark: a child that it left
    behind may hold them open for ever.  On a channel that is ``kept`` for the next command, what
    runs there does not end, and neither does its input; the status stands behind the second mark.
    """

    def __init__(
        self,
        channel: paramiko.Channel,
        chunks: Iterator[bytes],
        out: Stream,
        err: Stream,
        cmd: Command,
        *,
        kept: bool = False,
    ) -> None:
        self._channel, self._kept = channel, kept
        self._chunks = chunks
        self._out, self._err = out, err
        self._cmd = cmd
        self._arrivals = select.poll()
        self._arrivals.register(channel.fileno(), select.POLLIN)
        self._moved = self._fed = time.monotonic()
        channel.settimeout(0.05)
        self._chunk: bytes | None = b""
        self._next(b"")

    def run(self) -> str:
        """Return why it was given up, if it was: neither side moved for ``cmd.limit`` seconds, or
        it went on talking for ``cmd.patience``, counted from the end of its input."""
        while True:
            # Looked at before reading: what came before the end is then certainly read.
            over = self._over()
            busy = self._read()
            busy = self._write() or busy
            now = time.monotonic()
            if self._chunk is None and now - self._fed > self._cmd.patience:
                return endless(self._cmd)
            if busy:
                self._moved = now
            elif over and (self._kept or self._channel.status_event.is_set()):
                break
            elif now - self._moved > self._cmd.limit:
                return silent(self._cmd)
            else:
                self._wait(over)
        self._out.finish()
        self._err.finish()
        return ""

    def _over(self) -> bool:
        ended = self._out.ended and self._err.ended
        if self._kept:
            ended = ended and b"\n" in self._out.after
        return bool(self._channel.closed or self._channel.eof_received or ended)

    def _read(self) -> bool:
        came = False
        if self._channel.recv_ready():
            self._out.feed(self._channel.recv(1 << 20))
            came = True
        if self._channel.recv_stderr_ready():
            self._err.feed(self._channel.recv_stderr(1 << 20))
            came = True
        return came

    def _write(self) -> bool:
        """Whether bytes went: none where there is no room now, or nobody reads any more."""
        if self._chunk is None:
            return False
        try:
            sent = self._channel.send(self._chunk)
        except TimeoutError:
            return False
        except OSError:
            sent = 0
        if sent:
            self._next(self._chunk[sent:])
        else:
            self._end_input()
        return bool(sent)

    def _next(self, rest: bytes) -> None:
        chunk = rest or next(self._chunks, None)
        self._chunk = chunk
        if chunk is None:
            self._end_input()

    def _end_input(self) -> None:
        self._chunk = None
        if not self._kept:
            end_input(self._channel)
        self._fed = time.monotonic()

    def _wait(self, over: bool) -> None:
        if self._chunk is not None:
            return  # the send has waited
        if over:
            self._channel.status_event.wait(0.2)
        else:
            self._arrivals.poll(200)
