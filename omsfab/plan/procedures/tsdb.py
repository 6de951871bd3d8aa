"""The time-series database: deployed on a node, and brought into every region's config.yaml.

Source: OMS docs "Deploy a time-series database", and the guide's tsdb_* parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from omsfab.commands import docker, influx, node_checks
from omsfab.errors import InputError, PreflightError
from omsfab.fleet.model import Fleet, Node, Tsdb
from omsfab.next_line import fab
from omsfab.plan import questions, step_names, steps
from omsfab.plan.observed import Observed
from omsfab.plan.procedures import regions, scale_out
from omsfab.plan.procedures.declared import procedure
from omsfab.plan.records import Await, ExitsZero, OutputIs, Plan, Run, Stage, Step


@procedure("tsdb.deploy", "fleet", package=True, tsdb=True, lease=True)
def deploy(fleet: Fleet, present: Observed) -> Plan:
    """Run InfluxDB in docker on the node that tsdb.url names, with authentication and its user."""
    tsdb = _wanted(fleet)
    node = host_of(fleet, tsdb)
    runs = OutputIs(docker.state(influx.CONTAINER), f"{influx.spec(tsdb, present.image)} true")
    ready = steps.ready_for_tsdb(node, tsdb, present.package, runs)
    above = str(PurePosixPath(tsdb.data).parent)
    loaded = steps.loaded(node, tsdb.image, present.image, present.package, above, "tsdb")
    return Plan(
        "tsdb.deploy",
        f"run {influx.CONTAINER} on {node.name}, {tsdb.url}",
        ("OMS docs: one InfluxDB for the whole of OMS, with authentication, on one server",),
        (
            Stage("preflight", (steps.docker_answers(node), ready)),
            Stage("stage the database", (_directory(tsdb, node), loaded)),
            Stage("run the database", (_runs(tsdb, node, present, runs), _user(tsdb, node))),
        ),
    )


def _directory(tsdb: Tsdb, node: Node) -> Step:
    place = (str(PurePosixPath(tsdb.data)),)
    return Step(
        name="directories",
        node=node.name,
        title=f"make {tsdb.data}",
        check=(ExitsZero(node_checks.directories(*place), "missing"),),
        apply=(Run(node_checks.make_directories(*place)),),
        verify=(ExitsZero(node_checks.directories(*place), "missing"),),
    )


def _runs(tsdb: Tsdb, node: Node, present: Observed, runs: OutputIs) -> Step:
    answers = ExitsZero(node_checks.connects(tsdb.host, tsdb.port), "InfluxDB does not listen")
    pull_flag = present.facts(node.name).pull_flag
    return Step(
        name=step_names.CONTAINER,
        node=node.name,
        title=f"run {influx.CONTAINER} from {tsdb.image}",
        check=(runs,),
        apply=(Run(influx.run(tsdb, present.image, pull_flag=pull_flag)),),
        verify=(runs, Await(answers, limit=60)),
        fault="TSDB-003",
        fix=f"docker logs {influx.CONTAINER} on {node.name} says why",
    )


def _user(tsdb: Tsdb, node: Node) -> Step:
    login = ExitsZero(influx.login(tsdb), "the user does not get in")
    return Step(
        name="user",
        node=node.name,
        title=f"make user {tsdb.username} with all privileges",
        check=(login,),
        apply=(Run(influx.create_user(tsdb), any_status=True),),
        verify=(login, ExitsZero(influx.login(tsdb, stranger=True), "authentication is off")),
        fault="TSDB-004",
        fix="if that user is there already, write its password into hosts.yaml",
    )


@procedure("tsdb.enable", "fleet", lease=True)
def enable(fleet: Fleet, present: Observed) -> Plan:
    """Bring the time-series database into every region's config.yaml; every node logs in first."""
    tsdb = _wanted(fleet)
    there = [
        n for n in fleet.nodes if present.assumed or present.facts(n.name).container != "absent"
    ]
    if not there:
        raise PreflightError(
            "PLAN-013", "no node runs OMS yet", where="all nodes", next=fab("oms.deploy", plan=True)
        )
    plans = scale_out.changed_config(fleet, present, there, only="tsdb_")
    touched = [node for node in there if node.name in plans.drifts]
    waiting = [node for node in fleet.nodes if node not in there]
    return Plan(
        "tsdb.enable",
        f"metrics of {regions.names(there)} to {tsdb.service} at {tsdb.url}",
        (
            "guide: tsdb_enabled is false by default; with true, url, user and password count",
            *(f"{node.name} has no container: it gets this when it joins" for node in waiting),
            *plans.reasons,
            *(() if plans.steps else ("nothing to do: every config.yaml has it",)),
        ),
        (
            Stage(
                "every node gets in, and takes its config.yaml",
                (
                    *(steps.tsdb_login(tsdb, node) for node in there),
                    *questions.to_change(fleet, touched, present),
                ),
                gather=True,
            ),
            *scale_out.one_at_a_time("config.yaml and components, 1 node at a time", plans.steps),
            _serving(fleet, tsdb, there),
        ),
    )


def _serving(fleet: Fleet, tsdb: Tsdb, there: Sequence[Node]) -> Stage:
    running = (
        step
        for node in there
        for step in (steps.programs_run(fleet, node), steps.healthy(fleet, node))
    )
    return Stage("final verification", (*running, *steps.tsdb_points(tsdb, there[0], there)))


def host_of(fleet: Fleet, tsdb: Tsdb) -> Node:
    """Return the node on which the database is to run."""
    if tsdb.service != "INFLUXDB":
        raise InputError(
            "TSDB-001",
            f"{tsdb.service} is not deployed by omsfab",
            where="tsdb.service",
            evidence="OMS docs deploy InfluxDB 1.8 in docker; any other service is brought along",
            next=fab("tsdb.enable", plan=True),
        )
    for node in fleet.nodes:
        if node.ip == tsdb.host:
            return node
    raise InputError(
        "TSDB-002",
        f"tsdb.url is {tsdb.url}, which is no node of hosts.yaml",
        where="tsdb.url",
        evidence="InfluxDB runs in docker on one of: "
        + ", ".join(f"{node.name} ({node.ip})" for node in fleet.nodes),
        next=fab("tsdb.enable", plan=True, note="if the database runs there already"),
    )


def _wanted(fleet: Fleet) -> Tsdb:
    if fleet.tsdb is None:
        raise InputError(
            "TSDB-005",
            "hosts.yaml has no time-series database",
            where="tsdb",
            evidence="guide: optional; needed to collect and show metrics of OMS",
            next=fab(
                "fleet.schema", note="then write service, url, username and password under tsdb"
            ),
        )
    return fleet.tsdb
