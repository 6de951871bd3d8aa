"""Every knob of the stand-in image is tried upon a scale-out and its rollback."""

from __future__ import annotations

from omsfab.lab.package import SOURCES
from tests.lab.knobs import CASES, listed


def test_every_knob_of_the_image_has_a_case():
    """A new knob without one is red here; a case turns no knob that is none."""
    tried = {name for case in CASES for name in case.knobs}

    assert set() == set(listed((SOURCES / "README").read_text())) ^ tried


def test_no_two_cases_are_the_same():
    """Each has a name of its own in the output of pytest."""
    ids = [case.id for case in CASES]

    assert sorted(set(ids)) == sorted(ids)
