"""`fab fleet.status` as a person and as monitoring read it: made from what nodes answered."""

import io
import json
from concurrent.futures import Future
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from omsfab.cli import fleet
from omsfab.cli.fleet import Row, State, Summary
from omsfab.commands import supervisor
from omsfab.fleet import hosts_file
from omsfab.fleet.model import Node
from omsfab.run.record.outages import History
from omsfab.show import arrivals, columns
from tests.unit.test_looks_only import HOSTS, fab, place  # noqa: F401  # a fixture

REGION = "cn-hangzhou"
ALL = dict.fromkeys(supervisor.PROGRAMS, "RUNNING")
FATAL = ALL | {"oms_console": "FATAL"}


def node(number, **more):
    """One that is well, but for what is said."""
    well = {
        "container": "running", "states": ALL, "health": "healthy", "host": "ONLINE", "beat": 3.0,
        "image": "4.2.7",
    }  # fmt: skip
    return Row(f"oms{number}", f"10.0.0.{number}", REGION, **(well | more))


def silent(number):
    return Row(f"oms{number}", f"10.0.0.{number}", REGION, error="connection refused (SSH-001)")


@pytest.fixture
def told(tmp_path, monkeypatch):
    """The exit status and the lines for these rows."""
    monkeypatch.setenv("OMS_META_PASSWORD", "x")
    loaded = hosts_file.load(HOSTS)

    def tell(*rows, wide=None, **more):
        state = State(rows, **more)
        found = fleet.summaries(loaded, state, History(tmp_path))
        code = fleet.exit_code(state, found)
        return code, list(fleet.status_lines(state, found, code, wide))

    return tell


def test_a_fleet_that_is_well_is_told_in_a_line_and_a_table(told):
    assert (
        0,
        [
            "cn-hangzhou   2 of 2 healthy · VIP answers · no open run",
            "node  address   container  programs  health   MetaDB  beat  image",
            "oms1  10.0.0.1  running    5/5       healthy  ONLINE  3 s   4.2.7",
            "oms2  10.0.0.2  running    5/5       healthy  ONLINE  3 s   4.2.7",
        ],
    ) == told(node(1), node(2), vips={REGION: True})


@pytest.mark.parametrize(
    ("rows", "more", "wanted", "why"),
    [
        ((node(1), node(2, states=FATAL)), {}, 5, "exit 5: not healthy: oms2"),
        ((node(1), node(2, health="unhealthy")), {}, 5, "exit 5: not healthy: oms2"),
        ((node(1), node(2, container="stopped", states={})), {}, 5, "exit 5: down: oms2"),
        ((node(1), node(2, beat=862.0)), {}, 5, "exit 5: heartbeat is old: oms2"),
        ((node(1), node(2)), {"vips": {REGION: False}}, 5, f"exit 5: VIP is silent: {REGION}"),
        ((node(1), silent(2)), {}, 3, "exit 3: unreachable: oms2"),
        ((node(1, states=FATAL), silent(2)), {}, 3, "exit 3: unreachable: oms2; not healthy: oms1"),
        ((node(1), node(2)), {"metadb": "refused (DB-001)"}, 3, "exit 3: unreachable: MetaDB"),
    ],
)
def test_what_is_ill_has_an_exit_status_that_says_why(told, rows, more, wanted, why):
    code, lines = told(*rows, **more)

    assert (wanted, why) == (code, lines[-1])


def test_a_node_where_no_oms_is_yet_is_not_ill(told):
    """hosts.yaml may name nodes that are to come; fleet.check tells of those."""
    code, lines = told(node(1), Row("oms2", "10.0.0.2", REGION, "absent"))

    assert (0, "1 of 1 healthy · no open run") == (code, lines[0].partition("   ")[2])


def test_an_unreachable_node_says_why_in_its_row(told):
    _, lines = told(node(1), silent(2))

    assert "oms2  10.0.0.2  connection refused (SSH-001)" in lines


def test_rows_are_seen_as_they_come(monkeypatch):
    """Whoever has answered stands there while others are waited for; all of it goes at the end."""
    rows_of = {Future(): node(n) for n in (1, 2, 3)}
    first, second, third = rows_of
    fleet_nodes = {one: Node(name=row.node, ip=row.address) for one, row in rows_of.items()}
    first.set_result(node(1))
    seen, screen = [], io.StringIO()
    monkeypatch.setattr(
        arrivals, "Console", lambda stderr: Console(file=screen, force_terminal=True, width=100)
    )
    monkeypatch.setenv("TERM", "xterm")

    def lines():
        seen.append(fleet._so_far(fleet_nodes))
        return seen[-1]

    def come():
        for one in (third, second):
            one.set_result(rows_of[one])
            yield one

    arrivals.shown(come(), lines)

    assert ["waiting for oms2, oms3 …", "waiting for oms2 …", "all have answered"] == [
        one[0] for one in seen
    ]
    assert "oms1  10.0.0.1  cn-hangzhou  running    5/5       healthy  …" in seen[0][2]
    assert ["oms1", "oms3"] == [line.split()[0] for line in seen[1][2:]]
    assert "oms3  10.0.0.3" in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[1A\x1b[2K")  # the last of its lines is wiped


@pytest.mark.parametrize(("terminal", "wanted"), [(True, "waiting for oms2 …\n"), (False, "")])
def test_where_nothing_can_be_drawn_anew_one_line_says_who_is_waited_for(
    monkeypatch, terminal, wanted
):
    screen = io.StringIO()
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(
        arrivals, "Console", lambda stderr: Console(file=screen, force_terminal=terminal)
    )
    arrivals.shown([1, 2], lambda: ["waiting for oms2 …", "oms1  is well"])

    assert wanted == screen.getvalue()


def test_of_many_that_are_waited_for_some_are_named():
    """Three hundred names would be the whole screen."""
    waits = {Future(): Node(name=f"n{n}", ip=f"10.0.0.{n}") for n in range(1, 21)}

    assert "waiting for n1, n2, n3, n4, n5, n6, n7, n8 and 12 more …" == fleet._so_far(waits)[0]


@pytest.mark.parametrize("wide", [40, 50, 60, 72, 80, 200])
def test_a_narrow_terminal_loses_columns_and_never_a_part_of_a_value(told, wide):
    rows = (node(1), node(2, beat=8620.0))

    _, lines = told(*rows, wide=wide)
    heads, *found = lines[1:4]

    whole = {cell for row in rows for cell in fleet._cells(row, list(fleet.HEADS))}
    assert set() == {cell for line in found for cell in line.split("  ") if cell.strip()} - {
        *whole, *(f" {cell}" for cell in whole)
    }  # fmt: skip
    assert {"node", "address", "container", "programs", "health"} <= set(heads.split())
    assert wide >= max(map(cell_len, (heads, *found))) or "MetaDB" not in heads


def test_chinese_names_take_two_columns_each():
    lines = list(columns.table(("node", "x"), [("杭州", "1"), ("oms1", "2")], None))

    assert ["node  x", "杭州  1", "oms1  2"] == lines


def test_a_row_that_ends_with_a_sentence_makes_no_column_wider():
    lines = list(columns.table(("a", "b", "c"), [("1", "a long sentence"), ("2", "x", "y")], None))

    assert ["a  b  c", "1  a long sentence", "2  x  y"] == lines


def test_columns_stand_below_each_other_on_the_screen(place, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setattr(fleet, "ask", lambda loaded: State((node(1), node(2, beat=862.0))))

    assert 5 == fab("fleet.status")

    lines = capsys.readouterr().out.splitlines()[1:4]
    assert 1 == len(
        {line.index(word) for line, word in zip(lines, ("beat", "3 s", "862"), strict=True)}
    )


def test_as_json_it_has_numbers_and_the_exit_status(place, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setattr(fleet, "ask", lambda loaded: State((node(1, beat=3.4), silent(2))))

    assert 3 == fab("fleet.status", "--json")

    said = json.loads(capsys.readouterr().out)
    first, second = said["nodes"]
    assert (1, 3) == (said["schema"], said["exit"])
    assert (5, 3, True, None) == (
        first["running"], first["heartbeat_seconds"], first["healthy"], first["error"],
    )  # fmt: skip
    assert ("connection refused (SSH-001)", None) == (second["error"], second["running"])


def test_every_key_of_the_json_is_documented():
    told = (Path(__file__).parents[2] / "docs/json.md").read_text()
    state = State((node(1),))
    said = fleet.record(state, [Summary(REGION, 1, 1)], 0)

    keys = {*said, *said["nodes"][0], *said["regions"][0]}
    assert set() == {key for key in keys if f"`{key}`" not in told}


def test_a_summary_without_an_outage_says_so_in_json():
    record = Summary(REGION, 1, 2, down=("oms2",)).record()

    assert (["oms2"], None, None) == (record["down"], record["down_since"], record["down_seconds"])
