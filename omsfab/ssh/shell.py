"""A Shell over SSH: commands, files, and what to think when the line drops."""

from __future__ import annotations

import re
import secrets
import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import paramiko
from fabric import Connection

from omsfab.command import Command, framed, shown
from omsfab.errors import LostSession, Next, NoAnswer, OmsfabError, PreflightError, Unreachable
from omsfab.fleet.model import Node, Ssh
from omsfab.secret import Secret
from omsfab.ssh import files, transfer
from omsfab.ssh.dialer import TRIES, Dialer
from omsfab.ssh.host_keys import HostKey
from omsfab.ssh.protocol import OnBytes, OnLine, Result
from omsfab.ssh.streams import Stream

PACKET = 32_704
"""What fits one packet of OpenSSH: a larger send is split, and copied, for every packet."""

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
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def open(self) -> None:
        """Connect now, if there is no connection."""
        self._transport()

    def close(self) -> None:
        """End the connection; a later call opens a new one."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection:
            connection.close()

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
            why = _exchange(channel, iter(chunks), out, err, cmd)
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

    def by_hand(self, text: str, note: str = "") -> Next:
        """Return a line for the operator's own shell, which does this on the node as root."""
        return self._dialer.by_hand(self._target, text, note)

    def beyond(self, host: str, port: int) -> paramiko.Channel:
        """Return a TCP connection from the node to there, which its sshd forwards."""
        return self._transport().open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), 15)

    def beside_gateway(self, host: str, port: int) -> paramiko.Channel:
        """Return a TCP connection from the gateway of this node."""
        return self._dialer.beside_gateway(self._target, host, port)

    def _transport(self, tries: int = TRIES) -> paramiko.Transport:
        with self._lock:
            if self._connection is None or not self._connection.is_connected:
                self._connection = self._dialer.dial(self._target, tries)
                self.connections += 1
            transport: paramiko.Transport = self._connection.transport
            return transport

    def _drop(self, transport: paramiko.Transport) -> None:
        """End this line.  Another thread may have a younger one already, and work on it."""
        with self._lock:
            if self._connection is None or self._connection.transport is not transport:
                return
            connection, self._connection = self._connection, None
        connection.close()

    def _session(self) -> paramiko.Channel:
        """A channel for one command.  A line found dead here has carried nothing: open another.

        That one is tried once: the time until a dead node is told of is running already.
        """
        for again in (True, False):
            transport = self._transport(TRIES if again else 1)
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
                        next=self.by_hand("sshd -T", "maxsessions, maxstartups; and its load"),
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
            next=self.by_hand("true"),
        )

    def _refuse_if_sudo_did(self, result: Result) -> None:
        user = self._connection.user if self._connection else "the user"
        for id, pattern, says in SUDO_REFUSALS:
            if re.search(pattern, result.err):
                raise PreflightError(
                    id,
                    f"sudo on {self.node} {says}",
                    where=f"{user} on {self.node}",
                    evidence=result.err.strip(),
                    next=self.by_hand(
                        "visudo -f /etc/sudoers.d/omsfab", f"add: {user} ALL=(root) NOPASSWD: ALL"
                    ),
                )


def _pieces(stdin: str | Secret | None) -> Iterator[bytes]:
    text = stdin.reveal() if isinstance(stdin, Secret) else stdin or ""
    data = text.encode()
    return (data[at : at + PACKET] for at in range(0, len(data), PACKET))


def _exchange(  # noqa: C901  (to be split)
    channel: paramiko.Channel, chunks: Iterator[bytes], out: Stream, err: Stream, cmd: Command
) -> str:
    """Send the chunks and read both streams at once until the command has ended.

    Returns why it was given up: neither side moved for ``cmd.limit`` seconds, or it went on talking
    for ``cmd.patience``, counted from the end of its input.

    The command has ended when its status is there and both streams are at their mark: a child it
    left behind may hold them open for ever.
    """
    arrivals = select.poll()
    arrivals.register(channel.fileno(), select.POLLIN)
    chunk = next(chunks, None)
    if chunk is None:
        _end_input(channel)
    channel.settimeout(0.05)
    moved = fed = time.monotonic()
    while True:
        # Looked at before reading: what came before the end is then certainly read.
        over = channel.closed or channel.eof_received or (out.ended and err.ended)
        busy = False
        if channel.recv_ready():
            out.feed(channel.recv(1 << 20))
            busy = True
        if channel.recv_stderr_ready():
            err.feed(channel.recv_stderr(1 << 20))
            busy = True
        if chunk is not None:
            sent = _send(channel, chunk)
            busy = busy or bool(sent)
            chunk = None if sent is None else chunk[sent:] or next(chunks, None)
            if chunk is None:
                _end_input(channel)
                fed = time.monotonic()
        if chunk is None and time.monotonic() - fed > cmd.patience:
            return f"did not come to an end in {cmd.patience:g} s, though it goes on talking"
        if busy:
            moved = time.monotonic()
            continue
        if over and channel.status_event.is_set():
            break
        if time.monotonic() - moved > cmd.limit:
            return f"did not answer in {cmd.limit:g} s"
        if chunk is None:
            if over:
                channel.status_event.wait(0.2)
            else:
                arrivals.poll(200)
    out.finish()
    err.finish()
    return ""


def _end_input(channel: paramiko.Channel) -> None:
    """Send EOF, or nothing if the command has ended by itself.

    paramiko's own shutdown sends it outside the lock, so behind the CLOSE that answers a command
    which ends just then; sshd drops the whole line for that.  The first wait is for a new exchange
    of keys: it could not end while we held the lock.
    """
    transport = channel.get_transport()
    transport.clear_to_send.wait(transport.clear_to_send_timeout)
    with channel.lock:
        message = channel._send_eof()  # type: ignore[attr-defined]
        if message is not None:
            transport._send_user_message(message)  # type: ignore[attr-defined]


def _send(channel: paramiko.Channel, chunk: bytes) -> int | None:
    """Return how many bytes went, 0 if there is no room now, None if nobody reads any more."""
    try:
        return channel.send(chunk) or None
    except TimeoutError:
        return 0
    except OSError:
        return None
