"""Does the lab itself work?  ``python -m tests.lab.selfcheck`` as root.

Up, one OMS node deployed by hand with the guide's own flags, healthy through the virtual address,
down, and nothing left behind.  omsfab is not involved.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from pathlib import Path

from omsfab.lab import life, machine, network
from omsfab.lab.model import ENGINES, Lab
from omsfab.lab.places import Place, place
from omsfab.lab.profiles import QUICK, chosen
from omsfab.lab.system import LabError, processes

NAME = "selfcheck"
CONTAINER = "oms_427"
NASTY = 'it\'s "q" $HOME #no \\n `x` %s 密码 é; '


def main() -> int:
    """Exit 0 when everything held; 1 with the reason."""
    machine.install_packages()
    kind = next((engine for engine in ENGINES if engine in sys.argv), ENGINES[0])
    begun = time.monotonic()
    try:
        life.down(NAME)
        lab = life.up(NAME, nodes=2, metadb=kind, password=NASTY, start_secs=QUICK)
        deploy(lab, "oms1")
        _say(begun, f"healthy through the virtual address: {health(lab, lab.vip)}")
        _say(begun, f"counters: {lab.counters('oms1')}")
        _say(begun, f"cluster_info: {lab.sql('select code, cm_url from oms_rm.cluster_info')}")
    except LabError as error:
        print(error.render())
        return 1
    finally:
        life.down(NAME)
    left = leftovers(place(NAME))
    _say(begun, f"left behind: {left or 'nothing'}")
    return 1 if left else 0


def deploy(lab: Lab, node: str) -> None:
    """What the OMS guide "Deploy on a single node" says, typed by hand."""
    begun = time.monotonic()
    package = lab.path(node, "/data/oms.tar.gz")
    package.write_bytes(lab.package.read_bytes())
    inside(lab, node, "docker", "load", "-i", "/data/oms.tar.gz")
    _say(begun, f"loaded on {node}")
    seen = inside(lab, node, "docker", "inspect", "-f", "{{.Id}}", lab.image).strip()
    if seen != lab.image_id:
        raise LabError(f"docker calls the image {seen}, we call it {lab.image_id}")
    write_config(lab, node)
    ip = lab.node(node).ip
    inside(
        *(lab, node, "docker", "run", "-dit", "--net", "host"),
        *("-v", "/data/config.yaml:/home/admin/conf/config.yaml"),
        *("-v", "/data/oms/oms_logs:/home/admin/logs", "-v", "/data/oms/oms_store:/home/ds/store"),
        *("-v", "/data/oms/oms_run:/home/ds/run", "-e", f"OMS_HOST_IP={ip}", "--privileged=true"),
        *("--pids-limit", "-1", "--ulimit", "nproc=65535:65535", "--name", CONTAINER, lab.image),
    )
    _say(begun, f"container runs on {node}")
    said = inside(lab, node, "docker", "exec", CONTAINER, "bash", "/root/docker_init.sh")
    if "【结束】全部初始化步骤执行成功" not in said:
        raise LabError("docker_init.sh did not come to its end", evidence=said[-2000:])
    _say(begun, f"initialised {node}")


def write_config(lab: Lab, node: str) -> None:
    """config.yaml for one node; JSON strings are YAML strings."""
    db, ip = lab.metadb, lab.node(node).ip
    values: dict[str, object] = {
        "oms_meta_host": db.host,
        "oms_meta_port": db.port,
        "oms_meta_user": db.user,
        "oms_meta_password": db.password,
        "drc_rm_db": "oms_rm",
        "drc_cm_db": "oms_cm",
        "drc_cm_heartbeat_db": "oms_cm_heartbeat_1",
        "cm_url": f"http://{ip}:8088",
        "cm_location": 1,
        "cm_nodes": [ip],
    }
    text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items())
    lab.path(node, "/data/config.yaml").write_text(text, encoding="utf-8")


def inside(lab: Lab, node: str, *argv: str) -> str:
    """Run on the node; LabError with what it said if it failed."""
    done = lab.enter(node, argv)
    if done.returncode:
        said = done.stdout[-2000:] + done.stderr[-1000:]
        raise LabError(f"{' '.join(argv[:3])} ended with {done.returncode}", evidence=said)
    return done.stdout


def health(lab: Lab, host: str, limit: float = 20) -> bool:
    """Wait until OMS is well there: its health page or, where the image has none, CM's page."""
    has_page = chosen(lab.profile).has_health
    url = f"http://{host}:8089/oms/health" if has_page else f"http://{host}:8088/"
    end = time.monotonic() + limit
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=4) as answer:
                return not has_page or bool(json.load(answer)["data"]["healthy"])
        except OSError:
            time.sleep(0.2)
    raise LabError(f"{url} does not become healthy")


def leftovers(where: Place) -> list[str]:
    """Processes, mounts, namespaces, links, loop devices and control groups of a lab."""
    directory = str(where.directory)
    found = [f"netns {name}" for name in network.netns_of(where)]
    found += [f"link {p.name}" for p in Path("/sys/class/net").glob(f"omsl{where.tag}*")]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found += [f"mount {line}" for line in mounts if directory in line or where.tag in line]
    for pid in processes():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if directory in words or where.cgroup in words:
            found.append(f"process {pid} {words[:80]!r}")
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        if directory in backing.read_text():
            found.append(f"loop device {backing}")
    groups = Path("/sys/fs/cgroup")
    found += [
        str(p) for p in (groups / where.cgroup, *groups.glob(f"*/{where.cgroup}")) if p.exists()
    ]
    if where.directory.exists():
        found.append(directory)
    return found


def _say(begun: float, text: str) -> None:
    print(f"{time.monotonic() - begun:6.1f} s  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
