"""Plans as text: what the operator reads is what will run."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from omsfab.errors import InputError, PreflightError
from omsfab.fleet import hosts_file
from omsfab.fleet.oms_config import Drift
from omsfab.fleet.values import CmUrl
from omsfab.plan import steps
from omsfab.plan.observed import NodeFacts, Observed, Reference, assumed
from omsfab.plan.overview import overview
from omsfab.plan.procedures import scale_out, undo
from omsfab.plan.records import Await, ClearRows, FromAny, Job, Send, Write
from omsfab.run.engine.runner import stands
from omsfab.run.record.journal import Past
from omsfab.show.overview import overview_lines
from omsfab.show.text import plan_lines

TEXTS = Path(__file__).parent / "plans"


def compare(name: str, plan, fleet) -> None:
    """Compare with plans/NAME.txt (``--verbose``) and NAME.short.txt, at 80 columns;
    OMSFAB_REWRITE=1 writes them anew, to be read in the diff."""
    short = overview_lines(plan, overview(plan, fleet.regions), 80)
    for file, lines in ((f"{name}.txt", plan_lines(plan)), (f"{name}.short.txt", short)):
        text = "\n".join(lines) + "\n"
        if os.environ.get("OMSFAB_REWRITE"):
            (TEXTS / file).write_text(text)

        assert (TEXTS / file).read_text() == text


def test_physical_address_to_vip(fleet, package, present):
    """Guide, physical-address scenario: staging first, then stop, rows, config, init, join."""
    compare("physical_to_vip", scale_out.scale_out(fleet, present(package)), fleet)


def test_new_nodes_are_initialised_as_many_at_a_time_as_hosts_yaml_says(fleet, package, present):
    """One by default; the first node of a region makes what the others find, and is alone."""

    def widths(plan):
        return [
            (stage.width, [step.node for step in stage.steps if step.name == "initialise"])
            for stage in plan.stages
            if any(step.name == "initialise" for step in stage.steps)
        ]

    allowed = fleet.model_copy(
        update={"install": fleet.install.model_copy(update={"init_parallel": 3})}
    )
    nothing = Observed(nodes={name: NodeFacts() for name in ("oms1", "oms2", "oms3")})
    nothing = replace(nothing, package=package, image=package.image)
    both = {"oms2": NodeFacts(), "oms3": NodeFacts()}

    assert [(0, ["oms1"]), (1, ["oms2", "oms3"])] == widths(
        scale_out.scale_out(fleet, present(package, **both))
    )
    assert [(0, ["oms1"]), (2, ["oms2", "oms3"])] == widths(
        scale_out.scale_out(allowed, present(package, **both))
    )
    assert [(1, ["oms1"]), (2, ["oms2", "oms3"])] == widths(scale_out.deploy(allowed, nothing))


def test_third_node_behind_a_vip(fleet, package, present):
    """Guide, VIP scenario: nothing is stopped; the old nodes learn the new cm_nodes."""
    both = ("10.0.0.1", "10.0.0.2")
    there = NodeFacts(container="running", has_image=True, host_ip="10.0.0.2", cm_nodes=both)
    now = present(package, url="http://10.0.0.100:8088/", oms2=there)
    now = Observed(
        clusters=now.clusters,
        hosts={"10.0.0.1": "ONLINE", "10.0.0.2": "ONLINE"},
        nodes=now.nodes,
        package=package,
        image=now.image,
    )

    compare("third_node", scale_out.scale_out(fleet, now), fleet)


def test_an_old_node_whose_file_is_right_already_is_told_of_the_new_ones_all_the_same(
    fleet, package, present
):
    """fab node.push-config, or a hand, wrote config.yaml and nobody told the components: with a
    new node they read it again, and no file would tell that they had to."""
    three = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
    old = {
        f"oms{n}": NodeFacts(
            container="running", has_image=True, host_ip=f"10.0.0.{n}", cm_nodes=three
        )
        for n in (1, 2)
    }
    now = present(package, url="http://10.0.0.100:8088/", **old)
    now = replace(now, hosts=dict.fromkeys(three[:2], "ONLINE"))

    plan = scale_out.scale_out(fleet, now)

    told = [step.node for stage in plan.stages for step in stage.steps if step.name == "refresh"]
    assert ["oms1", "oms2"] == told
    assert any("oms1: config.yaml has the new nodes already" in one for one in plan.reasons)


def test_first_deployment(fleet, package):
    """A region that MetaDB does not know is deployed node by node; no VIP is asked for."""
    compare(
        "deploy", scale_out.deploy(fleet, Observed(package=package, image=package.image)), fleet
    )


def test_dry_assumes_the_longer_scenario(fleet, package):
    """--dry makes no contact, so the plan is that of one deployed node with its own address."""
    region = fleet.regions[0]

    plan = scale_out.scale_out(fleet, assumed(fleet, region, package))

    assert "stop production" in [stage.title for stage in plan.stages]


def test_nothing_to_do_changes_nothing(fleet):
    """All nodes there, same config.yaml: a plan of questions only."""
    ips = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
    facts = {
        f"oms{n}": NodeFacts(container="running", has_image=True, cm_nodes=ips) for n in (1, 2, 3)
    }
    now = Observed(
        clusters={1: CmUrl("10.0.0.100", 8088)}, hosts=dict.fromkeys(ips, "ONLINE"), nodes=facts
    )

    assert not scale_out.scale_out(fleet, now).changes


def test_everything_static_comes_before_the_outage(fleet, package, present):
    """No package is sent and no image loaded while production stands still."""
    plan = scale_out.scale_out(fleet, present(package))
    began = next(n for n, stage in enumerate(plan.stages) if stage.outage)

    before = {"preflight", "stage the new nodes", "compare the rows with the plan"}
    assert before == {s.title for s in plan.stages[:began]}


HELD = Reference("oms_cm.label.owner", "host.id", 3, "foreign key fk, restrict", True)
LOOSE = Reference("oms_cm.crawler.host_id", "host.id", 2, "by name and values")


def test_the_other_way_with_the_rows(fleet, package, present):
    """--rows=update: the same stages, another change, and who refers to the rows."""
    now = replace(present(package), references=(LOOSE, HELD))

    compare("rows_update", scale_out.scale_out(fleet, now, rows="update"), fleet)


def test_who_refers_to_rows_is_told_with_the_way_that_keeps_their_ids(fleet, package, present):
    """Deleting stays the default; the plan offers the other way as a line."""
    plan = scale_out.scale_out(fleet, replace(present(package), references=(LOOSE,)))

    assert "oms_cm.crawler.host_id refers to host.id: 2 rows (by name and values)" in plan.reasons
    assert any(
        "fab scale.out --region=cn-hangzhou --rows=update --plan" in one for one in plan.reasons
    )


def test_a_key_that_would_refuse_the_delete_is_refused_before(fleet, package, present):
    """Error 1451 with production stopped; an update does not meet it, but for cluster_info."""
    now = replace(present(package), references=(HELD,))
    info = replace(HELD, to="cluster_info.id")

    with pytest.raises(PreflightError, match="DB-042"):
        scale_out.scale_out(fleet, now)
    assert scale_out.scale_out(fleet, now, rows="update").changes
    with pytest.raises(PreflightError, match="DB-042"):
        scale_out.scale_out(fleet, replace(now, references=(info,)), rows="update")


def test_only_two_ways_with_rows_are_known(fleet, package, present):
    """A misspelt one is told, not taken for the default."""
    with pytest.raises(InputError, match="INPUT-031"):
        scale_out.scale_out(fleet, present(package), rows="replace")


def test_programs_are_asked_again_right_before_rows_go(fleet, package, present):
    """Whatever the journal says: each stop holds until the rows are proven quiet."""
    plan = scale_out.scale_out(fleet, present(package))
    steps_ = {step.name: step for step in plan.steps}

    assert ["oms1"] == sorted({node for node, _ in steps_["clear-rows"].needs})
    assert "initialise@oms1" == steps_["stop-processes"].until
    assert set(steps_["stop-processes"].check) == {probe for _, probe in steps_["clear-rows"].needs}


def test_rows_go_only_after_all_processes_stopped(fleet, package, present):
    """The DELETE stands in a later stage than the last supervisorctl stop all."""
    plan = scale_out.scale_out(fleet, present(package))
    stop = [n for n, stage in enumerate(plan.stages) if "stop" in stage.title][-1]
    rows = [
        n
        for n, stage in enumerate(plan.stages)
        for step in stage.steps
        if any(isinstance(effect, ClearRows) for effect in step.apply)
    ]

    assert [stop + 1] == rows


def test_one_initialisation_at_a_time(fleet, package, present):
    """Nodes of a region share a MetaDB, so no two docker_init.sh run at once."""
    plan = scale_out.scale_out(fleet, present(package))
    widths = {
        stage.width or len({step.node for step in stage.steps})
        for stage in plan.stages
        for step in stage.steps
        if any(isinstance(effect, Job) for effect in step.apply)
    }

    assert {1} == widths


@pytest.mark.parametrize("init", ["auto", "always", "never"])
def test_init_of_hosts_yaml_is_for_new_containers(package, tmp_path, monkeypatch, init):
    """`oms.init`, from the file to the job.  Those that ran are always initialised anew: they will
    not do it themselves."""
    monkeypatch.setenv("OMS_META_PASSWORD", "secret")
    text = Path(__file__).with_name("good_hosts").joinpath("one-region.yaml").read_text()
    path = tmp_path / "hosts.yaml"
    path.write_text(text.replace("oms:\n", f"oms:\n  init: {init}\n", 1))
    fleet = hosts_file.load(path)
    plan = scale_out.scale_out(fleet, assumed(fleet, fleet.regions[0], package))
    modes = {s.node: e.init for s in plan.steps for e in s.apply if isinstance(e, Job)}

    assert {"oms1": "always", "oms2": init} == modes


@pytest.mark.parametrize(
    ("tag", "itself"), [("4.2.7", False), ("4.2.10", False), ("4.2.11", True), ("4.3.0", True)]
)
def test_images_from_4_2_11_on_are_waited_for(fleet, tag, itself):
    """R6: the vendor's deployer starts them and waits for their own initialisation."""
    image = f"example.com/oms:feature_{tag}_ce"
    install = fleet.install.model_copy(update={"image": image, "init": "auto"})
    job = steps.init_job(fleet.model_copy(update={"install": install}), again=False)

    assert ("auto", itself) == (job.init, job.itself)


def test_a_wrong_url_in_metadb_leads_to_its_rows(fleet, package, present):
    """R2b.6: VER-001 pointed to config.yaml where two rows, or none, are the matter of MetaDB."""
    plan = scale_out.scale_out(fleet, present(package))
    lines = {step.next.line for step in plan.steps if step.fault == "VER-001"}

    assert {"fab meta.show"} == lines


def test_no_container_is_started_beside_another(fleet, package, present):
    """Newer images initialise themselves at once, so a container counts as an initialisation."""
    plan = scale_out.scale_out(fleet, present(package))
    joining = next(s for s in plan.stages if any(step.name == "container" for step in s.steps))

    assert 1 == joining.width
    assert ["container", "initialise"] * 2 == [step.name for step in joining.steps]


def test_nodes_limits_who_joins_and_what_cm_nodes_say(fleet, package, present):
    """With --nodes=oms2, oms3 is neither staged nor in any config.yaml."""
    plan = scale_out.scale_out(fleet, present(package), nodes="oms2")
    contents = [e.content.reveal() for s in plan.steps for e in s.apply if isinstance(e, Write)]

    assert contents
    assert not any("10.0.0.3" in text for text in contents)
    assert "oms3" not in {step.node for step in plan.steps}


def test_the_record_of_the_present_gives_the_same_plan(fleet, package, present):
    """What is stored with a run, through JSON, is enough to plan again."""
    now = present(package)
    again = Observed.of(json.loads(json.dumps(now.record())))

    assert scale_out.scale_out(fleet, now) == scale_out.scale_out(fleet, again)


@pytest.mark.parametrize(
    ("id", "change"),
    [
        ("PLAN-002", {"clusters": {}}),
        ("PLAN-003", {"clusters": {1: CmUrl("10.9.9.9", 8088)}}),
        ("PLAN-006", {"hosts": {"10.0.0.1": "OFFLINE"}}),
        ("PLAN-007", {"hosts": {"10.0.0.1": "ONLINE", "10.0.0.7": "ONLINE"}}),
    ],
)
def test_a_present_that_fits_no_scenario_is_refused(fleet, package, id, change, present):
    """Each is refused before a plan exists, with the line to paste next."""
    now = present(package)
    fields = {"clusters": now.clusters, "hosts": now.hosts, "nodes": now.nodes} | change

    with pytest.raises(PreflightError) as caught:
        scale_out.scale_out(fleet, Observed(package=package, image=now.image, **fields))

    assert id == caught.value.id
    assert caught.value.fix or caught.value.next


def test_a_stopped_container_is_never_removed(fleet, package, present):
    """A stopped container on a new node holds somebody's data: start it, or decide by hand."""
    now = present(package, oms2=NodeFacts(container="stopped"))

    with pytest.raises(PreflightError, match="HOST-003"):
        scale_out.scale_out(fleet, now)


def test_keys_that_hosts_yaml_does_not_know_are_not_lost(fleet, package, present):
    """config.yaml of an old node has drc_user: refused, since writing anew would drop it."""
    first = NodeFacts(container="running", cm_nodes=("10.0.0.1",), unknown_keys=("drc_user",))

    with pytest.raises(PreflightError, match="drc_user"):
        scale_out.scale_out(fleet, present(package, oms1=first))


def test_an_unknown_node_is_an_input_error(fleet, package, present):
    """--nodes=oms9 names the nodes there are."""
    with pytest.raises(InputError, match="oms9"):
        scale_out.scale_out(fleet, present(package), nodes="oms2,oms9")


@pytest.mark.parametrize("url", ["", "http://[10.0.0.1:8088", "nonsense"])
def test_a_cm_url_in_metadb_that_is_none_is_refused(fleet, package, present, url):
    """PLAN-003 with what is there; nothing is deleted for a row that nobody understands."""
    now = replace(present(package), clusters={1: CmUrl.read(url)})

    with pytest.raises(PreflightError, match="PLAN-003"):
        scale_out.scale_out(fleet, now)


def test_no_two_steps_of_a_plan_share_a_key(fleet, package, present):
    """A resumed run skips what is done by its key: a second question must not pass as the first."""
    now = present(package)
    plans = (scale_out.scale_out(fleet, now), scale_out.deploy(fleet, Observed(package=package)))

    assert [] == [
        key
        for plan in plans
        for key, count in Counter(step.key for step in plan.steps).items()
        if count > 1
    ]


def test_a_metadb_without_rows_where_oms_runs_is_not_to_be_deployed_anew(fleet, package, present):
    """After run.abandon, or with a wrong rm_db: the line led to oms.deploy, with nodes at work."""
    now = replace(present(package), clusters={}, hosts={})

    with pytest.raises(PreflightError, match="PLAN-002") as error:
        scale_out.scale_out(fleet, now)

    assert "oms1 has the container" in error.value.what
    assert "oms.deploy" not in error.value.next


def test_a_package_that_an_operator_has_put_on_the_node_is_left_there(fleet, package, present):
    """It is sent, loaded and removed by a name of ours, which rollbacks remove, too."""
    image = next(s for s in scale_out.scale_out(fleet, present(package)).steps if s.name == "image")
    back = undo.undo(fleet, present(package), run="r", region="", begun={"image@oms2"})
    own = f"/data/oms/omsfab-{package.sha256[:12]}-oms_4.2.7-ce.tar.gz"

    assert own == next(effect.dest for effect in image.apply if isinstance(effect, Send))
    assert "rm -f -- /data/oms/oms_4.2.7-ce.tar.gz" not in "\n".join(plan_lines(back))
    assert own in "\n".join(plan_lines(back))


@pytest.mark.parametrize(
    ("drift", "restarted"),
    [
        (["cm_url"], ["oms_console", "oms_drc_supervisor"]),
        (["oms_meta_password"], ["oms_console", "oms_drc_supervisor", "oms_drc_cm"]),
        (["cm_url", "oms_meta_user"], ["oms_console", "oms_drc_supervisor", "oms_drc_cm"]),
    ],
)
def test_a_refresh_restarts_cm_where_its_login_changed_and_only_then(fleet, drift, restarted):
    """R6: the vendor's line leaves oms_drc_cm out, which holds the same login of the MetaDB."""
    facts = NodeFacts(drift=tuple(Drift(key, "a", "b") for key in drift))
    step = steps.refresh(fleet, fleet.regions[0].nodes[0], facts)
    words = step.apply[-1].command.argv

    assert restarted == list(words[words.index("restart") + 1 :])


def test_a_backend_that_its_own_vip_shuts_out_is_no_dead_end(fleet, package, present):
    """VIP-004: where others get through it warns, before the outage and in the end alike; a run
    whose preflight had warned ended in service with VIP-001, exit 5."""
    now = present(package, oms2=NodeFacts(), oms3=NodeFacts())
    plan = scale_out.scale_out(fleet, now)
    steps = {step.key: step for stage in plan.stages for step in stage.steps}

    for first, own in (("vip", "vip-own"), ("vip-last", "vip-own-last")):
        asked = [p.probe if isinstance(p, Await) else p for p in steps[f"{first}@oms1"].verify]
        assert all(isinstance(p, FromAny) and "oms2" in p.nodes for p in asked)
        told = steps[f"{own}@oms1"]
        assert ("VIP-004", True) == (told.fault, told.warn)
        assert f"{own}@oms2" not in steps
        assert not steps[f"{first}@oms2"].warn


def test_a_resumed_run_starts_again_what_a_reboot_has_stopped(fleet, package, present):
    """The programs of an old node ran, the step is done, and then the node was restarted: its
    container is down, and no later step starts it."""
    runs = replace(present(package).facts("oms1"), programs=("nginx",), states={"nginx": "RUNNING"})
    plan = scale_out.scale_out(fleet, replace(present(package), nodes={"oms1": runs}))
    key = "start-processes@oms1"
    (stage,) = (one for one in plan.stages if key in {step.key for step in one.steps})
    (step,) = (one for one in stage.steps if one.key == key)
    done = frozenset(one.key for one in plan.steps)
    past = Past((), done, done, {}, (), torn=False, head="")

    assert not stands(step, stage, plan, past)
