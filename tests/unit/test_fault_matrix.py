"""The fault matrix knows the faults of the specification (tests/faults)."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults import __main__ as faults
from tests.faults import harness, matrix
from tests.faults.harness import Harness, Miss, Outcome


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


def test_the_scoreboard_is_made_of_the_verdicts_that_are_kept(tmp_path):
    """Nothing is run for it, on any machine, and no verdict is of a fault that is none."""
    found = faults.results(tmp_path)

    assert {one.id for one in found} - {one.id for one in matrix.load()} <= {""}
    assert faults.board(found) == faults.BOARD.read_text()


PRINTED = "{id}  it is so\n  changed:  nothing\n  evidence: e\n  fix:      f\n  next:     {line}\n"


class Scripted(Harness):
    """A harness whose lines have these outcomes: exit status, id, next line."""

    def __init__(self, directory, monkeypatch, *outcomes, rows=lambda: 0):
        self.lab = None
        self.stack = ExitStack()
        self.directory = directory
        self.coming, self.pasted = list(outcomes), []
        for name in ("hosts.yaml", "hosts-begun.yaml"):
            (directory / name).write_text("")
        monkeypatch.setattr(harness.oracle, "snapshot", lambda lab: rows())

    def paste_line(self, line, limit=300):
        self.pasted.append(line)
        return self.outcome(line)

    def outcome(self, line="fab scale.out"):
        code, id, next_ = self.coming.pop(0)
        words = tuple(line.split()[1:])
        return Outcome(words, code, PRINTED.format(id=id, line=next_) if id else "", 0)

    def as_before(self):
        pass


RESUME = "fab run.resume --run=x"


@pytest.mark.parametrize(
    ("outcomes", "lines"),
    [
        ([(3, "A-001", "fab scale.out"), (0, "", "")], ["fab scale.out"]),
        ([(3, "A-001", "nc -z a 1"), (0, "", ""), (0, "", "")], ["nc -z a 1", "fab scale.out"]),
        ([(6, "A-001", RESUME), (6, "B-001", RESUME), (8, "RUN-028", "")], [RESUME, RESUME]),
        ([(3, "A-001", "fab scale.out --plan"), (0, "", ""), (0, "", "")],
         ["fab scale.out --plan", "fab scale.out"]),
        ([(3, "A-001", RESUME), (4, "DB-030", "fab lock.show")], [RESUME]),
    ],
)  # fmt: skip
def test_what_an_error_says_is_done_until_its_end(tmp_path, monkeypatch, outcomes, lines):
    """A look first, then what does something; without one the task again, and --plan is no end."""
    place = Scripted(tmp_path, monkeypatch, *outcomes)

    place.follow(place.outcome())

    assert lines == place.pasted


def test_the_same_line_for_the_same_error_is_a_loop(tmp_path, monkeypatch):
    """Nothing has changed between them; where something has, it may go on, but not for ever."""
    same = [(6, "A-001", RESUME)] * 4
    place = Scripted(tmp_path, monkeypatch, *same)

    with pytest.raises(Miss, match="a loop: A-001"):
        place.follow(place.outcome())

    counted = iter(range(9))
    other = Scripted(tmp_path, monkeypatch, *same, rows=lambda: next(counted))
    with pytest.raises(Miss, match="3 next lines lead nowhere"):
        other.follow(other.outcome())
