"""An ``ssh`` that takes another file for the user's: OpenSSH asks the system for the home
directory, not $HOME."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


def stand_in(directory: Path, config: Path) -> Path:
    """Make the directory, to stand first in PATH, with the real program and that file in it."""
    real = shutil.which("ssh")
    if real is None:
        pytest.skip("no ssh on this machine: apt-get install openssh-client")
    directory.mkdir(parents=True)
    script = directory / "ssh"
    script.write_text(
        f"#!/bin/sh\nfile='{config}'\n[ -e \"$file\" ] || file=none\n"
        f'exec \'{real}\' -F "$file" "$@"\n'
    )
    script.chmod(0o755)
    return directory
