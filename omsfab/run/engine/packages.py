"""An image package on its way to a node, without the layers that the node has."""

from __future__ import annotations

import contextlib
import json
import shutil
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from omsfab.command import question
from omsfab.commands import docker, node_checks
from omsfab.fleet import layers
from omsfab.fleet.layers import Reduced
from omsfab.plan.records import Send
from omsfab.ssh.protocol import Shell

Tell: TypeAlias = Callable[..., None]

PROGRESS_EVERY = 0.2
"""Seconds between two words about a transfer."""

PLACE = "layers-"
"""How the directory begins in which packages without some layers are made, in that of the run."""


class Packages:
    """What a run sends; nodes that lack the same layers get the same file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._place: tempfile.TemporaryDirectory[str] | None = None
        self._made: dict[tuple[str, frozenset[str]], Reduced | None] = {}

    def send(self, shell: Shell, effect: Send, tell: Tell) -> None:
        """Have the file on the node, or the image without it where the node has a part of it.

        Whatever keeps the engine from taking less than the whole costs the time of trying.
        """
        if effect.layers and (reduced := self._reduced(shell, effect, tell)):
            _sent(shell, effect, reduced, tell)
            if shell.run(docker.load(effect.dest, effect.image)).status == 0:
                return
            tell("state", "docker does not take it without them; the whole package follows")
            shell.run(node_checks.remove_file(effect.dest))
        whole = Reduced(effect.source, effect.size, effect.sha256)
        _sent(shell, effect, whole, tell)
        tell("state", f"{effect.source.name} is there, sha256 compared")

    def _reduced(self, shell: Shell, effect: Send, tell: Tell) -> Reduced | None:
        """The package without what the node has, where that is worth it and there is room."""
        said = shell.run(question(docker.layers(effect.dest)))
        try:
            images = [json.loads(line) for line in said.out.splitlines()] if not said.status else []
        except ValueError:
            return None
        left_out = layers.there_already(effect.layers, [one for one in images if one])
        if not left_out:
            return None
        tell("state", f"{shell.node} has {len(left_out)} of {len(effect.layers)} layers already")
        with self._lock:  # the next node waits for it, and does not make it once more
            key = (effect.sha256, left_out)
            if key not in self._made:
                self._made[key] = self._make(effect, left_out)
            return self._made[key]

    def _make(self, effect: Send, left_out: frozenset[str]) -> Reduced | None:
        try:
            if self._place is None:
                for old in self._directory.glob(f"{PLACE}*"):  # of a run that was killed
                    shutil.rmtree(old, ignore_errors=True)
                self._place = tempfile.TemporaryDirectory(dir=self._directory, prefix=PLACE)
            file = Path(self._place.name, str(len(self._made)))
            if not layers.room(effect.layers, left_out, file.parent):
                return None
        except OSError:
            return None
        try:
            return layers.reduce(effect.source, effect.sha256, left_out, file)
        except (OSError, EOFError, ValueError, tarfile.TarError):
            # Sent whole, it says what is wrong with it.
            with contextlib.suppress(OSError):
                file.unlink()
            return None


def _sent(shell: Shell, effect: Send, file: Reduced, tell: Tell) -> None:
    tell("state", f"sending {effect.source.name} ({file.size / 1e6:.0f} MB)")
    shell.send(
        file.path, effect.dest, file.size, file.sha256, _progress(file.size, tell),
        lambda text: tell("state", text), effect.reader, relay=effect.relay,
    )  # fmt: skip


def _progress(size: int, tell: Tell) -> Callable[[int], None]:
    """Return a callback that says ``bytes/size`` a few times a second."""
    last = 0.0

    def on_bytes(there: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= PROGRESS_EVERY or there >= size:
            last = now
            tell("progress", f"{there}/{size}", {"bytes": (there, size)})

    return on_bytes
