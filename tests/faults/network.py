"""Faults of SSH and the network (README.md, section 1)."""

from __future__ import annotations

import json
import queue
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.faults.harness import DETECTED, Harness, Miss
from tests.faults.inputs_vip_docker import OUT, known_as, narrow, service, sh
from tests.faults.matrix import fault

SLOW = 12
"""Seconds of docker_init.sh where something is to happen in its middle."""


def in_the_init(g: Harness):
    """A scale-out whose first initialisation runs, long enough to be hurt."""
    g.lab.knob(g.first, INIT_SECONDS=SLOW)
    running = g.start(*OUT)
    running.says(r"oms1 +initialise +· step 2 of 5", 120)
    return running


def cut(g: Harness, node: str) -> None:
    """End every SSH session of a node without a word."""
    sh(
        g,
        node,
        "ss -K state established sport = :22 >/dev/null 2>&1; pkill -KILL -f '^sshd: [^/]' || true",
    )


def blackhole(g: Harness, node: str, which: str = "") -> None:
    """Nothing goes in or out on port 22, or only of ``which`` packets, and nobody is told."""
    for chain, side in (("INPUT", "--dport"), ("OUTPUT", "--sport")):
        rule = f"{chain} -p tcp {side} 22 {which} -j DROP"
        sh(g, node, f"iptables -I {rule}")
        g.undo(lambda r=rule: sh(g, node, f"iptables -D {r}"))


@fault(
    "N01",
    "the SSH session is cut in the middle of docker_init.sh",
    "ss -K and SIGKILL of sshd's children, twice",
)
def session_cut(g: Harness) -> None:
    running = in_the_init(g)
    cut(g, g.first)
    time.sleep(3)
    cut(g, g.first)
    g.says(g.ended(g.note(running.end()), 0), "INIT-020 link lost while", "is back after")
    if g.inits()[g.first] != 1:
        raise Miss(f"docker_init.sh ran {g.inits()[g.first]} times")


@fault("N02", "a black hole on port 22 during docker_init.sh", "iptables DROP both ways for 60 s")
def hole(g: Harness) -> None:
    running = in_the_init(g)
    blackhole(g, g.first)
    began = time.monotonic()
    running.says(r"lost|reconnect", 90)
    g.measure(DETECTED, time.monotonic() - began, 45)
    time.sleep(max(0.0, 60 - (time.monotonic() - began)))
    g.heal_but(running)
    g.ended(g.note(running.end()), 0)


@fault("N03", "sshd hangs, TCP is fine", "SIGSTOP of its children during docker_init.sh")
def frozen(g: Harness) -> None:
    running = in_the_init(g)
    sh(g, g.first, "pkill -STOP -f '^sshd: [^/]'")
    g.undo(lambda: g.lab.enter(g.first, ["pkill", "-CONT", "-f", "^sshd: [^/]"]))
    began = time.monotonic()
    running.says(r"lost|reconnect", 90)
    g.measure(DETECTED, time.monotonic() - began, 45)
    g.ended(g.note(running.end()), 0)


@fault(
    "N02b",
    "a black hole to a new node while it is staged",
    "iptables DROP both ways, taken away when it is told",
)
def hole_in_staging(g: Harness) -> None:
    g.reset(images=True)
    node = g.new[0]
    narrow(g, node, "20mbit")
    running = g.start(*OUT)
    running.says(r"oms2 +image +· 10 %", 120)
    blackhole(g, node)
    began = time.monotonic()
    running.says(r"oms2 .*(lost|again|away|back|cut|goes on)", 90)
    g.measure(DETECTED, time.monotonic() - began, 45)
    g.heal_but(running)
    g.ended(g.note(running.end()), 0)


@fault("N03b", "a new node is frozen whole", "SIGSTOP of sshd and all its children, then SIGCONT")
def frozen_whole(g: Harness) -> None:
    node = g.new[0]
    g.lab.knob(node, INIT_SECONDS=SLOW)
    running = g.start(*OUT)
    # An image that initialises itself is waited for instead.
    running.says(r"oms2 +initialise +· (step 2 of 5|.*waiting)", 120)
    sh(g, node, "pkill -STOP sshd")
    g.undo(lambda: g.lab.enter(node, ["pkill", "-CONT", "sshd"]))
    began = time.monotonic()
    running.says(r"lost|reconnect", 90)
    g.measure(DETECTED, time.monotonic() - began, 45)
    sh(g, node, "pkill -CONT sshd")
    g.ended(g.note(running.end()), 0)


@fault("N04", "a slow line", "tc tbf 64 kbit/s both ways on oms2, images loaded")
def slow(g: Harness) -> None:
    narrow(g, g.new[0], "64kbit")
    g.ended(g.fab(*OUT, limit=900), 0)


@fault("N04b", "a far line", "a proxy in front of oms2 that holds everything for 1 s, both ways")
def far(g: Harness) -> None:
    node = g.lab.node(g.new[0])
    with delayed(node.ip, 22, 1.0) as port:
        known_as(g, node.name, f"[127.0.0.1]:{port}")
        there = {"ip": node.ip, "address": "127.0.0.1", "port": port}
        g.edit(lambda d: d["regions"]["cn-lab"]["nodes"].update({node.name: there}))
        g.says(g.ended(g.fab(*OUT, limit=900), 0), "NET-004")
        g.again()


@contextmanager
def delayed(host: str, port: int, seconds: float) -> Iterator[int]:
    """A port of this machine that leads there, and holds what is said on the way."""

    def carry(source: socket.socket, dest: socket.socket) -> None:
        held: queue.Queue[tuple[float, bytes]] = queue.Queue()

        def give() -> None:
            with suppress(OSError):
                while True:
                    at, data = held.get()
                    time.sleep(max(0.0, at - time.monotonic()))
                    if not data:
                        return dest.shutdown(socket.SHUT_WR)
                    dest.sendall(data)

        threading.Thread(target=give, daemon=True).start()
        data = b"-"
        while data:
            try:
                data = source.recv(65536)
            except OSError:
                data = b""
            held.put((time.monotonic() + seconds, data))

    def serve() -> None:
        with suppress(OSError):
            while True:
                here, _ = listener.accept()
                there = socket.create_connection((host, port))
                for pair in ((here, there), (there, here)):
                    threading.Thread(target=carry, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


@fault("N05", "every fifth packet is lost", "iptables statistic 0.2 on oms1 and oms2, port 22")
def lossy(g: Harness) -> None:
    for node in (g.first, g.new[0]):
        rule = "INPUT -p tcp --dport 22 -m statistic --mode random --probability 0.2 -j DROP"
        sh(g, node, f"iptables -I {rule}")
        g.undo(lambda n=node, r=rule: sh(g, n, f"iptables -D {r}"))
    g.ended(g.fab(*OUT, limit=600), 0)
    g.heal()
    (journal,) = (g.directory / "state").glob("*/*/journal.jsonl")
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    begun = Counter((e["node"], e["step"]) for e in events if e["kind"] == "intent")
    again = Counter((e["node"], e["step"]) for e in events if "; again in" in e["text"])
    if wrong := {key: n for key, n in begun.items() if n != 1 + again[key]}:
        raise Miss(f"begun more than once without a word: {wrong}")


@fault("N08", "port 22 answers, but is not SSH", "socat in sshd's place on oms2")
def tarpit(g: Harness) -> None:
    node = g.new[0]
    service(g, node, "sshd", "stop")
    sh(g, node, "setsid socat TCP-LISTEN:22,fork,reuseaddr EXEC:'sleep 999' >/dev/null 2>&1 &")
    g.undo(lambda: service(g, node, "sshd", "start"))
    g.undo(lambda: g.lab.enter(node, ["pkill", "socat"]))
    g.says(g.refused(g.fab(*OUT), 3, "SSH-003"), node)


@fault("N08b", "sshd is down", "lab-service sshd stop on oms2")
def no_sshd(g: Harness) -> None:
    node = g.new[0]
    service(g, node, "sshd", "stop")
    g.undo(lambda: service(g, node, "sshd", "start"))
    outcome = g.refused(g.fab(*OUT), 3, "SSH-001")
    g.says(outcome, node)
    g.heal()
    g.ended(g.paste(outcome), 0)


@fault("N09", "the login profile is noisy", "root's .profile prints, asks and sets a trap")
def noisy(g: Harness) -> None:
    for node in g.names:
        home = g.lab.node_directory(node) / "home-root"
        for name in (".bashrc", ".profile"):
            (home / name).write_text(
                "echo Welcome; echo 'last login: never' >&2; stty -echo 2>/dev/null\n"
            )
            g.undo((home / name).unlink)
    g.ended(g.fab(*OUT), 0)


@fault("N11", "docker_init.sh floods its output", "100 MB on standard error on oms1")
def flood(g: Harness) -> None:
    g.lab.knob(g.first, INIT_FLOOD_MB=100)
    outcome = g.ended(g.fab(*OUT, limit=500), 0)
    g.says(outcome, "bytes of output skipped here")
    size = sum(p.stat().st_size for p in g.files())
    if size > 70e6:
        raise Miss(f"{size / 1e6:.0f} MB were kept on the jump host")


@fault(
    "N13",
    "the session is cut while config.yaml is written",
    "sshd's children killed as soon as the step begins",
)
def cut_in_write(g: Harness) -> None:
    running = g.start(*OUT)
    running.says(r"oms1 +config +▸", 120)
    cut(g, g.first)
    outcome = g.note(running.end())
    if outcome.code != 0:
        g.ended(g.paste(outcome), 0)


@fault("J04", "Ctrl-C during docker_init.sh", "SIGINT to fab")
def ctrl_c(g: Harness) -> None:
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
def two_runs(g: Harness) -> None:
    running = in_the_init(g)
    second = g.ended(g.fab(*OUT), 4, "LOCK-001")
    g.says(second, f"pid {running.process.pid}", "it is at step initialise of oms1")
    other = g.fab(*OUT, OMSFAB_HOME=str(g.directory / "state2"))
    g.ended(other, 4, "DB-030")
    g.ended(g.note(running.end()), 0)


@fault("J11", "two runs at once on two jump hosts", "two state directories, started together")
def two_jump_hosts(g: Harness) -> None:
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
def power(g: Harness) -> None:
    from omsfab import lab as labs

    running = in_the_init(g)
    labs.stop_node(g.lab, g.new[0])
    g.undo(lambda: labs.start_node(g.lab, g.new[0]))
    time.sleep(2)
    labs.start_node(g.lab, g.new[0])
    outcome = g.note(running.end())
    if outcome.code != 0:
        g.ended(g.paste(outcome), 0)
