"""A lab that is put back fast, and what a scale-out came to, asked past omsfab.

Not a lab down and up (25 s) but: rows by SQL, files on disk, containers by docker, in about 5 s.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from omsfab.lab.model import Lab
from tests.lab.oracle import CONTAINER, Fleet, Said

FOUR = ("oms_rm.cluster_info", "oms_cm.location_cm", "oms_cm.host", "oms_cm.resource_group")
ALIVE = {"gmt_created", "gmt_modified", "id", "resource_group_id", "beat_time", "heart_beat_time"}
ALIVE |= {"lab_load", "lab_report"}
"""Columns that differ from run to run: times, figures, and numbers the database hands out."""

FAST = {"INIT_SECONDS": 1}


def lease_schemas(lab: Lab) -> list[str]:
    """The schemas in which a lease of omsfab lies."""
    found = lab.sql(
        "select table_schema from information_schema.tables where table_name = 'omsfab_lease'"
    )
    return [str(schema) for (schema,) in found]


def expire_lease(lab: Lab, renewed: int = 0) -> None:
    """The lease has run out, wherever it lies, and was renewed so many seconds ago at the last."""
    for schema in lease_schemas(lab):
        lab.sql(
            f"update {schema}.omsfab_lease set expires = utc_timestamp(6) - interval 1 second,"
            f" renewed = utc_timestamp(6) - interval {renewed} second"
        )


@dataclass
class Crash:
    """A fleet with OMS on ``first`` ("" = nowhere yet), which any number of runs may be tried upon.

    What runs there is what initial.yaml says; ``fab`` is given hosts.yaml.
    """

    fleet: Fleet
    first: str = "oms1"
    schemas: set[str] = field(default_factory=set)
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    config: bytes = b""
    before: dict[str, int] = field(default_factory=dict)

    @classmethod
    def bare(cls, fleet: Fleet) -> Crash:
        """No OMS anywhere, as after `fab lab.up`; whatever was tried upon this fleet is gone."""
        crash = cls(fleet, first="")
        crash.reset()
        return crash

    @classmethod
    def deployed(cls, fleet: Fleet) -> Crash:
        """Deploy OMS on oms1, and remember what is to come back."""
        cls.bare(fleet)
        crash = cls(fleet)
        said = fleet.fab("oms.deploy", "--yes", hosts="initial.yaml")
        assert said.status == 0, said
        crash.await_service()
        crash.schemas = crash._schemas() - {"omsfab"}
        crash.rows = {t: fleet.lab.sql(f"select * from {t}") for t in crash._tables()}
        crash.config = crash._path("/data/config.yaml").read_bytes()
        crash.before = fleet.inits()
        return crash

    def reset(self, *, images: bool = True) -> None:
        """Put everything back to what it was before the first run.

        Without ``images`` those that were loaded stay on the nodes, which saves most of the time.
        """
        lab = self.fleet.lab
        others = [node.name for node in lab.nodes if node.name != self.first]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda name: self._bare(name, images), others))
        if self.first:
            self._in_first("supervisorctl", "stop", "all")
        for schema in self._schemas() - self.schemas:
            lab.sql(f"drop database {schema}")
        for schema in lease_schemas(lab):
            lab.sql(f"drop table if exists {schema}.omsfab_lease")
            lab.sql(f"drop table if exists {schema}.omsfab_marker")
        for home in lab.directory.glob("state*"):
            shutil.rmtree(home)
        if self.first:
            self._first_again()
        self.before = self.fleet.inits()

    def _first_again(self) -> None:
        lab = self.fleet.lab
        for table, rows in self.rows.items():
            lab.sql(f"delete from {table}")
            for row in rows:
                lab.sql(f"insert into {table} values ({', '.join(['%s'] * len(row))})", row)
        self._path("/data/config.yaml").write_bytes(self.config)
        for left in self._path("/data/oms").parent.glob("config.yaml.omsfab-*"):
            left.unlink()
        shutil.rmtree(self._path("/data/oms/oms_logs/omsfab"), ignore_errors=True)
        self._in_first(
            "python", "-m", "omsflow.scripts.units.oms_init_manager", "--init-config-file"
        )
        self._in_first("supervisorctl", "start", "all")
        lab.enter(self.first, ["rm", "-rf", "/var/lib/omsfab"])
        self.await_service()

    def kill_at(self, point: str, *words: str) -> Said:
        """Run `fab scale.out --yes`, or these words, and have it die at a failpoint."""
        return self.fleet.fab(*(words or ("scale.out", "--yes")), OMSFAB_FAILPOINT=point)

    def outcome(self) -> dict[str, Any]:
        """What came of it: rows, files, containers, programs, executions of docker_init.sh."""
        lab = self.fleet.lab
        names = [node.name for node in lab.nodes]
        after = self.fleet.inits()
        return {
            "rows": {table: self._rows(table) for table in FOUR},
            "configs": {name: self._digest(name) for name in names},
            "containers": self.fleet.containers(),
            "images": {name: self._image(name) for name in self.fleet.containers()},
            "programs": {name: self.fleet.programs(name) for name in self.fleet.containers()},
            "inits": {name: after[name] - self.before.get(name, 0) for name in names},
            "overlaps": self.fleet.overlaps(),
            "left over": [
                str(path.name)
                for name in names
                for path in lab.path(name, "/data/oms").glob("*.part*")
            ],
            "locks": self._locks(),
        }

    def journalled(self, *kinds: str) -> set[str]:
        """The steps of the newest run whose journal has an event of one of these kinds."""
        newest = max(self.fleet.lab.directory.glob("state/*/*/journal.jsonl"))
        events = [json.loads(line) for line in newest.read_text().splitlines()]
        return {f"{e['step']}@{e['node']}" for e in events if e["step"] and e["kind"] in kinds}

    # --- parts ---

    def await_service(self) -> None:
        """Wait until OMS sees its node: a row still OFFLINE would look like a change later.  And
        until its CM answers: rows that were put back say ONLINE before a program has come far."""
        own = self.fleet.lab.node(self.first).ip
        end = time.monotonic() + 60
        while set(self.fleet.hosts().values()) != {"ONLINE"} or not self.fleet.cm(own):
            assert time.monotonic() < end, self.fleet.hosts()
            time.sleep(0.3)

    def _schemas(self) -> set[str]:
        return {str(name) for (name,) in self.fleet.lab.sql("show databases like 'oms%'")}

    def _tables(self) -> list[str]:
        return [*FOUR, "oms_cm_heartbeat_1.heart_beat"]

    def _locks(self) -> list[str]:
        """What is still held: claims on nodes, and the lease."""
        lab = self.fleet.lab
        claimed = [
            node.name
            for node in lab.nodes
            if lab.enter(node.name, ["test", "-e", "/var/lib/omsfab/claim"]).returncode == 0
        ]
        held = {
            str(run)
            for schema in lease_schemas(lab)
            for (run,) in lab.sql(f"select run_id from {schema}.omsfab_lease")
        }
        return [*claimed, *sorted(held - {""})]

    def _rows(self, table: str) -> list[tuple[Any, ...]]:
        lab = self.fleet.lab
        schema, name = table.split(".")
        columns = [
            str(column)
            for (column,) in lab.sql(
                "select column_name from information_schema.columns"
                " where table_schema = %s and table_name = %s order by ordinal_position",
                (schema, name),
            )
            if str(column) not in ALIVE
        ]
        if not columns:  # the table was never made
            return []
        return sorted(lab.sql(f"select {', '.join(columns)} from {table}"), key=repr)

    def _digest(self, node: str) -> str:
        path = self.fleet.lab.path(node, "/data/config.yaml")
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "none"

    def _image(self, node: str) -> str:
        return self.fleet.docker(node, "inspect", "-f", "{{.Image}}", CONTAINER)

    def _path(self, path: str) -> Any:
        return self.fleet.lab.path(self.first, path)

    def _in_first(self, *words: str) -> None:
        self.fleet.lab.enter(self.first, ["docker", "exec", CONTAINER, *words])

    def _bare(self, node: str, images: bool) -> None:
        """No container, no data, and no image."""
        lab = self.fleet.lab
        rmi = "docker images -q | xargs -r docker rmi -f;" if images else ""
        script = (
            f"docker rm -f {CONTAINER}; {rmi} rm -rf /data/oms /data/config.yaml* /var/lib/omsfab"
        )
        lab.enter(node, ["sh", "-c", script])
        lab.knob(node, **FAST)
