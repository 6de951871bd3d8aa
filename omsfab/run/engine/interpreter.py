"""The one interpreter of probes and effects: what is said in a plan is done here."""

from __future__ import annotations

import hashlib
import json
import math
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from typing_extensions import assert_never

from omsfab.command import Command, command, question, shown
from omsfab.commands import docker, files, node_checks, processes, supervisor
from omsfab.commands import init_job as job_words
from omsfab.commands.processes import Process, stores_text
from omsfab.errors import (
    InputError,
    LockLost,
    LostSession,
    Next,
    NoAnswer,
    OmsfabError,
    OutcomeUnknown,
    StepFailed,
    Unreachable,
)
from omsfab.fleet import certificate as certificates
from omsfab.fleet import oms_config
from omsfab.fleet.mask import Redactor
from omsfab.metadb.client import Cleared, Lease, MetaDbEdge
from omsfab.plan.records import (
    AnswersWithin,
    Await,
    ClearRows,
    CmUrlIs,
    ConfigSays,
    CopyFile,
    DropHosts,
    Effect,
    EndInit,
    ExitsZero,
    FromAny,
    Guarded,
    Healthy,
    HostsOnline,
    InitOver,
    IsOms,
    Job,
    KeepRows,
    LetsIn,
    MetaDbAnswersWithin,
    MetaDbVersion,
    NothingLeftOver,
    NothingRuns,
    OfMetaDb,
    OthersUnchanged,
    OtherUrls,
    OutputIs,
    Probe,
    Programs,
    PutBack,
    ReachesMember,
    RestoreRows,
    RowsAsSaved,
    RowsBack,
    RowsKept,
    RowsShown,
    Run,
    SameTime,
    SaveRows,
    Send,
    Step,
    Write,
)
from omsfab.run import clock
from omsfab.run.engine import init_job as jobs
from omsfab.run.engine.packages import Packages
from omsfab.secret import Secret
from omsfab.ssh.protocol import Result, Shell

SIGN_EVERY = 10.0
"""Seconds between two words about a wait: longer silence looks like a standstill."""

LONGEST = 160
"""Characters of a command line that are told; those of a JVM go on for pages."""

LOOK = 5.0
"""Seconds between two looks at the programs behind a page."""

STUCK = 30.0
"""Seconds without any program on its way up or down: a broken one does not start by itself."""

OTHERWISE = "INIT-023"
"""docker_init.sh did not end as expected, and its success is proven otherwise."""

ROUNDED = 3.0
"""Seconds by which ages that two programs tell in whole seconds may differ."""

Tell: TypeAlias = Callable[..., None]
"""Takes kind, text, and data where the kind has any (plan/events.py)."""


def silent(*said: object) -> None:
    """Tell nobody."""


class Interpreter:
    """The outside world of one run: a shell per node, the rows of MetaDB, the run's directory.

    ``mirror`` copies a file of the run to a second machine before rows are deleted.
    ``ending`` is the line that ends a docker_init.sh that hangs; with ``stop_init`` it was given.
    """

    def __init__(
        self,
        run_id: str,
        directory: Path,
        shells: Mapping[str, Shell],
        metadb: MetaDbEdge,
        *,
        secrets: Sequence[Secret] = (),
        mirror: Callable[[Path], None] = lambda path: None,
        lease: Lease | None = None,
        ending: Next | None = None,
        stop_init: bool = False,
    ) -> None:
        self._run_id = run_id
        self._ending = ending
        self._stop_init = stop_init
        self._backup = directory / "backup"
        self._packages = Packages(directory)
        self._shells = shells
        self._metadb = metadb
        self._secrets = tuple(secrets)
        self._redact = Redactor(self._secrets)
        self._mirror = mirror
        self._lease = lease
        self._states: dict[str, Mapping[str, str]] = {}
        self._settled: dict[str, float] = {}
        self._stores: dict[str, tuple[str, ...]] = {}

    # --- questions ---

    def ask(self, probe: Probe, node: str, tell: Tell = silent) -> str | None:  # noqa: C901  (a case a kind)
        """Return None if it is so, else why not, in the operator's words."""
        match probe:
            case OutputIs(command, text):
                result = self._shells[node].run(question(command))
                said = result.out.strip()
                return None if (result.status, said) == (0, text) else _words(command, result)
            case ExitsZero(command, otherwise):
                return _failure(self._shells[node].run(question(command)), otherwise)
            case ConfigSays(path, content):
                return self._config(node, path, content)
            case ReachesMember(host, port, members):
                return self._arrives(node, host, port, members)
            case AnswersWithin(limit):
                return self._quick(node, limit)
            case Programs():
                return self._programs(probe, node, tell)
            case NothingRuns(container, command):
                return self._left_over(node, container, command, tell)
            case SameTime(command, apart, zone):
                return self._same_time(node, command, apart, zone=zone)
            case LetsIn():
                return self._metadb.kept_out(node)
            case Guarded(host, ports):
                found = [str(port) for port in ports if reached(host, port)]
                return f"{host} answers on {', '.join(found)}" if found else None
            case FromAny():
                return self._from_any(probe, node)
            case IsOms(page, cm):
                return self._is_oms(node, page, cm)
            case Healthy(command, cm, _):
                return self._healthy(self._shells[node], command, cm, tell)
            case InitOver(job):
                return jobs.wait_over(
                    self._shells[node], job, lambda text: tell("state", text), self._ending
                )
            case Await(inner, limit, every):
                return self._await(inner, node, limit, every, tell)
            case _:
                return self._ask_metadb(probe)

    def _ask_metadb(self, probe: OfMetaDb) -> str | None:  # noqa: C901  (a case a kind)
        match probe:
            case CmUrlIs(location, url, old):
                return self._metadb.check_cm_url(location, url, old)
            case OtherUrls(location, url, old):
                return self._metadb.check_other_urls(location, url, old)
            case RowsShown(clear):
                return self._metadb.changed_rows(clear)
            case RowsBack(location, old, new):
                return self._metadb.check_rows_back(location, self._backup, old, new)
            case NothingLeftOver():
                return self._metadb.check_left_over()
            case OthersUnchanged(location):
                self._metadb.others_unchanged(location, self._backup)
                return None
            case RowsKept(location):
                run = self._lease.run_id if self._lease else self._run_id
                return "its rows were deleted" if self._metadb.deleted_by(run, location) else None
            case RowsAsSaved(location):
                return self._rows_as_saved(location)
            case HostsOnline(location, heartbeat_db, ips, beat_age):
                return self._metadb.check_hosts_online(location, heartbeat_db, ips, beat_age)
            case MetaDbAnswersWithin(limit):
                took = self._metadb.statement_time()
                return None if took <= limit else f"a statement took {took * 1000:.0f} ms"
            case MetaDbVersion(version):
                return _other_version(version, self._metadb.oms_versions())
            case _:
                assert_never(probe)

    def _programs(self, probe: Programs, node: str, tell: Tell) -> str | None:
        result = self._shells[node].run(question(probe.command))
        self._seen(node, result, tell)
        if not supervisor.states(result.out):
            self._states.pop(node, None)
        return programs_say(result, probe)

    def _rows_as_saved(self, location: int) -> str | None:
        """A run that was killed before it had saved a row has deleted none: its marker says so."""
        run = self._lease.run_id if self._lease else self._run_id
        saved = any(self._backup.glob("*.jsonl"))
        if not saved and not self._metadb.deleted_by(run, location):
            return None
        return self._metadb.rows_as_saved(location, self._backup)

    def _await(self, probe: Probe, node: str, limit: float, every: float, tell: Tell) -> str | None:
        began = told = moved = time.monotonic()
        before, looked, down = self._states.get(node), -LOOK, None
        while (why := self.ask(probe, node, tell)) is not None:
            now = time.monotonic()
            rests = isinstance(probe, Programs) and self._at_rest(node, probe)
            if isinstance(probe, Healthy) and probe.behind:
                if now - looked >= LOOK:
                    looked, down = now, self.ask(probe.behind, node, tell)
                rests = down is not None and self._at_rest(node, probe.behind)
                if rests and self._states.get(node) == before:  # an earlier step has waited for it
                    return f"{why}; not waited for: {down}"
            if not rests:
                moved = now
            if now - began > limit or now - moved > STUCK:
                return "; ".join(filter(None, (f"{why} (asked for {now - began:.0f} s)", down)))
            if now - told >= SIGN_EVERY:
                told = now
                text = f"waiting, {now - began:.0f} s of {limit:.0f} s: {why}"
                tell("state", text, {"alive": now - began})
            time.sleep(every)
        return None

    def _healthy(self, shell: Shell, page: Command, cm: Command | None, tell: Tell) -> str | None:
        why = health_says(said := shell.run(question(page)))
        if why is None or cm is None or not no_health_page(said):
            return why
        if shell.run(question(cm)).status:
            return why
        tell("state", "there is no health page, as before 4.2.11: the page of CM answers instead")
        return None

    def _seen(self, node: str, result: Result, tell: Tell) -> None:
        """Tell the programs' states where they are not those last told."""
        states = supervisor.states(result.out)
        settled = self._settled.pop(node, None)
        if not states or (states == self._states.get(node) and settled is None):
            return
        self._states[node] = states
        data: dict[str, object] = {"states": states, "uptime": supervisor.uptimes(result.out)}
        if settled is not None:
            data["settled"] = settled
        runs = sum(state == "RUNNING" for state in states.values())
        tell("programs", f"{runs} of {len(states)} programs RUNNING", data)

    def _left_over(self, node: str, container: str, listing: Command, tell: Tell) -> str | None:
        """Each with what is known of it, and the line that ends them; Stores are told of once."""
        said = self._shells[node].run(question(listing))
        if said.status:
            return f"it cannot be asked: {said.err.strip() or said.out.strip()}"
        there = processes.found(said.out)
        stores = processes.stores(there)
        if stores and stores != self._stores.get(node):
            tell("state", stores_text(stores))
        self._stores[node] = stores
        left = processes.left_over(there)
        ending = processes.ending(container, left)
        # The note keeps a shell from reading what is said behind the line.
        by_hand = self._shells[node].ssh_line(ending, "KILL: it has ignored TERM") if ending else ""
        lines = [process_text(one, container) for one in left]
        return "\n".join([*lines, *([f"ended by: {by_hand}"] if by_hand else [])]) or None

    def _at_rest(self, node: str, probe: Programs) -> bool:
        """Whether no program of the node is on its way, as they were last seen: then nobody starts
        what does not run."""
        states = set(self._states.get(node, {}).values())
        return probe.state == "RUNNING" and states.isdisjoint(supervisor.MOVING) and bool(states)

    def _look(self, node: str, container: str, tell: Tell) -> Mapping[str, float]:
        """See what the programs do now, and return for how long each has run; who cannot be asked
        tells nothing."""
        with suppress(OmsfabError):
            said = self._shells[node].run(question(supervisor.status(container)))
            self._seen(node, said, tell)
            return supervisor.uptimes(said.out)
        return {}

    def _arrives(self, node: str, host: str, port: int, members: Sequence[str]) -> str | None:
        """Hold a connection open and look for it, by the address it comes from, on the members."""
        found: list[str] = []

        def look(line: str) -> None:
            peer = line.removeprefix("held ")
            found.extend(
                name
                for name in members
                if peer
                in self._shells[name].run(question(node_checks.connections(port))).out.split()
            )

        held = self._shells[node].run(question(node_checks.hold(host, port)), look)
        if held.status != 0:
            return held.out.strip() or held.err.strip()
        names = ", ".join(members)
        return None if found else f"the connection from {node} is found on none of {names}"

    def _quick(self, node: str, limit: float) -> str | None:
        began = time.monotonic()
        self._shells[node].run(question(command("true")))
        took = time.monotonic() - began
        # in whole seconds, so that nodes that are alike are one finding
        return None if took <= limit else f"it took {math.ceil(took)} s to answer"

    def _config(self, node: str, path: str, content: Secret) -> str | None:
        result = self._shells[node].run(question(files.read_file(path)))
        if result.status != 0:
            return _absent(path, result) or f"{path} cannot be read: {result.err.strip()}"
        found = oms_config.differences(
            oms_config.read(result.out), oms_config.read(content.reveal())
        )
        return "\n".join(map(str, found)) or None

    def _from_any(self, probe: FromAny, node: str) -> str | None:
        """The answer of the node itself is told, where nobody else gets through either."""
        answers: dict[str, str] = {}
        for name in dict.fromkeys((node, *probe.nodes)):
            try:
                why = self.ask(probe.probe, name)
            except Unreachable as away:
                why = away.what
            if why is None:
                return None
            answers[name] = why
        if probe.host and reached(probe.host, probe.port):
            return None
        return answers[node]

    def _is_oms(self, node: str, page: Command, cm: Command | None) -> str | None:
        """An OMS that is ill is one all the same; images before 4.2.11 may have no such page."""
        said = self._shells[node].run(question(page))
        try:
            if isinstance(json.loads(said.out)["data"]["healthy"], bool):
                return None
        except (ValueError, KeyError, TypeError):
            pass
        if cm and self._shells[node].run(question(cm)).status == 0:
            return None
        return health_says(said)

    def _same_time(
        self, node: str, command: Command, apart: float, *, zone: bool = True
    ) -> str | None:
        """Time that passes between the two questions is no difference."""
        began = time.monotonic()
        there, wanted = self._metadb.time_and_zone()
        said = self._shells[node].run(question(command)).out.split()
        took = time.monotonic() - began
        try:
            here, offset = float(said[0]), _minutes(said[1])
        except (IndexError, ValueError):
            return f"the node does not tell its time: {' '.join(said)!r}"
        if zone and offset != wanted:
            return f"it is {_zone(offset)} from UTC there, MetaDB {_zone(wanted)}"
        if not -apart <= here - there <= apart + took:
            return f"its clock differs {here - there:+.0f} s from MetaDB's"
        return None

    def ended(self, step: Step, attempt: int) -> bool:
        """An initialisation that the journal calls done may run yet, or have failed: its attempt
        directory knows; of deleted rows MetaDB's marker does."""
        try:
            for effect in step.apply:
                if isinstance(effect, Job):
                    name = f"{self._run_id}-{step.name}-{attempt}"
                    if not jobs.ended_well(self._shells[step.node], effect, name):
                        return False
                elif isinstance(effect, ClearRows):
                    run = self._lease.run_id if self._lease else self._run_id
                    if not self._metadb.deleted_by(run, effect.location):
                        return False
        except LockLost:
            raise
        except OmsfabError:  # who needs that node tells
            return True
        return True

    def begun(self, step: Step, attempt: int) -> bool:
        """The attempt directory on the node tells, whoever made it."""
        name = f"{self._run_id}-{step.name}-{attempt}"
        shell = self._shells[step.node]
        return any(
            jobs.was_begun(shell, effect, name) for effect in step.apply if isinstance(effect, Job)
        )

    # --- changes ---

    def perform(self, effect: Effect, step: Step, attempt: int, tell: Tell) -> None:  # noqa: C901  (a case a kind)
        """Carry the effect out, or raise what stands in its way."""
        match effect:
            case Run():
                self._run(effect, step, tell)
            case Write(path, content, mode):
                self._write(step.node, path, content, mode)
            case CopyFile(source, path, sha256, mode):
                self._write(step.node, path, _confirmed(source, sha256, mode), mode)
            case PutBack():
                self._put_back(step.node, effect, tell)
            case Send():
                self._packages.send(self._shells[step.node], effect, tell)
            case Job():
                self._job(effect, step, f"{self._run_id}-{step.name}-{attempt}", tell)
            case EndInit(job):
                jobs.end(self._shells[step.node], job, lambda text: tell("state", text))
            case ClearRows() | KeepRows():
                self._rows(effect, tell)
            case SaveRows(location, tables):
                saved = self._metadb.save(location, self._backup, self._run_id, tables, fresh=True)
                for file in saved.files:
                    self._mirror(file)
                tell("state", f"saved: {', '.join(map(str, saved.files))}")
            case DropHosts():
                dropped = self._metadb.drop_hosts(
                    effect, lease=self._held(), backup_dir=self._backup
                )
                tell("state", cleared_text(dropped))
            case RestoreRows():
                self._restore(effect, attempt, tell)
            case _:
                assert_never(effect)

    def _run(self, effect: Run, step: Step, tell: Tell) -> None:
        command = docker.by_run(effect.command, self._run_id)
        if effect.programs in ("stop", "restart"):
            self._states.pop(step.node, None)
            tell("programs", "all programs are being stopped", {"act": "stop"})
        with self._lines(tell) as on_line:
            result = self._shells[step.node].run(command, on_line)
        if result.status != 0 and not effect.any_status:
            raise OmsfabError(
                "CMD-001",
                f"a command ended with {result.status}: {shown(command)}",
                evidence=self.redact(result.err.strip() or result.out.strip())[-2000:],
                fix=step.fix,
                next=step.next,
            )
        if effect.programs in ("start", "restart"):
            self._settled[step.node] = clock.now()

    def _restore(self, effect: RestoreRows, attempt: int, tell: Tell) -> None:
        lease, source = self._held(), effect.source
        deleted = self._metadb.deleted_by(lease.run_id, effect.location)
        if not deleted and not source and not effect.saved:
            return tell("state", "the run deleted no row, so none is put back")
        restored = self._metadb.restore_region(
            effect,
            lease=lease,
            backup_dir=self._backup,
            source=Path(source) if source else None,
            attempt=attempt if effect.once_more else 0,
        )
        tell("state", restored_text(restored))

    def _rows(self, effect: ClearRows | KeepRows, tell: Tell) -> None:
        def mirror(path: Path) -> None:
            self._mirror(path)
            tell("state", f"{path.name}: saved, verified, copied")

        if isinstance(effect, KeepRows):
            kept = self._metadb.keep_region(
                effect, lease=self._held(), backup_dir=self._backup, mirror=mirror
            )
            return tell("state", kept_text(kept))
        cleared = self._metadb.clear_region(
            effect, lease=self._held(), backup_dir=self._backup, mirror=mirror
        )
        for note in cleared.notes:
            tell("warning", note)
        tell("state", cleared_text(cleared, effect.rows))

    def _job(self, job: Job, step: Step, attempt: str, tell: Tell) -> None:
        """Follow it to its end, and see what the programs do then, however it ended.

        Those that it has not restarted are: its supervisorctl may have reached nobody, and ends
        with 0 all the same.
        """
        shell = self._shells[step.node]
        try:
            with self._lines(tell) as on_line:
                result = jobs.follow(
                    shell,
                    job,
                    attempt,
                    on_line=on_line,
                    on_state=lambda text: tell("state", text),
                    on_phase=lambda phase, text: tell("state", text, {"phase": phase}),
                    on_alive=lambda spent, text: tell("state", text, {"alive": spent}),
                    secrets=self._secrets,
                    ending=self._ending,
                    stop=self._stop_init,
                )
            tell("state", result.note)
            if result.warning:
                tell("warning", f"{OTHERWISE} {result.warning}", {"id": OTHERWISE})
        except OutcomeUnknown:  # it goes on, or the node is away
            raise
        except OmsfabError:
            self._look(step.node, job.container, tell)
            raise
        began = time.monotonic() - result.seconds
        with suppress(OmsfabError, ValueError):
            ago = float(shell.run(question(job_words.ended(f"{job.directory}/{attempt}"))).out)
            self._settled[step.node] = clock.now() - max(ago, 0.0)
        uptimes = self._look(step.node, job.container, tell)
        since = time.monotonic() - began + ROUNDED
        older = [name for name in supervisor.CONFIGURED if uptimes.get(name, 0) > since]
        known = not result.adopted and result.seconds >= 0  # a node's clock may be set back
        if older and known:
            self._restart_older(step.node, job, older, tell)

    def _restart_older(self, node: str, job: Job, older: Sequence[str], tell: Tell) -> None:
        """Whether they run then, the steps behind this one prove."""
        script, names = job_words.script_name(job.argv), ", ".join(older)
        text = f"{script} has not restarted {names}: up since before it; restarted now"
        tell("warning", f"{OTHERWISE} {text}", {"id": OTHERWISE})
        try:
            with self._lines(tell) as on_line:
                self._shells[node].run(supervisor.restart(job.container, *older), on_line)
        except (LostSession, NoAnswer, Unreachable) as lost:
            tell("state", f"{lost.id} {lost.what}")
        self._settled[node] = clock.now()
        self._look(node, job.container, tell)

    def _write(self, node: str, path: str, content: Secret, mode: int | None) -> None:
        self._shells[node].write(path, content, mode, f"{path}.omsfab-{self._run_id}.bak")

    def _put_back(self, node: str, back: PutBack, tell: Callable[..., None]) -> None:
        path, backup = back.path, back.backup
        result = self._shells[node].run(files.put_back(path, backup, aside=back.aside))
        if result.status == files.NOT_OURS:
            raise StepFailed(
                "CFG-013",
                f"{path} was written by somebody else since this run",
                evidence=result.out.strip(),
                next=self._shells[node].ssh_line(f"ls -l {path} {backup}"),
            )
        if result.status:
            raise StepFailed(
                "CFG-007",
                f"{path} cannot be put back from {backup}",
                evidence=(result.out + result.err).strip(),
                fix="make room or see the rights there",
            )
        if result.out.strip():
            tell("state", result.out.strip())

    def _held(self) -> Lease:
        if self._lease is None:  # a planner's task lacks ``lease`` in TASKS
            raise OmsfabError("BUG-002", "rows are to be changed without the lock in MetaDB")
        return self._lease

    def redact(self, text: str) -> str:
        """Return the text as it may be shown: nothing a terminal obeys, no secret of the fleet."""
        return self._redact(text)

    @contextmanager
    def _lines(self, tell: Callable[..., None]) -> Iterator[Callable[[str], None]]:
        """Tell lines as they may be shown; one that may hold half a secret waits for the next."""
        lines = self._redact.lines()

        def on_line(line: str) -> None:
            for shown in lines.feed(line):
                tell("line", shown)

        try:
            yield on_line
        finally:
            for shown in lines.rest():
                tell("line", shown)


def _confirmed(source: Path, sha256: str, mode: int) -> Secret:
    """Return the file if it is the one that the plan was made with."""
    try:
        content = certificates.text(source, private=mode == 0o600)
    except InputError as error:
        why = f"{error.what}: {error.evidence}"
    else:
        found = hashlib.sha256(content.reveal().encode()).hexdigest()
        if found == sha256:
            return content
        why = f"its sha256 was {sha256} and is {found}"
    raise StepFailed(
        "PLAN-004",
        f"{source} is not the file that was confirmed",
        evidence=why,
        fix=f"put the former {source} back",
    )


def kept_text(kept: Cleared) -> str:
    came = ", ".join(str(path) for path in kept.files)
    return f"saved and taken out once more: {came}" if came else "no row has come back"


def cleared_text(cleared: Cleared, how: str = "delete") -> str:
    """Return e.g. ``saved and deleted: cluster_info 1, host 1; backup /…/cluster.jsonl``."""
    rows = ", ".join(f"{table} {count}" for table, count in cleared.rows.items())
    does = "deleted" if how == "delete" else "changed"
    done = f"were saved and {does} before" if cleared.already else f"saved and {does}"
    return f"{done}: {rows}; backup {', '.join(str(path) for path in cleared.files)}"


def restored_text(restored: Cleared) -> str:
    rows = ", ".join(f"{table} {count}" for table, count in restored.rows.items())
    return f"put back, equal to the backup byte by byte: {rows}"


def reached(host: str, port: int) -> bool:
    """Whether the port answers this machine within three seconds."""
    try:
        with socket.create_connection((host, port), timeout=3):
            return True
    except OSError:
        return False


def _other_version(wanted: tuple[int, ...], found: Sequence[str]) -> str | None:
    """Compare as many numbers as both have; a MetaDB that tells none is not judged."""
    numbers = [tuple(map(int, re.findall(r"\d+", text)[:3])) for text in found]
    newest = max((one for one in numbers if one), default=())
    size = min(len(newest), len(wanted), 3)
    if not size or newest[:size] == wanted[:size]:
        return None
    return f"oms_version in MetaDB is {'.'.join(map(str, newest))}"


def _minutes(offset: str) -> int:
    """``+0530`` -> 330."""
    sign = -1 if offset[0] == "-" else 1
    return sign * (int(offset[1:3]) * 60 + int(offset[3:5]))


def _zone(minutes: int) -> str:
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def _failure(result: Result, otherwise: str) -> str | None:
    if result.status == 0:
        return None
    said = result.out.strip() or result.err.strip()
    return ": ".join(filter(None, (otherwise, said))) or "not so"


def _words(command: Command, result: Result) -> str:
    said = result.out.strip() or result.err.strip() or "nothing"
    return _absent(command.argv[-1], result) or (
        f"{shown(command)} says {said!r} (status {result.status})"
    )


def _absent(name: str, result: Result) -> str:
    """Return that there is none yet, where a tool says so at length; else nothing."""
    absent = re.search("no such (image|container|file or directory)", result.err, re.I)
    return f"{name} is not there" if result.status and absent else ""


def process_text(one: Process, container: str) -> str:
    """Return e.g. ``pid 7 in oms_427, user ds, of oms_drc_cm, holds port 8088: java -jar …``."""
    ports = f"holds port {', '.join(map(str, one.ports))}" if one.ports else ""
    where = "of this machine, none of the container" if one.outside else f"in {container}"
    parts = (
        f"pid {one.pid or 'unknown'} {where}",
        f"user {one.user}" if one.user else "",
        f"of {one.program}" if one.program else "",
        ports,
    )
    words = one.command if len(one.command) <= LONGEST else f"{one.command[:LONGEST]}…"
    return f"{', '.join(filter(None, parts))}: {words or 'nobody tells what it is'}"


def programs_say(result: Result, probe: Programs) -> str | None:
    """Return None if the programs are as the probe wants them, else which are not."""
    found = supervisor.states(result.out)
    if not found:
        return f"supervisorctl says: {(result.out.strip() or result.err.strip())!r}"
    if probe.state == "STOPPED":
        wrong = [f"{name} is {now}" for name, now in found.items() if now in supervisor.ALIVE]
        return ", ".join(wrong) or None
    wanted = probe.names or tuple(found)
    states = {name: found.get(name, "not there") for name in wanted}
    if probe.known:
        states = {name: now for name, now in states.items() if name in found}
    return ", ".join(f"{name} is {now}" for name, now in states.items() if now != "RUNNING") or None


def health_says(result: Result) -> str | None:
    try:
        if json.loads(result.out)["data"]["healthy"] is True:
            return None
    except (ValueError, KeyError, TypeError):
        pass
    said = result.out.strip() or result.err.strip() or "nothing"
    return f"the health page says {said[:300]}"


def no_health_page(result: Result) -> bool:
    """Whether the console has no such page: 404, or what is no JSON at all, such as its first page.

    A front that answers 502 has nothing behind it yet.
    """
    return result.status == 44 or (result.status == 0 and result.out.lstrip()[:1] == "<")
