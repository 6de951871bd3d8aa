"""What this machine must have to carry a lab, and how it gets it."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from omsfab.lab.system import LabError, Say, run

# Debian and Ubuntu packages; the program that proves each one to be there.
PACKAGES = {
    "docker.io": "dockerd",
    "docker-cli": "docker",  # part of docker.io before Debian 13
    "openssh-server": "sshd",
    "openssh-client": "ssh-keygen",
    "iproute2": "ip",
    "iptables": "iptables",
    "mariadb-server": "mariadbd",
    "haproxy": "haproxy",
    "sudo": "sudo",
    "procps": "pkill",
    "util-linux": "nsenter",
    "faketime": "faketime",
}


def missing() -> str | None:
    """One sentence saying why this machine cannot carry a lab, or None."""
    if not sys.platform.startswith("linux"):
        return f"the lab needs Linux namespaces, and this is {sys.platform}"
    if os.geteuid() != 0:
        return "the lab makes namespaces and network interfaces and must be started by root"
    absent = absent_packages()
    if absent:
        return f"the lab needs these packages: {' '.join(_named(absent))}"
    from omsfab.lab import metadb

    if metadb.engine_path() is None:
        return "the lab needs the OceanBase engine: scripts/setup lab"
    return _no_namespaces()


def absent_packages() -> list[str]:
    """The packages whose program is not on this machine."""
    # An ordinary user's path has no sbin, where most of these live.
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
    return [
        package for package, program in PACKAGES.items() if not shutil.which(program, path=path)
    ]


def _named(absent: list[str]) -> list[str]:
    """docker.io brings its client on most releases, so do not ask for both."""
    return [name for name in absent if name != "docker-cli" or "docker.io" not in absent]


def install_packages(say: Say = print) -> None:
    """Install what is absent, without questions and without starting any service.

    Works through ``sudo -n`` where we are not root.  LabError when apt cannot.
    """
    absent = absent_packages()
    if not absent:
        return
    if not shutil.which("apt-get"):
        raise LabError(f"apt-get is not here to install {' '.join(absent)}")
    sudo = () if os.geteuid() == 0 else ("sudo", "-n")
    say(f"installing {' '.join(absent)}")
    apt = (*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q")
    run(*apt, "-o", "DPkg::Lock::Timeout=120", "update", limit=600)
    started = time.monotonic()
    with_policy = ("bash", "-c", _WITHOUT_SERVICES, "apt")
    install = ("install", "-y", "--no-install-recommends", *absent)
    run(
        *sudo,
        *with_policy,
        *apt[len(sudo) :],
        "-o",
        "DPkg::Lock::Timeout=120",
        *install,
        limit=1800,
    )
    say(f"installed in {time.monotonic() - started:.0f} s")


def _rounds(absent: list[str]) -> Iterator[list[str]]:
    """The packages in two rounds: older releases have no docker-cli, and need none."""
    first = [package for package in absent if package != "docker-cli"]
    if first:
        yield first
    if "docker-cli" in absent_packages():
        yield ["docker-cli"]


# Maintainer scripts ask /usr/sbin/policy-rc.d whether they may start a service; 101 forbids it.
# What stood there before comes back, whatever happens.
_WITHOUT_SERVICES = """
set -eu
policy=/usr/sbin/policy-rc.d kept=
if [ -e "$policy" ] || [ -L "$policy" ]; then kept=$policy.omsfab-lab; mv "$policy" "$kept"; fi
restore() { rm -f "$policy"; [ -z "$kept" ] || mv "$kept" "$policy"; }
trap restore EXIT
printf '#!/bin/sh\\nexit 101\\n' >"$policy"
chmod 755 "$policy"
"$@"
"""


def _no_namespaces() -> str | None:
    """Try each kind of namespace and an overlay mount in a child that vanishes again."""
    child = os.fork()
    if child == 0:
        os._exit(_try_namespaces())
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        kinds = ("", "namespaces (unshare)", "private mounts", "an overlay file system")
        what = kinds[status] if 0 < status < len(kinds) else "namespaces"
        return f"the lab needs {what}, and the kernel or the container around us refuses"
    base = Path("/sys/fs/cgroup")
    home = base if (base / "cgroup.controllers").exists() else base / "devices"
    try:
        # Its caller's own: of two that asked at once, one would find it gone.
        Path(tempfile.mkdtemp(prefix="omslab-probe-", dir=home)).rmdir()
    except OSError as error:
        return f"the lab needs control groups that docker may write to ({error})"
    return None


def _try_namespaces() -> int:
    """0, or the number of what is refused.  Runs in a forked child: no cleaning up needed."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_ns, new_uts, new_ipc, new_pid, new_net = (
        0x00020000,
        0x04000000,
        0x08000000,
        0x20000000,
        0x40000000,
    )
    if libc.unshare(new_ns | new_uts | new_ipc | new_pid | new_net):
        return 1
    if libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None):  # MS_REC | MS_PRIVATE
        return 2
    if libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None):
        return 2
    for part in ("upper", "work", "root"):
        os.mkdir(f"/tmp/{part}")
    options = b"lowerdir=/,upperdir=/tmp/upper,workdir=/tmp/work"
    return 3 if libc.mount(b"overlay", b"/tmp/root", b"overlay", 0, options) else 0
