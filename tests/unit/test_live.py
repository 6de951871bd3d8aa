"""What goes on in a run, drawn anew: head and rows at every width, and floods that cost nothing."""

from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from omsfab.fleet.model import Node
from omsfab.plan.events import Event
from omsfab.plan.observed import NodeFacts
from omsfab.plan.procedures import scale_out
from omsfab.show.live import Transfer, View, clipped
from omsfab.show.terminal import Terminal

FLOOD = 50_000
LINE = "2026-11-26 18:04:32 INFO restarting oms_drc_cm, attempt 12 of 345 at 10.0.0.1:8088"


def event(kind, node="", step="", text="", data=None, at=0.0):
    return Event(at, at, node, step, kind, text, data)


@pytest.fixture
def plan(fleet, package, present):
    return scale_out.scale_out(fleet, present(package, oms2=NodeFacts(), oms3=NodeFacts()))


def stage(plan, title, at=0.0):
    """The event with which this stage of the plan begins."""
    number, found = next((n, s) for n, s in enumerate(plan.stages, 1) if s.title.startswith(title))
    steps = {}
    for step in found.steps:
        steps[step.node] = steps.get(step.node, 0) + 1
    return event("stage", data={"number": number, "steps": steps}, at=at)


@pytest.fixture
def down(plan):
    """OMS on oms1 is down since 100, and docker_init.sh is at its fourth step since 160."""
    view = View(plan, 90.0, wall=lambda: 172.0)
    view.hear(event("run", data={"serving": {"cn-hangzhou": ["oms1"]}}), 90)
    view.hear(event("programs", "oms1", "stop", data={"act": "stop"}, at=100.0), 100)
    view.hear(stage(plan, "initialise"), 110)
    view.hear(event("intent", "oms1", "initialise", "run docker_init.sh", at=108.0), 108)
    said = {"phase": "step 4 of 5"}
    view.hear(event("state", "oms1", "initialise", "step 4 of 5: 重启 OMS 所有组件", said), 160)
    view.hear(event("line", "oms1", "initialise", "oms_drc_cm: started"), 161)
    return view


def test_the_head_has_stage_time_and_the_outage_clock(down):
    """From 60 columns on all of it stands there."""
    assert "8/11 initialise the first node · 1:22 · OMS DOWN 1:12" == down.head(172, 60)
    assert "scale.out · 8/11 initialise the first node · 1:22 · OMS DOWN 1:12" == down.head(172, 80)
    assert "8/11 · OMS DOWN 1:12" == down.head(172, 22)
    assert down.down


def test_docker_init_is_told_by_its_step_and_its_last_line(down):
    """And the nodes that wait have a row."""
    lines = down.lines(172, 80, 20)

    assert lines[1].startswith("oms1    initialise  step 4 of 5: 重启 OMS 所有组件")
    assert lines[1].endswith("1:04")
    assert "        oms_drc_cm: started" == lines[2]
    assert lines[3].startswith("oms2, oms3  waiting for stage 10, run and initialise the new nodes")
    assert "Ctrl-C detaches: docker_init.sh goes on, fab run.resume follows it" == lines[4]


def test_who_waits_is_told_for_whom(fleet, package, present):
    """Two at a time: the third begins when one of them is ready."""
    install = fleet.install.model_copy(update={"init_parallel": 2})
    nodes = (*fleet.regions[0].nodes, Node(name="oms4", ip="10.0.0.4"))
    region = fleet.regions[0].model_copy(update={"nodes": nodes})
    fleet = fleet.model_copy(update={"install": install, "regions": (region,)})
    new = dict.fromkeys(("oms2", "oms3", "oms4"), NodeFacts())
    view = View(scale_out.scale_out(fleet, present(package, **new)), 0.0, wall=lambda: 0.0)
    view.hear(stage(view._plan, "run and initialise the new nodes, 2 nodes at a time"), 1)
    for name in ("oms2", "oms3"):
        view.hear(event("intent", name, "container", "run oms_427", at=1.0), 1)

    assert "waiting for oms2 or oms3" in next(
        line for line in view.lines(2, 80, 20) if line.startswith("oms4")
    )


@pytest.mark.parametrize("wide", [20, 40, 59, 60, 61, 79, 80, 120, 200])
def test_no_line_is_wider_than_the_screen(down, wide):
    """East Asian signs take two columns."""
    assert [] == [line for line in down.lines(172, wide, 20) if cell_len(line) > wide]


@pytest.mark.parametrize("wide", range(30, 201, 7))
def test_no_number_is_shortened(plan, wide):
    """`16%  4 of 2` stood there for 4 of 29 MB."""
    view = View(plan, 0.0)
    view.hear(stage(plan, "stage the new nodes"), 0)
    for at in range(11):
        sent = {"bytes": (at * 118_000_000, 1_900_000_000)}
        view.hear(event("progress", "oms2", "image", data=sent), float(at))

    (row,) = [line for line in view.lines(10, wide, 20) if line.startswith("oms2")]

    known = {"oms2", "1.2", "1.9", "118", "6", "62", "0", "10"}
    assert set(re.findall(r"\w*\d[\d.]*", row)) <= known, row
    assert "62 %" in row
    assert wide < 70 or "1.2 of 1.9 GB · 118 MB/s · 6 s left" in row


def test_a_transfer_that_stands_still_grows_slower():
    """The rate is that of now, not of its best times."""
    sent = Transfer(1000)
    sent.seen.extend([(0.0, 0), (1.0, 100)])

    assert (100.0, 10.0) == (sent.rate(1.0), sent.rate(10.0))


def test_nodes_of_which_the_same_is_said_share_a_row(plan):
    """Ten waiting nodes do not fill a screen; and what does not fit is counted."""
    view = View(plan, 0.0)
    view.hear(stage(plan, "preflight"), 0)
    for node in ("oms1", "oms2", "oms3"):
        view.hear(event("state", node, "clock", "waiting"), 0)

    assert 3 == len(view.lines(1, 80, 3))
    assert "and 2 more" == view.lines(1, 80, 3)[-1]


@pytest.mark.parametrize(("warnings", "said"), [(0, ""), (1, ", 1 warning"), (2, ", 2 warnings")])
def test_what_came_of_the_questions_is_counted(plan, warnings, said):
    """As a person counts."""
    view = View(plan, 0)
    view.hear(stage(plan, "preflight"), 0)
    for kind in ["done"] * 3 + ["warning"] * warnings:
        view.hear(event(kind, "oms1", "docker"), 1)

    assert f"preflight: 3 passed{said}" == view.checked


def test_a_node_that_failed_says_so_until_the_end(plan):
    """The others go on, and nobody overlooks it."""
    view = View(plan, 0.0)
    view.hear(stage(plan, "stage the new nodes"), 0)
    view.hear(event("failed", "oms3", "image", "XFER-002 no room", {"id": "XFER-002"}), 1)

    assert any(
        line.startswith("oms3") and "FAILED: XFER-002" in line for line in view.lines(2, 80, 9)
    )


@pytest.mark.parametrize(
    ("text", "room", "left"),
    [
        ("4 of 29 MB", 10, "4 of 29 MB"),
        ("4 of 29 MB", 9, "4 of 29 …"),
        ("4 of 29 MB", 8, "4 of …"),
        ("重启所有组件", 9, "重启所 …"),
        ("１２３４", 6, ""),
        ("12345", 4, ""),
    ],
)
def test_text_is_cut_behind_a_whole_word(text, room, left):
    assert left == clipped(text, room)
    assert cell_len(clipped(text, room)) <= room


@pytest.fixture
def xterm(monkeypatch):
    """A terminal that can be drawn anew."""
    monkeypatch.setenv("TERM", "xterm-256color")


class Screen(io.StringIO):
    """A terminal that counts how often it is written to."""

    writes = 0

    def write(self, text):
        self.writes += bool(text)
        return super().write(text)

    def isatty(self):
        return True


def flooded(plan, *, whole):
    """Four megabytes of docker_init.sh's output; returns the screen and the memory behind it."""
    screen = Screen()
    console = Console(file=screen, force_terminal=True, width=80, height=24)
    show = Terminal(console, plan, whole=whole)
    with show:
        show(stage(plan, "initialise"))
        show(event("intent", "oms1", "initialise", "run docker_init.sh"))
        before = screen.writes
        for _ in range(FLOOD):
            show(event("line", "oms1", "initialise", LINE))
        kept = len(show._kept)
    return screen, screen.writes - before, kept


def test_a_flood_of_output_is_no_flood_on_the_screen(plan, xterm):
    """Folded: not a line of 50,000 is written for good; it is drawn by the clock, not by lines."""
    screen, writes, kept = flooded(plan, whole=False)

    assert 0 == kept
    assert writes < FLOOD / 100
    assert "│" not in screen.getvalue()
    assert LINE[:20] in screen.getvalue()


def test_a_flood_that_is_wanted_whole_is_written_in_portions(plan, xterm):
    """--verbose: each line is there, and memory is bounded."""
    screen, writes, kept = flooded(plan, whole=True)

    assert kept <= 1000
    assert writes < FLOOD / 100
    assert FLOOD == screen.getvalue().count("│ " + LINE[:20])


def test_one_line_of_megabytes_is_kept_in_part(plan):
    """A bar of progress may be one line."""
    view = View(plan, 0.0)

    view.hear(event("line", "oms1", "initialise", "x" * 4_000_000), 0)

    assert len(view.doing["oms1"].last) < 1000


def plain(plan, monkeypatch=None, **how):
    """What stays on a terminal of this kind."""
    screen = Screen()
    console = Console(file=screen, force_terminal=True, width=80, height=24, **how)
    with Terminal(console, plan) as show:
        show(stage(plan, "preflight"))
        show(event("intent", "oms1", "stop-processes", "stop all"))
        show(event("line", "oms1", "stop-processes", "nginx: stopped"))
        show(event("done", "oms1", "stop-processes", "stop all (1.0 s)"))
    return screen.getvalue()


def test_a_dumb_terminal_gets_lines_alone(plan, monkeypatch):
    """TERM=dumb: no sign that moves the cursor; both beginning and end of a step."""
    monkeypatch.setenv("TERM", "dumb")

    text = plain(plan)

    assert "\x1b[" not in text.replace("\x1b[0m", "").replace("\x1b[1m", "").replace("\x1b[32m", "")
    assert "▸ stop all" in text
    assert "✓ stop all (1.0 s)" in text
    assert "nginx" not in text


def test_no_color_means_none(plan, monkeypatch, xterm):
    """NO_COLOR: attributes such as bold may stay, colours not."""
    monkeypatch.setenv("NO_COLOR", "1")

    assert [] == re.findall(r"\x1b\[[0-9;]*3[0-7]m", plain(plan))
