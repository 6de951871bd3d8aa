"""Several faults, planted past omsfab on several nodes and in MetaDB: told at once, and what
protects no data can be accepted."""

from __future__ import annotations

import re

import pytest

OTHER = "docker inspect -f '{{.Image}}' oms_427"
PLANTED = {
    "oms1": (
        "docker exec oms_427 mv /root/docker_init.sh /root/kept.sh",
        "docker exec oms_427 mv /usr/bin/supervisorctl /usr/bin/supervisorctl.away",
        "chattr +a /data/config.yaml",
        f"docker run -d --name oms_old --net none --entrypoint sleep $({OTHER}) 3600",
    ),
    "oms2": (
        "socat TCP-LISTEN:8089,fork /dev/null >/dev/null 2>&1 & echo $! >/run/planted",
        "chattr +i /data",
        "mkdir -p /var/lib/omsfab && mount -t tmpfs -o size=1m none /var/lib/omsfab",
    ),
    "oms3": ("mount --bind /data /data && mount -o remount,ro,bind /data",),
}
MENDED = {
    "oms1": (
        "docker exec oms_427 mv /root/kept.sh /root/docker_init.sh",
        "docker exec oms_427 mv /usr/bin/supervisorctl.away /usr/bin/supervisorctl",
        "chattr -a /data/config.yaml",
        "docker rm -f oms_old",
    ),
    "oms2": ("kill $(cat /run/planted)", "chattr -i /data", "umount /var/lib/omsfab"),
    "oms3": ("umount /data",),
}
FOUND = {
    "RUN-042 oms1": "supervisorctl: not found",
    "INIT-017 oms1": "/root/docker_init.sh is not there",
    "CFG-009 oms1": "/data/config.yaml is append-only",
    "HOST-007 oms1": "container oms_old runs, and has /root/docker_init.sh",
    "DB-007 oms1": "Access denied",
    "HOST-002 oms2": "port 8089 is used",
    "CFG-009 oms2": "/data is immutable",
    "HOST-008 oms2": "50 MB needed",
    "CFG-009 oms3": "/data is on a read-only mount",
    "IMG-009 metadb": "oms_version in MetaDB is 4.2.99",
}
"""Each finding, and what it says was found."""


def on(fleet, lines):
    for node, words in lines.items():
        for line in words:
            done = fleet.lab.enter(node, ["sh", "-c", line])
            assert done.returncode == 0, done


def shut_out(fleet, verb):
    """oms1 logs in to MetaDB with another password than config.yaml has, or as before."""
    user, ip = fleet.lab.metadb.user, fleet.lab.node("oms1").ip
    fleet.lab.sql(f"{verb} user '{user}'@'{ip}'" + (" identified by 'x'" * (verb == "create")))


@pytest.fixture(scope="module")
def fleet(make_fleet):
    fleet = make_fleet("findings", metadb="mariadb")
    said = fleet.fab("oms.deploy", "--yes", hosts="initial.yaml")
    assert said.status == 0, said
    yield fleet
    for name in ("oms1", "oms2"):  # or nobody could take the lab down
        fleet.lab.enter(name, ["chattr", "-R", "-i", "-a", "/data"])


@pytest.fixture(scope="module")
def planted(fleet):
    fleet.inits()  # the places of the counters are made before /data takes nothing new
    on(fleet, PLANTED)
    shut_out(fleet, "create")
    fleet.lab.sql("update oms_rm.oms_version set version = '4.2.99'")
    before = (fleet.inits(), fleet.lab.sql("select * from oms_rm.cluster_info"))
    refused = fleet.fab("scale.out", "--yes")
    return refused, before


def test_all_of_them_are_told_at_once(planted):
    """On every node and in MetaDB, several on one: exit 3, each with what was found."""
    refused, _ = planted
    said = refused.out
    told = {
        head: re.search(rf"✗ {head}: (?:.*\n(?! +[✗!] ))*?.*{re.escape(found)}", said) is not None
        for head, found in FOUND.items()
    }

    assert refused.status == 3, refused
    assert dict.fromkeys(FOUND, True) == told, said
    assert "wanted: " in said
    assert "fix: " in said


def test_nothing_was_changed(fleet, planted):
    """Neither an initialisation nor a row: production was never touched."""
    _, before = planted

    assert before == (fleet.inits(), fleet.lab.sql("select * from oms_rm.cluster_info"))


def test_what_cannot_be_accepted_is_refused_with_the_list(fleet, planted):
    """INPUT-029, exit 2: CFG-009 proves that config.yaml could not be written."""
    said = fleet.fab("scale.out", "--yes", "--accept=CFG-009")

    assert said.status == 2, said
    assert "INPUT-029" in said.out
    assert "IMG-009  " in said.out


def test_what_protects_no_data_goes_through_once_accepted(fleet, planted):
    """What cannot be accepted is mended, the version in MetaDB is accepted: told in plan, journal
    and report, and the run ends in service.  VIP-004: so it does where the VIP shuts oms1 out."""
    on(fleet, MENDED)
    shut_out(fleet, "drop")
    on(fleet, {"oms1": (f"iptables -I OUTPUT -p tcp -d {fleet.lab.vip} -j REJECT",)})
    refused = fleet.fab("scale.out", "--yes")
    assert refused.status == 3, refused
    assert "--accept=IMG-009" in refused.out

    said = fleet.fab("scale.out", "--yes", "--accept=IMG-009")
    shown = fleet.fab(
        "run.log",
    )
    report = fleet.fab("run.report")

    assert said.status == 0, said
    assert "accepted: IMG-009 another version" in said.out
    assert 2 == said.out.count("! VIP-004 oms1 itself reaches"), said
    assert "accepted: IMG-009" in shown.out
    assert report.status == 0
