"""The servers of one OMS, their MetaDB and their VIP; what docker_init.sh and the programs do to
the rows; and the books that the invariants are read from."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from functools import cache
from typing import Any

import pymysql

from omsfab.commands import docker
from omsfab.ssh.transfer import SMALL
from tests.simulation.metadb import MetaDb
from tests.simulation.node import Answer, Container, File, Init, Node, parsed
from tests.simulation.world import EPOCH, Process, World

RM, CM = "oms_rm", "oms_cm"
BEATS = {1: "oms_cm_heartbeat_1", 2: "oms_cm_heartbeat_2"}
REFERENCE = "reg.docker.alibaba-inc.com/oceanbase/oms:feature_4.2.7_ce"
CONTAINER = "oms_427"
CONFIG = "/data/config.yaml"
VIPS = {1: "10.0.0.100", 2: "10.0.0.101"}
METADB = "10.0.0.9"
GRACE = 31.0
"""Seconds for which a process may take its lease for held: one and a half renewals."""
FOUR = ((RM, "cluster_info"), (CM, "location_cm"), (CM, "host"), (CM, "resource_group"))


@cache
def package() -> tuple[bytes, str]:
    """A package for docker load, and the id of its image; too large to go in one command."""
    config = json.dumps({"architecture": "amd64", "rootfs": {"diff_ids": []}}).encode()
    id = hashlib.sha256(config).hexdigest()
    manifest = [{"Config": f"{id}.json", "RepoTags": [REFERENCE], "Layers": []}]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in (
            (f"{id}.json", config),
            ("manifest.json", json.dumps(manifest).encode()),
            ("layer", bytes(SMALL)),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue(), f"sha256:{id}"


class Fleet:
    """Nodes by name; ``inits`` are all docker_init.sh that ever began; ``broken`` says what must
    never have happened."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.package, self.image = package()
        self.reference = REFERENCE
        self.nodes: dict[str, Node] = {}
        self.inits: list[Init] = []
        self.broken: list[str] = []
        self.metadb = MetaDb(lambda: EPOCH + world.now, world.sleep)
        self.metadb_until = -1.0
        """Until when the MetaDB is away."""
        self._beaten: dict[str, float] = {}
        self.restored = False
        """Whether the MetaDB is of yesterday: rows may be lost by that."""
        self.tokens: dict[int, float] = {}
        """Since when each token of the lease was seen."""
        self.began: Callable[[], None] = lambda: None
        """Called when a docker_init.sh begins."""

    # --- making ----------------------------------------------------------------------------------

    def add(self, name: str, ip: str) -> Node:
        node = self.nodes[name] = Node(self.world, self, name, ip)
        return node

    def deploy(self, node: Node, config: bytes, *, maker: str = "hand") -> None:
        """OMS runs on this node, as somebody has deployed it long ago."""
        node.directories |= {
            "/data",
            "/data/oms/oms_logs",
            "/data/oms/oms_store",
            "/data/oms/oms_run",
        }
        node.images[self.image] = {self.reference}
        node.files[CONFIG] = File(config, "644", at=-1000.0, writer=maker)
        binds = [
            (CONFIG, docker.CONFIG),
            ("/data/oms/oms_logs", docker.LOGS),
            ("/data/oms/oms_store", docker.STORE),
            ("/data/oms/oms_run", docker.RUN),
        ]
        made = Container(
            self.container_id(), CONTAINER, self.image, {}, {"OMS_HOST_IP": node.ip}, binds, maker
        )
        made.components = dict(parsed(config))
        node.containers[CONTAINER] = made
        node.launch(made)
        for program in made.programs.values():
            program.state, program.at = "RUNNING", -900.0
        made.started = -1000.0

    def container_id(self) -> str:
        return f"{self.world.words.getrandbits(256):064x}"

    # --- what others ask -------------------------------------------------------------------------

    def metadb_answers(self) -> bool:
        return self.metadb_until <= self.world.now

    def _behind(self, host: str) -> list[Node]:
        """The nodes that an address leads to: itself, or all whose config.yaml has it as VIP."""
        direct = [node for node in self.nodes.values() if node.ip == host]
        if direct:
            return direct
        return list(self.nodes.values()) if host in VIPS.values() else []

    def listens(self, host: str, port: int) -> bool:
        if host == METADB:
            return self.metadb_answers()
        needed = {8088: ("oms_drc_cm",), 8089: ("nginx",)}.get(port, ("sshd",))
        return any(self._serve(node, needed) for node in self._behind(host))

    def _serve(self, node: Node, programs: tuple[str, ...]) -> bool:
        if node.away:
            return False
        found = node.running(CONTAINER)
        return found is not None and all(node.runs(found, name) for name in programs)

    def holds(self, host: str) -> bool:
        return bool(self._behind(host))

    def page(self, url: str) -> Answer:
        host, _, rest = url.partition("://")[2].partition(":")
        port, _, path = rest.partition("/")
        if not self.listens(host, int(port)):
            return 7, "", "curl: (7) Failed to connect\n"
        if path != "oms/health":
            return 0, "<html>\n", ""
        well = any(self._healthy(node) for node in self._behind(host))
        text = json.dumps({"success": True, "data": {"healthy": well}}) + "\n"
        return (0 if well else 22), text, ""

    def _healthy(self, node: Node) -> bool:
        found = node.running(CONTAINER)
        if found is None or not found.components:
            return False
        if not self._serve(node, ("nginx", "oms_console", "oms_drc_cm")):
            return False
        if not self.metadb_answers():
            return False
        code = int(found.components.get("cm_location", 0))
        return any(row["code"] == code for row in self.metadb.rows(RM, "cluster_info"))

    # --- what the programs of OMS write ----------------------------------------------------------

    def beat(self) -> None:
        """The agents that run have reported up to now; CM calls those OFFLINE that have not."""
        now = self.world.now
        if not self.metadb_answers():
            return
        for node in self.nodes.values():
            found = node.running(CONTAINER)
            if found is None or not found.components or not node.runs(found, "oms_drc_supervisor"):
                continue
            if now - self._beaten.get(node.name, -100.0) < 5.0:
                continue
            self._beaten[node.name] = now
            ip = found.env.get("OMS_HOST_IP", "")
            schema = str(found.components.get("drc_cm_heartbeat_db", ""))
            moment = datetime.fromtimestamp(EPOCH + now, timezone.utc).replace(tzinfo=None)
            if (schema, "heart_beat") not in self.metadb.tables:
                continue
            if not self._poke(schema, "heart_beat", "host_ip", ip, gmt_modified=moment):
                with suppress(pymysql.Error):
                    self.metadb.insert(
                        schema, "heart_beat", task_name="supervisor", task_type="supervisor",
                        host_ip=ip,
                    )  # fmt: skip
            self._poke(CM, "host", "ip", ip, host_status="ONLINE")

    def _poke(self, schema: str, name: str, key: str, value: str, **values: Any) -> bool:
        """Set what moves by itself in a row, unless somebody has it locked; whether it is there."""
        table = self.metadb.tables.get((schema, name))
        if table is None:
            return False
        names = [column.name for column in table.shape.columns]
        at = names.index(key)
        for row in table.rows:
            now = row.values
            if now is None or now[at] != value:
                continue
            if row.owner is None:
                changed = list(now)
                for column, new in values.items():
                    changed[names.index(column)] = new
                row.values = tuple(changed)
                table.moved()
            return True
        return False

    def offline(self, ip: str) -> None:
        self._poke(CM, "host", "ip", ip, host_status="OFFLINE")

    def init_db(self, config: dict[str, Any], manner: str) -> bool:
        """Step 2 of docker_init.sh: the row of cluster_info."""
        region = str(config.get("cm_region") or "cn-default")
        row = {
            "region": region,
            "region_cn": str(config.get("cm_region_cn") or region),
            "cm_url": str(config["cm_url"]),
            "is_default_cm": int(bool(config.get("cm_is_default", True))),
        }
        return self._try(
            lambda: self._once(RM, "cluster_info", "code", int(config["cm_location"]), row, manner)
        )

    def add_resource(self, config: dict[str, Any], manner: str) -> bool:
        """Step 5: location_cm, resource_group, host."""
        location = str(config["cm_location"])

        def work() -> None:
            rest = {"cm_url": str(config["cm_url"]), "region": str(config.get("cm_region") or "")}
            self._once(CM, "location_cm", "location", location, rest, manner)
            rest = {"description": "default"}
            self._once(CM, "resource_group", "name", location, rest, manner)
            groups = self.metadb.rows(CM, "resource_group")
            group = max(row["id"] for row in groups if row["name"] == location)
            for ip in config.get("cm_nodes") or ():
                row = {"resource_group_id": group, "cpu_total": 8, "memory_total": 1 << 35}
                self._once(CM, "host", "ip", str(ip), row, manner)

        return self._try(work)

    def _try(self, work: Callable[[], None]) -> bool:
        if not self.metadb_answers():
            return False
        try:
            work()
        except (pymysql.Error, ValueError):
            return False
        return True

    def _once(
        self, schema: str, table: str, key: str, value: Any, rest: dict[str, Any], manner: str
    ) -> None:
        there = any(row[key] == value for row in self.metadb.rows(schema, table))
        if not there or manner == "add":
            with suppress(pymysql.IntegrityError):  # insert ignore
                self.metadb.insert(schema, table, **{key: value}, **rest)
        elif manner == "rewrite":
            self.metadb.update(schema, table, {key: value}, **rest)

    def forgive(self) -> None:
        """A person deletes rows: where they are is that person's matter."""
        self.restored = True

    # --- books -----------------------------------------------------------------------------------

    def removed(self, node: Node, container: Container, run: str) -> None:
        if container.maker != run:
            self.broken.append(
                f"{node.name}: the container that {container.maker} made was removed by a rollback"
                f" of {run}"
            )

    def token(self) -> tuple[int, str]:
        """Token and run of the lease as it stands; tells since when it is so."""
        found = self.metadb.rows(RM, "omsfab_lease")
        if not found:
            return -1, ""
        token = int(found[0]["token"])
        self.tokens.setdefault(token, self.world.now)
        return token, str(found[0]["run_id"])

    def lost(self, process: Process) -> float | None:
        """Since when the lease of this process is another's; None while it is its own."""
        token, _ = self.token()
        if token in (-1, process.lease.token):
            return None
        return self.tokens[token]

    def acts(self, process: Process, asked: float, what: str) -> None:
        """A process changes something, ``asked`` is when it had last looked at its lock."""
        since = self.lost(process)
        if since is not None and since < asked - GRACE:
            self.broken.append(
                f"run {process.lease.run_id} of {process.name} acts though its lock was lost"
                f" before: {what[:80]}"
            )

    def copied(self, node: Node, path: str) -> None:
        self.broken.append(f"{node.name}: the copy {path} was replaced by what is no longer one")

    def put_back(
        self, node: Node, path: str, found: File | None, kept: File | None, run: str, *, aside: bool
    ) -> None:
        if found is None or aside or (kept is not None and kept.content == found.content):
            return
        if found.writer != run:
            self.broken.append(
                f"{node.name}: {path}, which {found.writer} wrote last, was overwritten by a"
                f" rollback of {run}"
            )

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """The rows of the four tables, by what identifies them: no ids, times, states."""
        info, where, hosts, groups = (self.metadb.rows(*place) for place in FOUR)
        names = {row["id"]: row["name"] for row in groups}
        return {
            "cluster_info": sorted(
                (r["code"], r["region"], r["cm_url"], r["is_default_cm"]) for r in info
            ),
            "location_cm": sorted((r["location"], r["cm_url"]) for r in where),
            "resource_group": sorted((r["name"],) for r in groups),
            "host": sorted(
                (r["ip"], names.get(r["resource_group_id"], f"gone: {r['resource_group_id']}"))
                for r in hosts
            ),
        }
