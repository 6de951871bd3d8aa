"""A secret shows nowhere but where it is used."""

from __future__ import annotations

import copy
import json
import pickle
import traceback

import pytest

from omsfab.errors import OmsfabError
from omsfab.fleet.secret import Secret
from omsfab.plan import repair, scale
from omsfab.plan.present import assumed
from omsfab.run.session import digest
from omsfab.run.site import Site
from omsfab.show.text import plan_lines

PIECES = ("CANARY-7f3",)


def canary(text: str) -> bool:
    return any(piece in text for piece in PIECES)


def test_a_secret_shows_as_stars():
    """repr, str, format, f-string, containers, tracebacks."""
    secret = Secret("CANARY-7f3")
    try:
        raise ValueError(secret)
    except ValueError:
        trace = traceback.format_exc()

    assert not canary(f"{secret} {secret!r} {secret:>8} {[secret]} {{'a': secret}} {trace}")


def test_a_secret_is_never_pickled():
    """Nor can it reach a file by that way."""
    with pytest.raises(TypeError):
        pickle.dumps(Secret("CANARY-7f3"))


def test_no_rendering_of_a_plan_shows_a_secret(fleet, package):
    """Everything an operator or a journal sees of all plans, with a marker as password."""
    now = assumed(fleet, fleet.regions[0], package)
    plans = [
        scale.scale_out(fleet, now),
        scale.deploy(fleet, assumed(fleet, fleet.regions[0], package, deployed=False)),
        repair.push_config(fleet, now, node="oms1"),
        repair.run(fleet, now, node="oms2"),
    ]
    texts = [
        text
        for plan in plans
        for text in (
            *plan_lines(plan),
            repr(plan),
            digest(plan, "salt"),
            json.dumps(now.record()),
            repr(fleet),
            fleet.model_dump_json(exclude={"metadb"}),
            str(copy.copy(plan)),
        )
    ]

    assert [] == [text for text in texts if canary(text)]


def test_no_word_of_a_command_is_a_secret(fleet, package):
    """argv is public on a node; secrets travel on standard input or in files."""
    now = assumed(fleet, fleet.regions[0], package)
    words = [
        word
        for step in scale.scale_out(fleet, now).steps
        for effect in step.apply
        if hasattr(effect, "command")
        for word in effect.command.argv
    ]

    assert words
    assert not canary(" ".join(words))


def test_the_digest_of_a_plan_tells_another_password(fleet, package):
    """A resumed run must not go on with another config.yaml than the one confirmed."""
    now = assumed(fleet, fleet.regions[0], package)
    other = fleet.model_copy(
        update={"metadb": fleet.metadb.model_copy(update={"password": Secret("other")})}
    )

    assert digest(scale.scale_out(fleet, now), "a") != digest(scale.scale_out(other, now), "a")


def test_an_error_has_its_five_parts():
    """What, where, changed, evidence, next: one under the other."""
    error = OmsfabError("X-1", "it broke", where="oms1", evidence="a\nb", next="fab run.resume")

    assert (
        "X-1  it broke\n"
        "  where:    oms1\n"
        "  changed:  nothing\n"
        "  evidence: a\n"
        "            b\n"
        "  next:     fab run.resume"
    ) == error.render()


def test_a_secret_within_another_leaves_nothing_of_it(tmp_path):
    """X01: the longer one is hidden first."""
    secrets = (Secret("oms-2024"), Secret("oms-2024-tsdb!"))
    site = Site("r", tmp_path, {}, None, secrets=secrets)

    assert "password=****" == site.redact("password=oms-2024-tsdb!")
