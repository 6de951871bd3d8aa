"""The way back does not hang on the script that has just failed, nor on anything else that a knob
of the stand-in image can do.

Judged past omsfab: rows, config.yaml, containers and programs are as before, whatever makes
docker_init.sh fail on the way there and, since the knob stays, on the way back as well.  Some are
tried here, all of them by `scripts/crash`.
"""

from __future__ import annotations

import os
import re
import subprocess
import time

import pytest

from omsfab.lab.oracle import CONTAINER
from omsfab.lab.package import SOURCES
from tests.lab.crash import FAST, Crash
from tests.lab.knobs import CASES, Case, listed
from tests.lab.test_runs import ALL, as_before, started

LONG = pytest.mark.skipif(
    not os.environ.get("OMSFAB_CRASH"), reason="takes long: scripts/crash runs it"
)
KNOBS = listed((SOURCES / "README").read_text())
STATUS = {"through": (0,), "refused": (3, 4), "stopped": (5, 6), "apart": (11,)}


@pytest.fixture(scope="module")
def crash(make_fleet) -> Crash:
    """OMS on oms1 of two."""
    return Crash.deployed(make_fleet("round", nodes=2, metadb="mariadb", oms={"init": "always"}))


def cured(crash: Crash) -> None:
    """No knob is turned any more, and the tables have their plain shape."""
    lab = crash.fleet.lab
    for node in lab.nodes:
        lab.knob(node.name, **dict.fromkeys(KNOBS))
        lab.knob(node.name, **FAST)
    quiet(crash)
    crash.fleet.shape("oms1")


def quiet(crash: Crash) -> None:
    """No docker_init.sh runs on oms1, whoever began it."""
    end = time.monotonic() + 60
    while crash.fleet.lab.counters("oms1")["running"]:
        assert time.monotonic() < end
        time.sleep(0.3)


@pytest.fixture
def fresh(crash):
    """The fleet as before the scale-out, and what was so then."""
    kill = "docker exec oms_427 pkill -KILL -f docker_init.sh; docker start oms_427"
    crash.fleet.lab.enter("oms1", ["sh", "-c", kill])
    cured(crash)
    crash.reset(images=False)
    crash.fleet.shape("oms1")  # once more: rows may have forbidden a key
    return crash, crash.outcome()


def turned(crash: Crash, case: Case):
    """The knobs of this case are turned; returns what is so then."""
    fleet = crash.fleet
    fleet.write(
        "hosts.yaml", f"http://{fleet.lab.vip}:8088", ["oms1", "oms2"], oms={"init": case.init}
    )
    for name in case.on:
        fleet.lab.knob(name, **case.knobs)
    if case.shapes:
        fleet.shape("oms1")
    return crash.outcome()


def there(crash: Crash, case: Case):
    """Scale out; omsfab is killed where docker_init.sh would not end."""
    if case.hangs:
        return crash.kill_at("initialise@oms1:mid:kill")
    return crash.fleet.fab("scale.out", "--yes")


def in_service(crash: Crash, case: Case, nodes=("oms1", "oms2")) -> dict[str, object]:
    """What OMS is by its own rows, files and programs; the last node may need a moment."""
    fleet = crash.fleet
    ips = [fleet.lab.node(name).ip for name in nodes]
    end = time.monotonic() + 30
    while [fleet.hosts().get(ip) for ip in ips] != ["ONLINE"] * len(ips):
        if time.monotonic() > end:
            break
        time.sleep(0.3)
    return {
        "cm_url": fleet.cm_urls()[1],
        "hosts": {ip: fleet.hosts().get(ip) for ip in ips},
        "programs": {name: fleet.programs(name) for name in nodes},
        "config": {name: fleet.lab.vip in config(crash, name) for name in nodes},
        "overlaps": fleet.overlaps(),
    }


def config(crash: Crash, node: str) -> str:
    return str(crash.fleet.lab.path(node, "/data/config.yaml").read_text())


def wanted(crash: Crash, nodes=("oms1", "oms2")) -> dict[str, object]:
    lab = crash.fleet.lab
    return {
        "cm_url": f"http://{lab.vip}:8088",
        "hosts": {lab.node(name).ip: "ONLINE" for name in nodes},
        "programs": {name: {"RUNNING"} for name in nodes},
        "config": dict.fromkeys(nodes, True),
        "overlaps": 0,
    }


def cases(*ends: str):
    return [
        pytest.param(case, marks=() if case.quick else LONG, id=case.id)
        for case in CASES
        if case.ends in ends
    ]


@pytest.mark.parametrize("case", cases("through"))
def test_what_is_merely_otherwise_ends_in_service(fresh, case):
    """R5: told where it is anything to tell; and run.undo brings production back as before."""
    crash, _ = fresh
    before = turned(crash, case)

    said = there(crash, case)
    service = in_service(crash, case)
    back = crash.fleet.fab("run.undo", "--yes")

    assert 0 == said.status, said
    assert case.told in said.out
    assert wanted(crash) == service
    assert 0 == back.status, back
    assert ALL == as_before(crash.outcome(), before)


@pytest.mark.parametrize("case", cases("refused"))
def test_what_would_end_badly_is_refused_before_anything_is_changed(fresh, case):
    """R5: exit 3 or 4, and nothing is there to be rolled back."""
    crash, _ = fresh
    before = turned(crash, case)

    said = there(crash, case)
    quiet(crash)
    back = crash.fleet.fab("run.undo", "--yes")

    assert said.status in STATUS["refused"], said
    assert case.told in said.out
    assert "INPUT-008" in back.out
    assert ALL == as_before(crash.outcome(), before)


@pytest.mark.parametrize("case", cases("stopped", "apart"))
def test_production_is_back_although_the_script_fails_there_too(fresh, case):
    """R1.2, R1.5: exit 8, what was not done is told, nothing of the outage is left."""
    crash, _ = fresh
    before = turned(crash, case)

    said = there(crash, case)
    back = crash.fleet.fab("run.undo", *(["--stop-init"] if case.hangs else []), "--yes")

    assert said.status in ((-9,) if case.hangs else STATUS[case.ends]), said
    assert case.told in said.out
    assert 8 == back.status, back
    assert case.back in back.out
    now = as_before(crash.outcome(), before)
    assert ALL | ({"programs": False} if case.broken else {}) == now


@pytest.mark.parametrize("case", cases("stopped", "apart"))
def test_once_the_cause_is_cured_the_run_comes_to_its_end(fresh, case):
    """The knob is taken away: run.resume ends in service."""
    crash, _ = fresh
    turned(crash, case)

    said = there(crash, case)
    for name in case.on:
        crash.fleet.lab.knob(name, **dict.fromkeys(case.knobs))
    ended = crash.fleet.fab("run.resume", *(["--stop-init"] if case.hangs else []), "--yes")

    assert 0 != said.status, said
    assert 0 == ended.status, ended
    assert wanted(crash) == in_service(crash, case)


def test_nothing_of_a_script_that_hung_is_left(fresh):
    """R1.5: ended from omsfab alone, with its children; its lock is free, nothing of it lives."""
    crash, before = fresh
    crash.fleet.lab.knob("oms1", INIT_HANG=3)
    killed = crash.kill_at("initialise@oms1:mid:kill")
    back = crash.fleet.fab("run.undo", "--stop-init", "--yes")
    left = crash.fleet.lab.enter("oms1", ["docker", "exec", "oms_427", "ps", "-eo", "args"])

    assert (-9, 8) == (killed.status, back.status), back
    assert ALL == as_before(crash.outcome(), before)
    assert [] == [line for line in left.stdout.splitlines() if "docker_init" in line]


@LONG
@pytest.mark.parametrize("victim", ["/root/docker_init.sh", "omsfab: run one command"])
def test_a_script_or_its_wrapper_that_was_killed_is_rolled_back(fresh, victim):
    """R2b.5: SIGKILL of the one or the other in step 1; run.undo brings production back."""
    crash, before = fresh
    crash.fleet.lab.knob("oms1", INIT_SECONDS=10)
    process = crash.fleet.start("scale.out", "--yes")
    started(process, r"oms1 .*step 1 of 5")
    crash.fleet.lab.enter("oms1", ["docker", "exec", "oms_427", "pkill", "-KILL", "-f", victim])
    out, _ = process.communicate(timeout=300)

    back = crash.fleet.fab("run.undo", "--yes")

    assert back.status == (0 if process.returncode == 0 else 8), f"{out.decode()}{back}"
    assert ALL == as_before(crash.outcome(), before)


def await_processes(crash, *processes):
    """Wait until these run in the container: a program counts as started before it works."""
    end = time.monotonic() + 60
    while True:
        listed = crash.fleet.docker("oms1", "exec", CONTAINER, "ps", "-eo", "args")
        if all(any(line.endswith(one) for line in listed.splitlines()) for one in processes):
            return
        assert time.monotonic() < end, listed
        time.sleep(0.3)


@pytest.fixture(scope="module")
def orphaned(crash):
    """A whole scale-out past an orphan of oms_drc_cm that ignores TERM, and Stores that run on: the
    line of the warning is pasted while the run goes on.  Returns what was said, and its status."""
    cured(crash)
    crash.reset(images=False)
    crash.fleet.lab.knob("oms1", ORPHAN="oms_drc_cm", STORES="survive", INIT_SECONDS=5)
    crash.fleet.docker("oms1", "exec", CONTAINER, "supervisorctl", "restart", "all")
    await_processes(crash, "services.orphan", "services.store connector")
    process = crash.fleet.start("scale.out", "--yes")
    said = started(process, r"ended by: ", limit=240)
    line = said.decode().rpartition("ended by: ")[2]
    pasted = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    out, _ = process.communicate(timeout=600)
    cured(crash)
    return process.returncode, said.decode() + out.decode(), pasted


def test_an_orphan_is_told_with_the_line_that_ends_it(orphaned):
    """R2.7: RUN-007 names pid, user, program, port and command; pasted, the run ends in service."""
    status, said, pasted = orphaned

    assert 0 == status, said
    assert 0 == pasted.returncode, pasted
    told = re.search(
        r"RUN-007 [^\n]*\n?[^\n]*pid (\d+) in oms_427, user root, of oms_drc_cm, .*", said
    )
    assert told, said
    assert "holds port 8088: " in told[0]
    assert "omslab.services.orphan" in told[0]
    assert f"kill -9 {told[1]}" in said


def test_stores_and_connectors_are_counted_in_the_plan_and_before_rows_go(orphaned):
    """R2.7: they are no supervisord programs, so nothing of omsfab stops them."""
    _, said, _ = orphaned
    plan, rows, _ = re.split(r"stop-processes .*✓|clear-rows .*✓", said, maxsplit=2)

    text = "2 Stores/connectors run on, they are no supervisord programs: "
    assert text in plan
    assert text in rows
    assert "store17001" in rows
