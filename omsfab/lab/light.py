"""The light demo, for a machine that cannot carry the lab: no root, no namespaces.

Real: omsfab, SSH, the scripts that run on nodes, the database, supervisord and the programs of the
stand-in image.  Emulated: three machines (an sshd of this user each, on loopback addresses), docker
(light_docker.py), the VIP (a small balancer).  Names of paths and addresses are what omsfab sees;
the login of a node changes them into those of this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path

from omsfab.errors import Next
from omsfab.lab import metadb, package, profiles
from omsfab.lab.demo import write
from omsfab.lab.model import Lab, MetaDbOfLab, NodeOfLab
from omsfab.lab.system import (
    LabError,
    answers,
    background,
    private_dir,
    private_file,
    processes,
    run,
    wait_for,
)

ROOT = Path(__file__).parents[2]
SEEN, HERE = "10.77.9.", "127.77.9."
"""The network as omsfab and OMS see it, and where it is: loopback addresses are refused, since with
them every machine finds itself."""
PROGRAMS = ("sshd", "ssh-keygen", "ss", "ip", "flock", "ps", "tar", "bash", "timeout")
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
MARK = "OMSFAB_LIGHT_LAB"
PORTS = (8088, 8089)
"""Of the VIP."""
OTHERS = (8084, 8090, 9000, 2023)
"""What the nodes listen on beside."""

SITE = f'''\
"""Addresses of the light demo: {SEEN}N is {HERE}N here, and a node's own are all its address."""
import os
import socket

OWN = os.environ.get("OMSFAB_LIGHT_IP")


def here(address):
    if not isinstance(address, tuple) or not isinstance(address[0], str):
        return address
    host = address[0]
    if host.startswith("{SEEN}"):
        host = "{HERE}" + host[len("{SEEN}"):]
    elif OWN and host in ("", "0.0.0.0", "127.0.0.1", "localhost"):
        host = OWN
    return (host, *address[1:])


def mapped(method):
    return lambda self, address: method(self, here(address))


for name in ("bind", "connect", "connect_ex"):
    setattr(socket.socket, name, mapped(getattr(socket.socket, name)))
if OWN:
    os.chown = lambda *words, **more: None  # the users of the image are not here
'''

LOGIN = """\
#!/bin/sh
# The login of a node: its paths and addresses stand for those of this machine.
export PATH="{bin}:$PATH:{sbin}" OMSFAB_LIGHT_NODE={node} {mark}={lab}
export OMSFAB_LIGHT_PACKAGES='{packages}'
translated() {{
  sed -u \\
    -e 's,\\([^A-Za-z0-9_./-]\\)/data/,\\1{node}/data/,g' \\
    -e 's,\\([^A-Za-z0-9_./-]\\)/data\\([^A-Za-z0-9_./-]\\|$\\),\\1{node}/data\\2,g' \\
    -e 's,/var/lib/omsfab,{node}/var/lib/omsfab,g' \\
    -e 's,/etc/machine-id,{node}/machine-id,g' -e 's,\\([^=0-9]\\){seen},\\1{here},g'
}}
[ "$SSH_ORIGINAL_COMMAND" != "exec sh" ] || {{ translated | sh; exit; }}
words=$(printf '%s\\n' "$SSH_ORIGINAL_COMMAND" | translated)
exec sh -c "$words"
"""

SSHD = """\
ListenAddress {address}:{port}
HostKey {node}/host_key
PidFile {node}/sshd.pid
AuthorizedKeysFile {lab}/ssh/id_ed25519.pub
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
MaxStartups 200:30:400
MaxSessions 200
ForceCommand {node}/login
"""

SS = """\
#!/bin/sh
# The sockets of this node.
PATH='{path}'
case $* in *sport*) set -- "$@" and src {address} ;; esac
exec ss "$@"
"""

IP = """\
#!/bin/sh
# The addresses of this node, as others see them and as they are here.
printf '2: eth0    inet %s/24 scope global eth0\\n' {seen} {address}
"""


def missing() -> str:
    """Why this machine cannot carry the light demo either; empty if it can."""
    if sys.platform != "linux":
        return (
            "the nodes of omsfab are Linux, and so is what its scripts ask of them; run this in a "
            "container or a virtual machine with Linux, as any user"
        )
    path = f"{os.environ['PATH']}:{SBIN}"
    absent = [name for name in PROGRAMS if not shutil.which(name, path=path)]
    if absent:
        return f"{', '.join(absent)} not installed here (openssh-server, iproute2, procps, …)"
    if not (ROOT / ".venv" / "light").exists():
        return "supervisor is not in .venv/light (scripts/setup light)"
    if engine() is None:
        return "there is no OceanBase engine for this machine (the wheel pylibseekdb)"
    return ""


def engine() -> Path | None:
    known = ROOT / ".venv" / "engine" / "pylibseekdb" / "seekdb"
    return metadb.engine_path() or (known if known.exists() else None)


def place() -> Path:
    """Where it is kept; ``OMSFAB_LAB_ROOT`` moves it."""
    above = os.environ.get("OMSFAB_LAB_ROOT") or "~/.cache/omsfab"
    return Path(above).expanduser().absolute() / "light"


def up(directory: Path, *, start_secs: str = "2") -> Lab:
    """Start MetaDB, three nodes and the VIP."""
    if why := missing():
        raise LabError(f"the light demo cannot run: {why}", next=Next("scripts/test --fast"))
    if not re.fullmatch(r"[\w./-]{1,48}", str(directory), re.ASCII):
        raise LabError(
            f"{directory} is too long for the sockets below it, or has more than a-z, 0-9, . and -",
            next=Next("OMSFAB_LAB_ROOT=/tmp/lab scripts/demo --light"),
        )
    down(directory)
    taken = [port for port in (*PORTS, *OTHERS) if answers(f"{HERE}11", port)]
    if taken:
        raise LabError(
            f"ports {', '.join(map(str, taken))} of {HERE}11 are taken: another light demo, or a "
            "program that listens on all addresses",
            next=Next("ss -ltnp"),
        )
    os.environ[MARK] = str(directory)
    os.environ["OMSFAB_LAB_CACHE"] = str(directory / "cache")
    for name in ("ssh", "secrets", "python", "metadb", "cache"):
        private_dir(directory / name)
    private_file(directory / "python" / "sitecustomize.py", SITE)
    profile = profiles.chosen()
    layers = [package.app_layer(profile.tag, profile, start_secs)]
    lab = packed(described(directory), profile.tag, layers)
    private_file(lab.password_file, lab.metadb.password)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", lab.key)
    start_metadb(lab)
    for node in lab.nodes:
        start_node(lab, node)
    words = (sys.executable, "-m", "omsfab.lab.light", "balancer")
    background(words, directory / "balancer.log", {**os.environ, "PYTHONPATH": str(ROOT)})
    hosts(lab)
    return lab


def described(directory: Path) -> Lab:
    nodes = tuple(NodeOfLab(f"oms{n}", f"{SEEN}{10 + n}", "", n) for n in (1, 2, 3))
    planned = metadb.planned("oceanbase", f"{SEEN}0/24", None)
    database: MetaDbOfLab = replace(planned, host=f"{SEEN}9", port=free_port())
    return Lab("light", directory, f"{SEEN}0/24", nodes, database)


def packed(lab: Lab, tag: str, layers: list[bytes]) -> Lab:
    """With a package of the image without its Debian, whose programs are those of this machine."""
    words = profiles.SUPERVISORD.split()
    config = json.dumps(package.configuration(tag, layers, words), sort_keys=True).encode()
    name = hashlib.sha256(config).hexdigest()
    path = lab.directory / "oms.tar.gz"
    package.write(path, tag, name, config, layers)
    return replace(lab, image=tag, image_id=f"sha256:{name}", package=path)


def start_metadb(lab: Lab) -> None:
    at = lab.directory / "metadb"
    words = (
        *(str(engine()), "--nodaemon", "--port", str(lab.metadb.port), "--base-dir", str(at)),
        *("--parameter", "memory_limit=2G", "--parameter", "datafile_size=256M"),
        *("--parameter", "log_disk_size=2G"),
    )
    log = lab.directory / "metadb.log"
    background(words, log)
    here = replace(lab, metadb=replace(lab.metadb, host=f"{HERE}9"))
    wait_for("MetaDB", lambda: answers(here.metadb.host, here.metadb.port), 120, log)
    wait_for("the administrator of MetaDB", lambda: metadb.settled(here), 120, log)
    with here.connect() as connection, connection.cursor() as cursor:
        # It listens on every address of this machine, and nothing tells it to do otherwise.
        cursor.execute("set global ob_tcp_invited_nodes = '127.0.0.0/8'")


def start_node(lab: Lab, node: NodeOfLab) -> None:
    at = private_dir(lab.node_directory(node.name))
    address = node.ip.replace(SEEN, HERE)
    programs = private_dir(at / "bin")
    for name in ("data", "var/lib", "docker/images", "docker/c"):
        private_dir(at / name)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", at / "host_key")
    path = f"{os.environ['PATH']}:{SBIN}"
    values = {
        "node": at, "mark": MARK, "lab": lab.directory, "bin": programs, "sbin": SBIN,
        "address": address, "port": free_port(), "path": path, "here": HERE,
        "seen": SEEN.replace(".", r"\."),
        "packages": ":".join((f"{ROOT}/.venv/light", *sys.path[1:])),
    }  # fmt: skip
    private_file(at / "address", address)
    private_file(at / "port", str(values["port"]))
    private_file(at / "machine-id", f"{os.urandom(16).hex()}\n")
    private_file(at / "login", LOGIN.format(**values), 0o700)
    private_file(at / "sshd_config", SSHD.format(**values))
    private_file(programs / "ss", SS.format(**values), 0o700)
    private_file(programs / "ip", IP.format(**{**values, "seen": node.ip}), 0o700)
    stand_in = resources.files("omsfab.lab") / "light_docker.py"
    text = f"#!/bin/sh\nexec '{sys.executable}' '{stand_in}' \"$@\"\n"
    private_file(programs / "docker", text, 0o700)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    sshd = shutil.which("sshd", path=path) or "sshd"
    background((sshd, "-D", "-e", "-f", str(at / "sshd_config")), at / "sshd.log")
    wait_for(
        f"sshd of {node.name}",
        lambda: answers(address, int(str(values["port"]))),
        20,
        at / "sshd.log",
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((f"{HERE}1", 0))
        return int(probe.getsockname()[1])


def hosts(lab: Lab) -> None:
    """initial.yaml and hosts.yaml, with where SSH connects to."""
    known = []
    nodes = {}
    for node in lab.nodes:
        at = lab.node_directory(node.name)
        port, address = int((at / "port").read_text()), (at / "address").read_text()
        nodes[node.name] = {"ip": node.ip, "address": address, "port": port}
        key = " ".join((at / "host_key.pub").read_text().split()[:2])
        known.append(f"[{address}]:{port} {key}\n")
    private_file(lab.known_hosts, "".join(known))
    ssh = {"user": getpass.getuser()}
    first = lab.nodes[0]
    for file, url, names in (
        ("initial.yaml", f"http://{first.ip}:8088", [first.name]),
        ("hosts.yaml", f"http://{lab.vip}:8088", list(nodes)),
    ):
        region = {"nodes": {name: nodes[name] for name in names}}
        write(lab, file, url, names, ssh=ssh, regions={"cn-lab": region})


def down(directory: Path) -> None:
    """End everything that was started there, and forget it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + 10
        while (found := ours(directory)) and time.monotonic() < until:
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            time.sleep(0.2)
    shutil.rmtree(directory, ignore_errors=True)


def ours(directory: Path) -> list[int]:
    """The processes of the demo, by the mark in their environment or, of an sshd, by its words."""
    found = []
    for pid in processes():
        with contextlib.suppress(OSError):
            environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            if f"{MARK}={directory}".encode() in environ or f"{directory}/nodes/".encode() in words:
                found.append(pid)
    return [pid for pid in found if pid not in (os.getpid(), os.getppid())]


# --- the VIP ---------------------------------------------------------------------------------


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def balance() -> None:
    """The VIP: each connection goes to the next node that accepts it."""
    turn = 0

    def handler(port: int) -> Handler:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal turn
            for _ in range(3):
                turn += 1
                with contextlib.suppress(OSError):
                    other = await asyncio.open_connection(f"{HERE}{11 + turn % 3}", port)
                    await asyncio.gather(copy(reader, other[1]), copy(other[0], writer))
                    return
            writer.close()

        return handle

    servers = [await asyncio.start_server(handler(port), f"{HERE}100", port) for port in PORTS]
    await asyncio.gather(*(server.serve_forever() for server in servers))


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


# --- the demo --------------------------------------------------------------------------------


def fab(lab: Lab, file: str, *words: str) -> None:
    """Run omsfab as an operator would."""
    print(f"\n$ fab {' '.join(words)}", flush=True)
    known = [str(lab.directory / "python"), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "OMSFAB_HOSTS": str(lab.directory / file),
        "OMSFAB_HOME": str(lab.directory / "state"),
        "PYTHONPATH": ":".join(filter(None, known)),
    }
    command = (sys.executable, "-m", "fabric", *words)
    status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    if status:
        raise LabError(f"fab {' '.join(words)} ended with {status}", evidence=str(lab.directory))


def demo(*, start_secs: str = "2") -> None:
    lab = up(place(), start_secs=start_secs)
    print(
        f"The light demo: three nodes at {SEEN}11 to 13 (here {HERE}11 to 13), sshd as "
        f"{getpass.getuser()},\ndocker emulated by omsfab/lab/light_docker.py; OMS is a stand-in."
    )
    fab(lab, "initial.yaml", "oms.deploy", "--yes")
    fab(lab, "hosts.yaml", "scale.out", "--plan")
    fab(lab, "hosts.yaml", "scale.out", "--yes")
    fab(lab, "hosts.yaml", "fleet.status")
    fab(lab, "hosts.yaml", "run.report")
    print(
        f"\nThe demo goes on.  To look around:\n"
        f"  export OMSFAB_HOSTS={lab.directory}/hosts.yaml OMSFAB_HOME={lab.directory}/state\n"
        f"  export PYTHONPATH={lab.directory}/python\n  .venv/bin/fab --list\n"
        "To end it: scripts/demo --light down"
    )


def main(words: list[str]) -> int:
    if words == ["balancer"]:
        asyncio.run(balance())
    elif words == ["down"]:
        down(place())
    else:
        try:
            demo(start_secs=os.environ.get("OMSFAB_LIGHT_START_SECS", "2"))
        except LabError as error:
            print(f"demo: {error}\n{error.evidence}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
