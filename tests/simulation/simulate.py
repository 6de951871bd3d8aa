"""One schedule from its beginning to its end, and what was broken in it."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import random
import re
import shutil
import traceback
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.simulation import faults as all_faults
from tests.simulation import scenarios
from tests.simulation.faults import HUMAN, Fault, Faults
from tests.simulation.invariants import LONGEST, State, Watch, not_before, not_golden
from tests.simulation.node import NotSimulated
from tests.simulation.operators import LOOKS, Operator, Said, observe_steps
from tests.simulation.shell import installed
from tests.simulation.world import World

FOLLOWED = 4
"""Printed next lines that are followed at the end."""

READS = 5.0
"""Seconds within which a line that was typed has read which runs there are."""

CLOSES = ("fab run.abandon", "fab lock.break")
"""What ends with 0 and has not brought anything about."""

AFTER_A_KILL = 25.0
"""Seconds after which a person notices that his process has gone."""


@dataclass
class Schedule:
    """Everything that a run of the world depends on.  ``operators``: for each (begins after so many
    seconds, what he does); ``plain``: nothing takes longer or shorter than usual."""

    seed: int
    scenario: str = "physical"
    operators: list[tuple[float, list[str]]] = field(
        default_factory=lambda: [(0.0, ["fab scale.out", "next", "next", "next"])]
    )
    faults: list[Fault] = field(default_factory=list)
    plain: bool = False

    def record(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "scenario": self.scenario,
            "operators": [[start, script] for start, script in self.operators],
            "faults": [one.record() for one in self.faults],
            "plain": self.plain,
        }

    @classmethod
    def of(cls, record: dict[str, Any]) -> Schedule:
        return cls(
            record["seed"],
            record["scenario"],
            [(float(start), list(script)) for start, script in record["operators"]],
            [Fault(**one) for one in record["faults"]],
            record.get("plain", False),
        )

    def __str__(self) -> str:
        return json.dumps(self.record())


@dataclass
class Outcome:
    schedule: Schedule
    broken: list[str]
    story: list[tuple[float, str, str]]
    covered: set[tuple[str, str]]
    points: int
    steps: dict[str, int]
    trace: all_faults.Trace
    events: int
    virtual: float
    ends: list[str]
    said: list[Said]

    @property
    def kind(self) -> str:
        """What was broken, without names and numbers: alike findings have the same."""
        return (
            re.sub(r"\d{8}T\d{6}Z[\w-]*|\d+|0x\w+", "#", self.broken[0])[:160]
            if self.broken
            else ""
        )

    def told(self) -> str:
        """The story as a person reads it."""
        lines = [f"schedule {self.schedule}"]
        for when, who, what in self.story:
            lines.append(f"{int(when) // 60:4d}:{when % 60:05.2f}  {who:<10}  {what}")
        lines += [f"BROKEN  {one}" for one in self.broken]
        return "\n".join(lines)


def run(schedule: Schedule) -> Outcome:
    """Let it happen; nothing of it outlives this call but what is returned."""
    gc.disable()  # a third of the time; what one schedule leaves is little
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # which hosts.yaml it is, at each line
            return _Run(schedule).outcome()
    finally:
        gc.enable()


def _is_open(journal: Path) -> bool:
    """Whether the run has no end in its journal."""
    return not any(b'"end": {' in line for line in journal.read_bytes().splitlines())


class _Run:
    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.world = World(schedule.seed, plain=schedule.plain)
        self.fleet, self.hosts = scenarios.built(self.world, schedule.scenario)
        self.wanted = scenarios.SCENARIOS[schedule.scenario][1]
        self.before = State(self.fleet)
        self.faults = Faults(self.world, self.fleet, schedule.faults)
        self.broken = self.fleet.broken
        self.operators: list[Operator] = []
        for number in range(1, len(schedule.operators) + 1):
            home = scenarios.place() / f"home{number}"
            shutil.rmtree(home, ignore_errors=True)
            self.operators.append(
                Operator(self.world, self.fleet, number, str(home), str(self.hosts),
                         ("li", "wang", "zhao")[number - 1])
            )  # fmt: skip
        self.watch = Watch(self.fleet, [Path(one.home) for one in self.operators])
        self.fleet.began = self.watch.initialising
        self.faults.came = self._came
        self.fleet.metadb.on_statement = self._statement

    def outcome(self) -> Outcome:
        former = observe_steps()
        try:
            with installed(self.world, self.fleet, self.faults.point):
                self.world.spawn(self._all, "everybody")
                try:
                    self.world.run()
                except (Exception, KeyboardInterrupt) as error:
                    if isinstance(error, KeyboardInterrupt) and not self._interrupted():
                        raise
                    self._defect(error)
                finally:
                    self.world.end()
        finally:
            from omsfab.run.engine import runner

            runner.Runner._step = former  # type: ignore[method-assign]
        return Outcome(
            self.schedule,
            list(dict.fromkeys(self.broken)),
            self.world.story,
            self.faults.covered,
            sum(one.points for one in self.operators),
            self.operators[0].steps,
            self.faults.trace,
            self.world.events,
            self.world.now,
            [f"{said.status}" for one in self.operators for said in one.said],
            [said for one in self.operators for said in one.said],
        )

    def _interrupted(self) -> bool:
        return any(fault.what == "ctrl-c" for _, fault in self.faults.happened)

    def _defect(self, error: BaseException) -> None:
        kind = "the simulation does not know" if isinstance(error, NotSimulated) else "simulation"
        where = traceback.extract_tb(error.__traceback__)[-3:]
        places = "; ".join(f"{Path(one.filename).name}:{one.lineno}" for one in where)
        self.broken.append(f"{kind}: {type(error).__name__}: {error} [{places}]")

    def _came(self) -> None:
        self.watch.came = self.world.now

    # --- hooks -----------------------------------------------------------------------------------

    QUIET = ("set", "show", "explain")

    def _statement(self, connection: Any, text: str, phase: str) -> None:
        world = self.world
        if world.process is None or world.over:
            return
        first = text.split(None, 1)[0]
        fleet = self.fleet
        if phase == "before":
            if "host" in text or "heart_beat" in text:
                fleet.beat()
            if first == "start":
                connection.began = world.now
            if first == "commit":
                world.sleep(world.latency())
                self.watch.committing()
                if world.process.lease and world.task.step.startswith(("clear-", "restore-")):
                    fleet.acts(world.process, connection.began, f"COMMIT of {world.task.step}")
            elif first not in self.QUIET and (first != "select" or "for update" in text):
                world.sleep(world.latency())
            wrong = self.faults.point("say", text, None)
            if wrong or not fleet.metadb_answers():
                connection.cut(None if self.world.words.random() < 0.3 else 0.0)
            return
        if first in ("commit", "select") and world.task.step == "rows-quiet@metadb":
            self.watch.quiet = self.watch.quiet or world.now
        if first == "commit":
            line = world.process.argv
            if world.task.step.startswith("clear-rows"):
                self.watch.copied_first()
            shown = world.process.operator.shown if line[0] == "scale.out" else None
            self.watch.committed(shown)
        if first in ("commit", "update"):
            fleet.token()
        wrong = self.faults.point("heard", text, None)
        if wrong or not fleet.metadb_answers():
            connection.cut(0.0)

    # --- people ----------------------------------------------------------------------------------

    def _all(self) -> None:
        world = self.world
        people = [
            world.spawn(lambda one=one, script=script: self._person(one, script), one.name,
                        after=start)  # type: ignore[misc]
            for one, (start, script) in zip(self.operators, self.schedule.operators, strict=True)
        ]  # fmt: skip
        for task in people:
            while not task.ended:
                world.join(task)
        self._heal()
        world.sleep(60.0)
        self._follow_to_the_end()
        if self._revive():
            self._follow_to_the_end(anew=True)
        self._judge_the_end()
        world.done = True

    def _person(self, one: Operator, script: list[str]) -> None:
        for act in script:
            line = self._line(one, act)
            if not line:
                continue
            self._say(one, line)

    def _say(self, one: Operator, line: str) -> Said:
        one.shown = self.watch.typed()
        said = one.fab(line)
        self._judge(one, said)
        if said.status is None:
            self.world.sleep(AFTER_A_KILL)
        else:
            self.world.sleep(5.0)
        return said

    def _line(self, one: Operator, act: str) -> str:
        last = one.said[-1] if one.said else None
        if act.startswith("wait"):
            self.world.sleep(float(act.partition(":")[2] or 60))
            return ""
        if act.startswith("fab "):
            return act
        if act.startswith(("undo", "resume")):
            verb, _, rest = act.partition(" ")
            return f"fab run.{verb} {rest}".strip()
        if last is None:
            return ""
        if act == "break":
            text = last.out
            found = re.search(r"fab lock\.break --run=(\S+)", text)
            return f"fab lock.break --run={found[1]}" if found else ""
        if act == "abandon":
            found = re.search(r"\d{8}T\d{6}Z-scale-out-\w+", last.out)
            return f"fab run.abandon --run={found[0]}" if found else ""
        if last.status is None:
            return "" if last.line.startswith("fab lock.") else "fab run.resume"
        if act == "stop-init":
            line = self._next(last, 0)
            return (
                f"{line} --stop-init" if line.startswith(("fab run.resume", "fab run.undo")) else ""
            )
        if act.startswith("next"):
            return self._next(last, int(act[4:] or 1) - 1)
        raise AssertionError(act)

    def _next(self, said: Said, which: int) -> str:
        """The printed line to paste: one that does something, if one is there."""
        if said.status in (0, 8):
            return ""
        self._start(said)
        lines = [line for line in said.next if line.startswith("fab ")]
        if said.next and not lines:  # somebody makes room, or opens the way, and types it again
            self.world.sleep(60.0)
            return said.line
        acts = [line for line in lines if not line.split()[1].startswith(LOOKS)]
        acts += [one for one in said.notes if one not in acts]
        acts = [line.replace(" --plan", "").strip() for line in acts]
        acts = [line for line in acts if "NODE" not in line]
        if lines and not acts:  # all of them only look: then the task once more
            self.world.sleep(60.0)
            return said.line
        return acts[min(which, len(acts) - 1)] if acts else ""

    def _start(self, said: Said) -> None:
        """Paste a printed ``docker start``."""
        for ip, name in re.findall(r"ssh (\S+) 'docker start (\S+)'", said.out):
            node = next(one for one in self.fleet.nodes.values() if one.ip == ip)
            found = node.containers.get(name)
            if found and found.state == "exited" and not node.away:
                self.world.tell("world", f"pasted: docker start {name} on {node.name}")
                node.launch(found)
                self.world.sleep(60.0)

    # --- the end ---------------------------------------------------------------------------------

    @property
    def human(self) -> bool:
        """Whether people or a broken image have done what no program can mend."""
        return any(
            fault.what in HUMAN or fault.what.partition(":")[2] in HUMAN
            for _, fault in self.faults.happened
        )

    def _heal(self) -> None:
        """Whatever goes by goes by; knobs are used up."""
        self.world.tell("world", "everything that goes by has gone by")
        self.fleet.metadb_until = -1.0
        for connection in self._held_by_a_dba():
            connection.end()
        for node in self.fleet.nodes.values():
            node.away_until = node.docker_until = node.full_until = -1.0
            node.skew = 0.0
            node.knobs.clear()
            node.selfs.clear()
            node.rows = "keep"
        for one in self.operators:
            one.full_until, one.skew = -1.0, 0.0
        self.faults.left.clear()

    def _settled(self, said: Said | None) -> bool:
        return said is None or said.status in (0, 8)

    def _revive(self) -> bool:
        """Somebody starts what a reboot or a hand has left down; return whether there was any."""
        down = [
            (node, found)
            for node in self.fleet.nodes.values()
            for found in node.containers.values()
            if found.state == "exited"
        ]
        for node, found in down:
            self.world.tell("world", f"docker start {found.name} on {node.name}")
            node.launch(found)
        if self._by_hand("stop-programs"):
            for node in self.fleet.nodes.values():
                for found in node.containers.values():
                    for program in found.programs if found.state == "running" else ():
                        down.append((node, found))
                        node.start_program(found, program)
        if down:
            self.world.sleep(60.0)
        return bool(down)

    def _follow_to_the_end(self, *, anew: bool = False) -> None:
        for _ in range(2):
            for one in self.operators:
                if anew and one.said and one.said[-1].status in (3, 4):
                    self._say(one, one.said[-1].line)
                for _ in range(FOLLOWED):
                    last = one.said[-1] if one.said else None
                    if last is None or self._settled(last):
                        break
                    line = "fab run.resume" if last.status is None else self._next(last, 0)
                    if not line:
                        break
                    said = self._say(one, line)
                    if (said.line, said.status, said.error) == (last.line, last.status, last.error):
                        break  # word for word as before: once more tells nothing new

    def _golden(self) -> list[str]:
        region = "cn-other" if self.schedule.scenario == "region" else "cn-lab"
        self.fleet.beat()
        return list(not_golden(self.fleet, self.wanted, region))

    def _before(self) -> list[str]:
        return list(not_before(self.fleet, self.before))

    def _judge(self, one: Operator, said: Said) -> None:
        """What a line has come to must be true."""
        took = said.ended - said.began
        if took > LONGEST:
            self.broken.append(f"`{said.line}` took {took / 60:.0f} minutes")
        if "BUG-0" in said.out:
            found = re.search(
                r"BUG-00\d  (.*)\n(?:.*\n){0,2}  evidence: (.*(?:\n {12}.*)*)", said.out
            )
            self.broken.append(f"omsfab itself failed: {found[0] if found else said.out[-500:]}")
        if said.line.startswith("fab run.undo") and said.status == 0 and not self._ended_well(said):
            self.broken.append(f"`{said.line}` ends with 0, and no run had ended well before")
        if "its-a-secret" in said.out:
            self.broken.append(f"`{said.line}` shows the password")
        self._judge_words(one, said)
        alone = not any(other.process is not None for other in self.operators if other is not one)
        own = said.line.startswith("fab run.") and "--from" not in said.line
        if own and alone and not self.human and "another run is changing rows" in said.out:
            self.broken.append(
                f"`{said.line}` says that another run is changing rows: it is itself"
            )
        here = Path(one.home).glob("[0-9]*/journal.jsonl")
        by_himself = said.error == "DB-030" and f"locked by {one.name}#" in said.out
        if by_himself and not self.human and not any(_is_open(path) for path in here):
            self.broken.append(f"`{said.line}` is locked out by a run that has ended here")
        if "container is not running" in said.out and "docker start" not in said.out:
            self.broken.append(
                f"`{said.line}` says that a container is down, not how it is started"
            )
        lease = one.leased
        if lease and said.status in (5, 6, 9, 11) and not self.human:
            since = self.fleet.lost(lease)
            if since is not None and since < said.ended - 45.0:
                self.broken.append(
                    f"`{said.line}` ends with {said.status} {said.error}, and judges though its"
                    " lock was lost"
                )
        recently = self.world.now - self.faults.disturbed < 45.0
        others = any(other.process is not None for other in self.operators if other is not one)
        if said.status == 0 and not recently:
            self._judge_success(said, others)
        if "had begun nothing" in said.out and self._done_by_others(one):
            return
        if said.status == 8 and not recently and not others and not self.human:
            untouched = self.fleet.nodes.keys() - self._touched()
            wrong = list(not_before(self.fleet, self.before, untouched=untouched))
            if "INIT-019" in said.out or self._by_hand("stop-programs"):
                wrong = list(not_before(self.fleet, self.before, spared=True))
            if wrong and not self._repaired():
                self.broken.append(f"`{said.line}` says rolled back, and {wrong[0]}")
        if said.status == 9 and "VER-001" in said.out and not self.fleet.inits:
            self.broken.append(f"`{said.line}` ends with 9 for a row that no run can have written")
        started = any(
            fault.what == "start-programs" and at >= said.began
            for at, fault in self.faults.happened
        )  # while the rollback stopped them: it says so, and does not fight
        if said.status == 9 and not (self.human or started or self._out_of_order(one)):
            self.broken.append(f"`{said.line}` ends with 9, and nobody has destroyed anything")

    def _touched(self) -> set[str]:
        """The nodes to which any run has begun something, by the journals of all jump hosts."""
        lines = (
            line
            for one in self.operators
            for path in Path(one.home).glob("[0-9]*/journal.jsonl")
            for line in path.read_bytes().splitlines()
            if b'"kind": "intent"' in line
        )
        return {json.loads(line)["node"] for line in lines}

    def _done_by_others(self, one: Operator) -> bool:
        """Whether somebody else has brought a run of his own to its end."""
        return any(
            said.status == 0 and said.line.startswith("fab scale.out")
            for other in self.operators
            if other is not one
            for said in other.said
        )

    def _by_hand(self, what: str) -> bool:
        return any(fault.what == what for _, fault in self.faults.happened)

    def _held_by_a_dba(self) -> list[Any]:
        """Connections of people that hold rows."""
        return [one for one in self.fleet.metadb.open.values() if one.user == "dba"]

    def _out_of_order(self, one: Operator) -> bool:
        """Whether something that a rollback needs does not answer now, or has not just before:
        nothing is rolled back that the jump host's own disk has no room to write down."""
        if self._held_by_a_dba():
            return True
        last = max(
            self.fleet.metadb_until,
            one.full_until,
            *(max(node.away_until, node.docker_until, node.full_until)
              for node in self.fleet.nodes.values()),
        )  # fmt: skip
        return last > max(0.0, self.world.now - 60)

    def _ended_well(self, undo: Said) -> bool:
        """Whether a line before had ended with 0, so that something good was rolled back."""
        return (
            any(
                said.status == 0
                and said.ended <= undo.began + READS
                and not said.line.startswith(CLOSES)
                for one in self.operators
                for said in one.said
            )
            or "nothing was changed" in undo.out
        )

    def _judge_words(self, one: Operator, said: Said) -> None:
        """That nothing was changed is said only where it is so."""
        if said.status in (0, 8, None):
            return
        if said.status != 3 and "\n  changed:  nothing\n" not in said.out:
            return
        for path in Path(one.home).glob("[0-9]*/journal.jsonl"):
            if not (path.parent / "fetched").exists() and self._began_in(path, said):
                self.broken.append(
                    f"`{said.line}` ends with {said.status} {said.error}, says that nothing was"
                    f" changed, and its journal has a step that was begun"
                )

    def _began_in(self, path: Path, said: Said) -> bool:
        """Whether the journal has a step that this line has begun."""
        lines = path.read_bytes().splitlines()
        return any(
            b'"kind": "intent"' in line and json.loads(line)["clock"] >= 1000.0 + said.began
            for line in lines
        )

    def _judge_success(self, said: Said, others: bool) -> None:
        task = said.line.split()[1]
        if task not in ("scale.out", "run.resume"):
            return
        if "RUN-028" in said.out or "run.undo: " in said.out or "node." in _of(said):
            return
        if others or re.search(r"  ! [A-Z]+-\d{3} [^$]*^scale\.out: 0 changes$", said.out, re.M):
            return  # it says that it has done nothing, and warns of what it saw
        if self._by_hand("lie") and any(s.line.startswith("fab run.undo") for s in self._lines()):
            return  # a known gap: what a forged journal hides is not rolled back, nor seen again
        # who was lost when all was proven, and only the copies and locks were left: it says so
        lost = re.findall(r"· no copy of the journal on (\S+) now: SSH-0", said.out)
        wrong = [one for one in self._golden() if one.partition(":")[0] not in lost]
        if "\nnot looked at: " in said.out:
            return  # it says that there is another region, and of which one it speaks
        if self._by_hand("init:early") and self._by_hand("docker-stop"):
            return  # who stops a container ends what docker_init.sh still did behind its banner
        edited = {"dba-host", "dba-url", "dba-delete", "metadb-yesterday", "docker-rm",
                  "docker-stop", "program-fatal"}  # fmt: skip
        if wrong and not any(
            f.what in edited and self.world.now - t < 120 for t, f in self.faults.happened
        ):
            self.broken.append(f"`{task}` ends with 0, and {wrong[0]}")

    def _lines(self) -> list[Said]:
        return [said for one in self.operators for said in one.said]

    def _given_up(self) -> bool:
        """Whether a run was closed by hand, so that what it did stays as it is."""
        return any(s.status == 0 and s.line.startswith("fab run.abandon") for s in self._lines())

    def _repaired(self) -> bool:
        """Whether a repair has brought about what is neither: config.yaml of hosts.yaml, say."""
        repairs = ("node.push-config", "node.refresh", "node.initialise", "node.stop")
        return any(
            said.line.split()[1] in repairs and (said.status == 0 or "intent" in said.line)
            for one in self.operators
            for said in one.said
        )

    def _judge_the_end(self) -> None:
        if not self.fleet.restored:
            self.watch.at_the_end()
        wrong, undone = self._golden(), self._before()
        if not wrong or not undone or self.human or self._repaired() or self._given_up():
            return
        last = [(one, one.said[-1]) for one in self.operators if one.said]
        told = "; ".join(
            f"{one.name}: `{said.line}` {said.status} {said.error}" for one, said in last
        )
        self.broken.append(
            f"after {FOLLOWED} next lines neither golden ({wrong[0]}) nor rolled back"
            f" ({undone[0]}): {told}"
        )


def _of(said: Said) -> str:
    found = re.search(r"^([\w.-]+): \d+ changes?", said.out, re.M)
    return found[1] if found else ""


# --- schedules -----------------------------------------------------------------------------------

SCENARIOS = ("physical", "auto", "physical", "vip", "two", "three", "vip", "region")
"""In turn: the longer scenario of the guide has more that can go wrong."""

FORWARD = (
    ["fab scale.out", "next", "next", "next"],
    ["fab scale.out", "next", "next", "next"],
    ["fab scale.out", "next2", "next", "next"],
    ["fab scale.out", "resume", "next", "undo", "next"],
    ["fab scale.out", "next", "next", "stop-init"],
    ["fab scale.out", "undo", "fab scale.out", "next"],
)
BACK = (
    ["fab scale.out", "undo", "next", "next"],
    ["fab scale.out", "undo", "undo", "next"],
    ["fab scale.out", "undo", "next", "fab scale.out", "next"],
    ["fab scale.out", "next", "undo", "next", "stop-init"],
)
SECOND = (
    ["fab scale.out", "next", "break", "next"],
    ["resume --from=oms1", "next", "next"],
    ["undo --from=oms1", "next", "next"],
    ["fab scale.out", "break", "undo --from=oms1", "fab scale.out"],
    ["fab scale.out", "wait:200", "break", "undo --from=oms1", "fab scale.out", "next"],
    ["fab scale.out", "wait:200", "break", "resume --from=oms1", "next"],
    ["fab scale.out", "wait:400", "break", "abandon", "fab scale.out", "next"],
    ["fab node.restart --node=oms1", "next"],
    ["fab node.push-config --node=oms1", "next"],
    ["fab node.refresh --node=oms1", "next"],
    ["fab node.initialise --node=oms1", "next"],
    ["fab node.start --node=oms1", "next"],
    ["fab node.stop --node=oms1", "fab node.start --node=oms1"],
)
STARTS = (2.0, 8.0, 20.0, 60.0, 110.0, 200.0, 320.0)

REGION = {"region": " --region=cn-other", "two": " --region=cn-lab"}

_WAYS: dict[str, tuple[Outcome, Outcome]] = {}
_PAIRS: dict[str, list[tuple[str, str]]] = {}


def _ways(scenario: str) -> tuple[Outcome, Outcome]:
    """The way there, and the way there and back, without a fault."""
    if scenario not in _WAYS:
        there = [f"fab scale.out{REGION.get(scenario, '')}"]
        ways = [run(Schedule(0, scenario, [(0.0, way)], plain=True))
                for way in (there, [*there, "undo"])]  # fmt: skip
        _WAYS[scenario] = ways[0], ways[1]
    return _WAYS[scenario]


def counted(scenario: str) -> tuple[dict[str, int], dict[str, int]]:
    """How many points the steps have on the way there, and on the way there and back."""
    there, back = _ways(scenario)
    return there.steps, back.steps


def never(scenario: str) -> dict[tuple[str, str], str]:
    """The pairs of step and fault that cannot be in this scenario, each with its reason."""
    return all_faults.never(_ways(scenario)[1].trace)


def pairs(scenario: str) -> list[tuple[str, str]]:
    """Every step with every fault that can be there, in an order that is always the same."""
    if scenario not in _PAIRS:
        _, back = counted(scenario)
        not_here = never(scenario)
        found = [(step, what) for step in back for what in all_faults.ALL
                 if (step, what) not in not_here]  # fmt: skip
        random.Random(0).shuffle(found)
        _PAIRS[scenario] = found
    return _PAIRS[scenario]


@dataclass(frozen=True)
class Focus:
    """Where a search looks first; empty = everywhere.  ``faults`` are bound to ``steps``,
    ``scripts`` are what the first person does, ``beside`` what the second."""

    scenario: str = ""
    faults: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    scripts: tuple[tuple[str, ...], ...] = ()
    beside: tuple[tuple[str, ...], ...] = ()
    more: tuple[str, ...] = ()
    """Faults at any step besides."""
    within: tuple[int, int] | None = None
    """Of the points of a step those where the faults are struck."""
    fixed: tuple[Fault, ...] = ()
    """Faults that are there always, just so."""


def focused(seed: int, focus: Focus) -> Schedule:
    """A schedule of the seed that looks where the focus says."""
    draw = random.Random(seed)
    base = drawn(seed)
    scenario = focus.scenario or base.scenario
    there, back = counted(scenario)
    script = list(draw.choice(focus.scripts)) if focus.scripts else base.operators[0][1]
    script = [re.sub(r" --region=\S+", "", act) for act in script]
    script = [act.replace("scale.out", f"scale.out{REGION.get(scenario, '')}") for act in script]
    steps = back if "undo" in script else there
    operators: list[tuple[float, list[str]]] = [(0.0, script)]
    if focus.beside:
        operators.append((draw.choice(STARTS), list(draw.choice(focus.beside))))
    chosen = [step for step in focus.steps if step in steps] or [*steps]
    faults = [
        _fault(draw, draw.choice(focus.faults or OFTEN), draw.choice(chosen), steps, 0)
        for _ in range(draw.choice((1, 1, 2)))
    ]
    if focus.within:
        faults = [replace(one, nth=draw.randint(*focus.within)) for one in faults]
    faults += focus.fixed
    faults += [
        _fault(draw, what, draw.choice([*steps]), steps, 0)
        for what in focus.more
        if draw.random() < 0.8
    ]
    return Schedule(seed, scenario, operators, faults)


def aim(seed: int) -> tuple[str, list[tuple[str, str]]]:
    """The scenario of a seed, and the pairs of step and fault that its schedule is about, each in
    turn: the first always, the second in some of them."""
    turn, place = divmod(seed, len(SCENARIOS))
    scenario = SCENARIOS[place]
    every = pairs(scenario)
    nth = turn * SCENARIOS.count(scenario) + SCENARIOS[:place].count(scenario)
    return scenario, [every[(nth + first) % len(every)] for first in (0, len(every) // 2)]


def drawn(seed: int) -> Schedule:
    """The schedule of a seed: each pair of step and fault in turn, and others beside it."""
    draw = random.Random(seed)
    scenario, ((step, what), (other, beside)) = aim(seed)
    there, back = counted(scenario)
    script = list(draw.choice((*FORWARD, *FORWARD, *BACK) if step in there else BACK))
    steps = back if "undo" in script or step not in there else there
    script = [act.replace("scale.out", f"scale.out{REGION.get(scenario, '')}") for act in script]
    operators: list[tuple[float, list[str]]] = [(0.0, script)]
    if draw.random() < 0.4:
        operators.append((draw.choice(STARTS) + draw.random() * 20, list(draw.choice(SECOND))))
        if draw.random() < 0.15:
            operators.append((draw.choice(STARTS) + draw.random() * 20, list(draw.choice(SECOND))))
    faults = [_fault(draw, what, step, steps, 0)]
    if other in steps and draw.random() < 0.5:
        faults.append(_fault(draw, beside, other, steps, 0))
    for _ in range(draw.choices((0, 1, 2), (6, 3, 1))[0]):
        who = draw.randrange(len(operators)) if draw.random() < 0.4 else 0
        faults.append(_fault(draw, draw.choice(OFTEN), draw.choice([*steps]), steps, who))
    return Schedule(seed, scenario, operators, faults)


OFTEN = (*all_faults.ALL, *("kill", "pause", "lost", "reboot") * 4)


def _fault(draw: random.Random, what: str, step: str, steps: dict[str, int], who: int) -> Fault:
    nth = 1 + draw.randrange(steps[step])
    node = draw.choice(("oms1", "oms1", "oms2"))
    arg = ""
    if what in ("away", "reboot", "docker-down", "node-full", "node-clock"):
        arg = f"{node}:{draw.choice((5, 40, 90, 400, 900))}"
    elif what in all_faults.NODE or (what.startswith("init:") and draw.random() < 0.5):
        arg = node
    elif what == "pause":
        arg = str(draw.choice((3, 40, 100, 150, 300, 900)))
    elif what in ("disk-full", "dba-lock", "metadb-away"):
        arg = str(draw.choice((3, 20, 40, 90, 400)))
    elif what == "clock":
        arg = str(draw.choice((-7200, -60, 90, 7200, 86400)))
    return Fault(what, nth, who, step, arg)
