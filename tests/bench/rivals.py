"""The rivals that are Python programs, each in a virtual environment of its own.

Pinned, so that figures of two days compare.  They are kept beside the results, below
``$OMSFAB_BENCH`` or the user's cache; what cannot be installed is missing, with the reason.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

PINNED = {
    "ansible": "ansible-core==2.19.4",
    "pyinfra": "pyinfra==3.5.1",
    "pssh": "parallel-ssh==2.16.0.post1",
}


class Missing(Exception):
    """A rival cannot be had here; says why, as docs/speed.md may have it: no path, no host."""


def home() -> Path:
    """Return the directory of results and environments."""
    given = os.environ.get("OMSFAB_BENCH")
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(given or f"{cache}/omsfab-bench").expanduser()


@functools.cache
def environment(name: str) -> Path:
    """Return the ``bin`` of the rival's environment, made if there is none; else raise Missing."""
    wanted = PINNED[name]
    place = home() / "rivals" / wanted
    if not (place / "complete").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        print(f"installing {wanted} into {place}", flush=True)
        _call(sys.executable, "-m", "venv", str(place))
        pip = str(place / "bin" / "pip")
        _call(pip, "install", "-q", "--disable-pip-version-check", wanted)
        (place / "complete").touch()
    return place / "bin"


def program(name: str) -> str:
    """Return the path of a program of this machine, or raise Missing."""
    found = shutil.which(name)
    if found is None:
        raise Missing(f"no {name} on this machine")
    return found


def _call(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr, flush=True)
        raise Missing("it cannot be installed on this machine")
