"""Faults of the jump host and of its operator (README.md, section 2), and names that move."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import tarfile
import time
from pathlib import Path

from omsfab.lab.system import run
from tests.faults import oracle
from tests.faults.harness import Harness, Miss, Skip
from tests.faults.inputs_vip_docker import OUT, known_as, package, service, sh
from tests.faults.matrix import fault, shown_by

CRASH = "tests/lab/test_crash.py::test_"
RUNS = "tests/lab/test_runs.py::test_"

shown_by(
    "J01",
    "omsfab is killed at a step, and resumed",
    "SIGKILL at the five points that hurt most; `scripts/crash` walks all of them",
    f"{CRASH}a_killed_run_is_finished_by_resume",
)
shown_by(
    "J03",
    "the jump host is lost for good",
    "its state directory is gone; another one resumes --from=oms1",
    f"{RUNS}a_lost_jump_host_is_replaced",
)
shown_by(
    "J04b",
    "Ctrl-C while rows are locked and about to be deleted",
    "SIGINT in the transaction",
    f"{RUNS}letting_go_in_the_surgery_rolls_back",
)
shown_by(
    "J14",
    "config.yaml of the old node changes between plan and yes",
    "a terminal, an edit, then yes",
    f"{RUNS}a_plan_that_was_read_for_too_long_is_not_begun",
)
shown_by(
    "C14",
    "rows are deleted, and docker_init.sh fails for good",
    "INIT_FAIL_STEP twice, then run.undo",
    f"{RUNS}an_initialisation_that_fails_twice_leaves_two_ways",
)


def jump_host(g: Harness, *lines: str) -> None:
    """fab runs in a mount namespace of its own, after these lines of sh."""
    g.prefix = ("unshare", "-m", "sh", "-c", " && ".join((*lines, 'exec "$@"')), "sh")


def small_home(g: Harness, size: str) -> Path:
    """The state directory is a file system of this size."""
    home = g.directory / "state"
    home.mkdir(mode=0o700, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(home))
    g.undo(lambda: run("umount", "-l", str(home)))
    return home


# --- the disk of the jump host --------------------------------------------------------------------


@fault("J06", "the jump host has no room", "the state directory is a tmpfs of 64 KB")
def no_room(g: Harness) -> None:
    small_home(g, "64k")
    g.says(g.refused(g.fab(*OUT), 3, "ENV-002"), "200 MB")


def fills(g: Harness, when: str, *, untouched: bool) -> None:
    """The disk fills when this is said; rows stay; with room again the next line finishes."""
    home = small_home(g, "230m")
    before = {table: oracle.rows(g.lab, table) for table in oracle.TABLES}
    running = g.start(*OUT)
    running.says(when, 120)
    running.process.send_signal(signal.SIGSTOP)  # or it is further on when the disk is full
    with (home / "filler").open("wb") as file:
        try:
            while True:
                file.write(b"\0" * 65536)
                file.flush()
        except OSError:
            pass
    running.process.send_signal(signal.SIGCONT)
    outcome = g.ended(g.note(running.end()), 6, "JRN-001")
    g.says(outcome, "No space left")
    if untouched:
        g.production_untouched()
    if before != {table: oracle.rows(g.lab, table) for table in oracle.TABLES}:
        raise Miss("rows are gone")
    (home / "filler").unlink()
    g.ended(g.paste(outcome), 0)


@fault("J06b", "the disk of the jump host fills in the run", "a filler when the package is there")
def fills_early(g: Harness) -> None:
    fills(g, r"oms2 +directories", untouched=True)


@fault("J06c", "the disk of the jump host fills before the rows are saved", "a filler at the stop")
def fills_late(g: Harness) -> None:
    fills(g, r"oms1 +stop-processes +▸", untouched=False)


# --- memory ---------------------------------------------------------------------------------------

BIG = 4 << 30


@fault(
    "J17b",
    "a package of 4 GB, and little memory",
    "a cgroup of 256 MB around fab; 4 GB of zeros in the package, uncompressed",
)
def big_package(g: Harness) -> None:
    group = Path("/sys/fs/cgroup/memory") / f"omsfab-{g.lab.name}"
    if not group.parent.is_dir():
        raise Skip("a memory controller of cgroup version 1")
    path = package(g, 'gunzip -c "$1" >"$1.tar" && mv "$1.tar" "$1"')
    zeros = g.directory / "zeros"
    with zeros.open("wb") as file:
        file.truncate(BIG)
    with tarfile.open(path, "a") as tar:
        tar.add(zeros, "zeros")
    zeros.unlink()
    group.mkdir(exist_ok=True)
    g.undo(group.rmdir)
    (group / "memory.limit_in_bytes").write_text(str(256 << 20))
    g.prefix = ("sh", "-c", f'echo $$ >{group}/cgroup.procs; exec "$@"', "sh")
    g.reset(images=True)
    g.wanted = (g.first, g.new[0])
    g.ended(g.fab(*OUT, f"--nodes={g.new[0]}", limit=1200), 0)
    path.unlink()


# --- limits ---------------------------------------------------------------------------------------


@fault("J08", "too few file descriptors", "ulimit -n 32")
def descriptors(g: Harness) -> None:
    g.prefix = ("sh", "-c", 'ulimit -n 32; exec "$@"', "sh")
    g.says(g.refused(g.fab(*OUT), 3, "ENV-003"), "256")


@fault("J08b", "files may not grow", "ulimit -f: 8 KB a file")
def file_size(g: Harness) -> None:
    limited = 'set -o pipefail; (ulimit -f 8; exec "$@") 2>&1 | cat'
    g.prefix = ("bash", "-c", limited, "bash")
    g.says(g.refused(g.fab(*OUT), 3, "ENV-005"), "8192")
    g.prefix = ()
    g.ended(g.fab(*OUT), 0)


# --- clocks ---------------------------------------------------------------------------------------


CLOCK = """
import datetime, os, time

real = time.time


def by():
    with open(os.environ["OTHER_TIME"]) as file:
        return float(file.read() or 0)


class Moved(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)


time.time = lambda: real() + by()
datetime.datetime = Moved
"""
"""libfaketime breaks the sleep of Python (clock_nanosleep with an absolute monotonic time), so the
wall clock that Python sees is moved inside it; the monotonic one is the true one."""


def faked(g: Harness, by: float) -> Path:
    """fab lives at another time: so many seconds from now, as a file says that may be changed."""
    place = g.directory / "clock"
    place.mkdir()
    (place / "sitecustomize.py").write_text(CLOCK)
    note = g.directory / "other-time"
    note.write_text(str(by))
    g.more = {"PYTHONPATH": str(place), "OTHER_TIME": str(note)}
    return note


def stopped_for(outcome: object) -> float:
    """Seconds of outage, as the summary says."""
    text = getattr(outcome, "out", "")
    found = re.findall(r"was DOWN(?: on \S+)? for (?:(\d+):)?(\d+):(\d\d) ", text)
    if not found:
        raise Miss(f"no figure of the outage:\n{text[-500:]}")
    hours, minutes, seconds = (int(word or 0) for word in found[-1])
    return (hours * 60 + minutes) * 60 + seconds


@fault("J09", "the jump host lives ten years ahead", "the wall clock that Python sees")
def ahead(g: Harness) -> None:
    faked(g, 10 * 365 * 86400)
    outcome = g.ended(g.fab(*OUT), 0)
    g.says(outcome, "ENV-006")
    if not 0 < stopped_for(outcome) < 120:
        raise Miss(f"an outage of {stopped_for(outcome)} s")


@fault("J09b", "its clock is set a day back in the run", "the same clock, at the stop")
def jumps(g: Harness) -> None:
    note = faked(g, 0)
    running = g.start(*OUT)
    running.says(r"oms1 +stop-processes +▸", 120)
    note.write_text("-86400")
    outcome = g.ended(g.note(running.end()), 0)
    if not 0 < stopped_for(outcome) < 120:
        raise Miss(f"an outage of {stopped_for(outcome)} s")


@fault(
    "J09c",
    "a node's clock or time zone is not that of the MetaDB",
    "a `date` on oms2: 120 s ahead, then UTC+8",
)
def node_clock(g: Harness) -> None:
    node = g.new[0]
    ahead, elsewhere = "exec faketime -f +120s /bin/date", "TZ=Asia/Shanghai exec /bin/date"
    for text in (ahead, elsewhere):
        fake = f'#!/bin/sh\n{text} "$@"\n'
        done = g.lab.enter(
            node, ["sh", "-c", "cat >/usr/local/bin/date; chmod 755 /usr/local/bin/date"],
            data=fake.encode(),
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr)
        g.undo(lambda: g.lab.enter(node, ["rm", "-f", "/usr/local/bin/date"]))
        if text == ahead:
            outcome = g.refused(g.fab(*OUT), 3, "ENV-006")
        else:  # what counts is the container's, and there is none yet: the host's is told
            outcome = g.ended(g.fab(*OUT), 0, "the host's time zone matches MetaDB")
        g.says(outcome, node)


# --- names that move ------------------------------------------------------------------------------


@fault(
    "N07",
    "a name leads to another machine after the plan was confirmed",
    "/etc/hosts of the jump host between kill and resume; the other machine has the same host key",
)
def name_moves(g: Harness) -> None:
    lab, (second, third) = g.lab, g.new
    name = "oms2.lab.test"
    hosts = g.directory / "hosts"

    def leads_to(node: str) -> None:
        hosts.write_text(f"127.0.0.1 localhost\n{lab.node(node).ip} {name}\n")

    leads_to(second)
    jump_host(g, f"mount --bind {hosts} /etc/hosts")
    known_as(g, second, name)
    node = {"ip": lab.node(second).ip, "address": name}
    g.edit(lambda d: d["regions"]["cn-lab"]["nodes"].update({second: node}))
    g.killed_at(f"directories@{second}:before", *OUT)
    clone_keys(g, second, third)
    known_as(g, second, f"{name},{lab.node(third).ip}", without=third)
    leads_to(third)
    outcome = g.ended(g.fab("run.resume", "--yes"), 10, "SSH-011")
    g.says(outcome, f"{second} is not the machine that was planned")
    g.production_untouched()
    leads_to(second)
    sh(g, third, "cp -p /run/keys/* /etc/ssh/; lab-service sshd restart")
    known_as(g, second, name)
    time.sleep(1)
    g.ended(g.paste(outcome), 0)


@fault(
    "N07b",
    "a name leads to a machine with another host key",
    "/etc/hosts of the jump host between plan and apply",
)
def name_moves_key(g: Harness) -> None:
    lab, (second, third) = g.lab, g.new
    name = "oms2.lab.test"
    hosts = g.directory / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{lab.node(second).ip} {name}\n")
    jump_host(g, f"mount --bind {hosts} /etc/hosts")
    known_as(g, second, name)
    node = {"ip": lab.node(second).ip, "address": name}
    g.edit(lambda d: d["regions"]["cn-lab"]["nodes"].update({second: node}))
    g.ended(g.fab("scale.out", "--plan"), 0)
    hosts.write_text(f"127.0.0.1 localhost\n{lab.node(third).ip} {name}\n")
    g.refused(g.fab(*OUT), 10, "SSH-010")
    hosts.write_text(f"127.0.0.1 localhost\n{lab.node(second).ip} {name}\n")
    g.ended(g.fab(*OUT), 0)


def clone_keys(g: Harness, source: str, dest: str) -> None:
    """The machine ``dest`` has the host keys of ``source``, as a clone has; undone with the fault."""
    sh(g, dest, "mkdir -p /run/keys && cp -p /etc/ssh/ssh_host_* /run/keys/")
    keys = g.lab.enter(
        source, ["sh", "-c", "tar c -C /etc/ssh $(cd /etc/ssh; ls ssh_host_*) | base64"]
    )
    done = g.lab.enter(
        dest, ["sh", "-c", "base64 -d | tar x -C /etc/ssh"], data=keys.stdout.encode()
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    service(g, dest, "sshd", "restart")
    g.undo(
        lambda: g.lab.enter(
            dest, ["sh", "-c", "cp -p /run/keys/* /etc/ssh/; lab-service sshd restart"]
        )
    )


# --- state that is damaged ------------------------------------------------------------------------


def killed_in_the_middle(g: Harness) -> Path:
    """A run that was killed with new nodes staged and production stopped; its directory."""
    g.killed_at("clear-rows:before", *OUT)
    (found,) = (p.parent for p in (g.directory / "state").glob("*/*/run.json"))
    return found


@fault("J16", "run.json of a run is cut off", "truncate -s 100 after a SIGKILL")
def record_cut(g: Harness) -> None:
    directory = killed_in_the_middle(g)
    path = directory / "run.json"
    path.write_bytes(path.read_bytes()[:100])
    outcome = g.ended(g.fab("run.resume", "--yes"), 3, "JRN-004")
    g.says(outcome, "run.json")
    moved = subprocess.run(["sh", "-c", outcome.next], check=False)
    if moved.returncode or directory.exists():
        raise Miss(f"its next line does not set it aside: {outcome.next}")
    line = f"--run={directory.name}"
    g.ended(g.fab("run.resume", line, f"--from={g.first}", "--yes"), 0)


@fault("J16b", "the journal of a run is gone", "rm journal.jsonl after a SIGKILL")
def journal_gone(g: Harness) -> None:
    directory = killed_in_the_middle(g)
    (directory / "journal.jsonl").unlink()
    g.says(g.ended(g.fab("run.resume", "--yes"), 0), "its copy on oms1 is used")
    for line in (directory / "journal.jsonl").read_text().splitlines():
        json.loads(line)


@fault("J18", "nothing can be written where the state is", "a read-only file system")
def read_only_home(g: Harness) -> None:
    home = small_home(g, "230m")
    run("mount", "-o", "remount,ro", str(home))
    g.refused(g.fab(*OUT), 3, "ENV-004")


@fault("J19", "hosts.yaml is a directory, or not there", "two bad paths")
def no_hosts(g: Harness) -> None:
    for path in (g.directory, g.directory / "nowhere.yaml"):
        g.refused(g.fab(*OUT, OMSFAB_HOSTS=str(path)), 2, "INPUT-002")


@fault(
    "J20",
    "a poor terminal",
    "TERM=dumb, LANG=C, COLUMNS=20, a Chinese name in hosts.yaml; then output that nobody reads",
)
def poor_terminal(g: Harness) -> None:
    g.edit(lambda d: d["regions"]["cn-lab"].update(label="实验室"))
    poor = {"TERM": "dumb", "LANG": "C", "LC_ALL": "C", "COLUMNS": "20", "PYTHONUTF8": "0"}
    g.prefix = ("bash", "-c", '"$@" 2>&1 | head -n 3', "bash")
    g.fab("scale.out", "--plan", **poor)
    g.prefix = ("bash", "-c", '"$@" >&- 2>&-', "bash")
    running = g.start(*OUT, **poor)
    running.process.wait(300)
    g.prefix = ()
    g.served()
    for words in (("fleet.show",), ("fleet.status",), ("run.show",), OUT):
        outcome = g.ended(g.fab(*words, **poor), 0)
        if "Traceback" in outcome.out:
            raise Miss(outcome.out[-800:])
