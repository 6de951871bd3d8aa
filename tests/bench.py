"""Ratios against rivals, measured side by side in one run; medians, since machines are noisy.

startup  `fab --list` of omsfab against `fab --list` of an empty fabfile
send     one file to one node of a lab: omsfab against `ssh cat >`, scp, and Fabric's put
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from omsfab import lab as labs
from tests.lab.oracle import FAB, ROOT

ROUNDS = 11
SIZE = 256 << 20

SEND = """
import sys, hashlib, pathlib
from omsfab.ssh import shell as ssh
from omsfab.fleet.model import Node, Ssh
ip, key, known, source, dest, way = sys.argv[1:]
settings = Ssh(user="root", key=pathlib.Path(key), known_hosts=pathlib.Path(known))
shell = ssh.SshShell(Node(name="oms1", ip=ip), settings)
path = pathlib.Path(source)
if way == "omsfab":
    digest = hashlib.file_digest(path.open("rb"), "sha256").hexdigest() \\
        if hasattr(hashlib, "file_digest") else hashlib.sha256(path.read_bytes()).hexdigest()
    shell.send(path, dest, path.stat().st_size, digest, lambda _: None)
else:
    from fabric import Connection
    link = Connection(ip, user="root", connect_kwargs={"key_filename": [key]})
    link.client.load_host_keys(known)
    link.put(source, dest)
"""


def compare(title: str, ways: Mapping[str, Callable[[], object]], rounds: int) -> None:
    """Run the ways in turn and print each median and its ratio to the first."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(values) for name, values in times.items()}
    first = next(iter(medians.values()))
    print(f"\n{title} (median of {rounds})")
    for name, value in medians.items():
        print(f"  {name:<28} {value:7.3f} s   {value / first:5.2f}")


def startup() -> None:
    with tempfile.TemporaryDirectory() as empty:
        Path(empty, "fabfile.py").write_text("")

        def listing(where: str) -> Callable[[], object]:
            words = [str(FAB), "--list"]
            return lambda: subprocess.run(words, cwd=where, capture_output=True, check=False)

        compare(
            "start-up", {"bare fab --list": listing(empty), "omsfab": listing(str(ROOT))}, ROUNDS
        )


def send() -> None:
    lab = labs.up("bench", 1, say=lambda _: None)
    try:
        with tempfile.TemporaryDirectory() as here:
            source = Path(here, "package")
            source.write_bytes(os.urandom(SIZE))
            ip, key, known = lab.nodes[0].ip, str(lab.key), str(lab.known_hosts)
            options = ["-i", key, "-o", f"UserKnownHostsFile={known}", "-q"]

            def program(*words: str, stdin: Path | None = None) -> Callable[[], object]:
                def call() -> object:
                    lab.path("oms1", "/data/package").unlink(missing_ok=True)
                    with (stdin or Path(os.devnull)).open("rb") as data:
                        return subprocess.run(words, stdin=data, cwd=ROOT, check=True)

                return call

            def ours(way: str) -> Callable[[], object]:
                words = (sys.executable, "-c", SEND, ip, key, known, str(source), "/data/package")
                return program(*words, way)

            to = f"root@{ip}"
            cat = ("ssh", *options, "-c", "aes128-gcm@openssh.com", to, "cat > /data/package")
            compare(
                f"one file of {SIZE >> 20} MiB to one node, process start included",
                {
                    "ssh cat, aes128-gcm": program(*cat, stdin=source),
                    "scp": program("scp", *options, str(source), f"{to}:/data/package"),
                    "omsfab (hashed twice)": ours("omsfab"),
                    "Fabric put": ours("put"),
                },
                5,
            )
    finally:
        labs.down("bench", say=lambda _: None)


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["startup", "send"]
    for name in wanted:
        {"startup": startup, "send": send}[name]()
