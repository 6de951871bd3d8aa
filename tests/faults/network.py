"""Faults of SSH and the network (faults.md, section 1)."""

from __future__ import annotations

import signal
import time

from tests.faults.environment import OUT, service, sh
from tests.faults.ground import Ground, Miss
from tests.faults.matrix import fault

SLOW = 12
"""Seconds of docker_init.sh where something is to happen in its middle."""


def in_the_init(g: Ground):
    """A scale-out whose first initialisation runs, long enough to be hurt."""
    g.lab.knob(g.first, INIT_SECONDS=SLOW)
    running = g.start(*OUT)
    running.says(r"oms1 +initialise +· step 2 of 5", 120)
    return running


def cut(g: Ground, node: str) -> None:
    """End every SSH session of a node without a word."""
    sh(
        g,
        node,
        "ss -K state established sport = :22 >/dev/null 2>&1; pkill -KILL -f '^sshd: [^/]' || true",
    )


def blackhole(g: Ground, node: str) -> None:
    """Nothing goes in or out on port 22, and nobody is told."""
    for chain, side in (("INPUT", "--dport"), ("OUTPUT", "--sport")):
        rule = f"{chain} -p tcp {side} 22 -j DROP"
        sh(g, node, f"iptables -I {rule}")
        g.undo(lambda r=rule: sh(g, node, f"iptables -D {r}"))


@fault(
    "N01",
    "the SSH session is cut in the middle of docker_init.sh",
    "ss -K and SIGKILL of sshd's children, twice",
)
def session_cut(g: Ground) -> None:
    running = in_the_init(g)
    cut(g, g.first)
    time.sleep(3)
    cut(g, g.first)
    g.ended(g.note(running.end()), 0)
    if g.inits()[g.first] != 1:
        raise Miss(f"docker_init.sh ran {g.inits()[g.first]} times")


@fault("N02", "a black hole on port 22 during docker_init.sh", "iptables DROP both ways for 60 s")
def hole(g: Ground) -> None:
    running = in_the_init(g)
    blackhole(g, g.first)
    began = time.monotonic()
    running.says(r"lost|reconnect", 60)
    if time.monotonic() - began > 45:
        raise Miss(f"noticed after {time.monotonic() - began:.0f} s")
    time.sleep(max(0.0, 60 - (time.monotonic() - began)))
    g.heal_but(running)
    g.ended(g.note(running.end()), 0)


@fault("N03", "sshd hangs, TCP is fine", "SIGSTOP of its children during docker_init.sh")
def frozen(g: Ground) -> None:
    running = in_the_init(g)
    sh(g, g.first, "pkill -STOP -f '^sshd: [^/]'")
    g.undo(lambda: g.lab.enter(g.first, ["pkill", "-CONT", "-f", "^sshd: [^/]"]))
    began = time.monotonic()
    running.says(r"lost|reconnect", 60)
    if time.monotonic() - began > 45:
        raise Miss(f"noticed after {time.monotonic() - began:.0f} s")
    g.ended(g.note(running.end()), 0)


@fault("N04", "a slow line", "tc tbf 256 kbit/s on oms2, images loaded")
def slow(g: Ground) -> None:
    node = g.new[0]
    sh(g, node, "tc qdisc add dev eth0 root tbf rate 256kbit burst 2kb latency 4s")
    g.undo(lambda: g.lab.enter(node, ["tc", "qdisc", "del", "dev", "eth0", "root"]))
    g.ended(g.fab(*OUT, limit=500), 0)


@fault("N05", "every fifth packet is lost", "iptables statistic 0.2 on oms1 and oms2, port 22")
def lossy(g: Ground) -> None:
    for node in (g.first, g.new[0]):
        rule = "INPUT -p tcp --dport 22 -m statistic --mode random --probability 0.2 -j DROP"
        sh(g, node, f"iptables -I {rule}")
        g.undo(lambda n=node, r=rule: sh(g, n, f"iptables -D {r}"))
    g.ended(g.fab(*OUT, limit=500), 0)
    g.heal()
    g.says(g.fab(*OUT), "0 changes")


@fault("N08", "port 22 answers, but is not SSH", "socat in sshd's place on oms2")
def tarpit(g: Ground) -> None:
    node = g.new[0]
    service(g, node, "sshd", "stop")
    sh(g, node, "setsid socat TCP-LISTEN:22,fork,reuseaddr EXEC:'sleep 999' >/dev/null 2>&1 &")
    g.undo(lambda: service(g, node, "sshd", "start"))
    g.undo(lambda: g.lab.enter(node, ["pkill", "socat"]))
    g.says(g.refused(g.fab(*OUT), 3, "SSH-003"), node)


@fault("N08b", "sshd is down", "lab-service sshd stop on oms2")
def no_sshd(g: Ground) -> None:
    node = g.new[0]
    service(g, node, "sshd", "stop")
    g.undo(lambda: service(g, node, "sshd", "start"))
    outcome = g.refused(g.fab(*OUT), 3, "SSH-001")
    g.says(outcome, node)
    g.heal()
    g.ended(g.paste(outcome), 0)


@fault("N09", "the login profile is noisy", "root's .profile prints, asks and sets a trap")
def noisy(g: Ground) -> None:
    for node in g.names:
        home = g.lab.node_directory(node) / "home-root"
        for name in (".bashrc", ".profile"):
            (home / name).write_text(
                "echo Welcome; echo 'last login: never' >&2; stty -echo 2>/dev/null\n"
            )
            g.undo((home / name).unlink)
    g.ended(g.fab(*OUT), 0)


@fault("N11", "docker_init.sh floods its output", "100 MB on standard error on oms1")
def flood(g: Ground) -> None:
    g.lab.knob(g.first, INIT_FLOOD_MB=100)
    outcome = g.ended(g.fab(*OUT, limit=500), 0)
    if outcome.memory > 200:
        raise Miss(f"{outcome.memory} MB of memory")
    size = sum(p.stat().st_size for p in g.files())
    if size > 70e6:
        raise Miss(f"{size / 1e6:.0f} MB were kept on the jump host")


@fault(
    "N13",
    "the session is cut while config.yaml is written",
    "sshd's children killed as soon as the step begins",
)
def cut_in_write(g: Ground) -> None:
    running = g.start(*OUT)
    running.says(r"oms1 +config +▸", 120)
    cut(g, g.first)
    outcome = g.note(running.end())
    if outcome.code != 0:
        g.ended(g.paste(outcome), 0)


@fault("J04", "Ctrl-C during docker_init.sh", "SIGINT to fab")
def ctrl_c(g: Ground) -> None:
    running = in_the_init(g)
    running.process.send_signal(signal.SIGINT)
    outcome = g.ended(g.note(running.end(20)), 130, "INIT-030")
    if not g.lab.counters(g.first)["running"]:
        raise Miss("docker_init.sh was ended, too")
    g.ended(g.paste(outcome), 0)
    if g.inits()[g.first] != 1:
        raise Miss(f"docker_init.sh ran {g.inits()[g.first]} times")


@fault(
    "J10", "a second run beside one that is under way", "from the same jump host, and from another"
)
def two_runs(g: Ground) -> None:
    running = in_the_init(g)
    second = g.ended(g.fab(*OUT), 4, "LOCK-001")
    g.says(second, f"pid {running.process.pid}")
    other = g.fab(*OUT, OMSFAB_HOME=str(g.directory / "state2"))
    g.ended(other, 4, "DB-030")
    g.ended(g.note(running.end()), 0)


@fault("J11", "two runs at once on two jump hosts", "two state directories, started together")
def two_jump_hosts(g: Ground) -> None:
    first = g.start(*OUT)
    second = g.start(*OUT, OMSFAB_HOME=str(g.directory / "state2"))
    ends = sorted((first.end().code, second.end().code))
    if ends != [0, 4]:
        raise Miss(f"they ended with {ends}")
    g.served()


@fault(
    "I03",
    "power fails on a new node after the outage began",
    "all its processes killed, then started",
)
def power(g: Ground) -> None:
    from omsfab import lab as labs

    running = in_the_init(g)
    labs.stop_node(g.lab, g.new[0])
    g.undo(lambda: labs.start_node(g.lab, g.new[0]))
    time.sleep(2)
    labs.start_node(g.lab, g.new[0])
    outcome = g.note(running.end())
    if outcome.code != 0:
        g.ended(g.paste(outcome), 0)
