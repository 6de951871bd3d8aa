"""Repairs on single nodes: small plans out of the same steps, through the same runner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from omsfab.commands import docker, node_checks, supervisor
from omsfab.errors import InputError, Next, PreflightError
from omsfab.fleet import oms_config
from omsfab.fleet.model import Fleet, Node
from omsfab.next_line import fab, meant, nearest, plus
from omsfab.plan import questions, step_names, steps
from omsfab.plan.observed import Observed
from omsfab.plan.procedures import refusals
from omsfab.plan.procedures.declared import procedure
from omsfab.plan.records import Await, ExitsZero, OutputIs, Plan, Programs, Run, Stage, Step


def nodes_named(fleet: Fleet, text: str, again: Next, flag: str = "node") -> tuple[Node, ...]:
    """Return the nodes named or addressed in a comma separated list; ``again`` is the task at
    hand, to which an error adds a node."""
    wanted = [word.strip() for word in text.split(",") if word.strip()]
    found = [node for node in fleet.nodes for word in wanted if word in (node.name, node.ip)]
    known = {word for node in found for word in (node.name, node.ip)}
    missing = [word for word in wanted if word not in known]
    if missing or not wanted:
        raise InputError(
            "INPUT-022",
            f"hosts.yaml has no node {', '.join(missing)}" if missing else "no node was named",
            where="--node or -H" if flag == "node" else "--from",
            evidence="there are: " + ", ".join(f"{n.name} ({n.ip})" for n in fleet.nodes),
            **meant(missing, [n.name for n in fleet.nodes]),
            next=plus(again, **{flag: _corrected(wanted, fleet) or fleet.nodes[0].name}),
        )
    return tuple(dict.fromkeys(found))


def _corrected(wanted: Sequence[str], fleet: Fleet) -> str:
    """The list as it was probably meant, or ""."""
    names = [word for node in fleet.nodes for word in (node.name, node.ip)]
    near = [word if word in names else nearest(word, names) for word in wanted]
    return ",".join(near) if all(near) else ""


def _plan(
    verb: str,
    fleet: Fleet,
    node: str,
    build: Callable[[Node], tuple[Step, ...]],
    width: int = 0,
    touches: Observed | None = None,
    asked: Callable[[Sequence[Node]], tuple[Step, ...]] = lambda nodes: (),
) -> Plan:
    """``verb``: what the task is called behind ``node.``.  ``touches``: the running containers of
    this Observed are changed, or their programs are, so no docker_init.sh may run there; asked
    under the claim, for somebody may have begun one.  ``asked`` as well of all nodes, before
    anything is changed on any of them."""
    task = f"node.{verb}"
    nodes = nodes_named(fleet, node, fab(task))
    work = Stage(task, tuple(step for one in nodes for step in build(one)), width=width)
    running = [n for n in nodes if touches and touches.facts(n.name).container == "running"]
    before = (*(_no_init_runs(fleet, one) for one in running), *asked(nodes))
    stages = (Stage("preflight", before, gather=True), work) if before else (work,)
    return Plan(task, f"{verb} {', '.join(one.name for one in nodes)}", (), stages)


def _no_init_runs(fleet: Fleet, node: Node) -> Step:
    """The line that goes on is the task itself, once docker_init.sh has come to its end."""
    wait = fab("node.status", node=node.name, note="wait for its end; then the same line again")
    return replace(steps.no_init_runs(fleet, node), fix=str(wait))


def _config(fleet: Fleet, present: Observed, node: Node) -> Step:
    refusals.config_kept(fleet, (node,), present)
    content = oms_config.render(fleet, fleet.region_of(node))
    step = steps.config(fleet, content, node, present.facts(node.name))
    note = "if its container sees the former file: a restart mounts the one of now"
    return replace(step, fix=str(fab("node.restart", node=node.name, note=note)))


@procedure("node.push-config", "node", undoable=True)
def push_config(fleet: Fleet, present: Observed, *, node: str) -> Plan:
    """Write config.yaml from hosts.yaml, in place, previous version backed up.

    The components do not read it until they are told, or the next docker_init.sh.
    """
    plan = _plan(
        "push-config",
        fleet,
        node,
        lambda one: (_config(fleet, present, one),),
        touches=present,
        asked=lambda nodes: questions.to_change(fleet, nodes, present),
    )
    told = fab("node.refresh", node=node)
    return replace(plan, reasons=(f"OMS goes on with the former values until {told}",))


@procedure("node.push-certs", "node")
def push_certs(fleet: Fleet, present: Observed, *, node: str) -> Plan:
    """Bring certificate and key of hosts.yaml to the nodes, checked; nginx reads them anew."""

    def build(one: Node) -> tuple[Step, ...]:
        region, facts = fleet.region_of(one), present.facts(one.name)
        if region.https is None:
            raise InputError(
                "CERT-004",
                f"region {region.name} has no certificate in hosts.yaml",
                where=f"regions.{region.name}.https",
                evidence="guide, docker run: certificate and key, both or none",
                fix="write https.crt and https.key of that region into hosts.yaml",
            )
        runs = facts.container == "running"
        if runs and facts.image and not any(b.endswith(docker.CERTIFICATE) for b in facts.binds):
            raise PreflightError(
                "CERT-005",
                f"the container on {one.name} was started without a certificate",
                where=one.name,
                evidence="mounts of a container never change (guide, notice at the mount"
                " directories): it would have to be removed and run again",
                next=fab("fleet.check", region=region.name),
            )
        shown = present.pair(region).shown
        serve = (_starting(steps.serve_certificate(fleet, one)), steps.healthy(fleet, one, shown))
        return (*steps.certificate(fleet, region, one, present), *(serve if runs else ()))

    return _plan("push-certs", fleet, node, build, width=1, touches=present)


@procedure("node.load-image", "node", package=True)
def load_image(fleet: Fleet, present: Observed, *, node: str) -> Plan:
    """Send the package and load it, where the image id is missing.

    It lies beside the mount directories.
    """
    return _plan(
        "load-image",
        fleet,
        node,
        lambda one: (
            steps.directories(fleet, one),
            steps.image(fleet, one, present.image, present.package),
        ),
    )


def _foreign(fleet: Fleet, present: Observed, node: Node) -> bool:
    """Whether there is a container that omsfab has not made as it would make it now."""
    facts = present.facts(node.name)
    wanted = docker.spec(node, fleet.install_of(node), present.image)
    return facts.container in ("running", "stopped") and facts.spec != wanted


@procedure("node.run", "node", package=True, any_dates=True, undoable=True)
def run(fleet: Fleet, present: Observed, *, node: str) -> Plan:
    """Run the OMS container with the guide's flags: directories, image, config, docker run.

    ``docker run`` would fail where a container of the name is already, so one that somebody else
    made, with the mounts and the address of hosts.yaml, is left as it is and started if it is down.
    """

    def container(one: Node) -> Step:
        step = steps.container(fleet, one, present.image, present.facts(one.name))
        if not _foreign(fleet, present, one):
            return step
        name = fleet.install.container
        runs = OutputIs(docker.running(name), "true")
        stays = ExitsZero(node_checks.stays_up(name), "it ended")
        start = Run(docker.start(name), programs="start")
        return replace(
            step, title=f"{name} runs", check=(runs,), apply=(start,), verify=(stays, runs)
        )

    plan = _plan(
        "run",
        fleet,
        node,
        lambda one: (
            steps.directories(fleet, one),
            steps.image(fleet, one, present.image, present.package),
            _config(fleet, present, one),
            *steps.certificate(fleet, fleet.region_of(one), one, present),
            container(one),
        ),
        touches=present,
        asked=lambda nodes: questions.to_change(fleet, nodes, present),
    )
    there = [
        one.name
        for one in nodes_named(fleet, node, fab("node.run"))
        if _foreign(fleet, present, one)
    ]
    note = f"{', '.join(there)}: the container there was made by someone else, or with other flags"
    return replace(plan, reasons=(f"{note}; it is left as it is",)) if there else plan


@procedure("node.stop", "node")
def stop(fleet: Fleet, present: Observed, *, node: str) -> Plan:
    """Stop all processes in the container (supervisorctl stop all)."""

    def build(one: Node) -> tuple[Step, ...]:
        return (steps.stop_processes(fleet, one), steps.left_over(fleet, one))

    return _plan("stop", fleet, node, build, touches=present)


@procedure("node.start", "node")
def start(fleet: Fleet, present: Observed, *, node: str) -> Plan:
    """Start the container if it is stopped, then all processes in it."""
    container = fleet.install.container
    runs = OutputIs(docker.running(container), "true")
    status = supervisor.status(container)
    every = Programs(status)
    programs = Await(Programs(status, names=supervisor.PROGRAMS, known=True), limit=180)

    def build(one: Node) -> tuple[Step, ...]:
        return (
            Step(
                step_names.START_CONTAINER,
                one.name,
                f"start {container}",
                check=(runs,),
                apply=(Run(docker.start(container), programs="start"),),
                verify=(runs,),
                fault="RUN-004",
            ),
            Step(
                step_names.START_PROCESSES,
                one.name,
                f"start all processes in {container}",
                check=(every,),
                apply=(Run(supervisor.start_all(container), any_status=True, programs="start"),),
                verify=(programs,),
                fault="RUN-003",
            ),
            steps.programs_all(fleet, one),
        )

    return _plan("start", fleet, node, build, touches=present)


@procedure("node.restart", "node")
def restart(fleet: Fleet, present: Observed, *, node: str) -> Plan:
    """Restart the container, one node at a time.

    No check: a restart is always wanted.  A program that does not start with its container
    (autostart=false) is started, if it ran before; where nothing ran, all of them are.
    """
    container = fleet.install.container
    answers = Await(ExitsZero(supervisor.answers(container), "supervisord is silent"), limit=60)

    def build(one: Node) -> tuple[Step, ...]:
        return (
            Step(
                step_names.RESTART,
                one.name,
                f"restart {container}",
                apply=(Run(docker.restart(container), programs="restart"),),
                verify=(answers,),
                fault="RUN-004",
                fix=str(fab("node.logs", node=one.name)),
            ),
            _starting(steps.start_processes(fleet, one, present.facts(one.name))),
            steps.programs_all(fleet, one),
        )

    return _plan("restart", fleet, node, build, width=1, touches=present)


def _starting(step: Step) -> Step:
    """A program that does not run then (RUN-003) is started alone: the same task once more would
    stop all others again."""
    look = fab("node.logs", node=step.node, note="why a program does not start")
    start = fab("node.start", node=step.node, note="starts what does not run by itself")
    return replace(step, fix=str(look), next=start)


@procedure("node.initialise", "node", lease=True)
def initialise(fleet: Fleet, present: Observed, *, node: str) -> Plan:
    """Run docker_init.sh detached and follow it until its banner.

    Whether the node was initialised before or not.
    """
    return _plan(
        "initialise",
        fleet,
        node,
        lambda one: (
            steps.initialise(fleet, fleet.region_of(one), one, again=True),
            steps.programs_run(fleet, one, present.facts(one.name)),
            steps.programs_all(fleet, one),
            steps.healthy(fleet, one),
        ),
        width=1,
        touches=present,
    )


@procedure("node.refresh", "node", undoable=True)
def refresh(fleet: Fleet, present: Observed, *, node: str) -> Plan:
    """Write config.yaml and bring it to the components without docker_init.sh."""
    return _plan(
        "refresh",
        fleet,
        node,
        lambda one: (
            _config(fleet, present, one),
            _starting(steps.refresh(fleet, one, present.facts(one.name))),
        ),
        width=1,
        touches=present,
        asked=lambda nodes: questions.to_change(fleet, nodes, present),
    )


@procedure(
    "node.exec",
    "node",
    accepts=False,
    called={"words": "command"},
    words={"command": "a line for sh in the container"},
)
def execute(fleet: Fleet, present: Observed, *, node: str, words: str) -> Plan:
    """Run a line in the container and show what it says."""
    container = fleet.install.container
    line = docker.inside(container, "sh", "-c", words, limit=600)

    def build(one: Node) -> tuple[Step, ...]:
        title = f"exec in {container}"
        return (Step("exec", one.name, title, kind="once-only", apply=(Run(line),)),)

    return _plan("exec", fleet, node, build, touches=present)


@procedure("node.check", "node", flags=("json",))
def check(fleet: Fleet, present: Observed, *, node: str) -> Plan:
    """Ask a node everything that can be asked before or after a change; change nothing."""

    def build(one: Node) -> tuple[Step, ...]:
        facts = present.facts(one.name)
        if facts.container == "running":
            shown = present.pair(fleet.region_of(one)).shown
            return (
                *questions.of_node(fleet, one, present),
                steps.programs_run(fleet, one),
                steps.programs_all(fleet, one),
                steps.healthy(fleet, one, shown),
            )
        return questions.of_node(fleet, one, present)

    plan = _plan("check", fleet, node, build)
    return replace(plan, stages=tuple(replace(stage, gather=True) for stage in plan.stages))
