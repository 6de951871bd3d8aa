"""A Shell over SSH: commands, files, and what to think when the connection drops."""

from __future__ import annotations

import re
import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import paramiko

from omsfab.command import Command, framed, shown
from omsfab.errors import LostSession, Next, NoAnswer, OmsfabError, PreflightError, Unreachable
from omsfab.fleet.model import Node, Ssh
from omsfab.secret import Secret
from omsfab.ssh import files, transfer
from omsfab.ssh.dialer import TRIES, Dialer
from omsfab.ssh.exchange import PACKET, Exchange
from omsfab.ssh.host_keys import HostKey
from omsfab.ssh.protocol import OnBytes, OnLine, Result
from omsfab.ssh.streams import Stream
from omsfab.ssh.transport import WatchedTransport, as_socket

SUDO_REFUSALS = (
    ("SUDO-001", r"password is required|no tty present|a terminal is required", "wants a password"),
    ("SUDO-002", r"must have a tty", "wants a terminal (requiretty)"),
    ("SUDO-003", r"not in the sudoers|is not allowed to|may not run sudo", "does not allow it"),
    ("SUDO-004", r"sudo: (command )?not found", "is not installed"),
)


def connect(nodes: Iterable[Node], ssh: Ssh) -> dict[str, SshShell]:
    """Return a shell for each node, by name; they share gateways, and none is open yet."""
    dialer = Dialer(ssh)
    return {node.name: SshShell(node, ssh, dialer) for node in nodes}


def scan(node: Node, ssh: Ssh) -> HostKey:
    """Return the host key the node shows now, without trusting it: for ``fab node.trust``."""
    dialer = Dialer(ssh)
    try:
        return dialer.scan(node)
    finally:
        dialer.close()


class SshShell:
    """One node over SSH.  It connects when it is first used, and again after a lost session."""

    def __init__(self, node: Node, ssh: Ssh, dialer: Dialer | None = None) -> None:
        self.node = node.name
        self.guard: Callable[[], None] = lambda: None
        self.connections = 0
        self._target = node
        self._sudo = ssh.sudo
        self._dialer = dialer or Dialer(ssh)
        self._transport: WatchedTransport | None = None
        self._lock = threading.Lock()

    def open(self) -> None:
        """Connect now, if there is no connection."""
        self._connected()

    def close(self) -> None:
        """End the connection; a later call opens a new one."""
        with self._lock:
            transport, self._transport = self._transport, None
        if transport:
            transport.close()

    def run(self, cmd: Command, on_line: OnLine | None = None) -> Result:
        """Run the words; the status is returned, whatever it is.

        ``out`` and ``err`` keep at most 8 MB each (head and tail); ``on_line`` sees every line.
        Raises LostSession when the session ends without a status, StepFailed when ``cmd.limit``
        seconds pass in silence, Unreachable when no connection can be had, PreflightError
        SUDO-00x when sudo refuses.
        """
        return self.feed(cmd, _pieces(cmd.stdin), on_line)

    def feed(self, cmd: Command, chunks: Iterable[bytes], on_line: OnLine | None = None) -> Result:
        """Run the words with the chunks (of at most PACKET bytes) as their standard input."""
        self.guard()
        mark = f"omsfab-{secrets.token_hex(8)}"
        out, err = Stream(mark, on_line), Stream(mark, on_line)
        channel = self._session()
        try:
            channel.exec_command(framed(cmd, mark, sudo=self._sudo))
            why = Exchange(channel, iter(chunks), out, err, cmd).run()
            if why:
                raise self._no_answer(cmd, why)
            status = channel.recv_exit_status()
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._lost(cmd, str(error), channel) from error
        finally:
            channel.close()
        if status == -1:
            raise self._lost(cmd, err.text() or err.noise, channel)
        if not out.begun:
            raise self._no_shell(status, err.noise or out.noise)
        result = Result(status, out.text(), err.text())
        if self._sudo and status:
            self._refuse_if_sudo_did(result)
        return result

    def write(self, path: str, content: Secret, mode: int | None, backup: str) -> None:
        """Replace the content of a file in place, so that a bind mount keeps its inode.

        What was in it is kept at ``backup`` (0600), unless there is a backup already: a second
        try must not take a half-written file for the former content.  Symbolic links are followed.
        """
        files.write(self, path, content, mode, backup)

    def send(
        self,
        source: Path,
        dest: str,
        size: int,
        sha256: str,
        on_bytes: OnBytes,
        on_lost: OnLine = lambda _: None,
    ) -> None:
        """Send a file through ``dest.part``, resumed at a verified offset; see transfer.send."""
        transfer.send(self, source, dest, size, sha256, on_bytes, on_lost)

    def ssh_line(self, text: str, note: str = "") -> Next:
        """Return a line for the operator's own shell, which does this on the node as root."""
        return self._dialer.ssh_line(self._target, text, note)

    def forward(self, host: str, port: int) -> socket.socket:
        """Return a TCP connection from the node to there, which its sshd forwards.

        Raises OSError where it cannot be had from the node.
        """
        return self._joined(lambda: self._connected().forward(host, port))

    def forward_from_gateway(self, host: str, port: int) -> socket.socket:
        """Return a TCP connection from the gateway of this node; the same errors."""
        return self._joined(lambda: self._dialer.forward_from_gateway(self._target, host, port))

    def _joined(self, forward: Callable[[], paramiko.Channel]) -> socket.socket:
        try:
            return as_socket(forward())
        except (EOFError, paramiko.SSHException) as error:
            raise ConnectionError(str(error) or type(error).__name__) from error

    def _connected(self, tries: int = TRIES) -> WatchedTransport:
        with self._lock:
            if self._transport is None or not self._transport.is_active():
                self._transport = self._dialer.dial(self._target, tries)
                self.connections += 1
            return self._transport

    def _drop(self, transport: paramiko.Transport) -> None:
        """End this transport.  Another thread may have a younger one already, and work on it."""
        with self._lock:
            if self._transport is not transport:
                return
            self._transport = None
        transport.close()

    def _session(self) -> paramiko.Channel:
        """A channel for one command.  A connection found dead here has carried nothing yet: open
        another.

        That one is tried once: the time until a dead node is told of is running already.
        """
        for again in (True, False):
            transport = self._connected(TRIES if again else 1)
            try:
                return transport.open_session()
            except (OSError, EOFError, paramiko.SSHException) as error:
                self._drop(transport)
                if not again:
                    raise Unreachable(
                        "SSH-022",
                        f"{self.node} opens no session",
                        where=self.node,
                        evidence=str(error) or type(error).__name__,
                        next=self.ssh_line("sshd -T", "maxsessions, maxstartups; and its load"),
                    ) from error
        raise AssertionError("unreachable")

    def _lost(self, cmd: Command, evidence: str, channel: paramiko.Channel) -> LostSession:
        self._drop(channel.get_transport())
        return LostSession(
            "SSH-020",
            f"the session to {self.node} ended without an exit status; the command may still run",
            where=self.node,
            evidence=f"{shown(cmd)}\n{evidence}".strip(),
        )

    def _no_answer(self, cmd: Command, why: str) -> NoAnswer:
        silent = NoAnswer(
            "SSH-021",
            f"{self.node} {why}",
            where=self.node,
            evidence=f"{shown(cmd)}\nit may still run there",
        )
        silent.waited = cmd.limit
        return silent

    def _no_shell(self, status: int, noise: str) -> OmsfabError:
        return PreflightError(
            "SSH-013",
            f"the login shell of {self.node} did not run the command (status {status})",
            where=self.node,
            evidence=noise,
            fix="give the user a POSIX login shell, and no forced command in authorized_keys",
            next=self.ssh_line("true"),
        )

    def _refuse_if_sudo_did(self, result: Result) -> None:
        user = self._dialer.target(self._target).config.user
        for id, pattern, says in SUDO_REFUSALS:
            if re.search(pattern, result.err):
                raise PreflightError(
                    id,
                    f"sudo on {self.node} {says}",
                    where=f"{user} on {self.node}",
                    evidence=result.err.strip(),
                    next=self.ssh_line(
                        "visudo -f /etc/sudoers.d/omsfab", f"add: {user} ALL=(root) NOPASSWD: ALL"
                    ),
                )


def _pieces(stdin: str | Secret | None) -> Iterator[bytes]:
    text = stdin.reveal() if isinstance(stdin, Secret) else stdin or ""
    data = text.encode()
    return (data[at : at + PACKET] for at in range(0, len(data), PACKET))
