"""Guide, "Scale out OMS from a single region": a region that MetaDB does not know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from omsfab.errors import InputError, PreflightError
from omsfab.fleet.model import Node, Region
from omsfab.fleet.oms_config import Drift
from omsfab.fleet.values import CmUrl
from omsfab.next_line import fab
from omsfab.plan.observed import NodeFacts, Observed, assumed
from omsfab.plan.procedures import refusals, regions, scale_out
from omsfab.plan.records import Job, SaveRows, Write
from tests.unit.test_plans import compare

OLD = ("10.0.0.1", "10.0.0.2", "10.0.0.3")


@pytest.fixture
def several(fleet):
    """The fleet of conftest with a second region that is not there yet."""
    second = Region(
        name="cn-jiangsu",
        location=2,
        default=False,
        cm_url="http://10.1.0.100:8088",
        heartbeat_db="oms_cm_heartbeat_2",
        nodes=(Node(name="js1", ip="10.1.0.1"), Node(name="js2", ip="10.1.0.2")),
    )
    return fleet.model_copy(update={"regions": (*fleet.regions, second)})


@pytest.fixture
def now(package):
    """One region in MetaDB, deployed as long as there was but one: without cm_region."""
    running = NodeFacts(
        container="running",
        has_image=True,
        cm_nodes=OLD,
        drift=tuple(Drift(key, None, "cn-hangzhou") for key in ("cm_region", "cm_region_cn")),
    )
    return Observed(
        clusters={1: CmUrl("10.0.0.100", 8088)},
        regions={1: "cn-default"},
        defaults=(1,),
        nodes={f"oms{n}": running for n in (1, 2, 3)},
        package=package,
        image=package.image,
    )


def test_the_plan_of_a_new_region(several, now):
    """Others' rows saved first; cm_region on the old nodes shown and done; nothing stopped."""
    plan = scale_out.scale_out(several, now, region="cn-jiangsu")

    compare("new_region", plan, several)


def test_no_old_node_is_initialised_or_stopped(several, now):
    """docker_init.sh runs on the new region's nodes only, and there is no outage."""
    plan = scale_out.scale_out(several, now, region="cn-jiangsu")
    initialised = {s.node for s in plan.steps for e in s.apply if isinstance(e, Job)}

    assert {"js1", "js2"} == initialised
    assert not any(stage.outage for stage in plan.stages)


def test_rows_are_saved_before_anything_writes_rows(several, now):
    """What proves that others' rows are untouched is on file before a refresh or a container."""
    plan = scale_out.scale_out(several, now, region="cn-jiangsu")
    titles = [stage.title for stage in plan.stages]
    saved = next(
        n
        for n, stage in enumerate(plan.stages)
        for step in stage.steps
        if any(isinstance(effect, SaveRows) for effect in step.apply)
    )

    assert ["preflight", "stage the new nodes"] == titles[:saved]
    assert "other-regions-last" == plan.steps[-1].name


def test_the_new_region_is_not_the_default_one(several, now):
    """The guide's sample says cm_is_default: true, its table allows that once: false, and why."""
    plan = scale_out.scale_out(several, now, region="cn-jiangsu")
    texts = [
        e.content.reveal()
        for s in plan.steps
        for e in s.apply
        if isinstance(e, Write) and s.node == "js1"
    ]

    assert ["cm_is_default: false"] == [
        line for text in texts for line in text.splitlines() if line.startswith("cm_is_default")
    ]
    assert any("although the guide's sample has true" in reason for reason in plan.reasons)


def test_old_nodes_keep_their_own_region(several, now):
    """config.yaml of the old nodes names their region, their cm_url and their cm_nodes."""
    plan = scale_out.scale_out(several, now, region="cn-jiangsu")
    texts = [
        e.content.reveal()
        for s in plan.steps
        for e in s.apply
        if isinstance(e, Write) and s.node == "oms1"
    ]

    assert 1 == len(texts)
    assert 'cm_region: "cn-hangzhou"' in texts[0]
    assert "10.1.0" not in texts[0]


def test_old_nodes_that_are_right_are_left_alone(several, now):
    """Without a difference no other region's node has a step; but for a docker_init.sh there, which
    would write the same MetaDB."""
    right = {name: replace(facts, drift=()) for name, facts in now.nodes.items()}
    plan = scale_out.scale_out(several, replace(now, nodes=right), region="cn-jiangsu")

    asked = {step.node for step in plan.steps if step.name != "init-runs"}
    assert {"js1", "js2", "metadb"} == asked
    assert {"oms1"} <= {step.node for step in plan.steps if step.name == "init-runs"}


def test_a_physical_cm_url_needs_no_vip(several, now):
    """The guide's own sample: cm_url is the address of the region's node; no VIP is asked for."""
    first, second = several.regions
    alone = second.model_copy(update={"cm_url": CmUrl("10.1.0.1", 8088), "nodes": second.nodes[:1]})
    fleet = several.model_copy(update={"regions": (first, alone)})

    plan = scale_out.scale_out(fleet, now, region="cn-jiangsu")

    assert "vip-held" not in {step.name for step in plan.steps}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"regions": {1: "cn-jiangsu"}}, "has cm_region cn-jiangsu"),
        (
            {"clusters": {1: CmUrl.read("http://10.1.0.100:8088/")}},
            "has cm_url http://10.1.0.100:8088/",
        ),
        ({"beats": ("10.0.0.1",)}, "10.0.0.1 report in heartbeat_db oms_cm_heartbeat_2"),
    ],
)
def test_what_another_region_has_is_refused(several, now, change, says):
    """Name, cm_url and heartbeat DB are compared with MetaDB, not only within hosts.yaml."""
    with pytest.raises(PreflightError, match="PLAN-009") as caught:
        scale_out.scale_out(several, replace(now, **change), region="cn-jiangsu")

    assert says in caught.value.evidence


NAMED = "location 1 is called cn-default in MetaDB, cn-hangzhou in hosts.yaml"


def test_the_name_of_a_lone_region_stops_nobody(several, now):
    """Guide, cm_region: not required with one region, so MetaDB may have any name of it.

    The new region joins, which writes cm_region on the old nodes; after that the first one can
    still be scaled out, since nothing of it is deleted.
    """
    joined = replace(now, clusters={**now.clusters, 2: CmUrl("10.1.0.100", 8088)})
    after = replace(
        joined,
        hosts=dict.fromkeys(OLD, "ONLINE"),
        nodes={name: replace(facts, drift=()) for name, facts in now.nodes.items()},
    )
    first = scale_out.scale_out(several, now, region="cn-jiangsu")
    then = scale_out.scale_out(several, after, region="cn-hangzhou")

    assert [1, 1] == [sum(r.startswith(NAMED) for r in plan.reasons) for plan in (first, then)]


@pytest.mark.parametrize("drift", [(), (Drift("cm_region", None, "cn-hangzhou"),)])
def test_rows_of_another_name_are_not_deleted(fleet, package, present, drift):
    """V15: MetaDB and config.yaml disagree about whose location it is.  One without cm_region
    disagrees with nothing."""
    here = replace(present(package), regions={1: "cn-other"})
    here = replace(here, nodes={"oms1": replace(here.nodes["oms1"], drift=drift)})
    if drift:
        assert scale_out.scale_out(fleet, here).changes
        return

    with pytest.raises(PreflightError, match="PLAN-009") as caught:
        scale_out.scale_out(fleet, here)

    assert "fab scale.out --region=cn-other --plan" == caught.value.next[0].line


def test_a_second_default_is_refused(several, now):
    """hosts.yaml may make the new region the default one; MetaDB has one already."""
    first, second = (
        region.model_copy(update={"default": not region.default}) for region in several.regions
    )
    fleet = several.model_copy(update={"regions": (first, second)})

    with pytest.raises(PreflightError, match="PLAN-009") as caught:
        scale_out.scale_out(fleet, now, region="cn-jiangsu")

    assert "cm_is_default true" in caught.value.evidence


def test_the_default_region_is_to_be_written_where_hosts_yaml_has_only_the_new_one(several, now):
    """A file of one region must have the default one, so `default: false` alone is no way out."""
    second = several.regions[1].model_copy(update={"default": True})
    fleet = several.model_copy(update={"regions": (second,)})

    with pytest.raises(PreflightError, match="PLAN-009") as caught:
        scale_out.scale_out(fleet, now, region="cn-jiangsu")

    assert caught.value.fix == (
        "write region cn-default (location 1, default: true) into hosts.yaml too, and "
        "default: false into regions.cn-jiangsu"
    )
    assert "fab fleet.show" == caught.value.next[0].line


@pytest.mark.parametrize("key", refusals.FIXED)
def test_databases_are_those_of_the_running_nodes(several, now, key):
    """The guide: rm and cm database as on the initial node; compared with its live config.yaml."""
    other = replace(now.nodes["oms1"], drift=(Drift(key, "other", "this"),))

    with pytest.raises(PreflightError, match="CFG-011") as caught:
        scale_out.scale_out(
            several, replace(now, nodes={**now.nodes, "oms1": other}), region="cn-jiangsu"
        )

    assert f"oms1: {key}" in caught.value.evidence


def test_one_thing_at_a_time(several, now):
    """A new region does not move another region's cm_url along the way."""
    with pytest.raises(PreflightError, match="PLAN-010") as caught:
        scale_out.scale_out(
            several, replace(now, clusters={1: CmUrl("10.0.0.1", 8088)}), region="cn-jiangsu"
        )

    assert "fab scale.out --region=cn-hangzhou --plan" == caught.value.next[0].line


def test_oms_deploy_is_for_the_very_first_region(several, now):
    """It proves nothing about other regions, so it sends to scale.out."""
    with pytest.raises(PreflightError, match="PLAN-008") as caught:
        scale_out.deploy(several, now, region="cn-jiangsu")

    assert "fab scale.out --region=cn-jiangsu --plan" == caught.value.next[0].line


def test_the_one_region_that_differs_is_chosen(several):
    """MetaDB knows location 1 with these hosts, so cn-jiangsu is meant."""
    chosen = regions.that_differs(several, {1: CmUrl("10.0.0.100", 8088)}, {1: OLD})

    assert "cn-jiangsu" == chosen


def test_the_default_region_is_looked_at_if_none_differs(several):
    """Running fab scale.out again has nothing to do, and says so of the default region."""
    clusters = {1: CmUrl("10.0.0.100", 8088), 2: CmUrl("10.1.0.100", 8088)}

    chosen = regions.that_differs(several, clusters, {1: OLD, 2: ("10.1.0.1", "10.1.0.2")})

    assert "cn-hangzhou" == chosen


def test_several_that_differ_are_the_operators_choice(several):
    """Each is told with its difference."""
    with pytest.raises(InputError, match="INPUT-027") as caught:
        regions.that_differs(several, {1: CmUrl("10.0.0.1", 8088)}, {1: OLD[:1]})

    assert "cn-hangzhou: cm_url is http://10.0.0.1:8088 in MetaDB" in caught.value.evidence
    assert "cn-jiangsu: MetaDB does not know it" in caught.value.evidence


def test_the_task_at_hand_is_what_goes_on_where_several_differ(several):
    """Of an empty MetaDB every region differs: `fab oms.deploy` asks which, and by its own name."""
    with pytest.raises(InputError, match="INPUT-027") as caught:
        regions.that_differs(several, {}, {}, fab("oms.deploy", plan=True))

    assert "fab oms.deploy --plan --region=cn-hangzhou" == caught.value.next[0].line


def test_dry_takes_a_second_region_for_new(several, package):
    """--dry makes no contact: the default region is taken for deployed, any other for new."""
    region = several.regions[1]

    plan = scale_out.scale_out(several, assumed(several, region, package), region=region.name)

    assert plan.title.startswith("new region cn-jiangsu")
