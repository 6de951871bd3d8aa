"""The lab itself: it does not collide, it leaves nothing, it says what it lacks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from omsfab import lab as labs
from omsfab.lab import machine
from omsfab.lab.places import place
from tests.lab.oracle import FAB, ROOT
from tests.lab.selfcheck import leftovers

QUIET = {"say": lambda _: None}


@pytest.fixture
def names():
    found = [f"t{os.getpid()}-{letter}" for letter in "xy"]
    yield found
    for name in found:
        labs.down(name, **QUIET)


def test_two_labs_do_not_collide_and_leave_nothing(names):
    """Own subnets and databases; the end of one is no matter to the other."""
    one, other = (labs.up(name, 1, "mariadb", image=False, **QUIET) for name in names)

    assert one.subnet != other.subnet
    labs.down(names[0], **QUIET)
    assert [] == leftovers(place(names[0]))
    assert [(1,)] == other.sql("select 1")
    labs.down(names[1], **QUIET)

    assert [[], []] == [leftovers(place(name)) for name in names]


@pytest.mark.parametrize("after", [0.3, 1.0])
def test_a_killed_up_leaves_nothing_after_down(names, after):
    """kill -9 in the middle of lab.up; lab.down finds all of it."""
    words = [sys.executable, "-c", f"from omsfab import lab; lab.up({names[0]!r}, 2, image=False)"]
    up = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    time.sleep(after)
    os.kill(up.pid, signal.SIGKILL)
    up.wait()

    labs.down(names[0], **QUIET)

    assert [] == leftovers(place(names[0]))


def test_a_virtual_address_can_move(names):
    """From the balancer to a node and back: the node has it, then not."""
    lab = labs.up(names[0], 1, "mariadb", image=False, **QUIET)

    def here() -> bool:
        return f" {lab.vip}/" in lab.enter("oms1", ["ip", "-o", "addr"]).stdout

    before = here()
    lab.move_vip("oms1")
    moved = here()
    lab.move_vip()

    assert [False, True, False] == [before, moved, here()]


def test_without_root_one_sentence_says_what_is_missing(monkeypatch):
    """fab lab.up as an ordinary user: exit 3 and LAB-001, no traceback."""
    monkeypatch.setattr(machine.os, "geteuid", lambda: 1000)

    assert "root" in (labs.missing() or "")


def test_no_task_of_the_lab_ends_in_a_traceback():
    """A lab that is not there is told in one sentence."""
    done = subprocess.run(
        [str(FAB), "lab.status", "--name=there-is-none"], cwd=ROOT, capture_output=True, text=True
    )

    assert "Traceback" not in done.stderr
