"""The rollback does not hang on the script that has just failed, nor on anything else that a knob
of the stand-in image can do.

Judged past omsfab: rows, config.yaml, containers and programs are as before, whatever makes
docker_init.sh fail on the way there and, since the knob stays, in the rollback as well.  Some are
tried here, all of them by `scripts/crash`.
"""

from __future__ import annotations

import os
import re
import subprocess
import time

import pytest

from omsfab.lab.package import SOURCES
from tests.lab.crash import FAST, Crash
from tests.lab.knobs import CASES, Case, listed
from tests.lab.marks import LONG
from tests.lab.oracle import CONTAINER
from tests.lab.test_runs import ALL, as_before, started

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
    end = time.monotonic() + 180
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


def in_service(crash: Crash, nodes=("oms1", "oms2")) -> dict[str, object]:
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


def cases(*ends: str, hang: bool | None = None):
    """All that end so; ``hang``: scripts/test tries of the quick ones those alone that do (not)."""
    return [
        pytest.param(
            case, marks=() if case.quick and hang in (None, case.hangs) else LONG, id=case.id
        )
        for case in CASES
        if case.ends in ends
    ]


@pytest.mark.parametrize("case", cases("through"))
def test_what_is_merely_otherwise_ends_in_service(fresh, case):
    """R5: told where it is anything to tell; and run.undo brings production back as before."""
    crash, _ = fresh
    before = turned(crash, case)

    said = there(crash, case)
    service = in_service(crash)
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


@pytest.mark.parametrize("case", cases("stopped", "apart", hang=False))
def test_production_is_back_although_the_script_fails_there_too(fresh, case):
    """R1.2, R1.5: exit 8, what was not done is told, nothing of the outage is left; or exit 5 where
    a program cannot run any more: all that can be put back is."""
    crash, _ = fresh
    before = turned(crash, case)

    said = there(crash, case)
    back = crash.fleet.fab("run.undo", *(["--stop-init"] if case.hangs else []), "--yes")

    assert said.status in ((-9,) if case.hangs else STATUS[case.ends]), said
    assert case.told in said.out
    assert (5 if case.back else 8) == back.status, back
    assert not case.back or case.back in back.out.partition("RUN-041")[2]
    now = as_before(crash.outcome(), before)
    assert ALL | ({"programs": False} if case.broken else {}) == now


@pytest.mark.parametrize("case", cases("stopped", "apart", hang=True))
def test_once_the_cause_is_cured_the_run_comes_to_its_end(fresh, case):
    """The knob is taken away, and rows that it made wrong are right: run.resume ends in service.

    An initialisation whose end is known is not repeated for what it wrote: that is looked at again.
    """
    crash, _ = fresh
    if case.knobs.get("ROWS") == "add":
        pytest.skip("does not apply: which of two rows of one region is right, a DBA decides")
    turned(crash, case)

    said = there(crash, case)
    for name in case.on:
        crash.fleet.lab.knob(name, **dict.fromkeys(case.knobs))
    if "CM_URL_OVERRIDE" in case.knobs:
        url = f"http://{crash.fleet.lab.vip}:8088"
        crash.fleet.lab.sql("update oms_rm.cluster_info set cm_url = %s where code = 1", (url,))
        crash.fleet.lab.sql("update oms_cm.location_cm set cm_url = %s where location = 1", (url,))
    ended = crash.fleet.fab("run.resume", *(["--stop-init"] if case.hangs else []), "--yes")

    assert 0 != said.status, said
    assert 0 == ended.status, ended
    assert wanted(crash) == in_service(crash)


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
    crash.await_service()
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


# --- a program that is broken before ----------------------------------------------------------

PROGRAMS = ("nginx", "oms_console", "oms_drc_cm", "oms_drc_supervisor", "sshd")
UNKNOWN = "customers_own"
INI = f"/etc/supervisor/conf.d/{UNKNOWN}.ini"


def inside(crash: Crash, line: str) -> str:
    words = ["docker", "exec", "oms_427", "sh", "-c", line]
    return str(crash.fleet.lab.enter("oms1", words).stdout)


def state(crash: Crash, program: str) -> str:
    return inside(crash, f"supervisorctl status {program}").split()[1]


@pytest.fixture
def another(fresh):
    """oms1 has a program that nobody knows beside those of OMS; it is taken away again."""
    crash, _ = fresh
    lines = f"[program:{UNKNOWN}]\\ncommand=sleep 86400\\nautostart=false\\nstartsecs=0\\n"
    inside(crash, f"printf '{lines}' >{INI}; supervisorctl update")
    yield crash
    inside(crash, f"rm -f {INI}; supervisorctl update")


def broken(crash: Crash, program: str, how: str) -> str:
    """The program cannot run on oms1; returns the states in which it may be then, as a pattern."""
    if program == UNKNOWN:
        line = "sed -i 's/^command=.*/command=false/; s/^startsecs=.*/startsecs=1/' " + INI
        inside(crash, f"{line}; supervisorctl update; supervisorctl start {program}")
    elif how == "autostart=false":
        inside(crash, f"supervisorctl stop {program}")
    else:
        crash.fleet.lab.knob("oms1", **{how: program})
        inside(crash, f"supervisorctl restart {program}")
    ends = ("STARTING", "BACKOFF") if how == "PROGRAM_NEVER" else ("FATAL", "STOPPED")
    end = time.monotonic() + 60
    while state(crash, program) not in ends:
        assert time.monotonic() < end
        time.sleep(0.3)
    return f"({'|'.join(ends)})"


BEHIND_VIP = ("nginx", "oms_drc_cm")
"""Without them the VIP, whose only backend is oms1, has no OMS behind it."""


@pytest.mark.parametrize(
    ("program", "how"),
    [
        pytest.param("nginx", "PROGRAM_FATAL", marks=LONG),
        ("oms_console", "PROGRAM_FATAL"),
        pytest.param("oms_drc_cm", "PROGRAM_FATAL", marks=LONG),
        pytest.param("oms_drc_supervisor", "PROGRAM_FATAL", marks=LONG),
        pytest.param("sshd", "PROGRAM_FATAL", marks=LONG),
        pytest.param(UNKNOWN, "PROGRAM_FATAL", marks=LONG),
        pytest.param("oms_console", "PROGRAM_NEVER", marks=LONG),
        pytest.param("sshd", "PROGRAM_NEVER", marks=LONG),
        pytest.param("oms_console", "autostart=false", marks=LONG),
    ],
)
def test_a_program_that_is_broken_before_stops_nothing_in_the_outage(another, program, how):
    """R1.1: the plan says it; the run goes through, or is refused before the outage; and run.undo
    brings back what ran, and asks for no more."""
    crash = another
    now = broken(crash, program, how)
    before = crash.outcome()

    planned = crash.fleet.fab("scale.out", "--plan", "--verbose")
    said = crash.fleet.fab("scale.out", "--yes")
    urls = crash.fleet.cm_urls()[1]
    back = crash.fleet.fab("run.undo", "--yes")

    told = re.search(f"warning: {program} is {now} on oms1", planned.out)
    assert told or planned.status == 3, planned
    if program in BEHIND_VIP:
        assert (3, 3) == (planned.status, said.status), said
        assert "INPUT-008" in back.out
    else:
        assert (0, 0, 0) == (planned.status, said.status, back.status), f"{said}{back}"
        assert f"http://{crash.fleet.lab.vip}:8088" == urls
    left = as_before(crash.outcome(), before)
    assert ALL == left | {"programs": True, "rows": True}  # an agent that is down beats no more
    others = [other for other in PROGRAMS if other != program]
    assert {"RUNNING"} == {state(crash, other) for other in others}


# --- beliefs that no knob breaks (docs/assumptions.md) ----------------------------------------


@LONG
def test_what_docker_init_does_not_start_is_started(another):
    """A10: a program that it does not name ran before; it runs in the end, and after run.undo."""
    crash = another
    inside(crash, f"supervisorctl start {UNKNOWN}")
    before = crash.outcome()

    said = crash.fleet.fab("scale.out", "--yes")
    then = state(crash, UNKNOWN)
    back = crash.fleet.fab("run.undo", "--yes")

    assert (0, 0) == (said.status, back.status), f"{said}{back}"
    assert ["RUNNING"] * 2 == [then, state(crash, UNKNOWN)]
    assert ALL == as_before(crash.outcome(), before)


@LONG
def test_rows_that_docker_init_does_not_make_again_are_told(fresh):
    """A15: location_cm is gone after it; in service with DB-043, and run.undo."""
    crash, _ = fresh
    killed = crash.kill_at("initialise@oms1:before:kill")
    for name in ("oms1", "oms2"):
        crash.fleet.lab.knob(name, NO_LOCATION_CM=1)
    said = crash.fleet.fab("run.resume", "--yes")
    back = crash.fleet.fab("run.undo", "--yes")

    assert (-9, 0) == (killed.status, said.status), f"{killed}{said}"
    assert "DB-043" in said.out
    assert "location_cm" in said.out.partition("DB-043")[2]
    assert back.status in (0, 5), back
    assert {"RUNNING"} == crash.fleet.programs("oms1")
    assert crash.fleet.lab.node("oms1").ip in crash.fleet.cm_urls()[1]


@LONG
def test_config_yaml_of_another_user_stays_his(fresh):
    """A17: the agent reads it as its own user; owner and mode are the former ones there and back,
    or oms_drc_supervisor would be dead."""
    crash, before = fresh
    path = crash.fleet.lab.path("oms1", "/data/config.yaml")
    for name in ("oms1", "oms2"):
        crash.fleet.lab.knob(name, DS_READS_CONFIG=1)

    def mode() -> tuple[int, int, int]:
        seen = path.stat()
        return seen.st_uid, seen.st_gid, seen.st_mode & 0o777

    user, group, bits = mode()
    os.chown(path, 501, 501)
    path.chmod(0o600)
    try:
        said = crash.fleet.fab("scale.out", "--yes")
        there = mode()
        service = in_service(crash)
        back = crash.fleet.fab("run.undo", "--yes")
        after = mode()
    finally:
        os.chown(path, user, group)
        path.chmod(bits)

    assert (0, 0) == (said.status, back.status), f"{said}{back}"
    assert [(501, 501, 0o600)] * 2 == [there, after]
    assert wanted(crash) == service
    assert ALL == as_before(crash.outcome(), before)


@LONG
def test_a_changed_login_reaches_cm_too(fresh):
    """A19: it holds the password of the MetaDB, so a refresh restarts it."""
    crash, _ = fresh
    lab = crash.fleet.lab
    former, config_yaml = lab.metadb.password, lab.path("oms1", "/data/config.yaml")
    written = config_yaml.read_bytes()
    account = f"'{lab.metadb.user}'@'%%'"
    cm = inside(crash, "supervisorctl pid oms_drc_cm")
    try:
        lab.sql(f"alter user {account} identified by %s", ("another-1",))
        lab.password_file.write_text("another-1")
        said = crash.fleet.fab("node.refresh", "--node=oms1", "--yes", hosts="initial.yaml")
        since = inside(crash, "supervisorctl pid oms_drc_cm")
    finally:
        lab.sql(f"alter user {account} identified by %s", (former,))
        lab.password_file.write_text(former)
        config_yaml.write_bytes(written)

    assert 0 == said.status, said
    assert cm != since


@LONG
def test_what_moves_in_the_rows_of_another_region_stops_no_run(fresh):
    """A20: another region shares the MetaDB, and columns that nobody knows move in its rows."""
    crash, _ = fresh
    lab, far = crash.fleet.lab, "http://10.9.9.9:8088"
    made = (
        "insert into oms_rm.cluster_info (region, region_cn, cm_url, code, is_default_cm)"
        f" values ('cn-far', 'far', '{far}', 0, 0)",
        "insert into oms_cm.resource_group (id, name) values (77, '0')",
        "insert into oms_cm.host (ip, resource_group_id, host_status)"
        " values ('10.9.9.1', 77, 'ONLINE')",
        "insert into oms_cm.location_cm (location, cm_url, region)"
        f" values ('0', '{far}', 'cn-far')",
    )
    for line in made:
        lab.sql(line)
    lab.knob("oms1", MOVING_COLUMNS=1)
    crash.fleet.shape("oms1")
    before = crash.outcome()

    said = crash.fleet.fab("scale.out", "--yes")
    back = crash.fleet.fab("run.undo", "--yes")

    assert (0, 0) == (said.status, back.status), f"{said}{back}"
    assert ALL == as_before(crash.outcome(), before)


@LONG
def test_a_second_oms_on_the_host_is_refused(fresh):
    """A09, A21: HOST-007 before anything is stopped; supervisorctl might speak to the other one."""
    crash, before = fresh
    words = ("-d", "--name", "oms_other", "-v", "/data/other:/home/ds/store")
    crash.fleet.docker("oms1", "run", *words, crash.fleet.lab.image, "sleep", "86400")
    try:
        said = crash.fleet.fab("scale.out", "--yes")
    finally:
        crash.fleet.docker("oms1", "rm", "-f", "oms_other")

    assert 3 == said.status, said
    assert "HOST-007" in said.out
    assert ALL == as_before(crash.outcome(), before)


@LONG
def test_another_supervisord_behind_the_port_is_not_commanded(fresh):
    """A09: what answers on 8084 belongs to somebody else; the container's own socket is asked."""
    crash, before = fresh
    conf = "/etc/supervisor/supervisord.conf"
    line = f"cp {conf} /tmp/kept; sed -i 's|^serverurl=.*|serverurl=http://127.0.0.1:1|' {conf}"
    inside(crash, line)
    said = crash.fleet.fab("scale.out", "--yes")
    back = crash.fleet.fab("run.undo", "--yes")
    inside(crash, f"cp /tmp/kept {conf}")

    assert (0, 0) == (said.status, back.status), f"{said}{back}"
    assert ALL == as_before(crash.outcome(), before)
