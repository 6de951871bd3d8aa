"""Values travel between rooms: nobody reads a sentence that the project itself has written."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from omsfab.plan import step_names

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path
    for path in ((ROOT / "omsfab").rglob("*.py"))
    if not path.is_relative_to(ROOT / "omsfab" / "lab")
)

CUTS = {
    *("startswith", "endswith", "partition", "rpartition", "split", "rsplit"),
    *("removeprefix", "removesuffix", "search", "match", "fullmatch", "findall", "finditer"),
}

FOREIGN = {
    "cli/adopt.py": "--from and answers, as an operator types them; the name of a machine",
    "cli/completion.py": "a line that is being typed",
    "cli/forget.py _traces": "what a script on a node says of its files",
    "cli/fleet.py _row": "what docker says of a container",
    "cli/nodes.py": "what docker and logs say; --component, as an operator types it",
    "cli/runs.py wanted": "--task, as an operator types it",
    "cli/runs.py _regions": "--node, as an operator typed it",
    "cli/runs.py log": "--node, as an operator types it",
    "commands": "what programs on a node say",
    "errors.py": "its own table of ids",
    "fleet": "hosts.yaml, config.yaml, a package: written by others",
    "metadb": "what MetaDB says",
    "plan/acceptance.py parsed": "--accept, as an operator types it",
    "plan/adoption.py": "what docker says of containers",
    "plan/events.py end": "journals of 0.1.0, which say it in words alone",
    "plan/events.py id": "journals of 0.1.0, which say it in words alone",
    "plan/events.py left": "journals of 0.1.0, which say it in words alone",
    "plan/observed.py pull_flag": "docker's version",
    "plan/observed.py table": "table.column, as MetaDB names it",
    "plan/procedures/caveats.py": "versions, as MetaDB says them; the name of a container",
    "plan/procedures/declared.py declared": "the source of a planner",
    "plan/procedures/node.py build": "a mount, as docker says it",
    "plan/procedures/node.py nodes_named": "--node, as an operator types it",
    "plan/procedures/regions.py": "--nodes, as typed; images and mounts, as docker says them",
    "plan/procedures/scale_out.py _proof_of": "an image of hosts.yaml",
    "plan/procedures/scale_out.py changed_config": "keys of config.yaml",
    "plan/procedures/undo.py _put_back": "a path",
    "plan/questions.py _of_new": "an image of hosts.yaml",
    "plan/step_names.py parts": "the one place that takes a step's key apart",
    "plan/steps.py refresh": "keys of config.yaml",
    "plan/story.py _numbered": "journals of 0.1.0, which say it in words alone",
    "run/clock.py since": "--since, as an operator types it",
    "run/engine/failpoint.py wanted": "an environment variable",
    "run/engine/init_job.py": "what the wrapper of docker_init.sh says",
    "run/engine/init_output.py": "what docker_init.sh says",
    "run/engine/interpreter.py": "what programs on a node say",
    "run/jump_host.py _limit": "words of a command",
    "run/observe.py": "what programs on a node say",
    "run/record/journal.py containers": "the id that docker says",
    "run/record/journal.py read": "bytes of a file, line by line",
    "run/record/past_run.py short": "the id of a run, whose end an operator types",
    "run/record/replica.py": "what a node says of copies, which may be in other hands",
    "show/hosts_yaml.py": "a value of hosts.yaml",
    "show/report.py title": "--nodes, as an operator typed it",
    "show/columns.py folded": "where a line of the screen ends",
    "show/live.py clipped": "where a line of the screen ends",
    "show/overview.py _follows": "names of nodes, as hosts.yaml has them",
    "ssh": "what OpenSSH and its files say",
}
"""Where a text is taken apart -> whose text it is.  A room, a file, or a function of a file."""


def cuts(path: Path) -> Iterator[tuple[str, str]]:
    """Yield function and call of each place that takes a text apart."""

    def walk(node: ast.AST, function: str) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            inside = child.name if isinstance(child, ast.FunctionDef) else function
            if (
                isinstance(child, ast.Call)
                and isinstance(child.func, ast.Attribute)
                and child.func.attr in CUTS
            ):
                yield inside, child.func.attr
            yield from walk(child, inside)

    yield from walk(ast.parse(path.read_text()), "")


def is_foreign(path: Path, function: str) -> bool:
    name = path.relative_to(ROOT / "omsfab").as_posix()
    room = name.partition("/")[0]
    return not FOREIGN.keys().isdisjoint((room, name, f"{name} {function}"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_room_takes_apart_what_the_project_has_written(path):
    """A state, an id, a step's name is a value; what is cut is somebody else's text."""
    own = [(function, cut) for function, cut in cuts(path) if not is_foreign(path, function)]

    assert [] == own


def test_every_place_that_may_cut_is_there():
    """A line of the list above whose place is gone would hide a new one."""
    found = {
        word
        for path in MODULES
        for function, _ in cuts(path)
        for name in [path.relative_to(ROOT / "omsfab").as_posix()]
        for word in (name.partition("/")[0], name, f"{name} {function}")
    }

    assert set() == FOREIGN.keys() - found


NAMES = {value for name, value in vars(step_names).items() if name.isupper() and value != "metadb"}


def texts(nodes: Iterable[ast.AST]) -> list[str]:
    found = (node for one in nodes for node in ast.walk(one) if isinstance(node, ast.Constant))
    return [node.value for node in found if isinstance(node.value, str)]


def is_step(node: ast.AST) -> bool:
    return any(isinstance(one, ast.Attribute) and one.attr == "step" for one in ast.walk(node))


def literals(tree: ast.AST) -> Iterator[str]:
    """Yield names of steps that stand as a literal: as a key, compared, or where one is made."""
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)):
                name, at, _ = text.partition("@")
                if name in NAMES and (at or "-" in name):
                    yield text
            case ast.Compare(left=left, comparators=others) if is_step(node):
                yield from texts([left, *others])
            case ast.Call(func=ast.Name(id="Step"), args=args, keywords=keywords):
                given = [*args[:1], *(one.value for one in keywords if one.arg == "name")]
                yield from NAMES.intersection(texts(given))


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if path.name != "step_names.py"],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_steps_that_several_rooms_know_are_constants(path):
    """A name that is misspelt in one of them is no error, but a step that is not found."""
    assert [] == list(literals(ast.parse(path.read_text())))
