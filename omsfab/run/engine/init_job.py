"""docker_init.sh as a detached job: started once, followed for as long as it takes, judged once.

It takes 2 to 4 minutes and must not be interrupted (OMS CE guide "Scale out", step 7).  Nothing
here ends it by itself: not a lost line, not a time limit, not Ctrl-C.  Who asks for it (``stop``)
has the attempt and all its children ended, for a script that hangs would hold production for ever.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from omsfab import retry
from omsfab.command import Command, question
from omsfab.commands import docker
from omsfab.commands import init_job as words
from omsfab.errors import (
    Ended,
    Locked,
    LostSession,
    Next,
    NoAnswer,
    OmsfabError,
    OutcomeUnknown,
    StepFailed,
    Unreachable,
)
from omsfab.fleet.mask import Redactor
from omsfab.next_line import fab
from omsfab.plan.records import Job
from omsfab.run.engine.init_output import Reading, Well, is_said, verdict
from omsfab.secret import Secret
from omsfab.ssh.protocol import OnLine, Result, Shell
from omsfab.ssh.streams import Lines

AWAY = (LostSession, NoAnswer, Unreachable)
"""After these the node is asked again: each question may be asked twice."""

OnState = Callable[[str], None]
"""Called with a sentence about the job: a step it reached, a sign of life, a lost line."""


ITS_FILE = -1
"""In place of an offset: what a poll waits for is the output's file, empty or not."""

DOWN = re.compile("is not running|no such container", re.IGNORECASE)
"""What docker says of a container in which nothing can run."""


@dataclass(frozen=True, slots=True)
class InitResult:
    """How the initialisation ended well.  ``adopted``: it was not ours, ``note`` says whose.

    ``warning`` is what it did otherwise than expected, such as an exit status other than 0.
    """

    note: str
    warning: str = ""
    adopted: bool = False
    status: int | None = 0
    seconds: float = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds and bytes: how often and how much."""

    fastest: float = 0.3
    slowest: float = 2.0
    hold: float = 5
    """For so long a node keeps the answer back while the script says nothing: what it says, and
    its end, are then told at once, and not at the next poll."""
    alive: float = 10
    """Silence after which the wrapper is asked whether it lives."""
    beat: float = 12
    notice: float = 6 * 60
    warn: float = 10 * 60
    claim: float = 10
    """How long a claim is waited for after a start."""
    settle: float = 5
    entry: float = 60
    pending: float = 300
    """Until when we do not believe that a container does not initialise itself: so long after
    supervisord has begun its programs, for then the entry has come to its end; at this age, where
    it has not or what it runs mentions the script; as long as another script of it that mentions
    the script runs, but no longer than the last."""
    itself: float = 0
    """How long an image that initialises itself may take to show it; 0 = up to the job's limit."""
    sign: float = 10
    """How long after the end of another's init its sign of success is waited for."""
    away: float = 600
    """How long the node may be unreachable."""
    chunk: int = 1 << 18
    whole: int = 1 << 19
    """Bytes of output that are passed on; then the middle is skipped, and the file on the node has
    it.  Screen and journal take some ten thousand lines a second, and production would wait."""
    tail: int = 1 << 18


@dataclass(frozen=True, slots=True)
class Poll:
    """What one poll brought."""

    age: float | None = None
    refused: str | None = None
    pid: tuple[str, str] | None = None
    status: int | None = None
    size: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class SelfInit:
    """What a container tells about an initialisation of its own."""

    up: bool
    age: float
    done: str = ""
    """Why we believe that it has been initialised since its start; empty = it has not."""
    running: str = ""
    """A docker_init.sh that runs there: PID and since when."""
    unit: str = ""
    """A mere step of one, as some images run at each start."""
    failed: str = ""
    """What the newest initialisation since its start says of its failure."""
    mentioned: bool = False
    pending: str = ""
    """Another script of the container that runs and mentions docker_init.sh: PID and path."""
    served: float | None = None
    """For how many seconds supervisord has had a program; None if it has none."""

    def over(self, pace: Pace, waited: float) -> bool:
        """Whether what a start does by itself is over, by what is seen, and else by its age."""
        age = max(self.age, waited)  # a node's clock may be set back
        if self.pending:
            return age >= pace.pending
        if self.mentioned or self.served is None:
            return age >= pace.entry
        return min(age, self.served) >= pace.settle


def follow(
    shell: Shell,
    job: Job,
    attempt: str,
    on_line: OnLine,
    on_state: OnState,
    secrets: Sequence[Secret] = (),
    offset: int = 0,
    pace: Pace = Pace(),
    *,
    ending: Next | None = None,
    stop: bool = False,
    on_phase: Callable[[str, str], None] | None = None,
    on_alive: Callable[[float, str], None] | None = None,
) -> InitResult:
    """Start the attempt unless it was started, and hand on its lines until it ends.

    The attempt is a name that is never used for another try.  Called again with it, goes on with
    what runs or ran, from byte ``offset`` of its output.  Lines come without the ``secrets``.
    ``ending`` is the line that ends one that hangs; with ``stop`` one that runs is ended.
    ``on_phase`` gets "step 2 of 5" and what is said of it, ``on_alive`` for how many seconds it has
    run, and a sign of life; without them both are states as any other.

    Raises Locked INIT-010 when another attempt holds the lock, or an initialisation by hand does
    not end (init "always"), StepFailed INIT-011 (it failed), INIT-012 (a signal, or lost; Ended
    with ``stop``), INIT-013 (docker refuses), INIT-014 (it does not start), INIT-016 (the container
    does not initialise itself, "never"), INIT-018 (it cannot be ended), Mismatch INIT-015 (no
    banner), OutcomeUnknown INIT-021 (node away), INIT-022 (still running at ``job.limit``).  The
    job goes on in any other case.
    """
    it = _Attempt(shell, job, attempt, on_line, on_state, secrets, offset, pace, ending)
    it.on_phase, it.on_alive = on_phase or it.on_phase, on_alive or it.on_alive
    if stop:
        it.stop()
    return it.follow()


def end(shell: Shell, job: Job, on_state: OnState) -> bool:
    """End all attempts of omsfab in the container, whole trees; return whether there was one.

    Nothing else is ended.  Raises StepFailed INIT-018 if a process or the lock stays.
    """
    answer = shell.run(words.end(job.container, f"{job.inside}/init.lock"))
    said = _said(answer.out)
    if ended := said.get("ended", ""):
        on_state(f"ended {words.script_name(job.argv)} and what belongs to it: pid {ended}")
    if "left" in said or ("free" not in said and answer.status == 0):
        raise StepFailed(
            "INIT-018",
            f"{words.script_name(job.argv)} cannot be ended",
            where=f"{job.container} on {shell.node}",
            evidence=f"pid {said['left']} outlives SIGKILL"
            if "left" in said
            else "its lock is held",
            next=shell.ssh_line(f"docker restart {job.container}"),
        )
    return bool(ended)


def wait_over(
    shell: Shell, job: Job, on_state: OnState, ending: Next | None, pace: Pace = Pace()
) -> str | None:
    """Wait until no initialisation runs in the container; return what still runs at the limit.

    What runs is told at once, since when, and its last line, and how to end it.
    """
    began = time.monotonic()
    beat = 0.0
    while True:
        answer = shell.run(words.look(job.container, "", "", job.argv))
        running = [line.removeprefix("running ") for line in answer.out.splitlines()]
        running = [line for line in running if line[:1].isdigit()]
        gone = answer.status == 0 or DOWN.search(answer.err)
        if not running and gone:
            return None
        now = time.monotonic()
        script = words.script_name(job.argv)
        text = f"docker does not answer, so nobody knows whether {script} runs"
        if running:
            last = _said(shell.run(words.newest(job.directory)).out)
            said = f"last line: {last.get('last', '')[:200] or 'none'}" if last else "not omsfab's"
            text = f"{script} runs (pid {running[0]}), {said}"
        if now - began > job.limit:
            return text
        if not beat or now - beat > pace.beat:
            beat = now
            how = f"; to end it: {ending}" if running else ""
            on_state(f"{text}; {now - began:.0f} s waited{how}")
        time.sleep(pace.slowest)


def ended_well(shell: Shell, job: Job, attempt: str) -> bool:
    """False if this attempt was begun and has left no status, or another one than 0: whether it was
    a success all the same, ``follow`` judges once more."""
    seen = parse(shell.run(words.poll(f"{job.directory}/{attempt}", 0, 0)).out)
    return seen.age is None or seen.status == 0


def was_begun(shell: Shell, job: Job, attempt: str) -> bool:
    """Whether somebody has started this attempt, whatever has become of it."""
    return parse(shell.run(words.poll(f"{job.directory}/{attempt}", 0, 0)).out).age is not None


class _Attempt:
    def __init__(
        self,
        shell: Shell,
        job: Job,
        attempt: str,
        on_line: OnLine,
        on_state: OnState,
        secrets: Sequence[Secret],
        offset: int,
        pace: Pace,
        ending: Next | None,
    ) -> None:
        self._shell, self._job, self._attempt, self._pace = shell, job, attempt, pace
        self._on_line, self._on_state = on_line, on_state
        self.on_phase: Callable[[str, str], None] = lambda phase, text: on_state(text)
        self.on_alive: Callable[[float, str], None] = lambda spent, text: on_state(text)
        self._hide = Redactor(secrets)
        self._script = words.script_name(job.argv)
        self._directory = f"{job.directory}/{attempt}"
        self._inside = f"{job.inside}/{attempt}"
        self._offset = offset
        self._ending = ending
        self._reading = Reading()
        self._lines = Lines()
        self._began = self._beat = time.monotonic()
        self._warned = 0

    def stop(self) -> None:
        """End what runs of omsfab's attempts; raise Ended if that was this one, or if it had been
        killed before: it is over now."""
        seen = self._poll(0)
        ended = end(self._shell, self._job, self._on_state)
        if seen.age is None or seen.status is not None:
            return
        if not ended and (self._lives(seen) or self._had_ended_well()):
            return
        raise Ended(
            "INIT-012",
            f"{self._script} was ended on request",
            where=f"{self._job.container} on {self._shell.node}",
            evidence=self._output,
        )

    def _had_ended_well(self) -> bool:
        """Whether its output says so, though its wrapper was killed before it wrote a status."""
        self._read_again()
        said, self._reading = self._reading, Reading()
        return isinstance(self._verdict(None, said), Well)

    def follow(self) -> InitResult:
        seen = self._poll(0)
        if seen.age is None:
            # Down since a power cut, perhaps.  Who initialises anew had stopped its programs.
            stopped = self._job.init == "always"
            if self._check(self._ask(docker.up(self._job.container, stopped=stopped))).out:
                self._on_state(f"{self._job.container} was down, and is started")
            own = self._itself() if self._job.init != "always" else None
            if own:
                return own
            adopted = self._start()
            if adopted:
                return adopted
        return self._to_its_end(going=seen.age is not None)

    # --- starting, or not --------------------------------------------------------------------

    def _start(self) -> InitResult | None:
        """Start the wrapper; who is refused because another one runs waits for that one's end."""
        while (refused := self._try_to_start()) is not None:
            if self._elapsed() > self._job.limit:
                raise self._locked(refused)
            adopted = self._refused(refused)
            if adopted:
                return adopted
        return None

    def _try_to_start(self) -> str | None:
        """Wait for the claim, and return None, or why it was refused.

        A second start does no harm.
        """
        for _ in range(3):
            owner = self._check(self._ask(words.prepare(self._directory))).out.strip()
            self._check(self._start_once(owner))
            until = time.monotonic() + self._pace.claim
            while time.monotonic() < until:
                seen = self._poll(ITS_FILE, self._pace.hold)
                if seen.age is not None:
                    self._on_state(f"{self._script} started; all that it says: {self._output}")
                    return None
                if seen.refused is not None:
                    return seen.refused
                time.sleep(0.1)
        raise StepFailed(
            "INIT-014",
            f"{self._script} does not start in {self._job.container}: no claim was made",
            where=self._shell.node,
            evidence=f"{self._shell.node}:{self._directory}",
            next=self._shell.ssh_line(
                f"docker exec {self._job.container} ls -l {self._inside}",
                "is the logs mount there, and the directory ours?",
            ),
        )

    def _start_once(self, owner: str) -> Result:
        lock = f"{self._job.inside}/init.lock"
        container, argv = self._job.container, self._job.argv
        return self._ask(words.start(container, self._inside, owner, lock, argv))

    def _refused(self, why: str) -> InitResult | None:
        """Wait for the one that runs; None if ours is to run now, which it is with "always"."""
        if self._job.init == "always" and not why[:1].isdigit():  # another attempt of omsfab's
            raise self._locked(why)
        return self._foreign(why.removeprefix("lock "))

    def _locked(self, why: str) -> Locked:
        running = why.removeprefix("lock ")
        pid = running.partition(" ")[0]
        hangs = f" (if it hangs: docker exec {self._job.container} kill {pid})"
        return Locked(
            "INIT-010",
            f"{self._script} already runs (pid {running or 'unknown'})",
            where=f"{self._job.container} on {self._shell.node}",
            evidence=f"{self._shell.node}:{self._directory}/refused",
            fix=f"wait for its end{hangs if pid.isdigit() else ''}",
        )

    def _itself(self) -> InitResult | None:
        """Wait for an initialisation of the container's own; None if there is none ("auto")."""
        told = ""
        while True:
            own = self._ask_itself()
            if own.running:
                return self._foreign(own.running)
            if own.done and not own.unit:
                return self._adopted(own)
            if own.failed and not own.unit:
                self._ours_instead(own)
                return None
            if self._job.init == "auto" and not own.unit:
                waited = self._elapsed()
                shown = self._pace.itself or self._job.limit
                if own.over(self._pace, waited) and (
                    not self._job.itself or max(own.age, waited) >= shown
                ):
                    return None
            elif self._elapsed() > self._job.limit:
                raise self._never(own)
            now = (
                "a step of its own start is running,"
                if own.unit
                else f"pid {own.pending} runs, which mentions {self._script};"
                if own.pending
                else "does it initialise itself?"
            )
            if told != now:
                told = now
                self._on_state(f"{self._job.container}: {now} waiting")
            self._sign_of_life()
            quick = self._job.init == "auto" and not self._job.itself
            time.sleep(self._pace.fastest if quick else self._pace.slowest)

    def _foreign(self, running: str) -> InitResult | None:
        """Wait for the end of an initialisation that is not ours; adopt it on evidence only."""
        mine = self._job.init == "always"
        self._on_state(
            f"{self._script} already runs (pid {running or 'unknown'}), not started by omsfab;"
            f" waiting for its end{', then ours runs' if mine else ''}"
        )
        over: float | None = None
        while True:
            own = self._ask_itself()
            if own.running or own.unit:
                over = None
            else:
                over = over or time.monotonic()
                if mine:
                    return None
                if own.done:
                    return self._adopted(own)
                if own.failed or time.monotonic() - over > self._pace.sign:
                    self._ours_instead(own)
                    return None
            self._sign_of_life()
            if self._elapsed() > self._job.limit:
                raise self._locked(own.running or own.unit or running)
            time.sleep(self._pace.slowest)

    def _adopted(self, own: SelfInit) -> InitResult:
        note = f"the container initialised itself: {own.done}"
        return InitResult(note, adopted=True, seconds=self._elapsed())

    def _ours_instead(self, own: SelfInit) -> None:
        why = f"it says `{own.failed}`" if own.failed else "it left no sign of success"
        if self._job.init == "never":
            raise self._never(own)
        self._on_state(f"the initialisation that was not omsfab's has ended: {why}; ours runs now")

    def _never(self, own: SelfInit) -> StepFailed:
        return StepFailed(
            "INIT-016",
            f"{self._job.container} did not initialise itself in {self._elapsed():.0f} s",
            where=self._shell.node,
            evidence=f"its log says `{own.failed}`" if own.failed else "",
            fix="write `init: auto` into hosts.yaml",
            next=fab("fleet.show"),
        )

    def _ask_itself(self) -> SelfInit:
        logs = self._job.directory.rpartition("/")[0]
        answer = self._check(self._ask(words.itself(self._job.container, self._job.argv, logs)))
        own = parse_itself(answer.out)
        if not own.up:
            raise self._refusal(answer)
        return own

    # --- following ---------------------------------------------------------------------------

    def _to_its_end(self, *, going: bool) -> InitResult:  # noqa: C901  (to be split)
        """``going``: it was begun by an earlier session, or before the line dropped."""
        quiet, skipped = time.monotonic(), False
        self._began = time.monotonic() - (self._poll(self._offset).age or 0)
        while True:
            asked = time.monotonic()
            seen = self._poll(self._offset, 0 if going else self._pace.hold)
            self._take(seen.data)
            if seen.status is not None and self._offset >= seen.size:
                break
            if self._offset > self._pace.whole and seen.size - self._offset > 2 * self._pace.tail:
                self._skip_to(seen.size - self._pace.tail)
                skipped = True
            over = seen.status is None and self._elapsed() >= self._job.limit
            if over and not self._lives(seen):
                if self._says_no_more():
                    break  # its node was down, and the time went on
                over = False
            if going and seen.status is None and len(seen.data) < self._pace.chunk:
                going = False
                self._say_alive(since=(seen.pid or ("",))[0])
            if not (seen.data and self._reading.banner):  # what has just said so is about to end
                self._sign_of_life()
            if over:
                raise self._still_runs()
            if len(seen.data) == self._pace.chunk:
                continue
            if seen.data:
                quiet = time.monotonic()
            elif time.monotonic() - quiet > self._pace.alive:
                quiet = time.monotonic()
                if not self._lives(seen) and self._says_no_more():
                    break  # the wrapper was killed: what it left tells
            time.sleep(max(0, asked + self._pace.fastest - time.monotonic()))
        self._say(self._lines.rest())
        if skipped:
            self._read_again()
        return self._judge(seen.status)

    def _says_no_more(self) -> bool:
        """Whether it has neither ended nor said anything that was not read: it was killed."""
        last = self._poll(self._offset)
        return last.status is None and self._offset >= last.size

    def _read_again(self) -> None:
        """Take what decides from the whole output, in its order, where the middle was skipped."""
        whole = Reading()
        for line in self._ask(words.marks(self._directory)).out.splitlines():
            whole.line(line, self._hide(line))
        reading = self._reading
        reading.banner, reading.failed, reading.traceback = (
            whole.banner, whole.failed, whole.traceback,
        )  # fmt: skip

    def _judge(self, status: int | None) -> InitResult:
        says = self._verdict(status, self._reading)
        if not isinstance(says, Well):
            raise says
        return InitResult(
            says.note, says.warning, status=status, seconds=self._elapsed(), bytes=self._offset
        )

    def _verdict(self, status: int | None, reading: Reading) -> Well | OmsfabError:
        return verdict(
            status,
            reading,
            flag=not reading.banner and self._fresh(),
            script=self._script,
            node=self._shell.node,
            log=f"{self._directory}/output",
        )

    def _fresh(self) -> bool:
        """Whether this attempt has left a flag file of success."""
        container, argv = self._job.container, self._job.argv
        answer = self._ask(words.look(container, "", "", argv, attempt=self._inside))
        return "fresh" in _said(answer.out)

    def _take(self, data: bytes) -> None:
        self._offset += len(data)
        self._say(self._lines.feed(data))

    def _say(self, lines: Iterable[str]) -> None:
        for said in lines:
            line = self._hide(said)
            self._on_line(line)
            if self._reading.line(said, line):
                at = f"step {self._reading.step} of 5"
                self.on_phase(at, f"{at}: {self._reading.title}".strip(": "))

    def _skip_to(self, offset: int) -> None:
        self._say(self._lines.rest())
        size = offset - self._offset
        self._on_state(f"{size} bytes of output skipped here; all of it: {self._output}")
        self._offset = offset

    def _lives(self, seen: Poll) -> bool:
        pid, start = seen.pid or ("", "")
        answer = self._ask(words.look(self._job.container, pid, start, self._job.argv))
        said = _said(answer.out)
        gone = DOWN.search(answer.err)
        untold = answer.status != 0 and not gone  # docker did not look: that proves nothing
        return "alive" in said or "running" in said or untold

    # --- time --------------------------------------------------------------------------------

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    @property
    def _output(self) -> str:
        """Where all that it says is kept."""
        return f"{self._shell.node}:{self._directory}/output"

    @property
    def _how_to_end(self) -> str:
        return f"; to end it: {self._ending}" if self._ending else ""

    def _say_alive(self, since: str = "") -> None:
        self._beat = time.monotonic()
        last = self._reading.last[-1][:200] if self._reading.last else "nothing said yet"
        text = f"{self._elapsed():.0f} s, {self._offset} bytes, last line: {last}"
        if not since:
            return self.on_alive(self._elapsed(), text)
        text = f"{self._script} (pid {since}) is running since {text}{self._how_to_end}"
        return self._on_state(f"{text}; all that it says: {self._output}")

    def _sign_of_life(self) -> None:
        elapsed = self._elapsed()
        if time.monotonic() - self._beat >= self._pace.beat:
            self._say_alive()
        for level, (at, text) in enumerate(
            (
                (self._pace.notice, "notice: this is longer than the usual 2 to 4 minutes"),
                (self._pace.warn, "warning: still running; it is not touched"),
            ),
            start=1,
        ):
            if elapsed >= at and self._warned < level:
                self._warned = level
                self._on_state(f"{elapsed:.0f} s, {text}{self._how_to_end}")

    def _still_runs(self) -> OutcomeUnknown:
        return OutcomeUnknown(
            "INIT-022",
            f"{self._script} still runs after {self._elapsed():.0f} s; it was not touched",
            where=f"{self._job.container} on {self._shell.node}",
            evidence="\n".join((self._output, *self._reading.last)),
            next=self._ending,
        )

    # --- asking ------------------------------------------------------------------------------

    def _poll(self, offset: int, hold: float = 0) -> Poll:
        cmd = words.poll(self._directory, offset, self._pace.chunk, hold)
        return parse(self._ask(cmd).out)

    def _ask(self, cmd: Command) -> Result:
        """Run the command, over a new connection if need be.  Each of ours may run twice."""
        since: list[float] = []
        connections = self._shell.connections

        def worth(lost: OmsfabError) -> bool:
            if not since:
                since.append(time.monotonic())
                self._say_lost()
            return time.monotonic() - since[0] <= self._pace.away

        try:
            answer = retry.call(
                lambda: self._shell.run(question(cmd)), on=AWAY, again=worth, waits=retry.Backoff()
            )
        except AWAY as lost:
            raise self._gone(lost) from lost
        if not since and 0 < connections < self._shell.connections:
            since.append(time.monotonic())  # it dropped between two questions
            self._say_lost()
        if since:
            gone = time.monotonic() - since[0]
            self._on_state(f"link to {self._shell.node} is back after {gone:.0f} s")
        return answer

    def _say_lost(self) -> None:
        self._on_state(
            f"INIT-020 link lost while {self._script} (attempt {self._attempt}) "
            f"runs on {self._shell.node}; reconnecting"
        )

    def _gone(self, lost: OmsfabError) -> OutcomeUnknown:
        return OutcomeUnknown(
            "INIT-021",
            f"host unreachable for {self._pace.away:g} s; {self._script} may still run",
            where=self._shell.node,
            evidence=f"{lost.id} {lost.what}",
        )

    def _check(self, answer: Result) -> Result:
        if answer.status:
            raise self._refusal(answer)
        return answer

    def _refusal(self, answer: Result) -> StepFailed:
        return StepFailed(
            "INIT-013",
            f"{self._script} cannot be started in {self._job.container} (status {answer.status})",
            where=self._shell.node,
            evidence=(answer.err or answer.out).strip(),
            next=self._shell.ssh_line(f"docker ps -a --filter name={self._job.container}"),
        )


def parse(text: str) -> Poll:
    """Read what ``commands.job.poll`` prints."""
    said = _said(text)
    pid = said.get("pid", "").split()
    return Poll(
        age=float(said["claimed"]) if "claimed" in said else None,
        refused=said.get("refused"),
        pid=(pid[0], pid[1]) if len(pid) == 2 else None,
        # empty where the file was removed between the look at it and its reading
        status=int(said["status"]) if said.get("status") else None,
        size=int(said.get("size") or 0),
        data=base64.b64decode(said.get("bytes", "")),
    )


def parse_itself(text: str) -> SelfInit:
    """Read what ``commands.job.itself`` prints.

    Evidence counts only if it is younger than the container's start: one that was initialised long
    ago and restarted has a flag file and a log as well.  What failed last has not succeeded before.
    """
    said = _said(text)
    up, _, started_at = said.get("state", "false").partition(" ")
    now = float(said.get("now", 0))
    started = _seconds(started_at)
    reading = Reading()
    if float(said.get("initlog", -1)) >= started:
        for line in _all(text, "said"):
            reading.line(line, line)
    done = ""
    if any(is_said(line, words.STARTED) for line in _all(text, "log")):
        done = f"docker logs have `{words.STARTED}`"
    elif reading.banner:
        done = "its docker_init.log has the banner"
    elif float(said.get("flag", -1)) >= started:
        done = f"{words.FLAG} is there"
    running = [line for line in _all(text, "running") if not line.endswith(", unit")]
    units = [line for line in _all(text, "running") if line.endswith(", unit")]
    return SelfInit(
        up=up == "true",
        age=now - started,
        done="" if reading.failed else done,
        running=running[0] if running else "",
        unit=units[0] if units and not running else "",
        failed=reading.failed,
        mentioned="entry" in said,
        pending=said.get("pending", ""),
        served=float(said["programs"]) if "programs" in said else None,
    )


def _all(text: str, word: str) -> list[str]:
    return [line[len(word) + 1 :] for line in text.splitlines() if line.startswith(f"{word} ")]


def _said(text: str) -> dict[str, str]:
    """``word rest`` lines as a dict; of several with one word the first counts."""
    said: dict[str, str] = {}
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        said.setdefault(word, rest)
    return said


def _seconds(moment: str) -> float:
    """Docker's ``2026-11-22T09:57:12.345678901Z`` as seconds since the epoch."""
    try:
        parsed = datetime.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return 0.0
    return parsed.replace(tzinfo=timezone.utc).timestamp()
