"""The simulated MetaDB against the real engines: same calls, same questions, same answers.

Where the two differ, the simulation is wrong.  Each test takes a sample of what there is to ask:
OMSFAB_CUTS=1 cuts the line at every statement, OMSFAB_SCHEDULES=100 has so many random schedules.
"""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pymysql
import pytest

from omsfab.errors import OmsfabError
from omsfab.metadb import sql
from omsfab.metadb.client import Limits, MetaDbEdge
from omsfab.plan.records import ClearRows, DropHosts, KeepRows, RestoreRows
from omsfab.secret import Secret
from tests.simulation.metadb import Connection, MetaDb
from tests.wire.metadb_fixtures import (
    NEW,
    OLD,
    PASSWORD,
    SHORT,
    Engine,
    Oms,
    connect,
    create_oms,
    engine,
    fill,
    nowhere,
    oms,
)

__all__ = ["engine", "oms"]

CUTS = int(os.environ.get("OMSFAB_CUTS", "7"))
"""The line is cut at each so-manieth statement."""
SCHEDULES = int(os.environ.get("OMSFAB_SCHEDULES", "10"))
PATIENT = replace(SHORT, read=20, query=15)
"""A busy server may take seconds for a join of information_schema."""
ALL = ("cluster_info", "location_cm", "host", "resource_group")
RESTORE = RestoreRows(1)
INITIALISED = (
    f"insert into oms_rm.cluster_info (code, cm_url) values (1, '{NEW}')",
    "insert into oms_cm.resource_group (id, name) values (99, '1')",
    "insert into oms_cm.host (ip, resource_group_id) values ('10.0.0.1', 99)",
    f"insert into oms_cm.location_cm (cm_location, cm_url) values ('1', '{NEW}')",
)


# --- the simulated engine, where the fixtures have a real one ---------------------------------


class Simulated(Engine):
    """As an Engine; where somebody waits, virtual time passes."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind, 0)
        self.now = 1_800_000_000.0
        zone = 480 if kind == "oceanbase" else 0  # as that engine is built
        self.db = MetaDb(lambda: self.now, self._wait, kind=kind, zone=zone)
        self.db.passwords = {"oms": PASSWORD}

    def _wait(self, seconds: float) -> None:
        self.now += seconds

    def connect(self, **more: Any) -> Any:
        return self.db.connect(**{"user": "root", "password": "", **more})

    def grant(self, user: str, schema: str, verbs: set[str]) -> None:
        for verb in ("select", "insert", "update", "delete", "create", "drop"):
            if verb not in verbs:
                self.db.denied.add((user, verb, schema))


def simulated(kind: str) -> Oms:
    """The OMS of the fixtures, in a simulated engine."""
    made = Simulated(kind)
    create_oms(made, "oms")
    fill(made, "oms")
    return Oms(made)


# --- what was asked and answered -------------------------------------------------------------


@dataclass
class Recorder:
    """Connects as the engine does, and writes down every statement with its answer.

    ``cut``: the n-th statement from now is lost, or its reply is.
    """

    connect: Callable[..., Any]
    log: list[tuple[Any, ...]] = field(default_factory=list)
    cut: tuple[int, str] | None = None
    settled: Callable[[int], None] = lambda number: None
    """Returns when the server has noticed that the connection is cut."""

    def __call__(self, **words: Any) -> Any:
        return _Connection(self, self.connect(**words))


class _Connection:
    def __init__(self, recorder: Recorder, inner: Any) -> None:
        self.recorder, self.inner = recorder, inner

    def cursor(self) -> _Cursor:
        return _Cursor(self)

    def _force_close(self) -> None:
        self.inner._force_close()

    @property
    def open(self) -> bool:
        return bool(self.inner.open)

    def cut(self) -> None:
        self.inner._force_close()
        if not isinstance(self.inner, Connection):
            self.recorder.settled(self.inner.thread_id())


class _Cursor:
    def __init__(self, connection: _Connection) -> None:
        self.connection, self.rows, self.warning_count = connection, [], 0

    def __enter__(self) -> _Cursor:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def execute(self, text: str, args: tuple[Any, ...] | None = None) -> int:
        recorder, inner = self.connection.recorder, self.connection.inner
        phase = ""
        if recorder.cut is not None and len(recorder.log) + 1 == recorder.cut[0]:
            phase = recorder.cut[1]
        try:
            if phase == "before":
                self.connection.cut()
                raise pymysql.err.OperationalError(2013, "cut")
            if text == sql.SAME_CONNECTION and not isinstance(inner, Connection):
                recorder.settled(args[0])  # closed by now: a real server notices it a moment later
            with inner.cursor() as cursor:
                count = cursor.execute(text, args)
                self.rows = list(cursor.fetchall())
                self.warning_count = 0
            if phase == "after":
                self.connection.cut()
                raise pymysql.err.OperationalError(2013, "cut")
        except pymysql.Error as exc:
            recorder.log.append((text, args, "error", exc.args[0]))
            raise
        given = None if text in (sql.SAME_CONNECTION, sql.KILL) else args
        recorder.log.append((text, given, *told(text, count, self.rows)))
        return int(count)

    def fetchall(self) -> list[Any]:
        return self.rows


def told(text: str, count: int, rows: list[Any]) -> tuple[Any, ...]:
    """The answer without what may differ: the clock, ids of connections, versions, settings."""
    if text.startswith("show variables"):
        return "names", sorted(name for name, _ in rows)
    if text.startswith(("explain", "create", "set ")):
        return ("done",)
    if text in (sql.FACTS, sql.MAX_PACKET):
        return "one", len(rows)
    if text in (sql.WHO_AM_I, sql.SAME_CONNECTION) or text in sql.OPEN_TRANSACTIONS:
        return "connections", len(rows)
    if text == sql.TRANSACTIONAL_ENGINES:
        return "engines", ("InnoDB",) in rows
    if "timestampdiff(microsecond, `renewed`" in text:  # the age of a lease
        # what ends as it is freed has ended by the clock: the clock of a machine may step back
        rows = [(*row[:6], row[6] if row[1] else "free", "age") for row in rows]
    found = [tuple(_plain(text, value) for value in row) for row in rows]
    return count, found if "order by" in text else sorted(found, key=repr)


def _plain(text: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return "time" if value.year > 2025 else value
    if isinstance(value, bytes) and value[:4].isdigit() and value[4:5] == b"-":
        return b"time" if value[:4] > b"2025" else value
    if "timestampdiff(microsecond, gmt_modified" in text and isinstance(value, int):
        return round(value / 60e6)
    return value


def both(oms: Oms, scenario: Callable[[Oms, Callable[..., MetaDbEdge]], Any]) -> None:
    """Play it with the real engine and the simulated one, and compare the two records."""
    records = []
    for one in (oms, simulated(oms.engine.kind)):
        engine = one.engine
        create_oms(engine, "oms")
        fill(engine, "oms")
        recorder = Recorder(engine.connect if isinstance(engine, Simulated) else connect)
        recorder.settled = functools.partial(gone, engine)

        def edge(
            limits: Limits = PATIENT, to: Recorder = recorder, here: Oms = one, **more: Any
        ) -> Any:
            return MetaDbEdge(here.engine.metadb("oms", **more), to, limits=limits)

        outcome = scenario(one, edge)
        records.append((recorder.log, outcome))
    (real, said), (imitated, said_too) = records
    for n, pair in enumerate(zip(real, imitated, strict=False)):
        assert pair[0] == pair[1], f"statement {n} of {len(real)}: {pair[0][0][:200]}"
    assert len(real) == len(imitated)
    assert said == said_too


def gone(engine: Engine, number: int) -> None:
    query = f"select count(*) from information_schema.processlist where id = {number}"
    for _ in range(200):
        if engine.sql(query) == [(0,)]:
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"the server still has connection {number}")


def outcome(act: Callable[[], Any]) -> str:
    """The id of the error, or "done"."""
    try:
        act()
    except OmsfabError as error:
        return error.id
    return "done"


def shared(scenario: Callable[..., Any]) -> Callable[..., Any]:
    SCENARIOS[scenario.__name__] = scenario
    return scenario


SCENARIOS: dict[str, Callable[..., Any]] = {}


@pytest.fixture
def place(tmp_path: Path) -> Callable[[], Path]:
    """A new directory each time."""
    numbers = iter(range(10_000))
    return lambda: tmp_path / str(next(numbers))


# --- scenarios -------------------------------------------------------------------------------


@shared
def questions(oms, edge, place):
    one = edge()
    asked = [
        one.exists(), one.clusters(), one.hosts(1), one.hosts(9), sorted(one.beats("oms_hb1")),
        one.facts().kind, one.facts().read_only, one.oms_versions(), one.ha_config(),
        one.traffic(), one.scope(2).prose, one.check_cm_url(1, OLD), one.check_cm_url(1, NEW, OLD),
        one.check_other_urls(1, NEW, OLD), one.check_left_over(), one.lease_holder(),
    ]  # fmt: skip
    one.clock(), one.time_and_zone()
    for rows in ("delete", "update"):
        scope = one.preflight(1, rows=rows)
        asked += [scope.prose, scope.shown, scope.references]
    asked.append(outcome(lambda: one.preflight(7)))
    asked.append(one.check_hosts_online(1, "oms_hb1", ["10.0.0.1", "10.1.0.1", "10.7.7.7"], 200))
    return asked


@shared
def other_columns(oms, edge, place):
    """Tables whose columns are of other types, collations and names."""
    try:
        return _other_columns(oms, edge, place)
    finally:
        create_oms(oms.engine, "oms")


def _other_columns(oms, edge, place):
    # The simulation ignores blanks at the end, as all collations but those of a new MySQL do.
    blank = "" if oms.engine.kind == "mysql" else " "
    oms.engine.sql(
        "drop table oms_cm.location_cm",
        "create table oms_cm.location_cm (region_code int primary key, Url text, note blob,"
        " ratio double, at datetime(3) null)",
        f"insert into oms_cm.location_cm values (1, '{OLD}',"
        " X'00FF', 0.1, '2020-02-02 02:02:02.5'),"
        " (2, 'x', null, 1e10, null)",
        "update oms_cm.resource_group set name = ' 1' where id = 8",
        f"update oms_cm.host set ip = 'HOST.Example{blank}' where id = 3",
    )
    one = edge()
    scope = one.preflight(1)
    asked = [scope.prose, scope.shown, one.check_left_over(), one.hosts(1), one.hosts(2)]
    asked.append(one.check_hosts_online(1, "oms_hb1", ["host.example"], 200))
    lease = one.lease_take("r", "me")
    to = place()
    one.clear_region(ClearRows(1, ALL), lease=lease, backup_dir=to, mirror=nowhere)
    one.restore_region(RESTORE, lease=lease, backup_dir=to)
    return [*asked, one.rows_as_saved(1, to)]


@shared
def no_oms_yet(oms, edge, place):
    for schema in ("rm", "cm", "hb1"):
        oms.engine.sql(f"drop database oms_{schema}")
    one = edge()
    asked = [one.exists(), one.clusters(), one.hosts(1), one.beats("oms_hb1"), one.lease_holder()]
    lease = one.lease_take("r", "me")
    asked.append(outcome(lambda: edge().lease_take("other", "you")))
    to = place()
    asked.append(one.save(1, to, "r", fresh=True).rows)
    create_oms(oms.engine, "oms")
    one.lease_renew(lease)
    asked.append(outcome(lambda: edge().lease_take("other", "you")))
    fill(oms.engine, "oms")
    asked.append(one.restore_region(RestoreRows(1, saved=True), lease=lease, backup_dir=to).rows)
    asked.append(oms.dump())
    one.lease_release(lease)
    return [*asked, one.lease_holder()]


@shared
def leases(oms, edge, place):
    one = edge()
    first = one.lease_take("r1", "me")
    asked = [first.token, outcome(lambda: one.lease_take("r2", "you"))]
    second = one.lease_take("r1", "me")
    asked += [second.token, outcome(lambda: one.lease_renew(first))]
    one.lease_renew(second)
    asked.append(outcome(lambda: one.lease_break("r1", still=0, watch=0, wait=lambda s: None)))
    expired = (
        "update oms_rm.omsfab_lease set expires = utc_timestamp(6) - interval 300 second,"
        " renewed = utc_timestamp(6) - interval 400 second"
    )
    oms.engine.sql(expired)
    asked.append(outcome(lambda: one.lease_take("r1", "else")))
    oms.engine.sql(expired)
    asked.append(outcome(lambda: one.lease_break("r9", still=0, watch=0, wait=lambda s: None)))
    asked.append(outcome(lambda: one.lease_breakable("r1")))
    asked.append(outcome(lambda: one.lease_break("r1", still=0, watch=0, wait=lambda s: None)))
    asked.append(outcome(lambda: one.lease_renew(second)))
    asked.append(outcome(lambda: one.lease_release(second)))
    third = one.lease_take("r3", "you")
    clear = ClearRows(1, ALL)
    asked.append(
        outcome(lambda: one.clear_region(clear, lease=second, backup_dir=place(), mirror=nowhere))
    )
    one.lease_release(third)
    oms.engine.sql("delete from oms_rm.omsfab_lease")
    asked.append(outcome(lambda: one.lease_renew(third)))
    return [*asked, third.token]


def _ways(rows: str) -> Callable[..., Any]:
    def scenario(oms, edge, place):
        one, to = edge(), place()
        scope = one.preflight(1, rows=rows)
        clear = ClearRows(1, ALL, rows=rows, old=OLD, new=NEW, shown=scope.shown)
        lease = one.lease_take("r1", "me")
        asked = [one.changed_rows(clear), one.save(1, to, "r1").rows, oms.dump()]
        done = one.clear_region(clear, lease=lease, backup_dir=to, mirror=nowhere)
        asked += [done.rows, oms.dump(), one.marks("r1", 1)]
        again = one.clear_region(clear, lease=lease, backup_dir=to, mirror=nowhere)
        keep = KeepRows(clear)
        asked += [again.already, one.deleted_by("r1", 1)]
        asked.append(
            outcome(lambda: one.keep_region(keep, lease=lease, backup_dir=to, mirror=nowhere))
        )
        oms.engine.sql("insert into oms_cm.host (ip, resource_group_id) values ('10.0.0.3', 7)")
        for _ in range(3):
            asked.append(
                outcome(lambda: one.keep_region(keep, lease=lease, backup_dir=to, mirror=nowhere))
            )
        oms.engine.sql(*INITIALISED)
        asked.append(one.check_rows_back(1, to, OLD, NEW) is None)
        asked += [one.check_cm_url(1, NEW, OLD), one.check_left_over()]
        asked.append(outcome(lambda: one.others_unchanged(1, to)))
        back = one.restore_region(RESTORE, lease=lease, backup_dir=to)
        asked += [back.rows, oms.dump(), one.marks("r1", 1), one.rows_as_saved(1, to)]
        again = one.restore_region(RESTORE, lease=lease, backup_dir=to)
        asked += [again.already, oms.dump()]
        one.lease_release(lease)
        return asked

    return scenario


SCENARIOS["rows_go_and_come_back"] = _ways("delete")
SCENARIOS["rows_change_and_come_back"] = _ways("update")


@shared
def hosts_dropped(oms, edge, place):
    one, to = edge(), place()
    lease = one.lease_take("r1", "me")
    one.save(1, to, "r1")
    oms.engine.sql("insert into oms_cm.host (ip, resource_group_id) values ('10.0.0.5', 7)")
    drop = DropHosts(1, ("10.0.0.5", "10.0.0.3"))
    asked = [one.drop_hosts(drop, lease=lease, backup_dir=to).rows, oms.dump()]
    oms.engine.sql("update oms_cm.host set ip = '10.9.9.9' where id = 3")
    return [*asked, one.rows_as_saved(1, to) is None]


@shared
def referred_to(oms, edge, place):
    oms.engine.sql(
        "create table oms_cm.plain (id int primary key, hostId int, group_id varchar(9), x_id int)",
        "insert into oms_cm.plain values (1, 1, '7', 1), (2, 2, '8', null), (3, 99, null, 7)",
        "create table oms_rm.task (id int primary key, machine bigint,"
        " constraint holds foreign key (machine) references oms_cm.host (id) on delete restrict)",
        "insert into oms_rm.task values (1, 2)",
    )
    try:
        one, to = edge(), place()
        asked = [one.preflight(1).references]
        lease = one.lease_take("r1", "me")
        clear = ClearRows(1, ALL)
        asked.append(
            outcome(lambda: one.clear_region(clear, lease=lease, backup_dir=to, mirror=nowhere))
        )
        oms.engine.sql("delete from oms_rm.task")
        one.clear_region(clear, lease=lease, backup_dir=to, mirror=nowhere)
        asked += [oms.dump(), one.check_rows_back(1, to, OLD, NEW) is None]
        one.restore_region(RESTORE, lease=lease, backup_dir=to)
        return [*asked, oms.dump()]
    finally:
        oms.engine.sql("drop table oms_rm.task", "drop table oms_cm.plain")


@shared
def locked_rows(oms, edge, place):
    """A DBA holds a row: the clear says so after its limit, and nothing is changed."""
    one = edge()
    lease = one.lease_take("r1", "me")
    clear = ClearRows(1, ALL)
    asked = []
    for text in (
        "update oms_cm.host set host_status = 'X' where id = 1",
        "update oms_cm.host set host_status = 'X' where id = 3",
        "select token from oms_rm.omsfab_lease for update",
    ):
        with contextlib.closing(oms.engine.connect(autocommit=False)) as dba:
            with dba.cursor() as cursor:
                cursor.execute("set session transaction isolation level read committed")
                cursor.execute("start transaction")
                cursor.execute(text)
            asked.append(
                outcome(
                    lambda: one.clear_region(clear, lease=lease, backup_dir=place(), mirror=nowhere)
                )
            )
            asked.append(outcome(lambda: one.lease_renew(lease)))
            with dba.cursor() as cursor:
                cursor.execute("rollback")
    return [*asked, oms.dump()]


@shared
def killed(oms, edge, place):
    """A DBA ends the connection of a transaction between two statements."""
    one, to = edge(), place()
    lease = one.lease_take("r1", "me")

    def kill(path: Path) -> None:
        query = "select id from information_schema.processlist where user = 'oms'"
        with contextlib.closing(oms.engine.connect()) as dba, dba.cursor() as cursor:
            cursor.execute(query)
            for (number,) in cursor.fetchall():
                with contextlib.suppress(pymysql.Error):
                    cursor.execute(f"kill {number}")

    clear = ClearRows(1, ALL)
    asked = [outcome(lambda: one.clear_region(clear, lease=lease, backup_dir=to, mirror=kill))]
    return [*asked, oms.dump()]


@shared
def late_rows(oms, edge, place):
    """Rows that come between backup and DELETE; others that are edited."""
    one = edge()
    lease = one.lease_take("r1", "me")
    texts = iter(
        [
            "insert into oms_cm.host (ip, resource_group_id) values ('10.0.0.8', 7)",
            "insert into oms_cm.resource_group (name) values ('3')",
        ]
    )

    def write(path: Path) -> None:
        for text in texts:
            oms.engine.sql(text)
            return

    clear = ClearRows(1, ALL)
    asked = [
        outcome(lambda: one.clear_region(clear, lease=lease, backup_dir=place(), mirror=write))
    ]
    return [*asked, oms.dump()]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_answered_alike(oms, place, name):
    """All calls of the edge in one story: each statement gets the same answer from both."""
    both(oms, lambda one, edge: SCENARIOS[name](one, edge, place))


def test_rights_are_refused_alike(oms, place):
    """A user without a right gets the same errors, statement by statement."""
    engine = oms.engine
    engine.sql(
        "drop user if exists 'poor'@'%'",
        "create user 'poor'@'%' identified by 'p'",
        "grant all on oms_rm.* to 'poor'@'%'",
        "grant select, insert, delete on oms_cm.* to 'poor'@'%'",
    )

    def scenario(here, edge):
        if isinstance(here.engine, Simulated):
            here.engine.db.denied |= {
                ("poor", verb, "oms_cm") for verb in ("update", "create", "drop")
            }
        one = edge(user="poor", password=Secret("p"))
        asked = [
            outcome(functools.partial(one.preflight, 1, rows=rows)) for rows in ("delete", "update")
        ]
        lease = one.lease_take("r1", "me")
        clear = ClearRows(1, ALL, rows="update", old=OLD, new=NEW)
        asked.append(
            outcome(
                lambda: one.clear_region(clear, lease=lease, backup_dir=place(), mirror=nowhere)
            )
        )
        return [*asked, here.dump()]

    both(oms, scenario)


CUT_FAR = 400


@pytest.mark.parametrize("phase", ["before", "after"])
def test_a_cut_line_is_answered_alike(oms, place, phase):
    """The line is cut at one statement of clear, keep and restore after the other."""
    records = {}
    for n in range(1, CUT_FAR, CUTS):

        def scenario(here, edge, n=n):
            fill(here.engine, "oms")
            here.engine.sql("drop table if exists oms_rm.omsfab_lease")
            here.engine.sql("drop table if exists oms_rm.omsfab_marker")
            one, to = edge(limits=replace(PATIENT, quiet=0)), place()
            lease = one.lease_take("r1", "me")
            recorder = one._server.connect
            start = len(recorder.log)
            recorder.cut = (start + n, phase)
            clear = ClearRows(1, ALL)
            asked = [
                outcome(
                    lambda: one.clear_region(clear, lease=lease, backup_dir=to, mirror=nowhere)
                ),
                here.dump(),
                outcome(
                    lambda: one.keep_region(
                        KeepRows(clear), lease=lease, backup_dir=to, mirror=nowhere
                    )
                ),
                outcome(lambda: one.restore_region(RESTORE, lease=lease, backup_dir=to)),
                here.dump(),
            ]
            records[n] = len(recorder.log) - start
            return asked

        both(oms, scenario)
        if records[n] < n:
            break
    assert max(records) > 60


# --- random schedules ------------------------------------------------------------------------


HOST, LEASE, MARKER = "`oms_cm`.`host`", "`oms_rm`.`omsfab_lease`", "`oms_rm`.`omsfab_marker`"
GROUP = "`oms_cm`.`resource_group`"
R1 = "cast(`host_status` as binary) = X'7231'"


def statement(rng: random.Random) -> tuple[str, tuple[Any, ...]]:
    """One that omsfab sends, or OMS, or a DBA."""
    number, run = rng.choice([1, 2, 3, 9]), rng.choice(["r1", "r2"])
    ip = rng.choice(["10.0.0.1", "10.0.0.3", "10.1.0.1", "10.7.7.7"])
    where = rng.choice(
        [f"`id` = {number}", "`resource_group_id` = 7", "1 = 1", "1 = 0", f"`ip` = '{ip}'",
         f"cast(`ip` as binary) = {sql.hexadecimal(ip.encode())}", "(`id` = 1) is not true",
         f"`resource_group_id` in (select `id` from {GROUP} where `name` = '2')"]
    )  # fmt: skip
    columns = [sql.exact(name, "varchar") for name in ("id", "ip", "host_status")]
    return rng.choice(
        [
            (sql.lease_read(LEASE, lock=rng.random() < 0.7), ("oms",)),
            (sql.lease_read(LEASE, lock=True), ("oms",)),
            (sql.lease_take(LEASE), (number, run, "me", 120, "oms")),
            (sql.lease_renew(LEASE), (120, "oms", number, run)),
            (sql.lease_free(LEASE), ("oms", number, run)),
            (sql.lease_first(LEASE), (rng.choice(["oms", "else"]),)),
            (f"delete from {LEASE} where `cluster` = 'else'", ()),
            (sql.marker_write(MARKER), (run, "clear@1", number, "{}")),
            (sql.markers_read(MARKER, 2), (run, "clear@1", "dirty@1")),
            (sql.marker_drop(MARKER), (run, "clear@1")),
            (sql.select_rows(HOST, columns, where), ()),
            (sql.select_rows(HOST, columns, where, lock=True), ()),
            (sql.count(HOST, where), ()),
            (sql.delete_rows(HOST, where), ()),
            (sql.insert_row(HOST, ["id", "ip"], [str(number), f"'{ip}'"]), ()),
            (f"update {HOST} set `host_status` = %s where {where}", (run,)),
            (sql.update_value(HOST, "ip", f"'{ip}'", where, R1), ()),
            (sql.hosts(HOST, GROUP), ("1",)),
            (sql.whole([(HOST, columns, [where, "`id` = 1"]), (GROUP, columns[:1], [])], 9), ()),
        ]
    )  # fmt: skip


@dataclass(frozen=True)
class Step:
    """``who`` says ``text``; an empty text waits until all that wait for a lock are told."""

    who: int
    text: str
    args: tuple[Any, ...] = ()


def schedule(seed: int) -> list[Step]:
    rng = random.Random(seed)
    people = rng.choice([2, 2, 3])
    steps = []
    for _ in range(rng.randint(8, 30)):
        who = rng.randrange(people)
        if rng.random() < 0.2:
            steps.append(Step(who, rng.choice([sql.BEGIN, sql.COMMIT, sql.ROLLBACK])))
        else:
            steps.append(Step(who, *statement(rng)))
    if rng.random() < 0.1:
        steps.append(Step(-1, ""))
    ends = [Step(who, sql.ROLLBACK) for who in range(people)]
    return [
        *(Step(who, sql.BEGIN) for who in range(people) if rng.random() < 0.7),
        *steps,
        *ends,
        *ends,
        Step(-1, ""),  # who waits cannot say it, and OceanBase lets two wait for each other
        *ends,
    ]


class Person:
    """A connection with a thread of its own, so that it can wait for a lock."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.todo: queue.Queue[Any] = queue.Queue()
        self.answers: queue.Queue[Any] = queue.Queue()
        self.busy = False
        threading.Thread(target=self._live, daemon=True).start()

    def say(self, text: str, args: tuple[Any, ...]) -> None:
        self.busy = True
        self.todo.put((text, args))

    def _live(self) -> None:
        for text, args in iter(self.todo.get, None):
            try:
                with self.connection.cursor() as cursor:
                    count = cursor.execute(text, args or None)
                    self.answers.put(told(text, count, list(cursor.fetchall())))
            except pymysql.Error as exc:
                self.answers.put(("error", exc.args[0]))
            except BaseException as exc:
                self.answers.put(("broken", repr(exc)))


def prepare(oms: Oms) -> None:
    oms.engine.sql("drop table if exists oms_rm.omsfab_lease")
    oms.engine.sql("drop table if exists oms_rm.omsfab_marker")
    oms.engine.sql(sql.create_lease(LEASE), sql.create_marker(MARKER))
    fill(oms.engine, "oms")
    oms.engine.sql(
        f"insert into {LEASE} values ('oms', 1, 'r1', 'me',"
        " '2020-01-01', '2020-01-01', '2020-01-01')"
    )


LOCK = 4
SETTINGS = {
    "oceanbase": [f"ob_trx_lock_timeout = {LOCK}000000", "ob_query_timeout = 20000000"],
    "mariadb": [f"innodb_lock_wait_timeout = {LOCK}"],
    "mysql": [f"innodb_lock_wait_timeout = {LOCK}"],
}


def people(oms: Oms, steps: list[Step]) -> list[Person]:
    made = []
    for _ in range(1 + max(step.who for step in steps)):
        words = {"user": "oms", "password": PASSWORD.encode(), "autocommit": True}
        connection = oms.engine.connect(**words)
        with connection.cursor() as cursor:
            for text in SETTINGS[oms.engine.kind]:
                cursor.execute(f"set session {text}")
            cursor.execute(f"set session sql_mode = '{sql.SQL_MODE}'")
            cursor.execute("set session transaction isolation level read committed")
            cursor.execute(f"set session {sql.UTC}")
        made.append(Person(connection))
    return made


Told = list[tuple[int, Any]]


class Turns:
    """Lets the threads of a simulated server act one after the other.

    A thread that waits for a lock is in ``waiting`` with the event that lets it look again.
    """

    def __init__(self, engine: Simulated) -> None:
        self.engine = engine
        self.waiting: list[tuple[threading.Thread, threading.Event]] = []
        self.stopped: queue.Queue[None] = queue.Queue()
        engine.db.wait = self.wait

    def wait(self, seconds: float) -> None:
        event = threading.Event()
        self.waiting.append((threading.current_thread(), event))
        self.stopped.put(None)
        event.wait()


def imitate(steps: list[Step]) -> Callable[[str], tuple[list[Told], Any]]:
    """The schedule on the simulated server: after each step, who was answered what."""

    def play(kind: str) -> tuple[list[Told], Any]:
        here = simulated(kind)
        prepare(here)
        engine = here.engine
        assert isinstance(engine, Simulated)
        turns = Turns(engine)
        persons = people(here, steps)

        def settle(who: int) -> Any:
            """Wait until this person is answered, or waits for a lock."""
            while True:
                with contextlib.suppress(queue.Empty):
                    answer = persons[who].answers.get(timeout=0.0005)
                    persons[who].busy = False
                    return answer
                with contextlib.suppress(queue.Empty):
                    turns.stopped.get_nowait()
                    return None

        told_by_step: list[Told] = []
        order: list[int] = []
        """Who waits, the first first."""

        def look_again(told: Told) -> None:
            moved = True
            while moved:
                moved = False
                for who in [*order]:
                    n = order.index(who)
                    turns.waiting.pop(n)[1].set()
                    order.pop(n)
                    answer = settle(who)
                    if answer is None:
                        # who waits again stands where it stood
                        order.insert(n, who)
                        turns.waiting.insert(n, turns.waiting.pop())
                    else:
                        told.append((who, answer))
                        moved = True

        for step in steps:
            told: Told = []
            if step.who < 0:
                engine.now += LOCK + 1
                look_again(told)
            elif not persons[step.who].busy:
                persons[step.who].say(step.text, step.args)
                answer = settle(step.who)
                if answer is None:
                    order.append(step.who)
                else:
                    told.append((step.who, answer))
                    look_again(told)
            told_by_step.append(told)
        assert not order
        for person in persons:
            person.todo.put(None)
        return told_by_step, here.dump()

    return play


def really(oms: Oms, steps: list[Step], expected: list[Told]) -> tuple[list[Told], Any]:
    """The same on the real one; who is expected to wait must not be answered meanwhile."""
    prepare(oms)
    persons = people(oms, steps)
    found: list[Told] = []
    for step, wanted in zip(steps, expected, strict=True):
        told: Told = []
        if step.who >= 0 and not persons[step.who].busy:
            persons[step.who].say(step.text, step.args)
        for who, _ in wanted:
            with contextlib.suppress(queue.Empty):
                told.append((who, persons[who].answers.get(timeout=LOCK + 2)))
                persons[who].busy = False
        if any(person.busy for person in persons):
            threading.Event().wait(0.03)
        for who, person in enumerate(persons):
            with contextlib.suppress(queue.Empty):
                told.append((who, person.answers.get_nowait()))
                person.busy = False
        found.append(told)
        if sorted(told, key=repr) != sorted(wanted, key=repr):
            break
    for person in persons:
        person.todo.put(None)
        with contextlib.suppress(pymysql.Error):
            person.connection._force_close()
    return found, oms.dump()


def story(steps: list[Step], told: list[Told]) -> Iterator[str]:
    for n, (step, answers) in enumerate(zip(steps, told, strict=False)):
        yield f"{n:3} {step.who}: {step.text} {step.args or ''}"
        yield from (f"        -> {who}: {answer}" for who, answer in answers)


@functools.cache
def seeds() -> list[int]:
    first = int(os.environ.get("OMSFAB_SEED", "1"))
    return [*range(first, first + SCHEDULES)]


def test_random_schedules_are_answered_alike(oms):
    """Two or three connections, statement by statement in turn: the same answers, the same waits,
    and the same rows in the end."""
    wrong = []
    for seed in seeds():
        steps = schedule(seed)
        expected, rows = imitate(steps)(oms.engine.kind)
        found, rows_too = really(oms, steps, expected)
        for n, (one, other) in enumerate(zip(found, expected, strict=False)):
            if sorted(one, key=repr) != sorted(other, key=repr):
                lines = [*story(steps[: n + 1], expected), f"really: {one}"]
                wrong.append("\n".join([f"seed {seed}, step {n}", *lines]))
                break
        else:
            if rows_too != rows:
                wrong.append(f"seed {seed}: {rows_too} != {rows}")
        if len(wrong) > 3:
            break
    assert not wrong, "\n".join(["", *wrong])
