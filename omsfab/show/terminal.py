"""Events on a terminal: lines that stay, and one live row per node below them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from omsfab.fleet.mask import one_line, plain
from omsfab.plan.events import Event
from omsfab.show.text import event_line, seconds

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


class Show(Protocol):
    """Somebody who looks at events."""

    def __call__(self, event: Event) -> None: ...
    def __enter__(self) -> Show: ...
    def __exit__(self, *exc: object) -> None: ...


@dataclass
class _Going:
    """What is going on at a node: its step, since when, which part of it, what it last said."""

    step: str
    since: float
    phase: str = ""
    last: str = ""


class Terminal:
    """Lines scroll by; what is going on stands below with its seconds, so a long wait lives.

    Without a terminal (a pipe, a log) transfers are told at each tenth instead.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._going: dict[str, _Going] = {}
        self._tenths: dict[str, int] = {}
        self._live = (
            Live(console=console, get_renderable=self._rows, refresh_per_second=4, transient=True)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Terminal:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._remember(event)
            if event.kind == "progress":
                self._tenth(event)
            elif event.kind != "line" or event.text.strip("-"):  # frames of dashes say nothing
                style = STYLES[event.kind]
                self._console.print(
                    Text(event_line(event), style=style), soft_wrap=True, highlight=False
                )

    def _remember(self, event: Event) -> None:
        if event.kind in ("done", "failed", "satisfied", "warning"):
            self._going.pop(event.node, None)
        elif event.node:
            row = self._going.get(event.node)
            if row is None or row.step != event.step:
                row = self._going[event.node] = _Going(event.step, time.monotonic())
            data = event.data or {}
            if "phase" in data:
                row.phase = f"{data['phase']}  "
            row.last = _progress(*data["bytes"]) if "bytes" in data else one_line(event.text)

    def _tenth(self, event: Event) -> None:
        there, size = (event.data or {})["bytes"]
        tenth = there * 10 // size if size else 10
        if self._live is None and tenth > self._tenths.get(event.node, 0):
            self._tenths[event.node] = tenth
            self._console.print(f"           {event.node:<8}  {event.step:<14}  · {tenth * 10} %")

    def _rows(self) -> Group:
        now = time.monotonic()
        width = self._console.width - 1
        rows = [
            Text(
                f"▸ {node:<10} {row.step:<14} {seconds(now - row.since):>12}  "
                f"{row.phase}{row.last}"[:width],
                "cyan",
            )
            for node, row in self._going.items()
        ]
        return Group(*rows)


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


def _progress(there: int, size: int) -> str:
    share = there / size if size else 1.0
    bar = "█" * round(share * 24)
    return f"{bar:░<24} {share:4.0%}  {there / 1e6:.0f} of {size / 1e6:.0f} MB"
