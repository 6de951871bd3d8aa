"""The SSH transport, and what paramiko must be helped with; only here are its private parts used.

- ``_send_user_message``: a keepalive that wants a reply; paramiko's own wants none, so that it
  proves an open socket and no living peer (paramiko issues 503, 918, 2463).
- ``_send_eof``, ``Channel.lock``: an EOF that is never sent behind the CLOSE of its channel
  (paramiko issues 1115, 1584, 1705).
- ``AgentSSH._connect``, ``_close``: an agent at another socket than SSH_AUTH_SOCK, for
  IdentityAgent (paramiko issue 2315).
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import paramiko
from paramiko.agent import AgentSSH
from paramiko.common import cMSG_GLOBAL_REQUEST
from paramiko.packet import Packetizer

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # our errors say it, once

CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr")
MACS = (
    "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256", "hmac-sha2-512",
)  # fmt: skip
"""None of MD5 or SHA-1, and none cut short: every sshd since OpenSSH 5.9 has these."""

KEX_FIRST = "curve25519-sha256@libssh.org"  # the post-quantum exchange costs 3 times as much

SOCKET_OPTIONS = tuple(
    (level, getattr(socket, name), value)
    for level, name, value in (
        (socket.IPPROTO_TCP, "TCP_NODELAY", 1),  # paramiko does not: 44 ms per command, not 2
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 10),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 5),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 5),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 30_000),
    )
    if hasattr(socket, name)
)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds.  A dead peer is noticed ``silence`` after its last sign of life."""

    connect: float = 10
    banner: float = 20
    auth: float = 20
    channel: float = 15
    keepalive: float = 10
    silence: float = 40
    retry: float = 1
    """The pause before the second try; before the third it is twice as long."""


class HeardPacketizer(Packetizer):
    """Remembers when the peer was last heard."""

    heard = 0.0

    def read_message(self) -> Any:
        message = super().read_message()
        self.heard = time.monotonic()
        return message


class WatchedTransport(paramiko.Transport):
    """A transport that is quick, asks the peer for signs of life, and knows when they stop."""

    packetizer: HeardPacketizer

    def __init__(
        self, sock: Any, timeouts: Timeouts = Timeouts(), known: Sequence[paramiko.PKey] = ()
    ) -> None:
        """Of several host keys the peer shall show one of a type that is known."""
        # Seconds between two looks at what does not come by the line (signs of life to be asked
        # for, a new exchange of keys); by paramiko's own 0.1 two hundred idle connections take a
        # tenth of a core.
        self._active_check_timeout = timeouts.keepalive / 5
        super().__init__(sock, packetizer_class=HeardPacketizer)
        self._timeouts = timeouts
        self.handshake_timeout = self.banner_timeout = timeouts.banner
        self.auth_timeout = timeouts.auth
        self.channel_timeout = timeouts.channel
        options = self.get_security_options()
        options.ciphers = CIPHERS
        options.digests = MACS
        strong = (name for name in options.kex if not name.endswith("-sha1"))
        options.kex = (KEX_FIRST, *(name for name in strong if name != KEX_FIRST))
        ours = {key.get_name() for key in known}
        options.key_types = sorted(
            options.key_types, key=lambda t: ("ssh-rsa" if t.startswith("rsa-") else t) not in ours
        )
        if isinstance(sock, socket.socket) and sock.family != socket.AF_UNIX:
            for level, name, value in SOCKET_OPTIONS:
                sock.setsockopt(level, name, value)

    def watch(self) -> None:
        """From now on a peer that does not answer is a dead one."""
        self.packetizer.heard = time.monotonic()
        self.packetizer.set_keepalive(self._timeouts.keepalive, self._ask)
        WATCHDOG.add(self)

    def close(self) -> None:
        """End it, and whoever waits on its socket at once, not at the next look."""
        if isinstance(self.sock, socket.socket):
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
        super().close()

    def silent(self) -> bool:
        return time.monotonic() - self.packetizer.heard > self._timeouts.silence

    def forward(self, host: str, port: int) -> paramiko.Channel:
        """Return a TCP connection from the machine to there, which its sshd forwards."""
        return self.open_channel(
            "direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=self._timeouts.channel
        )

    def _ask(self) -> None:
        message = paramiko.Message()
        message.add_byte(cMSG_GLOBAL_REQUEST)
        message.add_string("keepalive@openssh.com")
        message.add_boolean(True)
        self._send_user_message(message)  # type: ignore[attr-defined]


class Watchdog:
    """Closes silent transports from outside: who waits on one may be stuck in a blocked write."""

    def __init__(self) -> None:
        self._transports: weakref.WeakSet[WatchedTransport] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, transport: WatchedTransport) -> None:
        with self._lock:
            self._transports.add(transport)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
                self._thread.start()

    def _watch(self) -> None:
        while True:
            time.sleep(0.5)
            with self._lock:
                transports = [one for one in self._transports if one.is_active()]
            for transport in transports:
                if transport.silent():
                    transport.close()


WATCHDOG = Watchdog()


def end_input(channel: paramiko.Channel) -> None:
    """Send EOF, or nothing if the command has ended by itself.

    paramiko's own shutdown sends it outside the lock, so behind the CLOSE that answers a command
    which ends just then; sshd drops the whole transport for that.  The first wait is for a new
    exchange of keys: it could not end while we held the lock.
    """
    transport = channel.get_transport()
    transport.clear_to_send.wait(transport.clear_to_send_timeout)
    with channel.lock:
        message = channel._send_eof()  # type: ignore[attr-defined]
        if message is not None:
            transport._send_user_message(message)  # type: ignore[attr-defined]


@contextlib.contextmanager
def agent_keys(path: str) -> Iterator[Sequence[paramiko.AgentKey]]:
    """The keys of the agent at this socket; an agent that is none, or speaks otherwise, has none.

    The agent stays connected until the block ends: it signs with what it has given.
    """
    agent = AgentSSH()
    connection = socket.socket(socket.AF_UNIX)
    try:
        with contextlib.suppress(OSError, ValueError, paramiko.SSHException):
            connection.settimeout(AGENT)
            connection.connect(os.path.expanduser(path))
            agent._connect(connection)  # type: ignore[attr-defined]
            connection.settimeout(None)  # a person may have to confirm a signature
        yield agent.get_keys()
    finally:
        connection.close()


AGENT = 10
"""Seconds: a forwarded agent whose other end has gone never answers."""


def as_socket(channel: paramiko.Channel) -> socket.socket:
    """A real socket, since TLS and time limits want one, joined to the channel by two threads."""
    ours, theirs = socket.socketpair()

    def out() -> None:
        with contextlib.suppress(OSError, EOFError):
            while data := theirs.recv(1 << 16):
                channel.sendall(data)
        with contextlib.suppress(OSError, EOFError):  # its connection may have ended meanwhile
            channel.close()

    def back() -> None:
        with contextlib.suppress(OSError, EOFError):
            while data := channel.recv(1 << 16):
                theirs.sendall(data)
        with contextlib.suppress(OSError):
            theirs.shutdown(socket.SHUT_RDWR)
        theirs.close()

    for work in (out, back):
        threading.Thread(target=work, name="forwarded", daemon=True).start()
    return ours
