"""cm_url as a value: read once, compared by its parts, looked for in what a row carries."""

from __future__ import annotations

import json

import pytest

from omsfab.fleet.values import CmUrl
from omsfab.plan.observed import Observed

OLD, NEW = CmUrl("10.0.0.1", 8088), CmUrl("vip.example", 8088)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://10.0.0.100:8088", "http://10.0.0.100:8088/", True),
        ("http://VIP.example:8088", " http://vip.example:8088", True),
        ("http://10.0.0.1:8088", "http://10.0.0.100:8088", False),
        ("http://10.0.0.10:8088", "http://10.0.0.100:8088", False),
        ("http://10.0.0.100:8089", "http://10.0.0.100:8088", False),
        ("https://10.0.0.100:8088", "http://10.0.0.100:8088", False),
        ("http://10.0.0.100:8088/cm", "http://10.0.0.100:8088", False),
        ("http://10.0.0.100", "http://10.0.0.100:80", True),
        ("http://10.0.0.100:80888", "http://10.0.0.100:8088", False),
        ("http://[10.0.0.100:8088", "http://10.0.0.100:8088", False),
        ("", "http://10.0.0.100:8088", False),
    ],
)
def test_cm_urls_are_compared_by_their_parts(one, other, same):
    """Scheme, host, port and path count; a trailing slash does not, a substring never.  A row may
    hold what is no URL at all."""
    assert same is CmUrl.read(one).same_as(CmUrl.read(other))


def test_equal_are_two_that_are_written_alike():
    """A slash that a DBA has taken away since is a change, though it means the same."""
    assert CmUrl("10.0.0.1", 8088) == CmUrl.read("http://10.0.0.1:8088")
    assert CmUrl("10.0.0.1", 8088) != CmUrl.read("http://10.0.0.1:8088/")


@pytest.mark.parametrize("text", ["", "nonsense", " HTTP://A:1/ ", "http://[10.0.0.1:8088", "a:b"])
def test_what_stands_in_a_row_is_shown_as_it_is(text):
    """A DBA looks for what is there, and not for what omsfab makes of it."""
    assert text == str(CmUrl.read(text))


@pytest.mark.parametrize(
    ("value", "after"),
    [
        ("http://10.0.0.1:8088", "http://vip.example:8088"),
        ("at 10.0.0.1:8088.", "at vip.example:8088."),
        ("HTTP://10.0.0.1:8088/a, 10.0.0.1:8088", "http://vip.example:8088/a, vip.example:8088"),
        ("110.0.0.1:8088", "110.0.0.1:8088"),
        ("10.0.0.1:80880", "10.0.0.1:80880"),
        ("10.0.0.1:8089", "10.0.0.1:8089"),
        ("10.0.0.1", "10.0.0.1"),
        ("10x0x0x1:8088", "10x0x0x1:8088"),
    ],
)
def test_a_text_that_carries_the_url_gets_the_new_one(value, after):
    """Host and port as a whole, with the scheme or without; what only looks like it stays."""
    assert after == OLD.replaced_in(value.encode(), NEW).decode()
    assert (value != after) is OLD.carried_by(value.encode())


@pytest.mark.parametrize(
    ("value", "carried"),
    [("http://a.example", True), ("a.example:80", True), ("a.example:8088", False)],
)
def test_the_usual_port_may_be_left_out(value, carried):
    """http://a.example is its port 80, and no other one."""
    assert carried is CmUrl.read("http://a.example/").carried_by(value.encode())


@pytest.mark.parametrize("text", ["", "nonsense", "http://[10.0.0.1:8088", "http://"])
def test_what_is_no_url_is_carried_by_nothing(text):
    """By it rows are chosen that are to be deleted: an empty cm_url must not choose them all."""
    url = CmUrl.read(text)

    assert not url.carried_by(b"http://10.0.0.1:8088 nonsense http://")
    assert b"nonsense" == url.replaced_in(b"nonsense", NEW)


def test_a_record_of_a_run_has_it_as_text():
    """run.json is read by other versions of omsfab, and by people."""
    record = json.loads(json.dumps(Observed(clusters={1: CmUrl.read("http://A:1/")}).record()))

    assert {"1": "http://A:1/"} == record["clusters"]
    assert CmUrl.read("http://A:1/") == Observed.of(record).clusters[1]
