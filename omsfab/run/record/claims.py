"""Claims: on every node that a plan changes stands which run does, so that no other one begins.

The lease in MetaDB keeps other jump hosts away from tasks on the fleet; claims do so for repairs of
single nodes too, which need no MetaDB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from omsfab import retry
from omsfab.command import question
from omsfab.commands import claim
from omsfab.errors import (
    Locked,
    LostSession,
    NoAnswer,
    OmsfabError,
    PreflightError,
    Unreachable,
)
from omsfab.next_line import fab
from omsfab.plan.records import Plan
from omsfab.ssh.protocol import Shell

WIDTH = 50
T = TypeVar("T")


def nodes_of(plan: Plan, shells: Mapping[str, Shell]) -> list[Shell]:
    """Return the shells of the nodes that the plan may change."""
    names = dict.fromkeys(
        step.node for step in plan.steps if step.apply and step.kind != "read-only"
    )
    return [shells[name] for name in names if name in shells]


def take(
    shells: Iterable[Shell],
    run: str,
    owner: str,
    since: str,
    *,
    again: bool,
    open_run: Callable[[str, str], OmsfabError | None] = lambda run, node: None,
) -> None:
    """Claim all nodes: raises Locked LOCK-002 naming who has one.  It is for the caller to free the
    others then.

    ``again``: a run that is resumed goes on although a node is away, or does not answer in three
    tries: it may be done already, and a step that needs it waits for longer.
    A claim that this owner's own run left is taken over, unless ``open_run`` has an error for that
    run and node: it is to be gone on with.
    """

    def ask(shell: Shell) -> OmsfabError | None:
        try:
            return retry.call(
                lambda: _take_one(shell, run, owner, since, open_run),
                on=(LostSession, NoAnswer),
                waits=retry.SLOW_LOGIN,
            )
        except (LostSession, NoAnswer, Unreachable) as error:
            return None if again else error
        except OmsfabError as error:
            return error

    errors = [error for error in _side_by_side(ask, list(shells)) if error]
    if errors:
        raise next((error for error in errors if isinstance(error, Locked)), errors[0])


def _take_one(
    shell: Shell,
    run: str,
    owner: str,
    since: str,
    open_run: Callable[[str, str], OmsfabError | None],
) -> OmsfabError | None:
    """Claim this node; return what stands against it."""
    held = shell.run(question(claim.held())).out.splitlines()
    if len(held) > 1 and held[0] != run and held[1] == owner:
        error = open_run(held[0], shell.node)
        if error:
            return error
    done = shell.run(claim.take(run, owner, since))
    if done.status == claim.TAKEN:
        return _taken(shell.node, done.out.splitlines())
    if done.status:
        return PreflightError(
            "LOCK-003",
            f"{shell.node} cannot be claimed",
            where=f"{shell.node}:{claim.PLACE}",
            evidence=done.err.strip(),
            next=shell.ssh_line(f'install -d -o "$USER" {claim.PLACE}'),
        )
    return None


def free(shells: Iterable[Shell], run: str) -> None:
    """Free the claims of the run wherever a node can be reached."""

    def ask(shell: Shell) -> None:
        with suppress(OmsfabError):
            shell.run(claim.free(run))

    _side_by_side(ask, list(shells))


def held(shells: Iterable[Shell]) -> dict[str, tuple[str, str, str]]:
    """Return node -> (run, owner, since) of the claims there are."""

    def ask(shell: Shell) -> tuple[str, list[str]]:
        try:
            return shell.node, shell.run(question(claim.held())).out.splitlines()
        except OmsfabError as error:
            return shell.node, [error.id, "nobody knows", "it cannot be asked"]

    found = dict(_side_by_side(ask, list(shells)))
    return {node: (said[0], said[1], said[2]) for node, said in found.items() if len(said) >= 3}


def _side_by_side(ask: Callable[[Shell], T], shells: list[Shell]) -> list[T]:
    with ThreadPoolExecutor(min(WIDTH, len(shells)) or 1) as pool:
        return list(pool.map(ask, shells))


def _taken(node: str, said: list[str]) -> Locked:
    run, owner, since = (*said, "", "", "")[:3]
    return Locked(
        "LOCK-002",
        f"{node} is being changed by {owner} (run {run}) since {since}",
        where=f"{node}:{claim.PLACE}/claim",
        evidence="its claim goes when that run ends; a run that failed keeps it, to be resumed",
        next=fab(
            "lock.show", note=f"and if that run is gone for good: {fab('lock.break', run=run)}"
        ),
    )
