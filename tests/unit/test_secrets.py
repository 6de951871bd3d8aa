"""A secret shows nowhere but where it is used."""

from __future__ import annotations

import copy
import json
import pickle
import traceback

import pytest

from omsfab.command import command
from omsfab.errors import Next, OmsfabError
from omsfab.plan.events import Event
from omsfab.plan.observed import assumed
from omsfab.plan.procedures import node, scale_out
from omsfab.plan.records import Run, Step
from omsfab.run.engine.interpreter import Interpreter
from omsfab.run.record import journal as journals
from omsfab.run.record.decisions import digest
from omsfab.secret import Secret
from omsfab.show.text import plan_lines
from omsfab.ssh.protocol import Result

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
        scale_out.scale_out(fleet, now),
        scale_out.deploy(fleet, assumed(fleet, fleet.regions[0], package, deployed=False)),
        node.push_config(fleet, now, node="oms1"),
        node.run(fleet, now, node="oms2"),
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
        for step in scale_out.scale_out(fleet, now).steps
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

    assert digest(scale_out.scale_out(fleet, now), "a") != digest(
        scale_out.scale_out(other, now), "a"
    )


def test_an_error_has_its_five_parts():
    """What, where, changed, evidence, next: one under the other."""
    error = OmsfabError(
        "X-1", "it broke", where="oms1", evidence="a\nb", next=Next("fab run.resume")
    )

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
    site = Interpreter("r", tmp_path, {}, None, secrets=secrets)

    assert "password=****" == site.redact("password=oms-2024-tsdb!")


class Talker:
    """A node that says these lines, whatever it is asked."""

    def __init__(self, *lines):
        self.lines = lines

    def run(self, cmd, on_line=None):
        for line in self.lines:
            on_line(line)
        return Result(1, "\n".join(self.lines), "")


def test_what_a_line_in_the_container_says_is_fit_for_a_screen(tmp_path):
    """node.exec and node.logs show what a node says: no clipboard is written, nothing leaks."""
    said = (
        "\x1b]52;c;Y3VybCBldmls\x07\x1b[31mok\x1b[0m",
        "{'username': 'u', 'password_original': 'another', 'port': 1}",
        "pw CANARY-",
        "7f3-of-oms end",
    )
    told = []
    site = Interpreter(
        "r", tmp_path, {"oms1": Talker(*said)}, None, secrets=[Secret("CANARY-7f3-of-oms")]
    )
    step = Step("exec", "oms1", "exec", apply=(Run(command("x"), any_status=True),))

    site.perform(step.apply[0], step, 1, lambda kind, text: told.append((kind, text)))

    assert [
        ("line", "ok"),
        ("line", "{'username': 'u', 'password_original': '****', 'port': 1}"),
        ("line", "pw **** end"),
    ] == told


def test_an_error_quotes_no_escape_and_no_secret(tmp_path):
    """The output of a command that failed is its evidence."""
    said = ("\x1b[2Jpassword=x\x9b0m", "%43ANARY-7f3")
    site = Interpreter("r", tmp_path, {"oms1": Talker(*said)}, None, secrets=[Secret("CANARY-7f3")])
    step = Step("exec", "oms1", "exec", apply=(Run(command("x")),))

    with pytest.raises(OmsfabError) as caught:
        site.perform(step.apply[0], step, 1, lambda *_: None)

    assert "password=****\n****" == caught.value.evidence


def test_a_journal_of_others_moves_no_cursor(tmp_path):
    """A copy fetched from a node, or one of an older omsfab, is shown like anything of a node."""
    book = journals.Journal(tmp_path)
    book.write(Event(0, 0, "oms1", "x", "line", "\x1b]0;you\x07 \x1b[8mhidden"))
    book.close()

    (event,) = journals.read(tmp_path / "journal.jsonl").events

    assert " hidden" == event.text
