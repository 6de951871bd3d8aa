"""The fault matrix knows the faults of the specification (tests/faults)."""

from __future__ import annotations

import re
from pathlib import Path

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


def test_the_specification_lists_just_these():
    """tests/faults/README.md: what is injected and what must hold, a row each."""
    text = Path(matrix.__file__).with_name("README.md").read_text()

    assert sorted(matrix.SPECIFIED) == sorted(re.findall(r"^\| ([A-Z]\d\d) \|", text, re.M))
