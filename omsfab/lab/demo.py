"""The lab as an operator meets it: `fab lab.*`.  OMS comes onto it by omsfab itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from omsfab import lab as labs
from omsfab.errors import Next, OmsfabError, PreflightError
from omsfab.lab.model import ENGINES

ROOT = Path(__file__).parents[2]
FAB = Path(sys.executable).with_name("fab")


def up(
    name: str, nodes: int, metadb: str, *, bare: bool, profile: str = "", start_secs: str = ""
) -> labs.Lab:
    """Start the lab and, unless ``bare``, deploy OMS on its first server.

    ``profile`` and ``start_secs`` are those of labs.up: real figures unless said otherwise.
    """
    why = labs.missing()
    if why:
        raise PreflightError("LAB-001", why, where="this machine", next=Next("scripts/test"))
    engine = next((known for known in ENGINES if known == metadb), None)
    if engine is None:
        raise OmsfabError("LAB-002", f"no such MetaDB: {metadb}", next=Next("fab lab.up"))
    lab = labs.up(name, nodes, engine, profile=profile, start_secs=start_secs)
    first = lab.nodes[0]
    write(lab, "initial.yaml", f"http://{first.ip}:8088", [first.name])
    write(lab, "hosts.yaml", f"http://{lab.vip}:8088", [node.name for node in lab.nodes])
    if not bare and not deployed(lab):
        fab(lab, "initial.yaml", "oms.deploy", "--yes")
    print(f"\nThe lab is up; use it with:\n{use(lab)}")
    return lab


def use(lab: labs.Lab) -> str:
    """Return the lines that point omsfab to this lab."""
    return (
        f"  export OMSFAB_HOSTS={lab.directory}/hosts.yaml\n"
        f"  export OMSFAB_HOME={lab.directory}/state"
    )


def write(lab: labs.Lab, file: str, cm_url: str, nodes: list[str], **extra: object) -> Path:
    """Write a hosts.yaml for these nodes of the lab, and return its path."""
    path = lab.directory / file
    path.write_text(lab.hosts_yaml(cm_url, nodes, **extra))
    return path


def deployed(lab: labs.Lab) -> bool:
    """Ask MetaDB, past omsfab, whether OMS is there."""
    found = lab.sql(
        "select 1 from information_schema.tables"
        " where table_schema = 'oms_rm' and table_name = 'cluster_info'"
    )
    return bool(found and lab.sql("select 1 from oms_rm.cluster_info"))


def fab(lab: labs.Lab, file: str, *words: str, check: bool = True) -> int:
    """Run omsfab as an operator would: `fab …` in a process of its own."""
    print(f"\n$ fab {' '.join(words)}", flush=True)
    environment = {
        **os.environ,
        "OMSFAB_HOSTS": str(lab.directory / file),
        "OMSFAB_HOME": str(lab.directory / "state"),
    }
    status = subprocess.run([str(FAB), *words], cwd=ROOT, env=environment, check=False).returncode
    if check and status != 0:
        raise OmsfabError(
            "LAB-003",
            f"fab {' '.join(words)} ended with {status}",
            where=f"lab {lab.name}",
            next=Next(f"fab lab.status --name={lab.name}"),
        )
    return status


def down(name: str) -> None:
    """End everything that the lab started."""
    labs.down(name)


def status(name: str) -> None:
    """Print a row per part of the lab."""
    for what, state in labs.status(name):
        print(f"{what:<24} {state}")


def demo(name: str, metadb: str, *, end: bool) -> None:
    """One OMS node becomes three behind a VIP; then the same again, with nothing to do.

    Starts over if it ran before, and leaves the lab for looking around, unless ``end``.
    """
    down(name)
    lab = up(name, 3, metadb, bare=False)
    fab(lab, "hosts.yaml", "scale.out", "--plan")
    fab(lab, "hosts.yaml", "scale.out", "--yes")
    fab(lab, "hosts.yaml", "fleet.status")
    fab(lab, "hosts.yaml", "scale.out", "--yes")
    print("\nPast omsfab, MetaDB and docker say:")
    for row in lab.sql("select code, region, cm_url from oms_rm.cluster_info"):
        print("  cluster_info", *row)
    for row in lab.sql("select ip, host_status from oms_cm.host order by ip"):
        print("  host        ", *row)
    for node in lab.nodes:
        shown = lab.enter(node.name, ["docker", "ps", "--format", "{{.Names}} {{.Status}}"])
        print("  container   ", node.name, shown.stdout.strip())
    if end:
        return down(name)
    print(f"\nThe lab goes on.  To look around:\n{use(lab)}\n  .venv/bin/fab --list")
    print(f"To end it: .venv/bin/fab lab.down --name={name}")
