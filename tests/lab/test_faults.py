"""A fast part of the fault matrix; `scripts/faults` runs all of it, into docs/scoreboard.md.

Of each kind of refusal one is here, and one whole run; a case is here because it is quick.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import matrix
from tests.faults.harness import Harness, Skip, packages
from tests.lab.oracle import Fleet

FAST = (
    # refused before anything is changed
    *("V12", "V14", "V15", "I01", "I02", "I04"),
    *("I09", "I14", "D08", "D15", "D16", "X03", "N08b"),
    *("J06", "J08", "J18", "J19", "J22"),
    # a whole run
    "N01",
)


@pytest.fixture(scope="module")
def harness(make_fleet, tmp_path_factory) -> Iterator[Harness]:
    """OMS on the first of three nodes, cm_url its own address."""
    fleet: Fleet = make_fleet("faults", metadb="oceanbase")
    said = fleet.fab("oms.deploy", "--yes", hosts="initial.yaml")
    assert 0 == said.status, said.out
    yield Harness(fleet.lab, Path(tmp_path_factory.mktemp("faults")))


@pytest.mark.parametrize("id", FAST)
def test_a_fault_is_survived(harness, id):
    """Exit status, id, and all that is asked past omsfab: as tests/faults/README.md says."""
    one = next(fault for fault in matrix.load() if fault.id == id)
    assert one.body is not None
    try:
        with harness.fault(id):
            packages(harness.lab.directory / "state", harness.directory / "state")
            one.body(harness)
    except Skip as skip:
        pytest.skip(f"injector missing: {skip}")

    assert [] == harness.figures.lost
    assert [] == harness.figures.overlaps
    assert [] == harness.figures.surplus
    assert [] == harness.figures.secrets
