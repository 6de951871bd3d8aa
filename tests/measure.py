"""scripts/measure: the figures of the house, a row for each room, by the syntax tree alone.

A function's length is that of its lines, docstring and all; its complexity counts branches, loops,
handlers, conditions of a comprehension and operands of ``and`` and ``or``, from one on.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
LONG, COMPLEX, MANY = 40, 10, 5
ERROR = re.compile(r"[A-Z]{2,6}-\d{3}")
BRANCHES = (ast.If, ast.For, ast.While, ast.ExceptHandler, ast.IfExp, ast.Assert, ast.match_case)


@dataclass(frozen=True)
class Function:
    """Where it is, how long and branched, with how many parameters, with a docstring or not."""

    where: str
    name: str
    lines: int
    branches: int
    parameters: int
    documented: bool


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = node.args
            yield Function(
                f"{path.relative_to(ROOT)}:{node.lineno}",
                node.name,
                (node.end_lineno or node.lineno) - node.lineno + 1,
                _branches(node),
                len([*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]),
                ast.get_docstring(node) is not None,
            )


def _branches(function: ast.AST) -> int:
    """Those of functions within count with the one around them."""
    found = 1
    for node in ast.walk(function):
        found += isinstance(node, BRANCHES)
        if isinstance(node, ast.comprehension):
            found += 1 + len(node.ifs)
        if isinstance(node, ast.BoolOp):
            found += len(node.values) - 1
    return found


def errors(path: Path) -> int:
    """How many places make an error with an id."""
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return sum(
        isinstance(first := call.args[0], ast.Constant)
        and isinstance(first.value, str)
        and bool(ERROR.fullmatch(first.value))
        for call in calls
        if call.args
    )


def sources(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*.py") if "image" not in p.relative_to(ROOT).parts)


def row(name: str, paths: Sequence[Path]) -> str:
    found = [one for path in paths for one in functions(path)]
    lines = sorted(one.lines for one in found) or [0]
    branches = sorted(one.branches for one in found) or [0]
    public = [one for one in found if not one.name.startswith("_")]
    cells = (
        name,
        len(paths),
        sum(len(path.read_text().splitlines()) for path in paths),
        len(found),
        f"{median(lines):g} / {lines[len(lines) * 9 // 10]} / {lines[-1]}",
        sum(one.lines > LONG for one in found),
        f"{median(branches):g} / {branches[len(branches) * 9 // 10]} / {branches[-1]}",
        sum(one.branches > COMPLEX for one in found),
        sum(one.parameters > MANY for one in found),
        f"{sum(one.documented for one in public)} of {len(public)}",
        sum(errors(path) for path in paths),
    )
    return f"| {' | '.join(map(str, cells))} |"


def rooms() -> dict[str, list[Path]]:
    """Product as a whole, then a room each, then the tests."""
    product = [p for p in sources(ROOT / "omsfab") if "lab" not in p.relative_to(ROOT).parts]
    found = {"product": [*product, ROOT / "tasks.py"]}
    for folder in (*(ROOT / "omsfab").iterdir(), *(ROOT / "tests").iterdir()):
        if folder.is_dir() and (paths := sources(folder)):
            found[folder.relative_to(ROOT).as_posix()] = paths
    return dict(sorted(found.items(), key=lambda item: (item[0] != "product", item[0])))


def main() -> None:
    heads = (
        "room", "files", "lines", "functions", "length: median / p90 / most", f"> {LONG}",
        "complexity: median / p90 / most", f"> {COMPLEX}", f"parameters > {MANY}",
        "public with docstring", "errors made",
    )  # fmt: skip
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    found = rooms()
    for name, paths in found.items():
        print(row(name, paths))
    product = [one for path in found["product"] for one in functions(path)]
    print(f"\nLonger than {LONG} lines:")
    for one in sorted(product, key=lambda one: -one.lines):
        if one.lines > LONG:
            print(f"  {one.lines:4} {one.where} {one.name}")
    print("\nMost complex:")
    for one in sorted(product, key=lambda one: -one.branches)[:20]:
        print(f"  {one.branches:4} {one.where} {one.name}")


if __name__ == "__main__":
    main()
