"""Rows under heads, for a terminal of any width: columns go, values are never shortened."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence

from rich.cells import cell_len

GAP = "  "


def width() -> int | None:
    """Return the columns of the terminal, or None where nobody looks on."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    wide: int | None,
    goes_first: Sequence[str] = (),
) -> Iterator[str]:
    """Yield the heads and the rows as lines of at most ``wide`` columns.

    Where they are wider, the heads of ``goes_first`` are left out, one after the other.  A row that
    is shorter than the heads ends with a sentence, which makes no column wider.
    """
    kept = list(range(len(heads)))
    going = [heads.index(head) for head in goes_first if head in heads]

    def lines() -> list[str]:
        whole = [row for row in (heads, *rows) if len(row) == len(heads)]
        short = [row[:-1] for row in rows if len(row) < len(heads)]
        at = {n: max(cell_len(row[n]) for row in (*whole, *short) if n < len(row)) for n in kept}
        return [
            GAP.join(
                cell + " " * (at[n] - cell_len(cell) if n < len(row) - 1 else 0)
                for n, cell in enumerate(row)
                if n in at or n == len(row) - 1 < len(heads) - 1
            ).rstrip()
            for row in (heads, *rows)
        ]

    found = lines()
    while wide and going and max(map(cell_len, found)) > wide:
        kept.remove(going.pop(0))
        found = lines()
    yield from found


def folded(text: str, wide: int) -> Iterator[str]:
    """Yield the text in lines of at most ``wide`` columns, folded at blanks; a word that is longer
    stands whole on a line of its own.  What goes on is indented."""
    for whole in text.splitlines() or [""]:
        line = ""
        for word in whole.split(" "):
            if line and cell_len(line) + 1 + cell_len(word) > wide:
                yield line
                line = f"  {word}"
            else:
                line = f"{line} {word}" if line else word
        yield line
