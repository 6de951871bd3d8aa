"""The package of the stand-in image: what `docker save | gzip` would write, without a docker.

Two layers.  ``base`` is a small Debian out of the packages of this machine's own apt sources,
unpacked without running any of their scripts; ``app`` is the directory ``image`` beside this file.
Both are deterministic, so the image id says whether anything changed.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from omsfab.lab import places
from omsfab.lab.profiles import SUPERVISORD, Profile, chosen
from omsfab.lab.system import LabError, Say, only_one, private_dir, private_file, run

SOURCES = Path(__file__).with_name("image")

# What the programs of the image need; their dependencies come along.
DEBIAN_PACKAGES = (
    *("base-files", "bash", "coreutils", "dash", "findutils", "mawk", "grep", "sed", "hostname"),
    *("procps", "util-linux", "supervisor", "python3-minimal", "python3-yaml", "python3-pymysql"),
)

# Needed only by the scripts of packages, which never run here.
LEFT_OUT = ("perl", "libperl", "usrmerge", "debconf", "dpkg", "tar_", "libgdbm", "libdb5", "gcc-")
LEFT_OUT_PATHS = (
    *("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian"),
    *("usr/share/bash-completion", "usr/share/zoneinfo", "usr/share/perl5", "usr/share/bug"),
    *("usr/lib/x86_64-linux-gnu/gconv", "usr/lib/aarch64-linux-gnu/gconv", "usr/share/awk"),
)

# Only where step 4 of docker_init.sh names it.
CROND = """\
[program:crond]
command=sleep infinity
user=root
autostart=true
autorestart=true
startsecs=10
startretries=0
stopasgroup=true
killasgroup=true
stdout_logfile=/home/admin/logs/crond_stdout.log
stderr_logfile=/home/admin/logs/crond_stderr.log
"""

# Counted up when the way of building the base changes.
BASE_FORMAT = 3


@dataclass(frozen=True, slots=True)
class Package:
    """A built package.  ``id`` is what `docker inspect -f {{.Id}}` says once it is loaded."""

    tag: str
    id: str
    path: Path


def build(
    say: Say = print, tag: str = "", profile: Profile | None = None, start_secs: str = ""
) -> Package:
    """The package, from the cache if nothing changed.  Another ``tag`` makes another image.

    ``start_secs`` stands in the place of the real startsecs of the programs.
    """
    profile = profile or chosen()
    tag = tag or profile.tag
    cache = private_dir(places.cache())
    with only_one(cache / ".lock"):
        base = base_layer(say)
        app = app_layer(tag, profile, start_secs)
        layers = [base.read_bytes(), app]
        config = json.dumps(configuration(tag, layers, profile.cmd), sort_keys=True).encode()
        name = hashlib.sha256(config).hexdigest()
        version = tag.rpartition("feature_")[2].replace("_", "-")
        path = cache / f"oms_{version}-{name[:12]}.tar.gz"
        if not path.exists():
            started = time.monotonic()
            say("packing the stand-in image")
            write(path, tag, name, config, layers)
            size = path.stat().st_size / 1e6
            say(f"packed {path.name}, {size:.0f} MB, in {time.monotonic() - started:.1f} s")
        return Package(tag, f"sha256:{name}", path)


def configuration(
    tag: str, layers: list[bytes], cmd: Sequence[str] = ("/bin/sh", "-c", SUPERVISORD)
) -> dict[str, object]:
    """The image configuration; its sha256 is the image id (OCI image specification)."""
    machines = {"x86_64": "amd64", "aarch64": "arm64"}
    return {
        "architecture": machines.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Cmd": list(cmd),
            "WorkingDir": "/root",
            "Env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG=C.UTF-8",
            ],
            "Labels": {"omsfab.lab": "stand-in"},
        },
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers],
        },
        "history": [
            {"created": "1970-01-01T00:00:00Z", "created_by": by}
            for by in ("base", f"app {tag}")[: len(layers)]
        ],
    }


def base_layer(say: Say) -> Path:
    """The layer of Debian packages below OMS."""
    return debian_layer(say, "base", DEBIAN_PACKAGES, _with_python)


def debian_layer(
    say: Say, name: str, packages: Sequence[str], finish: Callable[[Path], None]
) -> Path:
    """A layer of Debian packages, kept in the cache until their list changes.

    ``finish`` does what their scripts would have done.
    """
    wanted = f"{BASE_FORMAT} {os.uname().machine} {packages} {LEFT_OUT} {LEFT_OUT_PATHS}"
    path = places.cache() / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}.tar"
    if path.exists():
        return path
    started = time.monotonic()
    say(f"fetching and unpacking the packages of the stand-in image, {name}")
    # Below the cache, not /tmp, which may be small and in memory.
    for left in places.cache().glob("build-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=places.cache(), prefix="build-") as work:
        root = Path(work, "root")
        unpack(download(Path(work), packages), root)
        bare(root)
        finish(root)
        shutil.rmtree(root / "var/cache/ldconfig", ignore_errors=True)
        new = Path(work, "layer.tar")
        with tarfile.open(new, "w", format=tarfile.PAX_FORMAT) as out:
            for member in sorted(_walk(root)):
                _add(out, root / member, member)
        os.replace(new, path)
    say(
        f"{name} of the image: {path.stat().st_size / 1e6:.0f} MB,"
        f" {time.monotonic() - started:.1f} s"
    )
    return path


def app_layer(tag: str, profile: Profile, start_secs: str = "") -> bytes:
    """The layer of our own files, laid out in ``image`` as they lie in the container."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as out:
        for member in sorted(_walk(SOURCES)):
            if "__pycache__" not in member and member != "README":
                _add(out, SOURCES / member, member, plain=True)
        _add_link(out, "home/ds", "/u01/ds")
        # As in CentOS; it leaves its place as process 1 to supervisord, where dash would not.
        _add_link(out, "usr/bin/sh", "bash")
        _add_text(out, "usr/lib/omslab/profile", profile.text(start_secs))
        if "CROND" in profile.knobs:
            _add_text(out, "etc/supervisor/conf.d/crond.ini", CROND)
        version = tag.rpartition(":")[2].removeprefix("feature_").upper().replace("_", "-")
        _add_text(out, "home/admin/version", f"{version}\n")
    return buffer.getvalue()


def download(work: Path, packages: Sequence[str], options: Sequence[str] = ()) -> list[Path]:
    """Fetch the packages and all they need, as if nothing were installed.

    ``options`` are apt's, for other sources than those of this machine.
    """
    status = private_file(work / "status", "")
    archives = work / "archives"
    (archives / "partial").mkdir(parents=True)
    # apt gives up root for downloads; let its user write here, or it warns.
    command = (
        *("apt-get", "install", "-y", "-q", "--download-only", "--no-install-recommends"),
        *("-o", f"Dir::State::status={status}", "-o", f"Dir::Cache::archives={archives}"),
        *("-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root", *options, *packages),
    )
    try:
        run(*command, limit=900)
    except LabError:
        # The package lists of a fresh machine are empty or too old to be served any more.
        run("apt-get", "-q", "-o", "DPkg::Lock::Timeout=120", *options, "update", limit=600)
        run(*command, limit=900)
    return sorted(path for path in archives.glob("*.deb") if not path.name.startswith(LEFT_OUT))


def unpack(archives: list[Path], root: Path) -> None:
    """Unpack without running anything; the links of a merged /usr have to be there before."""
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for archive in archives:
        run("bash", "-c", _UNPACK, "unpack", archive, root)
    for path in LEFT_OUT_PATHS:
        shutil.rmtree(root / path, ignore_errors=True)


_UNPACK = """
set -euo pipefail
dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" --keep-directory-symlink
"""


def bare(root: Path) -> None:
    """Accounts, empty directories, the linker's cache: what every image needs."""
    accounts = "root:x:0:0:root:/root:/bin/bash\nadmin:x:500:500::/home/admin:/bin/bash\n"
    groups = "root:x:0:\nadmin:x:500:\n"
    for name, text in (("passwd", accounts), ("group", groups), ("hostname", "oms\n")):
        (root / "etc" / name).write_text(text)
    for path in ("proc", "sys", "dev", "run", "tmp", "root", "home"):
        (root / path).mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    run("ldconfig", "-r", root)


def _with_python(root: Path) -> None:
    """What the scripts of Python's packages would have done, as far as it is needed."""
    python = next((root / "usr/bin").glob("python3.[0-9]*"))
    for link, target in (("python3", python.name), ("python", python.name), ("awk", "mawk")):
        (root / "usr/bin" / link).unlink(missing_ok=True)
        (root / "usr/bin" / link).symlink_to(target)
    for name in ("test", "idlelib", "lib2to3", "ensurepip", "turtledemo", "pydoc_data"):
        shutil.rmtree(root / "usr/lib" / python.name / name, ignore_errors=True)
    # With the hash of the source instead of its time in them, they stay valid and equal.
    run(
        *("chroot", root, f"/usr/bin/{python.name}", "-m", "compileall", "-q"),
        *("--invalidation-mode", "unchecked-hash", f"/usr/lib/{python.name}", "/usr/lib/python3"),
        check=False,
    )


def _walk(top: Path) -> Iterator[str]:
    """All paths below, relative; links are not followed."""
    for directory, parts, files in os.walk(top):
        for name in (*parts, *files):
            yield str(Path(directory, name).relative_to(top))


def _add(out: tarfile.TarFile, path: Path, name: str, *, plain: bool = False) -> None:
    """Add one member without time and owner names; ``plain`` makes it root's and 755 or 644."""
    member = out.gettarinfo(str(path), arcname=name)
    member.mtime, member.uname, member.gname = 0, "", ""
    if plain:
        member.uid = member.gid = 0
        program = name.endswith(".sh") or name.startswith("usr/bin/")
        member.mode = 0o755 if member.isdir() or program else 0o644
    if member.isreg():
        with path.open("rb") as source:
            out.addfile(member, source)
    else:
        out.addfile(member)


def _add_link(out: tarfile.TarFile, name: str, to: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode = tarfile.SYMTYPE, to, 0o777
    out.addfile(member)


def _add_text(out: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(text.encode()), 0o644
    out.addfile(member, io.BytesIO(text.encode()))


def write(path: Path, tag: str, name: str, config: bytes, layers: list[bytes]) -> None:
    """The layout of `docker save` (Docker image specification 1.2)."""
    ids = [hashlib.sha256(layer).hexdigest() for layer in layers]
    manifest = [
        {
            "Config": f"{name}.json",
            "RepoTags": [tag],
            "Layers": [f"{layer}/layer.tar" for layer in ids],
        }
    ]
    parts = {"manifest.json": json.dumps(manifest).encode(), f"{name}.json": config}
    parts |= {f"{key}/layer.tar": layer for key, layer in zip(ids, layers, strict=True)}
    new = path.with_suffix(".new")
    with (
        new.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as out,
    ):
        for member, content in parts.items():
            info = tarfile.TarInfo(member)
            info.size, info.mode = len(content), 0o644
            out.addfile(info, io.BytesIO(content))
    os.replace(new, path)
