"""What a run needs of the jump host itself, asked before anything begins."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from datetime import timezone
from pathlib import Path

from omsfab.errors import OmsfabError, PreflightError
from omsfab.metadb.client import MetaDbEdge
from omsfab.next_line import shell

ROOM = 200_000_000
"""Bytes free where the journal is: it holds up to 20,000 lines and all saved rows."""

FILES = 256
"""File descriptors: a few for each of 50 nodes asked side by side."""

ASTRAY = 60.0
"""Seconds by which the clock may differ from that of MetaDB before it is worth a word."""


def make(home: Path) -> None:
    """Make the state directory, for the operator alone; ENV-004 where that is refused."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise not_ours(home, error.strerror or str(error)) from error


def ready(home: Path) -> None:
    """Raise ENV-002 for a full disk, ENV-003 for too few file descriptors, ENV-004 for a place
    where nothing can be written, ENV-005 where files may not grow as large as they will.

    A state directory that is not there yet is judged by the place where it would be made.
    """
    _private(home)
    home = next((path for path in (home, *home.parents) if path.exists()), home)
    if not home.is_dir() or not os.access(home, os.W_OK | os.X_OK):
        raise not_ours(home, "not writable")
    disk = os.statvfs(home)
    free = disk.f_bavail * disk.f_frsize
    if free < ROOM:
        raise PreflightError(
            "ENV-002",
            f"need {ROOM // 1_000_000} MB for the journal, have {free // 1_000_000} MB",
            where=str(home),
            evidence="a run that cannot write down what it does does nothing",
            fix="make room there",
            next=shell("df", "-h", str(home)),
        )
    _limit(
        resource.RLIMIT_NOFILE, FILES, "ENV-003", f"need {FILES} file descriptors", f"-n {FILES}"
    )
    size = f"need files of {ROOM // 1_000_000} MB"
    _limit(resource.RLIMIT_FSIZE, ROOM, "ENV-005", size, "-f unlimited")


def _private(home: Path) -> None:
    """Raise ENV-004 for a state directory of somebody else, or one that others may write or read:
    a journal that anybody may change proves nothing."""
    if not home.is_dir():
        return
    found = home.stat()
    if found.st_uid != os.geteuid():
        raise not_ours(home, f"it belongs to another user (uid {found.st_uid})")
    if found.st_mode & 0o077:
        raise PreflightError(
            "ENV-004",
            f"the state directory is open to others (mode {found.st_mode & 0o777:o})",
            where=str(home),
            evidence="what runs have done stands there: nobody else may change or read it",
            next=shell("chmod", "700", str(home)),
        )


def _limit(what: int, wanted: int, id: str, need: str, flag: str) -> None:
    """Raise the limit of this process to what is wanted, or say that it cannot be."""
    soft, hard = resource.getrlimit(what)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise PreflightError(
            id,
            f"{need}, have {hard}",
            where="this jump host",
            next=shell(
                "ulimit", *flag.split(), note="as a user who may; see /etc/security/limits.conf"
            ),
        )
    resource.setrlimit(what, (wanted, hard))


def not_ours(home: Path, why: str) -> PreflightError:
    """ENV-004 for a state directory that cannot be made or written."""
    return PreflightError(
        "ENV-004",
        f"the state directory cannot be used: {why}",
        where=str(home),
        evidence="a run that cannot write down what it does does nothing",
        next=shell(
            "ls",
            "-ld",
            str(home),
            note="or, for a place that is yours: export OMSFAB_HOME=~/omsfab",
        ),
    )


def tell_time(metadb: MetaDbEdge, say: Callable[[str], None]) -> None:
    """Warn when this clock is astray.  Nothing depends on it: leases go by the clock of MetaDB."""
    try:
        theirs = metadb.clock().replace(tzinfo=timezone.utc).timestamp()
    except OmsfabError:
        return
    apart = abs(time.time() - theirs)
    if apart > ASTRAY:
        say(f"warning: ENV-006 the clock of this jump host differs {apart:.0f} s from MetaDB's")
