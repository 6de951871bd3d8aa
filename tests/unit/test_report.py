"""A run as a page: a function of its events."""

from __future__ import annotations

from html.parser import HTMLParser

from omsfab.plan.events import Event
from omsfab.plan.outage import Outage
from omsfab.show.report import html

TIMES = iter(range(10_000))


def event(kind, text="", node="", step="", at=None):
    return Event(next(TIMES) if at is None else at, 0.0, node, step, kind, text)


RUN = (
    event("run", "begun x", at=0),
    event("stage", "1/2 stop production", at=0),
    event("intent", "stop all", "oms1", "stop-processes", at=10),
    event("done", "stop all (2 s)", "oms1", "stop-processes", at=12),
    event("stage", "2/2 initialise <b>", at=12),
    event("intent", "run docker_init.sh", "oms1", "initialise", at=12),
    event("line", "<script>alert(1)</script>", "oms1", "initialise", at=13),
    event("done", "run docker_init.sh", "oms1", "initialise", at=42),
    event("satisfied", "config", "oms2", "config", at=43),
    event("run", "ended: 2 changes", at=50),
)


class Strict(HTMLParser):
    """Counts tags; every opened one must be closed in order."""

    EMPTY = {"meta", "link", "br"}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.open = []
        self.seen = []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_runs_nothing():
    """Well-formed, no script of ours or of a log line, nothing fetched from anywhere."""
    page = html("run-1", "li@jump1", RUN)
    parser = Strict()
    parser.feed(page)

    assert [] == parser.open
    assert not {"script", "img", "link", "iframe"} & set(parser.seen)
    assert "http" not in page


def test_the_outage_is_the_one_that_it_is_given():
    """One figure on the page, and the shade is as long: from 10 s to 42 s of 50."""
    found = Outage(("cn-lab",), ("oms1",), 10, 42, 32, ((10, 42),), whole=True, seen=42)

    page = html("run-1", "li@jump1", RUN, found)

    assert '<b class="">0:32</b>' in page
    assert '<u style="left:20.00%;width:64.00%"></u>' in page


def test_an_outage_that_lasts_stands_at_the_top():
    """Whoever opens the page of a failed run sees first that production stands still."""
    found = Outage(("cn-lab",), ("oms1",), 10, None, 40, ((10, 50),), whole=True, seen=42)

    page = html("run-1", "li@jump1", RUN, found, "OMS of cn-lab is DOWN for 0:40")

    assert '<p class="bad">OUTAGE OMS of cn-lab is DOWN for 0:40</p>' in page
    assert "0:40, still down" in page


def test_a_failure_is_told_with_its_id():
    """The outcome is red, and the error stands below the chart."""
    failed = (*RUN[:6], event("failed", "INIT-015 no banner", "oms1", "initialise", at=20))

    page = html("run-1", "li@jump1", failed)

    assert "What failed" in page
    assert "INIT-015 no banner" in page


def test_a_step_without_an_end_stands_open():
    """A killed session: its step has a bar, and another one in the session that resumed."""
    resumed = (*RUN[:6], event("run", "resumed x", at=60), *RUN[5:])

    assert 2 == html("run-1", "li@jump1", resumed).count("<b>oms1</b> initialise")
