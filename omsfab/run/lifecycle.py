"""A run under way: locks, journal, mirror, runner, and its end, whichever it is."""

from __future__ import annotations

import getpass
import secrets as randomness
import shutil
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from omsfab.errors import (
    Detached,
    Locked,
    LockLost,
    Mismatch,
    Next,
    OmsfabError,
    OutcomeUnknown,
    PartOfFleet,
    StepFailed,
    Unreachable,
)
from omsfab.metadb.client import LeaseKeeper, MetaDbEdge
from omsfab.metadb.lease import Holder, Lease
from omsfab.next_line import after_loss, fab, plus, recorded
from omsfab.plan.acceptance import acceptable
from omsfab.plan.events import ENDED, Event, Kind, Left, RunEnd
from omsfab.plan.outage import Outage, outage
from omsfab.plan.procedures.registry import UNDOABLE, is_repair
from omsfab.plan.records import Plan
from omsfab.run import clock, other_hosts, signals
from omsfab.run.engine import failpoint
from omsfab.run.engine.interpreter import Interpreter
from omsfab.run.engine.runner import Runner, Tally
from omsfab.run.record import claims, holders, local_lock
from omsfab.run.record import journal as journals
from omsfab.run.record.outages import History, cure
from omsfab.run.record.past_run import PastRun, runs
from omsfab.run.record.replica import Mirror
from omsfab.secret import Secret
from omsfab.show.terminal import Show
from omsfab.show.text import counted, outage_text, seconds
from omsfab.ssh.protocol import Shell


@dataclass(frozen=True, slots=True)
class World:
    """What a run works with; ``home`` is the state directory of this OMS on this jump host."""

    home: Path
    shells: Mapping[str, Shell]
    metadb: MetaDbEdge
    secrets: Sequence[Secret]
    show: Show


@dataclass(frozen=True, slots=True)
class Order:
    """What a session wants carried out.

    ``undoes`` is the directory of the run whose work is rolled back: its lease, its markers and its
    backups are used.  ``fresh`` is asked under the lock, before anything happens.
    """

    directory: Path
    plan: Plan
    lease: bool = False
    past: journals.Past | None = None
    undoes: Path | None = None
    fresh: Callable[[], None] = lambda: None
    serving: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Region -> nodes on which OMS served before the run (plan/outage.py)."""
    accepted: frozenset[str] = frozenset()
    """The ids that the operator accepts; no part of the plan, so a later session may add some."""
    stop_init: bool = False
    """Whether a docker_init.sh of this run that still runs is ended, and not waited for."""


def carry_out(world: World, order: Order) -> tuple[Tally, str]:
    """Carry the plan out under all locks; return its tally and a summary.

    A run that failed or was let go after it changed something keeps its lease, so that nobody
    plans upon half a change.
    """
    run = order.directory.name
    since = f"{datetime.now(timezone.utc):%H:%M:%SZ}"
    with ExitStack() as stack:
        stack.enter_context(local_lock.held(world.home, run, owner(world.home), since))
        for shell in world.shells.values():
            stack.callback(shell.close)
        stack.enter_context(signals.by_signal())
        again = fab("run.resume", run=run) if order.past else _again(order)
        try:
            keeper = _lock(stack, world, order, since)
        except KeyboardInterrupt:
            raise Detached("RUN-030", "detached", next=again) from None
        live = Live(world, order, keeper)
        stack.callback(live.close)
        with world.show:
            return live.carry_out()


def owner(home: Path) -> str:
    """Return who works here, e.g. ``li@jump1#3fa9c1``.

    The last part names the state directory: two jump hosts may bear one name, and a directory that
    was lost is another one afterwards.
    """
    path = home / "id"
    if not path.exists():
        journals.write_durably(path, randomness.token_hex(3).encode())
    return f"{getpass.getuser()}@{socket.gethostname()}#{path.read_text()}"


def _lock(stack: ExitStack, world: World, order: Order, since: str) -> LeaseKeeper | None:
    """Take the lease in MetaDB and claim the nodes; a run retakes its own at once.

    A new run that may not begin leaves nothing behind.
    """
    run, me = _identity(order), owner(world.home)
    metadb = world.metadb
    nodes = claims.nodes_of(order.plan, world.shells)
    lease = None
    try:
        lease = _lease(world, run, me) if order.lease else None
        claims.take(
            nodes,
            run,
            me,
            since,
            again=bool(order.past or order.undoes),
            open_run=lambda other, node: _held(world.home / other, node),
        )
    except (OmsfabError, KeyboardInterrupt) as error:
        if isinstance(error, Locked) and order.undoes:  # the lock knows no rollback
            back = _again(order)
            error.next = tuple(back if one.task == "run.resume" else one for one in error.next)
        if order.past is None:
            # What is rolled back keeps its locks, unless it had come to its end, without any.
            if order.undoes is None or _over(order.undoes):
                claims.free(nodes, run)
                if lease:
                    metadb.lease_release(lease)
            shutil.rmtree(order.directory, ignore_errors=True)
        raise
    return stack.enter_context(metadb.lease_keep(lease)) if lease else None


def _lease(world: World, run: str, me: str) -> Lease:
    """Take the lease; also where a run of this jump host that has ended could not give it back."""
    metadb = world.metadb
    take = partial(metadb.lease_take, run, me, on_busy=partial(_busy, world))
    try:
        return take()
    except Locked:
        held = metadb.lease_holder()
        if held is None or not left_behind(world.home, held):
            raise
        metadb.lease_release(metadb.lease_take(held.run_id, held.owner))
        return take()


def left_behind(home: Path, held: Holder) -> bool:
    """Whether the lock is that of a run of this state directory which has ended: the MetaDB was
    away when it was to be freed, and the run has written down no end before it was tried."""
    if not (home / "id").exists() or held.owner != owner(home):
        return False
    return any(run.name == held.run_id and run.past.ended for run in runs(home))


STILL_OPEN = "a transaction of this run's former session is still open; MetaDB ends it in a minute"


def _busy(world: World) -> None:
    world.show(Event(clock.now(), time.monotonic(), "metadb", "lock", "state", STILL_OPEN))


def _held(other: Path, node: str) -> OmsfabError | None:
    found = holders.holder(PastRun(other))
    return holders.refusal(found, [node]) if found else None


def _identity(order: Order) -> str:
    """The run that holds the locks; one that takes another back steps into its place."""
    return (order.undoes or order.directory).name


def _ending(order: Order) -> Next:
    """The line that ends a docker_init.sh that hangs, and goes on."""
    if order.undoes:
        return fab("run.undo", run=order.undoes.name, stop_init=True)
    return fab("run.resume", run=order.directory.name, stop_init=True)


def _over(run: Path) -> bool:
    return PastRun(run).past.ended


def _again(order: Order) -> Next:
    """The line that this run began with, for one that has changed nothing."""
    if order.undoes:
        return fab("run.undo", run=order.undoes.name)
    return PastRun(order.directory).line


class Live:
    """A run that acts: its journal is open for writing, its locks are held, its copy is kept."""

    def __init__(self, world: World, order: Order, keeper: LeaseKeeper | None) -> None:
        self._world, self._order, self._keeper = world, order, keeper
        self._run = order.directory.name
        self._guard = keeper.check if keeper else lambda: None
        for one in world.shells.values():
            one.guard = self._guard
        self._journal = journals.Journal(order.directory)
        self._blind = False
        self._heard = heard_before(order)
        initial = order.plan.initial
        shell = world.shells.get(initial) if initial else None
        self._mirror = Mirror(shell, order.directory, self._mirror_says) if shell else None
        self._metadb = world.metadb.running(on_statement=self._unless_let_go)
        self._site = Interpreter(
            self._run,
            order.undoes or order.directory,
            world.shells,
            self._metadb,
            secrets=world.secrets,
            mirror=self._mirror.copy if self._mirror else lambda path: None,
            lease=keeper.lease if keeper else None,
            ending=_ending(order),
            stop_init=order.stop_init,
        )
        self._runner = Runner(
            self._site,
            self.emit,
            order.past,
            guard=self._guard,
            failpoint=failpoint.wanted(),
            accepted=order.accepted,
        )

    def close(self) -> None:
        self._journal.close()

    def carry_out(self) -> tuple[Tally, str]:
        began = time.monotonic()
        past = self._order.past
        resumed = f"resumed {self._run}; {len(past.done)} steps are done" if past else ""
        serving = None if resumed else {"serving": self._order.serving}
        self._say("run", resumed or f"begun {self._run}", serving)
        for id in sorted(self._order.accepted - (past.accepted if past else frozenset())):
            self._say("accepted", id)
        try:
            self._order.fresh()
            if self._mirror:
                self._mirror.begin()
            tally = self._runner.carry_out(self._order.plan)
        except KeyboardInterrupt:
            self._runner.leave()
            raise self._detached() from None
        except OmsfabError as error:
            with suppress(OmsfabError):  # what failed is the news, not a full disk behind it
                self._failed(error)
            raise
        tally.outage = self._outage()
        summary = _summary(self._order.plan.task, tally, time.monotonic() - began)
        try:
            self._end(RunEnd("done"), summary)
        except OmsfabError as error:  # all is done; only the locks are not free
            error.changed = self._runner.changed
            if isinstance(error, LockLost):
                self._lost(error)
                raise
            self._lead(error)
            raise
        return tally, summary

    def emit(self, event: Event) -> None:
        """Journal the event, then show it; a terminal that is gone ends no run."""
        text = self._redacted(event)
        clean = event if text == event.text else replace(event, text=text)
        self._journal.write(clean)
        if event.kind in ("programs", "run"):  # what an outage is measured from
            self._heard.append(clean)
        if event.kind == "stage" and self._mirror:
            self._mirror.refresh()
        if not self._blind:
            try:
                self._world.show(clean)
            except (OSError, SystemExit):  # rich raises SystemExit for a broken pipe
                self._blind = True

    def _redacted(self, event: Event) -> str:
        """What only says our own words stays as it is, also with a password that is one of them."""
        if event.kind in ("run", "accepted", "stage", "intent", "done", "satisfied"):
            return event.text
        known = len(event.id) if event.kind == "failed" else 0
        return event.text[:known] + self._site.redact(event.text[known:])

    # --- ends ---

    def _end(self, end: RunEnd, text: str) -> None:
        """End the run for good: free the locks, then say so."""
        self._guard()
        try:
            self._free()
        except OmsfabError:
            if self._runner.changed == "nothing":  # their owner takes the locks again at once
                self._ends(end, text)
            raise
        if self._order.undoes:
            self._close(self._order.undoes)
        self._ends(end, text)
        if self._mirror:
            self._mirror.refresh_now()
            self._mirror.prune()

    def _free(self) -> None:
        nodes = claims.nodes_of(self._order.plan, self._world.shells)
        if self._order.undoes:  # the run rolled back may have claimed more than it touched
            nodes = list(self._world.shells.values())
        claims.free(nodes, _identity(self._order))
        if self._keeper:
            self._keeper.stop()
            self._metadb.lease_release(self._keeper.lease)

    def _close(self, undone: Path) -> None:
        """The run that was rolled back is over, also for whoever has only its copy on the node."""
        close(undone, RunEnd("undone", by=self._run), f"undone by {self._run}")
        shell = self._world.shells.get(PastRun(undone).initial)
        if shell:
            Mirror(shell, undone, self._mirror_says).refresh_now()

    def _end_unchanged(self, status: int, error: str) -> None:
        """Nothing was changed.  A rollback leaves the run that it was for as it is: half done, with
        its locks, or at its end, without."""
        end, text = RunEnd("unchanged", status, error), "nothing was changed"
        undoes = self._order.undoes
        if undoes is None:
            return self._end(end, text)
        if _over(undoes):
            self._free()
        self._ends(end, text)

    def _outage(self) -> Outage | None:
        return outage(self._heard, clock.now())

    def _down(self) -> str:
        """What production suffers now, if it does, and what ends it."""
        found = self._outage()
        if not (found and found.down):
            return ""
        return outage_text(found, cure(self._order.plan.task, ended=False))

    def _ends_here(self, error: OmsfabError) -> bool:
        """A repair whose failure is known is over: it is small, and done again as a whole.  So it
        keeps nobody away, and node.exec never does.  An initialisation has its own memory."""
        task = self._order.plan.task
        if self._order.undoes or not is_repair(task) or task == "node.initialise":
            return False
        return task in holders.FREE or not isinstance(error, (OutcomeUnknown, Unreachable))

    def _lead_of_repair(self, error: OmsfabError) -> None:
        """What an error advised, or a look; then the task again, and where there is one the way
        back."""
        own = tuple(line for line in error.next if line.task != "run.resume")
        look = fab("node.logs", node=error.node, note="what happened there")
        lines = (*(own or (look,)), _again(self._order))
        if self._order.plan.task in UNDOABLE:
            lines = (*lines, fab("run.undo", run=self._run, note="rolls back what it did"))
        error.next = tuple(dict.fromkeys(lines))

    def _failed(self, error: OmsfabError) -> None:
        error.shown_by(self._site.redact)
        if isinstance(error, LockLost):
            return self._lost(error)
        if error.changed == "nothing":  # between two steps nobody has filled it in
            error.changed = self._runner.changed
        error.outage = "" if error.id in other_hosts.ACTED else self._down()
        over = self._runner.changed != "nothing" and self._ends_here(error)
        if over:
            self._lead_of_repair(error)
        else:
            self._lead(error)
        error.accept = self._accept(error)
        self._leave("failed", f"failed: {error.id}")
        if self._runner.changed == "nothing":
            self._end_unchanged(error.exit_code, error.id)
        elif over:
            self._end(RunEnd("failed", error.exit_code, error.id), f"failed: {error.id}")
        elif error.id == other_hosts.OVER and self._keeper and self._keeper.lease.was_free:
            self._free()  # whoever ended it had freed the locks
        elif self._mirror:
            self._mirror.refresh_now()

    def _lost(self, error: LockLost) -> None:
        """The locks and the copy on the node are those of others by now: only the journal here
        hears of it."""
        if self._runner.changed == "nothing":
            error.exit_code = Locked.exit_code
        if self._order.undoes:  # the lock bears the name of the run that is rolled back
            error.next = (after_loss(_again(self._order)),)
        self._leave("failed", f"failed: {error.id}")

    def _lead(self, error: OmsfabError) -> None:
        """Say what leads on: forward, and where something was changed and it is known what, back.

        A run that has changed nothing has ended: what the error advises, or the task once more.
        What it advises for a run under way comes before that run goes on, so it is part of the fix.
        """
        own = tuple(self._named(line) for line in error.next if line.task != "run.resume")
        if self._runner.changed == "nothing" and not self._order.undoes:
            own = tuple(line for line in own if line.task != "run.undo")  # of an older run
        before = (line.first for line in error.next if line not in own)
        error.fix = "\n".join(filter(None, (error.fix, *before)))
        if self._runner.changed == "nothing":
            waits = self._order.undoes and not self._accept(error)
            again = (_again(self._order),) if waits or not own else ()
            error.next = tuple(dict.fromkeys((*own, *again)))
            return
        resume = self._resume(error)
        if self._order.undoes or any(line.task == "run.undo" for line in own):
            error.next = own or (resume,)
            return
        error.fix = "\n".join(
            filter(None, (error.fix, *(w for n in own for w in (n.first, str(n)))))
        )
        undoable = self._order.plan.task in UNDOABLE
        known = undoable and isinstance(error, (StepFailed, Mismatch, PartOfFleet))
        back = plus(recorded("run.undo", self._which(error)), note="rolls back what it did")
        error.next = (resume, back) if known else (resume,)

    def _named(self, line: Next) -> Next:
        """A rollback is that of this run, never of the newest one, whichever that is by then."""
        if line.task != "run.undo" or "--run=" in line.line:
            return line
        return plus(line, run=(self._order.undoes or self._order.directory).name)

    def _resume(self, error: OmsfabError | None = None) -> Next:
        return recorded("run.resume", self._which(error))

    def _which(self, error: OmsfabError | None = None) -> dict[str, str]:
        """This run, and where to fetch it from if its directory was removed meanwhile, lacks the
        backup that is asked for, or has a journal that another jump host has gone on with."""
        there = not (self._order.directory / "run.json").exists()
        lost = bool(error and {"DB-014", "DB-021", "RUN-033"} & set(error.ids))
        here = not self._mirror or not (there or lost)
        return {"from_": "" if here else self._order.plan.initial, "run": self._run}

    def _accept(self, error: OmsfabError) -> Next | None:
        """The line that goes on although, where all or some of what failed can be accepted."""
        ids = acceptable(error.open_ids, self._order.plan.task)
        if not ids:
            return None
        order, every = self._order, ",".join(sorted({*ids, *self._order.accepted}))
        fresh = self._runner.changed == "nothing" and order.undoes is None and order.past is None
        if fresh or self._ends_here(error):
            return plus(PastRun(order.directory).line, accept=every)
        if order.undoes:
            return fab("run.undo", run=order.undoes.name, accept=every)
        return fab("run.resume", run=self._run, accept=every)

    def _line_detached(self) -> Detached:
        """A line in a container was let go: it is nobody's any more."""
        node = self._order.plan.steps[-1].node
        with suppress(OmsfabError):
            self._leave("detached", "detached by the operator (Ctrl-C)")
            end = RunEnd("failed", Detached.exit_code, "RUN-030")
            self._end(end, "failed: detached by the operator")
        return Detached(
            "RUN-030",
            "detached; the line may still run in the container",
            changed=self._runner.changed,
            next=fab("node.logs", node=node, note="what it did is not known here"),
        )

    def _detached(self) -> Detached:
        if self._order.plan.task in holders.FREE and self._runner.changed != "nothing":
            return self._line_detached()
        jobs = self._runner.jobs_under_way
        with suppress(OmsfabError):
            self._leave("detached", "detached by the operator (Ctrl-C)")
            if self._runner.changed == "nothing":
                self._end_unchanged(Detached.exit_code, "RUN-030")
        what = (
            "detached: docker_init.sh still runs; do not restart the container"
            if jobs
            else "detached: what was under way has ended, or run.resume finds out"
        )
        detached = Detached(
            "INIT-030" if jobs else "RUN-030",
            what,
            where=", ".join(jobs),
            changed=self._runner.changed,
            next=_again(self._order) if self._runner.changed == "nothing" else self._resume(),
        )
        detached.outage = self._down()
        return detached

    # --- helpers ---

    def _unless_let_go(self, statement: str) -> None:
        """After Ctrl-C no further statement is sent, so an open transaction is rolled back."""
        if self._runner.let_go:
            raise Detached("RUN-030", "detached")

    def _mirror_says(self, text: str) -> None:
        with suppress(OmsfabError, OSError):  # from a thread, perhaps after the end
            self._say("state", text)

    def _ends(self, end: RunEnd, text: str) -> None:
        self._say("run", f"{ENDED}: {text}", end.data())

    def _leave(self, how: Left, text: str) -> None:
        """The session ends here; whether the run does is another event."""
        self._say("run", text, {"left": how})

    def _say(self, kind: Kind, text: str, data: Mapping[str, Any] | None = None) -> None:
        node = self._order.plan.initial if kind == "state" else ""
        self.emit(Event(clock.now(), time.monotonic(), node, "", kind, text, data))


def close(directory: Path, end: RunEnd, text: str) -> None:
    """Write the last word of a run that is not under way."""
    book = journals.Journal(directory)
    said = f"{ENDED}: {text}"
    book.write(Event(clock.now(), time.monotonic(), "", "", "run", said, end.data()))
    book.close()


def _summary(task: str, tally: Tally, took: float) -> str:
    text = f"{counted(tally.changes, 'change')}, {tally.satisfied} unchanged, in {seconds(took)}"
    if tally.outage:
        ended = cure(task, ended=True) if tally.outage.down else ""
        text += f"; {outage_text(tally.outage, ended)}"
    return text


def heard_before(order: Order) -> list[Event]:
    """What earlier sessions, and the run that is rolled back, tell of the programs."""
    earlier = list(order.past.events) if order.past else []
    if order.undoes is None:
        return earlier
    return [*History(order.undoes.parent).before(order.undoes), *earlier]
