"""What a procedure declares of itself, above its planner.

``fab --list`` must cost no more than a bare fab does, so declarations are read off the sources of
the planners; these are imported once a task is carried out (registry.py).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    from omsfab.plan.records import Plan

Yes: TypeAlias = str
"""A parameter that is a switch: "yes", or ""; a run records words alone."""

Scope: TypeAlias = Literal["region", "members", "node", "fleet", "metadb"]
"""What is observed: a region with MetaDB, the nodes of one alone, the nodes named, all, MetaDB."""

Planner = TypeVar("Planner", bound="Callable[..., Plan]")

DECLARATION = "\n@procedure("


def undeclared(*_: object, **__: object) -> Plan:
    """In place of a planner that is not imported."""
    raise NotImplementedError


class Parameter(NamedTuple):
    """A parameter of a planner and the flag that it is; without a default it must be given."""

    name: str
    flag: str
    default: bool | int | str | None

    def recorded(self, given: object) -> str:
        """Return what a run records of what was given."""
        return ("yes" if given else "") if isinstance(given, bool) else str(given)


class Task(NamedTuple):
    """A procedure; ``planner`` and ``says``, ``parameters`` are those of its function."""

    name: str
    scope: Scope
    package: bool = False
    """Whether an image is loaded out of a package."""
    tsdb: bool = False
    """Whether package and image are those of the time-series database."""
    lease: bool = False
    undoable: bool = False
    """Whether run.undo takes it back (undo.py)."""
    any_dates: bool = False
    """Whether a certificate that has expired will do: it must not stop a repair."""
    flags: tuple[str, ...] = ("plan", "yes", "json", "verbose")
    accepts: bool = True
    """Whether it takes ``--accept``."""
    by_hand: bool = False
    """Whether tasks.py has its task: something is looked at before it is planned."""
    words: Mapping[str, str] = MappingProxyType({})
    """What its flags mean."""
    called: Mapping[str, str] = MappingProxyType({})
    """Parameters whose flag has another name."""
    planner: Callable[..., Plan] = undeclared
    says: str = ""
    parameters: tuple[Parameter, ...] = ()


TASKS: dict[str, Task] = {}


def procedure(name: str, scope: Scope, **how: Any) -> Callable[[Planner], Planner]:
    """Declare the planner below as that of this task; ``how`` are fields of Task, literally."""

    def declare(planner: Planner) -> Planner:
        TASKS[name] = Task(name, scope, planner=planner, **how)
        return planner

    return declare


def declared() -> Iterator[Task]:
    """Yield all procedures as their sources declare them: none is imported, none has a planner."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        for text in path.read_text(encoding="utf-8").split(DECLARATION)[1:]:
            head, quotes, rest = text.partition('"""')
            says = rest.partition(quotes)[0]
            source = f"@procedure({head}{quotes}{says}{quotes}\n"
            tree = ast.parse(source)
            made = next(one for one in tree.body if isinstance(one, ast.FunctionDef))
            given = next(one for one in made.decorator_list if isinstance(one, ast.Call))
            name, scope = map(ast.literal_eval, given.args)
            how = {str(one.arg): ast.literal_eval(one.value) for one in given.keywords}
            called = how.get("called", {})
            first = " ".join(says.partition("\n\n")[0].split())
            takes = zip(made.args.kwonlyargs, made.args.kw_defaults, strict=True)
            parameters = tuple(_parameter(arg, default, called) for arg, default in takes)
            yield Task(name, scope, says=first, parameters=parameters, **how)


def _parameter(arg: ast.arg, default: ast.expr | None, called: Mapping[str, str]) -> Parameter:
    value = None if default is None else ast.literal_eval(default)
    kind = arg.annotation.id if isinstance(arg.annotation, ast.Name) else ""
    if kind == "Yes":
        value = bool(value)
    return Parameter(arg.arg, called.get(arg.arg, arg.arg), value)
