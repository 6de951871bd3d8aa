"""What a program leaves behind: it has its listening socket, and obeys KILL alone, as long as the
knob is on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from omslab import settings


def leave(fd: int) -> None:
    """With the knob ORPHAN a process that supervisord neither finds nor ends, from a program on."""
    if os.environ.get("SUPERVISOR_PROCESS_NAME", "") in settings.named("ORPHAN"):
        words = [sys.executable, "-m", "omslab.services.orphan"]
        subprocess.Popen(words, pass_fds=[fd], start_new_session=True)


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.environ.get("SUPERVISOR_PROCESS_NAME", "") in settings.named("ORPHAN"):
        time.sleep(0.5)


if __name__ == "__main__":
    main()
