"""A machine to connect to: what is said of it in hosts.yaml and by OpenSSH, and the way there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from omsfab.errors import Next
from omsfab.fleet.model import Ssh
from omsfab.next_line import shell
from omsfab.ssh.config import HostConfig

OWN = Path("~/.ssh/known_hosts")
SYSTEM = Path("/etc/ssh/ssh_known_hosts")


@dataclass(frozen=True, slots=True)
class Target:
    """A node, or a gateway on the way to nodes; ``label`` is what an operator calls it."""

    label: str
    config: HostConfig
    known_hosts: tuple[Path, ...]
    """Whose keys count; the first file is the one that ``fab node.trust`` writes into."""
    key: str = ""
    """ssh.key of hosts.yaml."""
    gateway: Target | None = None
    is_gateway: bool = False

    @property
    def known_as(self) -> str:
        """As known_hosts names it: ``oms2``, or ``[oms2]:2222`` where the port is not 22."""
        return self.config.host_key_alias or host_and_port(self.config)

    @property
    def all_known_hosts(self) -> tuple[Path, ...]:
        """The system's own file counts, whatever ssh_config says: it may revoke a key."""
        system = (SYSTEM, *map(Path, self.config.system_known_hosts))
        return tuple(dict.fromkeys((*self.known_hosts, *_files(system))))

    @property
    def hops(self) -> Iterator[Target]:
        """Itself and the gateways before it, the last one first."""
        yield self
        if self.gateway:
            yield from self.gateway.hops

    @property
    def where(self) -> str:
        via = f" via {self.gateway.config.user}@{self.gateway.config.host}" if self.gateway else ""
        return f"{self.label} ({self.config.user}@{host_and_port(self.config)}{via})"

    def ssh_line(self, text: str = "true", note: str = "", *, asks: bool = False) -> Next:
        """The same connection by OpenSSH, to be pasted; ``text`` is for the login shell there, and
        may want a terminal to ``ask`` for a password on."""
        config = self.config
        words = ["ssh", *(["-t"] if asks else [])]
        if tuple(map(str, self.known_hosts)) != config.known_hosts:
            words += ["-o", f"UserKnownHostsFile={self.known_hosts[0]}"]
        words += ["-i", self.key] if self.key else []
        if hops := [hop.config for hop in self.hops][:0:-1]:
            words += ["-J", ",".join(f"{hop.user}@{hop.name}:{hop.port}" for hop in hops)]
        login = f"{config.user}@{config.name}"
        return shell(*words, "-p", str(config.port), login, text, note=note)


def known_hosts(ssh: Ssh, config: HostConfig) -> tuple[Path, ...]:
    """Return the files that say whom this fleet trusts to be that machine.

    hosts.yaml wins.  ``none`` and /dev/null, with which ssh_config switches the check off for
    ``ssh``, count for nothing here.
    """
    if ssh.known_hosts:
        return (ssh.known_hosts.expanduser(),)
    return _files(map(Path, config.known_hosts)) or (OWN.expanduser(),)


def _files(paths: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(path for path in paths if not path.is_char_device())


def host_and_port(config: HostConfig) -> str:
    return config.host if config.port == 22 else f"[{config.host}]:{config.port}"
