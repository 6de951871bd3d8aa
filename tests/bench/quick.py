"""startup, plan: how long omsfab itself takes, without a network."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from omsfab.fleet.image_package import Package
from omsfab.fleet.model import Fleet, Install, MetaDb, Node, Region
from omsfab.plan.observed import assumed
from omsfab.plan.procedures import scale_out
from omsfab.secret import Secret
from tests.bench.figures import BARE, IMPORT, OURS, PLANS
from tests.bench.turns import ROOT, Way, process, take, timed

ONE_TASK = "from fabric import task\n\n\n@task\ndef nothing(c):\n    pass\n"
FAB = str(Path(sys.executable).with_name("fab"))


def startup(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as here:
        Path(here, "fabfile.py").write_text(ONE_TASK)
        # The example's package is not there, and a plan wants to see it.
        example = (ROOT / "hosts.yaml").read_text().splitlines(keepends=True)
        hosts = Path(here, "hosts.yaml")
        hosts.write_text("".join(line for line in example if not line.startswith("  package:")))
        env = {
            "OMSFAB_HOSTS": str(hosts),
            "OMSFAB_HOME": f"{here}/state",
            "OMS_META_PASSWORD": "none",
        }
        bare = process(FAB, "--list", cwd=Path(here))
        take("list", {OURS: process(FAB, "--list"), BARE: bare}, rounds)
        dry = process(FAB, "--dry", "scale.out", **env)
        imported = process(sys.executable, "-c", "import paramiko")
        take("dry", {OURS: dry, IMPORT: imported}, rounds)


def plan(rounds: int) -> None:
    def planning(many: int) -> Way:
        fleet = fleet_of(many)
        region = fleet.regions[0]
        package = Package("oms.tar.gz", 2_000_000_000, "cd" * 32, "sha256:" + "ab" * 32)
        return timed(lambda: scale_out.scale_out(fleet, assumed(fleet, region, package)))

    take("plan", {name: planning(many) for many, name in PLANS.items()}, rounds)


def fleet_of(many: int) -> Fleet:
    """Return a fleet of one region behind a VIP with so many nodes."""
    nodes = tuple(Node(name=f"oms{n}", ip=f"10.{n // 250}.1.{n % 250 + 1}") for n in range(many))
    region = Region(
        name="cn-bench", location=1, cm_url="http://10.255.0.1:8088", heartbeat_db="hb", nodes=nodes
    )
    metadb = MetaDb(
        host="10.255.0.9", port=2881, user="oms@oms_meta", password=Secret("none"),
        rm_db="oms_rm", cm_db="oms_cm",
    )  # fmt: skip
    install = Install(image="registry.example/oms:feature_4.2.7_ce", container="oms_427")
    return Fleet(install=install, metadb=metadb, regions=(region,))
