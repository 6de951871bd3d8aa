"""Nodes pass a file on to each other: real sshds, of which each node makes one of its own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from omsfab.commands import files
from omsfab.fleet.model import Node
from omsfab.ssh import relay as relays
from omsfab.ssh.dialer import Dialer
from omsfab.ssh.exchange import PACKET
from omsfab.ssh.relay import Relay
from omsfab.ssh.shell import SshShell

MIB = 1 << 20
SIZE = 16 * MIB


@pytest.fixture
def package(tmp_path):
    """16 MiB of noise, and its digest."""
    path = tmp_path / "package.tar.gz"
    path.write_bytes(os.urandom(SIZE))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


class Counting(SshShell):
    """A node that counts what comes from the jump host, a little slowly."""

    bytes = 0
    pause = 0.0005
    held = None
    """Set once more than half of the file may go."""

    @property
    def sent(self):
        """Whole MiB: a key is none."""
        return self.bytes // MIB

    def feed(self, cmd, chunks, on_line=None):
        return super().feed(cmd, self._counted(chunks), on_line)

    def _counted(self, chunks):
        for chunk in chunks:
            self.bytes += len(chunk)
            time.sleep(self.pause * len(chunk) / PACKET)
            if self.held and self.bytes > SIZE * 3 / 4:
                self.held.wait(60)
            yield chunk


@pytest.fixture
def nodes(server):
    """Shells to four nodes, which are one machine, and share a chain."""
    ssh = server.ssh()
    chain, dialer = Relay(), Dialer(ssh)
    shells = [
        Counting(Node(name=f"oms{n}", ip="127.0.0.1", port=server.port), ssh, dialer, 3, chain)
        for n in range(1, 5)
    ]
    server.shells += shells
    return shells


class Sending(threading.Thread):
    """A file on its way to a node."""

    def __init__(
        self, shell, package, directory, reader=(), on_bytes=lambda there: None, relay=True
    ):
        super().__init__(daemon=True)
        self.shell, self.said, self.told, self.error = shell, [], [], None
        self.dest = directory / shell.node / "package.tar.gz"
        self.dest.parent.mkdir()
        source, digest = package
        heard = (on_bytes, self.told.append)
        words = (source, str(self.dest), SIZE, digest)

        def listen(there):
            for one in heard:
                one(there)

        self.work = lambda: shell.send(*words, listen, self.said.append, reader, relay=relay)
        self.start()

    def run(self):
        try:
            self.work()
        except BaseException as error:  # told where it is waited for
            self.error = error

    def end(self):
        self.join(120)
        assert not self.is_alive()
        if self.error:
            raise self.error
        return hashlib.sha256(self.dest.read_bytes()).hexdigest()


def left(server) -> list[str]:
    """Processes that pass a file on from a node of this server, and files of theirs."""
    place = str(server.home / "tmp")
    found = [str(path) for path in Path(place).iterdir()]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().decode()
            if "sshd" in words and place in words:
                found.append(words)
    return found


def test_the_file_leaves_the_jump_host_once(server, nodes, package, tmp_path):
    """Four nodes have it, three of them from the one before; nothing of the chain is left."""
    sending = [Sending(shell, package, tmp_path) for shell in nodes]

    assert {package[1]} == {one.end() for one in sending}
    assert [16, 0, 0, 0] == [shell.sent for shell in nodes]
    assert [[], *(["it comes from oms" + str(n)] for n in (1, 2, 3))] == [o.said for o in sending]
    assert {SIZE} == {one.told[-1] for one in sending}
    assert [] == left(server)
    assert not list(tmp_path.glob("*/*.part*"))


def test_the_next_node_has_it_while_it_still_arrives(nodes, package, tmp_path):
    """It is not first whole on the one: the other has a part before the first has all."""
    nodes[0].held = threading.Event()
    first = Sending(nodes[0], package, tmp_path)
    second = Sending(nodes[1], package, tmp_path)
    part = second.dest.with_name("package.tar.gz.part")
    early = 0
    while first.is_alive() and not early:
        with contextlib.suppress(OSError):
            early = part.stat().st_size
        time.sleep(0.01)
    nodes[0].held.set()

    assert early
    assert package[1] == first.end() == second.end()


def test_a_reader_has_it_too(nodes, package, tmp_path):
    """What loads the image meanwhile is fed on each node."""
    copies = [tmp_path / f"read-by-{shell.node}" for shell in nodes[:2]]
    sending = [
        Sending(shell, package, tmp_path, ("dd", f"of={copy}", "bs=1M"))
        for shell, copy in zip(nodes, copies, strict=False)
    ]

    assert {package[1]} == {one.end() for one in sending}
    assert {package[1]} == {hashlib.sha256(copy.read_bytes()).hexdigest() for copy in copies}
    assert [16, 0] == [shell.sent for shell in nodes[:2]]


@pytest.mark.parametrize("lacking", ["sshd", "ssh", "ssh-keygen"])
def test_without_a_program_it_comes_from_the_jump_host(server, nodes, package, tmp_path, lacking):
    """What makes the way between nodes is not on every one."""
    broken = server.home / "bin" / lacking
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    try:
        sending = [Sending(shell, package, tmp_path) for shell in nodes[:2]]
        assert {package[1]} == {one.end() for one in sending}
    finally:
        broken.unlink()
    assert [16, 16] == [shell.sent for shell in nodes[:2]]
    assert [] == left(server)


def test_a_line_between_nodes_that_is_cut_costs_the_rest(server, nodes, package, tmp_path):
    """What had come by it is not sent again; the rest comes from the jump host."""
    first = Sending(nodes[0], package, tmp_path)
    cut = []

    def cut_once(there):
        if there >= 6 * MIB and not cut:
            cut.append(there)
            for process in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    words = (process / "cmdline").read_bytes().decode()
                    if words.startswith("ssh\0") and str(server.home / "tmp") in words:
                        os.kill(int(process.name), signal.SIGKILL)

    nodes[0].pause = 0.004
    second = Sending(nodes[1], package, tmp_path, on_bytes=cut_once)

    assert package[1] == first.end() == second.end()
    assert cut
    assert 0 < nodes[1].bytes <= SIZE - cut[0] + MIB
    assert [] == left(server)


def test_a_node_whose_transfer_fails_is_no_source(nodes, package, tmp_path):
    """The next one takes what is before it, or the jump host."""
    (tmp_path / "oms2" / "package.tar.gz").mkdir(parents=True)
    first = Sending(nodes[0], package, tmp_path)
    with pytest.raises(FileExistsError):
        Sending(nodes[1], package, tmp_path)
    chain = nodes[1]._relay
    with (
        contextlib.suppress(RuntimeError),
        chain.link(nodes[1], str(tmp_path / "oms2" / "x"), SIZE, package[1]),
    ):
        raise RuntimeError
    third = Sending(nodes[2], package, tmp_path)

    assert package[1] == first.end() == third.end()
    assert ["it comes from oms1"] == third.said[:1]  # a busy machine may then fall back


def test_another_file_than_the_planned_is_not_passed_on(nodes, package, tmp_path):
    """The one before has it wrong; the digest says so, and it comes from the jump host."""
    _, digest = package
    wrong = tmp_path / "oms1"
    wrong.mkdir()
    (wrong / "other").write_bytes(os.urandom(SIZE))
    with nodes[0]._relay.link(nodes[0], str(wrong / "other"), SIZE, digest):
        pass
    second = Sending(nodes[1], package, tmp_path)

    assert digest == second.end()
    assert 16 == nodes[1].sent


def test_a_jump_host_that_dies_leaves_nothing_on_the_node(server, package, tmp_path):
    """The offer ends with the session: its sshd, its keys, its directory."""
    source, _ = package
    script = (
        "import sys, threading\n"
        "from omsfab.ssh.relay import Relay, _offered, Link\n"
        "from omsfab.fleet.model import Node, Ssh\n"
        "from omsfab.ssh.shell import SshShell\n"
        "from pathlib import Path\n"
        "from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey\n"
        "key, known, port, dest, size = sys.argv[1:]\n"
        "ssh = Ssh(key=Path(key), known_hosts=Path(known))\n"
        "shell = SshShell(Node(name='oms1', ip='127.0.0.1', port=int(port)), ssh)\n"
        "with _offered(Link(shell, dest, None), int(size), Ed25519PrivateKey.generate()) as o:\n"
        "    print(*o, flush=True); threading.Event().wait(60)\n"
    )
    ssh = server.ssh()
    words = [str(ssh.key), str(ssh.known_hosts), str(server.port), str(source), str(SIZE)]
    process = subprocess.Popen(
        [os.sys.executable, "-c", script, *words], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        user, _, kind, _ = process.stdout.readline().split()
        there = left(server)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    end = time.monotonic() + 20
    while left(server) and time.monotonic() < end:
        time.sleep(0.1)

    assert "ssh-ed25519" == kind
    assert user
    assert 2 == len(there), there
    assert [] == left(server)


def test_the_key_is_good_for_nothing_else(server, nodes, package, tmp_path):
    """Another command, a terminal, a forwarding, a copy: it has the file, and that alone."""
    source, _ = package
    key = relays.Ed25519PrivateKey.generate()
    link = relays.Link(nodes[0], str(source), None)
    with relays._offered(link, SIZE, key) as offer:
        assert offer
        user, port, host_key = offer
        known, private = (
            relays._identity(f"[127.0.0.1]:{port} {host_key}", key).reveal().split("\n", 1)
        )
        (tmp_path / "known").write_text(known + "\n")
        (tmp_path / "key").write_text(private)
        (tmp_path / "key").chmod(0o600)
        ways = ["-F", "/dev/null", "-p", port, "-i", str(tmp_path / "key")]
        ways += ["-o", f"UserKnownHostsFile={tmp_path / 'known'}", "-o", "BatchMode=yes"]

        def ssh(*words):
            return subprocess.run(
                ["ssh", *ways, *words], capture_output=True, check=False, timeout=60
            )

        other = ssh(f"{user}@127.0.0.1", "cat /etc/passwd")
        none = ssh(f"{user}@127.0.0.1")
        forwarded = ssh("-o", "ExitOnForwardFailure=yes", "-W", "127.0.0.1:22", f"{user}@127.0.0.1")
        file = ssh(f"{user}@127.0.0.1", str(SIZE - 100))

    assert (b"", 2) == (other.stdout, other.returncode), other.stderr
    assert (b"", 2) == (none.stdout, none.returncode), none.stderr
    assert b"SSH-" not in forwarded.stdout
    assert source.read_bytes()[-100:] == file.stdout


def test_a_port_that_somebody_has_is_left_to_them(server, nodes, package, tmp_path):
    """An sshd that has it for IPv6 alone goes on, and nobody would reach it by IPv4."""
    source, _ = package
    drawn = server.home / "bin" / "od"
    first = 16000
    drawn.write_text(
        f'#!/bin/sh\nmkdir {tmp_path}/once 2>&- && echo {first} || exec /usr/bin/od "$@"\n'
    )
    drawn.chmod(0o755)
    key = relays.Ed25519PrivateKey.generate()
    try:
        with (
            socket.create_server(("127.0.0.1", 49152 + first)),
            relays._offered(relays.Link(nodes[0], str(source), None), SIZE, key) as offer,
        ):
            assert offer
            port = int(offer[1])
            socket.create_connection(("127.0.0.1", port), 10).close()
    finally:
        drawn.unlink()

    assert (tmp_path / "once").exists()
    assert 49152 + first != port


def test_a_node_that_shows_another_host_key_is_not_believed(nodes, package, tmp_path):
    """Whoever answers at that port without the key that the node has made sends nothing."""
    source, digest = package
    dest = tmp_path / "dest"
    dest.with_name("dest.part").touch()
    key = relays.Ed25519PrivateKey.generate()
    with relays._offered(relays.Link(nodes[0], str(source), None), SIZE, key) as offer:
        assert offer
        user, port, host_key = offer
        mine = relays._public(relays.Ed25519PrivateKey.generate())
        where = (user, "127.0.0.1", int(port))
        wrong, right = (
            relays._identity(f"[127.0.0.1]:{port} {one}", key) for one in (mine, host_key)
        )
        refused = nodes[1].run(files.pull(str(dest), 0, SIZE, digest, where, wrong))
        empty = dest.with_name("dest.part").stat().st_size
        told = nodes[1].run(files.pull(str(dest), 0, SIZE, digest, where, right))

    assert 0 == empty
    assert digest not in refused.out
    assert f"{digest} {SIZE}" == told.out.splitlines()[-1]


def test_an_sshd_that_gives_one_session_is_left_alone(sshd, package, tmp_path, monkeypatch):
    """MaxSessions 1: the transfer that is under way is not cut for the sake of the next node.

    By the system's ssh it would have a connection, and a session, of its own.
    """
    monkeypatch.setattr(Dialer, "openssh", lambda dialer, node: [])
    sshd.stop()
    sshd.more = "MaxSessions 1\n"
    sshd.start()
    ssh, chain = sshd.ssh(), Relay()
    dialer = Dialer(ssh)
    shells = [
        Counting(Node(name=f"oms{n}", ip="127.0.0.1", port=sshd.port), ssh, dialer, 3, chain)
        for n in (1, 2)
    ]
    sshd.shells += shells
    sending = [Sending(shell, package, tmp_path) for shell in shells]

    assert {package[1]} == {one.end() for one in sending}
    assert [16, 16] == [shell.sent for shell in shells]
    assert ["it comes from oms1", "it comes from the jump host"] == sending[1].said


def test_without_it_nothing_goes_from_node_to_node(nodes, package, tmp_path):
    """ssh.relay: false."""
    sending = [Sending(shell, package, tmp_path, relay=False) for shell in nodes[:2]]

    assert {package[1]} == {one.end() for one in sending}
    assert [16, 16] == [shell.sent for shell in nodes[:2]]
