"""The time-series database on real servers: a real influxd, and metrics that come in or do not."""

from __future__ import annotations

import pytest

from omsfab.lab import influx
from omsfab.lab.system import private_file


@pytest.fixture(scope="module")
def fleet(make_fleet):
    """One node with OMS, whose agent has nothing to report, and InfluxDB on it."""
    fleet = make_fleet("tsdb", nodes=1)
    lab, made = fleet.lab, influx.build(lambda _: None)
    ip = lab.node("oms1").ip
    tsdb = {
        "service": "INFLUXDB",
        "url": f"{ip}:8086",
        "username": "oms metrics",
        "password": {"file": str(private_file(lab.directory / "tsdb", "it's $(not) plain é\n"))},
        "package": str(made.path),
        "image": made.tag,
    }
    lab.knob("oms1", NO_POINTS=1)
    for task in ("oms.deploy", "tsdb.deploy"):
        fleet.write(
            "hosts.yaml", f"http://{ip}:8088", ["oms1"], tsdb=tsdb if "tsdb" in task else None
        )
        said = fleet.fab(task, "--yes")
        assert said.status == 0, said
    return fleet


def test_metrics_that_do_not_arrive_are_told(fleet):
    """A warning with the address, since an idle OMS may write none; the run ends well."""
    said = fleet.fab("tsdb.enable", "--yes")

    assert said.status == 0, said
    assert "TSDB-007" in said.out
    assert f"no point of {fleet.lab.node('oms1').ip} within ten minutes" in said.out


def test_metrics_that_arrive_are_found(fleet):
    """The agent writes into a database that omsfab was never told of."""
    fleet.lab.knob("oms1", NO_POINTS=None)
    said = fleet.fab("tsdb.enable", "--yes")

    assert said.status == 0, said
    assert "TSDB-007" not in said.out
    assert "\u2713 metrics of every node arrive" in said.out
