"""Taking a run back: which steps, in which order, out of what the run's directory holds."""

from __future__ import annotations

import base64
import hashlib
import json
import threading

import pytest

from omsfab.fleet.values import CmUrl
from omsfab.plan.observed import NodeFacts, Observed
from omsfab.plan.procedures import scale_out, undo
from omsfab.plan.records import METADB, DropHosts, Job, PutBack, RestoreRows
from omsfab.run.record import replica
from omsfab.ssh.protocol import Result
from tests.unit.test_plans import compare

RUN = "20261123T080521Z-scale-out-99d3"


def begun(plan):
    return frozenset(step.key for step in plan.steps if step.apply)


@pytest.fixture
def back(fleet, package, present):
    """The rollback of a whole scale-out, or of one that had begun these steps only."""

    def make(*keys):
        now = present(package, oms2=NodeFacts(), oms3=NodeFacts())
        done = keys or begun(scale_out.scale_out(fleet, now))
        return undo.undo(fleet, now, run=RUN, region="", begun=frozenset(done))

    return make


def test_a_whole_scale_out_is_taken_back_in_reverse(back, fleet):
    """Containers first, rows before the configuration is initialised, programs last."""
    compare("undo_scale_out", back(), fleet)


def test_a_new_region_goes_with_its_rows(fleet, package):
    """Rows that were saved before it came have none of it: putting them back takes its rows out."""
    region = fleet.regions[0]
    other = region.model_copy(
        update={"name": "cn-else", "location": 9, "nodes": region.nodes[:1], "default": True}
    )
    new = region.model_copy(update={"nodes": region.nodes[1:], "default": False})
    both = fleet.model_copy(update={"regions": (other, new)})
    now = Observed(clusters={9: CmUrl("10.0.0.1", 8088)}, package=package, image=package.image)
    begun = {"save-rows@metadb", "container@oms2", "container@oms3", "initialise@oms2"}

    plan = undo.undo(both, now, run="r", region=new.name, begun=begun)

    assert [
        ("own-container", "oms2"),
        ("own-container", "oms3"),
        ("init-over", "oms2"),
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


@pytest.mark.parametrize(
    ("more", "warned"), [((), True), (("initialise@oms1",), False)], ids=["never", "begun"]
)
def test_a_cm_url_that_the_run_cannot_have_written_is_told(back, more, warned):
    """A DBA edits the row while production is stopped: only docker_init.sh of the run could have
    written it, so before that a rollback ends well, and says what it saw."""
    plan = back("stop-processes@oms1", "clear-rows@metadb", *more)

    assert [warned] == [step.warn for step in plan.steps if step.name == "cm-url"]


def test_a_run_that_only_stopped_production_starts_it_again(back):
    """No row was touched: no initialisation, no surgery."""
    plan = back("stop-processes@oms1")

    assert ["start-processes", "health"] == [step.name for step in plan.steps]


def test_a_run_that_only_staged_takes_its_file_away(back):
    """config.yaml holds a password; the directories and the image stay."""
    plan = back("directories@oms2", "image@oms2", "config@oms2")

    changes = [step.key for step in plan.steps if step.apply]
    assert ["put-back-config.yaml@oms2", "remove-package@oms2"] == changes


def test_a_container_that_was_there_before_is_not_removed(fleet, present, package):
    """The run had found it down and started it: it is stopped again, and kept."""
    then = present(package, oms2=NodeFacts(container="stopped", id="cd" * 32))

    plan = undo.undo(fleet, then, run="r", region="", begun={"container@oms2"})

    assert ["stop-container"] == [step.name for step in plan.steps if step.apply]


def test_whose_it_is_now_is_asked_before_anything_is_rolled_back(back):
    """Containers that the run made and files that it wrote, on every node, first of all; and again
    when a rollback goes on."""
    first = back().stages[0]

    assert first.asks_only
    assert {"own-container@oms2", "own-container@oms3"} <= {step.key for step in first.steps}
    assert {f"own-files@oms{n}" for n in (1, 2, 3)} <= {step.key for step in first.steps}
    assert all(step.recheck_on_resume for step in first.steps)


@pytest.mark.parametrize("saving", ["clear-rows@metadb", "save-rows@metadb"])
def test_without_saved_rows_a_copy_tells_that_none_was_touched(tmp_path, saving):
    """A copy may lag behind by a stage, but no row is touched before its backup is in it."""
    steps = ["stop-processes@oms1", saving, "initialise@oms1"]
    (tmp_path / "backup").mkdir()

    without = replica.may_have_begun(tmp_path, steps)
    (tmp_path / "backup" / "region-1.1.jsonl").touch()

    assert (steps[:1], steps) == (without, replica.may_have_begun(tmp_path, steps))


class Node:
    """A shell that keeps what is written there."""

    node = "oms1"

    def __init__(self):
        self.files = {}

    def run(self, command):
        if command.stdin is None:
            return Result(0, "", "")
        self.files[command.argv[-1]] = data = base64.b64decode(command.stdin.reveal())
        return Result(0, hashlib.sha256(data).hexdigest(), "")

    def send(self, source, dest, *_):
        self.files[dest] = source.read_bytes()


def test_the_last_word_of_a_run_is_in_its_copy(tmp_path):
    """Whoever rolls the run back elsewhere sees that it had ended, though a copy was under way."""
    node = Node()
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "journal.jsonl").write_text("ended\ntorn")
    copy = replica.Mirror(node, tmp_path, lambda text: None)
    copy._lock.acquire()
    threading.Timer(0.1, copy._lock.release).start()

    copy.refresh_now()

    assert [b"ended\n"] == [text for path, text in node.files.items() if path.endswith(".jsonl")]


@pytest.fixture
def joined(fleet, package, present):
    """The rollback of nodes that joined behind a VIP, as far as these steps were begun."""

    def make(*keys):
        now = present(package, url="http://10.0.0.100:8088")
        done = keys or begun(scale_out.scale_out(fleet, now))
        return undo.undo(fleet, now, run=RUN, region="", begun=frozenset(done))

    return make


def test_behind_a_vip_the_old_nodes_read_their_former_file_again(joined):
    """config.yaml put back is not enough: the components read it at a refresh."""
    names = [step.key for step in joined().steps]

    assert names.index("put-back-config.yaml@oms1") < names.index("refresh@oms1")


def test_host_rows_of_the_nodes_that_joined_go_with_their_containers(joined):
    """Vendor's scale-in: the container is stopped first, then its row in host goes."""
    names = [step.key for step in joined().steps]
    dropped = [e for step in joined().steps for e in step.apply if isinstance(e, DropHosts)]

    assert [DropHosts(1, ("10.0.0.2", "10.0.0.3"))] == dropped
    assert names.index("remove-container@oms2") < names.index("drop-hosts@metadb")


@pytest.mark.parametrize("url", ["", "http://10.0.0.100:8088"])
def test_rows_are_saved_before_a_new_node_may_write_any(fleet, package, present, url):
    """What a rollback takes out is what was not there then: first deployment, behind a VIP."""
    fresh = Observed(package=package, image=package.image)
    plan = (
        scale_out.scale_out(fleet, present(package, url=url))
        if url
        else scale_out.deploy(fleet, fresh)
    )
    keys = [step.name for step in plan.steps]

    assert keys.index("save-rows") < keys.index("container")


def test_without_a_container_no_host_row_is_touched(joined):
    """Rows were saved, nothing else was begun: there may be no backup, and none is needed."""
    assert "drop-hosts" not in [s.name for s in joined("save-rows@metadb", "config@oms2").steps]


def test_a_deployment_is_taken_back_to_an_empty_region(fleet, package):
    """There was no row, nor a table perhaps: all rows of the region go; there are no others."""
    now = Observed(package=package, image=package.image)
    plan = undo.undo(fleet, now, run=RUN, region="", begun=begun(scale_out.deploy(fleet, now)))
    rows = [step for step in plan.steps if step.node == METADB]

    assert [(RestoreRows(1, saved=True),)] == [step.apply for step in rows]
    assert "tables that docker_init.sh made stay" in " ".join(plan.reasons)


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
        fleet, Observed.of(json.loads(json.dumps(now.record()))),
        run=RUN, region="", begun=frozenset({"stop-processes@oms1"}),
    )  # fmt: skip

    assert ("supervisorctl", "start", "nginx", "sshd") == plan.steps[0].apply[-1].command.argv[-4:]
