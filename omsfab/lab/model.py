"""A lab as it is known from outside: addresses, keys, passwords, and what can be done to it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from omsfab.errors import Next
from omsfab.lab import network
from omsfab.lab.places import Place
from omsfab.lab.system import LabError, private_file, run

if TYPE_CHECKING:
    from pymysql.connections import Connection

Engine = Literal["oceanbase", "mariadb", "mysql"]
ENGINES: tuple[Engine, ...] = get_args(Engine)

KNOBS = "data/oms/oms_logs/.lab"
BALANCER = "balancer"


@dataclass(frozen=True, slots=True)
class NodeOfLab:
    """A server of the lab.  ``number`` is that of its cable."""

    name: str
    ip: str
    netns: str
    number: int

    @property
    def pid(self) -> int | None:
        """Its process 1 as this machine sees it; None when the node is down."""
        return network.first_process(self.netns)


@dataclass(frozen=True, slots=True)
class MetaDbOfLab:
    """The database.  ``admin`` is for the oracle of tests, ``user`` is what OMS logs in with."""

    kind: Engine
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    admin: str = "root"
    admin_password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Lab:
    """A local fleet; made by ``up`` or ``load``, a plain value read from its state file."""

    name: str
    directory: Path
    subnet: str
    nodes: tuple[NodeOfLab, ...]
    metadb: MetaDbOfLab
    image: str = ""
    image_id: str = ""
    package: Path = Path()
    profile: str = ""

    @property
    def place(self) -> Place:
        return Place(self.name, self.directory)

    @property
    def bridge(self) -> str:
        """The address of the jump host, which is this machine."""
        return network.address(self.subnet, 1)

    @property
    def vip(self) -> str:
        """The virtual address; a balancer on 8088 and 8089 answers it unless it was moved."""
        return network.address(self.subnet, 100)

    @property
    def key(self) -> Path:
        """The private SSH key of root and ops on every node."""
        return self.directory / "ssh" / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The host keys of all nodes, as they really are."""
        return self.directory / "ssh" / "known_hosts"

    @property
    def password_file(self) -> Path:
        """The password of the MetaDB user, mode 0600, without an end of line."""
        return self.directory / "secrets" / "metadb"

    def node(self, name: str) -> NodeOfLab:
        for node in self.nodes:
            if node.name == name:
                return node
        raise LabError(f"{name} is no node of lab {self.name}")

    def node_directory(self, name: str) -> Path:
        """Where this machine keeps the node: its logs, and its /data as ``data``."""
        return self.directory / "nodes" / name

    def path(self, node: str, path: str) -> Path:
        """A path below the node's /data as this machine sees it; so tests need not ask the node."""
        if not path.startswith("/data/"):
            raise LabError(f"{path} of {node} is not below /data")
        return self.node_directory(node) / path.lstrip("/")

    def enter(
        self, node: str, argv: Sequence[str], *, data: bytes = b"", limit: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as root inside the namespaces of the node, past sshd and omsfab."""
        pid = self.node(node).pid
        if pid is None:
            raise LabError(f"{node} is down", next=Next("fab lab.up"))
        done = subprocess.run(
            (
                *("nsenter", "--target", str(pid), "--net", "--mount", "--pid", "--uts", "--ipc"),
                *("env", "-i", "HOME=/root", "LANG=C.UTF-8"),
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                *argv,
            ),
            input=data,
            capture_output=True,
            timeout=limit,
            check=False,
        )
        out, err = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
        return subprocess.CompletedProcess(argv, done.returncode, out, err)

    def connect(
        self, *, admin: bool = True, database: str | None = None, user: str = ""
    ) -> Connection[Any]:
        """A new connection, autocommit, as administrator, OMS's user or one with its password."""
        import pymysql  # here, since a lab can be asked for much without it

        name, password = (
            (self.metadb.admin, self.metadb.admin_password)
            if admin
            else (user or self.metadb.user, self.metadb.password)
        )
        return pymysql.connect(
            host=self.metadb.host,
            port=self.metadb.port,
            user=name,
            # As bytes: PyMySQL would encode a str as latin-1, whatever the character set.
            password=password.encode(),  # type: ignore[arg-type, unused-ignore]
            database=database,
            charset="utf8mb4",
            connect_timeout=10,
            read_timeout=60,
            autocommit=True,
        )

    def sql(self, statement: str, args: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        """The rows of one statement, asked as administrator: the oracle of the tests."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, args)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def move_vip(self, to: str = BALANCER) -> None:
        """The virtual address goes to a node, by name, or back to the ``balancer``."""
        holders = {BALANCER: self.place.netns(BALANCER)}
        holders |= {node.name: node.netns for node in self.nodes}
        if to not in holders:
            raise LabError(f"{to} is no node of lab {self.name}, and not {BALANCER!r}")
        for name, netns in holders.items():
            if name != to:
                run("ip", "-n", netns, "addr", "del", f"{self.vip}/24", "dev", "eth0", check=False)
        run("ip", "-n", holders[to], "addr", "replace", f"{self.vip}/24", "dev", "eth0")
        network.announce(holders[to], self.vip)

    def knob(self, node: str, **values: object) -> None:
        """Turn knobs of the stand-in image on a node; None takes one away.

        May be done before the container exists.  omsfab/lab/image/README lists them.
        """
        path = self._counted(node) / "knobs"
        knobs = dict(line.split("=", 1) for line in _lines(path))
        for name, value in values.items():
            if value is None:
                knobs.pop(name, None)
            else:
                knobs[name] = str(value)
        # User ds of the image reads them, too.
        private_file(path, "".join(f"{name}={value}\n" for name, value in knobs.items()), 0o644)

    def counters(self, node: str) -> dict[str, Any]:
        """What docker_init.sh of the node's container wrote down about its own executions.

        ``started``: how often it began; ``ended``: the exit statuses (-9 for a killed one);
        ``overlaps``: how often another one ran at that moment, here or on another node;
        ``running``: whether one seems to run now.
        """
        directory = self._counted(node)
        started = _lines(directory / "init.started")
        ended = [int(line.split()[2]) for line in _lines(directory / "init.ended")]
        overlaps = len(_lines(directory / "init.overlap"))
        return {
            "started": len(started),
            "ended": ended,
            "overlaps": overlaps,
            "running": len(started) > len(ended),
        }

    def hosts_yaml(self, cm_url: str, node_names: Sequence[str], **extra: object) -> str:
        """A hosts.yaml for these nodes in one region.

        ``extra`` is laid over it, mapping by mapping: ``oms={"init": "never"}``; None drops a key.
        """
        import yaml

        document: dict[str, Any] = {
            "oms": {"image": self.image, "package": str(self.package), "container": "oms_427"},
            "metadb": {
                "host": self.metadb.host,
                "port": self.metadb.port,
                "user": self.metadb.user,
                "password": {"file": str(self.password_file)},
                "rm_db": "oms_rm",
                "cm_db": "oms_cm",
            },
            "ssh": {"user": "root", "key": str(self.key), "known_hosts": str(self.known_hosts)},
            "regions": {
                "cn-lab": {
                    "location": 1,
                    "cm_url": cm_url,
                    "heartbeat_db": "oms_cm_heartbeat_1",
                    "nodes": {name: self.node(name).ip for name in node_names},
                }
            },
        }
        text: str = yaml.safe_dump(_laid_over(document, extra), sort_keys=False, allow_unicode=True)
        return text

    def save(self) -> None:
        """Write the state file."""
        state = asdict(self)
        private_file(self.place.state, json.dumps(state, default=str, indent=2) + "\n")

    def _counted(self, node: str) -> Path:
        """The directory of knobs and counters, made if omsfab has not come so far yet."""
        self.node(node)
        directory = self.node_directory(node) / KNOBS
        directory.mkdir(parents=True, exist_ok=True)
        return directory


def read(place: Place) -> Lab:
    """The lab of a state file.  LabError when there is none."""
    try:
        state = json.loads(place.state.read_text())
    except FileNotFoundError as error:
        raise LabError(f"there is no lab {place.name}", next=Next("fab lab.up")) from error
    state["directory"] = Path(state["directory"])
    state["package"] = Path(state["package"])
    state["nodes"] = tuple(NodeOfLab(**node) for node in state["nodes"])
    state["metadb"] = MetaDbOfLab(**state["metadb"])
    return Lab(**state)


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8", "replace").splitlines() if path.exists() else []


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = _laid_over(result[key], value)
        else:
            result[key] = value
    return result
