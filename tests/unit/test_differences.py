"""What `fab fleet.check` tells: each thing that is not as hosts.yaml wants it, a line each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from omsfab.commands import docker
from omsfab.fleet.model import Node, Region
from omsfab.fleet.values import CmUrl
from omsfab.plan.differences import differences
from omsfab.plan.observed import NodeFacts, Observed
from omsfab.show.check import of_differences
from tests.unit.conftest import IMAGE, INSTALL

OTHER = "sha256:" + "cd" * 32
FIRST, SECOND = CmUrl("10.0.0.100", 8088), CmUrl("10.1.0.1", 8088)


@pytest.fixture
def both(fleet):
    """The fleet of conftest, its first node alone, and a second region of one node."""
    first = fleet.regions[0].model_copy(update={"nodes": fleet.regions[0].nodes[:1]})
    second = Region(
        name="cn-jiangsu",
        location=2,
        default=False,
        cm_url=SECOND,
        heartbeat_db="oms_cm_heartbeat_2",
        nodes=(Node(name="js1", ip="10.1.0.1"),),
    )
    return fleet.model_copy(update={"regions": (first, second)})


def running(ip: str, **changes: object) -> NodeFacts:
    facts = NodeFacts(
        container="running",
        image=IMAGE,
        loaded=IMAGE,
        host_ip=ip,
        binds=tuple(":".join(pair) for pair in docker.mounts(INSTALL)),
        cm_nodes=(ip,),
        config_mode="600",
    )
    return replace(facts, **changes)


def found(js1=None, **changes):
    """Both regions as hosts.yaml wants them, but for these changes of what MetaDB says."""
    rows = {
        "clusters": {1: FIRST, 2: SECOND},
        "regions": {1: "cn-hangzhou", 2: "cn-jiangsu"},
        "defaults": (1,),
    }
    return {
        "cn-hangzhou": Observed(
            **(rows | changes),
            hosts={"10.0.0.1": "ONLINE"},
            nodes={"oms1": running("10.0.0.1")},
        ),
        "cn-jiangsu": Observed(
            **(rows | changes),
            hosts={"10.1.0.1": "ONLINE"},
            nodes={"js1": js1 or running("10.1.0.1")},
        ),
    }


def told(found):
    """The lines of ``fab fleet.check``."""
    known = {"oms1": "10.0.0.1", "js1": "10.1.0.1"}
    return [
        f"{', '.join(one.nodes)}: {one.label}: {one.what}" for one in of_differences(found, known)
    ]


def test_a_fleet_as_wanted_has_none(both):
    """MetaDB and nodes say what hosts.yaml says."""
    assert [] == told(differences(both, found()))


def test_a_part_of_oms_that_does_not_run_is_told(both):
    """Each program of OMS's own, with the line that starts it; what serves them is not asked."""
    states = {"oms_console": "STOPPED", "oms_drc_cm": "RUNNING", "nginx": "FATAL"}
    groups = of_differences(
        differences(both, found(js1=running("10.1.0.1", states=states))), {"js1": "10.1.0.1"}
    )

    assert [
        ("program", "program oms_console is STOPPED"),
        ("program", "program oms_drc_supervisor is absent"),
    ] == [(one.label, one.what) for one in groups]
    assert all(one.fix.startswith("fab node.start --node=js1 ") for one in groups)


def test_a_region_without_a_name_is_no_difference(both):
    """cm_region is optional as long as there is one region (guide)."""
    assert [] == told(differences(both, found(regions={1: "", 2: "cn-jiangsu"})))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"clusters": {1: CmUrl("10.0.0.1", 8088), 2: SECOND}},
            f"MetaDB: cm_url: location 1: http://10.0.0.1:8088 -> {FIRST}",
        ),
        (
            {"regions": {1: "cn-OTHER", 2: "cn-jiangsu"}},
            "MetaDB: cm_region: location 1: cn-OTHER -> cn-hangzhou",
        ),
        ({"defaults": (1, 2)}, "MetaDB: cm_is_default: location 2: true -> false"),
        ({"defaults": ()}, "MetaDB: cm_is_default: location 1: false -> true"),
        (
            {"clusters": {1: FIRST, 2: SECOND, 9: CmUrl("9.9.9.9", 8088)}},
            "MetaDB: cluster_info: location 9 (without a name, http://9.9.9.9:8088)"
            " is not in hosts.yaml",
        ),
    ],
)
def test_rows_that_differ_are_told_once(both, changes, line):
    """cluster_info holds name, default and location of each region, known or not."""
    assert [line] == told(differences(both, found(**changes)))


def test_one_image_is_compared_over_all_regions(both):
    """Guide, IMAGE_TAG: one OMS runs one image, by its id."""
    there = found(running("10.1.0.1", image=OTHER, loaded=OTHER))

    line = f"MetaDB: image: nodes run different images: {IMAGE} on oms1; {OTHER} on js1"

    assert [line] == told(differences(both, there))


@pytest.mark.parametrize(
    ("image", "loaded"), [("oms:feature_4.2.7_ce", OTHER), (OTHER, ""), (OTHER, OTHER)]
)
def test_a_container_from_another_image_than_hosts_yaml_names_is_told(fleet, image, loaded):
    """IMG-007 sends to fleet.check: all nodes may run the same image, and not the one wanted."""
    first = fleet.regions[0].model_copy(update={"nodes": fleet.regions[0].nodes[:1]})
    install = fleet.install.model_copy(update={"image": image})
    one = fleet.model_copy(update={"regions": (first,), "install": install})
    now = Observed(
        clusters={1: FIRST},
        regions={1: "cn-hangzhou"},
        defaults=(1,),
        hosts={"10.0.0.1": "ONLINE"},
        nodes={"oms1": running("10.0.0.1", loaded=loaded)},
    )

    assert [f"oms1: image: image {IMAGE} -> {OTHER}"] == told(
        differences(one, {"cn-hangzhou": now})
    )
