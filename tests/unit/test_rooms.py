"""The rooms of docs/design.md: who may import whom, and what stands in one place only."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ORDER = (
    "errors",
    "retry",
    "next_line",
    "secret",
    "command",
    "fleet",
    "commands",
    "ssh",
    "plan",
    "metadb",
    "show",
    "run",
    "cli",
    "lab",
)
NOT = {"plan": {"ssh"}, "show": {"ssh", "metadb"}}
"""ssh knows no plans; plans and texts know no network."""

MODULES = sorted(
    path for path in (ROOT / "omsfab").rglob("*.py") if "lab/image" not in path.as_posix()
)


def room(path: Path) -> str:
    return path.relative_to(ROOT / "omsfab").parts[0].removesuffix(".py")


@cache
def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_room_imports_only_from_rooms_above(path):
    """errors, fleet, commands, ssh + plan, metadb + show, run, cli; the lab stands apart."""
    here = room(path)
    if here == "__init__":
        return
    found = {name.split(".")[1] for name in imports(path) if name.startswith("omsfab.")}
    allowed = set(ORDER[: ORDER.index(here) + 1])
    if here == "lab":
        allowed = {"errors", "lab"}

    assert set() == found - (allowed - NOT.get(here, set()))


@pytest.mark.parametrize(
    ("library", "places"),
    [
        (
            "shlex",
            (
                "omsfab/command.py",
                "omsfab/next_line.py",
                "omsfab/commands/",
                "omsfab/lab/pasted.py",
            ),
        ),
        ("fabric", ("tasks.py", "program.py")),
        ("paramiko", ("omsfab/ssh/",)),
        ("pymysql", ("omsfab/metadb/", "omsfab/lab/")),
        ("pickle", ()),
        ("subprocess", ("omsfab/lab/", "omsfab/fleet/secret_sources.py", "omsfab/ssh/")),
    ],
)
def test_a_library_stays_in_its_room(library, places):
    """One quoting place, one network place, one database place."""
    users = {
        path.relative_to(ROOT).as_posix()
        for path in (*MODULES, ROOT / "tasks.py", ROOT / "program.py")
        if any(name.split(".")[0] == library for name in imports(path))
    }

    assert set() == {user for user in users if not user.startswith(places or "-")}


@pytest.mark.parametrize(
    "word",
    ["AutoAddPolicy", "WarningPolicy", "yaml.load(", "shell=True", "StrictHostKeyChecking=no"],
)
def test_what_must_never_be_written(word):
    """No host key is accepted in passing, no YAML loaded unsafely, no text run by a shell."""
    pattern = re.compile(r"(?<!\w)" + re.escape(word))
    users = [p.name for p in MODULES if pattern.search(p.read_text()) and room(p) != "lab"]

    assert [] == users


def test_the_tree_of_the_design_is_that_of_the_files():
    """docs/design.md: every room and every file beside them, and none that is not there."""
    text = (ROOT / "docs" / "design.md").read_text()
    named = set(re.findall(r"^ {6,8}([a-z_]+(?:/|\.py)) ", text, re.M))
    package = ROOT / "omsfab"
    folders = {f"{path.name}/" for path in package.rglob("*") if is_room(path)}
    files = {path.name for path in package.glob("*.py")} - {"__init__.py"}

    assert folders | files == named


def is_room(path: Path) -> bool:
    return path.is_dir() and path.name != "__pycache__" and "image" not in path.parts


def test_what_the_docs_name_is_there():
    """Each path in backticks of design, protocols, decisions and README."""
    docs = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named = {
        (doc.name, path)
        for doc in docs
        for path in re.findall(r"`((?:omsfab|tests|scripts)/[\w./-]+)`", doc.read_text())
    }

    assert [] == sorted(pair for pair in named if not (ROOT / pair[1]).exists())
