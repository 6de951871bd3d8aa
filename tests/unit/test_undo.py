"""Taking a run back: which steps, in which order, out of what the run's directory holds."""

from __future__ import annotations

import json

import pytest

from omsfab.plan import scale, undo
from omsfab.plan.present import NodeFacts, Present
from omsfab.plan.records import Job, PutBack, RestoreRows
from tests.unit.test_plans import compare

RUN = "20261123T080521Z-scale-out-99d3"


def begun(plan):
    return frozenset(step.key for step in plan.steps if step.apply)


@pytest.fixture
def back(fleet, package, present):
    """The way back of a whole scale-out, or of one that had begun these steps only."""

    def make(*keys, everything=False):
        now = present(package, oms2=NodeFacts(), oms3=NodeFacts())
        done = keys or begun(scale.scale_out(fleet, now))
        return undo.undo(
            fleet, now, run=RUN, region="", begun=None if everything else frozenset(done)
        )

    return make


def test_a_whole_scale_out_is_taken_back_in_reverse(back):
    """Containers first, rows before the configuration is initialised, programs last."""
    compare("undo_scale_out", back())


def test_a_new_region_goes_with_its_rows(fleet, package):
    """Rows that were saved before it came have none of it: putting them back takes its rows out."""
    region = fleet.regions[0]
    other = region.model_copy(
        update={"name": "cn-else", "location": 9, "nodes": region.nodes[:1], "default": True}
    )
    new = region.model_copy(update={"nodes": region.nodes[1:], "default": False})
    both = fleet.model_copy(update={"regions": (other, new)})
    now = Present(clusters={9: "http://10.0.0.1:8088"}, package=package, image=package.image)
    begun = {"save-rows@metadb", "container@oms2", "container@oms3", "initialise@oms2"}

    plan = undo.undo(both, now, run="r", region=new.name, begun=begun)

    assert [
        ("remove-container", "oms2"),
        ("remove-container", "oms3"),
        ("restore-rows", "metadb"),
        ("other-regions", "metadb"),
    ] == [(step.name, step.node) for step in plan.steps]


def test_rows_alone_are_no_way_back(back):
    """C14: the components keep the new cm_url until docker_init.sh has run with the old file."""
    effects = [effect for step in back().steps for effect in step.apply]
    kinds = [type(effect) for effect in effects]

    assert kinds.index(RestoreRows) < kinds.index(Job)
    assert kinds.index(Job) > max(n for n, kind in enumerate(kinds) if kind is PutBack)


def test_a_run_that_only_stopped_production_starts_it_again(back):
    """No row was touched: no initialisation, no surgery."""
    plan = back("stop-processes@oms1")

    assert ["start-processes", "health"] == [step.name for step in plan.steps]


def test_a_run_that_only_staged_takes_its_file_away(back):
    """config.yaml holds a password; the directories and the image stay."""
    plan = back("directories@oms2", "image@oms2", "config@oms2")

    assert ["put-back-config.yaml@oms2", "remove-package@oms2"] == [s.key for s in plan.steps]


def test_a_run_out_of_the_mirror_may_have_begun_anything(back):
    """The copy may lag behind by a stage; each effect of the way back does nothing in vain."""
    assert back().stages == back(everything=True).stages


def test_behind_a_vip_the_old_nodes_read_their_former_file_again(fleet, package, present):
    """config.yaml put back is not enough: the components read it at a refresh."""
    now = present(package, url="http://10.0.0.100:8088")
    plan = scale.scale_out(fleet, now)
    names = [step.key for step in undo.undo(
        fleet, now, run=RUN, region="", begun=begun(plan)
    ).steps]  # fmt: skip

    assert names.index("put-back-config.yaml@oms1") < names.index("refresh@oms1")


def test_what_a_run_stores_of_its_fleet_is_enough_and_no_secret(fleet):
    """hosts.yaml may have lost its nodes since; the password comes from today's."""
    stored = json.loads(json.dumps({"fleet": undo.public(fleet)}))
    today = fleet.model_copy(update={"regions": ()})

    assert "CANARY" not in json.dumps(stored)
    assert fleet.regions == undo.fleet_of(stored, today).regions
    assert fleet.install.mounts == undo.fleet_of(stored, today).install.mounts


def test_programs_that_did_not_run_before_are_not_started(fleet, present):
    """Processes that ran before run again; no others."""
    facts = NodeFacts(container="running", host_ip="10.0.0.1", programs=("nginx", "sshd"))
    now = present(oms1=facts)
    plan = undo.undo(
        fleet, Present.of(json.loads(json.dumps(now.record()))),
        run=RUN, region="", begun=frozenset({"stop-processes@oms1"}),
    )  # fmt: skip

    assert ("supervisorctl", "start", "nginx", "sshd") == plan.steps[0].apply[0].command.argv[-4:]


def test_out_of_the_mirror_only_what_the_run_looked_at_is_touched(fleet, package, present):
    """A container of another region may bear the same name and spec: it is nobody's to remove."""
    now = present(package, oms2=NodeFacts())

    plan = undo.undo(fleet, now, run=RUN, region="", begun=None)

    assert {"oms1", "oms2", "metadb"} == {step.node for step in plan.steps}
