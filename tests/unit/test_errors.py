"""The next line of an error can be pasted as it stands."""

from __future__ import annotations

import subprocess

import pytest

from omsfab.errors import pasteable


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("fab run.resume --run=x", "fab run.resume --run=x"),
        ("correct a in b, then: fab fleet.show", "fab fleet.show   # first: correct a in b"),
        ("ask the DBA for INSERT", "# ask the DBA for INSERT"),
        ("", ""),
    ],
)
def test_what_a_person_must_do_is_a_comment(given, shown):
    """A sentence is never taken for a program by the shell."""
    assert shown == pasteable(given)


def test_a_shell_takes_a_sentence_without_harm():
    """`sh -c` of the shown line of a mere sentence does nothing and ends with 0."""
    line = pasteable("wait until the other run ends")

    assert 0 == subprocess.run(["sh", "-c", line]).returncode
