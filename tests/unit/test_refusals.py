"""Presents that a scale-out refuses, each with its id and a line to go on with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from omsfab.commands import docker, node_checks
from omsfab.errors import PreflightError
from omsfab.fleet.oms_config import Drift
from omsfab.plan.acceptance import ACCEPTABLE
from omsfab.plan.observed import NodeFacts
from omsfab.plan.procedures import node, scale_out
from omsfab.plan.records import ExitsZero
from tests.guards import GUARDS, ROOT

VIP = "10.0.0.100"
FIRST = NodeFacts(container="running", has_image=True, host_ip="10.0.0.1", cm_nodes=("10.0.0.1",))
BINDS = (
    "/data/config.yaml:/home/admin/conf/config.yaml",
    "/data/oms/oms_logs:/home/admin/logs",
    "/data/oms/oms_store:/home/ds/store",
    "/data/oms/oms_run:/home/ds/run",
)


def refusal(fleet, present, **words):
    with pytest.raises(PreflightError) as caught:
        scale_out.scale_out(fleet, present, **words)
    assert caught.value.fix or caught.value.next
    return caught.value


def test_two_holders_of_the_vip_are_refused(fleet, package, present):
    """V02: split brain, and both are named."""
    now = present(
        package,
        oms1=replace(FIRST, addresses=("10.0.0.1", VIP)),
        oms2=NodeFacts(addresses=("10.0.0.2", VIP)),
    )

    error = refusal(fleet, now)

    assert ("VIP-002", "oms1, oms2") == (error.id, error.where)


def test_a_vip_on_a_node_that_is_not_to_serve_is_refused(fleet, package, present):
    """V02: oms3 holds the VIP, and --nodes leaves oms3 out."""
    now = present(package, oms3=NodeFacts(addresses=("10.0.0.3", VIP)))

    assert "VIP-002" == refusal(fleet, now, nodes="oms2").id


def test_a_region_at_work_is_stopped_on_request_only(fleet, package, present):
    """C16: HA on or projects running; --accept-interruption says so in the plan."""
    now = replace(present(package), traffic=("project orders is RUNNING",))

    error = refusal(fleet, now)
    plan = scale_out.scale_out(fleet, now, accept_interruption="yes")

    assert "PLAN-011" == error.id
    assert "--accept-interruption" in error.render()
    assert "despite project orders is RUNNING" in plan.reasons


def test_a_running_container_left_out_is_refused(fleet, package, present):
    """C13: its processes would go on writing rows that are deleted."""
    now = present(package, oms3=NodeFacts(container="running"))

    assert "PLAN-012" == refusal(fleet, now, nodes="oms2").id


def test_a_container_that_runs_without_being_online_is_stopped_too(fleet, package, present):
    """C13: every container of the region stops before rows go, ONLINE in MetaDB or not."""
    now = present(package, oms2=replace(FIRST, host_ip="10.0.0.2"))
    plan = scale_out.scale_out(fleet, now)
    stop = next(stage for stage in plan.stages if stage.title == "stop production")

    assert ["oms1", "oms2"] == [step.node for step in stop.steps if step.apply]


@pytest.mark.parametrize(
    ("id", "change"),
    [
        ("CFG-014", {"binds": (*BINDS[:1], "/other:/home/admin/logs", *BINDS[2:])}),
        ("CFG-008", {"binds": (*BINDS[:2], "/other:/home/ds/store", *BINDS[3:])}),
        ("CFG-008", {"binds": BINDS[:3]}),
        ("CFG-008", {"host_ip": "10.0.0.9", "binds": BINDS}),
    ],
)
def test_a_container_that_differs_is_found_out_before_the_outage(
    fleet, package, present, id, change
):
    """I14: other mounts or another OMS_HOST_IP than hosts.yaml has; what is written elsewhere than
    the container looks cannot be accepted."""
    first = replace(FIRST, image="sha256:" + "ab" * 32, **change)

    assert id == refusal(fleet, present(package, oms1=first)).id
    assert (id == "CFG-008") is (id in ACCEPTABLE)


def test_further_mounts_are_kept_and_told(fleet, package, present):
    """A container may have more than the guide's mounts: new nodes do not get them."""
    extra = "/etc/localtime:/etc/localtime"
    first = replace(FIRST, image="sha256:" + "ab" * 32, binds=(*BINDS, extra))

    plan = scale_out.scale_out(fleet, present(package, oms1=first))

    assert any(extra in text and "kept" in text for text in plan.reasons)


def test_a_scale_out_without_a_new_node_asks_first_as_well(fleet, package, present):
    """R2.6: nothing is changed on one node before every node to be changed was asked."""
    url = str(fleet.regions[0].cm_url)
    nodes = {
        f"oms{n}": replace(FIRST, host_ip=f"10.0.0.{n}", drift=(Drift("x", "1", "2"),))
        for n in (1, 2)
    }
    now = present(package, url=url, **nodes)
    now = replace(now, hosts={"10.0.0.1": "ONLINE", "10.0.0.2": "ONLINE"})
    two = fleet.regions[0].model_copy(update={"nodes": fleet.regions[0].nodes[:2]})

    plan = scale_out.scale_out(fleet.model_copy(update={"regions": (two,)}), now)

    assert {"kept@oms1", "kept@oms2", "seen@oms1", "seen@oms2"} <= {
        step.key for step in plan.stages[0].steps
    }
    assert plan.stages[0].gather
    assert not any(step.apply for step in plan.stages[0].steps)


@pytest.mark.parametrize("task", [node.push_config, node.refresh, node.run])
@pytest.mark.parametrize("state", ["running", "stopped"])
@pytest.mark.parametrize(
    ("id", "change"),
    [
        ("CFG-005", {"unknown_keys": ("drc_user",)}),
        ("CFG-014", {"binds": ("/root/config.yaml:/home/admin/conf/config.yaml", *BINDS[1:])}),
        ("CFG-008", {"host_ip": "10.0.0.9"}),
        ("CFG-011", {"drift": (Drift("drc_cm_heartbeat_db", "live", "oms_cm_heartbeat_1"),)}),
    ],
)
def test_a_repair_writes_config_yaml_no_further_than_a_scale_out(
    fleet, package, present, task, state, id, change
):
    """cm_nodes are as wanted; a key would be lost, or the file be written past the container."""
    now = present(package)
    first = replace(now.nodes["oms1"], container=state, cm_nodes=fleet.regions[0].ips, binds=BINDS)

    assert task(fleet, present(package, oms1=first), node="oms1").changes
    with pytest.raises(PreflightError, match=id):
        task(fleet, present(package, oms1=replace(first, **change)), node="oms1")


@pytest.mark.parametrize("state", ["absent", "created"])
def test_a_container_that_never_ran_holds_no_config_yaml_back(fleet, package, present, state):
    """hosts.yaml was corrected after a start that failed: no data of OMS would stay behind."""
    first = replace(
        FIRST, container=state, drift=(Drift("cm_location", "7", "1"),), unknown_keys=("x",)
    )

    assert node.push_config(fleet, present(package, oms1=first), node="oms1").changes


def test_keys_of_a_node_that_is_not_online_are_not_lost_either(fleet, package, present):
    """Its container runs, so it counts as an old node when the outage comes."""
    now = present(package, oms2=replace(FIRST, host_ip="10.0.0.2", unknown_keys=("drc_user",)))

    assert ("CFG-005", "oms2") == (refusal(fleet, now).id, refusal(fleet, now).where)


def test_nothing_to_do_is_not_said_past_a_container(fleet, package, present):
    """The config.yaml that was compared is not the one its container has."""
    one = fleet.regions[0].model_copy(update={"nodes": fleet.regions[0].nodes[:1]})
    binds = ("/root/config.yaml:/home/admin/conf/config.yaml", *BINDS[1:])
    now = present(package, url=str(one.cm_url))
    now = replace(now, nodes={"oms1": replace(now.nodes["oms1"], binds=binds)})

    assert "CFG-014" == refusal(fleet.model_copy(update={"regions": (one,)}), now).id


@pytest.mark.parametrize(
    "second", [NodeFacts(container="created"), NodeFacts(container="stopped", spec="abc")]
)
def test_a_taken_name_is_refused(fleet, package, present, second):
    """I09: a container of this name that is not ours, or that ran, is never removed silently."""
    assert refusal(fleet, present(package, oms2=second)).id in {"HOST-003", "HOST-004"}


def test_other_flags_than_the_guides_are_told(fleet, package, present):
    """I14: a container without --privileged goes on, and the plan says so."""
    now = present(package, oms1=replace(FIRST, flags=("without --privileged=true",)))

    assert any("without --privileged" in text for text in scale_out.scale_out(fleet, now).reasons)


def test_an_image_that_nobody_can_send_is_refused(fleet, present):
    """I04: no package in hosts.yaml, no image on the node: told before anything is stopped."""
    assert "IMG-001" == refusal(fleet, present()).id


def test_a_running_container_must_see_what_was_written(fleet, package, present):
    """A bind mount holds an inode: the digest inside the container is compared before init."""
    plan = scale_out.scale_out(fleet, present(package))
    config = next(s for s in plan.steps if (s.name, s.node) == ("config", "oms1"))
    asked = [probe.command for probe in config.verify if isinstance(probe, ExitsZero)]

    assert [node_checks.same_inside("oms_427", "/data/config.yaml", docker.CONFIG)] == asked


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_stands_where_scripts_mutate_looks_for_it(guard):
    """Once: code that was written anew must not take its guard out of sight."""
    assert 1 == (ROOT / guard.file).read_text().count(guard.old)


def test_what_the_outage_needs_is_asked_before_it(fleet, package, present):
    """A read-only, unlinked or roomless config.yaml of an old node is a preflight question."""
    plan = scale_out.scale_out(fleet, present(package))
    asked = [step.key for step in plan.stages[0].steps]

    assert "kept@oms1" in asked
    assert "kept@oms2" not in asked


def test_a_wrong_database_name_is_no_invitation_to_deploy(fleet, package, present):
    """V15: rm_db of hosts.yaml is empty, the running node uses another: told, not deployed."""
    first = replace(FIRST, drift=(Drift("drc_rm_db", "oms_rm", "oms_other"),))
    now = replace(present(package, oms1=first), clusters={}, hosts={})

    assert "drc_rm_db" in refusal(fleet, now).evidence
    with pytest.raises(PreflightError, match="databases"):
        scale_out.deploy(fleet, now)
