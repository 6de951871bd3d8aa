"""command, send: a connection and a file, on bare servers of a lab."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import fabric
import paramiko

from omsfab import lab as labs
from omsfab.command import command as words_of
from omsfab.fleet.model import Node, Ssh
from omsfab.lab import Lab
from omsfab.lab.system import run
from omsfab.ssh.shell import SshShell, connect
from tests.bench.figures import CAT, OURS, PLAIN, PUT, RAW, SCP, SCP_4, SCP_8, TO_ONE
from tests.bench.turns import ROOT, Way, process, take, timed

TIMES = 50
MANY = 200
IDLE = ((OURS, "idle"), (PLAIN, "idle paramiko"))
SIZE = 256 << 20
DEST = "/data/package"


@contextmanager
def servers(many: int) -> Iterator[Lab]:
    """A lab of nodes with an sshd each, without OMS."""
    try:
        yield labs.up("bench", many, "mariadb", image=False, say=lambda _: None)
    finally:
        labs.down("bench", say=lambda _: None)


def shell_to(lab: Lab, number: int = 0) -> SshShell:
    node = lab.nodes[number]
    ssh = Ssh(user="root", key=lab.key, known_hosts=lab.known_hosts)
    return SshShell(Node(name=node.name, ip=node.ip), ssh)


def fabric_to(lab: Lab, number: int = 0) -> fabric.Connection:
    """Fabric as its documentation has it, with the host key checked."""
    link = fabric.Connection(
        lab.nodes[number].ip, user="root", connect_kwargs={"key_filename": [str(lab.key)]}
    )
    trust(link, lab.known_hosts)
    return link


def trust(link: fabric.Connection, known: Path | str) -> None:
    """Have the host key checked, as omsfab does."""
    link.client.load_host_keys(str(known))
    link.client.set_missing_host_key_policy(paramiko.RejectPolicy())


def options(lab: Lab) -> list[str]:
    """What ssh and scp are told."""
    return [
        *("-F", "none", "-i", str(lab.key), "-o", f"UserKnownHostsFile={lab.known_hosts}"),
        *("-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-q"),
    ]


def command(rounds: int) -> None:
    with servers(1) as lab:
        ip, shell, link = lab.nodes[0].ip, shell_to(lab), fabric_to(lab)
        wire = socket.create_connection((ip, 22))
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw = paramiko.SSHClient()
        raw.load_host_keys(str(lab.known_hosts))
        raw.connect(ip, username="root", key_filename=str(lab.key), sock=wire)
        control = ["-o", "ControlMaster=auto", "-o", "ControlPersist=60"]
        control += ["-o", f"ControlPath={lab.directory}/bench-%C"]
        shared = ["ssh", *options(lab), *control, f"root@{ip}", "true"]

        def plain() -> None:
            channel = raw.get_transport().open_session()
            channel.exec_command("true")
            channel.makefile("rb").read()
            if channel.recv_exit_status():
                raise RuntimeError("true has failed")
            channel.close()

        true = words_of("true")
        ways = {
            OURS: lambda: shell.run(true),
            RAW: plain,
            "Fabric run": lambda: link.run("true", hide=True, in_stream=False),
            "ssh, ControlMaster": lambda: subprocess.run(shared, check=True),
        }
        for way in ways.values():
            way()  # the connection opens
        try:
            take("command", {name: _often(way) for name, way in ways.items()}, rounds)
        finally:
            subprocess.run([*shared[:-1], "-O", "exit"], check=False, capture_output=True)
            raw.close()
            link.close()
            shell.close()


def _often(way: Callable[[], object]) -> Way:
    def call() -> None:
        for _ in range(TIMES):
            way()

    whole = timed(call)
    return lambda: whole() / TIMES


def idle(rounds: int) -> None:
    with servers(1) as lab:
        take(
            "idle",
            {
                name: lambda way=way: _in_a_process(lab, way, MANY, lab.key, "")
                for name, way in IDLE
            },
            rounds,
        )


def _idle(lab: Lab, way: str, many: int) -> float:
    """Seconds of CPU in a minute in which so many open connections are not used."""
    open_ones: list[SshShell | paramiko.SSHClient] = []

    def one(number: int) -> None:
        if way == "idle":
            open_ones.append(shell_to(lab))
            open_ones[-1].open()
        else:
            raw = paramiko.SSHClient()
            raw.load_host_keys(str(lab.known_hosts))
            raw.connect(lab.nodes[0].ip, username="root", key_filename=str(lab.key))
            raw.get_transport().set_keepalive(10)
            open_ones.append(raw)

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(one, range(many)))
    time.sleep(2)  # the last login is over
    began = time.process_time()
    time.sleep(20)
    return 3 * (time.process_time() - began)


def send(rounds: int) -> None:
    with servers(4) as lab, tempfile.TemporaryDirectory(dir=lab.directory) as here:
        source = Path(here, "package")
        source.write_bytes(os.urandom(SIZE))
        digest = hashlib.sha256(source.read_bytes()).hexdigest()

        def clear() -> None:
            for node in lab.nodes:
                for path in lab.path(node.name, DEST).parent.glob("package*"):
                    path.unlink()
            os.sync()

        def ours(way: str, many: int) -> Way:
            return lambda: _in_a_process(lab, way, many, source, digest)

        to = f"root@{lab.nodes[0].ip}"
        gcm = ("-c", "aes128-gcm@openssh.com")
        cat = process("ssh", *options(lab), *gcm, to, f"cat >{DEST}", stdin=source)
        scp = process("scp", *options(lab), str(source), f"{to}:{DEST}")
        ways = {OURS: ours("omsfab", 1), CAT: cat, SCP: scp, PUT: ours("put", 1)}
        take("send-1", ways, rounds, clear)
        ways = {OURS: ours("omsfab", 4), SCP_4: timed(lambda: _scps(lab, source))}
        take("send-4", ways, rounds, clear)


def relay(rounds: int) -> None:
    """The bridge's own end is the jump host's: what nodes send each other is not held back."""
    with servers(8) as lab, tempfile.TemporaryDirectory(dir=lab.directory) as here:
        source = Path(here, "package")
        source.write_bytes(os.urandom(SIZE))
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        slow = ("tbf", "rate", "200mbit", "burst", "256kb", "latency", "400ms")
        run("tc", "qdisc", "replace", "dev", lab.place.bridge, "root", *slow)

        def clear() -> None:
            for node in lab.nodes:
                for path in lab.path(node.name, DEST).parent.glob("package*"):
                    path.unlink()
            os.sync()

        ways = {
            OURS: lambda: _in_a_process(lab, "relay", 8, source, digest),
            TO_ONE: lambda: _in_a_process(lab, "relay", 1, source, digest),
            SCP_8: timed(lambda: _scps(lab, source)),
        }
        take("relay", ways, rounds, clear)


def _scps(lab: Lab, source: Path) -> None:
    started = [
        subprocess.Popen(["scp", *options(lab), str(source), f"root@{node.ip}:{DEST}"])
        for node in lab.nodes
    ]
    if any([one.wait() for one in started]):
        raise RuntimeError("scp has failed")


def _in_a_process(lab: Lab, way: str, many: int, source: Path, digest: str) -> float:
    """A process of its own, since four threads beside the bench's own would share its lock; it
    tells the seconds, so that the start of Python is not in them."""
    words = [sys.executable, "-m", __name__, lab.name, way, str(many), str(source), digest]
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def main(lab: Lab, way: str, many: int, source: Path, digest: str) -> float:
    if way.startswith("idle"):
        return _idle(lab, way, many)
    size = source.stat().st_size
    nodes = [Node(name=node.name, ip=node.ip) for node in lab.nodes]
    shells = connect(nodes, Ssh(user="root", key=lab.key, known_hosts=lab.known_hosts))

    def one(number: int) -> None:
        if way == "put":
            fabric_to(lab, number).put(str(source), DEST)
        else:
            shell = shells[nodes[number].name]
            shell.send(source, DEST, size, digest, lambda _: None, relay=way == "relay")

    began = time.perf_counter()
    with ThreadPoolExecutor(many) as pool:
        list(pool.map(one, range(many)))
    return time.perf_counter() - began


if __name__ == "__main__":
    name, how, count, file, sha256 = sys.argv[1:]
    print(main(labs.load(name), how, int(count), Path(file), sha256))
