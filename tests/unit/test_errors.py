"""The next line of an error can be pasted as it stands."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from omsfab.errors import PROGRAMS, pasteable, sentence, unforeseen

SOURCES = [Path("tasks.py"), *Path("omsfab").rglob("*.py")]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("fab run.resume --run=x", "fab run.resume --run=x"),
        ("correct a in b, then: fab fleet.show", "fab fleet.show   # first: correct a in b"),
        ("ask the DBA for INSERT", "# ask the DBA for INSERT"),
        ("fab a   # first: do b, then: fab c", "fab a   # first: do b, then: fab c"),
        ("", ""),
    ],
)
def test_what_a_person_must_do_is_a_comment(given, shown):
    """A sentence is never taken for a program by the shell."""
    assert shown == pasteable(given)


def _text(node):
    """A string of the source, with what is put into it as its expression."""
    match node:
        case ast.Constant():
            return str(node.value)
        case ast.JoinedStr():
            return "".join(map(_text, node.values))
        case ast.FormattedValue(value=ast.Name(id="again" | "line" | "resume")):
            return "fab"
        case ast.FormattedValue(value=value):
            return _text(value) or ast.unparse(value)
        case ast.BinOp():
            return _text(node.left) + _text(node.right)
        case ast.Call() if node.args and ast.unparse(node.func).endswith("by_hand"):
            return "ssh " + _text(node.args[0])
    return ""  # made elsewhere


ADVICE = [
    pytest.param(text, id=f"{file}:{call.lineno}")
    for file in SOURCES
    for call in ast.walk(ast.parse(file.read_text()))
    if isinstance(call, ast.Call)
    for word in call.keywords
    if word.arg == "next" and (text := _text(word.value))
]


@pytest.mark.parametrize("text", ADVICE)
def test_each_error_advises_a_line_that_can_be_pasted(text):
    """Not a sentence alone; and what a person does first does not stand before the line."""
    line = pasteable(text).splitlines()[0].partition("#")[0]

    assert not sentence(text)
    assert line.startswith(PROGRAMS)
    assert ", " not in line or line.startswith(("$", "scripts/"))


def test_a_shell_takes_a_sentence_without_harm():
    """`sh -c` of the shown line of a mere sentence does nothing and ends with 0."""
    line = pasteable("wait until the other run ends")

    assert 0 == subprocess.run(["sh", "-c", line]).returncode


def test_what_nobody_foresaw_is_told_in_five_parts_and_without_its_text():
    """BUG-002: the places, and not the message, which may quote a value."""
    try:
        raise ValueError("CANARY")
    except ValueError as error:
        told = unforeseen(error).render()

    assert told.startswith("BUG-002  omsfab itself failed: ValueError")
    assert "test_errors.py:" in told
    assert "CANARY" not in told


def test_a_refusal_of_the_system_is_told_in_its_words():
    """ENV-004: no room, no right, no such file, with the file."""
    try:
        Path("/nonexistent/file").read_text()
    except OSError as error:
        told = unforeseen(error).render()

    assert "No such file or directory" in told
    assert "/nonexistent/file" in told
