"""The login: which keys are offered, and in which order.

sshd hears only so many (MaxAuthTries), so those that are named come first: files that can be read,
then what the agent holds of the named ones, then its others, unless IdentitiesOnly says that there
are none.  The agent is asked when the files have failed, since a forwarded one may hang.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import paramiko

from omsfab.ssh.config import HostConfig
from omsfab.ssh.transport import agent_keys

KINDS: tuple[type[paramiko.PKey], ...] = (
    paramiko.Ed25519Key,
    paramiko.ECDSAKey,
    paramiko.RSAKey,
)


class KeysLocked(paramiko.PasswordRequiredException):
    """No key was accepted, and these files have a passphrase that no agent knows."""

    def __init__(self, files: list[str]) -> None:
        super().__init__(", ".join(files))
        self.files = files


class DroppedAtLogin(paramiko.SSHException):
    """The connection was dropped while keys were offered."""


class MoreWanted(paramiko.AuthenticationException):
    """A key was accepted, and then something is wanted that is no key."""


def authenticate(transport: paramiko.Transport, config: HostConfig) -> None:
    """Log in with the first key that is accepted.

    Raises paramiko's AuthenticationException (no key, or MoreWanted), KeysLocked, DroppedAtLogin;
    SSHException or EOFError as paramiko does when the connection breaks.
    """
    locked: list[str] = []
    why = paramiko.AuthenticationException("there is no key to offer")
    for key in _keys(config, locked):
        try:
            if _accepted(transport, config.user, key):
                return
        except paramiko.AuthenticationException as error:
            if isinstance(error, MoreWanted) or "timeout" in str(error).lower():
                raise
            if not transport.is_active():
                raise DroppedAtLogin(str(error)) from error
            why = error
    raise KeysLocked(locked) if locked else why


def _keys(config: HostConfig, locked: list[str]) -> Iterator[paramiko.PKey]:
    """Each key once; ``locked`` learns of files with a passphrase that the agent does not hold."""
    offered: set[bytes] = set()
    for file in config.identity_files:
        try:
            key = _load(file)
        except paramiko.PasswordRequiredException:
            locked.append(file)
            continue
        if key is not None:
            offered.add(key.asbytes())
            yield key
    if not config.agent:
        return
    named = {file: _public(file) for file in config.identity_files}
    with agent_keys(config.agent) as keys:
        for key in sorted(keys, key=lambda key: key.blob not in named.values()):
            ours = key.blob in named.values()
            if key.blob in offered or not (ours or not config.identities_only):
                continue
            locked[:] = [file for file in locked if named[file] != key.blob]
            yield key


def _load(file: str) -> paramiko.PKey | None:
    """The private key, with the certificate that lies beside it; None if there is none to read.

    Raises PasswordRequiredException.
    """
    if not os.path.isfile(file):
        return None
    for kind in KINDS:
        try:
            key = kind.from_private_key_file(file)
        except paramiko.PasswordRequiredException:
            raise
        except (OSError, ValueError, paramiko.SSHException):
            continue
        if os.path.isfile(f"{file}-cert.pub"):
            with contextlib.suppress(OSError, ValueError, paramiko.SSHException):
                key.load_certificate(f"{file}-cert.pub")
        return key
    return None


def _public(file: str) -> bytes:
    """The public half, as it lies beside the private one; IdentityFile may name it, too."""
    public = Path(file if file.endswith(".pub") else f"{file}.pub")
    try:
        return base64.b64decode(public.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return b""


def _accepted(transport: paramiko.Transport, user: str, key: paramiko.PKey) -> bool:
    more = transport.auth_publickey(user, key)
    if more and "publickey" not in more:
        raise MoreWanted(f"after the key it wants {' or '.join(more)} as well")
    return not more
