"""What scripts/bundle runs: pip gets the wheels of each target, tar puts them beside the project.

pip judges the markers of a requirement by the Python that it runs on, not by --python-version;
so they are judged here, and each target gets a list of its own.

``--wheels DIRECTORY TARGET`` makes no archive: what scripts/setup gets for the tests.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
TARGETS = [f"{python}-{machine}" for machine in ("x86_64", "aarch64")
           for python in ("3.10", "3.11", "3.12", "3.13")]  # fmt: skip
GLIBC = range(28, 4, -1)
"""Minor versions of glibc whose wheels run on 2.28, the oldest that scripts/setup accepts."""


def main(*asked: str) -> int:
    if asked[:1] == ("--wheels",):
        return 0 if " lacks " not in line_of(asked[2], Path(asked[1])) else 1
    for word in asked:
        if not re.fullmatch(r"3\.\d+-(x86_64|aarch64)", word):
            sys.exit(f"bundle: {word}: a target is PYTHON-ARCHITECTURE, such as 3.11-x86_64")
    name = f"omsfab-{git('describe', '--always', '--dirty').strip()}"
    archive = ROOT / "dist" / f"{name}.tar.gz"
    archive.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        wheels = Path(directory)
        lines = []
        for target in asked or TARGETS:
            lines.append(line_of(target, wheels))
            print(f"bundle: {lines[-1]}", flush=True)
        if all(" lacks " in line for line in lines):
            sys.exit("bundle: no target is complete; nothing was written")
        (wheels / "TARGETS").write_text("".join(f"{line}\n" for line in lines))
        with tarfile.open(archive, "w:gz", compresslevel=6) as tar:
            for file in git("ls-files", "-z").rstrip("\0").split("\0"):
                tar.add(ROOT / file, f"{name}/{file}", filter=nobodys)
            tar.add(wheels, f"{name}/wheels", filter=nobodys)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    print(f"{digest}  {archive.relative_to(ROOT)}  ({archive.stat().st_size / 1e6:.0f} MB)")
    return 0


def line_of(target: str, wheels: Path) -> str:
    """Get the wheels of ``target``; return its line in TARGETS, with what it lacks."""
    wanted, lacking = requirements(target), []
    while why := pip(target, wheels, wanted):
        named = re.search(r"No matching distribution found for (\S+)", why)
        left = [one for one in wanted if named is None or one.split()[0] != named[1]]
        # The first of the lock is pure Python: without it no index was reached at all.
        if left == wanted or left == wanted[1:]:
            sys.exit(f"bundle: pip reaches no package index? {why}")
        lacking += [one.split()[0] for one in wanted if one not in left]
        wanted = left
    return f"{target} lacks {' '.join(lacking)}" if lacking else target


def requirements(target: str) -> list[str]:
    """``name==version --hash=…`` of each entry of the lock that ``target`` needs."""
    python, machine = target.split("-")
    there = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": machine,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    text = re.sub(r"^ *#.*\n", "", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        head, *hashes = re.split(r" (?=--hash=)", re.sub(r" +", " ", line))
        wanted = Requirement(head)
        if wanted.marker is None or wanted.marker.evaluate(there):
            found.append(" ".join((f"{wanted.name}{wanted.specifier}", *hashes)))
    return found


def pip(target: str, wheels: Path, wanted: list[str]) -> str:
    """Download ``wanted``, or return why not."""
    python, machine = target.split("-")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(wanted))
        file.flush()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"),
                *("--require-hashes", "--no-deps", "--only-binary=:all:"),
                *("--implementation", "cp", "--python-version", python),
                *(f"--platform=manylinux_2_{minor}_{machine}" for minor in GLIBC),
                *("-d", str(wheels), "-r", file.name),
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    return "" if done.returncode == 0 else (said or [f"pip ended with {done.returncode}"])[-1]


def nobodys(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Forget who made the archive, and keep files readable by whoever unpacks it as root."""
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    info.mode |= 0o755 if info.isdir() else 0o644
    return info


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"bundle: needs a git checkout: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
