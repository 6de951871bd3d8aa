"""How far a run has come: a pure function of its plan and of the events in its journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from omsfab.plan import step_names
from omsfab.plan.events import Event
from omsfab.plan.records import Plan, Stage, Step


@dataclass(frozen=True, slots=True)
class StageLeft:
    """A stage that is not done: its number, its title, and the nodes that it still concerns."""

    number: int
    title: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """``failed`` has each step with what was said then; a step that was begun and has no end known
    is ``unknown``, and asked again."""

    stages: int
    done: tuple[Step, ...] = ()
    stages_done: tuple[int, ...] = ()
    unknown: tuple[Step, ...] = ()
    failed: tuple[tuple[Step, str], ...] = ()
    left: tuple[StageLeft, ...] = ()
    began: float = 0.0
    """When the run began, in seconds since the epoch; 0 = its journal does not say."""

    @property
    def done_changes(self) -> tuple[Step, ...]:
        """What is done and has changed something."""
        return tuple(step for step in self.done if step.apply)


OVER = ("done", "satisfied", "warning")


def progress(plan: Plan, events: Iterable[Event]) -> Progress:
    """Return what of the plan is done, unknown, failed, left."""
    told = tuple(events)
    last: dict[str, Event] = {}
    for event in told:
        if event.step and event.kind in (*OVER, "intent", "failed"):
            last[step_names.key(event.step, event.node)] = event

    def is_done(step: Step) -> bool:
        return step.key in last and last[step.key].kind in OVER

    def left(number: int, stage: Stage) -> StageLeft | None:
        nodes = dict.fromkeys(step.node for step in stage.steps if not is_done(step))
        return StageLeft(number, stage.title, tuple(nodes)) if nodes else None

    stages = tuple(left(number, stage) for number, stage in enumerate(plan.stages, 1))
    return Progress(
        stages=len(plan.stages),
        done=tuple(filter(is_done, plan.steps)),
        stages_done=tuple(number for number, one in enumerate(stages, 1) if one is None),
        unknown=tuple(_ended_as("intent", plan, last)),
        failed=tuple((s, last[s.key].text) for s in _ended_as("failed", plan, last)),
        left=tuple(one for one in stages if one),
        began=told[0].at if told else 0.0,
    )


def _ended_as(kind: str, plan: Plan, last: dict[str, Event]) -> Iterator[Step]:
    for step in plan.steps:
        if step.key in last and last[step.key].kind == kind:
            yield step
