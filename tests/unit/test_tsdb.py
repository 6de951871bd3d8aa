"""The time-series database: the vendor's flags, its password, and config.yaml everywhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from omsfab.command import shown
from omsfab.commands import influx, node_checks
from omsfab.errors import InputError, PreflightError
from omsfab.fleet.image_package import Package
from omsfab.fleet.model import Tsdb
from omsfab.fleet.oms_config import Drift
from omsfab.plan.observed import NodeFacts, Observed
from omsfab.plan.procedures import scale_out, tsdb
from omsfab.plan.records import Run, Write
from omsfab.run import resume
from omsfab.run.start import start
from omsfab.secret import Secret

IPS = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
PASSWORD = "it's \\ CANARY-9d1"
ID = "sha256:" + "12" * 32


@pytest.fixture
def measured(fleet):
    """The fleet with InfluxDB on oms3."""
    wanted = Tsdb(
        service="INFLUXDB", url="10.0.0.3:8086", username='a "b"', password=Secret(PASSWORD)
    )
    return fleet.model_copy(update={"tsdb": wanted})


@pytest.fixture
def running():
    """Three nodes that run without a time-series database."""
    facts = NodeFacts(
        container="running",
        cm_nodes=IPS,
        drift=(Drift("tsdb_enabled", "false", "true"), Drift("tsdb_url", "x", "y")),
    )
    return Observed(nodes={f"oms{n}": facts for n in (1, 2, 3)}, image=ID)


def test_the_flags_are_the_vendors(measured):
    """OMS docs, "Deploy a time-series database", word by word."""
    words = (
        "-p 8086:8086 -p 14444:14444 -v /data/influxdb:/var/lib/influxdb"
        " --env INFLUXDB_BIND_ADDRESS=127.0.0.1:14444 --env INFLUXDB_HTTP_AUTH_ENABLED=true"
        " --env INFLUXDB_HTTP_PING_AUTH_ENABLED=true --name=oms-influxdb"
    )

    assert words == " ".join(influx.flags(measured.tsdb))


def test_the_statement_is_quoted_and_comes_on_standard_input(measured):
    """Quotes and backslashes of user and password cannot end the statement's own."""
    made = influx.create_user(measured.tsdb)

    assert (
        'create user "a \\"b\\"" with password \'it\\\'s \\\\ CANARY-9d1\' with all privileges\n'
        == made.stdin.reveal()
    )
    assert "CANARY" not in shown(made) + repr(made.argv)


def test_a_login_has_no_password_in_its_words(measured):
    """`ps` on the node shows address and expected status, nothing else."""
    asked = influx.login(measured.tsdb)

    assert ("10.0.0.3", "8086", "200") == asked.argv[-3:]


def test_it_is_deployed_on_the_node_of_its_url(measured):
    """From its package, with authentication proven both ways."""
    package = Package("packages/influxdb_1.8.tar.gz", 1, "ef" * 32, ID)
    plan = tsdb.deploy(measured, Observed(package=package, image=ID))
    words = [e.command.argv for s in plan.steps for e in s.apply if isinstance(e, Run)]

    assert {"oms3"} == {step.node for step in plan.steps}
    assert any(argv[:2] == ("docker", "run") and argv[-1] == ID for argv in words)
    assert ["200", "401"] == [probe.command.argv[-1] for probe in plan.steps[-1].verify]


def test_ports_room_and_processor_are_asked_before_anything_is_sent(measured):
    """A port that is taken, another machine, a full disk: known before gigabytes travel."""
    package = Package("packages/influxdb_1.8.tar.gz", 1000, "ef" * 32, ID, "arm64")
    plan = tsdb.deploy(measured, Observed(package=package, image=ID))
    asked = [shown(probe.command) for s in plan.stages[0].steps for probe in s.verify]

    assert not any(step.apply for step in plan.stages[0].steps)
    assert any(words.endswith(" 8086 14444") for words in asked)
    assert any(words.endswith(" arm64") for words in asked)
    assert any(words.endswith(" 2500 /data 1000 /data/influxdb 200000000") for words in asked)


def test_a_database_that_runs_is_not_in_its_own_way(measured):
    """The second tsdb.deploy finds its own ports taken, and need not ask."""
    plan = tsdb.deploy(measured, Observed(image=ID))
    container = next(step for step in plan.steps if step.name == "container")

    assert container.check == plan.stages[0].steps[-1].check != ()


def test_without_a_package_the_key_of_its_own_part_is_named(measured):
    """tsdb.package, not oms.package."""
    plan = tsdb.deploy(measured, Observed(image="influxdb:1.8"))
    (asked,) = (step for step in plan.steps if step.name == "image")

    assert ("IMG-001", True) == (asked.fault, "tsdb.package in hosts.yaml" in asked.fix)


def test_an_image_that_the_package_lacks_is_told_by_its_own_key(measured, monkeypatch, tmp_path):
    """`fab --dry tsdb.deploy` reads the package of tsdb.package, and says so."""
    from omsfab.run.session import Flags, Session

    monkeypatch.setenv("OMSFAB_HOME", str(tmp_path))
    there = measured.tsdb.model_copy(update={"package": tmp_path / "influx.tar.gz"})
    session = Session(Flags(dry=True), measured.model_copy(update={"tsdb": there}))

    with pytest.raises(PreflightError, match="IMG-003") as caught:
        start(session, "tsdb.deploy")

    assert "tsdb.package in hosts.yaml" == caught.value.where


@pytest.mark.parametrize(
    ("id", "change"),
    [("TSDB-001", {"service": "CERESDB"}), ("TSDB-002", {"url": "10.9.9.9:8086"})],
)
def test_what_omsfab_does_not_deploy_is_said(measured, id, change):
    """CeresDB, and a database on a server that is no node."""
    fleet = measured.model_copy(update={"tsdb": measured.tsdb.model_copy(update=change)})

    with pytest.raises(InputError, match=id):
        tsdb.deploy(fleet, Observed(image=ID))


def test_every_node_gets_in_before_any_config_is_written(measured, running):
    """A node that cannot log in would restart its oms_drc_supervisor for ever (OMS docs)."""
    plan = tsdb.enable(measured, running)
    first = plan.stages[0]
    written = {s.node for s in plan.steps for e in s.apply if isinstance(e, Write)}

    assert {"oms1", "oms2", "oms3"} == {step.node for step in first.steps} == written
    assert not any(step.apply for step in first.steps)
    assert 1 == plan.stages[1].width


def test_ceresdb_is_enabled_as_far_as_it_can_be_asked(measured, running):
    """How it lets users in is not public: every node asks whether it listens, nothing more."""
    there = {"service": "CERESDB", "url": "tsdb.example:5440"}
    fleet = measured.model_copy(update={"tsdb": measured.tsdb.model_copy(update=there)})
    plan = tsdb.enable(fleet, running)
    asked = {
        s.node: [probe.command for probe in s.verify]
        for s in plan.stages[0].steps
        if s.name == "tsdb"
    }
    written = [e.content.reveal() for s in plan.steps for e in s.apply if isinstance(e, Write)]

    assert {f"oms{n}": [node_checks.connects("tsdb.example", 5440)] for n in (1, 2, 3)} == asked
    assert 3 == len(written) == sum('tsdb_service: "CERESDB"' in text for text in written)
    assert "tsdb-points" not in {step.name for step in plan.steps}


def test_nothing_else_changes_along_the_way(measured, running):
    """A config.yaml that differs in more than tsdb_* is brought to hosts.yaml by scale.out."""
    other = NodeFacts(container="running", cm_nodes=IPS, drift=(Drift("cm_url", "a", "b"),))

    with pytest.raises(PreflightError, match="CFG-012") as caught:
        tsdb.enable(measured, Observed(nodes={**running.nodes, "oms2": other}))

    assert "oms2: cm_url: a -> b" in caught.value.evidence


def test_a_node_that_waits_to_join_is_named(measured, running):
    """It has no container yet; cm_nodes of the others are those that run."""
    nodes = {
        name: NodeFacts(container="running", cm_nodes=IPS[:2], drift=facts.drift)
        for name, facts in running.nodes.items()
    }
    plan = tsdb.enable(measured, Observed(nodes={**nodes, "oms3": NodeFacts()}))

    assert "oms3 has no container: it gets this when it joins" in plan.reasons
    assert "oms3" not in {step.node for step in plan.steps}


def test_enabled_twice_changes_nothing(measured, running):
    """The second time every config.yaml has it."""
    same = {name: NodeFacts(container="running", cm_nodes=IPS) for name in running.nodes}

    assert not tsdb.enable(measured, Observed(nodes=same)).changes


def test_a_joining_node_must_get_in_first(measured, package, present):
    """scale.out asks every node it touches before anything is staged."""
    plan = scale_out.scale_out(measured, present(package))

    assert {"oms1", "oms2", "oms3"} == {s.node for s in plan.stages[0].steps if s.name == "tsdb"}


def test_a_scale_out_without_a_new_node_asks_for_the_database_as_well(measured, running):
    """R2.6: `tsdb:` in hosts.yaml with nothing behind it went into three config.yaml, exit 0."""
    region = measured.regions[0]
    now = replace(
        running,
        clusters={region.location: region.cm_url},
        hosts=dict.fromkeys(IPS, "ONLINE"),
        nodes={
            name: replace(facts, host_ip=f"10.0.0.{name[-1]}")
            for name, facts in running.nodes.items()
        },
    )
    plan = scale_out.scale_out(measured, now)
    written = {s.node for s in plan.steps for e in s.apply if isinstance(e, Write)}

    assert {"oms1", "oms2", "oms3"} == written
    assert written == {s.node for s in plan.stages[0].steps if s.name == "tsdb"}
    assert not any(step.apply for step in plan.stages[0].steps)


def test_without_a_database_there_is_nothing_to_do(fleet):
    """The guide: optional.  What to write is said."""
    with pytest.raises(InputError, match="TSDB-005"):
        tsdb.enable(fleet, Observed())


def test_a_resumed_run_keeps_the_package_of_its_own_part(measured, monkeypatch, tmp_path):
    """tsdb.deploy sent InfluxDB's package; that of OMS stands in hosts.yaml as well."""
    from omsfab.plan.procedures.registry import TASKS
    from omsfab.run.session import Flags, Session

    monkeypatch.setenv("OMSFAB_HOME", str(tmp_path))
    both = measured.model_copy(
        update={
            "install": measured.install.model_copy(update={"package": Path("/p/oms.tar.gz")}),
            "tsdb": measured.tsdb.model_copy(update={"package": Path("/here/influx.tar.gz")}),
        }
    )
    session = Session(Flags(), both)
    there = Observed(package=Package("/there/influx.tar.gz", 1, "ef" * 32, ID))

    moved = resume._with_package(session, TASKS["tsdb.deploy"], there)

    assert "/here/influx.tar.gz" == moved.package.path
