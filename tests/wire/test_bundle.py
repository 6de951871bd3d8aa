"""scripts/bundle and scripts/setup where there is no network: a namespace with no route at all."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WHEELS = Path(sys.prefix) / "wheels"
PYTHON = "{}.{}".format(*sys.version_info)
HERE = f"{PYTHON}-{platform.machine()}"
OTHER = f"{'3.12' if PYTHON != '3.12' else '3.11'}-{platform.machine()}"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tarfile.TarFile:
    """What scripts/bundle makes for this Python and another one, whose wheels are not there."""
    if not (WHEELS / "lock").is_file():
        pytest.skip("no wheels to bundle: scripts/setup tests did not get them")
    if sys.platform != "linux" or subprocess.run([*alone(), "true"], check=False).returncode:
        pytest.skip("no network namespaces here")
    done = subprocess.run(
        [sys.executable, "scripts/bundle.py", HERE, OTHER],
        cwd=ROOT,
        env={**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(WHEELS)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    file = ROOT / done.stdout.split()[-3]
    held = shutil.move(file, tmp_path_factory.mktemp("bundle") / file.name)
    return tarfile.open(held)


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with nothing but pip, as scripts/setup begins; making it takes longest."""
    made = tmp_path_factory.mktemp("venv") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", made], check=True)
    return made


def alone() -> list[str]:
    """Words before a command: it runs without any network."""
    return ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--net"]


@pytest.fixture
def unpacked(archive: tarfile.TarFile, tmp_path: Path) -> Path:
    archive.extractall(tmp_path / "srv")
    (tmp_path / "home").mkdir()
    return next((tmp_path / "srv").iterdir())


def run(unpacked: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """As somebody who has a home with nothing in it."""
    base = Path(sys.base_prefix) / "bin" / f"python{PYTHON}"
    home = unpacked.parents[1] / "home"
    environment = {"HOME": str(home), "PATH": "/usr/sbin:/usr/bin:/bin", "PYTHON": str(base)}
    return subprocess.run(
        [*alone(), *words], cwd=unpacked, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_a_bundle_installs_without_a_network(unpacked: Path):
    """Its wheels are enough, the self test passes, and the home stays empty."""
    done = run(unpacked, "scripts/setup")

    assert "" == done.stderr
    assert 0 == done.returncode
    assert "self test passed" in done.stdout
    assert 0 == run(unpacked, ".venv/bin/fab", "--list").returncode
    assert [] == list((unpacked.parents[1] / "home").iterdir())


def test_a_wheel_that_does_not_exist_is_named(unpacked: Path):
    """TARGETS tells what is whole, and what each other target lacks."""
    whole, other = (unpacked / "wheels" / "TARGETS").read_text().splitlines()

    assert HERE == whole
    assert other.startswith(f"{OTHER} lacks ")
    assert "pydantic-core==" in other


def test_wheels_for_another_python_are_refused_before_anything_is_made(unpacked: Path):
    """The line says what is here, and what the wheels are for."""
    (unpacked / "wheels" / "TARGETS").write_text(f"{OTHER}\n{HERE} lacks pyyaml==6\n")

    done = run(unpacked, "scripts/setup")

    assert 2 == done.returncode
    assert f"nothing for Python {HERE}, only for {OTHER} " in done.stderr
    assert not (unpacked / ".venv").exists()


def test_a_damaged_wheel_is_not_installed(unpacked: Path, venv: Path):
    """The hashes of the lock judge what an archive brings."""
    shutil.copytree(venv, unpacked / ".venv", symlinks=True)
    wheel = next((unpacked / "wheels").glob("invoke-*.whl"))
    wheel.write_bytes(wheel.read_bytes() + b"\0")

    done = run(unpacked, "scripts/setup")

    assert 2 == done.returncode
    assert "HASHES" in done.stderr


def test_without_wheels_and_network_setup_says_so_in_one_line(unpacked: Path, venv: Path):
    """No retries of pip, no traceback: where the archive comes from."""
    shutil.copytree(venv, unpacked / ".venv", symlinks=True)
    shutil.rmtree(unpacked / "wheels")

    done = run(unpacked, "scripts/setup")

    assert 2 == done.returncode
    assert 1 == len(done.stderr.splitlines())
    assert done.stderr.startswith("setup: pip reaches no package index: ")
    assert "scripts/bundle" in done.stderr
