"""A run goes on with an omsfab that was updated in between, where what was decided still holds."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from omsfab.command import command, script
from omsfab.errors import PreflightError
from omsfab.fleet.values import CmUrl
from omsfab.plan.observed import Observed
from omsfab.plan.procedures import scale_out, undo
from omsfab.plan.records import (
    CopyFile,
    ExitsZero,
    Job,
    Plan,
    Run,
    Send,
    Stage,
    Step,
    Write,
)
from omsfab.run.record import decisions
from omsfab.run.record import journal as journals
from omsfab.run.record.decisions import FORM, VERSION, changed, digest
from omsfab.run.resume import resume
from omsfab.run.session import Session
from omsfab.secret import Secret

ROOT = Path(__file__).parents[2]
OLD = Path(__file__).parent / "runs" / "20261124T230512Z-scale-out-3f9c"
"""Recorded by the code of commit bba7584."""


def updated(plan):
    """The same plan, as an omsfab with other titles, scripts, limits and questions makes it."""

    def effect(one):
        if isinstance(one, Job):
            return replace(one, limit=one.limit * 2)
        if isinstance(one, Run):
            return Run(script("# another script\nexit 0\n", "x"))
        return one

    def step(one):
        asks = (ExitsZero(command("true"), "?"),)
        acts = tuple(map(effect, one.apply))
        more = (Run(command("true")),) if acts else ()
        return replace(
            one, title=f"newly: {one.title}", apply=(*acts, *more), check=asks, fix="another"
        )

    def stage(one):
        question = Step(
            "new-question", one.steps[0].node, "?", verify=(ExitsZero(command("x"), "y"),)
        )
        return replace(one, title="newly", steps=(*map(step, one.steps), question))

    return replace(plan, title="newly", stages=tuple(map(stage, plan.stages)))


def recorded(plan, fleet, name="r", **more):
    return {
        "omsfab": VERSION,
        "form": FORM,
        "fleet": undo.public(fleet),
        "digest": digest(plan, name),
        "steps": [step.key for step in plan.steps if step.apply],
        **more,
    }


@pytest.fixture
def plan(fleet, package, present):
    return scale_out.scale_out(fleet, present(package))


def test_other_titles_scripts_limits_and_questions_are_no_other_decision(plan, fleet):
    """R4: an omsfab that was updated in between goes on."""
    assert digest(plan, "r") == digest(updated(plan), "r")
    assert None is changed(recorded(plan, fleet, omsfab="0.0.9"), updated(plan), fleet, "r")


def test_a_comment_in_config_yaml_is_no_other_decision(plan):
    """Nor is its order: what it says counts."""

    def effect(one):
        if not isinstance(one, Write):
            return one
        return replace(one, content=Secret("# newly\n" + one.content.reveal()))

    stages = tuple(
        replace(
            stage,
            steps=tuple(replace(s, apply=tuple(map(effect, s.apply))) for s in stage.steps),
        )
        for stage in plan.stages
    )

    assert digest(plan, "r") == digest(replace(plan, stages=stages), "r")


def test_every_decision_tells(plan, fleet, package, present):
    """Password, cm_url, nodes, package: each gives another digest."""
    region = fleet.regions[0]
    metadb = fleet.metadb.model_copy(update={"password": Secret("other")})
    url = region.model_copy(update={"cm_url": CmUrl("10.0.0.101", 8088)})
    fewer = region.model_copy(update={"nodes": region.nodes[:2]})
    others = [
        scale_out.scale_out(fleet.model_copy(update={"metadb": metadb}), present(package)),
        scale_out.scale_out(fleet.model_copy(update={"regions": (url,)}), present(package)),
        scale_out.scale_out(fleet.model_copy(update={"regions": (fewer,)}), present(package)),
        scale_out.scale_out(fleet, present(replace(package, sha256="ef" * 32))),
    ]

    assert 5 == len({digest(one, "r") for one in (plan, *others)})


def test_a_changed_value_is_named(plan, fleet):
    """What to roll back stands there."""
    region = fleet.regions[0].model_copy(update={"cm_url": CmUrl("10.0.0.101", 8088)})
    now = fleet.model_copy(update={"regions": (region,)})

    why = changed(recorded(plan, fleet), plan, now, "r")

    assert ("regions[1].cm_url: http://10.0.0.100:8088 -> http://10.0.0.101:8088",) == why.evidence


def test_other_steps_of_another_omsfab_are_named_with_both_versions(plan, fleet):
    """Not "another hosts.yaml", which nobody has touched."""
    record = recorded(plan, fleet, omsfab="0.0.9", digest="x")
    record["steps"] = [key for key in record["steps"] if not key.startswith("clear-rows")]

    why = changed(record, plan, fleet, "r")

    assert (
        f"was begun by omsfab 0.0.9, which plans other steps than this one ({VERSION})" == why.what
    )
    assert ("+ clear-rows@metadb, which is planned now",) == why.evidence


def test_the_digest_cannot_be_tried_out_quickly(plan, monkeypatch):
    """Of config.yaml only the password is unknown: its hash is salted, and scrypt's."""
    asked = []

    def scrypt(text, *, salt, n, r, p):
        asked.append((text, salt, n * r * p >= 1 << 16))
        return b"x" * 64

    monkeypatch.setattr(decisions.hashlib, "scrypt", scrypt)
    digest(plan, "the run")

    assert asked
    assert {(b"the run", True)} == {(salt, slow) for _, salt, slow in asked}


def test_a_run_of_an_older_omsfab_is_read_and_says_why_it_cannot_go_on(fleet, package):
    """Recorded by bba7584: its digest is made of titles and scripts, so nothing can be compared."""
    record = journals.load_record(OLD)
    past = journals.read(OLD / "journal.jsonl")
    present = Observed.of(record["present"])
    plan = scale_out.scale_out(fleet, present, **record["args"])

    why = changed(record, plan, fleet, OLD.name)

    assert (False, True) == (past.ended, past.changed)
    assert "stop-processes@oms1" in past.done
    assert "was recorded in another form (by omsfab 0.1.0 or older)" == why.what
    assert "hosts.yaml names the same nodes, paths and names as then" in why.evidence
    assert "use the omsfab that began it" == why.cure


def test_resuming_it_offers_the_rollback(fleet, tmp_path):
    """PLAN-004 with the version in it; production is stopped, so the line back is what is next."""
    shutil.copytree(OLD, tmp_path / OLD.name)
    asking = Asking(fleet, tmp_path)

    with pytest.raises(PreflightError, match="another form") as caught:
        resume(asking, OLD.name)

    assert f"fab run.undo --run={OLD.name}" in caught.value.render()


class Asking(Session):
    """A session with a home, without hosts.yaml and nodes."""

    def __init__(self, fleet, home):
        self.fleet, self.home, self.shells = fleet, home, {}


def test_a_run_records_which_omsfab_began_it():
    """As pyproject.toml has it."""
    said = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)

    assert said is not None
    assert VERSION == said[1]
    assert json.loads((OLD / "run.json").read_text()).get("form") is None


def test_a_package_that_lies_elsewhere_is_the_same(plan):
    """Another jump host keeps it in another directory."""

    def effect(one):
        return replace(one, source=Path("/elsewhere/x.tar")) if isinstance(one, Send) else one

    stages = tuple(
        replace(
            stage,
            steps=tuple(replace(s, apply=tuple(map(effect, s.apply))) for s in stage.steps),
        )
        for stage in plan.stages
    )

    assert digest(plan, "r") == digest(replace(plan, stages=stages), "r")


def test_what_was_renamed_since_is_no_other_decision():
    """As runs of this form hold it, written out: a file that is copied, and how a node is
    initialised."""
    step = Step(
        "x",
        "oms1",
        "x",
        apply=(
            CopyFile(Path("/here/a.crt"), "/data/a.crt", "ab", 0o644),
            Job("oms", ("init",), "/a", "/b", init="auto"),
        ),
    )
    copied = {"is": "Bring", "source": "a.crt", "path": "/data/a.crt", "sha256": "ab", "mode": 420}
    job = {"is": "Job", "container": "oms", "argv": ["init"], "directory": "/a", "inside": "/b"}
    text = json.dumps(
        ["scale.out", [["x@oms1", "repeatable", [copied, {**job, "habit": "auto"}]]]],
        sort_keys=True,
    )

    plan = Plan("scale.out", "", (), (Stage("x", (step,)),))

    assert hashlib.sha256(text.encode()).hexdigest() == digest(plan, "r")
