"""With --plan and with `fab --dry` nothing changes on nodes, in MetaDB, or on the jump host."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab.crash import Crash, lease_schemas
from tests.lab.marks import LONG
from tests.unit.test_looks_only import GIVEN, calls

FILES = """
find /data /var/lib/omsfab -type f -not -path '*/oms_logs/*' -exec sha256sum {} + | sort -k 2
"""


@pytest.fixture(scope="module")
def half_done(make_fleet) -> tuple[Crash, dict[str, str]]:
    """A scale-out that was killed with the rows deleted, and what the tasks are called with."""
    crash = Crash.deployed(make_fleet("looks", nodes=2, oms={"init": "always"}))
    saved = crash.fleet.fab("meta.save")
    killed = crash.kill_at("initialise@oms1:before:kill")
    assert (0, -9) == (saved.status, killed.status), f"{saved}{killed}"
    runs = crash.fleet.lab.directory.glob("state/*/*scale-out*")
    run = max(path.name for path in runs)
    file = re.findall(r"--file=(\S+)", saved.out)[-1]
    return crash, {**GIVEN, "run": run, "file": file}


def snapshot(crash: Crash) -> dict[str, object]:
    """All that omsfab could have touched, asked past it."""
    lab = crash.fleet.lab
    files = {node.name: lab.enter(node.name, ["sh", "-c", FILES]).stdout for node in lab.nodes}
    return {
        **crash.outcome(),
        "files": files,
        "lease": [lab.sql(f"select * from {one}.omsfab_lease") for one in lease_schemas(lab)],
        "state": crash.fleet.state_files(),
        "known hosts": lab.known_hosts.read_bytes(),
        "hosts.yaml": (lab.directory / "hosts.yaml").read_bytes(),
    }


@pytest.mark.parametrize("look", ["--plan", pytest.param("--dry", marks=LONG)])
def test_looking_changes_nothing_anywhere(half_done, look):
    """Every task of the tree that has the flag, beside a run that is half done: --yes as well."""
    crash, given = half_done
    before = snapshot(crash)

    lines = [
        ("--dry", name, *words) if look == "--dry" else (name, *words, "--plan")
        for name, words in calls(look, given)
    ]
    with ThreadPoolExecutor(4) as pool:  # what changes nothing can stand side by side
        ended = list(pool.map(lambda words: crash.fleet.fab(*words), lines))
    said = {" ".join(words): one for words, one in zip(lines, ended, strict=True)}

    after = snapshot(crash)
    assert before == after
    assert [] == [call for call, one in said.items() if "BUG-00" in one.out]
    resumed = next(one for call, one in said.items() if " run.resume --" in f" {call}")
    assert f"Run {given['run']}" in resumed.out
    assert "OMS of cn-lab is DOWN" in resumed.out
