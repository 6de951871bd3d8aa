"""The questions of the preflight: a real sh, and a docker that says what it is told."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from omsfab.commands import node_checks, preflight
from omsfab.fleet import values
from omsfab.fleet.model import MetaDb
from omsfab.plan import questions
from omsfab.plan.observed import NodeFacts
from omsfab.plan.procedures import scale_out
from omsfab.plan.records import Guarded, LetsIn
from omsfab.run.engine import interpreter
from omsfab.secret import Secret


@pytest.fixture
def asked(tmp_path):
    """Return a way to run a question where these programs are shell scripts."""

    def run(cmd, **programs):
        for name, text in programs.items():
            fake = tmp_path / name
            fake.write_text(f"#!/bin/sh\n{text}\n")
            fake.chmod(0o755)
        stdin = cmd.stdin.reveal() if cmd.stdin else None
        done = subprocess.run(
            cmd.argv,
            input=stdin,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


INSIDE = 'shift 2; [ "$1" = -i ] && shift; exec "$@"'
"""A docker whose container is this machine."""


def test_omsflow_is_looked_for_from_root(asked):
    """A container without docker_init.sh says so; nothing is started there."""
    status, said = asked(preflight.omsflow("oms"), docker=INSIDE)

    assert 1 == status
    assert "/root/docker_init.sh is not there" in said


@pytest.mark.parametrize("there", [True, False])
def test_a_python_that_does_not_find_omsflow_is_told(asked, tmp_path, there):
    """R3: from /root, without a login shell: in the outage it would be INIT-011."""
    (tmp_path / "root" / "omsflow" / "scripts" / ("units" if there else "other")).mkdir(
        parents=True
    )
    (tmp_path / "root" / "docker_init.sh").write_text("true\n")
    cmd = elsewhere(preflight.omsflow("oms"), "/root", tmp_path / "root")

    status, said = asked(cmd, docker=INSIDE, python=f'exec {sys.executable} "$@"')

    assert there is (status == 0)
    assert there or "No module named 'omsflow.scripts.units'" in said


def test_a_login_from_the_container_has_its_password_on_stdin_alone(asked, tmp_path):
    """argv is public on a node; what the server says is told."""
    metadb = MetaDb(
        host="10.0.0.9",
        port=2881,
        user="oms",
        password=Secret("CANARY-9"),
        rm_db="oms_rm",
        cm_db="oms_cm",
    )
    cmd = preflight.metadb_login("oms", metadb)
    (tmp_path / "pymysql.py").write_text(
        "def connect(**words): raise ValueError('Access denied for ' + words['user'])\n"
    )
    python = f'PYTHONPATH={tmp_path} exec {sys.executable} "$@"'

    status, said = asked(
        cmd, docker='shift 3; cd() { :; }; exec sh -c "${3#*exit 0}" "$4" "$5"', python=python
    )

    assert not any("CANARY-9" in word for word in cmd.argv)
    assert "CANARY-9" in json.loads(cmd.stdin.reveal())["password"]
    assert (1, True) == (status, "Access denied for oms" in said)


@pytest.mark.parametrize(
    ("mounts", "status"),
    [("/data:/x", 0), ("/home/ds/store /home/ds/run", 1), ("/home/admin/conf/config.yaml", 1)],
)
def test_a_second_oms_on_the_host_is_seen_by_its_mounts(asked, mounts, status):
    """Whatever its container is called: with --net host there is one port 8084 per host."""
    docker = f"""case $1 in
      ps) echo id1;;
      inspect) echo "/other {mounts}";;
      *) exit 1;;
    esac"""

    found, said = asked(preflight.one_oms("oms_427"), docker=docker)

    assert status == found
    assert ("container other" in said) is bool(status)


def test_another_supervisord_behind_8084_is_seen(asked):
    """The socket of the container and what supervisorctl says by itself differ."""
    docker = """case "$*" in
      ps*) ;;
      *test*) ;;
      *unix*) echo "nginx RUNNING pid 11, uptime 1:00";;
      *) echo "nginx RUNNING pid 99, uptime 1:00";;
    esac"""

    status, said = asked(preflight.one_oms("oms_427"), docker=docker)

    assert (1, True) == (status, "another container" in said)


def test_a_program_that_crashes_again_and_again_is_no_second_oms(asked, tmp_path):
    """Each look at it finds another pid, by the socket as by the port: one supervisord all the
    same, since what keeps its pid has it at both."""
    count = tmp_path / "count"
    docker = f"""case "$*" in
      ps*) ;;
      *test*) ;;
      *) echo x >>{count}; echo "nginx RUNNING pid 11, uptime 1:00"
         echo "oms_drc_supervisor RUNNING pid 2$(wc -l <{count}), uptime 0:01";;
    esac"""

    assert (0, "") == asked(preflight.one_oms("oms_427"), docker=docker)


@pytest.mark.parametrize(
    ("flags", "says"), [("----i----", "immutable"), ("-----a---", "append-only"), ("---------", "")]
)
def test_what_even_root_may_not_write_is_told(asked, tmp_path, flags, says):
    """lsattr tells what no open for appending does."""
    path = tmp_path / "config.yaml"
    path.write_text("a: 1\n")
    lsattr = f'case "$*" in *config.yaml) echo "{flags} x";; *) echo "-------- x";; esac'

    status, said = asked(preflight.takes(str(path)), lsattr=lsattr, findmnt="echo rw")

    assert (int(bool(says)), True) == (status, says in said)


def test_an_immutable_directory_and_a_read_only_mount_are_told(asked, tmp_path):
    """The former file is kept beside the new one, so the directory counts as well."""
    path = str(tmp_path / "sub" / "config.yaml")
    lsattr = 'echo "----i---- x"'

    assert "is immutable" in asked(preflight.takes(path), lsattr=lsattr)[1]
    assert "read-only mount" in asked(preflight.takes(path), findmnt="echo ro,nosuid")[1]
    over = "printf 'rw,relatime\\nro,relatime\\n'"  # what findmnt says where one hides another
    beside = str(tmp_path / "logs")
    assert 1 == asked(preflight.takes(path, beside), findmnt=over)[1].count("read-only mount")


QUOTA = """Disk quotas for user oms (uid 1000): 
     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace
      /dev/vdb1 {blocks:>8} {grace:>30} {files:>8}       0       0        
 nas:/export/oms       8       0       0               2       0       0        
"""
"""What `quota -w` of the quota tools prints; a star is what is over a limit."""


@pytest.mark.parametrize(
    ("blocks", "grace", "files", "source", "over"),
    [
        ("20480*", "10240   20480   6days", "4", "/dev/vdb1", True),
        ("20480*", "10240   20480    none", "4", "/dev/vdb1[/oms]", True),
        ("1024", "10240   20480        ", "101*", "/dev/vdb1", True),
        ("20480*", "10240   20480   6days", "101*", "/dev/vdb1", True),
        ("1024", "10240   20480        ", "4", "/dev/vdb1", False),
        ("20480*", "10240   20480   6days", "4", "nas:/export/oms", False),
        ("20480*", "10240   20480   6days", "4", "", False),
    ],
)
def test_a_quota_that_is_used_up_is_told(asked, tmp_path, blocks, grace, files, source, over):
    """R3: of the file system on which it would be written, and of no other.  Not by a kernel with
    quotas, which a machine for tests need not have: the tool's own words stand in for it."""
    said = QUOTA.format(blocks=blocks, grace=grace, files=files)
    (tmp_path / "said").write_text(said)
    findmnt = f'case "$*" in *SOURCE*) echo "{source}";; *) echo rw;; esac'

    status, told = asked(
        preflight.takes(str(tmp_path / "sub" / "config.yaml")),
        quota=f"cat {tmp_path}/said",
        findmnt=findmnt,
        lsattr="echo -------- x",
    )

    assert (over, over) == (bool(status), "is over the quota of" in told)
    assert not over or f"{tmp_path} is on /dev/vdb1, " in told


@pytest.mark.parametrize(
    ("free", "inodes", "says"),
    [
        (49_999, 5000, "49 MB free, 50 MB needed"),
        (50_000, 99, "99 inodes free"),
        (50_000, 100, ""),
    ],
)
def test_no_room_for_what_a_run_keeps_is_told(asked, tmp_path, free, inodes, says):
    """R2b.4, R3: a copy that finds no room was found out with production stopped."""
    cmd = elsewhere(preflight.keeps(50_000_000), "$1", tmp_path / "is" / "made" / "later")
    lines = f'*-Pi*) echo "f 9999 1 {inodes}";; *) echo "f 1 1 {free}";;'

    status, said = asked(cmd, df=f'echo head; case "$*" in {lines} esac')

    assert (bool(says), True) == (bool(status), says in said)
    assert not says or said.startswith(f"{tmp_path}: ")


def test_the_place_of_claims_and_copies_is_asked_on_every_node(fleet, package, present):
    """R3: writable, and with room; hard on each of them, new or not."""
    now = present(package, oms2=NodeFacts(), oms3=NodeFacts())
    asked = [s for s in scale_out.scale_out(fleet, now).stages[0].steps if s.name == "keeps"]

    assert [("oms1", False), ("oms2", False), ("oms3", False)] == [(s.node, s.warn) for s in asked]
    commands = [[probe.command for probe in step.verify] for step in asked]
    wanted = [preflight.takes("/var/lib/omsfab"), preflight.keeps(questions.COPIES)]
    assert [wanted] * 3 == commands


def test_the_zone_that_counts_is_that_of_the_container(fleet, package, present):
    """R4: of a node that runs OMS its container's is hard, and its host's only told; a new node
    has no container yet."""
    now = present(package, oms2=NodeFacts(), oms3=NodeFacts())
    stage = scale_out.scale_out(fleet, now).stages[0]
    steps = {step.key: step for step in stage.steps if step.name in ("clock", "zone")}
    (inside,), (outside,) = (steps[f"clock@{name}"].verify for name in ("oms1", "oms2"))

    assert ("docker", "exec", "oms_427", "date") == inside.command.argv[:4]
    assert (True, False) == (inside.zone, outside.zone)
    assert {"clock": {False}, "zone": {True}} == {
        name: {step.warn for step in steps.values() if step.name == name}
        for name in ("clock", "zone")
    }


def test_a_name_that_another_image_has_is_told(asked):
    docker = "echo sha256:other"

    assert (1, True) == (
        (found := asked(preflight.tag("oms:1", "sha256:wanted"), docker=docker))[0],
        "sha256:other" in found[1],
    )
    assert 0 == asked(preflight.tag("oms:1", "sha256:other"), docker=docker)[0]
    assert 0 == asked(preflight.tag("oms:1", "sha256:wanted"), docker="exit 1")[0]


@pytest.mark.parametrize(
    ("wanted", "found", "differs"),
    [
        ((4, 2, 7), ["4.2.7"], False),
        ((4, 2, 7), ["V4.2.5-CE", "4.2.7-bp1"], False),
        ((4, 2, 7), ["4.2.5", "4.2.11"], True),
        ((4, 2, 7), ["unknown"], False),
        ((4, 2, 7), [], False),
    ],
)
def test_the_newest_version_in_metadb_is_that_of_the_image(wanted, found, differs):
    """A hot update leaves the image of the container behind."""
    assert differs is (interpreter._other_version(wanted, found) is not None)


@pytest.mark.parametrize("text", ["http://[fd00::1]:8088"])
def test_a_vip_of_ipv6_is_refused_with_the_reason(text):
    with pytest.raises(ValueError, match=r"IPv4.*cm_nodes"):
        values.cm_url(text)


def test_a_metadb_of_ipv6_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="IPv6"):
        values.host("fd00::9")


# --- what is only warned of ----------------------------------------------------------------------


def elsewhere(cmd, old, new):
    """The command, looking at another file than that of this machine."""
    flag, text = cmd.argv[1], cmd.argv[2]
    assert old in text
    return replace(cmd, argv=(cmd.argv[0], flag, text.replace(old, str(new)), *cmd.argv[3:]))


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("there", [True, False])
def test_cgroup_2_is_told_of_for_an_image_before_4_2_4(asked, tmp_path, old, there):
    """R3: such an OMS shows the host as abnormal; a newer one does not."""
    controllers = tmp_path / "cgroup.controllers"
    if there:
        controllers.write_text("cpu memory\n")
    cmd = elsewhere(preflight.habits(old=old), "/sys/fs/cgroup/cgroup.controllers", controllers)

    status, said = asked(cmd, docker="echo true")

    assert (old and there) == bool(status) == ("cgroup version 2" in said)


@pytest.mark.parametrize(("live_restore", "told"), [("false", True), ("true", False), ("", False)])
def test_a_docker_without_live_restore_is_told_of(asked, tmp_path, live_restore, told):
    """R3: a restart of dockerd ends OMS; one that cannot be asked is told of elsewhere."""
    status, said = asked(preflight.habits(old=False), docker=f"echo {live_restore}")

    assert told == bool(status) == ("live-restore of docker is off" in said)


@pytest.mark.parametrize(("free", "told"), [(7_400_000, True), (7_600_000, False)])
def test_memory_that_the_programs_of_oms_do_not_fit_in_is_told_of(asked, tmp_path, free, told):
    """R3: five JVMs take about 7 GB."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal: 32000000 kB\nMemFree: 1 kB\nMemAvailable: {free} kB\n")
    cmd = elsewhere(node_checks.advice(str(tmp_path)), "/proc/meminfo", meminfo)

    status, said = asked(cmd, getconf="echo 16", findmnt="echo rw", stat="echo ext2/ext3")

    assert told == bool(status) == ("the programs of OMS take about 7" in said)


def test_a_port_without_a_password_that_answers_here_is_told_of(tmp_path):
    """R3: 8084, 8088, 9000 are open to whoever gets there."""
    site = interpreter.Interpreter("r", tmp_path, {}, None)
    with socket.socket() as held, socket.socket() as free:
        held.bind(("127.0.0.1", 0))
        held.listen()
        free.bind(("127.0.0.1", 0))
        open_, closed = held.getsockname()[1], free.getsockname()[1]

        assert site.ask(Guarded("127.0.0.1", (closed,)), "oms1") is None
        assert f"127.0.0.1 answers on {open_}" == site.ask(
            Guarded("127.0.0.1", (closed, open_)), "oms1"
        )


@pytest.mark.parametrize(("took", "said"), [(0.05, None), (0.0611, "a statement took 61 ms")])
def test_a_slow_metadb_is_told_of(fleet, present, tmp_path, took, said):
    """R3: 60 ms a statement is the vendor's limit."""
    stage = questions.stage(fleet, fleet.regions[0], present(), (), (), vip=False)
    (step,) = (one for one in stage.steps if one.name == "metadb-quick")
    site = interpreter.Interpreter("r", tmp_path, {}, SimpleNamespace(statement_time=lambda: took))

    assert said == site.ask(step.verify[0], step.node)
    assert step.warn


def test_the_login_is_asked_from_every_node(fleet, package, present, tmp_path):
    """R3: in the container of one that runs, over the sshd of one that has none; hard on both."""
    now = present(package, oms2=NodeFacts(), oms3=NodeFacts())
    asked = [s for s in scale_out.scale_out(fleet, now).steps if s.name == "metadb-login"]
    metadb = SimpleNamespace(kept_out={"oms2": "Access denied", "oms3": None}.get)
    site = interpreter.Interpreter("r", tmp_path, {}, metadb)

    assert ["oms1", "oms2", "oms3"] == sorted(step.node for step in asked)
    assert not any(step.warn for step in asked)
    assert [LetsIn(), LetsIn()] == [s.verify[0] for s in asked if s.node != "oms1"]
    assert ["Access denied", None] == [site.ask(LetsIn(), node) for node in ("oms2", "oms3")]


def test_what_nobody_stops_for_is_warned_of(fleet, package, present):
    """R3: each of them is asked where it matters, and stops no run."""
    now = present(package, oms2=NodeFacts(), oms3=NodeFacts())
    stage = scale_out.scale_out(fleet, now).stages[0]
    warned = {step.key for step in stage.steps if step.warn}

    assert {f"habits@oms{n}" for n in (1, 2, 3)} <= warned
    assert {"guarded@oms1", "advice@oms2", "advice@oms3", "metadb-quick@metadb"} <= warned
