"""What a fault of the matrix is, and the list of all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.harness import Harness

_SPECIFIED = """
    N01 N02 N03 N04 N05 N07 N08 N11 N13 N14
    J01 J03 J04 J06 J08 J09 J10 J11 J13 J14 J17
    D01 D02 D03 D05 D06 D08 D09 D10 D12 D13 D14 D15 D16 D17
    C01 C04 C05 C07 C08 C09 C10 C11 C13 C14 C16
    V01 V02 V04 V06 V07 V09 V10 V11 V12 V14 V15 V16
    I01 I02 I04 I05 I07 I08 I09 I10 I11 I13 I14 I15 I16 I18 I19 I20
    X01 X03
"""
SPECIFIED = tuple(_SPECIFIED.split())
"""The 76 faults of the specification.  N02, N02b, N02c are entries of one of them, N02; an entry
whose number is not here is a fault of the same kinds that we have thought of."""

LESS = {
    "D08": "refused (DB-020); there is no --accept-nontransactional, since a second way to delete"
    " rows, table by table and without a rollback, would be the least tested and the worst",
    "C08": "refused (INIT-010), its end is waited for by hand; no --adopt on the old node: what"
    " began before config.yaml was written read the former one. New containers are adopted (C17)",
    "V09": "unknown keys are refused until hosts.yaml has them, and comments are not kept: the file"
    " is written from the template; the former one stays beside it",
}
"""Where omsfab deliberately does less than is specified, and why: such an entry is ``partly``."""


@dataclass(frozen=True)
class Fault:
    """``body`` injects it, runs omsfab and raises Miss; or ``tests`` show it (pytest node ids)."""

    id: str
    sentence: str
    how: str
    body: Callable[[Harness], None] | None = None
    tests: tuple[str, ...] = ()

    @property
    def of(self) -> str:
        """The fault of the specification that this is an entry of, e.g. ``N02`` for N02c."""
        return self.id[:3]


FAULTS: list[Fault] = []


def fault(
    id: str, sentence: str, how: str
) -> Callable[[Callable[[Harness], None]], Callable[[Harness], None]]:
    """Register the decorated body."""

    def register(body: Callable[[Harness], None]) -> Callable[[Harness], None]:
        FAULTS.append(Fault(id, sentence, how, body))
        return body

    return register


def shown_by(id: str, sentence: str, how: str, *tests: str) -> None:
    """Register a fault that tests below the lab show: with a real sshd or a real MetaDB."""
    FAULTS.append(Fault(id, sentence, how, tests=tests))


def load() -> list[Fault]:
    """All faults, in the order of README.md."""
    from tests.faults import (  # noqa: F401
        extra,
        initialisation,
        inputs_vip_docker,
        jumphost,
        metadb,
        network,
        secrets,
        shown_elsewhere,
    )

    sections = "NJDCVIX"
    return sorted(FAULTS, key=lambda one: (sections.index(one.id[0]), one.id))


def metadb_is_involved(one: Fault) -> bool:
    """Whether it is to be seen with both engines."""
    return one.body is not None and one.of in BOTH


BOTH = (
    *(id for id in SPECIFIED if id.startswith("D")),
    *("C04", "C11", "C13", "C14", "C16", "V09", "V15", "J04", "J11", "N01"),
)
