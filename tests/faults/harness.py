"""A lab on which faults happen: omsfab as a process, and back to the beginning."""

from __future__ import annotations

import os
import pickle
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymysql
import yaml

from omsfab import lab as labs
from omsfab.lab import Lab, network, pasted
from omsfab.lab.profiles import chosen
from tests.faults import oracle

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
QUICK = {"INIT_SECONDS": "0"}
"""Knobs that are always turned: the waits of the stand-in image are not what is tested."""


DETECTED = "seconds until a dead peer is told of"
RESENT = "MB sent again after a cut transfer"
MEMORY = "MB of memory of omsfab"
OF_DS = 501
"""Group of the user ds, oms_drc_supervisor's, who has to read config.yaml."""

STOPPED = "seconds stopped beyond the initialisation"
SECOND = "changes of a second run of a finished plan"


FOLLOWED = 3
"""So many next lines lead from any error to an end."""
RolledBack, Waits, Differs = 8, 4, 5
"""Exit statuses."""


class Miss(AssertionError):
    """omsfab did not do what README.md asks for."""


class Skip(Exception):
    """This machine lacks the injector."""


@dataclass(frozen=True)
class Outcome:
    """What a call of fab came to."""

    words: tuple[str, ...]
    code: int
    out: str
    seconds: float
    memory: int = 0
    """Largest resident size of omsfab, MB."""
    at: tuple[float, float] = (0, 0)
    """When it began and ended, seconds since the epoch."""

    @property
    def error(self) -> str:
        """The id of the error, e.g. VIP-001; empty if there was none."""
        found = re.findall(r"^([A-Z]+-\d{3})  ", self.out, re.MULTILINE)
        return found[-1] if found else ""

    @property
    def next(self) -> str:
        """The ``next:`` line of the error: what an operator pastes."""
        found = re.findall(r"^  next:\s+(.*)$", self.out, re.MULTILINE)
        return found[-1] if found else ""


@dataclass
class Running:
    """A call of fab that goes on."""

    process: subprocess.Popen[bytes]
    words: tuple[str, ...]
    file: Path
    began: float

    def text(self) -> str:
        return self.file.read_text(errors="replace")

    def says(self, pattern: str, seconds: float = 300) -> None:
        """Wait until a line of its output matches; the limit ends a test, and promises nothing."""
        if not oracle.wait(
            lambda: bool(re.search(pattern, self.text())) or self.process.poll() is not None,
            seconds,
            0.02,
        ) or not re.search(pattern, self.text()):
            raise Miss(f"fab never said {pattern!r}:\n{self.text()[-1500:]}")

    def end(self, limit: float = 300) -> Outcome:
        memory, end = 0, time.monotonic() + limit
        began = time.time() - (time.monotonic() - self.began)
        while self.process.poll() is None:
            memory = max(memory, _peak(self.process.pid))
            if time.monotonic() > end:
                self.process.kill()
                self.process.wait()
                raise Miss(f"fab {' '.join(self.words)} did not end in {limit:.0f} s")
            time.sleep(0.05)
        seconds = time.monotonic() - self.began
        at = (began, time.time())
        return Outcome(self.words, self.process.returncode, self.text(), seconds, memory, at)


@dataclass
class Figures:
    """What must stay 0 over all faults, and what was seen."""

    lost: list[str] = field(default_factory=list)
    overlaps: list[str] = field(default_factory=list)
    surplus: list[str] = field(default_factory=list)
    false_success: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    no_way_back: list[str] = field(default_factory=list)
    """Runs that ended with 9."""
    measured: dict[str, float] = field(default_factory=dict)
    """Name of a figure of the board -> the worst that was seen."""
    reached: bool = False
    """Docker did something with a container while omsfab ran; else the image cannot matter."""
    spent: dict[str, float] = field(default_factory=dict)
    """Where the seconds went: back to the beginning, omsfab, its second run."""


class Harness:
    """One lab with OMS on its first node, cm_url its own address; every fault begins from there."""

    def __init__(self, lab: Lab, work: Path) -> None:
        self.lab = lab
        self.work = work
        self.figures = Figures()
        self.stack = ExitStack()
        self.names = tuple(node.name for node in lab.nodes)
        self.first, *self.new = self.names
        self.directory = work
        self.outcomes: list[Outcome] = []
        self.spared: subprocess.Popen[bytes] | None = None
        self._rows, self._config = _beginning(lab, self.first)
        self._before: dict[str, Any] = {}
        self.planned: dict[str, int] = {}
        self.wanted: tuple[str, ...] = self.names
        self.prefix: tuple[str, ...] = ()
        """Words in front of `fab`, for a jump host that is not as it should be."""
        self.more: dict[str, str] = {}
        """Environment of every call of fab."""
        self.follows = False
        """Whether an entry that ends with an error goes on with what that error says."""

    # --- one fault ---

    @contextmanager
    def fault(self, id: str) -> Iterator[None]:
        """Everything for one fault is new: hosts.yaml, state directory; afterwards all is undone."""
        self.directory = self.work / id
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.outcomes = []
        self.wanted = self.names
        self.prefix, self.more = (), {}
        self.planned = dict.fromkeys(self.names, 1)
        began = time.monotonic()
        self.reset()
        self._before = oracle.snapshot(self.lab)
        self.spend("reset", time.monotonic() - began)
        self.hosts()
        lost = None
        try:
            yield
        finally:
            with suppress(pymysql.Error, OSError):  # the MetaDB may be what was injured
                lost = self._lost()
            self.heal()
            self._count(id, lost)

    def heal(self) -> None:
        """Take the injected fault away."""
        stack, self.stack = self.stack, ExitStack()
        stack.close()

    def heal_but(self, running: Running) -> None:
        """Take the fault away and leave this call of fab alone."""
        self.spared = running.process
        self.heal()
        self.spared = None

    def undo(self, action: Callable[[], object]) -> None:
        """Remember how the injected fault is taken away."""
        self.stack.callback(action)

    @property
    def itself(self) -> bool:
        """Whether the image initialises itself each time that its container starts."""
        return chosen(self.lab.profile).knobs.get("SELF_INIT", ("",))[0] == "1"

    def hosts(self, url: str = "", nodes: Sequence[str] = (), **extra: object) -> Path:
        """Write hosts.yaml: all nodes behind the VIP unless said otherwise.

        ``init: always`` saves the seconds in which a new container is watched; beside an image that
        initialises itself it would be a second initialisation.
        """
        extra.setdefault("oms", {"init": "auto" if self.itself else "always"})
        text = self.lab.hosts_yaml(
            url or f"http://{self.lab.vip}:8088", nodes or self.names, **extra
        )
        path = self.directory / "hosts.yaml"
        path.write_text(text)
        shutil.copyfile(path, self.directory / "hosts-begun.yaml")
        return path

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change hosts.yaml as data."""
        path = self.directory / "hosts.yaml"
        data = yaml.safe_load(path.read_text())
        change(data)
        path.write_text(yaml.safe_dump(data, sort_keys=False))

    # --- omsfab ---

    def environment(self, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "OMSFAB_HOSTS": str(self.directory / "hosts.yaml"),
            "OMSFAB_HOME": str(self.directory / "state"),
            "NO_COLOR": "1",
            "COLUMNS": "200",
            **self.more,
            **more,
        }

    def start(self, *words: str, **more: str) -> Running:
        """Begin `fab …` as a process; it is ended with the fault."""
        file = self.directory / f"out-{len(list(self.directory.glob('out-*')))}"
        with file.open("wb") as out:
            process = subprocess.Popen(
                [*self.prefix, str(BIN / "fab"), *words],
                cwd=ROOT,
                env=self.environment(**more),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

        self.undo(lambda: self._kill(process))
        return Running(process, words, file, time.monotonic())

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None and process is not self.spared:
            process.kill()
            process.wait()

    def fab(self, *words: str, limit: float = 300, **more: str) -> Outcome:
        """Run `fab …` to its end."""
        return self.note(self.start(*words, **more).end(limit))

    def killed_at(self, point: str, *words: str) -> None:
        """Run `fab …`, which kills itself at this point."""
        killed = self.note(self.start(*words, OMSFAB_FAILPOINT=f"{point}:kill").end())
        self.ended(killed, -9)

    def note(self, outcome: Outcome) -> Outcome:
        """Keep an outcome for the board; a success that is none is counted."""
        self.outcomes.append(outcome)
        _well_told(outcome)
        self.spend("fab", outcome.seconds)
        self.figures.reached = self.figures.reached or self._reached(outcome)
        if outcome.code == 9:
            self.figures.no_way_back.append(f"{self.directory.name}: {outcome.error}")
        if outcome.memory:
            self.measure(MEMORY, outcome.memory, 150)
        changing = {"scale.out", "run.resume"} & set(outcome.words) and not (
            {"--plan", "--dry"} & set(outcome.words)
        )
        if outcome.code == 0 and changing and (missing := self.missing()):
            self.figures.false_success.append(f"{self.directory.name}: {missing[0]}")
            raise Miss(f"exit 0, and yet: {'; '.join(missing)}")
        return outcome

    def paste(self, outcome: Outcome, limit: float = 300) -> Outcome:
        """Run the ``next:`` line verbatim, in a shell, as an operator would; where that only looks,
        and finds all well or what is to be done, the operator goes on with what was begun."""
        if not outcome.next:
            raise Miss(f"{outcome.error} has no next line")
        done = self.paste_line(outcome.next, limit)
        begun = outcome.words[:1] in (("scale.out",), ("run.resume",))
        if done.code not in (0, Differs) or not begun or not LOOKS.search(outcome.next):
            return done
        return self.fab(*outcome.words, limit=limit)

    def paste_line(self, line: str, limit: float = 300) -> Outcome:
        """Run one line so.  What another program than `fab` finds is not judged, but that there is
        such a program."""
        file = self.directory / f"out-{len(list(self.directory.glob('out-*')))}"
        began = time.monotonic()
        with file.open("wb") as out:
            process = subprocess.Popen(
                [*self.prefix, "bash", "-c", f"fab() {{ command fab \"$@\" {'--yes' if _asks(line) else ''}; }}\n{line}"],
                cwd=ROOT, env=self.environment(EDITOR="true"), stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.undo(lambda: self._kill(process))
        calls = pasted.called(line)
        running = Running(process, tuple(calls[0] if calls else line.split()), file, began)
        if calls:
            return self.note(running.end(limit))
        outcome = running.end(60)
        if outcome.code in (126, 127):
            raise Miss(f"no shell here runs {line!r}: {outcome.out[-300:]}")
        return outcome

    def follow(self, outcome: Outcome, *, heal: bool = True) -> Outcome:
        """Do what the error says, as an operator would, and again if another one comes of it.

        Its fix is to take the injected fault away (``heal``).  It must end in service, in a
        rollback that is proven, or in a wait for somebody else with a reason; the same error and
        the same line twice with nothing changed between them lead nowhere.
        """
        if heal:
            self.heal()
            self.prefix, self.more = (), {}
            shutil.copyfile(self.directory / "hosts-begun.yaml", self.directory / "hosts.yaml")
        told: set[str] = set()
        for _ in range(FOLLOWED):
            if self._led_on(outcome):
                return outcome
            line = self._does_what_stands_there(outcome)
            seen = f"{outcome.error} {line} {oracle.snapshot(self.lab)}"
            if seen in told:
                raise Miss(f"a loop: {outcome.error} says {line!r} once more, nothing has changed")
            told.add(seen)
            outcome = self.paste_line(line)
            if outcome.code == 0 and {"--plan", "--dry"} & set(outcome.words):
                outcome = self.paste_line(line.partition("   # ")[0].replace(" --plan", ""))
        if not self._led_on(outcome):
            raise Miss(f"{FOLLOWED} next lines lead nowhere: {outcome.error}\n{outcome.out[-800:]}")
        return outcome

    def _led_on(self, outcome: Outcome) -> bool:
        """Whether it has ended well, rolled back, or waits for somebody else and says why."""
        if outcome.code == RolledBack:
            self.as_before()
        said = pasted.told(outcome.out)
        waits = outcome.code == Waits and bool(said and said.part("evidence"))
        return outcome.code in (0, RolledBack) or waits

    def _does_what_stands_there(self, outcome: Outcome) -> str:
        """Paste the lines of its fix, and what only looks; return the first line that does
        something, or the task again."""
        said = pasted.told(outcome.out)
        for line in filter(pasted.pastes, said.part("fix") if said else ()):
            self.paste_line(line)
        for line in said.part("next") if said else ():
            calls = pasted.called(line)
            if calls and pasted.parsed(calls[0])[0] not in pasted.LOOKS:
                return line
            self.paste_line(line)
        return " ".join(["fab", *map(shlex.quote, outcome.words)])

    def follow_the_last(self) -> None:
        """What an entry ends with, if it is an error, is followed to its end."""
        if self.outcomes and self.outcomes[-1].code > 0 and not self._led_on(self.outcomes[-1]):
            self.follow(self.outcomes[-1])

    def _reached(self, outcome: Outcome) -> bool:
        """Whether docker of any node entered, made or ended a container meanwhile; a docker that
        does not say counts as yes."""
        began, ended = outcome.at
        words = ["docker", "events", "--since", f"{began:.6f}", "--until", f"{ended:.6f}"]
        try:
            said = [self.lab.enter(n, [*words, "--filter", "type=container"]) for n in self.names]
        except labs.LabError:  # a node is down
            return True
        return any(one.returncode or one.stdout.strip() for one in said)

    # --- judging ---

    def spend(self, on: str, seconds: float) -> None:
        """Keep where the time went."""
        self.figures.spent[on] = round(self.figures.spent.get(on, 0) + seconds, 1)

    def measure(self, name: str, value: float, most: float) -> None:
        """Keep a figure for the board; beyond ``most`` the fault is missed."""
        seen = self.figures.measured
        seen[name] = max(seen.get(name, 0), round(value, 1))
        if value > most:
            raise Miss(f"{name}: {value:.1f}, at most {most:g} wanted")

    def again(self) -> None:
        """A finished plan has nothing to do the second time."""
        last = self.outcomes[-1] if self.outcomes else None
        if SECOND in self.figures.measured:
            return
        if last and last.code == 0 and self.wanted == self.names and not self.missing():
            first = self.figures.spent.get("fab", 0)
            outcome = self.fab("scale.out", "--yes")
            self.figures.spent["fab"] = first
            self.spend("again", outcome.seconds)
            found = re.findall(r"scale\.out: (\d+) changes?", outcome.out)
            self.outcomes.remove(outcome)
            self.measure(SECOND, int(found[-1]) if found else 99, 0)

    def missing(self) -> list[str]:
        """What is missing for the wanted nodes to be in service."""
        return list(oracle.in_service(self.lab, self.wanted))

    def refused(self, outcome: Outcome, code: int, *ids: str) -> Outcome:
        """The run ended so, with one of these ids, and nothing at all was changed."""
        self.ended(outcome, code, *ids)
        if changed := oracle.differences(self._before, oracle.snapshot(self.lab)):
            raise Miss(f"refused, and yet changed: {changed}")
        return outcome

    def production_untouched(self) -> None:
        """Rows, and the first node's processes and config.yaml, are as before."""
        now = oracle.snapshot(self.lab)
        keys = [k for k in self._before if k.startswith((self.first, "oms_"))]
        changed = oracle.differences(
            {k: self._before[k] for k in keys}, {k: now.get(k) for k in keys}
        )
        if changed:
            raise Miss(f"production was touched: {changed}")

    def as_before(self) -> None:
        """What was rolled back is gone: rows, files and containers are those of the beginning, and
        the programs run that did."""
        now = oracle.snapshot(self.lab)
        kept = {k: v for k, v in self._before.items() if not k.endswith(" inits")}
        if changed := oracle.differences(kept, {k: now.get(k) for k in kept}):
            raise Miss(f"not as before: {changed}")

    def ended(self, outcome: Outcome, code: int, *ids: str) -> Outcome:
        """The run ended with this status and, if any is named, one of these ids in its output."""
        if outcome.code != code:
            raise Miss(f"exit {outcome.code}, not {code}:\n{outcome.out[-1500:]}")
        if ids and not any(id in outcome.out for id in ids):
            raise Miss(f"none of {', '.join(ids)} is told:\n{outcome.out[-1500:]}")
        return outcome

    def says(self, outcome: Outcome, *texts: str) -> None:
        for text in texts:
            if text not in outcome.out:
                raise Miss(f"{text!r} is not told:\n{outcome.out[-1500:]}")

    def served(self) -> None:
        if missing := self.missing():
            raise Miss("; ".join(missing))

    def inits(self) -> dict[str, int]:
        """How often docker_init.sh ran on each node since the fault began."""
        return {
            name: self.lab.counters(name)["started"] - self._before[f"{name} inits"]
            for name in self.names
        }

    def files(self) -> list[Path]:
        """All files that this fault's runs have left: state directory, and mirrors on the nodes."""
        found = [p for p in self.directory.rglob("*") if p.is_file()]
        for name in self.names:
            mirror = self.lab.node_directory(name) / "var-omsfab"
            found += [p for p in mirror.rglob("*") if p.is_file()]
        return found

    def _lost(self) -> list[str]:
        return oracle.rows_lost(self.lab, self._before, self.files())

    def _count(self, id: str, lost: list[str] | None) -> None:
        """``lost`` was counted before the injected rows were taken away again, if it could be."""
        lab, figures = self.lab, self.figures
        figures.lost += [f"{id}: {row}" for row in (self._lost() if lost is None else lost)]
        figures.overlaps += [
            f"{id}: {name}" for name in self.names if lab.counters(name)["overlaps"]
        ]
        figures.surplus += [
            f"{id}: {name} {count}, planned {self.planned[name]}"
            for name, count in self.inits().items()
            if count > self.planned[name]
        ]
        secret = self.lab.metadb.password.encode()
        figures.secrets += [f"{id}: {p}" for p in self.files() if secret in p.read_bytes()]

    # --- back to the beginning ---

    def reset(self, *, images: bool = False) -> None:
        """OMS on the first node alone, with its own address; nothing of omsfab anywhere."""
        lab = self.lab
        lab.move_vip()
        for name in self.names:
            network.forget_neighbours({lab.node(name).netns: lab.vip})
        if lab.sql("select 1 from information_schema.schemata where schema_name = 'omsfab'"):
            lab.sql("drop database omsfab")
        for table in ("omsfab_lease", "omsfab_marker"):
            lab.sql(f"drop table if exists oms_rm.{table}")
        lab.sql("delete from oms_rm.oms_project")
        counted = (lab.node_directory(name) / labs.model.KNOBS for name in self.names)
        shapes = [path / "shape" for path in counted]
        shaped = any(path.exists() and path.read_text() for path in shapes)
        for name in self.new:
            if oracle.container(lab, name):
                lab.enter(name, ["docker", "rm", "-f", oracle.CONTAINER])
            lab.enter(name, ["sh", "-c", "rm -rf /data/* /data/.[!.]* /var/lib/omsfab/*"])
            self._image(name, there=not images)
            lab.knob(name, **QUICK)
        self._reset_first(shaped=shaped)

    def _image(self, name: str, *, there: bool) -> None:
        lab = self.lab
        found = lab.enter(name, ["docker", "image", "inspect", lab.image_id]).returncode == 0
        if found and not there:
            lab.enter(name, ["docker", "image", "rm", "-f", lab.image_id])
        if there and not found:
            done = lab.enter(name, ["docker", "load"], data=lab.package.read_bytes())
            if done.returncode:
                raise RuntimeError(done.stderr)

    def _reset_first(self, *, shaped: bool) -> None:
        """``shaped``: knobs have changed tables or keys, which have to come back."""
        lab, first = self.lab, self.first
        counted = lab.node_directory(first) / labs.model.KNOBS
        (counted / "knobs").unlink(missing_ok=True)
        lab.knob(first, **QUICK)
        (counted / "init.overlap").unlink(missing_ok=True)
        lab.enter(first, ["sh", "-c", "rm -rf /var/lib/omsfab/* /data/oms/oms_logs/omsfab"])
        lab.enter(first, ["sh", "-c", "rm -f /data/config.yaml.*"])
        if shaped:
            lab.enter(first, ["docker", "start", oracle.CONTAINER])
            self._shape()
        path = lab.path(first, oracle.CONFIG)
        # A run that was killed between its write and its chgrp leaves a file that user ds of the
        # container cannot read.
        same = path.read_bytes() == self._config and path.stat().st_mode & 0o777 == 0o640
        os.chown(path, 0, OF_DS)
        path.chmod(0o640)
        if not same:
            with path.open("r+b") as file:
                file.truncate()
                file.write(self._config)
        if not self._rows_same():
            same = False
        if oracle.container(lab, first).get("State", {}).get("Running") is not True:
            lab.enter(first, ["docker", "start", oracle.CONTAINER])
            same = False
        if not same:
            inside = ["docker", "exec", oracle.CONTAINER]
            lab.enter(first, [*inside, "supervisorctl", "stop", "all"])
            self._put_rows()
            if shaped:
                self._shape()
            module = "omsflow.scripts.units.oms_init_manager"
            lab.enter(first, [*inside, "python", "-m", module, "--init-config-file"])
        if not same or set(oracle.programs(lab, first).values()) != {"RUNNING"}:
            lab.enter(first, ["docker", "exec", oracle.CONTAINER, "supervisorctl", "start", "all"])
        ip = lab.node(first).ip
        online = "select 1 from oms_cm.host where host_status = 'ONLINE' and ip = %s"
        if not oracle.wait(lambda: bool(lab.sql(online, (ip,))), 60):
            raise RuntimeError(f"{first} does not come back ONLINE")
        if not oracle.wait(lambda: set(oracle.programs(lab, first).values()) == {"RUNNING"}, 60):
            raise RuntimeError(f"{first} does not come back to RUNNING")

    def _shape(self) -> None:
        """Tables and keys as the knobs of the first node say."""
        words = ["docker", "exec", oracle.CONTAINER, "python", "-m", "omslab.shape"]
        done = self.lab.enter(self.first, words)
        if done.returncode:
            raise RuntimeError(done.stderr)

    def _rows_same(self) -> bool:
        return all(
            [{k: v for k, v in row.items() if k not in oracle.VOLATILE} for row in self._rows[t]]
            == oracle.rows(self.lab, t)
            for t in oracle.TABLES
        )

    def _put_rows(self) -> None:
        connection = self.lab.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute("delete from oms_cm_heartbeat_1.heart_beat")
                for table, rows in self._rows.items():
                    cursor.execute(f"delete from {table}")
                    for row in rows:
                        names = ", ".join(f"`{name}`" for name in row)
                        marks = ", ".join(["%s"] * len(row))
                        cursor.execute(
                            f"insert into {table} ({names}) values ({marks})", tuple(row.values())
                        )
        finally:
            connection.close()


def _well_told(outcome: Outcome) -> None:
    """Whatever happened, there is no traceback; an error has an id, and a line that a shell reads."""
    if "Traceback" in outcome.out:
        raise Miss(f"a traceback:\n{outcome.out[-1500:]}")
    if outcome.code <= 0 or not outcome.out:  # ended well, by a signal, or with nowhere to say it
        return
    if TELLS.match(" ".join(outcome.words)) and outcome.code in (3, 5):  # what it found, no error
        return
    if not outcome.error:
        raise Miss(f"exit {outcome.code} without an error:\n{outcome.out[-1500:]}")
    for part in ("changed:", "next:"):
        if f"\n  {part}" not in outcome.out:
            raise Miss(f"{outcome.error} has no {part}:\n{outcome.out[-1500:]}")
    if wrong := pasted.judge(outcome.out, outcome.words, outcome.code):
        raise Miss("; ".join(wrong))


def _peak(pid: int) -> int:
    """Largest resident size so far, MB; 0 when the process is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) // 1024 if found else 0


def _beginning(lab: Lab, first: str) -> tuple[dict[str, Any], bytes]:
    """Rows and config.yaml as the deployment left them, kept beside the lab for a second run."""
    note = lab.directory / "faults-beginning"
    if not note.exists():
        rows = {table: oracle.rows(lab, table, all_columns=True) for table in oracle.TABLES}
        if [row["cm_url"] for row in rows["oms_rm.cluster_info"]] != [
            f"http://{lab.node(first).ip}:8088"
        ]:
            raise RuntimeError(
                f"lab {lab.name} was scaled out already: fab lab.down --name={lab.name}"
            )
        note.write_bytes(pickle.dumps((rows, lab.path(first, oracle.CONFIG).read_bytes())))
    rows, config = pickle.loads(note.read_bytes())
    return rows, config


TELLS = re.compile(r"(-H \S+ )?(fleet\.(check|status|metrics)|node\.status)\b")
"""Tasks whose exit status is what they tell."""

LOOKS = re.compile(r"(node\.(check|status|logs)|fleet\.(check|show|status)|(run|meta|lock)\.show)")
ASKS = re.compile(r"fab (-H \S+ )?(scale\.|run\.(resume|undo)|node\.)")


def _asks(line: str) -> bool:
    """Whether the pasted line is of a task that asks "carry this out?"; the answer is yes."""
    if "--plan" in line or "--yes" in line or LOOKS.search(line):
        return False
    return bool(ASKS.search(line))


def packages(home: Path, into: Path) -> None:
    """Take over what was learned of the package, so that it is not read again for each fault."""
    for path in home.rglob("package-*.json"):
        target = into / path.parent.name
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copy2(path, target / path.name)
