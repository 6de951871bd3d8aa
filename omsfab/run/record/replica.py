"""The copy of a run on the initial node: with it a lost jump host can be replaced.

``/var/lib/omsfab/<run>`` there holds what the run's directory holds here: run.json, journal.jsonl
and backup/.  Rows are deleted only when their backup has arrived.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from omsfab import retry
from omsfab.command import question
from omsfab.commands import files
from omsfab.commands.claim import PLACE
from omsfab.errors import (
    InputError,
    LostSession,
    NoAnswer,
    OmsfabError,
    PreflightError,
    StepFailed,
)
from omsfab.next_line import fab
from omsfab.plan import step_names
from omsfab.plan.events import Event, RunEnd
from omsfab.run.record import journal as journals
from omsfab.ssh.protocol import Shell

CHUNK = 1 << 20

COPYING = 10.0
"""Seconds for which the last copy waits for the one before it."""

KEPT = 10
"""Copies of runs that have ended which a node keeps: with them run.undo works elsewhere."""

FETCHED = "fetched"
"""A file in the directory of a run that came from a node: what it says is compared with hosts.yaml
before anything is done by it."""

PARTED = "journal-parted.jsonl"
"""Our journal, where that of another jump host has gone another way, and was taken instead."""

FILES, BYTES = 200, 256_000_000
"""What a run has at the most, in files and all together: a node may be in other hands."""

ROWS = tuple(map(step_names.key, (step_names.SAVE_ROWS, step_names.CLEAR_ROWS)))
"""Steps that save rows, without which no later one begins."""

_RUN = re.compile(r"\d{8}T\d{6}Z-[a-z0-9-]+")
_FILE = re.compile(r"(?:backup/)?\w[\w.-]*", re.ASCII)
"""What runs and their files are called.  A node says names, and is not trusted with a path here."""


class Mirror:
    """Copies the files of one run to a node; of several calls only one works at a time."""

    def __init__(self, shell: Shell, directory: Path, say: Callable[[str], None]) -> None:
        self._shell = shell
        self._directory = directory
        self._there = f"{PLACE}/{directory.name}"
        self._say = say
        self._lock = threading.Lock()
        self._made = False

    def begin(self) -> None:
        """Make the copy: run.json and the journal so far; raises unless both are there."""
        with self._lock:
            retry.call(self._make_and_fill, on=(LostSession, NoAnswer), waits=retry.SLOW_LOGIN)

    def copy(self, path: Path) -> None:
        """Copy a file of the run; raises unless it is there.

        A transaction is open meanwhile, so nothing else is sent: the line may be slow.
        """
        with self._lock:
            self._make()
            self._send(path)

    def refresh(self) -> None:
        """Bring the journal there, from a thread: nobody waits for it, and it may fail."""
        threading.Thread(target=self._refresh, name="omsfab-mirror", daemon=True).start()

    def refresh_now(self) -> None:
        """Bring everything there that is not, for the end of a session: its last word, too."""
        self._refresh(wait=COPYING)

    def prune(self) -> None:
        """Remove all but the newest copies of runs that have ended; it may fail."""
        with suppress(OmsfabError):
            ended = sorted((copy.run for copy in copies(self._shell) if copy.end), reverse=True)
            if ended[KEPT:]:
                self._shell.run(files.remove_copies(PLACE, ended[KEPT:]))

    def _refresh(self, wait: float = 0) -> None:
        if not self._lock.acquire(timeout=wait):  # another copy is under way
            return
        try:
            self._make_and_fill()
        except OmsfabError as error:
            self._say(f"no copy of the journal on {self._shell.node} now: {error.id}")
        except Exception:  # the run goes on; a daemon thread must not spoil the screen
            self._say(f"no copy of the journal on {self._shell.node} now")
        finally:
            self._lock.release()

    def _make_and_fill(self) -> None:
        self._make()
        self._journal()

    def _make(self) -> None:
        if self._made:
            return
        done = self._shell.run(files.private_directory(f"{self._there}/backup"))
        if done.status:
            raise StepFailed(
                "RUN-022",
                f"the copy of the run cannot be made on {self._shell.node}",
                where=f"{self._shell.node}:{self._there}",
                evidence=done.err.strip(),
                next=self._shell.ssh_line(f'install -d -o "$USER" {PLACE}'),
            )
        self._send(self._directory / "run.json")
        self._made = True

    def _send(self, file: Path) -> None:
        data = file.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        dest = f"{self._there}/{file.relative_to(self._directory)}"
        self._shell.send(file, dest, len(data), digest, lambda _: None)

    def _journal(self) -> None:
        """It grows while it is copied: its whole lines of now go.  They are on this disk before, so
        a copy that has others is the work of another jump host, and stays."""
        with (self._directory / "journal.jsonl").open("rb") as file:
            os.fsync(file.fileno())
            data = file.read()
        data = data[: data.rfind(b"\n") + 1]
        there = f"{self._there}/journal.jsonl"
        done = self._shell.run(files.extend(there, data))
        if done.status == files.AHEAD:
            raise PreflightError(
                "RUN-033",
                f"another jump host has gone on with run {self._directory.name}",
                where=f"{self._shell.node}:{there}",
                evidence=f"the copy there is no beginning of the journal in {self._directory}",
                next=fab(
                    "run.resume",
                    run=self._directory.name,
                    from_=self._shell.node,
                    note="goes on from that copy",
                ),
            )
        if done.status or done.out.split()[:1] != [hashlib.sha256(data).hexdigest()]:
            raise StepFailed(
                "RUN-022",
                f"the copy of the run cannot be written on {self._shell.node}",
                where=f"{self._shell.node}:{there}",
                evidence=done.err.strip(),
                next=self._shell.ssh_line(f"df -P {PLACE}"),
            )


@dataclass(frozen=True, slots=True)
class Copy:
    """What the copy of a run on a node says of it."""

    run: str
    intents: int
    """How many steps it has begun."""
    undoes: str = ""
    """The run that it rolls back."""
    end: RunEnd | None = None
    said: str = ""
    """In which words it says so."""


def copies(shell: Shell) -> list[Copy]:
    """Return the copies that a node has; a line that says nothing sensible is left out."""
    found: list[Copy] = []
    for line in shell.run(question(files.copies(PLACE))).out.splitlines():
        words = [*line.split(), ""][:4]
        if len(words) == 4 and _RUN.fullmatch(words[0]) and words[1].isascii():
            with suppress(ValueError):
                undoes = words[2] if _RUN.fullmatch(words[2]) else ""
                found.append(Copy(words[0], int(words[1]), undoes, *_ended(words[3])))
    return found


def _ended(last: str) -> tuple[RunEnd | None, str]:
    """Return how the run has ended, by the last word of its copy about itself."""
    with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
        event = Event.of(
            {"at": 0.0, "clock": 0.0, "node": "", "step": ""} | json.loads(base64.b64decode(last))
        )
        if event.end:
            return event.end, str(event.text)[:500]
    return None, ""


def fetch(shell: Shell, run: str, home: Path) -> Path:
    """Bring a run back from its initial node, unless it is here; return its directory.

    Without ``run`` the newest one there; with a rollback comes the run that it rolls back.  What is
    here is never overwritten, as it is nearer to what happened than any copy; but for a journal
    that is the beginning of the one there: another jump host has gone on with the run.  What is
    lost here, a backup say, is brought.
    """
    run = run or _newest(shell)
    here = home / run
    if (here / "run.json").exists():
        _take_further(shell, here)
        complete(shell, here)
        if undoes := _undone_by(here / "run.json"):
            fetch(shell, undoes, home)
        return here
    listed = shell.run(question(files.files_below(f"{PLACE}/{run}")))
    names = [line for line in listed.out.splitlines() if not line.endswith((".bak", ".new"))]
    if "run.json" not in names:
        raise InputError(
            "RUN-023",
            f"{shell.node} has no copy of run {run}",
            where=f"{shell.node}:{PLACE}",
            evidence=listed.err.strip(),
            next=shell.ssh_line(f"ls {PLACE}", "and on the other nodes"),
        )
    part = home / f".{run}.part"
    _bring(shell, run, names, part)
    (part / "backup").mkdir(exist_ok=True, mode=0o700)
    (part / FETCHED).write_text(f"{shell.node}\n")
    part.chmod(0o700)
    undoes = _undone_by(part / "run.json")
    if undoes:
        fetch(shell, undoes, home)
    part.rename(here)
    return here


def _undone_by(record: Path) -> str:
    """Return the run that a rollback is for."""
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        said = json.loads(record.read_bytes())
        run = said["args"]["run"] if said["task"] == "run.undo" else ""
        if _RUN.fullmatch(run) and "-run-undo-" not in run:
            return str(run)
    return ""


def _take_further(shell: Shell, here: Path) -> None:
    """Take the journal there if ours is its beginning; or if both have parted since, for then the
    run has changed hands, and whoever names that node wants to go on from there.  Ours is kept."""
    path = here / "journal.jsonl"
    ours = path.read_bytes() if path.exists() else b""
    ours = ours[: ours.rfind(b"\n") + 1]
    with suppress(StepFailed):  # there is none, or one that nobody wants
        theirs = _bytes(shell, f"{PLACE}/{here.name}/journal.jsonl", BYTES)
        parted = not ours.startswith(theirs) and _same_beginning(ours, theirs)
        if parted and not theirs.startswith(ours):
            journals.write_durably(here / PARTED, ours)
        if parted:
            journals.write_durably(path, theirs)
            (here / FETCHED).write_text(f"{shell.node}\n")


def _same_beginning(ours: bytes, theirs: bytes) -> bool:
    """Whether both are of one run: they have the first line in common, if there is one here."""
    return not ours or ours.partition(b"\n")[0] == theirs.partition(b"\n")[0]


def complete(shell: Shell, directory: Path) -> bool:
    """Bring back what is lost of a run here; return whether there was any of it there."""
    listed = shell.run(files.files_below(f"{PLACE}/{directory.name}"))
    names = [line for line in listed.out.splitlines() if not line.endswith((".bak", ".new"))]
    lost = [name for name in names if not (directory / name).exists()]
    if "journal.jsonl" in lost:  # a copy may lag behind
        (directory / FETCHED).write_text(f"{shell.node}\n")
    _bring(shell, directory.name, lost, directory)
    return bool(names)


def past_of(directory: Path) -> journals.Past:
    """Return what the journal says, and what it may lack where it is a copy from a node."""
    past = journals.read(directory / "journal.jsonl")
    if past.ended or not (directory / FETCHED).exists():
        return past
    steps = journals.load_record(directory).get("steps", ())
    return replace(past, maybe=frozenset(may_have_begun(directory, steps)), copied=True)


def _bring(shell: Shell, run: str, names: Sequence[str], into: Path) -> None:
    for name in names:
        if not _FILE.fullmatch(name):
            raise StepFailed(
                "RUN-024",
                f"the copy of run {run} has a file that no run has",
                where=f"{shell.node}:{PLACE}/{run}",
                evidence=f"its name is {name!r}; nothing is written for it",
                next=shell.ssh_line(f"ls -lR {PLACE}/{run}", "who has put it there?"),
            )
    if len(names) > FILES:
        raise _too_much(shell, f"{PLACE}/{run}", f"it has {len(names)} files")
    left = BYTES
    for name in names:
        path = into / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        data = _bytes(shell, f"{PLACE}/{run}/{name}", left)
        left -= len(data)
        path.write_bytes(data)


def named(run: str) -> str:
    """Return the id of a run, or raise ValueError: it becomes a path."""
    if not _RUN.fullmatch(run):
        raise ValueError(run)
    return run


def may_have_begun(directory: Path, steps: Sequence[str]) -> Sequence[str]:
    """Return the steps that a run may have begun whose copy this is: it may lag behind by a stage.

    No row is touched before its backup is in the copy, so without one neither that step nor any
    after it was begun.
    """
    saved = any((directory / "backup").glob("*.jsonl"))
    upto = [n for n, key in enumerate(steps) if key in ROWS and not saved]
    return steps[: upto[0]] if upto else steps


def _newest(shell: Shell) -> str:
    names = shell.run(files.list_names(PLACE)).out.split()
    runs = sorted(name for name in names if _RUN.fullmatch(name))
    if runs:
        return runs[-1]
    raise InputError(
        "RUN-023",
        f"{shell.node} has no copy of any run",
        where=f"{shell.node}:{PLACE}",
        fix="name another node that has a copy",
        next=fab("run.list"),
    )


def _too_much(shell: Shell, path: str, why: str) -> StepFailed:
    return StepFailed(
        "RUN-024",
        f"{path} is no copy of a run: {why}",
        where=shell.node,
        evidence=f"a run has {FILES} files and {BYTES // 1_000_000} MB at the most",
        next=shell.ssh_line(f"ls -lR {path}", "who has put it there?"),
    )


def _bytes(shell: Shell, path: str, most: int) -> bytes:
    """Return the file, or raise RUN-024 if it is larger than that."""
    data = b""
    while True:
        answer = shell.run(files.read_bytes(path, len(data), CHUNK))
        if answer.status:
            raise StepFailed(
                "RUN-024", f"{path} cannot be read", where=shell.node, evidence=answer.err.strip()
            )
        try:
            piece = base64.b64decode(answer.out)
        except ValueError:
            raise _too_much(shell, path, "what comes is no base64") from None
        data += piece
        if len(data) > most or len(piece) > CHUNK:
            raise _too_much(shell, path, f"more than {most} bytes came")
        if len(piece) < CHUNK:
            return data
