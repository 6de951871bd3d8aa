"""Whatever a test is about: the lines of every error that omsfab makes in it can be pasted."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from omsfab.errors import OmsfabError
from omsfab.lab import pasted


@pytest.fixture(autouse=True)
def every_error_can_be_pasted() -> Iterator[None]:
    """Judge the errors made in the test.  Which task was asked for is not known here: whether a
    line belongs to it, the lab and the tests of single refusals judge."""
    made: list[OmsfabError] = []
    begin = OmsfabError.__init__

    def kept(self: OmsfabError, *args: object, **words: object) -> None:
        begin(self, *args, **words)  # type: ignore[arg-type]
        if "/tests/" not in sys._getframe(1).f_code.co_filename:
            made.append(self)

    with pytest.MonkeyPatch.context() as patch:  # of its own: it ends behind that of the test
        patch.setattr(OmsfabError, "__init__", kept)
        yield
    wrong = [why for error in made for why in _unfit(error.render())]
    if wrong:
        pytest.fail("\n".join(dict.fromkeys(wrong)))


def _unfit(printed: str) -> list[str]:
    said = pasted.told(printed)
    return list(pasted.unpasteable(said)) if said else [f"no error stands in {printed!r}"]
