"""A file that several nodes are to have leaves the jump host once: each node passes it on.

They are a chain, in the order in which they ask.  The first has the file from the jump host; each
further one reads it from the one before, while it still arrives there, over an sshd that lives as
long as that (commands/scripts/relay_offer.sh).  Its key is made here, is good for that one file,
and is gone afterwards, as the host key is, which is checked.  Whatever goes wrong with it costs
nothing but speed: the file then comes from the jump host, from where it is on.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from omsfab.command import Command
from omsfab.commands import files
from omsfab.errors import OmsfabError
from omsfab.secret import Secret
from omsfab.ssh.protocol import OnLine, Result, Shell

BEHIND = 8 << 20
"""Bytes by which a node is ahead before the next one reads from it: more than the line holds."""

BEGIN = 60.0
"""Seconds that the one before may take until it is so far."""

BEAT = 0.3
"""Seconds between two signs to a node that it shall go on offering."""

_OFFERED = re.compile(r"(\S+) (\d+) (ssh-ed25519 [\w+/=]+)")


class Neighbour(Shell, Protocol):
    """A shell of a node that other nodes know by an address."""

    address: str

    def aside(self, cmd: Command, chunks: Iterator[bytes], on_line: OnLine) -> Result: ...


@dataclass(eq=False)
class Link:
    """One node in the chain of a file."""

    shell: Neighbour
    dest: str
    before: Link | None
    ahead: threading.Event = field(default_factory=threading.Event)
    """Set when it has so much of the file that another may read."""
    failed: bool = False
    tried: bool = False
    """It has had what there was to have from the one before."""
    _start: int = -1

    def reached(self, there: int) -> None:
        """So many bytes are on the node, or on their way to it."""
        if self._start < 0:
            self._start = there
        elif there - self._start >= BEHIND:
            self.ahead.set()

    def fetch(
        self,
        offset: int,
        size: int,
        sha256: str,
        reader: Sequence[str],
        on_line: OnLine,
        tell: OnLine,
    ) -> list[str]:
        """Have the node read the rest from the one before; return what ``files.append`` says.

        Nothing, where there is none before, or it offers nothing, or the node does not reach it.
        ``on_line`` hears how much the node has, ``tell`` where it comes from.  Raises what a
        command on the node raises; then it may be tried again.
        """
        there: list[str] = []
        if source := self._source(tell):
            key = Ed25519PrivateKey.generate()
            with _offered(source, size, key) as offer:
                if offer:
                    user, port, host_key = offer
                    at = (user, source.shell.address, int(port))
                    identity = _identity(f"[{at[1]}]:{port} {host_key}", key)
                    pull = files.pull(self.dest, offset, size, sha256, at, identity, reader)
                    done = self.shell.run(pull, on_line)
                    there = (done.out.splitlines() or [""])[-1].split()
        self.tried = True
        if there != [sha256, str(size)]:
            tell("it comes from the jump host")
        return there

    def _source(self, tell: OnLine) -> Link | None:
        """The nearest one before that has so much of it that this one may read."""
        source = self.before
        while source:
            if not source.failed:
                tell(f"it comes from {source.shell.node}")
                ahead = source.ahead.wait(BEGIN)
                if not source.failed:  # who fails is waited for no longer
                    return source if ahead else None
            source = source.before
        return None


class Relay:
    """The chains of one run, by what the files are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[tuple[str, int], Link] = {}

    @contextmanager
    def link(self, shell: Neighbour, dest: str, size: int, sha256: str) -> Iterator[Link]:
        """Join the chain of this file, for as long as it is sent and beyond."""
        with self._lock:
            link = Link(shell, dest, self._last.get((sha256, size)))
            self._last[sha256, size] = link
        try:
            yield link
            link.ahead.set()
        except BaseException:
            link.failed = True
            link.ahead.set()  # nobody waits for it
            raise


@contextmanager
def _offered(
    source: Link, size: int, key: Ed25519PrivateKey
) -> Iterator[tuple[str, str, str] | None]:
    """The node before offers the file while this lasts: user, port, host key."""
    over, heard = threading.Event(), threading.Event()
    found: list[re.Match[str]] = []

    def signs() -> Iterator[bytes]:
        yield f"{_public(key)}\n".encode()
        while not over.wait(BEAT):
            yield b"\n"

    def told(line: str) -> None:
        if offered := _OFFERED.fullmatch(line):  # a login shell may have words of its own
            found.append(offered)
            heard.set()

    def offer() -> None:
        try:
            source.shell.aside(files.offer(source.dest, size), signs(), told)
        except OmsfabError:
            pass  # then it comes from the jump host
        finally:
            heard.set()

    thread = threading.Thread(target=offer, name=f"relay {source.shell.node}", daemon=True)
    thread.start()
    try:
        heard.wait(BEGIN)
        yield (found[0][1], found[0][2], found[0][3]) if found else None
    finally:
        over.set()
        thread.join(5)  # its line may be dead


def _public(key: Ed25519PrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        .decode()
    )


def _identity(known: str, key: Ed25519PrivateKey) -> Secret:
    """What the reading node needs: whom to trust, and the key."""
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    return Secret(f"{known}\n{private.decode()}")
