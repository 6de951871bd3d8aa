"""Where a lab keeps its things, and how they are named."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from omsfab.errors import Next
from omsfab.lab.system import LabError

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")


def root() -> Path:
    """The directory of all labs; ``OMSFAB_LAB_ROOT`` moves it."""
    return Path(os.environ.get("OMSFAB_LAB_ROOT") or "/var/lib/omsfab-lab").absolute()


def cache() -> Path:
    """Image parts that outlive labs; ``OMSFAB_LAB_CACHE`` moves it."""
    return Path(os.environ.get("OMSFAB_LAB_CACHE") or "/var/cache/omsfab-lab").absolute()


@dataclass(frozen=True, slots=True)
class Place:
    """The names of one lab.  They are a function of its name and root alone.

    So everything can be found again by name after a crash, even without the state file.
    """

    name: str
    directory: Path

    @property
    def tag(self) -> str:
        return hashlib.sha256(str(self.directory).encode()).hexdigest()[:6]

    @property
    def bridge(self) -> str:
        return f"omsl{self.tag}"

    def netns(self, member: str) -> str:
        return f"omslab-{self.tag}-{member}"

    def veth(self, number: int) -> str:
        """Our end of a cable; the kernel allows 15 characters."""
        return f"omsl{self.tag}v{number}"

    @property
    def cgroup(self) -> str:
        return f"omslab-{self.tag}"

    @property
    def state(self) -> Path:
        return self.directory / "lab.json"

    @property
    def lock(self) -> Path:
        return self.directory.with_name(f".{self.name}.lock")


def place(name: str) -> Place:
    """The place of a lab.  LabError when the name could not be a directory and a label."""
    if not NAME.fullmatch(name):
        raise LabError(
            f"{name!r} is no name for a lab",
            next=Next("fab lab.up --name=lab", note="a-z, 0-9 and -, up to 31"),
        )
    return Place(name, root() / name)
