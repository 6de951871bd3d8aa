"""A node: namespaces over an overlay of this machine, with its own sshd and dockerd.

It has a hostname, host keys, a machine-id, ``/root``, ``/home`` and ``/data`` of its own, and is
up in about a second.  ``node.sh`` is its process 1.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import socket
from importlib import resources
from pathlib import Path

from omsfab.lab import network, places
from omsfab.lab.model import Lab, NodeOfLab
from omsfab.lab.system import (
    background,
    private_dir,
    private_file,
    run,
    started_at,
    tail,
    wait_for,
)

# `include/uapi/linux/capability.h`, in the order of the bits.
CAPABILITIES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG
MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM
BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""

SSHD_CONFIG = """\
Port 22
HostKey /etc/ssh/ssh_host_ed25519_key
HostKey /etc/ssh/ssh_host_ecdsa_key
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
StrictModes yes
PrintMotd no
MaxStartups 200:30:400
MaxSessions 200
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
"""

SHAPE = ("upper", "work", "root", "data", "docker", "home", "home-root", "var-omsfab", "etc")


def start(lab: Lab, node: NodeOfLab) -> None:
    """Start the node unless it lives; returns when its sshd and dockerd answer."""
    place, directory = lab.place, lab.node_directory(node.name)
    network.cable(place, node.name, node.number, node.ip)
    if network.first_process(node.netns) is None:
        network.empty(node.netns)
        furnish(lab, node)
        with resources.as_file(resources.files("omsfab.lab") / "node.sh") as script:
            init = private_file(directory / "node.sh", script.read_text(), 0o700)
        background(
            (
                *("nsenter", f"--net={network.NETNS / node.netns}"),
                *("unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"),
                *("bash", str(init), node.name, str(directory)),
                *(f"/{place.cgroup}/{node.name}", f"{places.root()}:{places.cache()}"),
            ),
            directory / "node.log",
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        )
    log = directory / "node.log"
    wait_for(
        f"the init of {node.name}", lambda: network.first_process(node.netns) is not None, 20, log
    )
    wait_for(f"sshd of {node.name}", lambda: answers_ssh(node.ip), 30, log)
    wait_for(
        f"dockerd of {node.name}", lambda: answers_docker(node.netns), 60, directory / "dockerd.log"
    )


def furnish(lab: Lab, node: NodeOfLab) -> None:
    """Everything the node finds when it wakes up: its directories, keys and /etc."""
    directory = private_dir(lab.node_directory(node.name))
    for part in SHAPE:
        private_dir(directory / part)
    for part in ("upper", "root", "data", "home"):
        (directory / part).chmod(0o755)
    etc = directory / "etc"
    for part in (".", "ssh", "docker", "sudoers.d", "lab"):
        (etc / part).mkdir(exist_ok=True)
        (etc / part).chmod(0o755)
    host_keys(directory, etc / "ssh")
    keys = private_dir(directory / "home-root" / ".ssh") / "authorized_keys"
    shutil.copyfile(lab.key.with_suffix(".pub"), keys)
    private_file(etc / "ssh" / "sshd_config", SSHD_CONFIG)
    private_file(etc / "sudoers.d" / "ops", "ops ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    private_file(etc / "docker" / "daemon.json", json.dumps(_daemon(directory)), 0o644)
    private_file(etc / "hostname", f"{node.name}\n", 0o644)
    private_file(etc / "hosts", _hosts(lab), 0o644)
    private_file(etc / "resolv.conf", "", 0o644)
    private_file(etc / "machine-id", f"{machine_id(lab, node)}\n", 0o444)
    _install_tools(directory)


def host_keys(directory: Path, into: Path) -> None:
    """The node's own host keys, the same ones whenever it is started again."""
    kept = private_dir(directory / "host-keys")
    for kind in ("ed25519", "ecdsa"):
        key = kept / f"ssh_host_{kind}_key"
        if not key.exists():
            run("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", directory.name, "-f", key)
        for path in (key, key.with_name(f"{key.name}.pub")):
            shutil.copy2(path, into / path.name)


def known_hosts(lab: Lab) -> str:
    """The lines that ssh would learn of the nodes, had it been told the truth."""
    lines = []
    for node in lab.nodes:
        for kind in ("ed25519", "ecdsa"):
            key = lab.node_directory(node.name) / "host-keys" / f"ssh_host_{kind}_key.pub"
            lines.append(f"{node.name},{node.ip} {' '.join(key.read_text().split()[:2])}\n")
    return "".join(lines)


def machine_id(lab: Lab, node: NodeOfLab) -> str:
    """What tells this machine from every other, 32 hexadecimal digits."""
    return hashlib.sha256(f"{lab.directory} {node.name}".encode()).hexdigest()[:32]


def answers_ssh(ip: str) -> bool:
    """Does an SSH server say its first line there?"""
    try:
        with socket.create_connection((ip, 22), timeout=2) as wire:
            wire.settimeout(2)
            return wire.recv(4) == b"SSH-"
    except OSError:
        return False


def answers_docker(netns: str) -> bool:
    """Does the docker daemon inside answer a ping?"""
    init = network.first_process(netns)
    if init is None:
        return False
    try:
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(2)
            wire.connect(f"/proc/{init}/root/run/docker.sock")
            wire.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b"200 OK" in wire.recv(100)
    except OSError:
        return False


def absent_capabilities() -> list[str]:
    """The capabilities that this machine cannot give to anybody."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^CapBnd:\s*([0-9a-f]+)$", status, re.MULTILINE)
    mask = int(found[1], 16) if found else -1
    return [f"CAP_{name}" for bit, name in enumerate(CAPABILITIES.split()) if not mask >> bit & 1]


def describe(lab: Lab, node: NodeOfLab) -> str:
    """One word about the node for `fab lab.status`."""
    init = network.first_process(node.netns)
    if init is None:
        log = tail(lab.node_directory(node.name) / "node.log", 1)
        return f"down{': ' + log if log else ''}"
    ssh = "sshd up" if answers_ssh(node.ip) else "sshd down"
    docker = "dockerd up" if answers_docker(node.netns) else "dockerd down"
    return f"{ssh}, {docker}, pid {init} since tick {started_at(init)}"


def _daemon(directory: Path) -> dict[str, object]:
    """daemon.json: our own runtime only where the machine lacks a capability."""
    absent = absent_capabilities()
    if not absent:
        return {}
    source = (resources.files("omsfab.lab") / "runc.sh").read_text()
    runc = shutil.which("runc") or "/usr/sbin/runc"
    script = source.replace("@ABSENT@", "|".join(absent)).replace("@RUNC@", runc)
    wrapper = "/etc/docker/runc"
    private_file(directory / wrapper.lstrip("/"), script, 0o755)
    return {"runtimes": {"omslab": {"path": wrapper}}, "default-runtime": "omslab"}


def _hosts(lab: Lab) -> str:
    """/etc/hosts of a node: itself and the others, since there is no name server."""
    others = "".join(f"{node.ip} {node.name}\n" for node in lab.nodes)
    return f"127.0.0.1 localhost\n::1 localhost\n{others}"


def _install_tools(directory: Path) -> None:
    """`lab-service` goes to /etc/lab; node.sh links it into the path."""
    service = (resources.files("omsfab.lab") / "lab-service.sh").read_text()
    private_file(directory / "etc" / "lab" / "lab-service", service, 0o755)
