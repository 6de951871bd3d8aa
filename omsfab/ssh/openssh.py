"""Long input by the system's ssh, which encrypts in a process of its own, faster than paramiko.

It is used where it can log in without a question, straight to the node; the same files say whom to
trust, and an unknown host key is refused.  Wherever it cannot, before the command has begun, the
caller goes on by its own connection, and says there what is wrong.
"""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from omsfab.command import Command
from omsfab.ssh.config import openssh_answers
from omsfab.ssh.exchange import endless, silent
from omsfab.ssh.streams import Stream
from omsfab.ssh.target import Target
from omsfab.ssh.transport import CIPHERS, MACS, Timeouts

LOGIN = 30.0
"""Seconds until the command has begun, or ssh is given up."""

LOST = 255
"""With this ssh ends where its connection does."""

SOON = 2.0
"""Seconds within which ssh ends once its command has."""

UNSAID = re.compile(r'["\\$]')
"""A path with one of these would be another one in an option."""


def words(target: Target, timeouts: Timeouts) -> list[str]:
    """Return the words of ``ssh`` up to the command; none where it is not to be used."""
    config, files = target.config, target.all_known_hosts
    if target.gateway or config.proxy_command or not openssh_answers():
        return []
    if any(UNSAID.search(str(path)) for path in files):
        return []
    trusted = " ".join(f'"{path}"'.replace("%", "%%") for path in files)
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": trusted,
        "GlobalKnownHostsFile": "/dev/null",
        "NoHostAuthenticationForLocalhost": "no",
        "VerifyHostKeyDNS": "no",
        "UpdateHostKeys": "no",
        "CheckHostIP": "no",  # some versions write the address into known_hosts
        "AddKeysToAgent": "no",
        "ProxyJump": "none",
        "ControlMaster": "no",
        "ControlPath": "none",
        "ClearAllForwardings": "yes",
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "PermitLocalCommand": "no",
        "RequestTTY": "no",
        "Compression": "no",
        "LogLevel": "ERROR",
        "ConnectTimeout": f"{config.connect_timeout or timeouts.connect:.0f}",
        "ConnectionAttempts": "1",
        "ServerAliveInterval": f"{timeouts.keepalive:.0f}",
        "ServerAliveCountMax": f"{timeouts.silence / timeouts.keepalive:.0f}",
        "Ciphers": ",".join(CIPHERS),
        "MACs": ",".join(MACS),
    }
    given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    key = ["-i", target.key] if target.key else []
    return ["ssh", *given, *key, "-p", str(config.port), "-l", config.user, "--", config.name]


@dataclass(frozen=True, slots=True)
class Spoken:
    """What came of a command; ``status`` is None where ssh ended without one."""

    status: int | None = None
    why: str = ""
    """Why it was given up, if it was."""


@contextmanager
def begun(ssh: Sequence[str], out: Stream, err: Stream) -> Iterator[Process | None]:
    """A command that runs on a node, and has read nothing yet; None where ssh did not get there.

    ``ssh`` are all words, the command is the last one.  Its process ends with this.
    """
    try:
        process = subprocess.Popen(
            ssh,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C detaches: it is not for ssh
        )
    except OSError:
        yield None
        return
    with process, selectors.DefaultSelector() as ready:
        try:
            running = Process(process, ready, out, err)
            yield running if running.begins() else None
        finally:
            process.kill()


class Process:
    """A command on a node, and the process of ``ssh`` that carries its input and its output."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        ready: selectors.BaseSelector,
        out: Stream,
        err: Stream,
    ) -> None:
        assert process.stdin and process.stdout and process.stderr  # noqa: S101 - all are pipes
        self._process, self._stdin, self._ready = process, process.stdin, ready
        self.out, self.err = out, err
        os.set_blocking(self._stdin.fileno(), False)
        ready.register(process.stdout, selectors.EVENT_READ, out)
        ready.register(process.stderr, selectors.EVENT_READ, err)

    def begins(self) -> bool:
        """Whether ssh logs in, and the command begins."""
        end = time.monotonic() + LOGIN
        while not self.out.begun and self._hears() and time.monotonic() < end:
            self._look()
        return self.out.begun

    def feed(self, cmd: Command, chunks: Iterable[bytes]) -> Spoken:
        """Give it the chunks, and read what it says until it has ended."""
        left, rest = iter(chunks), b""
        more = True
        self._ready.register(self._stdin, selectors.EVENT_WRITE)
        moved = fed = time.monotonic()
        while self._hears() and not (self._ended() and self._process.poll() is not None):
            busy = self._look()
            now = time.monotonic()
            if self._stdin in busy:
                rest = self._write(rest or next(left, b""))
                if more and self._stdin.closed:
                    more, fed = False, now
            if not more and now - fed > cmd.patience:
                return Spoken(why=endless(cmd))
            if busy:
                moved = now
            elif now - moved > cmd.limit:
                return Spoken(why=silent(cmd))
        return self._over()

    def _over(self) -> Spoken:
        self.out.finish()
        self.err.finish()
        try:
            status = self._process.wait(SOON)
        except subprocess.TimeoutExpired:
            return Spoken()
        told = self._ended() and 0 <= status < LOST  # below 0 ssh itself was killed
        return Spoken(status if told else None)

    def _ended(self) -> bool:
        return self.out.ended and self.err.ended

    def _hears(self) -> bool:
        """Whether anything may come yet."""
        return any(key.data for key in self._ready.get_map().values())

    def _look(self) -> list[object]:
        """Read what has come; return the pipes that were ready."""
        ready = self._ready.select(0.2)
        for key, _ in ready:
            if isinstance(key.data, Stream):
                data = os.read(key.fd, 1 << 16)
                key.data.feed(data)
                if not data:
                    self._ready.unregister(key.fileobj)
        return [key.fileobj for key, _ in ready]

    def _write(self, chunk: bytes) -> bytes:
        """Return what did not go; the input ends where there is none, or nobody reads any more."""
        try:
            if chunk:
                return chunk[os.write(self._stdin.fileno(), chunk) :]
        except BlockingIOError:
            return chunk
        except OSError:
            pass  # what it says tells why
        self._ready.unregister(self._stdin)
        with suppress(OSError):
            self._stdin.close()
        return b""
