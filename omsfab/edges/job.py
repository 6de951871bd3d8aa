"""docker_init.sh as a detached job: started once, followed for as long as it takes, judged once.

It takes 2 to 4 minutes and must not be interrupted (OMS CE guide "Scale out", step 7).  Nothing
here can end it: not a lost line, not a time limit, not Ctrl-C.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from omsfab.commands import docker
from omsfab.commands import job as words
from omsfab.commands.command import Command
from omsfab.commands.next_line import fab
from omsfab.edges.shell import OnLine, Result, Shell
from omsfab.edges.stream import Lines
from omsfab.edges.transfer import pauses
from omsfab.edges.verdict import Reading, verdict
from omsfab.errors import Locked, LostSession, OmsfabError, OutcomeUnknown, StepFailed, Unreachable
from omsfab.fleet.mask import Redactor
from omsfab.fleet.secret import Secret
from omsfab.plan.records import Job

OnState = Callable[[str], None]
"""Called with a sentence about the job: a step it reached, a sign of life, a lost line."""


@dataclass(frozen=True, slots=True)
class JobResult:
    """How the initialisation ended well.  ``adopted``: it was not ours, ``note`` says whose."""

    note: str
    adopted: bool = False
    status: int = 0
    seconds: float = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds and bytes: how often and how much."""

    fastest: float = 0.3
    slowest: float = 2.0
    alive: float = 10
    """Silence after which the wrapper is asked whether it lives."""
    beat: float = 12
    notice: float = 6 * 60
    warn: float = 10 * 60
    claim: float = 10
    """How long a claim is waited for after a start."""
    settle: float = 5
    entry: float = 60
    """How old a container must be, before we believe that it does not initialise itself: in
    general, and where what it runs mentions the script."""
    sign: float = 10
    """How long after the end of another's init its sign of success is waited for."""
    away: float = 600
    """How long the node may be unreachable."""
    chunk: int = 1 << 20
    whole: int = 2 << 20
    """Bytes of output that are passed on; then the middle is skipped.  A screen takes a few
    thousand lines a second, and production would wait for it."""
    tail: int = 1 << 19


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What one poll brought."""

    age: float | None = None
    refused: str | None = None
    pid: tuple[str, str] | None = None
    status: int | None = None
    size: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Itself:
    """What a container tells about an initialisation of its own."""

    up: bool
    age: float
    done: str = ""
    """Why we believe it has initialised itself; empty = it has not."""
    running: str = ""
    mentioned: bool = False


def follow(
    shell: Shell,
    job: Job,
    attempt: str,
    on_line: OnLine,
    on_state: OnState,
    secrets: Sequence[Secret] = (),
    offset: int = 0,
    pace: Pace = Pace(),
) -> JobResult:
    """Start the attempt unless it was started, and hand on its lines until it ends.

    The attempt is a name that is never used for another try.  Called again with it, goes on with
    what runs or ran, from byte ``offset`` of its output.  Lines come without the ``secrets``.

    Raises Locked INIT-010 when another initialisation runs in the container (habit "always"),
    StepFailed INIT-011 (it failed), INIT-012 (a signal, or lost), INIT-013 (docker refuses),
    INIT-014 (it does not start), INIT-016 (the container does not initialise itself, "never"),
    Mismatch INIT-015 (no banner), OutcomeUnknown INIT-021 (node away), INIT-022 (still running at
    ``job.limit``).  The job goes on in any case.
    """
    return _Attempt(shell, job, attempt, on_line, on_state, secrets, offset, pace).follow()


def ended_well(shell: Shell, job: Job, attempt: str) -> bool:
    """False if this attempt was begun and has left no status, or another one than 0: whether it was
    a success all the same, ``follow`` judges once more."""
    seen = parse(shell.run(words.poll(f"{job.directory}/{attempt}", 0, 0)).out)
    return seen.age is None or seen.status == 0


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
    ) -> None:
        self._shell, self._job, self._attempt, self._pace = shell, job, attempt, pace
        self._on_line, self._on_state = on_line, on_state
        self._hide = Redactor(secrets)
        self._script = words.script_name(job.argv)
        self._directory = f"{job.directory}/{attempt}"
        self._inside = f"{job.inside}/{attempt}"
        self._offset = offset
        self._reading = Reading()
        self._lines = Lines()
        self._began = self._beat = time.monotonic()
        self._warned = 0

    def follow(self) -> JobResult:
        seen = self._poll(0)
        if seen.age is None:
            # Down since a power cut, perhaps.  Who initialises anew had stopped its programs.
            stopped = self._job.habit == "always"
            if self._check(self._ask(docker.up(self._job.container, stopped=stopped))).out:
                self._on_state(f"{self._job.container} was down, and is started")
            own = self._itself() if self._job.habit != "always" else None
            if own:
                return own
            adopted = self._start()
            if adopted:
                return adopted
        return self._to_its_end()

    # --- starting, or not --------------------------------------------------------------------

    def _start(self) -> JobResult | None:
        """Start the wrapper and wait for its claim; a second start does no harm."""
        for _ in range(3):
            self._check(self._ask(words.prepare(self._directory)))
            self._check(self._start_once())
            until = time.monotonic() + self._pace.claim
            while time.monotonic() < until:
                seen = self._poll(0)
                if seen.age is not None:
                    self._on_state(f"{self._script} started (attempt {self._attempt})")
                    return None
                if seen.refused is not None:
                    return self._refused(seen.refused)
                time.sleep(0.1)
        raise StepFailed(
            "INIT-014",
            f"{self._script} does not start in {self._job.container}: no claim was made",
            where=self._shell.node,
            evidence=f"{self._shell.node}:{self._directory}",
            next=self._shell.by_hand(
                f"docker exec {self._job.container} ls -l {self._inside}",
                "is the logs mount there?",
            ),
        )

    def _start_once(self) -> Result:
        lock = f"{self._job.inside}/init.lock"
        return self._ask(words.start(self._job.container, self._inside, lock, self._job.argv))

    def _refused(self, why: str) -> JobResult:
        if self._job.habit == "always":
            raise self._locked(why)
        return self._adopt(why)

    def _locked(self, running: str) -> Locked:
        return Locked(
            "INIT-010",
            f"{self._script} already runs (pid {running or 'unknown'})",
            where=f"{self._job.container} on {self._shell.node}",
            evidence=f"{self._shell.node}:{self._directory}/refused",
            fix="wait for its end",
        )

    def _itself(self) -> JobResult | None:
        """Wait for an initialisation of the container's own; None if there is none ("auto")."""
        told = False
        while True:
            own = self._ask_itself()
            if own.done:
                return JobResult(f"the container initialised itself: {own.done}", adopted=True)
            if own.running:
                return self._adopt(own.running)
            if self._job.habit == "auto":
                enough = self._pace.entry if own.mentioned else self._pace.settle
                if max(own.age, self._elapsed()) >= enough:  # a node's clock may be set back
                    return None
            elif self._elapsed() > self._job.limit:
                raise StepFailed(
                    "INIT-016",
                    f"{self._job.container} did not initialise itself in {self._job.limit:g} s",
                    where=self._shell.node,
                    fix="write `init: auto` into hosts.yaml",
                    next=fab("fleet.show"),
                )
            if not told:
                told = True
                self._on_state("waiting whether the container initialises itself")
            self._sign_of_life()
            time.sleep(self._pace.fastest if self._job.habit == "auto" else self._pace.slowest)

    def _adopt(self, running: str) -> JobResult:
        """Wait for the end of an initialisation that is not ours."""
        self._on_state(f"{self._script} already runs (pid {running}); waiting for its end")
        over: float | None = None
        while True:
            own = self._ask_itself()
            if own.done and not own.running:
                note = f"the container initialised itself: {own.done}"
                return JobResult(note, adopted=True, seconds=self._elapsed())
            over = None if own.running else over or time.monotonic()
            if over and time.monotonic() - over > self._pace.sign:
                note = f"{self._script} (pid {running}) ended; it was not ours"
                return JobResult(note, adopted=True, seconds=self._elapsed())
            self._sign_of_life()
            self._stop_at_limit()
            time.sleep(self._pace.slowest)

    def _ask_itself(self) -> Itself:
        answer = self._check(self._ask(words.itself(self._job.container, self._job.argv)))
        own = parse_itself(answer.out)
        if not own.up:
            raise self._refusal(answer)
        return own

    # --- following ---------------------------------------------------------------------------

    def _to_its_end(self) -> JobResult:
        pause, quiet = self._pace.fastest, time.monotonic()
        skipped = False
        self._began = time.monotonic() - (self._poll(self._offset).age or 0)
        while True:
            seen = self._poll(self._offset)
            self._take(seen.data)
            if seen.status is not None and self._offset >= seen.size:
                break
            if self._offset > self._pace.whole and seen.size - self._offset > 2 * self._pace.tail:
                self._skip_to(seen.size - self._pace.tail)
                skipped = True
            self._sign_of_life()
            if seen.status is None:  # it has ended: only its output is still to be read
                self._stop_at_limit()
            if len(seen.data) == self._pace.chunk:
                continue
            if seen.data:
                pause, quiet = self._pace.fastest, time.monotonic()
            elif time.monotonic() - quiet > self._pace.alive:
                quiet = time.monotonic()
                self._must_live(seen)
            time.sleep(pause)
            pause = min(pause * 1.3, self._pace.slowest)
        self._say(self._lines.rest())
        if skipped:
            for line in self._ask(words.marks(self._directory)).out.splitlines():
                self._reading.line(line, self._hide(line))
        return self._judge(seen.status)

    def _judge(self, status: int) -> JobResult:
        log = f"{self._directory}/output"
        says = verdict(status, self._reading, script=self._script, node=self._shell.node, log=log)
        if isinstance(says, OmsfabError):
            raise says
        return JobResult(says, status=status, seconds=self._elapsed(), bytes=self._offset)

    def _take(self, data: bytes) -> None:
        self._offset += len(data)
        self._say(self._lines.feed(data))

    def _say(self, lines: Iterable[str]) -> None:
        for said in lines:
            line = self._hide(said)
            self._on_line(line)
            if self._reading.line(said, line):
                self._on_state(f"step {self._reading.step} of 5: {self._reading.title}".strip(": "))

    def _skip_to(self, offset: int) -> None:
        self._say(self._lines.rest())
        self._on_line(
            f"… {offset - self._offset} bytes of output skipped here; all of it is in "
            f"{self._shell.node}:{self._directory}/output …"
        )
        self._offset = offset

    def _must_live(self, seen: Glimpse) -> None:
        """Raise if the wrapper is gone without a status and the script does not run either."""
        if self._lives(seen) or self._poll(self._offset).status is not None:
            return
        raise StepFailed(
            "INIT-012",
            f"{self._script} ended by signal or with its container: it left no exit status",
            where=f"{self._job.container} on {self._shell.node}",
            evidence="\n".join(
                (f"{self._shell.node}:{self._directory}/output", *self._reading.last)
            ),
        )

    def _lives(self, seen: Glimpse) -> bool:
        pid, start = seen.pid or ("", "")
        answer = self._ask(words.look(self._job.container, pid, start, self._job.argv))
        said = _said(answer.out)
        gone = re.search("is not running|no such container", answer.err, re.I)
        untold = answer.status != 0 and not gone  # docker did not look: that proves nothing
        return "alive" in said or "running" in said or untold

    # --- time --------------------------------------------------------------------------------

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _sign_of_life(self) -> None:
        elapsed = self._elapsed()
        if time.monotonic() - self._beat >= self._pace.beat:
            self._beat = time.monotonic()
            last = self._reading.last[-1][:200] if self._reading.last else "nothing said yet"
            self._on_state(f"{elapsed:.0f} s, {self._offset} bytes, last line: {last}")
        for level, (at, text) in enumerate(
            (
                (self._pace.notice, "notice: this is longer than the usual 2 to 4 minutes"),
                (self._pace.warn, "warning: still running; it is not touched"),
            ),
            start=1,
        ):
            if elapsed >= at and self._warned < level:
                self._warned = level
                self._on_state(f"{elapsed:.0f} s, {text}")

    def _stop_at_limit(self) -> None:
        if self._elapsed() < self._job.limit:
            return
        raise OutcomeUnknown(
            "INIT-022",
            f"{self._script} still runs after {self._elapsed():.0f} s; it was not touched",
            where=f"{self._job.container} on {self._shell.node}",
            evidence="\n".join(
                (f"{self._shell.node}:{self._directory}/output", *self._reading.last)
            ),
        )

    # --- asking ------------------------------------------------------------------------------

    def _poll(self, offset: int) -> Glimpse:
        return parse(self._ask(words.poll(self._directory, offset, self._pace.chunk)).out)

    def _ask(self, cmd: Command) -> Result:
        """Run the command, over a new connection if need be.  Each of ours may run twice."""
        away: float | None = None
        waits = pauses()
        connections = self._shell.connections
        while True:
            try:
                answer = self._shell.run(cmd)
            except (LostSession, Unreachable, StepFailed) as lost:
                if isinstance(lost, StepFailed) and lost.id != "SSH-021":
                    raise
                now = time.monotonic()
                if away is None:
                    away = now
                    self._say_lost()
                if now - away > self._pace.away:
                    raise self._gone(lost) from lost
                time.sleep(next(waits))
            else:
                if away is None and 0 < connections < self._shell.connections:
                    away = time.monotonic()  # it dropped between two questions
                    self._say_lost()
                if away is not None:
                    gone = time.monotonic() - away
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
            next=self._shell.by_hand(f"docker ps -a --filter name={self._job.container}"),
        )


def parse(text: str) -> Glimpse:
    """Read what ``commands.job.poll`` prints."""
    said = _said(text)
    pid = said.get("pid", "").split()
    return Glimpse(
        age=float(said["claimed"]) if "claimed" in said else None,
        refused=said.get("refused"),
        pid=(pid[0], pid[1]) if len(pid) == 2 else None,
        status=int(said["status"]) if "status" in said else None,
        size=int(said.get("size", 0)),
        data=base64.b64decode(said.get("bytes", "")),
    )


def parse_itself(text: str) -> Itself:
    """Read what ``commands.job.itself`` prints.

    A flag file counts only if it is younger than the container's start: a container that was
    initialised long ago and restarted has one as well.
    """
    said = _said(text)
    up, _, started_at = said.get("state", "false").partition(" ")
    now = float(said.get("now", 0))
    started = _seconds(started_at)
    done = ""
    if said.get("log", "").strip() == words.STARTED:
        done = f"docker logs end with `{words.STARTED}`"
    elif float(said.get("flag", -1)) >= started - 1:
        done = f"{words.FLAG} is there"
    return Itself(
        up=up == "true",
        age=now - started,
        done=done,
        running=said.get("running", ""),
        mentioned="entry" in said,
    )


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
