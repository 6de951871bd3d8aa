"""The next line of an error can be pasted as it stands."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
from pathlib import Path

import pytest

import tasks
from omsfab.errors import CURES, OmsfabError, cures, unforeseen
from omsfab.next_line import chain, edit, fab, plus, recorded, shell, typed

SOURCES = [Path("tasks.py"), *Path("omsfab").rglob("*.py")]
LAB = Path("omsfab/lab")
MAKER = Path("omsfab/next_line.py")
NODES = {path: [*ast.walk(ast.parse(path.read_text()))] for path in SOURCES}
"""Walked once: several workers collect this file."""
CALLS = {
    path: [node for node in nodes if isinstance(node, ast.Call)] for path, nodes in NODES.items()
}


def calls(*names):
    """Every call of one of these functions, with the file it stands in."""
    return [
        pytest.param(path, call, id=f"{path}:{call.lineno}")
        for path, made in CALLS.items()
        for call in made
        if isinstance(call.func, ast.Name) and call.func.id in names
    ]


def flags_of(task):
    body = tasks.namespace[task].body
    return {name.rstrip("_").replace("_", "-") for name in inspect.signature(body).parameters}


def test_no_error_is_given_a_sentence_as_its_next_line():
    """Every ``next=`` is a value of the maker: text stands in ``fix``, which nobody pastes."""
    texts = [
        f"{path}:{word.value.lineno}"
        for path, made in CALLS.items()
        for call in made
        for word in call.keywords
        if word.arg == "next"
        and isinstance(word.value, (ast.JoinedStr, ast.Constant, ast.BinOp))
        and ast.unparse(word.value) != "None"
    ]

    assert [] == texts


def test_no_line_is_put_together_by_hand():
    """`fab … --flag={value}` in a text would be pasted with whatever the value has in it."""
    by_hand = [
        f"{path}:{text.lineno}"
        for path, nodes in NODES.items()
        if LAB not in path.parents
        for text in nodes
        if isinstance(text, ast.JoinedStr)
        for part in text.values[:-1]
        if isinstance(part, ast.Constant)
        and re.search(r"\bfab [a-z]+\.[a-z-]+ .*=$", str(part.value))
    ]

    assert [] == by_hand


def test_only_the_maker_makes_next_lines():
    """One place quotes; the errors' own two lines and those of the lab have nothing to quote."""
    others = {
        path
        for path, made in CALLS.items()
        for call in made
        if ast.unparse(call.func) in ("Next", "errors.Next")
    }

    assert {MAKER, Path("omsfab/errors.py")} == {p for p in others if LAB not in p.parents}


@pytest.mark.parametrize(("path", "call"), calls("fab"))
def test_each_task_that_a_next_line_calls_exists_with_its_flags(path, call):
    """What is printed can be pasted: a task of the tree, and flags that this task takes."""
    if path == MAKER:
        return
    named = call.args[0]
    if not isinstance(named, ast.Constant):  # the task that asked, or one of two
        known = [n.value for n in ast.walk(named) if isinstance(n, ast.Constant)]
    else:
        known = [named.value]
    for task in (name for name in known if "." in str(name)):
        taken = flags_of(task)
        given = {word.arg for word in call.keywords} - {"note", "first", "dry", None}
        assert {name.rstrip("_").replace("_", "-") for name in given} <= taken


RAISED = re.compile(r"[A-Z]+-\d{3}")
QUIET = {
    "RUN-030": "the operator let go himself: the line of the run alone",
    "ENV-003": "its line is made by one function for both limits",
    "ENV-005": "the same",
    "SEC-002": "chown, and the task again",
    "SEC-003": "chmod, and the task again",
}
"""Ids of which no fix is needed, and why."""


def raised():
    """Each place where an error or a step's fault is made, but for warnings: id and its words."""
    for path, made in CALLS.items():
        if LAB in path.parents:
            continue
        for call in made:
            words = {word.arg: word.value for word in call.keywords}
            given = [*call.args, *filter(None, [words.get("fault"), words.get("id")])]
            ids = [a.value for a in given if isinstance(a, ast.Constant)]
            ids = [id for id in ids if isinstance(id, str) and RAISED.fullmatch(id)]
            if ids and "warn" not in words:
                yield pytest.param(ids[0], set(words), id=f"{path}:{call.lineno}")


@pytest.mark.parametrize(("id", "words"), list(raised()))
def test_every_error_says_what_to_do(id, words):
    """A fix or a line of its own where it is made, or the fix of its id: the same line again is
    no advice."""
    assert {"fix", "next", "cure"} & words or id in CURES or id in QUIET


def test_a_fix_of_an_id_is_told_where_the_case_has_none():
    """In words, before the line."""
    error = OmsfabError("HOST-001", "docker does not answer", next=fab("scale.out"))

    assert f"  fix:      {CURES['HOST-001']}" in error.render().splitlines()
    error.fix = "start it"
    assert CURES["HOST-001"] not in error.render()


NASTY = ("a b", "it's", "$(reboot)", "`x`", ";rm -rf /", "a\nb", "*", "# x")


@pytest.mark.parametrize("word", NASTY)
@pytest.mark.parametrize(
    "made",
    [
        lambda w: fab("node.exec", node="oms1", command=w, plan=True),
        lambda w: recorded("node.exec", {"node": "oms1", "words": w}),
        lambda w: plus(fab("run.resume", run="x"), from_=w),
        lambda w: shell("nc", "-vz", w, note="is it there?"),
        lambda w: chain(shell("cd", w), shell("ls", w), by=";"),
        lambda w: typed(["node.exec", f"--command={w}"]),
        lambda w: edit(w),
    ],
)
def test_no_value_in_a_next_line_means_anything_to_a_shell(made, word):
    """A real bash reads the line, comment included, and gives the word back as one argument."""
    line = made(word)
    script = f"show() {{ printf '<%s>' \"$@\"; }}\n{line.line.replace('${EDITOR:-vi}', 'show')}"
    names = ("fab", "nc", "cd", "ls")
    stubs = "\n".join(f"{name}() {{ printf '<%s>' \"$@\"; }}" for name in names)
    said = subprocess.run(["bash", "-c", f"{stubs}\n{script}"], capture_output=True, text=True)

    assert 0 == subprocess.run(["bash", "-n", "-c", str(line)]).returncode
    assert word in said.stdout
    assert not said.stderr


def test_a_run_is_called_by_the_flags_of_its_record():
    """What the record calls words is --command; a switch stands alone; nothing is empty."""
    assert (
        "fab scale.out --nodes=oms2,oms3 --accept-interruption --plan"
        == recorded(
            "scale.out",
            {"nodes": "oms2,oms3", "region": "", "accept_interruption": "yes"},
            plan=True,
        ).line
    )
    assert "fab node.exec --node=oms1 --command='echo a; touch X'" == (
        recorded("node.exec", {"node": "oms1", "words": "echo a; touch X"}).line
    )


def test_what_a_person_does_stands_apart_from_what_is_pasted():
    """``fix`` in words, ``next`` a line each."""
    error = OmsfabError(
        "X-001",
        "x",
        fix="make room there",
        next=(fab("run.resume", run="r"), fab("run.undo", run="r", note="rolls back")),
    )

    assert [
        "  fix:      make room there",
        "  next:     fab run.resume --run=r",
        "            fab run.undo --run=r   # rolls back",
    ] == error.render().splitlines()[-3:]


def test_several_errors_name_the_cure_of_each():
    """Three nodes whose keys are not known: three lines, none twice."""
    names = ("oms1", "oms2", "oms3", "oms1")
    errors = [OmsfabError("SSH-009", "x", next=fab("node.trust", node=n)) for n in names]

    fix, lines = cures(errors)

    assert "" == fix
    assert [f"fab node.trust --node=oms{n}" for n in (1, 2, 3)] == [line.line for line in lines]


@pytest.mark.parametrize(
    "typed_words",
    [
        ["-H", "oms1", "fleet.status"],
        ["-Homs1", "fleet.status"],
        ["--hosts=oms1", "fleet.status"],
        ["--hosts", "oms1", "fleet.status"],
    ],
)
def test_a_task_on_the_whole_fleet_is_called_without_a_host(typed_words):
    """INPUT-026: the line that was typed, but for -H and its value."""
    assert ["fleet.status"] == tasks._without_host(typed_words)


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
