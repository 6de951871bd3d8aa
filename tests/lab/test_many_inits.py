"""docker_init.sh on several nodes at once, where hosts.yaml allows it (oms.init_parallel)."""

from __future__ import annotations

import os
import re

import pytest

from tests.lab.marks import LONG

MANY = int(os.environ.get("OMSFAB_MANY", "4"))
"""So many new nodes; 8 by hand, for each of them is a dockerd of its own."""


@pytest.fixture(scope="module", params=["mariadb", pytest.param("oceanbase", marks=LONG)], ids=str)
def grown(request, make_fleet):
    """A fleet of one node that grew by several at once, and what omsfab said."""
    fleet = make_fleet(
        f"many-{request.param}", MANY + 1, request.param, oms={"init_parallel": MANY}
    )
    begun = fleet.fab("oms.deploy", "--yes", hosts="initial.yaml")
    assert begun.status == 0, begun
    return fleet, fleet.fab("scale.out", "--plan"), fleet.fab("scale.out", "--yes")


def test_nodes_are_initialised_side_by_side(grown):
    """Each once (the first twice, by deploying and by scaling out), and several at a time."""
    fleet, _, said = grown
    first, *rest = (node.name for node in fleet.lab.nodes)

    assert said.status == 0, said
    assert {first: 2} | dict.fromkeys(rest, 1) == fleet.inits()
    assert 0 < fleet.overlaps()


def test_the_package_leaves_the_jump_host_once(grown):
    """Each further node has it from the one before; nothing of that is left on any."""
    fleet, planned, said = grown
    names = [node.name for node in fleet.lab.nodes][1:]
    from_others = re.findall(r"(oms\d+) +image +· it comes from (oms\d+)", said.out)
    look = "find /tmp -maxdepth 1 -name 'tmp.*'; pgrep -f '[s]shd.*/tmp/tmp' || true"

    assert ", from node to node" in planned.out
    assert len(names) - 1 == len(from_others)
    assert len(from_others) == len({of for _, of in from_others})
    assert {""} == {fleet.lab.enter(name, ["sh", "-c", look]).stdout for name in names}


def test_every_node_serves_and_metadb_knows_each_once(grown):
    """One row a host, all of them ONLINE and of one group; the VIP is the only cm_url."""
    fleet, _, _ = grown
    lab = fleet.lab
    rows = lab.sql("select ip, host_status, resource_group_id from oms_cm.host")

    assert sorted(node.ip for node in lab.nodes) == sorted(str(ip) for ip, _, _ in rows)
    assert {"ONLINE"} == {str(status) for _, status, _ in rows}
    assert 1 == len({group for _, _, group in rows})
    assert {1: f"http://{lab.vip}:8088"} == fleet.cm_urls()
    assert all(fleet.serves(node.ip) for node in lab.nodes)


def test_the_plan_says_how_many_and_that_no_document_allows_it(grown):
    """The operator who has set the key has the last word, and the risk before his eyes."""
    plan = grown[1].out

    assert f"{MANY} nodes at a time" in plan
    assert f"oms.init_parallel is {MANY}" in plan


def test_nothing_is_left_to_do(grown):
    """0 changes the second time."""
    assert "scale.out: 0 changes" in grown[0].fab("scale.out", "--yes").out
