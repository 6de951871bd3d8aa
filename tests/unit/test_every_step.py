"""Each step of each plan fails, before and after the first change: what is printed leads on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from omsfab.errors import OmsfabError, PreflightError, StepFailed
from omsfab.fleet.model import Https
from omsfab.lab import pasted
from omsfab.next_line import fab
from omsfab.plan.observed import NodeFacts, Observed
from omsfab.plan.procedures import node, scale_out, tsdb, undo
from omsfab.plan.records import Plan
from omsfab.run import lifecycle
from omsfab.run.engine.runner import Runner
from omsfab.run.lifecycle import Order
from tests.unit.test_docs import ids_in_code
from tests.unit.test_new_region import now as two_regions  # noqa: F401  # fixtures
from tests.unit.test_new_region import several  # noqa: F401
from tests.unit.test_next_lines import NoCopy, NothingIsSo, rolled_back
from tests.unit.test_tsdb import measured  # noqa: F401
from tests.unit.test_tsdb import running as running_all  # noqa: F401
from tests.unit.test_undo_runs import FORWARD, made, world

NODE = "--node=oms1"


@pytest.fixture(autouse=True)
def _no_copies(monkeypatch):
    monkeypatch.setattr(lifecycle, "Mirror", NoCopy)


@pytest.fixture
def plans(fleet, package, present, several, two_regions, measured, running_all):  # noqa: F811
    """What is typed -> plans that it leads to: all that omsfab carries out."""
    https = Https(crt=Path("/nowhere/crt"), key=Path("/nowhere/key"))
    region = fleet.regions[0].model_copy(update={"https": https})
    secured = fleet.model_copy(update={"regions": (region,)})
    now = present(package, oms2=NodeFacts(), oms3=NodeFacts())
    vip = present(package, url=str(fleet.regions[0].cm_url))
    forward = scale_out.scale_out(fleet, now)
    begun = frozenset(step.key for step in forward.steps if step.apply)
    mounts = tuple(
        f"/data/oms/https_{p[0]}:{p[1]}" for p in (("crt", "/etc/pki/nginx/oms_server.crt"),)
    )
    first = dataclasses.replace(now.nodes["oms1"], binds=(*now.nodes["oms1"].binds, *mounts))
    certified = dataclasses.replace(now, nodes={"oms1": first})
    return {
        "scale.out": [
            forward,
            scale_out.scale_out(fleet, vip),
            scale_out.scale_out(fleet, now, rows="update"),
            scale_out.scale_out(several, two_regions, region="cn-jiangsu"),
        ],
        "oms.deploy": [scale_out.deploy(fleet, Observed(package=package, image=package.image))],
        "tsdb.deploy": [tsdb.deploy(measured, Observed(nodes={"oms3": NodeFacts()}))],
        "tsdb.enable": [tsdb.enable(measured, running_all)],
        f"run.undo --run={FORWARD}": [
            undo.undo(fleet, now, run=FORWARD, region="", begun=begun),
            undo.undo(fleet, vip, run=FORWARD, region="", begun=begun - {"clear-rows@metadb"}),
        ],
        f"node.run {NODE}": [node.run(fleet, present(package, oms1=NodeFacts()), node="oms1")],
        f"node.push-certs {NODE}": [node.push_certs(secured, certified, node="oms1")],
        f"node.load-image {NODE}": [node.load_image(fleet, vip, node="oms1")],
        **{
            f"node.{word} {NODE}": [make(fleet, vip, node="oms1")]
            for word, make in (
                ("stop", node.stop),
                ("start", node.start),
                ("restart", node.restart),
                ("refresh", node.refresh),
                ("push-config", node.push_config),
                ("initialise", node.initialise),
                ("check", node.check),
            )
        },
        f"node.exec {NODE} --command=x": [node.execute(fleet, vip, node="oms1", words="x")],
    }


def failing(plans):
    """Yield what is typed and each step that can stop it, once for each text."""
    seen = set()
    for asked, each in plans.items():
        for step in (step for plan in each for step in plan.steps if not step.warn):
            told = (asked, step.fault, step.fix.replace("oms2", "oms1"), str(step.next))
            if told not in seen:
                seen.add(told)
                yield asked, step


def faults_of(error: OmsfabError, asked: str) -> list[str]:
    return [
        f"{asked}: {why}\n{error.render()}\n"
        for why in pasted.judge(error.render(), asked.split(), error.exit_code)
    ]


def ended(home, monkeypatch, asked, error, *, changed):
    """What a task prints whose run ends with this error, before or after its first change."""

    def carry_out(self, plan):
        if changed:
            self._changed.append("oms1: stop")
        error.changed = self.changed
        raise error

    monkeypatch.setattr(Runner, "carry_out", carry_out)
    if asked.startswith("run.undo"):
        return rolled_back(home, error, changes=False)
    task, args = pasted.parsed(asked.split())
    args = {"words" if name == "command" else name: value for name, value in args.items()}
    run = made(home, FORWARD, task=task, **args)
    plan = Plan(task, "t", (), (), initial="oms1")
    with pytest.raises(OmsfabError) as told:
        lifecycle.carry_out(world(home), Order(run, plan))
    return told.value


def test_a_step_that_is_not_so_before_the_first_change_leads_on(plans, tmp_path, monkeypatch):
    """What it says itself, or the task once more and what is to be done before it."""
    wrong = []
    for number, (asked, step) in enumerate(failing(plans)):
        error = Runner(NothingIsSo(), lambda event: None)._not_so(step, "not so")
        with monkeypatch.context() as patch:
            (tmp_path / str(number)).mkdir()
            told = ended(tmp_path / str(number), patch, asked, error, changed=False)
        wrong += faults_of(told, asked)

    assert not wrong, "".join(wrong)


def test_a_step_that_fails_after_a_change_leads_on(plans, tmp_path, monkeypatch):
    """run.resume, and back where there is one; for whoever has resumed it already, too."""
    wrong = []
    for number, (asked, step) in enumerate(failing(plans)):
        (tmp_path / str(number)).mkdir()
        failed = StepFailed(step.fault, "it failed", where=step.node, fix=step.fix, next=step.next)
        failed.node = step.node
        error = ended(tmp_path / str(number), monkeypatch, asked, failed, changed=True)
        wrong += faults_of(error, asked)
        if any(line.task == "run.resume" for line in error.next):
            wrong += faults_of(error, f"run.resume --run={FORWARD}")

    assert not wrong, "".join(wrong)


def test_nothing_is_rolled_back_where_nothing_was_changed(tmp_path, monkeypatch):
    """`fab run.undo` stood there, without a run: the newest one's, of last week perhaps."""
    advice = fab("run.undo", note="production runs")
    for number, changed in enumerate((False, True)):
        (tmp_path / str(number)).mkdir()
        error = PreflightError("DB-041", "other rows", next=advice)
        with monkeypatch.context() as patch:
            told = ended(tmp_path / str(number), patch, "scale.out", error, changed=changed)
        lines = [line.line for line in told.next]

        assert [f"fab run.undo --run={FORWARD}" if changed else "fab scale.out"] == lines


UNRAISED = {
    "LAB-002": "of the lab itself, which no operator has: a kind of MetaDB that there is not",
    "LAB-003": "of the lab itself: a `fab` of the demonstration failed, and said why",
}
"""Ids of which no test makes the error, and why."""


def test_every_error_is_made_by_a_test(plans):
    """A step's by the tests above, another one by a test that names it."""
    steps = {step.fault for plan in plans.values() for p in plan for step in p.steps}
    named = "".join(
        path.read_text()
        for room in ("unit", "wire", "lab", "faults")
        for path in Path(__file__).parents[1].joinpath(room).rglob("*.py")
        if path.name != Path(__file__).name
    )

    assert set(UNRAISED) == {id for id in ids_in_code() - steps if id not in named}
