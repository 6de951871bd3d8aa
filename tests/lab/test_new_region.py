"""Guide, "Scale out OMS from a single region", on real servers: a second region of two nodes,
whose console has a certificate.

The first region was deployed as long as there was but one, without cm_region.  The tests build on
each other, in the order in which they stand.
"""

from __future__ import annotations

import signal
import ssl

import pytest
import yaml

from tests.lab.tour import certificate, page

FIXED = (
    "select * from oms_rm.cluster_info where code = 1",
    "select * from oms_cm.location_cm where location = '1'",
    "select * from oms_cm.resource_group where name = '1'",
    "select h.id, h.ip, h.resource_group_id, h.gmt_created from oms_cm.host h"
    " join oms_cm.resource_group g on g.id = h.resource_group_id where g.name = '1'",
)


@pytest.fixture(scope="module")
def fleet(make_fleet):
    """oms1 as an operator without several regions has it."""
    fleet = make_fleet("region", metadb="mariadb")
    said = fleet.fab("oms.deploy", "--yes", hosts="initial.yaml")
    assert said.status == 0, said
    path = fleet.lab.path("oms1", "/data/config.yaml")
    lines = [line for line in path.read_text().splitlines(True) if "cm_region" not in line]
    path.write_text("".join(lines))  # in place, as a container's mount needs it
    fleet.lab.sql("update oms_rm.cluster_info set region = 'cn-default', region_cn = ''")
    return fleet


def vip(fleet):
    return fleet.lab.vip.rsplit(".", 1)[0] + ".101"


def write(fleet, **second):
    ip = {node.name: node.ip for node in fleet.lab.nodes}
    region = {
        "location": 2,
        "default": False,
        "cm_url": f"http://{vip(fleet)}:8088",
        "heartbeat_db": "oms_cm_heartbeat_2",
        "nodes": {name: ip[name] for name in ("oms2", "oms3")},
    }
    if not (fleet.lab.directory / "certs").exists():
        new_certificate(fleet)
    places = {"crt": "certs/console.crt", "key": "certs/console.key"}
    region["https"] = {name: str(fleet.lab.directory / path) for name, path in places.items()}
    home = {"cn-lab": {"heartbeat_db": second.pop("home_db", "oms_cm_heartbeat_1")}}
    fleet.write(
        "hosts.yaml",
        f"http://{ip['oms1']}:8088",
        ["oms1"],
        regions=home | {"cn-jiangsu": region | second},
    )


def new_certificate(fleet):
    """Another one each time, for the addresses of the second region."""
    certificate(fleet.lab, [vip(fleet), *(fleet.lab.node(name).ip for name in ("oms2", "oms3"))])
    return (fleet.lab.directory / "certs" / "console.crt").read_text()


def rows(fleet):
    return [fleet.lab.sql(text) for text in FIXED]


def test_an_address_that_nobody_holds_is_refused(fleet):
    """Nobody can answer there before the first container runs, but no host refuses either."""
    write(fleet)
    said = fleet.fab("scale.out", "--yes")

    assert 3 == said.status, said
    assert "VIP-001" in said.out
    assert {"oms1": "running"} == fleet.containers()


def test_a_heartbeat_database_in_use_is_refused(fleet):
    """oms1 reports there: hosts.yaml may say otherwise, MetaDB knows."""
    write(fleet, heartbeat_db="oms_cm_heartbeat_1", home_db="oms_cm_other")
    said = fleet.fab("scale.out", "--region=cn-jiangsu", "--yes")

    assert 3 == said.status, said
    assert "report in heartbeat_db oms_cm_heartbeat_1" in said.out


def test_other_databases_than_the_running_nodes_are_refused(fleet):
    """Guide: rm_db and cm_db as on the initial node.  Compared with its live config.yaml."""
    write(fleet, home_db="oms_cm_other")
    said = fleet.fab("scale.out", "--region=cn-jiangsu", "--yes")

    assert 3 == said.status, said
    assert "CFG-011" in said.out


@pytest.fixture(scope="module")
def joined(fleet):
    """Killed before the second initialisation, then resumed; the rows of region 1 before."""
    write(fleet)
    fleet.lab.enter("oms2", ["ip", "addr", "replace", f"{vip(fleet)}/24", "dev", "eth0"])
    before = rows(fleet)
    planned = fleet.fab("scale.out", "--plan", "--verbose")
    killed = fleet.fab("scale.out", "--yes", OMSFAB_FAILPOINT="initialise@oms3:before:kill")
    return planned, killed, fleet.fab("run.resume", "--yes"), before


def test_the_plan_says_why(joined):
    """Which region, why it is no second default, what the first region's config.yaml lacks."""
    planned, *_ = joined

    assert "new region cn-jiangsu (location 2) on oms2, oms3" in planned.out
    assert "although the guide's sample has true" in planned.out
    assert "oms1: cm_region: (absent) -> cn-lab" in planned.out
    assert "MSHA" in planned.out


def test_a_killed_run_is_resumed(fleet, joined):
    """Each node of the new region was initialised once, oms1 not again."""
    _, killed, resumed, _ = joined

    assert -signal.SIGKILL == killed.status, killed
    assert resumed.status == 0, resumed
    assert {"oms1": 1, "oms2": 1, "oms3": 1} == fleet.inits()
    assert 0 == fleet.overlaps()


def test_other_regions_rows_are_byte_identical(fleet, joined):
    """Asked past omsfab: four tables, region 1, before and after."""
    assert joined[3] == rows(fleet)


def test_the_rows_of_the_new_region(fleet, joined):
    """One row, not the default one; all hosts ONLINE."""
    found = fleet.lab.sql(
        "select region, cm_url, is_default_cm from oms_rm.cluster_info where code = 2"
    )

    assert [("cn-jiangsu", f"http://{vip(fleet)}:8088", 0)] == [tuple(row) for row in found]
    assert {node.ip: "ONLINE" for node in fleet.lab.nodes} == fleet.hosts()


def test_the_first_region_has_its_name_now(fleet, joined):
    """In config.yaml, and the components were told."""
    have = yaml.safe_load(fleet.lab.path("oms1", "/data/config.yaml").read_text())
    told = fleet.docker(
        "oms1", "exec", "oms_427", "cat", "/home/ds/supervisor/config/drc.properties"
    )

    assert ("cn-lab", "cn-lab") == (have["cm_region"], have["cm_region_cn"])
    assert 'cm_region="cn-lab"' in told


def test_nothing_is_left_to_do(fleet, joined):
    """Both regions as hosts.yaml wants them, without naming one.

    MetaDB has the first one by the name it had alone, and that stops nobody: it is told.
    """
    again, checked = fleet.fab("scale.out", "--yes"), fleet.fab("fleet.check")

    assert "scale.out: 0 changes" in again.out
    assert "location 1 is called cn-default in MetaDB, cn-lab in hosts.yaml" in again.out
    assert "location 1: cn-default -> cn-lab" in checked.out
    assert " checks: 1 difference" in checked.out


def consoles(fleet):
    """What the consoles of the second region say by HTTPS, by HTTP, and the certificate shown."""
    for name in ("oms2", "oms3"):
        ip = fleet.lab.node(name).ip
        yield page(ip, 8089, tls=True), page(ip, 8089)[0], ssl.get_server_certificate((ip, 8089))


def test_the_console_is_https_only(fleet, joined):
    """Guide: with a mounted certificate only the HTTPS URL works; the first region has none."""
    shown = (fleet.lab.directory / "certs" / "console.crt").read_text()
    for node in fleet.lab.nodes:  # a page that says who answers; not every image has it
        fleet.lab.knob(node.name, HEALTH=1)

    assert [((200, True), 0, shown)] * 2 == list(consoles(fleet))
    assert (200, True) == page(fleet.lab.node("oms1").ip, 8089)


def test_a_certificate_is_renewed_without_a_new_container(fleet, joined):
    """fab node.push-certs: the consoles show the new one, the containers are the same."""
    nodes = ("oms2", "oms3")
    ids = [fleet.docker(name, "inspect", "-f", "{{.Id}}", "oms_427") for name in nodes]
    new = new_certificate(fleet)
    said = [fleet.fab("node.push-certs", f"--node={name}", "--yes") for name in nodes]

    assert [0, 0] == [one.status for one in said], said
    assert [new] * 2 == [shown for *_, shown in consoles(fleet)]
    assert ids == [fleet.docker(name, "inspect", "-f", "{{.Id}}", "oms_427") for name in nodes]


def test_a_new_store_directory_is_never_taken_silently(fleet, joined):
    """Guide, notice: the mount directories must remain unchanged."""
    ip = fleet.lab.node("oms1").ip
    fleet.write(
        "moved.yaml",
        f"http://{ip}:8088",
        ["oms1"],
        oms={"mounts": {"store": "/data/elsewhere"}, "extra": {"a_key": 1}},
    )
    said = fleet.fab("scale.out", "--yes", hosts="moved.yaml")

    assert 3 == said.status, said
    assert "mount /data/oms/oms_store:/home/ds/store, hosts.yaml has /data/elsewhere" in said.out


def test_a_new_region_is_taken_back(fleet, joined):
    """Containers and rows of the second region are gone, those of the first are as before.

    The certificate was renewed since: that file is no longer the run's, and is left alone.
    """
    said = fleet.fab("run.undo", "--yes", "--accept=CFG-013")

    assert said.status == 0, said
    assert {"oms1": "running"} == fleet.containers()
    assert joined[3] == rows(fleet)
    assert [1] == list(fleet.cm_urls()), said
    assert {fleet.lab.node("oms1").ip: "ONLINE"} == fleet.hosts()
