"""Words that tell which processes a container has besides supervisord's programs, and how to read
them: Stores and connectors, and what `supervisorctl stop all` has left.

Whom a process belongs to is in its environment: supervisord names the program there, and whatever
that starts inherits it, however far it has gone from its parent.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from omsfab.command import Command, script
from omsfab.commands.scripts import script_text
from omsfab.fleet.model import Ports

USERS = ("ds", "admin")
"""Users of the image that nothing but OMS runs as."""

_STORE = re.compile(r"/(?:home|u01)/ds/(?:store/(store\d+)|run/([^/\s]+))")
"""Where a Store (`store<port>`) and a connector (its own name) live."""

_INSIDE = script_text("processes_inside")
_PROCESSES = script_text("processes")


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the container, by its id there; or, ``outside``, one of the machine.

    ``program`` is the program of supervisord from which it comes, "" = none.  ``ports`` are those
    of OMS that it holds.  ``pid`` is 0 where nobody may know it.
    """

    pid: int
    user: str
    program: str
    ports: tuple[int, ...]
    where: str
    command: str
    outside: bool = False

    @property
    def store(self) -> str:
        """The name of the Store or connector that it belongs to, or nothing."""
        found = _STORE.search(self.where) or _STORE.search(self.command)
        return (found[1] or found[2]) if found else ""


def listing(container: str, ports: Ports) -> Command:
    """Print what runs in a container, and who holds these ports of OMS."""
    wanted = (ports.cm, ports.nginx, ports.ghana, ports.supervisor, ports.sshd)
    return script(_PROCESSES, container, _INSIDE, *map(str, wanted))


def found(text: str) -> tuple[Process, ...]:
    """Return the processes out of what ``listing`` printed."""
    processes: list[Process] = []
    for line in text.splitlines():
        kind, *cells = line.split("\t")
        if kind == "process" and len(cells) == 6:
            pid, user, program, ports, where, words = cells
            held = tuple(map(int, ports.split()))
            processes.append(Process(int(pid), user, program, held, where, words.strip()))
        elif kind == "outside" and len(cells) == 2:
            pid, _, words = cells[1].partition(" ")
            processes.append(Process(int(pid or 0), "", "", (int(cells[0]),), "", words, True))
    return tuple(processes)


def stores(processes: Sequence[Process]) -> tuple[str, ...]:
    """Return the names of the Stores and connectors among them, each once."""
    return tuple(sorted({one.store for one in processes} - {""}))


def stores_text(names: Sequence[str]) -> str:
    """Return e.g. ``1 Stores/connectors run on, they are no supervisord programs: store7100``."""
    return (
        f"{len(names)} Stores/connectors run on, they are no supervisord programs:"
        f" {', '.join(names)}"
    )


def left_over(processes: Sequence[Process]) -> tuple[Process, ...]:
    """Return what should have ended with the programs: what comes from one, or is of a user of OMS,
    and is no Store or connector; and whatever holds a port that the programs need."""
    return tuple(
        one
        for one in processes
        if one.ports or (not one.store and (one.program or one.user in USERS))
    )


def ending(container: str, left: Sequence[Process]) -> str:
    """Return what root types on the node to end these; who holds a port from outside the container
    is nobody of OMS, so it is asked to end."""
    inside = " ".join(str(one.pid) for one in left if not one.outside)
    others = [str(one.pid) for one in left if one.outside and one.pid]
    words = (
        *(
            (shlex.join(("docker", "exec", container, "sh", "-c", f"kill -9 {inside}")),)
            if inside
            else ()
        ),
        *((shlex.join(("kill", *others)),) if others else ()),
    )
    return "; ".join(words)
