"""From a task's flags to its end: look, plan, show, confirm, lock, run, say what came of it."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
import secrets as randomness
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from rich.console import Console

from omsfab.commands import posix
from omsfab.commands.command import command
from omsfab.edges import package as packages
from omsfab.edges import ssh
from omsfab.edges.metadb import Lease, MetaDbEdge
from omsfab.errors import Detached, InputError, OmsfabError, PreflightError
from omsfab.fleet import hostsfile
from omsfab.fleet.model import Fleet
from omsfab.fleet.secret import Secret
from omsfab.plan import repair, scale
from omsfab.plan.events import Event
from omsfab.plan.present import Package, Present, assumed
from omsfab.plan.records import Plan, Step
from omsfab.run import journal as journals
from omsfab.run import lock, look
from omsfab.run.runner import Runner, Tally
from omsfab.run.site import MIRROR, Site
from omsfab.show.terminal import JsonLines, Show, Terminal
from omsfab.show.text import Found, plan_lines, seconds


@dataclass(frozen=True, slots=True)
class Flags:
    """What every changing task takes: ``--dry`` (fab's own), ``--plan``, ``--yes``, ``--json``."""

    dry: bool = False
    plan: bool = False
    yes: bool = False
    json: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """A planner, and what it must know of the present."""

    planner: Callable[..., Plan]
    scope: Literal["region", "node"]
    package: bool = False
    lease: bool = False


TASKS: Mapping[str, Task] = {
    "scale.out": Task(scale.scale_out, "region", package=True, lease=True),
    "oms.deploy": Task(scale.deploy, "region", package=True, lease=True),
    "node.push-config": Task(repair.push_config, "node"),
    "node.push-certs": Task(repair.push_certs, "node"),
    "node.load-image": Task(repair.load_image, "node", package=True),
    "node.run": Task(repair.run, "node", package=True),
    "node.stop": Task(repair.stop, "node"),
    "node.start": Task(repair.start, "node"),
    "node.restart": Task(repair.restart, "node"),
    "node.initialise": Task(repair.initialise, "node", lease=True),
    "node.refresh": Task(repair.refresh, "node"),
    "node.exec": Task(repair.execute, "node"),
    "node.logs": Task(repair.logs, "node"),
    "node.status": Task(repair.status, "node"),
    "node.check": Task(repair.check, "node"),
}

CLOSED = "ended"
"""First word of the last event of a run that needs no resume."""


def hosts_path() -> Path:
    """Return the path of hosts.yaml: $OMSFAB_HOSTS, or hosts.yaml here."""
    return Path(os.environ.get("OMSFAB_HOSTS", "hosts.yaml"))


def home_of(fleet: Fleet) -> Path:
    """Return the state directory of this OMS, named by its MetaDB: all its runs share one lock."""
    root = Path(os.environ.get("OMSFAB_HOME", "~/.local/state/omsfab")).expanduser()
    metadb = fleet.metadb
    home = root / re.sub(r"[^\w.-]", "_", f"{metadb.host}_{metadb.port}_{metadb.rm_db}")
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    return home


class Session:
    """One call of a task."""

    def __init__(self, flags: Flags, fleet: Fleet | None = None) -> None:
        self.flags = flags
        self.fleet = fleet or hostsfile.load(hosts_path())
        self.home = home_of(self.fleet)
        self.console = Console(stderr=flags.json)
        self.shells = ssh.connect(self.fleet.nodes, self.fleet.ssh)
        self.metadb = MetaDbEdge(self.fleet.metadb)

    # --- a new run ---

    def carry_out(self, name: str, **args: str) -> None:
        """Look, plan, show; then, if wanted, confirm and run."""
        task = TASKS[name]
        if task.scope == "region" and not args.get("region") and not self.flags.dry:
            args["region"] = self._region()
        package = self._package(task)
        present = self._present(task, package, args)
        plan = task.planner(self.fleet, present, **args)
        if not self.flags.json and (plan.changes or self.flags.dry) and not self.flags.plan:
            self._print("\n".join(plan_lines(plan)))
        if self.flags.dry:
            self._print(f"dry: nothing was contacted{_about(present)}")
        elif self.flags.plan:
            self._compare(plan)
        elif plan.changes:
            self._refuse_second(name)
            self._confirm(plan)
            self._new_run(name, args, present, plan, task)
        else:
            self._only_ask(plan)

    def _region(self) -> str:
        """Return the name of the region that is meant when none was named."""
        if len(self.fleet.regions) == 1:
            return self.fleet.regions[0].name
        return look.chosen_region(self.fleet, self.metadb)

    def _package(self, task: Task) -> Package | None:
        path = self.fleet.install.package
        if not task.package or path is None:
            return None
        with self.console.status(f"reading {path.name} (once)"):
            return packages.examine(path, self.fleet.install.image, self.home)

    def _present(self, task: Task, package: Package | None, args: Mapping[str, str]) -> Present:
        if task.scope == "region":
            region = scale.region_named(self.fleet, args.get("region", ""))
            if self.flags.dry:
                return assumed(self.fleet, region, package)
            with self.console.status("asking MetaDB and the nodes"):
                return look.at_region(self.fleet, region, self.shells, self.metadb, package)
        nodes = repair.nodes_named(self.fleet, args.get("node", ""))
        if self.flags.dry:
            image = package.image if package else self.fleet.install.image
            return Present(assumed=True, package=package, image=image)
        with self.console.status("asking the nodes"):
            facts = look.at_nodes(self.fleet, nodes, self.shells, package)
        image = look.wanted_image(self.fleet, facts, package)
        return Present(nodes=facts, package=package, image=image)

    def _refuse_second(self, name: str) -> None:
        """A scale-out that has not ended is to be resumed; repairs of single nodes are free."""
        if name.startswith("node."):
            return
        for directory in journals.runs(self.home):
            past = journals.read(directory / "journal.jsonl")
            if past.changed and not past.ended:
                raise PreflightError(
                    "RUN-020",
                    f"run {directory.name} has not ended",
                    where=str(directory),
                    evidence="it has changed nodes or MetaDB; a new plan could not know how far",
                    next=f"fab run.resume --run={directory.name}",
                )

    def _confirm(self, plan: Plan) -> None:
        if self.flags.yes:
            return
        if not sys.stdin.isatty():
            raise InputError(
                "INPUT-023",
                "there is no terminal to ask on",
                where=plan.task,
                next=f"fab {plan.task} --yes, after reading: fab {plan.task} --plan",
            )
        if input("carry this out? [yes/no] ").strip().lower() not in ("y", "yes"):
            raise InputError("INPUT-024", "not confirmed", next=f"fab {plan.task}")

    # --- runs on disk ---

    def _new_run(
        self, name: str, args: Mapping[str, str], present: Present, plan: Plan, task: Task
    ) -> None:
        now = datetime.now(timezone.utc)
        run_id = f"{now:%Y%m%dT%H%M%SZ}-{name.replace('.', '-')}-{randomness.token_hex(2)}"
        with lock.held(self.home, run_id, _owner(), f"{now:%H:%M:%SZ}"):
            directory = self.home / run_id
            (directory / "backup").mkdir(parents=True, mode=0o700)
            directory.chmod(0o700)
            record = {
                "task": name,
                "args": dict(args),
                "owner": _owner(),
                "present": present.record(),
                "digest": digest(plan, run_id),
                "initial": plan.initial,
            }
            journals.save_record(directory, record)
            self._run(run_id, directory, plan, task, None)

    def resume(self, run: str = "") -> None:
        """Finish a run that has not ended: the newest, or the one named."""
        directory = self._unfinished(run)
        record = journals.load_record(directory)
        task = TASKS[record["task"]]
        present = Present.of(record["present"])
        plan = task.planner(self.fleet, present, **record["args"])
        if digest(plan, directory.name) != record["digest"]:
            raise PreflightError(
                "PLAN-004",
                f"run {directory.name} was planned from another hosts.yaml or package",
                where=str(self.fleet.origin),
                evidence="the plan made from them now is not the one that was confirmed",
                next=f"undo that change, then: fab run.resume --run={directory.name}",
            )
        now = datetime.now(timezone.utc)
        with lock.held(self.home, directory.name, _owner(), f"{now:%H:%M:%SZ}"):
            past = journals.read(directory / "journal.jsonl")
            if past.torn:
                self._print("note: the last line of the journal was torn and is dropped")
            self._run(directory.name, directory, plan, task, past)

    def _unfinished(self, run: str) -> Path:
        for directory in journals.runs(self.home):
            past = journals.read(directory / "journal.jsonl")
            if run in ("", directory.name) and not past.ended:
                return directory
        raise InputError(
            "INPUT-025",
            f"there is no unfinished run {run}".rstrip(),
            where=str(self.home),
            next="fab run.list",
        )

    def abandon(self, run: str) -> None:
        """Close a run without finishing it; what it did stays as it is."""
        directory = self._unfinished(run)
        with lock.held(self.home, directory.name, _owner(), "now"):
            self._close(directory, "ended: abandoned by the operator")
        self._print(f"run {directory.name} is closed; what it changed stays: fab fleet.status")

    def _close(self, directory: Path, text: str) -> None:
        book = journals.Journal(directory)
        book.write(_event("run", text))
        book.close()

    def _run(
        self, run_id: str, directory: Path, plan: Plan, task: Task, past: journals.Past | None
    ) -> None:
        book = journals.Journal(directory)
        show = self._show()

        def mirror(path: Path) -> None:
            self._mirror(plan, run_id, directory, path)

        with ExitStack() as stack:
            stack.callback(book.close)
            stack.callback(self._hang_up)
            lease = stack.enter_context(self._lease(run_id)) if task.lease else None
            site = Site(
                run_id,
                directory,
                self.shells,
                self.metadb.running(),
                secrets=secrets_of(self.fleet),
                mirror=mirror,
                lease=lease,
            )

            def close(text: str) -> None:
                """End the run for good.  Any other end keeps the lease: the run is to resume."""
                emit(_event("run", f"{CLOSED}: {text}"))
                if lease:
                    self.metadb.lease_release(lease)

            def emit(event: Event) -> None:
                clean = replace(event, text=site.redact(event.text))
                book.write(clean)
                show(clean)

            runner = Runner(site, emit, past)
            began = time.monotonic()
            with show:
                emit(_event("run", f"{'resumed' if past else 'begun'} {run_id}"))
                try:
                    tally = runner.carry_out(plan)
                except KeyboardInterrupt:
                    emit(_event("run", "detached by Ctrl-C"))
                    raise _detached(run_id, runner.changed) from None
                except OmsfabError as error:
                    error.evidence = site.redact(error.evidence)
                    error.next = error.next or f"fab run.resume --run={run_id}"
                    emit(_event("run", f"failed: {error.id}"))
                    if runner.changed == "nothing":
                        close("nothing was changed")
                    raise
                summary = _summary(tally, time.monotonic() - began)
                close(summary)
        self._print(f"{plan.task}: {summary}")
        self._print(f"journal: {directory}")

    def _only_ask(self, plan: Plan) -> None:
        """Run a plan that changes nothing: no lock, no journal."""
        show = self._show()
        site = Site("", self.home, self.shells, self.metadb, secrets=secrets_of(self.fleet))
        try:
            with show:
                runner = Runner(site, lambda e: show(replace(e, text=site.redact(e.text))))
                runner.carry_out(plan)
        finally:
            self._hang_up()
        for reason in plan.reasons:
            self._print(reason)
        self._print(f"{plan.task}: 0 changes")

    def _compare(self, plan: Plan) -> None:
        """Ask the checks of every step and print the plan with what they said (``--plan``)."""
        site = Site("", self.home, self.shells, self.metadb, secrets=secrets_of(self.fleet))
        found: dict[str, Found] = {}

        def ask(steps: list[Step]) -> None:
            for step in steps:
                why = (site.ask(probe, step.node) for probe in step.check if step.apply)
                lacking = tuple(site.redact(text) for text in why if text is not None)
                found[step.key] = Found(not step.check or bool(lacking), lacking)

        lanes: dict[str, list[Step]] = {}
        for step in plan.steps:
            lanes.setdefault(step.node, []).append(step)
        try:
            with ThreadPoolExecutor(min(look.WIDTH, len(lanes))) as pool:
                list(pool.map(ask, lanes.values()))
        finally:
            self._hang_up()
        would = sum(found[step.key].needed for step in plan.steps if step.apply)
        self._print("\n".join(plan_lines(plan, found)))
        self._print(
            f"{plan.task}: {would} changes would be made (+); what is so already stands with =; "
            "nothing was changed"
        )

    # --- helpers ---

    @contextmanager
    def _lease(self, run_id: str) -> Iterator[Lease]:
        """Hold the lease in MetaDB; its own run retakes it at once, another never."""
        lease = self.metadb.lease_take(run_id, _owner())
        with self.metadb.lease_keep(lease):
            yield lease

    def _mirror(self, plan: Plan, run_id: str, directory: Path, path: Path) -> None:
        """Copy a file of the run, and what is needed to read it, to the initial node."""
        shell = self.shells[plan.initial or self.fleet.nodes[0].name]
        there = f"{MIRROR}/{run_id}"
        shell.run(posix.mkdir(f"{there}/backup"))
        shell.run(command("chmod", "-R", "go=", MIRROR))
        for file in (directory / "run.json", directory / "journal.jsonl", path):
            size = file.stat().st_size
            sha256 = hashlib.sha256(file.read_bytes()[:size]).hexdigest()
            name = file.relative_to(directory)
            if file.name == "journal.jsonl":  # it grows while it is copied
                text = file.read_bytes()[:size].decode(errors="surrogateescape")
                shell.write(f"{there}/{name}", Secret(text), 0o600, f"{there}/{name}.bak")
            else:
                shell.send(file, f"{there}/{name}", size, sha256, lambda _: None)

    def _show(self) -> Show:
        return JsonLines(print) if self.flags.json else Terminal(self.console)

    def _print(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _hang_up(self) -> None:
        for shell in self.shells.values():
            shell.close()


def digest(plan: Plan, salt: str) -> str:
    """Return what tells this plan from any other, salted, with secrets as digests only."""

    def plain(value: object) -> object:
        if isinstance(value, Secret):
            return hashlib.sha256(f"{salt}\0{value.reveal()}".encode()).hexdigest()
        if is_dataclass(value) and not isinstance(value, type):
            inner = {field.name: plain(getattr(value, field.name)) for field in fields(value)}
            return {"is": type(value).__name__, **inner}
        if isinstance(value, (tuple, list)):
            return [plain(item) for item in value]
        return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)

    text = json.dumps(plain(plan), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def secrets_of(fleet: Fleet) -> tuple[Secret, ...]:
    return (fleet.metadb.password, *((fleet.tsdb.password,) if fleet.tsdb else ()))


def _event(kind: Literal["run"], text: str) -> Event:
    return Event(time.time(), time.monotonic(), "", "", kind, text)


def _owner() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"


def _about(present: Present) -> str:
    return "; MetaDB and nodes are assumed, ask them with --plan" if present.assumed else ""


def _summary(tally: Tally, took: float) -> str:
    text = f"{tally.changes} changes, {tally.satisfied} already so, in {seconds(took)}"
    if tally.outage is not None:
        text += f"; OMS processes were stopped for {seconds(tally.outage)}"
    return text


def _detached(run_id: str, changed: str) -> Detached:
    return Detached(
        "INIT-030",
        "detached; what runs on the nodes keeps running, docker_init.sh too",
        changed=changed,
        next=f"fab run.resume --run={run_id}",
    )
