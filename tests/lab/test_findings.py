"""Several faults, planted past omsfab on several nodes and in MetaDB: told at once, and what
protects no data can be accepted."""

from __future__ import annotations

import pytest

PLANTED = {
    "oms1": "docker exec oms_427 mv /root/docker_init.sh /root/kept.sh",
    "oms2": "socat TCP-LISTEN:8089,fork /dev/null >/dev/null 2>&1 & echo $! >/run/planted",
    "oms3": "mount --bind /data /data && mount -o remount,ro,bind /data",
}
MENDED = {
    "oms1": "docker exec oms_427 mv /root/kept.sh /root/docker_init.sh",
    "oms2": "kill $(cat /run/planted)",
    "oms3": "umount /data",
}


def on(fleet, lines):
    for node, line in lines.items():
        done = fleet.lab.enter(node, ["sh", "-c", line])
        assert done.returncode == 0, done


@pytest.fixture(scope="module")
def fleet(make_fleet):
    fleet = make_fleet("findings")
    said = fleet.fab("oms.deploy", "--yes", hosts="initial.yaml")
    assert said.status == 0, said
    return fleet


@pytest.fixture(scope="module")
def planted(fleet):
    on(fleet, PLANTED)
    fleet.lab.sql("update oms_rm.oms_version set version = '4.2.99'")
    before = (fleet.inits(), fleet.lab.sql("select * from oms_rm.cluster_info"))
    refused = fleet.fab("scale.out", "--yes")
    return refused, before


def test_all_of_them_are_told_at_once(planted):
    """INIT-017 on the old node, HOST-002 and CFG-009 on the new ones, IMG-009 in MetaDB: exit 3."""
    refused, _ = planted
    told = refused.out

    assert refused.status == 3, refused
    for finding in ("INIT-017 oms1", "HOST-002 oms2", "CFG-009 oms3", "IMG-009 metadb"):
        assert f"✗ {finding}" in told
    assert "4.2.99" in told
    assert "wanted: " in told
    assert "fix: " in told


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
    and report, and the run ends in service."""
    on(fleet, MENDED)
    refused = fleet.fab("scale.out", "--yes")
    assert refused.status == 3, refused
    assert "--accept=IMG-009" in refused.out

    said = fleet.fab("scale.out", "--yes", "--accept=IMG-009")
    shown = fleet.fab("run.show", "--whole")
    report = fleet.fab("run.report")

    assert said.status == 0, said
    assert "accepted: IMG-009 another version" in said.out
    assert "accepted: IMG-009" in shown.out
    assert report.status == 0
