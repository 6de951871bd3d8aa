"""Connections to the nodes of a fleet, directly or through gateways; host keys always checked."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import paramiko

from omsfab import retry
from omsfab.errors import InputError, Next, Unreachable
from omsfab.fleet.model import Node, Ssh
from omsfab.next_line import fab
from omsfab.ssh import diagnosis, host_keys, openssh
from omsfab.ssh.auth import authenticate
from omsfab.ssh.config import SshConfig, circle
from omsfab.ssh.host_keys import HostKey, HostKeyPolicy
from omsfab.ssh.target import Target, known_hosts
from omsfab.ssh.transport import Timeouts, WatchedTransport

TRIES = 3
"""How often a slow or dropped connection is tried; refusals of any kind are final."""

DEFAULT = Timeouts()

BROKEN = (OSError, EOFError, paramiko.SSHException)


class Dialer:
    """Opens connections to the nodes of one fleet; those behind one gateway share it.

    OpenSSH's configuration and the agent are honoured, hosts.yaml wins.  Host keys are always
    checked, the gateways' too.
    """

    def __init__(self, ssh: Ssh, timeouts: Timeouts = DEFAULT) -> None:
        self._ssh = ssh
        self._timeouts = timeouts
        self._lock = threading.Lock()
        self._gateways: dict[tuple[object, ...], SharedGateway] = {}
        self._config = SshConfig()
        self._host_keys = HostKeyPolicy()
        if ssh.key and not ssh.key.expanduser().is_file():
            raise InputError(
                "SSH-007",
                f"the key file {ssh.key} does not exist",
                where="ssh.key in hosts.yaml",
                fix="write the path of a private key, or leave ssh.key out and use the agent",
                next=fab("fleet.show"),
            )

    def dial(self, node: Node, tries: int = TRIES) -> WatchedTransport:
        """Return a connection to the node that is logged in and watched.

        Raises Unreachable, PreflightError (no authentication), SecurityRefusal (host key), or
        InputError (ssh_config).
        """
        return self._connected(self.target(node), tries)

    def scan(self, node: Node) -> HostKey:
        """Return the key the node shows now, without trusting it and without logging in."""
        target = self.target(node)
        transport: WatchedTransport | None = None
        try:
            transport = WatchedTransport(self._socket(target), self._timeouts)
            transport.start_client()
            return host_keys.seen(target, transport.get_remote_server_key())
        except BROKEN as error:
            raise diagnosis.explain(target, error, self._timeouts) from error
        finally:
            if transport:
                transport.close()

    def forward_from_gateway(self, node: Node, host: str, port: int) -> paramiko.Channel:
        """Return a TCP connection from the gateway of the node to another host."""
        gateway = self.target(node).gateway
        if gateway is None:
            raise InputError(
                "SSH-016",
                f"there is no gateway on the way to {node.name}",
                where="metadb.through in hosts.yaml",
                fix="write ssh.gateway, or name a node that reaches the MetaDB",
                next=fab("fleet.check"),
            )
        return self._shared(gateway).forward(host, port)

    def close(self) -> None:
        """End the gateways; connections through them end as well."""
        with self._lock:
            gateways, self._gateways = self._gateways, {}
        for gateway in gateways.values():
            gateway.close()

    def ssh_line(self, node: Node, text: str, note: str = "") -> Next:
        """Return a line to paste that does this on the node as root."""
        target = self.target(node)
        if target.config.user == "root":
            return target.ssh_line(text, note)
        return target.ssh_line(f"sudo {text}", note, asks=True)

    def openssh(self, node: Node) -> list[str]:
        """Return the words of ``ssh`` to the node; none where it is not to be used."""
        return openssh.words(self.target(node), self._timeouts)

    def target(self, node: Node) -> Target:
        """Return the way to the node; nothing is contacted.

        Raises InputError SSH-014 where ssh_config cannot be used.
        """
        ssh = self._ssh
        gateway = self._hop(ssh.gateway, None, ()) if ssh.gateway else None
        name, user = node.address or node.ip, node.user or ssh.user or ""
        return self._target(node.name, name, user, node.port or ssh.port or 0, gateway, ())

    def _target(
        self, label: str, name: str, user: str, port: int, gateway: Target | None,
        inside: tuple[str, ...],
    ) -> Target:  # fmt: skip
        """``inside`` are the machines on whose way we are; a gateway that is given wins."""
        if name in inside:
            raise circle(name)
        ssh, config = self._ssh, self._config.of(name, user, port)
        trusted = known_hosts(ssh, config)
        if gateway is None:
            own = {config.name, config.host}
            hops = config.proxy_jump
            if own.isdisjoint(_parsed(hop)[1] for hop in hops):  # not its own gateway
                for hop in hops:
                    gateway = self._hop(hop, gateway, (*inside, name))
        key = str(ssh.key.expanduser()) if ssh.key else ""
        if key:
            config = replace(config, identity_files=(key, *config.identity_files))
        return Target(label, config, trusted, key, gateway)

    def _hop(self, hop: str, gateway: Target | None, inside: tuple[str, ...]) -> Target:
        user, host, port = _parsed(hop)
        hop_to = self._target(f"gateway {host}", host, user, port, gateway, inside)
        return replace(hop_to, is_gateway=True)

    def _connected(self, target: Target, tries: int = TRIES) -> WatchedTransport:
        def attempt() -> WatchedTransport:
            try:
                return self._login(target)
            except BROKEN as error:
                raise diagnosis.explain(target, error, self._timeouts) from error

        return retry.call(
            attempt,
            on=(Unreachable,),
            again=lambda error: diagnosis.passing(error.__cause__),
            waits=[self._timeouts.retry * n for n in range(1, tries)],
        )

    def _login(self, target: Target) -> WatchedTransport:
        sock = self._socket(target)
        try:
            known = self._host_keys.known(target)
            transport = WatchedTransport(sock, self._timeouts, known)
        except BaseException:
            sock.close()
            raise
        try:
            transport.start_client()
            self._host_keys.check(target, transport.get_remote_server_key())
            authenticate(transport, target.config)
        except BaseException:
            transport.close()
            raise
        transport.watch()
        return transport

    def _socket(self, target: Target) -> Any:
        config = target.config
        if target.gateway:
            return self._shared(target.gateway).forward(config.host, config.port)
        if config.proxy_command:
            return _proxied(config.proxy_command)
        timeout = config.connect_timeout or self._timeouts.connect
        return socket.create_connection((config.host, config.port), timeout)

    def _shared(self, target: Target) -> SharedGateway:
        hops = (hop.config for hop in target.hops)
        key = tuple((hop.user, hop.host, hop.port) for hop in hops)
        with self._lock:
            if key not in self._gateways:
                self._gateways[key] = SharedGateway(target, self._connected)
            return self._gateways[key]


class SharedGateway:
    """One connection to a jump host for all nodes behind it: it would drop fifty at once."""

    def __init__(self, target: Target, connect: Callable[[Target], WatchedTransport]) -> None:
        self._target = target
        self._connect = connect
        self._transport: WatchedTransport | None = None
        self._lock = threading.Lock()

    def forward(self, host: str, port: int) -> paramiko.Channel:
        """Return a TCP connection from the gateway to there; opens the gateway if need be."""
        with self._lock:
            if self._transport is None or not self._transport.is_active():
                self._transport = self._connect(self._target)
            transport = self._transport
        return transport.forward(host, port)

    def close(self) -> None:
        with self._lock:
            if self._transport:
                self._transport.close()


def _parsed(hop: str) -> tuple[str, str, int]:
    """User, host and port of ``[user@]host[:port]``, each empty where it is not said."""
    user, _, rest = hop.strip().removeprefix("ssh://").rstrip("/").rpartition("@")
    host, colon, port = rest.rpartition(":")
    if not colon or not port.isdigit() or (":" in host and not host.endswith("]")):
        host, port = rest, "0"
    return user, host.strip("[]"), int(port)


def _proxied(command: str) -> socket.socket:
    """The connection is the standard input and output of the command, which ends with it.

    What it complains of goes nowhere here; the line to paste shows it.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    threading.Thread(target=process.wait, name="ProxyCommand", daemon=True).start()
    return ours
