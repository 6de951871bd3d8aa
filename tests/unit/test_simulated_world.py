"""The simulated world follows the code: what moves there is found here, at every run of the tests.

The search itself is tests/simulation.
"""

from __future__ import annotations

from tests.simulation.faults import Fault
from tests.simulation.node import LINES
from tests.simulation.simulate import Schedule, run


def test_a_scale_out_that_is_killed_and_resumed_is_golden():
    """By the real planners, runner and journal; every command and statement is known there."""
    fault = Fault("kill", 3, 0, "initialise@oms1")
    script = ["fab scale.out", "next", "undo"]
    found = run(Schedule(1, "physical", [(0.0, script)], [fault], plain=True))

    assert ([None, 0, 0], []) == ([said.status for said in found.said], found.broken), found.told()


def test_lines_of_scripts_that_guard_something_stand_there():
    """What the simulated nodes look for in a script is in it."""
    lacking = [name for name, (text, line) in LINES.items() if line not in " ".join(text.split())]

    assert not lacking
