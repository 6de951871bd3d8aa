"""States of supervisord's programs: what counts as stopped, and what must run in the end."""

from __future__ import annotations

import socket
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest

from omsfab.command import shown
from omsfab.commands import docker, supervisor
from omsfab.errors import LostSession
from omsfab.plan import steps
from omsfab.plan.observed import NodeFacts, Observed
from omsfab.plan.procedures import scale_out, undo
from omsfab.plan.records import Await, Programs
from omsfab.run.engine import interpreter as sites
from omsfab.run.engine.init_job import InitResult
from omsfab.run.engine.interpreter import programs_say
from omsfab.ssh.protocol import Result

STATUS = supervisor.status("oms_427")


def listed(**states: str) -> Result:
    text = "".join(
        f"{name:<20} {state:<9} pid 7, uptime 0:01:00\n" for name, state in states.items()
    )
    return Result(0, text, "")


@pytest.mark.parametrize("state", ["STOPPED", "FATAL", "EXITED", "UNKNOWN"])
def test_a_program_without_a_process_counts_as_stopped(state):
    """R1.1: with startretries=0 FATAL is the normal state of a broken component."""
    said = programs_say(listed(nginx="STOPPED", oms_console=state), Programs(STATUS, "STOPPED"))

    assert said is None


@pytest.mark.parametrize("state", ["RUNNING", "STARTING", "BACKOFF", "STOPPING"])
def test_a_program_with_a_process_does_not(state):
    """It may write rows while they are deleted."""
    said = programs_say(listed(nginx="STOPPED", oms_drc_cm=state), Programs(STATUS, "STOPPED"))

    assert f"oms_drc_cm is {state}" == said


def test_a_supervisord_that_does_not_answer_is_not_stopped():
    """Supervisor 3 ends with 0 and says it in words: no state read is no state proven."""
    said = programs_say(
        Result(0, "unix:///tmp/supervisor.sock no such file", ""), Programs(STATUS, "STOPPED")
    )

    assert said is not None


@pytest.mark.parametrize(
    ("probe", "says"),
    [
        (Programs(STATUS), "sshd is FATAL, other is STOPPED"),
        (Programs(STATUS, names=("nginx",)), None),
        (Programs(STATUS, names=("nginx", "sshd")), "sshd is FATAL"),
        (Programs(STATUS, names=("crond",)), "crond is not there"),
        (Programs(STATUS, names=("nginx", "crond"), known=True), None),
    ],
)
def test_only_what_is_named_must_run(probe, says):
    """Of others it is only told; one that this image does not have is missed if it ran before."""
    assert says == programs_say(listed(nginx="RUNNING", sshd="FATAL", other="STOPPED"), probe)


@pytest.fixture
def ill(fleet, package, present):
    """oms1 has a program that is FATAL before anything begins."""
    states = dict.fromkeys(supervisor.PROGRAMS, "RUNNING") | {"sshd": "FATAL", "crond": "RUNNING"}
    running = tuple(name for name, state in states.items() if state == "RUNNING")
    facts = NodeFacts(
        container="running",
        has_image=True,
        host_ip="10.0.0.1",
        cm_nodes=("10.0.0.1",),
        states=states,
        programs=running,
    )
    return present(package, oms1=facts, oms2=NodeFacts(), oms3=NodeFacts())


def hard(plan, node: str) -> set[str]:
    """The programs of a node without which the plan does not end well."""
    (step,) = (step for step in plan.steps if step.key == f"programs@{node}")
    (probe,) = step.verify
    assert isinstance(probe, Await)
    assert isinstance(probe.probe, Programs)
    return set(probe.probe.names)


def test_a_program_that_is_fatal_before_is_told_and_not_waited_for(fleet, ill):
    """R1.1: the plan says it, the run goes through: nobody can make it run by scaling out."""
    plan = scale_out.scale_out(fleet, ill)

    assert "warning: sshd is FATAL on oms1; the run does not wait for it in the end" in plan.reasons
    assert {"nginx", "oms_console", "oms_drc_cm", "oms_drc_supervisor", "crond"} == hard(
        plan, "oms1"
    )
    assert {"nginx", "oms_console", "oms_drc_cm", "oms_drc_supervisor"} == hard(plan, "oms2")


def test_what_docker_init_does_not_start_is_started(fleet, ill):
    """R6: crond is in the script's line of one version only, and `stop all` stops it everywhere."""
    plan = scale_out.scale_out(fleet, ill)
    keys = [step.key for step in plan.steps]
    (step,) = (step for step in plan.steps if step.key == "start-processes@oms1")

    assert keys.index("initialise@oms1") + 1 == keys.index(step.key)
    assert "crond" in step.apply[-1].command.argv


def test_a_rollback_waits_for_what_ran_before_only(fleet, ill):
    """R1.1b: FATAL is no dead end in the rollback either."""
    begun = {"stop-processes@oms1", "clear-rows@metadb", "initialise@oms1"}
    plan = undo.undo(fleet, ill, run="r", region="", begun=begun)
    (step,) = (step for step in plan.steps if step.name == "start-processes")

    assert "sshd" not in step.check[0].names
    assert {"crond", "nginx"} < set(step.check[0].names)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("sshd", set()),
        ("oms_console", {"health@oms1"}),
        ("nginx", {"health@oms1"}),
        ("oms_drc_supervisor", {"host@oms1"}),
        ("oms_drc_cm", {"health@oms1", "host@oms1"}),
    ],
)
def test_what_a_broken_program_did_not_do_before_stops_no_run(fleet, ill, broken, told):
    """R1.1: page and heartbeat of that node are told in the end, those of all others must be; a
    rollback does not ask for the page."""
    facts = ill.nodes["oms1"]
    states = dict.fromkeys(facts.states, "RUNNING") | {broken: "FATAL"}
    running = tuple(name for name, state in states.items() if state == "RUNNING")
    now = replace(ill, nodes={**ill.nodes, "oms1": replace(facts, states=states, programs=running)})
    plan = scale_out.scale_out(fleet, now)
    begun = {"stop-processes@oms1", "clear-rows@metadb", "initialise@oms1"}
    back = undo.undo(fleet, now, run="r", region="", begun=begun)
    proof = [step for step in plan.stages[-1].steps if step.name in ("health", "host")]

    assert told == {step.key for step in proof if step.warn}
    assert 6 == len(proof)
    asked = {step.key for step in back.steps if step.name == "health"}
    assert ({"health@oms1"} - told) == asked


def test_where_nothing_ran_before_everything_must_run_in_the_end(fleet, ill):
    """Production was stopped by hand: that is no program that is broken."""
    stopped = dict.fromkeys(ill.nodes["oms1"].states, "STOPPED")
    facts = replace(ill.nodes["oms1"], states=stopped, programs=())
    plan = scale_out.scale_out(fleet, replace(ill, nodes={**ill.nodes, "oms1": facts}))

    assert not any(step.warn for step in plan.stages[-1].steps if step.name in ("health", "host"))


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.mark.parametrize(
    ("others", "waited"),
    [
        ("RUNNING", range(30, 40)),  # nobody starts it
        ("STARTING", range(180, 190)),  # somebody starts one after the other
        ("BACKOFF", range(180, 190)),
        ("", range(180, 190)),  # supervisord does not answer yet
    ],
)
def test_a_program_that_nobody_starts_is_not_waited_for_to_the_end(
    tmp_path, monkeypatch, others, waited
):
    """OMS is down meanwhile, and FATAL never ends by itself."""
    clock = Clock()
    monkeypatch.setattr(sites, "time", clock)
    said = listed(sshd="FATAL", nginx=others) if others else Result(1, "", "refused")
    node = SimpleNamespace(run=lambda *_: said)
    site = sites.Interpreter("r", tmp_path, {"oms1": node}, None)

    why = site.ask(Await(Programs(STATUS), limit=180, every=1), "oms1")

    assert "asked for" in why
    assert int(clock.now) in waited


@pytest.mark.parametrize(
    ("console", "seen", "waited"),
    [
        ("FATAL", True, range(1)),  # an earlier step has waited for it already
        ("FATAL", False, range(30, 45)),  # nobody starts it
        ("STARTING", True, range(900, 920)),
        ("RUNNING", True, range(900, 920)),  # it may still say that it is healthy
        ("", False, range(900, 920)),  # supervisord does not answer
    ],
)
def test_a_page_that_cannot_come_is_not_waited_for(
    fleet, tmp_path, monkeypatch, console, seen, waited
):
    """R6: up to 900 s as the vendor's deployer, but not behind a console that is down for good:
    in the rollback that is told at once, where it was known before."""
    clock = Clock()
    monkeypatch.setattr(sites, "time", clock)
    (probe, *_) = steps.healthy(fleet, fleet.nodes[0]).verify
    states = listed(nginx="RUNNING", oms_console=console, oms_drc_cm="RUNNING")
    states = states if console else Result(1, "", "refused")
    node = SimpleNamespace(
        run=lambda cmd, *_: (
            states if cmd == probe.probe.behind.command else Result(7, "", "refused")
        )
    )
    site = sites.Interpreter("r", tmp_path, {"oms1": node}, None)
    if seen:
        site.ask(probe.probe.behind, "oms1")

    why = site.ask(probe, "oms1")

    assert "refused" in why
    assert (console == "FATAL") is ("oms_console is FATAL" in why)
    assert int(clock.now) in waited


def test_a_rollback_waits_less_for_a_page_that_is_only_told(fleet, ill):
    """Production is back by then; whether its page says so soon proves nothing."""
    begun = {"stop-processes@oms1", "clear-rows@metadb", "initialise@oms1"}
    limits = {
        plan.task: step.verify[0].limit
        for plan in (
            scale_out.scale_out(fleet, ill),
            undo.undo(fleet, ill, run="r", region="", begun=begun),
        )
        for step in plan.steps
        if step.key == "health@oms1"
    }

    assert {"scale.out": 900, "run.undo": 300} == limits


def test_states_survive_the_run_directory(ill):
    """A resumed run plans with what was so then: through JSON and back."""
    assert ill.nodes == Observed.of(ill.record()).nodes


def test_the_containers_own_socket_goes_before_the_port_of_the_host(tmp_path):
    """With --net host 127.0.0.1:8084 may be another container's supervisord."""
    fake = tmp_path / "supervisorctl"
    fake.write_text('#!/bin/sh\necho "$@"\n')
    fake.chmod(0o755)
    *_, text, name, stop, every = docker.supervisorctl("oms_427", "stop", "all").argv
    text = text.replace("/tmp/supervisor.sock", str(tmp_path / "sock"), 1)

    def say() -> str:
        argv = ["sh", "-c", text, name, stop, every]
        return subprocess.check_output(argv, text=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})

    without = say()
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(str(tmp_path / "sock"))
        assert ("stop all\n", "-s unix:///tmp/supervisor.sock stop all\n") == (without, say())


def test_the_way_to_the_socket_is_not_shown():
    """A plan is read by people."""
    said = shown(docker.supervisorctl("oms_427", "stop", "all"))

    assert "docker exec oms_427 supervisorctl stop all" == said


class Initialised:
    """A node whose docker_init.sh has ended; its programs run for so many seconds then."""

    def __init__(self, lost=False, **uptimes: int):
        self.uptimes, self.lost, self.restarted = uptimes, lost, []

    def run(self, cmd, on_line=None):
        words = list(cmd.argv)
        if "status" in words:
            rows = (
                f"{name} RUNNING pid 7, uptime 0:{up // 60:02d}:{up % 60:02d}\n"
                for name, up in self.uptimes.items()
            )
            return Result(0, "".join(rows), "")
        if "restart" in words:
            self.restarted += words[words.index("restart") + 1 :]
            if self.lost:
                raise LostSession("SSH-020", "the session ended")
        return Result(1, "", "")


@pytest.mark.parametrize(
    ("uptimes", "ended", "restarted"),
    [
        ({"nginx": 50, "oms_drc_cm": 30, "sshd": 10}, {}, []),
        ({"nginx": 121, "oms_drc_cm": 122}, {}, []),  # both ages are whole seconds
        ({"nginx": 50, "oms_drc_supervisor": 140}, {}, ["oms_drc_supervisor"]),
        (
            dict.fromkeys(supervisor.PROGRAMS, 140),
            {},
            ["nginx", "oms_console", "oms_drc_cm", "oms_drc_supervisor"],
        ),
        # When that began nobody knows; nor by a clock that was set back.
        (dict.fromkeys(supervisor.PROGRAMS, 140), {"adopted": True}, []),
        (dict.fromkeys(supervisor.PROGRAMS, 140), {"seconds": -3400}, []),
    ],
)
@pytest.mark.parametrize("lost", [False, True])
def test_what_docker_init_has_not_restarted_is_restarted(
    fleet, tmp_path, monkeypatch, uptimes, ended, restarted, lost
):
    """R2: its supervisorctl reached nobody, and its banner stands there all the same: the agent
    knew nothing, and only VER-003 told of it, three minutes later.  sshd reads no such file."""
    result = InitResult("ended with its banner", **{"seconds": 120, **ended})
    monkeypatch.setattr(sites.jobs, "follow", lambda *_, **__: result)
    node, told = Initialised(lost, **uptimes), []
    site = sites.Interpreter("r", tmp_path, {"oms1": node}, None)
    step = steps.initialise(fleet, fleet.regions[0], fleet.nodes[0], again=True)

    site.perform(step.apply[0], step, 1, lambda kind, text, data=None: told.append((kind, text)))

    assert restarted == node.restarted
    warned = [text for kind, text in told if kind == "warning"]
    names = ", ".join(restarted)
    wanted = f"INIT-023 docker_init.sh has not restarted {names}: up since before it; restarted now"
    assert ([wanted] if restarted else []) == warned
