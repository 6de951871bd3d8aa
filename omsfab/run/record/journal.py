"""The journal of a run: one JSON line per event, chained by hash, flushed before the next effect.

A directory per run, 0700, files 0600:

    run.json        task, flags, what was so before, digest of the plan: no secret in it
    journal.jsonl   the events
    backup/         rows of MetaDB
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omsfab.errors import Next, OmsfabError, PreflightError
from omsfab.fleet.mask import plain
from omsfab.next_line import fab, shell
from omsfab.plan import step_names
from omsfab.plan.events import Event, RunEnd

SCHEMA = 2
"""2: events may have data, and some are of kind "programs"."""

FLUSHED = {"run", "accepted", "intent", "done", "failed", "programs"}
"""Kinds that must be on disk before anything else happens; of a step that only asks, its end need
not: it goes to the disk with the next that must, or is asked once more."""

OVER = ("INIT-011", "INIT-012", "INIT-015")
"""Errors of an initialisation whose end is known: only after these is there another attempt.
After any other (the node was away, docker did not answer) the same attempt is looked for again."""

CONTAINER = re.compile(r"[0-9a-f]{64}")
"""What ``docker run -d`` says: the id of the container."""

RESERVE = 16_000_000
"""Bytes that must be free before anything is begun: room for all that is to be said of its end, and
for the rows that are saved."""

LINES_KEPT = 20_000
"""Lines of output a run keeps in its journal; the whole output stays on the node."""


@dataclass(frozen=True, slots=True)
class Past:
    """What a journal says, folded: which steps are done, begun, and how many attempts are over."""

    events: tuple[Event, ...]
    done: frozenset[str]
    begun: frozenset[str]
    failures: Mapping[str, int]
    ends: tuple[RunEnd, ...]
    torn: bool
    head: str
    accepted: frozenset[str] = frozenset()
    """The ids that the operator accepted (``--accept``), in this session or an earlier one."""
    maybe: frozenset[str] = frozenset()
    """Steps that may have begun although the journal, a copy from a node, does not say so."""
    copied: bool = False
    """Whether the journal came from a node: more may have been done than it has."""

    @property
    def ended(self) -> bool:
        """True if the run needs no resume."""
        return bool(self.ends)

    @property
    def end(self) -> RunEnd | None:
        """How it ended at last; None while it has not."""
        return self.ends[-1] if self.ends else None

    @property
    def well(self) -> bool:
        """True if the run came to its end by itself, with all that was planned."""
        return any(end.outcome == "done" for end in self.ends)

    @property
    def undone(self) -> bool:
        """True if a later run rolled back what this one did."""
        return any(end.outcome == "undone" for end in self.ends)

    @property
    def containers(self) -> dict[str, list[str]]:
        """The ids that docker named when it made containers, by node."""
        made: dict[str, list[str]] = {}
        for event in self.events:
            said = event.kind == "line" and event.step == step_names.CONTAINER
            if said and CONTAINER.fullmatch(event.text):
                made.setdefault(event.node, []).append(event.text)
        return made

    @property
    def changed(self) -> bool:
        """True if any effect was begun, or may have been."""
        return bool(self.begun) or self.copied


_LINE = json.JSONEncoder(ensure_ascii=False)


class Journal:
    """Append-only; thread-safe.  Raises OmsfabError JRN-001 when it cannot write."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "journal.jsonl"
        self._lock = threading.Lock()
        self._lines = 0
        self._begun: set[str] = set()
        """Steps that have begun an effect here."""
        past = read(self.path) if self.path.exists() else None
        if past and past.torn:
            _drop_torn_line(self.path)
        self._head = past.head if past else ""
        try:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def write(self, event: Event) -> None:
        """Append the event; what must survive a crash is on disk when this returns."""
        if event.kind == "progress":
            return
        with self._lock:
            if event.kind == "line":
                self._lines += 1
                if self._lines > LINES_KEPT:
                    return
            body = _LINE.encode({**event.record(), "prev": self._head})
            data = body.encode(errors="surrogateescape") + b"\n"
            size = os.fstat(self._fd).st_size
            try:
                if event.kind == "intent":
                    _room(self._fd)
                _write_all(self._fd, data)
                if self._must_last(event):
                    os.fsync(self._fd)
            except OSError as error:
                with suppress(OSError):  # half a line would break the chain for good
                    os.ftruncate(self._fd, size)
                raise _unwritable(self.path, error) from error
            self._head = hashlib.sha256(data).hexdigest()[:16]

    def _must_last(self, event: Event) -> bool:
        key = step_names.key(event.step, event.node)
        if event.kind == "intent":
            self._begun.add(key)
        asked = event.kind in ("done", "failed") and key not in self._begun
        return event.kind in FLUSHED and not asked

    def close(self) -> None:
        os.close(self._fd)


def read(path: Path) -> Past:
    """Return what the journal says.  A torn last line is dropped, a broken middle refused."""
    raw = path.read_bytes() if path.exists() else b""  # killed before its first line
    torn = bool(raw) and not raw.endswith(b"\n")
    lines = raw.split(b"\n")[:-1]
    events: list[Event] = []
    head = ""
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            previous = record.pop("prev")
            record["text"] = plain(record.get("text", ""))
            event = Event.of(record)
        except (ValueError, TypeError, KeyError) as error:
            if number == len(lines):  # the disk filled, or the machine died, in its middle
                torn = True
                break
            raise _broken(path, number) from error
        if previous != head:
            raise _broken(path, number)
        head = hashlib.sha256(line + b"\n").hexdigest()[:16]
        events.append(event)
    return _fold(tuple(events), torn, head)


def _fold(events: tuple[Event, ...], torn: bool, head: str) -> Past:
    done: set[str] = set()
    begun: set[str] = set()
    failures: dict[str, int] = {}
    for event in events:
        key = step_names.key(event.step, event.node)
        if event.kind in ("done", "satisfied"):
            done.add(key)
        elif event.kind == "intent":
            begun.add(key)
        elif event.kind == "failed" and event.id in OVER:
            failures[key] = failures.get(key, 0) + 1
    ends = tuple(end for event in events if (end := event.end))
    accepted = frozenset(event.text for event in events if event.kind == "accepted")
    return Past(events, frozenset(done), frozenset(begun), failures, ends, torn, head, accepted)


def _unwritable(path: Path, error: OSError) -> OmsfabError:
    return OmsfabError(
        "JRN-001",
        f"cannot write the journal: {error.strerror}",
        where=str(path),
        evidence="nothing is done that cannot be written down before",
        fix="make room there, or give the right to write",
    )


def _broken(path: Path, number: int) -> PreflightError:
    return PreflightError(
        "JRN-002",
        f"line {number} of the journal does not follow from the line before",
        where=str(path),
        evidence="it was edited, or lines are missing: what was done cannot be told from it",
        next=_set_aside(path.parent),
    )


def _set_aside(directory: Path) -> tuple[Next, ...]:
    """A run that cannot be read stops every other, even if it has ended: the first line ends that,
    the second one goes on by the copy on its initial node, where the record tells which that is."""
    aside = shell(
        *("mv", str(directory), f"{directory.parent}/damaged-{directory.name}"),
        note="if it had not ended: run.resume --from takes the copy on its initial node",
    )
    try:
        initial = json.loads((directory / "run.json").read_text())["initial"]
    except (OSError, ValueError, KeyError, TypeError):
        return (aside,)
    resume = fab("run.resume", run=directory.name, from_=initial, note="if it had not ended")
    return (aside, resume) if initial else (aside,)


def _drop_torn_line(path: Path) -> None:
    """Cut the file back to its last whole, readable line."""
    raw = path.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if whole == raw:  # the last line ends well but cannot be read
        whole = raw[: raw.rstrip(b"\n").rfind(b"\n") + 1]
    with path.open("r+b") as file:
        file.truncate(len(whole))
        os.fsync(file.fileno())


def _room(fd: int) -> None:
    """Raise ENOSPC before the disk is really full: its last block would take an intent, and the
    rows would be the first that it does not take."""
    disk = os.fstatvfs(fd)
    if disk.f_bavail * disk.f_frsize < RESERVE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


# --- the directory of a run ----------------------------------------------------------------------


def begin(directory: Path, record: Mapping[str, Any]) -> None:
    """Make the directory of a run, with run.json in it.  Raises JRN-001."""
    text = json.dumps({"schema": SCHEMA, **record}, ensure_ascii=False, indent=1)
    try:
        (directory / "backup").mkdir(parents=True, mode=0o700)
        directory.chmod(0o700)
        write_durably(directory / "run.json", text.encode())
    except OSError as error:
        shutil.rmtree(directory, ignore_errors=True)
        raise _unwritable(directory, error) from error


def forget_unbegun(directory: Path) -> None:
    """Remove a run whose journal has no word: nothing happens before one is written."""
    book = directory / "journal.jsonl"
    if not (book.exists() and book.stat().st_size):
        shutil.rmtree(directory, ignore_errors=True)


class Record(dict[str, Any]):
    """What run.json says; a part that it lacks is JRN-004."""

    def __init__(self, directory: Path, said: Mapping[str, Any]) -> None:
        super().__init__(said)
        self._directory = directory

    def __missing__(self, key: str) -> Any:
        raise damaged(self._directory, f"it has no {key}")


def damaged(directory: Path, why: str) -> PreflightError:
    return PreflightError(
        "JRN-004",
        f"run.json of run {directory.name} is damaged",
        where=str(directory / "run.json"),
        evidence=f"it does not say any more what was planned: {why}",
        next=_set_aside(directory),
    )


@contextmanager
def readable(directory: Path) -> Iterator[None]:
    """What is read of a run.json here may be anything: a fault in it is JRN-004."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise damaged(directory, f"{type(error).__name__} in what it says") from None


TYPES = {"task": str, "args": dict, "owner": str, "initial": str, "digest": str, "steps": list,
         "fleet": dict, "present": dict}  # fmt: skip


def load_record(directory: Path) -> dict[str, Any]:
    """Return run.json; one that is cut off or written by a newer omsfab is refused."""
    with readable(directory):
        record = Record(directory, json.loads((directory / "run.json").read_bytes()))
        newer = record["schema"] > SCHEMA
        if not newer:
            wrong = [
                key
                for key, kind in TYPES.items()
                if key in record and type(record[key]) is not kind
            ]
            wrong += [key for key in ("task", "args") if key not in record]
            words = [w for pair in dict(record.get("args") or {}).items() for w in pair]
            if wrong or not all(isinstance(word, str) for word in words):
                raise damaged(directory, f"{', '.join(wrong) or 'args'} cannot be read")
    if newer:
        raise PreflightError(
            "JRN-003",
            f"run {directory.name} was written by a newer omsfab (schema {record['schema']})",
            where=str(directory),
            fix="use that omsfab to resume it",
            next=fab("run.list"),
        )
    return record


def write_durably(path: Path, data: bytes) -> None:
    """Write a file 0600, whole or not at all; it is on disk, name included, when this returns."""
    part = path.with_name(f"{path.name}.part")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        _write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    part.replace(path)
    parent = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def runs(home: Path) -> Iterator[Path]:
    """Yield the directories of all runs below ``home``, newest first.

    What is fetched in part, or was set aside, does not begin with the time.
    """
    yield from sorted((p.parent for p in home.glob("[0-9]*/run.json")), key=lambda p: p.name)[::-1]
