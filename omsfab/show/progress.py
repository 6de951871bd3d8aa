"""How far a run has come, and how old it is, as an operator reads it before going on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from omsfab.plan.progress import Progress
from omsfab.show import columns

WIDTH = 78


def progress_lines(how: Progress, *, run: str, of: str, by: str, now: float) -> Iterator[str]:
    """Yield what is done, failed, unknown and left of a run, a fact a line, within 80 columns.

    ``of`` is its task with its flags, ``by`` who started it.
    """
    since = f" {age(now - how.began)} ago" if how.began else ""
    yield f"Run {run}"
    yield from _said("task", [f"{of}, started by {by}{since}"])
    changed = len(how.done_changes)
    done = f"stages {_numbers(how.stages_done)} of {how.stages}" if how.stages_done else "no stage"
    yield from _said("done", [f"{done}; {len(how.done)} steps, {changed} of them changes"])
    yield from _said("failed", [f"{step.node}: {text}" for step, text in how.failed])
    yield from _said(
        "unknown", [f"{step.node}: {step.title} (begun; asked again)" for step in how.unknown]
    )
    remains = [f"{one.number} {one.title}: {', '.join(one.nodes)}" for one in how.left]
    yield from _said("remains", remains or ["nothing but its end: locks are freed"])


def age(seconds: float) -> str:
    """Return e.g. ``40 s``, ``14 min``, ``3 h 20 min``, ``12 days``."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    days = whole // 86_400
    return f"{days} day" if days == 1 else f"{days} days"


def _numbers(found: Sequence[int]) -> str:
    """``1 to 5``, ``1 to 5 and 7``."""
    spans: list[list[int]] = []
    for number in found:
        if spans and spans[-1][-1] == number - 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    parts = [f"{s[0]} to {s[-1]}" if len(s) > 1 else f"{s[0]}" for s in spans]
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _said(label: str, lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines behind their label, folded at blanks; nothing is cut."""
    for text in lines:
        for part in columns.folded(text, WIDTH - 12):
            yield f"  {label:<10}{part}"
            label = ""


def folded(label: str, text: str) -> Iterator[str]:
    """Yield a fact behind its label, within 80 columns."""
    yield from _said(label, [text])
