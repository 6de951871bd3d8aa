"""Small words about this machine: run a program, find processes, keep files to ourselves."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from omsfab.errors import Next, OmsfabError

Say = Callable[[str], None]


class LabError(OmsfabError):
    """The local fleet cannot be built or asked; real nodes are never concerned."""

    def __init__(self, what: str, *, evidence: str = "", next: Next | None = None) -> None:
        super().__init__("LAB-001", what, where="local fleet", evidence=evidence, next=next)


def run(
    *argv: str | Path,
    check: bool = True,
    limit: float = 120,
    data: bytes | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a program of this machine and return what it printed.

    Raises LabError with the last lines of its output when it ends with another status than 0,
    or after ``limit`` seconds.
    """
    try:
        done = subprocess.run(
            [str(word) for word in argv],
            input=data if data is not None else b"",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=limit,
            env=dict(env) if env is not None else None,
            check=False,
        )
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{argv[0]} took more than {limit:g} s") from error
    text = done.stdout.decode("utf-8", "replace")
    if check and done.returncode:
        raise LabError(
            f"{' '.join(str(word) for word in argv[:4])} ended with status {done.returncode}",
            evidence="\n".join(text.splitlines()[-12:]),
        )
    return text


def background(argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> int:
    """Start a program that outlives us, its output appended to ``log``; returns its pid."""
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as out:
        started = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd="/",
            env=dict(env) if env is not None else None,
            start_new_session=True,
        )
    _children.append(started)
    return started.pid


# Popen warns when it is collected while its program still runs; and polling these now and then
# keeps the dead of a long test session from staying as zombies.
_children: list[subprocess.Popen[bytes]] = []


def lives(pid: int) -> bool:
    """Whether a program that ``background`` has started still runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def reap() -> None:
    """Collect the exit status of every background program that has ended."""
    _children[:] = [child for child in _children if child.poll() is None]


def wait_for(what: str, ready: Callable[[], bool], limit: float, evidence: Path) -> None:
    """Ask ``ready`` until it agrees; LabError with the tail of ``evidence`` after the limit."""
    end = time.monotonic() + limit
    while not ready():
        if time.monotonic() > end:
            raise LabError(f"{what} is not ready after {limit:g} s", evidence=tail(evidence))
        time.sleep(0.05)


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log file; empty when there is none."""
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def answers(host: str, port: int) -> bool:
    """Does something accept TCP connections there?"""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def processes() -> Iterator[int]:
    """The ids of all processes."""
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def started_at(pid: int) -> int | None:
    """Start time in clock ticks since boot, which together with the id names one process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])


def private_dir(path: Path) -> Path:
    """The directory, made if need be, for our eyes only."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def private_file(path: Path, text: str, mode: int = 0o600) -> Path:
    """Write a file that nobody else can read, whole or not at all."""
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as out:
        out.write(text)
    os.chmod(new, mode)
    os.replace(new, path)
    return path


@contextmanager
def only_one(path: Path, say: Say | None = None) -> Iterator[None]:
    """Hold an exclusive lock on a file; it is gone with the process, however that ends.

    If another process holds it, ``say`` hears of it before the waiting begins.
    """
    private_dir(path.parent)
    # Inheritable it must not be: a dockerd holding our lock would keep it for ever.
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if say:
                say(f"waiting for the process that holds {path}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
