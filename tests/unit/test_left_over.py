"""What `supervisorctl stop all` has not ended, read by a real sh from real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from omsfab.commands import processes
from omsfab.errors import Next
from omsfab.fleet.model import Ports
from omsfab.plan.observed import NodeFacts
from omsfab.plan.procedures import node, scale_out, undo
from omsfab.plan.records import NothingRuns
from omsfab.run.engine.interpreter import Interpreter
from omsfab.ssh.shell import Result

LISTEN = """
import os, socket, sys
held = socket.socket()
held.bind(("127.0.0.1", 0))
held.listen()
print(held.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def orphan():
    """A process that supervisord's agent has begun, in a session of its own, with a port."""
    process = subprocess.Popen(
        [sys.executable, "-c", LISTEN, "--name", "a\tb"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "SUPERVISOR_PROCESS_NAME": "oms_drc_supervisor"},
        start_new_session=True,
        text=True,
    )
    assert process.stdout is not None
    yield process.pid, int(process.stdout.readline())
    process.kill()
    process.communicate()


def listed(tmp_path, port, *, inside=True):
    """What is listed on this machine; its docker execs here, or in a container with nobody."""
    docker = tmp_path / "docker"
    text = 'shift 2; exec "$@"' if inside else f'echo "outside {port}"'
    docker.write_text(f"#!/bin/sh\n{text}\n")
    docker.chmod(0o755)
    ports = Ports().model_copy(update={"cm": port})
    done = subprocess.run(
        processes.listing("oms_427", ports).argv,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return processes.found(done.stdout)


def test_an_orphan_is_known_by_what_supervisord_left_in_its_environment(orphan, tmp_path):
    """R2.7: its program, its user and the port that it holds, however far it is from its parent."""
    pid, port = orphan

    one = next(one for one in listed(tmp_path, port) if one.pid == pid)

    assert ("oms_drc_supervisor", (port,), False) == (one.program, one.ports, one.outside)
    assert (one,) == processes.left_over([one])
    assert one.command.endswith("--name a b")


def test_who_holds_a_port_from_outside_the_container_is_found_too(orphan, tmp_path):
    """R2.7: with --net host any process of the machine may."""
    pid, port = orphan

    (one,) = listed(tmp_path, port, inside=False)

    assert (pid, (port,), True) == (one.pid, one.ports, one.outside)


def row(pid, user, program="", ports="", where="/", words="java -jar"):
    return f"process\t{pid}\t{user}\t{program}\t{ports}\t{where}\t{words}"


STORES = (
    row(8, "ds", "oms_drc_supervisor", where="/u01/ds/store/store7100"),
    row(9, "ds", words="java -Dlog=/home/ds/run/10.0.0.1-9000:connector_v2:p:0000000001/logs"),
    row(10, "ds", where="/home/ds/run/10.0.0.1-9000:connector_v2:p:0000000001"),
)


def test_stores_and_connectors_are_no_orphans_and_each_counts_once():
    """Their directories name them, whoever began them."""
    found = processes.found("\n".join(STORES))

    assert () == processes.left_over(found)
    assert ("10.0.0.1-9000:connector_v2:p:0000000001", "store7100") == processes.stores(found)


@pytest.mark.parametrize(
    ("line", "left"),
    [
        (row(7, "root", "oms_console"), True),
        (row(7, "ds"), True),
        (row(7, "admin"), True),
        (row(7, "root"), False),
        (row(7, "root", ports="8088"), True),
        (row(7, "ds", ports="9000 ", where="/home/ds/store/store7100"), True),
        ("outside\t8088\t", True),
    ],
)
def test_what_should_have_ended_with_the_programs(line, left):
    """What comes from a program, is of a user of OMS, or holds a port that a program needs."""
    assert left == bool(processes.left_over(processes.found(line)))


class Node:
    """A node that says this, and whose lines are typed there."""

    def __init__(self, said):
        self.said = said

    def run(self, cmd):
        return Result(0, self.said, "")

    def ssh_line(self, text, note=""):
        return Next(text, note=note)


def test_the_warning_names_pid_user_command_and_the_line_that_ends_it(tmp_path):
    """R2.7: pasted, it ends those of the container by KILL, in the container."""
    said = "\n".join(
        (*STORES, row(733, "ds", "oms_drc_supervisor", "9000"), "outside\t8088\t44 socat")
    )
    told = []
    site = Interpreter("", tmp_path, {"oms1": Node(said)}, None)
    probe = NothingRuns("oms_427", processes.listing("oms_427", Ports()))

    why = site.ask(probe, "oms1", lambda *words: told.append(words))

    first, second, ended = why.splitlines()
    assert "pid 733 in oms_427, user ds, of oms_drc_supervisor, holds port 9000: java -jar" == first
    assert "pid 44 of this machine, none of the container, holds port 8088: socat" == second
    line, comment = ended.split("   # ")
    assert "ended by: docker exec oms_427 sh -c 'kill -9 733'; kill 44" == line
    assert "KILL: it has ignored TERM" == comment
    assert [("state", processes.stores_text(processes.stores(processes.found(said))))] == told


def test_it_is_looked_at_wherever_production_is_stopped(fleet, package, present):
    """R2.7: right behind the stop on each node, before rows go; in the rollback and in node.stop
    too.  The plan counts the Stores."""
    now = present(package, oms2=NodeFacts(), oms3=NodeFacts())
    now = replace(now, nodes={**now.nodes, "oms1": replace(now.facts("oms1"), stores=("store7",))})
    there = scale_out.scale_out(fleet, now)
    begun = {step.key for step in there.steps if step.apply}
    back = undo.undo(fleet, now, run="r", region="", begun=begun)
    stop = node.stop(fleet, now, node="oms1")

    for plan in (there, back, stop):
        keys = [step.key for step in plan.steps]
        assert "left-over@oms1" == keys[keys.index("stop-processes@oms1") + 1], plan.task
    keys = [step.key for step in there.steps]
    assert keys.index("left-over@oms1") < keys.index("clear-rows@metadb")
    assert [f"oms1: {processes.stores_text(['store7'])}"] == [
        line for line in there.reasons if "Stores" in line
    ]


@pytest.mark.parametrize(("mode", "told"), [("600", 1), ("640", 0), ("644", 0), ("", 0)])
def test_a_config_yaml_that_only_root_can_read_is_told_first(fleet, package, present, mode, told):
    """oms_drc_supervisor is no root: it runs on with what it has read, and fails at its restart."""
    now = present(package, oms2=NodeFacts(), oms3=NodeFacts())
    facts = replace(now.facts("oms1"), config_mode=mode)

    plan = scale_out.scale_out(fleet, replace(now, nodes={**now.nodes, "oms1": facts}))

    assert told == sum("only root can read config.yaml of oms1" in one for one in plan.reasons)
