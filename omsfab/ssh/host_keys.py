"""Host keys: whom we trust to be a node, as lines of a known_hosts file."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import paramiko
from paramiko.hostkeys import HostKeyEntry, HostKeys, InvalidHostKey

from omsfab.errors import SecurityRefusal
from omsfab.next_line import shell
from omsfab.ssh import diagnosis
from omsfab.ssh.target import Target


@dataclass(frozen=True, slots=True)
class HostKey:
    """The key a machine showed: not yet trusted, only seen."""

    name: str
    """As known_hosts names the machine: ``oms2``, or ``[oms2]:2222`` where the port is not 22."""
    type: str
    fingerprint: str
    line: str
    file: Path = Path()
    """Where it is to be recorded."""


def fingerprint(key: paramiko.PKey) -> str:
    """Return what ``ssh-keygen -l`` shows, e.g. ``SHA256:47DEQpj8HBSa…``."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest())
    return f"SHA256:{digest.decode().rstrip('=')}"


@dataclass(frozen=True, slots=True)
class Known:
    """Whom the fleet trusts, and which keys it never trusts, whoever shows them.

    paramiko's HostKeys knows no markers, and of two keys of one type for one name only the first.
    """

    entries: list[HostKeyEntry] = field(default_factory=list)
    revoked: set[bytes] = field(default_factory=set)

    def of(self, name: str) -> list[paramiko.PKey]:
        """Return the keys that any line has for this name; it may show each of them."""
        return [e.key for e in self.entries if any(_is(one, name) for one in e.hostnames)]


class HostKeyPolicy:
    """Whether a machine may show this key.  No setting, of hosts.yaml or ssh_config, skips this."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[Path, ...], Known] = {}

    def known(self, target: Target) -> list[paramiko.PKey]:
        """Return the keys that this machine may show; raises SecurityRefusal SSH-012."""
        return self._of(target).of(target.known_as)

    def check(self, target: Target, key: paramiko.PKey) -> None:
        """Raise SecurityRefusal: SSH-009 no key is known, SSH-010 another one, SSH-017 revoked."""
        known = self._of(target)
        ours = sorted(known.of(target.known_as), key=lambda k: k.get_name() != key.get_name())
        if key.asbytes() in known.revoked:
            raise diagnosis.revoked(target, fingerprint(key))
        if not ours:
            raise diagnosis.unknown(target, fingerprint(key))
        if key.asbytes() not in {one.asbytes() for one in ours}:
            raise diagnosis.changed(target, *map(fingerprint, (ours[0], key)))

    def _of(self, target: Target) -> Known:
        files = target.all_known_hosts
        if files not in self._loaded:
            self._loaded[files] = load(files)
        return self._loaded[files]


def seen(target: Target, key: paramiko.PKey) -> HostKey:
    """Return the key as ``fab node.trust`` shows and records it."""
    line = f"{target.known_as} {key.get_name()} {key.get_base64()}"
    return HostKey(target.known_as, key.get_name(), fingerprint(key), line, target.known_hosts[0])


def load(files: Iterable[Path]) -> Known:
    """Return all host keys of these files; one that does not exist has none.

    Raises SecurityRefusal SSH-012 when a file cannot be read or holds a broken key.
    """
    known = Known()
    for path in files:
        try:
            for line in _lines(path):
                _take(known, line.split())
        except (OSError, InvalidHostKey, ValueError) as error:
            raise _unreadable(path, str(error)) from error
    return known


def _unreadable(path: Path, why: str) -> SecurityRefusal:
    return SecurityRefusal(
        "SSH-012",
        f"{path} cannot be read as a known_hosts file",
        evidence=why,
        next=shell("ssh-keygen", "-l", "-f", str(path), note="names the broken line"),
    )


def _take(known: Known, words: list[str]) -> None:
    """A certificate authority vouches for certificates, and we ask for none: its line is no key."""
    if not words or words[0].startswith("#") or words[0] == "@cert-authority":
        return
    revoked = words[0] == "@revoked"
    try:
        entry = HostKeyEntry.from_line(" ".join(words[revoked:]))
    except paramiko.SSHException:  # no key: OpenSSH passes over it, too
        return
    if entry and revoked:
        known.revoked.add(entry.key.asbytes())
    elif entry:
        known.entries.append(entry)


def _lines(path: Path) -> list[str]:
    """Comments may be in any encoding; bytes that are not UTF-8 are kept as they are."""
    if not path.exists():
        return []
    return path.read_text("utf-8", "surrogateescape").splitlines()


def record(path: Path, key: HostKey) -> bool:
    """Add the key to the file; returns False if that very line was there already.

    Other keys of the same machine stay: a changed key is a matter for ``replace``.
    """
    with _locked(path) as lines:
        if key.line in lines:
            return False
        _store(path, [*lines, key.line])
        return True


def replace(path: Path, key: HostKey) -> None:
    """Put the key in the place of all keys the file has for this machine."""
    with _locked(path) as lines:
        kept = [line for old in lines if (line := _without(old, key.name)) is not None]
        _store(path, [*kept, key.line])


@contextmanager
def _locked(path: Path) -> Iterator[list[str]]:
    """Hold a lock, so that two writers never lose each other's lines.

    It is a file beside, which stays: known_hosts itself is replaced, and NFS gives a lock for
    writing only on what is open for writing, which no directory ever is.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    real = path.resolve()
    if real.exists() and not real.is_file():  # a device would be replaced by a file
        raise _unreadable(path, "it is no file")
    lock = os.open(real.with_name(f"{real.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield _lines(path)
    finally:
        os.close(lock)


def _store(path: Path, lines: list[str]) -> None:
    real = path.resolve()
    new = real.with_name(f"{real.name}.{os.getpid()}.new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
        os.fsync(handle)
    new.replace(real)


def _without(line: str, name: str) -> str | None:
    """The line without this machine; None if nobody else is left in it."""
    names, _, rest = line.partition(" ")
    if not rest or line.startswith(("#", "@")):
        return line
    others = [each for each in names.split(",") if not _is(each, name)]
    return f"{','.join(others)} {rest}" if others else None


def _is(listed: str, name: str) -> bool:
    if not listed.startswith("|1|"):
        return listed == name
    try:
        return bool(HostKeys.hash_host(name, listed) == listed)
    except (ValueError, AssertionError):
        return False
