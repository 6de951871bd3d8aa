"""Which hosts file is read, that each screen names it, and what needs no secret."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from omsfab import VERSION
from omsfab.fleet import hosts_file
from omsfab.next_line import CALLED, fab

ROOT = Path(__file__).parents[2]
FAB = Path(sys.executable).with_name("fab")
GOOD = ROOT / "tests/unit/good_hosts/one-region.yaml"


@pytest.fixture
def run(tmp_path):
    """Return what a line of fab in the checkout prints: standard output, standard error."""

    def call(*words: str, **environment: str) -> tuple[str, str]:
        bare = {k: v for k, v in os.environ.items() if not k.startswith(("OMSFAB", "OMS_"))}
        done = subprocess.run(
            [str(FAB), *words],
            cwd=ROOT,
            env={**bare, "OMSFAB_HOME": str(tmp_path), **environment},
            capture_output=True,
            text=True,
        )
        return done.stdout, done.stderr

    return call


def test_the_flag_goes_before_the_environment(run, tmp_path):
    """--hosts names the file although $OMSFAB_HOSTS names another."""
    out, _ = run("fleet.show", f"--hosts={GOOD}", OMSFAB_HOSTS=str(tmp_path / "none.yaml"))

    assert f"# {GOOD}: valid" == out.splitlines()[0]


def test_a_local_file_goes_before_the_reference(monkeypatch, tmp_path):
    """hosts.local.yaml beside hosts.yaml is read once it is there; a name goes before both."""
    monkeypatch.setattr(hosts_file, "EXAMPLE", tmp_path / "hosts.yaml")
    monkeypatch.setattr(hosts_file, "LOCAL", tmp_path / "hosts.local.yaml")
    before = hosts_file.chosen()
    (tmp_path / "hosts.local.yaml").touch()

    assert tmp_path / "hosts.yaml" == before
    assert tmp_path / "hosts.local.yaml" == hosts_file.chosen()
    assert Path("other.yaml") == hosts_file.chosen("other.yaml")


def test_git_ignores_the_local_file_and_what_it_was_before():
    """`git pull` and `git status` never meet a real fleet."""
    names = ("hosts.local.yaml", "hosts.local.yaml.20261129T120000Z")
    done = subprocess.run(["git", "check-ignore", *names], cwd=ROOT, capture_output=True, text=True)
    if "not a git repository" in done.stderr:
        pytest.skip("no git checkout")

    assert list(names) == done.stdout.split()


def test_each_screen_says_which_file_it_read(run):
    """On standard error, with version and MetaDB; standard output is the task's own."""
    words = ("--dry", "scale.out", f"--hosts={GOOD}")
    out, err = run(*words, OMS_META_PASSWORD="x")

    assert f"omsfab {VERSION} · {GOOD} · MetaDB 10.0.0.9:2881/oms_rm" == err.splitlines()[0]
    assert out.startswith("ASSUMED")


def test_a_next_line_reads_the_same_file(monkeypatch):
    """What is pasted concerns the fleet that was asked, whatever the default is."""
    monkeypatch.setattr(CALLED, "hosts", "prod fleet.yaml")

    assert "fab run.resume --hosts='prod fleet.yaml' --run=x" == fab("run.resume", run="x").line


@pytest.mark.parametrize("task", ["fleet.show", "run.list"])
def test_no_secret_is_needed_for_what_contacts_nobody(run, task):
    """A CI without any password can look whether hosts.yaml is right."""
    out, err = run(task, f"--hosts={GOOD}")

    assert "" == err
    assert out


def test_secrets_are_read_when_asked_for(run):
    """fleet.show --secrets tells of one that cannot be had."""
    _, err = run("fleet.show", "--secrets", f"--hosts={GOOD}")

    assert "OMS_META_PASSWORD" in err
