"""Nodes that join behind a VIP: nothing is stopped, and the old nodes learn of them."""

from __future__ import annotations

import re

import pytest


@pytest.fixture(scope="module")
def fleet(make_fleet):
    """oms1 and oms2 behind the VIP, by --nodes; oms3 is in hosts.yaml, and not there yet."""
    fleet = make_fleet("third")
    fleet.fab("oms.deploy", "--yes", hosts="initial.yaml")
    said = fleet.fab("scale.out", "--nodes=oms2", "--yes")
    assert said.status == 0, said
    return fleet


def uptimes(fleet, node):
    """Program -> pid: another pid is a restart."""
    text = fleet.docker(node, "exec", "oms_427", "supervisorctl", "status")
    return {line.split()[0]: line.split()[3] for line in text.splitlines()}


@pytest.fixture(scope="module")
def joined(fleet):
    before = (uptimes(fleet, "oms1"), fleet.inits())
    return fleet.fab("scale.out", "--yes"), *before


def test_only_the_named_node_was_added_first(fleet):
    """--nodes=oms2 left oms3 alone; cm_nodes then had two addresses."""
    text = fleet.lab.path("oms1", "/data/config.yaml").read_text()

    assert fleet.lab.node("oms2").ip in text


def test_the_third_node_joins_without_an_outage(fleet, joined):
    """The CM and the console's front of oms1 are the same processes as before."""
    said, before, inits = joined
    after = uptimes(fleet, "oms1")

    assert said.status == 0, said
    assert "DOWN" not in said.out
    assert before["oms_drc_cm"] == after["oms_drc_cm"]
    assert inits | {"oms3": 1} == fleet.inits()


def test_the_plan_says_which_scenario_and_why(joined):
    """cm_url is the VIP already."""
    assert "cm_url in MetaDB is" in joined[0].out


def test_all_nodes_have_all_cm_nodes_and_know_it(fleet, joined):
    """The same file everywhere; the old nodes' components were refreshed from it."""
    texts = {fleet.lab.path(n.name, "/data/config.yaml").read_text() for n in fleet.lab.nodes}
    refreshed = fleet.docker(
        "oms1", "exec", "oms_427", "cat", "/home/ds/supervisor/config/drc.properties"
    )

    assert 1 == len(texts)
    assert all(node.ip in next(iter(texts)) for node in fleet.lab.nodes)
    assert refreshed


def test_three_hosts_are_online(fleet, joined):
    """MetaDB and the pages of the nodes agree."""
    assert {node.ip: "ONLINE" for node in fleet.lab.nodes} == fleet.hosts()
    assert all(fleet.serves(n.ip) for n in fleet.lab.nodes)


def test_nothing_is_left_to_do(fleet, joined):
    """0 changes the second time."""
    assert "scale.out: 0 changes" in fleet.fab("scale.out", "--yes").out


def test_drift_is_told_and_a_foreign_container_stops_the_run(fleet, joined):
    """Guide, notices: OMS_HOST_IP is the current host, the mount directories remain unchanged; and
    cm_nodes lists all nodes.  oms3 gets a container made by hand that copied oms1's address."""
    lab = fleet.lab
    first, third = (lab.node(name).ip for name in ("oms1", "oms3"))
    path = lab.path("oms3", "/data/config.yaml")
    path.write_text(path.read_text().replace(third, "10.9.9.9"))  # in place, as the mount needs it
    fleet.docker("oms3", "rm", "-f", "oms_427")
    fleet.docker(
        *("oms3", "run", "-dit", "--net", "host", "--privileged=true", "--name", "oms_427"),
        *("-v", "/data/config.yaml:/home/admin/conf/config.yaml"),
        *("-v", "/data/oms/oms_logs:/home/admin/logs", "-v", "/data/oms/oms_run:/home/ds/run"),
        *("-v", "/data/elsewhere:/home/ds/store", "-e", f"OMS_HOST_IP={first}", lab.image_id),
    )
    checked, refused = fleet.fab("fleet.check"), fleet.fab("scale.out", "--yes")

    for told in (
        f"OMS_HOST_IP {first} -> {third}",
        "mount /data/elsewhere:/home/ds/store, hosts.yaml has /data/oms/oms_store",
        "--ulimit nproc=unset, not 65535",
    ):
        assert told in checked.out
    assert re.search(r"cm_nodes +oms3 ", checked.out)
    assert 3 == refused.status, refused
    if "HOST-004" not in refused.out:  # what it is called once OMS has missed the beats of oms3
        assert "CFG-008" in refused.out
        assert f"oms3: OMS_HOST_IP {first} -> {third}" in refused.out
