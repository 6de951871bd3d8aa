"""What a fault of the matrix is, and the list of all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.ground import Ground


@dataclass(frozen=True)
class Fault:
    """``body`` injects it, runs omsfab and raises Miss; or ``tests`` show it (pytest node ids)."""

    id: str
    sentence: str
    how: str
    body: Callable[[Ground], None] | None = None
    tests: tuple[str, ...] = ()


FAULTS: list[Fault] = []


def fault(
    id: str, sentence: str, how: str
) -> Callable[[Callable[[Ground], None]], Callable[[Ground], None]]:
    """Register the decorated body."""

    def register(body: Callable[[Ground], None]) -> Callable[[Ground], None]:
        FAULTS.append(Fault(id, sentence, how, body))
        return body

    return register


def shown_by(id: str, sentence: str, how: str, *tests: str) -> None:
    """Register a fault that tests below the lab show: with a real sshd or a real MetaDB."""
    FAULTS.append(Fault(id, sentence, how, tests=tests))


def load() -> list[Fault]:
    """All faults, in the order of faults.md."""
    from tests.faults import elsewhere, environment, initialisation, metadb, network, secrets  # noqa: F401

    sections = "NJDCVIX"
    return sorted(FAULTS, key=lambda one: (sections.index(one.id[0]), one.id))
