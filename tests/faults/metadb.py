"""Faults of the MetaDB (README.md, section 3); single statements are cut by the wire tests."""

from __future__ import annotations

import shutil
from pathlib import Path

from omsfab.lab import metadb as lab_metadb
from omsfab.lab import network
from tests.faults import oracle
from tests.faults.harness import Harness, Miss
from tests.faults.inputs_vip_docker import OUT, snap
from tests.faults.matrix import fault

USER = "'oms@oms_meta'@'%%'"


def sql(g: Harness, do: str, undo: str = "") -> None:
    g.lab.sql(do)
    if undo:
        g.undo(lambda: g.lab.sql(undo))


@fault("D05", "someone holds the rows", "select … for update in an open transaction")
def locked_rows(g: Harness) -> None:
    other = g.lab.connect()
    g.undo(other.close)
    other.begin()
    other.cursor().execute("select * from oms_cm.host for update")
    outcome = g.fab(*OUT)
    if outcome.code not in (3, 6):
        raise Miss(f"exit {outcome.code}")
    g.says(outcome, "DB-015")
    if [
        r for r in oracle.rows(g.lab, "oms_rm.cluster_info") if r["cm_url"].endswith("11:8088")
    ] == []:
        raise Miss("rows are gone")
    g.heal()
    g.ended(g.paste(outcome), 0)


@fault(
    "D08",
    "rows of another table hang on a table that is to be cleared",
    "a foreign key with cascade",
)
def cascade(g: Harness) -> None:
    sql(
        g,
        "create table oms_cm.hanger (id bigint primary key, host_id bigint,"
        " foreign key (host_id) references oms_cm.host (id) on delete cascade)",
        "drop table oms_cm.hanger",
    )
    g.says(g.refused(g.fab(*OUT), 3, "DB-020"), "hanger")


@fault("D13", "a table of OMS is not there", "location_cm renamed")
def table_missing(g: Harness) -> None:
    """Nobody outside the vendor knows whether every OMS has it: no dead end, and told."""
    g.lab.sql("alter table oms_cm.location_cm rename to oms_cm.location_cm_x")

    def back() -> None:
        g.lab.sql("drop table if exists oms_cm.location_cm")
        g.lab.sql("alter table oms_cm.location_cm_x rename to oms_cm.location_cm")

    g.undo(back)
    outcome = g.ended(g.fab(*OUT), 0)
    g.says(outcome, "the MetaDB has no table oms_cm.location_cm")


@fault("D14", "another region shares the MetaDB", "rows of region 0 in all four tables")
def other_region(g: Harness) -> None:
    lab = g.lab
    url = "http://10.9.9.9:8088"
    sql(
        g,
        "insert into oms_rm.cluster_info (region, region_cn, cm_url, code, is_default_cm)"
        f" values ('cn-far', 'far', '{url}', 0, 0)",
        "delete from oms_rm.cluster_info where code = 0",
    )
    sql(
        g,
        "insert into oms_cm.resource_group (id, name) values (77, '0')",
        "delete from oms_cm.resource_group where name = '0'",
    )
    sql(
        g,
        "insert into oms_cm.host (ip, resource_group_id, host_status) values ('10.9.9.1', 77, 'ONLINE')",
        "delete from oms_cm.host where ip = '10.9.9.1'",
    )
    sql(g, f"insert into oms_cm.location_cm (location, cm_url, region) values ('0', '{url}', 'cn-far')",
        "delete from oms_cm.location_cm where location = '0'")  # fmt: skip

    def theirs() -> list[object]:
        return [
            lab.sql("select * from oms_rm.cluster_info where code = 0"),
            lab.sql("select * from oms_cm.resource_group where id = 77"),
            lab.sql("select * from oms_cm.host where resource_group_id = 77"),
            lab.sql("select * from oms_cm.location_cm where location = '0'"),
        ]

    before = theirs()
    snap(g)
    g.ended(g.fab(*OUT), 0)
    if theirs() != before:
        raise Miss(f"{before} -> {theirs()}")


@fault("D15", "the user may not delete", "revoke delete on oms_rm")
def no_right(g: Harness) -> None:
    user = f"'{g.lab.metadb.user}'@'%'"
    for line in (f"revoke all privileges, grant option from {user}",
                 f"grant select, insert, update on oms_rm.* to {user}",
                 f"grant all privileges on oms_cm.* to {user}",
                 f"grant all privileges on oms_cm_heartbeat_1.* to {user}"):  # fmt: skip
        g.lab.sql(line)
    g.undo(lambda: g.lab.sql(f"grant all privileges on *.* to {user} with grant option"))
    g.says(g.refused(g.fab(*OUT), 3, "DB-027"), "right")


@fault("D16", "the password is wrong", "another password in its file")
def wrong_password(g: Harness) -> None:
    path = g.directory / "wrong"
    path.write_text("CANARY-wrong")
    path.chmod(0o600)
    g.edit(lambda data: data["metadb"].update(password={"file": str(path)}))
    outcome = g.refused(g.fab(*OUT), 3, "DB-002")
    if "CANARY-wrong" in outcome.out:
        raise Miss("the password is in the text")


@fault("D16b", "the MetaDB is down", "its address taken away")
def down(g: Harness) -> None:
    netns = g.lab.place.netns(lab_metadb.MEMBER)
    unplug(g, netns)
    g.ended(g.fab(*OUT), 3, "DB-001")
    g.heal()
    oracle.wait(
        lambda: bool(g.lab.sql("select 1 from oms_cm.host where host_status = 'ONLINE'")), 60
    )
    g.production_untouched()


@fault("D16c", "the MetaDB goes down in the run", "unreachable when production has stopped")
def goes_down(g: Harness) -> None:
    netns = g.lab.place.netns(lab_metadb.MEMBER)
    running = g.start(*OUT)
    running.says(r"oms1 +stop-processes +▸", 120)
    unplug(g, netns)
    outcome = g.note(running.end())
    if outcome.code not in (6, 7):
        raise Miss(f"exit {outcome.code}: {outcome.out[-800:]}")
    g.heal()
    g.ended(g.paste(outcome), 0)


@fault(
    "D28",
    "the saved rows are gone from the jump host, or damaged",
    "SIGKILL behind the delete; then rm, or a byte turned over",
)
def backup_lost(g: Harness) -> None:
    for rounds, harm in enumerate((Path.unlink, turned), 1):
        g.reset()
        g.planned.update(dict.fromkeys(g.names, rounds))  # what was counted is not put back
        shutil.rmtree(g.directory / "state", ignore_errors=True)
        g.killed_at("initialise@oms1:before", *OUT)
        for file in (g.directory / "state").glob("*/*/backup/*.jsonl"):
            harm(file)
        outcome = g.fab("run.resume", "--yes")
        if outcome.code:
            g.ended(outcome, 5, "DB-014", "DB-021")
        g.ended(g.follow(outcome), 0)


def turned(file: Path) -> None:
    """A byte in the middle is another one."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def unplug(g: Harness, netns: str) -> None:
    from omsfab.lab.system import run

    rule = (
        "INPUT",
        "-p",
        "tcp",
        "--dport",
        str(g.lab.metadb.port),
        "-j",
        "REJECT",
        "--reject-with",
        "tcp-reset",
    )
    run("nsenter", f"--net={network.NETNS / netns}", "iptables", "-I", *rule)
    g.undo(lambda: run("nsenter", f"--net={network.NETNS / netns}", "iptables", "-D", *rule))
