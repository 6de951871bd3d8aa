"""What omsfab keeps in a MetaDB, removed: tables of this OMS alone, rows where others have some."""

from __future__ import annotations

import pytest

from omsfab.errors import LockLost, OmsfabError
from omsfab.metadb import sql
from omsfab.metadb.client import Place
from tests.wire.metadb_fixtures import Oms, engine, oms
from tests.wire.test_metadb import user

__all__ = ["engine", "oms"]

BOTH = ("omsfab_lease", "omsfab_marker")


@pytest.fixture
def edge(oms: Oms):
    return oms.engine.edge()


def common(oms: Oms) -> None:
    """The schema of its own, in which another OMS of the same server has its lock, too."""
    oms.engine.sql("create database omsfab")
    for table in ("lease", "marker"):
        oms.engine.sql(getattr(sql, f"create_{table}")(f"omsfab.omsfab_{table}"))
    free = "utc_timestamp(6), utc_timestamp(6), utc_timestamp(6)"
    oms.engine.sql(
        f"insert into omsfab.omsfab_lease values ('oms_rm', 4, '', '', {free}),"
        f" ('other_rm', 7, 'theirs', 'wu@jump2', {free})",
        "insert into omsfab.omsfab_marker values"
        " ('ours', 'clear@1', 4, '{}', utc_timestamp(6)),"
        " ('theirs', 'clear@1', 7, '{}', utc_timestamp(6))",
    )


def names(oms: Oms, schema: str):
    text = f"select table_name from information_schema.tables where table_schema = '{schema}'"
    return {row[0] for row in oms.engine.sql(text)}


def test_our_tables_go_and_no_row_of_the_oms(edge, oms):
    """Whole, with lock and markers; told before, nothing to tell afterwards."""
    before = oms.dump()
    lease = edge.lease_take("run-1", "li@jump1")
    told = edge.own_places()
    edge.forget(lease, ["run-1"])

    assert (Place("oms_rm", BOTH),) == told
    assert not {*BOTH} & names(oms, "oms_rm")
    assert () == edge.own_places()
    assert before == oms.dump()


def test_in_a_schema_that_others_use_only_our_rows_go(edge, oms):
    """Its tables stay, with the lock and the markers of the other OMS."""
    common(oms)
    lease = edge.lease_take("run-1", "li@jump1")
    told = {one.schema: one for one in edge.own_places(["ours"])}
    edge.forget(lease, ["ours"])
    left = oms.engine.ask(
        "select cluster, token, run_id from omsfab.omsfab_lease",
        "select run_id from omsfab.omsfab_marker",
    )

    assert (("other_rm",), False) == (told["omsfab"].others, told["omsfab"].goes)
    assert [[("other_rm", 7, "theirs")], [("theirs",)]] == left
    assert [False] == [one.ours for one in edge.own_places(["ours"])]
    oms.engine.sql("drop database omsfab")


def test_a_schema_of_our_own_goes_whole(edge, oms):
    """Nobody else has a lock there."""
    common(oms)
    oms.engine.sql("delete from omsfab.omsfab_lease where cluster = 'other_rm'")
    edge.forget(edge.lease_take("run-1", "li@jump1"), [])

    assert [] == oms.engine.sql("show databases like 'omsfab'")


def test_a_schema_of_that_name_keeps_what_is_no_table_of_ours(edge, oms):
    common(oms)
    oms.engine.sql("delete from omsfab.omsfab_lease where cluster = 'other_rm'")
    oms.engine.sql("create table omsfab.notes (n int)")
    edge.forget(edge.lease_take("run-1", "li@jump1"), [])

    assert {"notes"} == names(oms, "omsfab")
    assert () == edge.own_places()
    oms.engine.sql("drop database omsfab")


def test_what_was_cut_off_goes_on(edge, oms):
    """The markers are gone, the lock is there: there is no whole place, so nobody can hold it."""
    edge.lease_release(edge.lease_take("run-1", "li@jump1"))
    oms.engine.sql("drop table oms_rm.omsfab_marker")

    assert (Place("oms_rm", ("omsfab_lease",)),) == edge.own_places()
    edge.forget(None, [])
    assert () == edge.own_places()


def test_who_has_lost_the_lock_removes_nothing(edge, oms):
    """Somebody else's run may need the markers by now."""
    lease = edge.lease_take("run-1", "li@jump1")
    oms.engine.sql("update oms_rm.omsfab_lease set token = token + 1, run_id = 'run-2'")

    with pytest.raises(LockLost, match="DB-031"):
        edge.forget(lease, ["run-1"])

    assert {*BOTH} <= names(oms, "oms_rm")


def test_a_user_who_may_drop_no_table_is_told_what_a_dba_types(edge, oms):
    """The rights that a run needs do not have DROP among them."""
    edge.lease_release(edge.lease_take("run-1", "li@jump1"))
    rights = "select, insert, update, delete, create"
    poor = user(oms, "poor", f"{rights} on oms_rm.*", f"{rights} on oms_cm.*")

    with pytest.raises(OmsfabError, match="DB-027") as refused:
        poor.forget(poor.lease_take("run-2", "li@jump1"), [])

    assert "drop table if exists oms_rm.omsfab_lease, oms_rm.omsfab_marker" in refused.value.fix
