"""What goes on in a run, for a screen that is drawn anew: a head, and a row for every node.

Pure: events are heard, and lines come out for any moment and any width.  What does not fit is left
out as a whole; no number is shortened.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len

from omsfab.fleet.mask import one_line
from omsfab.plan import step_names
from omsfab.plan.events import Event
from omsfab.plan.outage import outage
from omsfab.plan.records import METADB, Plan, Stage, Step
from omsfab.show.overview import names_text
from omsfab.show.text import clock_span, counted, seconds

LAST = 400
"""Characters of a last line that are kept: one may be of megabytes."""

SAMPLES = 50
"""Words about a transfer that its rate is made of: those of the last ten seconds."""

BAR = 8

LEAST = 20
"""Columns that a title is cut to at least; where there are fewer, it is left out."""

DETACH = "Ctrl-C detaches: docker_init.sh goes on, fab run.resume follows it"

TOKEN = re.compile(r"[\x21-\x7e]+|\d+|\s+|.")
"""What is never cut: a word of ASCII, a number; other signs stand for themselves."""


@dataclass
class Transfer:
    """Bytes that are there, of how many, at which moments."""

    size: int
    seen: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=SAMPLES))

    def rate(self, now: float) -> float:
        """Bytes a second; one that stands still grows slower with every look."""
        (began, before), (_, there) = self.seen[0], self.seen[-1]
        return (there - before) / (now - began) if now > began else 0.0

    def texts(self, now: float) -> Iterator[str]:
        """Yield how far it is, the longest first."""
        there = self.seen[-1][1]
        share = there * 100 // self.size if self.size else 100
        unit, name = (1e9, "GB") if self.size >= 1e9 else (1e6, "MB")
        digits = 1 if self.size >= 1e9 else 0
        far = f"{there / unit:.{digits}f} of {self.size / unit:.{digits}f} {name}"
        bar = f"{'#' * (share * BAR // 100):-<{BAR}}  {share} %"
        rate = self.rate(now)
        if rate >= 1 and there < self.size:
            speed = f"{rate / 1e6:.0f} MB/s" if rate >= 1e6 else f"{rate / 1e3:.0f} kB/s"
            rest = f"{seconds((self.size - there) / rate)} left"
            yield f"{far} · {speed} · {rest}  {bar}"
            yield f"{far} · {rest}  {share} %"
        yield f"{far}  {bar}"
        yield f"{far}  {share} %"
        yield f"{share} %"


@dataclass
class Doing:
    """What goes on at a node: its step, since when, which part of it, what it last said."""

    step: str
    title: str
    since: float
    phase: str = ""
    last: str = ""
    output: bool = False
    """Whether that was output, which says more than a mere sign of life."""
    sent: Transfer | None = None


class View:
    """What is known of a run at this moment.

    ``now`` is always seconds of one clock that only goes forward, ``wall`` returns those since the
    epoch.  ``heard`` are events of earlier sessions that tell of an outage.
    """

    def __init__(
        self,
        plan: Plan,
        began: float,
        heard: Sequence[Event] = (),
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._plan, self._began, self._wall = plan, began, wall
        self._heard = list(heard)
        self.down = False
        """Whether OMS is down, as the head was last made."""
        self._steps: dict[str, Step] = {step.key: step for step in plan.steps}
        self._names = list(dict.fromkeys(step.node for step in plan.steps))
        self._number = 0
        self._left: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        self._told = {"done": 0, "satisfied": 0, "warning": 0, "failed": 0}
        self._failed: dict[str, str] = {}
        self.doing: dict[str, Doing] = {}

    @property
    def stage(self) -> Stage | None:
        """The stage that is under way."""
        there = 0 < self._number <= len(self._plan.stages)
        return self._plan.stages[self._number - 1] if there else None

    def step(self, event: Event) -> Step | None:
        return self._steps.get(step_names.key(event.step, event.node))

    def hear(self, event: Event, now: float) -> None:
        if event.kind in ("programs", "run") and event.data:
            self._heard.append(event)
        if event.kind == "stage":
            self._begin(event)
        elif event.kind in ("done", "satisfied", "failed", "warning"):
            self._end(event)
        elif event.node and event.step:
            self._go_on(event, now)

    def _begin(self, event: Event) -> None:
        data = event.data or {}
        self._number = data.get("number", 0)
        self._left = dict(data.get("steps", {}))
        self._ended = dict.fromkeys(self._left, 0)
        self._told = dict.fromkeys(self._told, 0)
        self.doing.clear()

    def _end(self, event: Event) -> None:
        step = self.step(event)
        if event.kind == "warning" and step and step.apply:
            return  # it goes on
        self.doing.pop(event.node, None)
        self._told[event.kind] += 1
        if event.node in self._ended:
            self._ended[event.node] += 1
        if event.kind == "failed":
            self._failed[event.node] = event.id or "failed"
        else:
            self._failed.pop(event.node, None)

    def _go_on(self, event: Event, now: float) -> None:
        row = self.doing.get(event.node)
        if row is None or row.step != event.step:
            step = self.step(event)
            title = step.title if step else event.step
            row = self.doing[event.node] = Doing(event.step, title, now)
        data = event.data or {}
        if "bytes" in data:
            there, size = data["bytes"]
            if row.sent is None or row.sent.size != size:
                row.sent = Transfer(size)
            row.sent.seen.append((now, there))
            return
        row.sent = None
        if "phase" in data:
            row.phase, row.last, row.output = event.text, "", False
        elif event.text.strip(" -#") and not ("alive" in data and row.output):
            row.last = event.text[:LAST] if event.kind != "intent" else ""
            row.output = event.kind == "line"

    @property
    def checked(self) -> str:
        """What came of the questions of this stage, if it only asks: they are not told one by one;
        e.g. ``preflight: 43 passed, 2 warnings``."""
        stage, told = self.stage, self._told
        if stage is None or not stage.asks_only or not sum(told.values()):
            return ""
        parts = [f"{told['done'] + told['satisfied']} passed"]
        parts += [f"{told['failed']} failed"] if told["failed"] else []
        parts += [counted(told["warning"], "warning")] if told["warning"] else []
        return f"{stage.title}: {', '.join(parts)}"

    # --- as lines ---

    def lines(self, now: float, wide: int, high: int) -> list[str]:
        """Return at most ``high`` lines of at most ``wide`` columns, the head first."""
        rows = [*self._rows(now, wide)]
        room = max(high - 1, 1)
        if sum(map(len, rows)) > room:  # what they last said goes first
            rows = [row[:1] for row in rows]
        told = [line for row in rows for line in row]
        if len(told) > room:
            told = [*told[: room - 1], f"and {len(told) - room + 1} more"]
        if len(told) < room and any(row.phase for row in self.doing.values()):
            told.append(clipped(DETACH, wide))
        return [self.head(now, wide), *told]

    def head(self, now: float, wide: int) -> str:
        """Return e.g. ``6/9 initialise the first node · 2:31 · OMS DOWN 1:12``."""
        whole = clock_span(now - self._began)
        found = outage(self._heard, self._wall())
        self.down = bool(found and found.down)
        down = ""
        if found:
            down = f"OMS {'DOWN' if found.down else 'was down'} {clock_span(found.seconds)}"
        stage = self.stage
        at = f"{self._number}/{len(self._plan.stages)}" if stage else ""
        title = f"{at} {stage.title}" if stage else ""
        room = wide - cell_len(joined("", whole, down)) - 3
        part = clipped(title, room) if room >= len(at) + LEAST else at
        return fitting(
            (
                joined(self._plan.task, title, whole, down),
                joined(part, whole, down),
                joined(at, down),
                down,
            ),
            wide,
        )

    def _rows(self, now: float, wide: int) -> Iterator[list[str]]:
        """Yield the lines of each row, at work first; nodes of which the same is said share one."""
        label = max((cell_len(name) for name in self._names), default=0)
        for name in self._names:
            if name in self.doing:
                yield self._at_work(name, self.doing[name], label, now, wide)
        rest: dict[str, list[str]] = {}
        for name in self._names:
            if name not in self.doing and (name != METADB or name in self._failed):
                rest.setdefault(self._waits(name), []).append(name)
        for text, names in rest.items():
            head = f"{names_text(names):<{label}}  "
            yield [fitting((head + text,), wide)]

    def _at_work(self, name: str, row: Doing, label: int, now: float, wide: int) -> list[str]:
        spent = clock_span(now - row.since)
        head = f"{name}{' ' * (label - cell_len(name))}  "
        room = wide - cell_len(head) - len(spent) - 2
        if row.sent:
            texts: Sequence[str] = (
                *(f"{row.step}  {text}" for text in row.sent.texts(now)),
                *row.sent.texts(now),
            )
        elif row.phase:
            texts = (f"{row.step}  {row.phase}", row.phase)
        else:
            texts = (row.title,) if room >= LEAST else (row.title, row.step)
        text = fitting(texts, room)
        line = f"{head}{text}{' ' * (room - cell_len(text))}  {spent}"
        last = one_line(row.last).strip(" -#│")
        if not last or row.sent:
            return [line]
        return [line, clipped(f"{' ' * len(head)}{last}", wide)]

    def _waits(self, name: str) -> str:
        """What is said of a node at which nothing goes on at this moment."""
        if name in self._failed:
            return f"FAILED: {self._failed[name]}"
        stage, all_ = self.stage, self._left.get(name, 0)
        if stage and self._ended.get(name, 0) < all_:
            if stage.width and (turn := self._turn(stage.width)) and name not in turn:
                return f"waiting for {' or '.join(turn)}"
            what = "checks" if stage.asks_only else "steps"
            return f"{self._ended.get(name, 0)} of {all_} {what}"
        for number, later in enumerate(self._plan.stages, 1):
            if number > self._number and any(step.node == name for step in later.steps):
                return f"waiting for stage {number}, {later.title}"
        return "done"

    def _turn(self, width: int) -> Sequence[str]:
        """The nodes whose turn it is, where so many are done at a time."""
        unfinished = (n for n, all_ in self._left.items() if self._ended.get(n, 0) < all_)
        return list(dict.fromkeys((*self.doing, *unfinished)))[:width]


def joined(*parts: str) -> str:
    return " · ".join(filter(None, parts))


def fitting(texts: Sequence[str], room: int) -> str:
    """Return the first that fits into so many columns; of the last one what does."""
    return next((text for text in texts if cell_len(text) <= room), None) or clipped(
        texts[-1], room
    )


def clipped(text: str, room: int) -> str:
    """Return the text in at most ``room`` columns, cut behind a whole word, never in a number."""
    if cell_len(text) <= room:
        return text
    kept = ""
    for token in TOKEN.findall(text):
        if cell_len(kept) + cell_len(token) > room - 2:
            break
        kept += token
    return f"{kept.rstrip()} …" if kept.strip() else ""
