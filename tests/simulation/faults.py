"""What goes wrong, and where: a fault is bound to the n-th point of an operator, or of a step.

Points are all effects, questions and waits of omsfab.  What a fault does to a question (a reply
that is lost) is answered to who asks; everything else happens to the world at that moment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omsfab.command import Command, shown
from tests.simulation.fleet import CM, CONFIG, CONTAINER, RM, Fleet
from tests.simulation.node import File, Node
from tests.simulation.world import Process, World


@dataclass(frozen=True)
class Fault:
    """``what`` happens at the ``nth`` point that operator ``who`` comes to within ``step``; ``arg``
    are seconds, or the name of a node, as the case may be."""

    what: str
    nth: int
    who: int = 0
    step: str = "-"
    arg: str = ""

    def record(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value not in ("", None)}

    def __str__(self) -> str:
        where = f"point {self.nth} of {self.step}"
        return f"{self.what}{f' {self.arg}' if self.arg else ''} at {where} (operator {self.who})"


OUTSIDE = "-"
"""Stands for a step where omsfab is at none: it looks, plans, takes locks, ends."""

PROCESS = ("kill", "tear", "lie", "pause", "ctrl-c", "disk-full", "clock")
LINE = ("lost", "silent", "db-lost")
NODE = ("away", "reboot", "docker-restart", "docker-stop", "docker-rm", "docker-down", "node-full",
        "node-clock", "edit-config", "replace-config", "hand-init", "start-programs",
        "stop-programs", "program-fatal")  # fmt: skip
DBA = ("metadb-away", "metadb-yesterday", "dba-touch", "dba-host", "dba-url", "dba-delete",
       "dba-lock", "dba-kill", "dba-back")  # fmt: skip
INIT = ("fail1", "fail2", "fail3", "fail4", "fail5", "hang2", "hang4", "repeat", "early",
        "nobanner", "exit1", "signal", "wrapper", "rows-rewrite", "rows-add", "self", "self-fail5",
        "self-hang2", "self-nobanner")  # fmt: skip
HUMAN = frozenset(
    ("lie", "docker-rm", "docker-stop", "edit-config", "replace-config", "hand-init",
     "metadb-yesterday", "dba-host", "dba-url", "dba-delete", "dba-back", "early", "rows-add",
     "program-fatal", "hang2", "hang4", "self-hang2")
)  # fmt: skip
"""What people, or an image that is broken, do: afterwards a run may end with a reason to wait."""

ALL = (*PROCESS, *LINE, *NODE, *DBA, *(f"init:{one}" for one in INIT))

NO_COMMAND = "no command is given to a node there, so no reply of one is lost"
NO_STATEMENT = "no statement is made there, so none is lost"
NO_INIT = "no docker_init.sh is begun there or later: what it would do shows nowhere"
ROWS_THERE = "the former row of the region is there: nobody has to put it back"


Trace = Sequence[tuple[str, str]]
"""Step and kind of every point, in their order."""


def never(trace: Trace) -> dict[tuple[str, str], str]:
    """Why some faults cannot be at some steps, for the way there and back without a fault."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    kinds: dict[str, set[str]] = {}
    for n, (step, kind) in enumerate(trace):
        first.setdefault(step, n)
        last[step] = n
        kinds.setdefault(step, set()).add(kind)
    inits = (n for step, n in last.items() if step.startswith("initialise@"))
    end_of_inits = max(inits, default=-1)
    cleared = first.get("clear-rows@metadb", len(trace))
    back = first.get("restore-rows@metadb", -1)
    found = {}
    for step, begins in first.items():
        if "ask" not in kinds[step]:
            found |= {(step, what): NO_COMMAND for what in ("lost", "silent")}
        if "say" not in kinds[step]:
            found[step, "db-lost"] = NO_STATEMENT
        if begins > end_of_inits:
            found |= {(step, f"init:{what}"): NO_INIT for what in INIT}
        if last[step] < cleared or begins > back:
            found[step, "dba-back"] = ROWS_THERE
    return found


What = str | bytes | Command
"""What is at hand at a point; made words of where it is told only."""


def words_of(what: What) -> str:
    if isinstance(what, Command):
        return shown(what)
    return what[-60:].decode("utf-8", "replace") if isinstance(what, bytes) else what


class Faults:
    """Those of one schedule; ``happened`` are (when, fault) so far."""

    def __init__(self, world: World, fleet: Fleet, wanted: list[Fault]) -> None:
        self.world, self.fleet = world, fleet
        self.left: dict[tuple[int, str, int], list[Fault]] = {}
        for one in wanted:
            self.left.setdefault((one.who, one.step, one.nth), []).append(one)
        self.happened: list[tuple[float, Fault]] = []
        self.covered: set[tuple[str, str]] = set()
        """Where which fault was: one of a reply where that was lost."""
        self.trace: list[tuple[str, str]] = []
        """Every point, where nothing is to happen."""
        self._traces = not wanted
        self.yesterday = fleet.metadb.snapshot()
        self.former = fleet.metadb.rows(RM, "cluster_info")
        self.came: Callable[[], None] = lambda: None
        """Called when a row was written by hand."""
        self.disturbed = -1e9
        """When the world was last changed by somebody else."""

    def point(self, kind: str, what: What, node: Node | None) -> str:
        """Called at every point (shell.Point)."""
        world = self.world
        process = world.process
        if process is None or world.over:
            return ""
        operator = process.operator
        operator.points += 1
        step = world.task.step or OUTSIDE
        steps = operator.steps
        count = steps[step] = steps.get(step, 0) + 1
        if self._traces:
            self.trace.append((step, kind))
        found = self.left.pop((operator.number - 1, step, count), None) if self.left else None
        answer = ""
        pending = process.pending
        for fault in found or ():
            self.happened.append((world.now, fault))
            if fault.what not in LINE:
                self.covered.add((step, fault.what))
            world.tell("FAULT", f"{fault}   [{kind} {words_of(what)[:60]}]")
            if fault.what in LINE:
                pending.append(fault.what)
            else:
                self.strike(fault, process, node)
        if pending:
            if kind in ("ask", "answer"):
                wanted = [one for one in pending if one in ("lost", "silent")]
            else:
                wanted = ["db-lost"] if kind in ("say", "heard") and "db-lost" in pending else []
            if wanted:
                pending.remove(wanted[0])
                self.covered.add((step, wanted[0]))
                answer = "lost" if wanted[0] == "db-lost" else wanted[0]
        return answer

    # --- what each of them does ------------------------------------------------------------------

    def strike(self, fault: Fault, process: Process, node: Node | None) -> None:
        act: Callable[..., None] | None = getattr(self, "_" + fault.what.replace("-", "_"), None)
        if fault.what.startswith("init:"):
            self._init(fault)
            return
        assert act is not None, fault
        act(fault, process)

    def _node(self, fault: Fault) -> Node:
        name = fault.arg.partition(":")[0]
        return self.fleet.nodes.get(name) or next(iter(self.fleet.nodes.values()))

    def _seconds(self, fault: Fault, otherwise: float) -> float:
        text = fault.arg.rpartition(":")[2]
        try:
            return float(text)
        except ValueError:
            return otherwise

    def _kill(self, fault: Fault, process: Process) -> None:
        process.kill()
        self.world.give_way()

    def _tear(self, fault: Fault, process: Process) -> None:
        process.tear = True

    def _lie(self, fault: Fault, process: Process) -> None:
        """Killed; and the last line of its journal says done where it said intent."""
        newest = sorted(Path(process.home).glob("[0-9]*/journal.jsonl"))
        if newest:
            _forge(newest[-1])
        process.kill()
        self.world.give_way()

    def _pause(self, fault: Fault, process: Process) -> None:
        process.stop()
        self.world.spawn(process.go_on, "SIGCONT", after=self._seconds(fault, 200.0))
        self.world.sleep(0.0)

    def _ctrl_c(self, fault: Fault, process: Process) -> None:
        if process.main and not process.main.ended:
            process.main.interrupt = KeyboardInterrupt()
            if process.main is not self.world.task:
                self.world.at(self.world.now, process.main)
            else:
                self.world.sleep(0.0)

    def _disk_full(self, fault: Fault, process: Process) -> None:
        operator = process.operator
        operator.full_until = process.full_until = self.world.now + self._seconds(fault, 60.0)

    def _clock(self, fault: Fault, process: Process) -> None:
        operator = process.operator
        operator.skew = process.skew = self._seconds(fault, 7200.0)

    # of a node

    def _away(self, fault: Fault, process: Process) -> None:
        node = self._node(fault)
        node.away_until = self.world.now + self._seconds(fault, 90.0)

    def _reboot(self, fault: Fault, process: Process) -> None:
        self.disturbed = self.world.now
        self._node(fault).reboot(self._seconds(fault, 60.0))

    def _docker_restart(self, fault: Fault, process: Process) -> None:
        self.disturbed = self.world.now
        node = self._node(fault)
        found = node.containers.get(CONTAINER)
        if found:
            if found.state == "running":
                node.halt(found)
            node.launch(found)

    def _docker_stop(self, fault: Fault, process: Process) -> None:
        self.disturbed = self.world.now
        node = self._node(fault)
        found = node.running(CONTAINER)
        if found:
            node.halt(found)

    def _docker_rm(self, fault: Fault, process: Process) -> None:
        self.disturbed = self.world.now
        node = self._node(fault)
        found = node.containers.pop(CONTAINER, None)
        if found and found.state == "running":
            node.halt(found)

    def _docker_down(self, fault: Fault, process: Process) -> None:
        self._node(fault).docker_until = self.world.now + self._seconds(fault, 40.0)

    def _node_full(self, fault: Fault, process: Process) -> None:
        self._node(fault).full_until = self.world.now + self._seconds(fault, 60.0)

    def _node_clock(self, fault: Fault, process: Process) -> None:
        self._node(fault).skew = self._seconds(fault, 3600.0)

    def _edit_config(self, fault: Fault, process: Process) -> None:
        """Somebody edits it in place."""
        self.disturbed = self.world.now
        found = self._node(fault).files.get(CONFIG)
        if found:
            found.content += b"# edited by hand\n"
            found.at, found.writer = self.world.now, "hand"

    def _replace_config(self, fault: Fault, process: Process) -> None:
        """An editor that writes a new file and renames it: the container holds the former one."""
        self.disturbed = self.world.now
        node = self._node(fault)
        found = node.files.get(CONFIG)
        if found:
            content = found.content + b"# edited by hand\n"
            node.files[CONFIG] = File(content, found.mode, found.owner, self.world.now, "hand")

    def _hand_init(self, fault: Fault, process: Process) -> None:
        self.disturbed = self.world.now
        node = self._node(fault)
        found = node.running(CONTAINER)
        if found and found.life:

            def work() -> None:
                for seconds in node.initialise(found, None, ""):
                    self.world.sleep(seconds)

            self.world.spawn(work, f"{node.name}/by hand", found.life)

    def _start_programs(self, fault: Fault, process: Process) -> None:
        self.disturbed = self.world.now
        node = self._node(fault)
        found = node.running(CONTAINER)
        for name in found.programs if found else ():
            node.start_program(found, name)  # type: ignore[arg-type]

    def _stop_programs(self, fault: Fault, process: Process) -> None:
        self.disturbed = self.world.now
        found = self._node(fault).running(CONTAINER)
        for program in found.programs.values() if found else ():
            program.state, program.at = "STOPPED", self.world.now

    def _program_fatal(self, fault: Fault, process: Process) -> None:
        """The console dies and does not come back by itself."""
        self.disturbed = self.world.now
        found = self._node(fault).running(CONTAINER)
        if found and "oms_console" in found.programs:
            program = found.programs["oms_console"]
            program.state, program.at = "FATAL", self.world.now

    # of the MetaDB

    def _metadb_away(self, fault: Fault, process: Process) -> None:
        self.fleet.metadb_until = self.world.now + self._seconds(fault, 25.0)
        for connection in [*self.fleet.metadb.open.values()]:
            connection.end()

    def _metadb_yesterday(self, fault: Fault, process: Process) -> None:
        self.disturbed = self.world.now
        self.fleet.metadb.restore(self.yesterday)
        self.fleet.restored = True

    def _apart(self, work: Callable[[], None]) -> None:
        """A DBA waits for locks as anybody does, and holds nobody up."""
        import pymysql

        def act() -> None:
            try:
                work()
            except pymysql.Error as error:
                self.world.tell("DBA", f"is refused: {error}")

        self.world.spawn(act, "dba")

    def _dba_touch(self, fault: Fault, process: Process) -> None:
        self._apart(lambda: self._run(f"update {CM}.resource_group set description = 'looked at'"))

    def _dba_host(self, fault: Fault, process: Process) -> None:
        """A row of a host that nobody has."""
        self.disturbed = self.world.now

        def work() -> None:
            groups = self.fleet.metadb.rows(CM, "resource_group")
            if groups:
                group = groups[0]["id"]
                self.fleet.metadb.insert(CM, "host", ip="10.9.9.9", resource_group_id=group)

        self._apart(work)

    def _dba_back(self, fault: Fault, process: Process) -> None:
        """The former row of the region is there again, by somebody who missed it."""
        self.disturbed = self.world.now

        def work() -> None:
            row = next(iter(self.former), None)
            there = {one["code"] for one in self.fleet.metadb.rows(RM, "cluster_info")}
            if row and row["code"] not in there:
                self.fleet.metadb.insert(RM, "cluster_info", **row)
                self.came()

        self._apart(work)

    def _dba_url(self, fault: Fault, process: Process) -> None:
        self.disturbed = self.world.now
        text = f"update {RM}.cluster_info set cm_url = 'http://10.0.0.77:8088' where code = 1"
        self._apart(lambda: self._run(text))

    def _dba_delete(self, fault: Fault, process: Process) -> None:
        self.disturbed = self.world.now
        self.fleet.forgive()
        self._apart(lambda: self._run(f"delete from {CM}.host where ip = '10.0.0.1'"))

    def _dba_lock(self, fault: Fault, process: Process) -> None:
        """A transaction that nobody ends holds a row for a while."""
        seconds = self._seconds(fault, 25.0)

        def work() -> None:
            made = self.fleet.metadb.connect(user="dba")
            made.say("start transaction")
            made.say(f"select cm_url from {RM}.cluster_info where code = 1 for update")
            self.world.sleep(seconds)
            made.end()

        self._apart(work)

    def _dba_kill(self, fault: Fault, process: Process) -> None:
        for connection in [*self.fleet.metadb.open.values()]:
            connection.end()

    def _run(self, text: str) -> None:
        self.fleet.metadb.run(text)

    # of docker_init.sh

    def _init(self, fault: Fault) -> None:
        knob = fault.what.partition(":")[2]
        for node in self.fleet.nodes.values():
            if fault.arg in ("", node.name):
                if knob.startswith("rows-"):
                    node.rows = knob.removeprefix("rows-")
                elif knob.startswith("self"):
                    node.selfs.append(knob.removeprefix("self").removeprefix("-"))
                else:
                    node.knobs.append(knob)


def _forge(path: Path) -> None:
    """Make the last intent of a journal a done: chained as omsfab chains its lines."""
    lines = path.read_bytes().splitlines(keepends=True)
    for number in range(len(lines) - 1, -1, -1):
        try:
            record = json.loads(lines[number])
        except ValueError:
            return
        if record.get("kind") == "intent":
            record["kind"] = "done"
            kept = lines[: number + 1]
            kept[number] = json.dumps(record, ensure_ascii=False).encode() + b"\n"
            head = hashlib.sha256(kept[number]).hexdigest()[:16]
            for line in lines[number + 1 :]:
                later = json.loads(line)
                later["prev"] = head
                data = json.dumps(later, ensure_ascii=False).encode() + b"\n"
                head = hashlib.sha256(data).hexdigest()[:16]
                kept.append(data)
            path.write_bytes(b"".join(kept))
            return
