"""A plan on one screen: what matters first, a fact a line, nothing shortened."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from omsfab.plan.overview import Down, Overview, Rows, Told
from omsfab.plan.records import Plan
from omsfab.show.columns import folded

INDENT = 12
"""Columns before a fact: its label stands there."""

MOST = 6
"""Reasons that are told besides the first; what is left out is counted."""

VERBS = {"delete": "DELETES", "update": "CHANGES", "restore": "RESTORES"}


def overview_lines(
    plan: Plan, seen: Overview, wide: int | None, *, assumed: bool = False
) -> Iterator[str]:
    """Yield the plan as an operator reads it before saying yes, in at most ``wide`` columns (None:
    a line a fact, for a pipe)."""

    title = f"{plan.title[:1].upper()}{plan.title[1:]}"
    yield from folded(title, wide) if wide else [title]
    for label, text in _facts(plan, seen, assumed=assumed):
        for number, line in enumerate(folded(text, wide - INDENT) if wide else [text]):
            yield f"  {'' if number else label:<{INDENT - 2}}{line}".replace("\xa0", " ")


def _facts(plan: Plan, seen: Overview, *, assumed: bool) -> Iterator[tuple[str, str]]:
    """Yield label and fact; one that goes on has no label."""
    why, *notes = plan.reasons or ("",)
    if why:
        yield "assuming" if assumed else "why", why
    yield from _concerned(seen)
    yield from zip(("note", *[""] * MOST), notes[:MOST], strict=False)
    if len(notes) > MOST:
        yield "", f"and {len(notes) - MOST} more (--verbose)"
    if seen.changes:
        yield "stages", " · ".join(f"{number}\xa0{title}" for number, title in seen.stages)
    yield "checks", _checks(seen)
    for sign, told in (("✗", seen.failed), ("!", seen.warnings)):
        for one in told:
            yield "", f"{sign} {_told(one)}"
    same = f", {seen.unchanged} unchanged" if seen.unchanged else ""
    yield "changes", f"{seen.changes}{same} (--verbose for each)"


def _concerned(seen: Overview) -> Iterator[tuple[str, str]]:
    """Who and what is concerned."""
    if nodes := _nodes(seen):
        yield "nodes", nodes
    if seen.cm_url:
        yield "cm_url", " -> ".join(filter(None, seen.cm_url))
    for rows in seen.rows:
        yield from zip((VERBS[rows.act], ""), _rows(rows), strict=False)
    if seen.down:
        yield "OUTAGE", _outage(seen.down)
    for sent in seen.sends:
        size = f"{sent.bytes / 1e9:.1f} GB" if sent.bytes >= 1e9 else f"{sent.bytes / 1e6:.0f} MB"
        once = ", from node to node" if sent.relay else ""
        yield "sends", f"{sent.file}, {size}, to {names_text(sent.nodes)}{once}"


def names_text(names: Sequence[str]) -> str:
    """Return e.g. ``oms1, oms3 to oms9, db``: of three and more that are numbered in a row, the
    first and the last."""
    runs: list[list[str]] = []
    for name in names:
        if runs and _follows(runs[-1][-1], name):
            runs[-1].append(name)
        else:
            runs.append([name])
    return ", ".join(
        f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs if run
    )


def _follows(name: str, other: str) -> bool:
    one, two = re.fullmatch(r"(.*?)(\d+)", name), re.fullmatch(r"(.*?)(\d+)", other)
    return bool(one and two and one[1] == two[1] and int(one[2]) + 1 == int(two[2]))


def _nodes(seen: Overview) -> str:
    some = bool(seen.adds or seen.removes)
    parts = [
        f"{sign}{names_text(names)}{note}"
        for sign, names, note in (
            ("", seen.stays, " (stay)" if some else ""),
            ("+ ", seen.adds, ""),
            ("- ", seen.removes, ""),
        )
        if names
    ]
    return "   ".join(parts)


def _rows(rows: Rows) -> Iterator[str]:
    of = f"region {rows.region}" if rows.region else f"location {rows.location}"
    if rows.act == "restore":
        yield f"the saved rows of {of if rows.location is not None else 'all regions'}"
        return
    count = rows.count
    many = "rows" if count is None else f"{count} row{'s' * (count != 1)}"
    yield f"{many} of {of}, backed up first:"
    yield " · ".join(
        table if number is None else f"{table} {number}" for table, number in rows.tables.items()
    )


def _outage(down: Down) -> str:
    first, last = down.stages[0], down.stages[-1]
    when = f"stages {first} to {last}" if first != last else f"stage {first}"
    if down.minutes is None:
        return f"{names_text(down.nodes)}, {when}, seconds"
    low, high = down.minutes
    return f"{names_text(down.nodes)}, {when}, about {low} to {high} min (docker_init.sh)"


def _checks(seen: Overview) -> str:
    if seen.asked is None:
        where = "in stage 1, before anything is changed" if seen.changes else "asked now"
        return f"{seen.checks} {where}" if seen.checks else "none"
    bad = [f"{sum(len(one.nodes) for one in seen.failed)} failed"] if seen.failed else []
    count = sum(len(one.nodes) for one in seen.warnings)
    warned = [f"{count} warning{'s' * (count != 1)}"] if count else []
    return ", ".join([f"{seen.asked} passed", *bad, *warned])


def _told(one: Told) -> str:
    """Return e.g. ``HOST-010 oms2 to oms10: 2 CPUs, 8 or more are advised``."""
    if len(one.found) > 1:
        said = f"{one.title} (differs by node: --verbose)"
    else:
        said = "; ".join(one.found[0].splitlines()) or one.title
    return f"{one.id} {names_text(one.nodes)}: {said}"
