"""People at jump hosts: they type lines, read what is printed, and paste what comes next."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from invoke import Context
from invoke.exceptions import Exit

import tasks
from omsfab.run.engine import runner
from tests.simulation.world import Killed, Process, Task, World

LOOKS = ("fleet.", "node.logs", "node.status", "node.check", "run.list", "run.show", "lock.show",
         "meta.show")  # fmt: skip
"""Tasks that only look: a person reads and goes on to the next line."""

NEXT = re.compile(r"^ {2}next: +(.*(?:\n {12}.*)*)", re.M)
ACCEPT = re.compile(r"^ {2}accept: +(.*)", re.M)


@dataclass
class Said:
    """What a line came to: ``status`` None = its process was killed."""

    line: str
    began: float
    ended: float = 0.0
    status: int | None = None
    out: str = ""

    @property
    def error(self) -> str:
        """The id of the error that was printed, if one was."""
        found = re.search(r"^([A-Z]+-\d{3})  ", self.out, re.M)
        return found[1] if found else ""

    @property
    def next(self) -> list[str]:
        """The lines to paste that were printed, best first; what stands behind # is not part."""
        found = NEXT.findall(self.out)
        return [_bare(line) for line in found[-1].splitlines()] if found else []

    @property
    def notes(self) -> list[str]:
        """fab lines that stand in a comment: what may be done if."""
        found = NEXT.findall(self.out)
        text = found[-1] if found else ""
        return re.findall(r"#.*?(fab (?:lock\.break|run\.resume|run\.undo) --run=[\w-]+)", text)


def _bare(line: str) -> str:
    return line.strip().partition("   #")[0].strip()


@dataclass
class Operator:
    """``number`` is that of the jump host; ``said`` what came of each line so far."""

    world: World
    fleet: Any
    number: int
    home: str
    hosts: str
    user: str = "li"
    said: list[Said] = field(default_factory=list)
    process: Process | None = None
    points: int = 0
    steps: dict[str, int] = field(default_factory=dict)
    """How many points there were, in all and in each step."""
    skew: float = 0.0
    full_until: float = -1.0
    leased: Process | None = None
    """The process of the last line, where it had taken the lease."""
    shown: Any = None
    """The rows that were there when the last line was typed."""

    @property
    def name(self) -> str:
        return f"{self.user}@jump{self.number}"

    def fab(self, line: str) -> Said:
        """Type a line, and wait for its end; ``--yes`` is added where a task would ask."""
        words = shlex.split(line)
        assert words[0] == "fab", line
        result = Said(line, self.world.now)
        self.said.append(result)
        self.world.tell(self.name, f"$ {line}")
        process = Process(
            self.world, self.name, self.user, f"jump{self.number}", self.home, self.hosts,
            tuple(words[1:]),
        )  # fmt: skip
        process.operator = self
        process.skew, process.full_until = self.skew, self.full_until
        self.process = process
        task = self.world.spawn(lambda: self._main(words, result), line, process)
        process.main = task
        while not task.ended:
            self.world.join(task)
        if process.dead:
            result.status = None
        process.kill()
        self.leased = process if process.lease else None
        self.process = None
        result.ended = self.world.now
        result.out = "".join(process.out)
        how = "is killed" if result.status is None else f"ends with {result.status}"
        self.world.tell(self.name, f"`{line}` {how} {result.error}".rstrip())
        return result

    def _main(self, words: list[str], result: Said) -> None:
        name, kwargs = _parsed(words[1:])
        task, flags = _task(name)
        if unknown := kwargs.keys() - flags:
            raise AssertionError(f"{' '.join(words)}: no flag {', '.join(unknown)}")
        kwargs = flags | kwargs | ({"yes": True} if "yes" in flags else {})
        try:
            task.body(CONTEXT, **kwargs)
        except Exit as end:
            result.status = end.code
        except Killed:
            raise
        else:
            result.status = 0


CONTEXT = Context()
"""Reads the configuration of fab, which says nothing to a task: once is enough."""


@cache
def _task(name: str) -> tuple[Any, dict[str, Any]]:
    """The task, and the flags that it has unless one is given."""
    task = tasks.namespace[name]
    kept = dict(task.help)
    flags = {argument.name: argument.default for argument in task.get_arguments()}
    task.help = kept  # asking for the flags uses it up, and another test compares it
    return task, flags


def _parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """As Fabric reads them: ``--name=value`` or a switch."""
    name, kwargs = words[0], {}
    for word in words[1:]:
        key, is_, value = word.removeprefix("--").partition("=")
        key = key.replace("-", "_")
        kwargs["from_" if key == "from" else key] = value if is_ else True
    return name, kwargs


def observe_steps() -> Any:
    """Every lane knows at which step it is: for the points of faults, and for the coverage.
    Returns what has to be put back."""
    former = runner.Runner._step

    def step(self: Any, one: Any) -> None:
        import greenlet

        lane = greenlet.getcurrent()
        if isinstance(lane, Task):
            lane.step = one.key
        former(self, one)

    runner.Runner._step = step  # type: ignore[method-assign]
    return former
