"""status: `fab fleet.status` of 1 to 100 nodes, and others who ask the same.

One server of a lab has all the addresses, so it does the work of all the nodes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from fabric import ThreadingGroup

from omsfab.lab import Lab, network
from omsfab.lab.system import run
from tests.bench import rivals, wire
from tests.bench.figures import OURS, SWEEPS
from tests.bench.job import oms
from tests.bench.quick import FAB
from tests.bench.turns import Way, process, rival, take
from tests.faults.harness import Harness
from tests.faults.oracle import CONTAINER

HERE = Path(__file__).parent
FIRST = 110
"""Last number of the first further address; the lab has none above it."""
WIDTH = 50

ASKED = (
    "docker version -f '{{.Server.Version}}'"
    f" && docker inspect -f '{{{{.State.Running}}}} {{{{.Config.Image}}}}' {CONTAINER}"
    f" && docker exec {CONTAINER} supervisorctl status"
    " && curl -ksS -m 10 -w '%{http_code}' -o /dev/null -o /dev/null"
    " http://127.0.0.1:8089/oms/health http://127.0.0.1:8088/"
)
"""What fleet.status asks a node, as one line."""


def status(rounds: int) -> None:
    with oms(1) as place:
        for many in SWEEPS:
            take(f"status-{many}", _ways(place, _addresses(place.lab, many)), rounds)


def _addresses(lab: Lab, many: int) -> list[str]:
    """So many addresses of the first node, its own first; they are brought up."""
    node = lab.nodes[0]
    further = [network.address(lab.subnet, FIRST + number) for number in range(many - 1)]
    for ip in further:
        run("ip", "-n", node.netns, "addr", "replace", f"{ip}/24", "dev", "eth0")
    return [node.ip, *further]


def _ways(place: Harness, ips: Sequence[str]) -> dict[str, Way | rivals.Missing]:
    lab, here = place.lab, place.work
    keys = [line.partition(" ")[2] for line in lab.known_hosts.read_text().splitlines()]
    known = here / "known_hosts"
    known.write_text("".join(f"{','.join(ips)} {key}\n" for key in keys))
    (here / "addresses").write_text("\n".join(ips) + "\n")
    nodes = {f"oms{number}": ip for number, ip in enumerate(ips, 1)}
    hosts = here / "hosts.yaml"
    hosts.write_text(
        lab.hosts_yaml(
            f"http://{lab.vip}:8088", [],
            regions={"cn-lab": {"nodes": nodes}}, ssh={"known_hosts": str(known)},
        )
    )  # fmt: skip
    env = {"OMSFAB_HOSTS": str(hosts), "OMSFAB_HOME": str(here / "state")}
    options = [
        *("-F", "none", "-i", str(lab.key), "-o", f"UserKnownHostsFile={known}", "-q"),
        *("-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"),
        *("-o", "KexAlgorithms=curve25519-sha256"),
    ]

    def ssh() -> Way:
        words = (rivals.program("xargs"), "-P", str(WIDTH), "-I", "NODE", rivals.program("ssh"))
        return process(*words, *options, "root@NODE", ASKED, stdin=here / "addresses")

    def pssh() -> Way:
        python = rivals.environment("pssh") / "python"
        words = (str(HERE / "with_pssh.py"), str(lab.key), str(WIDTH), ASKED, *ips)
        return process(str(python), *words)

    def pyinfra() -> Way:
        words = [
            *(str(rivals.environment("pyinfra") / "pyinfra"), "-y", "--parallel", str(WIDTH)),
            *("--ssh-user", "root", "--ssh-key", str(lab.key)),
            *("--data", f"ssh_known_hosts_file={known}"),
            *("--data", "ssh_strict_host_key_checking=yes"),
            *(",".join(ips), "exec", "--", ASKED),
        ]
        return process(*words, cwd=here)  # it may leave a log where it runs

    fabric = (sys.executable, "-m", __name__, str(lab.key), str(known), ASKED, *ips)
    return {
        OURS: process(FAB, "fleet.status", ok=(0, 5), **env),  # 5: hosts without a row
        "ssh by xargs -P50": rival(ssh),
        "parallel-ssh": rival(pssh),
        "pyinfra": rival(pyinfra),
        "Fabric ThreadingGroup": process(*fabric),
    }


def main(key: str, known: str, asked: str, *ips: str) -> None:
    """Fabric's group, a thread for each node."""
    group = ThreadingGroup(*ips, user="root", connect_kwargs={"key_filename": [key]})
    for link in group:
        wire.trust(link, known)
    group.run(asked, hide=True, in_stream=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
