"""docs/assumptions.md is the table of plan/assumptions.py, and each belief is broken in a test."""

from __future__ import annotations

import ast
import os
from functools import cache
from pathlib import Path

from omsfab.plan.assumptions import ASSUMPTIONS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/assumptions.md"
HEAD = """\
# What omsfab believes about OMS

Nobody can look into the vendor's image from here, so each belief stands with its evidence. Once
production is stopped, a run stops only for what protects data or proves a failure; everything else
warns, and whoever sits there has the last word (`--accept=ID`, docs/commands.md).

| id | belief | evidence | if it is wrong | what then | broken in |
|---|---|---|---|---|---|
"""


def page() -> str:
    rows = (
        f"| {a.id} | {a.belief} | {a.evidence} | {a.broken} | {a.otherwise} | {a.test} |\n"
        for a in ASSUMPTIONS
    )
    return HEAD + "".join(rows)


@cache
def names() -> set[str]:
    """The functions of tests/, as `file.py: function`."""
    return {
        f"{path.relative_to(ROOT / 'tests').as_posix().removesuffix('.py')}: {node.name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_the_page_is_the_table():
    """OMSFAB_REWRITE=1 writes it anew."""
    if os.environ.get("OMSFAB_REWRITE"):
        PAGE.write_text(page())

    assert page() == PAGE.read_text()


def test_the_tests_that_break_a_belief_exist():
    """Named as `lab/test_x: test_y`; several are separated by a comma."""
    named = {name.strip() for one in ASSUMPTIONS for name in one.test.split(",")} - {""}

    assert set() == named - names()
    assert [] == [one.id for one in ASSUMPTIONS if not one.test]


def test_each_belief_is_broken_on_a_running_fleet():
    """A parser's test alone does not show that a scale-out refuses or ends in service."""
    assert [] == [one.id for one in ASSUMPTIONS if "lab/" not in one.test]
