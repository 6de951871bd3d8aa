"""Words for supervisord in the container, and how to read what it says.

What counts is the text: supervisorctl of Supervisor 3 ends with 0 whatever came of it.

Source: oms "Check the deployment"; states and the harmless ``ERROR (not running)`` from
Supervisor's own supervisorctl.
"""

from __future__ import annotations

import re

from omsfab.command import Command, script
from omsfab.commands.docker import supervisorctl
from omsfab.commands.scripts import script_text

PROGRAMS = ("nginx", "oms_console", "oms_drc_cm", "oms_drc_supervisor", "sshd")
CORE = ("oms_console", "oms_drc_cm", "oms_drc_supervisor")
"""What OMS is; the others serve it."""
CONFIGURED = ("nginx", *CORE)
"""What reads files that docker_init.sh writes, once, when it starts."""

MOVING = frozenset({"STARTING", "BACKOFF", "STOPPING"})
"""States that change by themselves."""

ALIVE = MOVING | {"RUNNING"}
"""States of a program that is not stopped; one that is FATAL, EXITED or UNKNOWN has no process."""

_ROW = re.compile(
    r"^(\S+)\s+(STOPPED|STARTING|RUNNING|BACKOFF|STOPPING|EXITED|FATAL|UNKNOWN)\b", re.MULTILINE
)

_REMARK = re.compile(r"^(\S+)[ \t]+(?!RUNNING)[A-Z]+[ \t]+(\S.*)$", re.MULTILINE)

_UPTIME = re.compile(r"^(\S+)\s+RUNNING\b.*\buptime (?:(\d+) days?, )?(\d+):(\d+):(\d+)", re.M)


def stop_all(container: str) -> Command:
    """Stop every program; a Store may take its time, hence five minutes."""
    return supervisorctl(container, "stop", "all", limit=300)


def start_all(container: str) -> Command:
    return supervisorctl(container, "start", "all", limit=300)


def start(container: str, *programs: str) -> Command:
    """Start these programs; one that runs already is no error for supervisorctl."""
    return supervisorctl(container, "start", *programs, limit=300)


def restart(container: str, *programs: str) -> Command:
    return supervisorctl(container, "restart", *programs, limit=300)


_ANSWERS = script_text("answers")


def answers(container: str) -> Command:
    """Succeed once supervisord can be asked: a container that has just started cannot yet."""
    return script(_ANSWERS, container)


def status(container: str, *programs: str) -> Command:
    """Print a row per program, or for these; ends with 3 in supervisor 4 if one is down."""
    return supervisorctl(container, "status", *programs)


def states(text: str) -> dict[str, str]:
    """Return program -> state out of what ``supervisorctl status`` printed."""
    return dict(_ROW.findall(text))


def uptimes(text: str) -> dict[str, float]:
    """Return program -> seconds since its start, of those RUNNING, out of the same text."""
    return {
        name: ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * 60.0 + int(seconds)
        for name, days, hours, minutes, seconds in _UPTIME.findall(text)
    }


def remarks(text: str) -> dict[str, str]:
    """Return program -> what is said of it, of those that are not RUNNING, out of the same text."""
    known = states(text)
    return {name: said.strip() for name, said in _REMARK.findall(text) if name in known}
