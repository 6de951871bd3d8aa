"""The search itself, a part of it at each run of the tests; what it once found, again and again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.simulation.faults import Fault
from tests.simulation.simulate import REGION, Schedule, drawn, run

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.json"))
MANY = int(os.environ.get("OMSFAB_SCHEDULES", "280"))
SCENARIOS = ("physical", "auto", "vip", "two", "three", "region")


def plainly(scenario: str, *script: str, faults: list[Fault] | None = None) -> Schedule:
    """One operator and nothing that takes longer or shorter than usual."""
    first = (f"fab scale.out{REGION.get(scenario, '')}", *script)
    return Schedule(1, scenario, [(0.0, list(first))], faults or [], plain=True)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_without_a_fault_it_is_golden(scenario):
    """Each scenario, by the real planners, runner and journal, in virtual time."""
    found = run(plainly(scenario))

    assert (["0"], []) == (found.ends, found.broken), found.told()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_it_is_rolled_back(scenario):
    """And back again: everything is as it was before."""
    found = run(plainly(scenario, "undo"))

    assert (["0", "0"], []) == (found.ends, found.broken), found.told()


def test_a_seed_replays_to_the_letter():
    """The same schedule tells the same story, whatever ran before it."""
    stories = [run(drawn(seed)).told() for seed in (7, 8, 7, 8)]

    assert stories[:2] == stories[2:]


def test_a_fault_is_struck_where_it_is_drawn():
    """A story tells which fault happened, when, and at which question."""
    fault = Fault("kill", 3, 0, "initialise@oms1")
    found = run(plainly("physical", "next", faults=[fault]))

    assert [None, 0] == [said.status for said in found.said], found.told()
    assert ("initialise@oms1", "kill") in found.covered
    assert any(who == "FAULT" and "kill" in what for _, who, what in found.story)


@pytest.mark.parametrize("part", range(4))
def test_nothing_is_broken(part):
    """Schedules of the search; scripts/simulate goes on with more of them."""
    wrong = [found.told() for seed in range(part, MANY, 4) if (found := run(drawn(seed))).broken]

    assert not wrong, "\n\n".join(wrong[:3])


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_was_found_stays_mended(path):
    """Each schedule that once broke something; its faults must happen, or it shows nothing."""
    record = json.loads(path.read_text())
    schedule = Schedule.of(record["schedule"])
    found = run(schedule)

    assert len(schedule.faults) == sum(who == "FAULT" for _, who, _ in found.story), found.told()
    assert not found.broken, record["sentence"] + "\n" + found.told()
