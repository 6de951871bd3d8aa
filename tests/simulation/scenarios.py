"""What is so before: an OMS on one node, and hosts.yaml as it is wanted."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from omsfab.fleet import hosts_file, oms_config
from tests.simulation.fleet import BEATS, METADB, REFERENCE, RM, VIPS, Fleet, package
from tests.simulation.metadb import Snapshot
from tests.simulation.world import World

IPS = {"oms1": "10.0.0.1", "oms2": "10.0.0.2", "oms3": "10.0.0.3"}
SHM = Path("/dev/shm")

_PLACE: list[Path] = []


def place() -> Path:
    """A directory in memory for the files of this process, gone when it ends."""
    if not _PLACE or _PLACE[0].name.rpartition("-")[2] != str(os.getpid()):
        root = SHM if SHM.is_dir() else Path(tempfile.gettempdir())
        made = root / f"omsfab-simulation-{os.getpid()}"
        made.mkdir(exist_ok=True)
        (made / "package.tar").write_bytes(package()[0])
        secret = made / "password"
        secret.write_text("its-a-secret")
        secret.chmod(0o600)
        _PLACE[:] = [made]
        atexit.register(shutil.rmtree, made, ignore_errors=True)
    return _PLACE[0]


def hosts_yaml(regions: dict[str, Any], name: str, init: str = "always") -> Path:
    here = place()
    document = {
        "oms": {"image": REFERENCE, "package": str(here / "package.tar"), "container": "oms_427",
                "init": init},
        "metadb": {"host": METADB, "port": 2881, "user": "oms@oms_meta",
                   "password": {"file": str(here / "password")}, "rm_db": "oms_rm",
                   "cm_db": "oms_cm"},
        "ssh": {"user": "root"},
        "regions": regions,
    }  # fmt: skip
    path = here / name
    if not path.exists():
        path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def region(location: int, url: str, *nodes: str) -> dict[str, Any]:
    return {
        "location": location,
        "default": location == 1,
        "cm_url": url,
        "heartbeat_db": BEATS[location],
        "nodes": {name: IPS[name] for name in nodes},
    }


OWN = f"http://{IPS['oms1']}:8088"
VIP = f"http://{VIPS[1]}:8088"
VIP2 = f"http://{VIPS[2]}:8088"

SCENARIOS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # what is deployed, what hosts.yaml wants
    "physical": (
        {"cn-lab": region(1, OWN, "oms1")},
        {"cn-lab": region(1, VIP, "oms1", "oms2")},
    ),
    "vip": (
        {"cn-lab": region(1, VIP, "oms1")},
        {"cn-lab": region(1, VIP, "oms1", "oms2")},
    ),
    "auto": (
        {"cn-lab": region(1, OWN, "oms1")},
        {"cn-lab": region(1, VIP, "oms1", "oms2")},
    ),
    "three": (
        {"cn-lab": region(1, OWN, "oms1")},
        {"cn-lab": region(1, VIP, "oms1", "oms2", "oms3")},
    ),
    "two": (
        {"cn-lab": region(1, OWN, "oms1"), "cn-other": region(2, VIP2, "oms3")},
        {"cn-lab": region(1, VIP, "oms1", "oms2"), "cn-other": region(2, VIP2, "oms3")},
    ),
    "region": (
        {"cn-lab": region(1, OWN, "oms1")},
        {"cn-lab": region(1, OWN, "oms1"), "cn-other": region(2, VIP2, "oms2")},
    ),
}

_BEFORE: dict[str, tuple[Snapshot, list[bytes]]] = {}


def built(world: World, scenario: str) -> tuple[Fleet, Path]:
    """The fleet as it is before, and the hosts.yaml of what is wanted."""
    deployed, wanted = SCENARIOS[scenario]
    fleet = Fleet(world)
    for name in dict.fromkeys(n for one in wanted.values() for n in one["nodes"]):
        fleet.add(name, IPS[name])
    init = "auto" if scenario == "auto" else "always"
    hosts = hosts_yaml(wanted, f"{scenario}.yaml", init)
    if scenario not in _BEFORE:
        _BEFORE[scenario] = _before(scenario)
    snapshot, config = _BEFORE[scenario]
    fleet.metadb.restore(snapshot)
    for one, text in zip(deployed.values(), config, strict=True):
        for name in one["nodes"]:
            fleet.deploy(fleet.nodes[name], text)
    return fleet, hosts


def _before(scenario: str) -> tuple[Snapshot, list[bytes]]:
    """The rows of what is deployed, and each region's config.yaml.  In a world of its own: how
    many connections it takes must not be seen in the first schedule of a process alone."""
    deployed, _ = SCENARIOS[scenario]
    metadb = Fleet(World(plain=True)).metadb
    former = hosts_file.load(hosts_yaml(deployed, f"{scenario}-before.yaml"))
    config = [oms_config.render(former, one).reveal().encode() for one in former.regions]
    for location in (1, 2):
        metadb.create_oms(heartbeat=BEATS[location])
    metadb.run(f"insert into {RM}.oms_version (version, gmt_modified) values ('4.2.7', now())")
    for name, one in deployed.items():
        metadb.add_region(
            one["location"], one["cm_url"], list(one["nodes"].values()), region=name,
            heartbeat=one["heartbeat_db"], default=one["default"],
        )  # fmt: skip
    return metadb.snapshot(), config
