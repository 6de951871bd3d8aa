"""`omsfab`, the program: any directory, what was probably meant, groups, completion."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from omsfab import VERSION
from omsfab.cli.completion import candidates
from omsfab.next_line import CALLED
from program import contexts
from tasks import GROUPS, MARKS, namespace

ROOT = Path(__file__).parents[2]
OMSFAB = ROOT / "scripts/omsfab"
GOOD = ROOT / "tests/unit/good_hosts"
FAB = Path(sys.executable).with_name("fab")
RUN = "20261129T120000Z-scale-out-5f98"


def call(line: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of sh with omsfab on its PATH."""
    path = f"{OMSFAB.parent}:{os.environ['PATH']}"
    bare = {k: v for k, v in os.environ.items() if not k.startswith(("OMSFAB", "OMS_"))}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=cwd,
        env={**bare, "PATH": path, **environment},
        capture_output=True,
        text=True,
    )


def test_it_works_in_any_directory(tmp_path):
    """Elsewhere, by a link, it knows its version and its tasks."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/omsfab").symlink_to(OMSFAB)
    done = call("bin/omsfab --version && bin/omsfab --list", tmp_path)

    assert f"omsfab {VERSION}" == done.stdout.splitlines()[0]
    assert "scale.out" in done.stdout


def test_its_version_is_that_of_the_project():
    """pyproject.toml has the same one."""
    assert f'version = "{VERSION}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    "line", ["omsfab --list", f"cd {ROOT}; {FAB} --list", f"cd {ROOT}; {FAB} -l"]
)
def test_a_reader_that_leaves_is_no_fault(tmp_path, line):
    """`omsfab --list | head -1`, and so by plain fab: one line, and nothing on standard error."""
    done = call(f"({line}) | head -1", tmp_path)

    assert (1, "") == (len(done.stdout.splitlines()), done.stderr)


@pytest.mark.parametrize(
    ("line", "next_line"),
    [
        ("fleet.stauts", "omsfab fleet.status"),
        ("--help fleet.chek", "omsfab --help fleet.check"),
        ("fleet.status --jsn", "omsfab fleet.status --json"),
        ("node.status --nod=oms1", "omsfab node.status --node=oms1"),
        ("node.status --node=osm2", "omsfab node.status --node=oms2"),
        ("node.status --node=oms1,osm2", "omsfab node.status --node=oms1,oms2"),
        ("scale.out --region=cn-hangzou --plan", "omsfab scale.out --region=cn-hangzhou --plan"),
        ("run.show --run=20261129T120000Z-scale-out-5f89", "omsfab run.list"),
    ],
)
def test_what_is_misspelt_leads_to_what_was_meant(tmp_path, line, next_line):
    """Exit 2, did you mean, no traceback; a run is named, and nobody picks another one unasked."""
    environment = {
        "OMSFAB_HOSTS": str(GOOD / "one-region.yaml"),
        "OMSFAB_HOME": str(tmp_path),
        "OMS_META_PASSWORD": "x",
    }
    a_run(tmp_path)
    done = call(f"omsfab {line}", tmp_path, **environment)

    assert 2 == done.returncode, done.stderr
    assert "did you mean" in done.stderr
    assert "Traceback" not in done.stderr
    flags = sorted(next_line.split()[1:])
    told = [one.split()[2:] for one in done.stderr.splitlines() if "  next: " in one]
    assert [flags] == [sorted(words) for words in told]


def a_run(home: Path) -> None:
    """A run of the fleet of these files, as far as its name."""
    directory = home / "10.0.0.9_2881_oms_rm" / RUN
    directory.mkdir(parents=True)
    directory.parent.chmod(0o700)
    (directory / "run.json").write_text("{}")


@pytest.mark.parametrize("line", ["run.abandon", "node.status --node", "fleet.show --hosts"])
def test_what_lacks_a_value_says_so(tmp_path, line):
    """Exit 2, in the five parts of every error."""
    done = call(f"omsfab {line}", tmp_path)

    assert (2, True) == (done.returncode, done.stderr.startswith("INPUT-033"))


def test_each_task_stands_in_one_group():
    """`omsfab --list` leaves none out."""
    groups = [group for names in GROUPS.values() for group in names]

    assert sorted(groups) == sorted({name.partition(".")[0] for name in namespace.task_names})


def test_what_is_marked_is_a_task():
    """And its sentence says first what it stops or deletes."""
    assert set() == set(MARKS) - set(namespace.task_names)
    assert all((namespace[name].__doc__ or "").startswith(f"! {MARKS[name]} · ") for name in MARKS)


# --- completion --------------------------------------------------------------------------------


@pytest.fixture
def complete(monkeypatch, tmp_path):
    """Return what may stand in place of the last word."""
    monkeypatch.setenv("OMSFAB_HOSTS", str(GOOD / "all-options.yaml"))
    monkeypatch.setenv("OMSFAB_HOME", str(tmp_path))
    monkeypatch.setattr(CALLED, "hosts", "")
    a_run(tmp_path)
    return lambda *words: candidates(words, contexts())


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("node.status", "--node", "="), ["oms1", "oms2"]),
        (("node.status", "--node", "=", "om"), ["oms1", "oms2"]),
        (("node.status", "--node=om",), ["--node=oms1", "--node=oms2"]),
        (("node.status", "--node", ""), ["oms1", "oms2"]),
        (("node.status", "--node", "=", "oms1,"), ["oms1,oms2"]),
        (("-H", ""), ["oms1", "oms2"]),
        (("run.show", "--run", "="), [RUN]),
        (("scale.out", "--region", "="), ["cn-hangzhou"]),
        (("meta.restore", "--file", "="), []),
    ],
)  # fmt: skip
def test_names_are_those_of_the_fleet(complete, words, wanted):
    """Of bash, which cuts at each `=`, and of zsh, which does not; files are the shell's."""
    assert wanted == complete(*words)


def test_tasks_and_their_flags(complete):
    """A task has its own flags, a flag with a value its `=`."""
    assert "scale.out" in complete("")
    assert {"--region=", "--plan", "--hosts="} <= set(complete("scale.out", "--"))
    assert "--region=" not in complete("fleet.status", "--")


def test_a_file_that_cannot_be_read_has_no_names(complete, monkeypatch, tmp_path):
    """Tab says nothing rather than an error."""
    monkeypatch.setenv("OMSFAB_HOSTS", str(tmp_path / "none.yaml"))

    assert [] == complete("node.status", "--node", "=")


def test_bash_completes_a_node(tmp_path):
    """The script, sourced by a real bash."""
    line = (
        "source <(omsfab --print-completion-script=bash); complete -p omsfab >/dev/null;"
        " COMP_WORDS=(omsfab node.status --node = oms); COMP_CWORD=4;"
        ' _omsfab omsfab oms =; echo "${COMPREPLY[@]}"'
    )
    done = call(line, tmp_path, OMSFAB_HOSTS=str(GOOD / "all-options.yaml"))

    assert ("oms1 oms2\n", "") == (done.stdout, done.stderr)


@pytest.mark.skipif(not shutil.which("zsh"), reason="does not apply: no zsh")
def test_zsh_takes_the_script(tmp_path):
    """It is sourced behind compinit without a word."""
    line = "zsh -fc 'autoload -U compinit; compinit -u -D; source <(omsfab --print-completion-script=zsh); print ${_comps[omsfab]}'"  # noqa: E501
    done = call(line, tmp_path)

    assert ("_omsfab\n", "") == (done.stdout, done.stderr)
