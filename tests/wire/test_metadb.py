"""The MetaDB edge against a real OceanBase engine and a real MariaDB.

Source of the claims: tests/faults/README.md, section 3 (D..).
The oracle is plain SQL as another user, never omsfab.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pymysql
import pytest

from omsfab.errors import (
    Locked,
    LockLost,
    MetaDbAway,
    Mismatch,
    OmsfabError,
    OutcomeUnknown,
    PreflightError,
)
from omsfab.fleet.values import CmUrl
from omsfab.metadb import backup, sql
from omsfab.metadb.backup import BadBackup
from omsfab.metadb.client import Lease, LeaseKeeper, MetaDbEdge
from omsfab.metadb.connection import Link
from omsfab.plan.records import ClearRows, DropHosts, KeepRows, RestoreRows
from omsfab.secret import Secret
from tests.wire.metadb_fixtures import (
    NEW,
    OLD,
    OTHER,
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
    proxy,
)

__all__ = ["engine", "oms", "proxy"]

ALL = ("cluster_info", "location_cm", "host", "resource_group")
CLEAR, RESTORE = ClearRows(1, ALL), RestoreRows(1)
INITIALISED = (
    f"insert into oms_rm.cluster_info (code, cm_url) values (1, '{NEW}')",
    "insert into oms_cm.resource_group (id, name) values (99, '1')",
    "insert into oms_cm.host (ip, resource_group_id) values ('10.0.0.1', 99)",
    f"insert into oms_cm.location_cm (cm_location, cm_url) values ('1', '{NEW}')",
)
"""What docker_init.sh writes, with ids of its own."""
EMPTY: dict[str, list[object]] = {
    "rm.cluster_info": [], "cm.resource_group": [], "cm.host": [], "cm.location_cm": [],
}  # fmt: skip


@pytest.fixture
def edge(oms: Oms) -> MetaDbEdge:
    return oms.engine.edge()


@pytest.fixture
def lease(edge: MetaDbEdge) -> Lease:
    return edge.lease_take("run-1", "li@jump1")


# --- questions -------------------------------------------------------------------------------


def test_questions_find_what_sql_finds(edge, oms):
    """Regions, hosts and beats are those of the tables; the age is the database's own."""
    assert [(1, OLD, True), (2, OTHER, False)] == [
        (row.code, row.cm_url, row.is_default) for row in edge.clusters()
    ]
    assert [("10.0.0.1", "ONLINE"), ("10.0.0.3", "OFFLINE")] == [
        (row.ip, row.status) for row in edge.hosts(1)
    ]
    assert {"10.0.0.1": True, "10.0.0.3": False} == {
        ip: age < 200 for ip, age in edge.beats("oms_hb1").items()
    }
    assert {"enable": False, "enableHost": True} == edge.ha_config()
    assert oms.engine.kind == edge.facts().kind
    assert timedelta(0) <= edge.clock() - edge.facts().clock + timedelta(minutes=1)


def test_what_a_stop_would_interrupt_is_found(edge, oms):
    """C16: HA that is on, projects in any state but those that rest; none without the tables."""
    assert () == edge.traffic()

    place, columns = (
        oms.place("rm.oms_project"),
        "(project_name varchar(64), project_status varchar(32))",
    )
    on = """update %s set cfg_value = '{"enable": true}' where cfg_name = 'ha.config'"""
    rows = "('orders', 'RUNNING'), ('old', 'FINISHED'), ('odd', 'SOMETHING_NEW'), ('new', 'INIT')"
    oms.engine.sql(
        f"create table {place} {columns}",
        f"insert into {place} values {rows}",
        on % oms.place("rm.oms_normal_config"),
    )
    try:
        found = edge.traffic()
    finally:
        oms.engine.sql(f"drop table {place}")

    assert "ha.config" in found[0]
    assert ("project orders is RUNNING", "project odd is SOMETHING_NEW") == found[1:]


def test_a_fresh_metadb_is_not_an_error(oms):
    """Before the first initialisation there is no rm_db at all."""
    fresh = oms.engine.edge("never")

    assert False is fresh.exists()
    assert () == fresh.clusters()
    assert () == fresh.hosts(1)
    assert {} == fresh.beats("never_hb1")
    assert fresh.ha_config() is None


@pytest.mark.parametrize(
    ("url", "verdict"),
    [
        (str(OLD), None),
        ("HTTP://10.0.0.1:8088/", None),
        (str(NEW), f"cluster_info.cm_url is {OLD}, expected {NEW}"),
        ("https://10.0.0.1:8088", "cluster_info.cm_url is"),
        ("http://10.0.0.1:80880", "cluster_info.cm_url is"),
        ("http://10.0.0.1", "cluster_info.cm_url is"),
    ],
)
def test_cm_url_is_compared_by_scheme_host_and_port(edge, url, verdict):
    """C11: no substring match, and a trailing slash is no difference."""
    said = edge.check_cm_url(1, CmUrl.read(url))

    assert (verdict is None) == (said is None)
    assert (verdict or "") in (said or "")


def test_only_cluster_info_may_stop_a_run_by_what_it_says(edge, oms):
    """Nobody outside the vendor knows the columns of the other tables: what they say is told."""
    oms.engine.sql(f"update oms_rm.cluster_info set cm_url = '{NEW}' where code = 1")
    hard, told = edge.check_cm_url(1, NEW, OLD), edge.check_other_urls(1, NEW, OLD)
    oms.engine.sql(f"update oms_cm.location_cm set cm_url = '{NEW}' where cm_location = '1'")
    gone = edge.check_other_urls(1, NEW, OLD)
    oms.engine.sql("update oms_rm.cluster_info set region_cn = 'at 10.0.0.1:8088.' where code = 2")
    elsewhere = edge.check_cm_url(1, NEW, OLD)
    oms.engine.sql("update oms_rm.cluster_info set region_cn = '110.0.0.1:80881' where code = 2")

    assert hard is None
    assert [
        f"location_cm.cm_url is {OLD}, not {NEW}",
        f"location_cm.cm_url still carries the old cm_url: {OLD}",
    ] == (told or "").splitlines()
    assert gone is None
    assert "cluster_info.region_cn still carries the old cm_url: at 10.0.0.1:8088." == elsewhere
    assert edge.check_cm_url(1, NEW, OLD) is None


@pytest.mark.parametrize("rows", [0, 2])
def test_cm_url_wants_exactly_one_row(edge, oms, rows):
    """C11: no row and two rows are both wrong."""
    oms.engine.sql("delete from oms_rm.cluster_info where code = 1")
    for n in range(rows):
        oms.engine.sql(f"insert into oms_rm.cluster_info (code, cm_url) values (1, '{NEW}') -- {n}")

    said = edge.check_cm_url(1, NEW)

    assert f"cluster_info has {rows} rows for cm_location 1, expected 1" == said


def test_hosts_online_says_what_is_missing(edge, oms):
    """A row ONLINE and a young beat for each address; a beat hours off hints at time zones."""
    oms.engine.sql(
        "update oms_hb1.heart_beat set gmt_modified = now() + interval 8 hour where id = 3"
    )

    assert edge.check_hosts_online(1, "oms_hb1", ["10.0.0.1"], 60) is None
    said = edge.check_hosts_online(1, "oms_hb1", ["10.0.0.3", "10.0.0.4"], 60) or ""

    assert "10.0.0.3 is OFFLINE" in said
    assert "same time zone?" in said
    assert "10.0.0.4 has no row in host; 10.0.0.4 has no heart beat" in said


# --- scope and preflight ---------------------------------------------------------------------


def test_preflight_says_what_would_go(edge):
    """The plan shows each table's rows and why they are this region's."""
    assert (
        "oms_cm.host: 2 of 3 rows, where resource_group_id is 7",
        "oms_cm.location_cm: 1 of 2 rows, where cm_location is 1"
        " (its values: the regions of this MetaDB)",
        "oms_cm.resource_group: 1 of 2 rows, where name is 1",
        "oms_rm.cluster_info: 1 of 2 rows, where code is 1",
    ) == edge.preflight(1).prose


def test_with_one_region_a_customers_own_rows_stay_all_the_same(edge, oms, lease, tmp_path):
    """Never the whole table: groups of no region, and their hosts, are named and left alone."""
    fill(oms.engine, "oms", regions=1)
    oms.engine.sql(
        "insert into oms_cm.resource_group (id, name) values (9, 'mine'), (10, '77')",
        "insert into oms_cm.host (ip, resource_group_id) values ('10.9.0.1', 9), ('10.9.0.2', 5)",
        "insert into oms_cm.host (ip) values ('10.9.0.3')",
        f"insert into oms_cm.location_cm (cm_location, cm_url) values ('mine', '{OTHER}')",
    )

    scope = edge.preflight(1)
    edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    after = oms.dump()

    assert [2, 1, 1, 1] == [table.rows for table in scope.tables]
    assert (
        "oms_cm.resource_group 77 (id 10) is of no region: it stays, with no host",
        "oms_cm.resource_group mine (id 9) is of no region: it stays, with 10.9.0.1",
        "oms_cm.host 10.9.0.3 is of no resource_group: it stays",
        "oms_cm.host 10.9.0.2 is of resource_group 5, which is gone: it stays",
    ) == scope.stays
    assert {"10.9.0.1", "10.9.0.2", "10.9.0.3"} == {row[1] for row in after["cm.host"]}
    assert {"mine", "77"} == {row[1] for row in after["cm.resource_group"]}
    assert ["mine"] == [row[1] for row in after["cm.location_cm"]]
    assert [] == after["rm.cluster_info"]


def test_a_location_cm_without_a_location_loses_the_rows_that_name_the_region(oms, tmp_path):
    """One region, columns of other names: what names its cm_url goes, all else stays."""
    create_oms(oms.engine, "odd", location_cm="id int primary key, place int, url varchar(99)")
    fill(oms.engine, "odd", 1, tables=("rm.cluster_info", "cm.resource_group", "cm.host"))
    oms.engine.sql(f"insert into odd_cm.location_cm values (5, 41, '{OLD}/x'), (6, 42, '{OTHER}')")
    edge = oms.engine.edge("odd")
    lease = edge.lease_take("run-o", "li@jump1")

    edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    left = oms.engine.sql("select id from odd_cm.location_cm")
    edge.restore_region(RESTORE, lease=lease, backup_dir=tmp_path)

    assert [(6,)] == left
    assert [(5,), (6,)] == oms.engine.sql("select id from odd_cm.location_cm order by id")


def test_a_metadb_without_location_cm_is_no_dead_end(oms, tmp_path):
    """Its name is all that is public of it: told in the plan, and the three others go."""
    create_oms(oms.engine, "odd")
    fill(oms.engine, "odd")
    oms.engine.sql("drop table odd_cm.location_cm")
    edge = oms.engine.edge("odd")
    lease = edge.lease_take("run-o", "li@jump1")

    said = edge.preflight(1).stays
    done = edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    edge.keep_region(KeepRows(CLEAR), lease=lease, backup_dir=tmp_path, mirror=nowhere)
    edge.restore_region(RESTORE, lease=lease, backup_dir=tmp_path)

    assert ("the MetaDB has no table odd_cm.location_cm",) == said
    assert {"host": 2, "resource_group": 1, "cluster_info": 1} == done.rows
    assert edge.check_other_urls(1, OLD) is None


def test_a_table_that_was_altered_or_dropped_since_the_plan_is_seen_as_it_is(oms, tmp_path):
    """How its name is written is remembered; whether it is there, and its columns, never are."""
    create_oms(oms.engine, "odd")
    fill(oms.engine, "odd")
    edge = oms.engine.edge("odd")
    lease = edge.lease_take("run-o", "li@jump1")
    edge.preflight(1)
    oms.engine.sql(
        "alter table odd_cm.host add rack varchar(9) not null default 'r7'",
        "drop table odd_cm.location_cm",
    )

    done = edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    saved = edge.backup(1, tmp_path).of("host")

    assert {"host": 2, "resource_group": 1, "cluster_info": 1} == done.rows
    assert ["rack", b"r7", b"r7"] == [
        saved.columns[-1].name, *(row[-1] for row in saved.rows)
    ]  # fmt: skip


def test_hosts_that_hang_on_ids_of_text_are_found(oms, tmp_path):
    """Nobody outside the vendor knows the types; what is no number is compared as the column is."""
    create_oms(oms.engine, "odd")
    fill(oms.engine, "odd")
    oms.engine.sql(
        "alter table odd_cm.host modify resource_group_id varchar(20)",
        "update odd_cm.host set resource_group_id = '7 ' where id = 2",
    )
    edge = oms.engine.edge("odd")
    lease = edge.lease_take("run-o", "li@jump1")

    rows = edge.preflight(1).of("host").rows
    edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)

    deleted = 3 - oms.engine.sql("select count(*) from odd_cm.host")[0][0]
    assert deleted == rows == len(edge.backup(1, tmp_path).of("host").rows) > 0
    assert () == edge.others_unchanged(1, tmp_path)


def test_a_location_cm_that_cannot_be_scoped_stops(oms):
    """With several regions omsfab asks rather than guess; hosts.yaml may answer."""
    create_oms(oms.engine, "odd", location_cm="id int primary key, place int, cm_url varchar(99)")
    fill(oms.engine, "odd", tables=("rm.cluster_info", "cm.resource_group", "cm.host"))
    oms.engine.sql(f"insert into odd_cm.location_cm values (5, 1, '{OLD}'), (6, 2, '{OTHER}')")

    with pytest.raises(PreflightError, match="DB-026") as unclear:
        oms.engine.edge("odd").preflight(1)
    scope = oms.engine.edge("odd", location_cm_column="PLACE").preflight(1)

    assert "place int" in unclear.value.evidence
    assert "odd_cm.location_cm: 1 of 2 rows, where place is 1 (hosts.yaml)" == scope.prose[1]


def test_an_unknown_schema_lists_expected_and_found(oms):
    """D13: no such table, no such column; more columns and another case of names are fine."""
    create_oms(oms.engine, "new", cluster_info="Code int, REGION int, region_cn int, extra json")
    oms.engine.sql("drop table new_cm.host")

    with pytest.raises(PreflightError, match="DB-023") as refused:
        oms.engine.edge("new").preflight(1)

    assert [
        "new_cm.host: expected a table, found none",
        "new_rm.cluster_info: expected column cm_url, is_default_cm,"
        " found Code, REGION, region_cn, extra",
    ] == refused.value.evidence.splitlines()


def test_too_many_rows_are_another_table(edge, oms):
    """D12: 100,000 rows in cluster_info: that is not the table we expect."""
    digits = " cross join ".join(f"(select 1 {' union all select 1' * 9}) d{n}" for n in range(4))
    oms.engine.sql(f"insert into oms_cm.host (ip) select 'x' from {digits}")

    with pytest.raises(PreflightError, match=r"DB-022 oms_cm.host has 10003 rows"):
        edge.preflight(1)


@pytest.mark.parametrize("regions", [0, 2])
def test_cluster_info_must_have_exactly_this_regions_row(edge, oms, regions):
    """0 rows is legal only when it is said to be; two never."""
    oms.engine.sql("delete from oms_rm.cluster_info where code = 1")
    for _ in range(regions):
        oms.engine.sql("insert into oms_rm.cluster_info (code) values (1)")

    with pytest.raises(PreflightError, match=f"DB-025 cluster_info has {regions} rows"):
        edge.preflight(1)
    if regions == 0:
        assert 0 == edge.preflight(1, allow_empty=True).tables[-1].rows


@pytest.mark.parametrize("kind", ["MyISAM", "Aria", "MEMORY", "view", "trigger", "cascade"])
def test_what_no_rollback_brings_back_is_refused(oms, kind):
    """D08: engines without transactions, views, triggers, cascades."""
    engine = oms.engine
    if engine.kind == "oceanbase" and kind in {"MyISAM", "Aria", "MEMORY"}:
        pytest.skip(
            "does not apply: OceanBase has one engine, and takes the name of any other for it"
        )
    if engine.kind == "mysql" and kind == "Aria":
        pytest.skip("does not apply: Aria is MariaDB's")
    create_oms(engine, "bad")
    fill(engine, "bad")
    with contextlib.closing(engine.connect(database="bad_cm")) as link, link.cursor() as cursor:
        if kind == "view":
            cursor.execute("rename table host to hosts")
            cursor.execute("create view host as select * from hosts")
        elif kind == "trigger":
            cursor.execute("create trigger t before delete on host for each row set @x = 1")
        elif kind == "cascade":
            cursor.execute(
                "create table tail (h bigint, foreign key (h) references host (id)"
                " on delete cascade)"
            )
        else:
            cursor.execute(f"alter table host engine = {kind}")

    with pytest.raises(PreflightError, match="DB-020") as refused:
        engine.edge("bad").preflight(1)

    assert "bad_cm.host" in refused.value.what
    assert kind.lower() in refused.value.what.lower()


@pytest.mark.parametrize("lacking", ["delete", "insert"])
def test_missing_rights_are_found_before_anything_changes(oms, lacking):
    """D15: what may not be deleted, or could not be put back, is refused with exit 3."""
    rights = ", ".join({"select", "insert", "update", "delete"} - {lacking})
    oms.engine.sql(
        "drop user if exists 'weak'@'%'",
        "create user 'weak'@'%' identified by 'w'",
        f"grant {rights} on oms_rm.* to 'weak'@'%'",
        f"grant {rights} on oms_cm.* to 'weak'@'%'",
    )
    weak = MetaDbEdge(
        oms.engine.metadb().model_copy(update={"user": "weak", "password": Secret("w")}),
        limits=SHORT,
    )

    with pytest.raises(PreflightError, match="DB-027"):
        weak.preflight(1)
    with pytest.raises(PreflightError, match="DB-032") as nowhere_to_lock:
        weak.lease_take("r", "o")
    oms.engine.sql("grant create on oms_rm.* to 'weak'@'%'")
    if lacking == "insert":
        oms.engine.sql("grant insert on oms_rm.* to 'weak'@'%'")
    taken = weak.lease_take("r", "o")

    assert 3 == nowhere_to_lock.value.exit_code
    assert 1 == taken.token


def test_a_lease_table_of_somebody_else_is_told(oms, edge):
    """DB-004 in the server's words, exit 3, and his table is left alone."""
    oms.engine.sql("create table oms_rm.omsfab_lease (x int)")

    with pytest.raises(PreflightError, match="DB-004") as refused:
        edge.lease_take("run-1", "li@jump1")

    assert "cluster" in refused.value.evidence
    assert ((0,),) == tuple(oms.engine.sql("select count(*) from oms_rm.omsfab_lease"))


def test_a_region_without_a_location_is_told(oms, edge):
    """DB-025: a row that belongs to nobody is not to be guessed at."""
    oms.engine.sql("update oms_rm.cluster_info set code = null where code = 2")

    with pytest.raises(PreflightError, match="DB-025"):
        edge.clusters()


def test_a_wrong_password_is_tried_once_and_never_shown(oms):
    """D16: five wrong tries lock an account; no text of the error has the password."""
    tries = []

    def connect(**values):
        tries.append(1)
        return pymysql.connect(**values)

    wrong = oms.engine.metadb().model_copy(update={"password": Secret(PASSWORD + "!")})

    with pytest.raises(PreflightError, match="DB-002") as refused:
        MetaDbEdge(wrong, connect, limits=SHORT).clusters()

    assert 1 == len(tries)
    assert PASSWORD not in refused.value.render()
    assert refused.value.__cause__ is None


def test_a_metadb_that_is_away_is_a_refusal_before_and_a_failure_after(oms, proxy):
    """D16: exit 3 before the outage began, 6 once a run is under way."""
    proxy.refuse = True

    with pytest.raises(PreflightError, match="DB-001"):
        oms.engine.edge(port=proxy.port).clusters()
    with pytest.raises(OmsfabError, match="DB-001") as later:
        oms.engine.edge(port=proxy.port).running().clusters()

    assert 6 == later.value.exit_code


# --- connections that rest -------------------------------------------------------------------


def logins(oms, **more):
    """An edge, and what grows with each of its logins."""
    tries = []

    def connect(**values):
        tries.append(1)
        return pymysql.connect(ssl_disabled=True, **values)

    return MetaDbEdge(oms.engine.metadb(), connect, limits=SHORT, **more), tries


def test_questions_one_after_the_other_share_a_login(oms, lease, tmp_path):
    """A login and its settings are many ways there and back; a transaction shares it, too."""
    edge, tries = logins(oms)

    edge.clusters()
    edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    edge.lease_renew(lease)

    # one stays, while who else is connected is asked beside it
    assert len(tries) <= 2


def test_questions_of_one_look_ask_once_what_is_there(oms):
    """Whatever the database and the zone of the session; the next look asks anew."""
    said = []
    edge = oms.engine.edge(on_statement=said.append)
    look = edge.one_look(heartbeat_db="oms_hb1")

    answers = [look.exists(), look.clusters(), look.hosts(1), look.beats("oms_hb1"), look.scope(1)]
    first = sum("information_schema.columns" in text for text in said)
    edge.one_look().clusters()

    assert all(answers)
    assert 1 == first
    assert 2 <= sum("information_schema.columns" in text for text in said)


def test_a_connection_that_the_server_has_ended_meanwhile_is_made_anew(oms):
    """By its own limit, by a restart, by a DBA: no question is lost by it."""
    edge, tries = logins(oms)
    edge.clusters()
    for (number,) in oms.engine.sql(
        "select id from information_schema.processlist where user = 'oms'"
    ):
        with contextlib.suppress(pymysql.Error):  # of another test, and gone by now
            oms.engine.sql(f"kill {number}")

    assert 2 == len(edge.clusters())
    assert 2 == len(tries)


def test_a_connection_that_rests_takes_nobodys_place(oms):
    """A user who may have one connection: a question in another time zone gets it."""
    oms.engine.sql(
        "drop user if exists 'one'@'%'",
        "create user 'one'@'%' identified by 'w' with max_user_connections 1",
        "grant all privileges on *.* to 'one'@'%'",
    )
    edge = oms.engine.edge(user="one", password=Secret("w"))

    assert 2 == len(edge.clusters())
    assert {"10.0.0.1", "10.0.0.3"} == {*edge.beats("oms_hb1")}
    assert [0, 1] == [*map(len, edge._server.rest.values())]


def test_a_session_that_was_set_otherwise_is_not_used_again(oms, edge, tmp_path):
    """SaveRows reads from one snapshot: nobody after it may look into the past."""
    edge.save(1, tmp_path, "run")

    assert [[], []] == [*edge._server.rest.values()]


# --- surgery ---------------------------------------------------------------------------------


def test_only_this_regions_rows_go(edge, oms, lease, tmp_path):
    """D14: the other region's rows stay as they are, in all four tables."""
    other = oms.region(2)

    done = edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)

    assert {"host": 2, "location_cm": 1, "resource_group": 1, "cluster_info": 1} == done.rows
    assert EMPTY == oms.region(1)
    assert other == oms.region(2) == oms.dump()
    assert () == edge.others_unchanged(1, tmp_path)


def test_a_backup_is_private_and_copied_before_the_first_delete(edge, oms, lease, tmp_path):
    """0600 in 0700; the mirror sees whole files while all rows are still there."""
    directory, seen = tmp_path / "run" / "backup", []

    def mirror(path: Path) -> None:
        seen.append((path.name, stat.S_IMODE(path.stat().st_mode), len(oms.region(1)["cm.host"])))

    edge.clear_region(CLEAR, lease=lease, backup_dir=directory, mirror=mirror)

    assert [("region-1.1.jsonl", 0o600, 2), ("region-1.1.sql", 0o600, 2)] == seen
    assert 0o700 == stat.S_IMODE(directory.stat().st_mode)


def test_a_second_time_changes_nothing(edge, oms, lease, tmp_path):
    """Resume: the marker of this run and step says it is done, whatever came since."""
    first = edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    fill(oms.engine, "oms")

    again = edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)

    assert (True, first.rows, first.files) == (again.already, again.rows, again.files)
    assert 2 == len(oms.region(1)["cm.host"])


def test_a_done_deletion_without_its_backup_is_said(edge, lease, tmp_path):
    """J03: on another jump host the mirror must be fetched first."""
    edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)

    with pytest.raises(Mismatch, match="DB-014"):
        edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path / "other", mirror=nowhere)


def test_undo_puts_every_row_back(edge, oms, lease, tmp_path):
    """C14: rows equal to those before, also when an initialisation has written others since."""
    before = oms.dump()
    edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    oms.engine.sql(*INITIALISED)
    edge.others_unchanged(1, tmp_path)

    edge.restore_region(RESTORE, lease=lease, backup_dir=tmp_path)
    again = edge.restore_region(RESTORE, lease=lease, backup_dir=tmp_path)

    assert before == oms.dump()
    assert again.already


def test_rows_are_put_back_once_more_after_each_initialisation(edge, oms, lease, tmp_path):
    """docker_init.sh in the rollback has made others of them; of one attempt it is done once."""
    before, again = oms.dump(), RestoreRows(1, once_more=True)
    edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    edge.restore_region(RESTORE, lease=lease, backup_dir=tmp_path)
    other = f"update oms_rm.cluster_info set cm_url = '{NEW}' where code = 1"
    done = []

    for attempt in (1, 1, 2):
        oms.engine.sql(other)
        put_back = edge.restore_region(again, lease=lease, backup_dir=tmp_path, attempt=attempt)
        done.append((put_back.already, before == oms.dump()))

    assert [(False, True), (True, False), (False, True)] == done


def test_a_run_may_clear_restore_and_clear_again(edge, oms, lease, tmp_path):
    """An undone step is not taken for a done one."""
    for _ in range(2):
        edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
        assert EMPTY == oms.region(1)
        edge.restore_region(RESTORE, lease=lease, backup_dir=tmp_path)
        assert 2 == len(oms.region(1)["cm.host"])


def test_a_single_region_comes_back_whole(edge, oms, lease, tmp_path):
    """Half a new start is replaced; a host without a group was nobody's, and stays all along."""
    fill(oms.engine, "oms", regions=1)
    oms.engine.sql("insert into oms_cm.host (ip) values ('10.0.0.77')")
    before = oms.dump()

    edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    cleared = oms.dump()
    oms.engine.sql("insert into oms_cm.resource_group (id, name) values (98, '1')")
    edge.restore_region(RESTORE, lease=lease, backup_dir=tmp_path)

    assert ["10.0.0.77"] == [row[1] for row in cleared["cm.host"]]
    assert before == oms.dump()


@pytest.mark.parametrize(
    ("change", "id"),
    [("modify gmt_modified datetime", "DB-017"), ("drop column `order`", "DB-018")],
)
def test_a_restore_that_would_alter_a_value_is_rolled_back(oms, tmp_path, change, id):
    """The table has changed since: rounding is silent in every SQL mode, the hash is not."""
    create_oms(oms.engine, "aged")
    fill(oms.engine, "aged")
    edge, aged = oms.engine.edge("aged"), Oms(oms.engine, "aged")
    lease = edge.lease_take("run-a", "li@jump1")
    edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    oms.engine.sql(f"alter table aged_rm.cluster_info {change}")
    before = aged.dump()

    with pytest.raises(OmsfabError, match=id):
        edge.restore_region(RESTORE, lease=lease, backup_dir=tmp_path)

    assert before == aged.dump()


def test_save_takes_a_backup_and_nothing_else(edge, oms, tmp_path):
    """`fab meta.save`."""
    before = oms.dump()

    saved = edge.save(1, tmp_path, "run-7")

    assert before == oms.dump()
    assert saved.rows == edge.backup(1, tmp_path).counts


def test_what_a_server_sets_for_everybody_changes_nothing(oms, tmp_path):
    """D18: safe updates and short answers, as a default of all sessions."""
    if not oms.engine.sql("show variables like 'sql_safe_updates'"):
        pytest.skip("does not apply: this engine has no such setting")
    oms.engine.sql("set global sql_safe_updates = 1", "set global sql_select_limit = 1")
    try:
        edge = oms.engine.edge()
        lease = edge.lease_take("run-1", "li@jump1")
        done = edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    finally:
        oms.engine.sql(
            "set global sql_safe_updates = 0", "set global sql_select_limit = 9223372036854775807"
        )

    assert 2 == done.rows["host"]
    assert EMPTY == oms.region(1)


def test_a_late_row_is_not_lost(edge, oms, lease, tmp_path):
    """D06: a row that comes between backup and delete is in the backup of the second attempt."""

    def once(path: Path) -> None:
        if path.name == "region-1.1.jsonl":
            oms.engine.sql("insert into oms_cm.host values (50, 'late', 7, 'ONLINE', null)")

    done = edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=once)
    saved = edge.backup(1, tmp_path).of("host")

    assert 3 == done.rows["host"]
    assert b"late" in [row[1] for row in saved.rows]


def test_a_writer_that_goes_on_stops_the_surgery(edge, oms, lease, tmp_path):
    """D06: rolled back, one retry, then DB-016 with every row in place."""

    def always(path: Path) -> None:
        oms.engine.sql("insert into oms_cm.host (ip, resource_group_id) values ('late', 7)")

    with pytest.raises(Mismatch, match="DB-016 table host is still being written"):
        edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=always)

    assert 6 == len(oms.region(1)["cm.host"])
    assert 1 == len(oms.region(1)["rm.cluster_info"])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


INJURIES = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size - 10),
    "bit flipped": flip,
    "emptied": lambda path: os.truncate(path, 0),
    "gone": lambda path: path.unlink(),
    "of other rows": lambda path: path.write_bytes(
        backup.as_lines(backup.Backup("r", "s", 1, "", "", ()))
    ),
}


@pytest.mark.parametrize("suffix", [".jsonl", ".sql"])
@pytest.mark.parametrize("injury", INJURIES)
def test_a_bad_backup_deletes_nothing(edge, oms, lease, tmp_path, monkeypatch, injury, suffix):
    """D10: injured after it was written and before it is read back."""
    before, write = oms.dump(), backup.write_private

    def written_and_injured(path: Path, content: bytes) -> None:
        write(path, content)
        if path.suffix == suffix:
            INJURIES[injury](path)

    monkeypatch.setattr(backup, "write_private", written_and_injured)

    with pytest.raises(OmsfabError, match="DB-021") as refused:
        edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)

    assert 6 == refused.value.exit_code
    assert before == oms.dump()


def test_a_backup_that_cannot_be_written_deletes_nothing(edge, oms, lease, tmp_path):
    """J06: disk full, read-only, a file in the place of the directory."""
    before = oms.dump()
    (tmp_path / "file").write_text("")

    with pytest.raises(OmsfabError, match="DB-024"):
        edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path / "file", mirror=nowhere)

    assert before == oms.dump()


def test_a_full_disk_leaves_no_half_backup(tmp_path):
    """J06: a size limit stands for the disk; what does not fit is not there at all."""
    script = (
        "import resource, sys, pathlib; from omsfab.metadb.backup import write_private\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "write_private(pathlib.Path(sys.argv[1]), b'x' * 9999)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "backup"],
        capture_output=True, text=True,
    )  # fmt: skip

    assert "File too large" in done.stderr
    assert [] == list(tmp_path.iterdir())


def test_a_failed_copy_deletes_nothing(edge, oms, lease, tmp_path):
    """J03: the mirror is mandatory before the delete."""
    before = oms.dump()

    def broken(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OmsfabError, match="DB-029"):
        edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=broken)

    assert before == oms.dump()


def test_ctrl_c_before_the_commit_deletes_nothing(edge, oms, lease, tmp_path):
    """J04: during S8 and S9 an interrupt rolls back."""
    before = oms.dump()

    def interrupted(path: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=interrupted)

    assert before == oms.dump()
    assert not edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere).already


def test_a_held_row_is_named_with_its_holder(edge, oms, lease, tmp_path):
    """D05: after the lock wait, who holds it; nothing changed."""
    before = oms.dump()
    with contextlib.closing(oms.engine.connect()) as other, other.cursor() as cursor:
        cursor.execute("start transaction")
        cursor.execute("select * from oms_cm.host where id = 1 for update")

        with pytest.raises(OmsfabError, match="DB-015") as held:
            edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)

    assert f"connection {other.thread_id()} (root@" in held.value.what
    assert before == oms.dump()


def test_nothing_commits_by_itself_between_begin_and_commit(oms, lease, tmp_path):
    """D09: an allow-list of statements, on a clear and on a restore."""
    said: list[str] = []
    edge = oms.engine.edge(on_statement=said.append)
    edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    edge.restore_region(RESTORE, lease=lease, backup_dir=tmp_path)

    inside, words = False, set()
    for text in said:
        if text == "start transaction":
            inside = True
        elif text in {"commit", "rollback"}:
            inside = False
        elif inside:
            words.add(text.split()[0])

    assert {"select", "insert", "update", "delete"} == words
    with Link(edge._running) as link, pytest.raises(AssertionError):
        link.begin()
        link.run("truncate table oms_cm.host")


def test_other_regions_rows_are_proven_unchanged(edge, oms, lease, tmp_path):
    """D14: by what identifies a row; whatever else OMS has written meanwhile is told."""
    edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    oms.engine.sql(
        "update oms_cm.host set gmt_modified = now(), host_status = 'BUSY' where id = 3",
        "update oms_rm.cluster_info set `order` = 'moved', gmt_modified = now() where code = 2",
    )
    notes = edge.others_unchanged(1, tmp_path)
    oms.engine.sql("update oms_cm.host set ip = '10.1.0.9' where id = 3")

    assert (
        "host: host_status, gmt_modified moved meanwhile",
        "cluster_info: order, gmt_modified moved meanwhile",
    ) == notes
    with pytest.raises(Mismatch, match="DB-040") as changed:
        edge.others_unchanged(1, tmp_path)
    assert '"10.1.0.1"' in changed.value.evidence
    oms.engine.sql("update oms_cm.host set ip = '10.1.0.1' where id = 3")
    oms.engine.sql("delete from oms_rm.cluster_info where code = 2")
    with pytest.raises(Mismatch, match="DB-040"):
        edge.others_unchanged(1, tmp_path)


NEW_REGION = (
    f"insert into oms_rm.cluster_info (code, region, cm_url) values (2, 'cn-jiangsu', '{OTHER}')",
    "insert into oms_cm.resource_group (id, name) values (8, '2')",
    "insert into oms_cm.host (ip, resource_group_id) values ('10.1.0.1', 8)",
    f"insert into oms_cm.location_cm (cm_location, cm_url) values ('2', '{OTHER}')",
)


def test_a_new_region_leaves_the_only_other_one_as_it_was(edge, oms, tmp_path):
    """Saved while MetaDB knows one region: the new one's own rows are no change, others' are."""
    fill(oms.engine, "oms", regions=1)
    edge.save(2, tmp_path, "run")
    oms.engine.sql(*NEW_REGION)
    before = edge.others_unchanged(2, tmp_path)
    oms.engine.sql("update oms_rm.cluster_info set is_default_cm = 0 where code = 1")

    assert () == before
    with pytest.raises(Mismatch, match="DB-040") as changed:
        edge.others_unchanged(2, tmp_path)
    assert "cluster_info" in changed.value.evidence


def test_a_row_of_the_other_region_that_goes_is_found_out(edge, oms, tmp_path):
    """Its CM would no longer be found."""
    fill(oms.engine, "oms", regions=1)
    edge.save(2, tmp_path, "run")
    oms.engine.sql(*NEW_REGION, "delete from oms_cm.location_cm where cm_location = '1'")

    with pytest.raises(Mismatch) as changed:
        edge.others_unchanged(2, tmp_path)

    assert "location_cm: 1 rows before, 0 now" in changed.value.evidence


# --- what was shown is what goes -------------------------------------------------------------


def as_shown(edge, **more) -> ClearRows:
    return ClearRows(1, ALL, shown=edge.preflight(1).shown, **more)


EDITS = {
    "a host came": (
        "insert into oms_cm.host (ip, resource_group_id) values ('10.0.0.4', 7)",
        "host 10.0.0.4: new",
    ),
    "a host went": ("delete from oms_cm.host where id = 2", "host 10.0.0.3: gone"),
    "a url was mended": (
        f"update oms_cm.location_cm set cm_url = '{NEW}' where id = 1",
        "location_cm 1: edited",
    ),
    "a name was edited": (
        "update oms_rm.cluster_info set region_cn = 'x' where code = 1",
        "cluster_info 1: edited",
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_rows_that_were_not_shown_are_not_deleted(edge, oms, lease, tmp_path, edit):
    """A DBA's edit while the package was staged: found inside the transaction, nothing is gone."""
    text, said = EDITS[edit]
    record = as_shown(edge)
    oms.engine.sql(text)
    before = oms.dump()

    with pytest.raises(Mismatch, match="DB-041") as refused:
        edge.clear_region(record, lease=lease, backup_dir=tmp_path, mirror=nowhere)

    assert said == refused.value.evidence == edge.changed_rows(record)
    assert before == oms.dump()


def test_what_oms_itself_writes_is_no_other_row(edge, oms, lease, tmp_path):
    """Times and states moved since the plan: no false alarm with production stopped."""
    record = as_shown(edge)
    oms.engine.sql(
        "update oms_cm.host set host_status = 'OFFLINE', gmt_modified = now()",
        "update oms_rm.cluster_info set gmt_modified = now(6)",
    )

    edge.clear_region(record, lease=lease, backup_dir=tmp_path, mirror=nowhere)

    assert EMPTY == oms.region(1)


def test_another_text_is_told_and_stops_nothing(edge, oms, lease, tmp_path):
    """A person may have edited it, OMS may write it: nobody can know, so it is said and saved."""
    record = as_shown(edge)
    oms.engine.sql("update oms_rm.cluster_info set `order` = 'x' where code = 1")

    done = edge.clear_region(record, lease=lease, backup_dir=tmp_path, mirror=nowhere)

    assert ["cluster_info 1: texts are others than when it was shown"] == [
        note.partition(";")[0] for note in done.notes
    ]
    assert b"x" in edge.backup(1, tmp_path).of("cluster_info").rows[0]


def test_rows_that_move_between_two_looks_are_being_written(oms, lease, tmp_path):
    """No other writer: found before anything is locked, and told with who is connected."""
    late = ["", "insert into oms_cm.host (ip, resource_group_id) values ('late', 7)"]

    def write(text: str) -> None:
        read = " union all " in text and "`host_status`" in text
        if read and late and (one := late.pop(0)):
            oms.engine.sql(one)

    edge = oms.engine.edge(on_statement=write)
    with (
        contextlib.closing(oms.engine.connect(database="oms_cm")) as other,
        pytest.raises(Mismatch, match="DB-016") as refused,
    ):
        edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)

    assert "host late: new" in refused.value.evidence
    assert f"connection {other.thread_id()} of root@" in refused.value.evidence
    assert 3 == len(oms.region(1)["cm.host"])
    assert [] == list(tmp_path.iterdir())


def test_a_row_that_moves_between_look_and_lock_is_saved_once(oms, lease, tmp_path):
    """A host whose group becomes the region's meanwhile is the region's, and no other's too."""
    move = ["update oms_cm.host set resource_group_id = 7 where id = 3"]

    def write(text: str) -> None:
        if move and text.endswith("for update") and "`oms_cm`.`host`" in text:
            oms.engine.sql(move.pop())

    edge = oms.engine.edge(on_statement=write)
    edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    saved = edge.backup(1, tmp_path).of("host")

    assert (3, 0) == (len(saved.rows), len(saved.others))
    assert () == edge.others_unchanged(1, tmp_path)


# --- rows stay as they were left -------------------------------------------------------------

UPDATE = ClearRows(1, ALL, "update", OLD, NEW)
CAME = {
    "a former row": "insert into oms_rm.cluster_info (code, cm_url) values (1, 'http://x:1')",
    "a group": "insert into oms_cm.resource_group (id, name) values (70, '1')",
    "a host of a group that is gone": (
        "insert into oms_cm.host (ip, resource_group_id) values ('10.0.0.3', 4711)"
    ),
    "a host of the former group": (
        "insert into oms_cm.host (ip, resource_group_id) values ('10.0.0.8', 7)"
    ),
}


@pytest.mark.parametrize("came", CAME)
def test_rows_that_came_back_keep_docker_init_from_running(edge, oms, lease, tmp_path, came):
    """Between COMMIT and docker_init.sh: told the first time, saved and taken out by the resume."""
    before = oms.dump()
    edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    cleared = oms.dump()
    oms.engine.sql(CAME[came])

    with pytest.raises(Mismatch, match="DB-044") as refused:
        edge.keep_region(KeepRows(CLEAR), lease=lease, backup_dir=tmp_path, mirror=nowhere)
    dirty = oms.dump()
    kept = edge.keep_region(KeepRows(CLEAR), lease=lease, backup_dir=tmp_path, mirror=nowhere)

    assert cleared != dirty
    assert cleared == oms.dump()
    assert ["fab run.resume --run=run-1"] == [one.line for one in refused.value.next]
    assert ["region-1-came-back.1.jsonl", "region-1-came-back.1.sql"] == [
        path.name for path in kept.files
    ]
    edge.restore_region(RESTORE, lease=lease, backup_dir=tmp_path)
    assert before == oms.dump()


def test_a_writer_that_goes_on_is_told_again_and_again(edge, oms, lease, tmp_path):
    """While rows come, docker_init.sh does not run; once they do not, what came is taken out."""
    edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    keep = functools.partial(edge.keep_region, KeepRows(CLEAR), lease=lease, backup_dir=tmp_path)
    oms.engine.sql(CAME["a group"])

    with pytest.raises(Mismatch, match="DB-044"):
        keep(mirror=nowhere)
    for number in (71, 72):
        text = f"insert ignore into oms_cm.resource_group (id, name) values ({number}, '1')"
        with pytest.raises(Mismatch, match="DB-016"):
            keep(mirror=lambda path, text=text: oms.engine.sql(text))
    done = keep(mirror=nowhere)
    oms.engine.sql(CAME["a group"])
    with pytest.raises(Mismatch, match="DB-044"):
        keep(mirror=nowhere)
    keep(mirror=nowhere)

    assert EMPTY == oms.region(1)
    assert {"host": 2, "location_cm": 1, "resource_group": 1, "cluster_info": 1} == done.rows


def test_quiet_rows_stay_as_they_are(edge, oms, lease, tmp_path):
    """Nothing came: nothing is done, however often it is asked, in both ways."""
    for record in (CLEAR, UPDATE):
        fill(oms.engine, "oms")
        edge.clear_region(record, lease=lease, backup_dir=tmp_path, mirror=nowhere)
        left = oms.dump()
        for _ in range(2):
            kept = edge.keep_region(
                KeepRows(record), lease=lease, backup_dir=tmp_path, mirror=nowhere
            )
            assert (left, ()) == (oms.dump(), kept.files)
        edge.restore_region(RESTORE, lease=lease, backup_dir=tmp_path)


# --- rows=update -----------------------------------------------------------------------------

REFERENCES = (
    "drop table if exists oms_cm.store, oms_rm.task, oms_cm.plain",
    "create table oms_cm.plain (id int primary key, hostId int, group_id varchar(9), x_id int)",
    "insert into oms_cm.plain values (1, 1, '7', 1), (2, 2, '7', 2), (3, 3, '8', 3)",
)
RESTRICTED = (
    "create table oms_rm.task (id int primary key, machine bigint,"
    " constraint holds foreign key (machine) references oms_cm.host (id) on delete restrict)",
    "insert into oms_rm.task values (1, 1)",
)


@pytest.fixture
def referring(oms: Oms):
    oms.engine.sql(*REFERENCES)
    yield oms
    oms.engine.sql(REFERENCES[0])


def test_an_update_keeps_ids_and_changes_nothing_but_the_url(edge, oms, lease, tmp_path):
    """cluster_info as in the guide; in the others what carries the old cm_url, in place."""
    oms.engine.sql(
        f"update oms_cm.location_cm set cm_url = 'x {OLD}/a 10.0.0.1:8088, 110.0.0.1:8088' "
        "where id = 1"
    )
    before = oms.dump()

    edge.clear_region(UPDATE, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    after = oms.dump()
    oms.engine.sql(INITIALISED[0])
    edge.restore_region(RESTORE, lease=lease, backup_dir=tmp_path)

    assert [row for row in before["rm.cluster_info"] if row[1] == 2] == after["rm.cluster_info"]
    assert before["cm.host"] == after["cm.host"]
    assert before["cm.resource_group"] == after["cm.resource_group"]
    assert [
        (1, "1", f"x {NEW}/a 10.0.0.100:8088, 110.0.0.1:8088"),
        (2, "2", str(OTHER)),
    ] == after["cm.location_cm"]
    assert before == oms.dump()


def test_foreign_keys_that_hold_rows_are_found_before_and_survive_both_ways(
    edge, referring, lease, tmp_path
):
    """1451 is found in the preflight; an update and its restore leave what refers in place."""
    referring.engine.sql(*RESTRICTED)
    before = referring.dump()

    found = {one.column: one for one in edge.preflight(1).references}
    with pytest.raises(OmsfabError, match="DB-011"):
        edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    untouched = referring.dump()
    edge.clear_region(UPDATE, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    edge.restore_region(RESTORE, lease=lease, backup_dir=tmp_path)

    held = found["oms_rm.task.machine"]
    assert ("host.id", 1, True) == (held.to, held.rows, held.holds)
    assert ("host.id", 2, False) == tuple(
        getattr(found["oms_cm.plain.hostId"], name) for name in ("to", "rows", "holds")
    )
    assert ("resource_group.id", 2) == (
        found["oms_cm.plain.group_id"].to, found["oms_cm.plain.group_id"].rows
    )  # fmt: skip
    assert {"oms_rm.task.machine", "oms_cm.plain.hostId", "oms_cm.plain.group_id"} == {*found}
    assert before == untouched == referring.dump()
    assert [(1, 1)] == referring.engine.sql("select * from oms_rm.task")


def test_no_reference_is_invented(edge, oms):
    """The four tables' own columns are no reference."""
    oms.engine.sql(REFERENCES[0])

    assert () == edge.preflight(1).references


def test_the_right_to_delete_is_needed_only_where_something_is_deleted(oms, tmp_path):
    """No row of the region in location_cm, so nobody asks for a right on it."""
    engine = oms.engine
    engine.sql("delete from oms_cm.location_cm where id = 1")
    rights = "select, insert, update, delete"
    engine.sql(
        "drop user if exists 'some'@'%'",
        "create user 'some'@'%' identified by 'w'",
        "grant create on oms_rm.* to 'some'@'%'",
        f"grant {rights} on oms_rm.* to 'some'@'%'",
        *(
            f"grant {rights} on oms_cm.{table} to 'some'@'%'"
            for table in ("host", "resource_group")
        ),
        "grant select on oms_cm.location_cm to 'some'@'%'",
    )
    some = {"user": "some", "password": Secret("w")}
    edge = MetaDbEdge(engine.metadb().model_copy(update=some), limits=SHORT)
    lease = edge.lease_take("run-1", "li@jump1")

    edge.preflight(1)
    done = edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)

    assert {"host": 2, "location_cm": 0, "resource_group": 1, "cluster_info": 1} == done.rows


# --- is everything back? ---------------------------------------------------------------------


def test_what_docker_init_did_not_make_again_is_told_with_what_mends_it(
    edge, referring, lease, tmp_path
):
    """By code, name and ip; other ids matter where something refers to them."""
    oms = referring
    edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    oms.engine.sql(*INITIALISED)

    told = edge.check_rows_back(1, tmp_path, OLD, NEW) or ""
    load_with_client(oms.engine, tmp_path / "region-1-mend.sql")
    plain = oms.engine.sql("select id, hostId, group_id from oms_cm.plain order by id")
    ((group,),) = oms.engine.sql("select id from oms_cm.resource_group where name = '1'")
    hosts = dict(oms.engine.sql("select ip, id from oms_cm.host where resource_group_id = 99"))

    assert "host 10.0.0.3 is not back" in told
    assert "oms_cm.plain.group_id: 2 rows refer to former ids of resource_group: 7 is 99" in told
    assert f"source {tmp_path}/region-1-mend.sql" in told
    assert 99 == group
    assert {"10.0.0.1", "10.0.0.3"} == {*hosts}
    assert (1, hosts["10.0.0.1"], "99") == plain[0]
    assert edge.check_rows_back(1, tmp_path, OLD, NEW) is None


def test_rows_that_are_back_are_not_complained_of(edge, oms, lease, tmp_path):
    """Other ids alone are no harm."""
    edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    oms.engine.sql(
        *INITIALISED, "insert into oms_cm.host (ip, resource_group_id) values ('10.0.0.3', 99)"
    )

    assert edge.check_rows_back(1, tmp_path, OLD, NEW) is None


def test_whole_tables_are_looked_at_in_the_end(edge, oms):
    """A stale host of a group that is gone, and two rows of one key."""
    clean = edge.check_left_over()
    oms.engine.sql(
        "insert into oms_cm.host (ip, resource_group_id) values ('10.0.0.9', 4711)",
        "insert into oms_cm.resource_group (id, name) values (98, '2')",
    )

    assert clean is None
    assert [
        "host 10.0.0.9 is of resource_group 4711, which is gone",
        "resource_group has 2 rows of name 2",
    ] == (edge.check_left_over() or "").splitlines()


def test_a_host_of_another_group_is_not_called_missing(edge, oms):
    """VER-003: its row is there, of a group that is gone, or of one of another name."""
    oms.engine.sql("update oms_cm.host set resource_group_id = 4711 where id = 1")
    oms.engine.sql("update oms_cm.host set resource_group_id = 8 where id = 2")

    said = edge.check_hosts_online(1, "oms_hb1", ["10.0.0.1", "10.0.0.3", "10.0.0.4"], 600) or ""

    assert "10.0.0.1 has a row in host, but of resource_group 4711, which is gone, not of 1" in said
    assert "10.0.0.3 has a row in host, but of resource_group 8, named 2, not of 1" in said
    assert "10.0.0.4 has no row in host" in said


# --- taking back what an initialisation wrote ------------------------------------------------


def test_hosts_that_joined_go_and_those_that_were_there_stay(edge, oms, lease, tmp_path):
    """Saved before they are deleted; 10.0.0.3 had a row before, be it OFFLINE."""
    edge.save(1, tmp_path, "run-1")
    before = oms.dump()
    oms.engine.sql(f"insert into {oms.place('cm.host')} values (9, '10.0.0.9', 7, 'ONLINE', now())")

    record = DropHosts(1, ("10.0.0.3", "10.0.0.9"))
    dropped = edge.drop_hosts(record, lease=lease, backup_dir=tmp_path)
    again = edge.drop_hosts(record, lease=lease, backup_dir=tmp_path)

    assert ({"host": 1}, before, True) == (dropped.rows, oms.dump(), again.already)
    assert "10.0.0.9" in dropped.files[0].read_text()


def test_a_host_of_another_region_is_never_dropped(edge, oms, lease, tmp_path):
    """The same address in another group is somebody else's row."""
    edge.save(1, tmp_path, "run-1")
    oms.engine.sql(f"insert into {oms.place('cm.host')} values (9, '10.0.0.9', 8, 'ONLINE', now())")
    before = oms.dump()

    edge.drop_hosts(DropHosts(1, ("10.0.0.9",)), lease=lease, backup_dir=tmp_path)

    assert before == oms.dump()


def test_rows_are_as_saved_but_for_times_and_status(edge, oms, tmp_path):
    """What lives may differ; a row more, less or other may not."""
    edge.save(1, tmp_path, "run-1")
    oms.engine.sql(f"update {oms.place('cm.host')} set host_status = 'X', gmt_modified = now()")
    same = edge.rows_as_saved(1, tmp_path)
    oms.engine.sql(f"delete from {oms.place('cm.location_cm')} where id = 2")

    assert same is None
    assert "location_cm: 2 rows before, 1 now" in str(edge.rows_as_saved(1, tmp_path))


@pytest.mark.parametrize("regions", [1, 2])
def test_a_fresh_metadb_is_brought_back_to_no_rows(engine, oms, tmp_path, regions):
    """No table was there; by then there are, with rows of the region and perhaps of another."""
    for schema in ("rm", "cm", "hb1"):
        engine.sql(f"drop database if exists fresh_{schema}")
    edge = engine.edge("fresh")
    lease = edge.lease_take("run-1", "li@jump1")
    saved = edge.save(1, tmp_path, "run-1", fresh=True)
    create_oms(engine, "fresh")
    fill(engine, "fresh", regions)
    fresh = Oms(engine, "fresh")
    others = fresh.region(2)

    edge.restore_region(RestoreRows(1, saved=True), lease=lease, backup_dir=tmp_path)

    assert {} == saved.rows
    assert EMPTY == fresh.region(1)
    assert others == fresh.region(2)


def test_no_table_came_and_none_is_missed(engine, oms, tmp_path):
    """The run ended before its initialisation made any."""
    for schema in ("rm", "cm", "hb1"):
        engine.sql(f"drop database if exists fresh_{schema}")
    edge = engine.edge("fresh")
    lease = edge.lease_take("run-2", "li@jump1")
    edge.save(1, tmp_path, "run-2", fresh=True)

    back = edge.restore_region(RestoreRows(1, saved=True), lease=lease, backup_dir=tmp_path)

    assert {} == back.rows


def test_a_table_that_is_missing_is_told_unless_oms_is_fresh(engine, tmp_path):
    """fab meta.save with a misspelt cm_db must not save nothing, and say so gladly."""
    create_oms(engine, "fresh")
    engine.sql("drop table fresh_cm.host")

    with pytest.raises(OmsfabError, match="DB-023"):
        engine.edge("fresh").save(1, tmp_path, "meta-save")


# --- values ----------------------------------------------------------------------------------

NASTY = """
    id bigint not null auto_increment primary key, cm_location int, `order` varchar(40), b bit(9),
    b64 bit(64), j json, dec1 decimal(65,30), dt datetime(6), d date, ts timestamp(3) null,
    t time(3), y year, lob longblob, vb varbinary(20), bn binary(4), c char(5), f float,
    f2 float(9,2), db double, big bigint unsigned, e enum('a', 'é'), s set('x', 'y'), tx longtext,
    `odd ``name` int,
    g int generated always as (cm_location + 1) virtual,
    gs int generated always as (cm_location * 2) stored
"""
VALUES = """
    (0, 1, 'a''b\\\\"%s😀\\n', 341, 18446744073709551615, '{"é": [1.0, null, "😀"]}',
     12345678901234567890123456789012345.000000000000000000000000000001, '0000-00-00',
     '2020-02-31', '2020-10-25 02:30:00.123', '-12:01:02.5', '0000',
     repeat(X'00FF5C27', 1048576), X'00FF27', X'61', 'a  ', 16777217, 1.005,
     1.7976931348623157e308, 18446744073709551615, 'é', 'x,y', '', 1),
    (9, 1, '; drop table x; --', 0, 0, null, null, null, null, '0000-00-00 00:00:00', null, null,
     X'', null, null, '', 0.1, -0.0, 4.9e-300, 0, null, '', null, null),
    (-1, 1, '', null, null, '[]', -0.5, '2020-01-01 00:00:00.000001', '0000-00-00', null,
     '838:59:59', 2155, null, X'', null, null, null, null, null, null, 'a', null, 'NULL', 0)
"""
CHARSETS = {"latin1": "é'", "gbk": "中", "utf16": "䅂AB", "ascii": "x"}
FLOATS = {"f", "f2", "db"}


class Nasty:
    """A location_cm that holds what breaks naive dumps; ``look`` is its hash, told by SQL."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        create_oms(engine, "nasty", location_cm=NASTY)
        others = ("rm.cluster_info", "cm.resource_group", "cm.host")
        fill(engine, "nasty", regions=1, tables=others)
        columns = self._columns("extra not like '%GENERATED%'")
        engine.sql(
            "set sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', time_zone = '+01:00'",
            f"insert into nasty_cm.location_cm ({', '.join(columns)}) values {VALUES}",
        )
        if engine.kind == "mariadb":
            for charset, text in CHARSETS.items():
                quoted = text.replace("'", "''")
                engine.sql(
                    f"alter table nasty_cm.location_cm add {charset}_ varchar(40)"
                    f" character set {charset} default '{quoted}'"
                )

    def _columns(self, where: str) -> list[str]:
        rows = self.engine.sql(
            "select column_name from information_schema.columns where table_schema = 'nasty_cm'"
            f" and table_name = 'location_cm' and {where} order by ordinal_position"
        )
        return ["`" + name.replace("`", "``") + "`" for (name,) in rows]

    def look(self) -> list[tuple[object, ...]]:
        words = [
            f"hex(cast({column}{' + 0e0' if column.strip('`') in FLOATS else ''} as binary))"
            for column in self._columns("1 = 1")
        ]
        return self.engine.sql(f"select {', '.join(words)} from nasty_cm.location_cm order by id")


@pytest.fixture
def nasty(oms: Oms) -> Nasty:
    return Nasty(oms.engine)


def test_nasty_values_survive_delete_and_restore(nasty, tmp_path):
    """D12: NULL and '', zero dates, id 0, JSON, BIT, FLOAT, 4 MB blobs, odd charsets and names."""
    edge, before = nasty.engine.edge("nasty"), nasty.look()
    lease = edge.lease_take("run-n", "li@jump1")

    edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    cleared = nasty.look()
    edge.restore_region(RESTORE, lease=lease, backup_dir=tmp_path)

    assert [] == cleared
    assert 3 == len(before)
    assert before == nasty.look()


def load_with_client(engine: Engine, script: Path) -> None:
    client = shutil.which("mariadb") or shutil.which("mysql")
    if client is None:
        with contextlib.closing(engine.connect()) as link, link.cursor() as cursor:
            for line in script.read_text().splitlines():
                if not line.startswith("--"):
                    cursor.execute(line)
        return
    words = [client, "--no-defaults", "-h127.0.0.1", f"-P{engine.port}", "-uroot"]
    with script.open("rb") as file:
        subprocess.run(words, stdin=file, check=True, capture_output=True)


def test_the_plain_sql_restores_without_omsfab(nasty, tmp_path):
    """A DBA with the mysql client and the file gets every byte back."""
    edge, before = nasty.engine.edge("nasty"), nasty.look()
    lease = edge.lease_take("run-n", "li@jump1")
    done = edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)

    load_with_client(nasty.engine, done.files[1])

    assert before == nasty.look()


def test_the_plain_sql_replaces_what_an_initialisation_wrote(edge, oms, lease, tmp_path):
    """Loaded after docker_init.sh it removes the region's new rows, and no other region's."""
    before = oms.dump()
    done = edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    oms.engine.sql(*INITIALISED)

    load_with_client(oms.engine, done.files[1])

    assert before == oms.dump()


@pytest.mark.parametrize("limit", [2 << 20, 4 << 20])
def test_a_value_that_no_insert_could_bring_back_is_not_deleted(nasty, tmp_path, limit):
    """A row beyond max_allowed_packet would be in the backup and nowhere else, for ever.

    With a limit below the value itself MariaDB reads it as NULL, with nothing but a warning.
    """
    edge, before = nasty.engine.edge("nasty"), nasty.look()
    nasty.engine.sql(f"set global max_allowed_packet = {limit}")
    try:
        lease = edge.lease_take("run-n", "li@jump1")
        with pytest.raises(OmsfabError, match="DB-028"):
            edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    finally:
        nasty.engine.sql("set global max_allowed_packet = 33554432")

    assert before == nasty.look()


def test_every_flipped_bit_of_a_backup_is_noticed(edge, tmp_path):
    """Read back years later, a backup is either whole or refused."""
    path = edge.save(1, tmp_path, "run-7").files[0]
    good = path.read_bytes()
    whole = backup.load(path)

    for at in range(0, len(good), 37):
        path.write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :])
        with pytest.raises(BadBackup):
            backup.load(path)
    path.write_bytes(good)

    assert whole == backup.load(path)


# --- the line is cut -------------------------------------------------------------------------

POINTS = {
    "begin": r"^start transaction$",
    "fence": r"omsfab_lease.* for update$",
    "marker asked": r"^select `step`, `detail`",
    "host locked": r"`oms_cm`.`host` where .* for update$",
    "cluster_info locked": r"`oms_rm`.`cluster_info` where .* for update$",
    "delete host": r"^delete from `oms_cm`.`host`",
    "delete location_cm": r"^delete from `oms_cm`.`location_cm`",
    "delete resource_group": r"^delete from `oms_cm`.`resource_group`",
    "delete cluster_info": r"^delete from `oms_rm`.`cluster_info`",
    "lease renewed": r"^update `oms_rm`.`omsfab_lease`",
    "marker written": r"^insert into `oms_rm`.`omsfab_marker`",
    "commit": r"^commit$",
}
UPDATED = {
    "begin": r"^start transaction$",
    "fence": r"omsfab_lease.* for update$",
    "host locked": r"`oms_cm`.`host` where .* for update$",
    "update location_cm": r"^update `oms_cm`.`location_cm`",
    "delete cluster_info": r"^delete from `oms_rm`.`cluster_info`",
    "marker written": r"^insert into `oms_rm`.`omsfab_marker`",
    "commit": r"^commit$",
}
BACK = {
    "begin": r"^start transaction$",
    "fence": r"omsfab_lease.* for update$",
    "delete host": r"^delete from `oms_cm`.`host`",
    "insert host": r"^insert into `oms_cm`.`host`",
    "insert cluster_info": r"^insert into `oms_rm`.`cluster_info`",
    "read again": r"^select (?!.* for update)(?=.*from `oms_rm`.`cluster_info`)",
    "marker dropped": r"^(insert into|delete from) `oms_rm`.`omsfab_marker`",
    "commit": r"^commit$",
}
ACTIONS = ("before", "after", "hole", "deaf")
"""Cut, or silent for ever: the statement arrives with ``after`` and ``deaf``, its answer never."""
SILENT = ("hole", "deaf")


@pytest.fixture
def action(request, engine):
    """What the proxy does; of the two kin, MariaDB and MySQL, one is waited for in silence."""
    if engine.kind == "mysql" and request.param in SILENT and not os.environ.get("OMSFAB_CRASH"):
        pytest.skip("takes long: scripts/crash runs it")
    return request.param


@pytest.mark.parametrize("action", ACTIONS, indirect=True)
@pytest.mark.parametrize("point", POINTS)
def test_a_cut_line_never_lies(oms, lease, proxy, tmp_path, point, action):
    """D01, D02, D03: committed is told as committed, else nothing is deleted; resume ends both."""
    before = oms.dump()
    edge = oms.engine.edge(port=proxy.port, limits=replace(SHORT, read=1))
    proxy.arm(POINTS[point], action)
    committed = point == "commit" and action in {"after", "deaf"}

    with contextlib.ExitStack() as stack:
        if not committed:
            stack.enter_context(pytest.raises(MetaDbAway, match="DB-010"))
        done = edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)

    assert 1 == proxy.hits
    if committed:
        assert EMPTY == oms.region(1)
        assert {"host": 2, "location_cm": 1, "resource_group": 1, "cluster_info": 1} == done.rows
    else:
        assert before == oms.dump()
    resumed = edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    assert committed == resumed.already
    assert EMPTY == oms.region(1)


@pytest.mark.parametrize("action", ACTIONS, indirect=True)
@pytest.mark.parametrize("point", UPDATED)
def test_a_cut_update_never_lies(oms, lease, proxy, tmp_path, point, action):
    """The other way is one transaction as well: all of it, or nothing; resume and undo work."""
    before = oms.dump()
    edge = oms.engine.edge(port=proxy.port, limits=replace(SHORT, read=1))
    proxy.arm(UPDATED[point], action)
    committed = point == "commit" and action in {"after", "deaf"}

    with contextlib.ExitStack() as stack:
        if not committed:
            stack.enter_context(pytest.raises(MetaDbAway, match="DB-010"))
        edge.clear_region(UPDATE, lease=lease, backup_dir=tmp_path, mirror=nowhere)

    assert 1 == proxy.hits
    assert committed == (before != oms.dump())
    resumed = edge.clear_region(UPDATE, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    after = oms.dump()
    edge.restore_region(RESTORE, lease=lease, backup_dir=tmp_path)
    assert committed == resumed.already
    assert [(1, "1", str(NEW)), (2, "2", str(OTHER))] == after["cm.location_cm"]
    assert [2] == [row[1] for row in after["rm.cluster_info"]]
    assert before["cm.host"] == after["cm.host"]
    assert before == oms.dump()


@pytest.mark.parametrize("action", ACTIONS, indirect=True)
@pytest.mark.parametrize("point", BACK)
def test_a_cut_restore_never_lies(edge, oms, lease, proxy, tmp_path, point, action):
    """The rollback is one transaction as well: all rows are back, and told so, or none."""
    before = oms.dump()
    edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    oms.engine.sql(*INITIALISED)
    cleared = oms.dump()
    cut = oms.engine.edge(port=proxy.port, limits=replace(SHORT, read=1))
    proxy.arm(BACK[point], action)
    committed = point == "commit" and action in {"after", "deaf"}

    with contextlib.ExitStack() as stack:
        if not committed:
            stack.enter_context(pytest.raises(OmsfabError))
        cut.restore_region(RESTORE, lease=lease, backup_dir=tmp_path)

    assert 1 == proxy.hits
    assert (before if committed else cleared) == oms.dump()
    cut.restore_region(RESTORE, lease=lease, backup_dir=tmp_path)
    assert before == oms.dump()


@pytest.mark.parametrize("point", ["sql_select_limit", "^show variables", "sql_mode", "isolation"])
def test_a_line_cut_after_the_login_is_told(oms, lease, proxy, tmp_path, point):
    """A connection lost while its session is set up is an error of ours, by id: DB-005."""
    before = oms.dump()
    edge = oms.engine.edge(port=proxy.port)
    proxy.arm(point, "before")

    with pytest.raises(MetaDbAway, match="DB-005"):
        edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)

    assert (1, before) == (proxy.hits, oms.dump())


def test_no_answer_at_all_is_an_unknown_outcome(oms, lease, proxy, tmp_path):
    """Exit 7: the COMMIT was lost and the MetaDB stays away; resume finds out."""
    edge = oms.engine.edge(port=proxy.port, limits=replace(SHORT, patience=1))
    proxy.arm(r"^commit$", "after")

    def away(path: Path) -> None:
        proxy.refuse = True

    with pytest.raises(OutcomeUnknown, match="DB-012") as unknown:
        edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=away)
    proxy.refuse = False
    resumed = edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)

    assert 7 == unknown.value.exit_code
    assert resumed.already


# --- lock ------------------------------------------------------------------------------------


def test_a_lease_knows_whether_nobody_held_it(edge):
    """Only such a one is given back where the run turns out to have ended elsewhere."""
    first = edge.lease_take("run-1", "li@jump1")
    again = edge.lease_take("run-1", "li@jump1")

    assert (True, False) == (first.was_free, again.was_free)


def test_of_many_takers_one_wins(oms):
    """J11: from two jump hosts at once exactly one run holds the lock; the others exit 4."""
    edge = oms.engine.edge()
    edge.lease_release(edge.lease_take("first", "x"))
    for _ in range(25):
        barrier, won, lost = threading.Barrier(4), [], []

        def race(
            name: str, barrier: threading.Barrier = barrier, won: list = won, lost: list = lost
        ) -> None:
            barrier.wait()
            try:
                won.append(edge.lease_take(name, f"{name}@jump"))
            except Locked as refused:
                lost.append(refused.exit_code)

        threads = [threading.Thread(target=race, args=(f"run-{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        edge.lease_release(won[0])

        assert (1, 3) == (len(won), len(lost))
        assert {4} == set(lost)


def user(oms: Oms, name: str, *grants: str) -> MetaDbEdge:
    """Another user of the same OMS, with these rights."""
    oms.engine.sql(
        f"drop user if exists '{name}'@'%'",
        f"create user '{name}'@'%' identified by 'w'",
        *(f"grant {grant} to '{name}'@'%'" for grant in grants),
    )
    login = {"user": name, "password": Secret("w")}
    return MetaDbEdge(oms.engine.metadb().model_copy(update=login), connect, limits=SHORT)


OF_OMS = ("all on oms_rm.*", "all on oms_cm.*")


@pytest.mark.parametrize("first", ["mighty", "narrow"])
def test_two_users_with_different_rights_hold_no_two_leases(oms, first):
    """One may make databases and see them all, the other sees those of OMS only: the second one is
    refused, whoever came first, also where a former version left its place."""
    mighty = user(oms, "mighty", "all on *.*")
    narrow = user(oms, "narrow", *OF_OMS)
    oms.engine.sql("create database omsfab")
    for table in ("lease", "marker"):  # what a former version left, and only one of them sees
        text = getattr(sql, f"create_{table}")(f"omsfab.omsfab_{table}")
        oms.engine.sql(text)
    one, other = (mighty, narrow) if first == "mighty" else (narrow, mighty)

    lease = one.lease_take("run-1", "li@jump1")
    with pytest.raises(Locked, match=r"DB-030 .*run run-1"):
        other.lease_take("run-2", "wu@jump2")
    seen = other.lease_holder().run_id
    one.lease_renew(lease)
    one.lease_release(lease)

    assert "run-1" == seen
    assert "run-2" == other.lease_take("run-2", "wu@jump2").run_id


def test_a_run_waits_until_its_own_dead_transaction_has_ended(edge, oms, lease):
    """A jump host died in a transaction: the same run waits for the server, another does not."""
    said: list[str] = []
    with contextlib.closing(oms.engine.connect(autocommit=False)) as dead:
        dead.cursor().execute("select token from oms_rm.omsfab_lease for update")

        with pytest.raises(Locked, match="DB-030"):
            edge.lease_take("run-2", "wang@jump2", on_busy=lambda: said.append("other"))

        def end() -> None:
            said.append("own")
            dead.rollback()

        again = edge.lease_take("run-1", "li@jump1", on_busy=end)

    assert (["own"], lease.token + 1) == (said, again.token)


def test_the_lease_of_a_former_version_is_respected(oms, edge):
    """It lies in a schema of its own; whoever sees that one is refused, and told who has it; the
    holder goes on with it, and its marker counts."""
    oms.engine.sql("create database omsfab")
    for table in ("lease", "marker"):
        oms.engine.sql(getattr(sql, f"create_{table}")(f"omsfab.omsfab_{table}"))
    oms.engine.sql(
        "insert into omsfab.omsfab_lease values ('oms_rm', 41, 'old', 'li@jump1',"
        " utc_timestamp(6), utc_timestamp(6), utc_timestamp(6) + interval 60 second)",
        "insert into omsfab.omsfab_marker values ('old', 'clear@1', 41, '{}', utc_timestamp(6))",
    )

    with pytest.raises(Locked, match=r"DB-030 .*run old"):
        edge.lease_take("run-2", "wu@jump2")
    again = edge.lease_take("old", "li@jump1")

    assert 42 == again.token
    assert edge.deleted_by("old", 1)


def test_a_place_that_may_not_be_seen_is_refused(oms):
    """A user that is not told whether rm_db is there would make a second place: DB-032."""
    blind = user(oms, "blind", "all on oms_cm.*", "create on omsfab.*")

    with pytest.raises(PreflightError, match="DB-032"):
        blind.lease_take("run-1", "li@jump1")


def test_a_first_deployment_takes_its_lease_along(oms):
    """There is no rm_db yet, so it lies in a schema of its own; once docker_init.sh has made rm_db,
    users who see only that are refused as well."""
    oms.engine.sql("drop database oms_rm")
    edge = oms.engine.edge()
    narrow = user(oms, "narrow", *OF_OMS)
    try:
        lease = edge.lease_take("run-1", "li@jump1")
        oms.engine.sql("create database oms_rm")
        edge.lease_renew(lease)

        with pytest.raises(Locked, match=r"DB-030 .*run run-1"):
            narrow.lease_take("run-2", "wu@jump2")
    finally:
        create_oms(oms.engine, "oms")


def at_once(seconds: float) -> None:
    """Waits for nobody."""


def expire(oms: Oms) -> None:
    oms.engine.sql("update oms_rm.omsfab_lease set expires = utc_timestamp(6) - interval 1 second")


def test_a_held_lock_names_its_holder(edge, lease):
    """Who, which run, since when, and a line to paste."""
    with pytest.raises(Locked, match=r"DB-030 .* li@jump1 \(run run-1\) since ") as held:
        edge.lease_take("run-2", "wu@jump2")

    assert "fab lock.break --run=run-1" in held.value.render()


def test_an_expired_lock_of_another_is_not_stolen(edge, oms, lease):
    """J13: never silent stealing, expired or not."""
    expire(oms)

    with pytest.raises(Locked, match="DB-030"):
        edge.lease_take("run-2", "wu@jump2")


def test_a_run_takes_its_own_lock_back(edge, oms, lease):
    """J13: the same owner at once, another jump host when the lease has expired."""
    again = edge.lease_take("run-1", "li@jump1")
    with pytest.raises(Locked, match="DB-030"):
        edge.lease_take("run-1", "li@jump2")
    expire(oms)
    elsewhere = edge.lease_take("run-1", "li@jump2")

    assert (lease.token + 1, lease.token + 2) == (again.token, elsewhere.token)


def test_breaking_wants_the_exact_run_and_an_expired_lease(edge, oms, lease):
    """J13: as Terraform's lock id; and a holder that renews meanwhile is alive."""
    with pytest.raises(Locked, match=r"DB-033 .* has not expired"):
        edge.lease_break("run-1")
    expire(oms)
    with pytest.raises(Locked, match=r"DB-033 .* held by run run-1, not run-2"):
        edge.lease_break("run-2")
    with pytest.raises(Locked, match="DB-033"):
        edge.lease_break("run-1", wait=lambda _: edge.lease_renew(lease))
    expire(oms)

    assert "run-1" == edge.lease_break("run-1", wait=at_once).run_id
    assert edge.lease_holder() is None


@pytest.mark.parametrize(("idle", "watched"), [(100, 165), (230, 35), (300, 25)])
def test_a_lease_must_lie_still_for_twice_its_life(edge, oms, lease, idle, watched):
    """J13: by MetaDB's clock; what is missing of it is waited for, and a renewal's time more."""
    expire(oms)
    oms.engine.sql(
        f"update oms_rm.omsfab_lease set renewed = utc_timestamp(6) - interval {idle} second"
    )
    spans: list[float] = []

    edge.lease_break("run-1", wait=spans.append)

    assert [True] == [watched - 15 < span <= watched for span in spans]


def test_a_holder_that_wakes_after_a_takeover_changes_nothing(edge, oms, lease, tmp_path):
    """The fence: the sleeper's token is old, so clear, restore and renewal are refused."""
    before = oms.dump()
    expire(oms)
    edge.lease_break("run-1", wait=at_once)
    edge.lease_take("run-2", "wu@jump2")

    with pytest.raises(LockLost, match="DB-031"):
        edge.clear_region(CLEAR, lease=lease, backup_dir=tmp_path, mirror=nowhere)
    with pytest.raises(LockLost, match="DB-031"):
        edge.lease_renew(lease)
    edge.save(1, tmp_path, "run-1")
    with pytest.raises(LockLost, match="DB-031"):
        edge.restore_region(RESTORE, lease=lease, backup_dir=tmp_path)
    edge.lease_release(lease)

    assert before == oms.dump()
    assert "run-2" == edge.lease_holder().run_id


def test_a_takeover_waits_for_the_transaction_of_the_holder(edge, oms, lease, tmp_path):
    """Between fence and commit nobody else gets the lock, expired or not."""
    refused = []

    def steal(path: Path) -> None:
        expire_text = "update oms_rm.omsfab_lease set expires = now() - interval 9 hour"
        with pytest.raises(pymysql.Error) as waited:
            oms.engine.sql("set session innodb_lock_wait_timeout = 1",
                           *LOCK_WAIT.get(oms.engine.kind, ()), expire_text)  # fmt: skip
        refused.append(waited.value.args[0])

    done = edge.clear_region(
        ClearRows(1, ("cluster_info",)), lease=lease, backup_dir=tmp_path, mirror=steal
    )

    assert {1205} == set(refused)
    assert {"cluster_info": 1} == done.rows


LOCK_WAIT = {"oceanbase": ["set session ob_trx_lock_timeout = 1000000"]}


class Untouched(pymysql.cursors.Cursor):
    """A cursor that says of an UPDATE of the lease that it touched no row, as it does it."""

    def execute(self, query, args=None):
        touched = super().execute(query, args)
        return 0 if query.startswith("update `oms_rm`.`omsfab_lease`") else touched


def test_a_lease_that_the_row_calls_ours_is_not_lost(edge, oms, lease):
    """Seen once on OceanBase, behind a COMMIT: no renewal, and nobody's lock but ours."""
    server = oms.engine.edge()._server
    counted = replace(server, connect=functools.partial(server.connect, cursorclass=Untouched))

    with LeaseKeeper(counted, lease, every=60) as keeper:
        keeper._renew()
        keeper.check()
        oms.engine.sql("update oms_rm.omsfab_lease set token = token + 1")
        keeper._renew()

        with pytest.raises(LockLost, match="DB-031"):
            keeper.check()


def test_a_keeper_that_is_stopped_has_ended(oms, lease, monkeypatch):
    """A renewal that is under way, and may move the lease into rm_db, is waited for."""
    asked, answer, done = threading.Event(), threading.Event(), []

    def renew(*_):
        asked.set()
        answer.wait(5)
        done.append("renewed")

    monkeypatch.setattr("omsfab.metadb.lease.renew", renew)
    with LeaseKeeper(oms.engine.edge()._server, lease, every=0.001) as keeper:
        assert asked.wait(5)
        stops = threading.Thread(target=keeper.stop)
        stops.start()
        answer.set()
        stops.join(10)

        assert (["renewed"], False) == (done[:1], keeper._thread.is_alive())


def test_a_keeper_renews_and_notices_a_loss(edge, oms, lease):
    """Renewed from a thread of its own; a lost lock is told at the next question."""
    renewed = threading.Event()
    server = oms.engine.edge(
        on_statement=lambda text: renewed.set() if text.startswith("update `oms_rm`") else None
    )._server
    expire(oms)

    with LeaseKeeper(server, lease, every=0.02) as keeper:
        assert renewed.wait(5)
        keeper.check()
        oms.engine.sql("update oms_rm.omsfab_lease set token = token + 1")
        keeper._thread.join(5)

        with pytest.raises(LockLost, match="DB-031"):
            keeper.check()
