"""Faults of inputs, VIP, nodes and docker (README.md, sections 5 and 6)."""

from __future__ import annotations

import os
import shutil
import threading
import time
import urllib.request
from pathlib import Path

from omsfab.lab import network
from omsfab.lab.system import run
from tests.faults import oracle
from tests.faults.harness import OF_DS, RESENT, STOPPED, Harness, Miss
from tests.faults.matrix import fault

OUT = ("scale.out", "--yes")
FIELD_CM_URL = "cm_url"


def sh(g: Harness, node: str, script: str, *words: str) -> str:
    """Run a script inside a node; it must end well."""
    done = g.lab.enter(node, ["sh", "-c", script, "sh", *words])
    if done.returncode:
        raise RuntimeError(f"{node}: {script}: {done.stderr or done.stdout}")
    return done.stdout


def service(g: Harness, node: str, what: str, action: str) -> None:
    g.lab.enter(node, ["lab-service", what, action])


# --- VIP -----------------------------------------------------------------------------------------


@fault("V01", "nobody holds the VIP", "ip addr del on the balancer")
def vip_nowhere(g: Harness) -> None:
    netns = g.lab.place.netns("balancer")
    run("ip", "-n", netns, "addr", "del", f"{g.lab.vip}/24", "dev", "eth0")
    g.undo(g.lab.move_vip)
    outcome = g.refused(g.fab(*OUT), 3, "VIP-001")
    g.says(outcome, g.lab.vip, "8088", f"bind {g.lab.vip}")
    g.refused(g.paste(outcome), 3, "VIP-001")  # node.check asks the VIP, and nothing else changes
    g.heal()
    g.ended(g.paste(outcome), 0)
    g.ended(g.fab(*OUT), 0)


@fault("V01b", "the VIP is a balancer that hides who answers", "the lab's haproxy")
def vip_behind_a_balancer(g: Harness) -> None:
    g.hosts(oms={"init": "auto"})
    outcome = g.ended(g.fab(*OUT), 0)
    g.says(outcome, "VIP-003")
    g.ended(g.fab(*OUT), 0)
    g.says(g.outcomes[-1], "0 changes")


@fault(
    "V01d",
    "nothing at all",
    "an undisturbed run; the page of the console is asked all the time, beside omsfab",
)
def undisturbed(g: Harness) -> None:
    """How long production is stopped, beyond docker_init.sh, as its users see it."""
    url = f"http://{g.lab.node(g.first).ip}:8089/"
    over, down = threading.Event(), [0.0, 0.0]

    def look() -> None:
        while not over.is_set():
            try:
                with urllib.request.urlopen(url, timeout=1) as page:
                    page.read()
            except OSError:
                down[0] = down[0] or time.monotonic()
                down[1] = time.monotonic()
            time.sleep(0.1)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        outcome = g.ended(g.fab(*OUT), 0)
    finally:
        over.set()
        thread.join()
    began, _, _, at = oracle.ended_inits(g.lab, g.first)[-1]
    g.measure(STOPPED, (down[1] - down[0]) - (float(began) - float(at)), 20)
    g.says(outcome, "was DOWN for")


@fault("V01c", "the VIP is an address of a member", "ip addr add on oms1: proven, no warning")
def vip_on_a_member(g: Harness) -> None:
    g.lab.move_vip(g.first)
    g.undo(g.lab.move_vip)
    outcome = g.ended(g.fab(*OUT), 0)
    if "VIP-003" in outcome.out:
        raise Miss("a warning, though the connection can be found on a member")


@fault("V02", "two hosts hold the VIP", "ip addr add on oms1 and oms2")
def vip_twice(g: Harness) -> None:
    for name in (g.first, g.new[0]):
        netns = g.lab.node(name).netns
        run("ip", "-n", netns, "addr", "add", f"{g.lab.vip}/32", "dev", "eth0")
        g.undo(
            lambda n=netns: run(
                "ip", "-n", n, "addr", "del", f"{g.lab.vip}/32", "dev", "eth0", check=False
            )
        )
    outcome = g.refused(g.fab(*OUT), 3, "VIP-002")
    g.says(outcome, g.first, g.new[0])


@fault("V02b", "the VIP is held by a host that is no member", "oms3 holds it, --nodes=oms2")
def vip_on_a_stranger(g: Harness) -> None:
    g.lab.move_vip(g.new[1])
    g.undo(g.lab.move_vip)
    for port in (8088, 8089):
        sh(
            g,
            g.new[1],
            f"setsid socat TCP-LISTEN:{port},fork,reuseaddr SYSTEM:cat >/dev/null 2>&1 &",
        )
    g.undo(lambda: g.lab.enter(g.new[1], ["pkill", "socat"]))
    outcome = g.refused(g.fab(*OUT, f"--nodes={g.new[0]}"), 3, "VIP-002")
    g.says(outcome, g.new[1])
    g.wanted = (g.first, g.new[0])


@fault("V04", "the VIP maps 8088 but not 8089", "iptables REJECT on the balancer")
def vip_without_console(g: Harness) -> None:
    netns = g.lab.place.netns("balancer")
    rule = ("INPUT", "-p", "tcp", "--dport", "8089", "-j", "REJECT")
    run("nsenter", f"--net={network.NETNS / netns}", "iptables", "-I", *rule)
    g.undo(lambda: run("nsenter", f"--net={network.NETNS / netns}", "iptables", "-D", *rule))
    g.says(g.refused(g.fab(*OUT), 3, "VIP-001"), "8089")


@fault("V04b", "the VIP cannot be reached from one new node", "iptables REJECT on oms3")
def vip_not_from_everywhere(g: Harness) -> None:
    rule = f"OUTPUT -d {g.lab.vip} -p tcp --dport 8088 -j REJECT"
    sh(g, g.new[1], f"iptables -I {rule}")
    g.undo(lambda: sh(g, g.new[1], f"iptables -D {rule}"))
    g.says(g.refused(g.fab(*OUT), 3, "VIP-001"), g.new[1])


# --- config.yaml ---------------------------------------------------------------------------------


@fault("V07", "/data/config.yaml is a directory", "mkdir on oms2")
def config_is_a_directory(g: Harness) -> None:
    sh(g, g.new[0], "mkdir -p /data/config.yaml")
    g.undo(lambda: sh(g, g.new[0], "[ ! -d /data/config.yaml ] || rmdir /data/config.yaml"))
    outcome = g.refused(g.fab(*OUT), 3, "HOST-002", "CFG-002")
    g.says(outcome, "/data/config.yaml is a directory", "rmdir")
    g.heal()
    g.ended(g.paste(outcome), 0)


def broken_config(g: Harness, text: str, *says: str) -> None:
    path = g.lab.path(g.first, oracle.CONFIG)
    g.undo(lambda: path.write_bytes(g._config))
    g._before["oms1 config.yaml"] = None
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    g._before = oracle.snapshot(g.lab)
    g.says(g.refused(g.fab(*OUT), 3, "CFG"), *says)


@fault("V09", "config.yaml of the old node has a duplicate key", "a second cm_url line")
def config_duplicate(g: Harness) -> None:
    old = g._config.decode()
    broken_config(g, old + "\ncm_url: http://10.9.9.9:8088\n", "cm_url", "line")


@fault("V09b", "config.yaml has tabs, an unsafe tag or an alias bomb", "three bad files")
def config_unsafe(g: Harness) -> None:
    old = g._config.decode()
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(8)
    )
    for text in (old + "\n\tx: 1\n", old + "\ny: !!python/object:os.system {}\n", old + bomb):
        broken_config(g, text, "line")


@fault("V09c", "config.yaml has a key that hosts.yaml does not know", "drc_user: ds")
def config_unknown_key(g: Harness) -> None:
    path = g.lab.path(g.first, oracle.CONFIG)
    path.write_bytes(g._config + b"\ndrc_user: ds\n")
    g._before = oracle.snapshot(g.lab)
    outcome = g.refused(g.fab(*OUT), 3, "CFG-005")
    g.says(outcome, "drc_user")
    g.edit(lambda data: data["oms"].update(extra={"drc_user": "ds"}))
    g.ended(g.paste(outcome), 0)


@fault("V14", "OMS_HOST_IP would not be on the host", "another address in hosts.yaml")
def host_ip_elsewhere(g: Harness) -> None:
    other = network.address(g.lab.subnet, 77)

    def change(data: dict) -> None:
        nodes = data["regions"]["cn-lab"]["nodes"]
        nodes[g.new[0]] = {"ip": other, "address": g.lab.node(g.new[0]).ip}

    g.edit(change)
    with g.lab.known_hosts.open("a"):
        pass
    g.says(g.refused(g.fab(*OUT), 3, "HOST-002"), other)


@fault("V12", "two entries are one machine", "oms3 reached at oms2's address")
def same_machine(g: Harness) -> None:
    def change(data: dict) -> None:
        nodes = data["regions"]["cn-lab"]["nodes"]
        nodes[g.new[1]] = {"ip": g.lab.node(g.new[1]).ip, "address": g.lab.node(g.new[0]).ip}

    g.edit(change)
    outcome = g.fab(*OUT)
    if outcome.code not in (2, 3):
        raise Miss(f"exit {outcome.code}")
    g.refused(outcome, outcome.code, "INV-003", "HOST-002", "INPUT-001")


@fault("V15", "the live heartbeat DB differs from hosts.yaml", "another heartbeat_db")
def heartbeat_differs(g: Harness) -> None:
    g.edit(lambda d: d["regions"]["cn-lab"].update(heartbeat_db="oms_cm_heartbeat_9"))
    g.says(g.refused(g.fab(*OUT), 3), "heartbeat")


@fault("V15b", "rm_db of hosts.yaml is not that of the live config", "another rm_db")
def rm_db_differs(g: Harness) -> None:
    g.edit(lambda d: d["metadb"].update(rm_db="oms_other"))
    g.says(g.refused(g.fab(*OUT), 3), "drc_rm_db")
    g.refused(g.fab("oms.deploy", "--yes"), 3)


@fault("V15c", "the location is another region's in MetaDB", "row code 1 has another region name")
def location_taken(g: Harness) -> None:
    g.lab.sql("update oms_rm.cluster_info set region = 'cn-other' where code = 1")
    g.undo(lambda: g.lab.sql("update oms_rm.cluster_info set region = 'cn-lab' where code = 1"))
    g._before = oracle.snapshot(g.lab)
    g.says(g.refused(g.fab(*OUT), 3), "cn-other")


@fault(
    "V06b",
    "config.yaml was replaced by a rename: the container holds the former file",
    "mv on oms1",
)
def config_unlinked(g: Harness) -> None:
    sh(
        g,
        g.first,
        "cp -p /data/config.yaml /data/new && echo '# edited' >>/data/new && mv /data/new /data/config.yaml",
    )
    g.undo(lambda: sh(g, g.first, "docker restart -t 5 oms_427"))
    outcome = g.refused(snap(g).fab(*OUT), 3, "CFG-009")
    g.says(outcome, "bind mount")


@fault("V06c", "config.yaml of the old node is immutable", "a read-only bind mount over it on oms1")
def config_read_only(g: Harness) -> None:
    sh(
        g,
        g.first,
        "mount --bind /data/config.yaml /data/config.yaml && mount -o remount,ro,bind /data/config.yaml",
    )
    g.undo(lambda: sh(g, g.first, "umount -l /data/config.yaml"))
    outcome = g.refused(g.fab(*OUT), 3, "CFG-009")
    g.heal()
    g.ended(g.paste(outcome), 0)


@fault(
    "I07c",
    "no room for a copy of config.yaml on the old node",
    "its /data is read as full: a tmpfs of 1 MB over the logs of oms1",
)
def no_room_on_the_old_node(g: Harness) -> None:
    sh(g, g.first, "mount -t tmpfs -o size=1m tmpfs /data/oms/oms_logs")
    g.undo(lambda: sh(g, g.first, "umount -l /data/oms/oms_logs"))
    g.says(g.ended(g.fab(*OUT), 3, "CFG-009"), "MB free")


# --- images --------------------------------------------------------------------------------------


def package(g: Harness, change: str) -> Path:
    """A package of this fault's own, changed by a shell line on "$1"."""
    path = g.directory / "package.tar.gz"
    shutil.copyfile(g.lab.package, path)
    run("sh", "-c", change, "sh", str(path))
    g.edit(lambda data: data["oms"].update(package=str(path)))
    return path


@fault("I01", "the package is truncated", "truncate -s -1000000")
def package_truncated(g: Harness) -> None:
    package(g, 'truncate -s -1000000 "$1"')
    g.refused(g.fab(*OUT), 3, "IMG-005")


@fault("I01b", "the package is empty, is text, or has a flipped byte", "three bad files")
def package_bad(g: Harness) -> None:
    flip = 'printf X | dd of="$1" bs=1 seek=5000000 conv=notrunc 2>/dev/null'
    for change in (': >"$1"', 'echo hello >"$1"', flip):
        package(g, change)
        g.refused(g.fab(*OUT), 3, "IMG-")


@fault("I02", "the package holds another tag", "oms.image names a tag that is not in it")
def package_tagless(g: Harness) -> None:
    g.edit(lambda data: data["oms"].update(image="example.org/oms:feature_9.9.9-ce"))
    g.says(g.refused(g.fab(*OUT), 3, "IMG-004"), g.lab.image)


@fault("I04", "the image is not on the node and there is no package", "oms.package left out")
def no_image(g: Harness) -> None:
    g.lab.enter(g.new[0], ["docker", "image", "rm", "-f", g.lab.image_id])
    g.edit(lambda data: data["oms"].pop("package"))
    outcome = g.refused(g.fab(*OUT), 3, "IMG-001")
    g.says(outcome, g.new[0])
    log = (g.lab.node_directory(g.new[0]) / "dockerd.log").read_text(errors="replace")
    if "Attempting next endpoint for pull" in log:
        raise Miss("docker tried to pull")


@fault(
    "I02b",
    "the image is for another processor",
    "architecture arm64 in its config, ids and digests right",
)
def other_processor(g: Harness) -> None:
    import hashlib
    import io
    import json
    import tarfile

    path = package(g, 'gunzip -c "$1" >"$1.tar" && mv "$1.tar" "$1"')
    with tarfile.open(path) as old, tarfile.open(f"{path}.new", "w") as new:
        manifest = json.loads(old.extractfile("manifest.json").read())
        name = manifest[0]["Config"]
        config = json.loads(old.extractfile(name).read()) | {"architecture": "arm64"}
        data = json.dumps(config).encode()
        hexa = hashlib.sha256(data).hexdigest()
        manifest[0]["Config"] = f"{hexa}.json"
        changed = {
            name: (f"{hexa}.json", data),
            "manifest.json": ("manifest.json", json.dumps(manifest).encode()),
        }
        for member in old:
            here, content = changed.get(member.name, (member.name, None))
            if content is None:
                new.addfile(member, old.extractfile(member) if member.isfile() else None)
            else:
                entry = tarfile.TarInfo(here)
                entry.size = len(content)
                new.addfile(entry, io.BytesIO(content))
    os.replace(f"{path}.new", path)
    outcome = g.refused(g.fab(*OUT), 3, "HOST-002", "IMG-007")  # whichever is asked first
    g.says(outcome, "image")


@fault(
    "I05",
    "the upload is cut",
    "sshd's children killed at 20 and at 60 %; bytes counted at the node's cable",
)
def upload_cut(g: Harness) -> None:
    g.reset(images=True)
    node = g.new[0]
    narrow(g, node, "40mbit")
    began = arrived(g, node)
    running = g.start(*OUT)
    part = g.lab.node_directory(node) / "data/oms"
    size = g.lab.package.stat().st_size

    def grown(share: float) -> bool:
        files = list(part.glob("*.part"))
        return bool(files) and files[0].stat().st_size > share * size

    for share in (0.2, 0.6):
        if not oracle.wait(lambda s=share: grown(s), 90, 0.005):
            raise RuntimeError(f"the upload never came to {share:.0%}")
        cut(g, node)
    running.says(r"oms2 +image .*sha256 compared", 120)
    over = (arrived(g, node) - began - size) / 1e6
    g.ended(g.note(running.end()), 0)
    g.measure(RESENT, max(0.0, over), 8)


def cut(g: Harness, node: str) -> None:
    """End every SSH session of a node, without a word to the other side first."""
    sh(
        g,
        node,
        "ss -K state established sport = :22 >/dev/null 2>&1; pkill -KILL -f '^sshd: [^/]' || true",
    )


@fault("I07", "too little room below /data", "a disk of 64 MB as oms2's /data")
def no_room(g: Harness) -> None:
    small_data(g, g.new[0])
    outcome = g.fab(*OUT)
    g.says(g.ended(outcome, 3, "HOST-002"), "free", "needed")
    g.production_untouched()


def small_data(g: Harness, node: str, megabytes: int = 64) -> None:
    """/data of the node is a disk of this size, seen by the oracle as well."""
    image, place = g.lab.directory / f"disk-{node}", g.lab.node_directory(node) / "data"
    run("truncate", "-s", f"{megabytes}M", str(image))
    g.undo(image.unlink)
    run("mkfs.ext4", "-q", "-m", "0", str(image))
    device = run("losetup", "-f", "--show", str(image)).strip()
    g.undo(lambda: run("losetup", "-d", device, check=False))
    run("mount", device, str(place))
    g.undo(lambda: run("umount", "-l", str(place)))
    sh(g, node, f"mount {device} /data")
    g.undo(lambda: sh(g, node, "umount -l /data"))


def fill(g: Harness, node: str) -> None:
    """The disk of /data is full to the last byte."""
    sh(g, node, "dd if=/dev/zero of=/data/filler bs=64k 2>/dev/null; df /data | tail -n 1; true")


def narrow(g: Harness, node: str, rate: str) -> None:
    """What goes to the node and what comes from it is no faster than this."""
    words = ("root", "tbf", "rate", rate, "burst", "16kb", "latency", "4s")
    cable = g.lab.place.veth(g.lab.node(node).number)
    run("tc", "qdisc", "replace", "dev", cable, *words)
    g.undo(lambda: run("tc", "qdisc", "del", "dev", cable, "root", check=False))
    netns = g.lab.node(node).netns
    run("tc", "-n", netns, "qdisc", "replace", "dev", "eth0", *words)
    g.undo(lambda: run("tc", "-n", netns, "qdisc", "del", "dev", "eth0", "root", check=False))


def known_as(g: Harness, node: str, name: str, without: str = "") -> None:
    """The host keys of the node are known by another name, too; those of ``without`` by none."""
    known = g.directory / "known_hosts"
    lines = g.lab.known_hosts.read_text().splitlines()
    lines = [line for line in lines if not without or not line.startswith(f"{without},")]
    mine = [
        line.split(" ", 1)[1]
        for line in lines
        if g.lab.node(node).ip in line.split(" ", 1)[0].split(",")
    ]
    known.write_text("\n".join([*lines, *(f"{name} {key}" for key in mine)]) + "\n")
    g.edit(lambda d: d["ssh"].update(known_hosts=str(known)))


def arrived(g: Harness, node: str) -> int:
    """Bytes that came over the node's cable."""
    return int(sh(g, node, "cat /sys/class/net/eth0/statistics/rx_bytes"))


@fault("I07b", "the room goes while the package is sent", "a disk of 400 MB, filled at 10 %")
def room_goes(g: Harness) -> None:
    g.reset(images=True)
    node = g.new[0]
    small_data(g, node, 400)
    narrow(g, node, "20mbit")
    running = g.start(*OUT)
    running.says(r"oms2 +image +· 10 %")
    fill(g, node)
    outcome = g.note(running.end())
    if outcome.code not in (6, 11):
        raise Miss(f"exit {outcome.code}: {outcome.out[-800:]}")
    g.says(outcome, "XFER-002")
    if "part" in sh(g, node, "ls /data/oms /data"):
        raise Miss("its part is still there")
    g.production_untouched()
    sh(g, node, "rm -f /data/filler")
    g.ended(g.paste(outcome), 0)


@fault("I19", "no inodes are left", "a tmpfs with 20 inodes on oms2's /data")
def no_inodes(g: Harness) -> None:
    sh(g, g.new[0], "mount -t tmpfs -o size=4g,nr_inodes=8 tmpfs /data")
    g.undo(lambda: sh(g, g.new[0], "umount -l /data"))
    g.says(g.ended(g.fab(*OUT), 3, "HOST-002"), "inodes")
    g.production_untouched()


# --- docker --------------------------------------------------------------------------------------


@fault("I08", "the docker daemon is down", "lab-service dockerd stop on oms2")
def docker_down(g: Harness) -> None:
    service(g, g.new[0], "dockerd", "stop")
    g.undo(lambda: _docker_back(g, g.new[0]))
    outcome = g.ended(g.fab(*OUT), 3, "HOST-001")
    g.says(outcome, "Cannot connect to the Docker daemon", g.new[0])
    g.production_untouched()
    g.heal()
    g.ended(g.paste(outcome), 0)


def _docker_back(g: Harness, node: str) -> None:
    service(g, node, "dockerd", "start")
    if not oracle.wait(lambda: g.lab.enter(node, ["docker", "info"]).returncode == 0, 30):
        raise RuntimeError("dockerd does not come back")


@fault(
    "I08b", "the daemon dies while it loads the image", "dockerd killed in docker load, back in 5 s"
)
def docker_dies(g: Harness) -> None:
    g.reset(images=True)
    running = g.start(*OUT)
    node = g.new[0]
    loading = ["sh", "-c", "ps ax | grep -v grep | grep -q 'docker load'"]
    if not oracle.wait(lambda: g.lab.enter(node, loading).returncode == 0, 60, 0.05):
        raise RuntimeError("never saw docker load")
    service(g, node, "dockerd", "kill")
    g.undo(lambda: _docker_back(g, node))
    oracle.wait(lambda: False, 5)
    _docker_back(g, node)
    g.ended(g.note(running.end()), 0)


@fault("I08c", "docker is older than 1.13, or is podman", "a docker in the path that says so")
def docker_old(g: Harness) -> None:
    for says in ("1.12.6", "4.3.1"):
        fake = (
            f'#!/bin/sh\ncase "$*" in *--version*) echo "podman version {says}";; '
            f'*version*) echo {says};; *) exec /usr/bin/docker "$@";; esac\n'
        )
        if says == "1.12.6":
            fake = fake.replace("podman version", "Docker version")
        fake_docker(g, g.new[0], fake)
        g.refused(g.fab(*OUT), 3, "HOST-006")
        g.heal()


def fake_docker(g: Harness, node: str, text: str) -> None:
    done = g.lab.enter(
        node, ["sh", "-c", "cat >/usr/local/bin/docker; chmod 755 /usr/local/bin/docker"],
        data=text.encode(),
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr)
    g.undo(lambda: g.lab.enter(node, ["rm", "-f", "/usr/local/bin/docker"]))


@fault(
    "I09", "the container's name is taken by another container", "docker create without our label"
)
def name_taken(g: Harness) -> None:
    g.lab.enter(g.new[0], ["docker", "create", "--name", oracle.CONTAINER, g.lab.image_id, "true"])
    g.undo(lambda: g.lab.enter(g.new[0], ["docker", "rm", "-f", oracle.CONTAINER]))
    g.refused(snap(g).fab(*OUT), 3, "HOST-003", "HOST-004")


def snap(g: Harness) -> Harness:
    """What is there after the injection is what must stay."""
    g._before = oracle.snapshot(g.lab)
    return g


@fault("I09b", "a container of that name runs, and it is not ours", "docker run without our label")
def name_runs(g: Harness) -> None:
    g.lab.enter(
        g.new[0],
        [
            "docker",
            "run",
            "-d",
            "--net",
            "host",
            "--entrypoint",
            "sleep",
            "--name",
            oracle.CONTAINER,
            g.lab.image_id,
            "999",
        ],
    )
    g.undo(lambda: g.lab.enter(g.new[0], ["docker", "rm", "-f", oracle.CONTAINER]))
    g.refused(snap(g).fab(*OUT), 3, "HOST-004", "CFG-008")


@fault("I10", "a port of OMS is taken on a new node", "socat listens on 8089 of oms2")
def port_taken(g: Harness) -> None:
    sh(g, g.new[0], "setsid socat TCP-LISTEN:8089,fork,reuseaddr SYSTEM:cat >/dev/null 2>&1 &")
    g.undo(lambda: g.lab.enter(g.new[0], ["pkill", "socat"]))
    outcome = g.refused(g.fab(*OUT), 3, "HOST-002", "HOST-005")
    g.says(outcome, "port 8089", "socat pid")
    g.heal()
    g.ended(g.paste(outcome), 0)


# --- sudo ----------------------------------------------------------------------------------------


def sudo(g: Harness, line: str) -> None:
    """omsfab logs in as ops and needs sudo; oms2's sudoers say this."""
    g.edit(lambda data: data["ssh"].update(user="ops", sudo=True))
    path = "/etc/sudoers.d/ops"
    sh(g, g.new[0], f'printf "%s\\n" "$1" >{path}', line)
    g.undo(lambda: sh(g, g.new[0], f"echo 'ops ALL=(ALL) NOPASSWD: ALL' >{path}"))


@fault("I11", "sudo wants a password", "sudoers without NOPASSWD on oms2")
def sudo_password(g: Harness) -> None:
    sudo(g, "ops ALL=(ALL) ALL")
    outcome = g.refused(g.fab(*OUT), 3, "SUDO-001")
    g.says(outcome, g.new[0])


@fault(
    "I11b", "sudo wants a terminal, does not know the user, or is missing", "three sudoers of oms2"
)
def sudo_moods(g: Harness) -> None:
    for line, id in (
        ("Defaults requiretty\nops ALL=(ALL) NOPASSWD: ALL", "SUDO-002"),
        ("# nobody", "SUDO-003"),
    ):
        sudo(g, line)
        g.refused(g.fab(*OUT), 3, id, "SUDO-001")
        g.heal()
    g.edit(lambda data: data["ssh"].update(user="ops", sudo=True))
    sh(g, g.new[0], "chmod 0 /usr/bin/sudo; mv /usr/bin/sudo /usr/bin/sudo.away")
    g.undo(lambda: sh(g, g.new[0], "mv /usr/bin/sudo.away /usr/bin/sudo; chmod 4755 /usr/bin/sudo"))
    g.refused(g.fab(*OUT), 3, "SUDO-004")


@fault("I11c", "all of it with sudo, and sudo lectures", "user ops, lecture = always")
def sudo_works(g: Harness) -> None:
    sudo(g, "Defaults lecture = always\nops ALL=(ALL) NOPASSWD: ALL")
    g.ended(g.fab(*OUT), 0)


# --- drift, partial fleets, keys ------------------------------------------------------------------


@fault("I13", "config.yaml was left readable for all", "chmod 644 on a finished fleet")
def config_readable(g: Harness) -> None:
    g.ended(g.fab(*OUT), 0)
    os.chmod(g.lab.path(g.new[0], oracle.CONFIG), 0o644)
    g.says(g.ended(g.fab("fleet.check"), 5), "644")


@fault(
    "I14", "the old container's mounts differ from hosts.yaml", "another logs path in hosts.yaml"
)
def mounts_differ(g: Harness) -> None:
    g.edit(lambda data: data["oms"].update(mounts={"logs": "/data/other_logs"}))
    g.says(g.refused(g.fab(*OUT), 3, "CFG-014"), "/data/oms/oms_logs", "/data/other_logs")


@fault("I15", "a new container ends at once", "knob EXIT_AT_START on oms3")
def container_ends(g: Harness) -> None:
    g.lab.knob(g.new[1], EXIT_AT_START=1)
    outcome = g.ended(g.fab(*OUT), 11, "RUN-004")
    g.says(outcome, g.new[1])
    g.wanted = (g.first, g.new[0])
    if missing := list(oracle.in_service(g.lab, g.wanted, named=g.names)):
        raise Miss("; ".join(missing))
    g.wanted = g.names
    g.lab.knob(g.new[1], EXIT_AT_START=None)
    g.ended(g.paste(outcome), 0)


@fault(
    "I16",
    "one of the new nodes fails before the outage",
    "a file where a mount directory should be, on oms3",
)
def one_fails_early(g: Harness) -> None:
    sh(g, g.new[1], "mkdir -p /data/oms && : >/data/oms/oms_store")
    g.undo(
        lambda: g.lab.enter(
            g.new[1], ["sh", "-c", "[ ! -f /data/oms/oms_store ] || rm /data/oms/oms_store"]
        )
    )
    outcome = g.fab(*OUT)
    if outcome.code not in (3, 6):
        raise Miss(f"exit {outcome.code}: {outcome.out[-800:]}")
    g.production_untouched()
    g.heal()
    g.ended(g.paste(outcome), 0)


@fault(
    "I16b",
    "one of the new nodes fails after the outage",
    "knob INIT_FAIL_STEP on oms2: oms3 finishes",
)
def one_fails_late(g: Harness) -> None:
    g.lab.knob(g.new[0], INIT_FAIL_STEP=3)
    outcome = g.ended(g.fab(*OUT), 11, "INIT-011")
    g.says(outcome, g.new[0], "cm_nodes", f"without {g.new[0]}")
    if missing := list(oracle.in_service(g.lab, (g.first, g.new[1]), named=g.names)):
        raise Miss("; ".join(missing))
    g.lab.knob(g.new[0], INIT_FAIL_STEP=None)
    g.planned[g.new[0]] = 2 + g.itself  # its own comes first, and fails as well
    g.ended(g.paste(outcome), 0)


@fault(
    "I16c",
    "a new node fails for good, and is done without",
    "knob INIT_FAIL_STEP on oms2; run.undo, and scale.out --nodes=oms3",
)
def done_without(g: Harness) -> None:
    node = g.new[0]
    g.lab.knob(node, INIT_FAIL_STEP=1)
    outcome = g.ended(g.fab(*OUT), 11, "INIT-011")
    run_id = outcome.next.split("--run=")[1].split()[0]
    g.planned[g.first] = 3
    g.planned[node] = 1 + g.itself  # its own comes first, and fails as well
    g.ended(g.fab("run.undo", f"--run={run_id}", "--yes"), 8, "RUN-028")
    g.wanted = (g.first, g.new[1])
    g.planned[g.new[1]] = 2
    g.ended(g.fab(*OUT, f"--nodes={g.new[1]}"), 0)
    g.says(g.fab("fleet.status"), g.new[1])


@fault("I20", "a host key changed between plan and apply", "a new key, sshd restarted on oms2")
def key_changed(g: Harness) -> None:
    node = g.new[0]
    known = g.directory / "known_hosts"
    shutil.copyfile(g.lab.known_hosts, known)
    g.edit(lambda data: data["ssh"].update(known_hosts=str(known)))
    g.ended(g.fab("scale.out", "--plan"), 0)
    keys = "/etc/ssh/ssh_host_ed25519_key"
    sh(
        g,
        node,
        f"cp {keys} /run/old; cp {keys}.pub /run/old.pub; rm {keys}; ssh-keygen -qt ed25519 -N '' -f {keys}",
    )
    back = f"cp /run/old {keys}; cp /run/old.pub {keys}.pub; lab-service sshd restart"
    g.undo(lambda: sh(g, node, back))
    service(g, node, "sshd", "restart")
    outcome = g.refused(g.fab(*OUT), 10, "SSH-010")
    g.says(outcome, "SHA256:")
    g.ended(g.paste(outcome), 0)
    g.ended(g.fab(*OUT), 0)


# --- production traffic, other nodes --------------------------------------------------------------


@fault("C16", "HA is on, or projects run", "ha.config enable, a row in oms_project")
def traffic(g: Harness) -> None:
    place = "oms_rm.oms_normal_config"
    old = g.lab.sql(f"select cfg_value from {place} where cfg_name = 'ha.config'")[0][0]
    g.lab.sql(
        f"update {place} set cfg_value = %s where cfg_name = 'ha.config'",
        (old.replace('"enable": false', '"enable": true'),),
    )
    g.undo(
        lambda: g.lab.sql(f"update {place} set cfg_value = %s where cfg_name = 'ha.config'", (old,))
    )
    g.says(g.refused(g.fab(*OUT), 3, "PLAN-011"), "ha.config")
    g.heal()
    g.lab.sql(
        "insert into oms_rm.oms_project (project_id, project_name, project_status)"
        " values ('p1', 'orders', 'RUNNING')"
    )
    g.undo(lambda: g.lab.sql("delete from oms_rm.oms_project"))
    outcome = g.refused(g.fab(*OUT), 3, "PLAN-011")
    g.says(outcome, "orders", "--accept-interruption")
    g.ended(g.paste(outcome), 0)
    g.ended(g.fab(*OUT, "--accept-interruption"), 0)


@fault("C13", "MetaDB knows a host that hosts.yaml does not", "a row in host")
def unknown_host(g: Harness) -> None:
    ip = network.address(g.lab.subnet, 66)
    g.lab.sql(
        "insert into oms_cm.host (ip, resource_group_id, host_status) values (%s, 1, 'ONLINE')",
        (ip,),
    )
    g.undo(lambda: g.lab.sql("delete from oms_cm.host where ip = %s", (ip,)))
    g.says(g.refused(snap(g).fab(*OUT), 3, "PLAN-007"), ip)


@fault("C13b", "an old node runs OMS, but is not ONLINE", "two nodes deployed, one with NO_BEAT")
def silent_old_node(g: Harness) -> None:
    second = g.new[0]
    two_nodes(g, second)
    g.lab.knob(second, NO_BEAT=1)
    g.lab.enter(
        second,
        ["docker", "exec", oracle.CONTAINER, "supervisorctl", "restart", "oms_drc_supervisor"],
    )
    g.lab.sql(
        "update oms_cm.host set host_status = 'OFFLINE' where ip = %s", (g.lab.node(second).ip,)
    )
    running = g.start(*OUT)
    running.says(r"stage  \d+/\d+ rows of MetaDB")
    if "RUNNING" in oracle.programs(g.lab, second).values():
        raise Miss(f"rows are deleted while {second} still runs")
    g.lab.knob(second, NO_BEAT=None)
    g.ended(g.note(running.end()), 0)


def two_nodes(g: Harness, second: str) -> None:
    """OMS on two nodes, cm_url the first one's own address, as a guide-follower may have it."""
    lab = g.lab
    node = lab.node(second)
    text = g._config.decode().replace(lab.node(g.first).ip + '"', lab.node(g.first).ip + '"')
    sh(g, second, "mkdir -p /data/oms/oms_logs /data/oms/oms_store /data/oms/oms_run")
    import yaml

    data = yaml.safe_load(text)
    data["cm_nodes"] = [lab.node(g.first).ip, node.ip]
    for name in (g.first, second):
        path = lab.path(name, oracle.CONFIG)
        with path.open("w") as file:
            yaml.safe_dump(data, file)
        os.chown(path, 0, OF_DS)  # oms_drc_supervisor reads it, as its user
        path.chmod(0o640)
    began = lab.counters(second)["started"]
    done = lab.enter(second, [
        "docker", "run", "-dit", "--net", "host", "-v", "/data/config.yaml:/home/admin/conf/config.yaml",
        "-v", "/data/oms/oms_logs:/home/admin/logs", "-v", "/data/oms/oms_store:/home/ds/store",
        "-v", "/data/oms/oms_run:/home/ds/run", "-e", f"OMS_HOST_IP={node.ip}", "--privileged=true",
        "--pids-limit", "-1", "--ulimit", "nproc=65535:65535", "--name", oracle.CONTAINER, lab.image_id,
    ])  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr)
    if g.itself:
        if not oracle.wait(
            lambda: lab.counters(second)["started"] > began and not lab.counters(second)["running"],
            60,
        ):
            raise RuntimeError(f"{second} does not initialise itself")
        snap(g)
        return
    done = lab.enter(second, ["docker", "exec", oracle.CONTAINER, "bash", "/root/docker_init.sh"])
    if "【结束】" not in done.stdout:
        raise RuntimeError(done.stdout[-500:])
    snap(g)
