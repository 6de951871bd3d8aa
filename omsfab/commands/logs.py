"""Words for the logs of OMS on a node, by component.

Source: the vendor's docs, log files; names of files and components as its collector (obdiag) and
running images have them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from omsfab.command import Command, script
from omsfab.commands.scripts import script_text
from omsfab.fleet.model import Install

DOCKER = "docker"
"""In place of a pattern: what docker has kept of the container's output."""
NEWEST = "newest:"
"""In front of a pattern: the newest file of it alone."""

_GHANA, _CM, _AGENT = "ghana/Ghana", "cm/log", "supervisor"

COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "init": ("docker_init*.log*",),
    "container": (DOCKER,),
    "supervisord": ("supervisord.log",),
    "nginx": ("oms_nginx_std*.log", "tengine*.log"),
    "console": ("oms_console_std*.log", f"{_GHANA}/*.log", "ghana/gc.log*"),
    "ghana": (f"{_GHANA}/*.log", f"{_GHANA}/event-tracking/*.log"),
    "web": (f"{_GHANA}/oms-web.log",),
    "api": (f"{_GHANA}/oms-api.log",),
    "alarm": (f"{_GHANA}/oms-alarm.log",),
    "scheduler": (f"{_GHANA}/oms-scheduler.log", f"{_GHANA}/oms-step.log"),
    "integration": (f"{_GHANA}/oms-integration.log", f"{_GHANA}/forward-supervisor.log"),
    "ha": (f"{_GHANA}/oms-ha.log", f"{_GHANA}/health-check.log"),
    "cm": ("oms_drc_cm_std*.log", f"{_CM}/*.log"),
    "supervisor": ("oms_drc_supervisor_std*.log", f"{_AGENT}/*.log"),
    "store": ("store:store*/log/*.log",),
    "connector": ("run:*/logs/*.log", "run:*/logs/msg/*.log"),
}
"""Component -> its files below the logs mount, or the mount that is named."""

ALIASES = {
    "oms_console": "console",
    "oms_drc_cm": "cm",
    "oms_drc_supervisor": "supervisor",
    "agent": "supervisor",
    "docker": "container",
}
"""How else a component is called: as its program, say."""

FIRST = (
    DOCKER,
    f"{NEWEST}docker_init*.log*",
    "supervisord.log",
    "*_stdout.log",
    "*_stderr.log",
    f"{_CM}/service.log",
    f"{_CM}/common-error.log",
    f"{_GHANA}/common-error.log",
    f"{_AGENT}/error.log",
)
"""Where faults show first, in the order in which a collector looks."""

_LOGS = script_text("logs")
_GROWTH = script_text("logs_growth")


def files_of(install: Install, components: Iterable[str], *, rotated: bool = False) -> list[str]:
    """Return the patterns of these components' files on the node, or of those of ``FIRST``;
    ``rotated``: what was rotated away, too."""
    named = list(components)
    wanted = [one for name in named for one in COMPONENTS[name]] if named else list(FIRST)
    found = [_below(install, one) for one in wanted]
    if rotated:
        found += [f"{one}.*" for one in found if one.endswith(".log")]
    return list(dict.fromkeys(found))


def _below(install: Install, pattern: str) -> str:
    mounts = install.mounts
    if pattern == DOCKER:
        return DOCKER
    mark = NEWEST if pattern.startswith(NEWEST) else ""
    name = pattern.removeprefix(mark)
    for place, root in (("store:", mounts.store), ("run:", mounts.run)):
        if name.startswith(place):
            return f"{mark}{root}/{name.removeprefix(place)}"
    return f"{mark}{mounts.logs}/{name}"


def newest(
    install: Install, files: Sequence[str], lines: int, since: str = "", text: str = ""
) -> Command:
    """Print the newest lines of each file behind ``==> NAME``: at most ``lines``, those written
    ``since`` (-SECONDS, or seconds since the epoch), those that hold ``text`` in any case."""
    return script(_LOGS, install.container, str(lines), since, text, *files, limit=300)


def growth(files: Sequence[str], read: Mapping[str, int], *, first: bool) -> Command:
    """Print ``INODE OFFSET BASE64 NAME`` for each file: what came behind the offset at which it was
    ``read`` (by inode), or ``-``, and the offset of now.  ``first``: begin at their ends."""
    told = "".join(f"{inode} {offset}\n" for inode, offset in read.items())
    plain = [one.removeprefix(NEWEST) for one in files if one != DOCKER]
    return script(_GROWTH, "first" if first else "", *plain, stdin=told, limit=60)
