"""What came between us and a machine, as the error that an operator can act on."""

from __future__ import annotations

import socket
from collections.abc import Callable

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from omsfab.errors import Next, OmsfabError, PreflightError, SecurityRefusal, Unreachable
from omsfab.next_line import chain, fab, shell
from omsfab.ssh.auth import DroppedAtLogin, KeysLocked, MoreWanted
from omsfab.ssh.target import SYSTEM, Target
from omsfab.ssh.transport import Timeouts

Rule = tuple[Callable[[Exception], bool], type[OmsfabError], str, str]
"""Whether it is this; the error's class, its id and its sentence."""


def _is(*kinds: type[Exception]) -> Callable[[Exception], bool]:
    return lambda error: isinstance(error, kinds)


def _slow_login(error: Exception) -> bool:
    return isinstance(error, paramiko.AuthenticationException) and "timeout" in str(error).lower()


def _slow(error: Exception) -> bool:
    return isinstance(error, TimeoutError) or "Timeout opening" in str(error)


def _no_banner(error: Exception) -> bool:
    garbled = "Indecipherable" in str(error)
    silent = isinstance(error.__context__, TimeoutError) and "SSH protocol banner" in str(error)
    return garbled or silent


def _no_route(error: Exception) -> bool:
    return isinstance(error, OSError) and not isinstance(error, ConnectionError)


RULES: tuple[Rule, ...] = (
    (_is(IncompatiblePeer), PreflightError, "SSH-006", "it speaks no algorithm that we accept"),
    (_slow_login, Unreachable, "SSH-002", "no answer to the login in {auth:g} s"),
    (_is(MoreWanted), PreflightError, "SSH-004", "authentication failed: a key is not enough"),
    (
        _is(paramiko.AuthenticationException),
        PreflightError,
        "SSH-004",
        "authentication failed: no key accepted",
    ),
    (_is(socket.gaierror), Unreachable, "SSH-005", "its name has no address"),
    (_slow, Unreachable, "SSH-002", "no connection in {connect:g} s"),
    (
        _is(ConnectionRefusedError, paramiko.ChannelException),
        Unreachable,
        "SSH-001",
        "the connection is refused",
    ),
    (_no_banner, Unreachable, "SSH-003", "no SSH banner in {banner:g} s: is this port SSH?"),
    (_no_route, Unreachable, "SSH-001", "it cannot be reached"),
    (
        _is(DroppedAtLogin),
        Unreachable,
        "SSH-008",
        "the connection was dropped while keys were offered: more than its MaxAuthTries?",
    ),
)
"""The first that fits; what fits none was dropped before the login (SSH-008)."""

DROPPED = (Unreachable, "SSH-008", "the connection was dropped before the login")


def explain(target: Target, error: Exception, timeouts: Timeouts) -> OmsfabError:
    """Return the error an operator can act on."""
    if isinstance(error, KeysLocked):
        return PreflightError(
            "SSH-004",
            f"{target.label}: the key has a passphrase, and no agent holds it",
            where=target.where,
            evidence=str(error),
            next=shell("ssh-add", *error.files),
        )
    fitting = ((kind, id, what) for fits, kind, id, what in RULES if fits(error))
    kind, id, what = next(fitting, DROPPED)
    said = what.format(
        auth=timeouts.auth,
        connect=target.config.connect_timeout or timeouts.connect,
        banner=timeouts.banner,
    )
    return kind(
        id,
        f"{target.label}: {said}",
        where=target.where,
        evidence=str(error) or type(error).__name__,
        next=target.ssh_line(),
    )


def passing(error: BaseException | None) -> bool:
    """Whether a second try may help: it was slow, or dropped (sshd does so under load)."""
    slow = isinstance(error, TimeoutError) or "imeout" in str(error)
    dropped = isinstance(error, EOFError | ConnectionResetError | BrokenPipeError)
    lost_banner = isinstance(error, paramiko.SSHException) and not isinstance(
        error.__context__, TimeoutError
    )
    return slow or dropped or (lost_banner and not isinstance(error, paramiko.ChannelException))


def unknown(target: Target, shown: str) -> SecurityRefusal:
    """No key of this machine is known; ``shown`` is the fingerprint of the one it has."""
    return SecurityRefusal(
        "SSH-009",
        f"the host key of {target.label} is not known ({shown})",
        where=target.where,
        evidence=f"no key for {target.known_as} in {target.known_hosts[0]}",
        next=_trust(target),
    )


def changed(target: Target, old: str, new: str) -> SecurityRefusal:
    """Another key of this machine is known than the one it shows."""
    return SecurityRefusal(
        "SSH-010",
        f"host key of {target.label} changed ({old} -> {new})",
        where=target.where,
        evidence=f"{old} is in {target.known_hosts[0]}",
        next=_replace(target, new),
    )


def revoked(target: Target, shown: str) -> SecurityRefusal:
    """A line of known_hosts says that this key is never to be trusted."""
    return SecurityRefusal(
        "SSH-017",
        f"{target.label} shows a host key that is revoked ({shown})",
        where=target.where,
        evidence=f"a line @revoked in {target.known_hosts[0]} or {SYSTEM}",
        fix=f"give {target.label} a new host key, or take the line away",
        next=fab("fleet.check"),
    )


def _trust(target: Target) -> Next:
    if target.is_gateway:
        return target.ssh_line(note="compare the fingerprint, then answer yes")
    return fab("node.trust", node=target.label)


def _replace(target: Target, new: str) -> Next:
    if target.is_gateway:
        file = str(target.known_hosts[0])
        forget = shell("ssh-keygen", "-R", target.known_as, "-f", file)
        return chain(forget, target.ssh_line())
    return fab("node.trust", node=target.label, replace=new)
