"""OMS as others deploy it: by hand, by the vendor's wizard, by OBD; past omsfab."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.lab.oracle import Fleet

INSIDE = {
    "config": "/home/admin/conf/config.yaml",
    "logs": "/home/admin/logs",
    "store": "/home/ds/store",
    "run": "/home/ds/run",
}


@dataclass(frozen=True)
class Layout:
    """How somebody calls the container, where its files are, and how config.yaml is written."""

    container: str
    places: Mapping[str, str]
    quoted: bool = False


HAND = Layout(
    "oms_prod",
    {"config": "/srv/oms-config.yaml", "logs": "/srv/l", "store": "/srv/s", "run": "/srv/r"},
    quoted=True,
)
WIZARD = Layout(
    "OMS_20231117_103102",
    {
        "config": "/data/1/config.yaml",
        "logs": "/data/1/oms/out/home/admin/logs",
        "store": "/data/1/oms/out/home/ds/store",
        "run": "/data/1/oms/out/home/ds/run",
    },
)
OBD = Layout(
    "prod-oms-ce-123456",
    {
        "config": "/data/oms/run/config.yaml",
        "logs": "/data/oms/logs",
        "store": "/data/oms/store",
        "run": "/data/oms/run",
    },
    quoted=True,
)


def config(fleet: Fleet, prefix: str, cm_url: str, ips: Sequence[str], **more: object) -> dict:
    """What config.yaml says of a region of one OMS, with databases of its own."""
    metadb = fleet.lab.metadb
    return {
        "oms_meta_host": metadb.host,
        "oms_meta_port": metadb.port,
        "oms_meta_user": metadb.user,
        "oms_meta_password": fleet.lab.password_file.read_text(),
        "drc_rm_db": f"{prefix}_rm",
        "drc_cm_db": f"{prefix}_cm",
        "drc_cm_heartbeat_db": f"{prefix}_hb",
        "cm_url": cm_url,
        "cm_location": 1,
        "cm_region": "cn-hand",
        "cm_nodes": list(ips),
        "tsdb_enabled": False,
        **more,
    }


def text(values: Mapping[str, object], *, quoted: bool) -> str:
    """Flat ``key: value`` as in the guide, or each key and scalar in quotes as OBD writes it."""
    lines = []
    for key, value in values.items():
        if isinstance(value, list):
            lines += [f'"{key}":' if quoted else f"{key}:", *(f" - {one}" for one in value)]
        elif quoted:
            said = json.dumps(value) if isinstance(value, bool) else str(value)
            lines.append(f'"{key}": {json.dumps(said)}')
        else:
            lines.append(f"{key}: {json.dumps(value)}")
    return "\n".join(lines) + "\n"


def deploy(fleet: Fleet, node: str, layout: Layout, said: str) -> None:
    """What a person types on the node: directories, image, config.yaml, docker run, init."""
    lab = fleet.lab
    places = layout.places
    sh(fleet, node, "mkdir", "-p", *(places[key] for key in ("logs", "store", "run")))
    lab.enter(node, ["sh", "-c", 'cat >"$1"', "sh", places["config"]], data=said.encode())
    lab.enter(node, ["docker", "load"], data=lab.package.read_bytes())
    binds = [word for key, at in INSIDE.items() for word in ("-v", f"{places[key]}:{at}")]
    sh(
        fleet, node,
        *("docker", "run", "-dit", "--net", "host", *binds),
        *("-e", f"OMS_HOST_IP={lab.node(node).ip}", "--privileged=true", "--pids-limit", "-1"),
        *("--ulimit", "nproc=65535:65535", "--name", layout.container, lab.image),
    )  # fmt: skip
    words = ["docker", "exec", layout.container, "bash", "/root/docker_init.sh"]
    done = lab.enter(node, words, limit=300)
    assert "全部初始化步骤执行成功" in done.stdout, done.stdout[-2000:] + done.stderr


def sh(fleet: Fleet, node: str, *words: str) -> str:
    """Run it there; it must succeed."""
    done = fleet.lab.enter(node, list(words), limit=300)
    if done.returncode != 0:
        raise AssertionError(f"{node}: {' '.join(words)}: {done.stdout[-2000:]}{done.stderr}")
    return done.stdout
