"""Events on a terminal: lines that stay, and what goes on below them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from omsfab.fleet.mask import plain
from omsfab.plan.events import Event
from omsfab.plan.records import Plan
from omsfab.show.columns import folded
from omsfab.show.live import View
from omsfab.show.text import STEP, event_line

STYLES = {
    "stage": "bold",
    "run": "bold",
    "done": "green",
    "satisfied": "dim",
    "failed": "bold red",
    "state": "cyan",
    "programs": "cyan",
    "line": "",
    "warning": "yellow",
    "accepted": "yellow",
    "intent": "",
}

DRAWS = 4
"""How often a second what goes on is drawn anew."""

TOGETHER = 0.1
"""Seconds for which lines of output are kept, to be written at once."""

MOST = 1000
"""Lines that are kept at most until then."""


class Show(Protocol):
    """Somebody who looks at events."""

    def __call__(self, event: Event) -> None: ...
    def __enter__(self) -> Show: ...
    def __exit__(self, *exc: object) -> None: ...


class Terminal:
    """Lines scroll by; below them stands what goes on, with its seconds, so a long wait lives.

    Output of commands is folded to its last line, unless it is wanted ``whole``; then it is written
    a few times a second, however fast it comes.  Without a terminal, or on one that cannot be drawn
    anew, lines are all there is, and transfers are told at each tenth.
    """

    def __init__(
        self,
        console: Console,
        plan: Plan | None = None,
        heard: Sequence[Event] = (),
        *,
        whole: bool = False,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._console = console
        self._whole = whole
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        """Of the view: what draws it holds rich's lock, which a line that is printed waits for."""
        self._view = View(plan or Plan("", ""), time.monotonic(), heard, wall)
        self._tenths: dict[str, int] = {}
        self._kept: list[str] = []
        self._timer: threading.Timer | None = None
        self._summed = ""
        self._live = (
            Live(
                console=console,
                get_renderable=self._drawn,
                refresh_per_second=DRAWS,
                transient=True,
            )
            if console.is_terminal and not console.is_dumb_terminal
            else None
        )

    def __enter__(self) -> Terminal:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._flush()
        if self._live:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        with self._lock:
            if event.kind in ("stage", "run"):
                self._sum_up(event)
            with self._looking:
                self._view.hear(event, time.monotonic())
            if event.kind == "line":
                self._keep(event)
                return
            self._write()
            if event.kind == "progress":
                self._tenth(event)
            elif self._stays(event):
                self._print(event_line(event), STYLES[event.kind])

    def _stays(self, event: Event) -> bool:
        """Whether it is a line for good, or stands below already: what begins, which check holds,
        and that a wait goes on."""
        if self._live is None or self._whole:
            return True
        if event.kind in ("done", "satisfied"):
            step = self._view.step(event)
            return step is None or bool(step.apply)
        return event.kind != "intent" and "alive" not in (event.data or {})

    def _sum_up(self, event: Event) -> None:
        """Tell what came of the checks before this, of which each was shown below only."""
        said = self._view.checked
        if said and said != self._summed and self._live and not self._whole:
            self._print(event_line(replace(event, kind="stage", text=said)), STYLES["done"])
            self._summed = said

    def _keep(self, event: Event) -> None:
        """Lines of output are written together; the first of them within ``TOGETHER``."""
        if not self._whole or not event.text.strip("-"):  # frames of dashes say nothing
            return
        if self._live is None:
            return self._print(event_line(event), STYLES["line"])
        self._kept.append(event_line(event))
        if len(self._kept) >= MOST:
            self._write()
        elif self._timer is None:
            self._timer = threading.Timer(TOGETHER, self._flush)
            self._timer.daemon = True
            self._timer.start()

    def _flush(self) -> None:
        with self._lock:
            self._write()

    def _write(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        kept, self._kept = self._kept, []
        if kept:
            self._print("\n".join(kept), STYLES["line"])

    def _print(self, text: str, style: str) -> None:
        """Folded between words where somebody looks on, and only there."""
        if self._live and not self._whole:
            text = "\n".join(folded(text, self._console.width))
        self._console.print(Text(text, style=style), soft_wrap=True, highlight=False)

    def _tenth(self, event: Event) -> None:
        there, size = (event.data or {})["bytes"]
        tenth = there * 10 // size if size else 10
        if self._live is None and tenth > self._tenths.get(event.node, 0):
            self._tenths[event.node] = tenth
            self._print(f"           {event.node:<8}  {event.step:<{STEP}}  · {tenth * 10} %", "")

    def _drawn(self) -> Group:
        wide, high = self._console.width - 1, self._console.height - 2
        with self._looking:
            head, *rows = self._view.lines(time.monotonic(), wide, high)
        style = "bold red" if self._view.down else "bold"
        return Group(
            Text(head, style, no_wrap=True), *(Text(row, "cyan", no_wrap=True) for row in rows)
        )


class JsonLines:
    """Events as JSON, one per line, for machines."""

    def __init__(self, out: Callable[[str], None]) -> None:
        self._out = out
        self._lock = threading.Lock()

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __call__(self, event: Event) -> None:
        with self._lock:
            shown = replace(event, text=plain(event.text))
            self._out(json.dumps(shown.record(), ensure_ascii=False))
