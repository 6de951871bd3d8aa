"""The fault matrix knows the faults of the specification (tests/faults)."""

from __future__ import annotations

from tests.faults import matrix


def test_every_fault_of_the_specification_has_an_entry():
    """76 of them; an entry is what the scoreboard can give a verdict on."""
    entries = {one.of for one in matrix.load()}

    assert 76 == len(set(matrix.SPECIFIED))
    assert [] == [id for id in matrix.SPECIFIED if id not in entries]


def test_no_entry_is_registered_twice():
    """Two of one id would share a row of the scoreboard."""
    ids = [one.id for one in matrix.load()]

    assert sorted(set(ids)) == sorted(ids)
