"""What became of each step of a run, by stages: a pure function of its events and of its plan."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from omsfab.plan import step_names
from omsfab.plan.events import Event
from omsfab.plan.records import Plan

State: TypeAlias = Literal[
    "changed", "unchanged", "asked", "warned", "failed", "unknown", "not started"
]
"""``asked``: a question that holds; ``unknown``: begun, and its end is not in the journal."""

HEARD = ("intent", "done", "satisfied", "warning", "failed")

_NUMBERED = re.compile(r"(\d+)/(\d+) ")


@dataclass
class StepTold:
    """A step as its last session left it; times are seconds since the epoch."""

    node: str
    step: str
    title: str = ""
    state: State = "unknown"
    text: str = ""
    """What was said last, where it failed or is warned of."""
    error: str = ""
    intended: bool = False
    """Whether it was begun: what is done then was changed by this run."""
    began: float | None = None
    ended: float | None = None

    @property
    def seconds(self) -> float | None:
        known = self.began is not None and self.ended is not None
        return round(self.ended - self.began, 1) if known else None  # type: ignore[operator]


@dataclass
class StageTold:
    """A stage with its steps in the order in which they were begun, those left behind them."""

    number: int
    title: str
    steps: list[StepTold] = field(default_factory=list)

    @property
    def begun(self) -> bool:
        return any(step.state != "not started" for step in self.steps)

    @property
    def over(self) -> bool:
        """Whether nothing of it is left."""
        left = {"failed", "unknown", "not started"}
        return left.isdisjoint(step.state for step in self.steps)

    @property
    def seconds(self) -> float | None:
        """From its first to its last word; None where nothing of it was begun."""
        times = [at for step in self.steps for at in (step.began, step.ended) if at is not None]
        return round(max(times) - min(times), 1) if times else None

    def count(self, *states: State) -> int:
        return sum(step.state in states for step in self.steps)


def story(events: Iterable[Event], plan: Plan | None = None) -> list[StageTold]:
    """Return the stages of a run in order; with its ``plan`` those too that were not begun.

    A step that a resumed session finds as an earlier one has left it stays ``changed``.
    """
    stages: dict[int, StageTold] = {}
    known: dict[str, StepTold] = {}
    now, free = StageTold(0, ""), 0.0
    for event in events:
        if event.kind == "stage":
            number, title = _numbered(event, len(stages) + 1)
            now, free = stages.setdefault(number, StageTold(number, title)), event.at
        elif event.step and event.kind in HEARD:
            key = step_names.key(event.step, event.node)
            if key not in known:
                known[key] = StepTold(event.node, event.step, event.text)
                stages.setdefault(now.number, now).steps.append(known[key])
            _hear(known[key], event, free)
    for number, stage in enumerate(plan.stages, 1) if plan else ():
        here = stages.setdefault(number, StageTold(number, stage.title))
        for step in stage.steps:
            told = known.get(step.key)
            if told is None:
                here.steps.append(StepTold(step.node, step.name, step.title, "not started"))
                continue
            told.title = step.title
            if 0 in stages and told in stages[0].steps:  # a journal without stages
                stages[0].steps.remove(told)
                here.steps.append(told)
    return [stages[number] for number in sorted(stages) if stages[number].steps]


def _hear(told: StepTold, event: Event, free: float) -> None:
    match event.kind:
        case "intent":
            told.state, told.title, told.intended = "unknown", event.text, True
            told.began, told.ended = event.at, None
            return
        case "done" | "satisfied" if told.intended:
            told.state = "changed"
        case "done":
            told.state = "asked"
        case "satisfied":
            told.state = "unchanged"
        case "warning":
            told.state = "unknown" if told.intended else "warned"
        case _:
            told.state = "failed"
    if told.began is None:
        told.began = free or event.at
    told.ended = event.at
    if event.kind in ("warning", "failed"):
        told.text, told.error = event.text, event.id


def _numbered(event: Event, otherwise: int) -> tuple[int, str]:
    """Return number and title of a stage; journals that have no values of it say ``3/9 title``."""
    data = event.data or {}
    if "number" in data:
        return int(data["number"]), str(data.get("title", ""))
    found = _NUMBERED.match(event.text)
    return (int(found[1]), event.text[found.end() :]) if found else (otherwise, event.text)
