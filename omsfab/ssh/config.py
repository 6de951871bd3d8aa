"""What OpenSSH's configuration says of a machine: asked of OpenSSH itself, by ``ssh -G``.

So Include, Match, several hops and whatever comes next mean what they mean to ``ssh``.  Where there
is no such program, paramiko's own reader serves, which knows less (no Include, Match in part).

Nothing of it decides whether a host key is checked: see host_keys.py.
"""

from __future__ import annotations

import getpass
import os
import pwd
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import paramiko

from omsfab.errors import InputError
from omsfab.next_line import fab, shell

FILES = (Path("~/.ssh/config"), Path("/etc/ssh/ssh_config"))
"""What paramiko's reader reads; OpenSSH knows its own."""

DEFAULT_KEYS = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
"""Whose keys are offered where no file is named, by paramiko's reader; OpenSSH knows its own."""

LIMIT = 20
"""Seconds: ``ssh -G`` takes 20 ms, but a command of ``Match exec`` may hang."""

SIDE_BY_SIDE = threading.BoundedSemaphore(8)
"""How many ``ssh -G`` run at once."""

FAULT = re.compile(r"(?P<file>.+?):? line (?P<line>\d+): (?P<why>.+)")
"""As OpenSSH names a line that it cannot read."""

LOOP = "jumphost loop"

Values = Mapping[str, Sequence[str]]
"""Each keyword, in lower case, with its values in their order."""


@dataclass(frozen=True, slots=True)
class HostConfig:
    """How a machine is reached.  Paths are whole; what is not said is empty."""

    name: str
    """As hosts.yaml, or the hop of a ProxyJump, names it."""
    host: str
    """The name or address to connect to."""
    user: str
    port: int
    proxy_jump: tuple[str, ...] = ()
    """The machines on the way, as ``[user@]host[:port]``, the nearest to us first."""
    proxy_command: str = ""
    identity_files: tuple[str, ...] = ()
    identities_only: bool = False
    agent: str = ""
    """The socket of the agent."""
    host_key_alias: str = ""
    known_hosts: tuple[str, ...] = ()
    system_known_hosts: tuple[str, ...] = ()
    connect_timeout: float | None = None


class SshConfig:
    """Asks once per machine, whoever wants to know; several machines side by side."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str, int], Future[HostConfig]] = {}

    def of(self, name: str, user: str = "", port: int = 0) -> HostConfig:
        """Return what holds for the machine; a user and a port that are given here win.

        Raises InputError SSH-014, which names the file and the line where OpenSSH does.
        """
        key = (name, user, port)
        with self._lock:
            mine = key not in self._found
            found = self._found.setdefault(key, Future())
        if mine:
            try:
                values = _asked(name, user, port) if openssh_answers() else _read(name)
                found.set_result(_host_config(name, values, user, port))
            except BaseException as error:
                found.set_exception(error)
        return found.result()


def openssh_answers() -> bool:
    """Whether it is there, and knows us: to a user without a name it says no (docker run -u)."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return shutil.which("ssh") is not None


def _asked(name: str, user: str, port: int) -> Values:
    given = [*(["-l", user] if user else []), *(["-p", str(port)] if port else [])]
    done = _ssh_g(name, given)
    if done.returncode and LOOP in done.stderr:  # the gateway of all machines is one of them
        done = _ssh_g(name, [*given, "-o", "ProxyJump=none"])
    if done.returncode:
        raise _unreadable(name, done.stderr)
    values: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        keyword, _, value = line.partition(" ")
        values.setdefault(keyword.lower(), []).append(value)
    return values


def _ssh_g(name: str, given: list[str]) -> subprocess.CompletedProcess[str]:
    words = ["ssh", "-G", "-T", *given, "--", name]
    try:
        with SIDE_BY_SIDE:
            return subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="surrogateescape",
                timeout=LIMIT,
            )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise _unreadable(name, str(error)) from error


def _read(name: str) -> Values:
    """The same by paramiko's reader."""
    config = paramiko.SSHConfig()
    for path in map(Path.expanduser, FILES):
        try:
            config.parse(path.read_text("utf-8", "surrogateescape").splitlines(keepends=True))
        except (FileNotFoundError, PermissionError, IsADirectoryError):
            continue
        except (paramiko.ConfigParseError, ValueError) as error:
            raise _unusable(name, f"{path}: {error}") from error
    try:
        found = config.lookup(name)
    except (paramiko.SSHException, ValueError, LookupError) as error:
        raise _unusable(name, str(error)) from error
    values = {"identityfile": DEFAULT_KEYS, "userknownhostsfile": ["~/.ssh/known_hosts"], **found}
    return {key: [v] if isinstance(v, str) else v for key, v in values.items()}


def _host_config(name: str, values: Values, user: str, port: int) -> HostConfig:
    def one(keyword: str) -> str:
        value = next(iter(values.get(keyword, ())), "").strip()
        return "" if value.lower() == "none" else value

    def several(keyword: str) -> tuple[str, ...]:
        return tuple(map(os.path.expanduser, one(keyword).split()))

    host = one("hostname") or name
    user = user or one("user") or getpass.getuser()
    try:
        port = port or int(one("port") or 22)
        timeout = float(one("connecttimeout") or 0) or None
    except ValueError as error:
        raise _unusable(name, str(error)) from error
    if one("proxycommand") and one("proxyusefdpass").lower() in ("yes", "true"):
        raise _unusable(name, "ProxyUseFdpass is not supported")
    alias = one("hostkeyalias")
    tokens = _tokens(name, host, user, port, alias)
    files = [file for file in values.get("identityfile", ()) if file.lower() != "none"]
    return HostConfig(
        name,
        host,
        user,
        port,
        proxy_jump=tuple(filter(None, re.split(r"[\s,]+", one("proxyjump")))),
        proxy_command=_expanded(name, one("proxycommand"), tokens),
        identity_files=tuple(_path(name, file, tokens) for file in files),
        identities_only=one("identitiesonly").lower() in ("yes", "true"),
        agent=_agent(name, values, tokens),
        host_key_alias=alias,
        known_hosts=several("userknownhostsfile"),
        system_known_hosts=several("globalknownhostsfile"),
        connect_timeout=timeout,
    )


def _tokens(name: str, host: str, user: str, port: int, alias: str) -> dict[str, str]:
    """TOKENS of ssh_config(5), but for %C and %f."""
    here = socket.gethostname()
    return {
        "%": "%",
        "d": os.path.expanduser("~"),
        "h": host,
        "i": str(os.getuid()),
        "j": "",
        "k": alias or name,
        "L": here.partition(".")[0],
        "l": here,
        "n": name,
        "p": str(port),
        "r": user,
        "u": getpass.getuser(),
    }


def _expanded(name: str, text: str, tokens: Mapping[str, str]) -> str:
    def put(found: re.Match[str]) -> str:
        if found[1] not in tokens:
            raise _unusable(name, f"{found[0]} in `{text}` is not supported")
        return tokens[found[1]]

    return re.sub(r"%(.?)", put, text)


def _path(name: str, text: str, tokens: Mapping[str, str]) -> str:
    """A path with its tokens, and ``${NAME}`` of the environment."""
    whole = re.sub(r"\$\{(\w+)\}", lambda found: os.environ.get(found[1], ""), text.strip('"'))
    return _expanded(name, os.path.expanduser(whole), tokens)


def _agent(name: str, values: Values, tokens: Mapping[str, str]) -> str:
    """``none`` is no agent, ``$NAME`` is in the environment; nothing means SSH_AUTH_SOCK."""
    said = next(iter(values.get("identityagent", ())), "SSH_AUTH_SOCK")
    if said.lower() == "none":
        return ""
    if said == "SSH_AUTH_SOCK" or re.fullmatch(r"\$\w+", said):
        return os.environ.get(said.removeprefix("$"), "")
    return _path(name, said, tokens)


def _unreadable(name: str, said: str) -> InputError:
    """What OpenSSH itself refuses; it names the file and the line, mostly."""
    lines = [line for line in said.splitlines() if line.strip()]
    faults = (FAULT.fullmatch(line.strip()) for line in lines)
    fault = next(filter(None, faults), None)
    if fault is None:
        return _unusable(name, "\n".join(lines))
    return InputError(
        "SSH-014",
        f"{fault['file']} cannot be read as an ssh_config",
        where=f"{fault['file']}, line {fault['line']}",
        evidence=fault["why"],
        fix="fix that line",
        next=shell("ssh", "-G", name, note="until it prints no error"),
    )


def _unusable(name: str, why: str) -> InputError:
    return InputError(
        "SSH-014",
        f"what ~/.ssh/config says of {name} cannot be used",
        where=f"{name} in ~/.ssh/config or /etc/ssh/ssh_config",
        evidence=why,
        fix="fix the lines for that machine",
        next=fab("fleet.check"),
    )


def circle(name: str) -> InputError:
    return _unusable(name, "ProxyJump leads in a circle")
