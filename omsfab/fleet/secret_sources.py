"""Where a secret comes from: the environment, a private file, a command, or the operator.

hosts.yaml says ``{env: NAME}``, ``{file: path}``, ``{command: pass show oms}`` or
``{prompt: true}``, and never the secret itself: the file is shared and under version control.
"""

from __future__ import annotations

import difflib
import getpass
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn, TypeAlias

from omsfab.errors import InputError, Next, SecurityRefusal
from omsfab.next_line import chain, fab, shell
from omsfab.secret import Secret

Kind: TypeAlias = Literal["env", "file", "command", "prompt"]

FORMS = "{env: NAME}, {file: path}, {command: pass show oms} or {prompt: true}"

SCHEMA: dict[str, object] = {
    "type": "object",
    "description": f"Where the secret comes from: {FORMS}. Never the secret itself.",
    "properties": {
        "env": {"type": "string", "description": "The name of an environment variable."},
        "file": {"type": "string", "description": "A file, mode 0600, relative to hosts.yaml."},
        "command": {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
            "description": "A command that prints it; cut at spaces, or given as a list of words.",
        },
        "prompt": {"const": True, "description": "Ask at the terminal."},
    },
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}

_LIMIT = 4096
"""Characters; more is no password but the wrong file."""

_COMMAND_SECONDS = 120
"""Long enough to type a passphrase for ``pass`` or ``vault``."""

_NETWORK_FILE_SYSTEMS = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs")
)


@dataclass(frozen=True, slots=True)
class SecretSource:
    """One of the four ways; ``words`` holds the name, the path, or the words of the command."""

    kind: Kind
    words: tuple[str, ...] = ()


# --- what hosts.yaml says --------------------------------------------------------------------


def parse(raw: object) -> SecretSource:
    """Return the source that hosts.yaml names; ValueError("what; right") never quotes ``raw``."""
    if isinstance(raw, SecretSource):
        return raw
    if not isinstance(raw, Mapping):
        raise ValueError(
            "is a secret in plain text, and hosts.yaml is shared and kept in version control; "
            f"write {FORMS}"
        )
    if len(raw) != 1:
        raise ValueError(f"names {len(raw)} sources; write one of {FORMS}")
    ((kind, value),) = raw.items()
    if kind not in _WORDS:
        near = difflib.get_close_matches(str(kind), _WORDS, 1)
        guess = f"did you mean {near[0]}?" if near else f"write {FORMS}"
        raise ValueError(f"the source is of an unknown kind; {guess}")
    return SecretSource(kind, _WORDS[kind](value))


def _name(value: object) -> tuple[str, ...]:
    if not isinstance(value, str) or not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError(
            "env takes the name of a variable (not the secret); write e.g. {env: OMS_META_PASSWORD}"
        )
    return (value,)


def _path(value: object) -> tuple[str, ...]:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError("file takes a path; write e.g. {file: secrets/metadb}")
    try:
        return (str(Path(value).expanduser()),)
    except RuntimeError:
        raise ValueError("file begins with ~, but there is no such home; write it whole") from None


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        if re.search(r"[\"'`$\\|&;<>(){}*?~#\n]", value):
            raise ValueError(
                "command is cut at spaces and no shell reads it, so quotes, $ and | mean nothing; "
                "write its words as a list: {command: [sh, -c, …]}"
            )
        value = value.split()
    if not isinstance(value, list) or not value or not all(isinstance(word, str) for word in value):
        raise ValueError(
            "command takes words; write {command: pass show oms} or {command: [pass, show, oms]}"
        )
    if any("\0" in word for word in value) or not value[0]:
        raise ValueError("command has an empty first word or a NUL; write the program's name first")
    return tuple(value)


def _nothing(value: object) -> tuple[str, ...]:
    if value is not True:
        raise ValueError("prompt takes only true; write {prompt: true}")
    return ()


_WORDS: Mapping[Kind, Callable[[object], tuple[str, ...]]] = {
    "env": _name,
    "file": _path,
    "command": _words,
    "prompt": _nothing,
}
"""What each kind of source takes."""


# --- getting it ------------------------------------------------------------------------------


def resolve(source: SecretSource, *, base: Path, label: str) -> Secret:
    """Fetch the secret.  ``base`` is the directory of hosts.yaml, ``label`` the path of its key.

    Files and commands end in a line feed as a rule: exactly one is taken off.  Raises InputError
    where there is no secret, SecurityRefusal where others could read it too.
    """
    match source.kind:
        case "env":
            text = _from_env(source.words[0], label)
        case "file":
            text = _from_file(base / source.words[0], label)
        case "command":
            text = _from_command(source.words, base, label)
        case "prompt":
            text = _from_operator(label)
    return Secret(_fit(text, source, label))


def read_private(path: Path, *, label: str) -> str:
    """Return the text of a file that nobody else may read, such as a private key.

    Raises InputError where it cannot be read, SecurityRefusal where others could read it too.
    """
    return _from_file(path, label)


def _fit(text: str, source: SecretSource, label: str) -> str:
    """OMS refuses an empty password; NUL and line ends cannot pass config.yaml unharmed."""
    for wrong, what in (
        (not text, "is empty"),
        (len(text) > _LIMIT, f"has more than {_LIMIT:,} characters"),
        ("\0" in text, "has a NUL character in it"),
        ("\n" in text or "\r" in text, "has more than one line"),
        (any("\ud800" <= char <= "\udfff" for char in text), "is not UTF-8"),
    ):
        if wrong:
            raise InputError(
                "INPUT-014",
                f"the secret {what}; it must be one line of UTF-8 text",
                where=f"{label}, from {_described(source)}",
            )
    return text


def _described(source: SecretSource) -> str:
    """The source in a few words; the arguments of a command may be private and are left out."""
    match source.kind:
        case "env":
            return f"the environment variable {source.words[0]}"
        case "file":
            return f"the file {source.words[0]}"
        case "command":
            return f"the command {source.words[0]}"
        case "prompt":
            return "the terminal"


def _without_line_end(raw: bytes) -> str:
    text = raw.decode("utf-8", "surrogateescape")
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def _from_env(name: str, label: str) -> str:
    text = os.environ.get(name)
    if text is None:
        raise InputError(
            "INPUT-010",
            f"the environment variable {name} is not set",
            where=label,
            next=chain(shell("read", "-rs", name), shell("export", name)),
        )
    return text


def _from_file(path: Path, label: str) -> str:
    """Read what was checked: the file is opened first, then its owner and mode are looked at."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            _refuse("SEC-001", path, label, "is a symbolic link", fix="name the file itself")
        raise InputError(
            "INPUT-011",
            f"the secret file {path} cannot be read: {error.strerror}",
            where=label,
            next=shell("install", "-m", "600", "/dev/null", str(path)),
        ) from None
    try:
        _refuse_if_others_read(os.fstat(fd), path, label)
        return _without_line_end(os.read(fd, 4 * _LIMIT + 2))
    finally:
        os.close(fd)


def _refuse_if_others_read(found: os.stat_result, path: Path, label: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        _refuse("SEC-001", path, label, "is not a regular file", fix="name a regular file")
    if found.st_uid not in {os.geteuid(), 0}:
        mine = shell("chown", getpass.getuser(), str(path))
        _refuse("SEC-002", path, label, f"belongs to another user (uid {found.st_uid})", mine)
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        private = shell("chmod", "600", str(path))
        _refuse("SEC-003", path, label, f"has mode {mode:04o}: others may read it", private)
    kind = _file_system(found.st_dev)
    if kind in _NETWORK_FILE_SYSTEMS:
        why = f"is on {kind}, which other machines read too"
        _refuse(
            "SEC-004", path, label, why, fix="keep it on a disk of this machine, or use {env: …}"
        )


def _refuse(
    id: str, path: Path, label: str, what: str, next: Next | None = None, *, fix: str = ""
) -> NoReturn:
    line = next or shell("ls", "-lLd", str(path))
    raise SecurityRefusal(id, f"the secret file {path} {what}", where=label, fix=fix, next=line)


def _file_system(device: int) -> str:
    """The type of the mounted file system with this device number; "" where it is not known."""
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    for mount in mounts:
        before, _, after = mount.partition(" - ")
        if before.split()[2:3] == [number]:
            return after.split(" ")[0]
    return ""


def _from_command(words: tuple[str, ...], base: Path, label: str) -> str:
    """Run it here, in the directory of hosts.yaml; its questions and errors go to the terminal."""
    try:
        done = subprocess.run(
            words, stdout=subprocess.PIPE, cwd=base, timeout=_COMMAND_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        what = f"did not end within {_COMMAND_SECONDS} s"
    except OSError as error:
        what = f"cannot be started: {error.strerror}"
    else:
        if done.returncode == 0:
            return _without_line_end(done.stdout)
        what = f"ended with status {done.returncode}"
    raise InputError(
        "INPUT-012",
        f"the command {words[0]} {what}",
        where=label,
        fix="run it by hand: it must print the secret and end with 0",
        next=shell("command", "-v", words[0], note="is it there?"),
    ) from None


def _from_operator(label: str) -> str:
    if not (sys.stdin and sys.stdin.isatty()):  # a closed one is None
        raise InputError(
            "INPUT-013",
            "there is no terminal to ask for the secret",
            where=label,
            fix="run fab in a terminal, or write {env: NAME} in hosts.yaml",
            next=fab("fleet.show"),
        )
    return getpass.getpass(f"{label}: ")
