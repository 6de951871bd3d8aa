"""A Shell over SSH: commands, files, and what to think when the connection drops."""

from __future__ import annotations

import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import paramiko

from omsfab.command import Command, framed, kept_line, shown
from omsfab.errors import LostSession, Next, NoAnswer, OmsfabError, PreflightError, Unreachable
from omsfab.fleet.model import Node, Ssh
from omsfab.secret import Secret
from omsfab.ssh import files, openssh, transfer
from omsfab.ssh.dialer import TRIES, Dialer
from omsfab.ssh.exchange import PACKET, Exchange
from omsfab.ssh.host_keys import HostKey
from omsfab.ssh.protocol import OnBytes, OnLine, Result
from omsfab.ssh.relay import Relay
from omsfab.ssh.streams import Stream
from omsfab.ssh.transport import WatchedTransport, as_socket

KEPT = 4
"""So many waiting ``sh`` of a node are kept."""

SOON = 2.0
"""Seconds within which a status follows the end of a session."""

SUDO_REFUSALS = (
    ("SUDO-001", r"password is required|no tty present|a terminal is required", "wants a password"),
    ("SUDO-002", r"must have a tty", "wants a terminal (requiretty)"),
    ("SUDO-003", r"not in the sudoers|is not allowed to|may not run sudo", "does not allow it"),
    ("SUDO-004", r"sudo: (command )?not found", "is not installed"),
)


def connect(nodes: Iterable[Node], ssh: Ssh, tries: int = TRIES) -> dict[str, SshShell]:
    """Return a shell for each node, by name; they share gateways, and none is open yet.

    ``tries`` is how often a slow or dropped connection is tried.
    """
    dialer = Dialer(ssh)
    relay = Relay()
    return {node.name: SshShell(node, ssh, dialer, tries, relay) for node in nodes}


def scan(node: Node, ssh: Ssh) -> HostKey:
    """Return the host key the node shows now, without trusting it: for ``fab node.trust``."""
    dialer = Dialer(ssh)
    try:
        return dialer.scan(node)
    finally:
        dialer.close()


class _Gone(Exception):
    """A waiting ``sh`` has ended before it was given a command."""


class SshShell:
    """One node over SSH.  It connects when it is first used, and again after a lost session."""

    def __init__(
        self,
        node: Node,
        ssh: Ssh,
        dialer: Dialer | None = None,
        tries: int = TRIES,
        relay: Relay | None = None,
    ) -> None:
        self.node, self.address = node.name, node.ip
        self._relay = relay
        self.guard: Callable[[], None] = lambda: None
        self.connections = 0
        self._target = node
        self._sudo = ssh.sudo
        self._tries = tries
        self._dialer = dialer or Dialer(ssh)
        self._transport: WatchedTransport | None = None
        self._lock = threading.Lock()
        self._idle: list[paramiko.Channel] = []
        """Each has a ``sh`` that waits for the next command: one round trip, and no session of its
        own, where opening one takes two and a login shell."""

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
        if not cmd.asks or cmd.stdin is not None:
            return self.feed(cmd, _pieces(cmd.stdin), on_line)
        while True:
            self.guard()  # each time: a line that died costs seconds, and the lock may go meanwhile
            channel, kept = self._waiting()
            mark = f"omsfab-{secrets.token_hex(8)}"
            out, err = Stream(mark, on_line), Stream(mark, on_line)
            try:
                return self._next(cmd, channel, mark, out, err, kept=kept)
            except (_Gone, LostSession):
                if not kept or out.begun:
                    raise  # else it may have died long before, unseen: then a new one is asked

    def _next(
        self,
        cmd: Command,
        channel: paramiko.Channel,
        mark: str,
        out: Stream,
        err: Stream,
        *,
        kept: bool,
    ) -> Result:
        """Have a waiting ``sh`` run the command, and wait for the next one."""
        whole = False
        try:
            line = kept_line(cmd, mark, sudo=self._sudo)
            why = Exchange(channel, _pieces(line), out, err, cmd, kept=True).run()
            if why:
                raise self._no_answer(cmd, why)
            whole = out.ended and err.ended and b"\n" in out.after
            status = int(out.after.split()[0]) if whole else _status(channel)
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._lost(cmd, str(error), channel) from error
        finally:
            self._put_back(channel, whole=whole)
        if not whole:
            if kept and not out.begun and channel.get_transport().is_active():
                raise _Gone
            if out.begun:
                status = -1  # what ended is the sh that would have told it
        return self._result(cmd, channel, status, out, err)

    def feed(self, cmd: Command, chunks: Iterable[bytes], on_line: OnLine | None = None) -> Result:
        """Run the words with the chunks as their standard input; by the system's ssh, where they
        are many and it gets there without a question."""
        self.guard()
        mark = f"omsfab-{secrets.token_hex(8)}"
        if cmd.bulk and (ssh := self._dialer.openssh(self._target)):
            self._connected()  # whatever is wrong with the way is said as ever
            out, err = Stream(mark, on_line), Stream(mark, on_line)
            with openssh.begun([*ssh, framed(cmd, mark, sudo=self._sudo)], out, err) as process:
                if process:
                    return self._fed_by(process, cmd, chunks)
        return self._fed(cmd, _packets(chunks), on_line, self._session())

    def _fed_by(self, process: openssh.Process, cmd: Command, chunks: Iterable[bytes]) -> Result:
        done = process.feed(cmd, chunks)
        if done.why:
            raise self._no_answer(cmd, done.why)
        if done.status is None:
            raise self._lost(cmd, process.err.text())
        return self._refused(Result(done.status, process.out.text(), process.err.text()))

    def aside(self, cmd: Command, chunks: Iterable[bytes], on_line: OnLine | None = None) -> Result:
        """As ``feed``, beside what the node is doing: where its sshd gives no further session, that
        goes on undisturbed, and this raises Unreachable."""
        self.guard()
        try:
            channel = self._connected().open_session()
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._no_session(error) from error
        return self._fed(cmd, chunks, on_line, channel)

    def _fed(
        self,
        cmd: Command,
        chunks: Iterable[bytes],
        on_line: OnLine | None,
        channel: paramiko.Channel,
    ) -> Result:
        mark = f"omsfab-{secrets.token_hex(8)}"
        out, err = Stream(mark, on_line), Stream(mark, on_line)
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
        return self._result(cmd, channel, status, out, err)

    def _result(
        self, cmd: Command, channel: paramiko.Channel, status: int, out: Stream, err: Stream
    ) -> Result:
        if status == -1:
            raise self._lost(cmd, err.text() or err.noise, channel)
        if not out.begun:
            raise self._no_shell(status, err.noise or out.noise)
        return self._refused(Result(status, out.text(), err.text()))

    def _refused(self, result: Result) -> Result:
        """The result, unless it is sudo's refusal."""
        if self._sudo and result.status:
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
        reader: Sequence[str] = (),
        *,
        relay: bool = False,
    ) -> None:
        """Send a file through ``dest.part``, resumed at a verified offset; see transfer.send."""
        if not relay or self._relay is None or size <= transfer.SMALL:
            transfer.send(self, source, dest, size, sha256, on_bytes, on_lost, reader)
            return
        with self._relay.link(self, dest, size, sha256) as link:
            transfer.send(self, source, dest, size, sha256, on_bytes, on_lost, reader, link=link)

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

    def _connected(self, tries: int = 0) -> WatchedTransport:
        with self._lock:
            if self._transport is None or not self._transport.is_active():
                self._transport = self._dialer.dial(self._target, tries or self._tries)
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
            transport = self._connected(0 if again else 1)
            try:
                return self._opened(transport)
            except (OSError, EOFError, paramiko.SSHException) as error:
                self._drop(transport)
                if not again:
                    raise self._no_session(error) from error
        raise AssertionError("unreachable")

    def _no_session(self, error: Exception) -> Unreachable:
        return Unreachable(
            "SSH-022",
            f"{self.node} opens no session",
            where=self.node,
            evidence=str(error) or type(error).__name__,
            next=self.ssh_line("sshd -T", "maxsessions, maxstartups; and its load"),
        )

    def _opened(self, transport: paramiko.Transport) -> paramiko.Channel:
        """A new session.  An sshd may allow but few (MaxSessions): then those that wait give way,
        and one that is over counts until its last process has gone."""
        for pause in (0.05, 0.2, 0.5):
            try:
                return transport.open_session()
            except paramiko.ChannelException:
                with self._lock:
                    idle, self._idle = self._idle, []
                for channel in idle:
                    channel.close()
                time.sleep(pause)
        return transport.open_session()

    def _waiting(self) -> tuple[paramiko.Channel, bool]:
        """A channel whose ``sh`` waits for a command, and whether it has waited there before; it
        is the caller's until it is put back."""
        transport = self._connected()
        with self._lock:
            while self._idle:
                channel = self._idle.pop()
                if channel.get_transport() is transport and _open(channel):
                    return channel, True
                channel.close()
        channel = self._session()
        try:
            channel.exec_command("exec sh")
        except (OSError, EOFError, paramiko.SSHException):
            channel.close()  # the first command tells it
        return channel, False

    def _put_back(self, channel: paramiko.Channel, *, whole: bool) -> None:
        """Keep it for the next command, if this one has ended and the line stands."""
        with self._lock:
            if whole and _open(channel) and len(self._idle) < KEPT:
                self._idle.append(channel)
                return
        channel.close()

    def _lost(
        self, cmd: Command, evidence: str, channel: paramiko.Channel | None = None
    ) -> LostSession:
        if channel:
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


def _open(channel: paramiko.Channel) -> bool:
    return not (channel.closed or channel.eof_received)


def _status(channel: paramiko.Channel) -> int:
    """With what the ``sh`` ended, or -1."""
    channel.status_event.wait(SOON)
    return channel.exit_status


def _pieces(stdin: str | Secret | None) -> Iterator[bytes]:
    text = stdin.reveal() if isinstance(stdin, Secret) else stdin or ""
    return _packets([text.encode()])


def _packets(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for data in chunks:
        for at in range(0, len(data), PACKET):
            yield data[at : at + PACKET]
