"""The way to a node: sockets, transports, gateways, host keys; and what is said without one."""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import paramiko
from fabric import Config, Connection
from paramiko.common import cMSG_GLOBAL_REQUEST
from paramiko.packet import Packetizer
from paramiko.ssh_exception import IncompatiblePeer

from omsfab.commands.next_line import chain, fab, shell
from omsfab.errors import (
    InputError,
    Next,
    OmsfabError,
    PreflightError,
    SecurityRefusal,
    Unreachable,
)
from omsfab.fleet.model import Node, Ssh
from omsfab.ssh import config, host_keys
from omsfab.ssh.host_keys import HostKey

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # our errors say it, once

TRIES = 3
"""How often a slow or dropped connection is tried; refusals of any kind are final."""

DEFAULT_KEYS = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
"""Whose keys ``ssh`` offers where no file is named."""

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
class Patience:
    """Seconds.  A dead peer is noticed ``silence`` after its last sign of life."""

    connect: float = 10
    banner: float = 20
    auth: float = 20
    channel: float = 15
    keepalive: float = 10
    silence: float = 40
    again: float = 1
    """The pause before the second try; before the third it is twice as long."""


class Ear(Packetizer):
    """Remembers when the peer was last heard."""

    heard = 0.0

    def read_message(self) -> Any:
        message = super().read_message()
        self.heard = time.monotonic()
        return message


class Line(paramiko.Transport):
    """A transport that is quick, asks the peer for signs of life, and knows when they stop."""

    packetizer: Ear

    def __init__(
        self,
        sock: Any,
        disabled_algorithms: Mapping[str, list[str]] | None = None,
        patience: Patience = Patience(),
        known: Sequence[paramiko.PKey] = (),
    ) -> None:
        """Of several host keys the peer shall show one of a type that is known."""
        super().__init__(sock, disabled_algorithms=disabled_algorithms, packetizer_class=Ear)
        self._patience = patience
        self.handshake_timeout = patience.banner
        options = self.get_security_options()
        options.ciphers = CIPHERS
        options.digests = MACS
        strong = (name for name in options.kex if not name.endswith("-sha1"))
        options.kex = (KEX_FIRST, *(name for name in strong if name != KEX_FIRST))
        ours = {key.get_name() for key in known}
        options.key_types = sorted(
            options.key_types, key=lambda t: ("ssh-rsa" if t.startswith("rsa-") else t) not in ours
        )
        if isinstance(sock, socket.socket):
            for level, name, value in SOCKET_OPTIONS:
                sock.setsockopt(level, name, value)

    def watch(self) -> None:
        """From now on a peer that does not answer is a dead one."""
        self.packetizer.heard = time.monotonic()
        self.packetizer.set_keepalive(self._patience.keepalive, self._ask)
        WATCHDOG.add(self)

    def silent(self) -> bool:
        return time.monotonic() - self.packetizer.heard > self._patience.silence

    def _ask(self) -> None:
        # paramiko's own keepalive wants no reply, so it proves nothing but an open socket.
        message = paramiko.Message()
        message.add_byte(cMSG_GLOBAL_REQUEST)
        message.add_string("keepalive@openssh.com")
        message.add_boolean(True)
        self._send_user_message(message)  # type: ignore[attr-defined]


class Watchdog:
    """Closes silent lines from outside: whoever waits on one may be stuck in a blocked write."""

    def __init__(self) -> None:
        self._lines: weakref.WeakSet[Line] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, line: Line) -> None:
        with self._lock:
            self._lines.add(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="watchdog", daemon=True)
                self._thread.start()

    def _look(self) -> None:
        while True:
            time.sleep(0.5)
            with self._lock:
                lines = [line for line in self._lines if line.is_active()]
            for line in lines:
                if line.silent():
                    line.close()


WATCHDOG = Watchdog()


class Way(Connection):  # type: ignore[misc]  # Fabric ships no types
    """A Connection by the gateways that OpenSSH would take.

    Fabric takes ``ProxyJump none`` for a machine, and goes through several hops in reverse order.
    """

    first: tuple[str, ...] = ()
    """The files whose keys are offered first; with IdentitiesOnly no others are."""
    only = False

    def get_gateway(self) -> Connection | str | None:
        hops = self.ssh_config.get("proxyjump")
        if hops is None:
            way: Connection | str | None = super().get_gateway()
            return way
        way = None
        for hop in hops.split(",") if hops.lower() != "none" else ():
            hop = hop.strip().removeprefix("ssh://")
            if self.derive_shorthand(hop)["host"] in (self.original_host, self.host):
                return None  # a gateway for all machines, itself one of them
            way = Way(hop, gateway=way, config=self.config.clone())
        return way


class Chosen:
    """The agent's keys, those that the files name first: sshd hears only so many (MaxAuthTries).

    ``only`` those, with IdentitiesOnly: of a key with a passphrase none but the agent's can be had.
    An agent that is none, or speaks otherwise, has no key; it is asked when the files have failed.
    """

    def __init__(self, files: Sequence[str], *, only: bool) -> None:
        self._only = only
        self._agent: paramiko.Agent | None = None
        self._named: set[bytes] = set()
        for file in files:
            public = Path(file if file.endswith(".pub") else f"{file}.pub")
            with contextlib.suppress(OSError, ValueError, IndexError):
                self._named.add(base64.b64decode(public.read_text().split()[1]))

    def get_keys(self) -> tuple[paramiko.AgentKey, ...]:
        with contextlib.suppress(paramiko.SSHException):
            self._agent = self._agent or paramiko.Agent()
        keys = self._agent.get_keys() if self._agent else ()
        ours = [key for key in keys if key.blob in self._named]
        others = [key for key in keys if key not in ours and not self._only]
        return (*ours, *others)

    def close(self) -> None:
        if self._agent:
            self._agent.close()


class Dialer:
    """Opens connections to the nodes of one fleet; those behind one gateway share it.

    ``~/.ssh/config`` and the agent are honoured.  Host keys are always checked, the gateway's too.
    """

    def __init__(self, ssh: Ssh, patience: Patience = Patience()) -> None:
        self._ssh = ssh
        self._patience = patience
        self._lock = threading.Lock()
        self._gateways: dict[tuple[object, ...], Gateway] = {}
        self._ssh_config = config.read()
        self._host_keys = host_keys.load(ssh)
        if ssh.key and not ssh.key.expanduser().is_file():
            raise InputError(
                "SSH-007",
                f"the key file {ssh.key} does not exist",
                where="ssh.key in hosts.yaml",
                fix="write the path of a private key, or leave ssh.key out and use the agent",
                next=fab("fleet.show"),
            )

    def dial(self, node: Node, tries: int = TRIES) -> Connection:
        """Return a Connection to the node that is open and watched.

        Raises Unreachable, PreflightError (no authentication) or SecurityRefusal (host key).
        """
        connection = self._connection(node)
        self._open(connection, node.name, tries)
        return connection

    def scan(self, node: Node) -> HostKey:
        """Return the key the node shows now, without trusting it and without logging in."""
        connection = self._connection(node)
        reach = Reach(node.name, connection, known=host_keys.known_hosts(self._ssh))
        line: Line | None = None
        try:
            line = Line(self._socket(connection), patience=self._patience)
            line.banner_timeout = self._patience.banner
            line.start_client()
            return host_keys.seen(connection.host, connection.port, line.get_remote_server_key())
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise reach.explain(error, self._patience) from error
        finally:
            if line:
                line.close()

    def beside_gateway(self, node: Node, host: str, port: int) -> paramiko.Channel:
        """Return a channel from the gateway of the node to another host."""
        gateway = self._connection(node).gateway
        if not isinstance(gateway, Connection):
            raise InputError(
                "SSH-016",
                f"there is no gateway on the way to {node.name}",
                where="metadb.through in hosts.yaml",
                fix="write ssh.gateway, or name a node that reaches the MetaDB",
                next=fab("fleet.check"),
            )
        return self._shared(gateway).channel(host, port)

    def close(self) -> None:
        """End the gateways; connections through them end as well."""
        with self._lock:
            gateways, self._gateways = self._gateways, {}
        for gateway in gateways.values():
            gateway.connection.close()

    def by_hand(self, node: Node, text: str, note: str = "") -> Next:
        """Return a line to paste that does this on the node as root."""
        c = self._connection(node)
        sudo = "" if c.user == "root" else "sudo "
        reach = Reach(node.name, c, known=host_keys.known_hosts(self._ssh))
        return reach.by_hand(f"{sudo}{text}", note)

    def _connection(self, node: Node) -> Connection:
        """A Fabric Connection, not open.  Each has a Config of its own: a shared one grows."""
        ssh = self._ssh
        kwargs: dict[str, object] = {
            "banner_timeout": self._patience.banner,
            "auth_timeout": self._patience.auth,
            "channel_timeout": self._patience.channel,
        }
        if ssh.key:
            kwargs["key_filename"] = [str(ssh.key.expanduser())]
        config = Config(overrides={"connect_kwargs": kwargs}, ssh_config=self._ssh_config())
        try:
            connection = Way(
                node.address or node.ip,
                user=node.user or ssh.user,
                port=node.port or ssh.port,
                gateway=Way(ssh.gateway, config=config.clone()) if ssh.gateway else None,
                config=config,
            )
        except (ValueError, LookupError, RecursionError, paramiko.SSHException) as error:
            circle = isinstance(error, RecursionError)
            raise InputError(
                "SSH-014",
                f"what ~/.ssh/config says of {node.name} cannot be used",
                where=f"{node.address or node.ip} in ~/.ssh/config or /etc/ssh/ssh_config",
                evidence="ProxyJump leads in a circle" if circle else str(error),
                fix="mend the lines for that machine",
                next=fab("fleet.check"),
            ) from error
        for hop in _hops(connection):
            _settle_keys(hop)
        return connection

    def _open(self, connection: Connection, name: str, tries: int = TRIES) -> None:
        reach = Reach(name, connection, known=host_keys.known_hosts(self._ssh))
        for again in range(tries - 1, -1, -1):
            try:
                return self._login(connection, reach)
            except (OSError, EOFError, paramiko.SSHException) as error:
                problem = reach.explain(error, self._patience)
                if not again or not isinstance(problem, Unreachable) or not _passing(error):
                    raise problem from error
                time.sleep(self._patience.again * (tries - again))

    def _login(self, connection: Connection, reach: Reach) -> None:
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(Judge(reach, self._host_keys))
        name = host_keys.name_of(connection.host, connection.port)
        line = partial(Line, patience=self._patience, known=self._host_keys.of(name))
        client._agent = Chosen(connection.first, only=connection.only)  # type: ignore[attr-defined]
        sock = self._socket(connection)
        try:
            client.connect(
                hostname=connection.host,
                port=connection.port,
                username=connection.user,
                sock=sock,
                transport_factory=line,
                **connection.connect_kwargs,
            )
        except BaseException:
            client.close()
            sock.close()
            raise
        connection.client = client
        connection.transport = client.get_transport()
        connection.transport.watch()

    def _socket(self, connection: Connection) -> Any:
        if isinstance(connection.gateway, str):  # a ProxyCommand of ~/.ssh/config
            return connection.open_gateway()
        if connection.gateway:
            return self._shared(connection.gateway).channel(connection.host, connection.port)
        timeout = connection.connect_timeout or self._patience.connect
        return socket.create_connection((connection.host, connection.port), timeout)

    def _shared(self, connection: Connection) -> Gateway:
        key = tuple((hop.user, hop.host, hop.port) for hop in _hops(connection))
        with self._lock:
            if key not in self._gateways:
                self._gateways[key] = Gateway(connection, self._open)
            return self._gateways[key]


class Gateway:
    """One connection to a jump host for all nodes behind it: it would drop fifty at once."""

    def __init__(self, connection: Connection, opener: Callable[[Connection, str], None]) -> None:
        self.connection = connection
        self._opener = opener
        self._lock = threading.Lock()

    def channel(self, host: str, port: int) -> paramiko.Channel:
        """Return a channel that the gateway forwards to the host; opens the gateway if need be."""
        with self._lock:
            if not self.connection.is_connected:
                self._opener(self.connection, f"gateway {self.connection.original_host}")
        channel: paramiko.Channel = self.connection.transport.open_channel(
            "direct-tcpip", (host, port), ("", 0)
        )
        return channel


@dataclass(frozen=True, slots=True)
class Reach:
    """Whom we try to reach; it puts what came in between into words."""

    name: str
    connection: Connection
    known: Path

    @property
    def where(self) -> str:
        c = self.connection
        via = f" via {c.gateway.user}@{c.gateway.host}" if isinstance(c.gateway, Connection) else ""
        return f"{self.name} ({c.user}@{host_keys.name_of(c.host, c.port)}{via})"

    def by_hand(self, text: str = "true", note: str = "") -> Next:
        """The same connection by OpenSSH, to be pasted; ``text`` is for the login shell there."""
        c = self.connection
        words = [
            "ssh",
            *(["-t"] if text.startswith("sudo") else []),
            "-o",
            f"UserKnownHostsFile={self.known}",
        ]
        for key in c.connect_kwargs.get("key_filename", [])[:1]:
            words += ["-i", key]
        if hops := _hops(c)[:0:-1]:
            words += ["-J", ",".join(f"{hop.user}@{hop.host}:{hop.port}" for hop in hops)]
        return shell(*words, "-p", str(c.port), f"{c.user}@{c.host}", text, note=note)

    @property
    def trust(self) -> Next:
        if self.name.startswith("gateway "):
            return self.by_hand(note="compare the fingerprint, then answer yes")
        return fab("node.trust", node=self.name)

    def _replace(self, new: str) -> Next:
        if self.name.startswith("gateway "):
            host = host_keys.name_of(self.connection.host, self.connection.port)
            return chain(shell("ssh-keygen", "-R", host, "-f", str(self.known)), self.by_hand())
        return fab("node.trust", node=self.name, replace=new)

    def unknown(self, key: paramiko.PKey) -> SecurityRefusal:
        return SecurityRefusal(
            "SSH-009",
            f"the host key of {self.name} is not known ({host_keys.fingerprint(key)})",
            where=self.where,
            evidence=f"no key for it in {self.known}",
            next=self.trust,
        )

    def changed(self, old: str, new: str) -> SecurityRefusal:
        return SecurityRefusal(
            "SSH-010",
            f"host key of {self.name} changed ({old} -> {new})",
            where=self.where,
            evidence=f"{old} is in {self.known}",
            next=self._replace(new),
        )

    def revoked(self, key: paramiko.PKey) -> SecurityRefusal:
        return SecurityRefusal(
            "SSH-017",
            f"{self.name} shows a host key that is revoked ({host_keys.fingerprint(key)})",
            where=self.where,
            evidence=f"a line @revoked in {self.known} or {host_keys.SYSTEM}",
            fix=f"give {self.name} a new host key, or take the line away",
            next=fab("fleet.check"),
        )

    def explain(self, error: Exception, patience: Patience) -> OmsfabError:
        """Return the error an operator can act on."""
        if isinstance(error, paramiko.PasswordRequiredException):
            files = self.connection.connect_kwargs.get("key_filename", [])
            return PreflightError(
                "SSH-004",
                f"{self.name}: the key has a passphrase, and no agent holds it",
                where=self.where,
                evidence=", ".join(files) or str(error),
                next=shell("ssh-add", *files),
            )
        kind, id, what = _kind(error, patience)
        text = str(error) or type(error).__name__
        return kind(
            id, f"{self.name}: {what}", where=self.where, evidence=text, next=self.by_hand()
        )


def _kind(error: Exception, patience: Patience) -> tuple[type[OmsfabError], str, str]:
    """Which error of the tree, its id, and the sentence."""
    text = str(error)
    silent = isinstance(error.__context__, TimeoutError) or "Indecipherable" in text
    if isinstance(error, IncompatiblePeer):
        return PreflightError, "SSH-006", "it speaks no algorithm that we accept"
    if isinstance(error, paramiko.AuthenticationException) and "timeout" in text.lower():
        return Unreachable, "SSH-002", f"no answer to the login in {patience.auth:g} s"
    if isinstance(error, paramiko.AuthenticationException) or "authentication" in text:
        return PreflightError, "SSH-004", "it lets us not in: no key of ours is accepted"
    if isinstance(error, socket.gaierror):
        return Unreachable, "SSH-005", "its name has no address"
    if isinstance(error, TimeoutError) or "Timeout opening" in text:
        return Unreachable, "SSH-002", f"no connection in {patience.connect:g} s"
    if isinstance(error, ConnectionRefusedError | paramiko.ChannelException):
        return Unreachable, "SSH-001", "the connection is refused"
    if silent and ("SSH protocol banner" in text or "Indecipherable" in text):
        return Unreachable, "SSH-003", f"no SSH banner in {patience.banner:g} s: is this port SSH?"
    if isinstance(error, OSError) and not isinstance(error, ConnectionError):
        return Unreachable, "SSH-001", "it cannot be reached"
    if "No existing session" in text:
        what = "the connection was dropped while keys were offered: more than its MaxAuthTries?"
        return Unreachable, "SSH-008", what
    return Unreachable, "SSH-008", "the connection was dropped before the login"


def _passing(error: Exception) -> bool:
    """Whether a second try may help: it was slow, or dropped (sshd does so under load)."""
    slow = isinstance(error, TimeoutError) or "imeout" in str(error)
    dropped = isinstance(error, EOFError | ConnectionResetError | BrokenPipeError)
    lost_banner = isinstance(error, paramiko.SSHException) and not isinstance(
        error.__context__, TimeoutError
    )
    return slow or dropped or (lost_banner and not isinstance(error, paramiko.ChannelException))


class Judge(paramiko.MissingHostKeyPolicy):
    """Whether a machine may show this key.  The client knows none itself, so each comes here."""

    def __init__(self, reach: Reach, known: host_keys.Known) -> None:
        self._reach = reach
        self._known = known

    def missing_host_key(
        self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        ours = sorted(self._known.of(hostname), key=lambda k: k.get_name() != key.get_name())
        if key.asbytes() in self._known.revoked:
            raise self._reach.revoked(key)
        if not ours:
            raise self._reach.unknown(key)
        if key.asbytes() not in {one.asbytes() for one in ours}:
            raise self._reach.changed(*map(host_keys.fingerprint, (ours[0], key)))


def _hops(connection: Connection) -> list[Connection]:
    """The connection and its gateways, the last one first."""
    hops = [connection]
    while isinstance(hops[-1].gateway, Connection):
        hops.append(hops[-1].gateway)
    return hops


def _settle_keys(connection: Connection) -> None:
    """What OpenSSH does and paramiko does not: missing files are no error, IdentitiesOnly holds."""
    kwargs = connection.connect_kwargs = dict(connection.connect_kwargs)
    names = list(dict.fromkeys(map(os.path.expanduser, kwargs.get("key_filename", ()))))
    kwargs["key_filename"] = [name for name in names if os.path.isfile(name)]
    connection.first = tuple(names or map(os.path.expanduser, DEFAULT_KEYS))
    if connection.ssh_config.get("identitiesonly", "no") == "yes":
        kwargs["look_for_keys"] = False
        connection.only = True
