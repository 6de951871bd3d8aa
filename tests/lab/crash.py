"""A lab that is put back fast, and what a scale-out came to, asked past omsfab.

Not a lab down and up (25 s) but: rows by SQL, files on disk, containers by docker, in about 5 s.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from omsfab.lab.oracle import CONTAINER, Fleet, Said

TABLES = {
    "oms_rm": ("cluster_info",),
    "oms_cm": ("location_cm", "host", "resource_group"),
    "oms_cm_heartbeat_1": ("heart_beat",),
}
ALIVE = {"gmt_created", "gmt_modified", "id", "resource_group_id", "beat_time", "heart_beat_time"}
"""Columns that differ from run to run: times, and numbers the database hands out."""

FAST = {"INIT_SECONDS": 1}


@dataclass
class Crash:
    """A fleet with OMS on oms1, which any number of scale-outs may be tried upon."""

    fleet: Fleet
    first: str = "oms1"
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    config: bytes = b""
    before: dict[str, int] = field(default_factory=dict)

    @classmethod
    def deployed(cls, fleet: Fleet) -> Crash:
        """Deploy OMS on oms1, and remember what is to come back."""
        crash = cls(fleet)
        for node in fleet.lab.nodes:
            fleet.lab.knob(node.name, **FAST)
        said = fleet.fab("oms.deploy", "--yes", hosts="initial.yaml")
        assert said.status == 0, said
        crash._online()
        crash.rows = {t: fleet.lab.sql(f"select * from {t}") for t in crash._tables()}
        crash.config = crash._path("/data/config.yaml").read_bytes()
        crash.before = fleet.inits()
        return crash

    def reset(self) -> None:
        """Put everything back to what it was before the first scale-out."""
        lab = self.fleet.lab
        others = [node.name for node in lab.nodes if node.name != self.first]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._bare, others))
        self._in_first("supervisorctl", "stop", "all")
        lab.sql("drop database if exists omsfab")
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
        for home in lab.directory.glob("state*"):
            shutil.rmtree(home)
        lab.enter(self.first, ["rm", "-rf", "/var/lib/omsfab"])
        self._online()
        self.before = self.fleet.inits()

    def kill_at(self, point: str, *words: str) -> Said:
        """Run `fab scale.out --yes` and have it die at a failpoint."""
        return self.fleet.fab(*(words or ("scale.out", "--yes")), OMSFAB_FAILPOINT=point)

    def outcome(self) -> dict[str, Any]:
        """What came of it: rows, files, containers, programs, executions of docker_init.sh."""
        lab = self.fleet.lab
        names = [node.name for node in lab.nodes]
        after = self.fleet.inits()
        return {
            "rows": {table: self._rows(table) for table in self._tables()[:4]},
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
        }

    # --- parts ---

    def _online(self) -> None:
        """Wait until OMS sees its node: a row still OFFLINE would look like a change later."""
        end = time.monotonic() + 60
        while set(self.fleet.hosts().values()) != {"ONLINE"}:
            assert time.monotonic() < end, self.fleet.hosts()
            time.sleep(0.3)

    def _tables(self) -> list[str]:
        return [f"{schema}.{table}" for schema, tables in TABLES.items() for table in tables]

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

    def _bare(self, node: str) -> None:
        """No container, no image, no data."""
        lab = self.fleet.lab
        script = (
            f"docker rm -f {CONTAINER}; docker images -q | xargs -r docker rmi -f;"
            " rm -rf /data/oms /data/config.yaml* /var/lib/omsfab"
        )
        lab.enter(node, ["sh", "-c", script])
        lab.knob(node, **FAST)
