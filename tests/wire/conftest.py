"""A real sshd on loopback, as the current user, with keys of its own; nobody else's is touched."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from omsfab.fleet.model import Node, Ssh
from omsfab.ssh.dialer import Dialer
from omsfab.ssh.shell import SshShell
from omsfab.ssh.transport import Timeouts
from tests.pasting import every_error_can_be_pasted  # noqa: F401  # a fixture of all tests

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"

CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {home}/host_key
AuthorizedKeysFile {home}/authorized_keys
PidFile {home}/sshd.pid
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
PrintMotd no
MaxStartups 100
SetEnv PATH={home}/bin:{path} HOME={home}/user TMPDIR={home}/tmp OMSFAB_TEST={home}
"""


@dataclass
class Sshd:
    """A running server and the way to it.  ``home`` holds its keys, ``bin`` goes first in PATH."""

    home: Path
    port: int = 0
    more: str = ""
    """Further lines for its configuration."""
    process: subprocess.Popen[bytes] | None = None
    shells: list[SshShell] = field(default_factory=list)

    @property
    def user(self) -> Path:
        """What the logged-in user takes for the home directory."""
        return self.home / "user"

    @property
    def known_hosts(self) -> Path:
        return self.home / "known_hosts"

    @property
    def node(self) -> Node:
        return Node(name="oms1", ip="127.0.0.1", port=self.port)

    def ssh(self, **changes: object) -> Ssh:
        key = {"key": self.home / "user_key", "known_hosts": self.known_hosts}
        return Ssh(**{**key, **changes})

    def shell(self, patience: Timeouts | None = None, **changes: object) -> SshShell:
        ssh = self.ssh(**changes)
        shell = SshShell(self.node, ssh, Dialer(ssh, patience or Timeouts()))
        self.shells.append(shell)
        return shell

    def hang_up(self) -> None:
        while self.shells:
            self.shells.pop().close()

    def new_host_key(self) -> None:
        for name in ("host_key", "host_key.pub"):
            (self.home / name).unlink(missing_ok=True)
        _keygen(self.home / "host_key")

    def trust(self) -> None:
        kind, key, *_ = (self.home / "host_key.pub").read_text().split()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")

    def start(self) -> None:
        self.port = self.port or _free_port()
        config = CONFIG.format(port=self.port, home=self.home, path=os.environ["PATH"])
        config += self.more
        (self.home / "sshd_config").write_text(config)
        with (self.home / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", str(self.home / "sshd_config")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        for _ in range(100):
            if self.process.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError((self.home / "sshd.log").read_text())

    def stop(self) -> None:
        """End the listener and the sessions it began."""
        if self.process is None:
            return
        # Held first: a child that it has just begun has the listening socket for a moment, and
        # would keep the port from the next sshd, and drop whoever connects meanwhile.
        self.process.send_signal(signal.SIGSTOP)
        while alive := [pid for pid in self.sessions() if not _ended(pid)]:
            for pid in alive:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        self.process.kill()
        self.process.wait(5)
        self.process = None

    def sessions(self) -> list[int]:
        """The processes of sshd that serve connections of ours."""
        assert self.process
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                pid, _, rest = stat.read_text().partition(" (sshd")
            except OSError:
                continue
            if rest and int(rest.partition(") ")[2].split()[1]) == self.process.pid:
                found.append(int(pid))
        return found


def _ended(pid: int) -> bool:
    """Whether nothing of it is left but its exit status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def _keygen(path: Path) -> None:
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(words, check=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a host key and a user key.  Skipped where there is no sshd."""
    if not os.access(SSHD, os.X_OK) or not shutil.which("ssh-keygen"):
        pytest.skip("no sshd on this machine: apt-get install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    directory = tmp_path_factory.mktemp("keys")
    for name in ("host_key", "user_key"):
        _keygen(directory / name)
    return directory


@contextmanager
def _running(home: Path, keys: Path) -> Iterator[Sshd]:
    for name in ("bin", "user", "tmp"):
        (home / name).mkdir()
    for file in keys.iterdir():
        shutil.copy(file, home)
    shutil.copy(keys / "user_key.pub", home / "authorized_keys")
    server = Sshd(home)
    server.start()
    server.trust()
    try:
        yield server
    finally:
        server.hang_up()
        server.stop()


@pytest.fixture
def sshd(tmp_path: Path, keys: Path) -> Iterator[Sshd]:
    """A trusted server for one test, which may do to it what it likes."""
    home = tmp_path / "sshd"
    home.mkdir()
    with _running(home, keys) as server:
        yield server


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[Sshd]:
    with _running(tmp_path_factory.mktemp("sshd"), keys) as server:
        yield server


@pytest.fixture
def server(_shared: Sshd) -> Iterator[Sshd]:
    """A trusted server for all tests: sessions may be killed, its files stay as they are."""
    yield _shared
    _shared.hang_up()


@pytest.fixture
def shell(server: Sshd) -> SshShell:
    return server.shell()
