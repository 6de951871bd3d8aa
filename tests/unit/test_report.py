"""A run as a page: a function of its events."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from omsfab.next_line import fab
from omsfab.plan.events import Event
from omsfab.plan.outage import Outage
from omsfab.show.report import Axis, html, title

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

    assert 2 == html("run-1", "li@jump1", resumed).count("<b>oms1</b> initialise</div>")


# --- what a person reads first -----------------------------------------------------------------

FLEET = {
    "regions": [
        {
            "name": "cn-lab", "location": 1, "cm_url": "http://10.0.0.9:8088",
            "nodes": [{"name": f"oms{n}", "ip": f"10.0.0.{n}"} for n in (1, 2, 3)],
        }
    ]
}  # fmt: skip


def record(task="scale.out", hosts=("10.0.0.1",), **args):
    present = {
        "hosts": dict.fromkeys(hosts, "ONLINE"), "clusters": {"1": "http://10.0.0.1:8088"},
        "scopes": ["oms_cm.host: 1 of 1 rows, where <id> is 1"],
    }  # fmt: skip
    return {"task": task, "args": args, "fleet": FLEET, "present": present}


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("Scale out cn-lab: 1 -> 3 nodes", record(region="cn-lab")),
        ("Scale out cn-lab: 1 -> 2 nodes", record(region="cn-lab", nodes="oms3")),
        ("Scale out cn-lab: 2 -> 3 nodes", record(hosts=("10.0.0.1", "10.0.0.2"))),
        ("Deploy OMS in cn-lab: 3 nodes", record("oms.deploy", hosts=())),
        ("Roll back 2026-x", record("run.undo", run="2026-x")),
        ("node.restart oms1", record("node.restart", node="oms1")),
    ],
)
def test_the_title_says_what_was_to_be_done(wanted, given):
    assert wanted == title(given)


def test_a_run_that_was_resumed_and_ended_well_is_green():
    """The failure of its first session stands below, and is not its outcome."""
    failed = (*RUN[:6], event("failed", "INIT-015 no banner", "oms1", "initialise", at=20))
    ended = (*failed, event("run", "resumed x", at=30), *RUN[1:])

    page = html("run-1", "li@jump1", ended)

    assert '<b class="good">finished</b>' in page
    assert "resumed 1 time" in page
    assert "INIT-015 no banner" in page


def test_rows_and_cm_url_stand_there_before_and_after():
    gone = (*RUN[:4], event("intent", "delete", "metadb", "clear-rows", at=12),
            event("done", "delete", "metadb", "clear-rows", at=12), *RUN[4:])  # fmt: skip

    page = html("run-1", "li@jump1", gone, record=record(region="cn-lab"))

    assert "<td>http://10.0.0.1:8088</td><td>http://10.0.0.9:8088</td>" in page
    assert "where &lt;id&gt; is 1</td><td>deleted" in page


@pytest.mark.parametrize(
    ("kind", "after"),
    [
        ("done", "deleted, and made anew by docker_init.sh; backed up"),
        ("warning", "deleted; backed"),
    ],
)
def test_rows_that_are_back_are_called_so(kind, after):
    """By the look at the end; where it found one missing the page does not say that all are."""
    back = event(kind, "each row is back", "metadb", "rows-back", at=49)
    gone = (*RUN[:4], event("done", "delete", "metadb", "clear-rows", at=12), *RUN[4:-1], back)

    page = html("run-1", "li@jump1", gone, record=record(region="cn-lab"))

    assert f"where &lt;id&gt; is 1</td><td>{after}" in page


def test_what_did_not_happen_is_no_change():
    """A run that failed before the rows were deleted says nothing of rows."""
    page = html("run-1", "li@jump1", RUN[:4], record=record(region="cn-lab"))

    assert "What changed" not in page


def test_a_node_whose_step_did_not_end_has_no_change():
    """The same step of another node did."""
    half = (*RUN[:2], event("intent", "write x", "oms1", "config", at=3),
            event("done", "write x", "oms1", "config", at=4),
            event("intent", "write x", "oms2", "config", at=5))  # fmt: skip

    page = html("run-1", "li@jump1", half, record=record(region="cn-lab"))

    assert ("<td>oms1: config</td>" in page, "<td>oms2: config</td>" in page) == (True, False)


@pytest.mark.parametrize(
    "drift",
    [
        {"key": "cm_url", "have": None, "want": "http://10.0.0.9:8088"},
        "cm_url: (absent) -> http://10.0.0.9:8088",  # as runs were recorded once
    ],
)
def test_config_yaml_stands_there_key_by_key(drift):
    """As it was on a node that had one; where there was none, that it was written."""
    of = record(region="cn-lab")
    of["present"]["nodes"] = {
        "oms1": {"drift": [drift]},
        "oms2": {"drift": []},
    }
    written = [
        event(kind, "write /data/config.yaml", node, "config", at=5)
        for node in ("oms1", "oms2")
        for kind in ("intent", "done")
    ]

    page = html("run-1", "li@jump1", (*RUN[:2], *written), record=of)

    assert "<td>oms1: config</td><td>cm_url: (absent)</td><td>cm_url: http://10.0.0.9" in page
    assert "<td>oms2: config</td><td></td><td>write /data/config.yaml</td>" in page


def test_rows_that_are_kept_are_not_called_deleted():
    gone = (*RUN[:4], event("done", "update", "metadb", "clear-rows", at=12))

    page = html("run-1", "li@jump1", gone, record=record(region="cn-lab", rows="update"))

    assert "deleted" not in page


def test_one_warning_of_three_nodes_stands_there_once():
    warned = [event("warning", "HOST-010 2 CPUs", f"oms{n}", "advice", at=1) for n in (1, 2, 3)]

    page = html("run-1", "li@jump1", (RUN[0], *warned, *RUN[1:]))

    assert 1 == page.count("HOST-010")
    assert "oms1, oms2, oms3: HOST-010 2 CPUs" in page


def test_hours_between_two_sessions_are_not_drawn():
    """A run that lay still for a night has an axis of what it did, with the gap named."""
    night = (*RUN[:4], event("run", "resumed x", at=12 + 8 * 3600), *(
        Event(one.at + 8 * 3600, 0.0, one.node, one.step, one.kind, one.text) for one in RUN[4:]
    ))  # fmt: skip

    axis = Axis.of(night)
    page = html("run-1", "li@jump1", night)

    assert [(0, 12), (12 + 8 * 3600, 50 + 8 * 3600)] == axis.spans
    assert (50, 0.24) == (axis.whole, axis.at(13))
    assert "8:00:00 later" in page


def test_what_can_be_done_now_can_be_pasted():
    page = html("run-1", "li@jump1", RUN[:4], ways=[fab("run.resume", run="run-1")])

    assert "<pre>fab run.resume --run=run-1</pre>" in page


def test_output_is_folded_and_no_markup():
    page = html("run-1", "li@jump1", RUN)

    assert "<pre>&lt;script&gt;alert(1)&lt;/script&gt;</pre>" in page
