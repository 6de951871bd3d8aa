"""Runs that are let go, rolled back, moved to another jump host, or raced for."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import re
import shlex
import shutil
import signal
import time

import pytest

from tests.lab.crash import Crash, expire_lease
from tests.lab.marks import LONG
from tests.lab.oracle import CONTAINER, FAB, ROOT


@pytest.fixture(scope="module")
def crash(make_fleet) -> Crash:
    """OMS on oms1 of two."""
    return Crash.deployed(make_fleet("runs", nodes=2, oms={"init": "always"}))


@pytest.fixture
def fresh(crash):
    """The fleet as before the first scale-out, and what was so then."""
    crash.reset()
    for node in crash.fleet.lab.nodes:
        crash.fleet.lab.knob(node.name, INIT_FAIL_STEP=None)
    return crash, crash.outcome()


def next_line(said) -> list[str]:
    """The words after `fab` in the ``next:`` of an error, as a shell would read the line."""
    line = re.findall(r"^  next: +(fab .*)$", said.out, re.MULTILINE)[-1]
    return shlex.split(line, comments=True)[1:]


def newest(fleet) -> str:
    """The id of the newest run."""
    return json.loads(fleet.fab("run.list", "--json").out)["runs"][0]["run"]


def as_before(outcome, before):
    """Rows, files, containers and programs; executions are counted by the test itself."""
    return {key: outcome[key] == before[key] for key in before if key != "inits"}


ALL = {
    key: True
    for key in (
        *("rows", "configs", "containers", "images", "programs"),
        *("overlaps", "left over", "locks"),
    )
}


def started(process, pattern, limit=60):
    """Read what the program says until a line matches; return all of it so far."""
    said = b""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        line = process.stdout.readline()
        said += line
        if re.search(pattern, line.decode("utf-8", "replace")) or not line:
            return said
    raise AssertionError(said.decode())


def let_go(process, number):
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    return process.returncode, out.decode("utf-8", "replace")


# --- taking back -----------------------------------------------------------------------------


def test_a_finished_run_is_taken_back(fresh):
    """Rows, config.yaml, containers and programs are as before; oms1 initialised once more."""
    crash, before = fresh
    done = crash.fleet.fab("scale.out", "--yes")

    said = crash.fleet.fab("run.undo", "--yes")

    assert (0, 0) == (done.status, said.status), said
    assert ALL == as_before(crash.outcome(), before)
    assert {"oms1": 2, "oms2": 1} == crash.outcome()["inits"]


def test_an_initialisation_that_fails_twice_leaves_two_ways(fresh):
    """C14: exit 6, both ways printed; the rollback restores everything, cm_url too: exit 8."""
    crash, before = fresh
    crash.fleet.lab.knob("oms1", INIT_FAIL_STEP=4)
    first = crash.fleet.fab("scale.out", "--yes")
    second = crash.fleet.fab(*next_line(first), "--yes")
    crash.fleet.lab.knob("oms1", INIT_FAIL_STEP=None)

    back = crash.fleet.fab("run.undo", "--yes")

    assert (6, 6, 8) == (first.status, second.status, back.status), back
    assert "run.resume" in second.out
    assert "run.undo" in second.out
    assert ALL == as_before(crash.outcome(), before)
    assert 3 == crash.outcome()["inits"]["oms1"]


@pytest.mark.parametrize(
    "point", [pytest.param("restore-rows:after", marks=LONG), "initialise:mid"]
)
def test_an_interrupted_way_back_goes_on(fresh, point):
    """run.undo again continues the same rollback: no second initialisation beside the first."""
    crash, before = fresh
    crash.kill_at("config@oms1:after:kill")  # oms2 is claimed, too
    killed = crash.kill_at(f"{point}:kill", "run.undo", "--yes")

    said = crash.fleet.fab("run.undo", "--yes")

    assert (-9, 8) == (killed.status, said.status), said
    assert ALL == as_before(crash.outcome(), before)
    assert 1 == crash.outcome()["inits"]["oms1"]
    assert [": free"] * 4 == re.findall(": free", crash.fleet.fab("lock.show").out)


# --- the plan that was read ------------------------------------------------------------------


def test_a_plan_that_was_read_for_too_long_is_not_begun(fresh):
    """J14: config.yaml of oms1 changes between plan and yes; exit 3, nothing changed."""
    crash, _ = fresh
    config = crash.fleet.lab.path("oms1", "/data/config.yaml")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execve(str(FAB), ["fab", "scale.out"], crash.fleet.environment())
    said = b""
    while b"to continue: " not in said:
        said += os.read(terminal, 4096)
    config.write_bytes(config.read_bytes() + b"# somebody was here\n")
    os.write(terminal, b"cn-lab\n")
    with contextlib.suppress(OSError):  # the terminal ends with the program
        while more := os.read(terminal, 4096):
            said += more
    _, status = os.waitpid(pid, 0)

    stakes = b"Stop OMS on oms1 (about 3 to 5 min), delete 4 rows of region cn-lab, add oms2. Type"
    assert stakes in b" ".join(said.split()), said[-1500:].decode()  # folded to the terminal
    assert 3 == os.waitstatus_to_exitcode(status), said.decode()
    assert "PLAN-004  stale plan: config.yaml on oms1 changed" in said.decode()
    assert {"oms1": "running"} == crash.fleet.containers()


# --- a journal that says too much ------------------------------------------------------------


def forge_done(crash, node, step):
    """The newest journal gets a last line, chained as the others are: this step is done."""
    journal = max(crash.fleet.lab.directory.glob("state/*/*/journal.jsonl"))
    last = journal.read_bytes().splitlines(keepends=True)[-1]
    event = {"at": time.time(), "clock": 0.0, "node": node, "step": step, "kind": "done"}
    head = hashlib.sha256(last).hexdigest()[:16]
    with journal.open("a") as file:
        file.write(json.dumps({**event, "text": "forged", "prev": head}) + "\n")


@LONG
def test_a_forged_done_begins_nobody_beside_a_running_initialisation(fresh):
    """R2b.3: docker_init.sh of oms1 runs, and the journal says that it is done: run.resume asks its
    attempt, follows it to its end, and only then is oms2 begun."""
    crash, _ = fresh
    crash.fleet.lab.knob("oms1", INIT_SECONDS=15)
    killed = crash.kill_at("initialise@oms1:mid:kill", "scale.out", "--yes")
    crash.fleet.lab.knob("oms1", INIT_SECONDS=1)
    forge_done(crash, "oms1", "initialise")

    said = crash.fleet.fab("run.resume", "--yes")

    assert (-9, 0) == (killed.status, said.status), said
    assert {"oms1": 1, "oms2": 1} == crash.outcome()["inits"]
    assert 0 == crash.outcome()["overlaps"]


# --- letting go ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=LONG),
        pytest.param(signal.SIGHUP, marks=LONG),
    ],
)
def test_letting_go_leaves_docker_init_alone(fresh, number):
    """J04: exit 130, INIT-030, the line it prints ends the run; one execution."""
    crash, _ = fresh
    process = crash.fleet.start("scale.out", "--yes")
    started(process, r"oms1 .*step 1 of 5")

    status, out = let_go(process, number)
    said = crash.fleet.fab("run.resume", "--yes")

    assert 130 == status, out
    assert "INIT-030" in out
    assert ["run.resume"] == re.findall(r"next: +fab (\S+)", out)
    assert 0 == said.status, said
    assert {"oms1": 1, "oms2": 1} == crash.outcome()["inits"]


def test_letting_go_in_the_surgery_rolls_back(fresh):
    """J04: rows are locked and about to be deleted; Ctrl-C leaves every one in place.

    So the rollback has nothing to initialise.
    """
    crash, before = fresh
    process = crash.fleet.start("scale.out", "--yes", OMSFAB_FAILPOINT="clear-rows:mid:hang")
    started(process, r"metadb +clear-rows .*copied")

    status, out = let_go(process, signal.SIGINT)

    rows = crash.outcome()["rows"]
    back = crash.fleet.fab("run.undo", "--yes")

    assert (130, 8) == (status, back.status), out
    assert {t: len(found) for t, found in before["rows"].items()} == {
        table: len(found) for table, found in rows.items()
    }
    assert ALL == as_before(crash.outcome(), before)
    assert {"oms1": 0, "oms2": 0} == crash.outcome()["inits"]


# --- another jump host -----------------------------------------------------------------------


def test_a_lost_jump_host_is_replaced(fresh):
    """J03: its state is gone; another one goes on from the copy, once the lease has expired."""
    crash, _ = fresh
    crash.kill_at("initialise@oms1:mid:kill")
    shutil.rmtree(crash.fleet.lab.directory / "state")

    early = crash.fleet.fab("run.resume", "--from=oms1", "--yes", home="state-other")
    expire_lease(crash.fleet.lab)
    said = crash.fleet.fab("run.resume", "--from=oms1", "--yes", home="state-other")

    assert 4 == early.status, early
    assert 0 == said.status, said
    assert {"oms1": 1, "oms2": 1} == crash.outcome()["inits"]


@LONG
def test_a_run_is_taken_back_without_the_jump_host_that_made_it(fresh):
    """Its state is gone: the copy is enough, where hosts.yaml names the nodes that it names."""
    crash, before = fresh
    crash.fleet.fab("scale.out", "--yes")
    shutil.rmtree(crash.fleet.lab.directory / "state")

    words = ("run.undo", "--from=oms1", "--yes")
    without = crash.fleet.fab(*words, hosts="initial.yaml", home="state-other")
    said = crash.fleet.fab(*words, home="state-other")

    assert (3, 0) == (without.status, said.status), f"{without}{said}"
    assert "RUN-037" in without.out
    assert ALL == as_before(crash.outcome(), before)


# --- locks -----------------------------------------------------------------------------------

RACES = int(os.environ.get("OMSFAB_RACES", "3"))


def test_of_two_operators_on_two_jump_hosts_one_wins(fresh):
    """J10, J11: the other leaves with 4 and has changed nothing, each time."""
    crash, before = fresh
    homes = ("state-a", "state-b")
    results = []
    for _ in range(RACES):
        both = [
            crash.fleet.start(
                "scale.out", "--yes", home=home, OMSFAB_FAILPOINT="directories@oms2:before:raise"
            )
            for home in homes
        ]
        said = [process.communicate(timeout=120)[0].decode() for process in both]
        results.append(sorted(process.returncode for process in both))
        loser = said[0] if both[0].returncode == 4 else said[1]
        assert re.search(r"(DB-030|LOCK-002) ", loser), loser
        assert "changed:  nothing" in loser
        for process, home in zip(both, homes, strict=True):
            if process.returncode != 4:
                left = max(crash.fleet.lab.directory.glob(f"{home}/*/*/run.json")).parent.name
                assert crash.fleet.fab("run.abandon", f"--run={left}", home=home).status == 0

    assert [[4, 6]] * RACES == results
    assert before == crash.outcome()


@LONG
def test_a_holder_that_slept_through_a_take_over_changes_nothing(fresh):
    """SIGSTOP, the lease expires and is broken, another finishes; SIGCONT: the first one stops."""
    crash, _ = fresh
    sleeper = crash.fleet.start("scale.out", "--yes")
    started(sleeper, r"oms1 +stop-processes .*✓")
    sleeper.send_signal(signal.SIGSTOP)
    since = time.monotonic()
    run = newest(crash.fleet)
    early = crash.fleet.fab("lock.break", f"--run={run}", home="state-b")
    expire_lease(crash.fleet.lab, renewed=240)
    broken = crash.fleet.fab("lock.break", f"--run={run}", home="state-b")
    other = crash.fleet.fab("run.resume", f"--run={run}", "--from=oms1", "--yes", home="state-b")
    after = crash.outcome()
    time.sleep(max(0.0, 31 - (time.monotonic() - since)))

    status, out = let_go(sleeper, signal.SIGCONT)

    assert (4, 0, 0) == (early.status, broken.status, other.status), f"{early}{broken}{other}"
    assert (7, True) == (status, "DB-031" in out), out
    assert after == crash.outcome()


def rolled_back_and_begun_anew(crash, run):
    """What another jump host does with a run that lies there half done; returns what is so then."""
    expire_lease(crash.fleet.lab)
    back = crash.fleet.fab("run.undo", f"--run={run}", "--from=oms1", "--yes", home="state-b")
    anew = crash.fleet.fab("scale.out", "--yes", home="state-b")
    assert (8, 0) == (back.status, anew.status), f"{back}{anew}"
    return crash.outcome()


def test_a_run_that_was_rolled_back_elsewhere_is_not_rolled_back_again(fresh):
    """Another jump host has rolled it back and scaled out anew: exit 3 before anything is done, by
    the copies on the nodes; and without these by MetaDB's marker.  What is printed leads out."""
    crash, _ = fresh
    killed = crash.kill_at("initialise@oms2:mid:kill", "scale.out", "--yes")
    run = newest(crash.fleet)
    after = rolled_back_and_begun_anew(crash, run)

    undone = crash.fleet.fab("run.undo", "--yes")
    resumed = crash.fleet.fab("run.resume", "--yes")
    for name in ("oms1", "oms2"):
        crash.fleet.lab.enter(name, ["sh", "-c", "rm -rf /var/lib/omsfab/2*"])
    by_marker = crash.fleet.fab("run.undo", "--yes")
    out = crash.fleet.fab(*next_line(by_marker))

    assert (-9, 3, 3, 3) == (killed.status, undone.status, resumed.status, by_marker.status)
    assert "RUN-032" in undone.out
    assert "RUN-032" in resumed.out
    assert "RUN-035" in by_marker.out, by_marker
    assert 0 == out.status, out
    assert after == crash.outcome()
    assert {"RUNNING"} == crash.fleet.programs("oms2")


def test_production_that_a_reboot_has_started_is_stopped_again(fresh):
    """Killed behind the stop; oms1 is restarted, and all its programs run: they are stopped before
    rows are touched, whatever the journal says, and the run ends well."""
    crash, _ = fresh
    killed = crash.kill_at("clear-rows:before:kill", "scale.out", "--yes")
    crash.fleet.docker("oms1", "restart", "-t", "5", CONTAINER)

    said = crash.fleet.fab("run.resume", "--yes")

    assert (-9, 0) == (killed.status, said.status), said
    assert re.search(r"oms1 +stop-processes .*✓[\s\S]*metadb +clear-rows .*✓", said.out), said
    assert {"oms1": 1, "oms2": 1} == crash.outcome()["inits"]


@LONG
def test_a_holder_that_wakes_in_an_initialisation_judges_nothing(fresh):
    """SIGSTOP while docker_init.sh runs; another jump host rolls back and scales out anew; SIGCONT:
    exit 7, DB-031, no failure of a node, no rollback, and nothing is touched, copies included."""
    crash, _ = fresh
    sleeper = crash.fleet.start("scale.out", "--yes")
    started(sleeper, r"oms1 .*step 1 of 5")
    sleeper.send_signal(signal.SIGSTOP)
    since = time.monotonic()
    run = newest(crash.fleet)
    after = rolled_back_and_begun_anew(crash, run)
    copies = crash.fleet.lab.enter("oms1", ["sh", "-c", "sha256sum /var/lib/omsfab/2*/*"]).stdout
    time.sleep(max(0.0, 31 - (time.monotonic() - since)))

    status, out = let_go(sleeper, signal.SIGCONT)

    assert 7 == status, out
    assert "DB-031" in out
    assert "run.undo" not in out.partition("DB-031")[2]
    assert "INIT-" not in out.partition("DB-031")[2]
    assert (
        copies
        == crash.fleet.lab.enter("oms1", ["sh", "-c", "sha256sum /var/lib/omsfab/2*/*"]).stdout
    )
    assert after == crash.outcome()


def test_two_runs_on_one_jump_host_exclude_each_other(fresh):
    """J10: the second leaves at once with 4 and says who works."""
    crash, _ = fresh
    first = crash.fleet.start("scale.out", "--yes", OMSFAB_FAILPOINT="directories:before:hang")
    started(first, r"directories .*▸")

    second = crash.fleet.fab("node.restart", "--node=oms1", "--yes")
    elsewhere = crash.fleet.fab("node.restart", "--node=oms1", "--yes", home="state-b")
    first.kill()
    first.communicate(timeout=30)

    assert (4, 4) == (second.status, elsewhere.status), f"{second}{elsewhere}"
    assert "LOCK-001" in second.out
    assert "LOCK-002" in elsewhere.out


def test_a_way_back_waits_for_docker_init(fresh):
    """It goes on after a kill, writes rows and starts programs: nothing is undone meanwhile."""
    crash, before = fresh
    crash.fleet.lab.knob("oms1", INIT_SECONDS=15)
    killed = crash.kill_at("initialise@oms1:mid:kill", "scale.out", "--yes")
    crash.fleet.lab.knob("oms1", INIT_SECONDS=None)

    said = crash.fleet.fab("run.undo", "--yes")

    assert (-9, 8) == (killed.status, said.status), said
    assert ALL == as_before(crash.outcome(), before)
    assert {"oms1": 2, "oms2": 0} == crash.outcome()["inits"]


@LONG
def test_of_a_run_that_had_begun_nothing_only_the_locks_are_taken_back(fresh):
    """Killed with lease and claims in its hands: run.undo frees them."""
    crash, before = fresh
    process = crash.fleet.start("scale.out", "--yes")
    started(process, r"stage +1/")  # the preflight
    process.kill()
    process.communicate(timeout=30)
    held = crash.outcome()["locks"]

    shown = crash.fleet.fab("run.undo", "--plan")
    still = crash.outcome()["locks"]
    said = crash.fleet.fab("run.undo", "--yes")

    assert (0, 8) == (shown.status, said.status), f"{shown}{said}"
    assert "had begun nothing" in shown.out
    assert held == still != []
    assert before == crash.outcome()
    assert "INPUT-008" in crash.fleet.fab("run.undo", "--yes").out


# --- rows by themselves ----------------------------------------------------------------------


def test_rows_are_saved_and_put_back(fresh):
    """fab meta.save, the rows are lost, fab meta.restore: byte by byte, by SQL."""
    crash, _ = fresh
    lab = crash.fleet.lab
    saved = crash.fleet.fab("meta.save")
    file = re.findall(r"--file=(\S+)", saved.out)[-1]
    before = lab.sql("select * from oms_rm.cluster_info")
    groups = lab.sql("select * from oms_cm.resource_group")
    crash.fleet.fab("node.stop", "--node=oms1", "--yes")
    lab.sql("delete from oms_rm.cluster_info")
    lab.sql("delete from oms_cm.resource_group")

    said = crash.fleet.fab("meta.restore", f"--file={file}", "--yes")

    assert (0, 0) == (saved.status, said.status), f"{saved}{said}"
    assert before == lab.sql("select * from oms_rm.cluster_info")
    assert groups == lab.sql("select * from oms_cm.resource_group")
    assert crash.fleet.fab("meta.show").status == 0
