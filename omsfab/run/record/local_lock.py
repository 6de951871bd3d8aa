"""Two runs must never overlap: the part of the lock that lives on this jump host.

The other part is the lease row in MetaDB (metadb/lease.py), which other jump hosts see.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from omsfab.errors import Locked, OmsfabError
from omsfab.next_line import fab
from omsfab.run import jump_host
from omsfab.run.record import journal as journals


@contextmanager
def held(home: Path, run_id: str, owner: str, since: str) -> Iterator[None]:
    """Hold the lock of this OMS on this jump host, or raise Locked at once; ENV-004 if none can be.

    ``flock`` goes with the process, so a killed run leaves nothing to break.
    """
    path = home / "lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _flock(fd, fcntl.LOCK_EX, path)
        os.ftruncate(fd, 0)
        note = {"pid": os.getpid(), "run": run_id, "owner": owner, "since": since}
        os.write(fd, json.dumps(note).encode())
        yield
        os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def refuse_taken(home: Path) -> None:
    """Raise Locked if a run holds the lock of this OMS on this jump host; ENV-004 as ``held``."""
    path = home / "lock"
    if not path.exists():
        return
    with path.open() as file:
        _flock(file.fileno(), fcntl.LOCK_SH, path)


def holder(home: Path) -> dict[str, str]:
    """Return who holds the lock here: run, owner, pid, since; empty where nobody does.

    What a killed run has left in the file is no holder: the lock itself is asked.
    """
    try:
        with (home / "lock").open() as file:
            said = file.read()
            if said:
                _flock(file.fileno(), fcntl.LOCK_SH, home / "lock")
    except Locked:
        with suppress(ValueError, AttributeError):
            return {str(key): str(value) for key, value in json.loads(said).items()}
        return {"run": ""}
    except (OSError, OmsfabError):
        return {}
    return {}


def under_way(home: Path) -> str:
    """Return the id of the run that this jump host carries out now, or ""."""
    return holder(home).get("run", "")


def _flock(fd: int, how: int, path: Path) -> None:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _taken(path) from None
    except OSError as error:  # a file system without locks: nobody has it, and nobody ever will
        why = f"{path.name} cannot be locked: {error.strerror}"
        raise jump_host.not_ours(path.parent, why) from error


def _taken(path: Path) -> Locked:
    at = ""
    try:
        note = json.loads(path.read_text())
        who = "{owner} (pid {pid}, run {run}) since {since}".format(**note)
        at = _at(path.parent / note["run"])
    except (ValueError, KeyError):
        who = "another omsfab on this machine"
    return Locked(
        "LOCK-001",
        f"this OMS is locked by {who}",
        where=str(path),
        evidence=f"a run that changes this OMS has not ended{at}; two runs must never overlap",
        next=fab("lock.show"),
    )


def _at(run: Path) -> str:
    """Where the run is, by its journal: ``, it is at step initialise of oms1``."""
    try:
        events = journals.read(run / "journal.jsonl").events
    except (OSError, OmsfabError):
        return ""
    begun = [event for event in events if event.kind == "intent"]
    return f", it is at step {begun[-1].step} of {begun[-1].node}" if begun else ""
