"""The virtual address of a lab, and the TCP balancer that answers it on the ports of OMS."""

from __future__ import annotations

from omsfab.lab import network
from omsfab.lab.model import BALANCER, Lab
from omsfab.lab.system import answers, background, private_dir, private_file, wait_for

NUMBER = 201
PORTS = (8088, 8089)


def start(lab: Lab) -> None:
    """Start the balancer unless it lives; returns when the virtual address answers."""
    place, directory = lab.place, private_dir(lab.directory / BALANCER)
    netns = place.netns(BALANCER)
    network.cable(place, BALANCER, NUMBER, network.address(lab.subnet, 8))
    new = configuration(lab)
    config, log = directory / "haproxy.cfg", directory / "haproxy.log"
    changed = not config.exists() or config.read_text() != new
    if network.first_process(netns) is None or changed:
        network.empty(netns)
        private_file(config, new)
        lab.move_vip(BALANCER)
        background(
            (
                *("nsenter", f"--net={network.NETNS / netns}"),
                *("unshare", "--pid", "--fork", "--kill-child"),
                *("haproxy", "-db", "-f", str(config)),
            ),
            log,
        )
    wait_for("the balancer", lambda: answers(network.address(lab.subnet, 8), PORTS[0]), 20, log)


def configuration(lab: Lab) -> str:
    """haproxy.cfg: each port goes to every node that accepts connections on it."""
    parts = [
        "global\n  maxconn 2000\n",
        "defaults\n  mode tcp\n  timeout connect 2s\n  timeout client 1m\n  timeout server 1m\n"
        "  retries 1\n  option redispatch\n",
    ]
    for port in PORTS:
        parts.append(f"listen port{port}\n  bind *:{port}\n  balance roundrobin\n")
        parts.extend(
            f"  server {node.name} {node.ip}:{port} check inter 500ms fall 1 rise 1\n"
            for node in lab.nodes
        )
    return "".join(parts)
