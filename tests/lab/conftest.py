"""Labs for tests: real servers in namespaces; ended whatever happens."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from omsfab import lab as labs
from omsfab.lab.profiles import QUICK
from omsfab.lab.system import LabError
from tests.lab.oracle import Fleet

METADB = os.environ.get("OMSFAB_METADB", "mariadb")
"""Where a test does not say: OceanBase takes a tenth of a processor while it does nothing."""

# A shell that begins the tests in the background has SIGINT ignored, and fab would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A lab that this machine cannot carry is a skip with its reason, never a pass; where one is
    expected, a failure (tests/conftest.py)."""
    why = labs.missing()
    if why:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="module")
def make_fleet() -> Iterator[Callable[..., Fleet]]:
    """Return a maker of fleets: ``make_fleet("name", nodes=3, metadb="oceanbase", password=…)``.

    The lab is bare; ``initial.yaml`` has the first node under its own address, ``hosts.yaml`` all
    nodes behind the VIP.  Further words go into both, as ``Lab.hosts_yaml`` takes them.
    Programs are RUNNING soon after their start; ``start_secs=""`` has the real ten seconds.
    """
    made: list[str] = []

    def make(
        name: str,
        nodes: int = 3,
        metadb: str = METADB,
        password: str | None = None,
        start_secs: str = QUICK,
        **extra: object,
    ) -> Fleet:
        name = f"t{os.getpid()}-{name}"
        made.append(name)
        try:
            lab = labs.up(
                name, nodes, metadb, password=password, say=lambda _: None, start_secs=start_secs
            )
        except LabError as error:
            pytest.fail(f"{error}\n{error.evidence}")
        fleet = Fleet(lab)
        first = lab.nodes[0]
        fleet.write("initial.yaml", f"http://{first.ip}:8088", [first.name], **extra)
        fleet.write("hosts.yaml", f"http://{lab.vip}:8088", [n.name for n in lab.nodes], **extra)
        return fleet

    try:
        yield make
    finally:
        for name in made:
            labs.down(name, say=lambda _: None)
