"""The simulated nodes against real ones: one story, the same questions, the same answers.

Where the two differ the simulation is wrong, or the difference stands in APART with its reason.
tests/wire/test_simulated_metadb.py has the same for the MetaDB.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

from omsfab.command import shown
from omsfab.commands import docker
from omsfab.fleet import hosts_file, oms_config
from tests.lab import by_hand
from tests.lab.oracle import ROOT
from tests.simulation import shell as simulated
from tests.simulation import simulate
from tests.simulation.simulate import Schedule

STORY = ("scale.out", "run.undo", "scale.out", "run.undo")
ENDS = [0, 0, 6, 8]
FAILS = 2
"""From this task on docker_init.sh of oms1 fails in its last step, also in the rollback."""

LAYOUT = by_hand.Layout(
    "oms_427",
    {
        "config": "/data/config.yaml",
        "logs": "/data/oms/oms_logs",
        "store": "/data/oms/oms_store",
        "run": "/data/oms/oms_run",
    },
)

Answer: TypeAlias = tuple[int, Any]
"""Exit status, and the output as far as it must agree."""

Record: TypeAlias = dict[tuple[str, str], list[Answer]]
"""By node and question: what was said, one after the other."""

SAME_EVERYWHERE = (
    (r"10\.\d+\.\d+\.11\b", "10.0.0.1"),
    (r"10\.\d+\.\d+\.12\b", "10.0.0.2"),
    (r"10\.77\.\d+\.9\b", "10.0.0.9"),
    (r"10\.77\.\d+\.100\b", "10.0.0.100"),
    (r"\b(3306|2881)\b", "PORT"),
    (r"\d{8}T\d{6}Z-([a-z-]+?)-[0-9a-f]{4}\b", r"RUN-\1"),
    (r"\b[0-9a-f]{64}\b", "DIGEST"),
    (r"omsfab-[0-9a-f]+-|omsfab-[0-9a-f]{8}(?=\.new)", "omsfab-#-"),
    (r"oms_4\.2\.7-ce-[0-9a-f]+\.tar\.gz|package\.tar", "PACKAGE"),
    (r"'?\w+@\w+#[0-9a-f]+'?", "WHO"),
    (r"\d\d:\d\d:\d\dZ", "TIME"),
    (r"\b(?=\w*[a-f])[0-9a-f]{12}\b", "SPEC"),
    (r"\b\d{6,}\b", "N"),
)
"""Addresses, names and sizes that one world has otherwise than the other."""


def plainly(said: Any) -> Any:
    if isinstance(said, str):
        for pattern, word in SAME_EVERYWHERE:
            said = re.sub(pattern, word, said)
    elif isinstance(said, (list, tuple)):
        said = [plainly(one) for one in said]
    elif isinstance(said, dict):
        said = {key: plainly(one) for key, one in said.items()}
    return said


# --- what must agree of an answer ----------------------------------------------------------------


def container(out: str) -> Any:
    """What omsfab reads of `docker inspect`."""
    if not out.strip():
        return None
    said = json.loads(out)
    host = said["HostConfig"]
    return {
        "state": (said["State"]["Status"], said["State"]["Running"]),
        "mounts": sorted((m["Type"], m["Source"], m["Destination"]) for m in said["Mounts"]),
        "ip": [one for one in said["Config"]["Env"] if one.startswith("OMS_HOST_IP=")],
        "host": (host["NetworkMode"], host["Privileged"], host["PidsLimit"]),
        "limits": host["Ulimits"],
        "labels": sorted(
            {*(said["Config"]["Labels"] or {})} & {docker.SPEC_LABEL, docker.RUN_LABEL}
        ),
    }


def config(out: str) -> Any:
    """Every key of config.yaml but how one gets into the MetaDB."""
    keys = yaml.safe_load(out) or {}
    return {key: value for key, value in keys.items() if not key.startswith("oms_meta_")}


def programs(out: str) -> Any:
    return sorted(tuple(line.split()[:2]) for line in out.splitlines())


def words(number: int) -> Callable[[str], Any]:
    return lambda out: [line.split()[:number] for line in out.splitlines()]


def kinds(out: str) -> Any:
    """Of a poll: what there is of an attempt, whatever its numbers."""
    return sorted({line.split()[0] for line in out.splitlines()} & {"claimed", "status", "refused"})


AS_THE_CLOCK_GOES = re.compile(r"^\d+(\.\d+)? [+]0000$")

OF_ANSWERS: tuple[tuple[str, Callable[[str], Any]], ...] = (
    ("docker inspect --type container --format '{{json .}}'", container),
    ("cat -- /data/config.yaml", config),
    ("[docker answers", lambda out: out.split(".")[:2]),
    ("[the addresses of this node]", lambda out: [one for one in out.split() if one[:3] == "10."]),
    ("docker exec oms_427 supervisorctl status", programs),
    ("docker exec oms_427 supervisorctl", lambda out: sorted(out.splitlines())),
    ("docker exec oms_427 date", lambda out: bool(AS_THE_CLOCK_GOES.match(out.strip()))),
    ("[seconds since the epoch", lambda out: bool(AS_THE_CLOCK_GOES.match(out.strip()))),
    ("[open a connection and hold it]", words(1)),
    ("[refresh the component files", lambda out: ""),  # what OMS says of it
    ("[seconds since the attempt ended]", lambda out: out.strip().isdigit()),
    ("[append what comes to the part", str.split),
    ("[the identity of this machine]", lambda out: re.sub(r"[0-9a-f]{32}", "ID", out)),
    ("[the copies of runs on this node]", words(3)),
    ("[what an attempt has said so far]", kinds),
)

LAST_ALONE = (
    "docker exec oms_427 supervisorctl status",
    "[what an attempt has said so far",
)
"""Asked again and again; how often, and what is seen on the way, is a matter of time."""

WITHOUT_ARGUMENTS = ("[what an attempt has said so far]",)

APART = {
    "[what the OMS documents say of such a host]": "this machine suits no OMS, and says so",
    "[what OMS may not like here]": "the same",
    "[who is connected to this port]": "the lab's VIP is a balancer, the simulation's an address",
    "[fetch a page]": "the simulated OMS has the health page, which 4.2.7 has not",
    "[which layers the images here have": "the simulated package has no layers",
    "[processes of the container": "the simulation has no processes besides programs",
    "docker exec oms_427 omsfab": "asked where an output has been quiet: a matter of time",
}


def record(answers: Iterable[tuple[str, str, int, str]]) -> Record:
    """Node, command, status and output of each, as they came; what is apart left out."""
    found: Record = {}
    for node, asked, status, out in answers:
        question = plainly(asked)
        if question.startswith(tuple(APART)):
            continue
        read = next((how for start, how in OF_ANSWERS if question.startswith(start)), str)
        answer = (status, plainly(read(out)))
        if question.startswith(WITHOUT_ARGUMENTS):
            question = question.partition("]")[0]
        if question.startswith(LAST_ALONE):
            found[node, question] = [answer]
        else:
            found.setdefault((node, question), []).append(answer)
    return {key: [one for one, _ in groupby(said)] for key, said in found.items()}


# --- the story, twice ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(make_fleet, tmp_path_factory) -> Record:
    """OMS was deployed by hand, as in the simulation."""
    oms = {"init": "always"}
    fleet = make_fleet("truth", nodes=2, oms=oms)
    former = hosts_file.load(fleet.lab.directory / "initial.yaml")
    text = oms_config.render(former, former.regions[0]).reveal()
    by_hand.deploy(fleet, "oms1", LAYOUT, text)
    file = tmp_path_factory.mktemp("truth") / "answers"
    ends = []
    for number, task in enumerate(STORY):
        if number == FAILS:
            fleet.lab.knob("oms1", INIT_FAIL_STEP=5)
        done = subprocess.run(
            [sys.executable, "-m", "tests.lab.recorder", str(file), task, "--yes"],
            cwd=ROOT, env=fleet.environment(), capture_output=True, text=True,
        )  # fmt: skip
        ends.append(done.returncode)
    assert ENDS == ends, done.stdout + done.stderr
    return record(json.loads(line) for line in Path(file).read_text().splitlines())


@pytest.fixture(scope="module")
def imitated() -> Record:
    answers: list[tuple[str, str, int, str]] = []
    fed = simulated.SimShell.feed

    def feed(self: Any, cmd: Any, chunks: Any, on_line: Any = None) -> Any:
        said = fed(self, cmd, chunks, on_line)
        answers.append((self.node, shown(cmd), said.status, said.out))
        return said

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulated.SimShell, "feed", feed)
        story = Schedule(1, operators=[(0.0, [f"fab {task}" for task in STORY])], plain=True)
        world = simulate._Run(story)
        world.fleet.nodes["oms1"].knobs = [*[""] * FAILS, *["fail5"] * 2]
        done = world.outcome()
    assert ([str(status) for status in ENDS], []) == (done.ends, done.broken)
    return record(answers)


def test_the_same_is_asked(real, imitated):
    """Of each node, by the same words."""
    assert ([], []) == (
        sorted(real.keys() - imitated.keys()),
        sorted(imitated.keys() - real.keys()),
    )


def test_the_same_is_answered(real, imitated):
    """Exit status and output, as far as omsfab reads them."""
    both = sorted(real.keys() & imitated.keys())
    apart = [
        f"{node}: {asked}\n  real      {real[node, asked]}\n  simulated {imitated[node, asked]}"
        for node, asked in both
        if real[node, asked] != imitated[node, asked]
    ]

    assert 100 < len(both)
    assert not apart, "\n".join(apart)
