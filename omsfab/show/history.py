"""Past runs as text: their stages with what was done and what was left, and each event a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone

from omsfab.plan.events import Event
from omsfab.plan.story import StageTold, StepTold
from omsfab.show.text import event_line, seconds

SIGNS = {"changed": "✓", "failed": "✗", "unknown": "?", "not started": "·", "warned": "!"}
"""Steps that stand on lines of their own; all others are counted."""

COUNTED = (
    ("changed", "changed"),
    ("unchanged", "unchanged"),
    ("asked", "checked"),
    ("warned", "warned of"),
    ("failed", "FAILED"),
    ("unknown", "begun, end not known"),
    ("not started", "not started"),
)


def stage_lines(stages: Sequence[StageTold], *, running: bool = False) -> Iterator[str]:
    """Yield a line per stage, and below it its steps but for those that changed nothing.

    ``running``: what was begun and has no end is under way.
    """
    words = dict(COUNTED) | ({"unknown": "under way"} if running else {})
    for stage in stages:
        took = f"  {seconds(stage.seconds)}" if stage.seconds else ""
        if not stage.begun:
            yield f"  {stage.number} {stage.title}: not started"
            continue
        counts = [
            f"{count} {word}"
            for state, word in words.items()
            if (count := stage.count(state))  # type: ignore[arg-type]
        ]
        yield f"  {stage.number} {stage.title}: {', '.join(counts)}{took}"
        told = [step for step in stage.steps if step.state in SIGNS and step.state != "warned"]
        wide = max((len(step.node) for step in told), default=0)
        for step in told:
            yield from _step(step, wide)


def _step(step: StepTold, wide: int) -> Iterator[str]:
    took = f"  {step.seconds:.1f} s" if step.seconds is not None else ""
    yield f"    {SIGNS[step.state]} {step.node:<{wide}}  {step.title}{took}"
    if step.state == "failed":
        yield from (f"      {'':<{wide}}  {line}" for line in step.text.splitlines())


def log_line(event: Event) -> str:
    """An event with its day: a run may be resumed on another one."""
    return f"{moment(event.at, '%m-%d')} {event_line(event)}"


def moment(at: float, shape: str) -> str:
    """A time, UTC."""
    return datetime.fromtimestamp(at, timezone.utc).strftime(shape)
