"""How many requests a scale-out sends to its nodes, which may stand in another region."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from omsfab.command import shown
from tests.simulation import shell as simulated
from tests.simulation.simulate import Schedule, run


@pytest.fixture
def requests(monkeypatch) -> Counter[tuple[str, str]]:
    """What a plain scale-out onto one new node sends: ("acts" or "asks", what it is) -> how often.

    What acts has a session of its own; questions to a node share one (ssh/shell.py, and
    tests/wire/test_ssh.py for a real sshd).
    """
    found: Counter[tuple[str, str]] = Counter()
    fed = simulated.SimShell.feed

    def feed(self: Any, cmd: Any, chunks: Any, on_line: Any = None) -> Any:
        kind = "asks" if cmd.asks and cmd.stdin is None else "acts"
        found[kind, shown(cmd).partition("]")[0].partition(" -")[0][:60]] += 1
        return fed(self, cmd, chunks, on_line)

    monkeypatch.setattr(simulated.SimShell, "feed", feed)
    done = run(Schedule(1, operators=[(0.0, ["fab scale.out"])], plain=True))
    assert (["0"], []) == (done.ends, done.broken)
    return found


def test_a_scale_out_onto_one_new_node_opens_few_sessions(requests):
    """At most 60: each is two round trips and a login shell.  Two nodes share one each besides."""
    acts = {what: often for (kind, what), often in requests.items() if kind == "acts"}

    assert 60 >= sum(acts.values()) + 2, acts


def test_a_scale_out_onto_one_new_node_asks_few_questions(requests):
    """A round trip each; this bound is what is reached, so that they do not creep back."""
    asks = {what: often for (kind, what), often in requests.items() if kind == "asks"}

    assert 160 >= sum(asks.values()), asks
