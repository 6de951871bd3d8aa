"""What has come so far, on a terminal, while the rest is waited for; it goes when all is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rich.console import Console
from rich.live import Live
from rich.text import Text

from omsfab.fleet.mask import plain

Lines = Callable[[], Sequence[str]]
"""What is to be seen now; the first line says what is waited for."""


def shown(arrivals: Iterable[object], lines: Lines) -> None:
    """Draw the lines anew at each arrival, on standard error; once, the first of them alone, where
    the terminal cannot be drawn anew; nothing without one."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return
    if console.is_dumb_terminal:
        print(plain(lines()[0]), file=console.file, flush=True)
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        live.update(_drawn(lines), refresh=True)
        for _ in arrivals:
            live.update(_drawn(lines), refresh=True)


def _drawn(lines: Lines) -> Text:
    return Text("\n".join(map(plain, lines())), no_wrap=True, overflow="crop")
