"""From a task's flags to its end: look, plan, show, confirm, lock, run, say what came of it."""

from __future__ import annotations

import functools
import os
import re
import secrets as randomness
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, cast

from rich.console import Console

from omsfab.commands import init_job, oms
from omsfab.commands.next_line import fab, plus, recorded
from omsfab.errors import (
    Detached,
    Finding,
    InputError,
    Locked,
    LockLost,
    Mismatch,
    Next,
    OmsfabError,
    OutcomeUnknown,
    PreflightError,
    RollbackIncomplete,
    RolledBack,
    refusal,
)
from omsfab.fleet import certificate as certificates
from omsfab.fleet import hosts_file, image_package
from omsfab.fleet.image_package import Package
from omsfab.fleet.mask import Redactor
from omsfab.fleet.model import Fleet, Install, Tsdb
from omsfab.metadb import tunnel
from omsfab.plan import acceptance, outage, step_names
from omsfab.plan.events import Event, RunEnd
from omsfab.plan.observed import Present, assumed
from omsfab.plan.procedures import node as repair
from omsfab.plan.procedures import regions, registry, scale_out, undo
from omsfab.plan.procedures.registry import TASKS, UNDO, Task
from omsfab.plan.progress import progress
from omsfab.plan.records import METADB, Bring, Plan, SameTime, Stage, Step
from omsfab.plan.stakes import stakes
from omsfab.run import clock, jump_host, lifecycle, observe, other_hosts, recheck
from omsfab.run.confirmation import Flags as Flags
from omsfab.run.confirmation import confirm
from omsfab.run.engine import failpoint
from omsfab.run.engine.interpreter import Site
from omsfab.run.engine.runner import SPARED, Runner, stands
from omsfab.run.lifecycle import Order, World
from omsfab.run.record import claims, decisions, holders, local_lock
from omsfab.run.record import journal as journals
from omsfab.run.record import replica as mirrors
from omsfab.run.record.decisions import digest
from omsfab.run.record.outages import History
from omsfab.secret import Secret
from omsfab.show.progress import age, progress_lines
from omsfab.show.terminal import JsonLines, Show, Terminal
from omsfab.show.text import (
    ASSUMED,
    NOT_RECORDED,
    Found,
    accepted_line,
    outage_lines,
    outage_text,
    plan_lines,
    stakes_text,
)
from omsfab.ssh import shell as ssh


def hosts_path() -> Path:
    """Return the path of hosts.yaml: $OMSFAB_HOSTS, or hosts.yaml here."""
    return Path(os.environ.get("OMSFAB_HOSTS", "hosts.yaml"))


def home_of(fleet: Fleet) -> Path:
    """Return the state directory of this OMS, named by its MetaDB: all its runs share one lock.

    It need not be there: who writes makes it (``jump.make``).
    """
    root = Path(os.environ.get("OMSFAB_HOME", "~/.local/state/omsfab")).expanduser()
    metadb = fleet.metadb
    return root / re.sub(r"[^\w.-]", "_", f"{metadb.host}_{metadb.port}_{metadb.rm_db}")


Call = TypeVar("Call", bound=Callable[..., None])


def told_safely(call: Call) -> Call:
    """What leaves the session as an error quotes no secret of the fleet."""

    @functools.wraps(call)
    def wrapped(self: Session, *args: Any, **kwargs: Any) -> None:
        try:
            call(self, *args, **kwargs)
        except OmsfabError as error:
            error.shown_by(self.redact)
            raise

    return cast("Call", wrapped)


class Session:
    """One call of a task."""

    flags = Flags()
    redact = Redactor()
    """Makes what nodes and MetaDB say fit to be shown."""

    def __init__(self, flags: Flags, fleet: Fleet | None = None) -> None:
        self.flags = flags
        self.fleet = fleet or hosts_file.load(hosts_path())
        self.home = home_of(self.fleet)
        self.redact = Redactor(secrets_of(self.fleet))
        self.console = Console(stderr=flags.json)
        self.shells = ssh.connect(self.fleet.nodes, self.fleet.ssh)
        self.metadb = tunnel.edge(self.fleet.metadb, self.shells)

    # --- a new run ---

    @told_safely
    def carry_out(self, name: str, **args: str) -> None:
        """Look, plan, show; then, if wanted, confirm and run."""
        task = TASKS[name]
        accepted = self._accepted(recorded(name, args, plan=True))
        self._ready()
        failpoint.wanted()  # a misspelt one is refused before anything is locked
        if task.lease and not self.flags.looks:
            self._refuse_beside_another(name)
        if task.scope == "region" and not args.get("region") and not self.flags.dry:
            args["region"] = self._region(name)
        package = self._package(task)
        with _offering(name, args, accepted):
            present, errors = self._present(name, package, args)
            present = replace(present, certificates=certificates.pairs(self.fleet.regions))
            try:
                plan, present, waived = self._planned(task, present, errors, args, accepted)
            except PreflightError as error:
                self._name_who_deleted(error, args)
                raise
            self._refuse_unfit(task, plan, accepted)
        if not self.flags.json and (plan.changes or self.flags.dry) and not self.flags.plan:
            guess = [ASSUMED] if present.assumed else []
            self._print("\n".join([*guess, *plan_lines(plan, assumed=present.assumed)]))
        if not self.flags.json:
            self._tell_accepted(accepted, waived)
        if self.flags.dry:
            self._print(f"dry: nothing was contacted{_about(present)}")
        elif self.flags.plan:
            with _offering(name, args, accepted):
                self._compare(plan, recorded(name, args), accepted)
            self._refuse_held(name, plan, present, recorded(name, args))
        elif plan.changes:
            self._refuse_second(name)
            self._refuse_held(name, plan, present, recorded(name, args))
            self._confirm("", plan, recorded(name, args))
            try:
                self._new_run(name, args, present, plan, accepted)
            except PreflightError as error:
                self._with_findings(error, plan, accepted)
                raise
        else:
            self._only_ask(plan)

    def _name_who_deleted(self, error: PreflightError, args: Mapping[str, str]) -> None:
        """Where MetaDB has no region (PLAN-002), a run of ours may have deleted its rows."""
        if error.id != "PLAN-002" or self.flags.dry:
            return
        location = regions.named(self.fleet, args.get("region", "")).location
        for directory in journals.runs(self.home):
            past = journals.read(directory / "journal.jsonl")
            if step_names.key(step_names.CLEAR_ROWS) not in past.begun or past.undone:
                continue
            if self.metadb.deleted_by(directory.name, location):
                error.evidence = f"run {directory.name} has deleted the rows of location {location}"
                error.next = (fab(UNDO, run=directory.name, note="puts them back"),)
                return

    def _accepted(self, again: Next) -> frozenset[str]:
        """Return the ids of ``--accept``, or raise INPUT-029."""
        return acceptance.parsed(self.flags.accept, again) if self.flags.accept else frozenset()

    def _tell_accepted(self, ids: frozenset[str], waived: Sequence[OmsfabError] = ()) -> None:
        why = {error.id: error for error in waived}
        for id in sorted(ids):
            self._print(accepted_line(id, why.get(id)))

    def _ready(self) -> None:
        """The jump host can keep a run; a task that only looks leaves nothing there."""
        if not self.flags.looks:
            jump_host.make(self.home)
        jump_host.ready(self.home)

    def _planned(
        self,
        task: Task,
        present: Present,
        errors: Sequence[OmsfabError],
        args: Mapping[str, str],
        accepted: frozenset[str],
    ) -> tuple[Plan, Present, tuple[OmsfabError, ...]]:
        """Return the plan and what was accepted of all that stands against it, or raise all of it,
        with what the preflight finds on the nodes that answer."""
        plan: Plan | None = None
        refused = tuple(errors)
        if all(error.id in accepted for error in errors):
            plan, present, more = planned(task.planner, self.fleet, present, args)
            refused = (*errors, *more)
        hard = [error for error in refused if error.id not in accepted]
        if plan and not hard:
            return plan, present, refused
        if self.flags.dry or task.scope != "region":
            raise refusal(hard or refused)
        region = regions.named(self.fleet, args.get("region", ""))
        stage = next((one for one in plan.stages if one.gather), None) if plan else None
        stage = stage or scale_out.preflight(self.fleet, region, present)
        if any(error.node == METADB for error in errors):  # told once
            asked = (step for step in stage.steps if not asks_metadb(step))
            stage = replace(stage, steps=tuple(asked))
        with self.console.status("asking everything else that the plan would need"):
            found, warnings = self._asked(stage, accepted)
        raise refusal([*(hard or refused), *found], warnings)

    def _with_findings(self, error: PreflightError, plan: Plan, accepted: frozenset[str]) -> None:
        """A node that cannot be claimed is told with all that the preflight would have found."""
        stage = next((one for one in plan.stages if one.gather), None)
        if error.id != "LOCK-003" or error.findings or stage is None:
            return
        with self.console.status("asking everything else that the plan would need"):
            found, warnings = self._asked(stage, accepted)
        if found or warnings:
            raise refusal([error, *found], warnings) from error

    def _asked(
        self, stage: Stage, accepted: frozenset[str]
    ) -> tuple[list[OmsfabError], list[Finding]]:
        """Return what the questions of a stage find: refusals, and warnings."""
        site = Site("", self.home, self.shells, self.metadb, secrets=secrets_of(self.fleet))
        runner = Runner(site, lambda event: None, accepted=accepted)
        try:
            runner.carry_out(Plan("preflight", "", (), (stage,)))
        except OmsfabError as error:
            return [error], runner.warnings
        finally:
            self._hang_up()
        return [], runner.warnings

    def _region(self, name: str) -> str:
        """Return the name of the region that is meant when none was named."""
        if len(self.fleet.regions) == 1:
            return self.fleet.regions[0].name
        return observe.chosen_region(self.fleet, self.metadb, fab(name, plan=True))

    def _part(self, task: Task) -> Install | Tsdb | None:
        """Return the part of hosts.yaml that names image and package of the task."""
        return self.fleet.tsdb if task.tsdb else self.fleet.install

    def _package(self, task: Task) -> Package | None:
        part = self._part(task)
        if not task.package or part is None or part.package is None:
            return None
        with self.console.status(f"reading {part.package.name} (once)"):
            key = "tsdb" if task.tsdb else "oms"
            keep = not self.flags.looks
            return image_package.examine(part.package, part.image, self.home, part=key, keep=keep)

    def _present(self, name: str, package: Package | None, args: Mapping[str, str]) -> observe.Seen:
        task = TASKS[name]
        if task.scope == "region":
            again = fab(name, dry=self.flags.dry, plan=not self.flags.dry)
            region = regions.named(self.fleet, args.get("region", ""), again)
            if self.flags.dry:
                deployed = task.planner is not scale_out.deploy
                return assumed(self.fleet, region, package, deployed=deployed), []
            with self.console.status("asking MetaDB and the nodes"):
                return observe.at_region(
                    self.fleet, region, self.shells, self.metadb, package, args.get("rows", "")
                )
        if task.scope == "metadb":
            rows = () if self.flags.dry else self.metadb.clusters()
            return Present(clusters={row.code: row.cm_url for row in rows}), []
        all_of_them = task.scope == "fleet"
        nodes = (
            self.fleet.nodes
            if all_of_them
            else repair.nodes_named(
                self.fleet, args.get("node", ""), recorded(name, {**args, "node": ""})
            )
        )
        part = self._part(task) or self.fleet.install
        if self.flags.dry:
            image = package.image if package else part.image
            return Present(assumed=True, package=package, image=image), []
        with self.console.status("asking the nodes"):
            facts, errors = observe.ask_nodes(self.fleet, nodes, self.shells, package, part.image)
        image = observe.wanted_image(self.fleet, facts, package)
        if task.tsdb and not package:  # what runs is OMS; the id of this image is asked for
            found = {one.loaded for one in facts.values() if one.loaded}
            image = found.pop() if len(found) == 1 else part.image
        return Present(nodes=facts, package=package, image=image), errors

    def _refuse_unfit(self, task: Task, plan: Plan, accepted: frozenset[str]) -> None:
        """A certificate that could not work is not sent.  One that is on the nodes already stops
        nobody, and a run once begun ends with the one it began with."""
        sent = {e.source for step in plan.steps for e in step.apply if isinstance(e, Bring)}
        for region in self.fleet.regions:
            if region.https and region.https.crt in sent:
                try:
                    certificates.judge(region, region.https, dates=not task.any_dates)
                except OmsfabError as error:
                    if error.id not in accepted:
                        raise
                    self._print(f"! {accepted_line(error.id, error)}")

    def _refuse_beside_another(self, name: str) -> None:
        """Beside a run that is under way nothing is looked at: what is seen is half a change."""
        local_lock.refuse_taken(self.home)
        self._refuse_second(name)
        self.metadb.lease_refuse_taken()

    def _refuse_second(self, name: str) -> None:
        """A scale-out that has not ended is to be resumed; of repairs see ``_refuse_held``."""
        if registry.is_repair(name):
            return
        for found in holders.holders(self.home):
            raise holders.refusal(found)

    def _refuse_held(self, name: str, plan: Plan, present: Present, again: Next) -> None:
        """A repair changes nothing on a node where docker_init.sh runs (INIT-010), or that a run
        which has not ended holds (RUN-020).

        Under the lock both are asked again: by the claim, and by the first step of the plan.
        """
        if not registry.is_repair(name):
            return
        local_lock.refuse_taken(self.home)
        nodes = [shell.node for shell in claims.nodes_of(plan, self.shells)]
        found = holders.held_by(self.home, nodes)
        for node in nodes:
            if present.facts(node).container == "running":
                self._refuse_while_it_initialises(node, found, again)
        if found:
            raise holders.refusal(found, nodes)

    def _refuse_while_it_initialises(
        self, node: str, found: holders.Holder | None, again: Next
    ) -> None:
        container = self.fleet.install.container
        over = self.shells[node].run(init_job.over(container, oms.INIT, unasked=True))
        if over.status == 0:
            return
        said = over.err.strip() or over.out.strip()
        held = f"run {found.directory.name} follows it, and has not ended" if found else ""
        wait = fab("node.status", node=node, note=f"once it has ended: {again}")
        raise Locked(
            "INIT-010",
            f"docker_init.sh is running on {node}; it must not be interrupted",
            where=f"{node}, container {container}",
            evidence="\n".join(filter(None, (said, held))),
            next=found.lines if found else wait,
        )

    # --- runs on disk ---

    def _new_run(
        self,
        name: str,
        args: Mapping[str, str],
        present: Present,
        plan: Plan,
        accepted: frozenset[str],
    ) -> None:
        now = datetime.now(timezone.utc)
        run = f"{now:%Y%m%dT%H%M%SZ}-{name.replace('.', '-')}-{randomness.token_hex(2)}"
        directory = self.home / run
        record = {
            "task": name,
            "args": dict(args),
            "owner": lifecycle.owner(self.home),
            "fleet": undo.public(self.fleet),
            "present": present.record(),
            "omsfab": decisions.VERSION,
            "form": decisions.FORM,
            "digest": digest(plan, run),
            "initial": plan.initial,
            "steps": [step.key for step in plan.steps if step.apply],
        }
        journals.begin(directory, record)

        def still() -> None:
            recheck.as_planned(self.fleet, present, self.shells, self.metadb, plan)

        self._carry_out(
            Order(
                directory,
                plan,
                lease=TASKS[name].lease,
                fresh=still,
                accepted=accepted,
                serving=outage.serving(self.fleet, present),
            )
        )

    def _carry_out(self, order: Order) -> None:
        world = World(self.home, self.shells, self.metadb, secrets_of(self.fleet), self._show())
        try:
            if order.lease:
                jump_host.tell_time(self.metadb, self._print)
            _, summary = lifecycle.carry_out(world, order)
        finally:
            if order.past is None:
                journals.forget_unbegun(order.directory)
        self._print(f"{order.plan.task}: {summary}")
        self._print(f"journal: {order.directory}")

    @told_safely
    def resume(self, run: str = "", source: str = "", *, stop_init: bool = False) -> None:
        """Finish a run that has not ended: the newest, or the one named.

        ``source`` is a node with a copy of the run, for a jump host that has none.  With
        ``stop_init`` a docker_init.sh of the run that still runs is ended, and another one begun.
        """
        accepted = self._accepted(fab("run.resume", run=run, from_=source))
        self._ready()
        if source:
            if self.flags.dry:
                return self._print(f"dry: nothing was contacted, so nothing is known of {source}")
            run = self._fetch("run.resume", run, source).name
        directory = self._unfinished(run)
        record = journals.load_record(directory)
        if record["task"] == UNDO:
            return self._resume_undo(directory, record, accepted, stop_init=stop_init)
        self._refuse_undone(directory)
        if record["task"] == "node.exec":
            raise PreflightError(
                "RUN-031",
                "what a line did in the container is not known, so it is not repeated",
                where=str(directory),
                evidence=record["args"].get("words", ""),
                next=fab("run.abandon", run=directory.name, note="after a look at what it did"),
            )
        with journals.readable(directory):
            task = TASKS[record["task"]]
        self._complete(directory, record)
        with journals.readable(directory):
            present = self._with_package(task, Present.of(record["present"]))
            plan = task.planner(self.fleet, present, **record["args"])
        past = self._past(directory)
        self._refuse_others(directory, record, past, back=False)
        if why := decisions.changed(record, plan, self.fleet, directory.name):
            back = past.changed and record["task"] in undo.UNDOABLE
            refused = PreflightError(
                "PLAN-004",
                f"run {directory.name} {why.what}",
                where=str(self.fleet.origin),
                evidence="\n".join(why.evidence),
                fix=f"{why.cure}, or give the run up",
                next=(
                    fab("run.resume", run=directory.name, note=f"first {why.cure}"),
                    fab("run.undo" if back else "run.abandon", run=directory.name),
                ),
            )
            refused.outage = next(iter(self._down(directory)), "")
            raise refused
        left = _left(plan, past)
        self._tell_progress(directory, record, plan, past)
        accepted |= past.accepted
        self._tell_accepted(accepted)
        again = fab("run.resume", run=directory.name)
        if self.flags.dry:
            return self._print("dry: nothing was contacted; what is so now, --plan asks")
        if self.flags.plan:
            return self._compare(left, again, accepted, directory)
        self._confirm(f"go on with run {directory.name}", left, again)

        def still() -> None:
            recheck.same_machines(present, self.shells, run=directory.name)
            self._refuse_others(directory, record, past, back=False)

        order = Order(directory, plan, task.lease, past, fresh=still, accepted=accepted)
        self._carry_out(replace(order, stop_init=stop_init))

    def _tell_progress(
        self, directory: Path, record: Mapping[str, Any], plan: Plan, past: journals.Past
    ) -> None:
        """Say what of a run is done, failed, unknown and left, and what that will interrupt."""
        if self.flags.json:
            return
        lines = progress_lines(
            progress(plan, past.events),
            run=directory.name,
            of=recorded(record["task"], record["args"]).line,
            by=record["owner"],
            now=clock.now(),
        )
        down = [f"  OUTAGE    {line}" for line in self._down(directory)]
        self._print("\n".join([*lines, *down, *outage_lines(_left(plan, past))]))

    def _down(self, directory: Path) -> list[str]:
        """Since when OMS is down by this run, if it is; or that this is not recorded."""
        history = History(self.home)
        found = history.outage(directory)
        if found is None and not history.recorded(directory):
            return [NOT_RECORDED]
        return [outage_text(found)] if found and found.down else []

    def _refuse_undone(self, directory: Path) -> None:
        """What a way back has changed, steps that are done would not do again."""
        for way, past in self._ways_back(directory):
            if past.changed:
                raise _taken_back(directory, way)

    def _refuse_others(
        self, directory: Path, record: Mapping[str, Any], past: journals.Past, *, back: bool
    ) -> None:
        """Ask the copies on all nodes and MetaDB's marker whether somebody else has ended the run,
        rolled it back, gone on with it, or begun another one since.  Asked before it is shown, and
        again under the locks."""
        if self.flags.dry:
            return
        seen = other_hosts.look(self.shells)
        known = {other.name for other in journals.runs(self.home)}
        other_hosts.refuse(seen, directory, past, known, back=back)
        if seen.silent:
            names = ", ".join(seen.silent)
            self._print(f"note: {names} cannot be asked what other jump hosts did")
        touched = past.begun.intersection(mirrors.ROWS)
        fleet = self._fleet_of(directory, record) if touched else self.fleet
        named = record["args"].get("region", "")
        where = regions.named(fleet, named) if named or len(fleet.regions) == 1 else None
        if not touched or where is None:
            return
        ours = any(
            p.begun.intersection(map(step_names.key, undo.ROWS_BACK))
            for _, p in self._ways_back(directory)
        )
        theirs = any(copy.undoes == directory.name and copy.intents for _, copy in seen.copies)
        mark = other_hosts.mark_of(self.metadb, directory.name, where.location)
        other_hosts.refuse_contradiction(
            mark, directory, past, own_rollback=ours or theirs, back=back
        )

    def _ways_back(self, directory: Path) -> Iterator[tuple[str, journals.Past]]:
        """Yield the runs that take this one back, newest first."""
        for other in journals.runs(self.home):
            record = journals.load_record(other)
            if record["task"] == UNDO and record["args"].get("run") == directory.name:
                yield other.name, journals.read(other / "journal.jsonl")

    def _complete(self, directory: Path, record: Mapping[str, Any]) -> None:
        """A run without a journal was killed before its first word, or has lost it since."""
        initial = self.shells.get(record["initial"])
        if initial is None or (directory / "journal.jsonl").exists() or self.flags.looks:
            return
        if mirrors.complete(initial, directory):
            self._print(f"note: the journal was not here; its copy on {initial.node} is used")

    def _past(self, directory: Path) -> journals.Past:
        past = mirrors.past_of(directory)
        if past.torn:
            self._print("note: the last line of the journal was torn and is dropped")
        return past

    def _with_package(self, task: Task, present: Present) -> Present:
        """The same package may lie elsewhere on another jump host."""
        part = self._part(task)
        path = part.package if part else None
        if present.package is None or path is None or str(path) == present.package.path:
            return present
        return replace(present, package=replace(present.package, path=str(path)))

    def _fetch(self, task: str, run: str, source: str) -> Path:
        """With ``--plan`` the copy is looked at elsewhere, and gone when this ends."""
        (node, *_) = repair.nodes_named(self.fleet, source, fab(task, run=run), "from_")
        if self.flags.plan:
            self._scratch = TemporaryDirectory(prefix="omsfab-")
            looked_at = mirrors.fetch(self.shells[node.name], run, Path(self._scratch.name))
            if not (self.home / looked_at.name / "run.json").exists():
                self.home = looked_at.parent
            return self.home / looked_at.name
        directory = mirrors.fetch(self.shells[node.name], run, self.home)
        self._print(f"run {directory.name} is here, from {node.name}")
        return directory

    def _unfinished(self, run: str) -> Path:
        """The run named, or the newest one that goes on by itself: not one that was never begun,
        nor a line in a container, which is not repeated."""
        for directory in journals.runs(self.home):
            record = journals.load_record(directory)  # a newer omsfab's journal is of another kind
            if run not in ("", directory.name):
                continue
            if not run and record["task"] in TASKS:
                self._complete(directory, record)
            past = journals.read(directory / "journal.jsonl")
            chosen = run or (past.events and record["task"] != "node.exec")
            if chosen and not past.ended:
                return directory
        raise InputError(
            "INPUT-025",
            f"there is no unfinished run {run}".rstrip(),
            where=str(self.home),
            next=fab("run.list"),
        )

    @told_safely
    def abandon(self, run: str) -> None:
        """Close a run without finishing it; what it did stays as it is."""
        directory = self._unfinished(run)
        for way, past in self._ways_back(directory):
            if past.changed and not past.ended:
                raise _taken_back(directory, way)
        if self.flags.looks:
            return self._print(
                f"run {directory.name} would be closed, its lease and its claims freed;"
                " nothing was changed"
            )
        self._close(directory, RunEnd("abandoned"), "abandoned by the operator")
        self._print(f"run {directory.name} is closed; what it changed stays: fab fleet.status")

    def _close(self, directory: Path, end: RunEnd, why: str) -> None:
        """End a run here, and free its lease and its claims."""
        record = journals.load_record(directory)
        owner = lifecycle.owner(self.home)
        with local_lock.held(self.home, directory.name, owner, "now"):
            if record["task"] in TASKS and TASKS[record["task"]].lease:
                self.metadb.lease_release(self.metadb.lease_take(directory.name, owner))
            claims.free(self.shells.values(), directory.name)
            lifecycle.close(directory, end, why)

    # --- taking a run back ---

    @told_safely
    def undo(self, run: str = "", source: str = "", *, stop_init: bool = False) -> None:
        """Take back what a run did: the newest one that changed something, or the one named.

        With ``stop_init`` a docker_init.sh that still runs is ended, and the way back runs none.
        """
        accepted = self._accepted(fab("run.undo", run=run, from_=source))
        self._ready()
        if self.flags.dry and source:
            return self._print(f"dry: nothing was contacted, so nothing is known of {source}")
        if not source and (idle := self._idle(run)):
            return self._undo_idle(idle)
        directory = self._fetch(UNDO, run, source) if source else self._changed(run)
        record = journals.load_record(directory)
        if record["task"] == UNDO:  # the newest copy there; the run it is for came along
            with journals.readable(directory):
                directory = self.home / mirrors.named(record["args"]["run"])
        for name, past in self._ways_back(directory):
            if not past.ended:
                record = journals.load_record(self.home / name)
                return self._resume_undo(self.home / name, record, accepted, stop_init=stop_init)
        copied = source or (directory / mirrors.FETCHED).exists()  # it may lag behind by a stage
        args = {"run": directory.name, "all": "yes" if copied else ""}
        args["stop_init"] = "yes" if stop_init else ""
        accepted |= journals.read(directory / "journal.jsonl").accepted
        plan = self._undo_plan(args, accepted)
        self._ask_others(directory)
        what = self._of_age(directory)
        if not self.flags.json:
            down = [f"OUTAGE {line}" for line in self._down(directory)]
            self._print("\n".join([what, *plan_lines(plan), *down]))
        self._tell_accepted(accepted)
        if self.flags.looks:
            return self._print("nothing was changed")
        again = fab(UNDO, run=directory.name)
        self._confirm(f"roll back run {directory.name}", plan, again, self.home / args["run"])
        now = datetime.now(timezone.utc)
        name = f"{now:%Y%m%dT%H%M%SZ}-{UNDO.replace('.', '-')}-{randomness.token_hex(2)}"
        record = {
            "task": UNDO,
            "args": args,
            "owner": lifecycle.owner(self.home),
            "omsfab": decisions.VERSION,
            "form": decisions.FORM,
            "digest": digest(plan, name),
            "initial": plan.initial,
        }
        journals.begin(self.home / name, record)
        order = Order(
            self.home / name,
            plan,
            True,
            undoes=directory,
            fresh=lambda: self._ask_others(directory),
            accepted=accepted,
        )
        self._carry_out_undo(order)

    def _ask_others(self, directory: Path) -> None:
        """As ``_refuse_others``, for a run that is to be rolled back."""
        past = journals.read(directory / "journal.jsonl")
        self._refuse_others(directory, journals.load_record(directory), past, back=True)

    def _undo_plan(self, args: Mapping[str, str], accepted: frozenset[str]) -> Plan:
        directory = self.home / args["run"]
        record = journals.load_record(directory)
        fleet = self._fleet_of(directory, record)
        with journals.readable(directory):
            present = Present.of(record["present"])
        self.shells = ssh.connect(fleet.nodes, fleet.ssh)
        past = journals.read(directory / "journal.jsonl")
        every = args.get("all")
        begun = mirrors.may_have_begun(directory, record["steps"]) if every else past.begun
        return undo.undo(
            fleet,
            present,
            run=directory.name,
            region=record["args"].get("region", ""),
            begun=begun,
            made_ids=past.containers,
            aside="CFG-013" in accepted,
            without_init=bool(args.get("stop_init")),
        )

    def _fleet_of(self, directory: Path, record: Mapping[str, Any]) -> Fleet:
        """Return the fleet of a run; RUN-037 where a copy from a node names another than ours."""
        with journals.readable(directory):
            unlike = (
                undo.unlike(record, self.fleet) if (directory / mirrors.FETCHED).exists() else ()
            )
            fleet = undo.fleet_of(record, self.fleet)
        if unlike:
            raise PreflightError(
                "RUN-037",
                f"the copy of run {directory.name} acts elsewhere than hosts.yaml says",
                where=str(directory / "run.json"),
                evidence="\n".join(unlike),
                next=fab(
                    "run.show",
                    run=directory.name,
                    note="what of it is right belongs into hosts.yaml, then the same line again",
                ),
            )
        return fleet

    def _of_age(self, directory: Path) -> str:
        """Return e.g. ``run 20261125T…-5f98 (fab scale.out, started 3 days ago by li@jump1)``."""
        record = journals.load_record(directory)
        events = journals.read(directory / "journal.jsonl").events
        since = f", started {age(clock.now() - events[0].at)} ago" if events else ""
        line = recorded(record["task"], record["args"])
        return f"run {directory.name} ({line}{since} by {record['owner']})"

    def _resume_undo(
        self,
        directory: Path,
        record: Mapping[str, Any],
        accepted: frozenset[str],
        *,
        stop_init: bool,
    ) -> None:
        past = self._past(directory)
        args = dict(record["args"]) | ({"stop_init": "yes"} if stop_init else {})
        with journals.readable(directory):
            undoes = self.home / mirrors.named(record["args"]["run"])
        accepted |= past.accepted
        plan = self._undo_plan(args, accepted)
        self._ask_others(undoes)
        self._tell_progress(directory, record, plan, past)
        self._tell_accepted(accepted)
        if self.flags.looks:
            return self._print("nothing was changed")
        again = fab(UNDO, run=undoes.name)
        left = _left(plan, past)
        self._confirm(f"go on rolling back {self._of_age(undoes)}", left, again, undoes)

        def still() -> None:
            self._ask_others(undoes)

        order = Order(directory, plan, True, past, undoes, fresh=still, accepted=accepted)
        self._carry_out_undo(order)

    def _carry_out_undo(self, order: Order) -> None:
        """A way back that fails is the worst case, so it has an exit status of its own; and so has
        the good end of a run that had failed, which must not pass for its success."""
        directory = order.undoes or order.directory
        well = journals.read(directory / "journal.jsonl").well
        try:
            self._carry_out(replace(order, serving=self._served(directory)))
        except (Locked, LockLost, Detached, OutcomeUnknown):  # it may still come to a good end
            raise
        except OmsfabError as error:
            if error.changed == "nothing":
                raise
            incomplete = RollbackIncomplete(
                "RUN-025",
                f"run {directory.name} is taken back in part only: {error.id} {error.what}",
                where=error.where,
                changed=error.changed,
                evidence=error.evidence,
                fix=error.cure,
                next=_back_again(order, directory, error),
            )
            incomplete.outage, incomplete.accept = error.outage, error.accept
            raise incomplete from error
        events = journals.read(order.directory / "journal.jsonl").events
        warned = [event for event in events if event.kind == "warning"]
        not_done = [event for event in warned if event.id == SPARED]
        if not_done:
            self._print("\n".join(f"{event.node}: {event.text}" for event in not_done))
            nodes = dict.fromkeys(event.node for event in not_done)
            self._print(
                "rows, config.yaml and the components' files are the former ones; once"
                f" docker_init.sh works again: {fab('node.initialise', node=','.join(nodes))}"
            )
        if unlike := [e for e in warned if e.id in acceptance.ROLLED_BACK]:
            raise _not_as_before(directory, unlike)
        if not well:
            raise _rolled_back(directory, "images and data directories, each step verified")

    def _served(self, directory: Path) -> dict[str, list[str]]:
        """Where OMS served before the run that is rolled back."""
        record = journals.load_record(directory)
        fleet = self._fleet_of(directory, record)
        with journals.readable(directory):
            return outage.serving(fleet, Present.of(record["present"]))

    def _idle(self, run: str) -> Path | None:
        """The newest run, or the one named, if it was stopped before it had begun anything."""
        for directory in journals.runs(self.home):
            if run in ("", directory.name):
                record = journals.load_record(directory)
                if record["task"] in TASKS:
                    self._complete(directory, record)
                past = mirrors.past_of(directory)
                if not (run or past.events):
                    continue  # it was never begun
                idle = record["task"] in TASKS and not (past.ended or past.changed)
                return directory if idle else None
        return None

    def _undo_idle(self, directory: Path) -> None:
        """Its lease and its claims are all there is to take back."""
        if not self.flags.json:
            what = self._of_age(directory)
            self._print(f"{what} had begun nothing: only its locks are to be freed")
        if self.flags.looks:
            return self._print("nothing was changed")
        again = fab(UNDO, run=directory.name)
        confirm(self.flags, f"Free the lease and the claims of run {directory.name}.", again)
        self._close(directory, RunEnd("unchanged"), "nothing was changed")
        raise _rolled_back(directory, "its journal")

    def _changed(self, run: str) -> Path:
        """The run to take back; a newer one that changed something stands in its way."""
        newer = ""
        for directory in journals.runs(self.home):
            past = mirrors.past_of(directory)
            task = journals.load_record(directory)["task"]
            open_ = past.changed and not past.undone and task in undo.UNDOABLE
            if run == directory.name and not open_:
                raise InputError(
                    "RUN-027",
                    f"run {run} has nothing to take back"
                    if task in undo.UNDOABLE
                    else f"what {task} does cannot be taken back",
                    where=str(directory),
                    next=fab("run.show", run=run),
                )
            if run == directory.name and newer:
                raise PreflightError(
                    "RUN-026",
                    f"run {newer} came after {run}, and builds on it",
                    where=str(self.home / newer),
                    next=fab("run.undo", run=newer),
                )
            if open_ and run in ("", directory.name):
                return directory
            newer = newer or (directory.name if open_ else "")
        raise InputError(
            "INPUT-008",
            f"there is no run {run or 'that changed something and can be taken back'}",
            where=str(self.home),
            next=fab("run.list"),
        )

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

    def _compare(
        self,
        plan: Plan,
        again: Next,
        accepted: frozenset[str],
        directory: Path | None = None,
    ) -> None:
        """Ask the preflight, and the checks of every other step; print the plan with what they
        said (``--plan``).  A preflight that would stop the run ends this, too.

        ``again`` is the line of the task, ``directory`` that of a run which is looked at.
        """
        run, place = (directory.name, directory) if directory else ("", self.home)
        site = Site(run, place, self.shells, self.metadb, secrets=secrets_of(self.fleet))
        found: dict[str, Found] = {}
        refused: OmsfabError | None = None

        def hear(event: Event) -> None:
            if sign := {"done": "✓", "warning": "!", "failed": "✗"}.get(event.kind):
                text = () if sign == "✓" else (site.redact(event.text),)
                found[step_names.key(event.step, event.node)] = Found(sign, text)

        def ask(steps: list[Step]) -> None:
            for step in steps:
                why = (site.ask(probe, step.node) for probe in step.check if step.apply)
                lacking = dict.fromkeys(site.redact(text) for text in why if text is not None)
                needed = "+" if not step.check or lacking else "="
                found[step.key] = Found(needed if step.apply else "?", tuple(lacking))

        preflight = [stage for stage in plan.stages[:-1][:1] if stage.asks_only]
        lanes: dict[str, list[Step]] = {}
        for stage in plan.stages[len(preflight) :]:
            for step in stage.steps:
                lanes.setdefault(step.node, []).append(step)
        try:
            try:
                Runner(site, hear, accepted=accepted).carry_out(
                    replace(plan, stages=tuple(preflight))
                )
            except OmsfabError as error:
                refused = error
            with ThreadPoolExecutor(min(observe.WIDTH, len(lanes) or 1)) as pool:
                list(pool.map(ask, lanes.values()))
        finally:
            self._hang_up()
        self._print("\n".join(plan_lines(plan, found)))
        would = sum(one.sign == "+" for one in found.values())
        self._print(
            f"{plan.task}: {would} changes would be made (+); what is so already stands with =; "
            "nothing was changed"
        )
        if refused:
            refused.next = refused.next or (plus(again, plan=True),)
            raise refused

    # --- helpers ---

    def _confirm(self, does: str, plan: Plan, again: Next, undoes: Path | None = None) -> None:
        """Ask with what is at stake; ``undoes`` is the run whose fleet is meant, if not ours."""
        fleet = self._fleet_of(undoes, journals.load_record(undoes)) if undoes else self.fleet
        at_stake = stakes(plan, fleet.regions)
        text = stakes_text(at_stake, plan.title)
        sentence = f"{does[:1].upper()}{does[1:]}: {text[:1].lower()}{text[1:]}" if does else text
        confirm(self.flags, f"{sentence}.", again, word=at_stake.region)

    def _show(self) -> Show:
        return JsonLines(print) if self.flags.json else Terminal(self.console)

    def _print(self, text: str) -> None:
        self.console.print(self.redact(text), highlight=False, markup=False, soft_wrap=True)

    def _hang_up(self) -> None:
        for shell in self.shells.values():
            shell.close()


def planned(
    planner: Callable[..., Plan], fleet: Fleet, present: Present, args: Mapping[str, str]
) -> tuple[Plan | None, Present, tuple[OmsfabError, ...]]:
    """Return the plan, the Present that gives it, and all refusals that stand against it.

    Each refusal is waived and the planner asked again, so that all are told at once; the caller
    goes on only if every one of them is accepted.  None is returned where one cannot be left out.
    """
    refused: list[OmsfabError] = []
    while True:
        present = replace(present, waived=tuple(error.id for error in refused))
        try:
            return planner(fleet, present, **args), present, tuple(refused)
        except PreflightError as error:
            if error.id in present.waived:
                return None, present, tuple(refused)
            refused.append(error)


def asks_metadb(step: Step) -> bool:
    return step.node == METADB or any(isinstance(probe, SameTime) for probe in step.verify)


@contextmanager
def _offering(name: str, args: Mapping[str, str], accepted: frozenset[str]) -> Iterator[None]:
    """What can be accepted of a refusal is offered as a line, with what was accepted already."""
    try:
        yield
    except OmsfabError as error:
        if ids := acceptance.acceptable(error.ids, name):
            error.accept = recorded(
                name, args, plan=True, accept=",".join(sorted({*ids, *accepted}))
            )
        raise


def _left(plan: Plan, past: journals.Past) -> Plan:
    """The plan with those steps alone that a resumed run looks at; stages keep their numbers."""
    stages = tuple(
        replace(
            stage,
            steps=tuple(s for s in stage.steps if not stands(s, stage, plan, past)),
        )
        for stage in plan.stages
    )
    return replace(plan, stages=stages)


def _taken_back(directory: Path, way: str) -> PreflightError:
    return PreflightError(
        "RUN-029",
        f"run {directory.name} is being taken back, by {way}",
        where=str(directory),
        next=fab("run.undo", run=directory.name),
    )


def _back_again(order: Order, directory: Path, error: OmsfabError) -> tuple[Next, ...]:
    """What leads on where a rollback has failed: what the error advises; then the rollback again,
    but where it would only find the same, which can be accepted."""
    own = tuple(line for line in error.next if line.task != "run.resume")
    if own and (error.accept or any(line.task == UNDO for line in own)):
        return own
    lost = {"DB-014", "DB-021"} & set(error.ids)
    source = order.plan.initial if lost else ""
    again = fab(UNDO, run=directory.name, from_=source, note="goes on where it stopped")
    return (*own, again)


def _not_as_before(directory: Path, told: Sequence[Event]) -> Mismatch:
    """The way back is at its end, and once more would do nothing else."""
    last = {(event.node, event.step): event for event in told}
    nodes = dict.fromkeys(event.node for event in last.values() if event.node != METADB)
    observe = [fab("node.logs", node=node, note="why it does not run") for node in nodes]
    return Mismatch(
        "RUN-041",
        f"run {directory.name} is rolled back, and not all is as before",
        where=", ".join(dict.fromkeys(event.node for event in last.values())),
        changed="nothing is left of it but images and data directories",
        evidence="\n".join(f"{event.node}: {event.text}" for event in last.values()),
        next=(*observe, fab("fleet.check")),
    )


def _rolled_back(directory: Path, left: str) -> RolledBack:
    record = journals.load_record(directory)
    again = recorded(record["task"], record["args"], plan=True)
    return RolledBack(
        "RUN-028",
        f"run {directory.name} had not come to its end, and is rolled back",
        where=str(directory),
        changed=f"nothing is left of it but {left}",
        fix="mend what stopped it",
        next=again,
    )


def secrets_of(fleet: Fleet) -> tuple[Secret, ...]:
    extra = (value for value in fleet.install.extra.values() if isinstance(value, Secret))
    return (fleet.metadb.password, *((fleet.tsdb.password,) if fleet.tsdb else ()), *extra)


def _about(present: Present) -> str:
    return "; MetaDB and nodes are assumed, ask them with --plan" if present.assumed else ""
