"""The one question that a task asks: what is at stake, on a real terminal, wherever output goes."""

from __future__ import annotations

import contextlib
import os
import pty
import sys
from dataclasses import replace

import pytest

from omsfab.metadb.backup import Column, TableRows
from omsfab.metadb.identity import shown
from omsfab.plan.observed import NodeFacts
from omsfab.plan.procedures import node, restore_rows, scale_out, undo
from omsfab.plan.stakes import stakes
from omsfab.show.text import stakes_text

ASK = """
import sys
from omsfab.next_line import fab
from omsfab.errors import InputError
from omsfab.run.confirmation import Flags, confirm
try:
    confirm(Flags(), "Delete 4 rows.", fab("scale.out"), word=sys.argv[1])
except InputError as error:
    sys.exit(error.id)
"""


def asked(tmp_path, word, *typed):
    """Answer on a terminal of its own, with both outputs of the program in a file.

    Returns what the terminal showed, what the file has, and the exit status.
    """
    kept = tmp_path / "kept"
    pid, terminal = pty.fork()
    if pid == 0:
        file = os.open(kept, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.execv(sys.executable, [sys.executable, "-c", ASK, word])
    shown = b""
    for line in typed:
        while not shown.endswith(b": ") and not shown.endswith(b"] "):
            shown += os.read(terminal, 4096)
        os.write(terminal, f"{line}\n".encode())
        shown += os.read(terminal, 4096)
    with contextlib.suppress(OSError):  # the terminal ends with the program
        while more := os.read(terminal, 4096):
            shown += more
    _, status = os.waitpid(pid, 0)
    return shown.decode(), kept.read_text(), os.waitstatus_to_exitcode(status)


def test_the_question_is_on_the_terminal_and_in_no_file(tmp_path):
    """`fab scale.out >log 2>&1`: the log has no prompt, the operator has it and types the name."""
    shown, kept, status = asked(tmp_path, "cn-lab", "cn-lab")

    assert "Delete 4 rows. Type cn-lab to continue: " in shown
    assert ("", 0) == (kept, status)


@pytest.mark.parametrize("typed", [["yes", "y", "CN-LAB"], ["no"], [""], ["cn-lab2", ""]])
def test_where_much_is_at_stake_only_the_name_of_the_region_counts(tmp_path, typed):
    """A yes is typed by habit; INPUT-024 after three, or after a no."""
    _, kept, status = asked(tmp_path, "cn-lab", *typed)

    assert ("INPUT-024", 1) == (kept.strip(), status)


def test_elsewhere_a_yes_in_full_will_do(tmp_path):
    """And a name is not asked for."""
    shown, _, status = asked(tmp_path, "", "y", "YES")

    assert 0 == status
    assert "Delete 4 rows. Continue? [yes/no] " in shown
    assert "Please type yes or no: " in shown


@pytest.fixture
def now(package, present):
    """oms1 serves, its four rows as shown; oms2 and oms3 are new."""
    names = ("cluster_info", "host", "location_cm", "resource_group")
    columns = tuple(Column(name, "text") for name in ("code", "cm_url"))
    cells = ((b"1", b"http://10.0.0.1:8088"),)
    rows = [TableRows(name, "oms", name, columns, "1 = 1", True, cells) for name in names]
    return replace(present(package, oms2=NodeFacts(), oms3=NodeFacts()), shown=shown(rows))


def said(plan, fleet):
    at_stake = stakes(plan, fleet.regions)
    return stakes_text(at_stake, plan.title), at_stake.region


def test_a_scale_out_names_who_stops_what_goes_and_who_comes(fleet, now):
    """seat.md B8: the sentence of the plan that deletes rows, and the region is to be typed."""
    text = (
        "Stop OMS on oms1 (about 3 to 5 min), delete 4 rows of region cn-hangzhou,"
        " add oms2 and oms3"
    )

    assert (text, "cn-hangzhou") == said(scale_out.scale_out(fleet, now), fleet)


def test_a_rollback_names_what_it_stops_puts_back_and_removes(fleet, now):
    """The same for the rollback."""
    there = scale_out.scale_out(fleet, now)
    begun = {step.key for step in there.steps if step.apply}
    text = (
        "Stop OMS on oms1 (about 3 to 5 min), put back the saved rows of region cn-hangzhou,"
        " remove OMS on oms2 and oms3"
    )

    assert (text, "cn-hangzhou") == said(
        undo.undo(fleet, now, run="r", region="", begun=begun), fleet
    )


def test_behind_a_vip_nothing_is_to_be_typed(fleet, present, package):
    """No outage, no row: a yes will do."""
    now = present(package, url="http://10.0.0.100:8088", oms2=NodeFacts(), oms3=NodeFacts())
    text = "Add oms2 and oms3, restart console and supervisor on oms1"

    assert (text, "") == said(scale_out.scale_out(fleet, now), fleet)


def test_other_tasks_have_their_own_stakes(fleet, now):
    """Never the same question for everything, and never a name where one node is meant."""
    running = replace(now.facts("oms1"), programs=("nginx",))
    now = replace(now, nodes={**now.nodes, "oms1": running})

    assert ("Stop OMS on oms1", "") == said(node.stop(fleet, now, node="oms1"), fleet)
    assert ("Restart OMS on oms1", "") == said(node.restart(fleet, now, node="oms1"), fleet)
    assert ("Load the image on oms2", "") == said(node.load_image(fleet, now, node="oms2"), fleet)
    restored = restore_rows.restore(fleet, now, file="/x", region="")
    assert ("Put back the saved rows of region cn-hangzhou", "") == said(restored, fleet)
    line = node.execute(fleet, now, node="oms1", words="date")
    assert (f"{line.title[:1].upper()}{line.title[1:]}", "") == said(line, fleet)
