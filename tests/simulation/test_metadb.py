"""The simulated MetaDB: transactions, locks and their limits, lost connections, yesterday."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pymysql
import pytest

from omsfab.errors import OmsfabError
from omsfab.fleet.model import MetaDb as Settings
from omsfab.metadb.client import Limits, MetaDbEdge
from omsfab.plan.records import ClearRows, RestoreRows
from omsfab.secret import Secret
from tests.simulation.metadb import Connection, MetaDb, NotSimulated

START = 1_800_000_000.0
OLD, NEW = "http://10.0.0.1:8088", "http://10.0.0.9:8088"


class World:
    """A clock that moves where somebody waits; ``meanwhile`` is what others do then, in turn."""

    def __init__(self, kind: str = "oceanbase") -> None:
        self.now = START
        self.waits: list[float] = []
        self.meanwhile: list[Callable[[], object]] = []
        self.db = MetaDb(lambda: self.now, self.wait, kind=kind)
        self.db.create_oms()
        self.db.add_region(1, OLD, ["10.0.0.1", "10.0.0.3"])
        self.db.add_region(2, "http://10.1.0.1:8088", ["10.1.0.1"], default=False)

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        if self.meanwhile:
            self.meanwhile.pop(0)()
        else:
            self.now += seconds

    def edge(self) -> MetaDbEdge:
        metadb = Settings(
            host="10.0.9.9", port=2881, user="oms", password=Secret("s"),
            rm_db="oms_rm", cm_db="oms_cm",
        )  # fmt: skip
        return MetaDbEdge(metadb, self.db.connect, limits=Limits(quiet=0, patience=0.1))

    def statuses(self, connection: Connection) -> list[str]:
        return [row[0] for row in ask(connection, "select host_status from oms_cm.host")]


@pytest.fixture(params=["oceanbase", "mariadb", "mysql"])
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


def ask(connection: Connection, text: str, *args: object) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(text, args or None)
        return list(cursor.fetchall())


def code(error: pytest.ExceptionInfo[pymysql.Error]) -> int:
    return int(error.value.args[0])


TAKE = "update oms_cm.host set host_status = 'X' where ip = '10.0.0.1'"


# --- transactions ----------------------------------------------------------------------------


def test_nobody_sees_what_is_not_committed(world: World) -> None:
    """Another connection reads the former value until COMMIT; the writer reads its own."""
    one, two = world.db.connect(), world.db.connect()
    ask(one, "start transaction")
    ask(one, TAKE)
    assert ["X", "ONLINE", "ONLINE"] == world.statuses(one)
    assert ["ONLINE", "ONLINE", "ONLINE"] == world.statuses(two)
    ask(one, "commit")
    assert ["X", "ONLINE", "ONLINE"] == world.statuses(two)


def test_rollback_brings_back_rows_and_takes_out_new_ones(world: World) -> None:
    """A delete and an insert of one transaction are as if they had not been."""
    before = world.db.rows("oms_cm", "host")
    one = world.db.connect()
    ask(one, "start transaction")
    ask(one, "delete from oms_cm.host where ip = '10.0.0.1'")
    ask(one, "insert into oms_cm.host (ip, resource_group_id) values ('10.0.0.7', 1)")
    assert 3 == len(world.statuses(one))
    ask(one, "rollback")
    assert before == world.db.rows("oms_cm", "host")


def test_repeatable_read_keeps_its_snapshot(world: World) -> None:
    """READ COMMITTED sees what others commit meanwhile, REPEATABLE READ does not."""
    seen = {}
    for level in ("read committed", "repeatable read"):
        world.db.update("oms_cm", "host", {}, host_status="ONLINE")
        one = world.db.connect()
        ask(one, f"set session transaction isolation level {level}")
        ask(one, "start transaction")
        world.statuses(one)
        world.db.update("oms_cm", "host", {}, host_status="OFFLINE")
        seen[level] = world.statuses(one)[0]
        ask(one, "commit")
    assert {"read committed": "OFFLINE", "repeatable read": "ONLINE"} == seen


def test_a_failed_statement_leaves_nothing_behind(world: World) -> None:
    """The second row of an insert is a duplicate: the first is not there, either."""
    one = world.db.connect()
    ask(one, "start transaction")
    with pytest.raises(pymysql.IntegrityError) as raised:
        ask(one, "insert into oms_cm.host (ip, resource_group_id) values ('a', 1), ('10.0.0.3', 1)")
    ask(one, "commit")
    assert 1062 == code(raised)
    assert ["10.0.0.1", "10.0.0.3", "10.1.0.1"] == [
        r["ip"] for r in world.db.rows("oms_cm", "host")
    ]


# --- locks -----------------------------------------------------------------------------------


def test_a_locked_row_is_waited_for(world: World) -> None:
    """The second writer goes on when the first has committed, and sees what it wrote."""
    one, two = world.db.connect(), world.db.connect()
    ask(one, "start transaction")
    ask(one, TAKE)
    world.meanwhile = [lambda: ask(one, "commit")]
    row = ask(two, "select host_status from oms_cm.host where ip = '10.0.0.1' for update")
    assert (1, [("X",)]) == (len(world.waits), row)


def test_the_wait_for_a_lock_has_an_end(world: World) -> None:
    """Error 1205 after the limit of the session, by the clock; the transaction lives on."""
    one, two = world.db.connect(), world.db.connect()
    ask(one, "start transaction")
    ask(one, TAKE)
    limit = {"ob_trx_lock_timeout": 10_000_000} if world.db.kind.name == "oceanbase" else {}
    for name, value in (limit or {"innodb_lock_wait_timeout": 10}).items():
        ask(two, f"set session {name} = {value}")
    ask(two, "start transaction")
    ask(two, "update oms_cm.host set host_status = 'Y' where ip = '10.1.0.1'")
    with pytest.raises(pymysql.OperationalError) as raised:
        ask(two, TAKE)
    assert (1205, 10.0) == (code(raised), world.now - START)
    ask(two, "commit")
    assert ["ONLINE", "ONLINE", "Y"] == world.statuses(two)


def test_two_that_wait_for_each_other_are_told(world: World) -> None:
    """Error 1213 for the one who closes the circle, whose transaction is rolled back; OceanBase
    lets both wait until their limits."""
    one, two = world.db.connect(), world.db.connect()
    for connection, ip in ((one, "10.0.0.1"), (two, "10.1.0.1")):
        ask(connection, "start transaction")
        ask(connection, "select id from oms_cm.host where ip = %s for update", ip)
    errors = []

    def close_the_circle() -> None:
        with pytest.raises(pymysql.Error) as raised:
            ask(two, TAKE)
        errors.append(code(raised))

    world.meanwhile = [close_the_circle]
    text = "update oms_cm.host set host_status = 'Z' where ip = '10.1.0.1'"
    if world.db.kind.innodb:
        assert (1, [1213]) == (one.cursor().execute(text), errors)
    else:
        with pytest.raises(pymysql.OperationalError) as raised:
            ask(one, text)
        assert (1205, [1205]) == (code(raised), errors)


def test_a_unique_key_waits_for_who_decides_about_it(world: World) -> None:
    """A key that is being inserted is waited for: free after a rollback, 1062 after a commit."""
    text = "insert into oms_cm.host (ip, resource_group_id) values ('10.0.0.7', 1)"
    one, two = world.db.connect(), world.db.connect()
    ask(one, "start transaction")
    ask(one, text)
    world.meanwhile = [lambda: ask(one, "rollback")]
    assert 1 == two.cursor().execute(text)
    world.db.delete("oms_cm", "host", ip="10.0.0.7")
    ask(one, "start transaction")
    ask(one, text)
    world.meanwhile = [lambda: ask(one, "commit")]
    with pytest.raises(pymysql.IntegrityError):
        ask(two, text)


# --- connections -----------------------------------------------------------------------------


def test_a_lost_client_holds_its_locks_until_the_server_knows(world: World) -> None:
    """The line is cut in a transaction, the server rolls back 30 s later: so long others wait."""
    one, two = world.db.connect(), world.db.connect()
    ask(one, "start transaction")
    ask(one, TAKE)
    with pytest.raises(pymysql.OperationalError):
        one.cut(after=30)
    if world.db.kind.name == "oceanbase":
        ask(two, "set session ob_query_timeout = 40000000")
    assert 1 == two.cursor().execute(TAKE.replace("X", "Y"))
    assert (30.0, ["Y", "ONLINE", "ONLINE"]) == (world.now - START, world.statuses(two))
    with pytest.raises(pymysql.InterfaceError):
        ask(one, "commit")


def test_an_idle_transaction_is_ended(world: World) -> None:
    """As omsfab sets its sessions up, a holder that sleeps for 60 s has lost its transaction."""
    one, two = world.db.connect(), world.db.connect()
    settings = {
        "oceanbase": "wait_timeout = 60", "mariadb": "idle_transaction_timeout = 60",
        "mysql": "wait_timeout = 60",
    }  # fmt: skip
    ask(one, f"set session {settings[world.db.kind.name]}")
    ask(one, "start transaction")
    ask(one, TAKE)
    world.now += 59
    assert 1 == two.cursor().execute(TAKE.replace("X", "Y"))
    assert 60.0 == world.now - START
    with pytest.raises(pymysql.Error) as raised:
        ask(one, "commit")
    assert code(raised) in {2006, 2013}


def test_a_killed_connection_has_changed_nothing(world: World) -> None:
    """KILL rolls back at once; the killed one hears of it with its next statement."""
    one, two = world.db.connect(), world.db.connect()
    ask(one, "start transaction")
    ask(one, TAKE)
    ask(two, "kill %s", one.id)
    assert ["ONLINE"] * 3 == world.statuses(two)
    with pytest.raises(pymysql.OperationalError):
        ask(one, "commit")
    with pytest.raises(pymysql.Error) as raised:
        ask(two, "kill %s", one.id)
    assert 1094 == code(raised)


def test_the_hook_loses_a_statement_or_its_reply(world: World) -> None:
    """Cut before COMMIT nothing was done; cut after it, it was."""
    for phase, expected in (("before", "ONLINE"), ("after", "X")):
        one = world.db.connect()
        ask(one, "start transaction")
        ask(one, TAKE)

        def hook(connection: Connection, text: str, at: str, phase: str = phase) -> None:
            if (text, at) == ("commit", phase):
                connection.cut()

        world.db.on_statement = hook
        with pytest.raises(pymysql.OperationalError):
            ask(one, "commit")
        world.db.on_statement = None
        assert expected == world.db.rows("oms_cm", "host")[0]["host_status"]


def test_yesterday_comes_back_whole(world: World) -> None:
    """A restored server has the rows and tables of then, and nobody is connected to it."""
    then = world.db.snapshot()
    before = world.db.rows("oms_cm", "host")
    one = world.db.connect()
    world.db.delete("oms_cm", "host")
    world.db.run("drop table oms_rm.cluster_info")
    world.db.restore(then)
    assert before == world.db.rows("oms_cm", "host")
    assert 2 == len(world.db.rows("oms_rm", "cluster_info"))
    with pytest.raises(pymysql.OperationalError):
        ask(one, "select 1")


def test_what_is_not_known_is_not_answered(world: World) -> None:
    """A text beyond the grammar is an error that shows it, and never an empty answer."""
    one = world.db.connect()
    for text in (
        "select host from oms_cm.host having 1",
        "optimize table oms_cm.host",
        "select f(1)",
    ):
        with pytest.raises(NotSimulated):
            ask(one, text)


# --- omsfab's own calls ----------------------------------------------------------------------


def clearing(edge: MetaDbEdge) -> ClearRows:
    scope = edge.preflight(1)
    tables = ("host", "location_cm", "resource_group", "cluster_info")
    return ClearRows(location=1, old=OLD, new=NEW, tables=tables, shown=scope.shown, rows="delete")


def test_rows_go_and_come_back(world: World, tmp_path: Path) -> None:
    """Preflight, lease, backup, delete and restore, as they are, leave all as it was."""
    before = world.db.snapshot()
    edge = world.edge()
    record, lease = clearing(edge), edge.lease_take("r1", "me")
    edge.clear_region(record, lease=lease, backup_dir=tmp_path, mirror=lambda path: None)
    assert ["10.1.0.1"] == [row["ip"] for row in world.db.rows("oms_cm", "host")]
    edge.restore_region(RestoreRows(location=1), lease=lease, backup_dir=tmp_path)
    edge.lease_renew(lease)
    edge.lease_release(lease)
    now = {(schema, name): sorted(rows) for schema, name, _, _, rows in world.db.snapshot().tables}
    for schema, name, _, _, rows in before.tables:
        assert sorted(rows) == now[schema, name]


def cutting(world: World, n: int, phase: str) -> list[str]:
    """Cut the line at the n-th statement from here; returns the statements that were said."""
    said: list[str] = []

    def hook(connection: Connection, text: str, at: str) -> None:
        if at == phase:
            said.append(text)
            if len(said) == n:
                connection.cut()

    world.db.on_statement = hook
    return said


@pytest.mark.parametrize("phase", ["before", "after"])
def test_rows_are_there_or_deleted_wherever_the_line_is_cut(phase: str, tmp_path: Path) -> None:
    """Cut at each statement of a clear in turn: all rows or none, and the answer says which."""
    outcomes = set()
    for n in range(1, 2000):
        world = World()
        edge = world.edge()
        record, lease = clearing(edge), edge.lease_take("r1", "me")
        said_so_far = cutting(world, n, phase)
        place = tmp_path / str(n)
        try:
            edge.clear_region(record, lease=lease, backup_dir=place, mirror=lambda path: None)
            said = "done"
        except OmsfabError as error:
            said = error.id
        world.db.on_statement = None
        left = len(world.db.rows("oms_cm", "host"))
        assert left in (1, 3)
        assert (said == "done") == (left == 1), (n, said)
        outcomes.add(said)
        if len(said_so_far) < n:
            break
    assert {"done", "DB-010"} <= outcomes
