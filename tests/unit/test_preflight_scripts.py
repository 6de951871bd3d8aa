"""The questions of the preflight: a real sh, and a docker that says what it is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from omsfab.commands import preflight
from omsfab.fleet import values
from omsfab.fleet.model import MetaDb
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
