"""docs/json.md holds what `--json` prints: each key of each task, and none that is not there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from omsfab.cli import fleet, rows, status
from omsfab.cli.fleet import Row, State
from omsfab.errors import Finding, PreflightError
from omsfab.fleet import hosts_file
from omsfab.fleet.values import CmUrl
from omsfab.run.record import local_lock
from omsfab.run.session import home_of
from omsfab.show.document import document, error_document
from tests.unit.test_looks_only import HOSTS, RUN, fab, place  # noqa: F401  # a fixture

TOLD = (Path(__file__).parents[2] / "docs" / "json.md").read_text()

FREE = {"args", "secrets", "fleet", "programs", "uptime_seconds", "says", "tables", "data"}
"""Keys whose value has keys of its own making."""


def documented(*heads):
    """The keys in the first column of the tables below these heads."""
    found = set()
    for head in heads:
        section = TOLD.split(f"\n## {head}\n")[1].partition("\n## ")[0]
        for line in section.splitlines():
            if line.startswith("| `"):
                found |= set(re.findall(r"`(\w+)`", line.split("|")[1]))
    return found


def keys(value):
    """All keys, of all objects in it."""
    if isinstance(value, list):
        return {key for each in value for key in keys(each)}
    if not isinstance(value, dict):
        return set()
    inner = {key for name, each in value.items() if name not in FREE for key in keys(each)}
    return {*value, *inner}


def printed(capsys, *words):
    fab(*words)
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line)


class MetaDb:
    """One region, with one host and its rows."""

    def one_look(self, tables):
        return self

    def exists(self):
        return True

    def clusters(self):
        url = CmUrl.read("http://10.0.0.1:8088")
        return (SimpleNamespace(code=1, region="cn-hangzhou", cm_url=url, is_default=True),)

    def hosts(self, code):
        return (SimpleNamespace(ip="10.0.0.1", status="ONLINE"),)

    def scope(self, location, tables):
        table = SimpleNamespace(table="host", rows=1)
        return SimpleNamespace(location=location, tables=(table,), stays=(), prose=("host: 1",))

    def lease_holder(self):
        return SimpleNamespace(
            run_id="r2", owner="li", since="then", expires="soon", live=True, idle=1.0
        )


@pytest.fixture
def answers(place, monkeypatch):  # noqa: F811
    """MetaDB and the nodes, as they would answer."""
    shell = SimpleNamespace(close=lambda: None)
    for module in (rows, status):
        monkeypatch.setattr(module.tunnel, "edge", lambda *_: MetaDb())
        monkeypatch.setattr(module.ssh, "connect", lambda *_, **__: {"oms1": shell})
    monkeypatch.setattr(status.claims, "held", lambda _: {"oms1": (RUN, "li", "then")})
    monkeypatch.setattr(fleet, "ask", lambda loaded: State((Row("oms1", "10.0.0.1", "x"),)))
    return place


@pytest.mark.parametrize(
    ("words", "heads"),
    [
        (("fleet.status", "--json"), ["fab fleet.status --json"]),
        (("fleet.show", "--json"), ["fab fleet.show --json"]),
        (("meta.show", "--json"), ["fab meta.show --json"]),
        (("run.list", "--json"), ["fab run.list --json"]),
    ],
)
def test_what_is_printed_is_what_is_documented(answers, capsys, words, heads):
    told = printed(capsys, *words)

    inner = {"ip", "status"} if "meta.show" in words else set()
    assert documented(*heads) | inner == keys(told)
    assert (1, str(HOSTS)) == (told["schema"], told["hosts_file"])


def test_a_run_that_is_shown_has_the_keys_of_the_list_and_its_own(answers, capsys):
    told = printed(capsys, "run.show", "--json")

    listed = documented("fab run.list --json") - {"runs"}
    assert documented("fab run.show --json") | listed == keys(told)


def test_all_holders_of_the_lock_are_told(answers, capsys):
    home = home_of(hosts_file.load(HOSTS))
    with local_lock.held(home, RUN, "li@jump1", "now"):
        told = printed(capsys, "lock.show", "--json")

    assert documented("fab lock.show --json") == keys(told)
    assert (RUN, "r2", RUN, None) == (
        told["jump_host"]["run"],
        told["metadb"]["run"],
        told["nodes"][0]["run"],
        told["nodes"][1]["run"],
    )


def test_a_secret_is_no_value(answers, capsys):
    assert "****" == printed(capsys, "fleet.show", "--json")["fleet"]["metadb"]["password"]


def test_an_error_is_an_object_too(answers, capsys):
    """On standard output, whichever task; the five parts stand on standard error as ever."""
    assert 2 == fab("run.show", "--run=nope", "--json")

    said = capsys.readouterr()
    told = json.loads(said.out)
    assert documented("An error with --json") == keys(told) | keys(
        json.loads(error_document(refused()))
    )
    assert (2, "INPUT-025", ["fab run.list"]) == (
        told["exit"],
        told["error"]["id"],
        told["error"]["next"],
    )
    assert "INPUT-025" in said.err


def refused():
    error = PreflightError("RUN-010", "x")
    error.findings = (Finding("HOST-010", "oms1", "x", "y"),)
    return error


def test_no_object_holds_what_a_terminal_would_obey():
    said = document(text="a\x1b]52;c;eA==\x07b\u202ec", runs=[{"owner": "\x9bx"}])

    assert {"schema": 1, "text": "abc", "runs": [{"owner": ""}]} == json.loads(said)
