"""Rows on real servers: each manner of an initialisation, references, foreign keys, late writers.

One node, two with the VIP; what the rows are is asked past omsfab.  run.undo after both ways.
"""

from __future__ import annotations

import pytest

from tests.lab.marks import LONG
from tests.lab.oracle import Fleet

TABLES = ("oms_rm.cluster_info", "oms_cm.resource_group", "oms_cm.host", "oms_cm.location_cm")
IDENTITY = (
    "select id, code, region, cm_url from oms_rm.cluster_info order by id",
    "select id, name from oms_cm.resource_group order by id",
    "select id, ip, resource_group_id from oms_cm.host order by id",
)
OPEN_ROLLBACK = 8


@pytest.fixture(scope="module")
def fleet(make_fleet) -> Fleet:
    fleet = make_fleet("rows", nodes=2, metadb="mariadb")
    said = fleet.fab("oms.deploy", "--yes", hosts="initial.yaml")
    assert said.status == 0, said
    return fleet


@pytest.fixture(scope="module")
def on_engine(make_fleet, fleet):
    """The fleet on this MetaDB; one is made for each that is asked for."""
    fleets = {"mariadb": fleet}

    def on(engine: str) -> Fleet:
        if engine not in fleets:
            other = make_fleet(f"rows-{engine}", nodes=2, metadb=engine)
            said = other.fab("oms.deploy", "--yes", hosts="initial.yaml")
            assert said.status == 0, said
            fleets[engine] = other
        return fleets[engine]

    return on


def shaped(fleet: Fleet, **knobs: object) -> None:
    """These knobs and no others, on both nodes, and the tables as they say."""
    names = (
        "ROWS",
        "REFERENCES",
        "FOREIGN_KEYS",
        "MOVING_COLUMNS",
        "NO_LOCATION_CM",
        "LATE_WRITER",
    )
    for node in fleet.lab.nodes:
        fleet.lab.knob(node.name, **{**dict.fromkeys(names), **knobs})
    fleet.shape("oms1")


def identity(fleet: Fleet) -> list[list[tuple[object, ...]]]:
    return [fleet.lab.sql(text) for text in IDENTITY]


def rolled_back(fleet: Fleet) -> None:
    said = fleet.fab("run.undo", "--yes")
    assert said.status in (0, OPEN_ROLLBACK), said


@pytest.mark.parametrize(
    ("manner", "way"),
    [
        ("rewrite", "update"),
        ("add", "delete"),
        pytest.param("keep", "delete", marks=LONG),
        pytest.param("keep", "update", marks=LONG),
        pytest.param("rewrite", "delete", marks=LONG),
        pytest.param("add", "update", marks=LONG),
    ],
)
def test_each_manner_of_an_initialisation_ends_in_service(fleet, manner, way):
    """Whatever docker_init.sh does with rows that are there; and the rollback puts rows back."""
    shaped(fleet, ROWS=manner, MOVING_COLUMNS=1)
    before = identity(fleet)

    said = fleet.fab("scale.out", f"--rows={way}", "--yes")
    url = fleet.cm_urls()[1]
    online = set(fleet.hosts().values())
    rolled_back(fleet)

    assert said.status == 0, said
    assert f"http://{fleet.lab.vip}:8088" == url
    assert {"ONLINE"} == online
    assert before[0] == identity(fleet)[0]
    assert {row[:2] for row in before[1]} <= {row[:2] for row in identity(fleet)[1]}


@pytest.mark.parametrize(
    "engine", ["mariadb", *(pytest.param(one, marks=LONG) for one in ("oceanbase", "mysql"))]
)
def test_references_are_counted_and_an_update_keeps_what_they_refer_to(on_engine, engine):
    """The plan names table.column and rows; after --rows=update nothing dangles, nor after undo."""
    fleet = on_engine(engine)
    shaped(fleet, REFERENCES=1)
    before = identity(fleet)

    planned = fleet.fab("scale.out", "--plan", "--verbose")
    said = fleet.fab("scale.out", "--rows=update", "--yes")
    after = identity(fleet)
    rolled_back(fleet)

    assert "refers to host.id" in planned.out
    assert "refers to resource_group.id" in planned.out
    assert "--rows=update --plan" in planned.out
    assert said.status == 0, said
    assert {*before[1]} <= {*after[1]}
    assert {*before[2]} <= {*after[2]}
    assert before == identity(fleet)


@pytest.mark.parametrize(
    "engine", ["mariadb", *(pytest.param(one, marks=LONG) for one in ("oceanbase", "mysql"))]
)
def test_rows_that_were_deleted_are_made_anew_and_put_back(on_engine, engine):
    """The way of the guide, on each engine: the VIP in service, and run.undo brings every row back
    as it was, ids included."""
    fleet = on_engine(engine)
    shaped(fleet, MOVING_COLUMNS=1)
    before = identity(fleet)

    said = fleet.fab("scale.out", "--yes")
    url = fleet.cm_urls()[1]
    rolled_back(fleet)

    assert said.status == 0, said
    assert f"http://{fleet.lab.vip}:8088" == url
    assert before == identity(fleet)


def test_after_a_delete_what_refers_to_former_ids_is_told(fleet):
    """The ids are others: told with the SQL that mends it; the rollback brings the former ones."""
    shaped(fleet, REFERENCES=1)
    before = identity(fleet)

    said = fleet.fab("scale.out", "--yes")
    rolled_back(fleet)

    assert said.status == 0, said
    assert "DB-043" in said.out
    assert "-mend.sql" in said.out
    assert before == identity(fleet)


def test_keys_that_restrict_are_refused_before_the_outage(fleet):
    """No 1451 with production stopped: exit 3, and the other way goes through, back as well."""
    shaped(fleet, FOREIGN_KEYS="restrict")
    before = identity(fleet)

    refused = fleet.fab("scale.out", "--yes")
    running = fleet.programs("oms1")
    said = fleet.fab("scale.out", "--rows=update", "--yes")
    rolled_back(fleet)

    assert (3, True) == (refused.status, "DB-042" in refused.out), refused
    assert {"RUNNING"} == running
    assert said.status == 0, said
    assert before == identity(fleet)


def test_a_late_writer_keeps_docker_init_from_running(fleet):
    """Rows that come back are told, docker_init.sh does not run; rolled back, production is up."""
    before, inits = fleet.cm_urls(), fleet.inits()
    shaped(fleet, LATE_WRITER=1)
    fleet.docker("oms1", "restart", "oms_427")  # which puts the tables into their shape again

    said = fleet.fab("scale.out", "--yes")
    ran = fleet.inits()
    shaped(fleet)
    rolled_back(fleet)

    assert said.status not in (0, 9), said
    assert inits == ran
    assert before == fleet.cm_urls()
    assert {"RUNNING"} == fleet.programs("oms1")
