"""The light demo by a user who is nobody: its own sshd, docker emulated, and what came of it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest
import yaml

ROOT = Path(__file__).parents[2]
NOBODY = 65533

AS_NOBODY = """
mount --bind "$1/passwd" /etc/passwd
case $2 in /root/*)  # a Python of root's own, which others may not reach
  mkdir -p "$1/python"; mount --bind "$2" "$1/python"; mount -t tmpfs -o mode=755 none /root
  mkdir -p "$2"; mount --bind "$1/python" "$2" ;;
esac
id=$3; shift 3
exec setpriv --reuid="$id" --regid="$id" --clear-groups --no-new-privs "$@"
"""


class Demo:
    """A home, and the demo started and ended in it."""

    def __init__(self, home: Path) -> None:
        self.home, self.lab = home, home / "lab" / "light"
        self.before: tuple[str, ...] = ()
        if os.geteuid() == 0:
            known = "".join(":".join(map(str, row)) + "\n" for row in pwd.getpwall())
            row = f"demo:x:{NOBODY}:{NOBODY}::{home}:/bin/sh\n"
            (home / "passwd").write_text(known + row)
            os.chown(home, NOBODY, NOBODY)
            given = (str(home), sys.base_prefix, str(NOBODY))
            self.before = ("unshare", "--mount", "sh", "-ec", AS_NOBODY, "sh", *given)

    def run(self, *words: str, light: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {
            "HOME": str(self.home),
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMSFAB_LAB_ROOT": str(self.lab.parent),
            "OMSFAB_LIGHT_START_SECS": "0.2",
        }
        flag = ("--light",) if light else ()
        return subprocess.run(
            [*self.before, "scripts/demo", *flag, *words], cwd=ROOT, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip

    def processes(self) -> list[str]:
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                told = (place / "environ").read_bytes() + (place / "cmdline").read_bytes()
            except OSError:
                continue
            if str(self.lab).encode() in told:
                found.append((place / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    if sys.platform != "linux" or not shutil.which("sshd", path="/usr/sbin:/usr/bin"):
        pytest.skip("no sshd: the package openssh-server is not installed")
    home = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="light-"))
    made = Demo(home)
    try:
        yield made
    finally:
        made.run("down")
        shutil.rmtree(home, ignore_errors=True)


def test_one_node_becomes_three_without_root(demo: Demo):
    """Plan, run, live view and report; MetaDB, asked past omsfab, knows three nodes and the VIP.

    Nobody may be root here, so that scripts/demo falls back to it by itself, and says so.
    """
    done = demo.run(light=os.geteuid() != 0)

    assert 0 == done.returncode, done.stdout[-6000:]
    assert os.geteuid() != 0 or 1 == done.stdout.count("the light demo instead")
    assert "step 5 of 5" in done.stdout
    assert [] != list(demo.lab.glob("state/**/report.html"))
    told = yaml.safe_load((demo.lab / "hosts.yaml").read_text())["metadb"]
    connection = pymysql.connect(
        host="127.77.9.9",
        port=told["port"],
        user=told["user"],
        password=Path(told["password"]["file"]).read_bytes(),  # type: ignore[arg-type]
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("select cm_url from oms_rm.cluster_info")
        assert (("http://10.77.9.100:8088",),) == cursor.fetchall()
        cursor.execute("select ip, host_status from oms_cm.host order by ip")
        nodes = tuple((f"10.77.9.{n}", "ONLINE") for n in (11, 12, 13))
        assert nodes == cursor.fetchall()
        cursor.execute("select @@global.ob_tcp_invited_nodes")
        assert (("127.0.0.0/8",),) == cursor.fetchall()  # nobody else logs in


def test_the_end_of_it_leaves_nothing(demo: Demo):
    """No process and no file, though the demo went on until then."""
    assert [] != demo.processes()

    done = demo.run("down")

    assert 0 == done.returncode, done.stdout
    assert [] == demo.processes()
    assert not demo.lab.exists()
