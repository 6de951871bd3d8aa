"""The one runner: stages in order, nodes side by side, every step journalled before it acts."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol, TypeVar

from omsfab import retry
from omsfab.errors import (
    Detached,
    Ended,
    Finding,
    Locked,
    LockLost,
    LostSession,
    MetaDbAway,
    Mismatch,
    NoAnswer,
    OmsfabError,
    OutcomeUnknown,
    PartOfFleet,
    PreflightError,
    SecurityRefusal,
    StepFailed,
    Unreachable,
    cures,
    refusal,
)
from omsfab.next_line import fab
from omsfab.plan import step_names
from omsfab.plan.acceptance import ACCEPTABLE
from omsfab.plan.events import Event, Kind
from omsfab.plan.outage import Outage
from omsfab.plan.records import Effect, Plan, Probe, Stage, Step
from omsfab.run import clock
from omsfab.run.engine.failpoint import Failpoint
from omsfab.run.record.journal import Past

PAUSES = (1.0, 2.0, 4.0, 8.0, *[15.0] * 38)
"""Seconds between tries of a step whose node was lost: ten minutes in all."""

AWAY = 600.0
"""Seconds of silence in all before a step whose command does not answer is given up."""

SILENT = 3
"""Silences before the first change until the operator is told."""

TWICE = ("repeatable", "read-only")
"""Kinds of steps that may be done twice."""

FAILOVER = (1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0)
"""Seconds between tries to reach the MetaDB: a new leader is found in less."""

SIGN_EVERY = 15.0
"""Seconds without a word of a node after which it is told that its step goes on."""

OLD = 60.0
"""Seconds after which the proof that a run has ended well is asked for again."""

DOWN = "RUN-004"
"""A container does not run."""

MOVED = "RUN-040"
"""What a step needs elsewhere, and what was brought about before, is not so any more."""

SPARED = "INIT-019"
"""What was not done in the rollback, because docker_init.sh failed there as well."""

T = TypeVar("T")


class World(Protocol):
    """What a runner needs of the outside: ask, and do (run/engine/interpreter.py)."""

    def ask(self, probe: Probe, node: str, tell: Callable[..., None]) -> str | None:
        """Return None if it is so, else why not, in the operator's words."""

    def perform(self, effect: Effect, step: Step, attempt: int, tell: Callable[..., None]) -> None:
        """Carry the effect out or raise."""

    def ended(self, step: Step, attempt: int) -> bool:
        """False if what the step began is known to have come to no good end, whatever the journal
        says; where that cannot be told, True."""

    def begun(self, step: Step, attempt: int) -> bool:
        """Whether this attempt of a once-only step was begun by anybody, as its node has it."""


@dataclass
class Tally:
    """What a run came to."""

    changes: int = 0
    satisfied: int = 0
    outage: Outage | None = None


def stands(step: Step, stage: Stage, plan: Plan, past: Past) -> bool:
    """Whether a resumed run takes the journal's word for it that the step is done.

    Not what ``recheck_on_resume`` and ``until`` say; nor the questions at the end, which prove the
    whole; nor those of a preflight about a node to which nothing was done yet.
    """
    if step.key not in past.done or step.recheck_on_resume:
        return False
    if step.until and step.until not in past.done:
        once = any(s.key == step.until and s.kind == "once-only" for s in plan.steps)
        if not (once and step.until in past.begun):
            return False
    if not stage.asks_only:
        return True
    touched = any(step_names.parts(key)[1] == step.node for key in past.begun | past.maybe)
    return stage is not plan.stages[-1] and touched


class Runner:
    """Carries a plan out.  ``emit`` journals and shows an event, in this order.

    ``guard`` raises when the lock is lost.  It is called before every effect that changes something
    and before every judgement: what a process sees that was stopped for a while may be the work of
    others, and no failure (or success) of ours.
    """

    def __init__(
        self,
        world: World,
        emit: Callable[[Event], None],
        past: Past | None = None,
        pause: Callable[[float], None] = time.sleep,
        guard: Callable[[], None] = lambda: None,
        failpoint: Failpoint | None = None,
        accepted: frozenset[str] = frozenset(),
    ) -> None:
        self._world = world
        self._accepted = accepted & ACCEPTABLE.keys()
        self._emit = emit
        self._past = past
        self._pause = pause
        self._guard = guard
        self._failpoint = failpoint or Failpoint("", "", "")
        self._lock = threading.Lock()
        self._changed: list[str] = []
        self._busy: dict[str, Step] = {}
        self._going: dict[str, tuple[Step, float]] = {}
        self._heard: dict[str, float] = {}
        self._answered: dict[str, float] = {}
        """When a step has ended well, by its key; a clock that goes on while the machine sleeps."""
        self._away: set[str] = set()
        """Nodes that were waited for in this stage."""
        self.let_go = False
        """No effect is begun any more."""
        self._dropped: dict[str, list[OmsfabError]] = {}
        self._ended: dict[str, int] = {}
        """Attempts that this session has ended on request, by step."""
        self.warnings: list[Finding] = []
        """What was only warned of, or accepted."""
        self.tally = Tally()
        if past:
            self._changed = [f"{key}: begun by an earlier session" for key in sorted(past.begun)]
            if past.copied:
                self._changed.append("what the copy of the journal on a node may lack")

    def leave(self) -> None:
        """The operator lets go: what has begun goes on, and nothing else begins."""
        with self._lock:
            self.let_go = True

    @property
    def changed(self) -> str:
        """What this run has changed so far, a line per step; ``nothing`` if nothing."""
        return "\n".join(self._changed) or "nothing"

    @property
    def jobs_under_way(self) -> list[str]:
        """The once-only steps that have begun and not ended, as ``node, step name``."""
        with self._lock:
            steps = [step for step in self._busy.values() if step.kind == "once-only"]
        return [f"{step.node}, step {step.name}" for step in steps]

    def carry_out(self, plan: Plan) -> Tally:
        """Run the stages in order; all lanes of a stage end before a failure is raised.

        A node that fails in a stage ``apart`` takes no part any more; the others are finished.
        """
        if self._past and self._past.copied:
            self._past = self._with_what_it_lacks(self._past, plan)
        for number, stage in enumerate(plan.stages, 1):
            steps = tuple(
                step
                for step in stage.steps
                if not self._stands(step, stage, plan) and step.node not in self._dropped
            )
            if not steps:
                continue
            self._say_stage(number, stage, steps, plan)
            errors = self._stage(stage, steps)
            if not errors and (again := self._grown_old(stage, steps, plan)):
                errors = self._stage(stage, again)
            while not errors and (again := self._no_longer_proven(stage, steps, plan)):
                errors = self._stage(stage, again)
            if errors and not stage.tolerate_failures:
                raise self._together(stage, [*errors, *self._missing])
            for error in errors:
                if isinstance(error, OutcomeUnknown):  # it may still run: nobody else is begun
                    raise self._together(stage, [*errors, *self._missing])
                self._dropped.setdefault(error.node, []).append(error)
        if self._dropped:
            raise self._without_some()
        return self.tally

    def _say_stage(self, number: int, stage: Stage, steps: Sequence[Step], plan: Plan) -> None:
        """A stage begins, with so many steps of each node."""
        each = Counter(step.node for step in steps)
        data = {"number": number, "title": stage.title, "steps": dict(each)}
        self._say("", "", "stage", f"{number}/{len(plan.stages)} {stage.title}", data)

    def _with_what_it_lacks(self, past: Past, plan: Plan) -> Past:
        """A copy of a journal may lag behind.  Where docker_init.sh was begun, all that stands
        before it was done: it is not interrupted by stopping programs once more, and the rows that
        it writes are none that came back."""
        begun, before = set(past.begun), set(past.done)
        so_far: set[str] = set()
        for stage in plan.stages:
            for step in stage.steps:
                if step.kind != "once-only" or step.key in past.done:
                    continue
                try:
                    there = step.key in past.begun or self._world.begun(step, self._attempt(step))
                except OmsfabError:
                    if not stage.tolerate_failures:
                        raise
                    continue  # who joins changes nothing for those that were there before
                if there:
                    begun.add(step.key)
                    before |= so_far
            if not stage.tolerate_failures:
                so_far |= {
                    step.key for step in stage.steps if step.apply and not step.recheck_on_resume
                }
        return replace(past, begun=frozenset(begun), done=frozenset(before))

    def _grown_old(self, stage: Stage, steps: Sequence[Step], plan: Plan) -> tuple[Step, ...]:
        """The questions at the end whose answers are old: this process has slept since, or was
        stopped.  Asked for once, since in a large fleet they may take that long by themselves."""
        if stage is not plan.stages[-1] or not stage.asks_only:
            return ()
        return tuple(s for s in steps if time.time() - self._answered.get(s.key, 0.0) > OLD)

    def _no_longer_proven(
        self, stage: Stage, steps: Sequence[Step], plan: Plan
    ) -> tuple[Step, ...]:
        """The questions at the end to nodes that were away meanwhile: one that has come back may
        have been restarted, and what it answered before is no longer so."""
        away, self._away = self._away, set()
        if stage is not plan.stages[-1] or not stage.asks_only:
            return ()
        return tuple(step for step in steps if step.node in away)

    @property
    def _missing(self) -> list[OmsfabError]:
        return [error for errors in self._dropped.values() for error in errors]

    def _without_some(self) -> PartOfFleet:
        """The rest is in service; config.yaml names the missing nodes all the same."""
        names = ", ".join(sorted(self._dropped))
        return PartOfFleet(
            "RUN-012",
            f"{names} is not in service, all other nodes are; cm_nodes names it already",
            where=names,
            changed=self.changed,
            evidence="\n".join(_told(error) for error in self._missing),
            fix=f"mend {names} (or, to do without {names}: "
            "roll back, then fab scale.out with --nodes)",
        )

    # --- a stage ---

    def _stage(self, stage: Stage, steps: Sequence[Step]) -> list[OmsfabError]:
        lanes: dict[str, list[Step]] = {}
        for step in steps:
            lanes.setdefault(step.node, []).append(step)
        gate = threading.Semaphore(stage.width or len(lanes))
        errors: list[OmsfabError] = []

        def run(lane: list[Step]) -> None:
            with gate:
                for step in lane:
                    if self.let_go or (stage.width and _blocks(stage, errors)):
                        return  # one at a time: the next node is not begun after a failure
                    if not self._goes_on(stage, step, errors):
                        return

        # Daemon threads: Ctrl-C must be able to leave; what runs on the nodes goes on there.
        threads = [
            threading.Thread(target=run, args=(lane,), daemon=True) for lane in lanes.values()
        ]
        try:
            for thread in threads:
                thread.start()
                if stage.width == 1:
                    self._join(thread)
            for thread in threads:
                self._join(thread)
        except KeyboardInterrupt:
            self.leave()
            _wait_for_transactions(lanes, threads)
            raise
        return errors

    def _goes_on(self, stage: Stage, step: Step, errors: list[OmsfabError]) -> bool:
        """Carry a step out; whether its node has the next one."""
        self._going[step.node] = step, time.monotonic()
        try:
            self._step(step)
        except OmsfabError as failure:
            error = self._lost_instead(failure)
            error.where = error.where or f"{step.node}, step {step.name}"
            error.changed = self.changed
            error.node = step.node
            if isinstance(error, PreflightError) and self.changed != "nothing":
                error.exit_code = StepFailed.exit_code  # 3: nothing was changed
            errors.append(error)
            lost = isinstance(error, LockLost)  # that is no failure of this node
            says: Kind = "state" if lost else "failed"
            self._say_failed(step, f"{error.id} {error.what}", says, error.id)
            return _asks_on(stage, error)
        except (Exception, SystemExit) as defect:
            errors.append(_defect(defect, step, self.changed))
            self._say_failed(step, repr(defect))
            return False
        finally:
            self._going.pop(step.node, None)
        self._answered[step.key] = time.time()
        return True

    def _lost_instead(self, failure: OmsfabError) -> OmsfabError:
        """The lost lock, if it is lost: then nobody knows whose failure this is."""
        try:
            self._guard()
        except LockLost as lost:
            return lost
        except OmsfabError:  # a lock that cannot be asked about proves nothing
            pass
        return failure

    def _join(self, thread: threading.Thread) -> None:
        """Join in short slices, since a join without limit cannot be interrupted by Ctrl-C."""
        while thread.is_alive():
            thread.join(0.2)
            self._sign_of_life()

    def _sign_of_life(self) -> None:
        """A command may say nothing for minutes (docker load, a stop): nobody shall wonder."""
        now = time.monotonic()
        for node, (step, since) in list(self._going.items()):
            if now - max(since, self._heard.get(node, 0.0)) >= SIGN_EVERY:
                with contextlib.suppress(OmsfabError):  # its own lane tells that
                    spent = now - since
                    text = f"{step.title}: {spent:.0f} s so far"
                    self._say(node, step.name, "state", text, {"alive": spent})

    def _together(self, stage: Stage, errors: Iterable[OmsfabError]) -> OmsfabError:
        """Return one error for all; an unknown outcome stays one, whatever else failed.

        What two nodes met in one place (a full disk of the jump host) is one thing.
        """
        met = {(error.id, error.what, error.where or error): error for error in errors}
        each = list(met.values())
        if lost := next((error for error in each if isinstance(error, LockLost)), None):
            return lost
        if self.changed == "nothing":
            told = self.warnings if stage.gather else ()
            found = refusal(each, told, f"{len(each)} findings in stage {stage.title!r}")
            if stage.gather and found.exit_code == OmsfabError.exit_code:
                found.exit_code = PreflightError.exit_code  # asked, not done
            return found
        if len(each) == 1:
            return each[0]
        summed = self._summed_up(stage, each)
        summed.parts = tuple(each)
        return summed

    def _summed_up(self, stage: Stage, each: Sequence[OmsfabError]) -> OmsfabError:
        text = "\n".join(_told(error) for error in each)
        what = f"{len(each)} steps of stage {stage.title!r} failed"
        fix, lines = cures(each)
        for error in each:
            if isinstance(error, OutcomeUnknown):
                return OutcomeUnknown(
                    "RUN-011", what, changed=self.changed, evidence=text, fix=fix, next=error.next
                )
        # One thing that is not so is seen from many nodes: cm_url, say.
        wrong = all(isinstance(error, Mismatch) for error in each)
        kind = Mismatch if wrong else PartOfFleet
        return kind("RUN-011", what, changed=self.changed, evidence=text, fix=fix, next=lines)

    # --- a step ---

    def _step(self, step: Step) -> None:
        """A node that is away is waited for, once the run has changed something: before that it is
        the operator who waits.  A session that was lost may have done its work, so only what can be
        done twice is; the same holds for a command that is silent, with slow logins say."""
        self._again(step, partial(self._once, step), twice=step.kind in TWICE)

    def _again(self, step: Step, act: Callable[[], T], *, twice: bool) -> T:
        """Do it, and again where the node was away or silent: for ten minutes, silence included.

        ``twice``: it may be done twice.  Otherwise what was silent has an unknown outcome.
        """
        silent = 0.0

        def worth(lost: OmsfabError) -> bool:
            nonlocal silent
            if not isinstance(lost, NoAnswer):
                return self.changed != "nothing" if isinstance(lost, Unreachable) else twice
            silent += lost.waited
            return twice and silent < (AWAY if self.changed != "nothing" else SILENT * lost.waited)

        try:
            return self._waiting(
                step,
                partial(self._unless_ended, step, act),
                on=(LostSession, NoAnswer, Unreachable),
                waits=PAUSES,
                again=worth,
            )
        except NoAnswer as lost:
            if not twice:
                raise _unknown(lost) from lost
            raise

    def _unless_ended(self, step: Step, act: Callable[[], T]) -> T:
        """What was ended on request is over, and the next attempt begins."""
        for _ in PAUSES:
            try:
                return act()
            except Ended as ended:
                text, id = f"{ended.id} {ended.what}", ended.id
                self._say(step.node, step.name, "failed", text, {"id": id})
                self._ended[step.key] = self._ended.get(step.key, 0) + 1
        return act()

    def _waiting(
        self,
        step: Step,
        act: Callable[[], T],
        *,
        on: tuple[type[OmsfabError], ...],
        waits: Sequence[float],
        again: Callable[[OmsfabError], bool],
    ) -> T:
        """Try again as retry.call does; each wait is told, and after it the lock must be ours."""
        tried = False

        def attempt() -> T:
            nonlocal tried
            if tried:
                self._guard()
            tried = True
            return act()

        def told(error: OmsfabError, pause: float) -> None:
            if not isinstance(error, MetaDbAway):
                self._away.add(step.node)
            self._say(step.node, step.name, "state", f"{error.what}; again in {pause:.0f} s")

        return retry.call(attempt, on=on, waits=waits, again=again, on_wait=told, sleep=self._pause)

    def _once(self, step: Step) -> None:
        try:
            there = bool(step.check) and all(self._ask(one, step) is None for one in step.check)
        except (LostSession, Unreachable):
            if not self._is_done(step):
                raise
            return None  # it was done: who needs that node tells
        if there:
            self._guard()
            with self._lock:
                self.tally.satisfied += 1
            return self._say(step.node, step.name, "satisfied", step.title)
        began = time.monotonic()
        self._refuse_unless_needed(step)
        if step.apply:
            self._intend(step)
        self._failpoint.reached(step, "before")
        why = self._bring_about(step)
        self._guard()  # what was seen may be somebody else's by now
        if why and not step.warn and step.fault not in self._accepted:
            raise self._not_so(step, why)
        with self._lock:
            self._busy.pop(step.key, None)
        if why:
            accepted = not step.warn
            said = f"{step.fault} accepted: " if accepted else f"{step.fault} "
            weight: Literal["accepted", "warning"] = "accepted" if accepted else "warning"
            with self._lock:
                fix = "\n".join(filter(None, (step.fix, str(step.next or ""))))
                self.warnings.append(
                    Finding(step.fault, step.node, step.title, why, step.wanted, fix, weight)
                )
            self._warn(step, step.fault, f"{said}{step.title}: {why}")
            if not step.apply:
                return None
        self._say(step.node, step.name, "done", f"{step.title} ({time.monotonic() - began:.1f} s)")

    def _bring_about(self, step: Step) -> str:
        """Do it, or in its other way where it has one; return what is not as wanted then."""
        spare = bool(step.spare)
        try:
            self._apply(step)
        except (StepFailed, Mismatch) as error:
            if not spare:
                raise
            self._instead(step, f"{error.id} {error.what}")
            spare = False
        self._failpoint.reached(step, "after")
        why = self._why_not(step)
        if why and spare:
            self._instead(step, f"{step.fault} {why}")
            why = self._why_not(step)
        return why

    def _refuse_unless_needed(self, step: Step) -> None:
        """What must be so is asked right before, whatever the journal says: a container may have
        been restarted since."""
        for node, probe in step.needs:
            ask = partial(self._world.ask, probe, node, self._teller(step))
            why = self._patiently(step, ask)
            if why is not None:
                raise Mismatch(
                    MOVED,
                    f"not as it must be for: {step.title}",
                    where=f"{node}, before step {step.name}",
                    changed=self.changed,
                    evidence=why,
                    next=fab("run.resume", note="brings that about again, and goes on"),
                )

    def _apply(self, step: Step) -> None:
        for number, effect in enumerate(step.apply, 1):
            if step.kind != "read-only":
                self._guard()
            with self._failpoint.inside(step, number, effect, self._teller(step)) as tell:
                act = partial(self._world.perform, effect, step, self._attempt(step), tell)
                self._unless_accepted(step, partial(self._patiently, step, act))

    def _instead(self, step: Step, why: str) -> None:
        """Do what is left to do where the step is not the only way.  Its first effect is what all
        others need, so the step fails with it; what fails behind it is told, too: what comes of all
        this the steps behind it prove, and the end of the rollback tells."""

        def act(effect: Effect) -> None:
            self._guard()
            attempt, tell = self._attempt(step), self._teller(step)
            self._patiently(step, partial(self._world.perform, effect, step, attempt, tell))

        first, *others = step.spare
        try:
            act(first)
        except OmsfabError as error:
            error.proven = True  # accepted, it would only fail again
            raise
        self._warn(step, SPARED, f"{SPARED} {step.title}: not done ({why})")
        for effect in others:
            try:
                act(effect)
            except (LostSession, Unreachable):
                raise
            except OmsfabError as further:
                text = f"{further.id} {further.what}: {further.evidence}"
                self._warn(step, further.id, text)

    def _unless_accepted(self, step: Step, act: Callable[[], None]) -> None:
        """Do it; what the operator has accepted is told, and the outcome is asked all the same."""
        try:
            act()
        except OmsfabError as error:
            if error.id not in self._accepted or error.proven:
                raise
            said = "\n".join(filter(None, (error.what, error.evidence)))
            self._warn(step, error.id, f"{error.id} accepted: {said}")

    def _intend(self, step: Step) -> None:
        """Say so on disk, and count it: one thing, or Ctrl-C could fall between them and call a run
        unchanged whose first effect begins."""
        with self._lock:
            if self.let_go:
                raise Detached("RUN-030", "detached")
            self._emit(_event(step.node, step.name, "intent", step.title))
            self._busy[step.key] = step
            text = f"{step.node}: {step.title}"
            if step.kind != "read-only" and text not in self._changed:
                self.tally.changes += 1  # a second try is no second change
                self._changed.append(text)

    def _ask(self, probe: Probe, step: Step) -> str | None:
        ask = partial(self._world.ask, probe, step.node, self._teller(step))
        if step.kind in TWICE:  # the step as a whole is done again
            return self._patiently(step, ask)
        return self._again(step, partial(self._patiently, step, ask), twice=True)

    def _patiently(self, step: Step, act: Callable[[], T]) -> T:
        """Do it, again where the MetaDB is away: production may be stopped, and must not stay so
        for the half minute of a failover.  Before the first change the operator is told at once."""
        return self._waiting(
            step,
            act,
            on=(MetaDbAway,),
            waits=FAILOVER,
            again=lambda _: self.changed != "nothing",
        )

    def _why_not(self, step: Step) -> str:
        """Return what is not as wanted; of questions alone all of it, to be cured at once."""
        wrong: list[str] = []
        for probe in step.verify:
            why = self._ask(probe, step)
            if why is not None:
                wrong.append(why)
                if step.apply:
                    break
        return "\n".join(wrong)

    def _not_so(self, step: Step, why: str) -> OmsfabError:
        kind: type[OmsfabError] = PreflightError if self.changed == "nothing" else Mismatch
        if step.fault == "INIT-010":  # the one question that asks for a lock
            kind = Locked
        error = kind(
            step.fault,
            f"check failed: {step.title}",
            where=f"{step.node}, step {step.name}",
            changed=self.changed,
            evidence=why,
            fix=step.fix,
            next=step.next,
        )
        error.wanted = step.wanted
        return error

    def _teller(self, step: Step) -> Callable[..., None]:
        def tell(kind: Kind, text: str, data: Mapping[str, Any] | None = None) -> None:
            self._say(step.node, step.name, kind, text, data)

        return tell

    def _stands(self, step: Step, stage: Stage, plan: Plan) -> bool:
        """Whether the step is done and needs no second look.  A journal can be wrong: what must not
        be done twice, its own memory is asked about."""
        return (
            self._past is not None
            and stands(step, stage, plan, self._past)
            and (not step.apply or self._world.ended(step, self._attempt(step)))
        )

    def _is_done(self, step: Step) -> bool:
        return self._past is not None and step.key in self._past.done

    def _attempt(self, step: Step) -> int:
        """Return 1, or one more for each attempt that came to a known end (journal.OVER)."""
        before = self._past.failures.get(step.key, 0) if self._past else 0
        return 1 + before + self._ended.get(step.key, 0)

    def _say_failed(self, step: Step, text: str, kind: Kind = "failed", id: str = "") -> None:
        """The error is kept already: a journal that cannot be written must not hide it."""
        with contextlib.suppress(OmsfabError):
            self._say(step.node, step.name, kind, text, {"id": id} if id else None)

    def _warn(self, step: Step, id: str, text: str) -> None:
        self._say(step.node, step.name, "warning", text, {"id": id} if id else None)

    def _say(
        self, node: str, step: str, kind: Kind, text: str, data: Mapping[str, Any] | None = None
    ) -> None:
        if self.let_go:  # the operator let go: a lane that dies now has nothing to say
            return
        self._heard[node] = time.monotonic()
        self._emit(_event(node, step, kind, text, data))


def _event(
    node: str, step: str, kind: Kind, text: str, data: Mapping[str, Any] | None = None
) -> Event:
    return Event(clock.now(), time.monotonic(), node, step, kind, text, data)


ROLLBACK = 15.0
"""Seconds that a transaction gets after Ctrl-C: it sends no further statement, and is undone."""


def _wait_for_transactions(
    lanes: Mapping[str, Sequence[Step]], threads: Sequence[threading.Thread]
) -> None:
    end = time.monotonic() + ROLLBACK
    for lane, thread in zip(lanes.values(), threads, strict=True):
        if any(step.kind == "transaction" for step in lane) and thread.ident:
            thread.join(max(0.0, end - time.monotonic()))


def _unknown(silent: NoAnswer) -> OutcomeUnknown:
    """What must not be done twice may have happened or not."""
    return OutcomeUnknown(
        silent.id,
        silent.what,
        where=silent.where,
        evidence=silent.evidence,
        next=silent.next,
    )


def _asks_on(stage: Stage, error: OmsfabError) -> bool:
    """Whether the next question to this node makes sense: not to one that does not answer, nor
    where the container is down in which most of them are asked."""
    silent = isinstance(error, (Unreachable, OutcomeUnknown, SecurityRefusal))
    return stage.gather and not silent and error.id != DOWN


def _blocks(stage: Stage, errors: Sequence[OmsfabError]) -> bool:
    """Whether the next node must wait: always, or if what failed may still run."""
    return any(not stage.tolerate_failures or isinstance(error, OutcomeUnknown) for error in errors)


def _told(error: OmsfabError) -> str:
    lines = [f"{error.where}: {error.id} {error.what}", *error.evidence.splitlines()]
    return "\n  ".join(lines)


def _defect(error: BaseException, step: Step, changed: str) -> OmsfabError:
    defect = OmsfabError(
        "BUG-001",
        f"omsfab itself failed: {type(error).__name__}: {error}",
        where=f"{step.node}, step {step.name}",
        changed=changed,
    )
    defect.node = step.node
    return defect
