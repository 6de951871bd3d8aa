"""supervisord with knobs: what is made ready before it, and how long a program is STARTING.

The ini files have the real figures; START_SECS is what tests put in the place of startsecs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from omslab import settings

# Mounts and directories that the agent's user writes to.
OF_AGENT = ("/home/ds/store", "/home/ds/run", "/home/admin/logs/supervisor", "/home/ds/supervisor")
DIRECTORIES = (
    *("/home/admin/logs/ghana/Ghana", "/home/admin/logs/cm/log", "/home/admin/logs/.lab"),
    *("/home/ds/ghana/resources", "/home/ds/cm/package", "/home/ds/supervisor/config"),
)
REAL_SECONDS = 10
LONG = 10**6


def ready() -> None:
    """Directories; a container that ends at once, runs units, or initialises itself."""
    for path in (*OF_AGENT, *DIRECTORIES):
        Path(path).mkdir(parents=True, exist_ok=True)
    for path in OF_AGENT:
        os.chown(path, settings.DS, settings.DS)
    if settings.knob("EXIT_AT_START") == "1":
        print("cannot start: no configuration for this host", file=sys.stderr)
        sys.exit(1)
    if settings.knob("SELF_INIT") == "1":
        subprocess.Popen(["bash", "/root/docker_self.sh"], cwd="/root")
    elif settings.knob("ENTRY_UNITS") == "1" and not os.environ.get("ENTRY_UNITS_RAN"):
        subprocess.run(["bash", "/root/docker_cmd.sh", "units"], cwd="/root", check=False)


def seconds(name: str) -> float:
    """How long this program counts as STARTING."""
    if name in settings.named("PROGRAM_FATAL", "PROGRAM_NEVER", "INIT_FATAL"):
        return REAL_SECONDS  # so that its end comes too early on a slow machine, too
    return float(settings.knob("START_SECS") or REAL_SECONDS)


def with_knobs() -> None:
    from supervisor import poller, process

    spawn, poll = process.Subprocess.spawn, poller.Poller.poll

    def spawn_by_knob(self: Any) -> Any:
        config = self.config
        if not hasattr(config, "retries_of_file"):
            config.retries_of_file = config.startretries
        config.startsecs = seconds(config.name)
        never = config.name in settings.named("PROGRAM_NEVER")
        config.startretries = LONG if never else config.retries_of_file
        return spawn(self)

    def poll_often(self: Any, timeout: float) -> Any:
        """States change once a round, which is a second long otherwise."""
        return poll(self, min(timeout, 0.1) if settings.knob("START_SECS") else timeout)

    process.Subprocess.spawn = spawn_by_knob
    poller.Poller.poll = poll_often


def main() -> None:
    from supervisor import supervisord

    ready()
    with_knobs()
    supervisord.main()
