"""OMS before 4.2.11 has no health page that anybody documents: its absence is no illness."""

from __future__ import annotations

import pytest

from omsfab.command import Command
from omsfab.commands import files, oms
from omsfab.fleet.model import Install
from omsfab.plan.records import Healthy, IsOms
from omsfab.run.engine.interpreter import Interpreter
from omsfab.ssh.protocol import Result

PAGE = files.http_get("http://10.0.0.1:8089/oms/health")
CM = files.http_get("http://10.0.0.1:8088/")
FIRST_PAGE = "<!DOCTYPE html><html><body>OMS</body></html>"
NOT_FOUND = "<html><h1>404 Not Found</h1></html>"
BAD_GATEWAY = "<html><h1>502 Bad Gateway</h1></html>"


class Node:
    """A node whose health page and whose CM answer so."""

    def __init__(self, page: Result, cm: int) -> None:
        self.page, self.cm = page, cm

    def run(self, command: Command, *_: object) -> Result:
        return self.page if command == PAGE else Result(self.cm, "", "refused" if self.cm else "")


def asked(tmp_path, page: Result, cm: int, *, known: bool = False) -> tuple[str | None, list[str]]:
    told: list[str] = []
    site = Interpreter("r", tmp_path, {"oms1": Node(page, cm)}, None)
    probe = Healthy(PAGE, None if known else CM)
    return site.ask(probe, "oms1", lambda kind, text, *_: told.append(text)), told


@pytest.mark.parametrize("page", [Result(44, NOT_FOUND, ""), Result(0, FIRST_PAGE, "")])
def test_where_there_is_no_health_page_that_of_cm_counts(tmp_path, page):
    """404, or the console's first page for any address: CM answers, and that is told."""
    why, told = asked(tmp_path, page, 0)

    assert None is why
    assert ["there is no health page, as before 4.2.11: the page of CM answers instead"] == told


@pytest.mark.parametrize(
    ("page", "cm"),
    [
        (Result(44, NOT_FOUND, ""), 7),  # neither page
        (Result(22, BAD_GATEWAY, ""), 0),  # the console is not up yet
        (Result(22, '{"data":{"healthy":false}}', ""), 0),
        (Result(0, '{"data":{"healthy":false}}', ""), 0),
        (Result(7, "", "connection refused"), 0),
    ],
)
def test_what_is_there_and_does_not_say_healthy_is_not(tmp_path, page, cm):
    """CM stands in for a page that is absent, never for one that says no or does not come."""
    why, told = asked(tmp_path, page, cm)

    assert why is not None
    assert [] == told


def test_an_image_that_has_the_page_is_asked_for_nothing_else(tmp_path):
    """From 4.2.11 on the first page of a console that starts up is not taken for health."""
    why, _ = asked(tmp_path, Result(0, FIRST_PAGE, ""), 0, known=True)

    assert why is not None


@pytest.mark.parametrize(
    ("tag", "another"), [("4.2.7_ce", True), ("4.2.11_ce", False), ("4.2.12_ce", False)]
)
def test_the_version_says_whether_another_page_may_count(tag, another):
    """Only the vendor's deployer names the page, for 4.2.11 and newer."""
    install = Install(image=f"example.com/oms:feature_{tag}", container="oms")

    assert another == (oms.page_of_cm("10.0.0.1", install) is not None)


@pytest.mark.parametrize(
    ("page", "cm", "is_oms"),
    [
        (Result(22, '{"data":{"healthy":false}}', ""), 7, True),  # its MetaDB is away, say
        (Result(0, '{"data":{"healthy":true}}', ""), 7, True),
        (Result(0, FIRST_PAGE, ""), 0, True),
        (Result(0, FIRST_PAGE, ""), 7, False),
        (Result(0, '{"data":{}}', ""), 7, False),
        (Result(7, "", "connection refused"), 7, False),
    ],
)
def test_an_oms_that_is_ill_is_one_all_the_same(tmp_path, page, cm, is_oms):
    """R2b.6: VIP-002 said of a MetaDB that is away that something else was behind the VIP."""
    site = Interpreter("r", tmp_path, {"oms1": Node(page, cm)}, None)

    assert is_oms is (site.ask(IsOms(PAGE, CM), "oms1") is None)
