"""Faults of secrets (README.md, section 7): canaries in all of them, and eyes on every process."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults import oracle
from tests.faults.harness import Harness, Miss, Skip
from tests.faults.inputs_vip_docker import OUT
from tests.faults.matrix import fault

CANARIES = {"tsdb": 'CANARY-7f3 ts\'db "$HOME"', "extra": "CANARY-7f3-extra#: x"}
ALLOWED = ("config.yaml", "/secrets/", "/oms_logs/omsfab/")
"""Where a secret may lie, for its owner alone: config.yaml with its backups, the files it was taken
from, and what docker_init.sh said in an attempt, since step 2 prints the password of MetaDB."""

OF_OMS = ("/overlay2/", "/docker_init.log.", "-json.log")
"""What OMS itself writes, in its container and beside it."""


def canaries(g: Harness) -> list[bytes]:
    """Put a canary into each secret that hosts.yaml may have; return what to look for."""
    secrets = g.directory / "secrets"
    secrets.mkdir(mode=0o700)
    files = {}
    for name, text in CANARIES.items():
        files[name] = secrets / name
        files[name].write_text(text)
        files[name].chmod(0o600)
    g.edit(
        lambda data: data.update(
            tsdb={
                "service": "INFLUXDB", "url": f"{g.lab.metadb.host}:8086", "username": "oms",
                "password": {"file": str(files["tsdb"])},
            }
        )
    )  # fmt: skip
    g.edit(lambda data: data["oms"].update(extra={"drc_password": {"file": str(files["extra"])}}))
    return [g.lab.metadb.password.encode(), *(text.encode() for text in CANARIES.values())]


@contextmanager
def watching(wanted: list[bytes], every: float = 0.01) -> Iterator[list[str]]:
    """Read command line and environment of every process, over and over."""
    found: list[str] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            for entry in os.scandir("/proc"):
                if not entry.name.isdigit():
                    continue
                for part in ("cmdline", "environ"):
                    try:
                        with open(f"/proc/{entry.name}/{part}", "rb") as file:
                            data = file.read()
                    except OSError:
                        continue
                    if any(text in data for text in wanted):
                        words = data.replace(b"\0", b" ")
                        found.append(f"{part} of {words[:150]!r}")
            time.sleep(every)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def lying_about(roots: list[Path], wanted: list[bytes], since: float) -> Iterator[str]:
    """Yield the files changed since then that hold a secret and may not."""
    for root in roots:
        for directory, _, names in os.walk(root):
            for name in names:
                path = Path(directory, name)
                try:
                    stat = path.lstat()
                    if not path.is_file() or path.is_symlink() or stat.st_mtime < since:
                        continue
                    data = path.read_bytes() if stat.st_size < 300e6 else b""
                except OSError:
                    continue
                if not any(text in data for text in wanted):
                    continue
                if any(word in str(path) for word in OF_OMS):
                    continue
                allowed = any(word in str(path) for word in ALLOWED)
                group = 0 if path.name == "config.yaml" else 0o070  # that of the image's user
                if not allowed or stat.st_mode & (0o007 | group):
                    yield f"{path} {stat.st_mode & 0o777:o}"


def _in(text: object, wanted: list[bytes]) -> bool:
    data = text if isinstance(text, bytes) else str(text).encode()
    return any(secret in data for secret in wanted)


@contextmanager
def traced(g: Harness, wanted: list[bytes]) -> Iterator[list[str]]:
    """Every program that sshd of any node starts, by strace: none of them is missed."""
    found: list[str] = []
    tracers = []
    for name in g.names:
        out = g.directory / f"execve-{name}"
        pids = g.lab.enter(name, ["pgrep", "-x", "sshd"]).stdout.split()
        netns = g.lab.node(name).pid
        here = subprocess.run(
            ["pgrep", "-x", "sshd", "--ns", str(netns), "--nslist", "pid"],
            capture_output=True, text=True, check=False,
        ).stdout.split()  # fmt: skip
        if not pids or not here:
            raise Skip(f"no sshd to trace on {name}")
        words = ["strace", "-f", "-qq", "-v", "-s", "100000", "-e", "trace=execve", "-o", str(out)]
        words += [word for pid in here for word in ("-p", pid)]
        tracers.append((name, out, subprocess.Popen(words, stderr=subprocess.DEVNULL)))
    try:
        yield found
    finally:
        for name, out, tracer in tracers:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(30)
            data = out.read_bytes()
            if b"execve(" not in data:
                raise Miss(f"strace saw nothing on {name}")
            found += [
                f"execve on {name}: {line[:150]!r}"
                for line in data.splitlines()
                if any(text in line for text in wanted)
            ]
            out.unlink()


@fault(
    "X01",
    "a password in argv, environment, logs, journal, temporary files or docker inspect",
    "canaries in all secrets; strace of every sshd, /proc read over and over; all files searched",
)
def canary(g: Harness) -> None:
    wanted = canaries(g)
    began = time.time()
    if g.lab.metadb.kind == "mariadb":
        g.lab.sql("set global log_output = 'TABLE'")
        g.lab.sql("set global general_log = 1")
        g.undo(lambda: g.lab.sql("set global general_log = 0"))
    with traced(g, wanted) as started, watching(wanted) as seen:
        refused = g.fab(*OUT)  # there is no InfluxDB
        g.edit(lambda data: data.pop("tsdb"))
        outcome = g.fab(*OUT)
        more = [
            g.fab(*words)
            for words in (
                ("fleet.status",),
                ("fleet.check",),
                ("run.log",),
                ("fleet.show",),
            )
        ]
    g.ended(refused, 3, "TSDB-")
    g.ended(outcome, 0)
    if g.lab.metadb.kind == "mariadb":
        logged = g.lab.sql("select argument from mysql.general_log")
        seen += [f"general log: {row[0][:100]!r}" for row in logged if _in(row[0], wanted)]
    seen += started
    if seen:
        raise Miss(f"seen in processes: {sorted(set(seen))[:5]}")
    for each in (refused, outcome, *more):
        if any(text.decode() in each.out for text in wanted):
            raise Miss(f"shown by fab {' '.join(each.words)}")
    roots = [g.directory, Path("/tmp"), Path("/root"), *(g.lab.node_directory(n) for n in g.names)]
    found = [f for f in lying_about(roots, wanted, began) if "/tmp/bash_jobs" not in f]
    found = [f for f in found if str(g.directory / "secrets") not in f]
    for name in g.names:
        text = g.lab.enter(name, ["docker", "inspect", oracle.CONTAINER]).stdout.encode()
        if any(secret in text for secret in wanted):
            found.append(f"docker inspect on {name}")
    if found:
        g.figures.secrets += found
        raise Miss("; ".join(found))


@fault(
    "X02",
    "a failing run shows a secret in its error",
    "docker_init.sh fails and prints the password",
)
def in_an_error(g: Harness) -> None:
    g.lab.knob(g.first, INIT_SECRET=1, INIT_XTRACE=1, INIT_FAIL_STEP=2)
    outcome = g.ended(g.fab(*OUT), 6, "INIT-011")
    if g.lab.metadb.password in outcome.out:
        raise Miss("the password is in the error")
    g.lab.knob(g.first, INIT_SECRET=None, INIT_XTRACE=None, INIT_FAIL_STEP=None)
    g.planned[g.first] = 2
    g.ended(g.paste(outcome), 0)


@fault("X03", "the file of a secret is readable by others, or a symbolic link", "0644, then a link")
def open_secret(g: Harness) -> None:
    path = g.directory / "password"
    path.write_text(g.lab.metadb.password)
    path.chmod(0o644)
    g.edit(lambda data: data["metadb"].update(password={"file": str(path)}))
    g.refused(g.fab(*OUT), 10, "SEC-")
    path.chmod(0o600)
    link = g.directory / "link"
    link.symlink_to(path)
    g.edit(lambda data: data["metadb"].update(password={"file": str(link)}))
    outcome = g.refused(g.fab(*OUT), 10, "SEC-")
    path.unlink()
    if not outcome.next:
        raise Miss("no next line")
