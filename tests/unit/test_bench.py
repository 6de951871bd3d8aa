"""scripts/bench: what is made of seconds that were measured; nothing here takes the time."""

from __future__ import annotations

import pytest

from tests.bench import figures
from tests.bench.__main__ import RUN
from tests.bench.figures import BEST, FIGURES, OURS, PARTS, Figure, Goal, Result


def result(missing=None, **ways) -> Result:
    machine = {"cores": "2 cores", "kernel": "Linux 6"}
    return Result("x", "2026-11-29 20:00", "abc1234", machine, ways, missing or {})


def verdicts(*goals, **ways):
    figure = Figure("x", "part", "a thing", goals)
    return [(v.told, v.reached) for v in figures.judge(figure, result(**ways))]


def test_a_goal_is_a_factor_of_medians():
    """One round that went wrong moves neither."""
    said = verdicts(Goal(1.1, "scp"), omsfab=[1.0, 1.0, 9.0], scp=[0.5, 1.0, 1.0])

    assert [("1.00", True)] == said


@pytest.mark.parametrize(("took", "reached"), [(1.1, True), (1.12, False)])
def test_a_goal_that_is_just_reached_is_reached(took, reached):
    assert [reached] == [r for _, r in verdicts(Goal(1.1, "scp"), omsfab=[took], scp=[1.0])]


def test_the_best_rival_is_the_fastest_and_is_named():
    """omsfab itself is none."""
    said = verdicts(Goal(1.15, BEST), omsfab=[1.0], ssh=[4.0], pyinfra=[2.0])

    assert [("0.50 (pyinfra)", True)] == said


def test_a_goal_in_seconds_needs_no_rival():
    assert [("0.62 s", False)] == verdicts(Goal(0.5), omsfab=[0.62])


@pytest.mark.parametrize("goal", [Goal(1.1, "scp"), Goal(1.1, BEST), Goal(1.1, way="scp")])
def test_without_the_rival_nothing_is_claimed(goal):
    """Neither reached nor missed."""
    assert [("not measured", None)] == verdicts(goal, omsfab=[1.0])


def test_the_page_has_goals_ways_machine_and_who_was_missing():
    """Whatever is told of a figure stands on the page; what was not measured is told, too."""
    known = Figure("x", "part", "a thing", (Goal(1.1, "scp"),), "Taken so.", "The wire is slow.")
    other = Figure("y", "part", "another thing", ())
    page = figures.page(
        (known, other), {"x": result({"pyinfra": "no index"}, omsfab=[3.0], scp=[1.5, 2.5])}
    )

    assert [
        "Machine: 2 cores, Linux 6 (from 2026-11-29 20:00, abc1234).",
        "| a thing | ≤ 1.1 × scp | 1.50 | **not reached** |",
        "| another thing | | not measured | – |",
        "- pyinfra: no index",
        "## A thing",
        "Taken so.",
        "| scp | 2 s | 1.5 s – 2.5 s | 1.50 |",
        "| omsfab | 3 s | 3 s – 3 s |  |",
        "| pyinfra | missing | no index | |",
        "The wire is slow.",
    ] == [line for line in page.splitlines() if line in page_lines(page)]


def page_lines(page: str) -> set[str]:
    """Without headings of tables and the words that always stand there."""
    fixed = {*figures.HEAD, "", "## Goals", "| figure | goal | measured | |", "|---|---|--:|---|"}
    fixed |= {"## Rivals that were missing", "| way | median of 2 | from – to | omsfab / it |"}
    return set(page.splitlines()) - fixed - {"|---|--:|--:|--:|"}


def test_a_reason_stands_only_where_a_goal_was_missed():
    known = Figure("x", "part", "a thing", (Goal(1.1, "scp"),), limit="The wire is slow.")

    assert "The wire is slow." not in figures.page((known,), {"x": result(omsfab=[1], scp=[1])})


def test_every_part_can_be_run_and_every_goal_has_its_way():
    """Ids are unique, since results are files of that name; each figure has a part."""
    ids = [one.id for one in FIGURES]

    assert sorted(set(ids)) == sorted(ids)
    assert set(PARTS) == set(RUN)
    assert all(one.title and one.how for one in FIGURES)
    assert {OURS} <= {goal.way for one in FIGURES for goal in one.goals}
