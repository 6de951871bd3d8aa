"""The plan on one screen, and as one JSON object: the same values."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len

from omsfab.fleet.model import Node
from omsfab.metadb.backup import Column, TableRows
from omsfab.metadb.identity import shown
from omsfab.plan.observed import NodeFacts
from omsfab.plan.overview import Answer, overview, record
from omsfab.plan.procedures import scale_out
from omsfab.plan.records import Send
from omsfab.run.confirmation import Flags
from omsfab.run.session import Session
from omsfab.show.overview import names_text, overview_lines

DOCS = (Path(__file__).parents[2] / "docs/json.md").read_text()


@pytest.fixture
def ten(fleet):
    """The fleet with ten nodes."""
    region = fleet.regions[0]
    nodes = tuple(Node(name=f"oms{n}", ip=f"10.0.0.{n}") for n in range(1, 11))
    return fleet.model_copy(update={"regions": (region.model_copy(update={"nodes": nodes}),)})


def present_of(fleet, package, present):
    """oms1 serves, its four rows as shown; all others are new."""
    names = ("cluster_info", "host", "location_cm", "resource_group")
    columns = tuple(Column(name, "text") for name in ("code", "cm_url"))
    rows = [
        TableRows(name, "oms", name, columns, "1 = 1", True, ((b"1", b"http://10.0.0.1:8088"),))
        for name in names
    ]
    new = {node.name: NodeFacts() for node in fleet.nodes[1:]}
    return replace(present(package, **new), shown=shown(rows))


def answers_of(plan):
    """A fleet where every new node is small, and two nodes are more."""
    said = {}
    for step in plan.stages[0].steps:
        if step.name == "advice":
            said[step.key] = Answer("warning", ("2 CPUs, 8 or more are advised",), "HOST-010")
        elif step.name == "habits" and step.node in ("oms2", "oms5"):
            text = f"live-restore of docker is off ({step.node})"
            said[step.key] = Answer("warning", (text,), "HOST-010")
        else:
            said[step.key] = Answer("passed")
    return said


@pytest.mark.parametrize("wide", [60, 80, 200])
def test_ten_nodes_fit_on_one_screen(ten, package, present, wide):
    """24 lines at 80 columns with head, next line and prompt; no line is wider than the screen."""
    plan = scale_out.scale_out(ten, present_of(ten, package, present))
    seen = overview(plan, ten.regions, answers_of(plan))

    lines = list(overview_lines(plan, seen, wide))

    assert [] == [line for line in lines if cell_len(line) > wide]
    assert wide < 80 or len(lines) <= 21, "\n".join(lines)
    assert "! HOST-010 oms2 to oms10: 2 CPUs, 8 or more are advised" in " ".join(
        " ".join(lines).split()
    )


def test_what_goes_and_what_stops_is_on_the_screen(ten, package, present):
    """Rows with their counts, the outage with its stages, who comes, what is sent."""
    plan = scale_out.scale_out(ten, present_of(ten, package, present))

    lines = list(overview_lines(plan, overview(plan, ten.regions), None))

    assert "  DELETES   4 rows of region cn-hangzhou, backed up first:" in lines
    assert "            cluster_info 1 · location_cm 1 · host 1 · resource_group 1" in lines
    assert "  OUTAGE    oms1, stages 4 to 8, about 3 to 5 min (docker_init.sh)" in lines
    assert "  nodes     oms1 (stay)   + oms2 to oms10" in lines
    assert "  sends     oms_4.2.7-ce.tar.gz, 2.0 GB, to oms2 to oms10, from node to node" in lines
    assert "  cm_url    http://10.0.0.1:8088 -> http://10.0.0.100:8088" in lines


def test_a_warning_that_differs_by_node_says_so(ten, package, present):
    """One text of two would be taken for that of both nodes."""
    plan = scale_out.scale_out(ten, present_of(ten, package, present))
    seen = overview(plan, ten.regions, answers_of(plan))

    text = "\n".join(overview_lines(plan, seen, None))

    assert "! HOST-010 oms2, oms5: the host suits docker and this OMS (differs by node" in text
    assert f"{len(plan.stages[0].steps) - 11} passed, 11 warnings" in text


def test_what_is_so_already_is_no_change(fleet, package, present):
    """An image that is there is not sent; it counts as unchanged."""
    plan = scale_out.scale_out(fleet, present_of(fleet, package, present))
    image = [step for step in plan.steps if any(isinstance(e, Send) for e in step.apply)]
    before = overview(plan, fleet.regions)

    after = overview(plan, fleet.regions, {image[0].key: Answer("unchanged")})

    assert (("oms2", "oms3"), ("oms3",)) == (before.sends[0].nodes, after.sends[0].nodes)
    assert (before.changes - 1, 1) == (after.changes, after.unchanged)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["oms1", "oms2"], "oms1, oms2"),
        (["a1", "a2", "a3", "b4"], "a1 to a3, b4"),
        (["oms8", "oms9", "oms10"], "oms8 to oms10"),
        (["x", "y", "z"], "x, y, z"),
        (["n1", "n3", "n5"], "n1, n3, n5"),
        ([], ""),
    ],
)
def test_nodes_that_are_numbered_in_a_row_are_told_by_both_ends(names, text):
    assert text == names_text(names)


def keys_of(value):
    """Every key of the object and of those within, but for names of tables."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from () if key == "tables" else keys_of(one)
    elif isinstance(value, list):
        for one in value:
            yield from keys_of(one)


def test_every_key_of_the_plan_as_json_is_documented(fleet, package, present):
    """docs/json.md, and its schema."""
    plan = scale_out.scale_out(fleet, present_of(fleet, package, present))
    more = {"hosts_file": "x", "assumed": False, "accepted": [], "run": None, "error": None}

    said = record(plan, fleet.regions, answers_of(plan), **more)

    assert set() == {key for key in keys_of(said) if f"`{key}`" not in DOCS}
    assert 1 == said["schema"]


def test_with_json_a_plan_is_one_object_and_nothing_else(
    fleet, package, present, monkeypatch, tmp_path, capsys
):
    """`--plan --json` printed no JSON; a program reads standard output as a whole."""
    monkeypatch.setenv("OMSFAB_HOME", str(tmp_path))
    plan = scale_out.scale_out(fleet, present_of(fleet, package, present))

    Session(Flags(plan=True, json=True), fleet).tell_plan(plan, accepted=[])

    said = json.loads(capsys.readouterr().out)
    assert "scale.out" == said["task"]
    assert {"stay": ["oms1"], "add": ["oms2", "oms3"], "remove": []} == said["nodes"]
    assert {
        "from": "http://10.0.0.1:8088",
        "to": "http://10.0.0.100:8088",
    } == said["cm_url"]
    (rows,) = said["rows"]
    assert ("delete", 1, "cn-hangzhou") == (rows["act"], rows["location"], rows["region"])
    assert {1} == set(rows["tables"].values())
    assert [3, 5] == said["outage"]["minutes"]
    assert {"unasked"} == {one["state"] for stage in said["stages"] for one in stage["steps"]}


def test_a_run_with_json_tells_its_plan_by_events_alone(fleet, package, present, capsys):
    """Without --plan and --dry standard output is a line an event."""
    plan = scale_out.scale_out(fleet, present_of(fleet, package, present))

    Session(Flags(yes=True, json=True), fleet).tell_plan(plan)

    assert "" == capsys.readouterr().out
