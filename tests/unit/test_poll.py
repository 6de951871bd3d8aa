"""What a node says of an attempt, read."""

from __future__ import annotations

import pytest

from omsfab.run.engine.init_job import parse


@pytest.mark.parametrize("text", ["size \nbytes \n", "status \nsize 0\nbytes \n", ""])
def test_a_file_that_goes_while_it_is_looked_at_is_no_answer(text):
    """C26: removed between the question whether it is there and its reading."""
    poll = parse(text)

    assert (None, 0, b"") == (poll.status, poll.size, poll.data)
