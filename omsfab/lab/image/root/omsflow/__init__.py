"""What docker_init.sh runs.  It lies in /root and is found from there alone, as in the image."""

from __future__ import annotations


def prelude() -> None:
    """What every unit says first (a terminal of CE 4.2.0, step 3; a log of 3.3.0, step 2)."""
    print("\n/root/omsflow\n\033[33muse config /home/admin/conf/config.yaml\033[0m", flush=True)
