"""What must not pass unseen: a skip where everything can run, a green run that was not whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.openssh import stand_in

LAB = "tests/lab/"

LONGEST = ("test_metadb.py", "test_rows.py", "test_runs.py", "test_way_round.py")

# In CI the same cases each time: a new one that is found belongs to whoever looks for it.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

ON_PURPOSE = ("does not apply: ", "takes long: ")
"""How the reason of a skip begins that is none of this machine: a combination that does not exist,
a test that another script runs."""


def whole() -> bool:
    """Whether a test that cannot run here is a failure, with its reason.

    Where a lab is possible or expected: root on Linux, and what `scripts/check` runs.
    OMSFAB_TESTS=parts says that a part will do, OMSFAB_TESTS=whole that none will.
    """
    wanted = os.environ.get("OMSFAB_TESTS")
    if wanted in ("whole", "parts"):
        return wanted == "whole"
    return sys.platform == "linux" and os.geteuid() == 0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engines", default="", help="ask these MetaDBs only: oceanbase,mariadb")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the engines that are not asked for; they count as deselected.  The longest files
    come first, so that no worker is alone with one at the end."""
    items.sort(key=lambda item: item.path.name not in LONGEST)
    wanted = config.getoption("--engines")
    if not wanted:
        return
    left = [
        item
        for item in items
        if (call := getattr(item, "callspec", None))
        and call.params.get("engine", wanted) not in wanted.split(",")
    ]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where nothing may be left out."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and whole():
        where = report.longrepr
        said = str(where[2] if isinstance(where, tuple) else where).removeprefix("Skipped: ")
        if not said.startswith(ON_PURPOSE):
            report.outcome = "failed"
            report.longrepr = f"skipped, and nothing may be left out here: {said}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module that skips itself as a whole is a failure as well."""
    report = yield
    if report.skipped and whole():
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} skips itself: {report.longrepr}"
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say how many tests of the lab ran, before the last lines of the runner."""
    seen = {
        kind: {
            report.nodeid
            for report in terminalreporter.getreports(kind)
            if report.nodeid.startswith(LAB) and getattr(report, "when", "") in ("call", "setup")
        }
        for kind in ("passed", "failed", "error", "skipped")
    }
    ran = len((seen["passed"] | seen["failed"]) - seen["error"] - seen["skipped"])
    asked = [Path(word.partition("::")[0]) for word in config.args]
    if ran or any(LAB.rstrip("/") in path.as_posix() for path in asked):
        left = ", ".join(f"{len(seen[kind])} {kind}" for kind in ("error", "skipped") if seen[kind])
        terminalreporter.write_line(f"tests of the lab that ran: {ran}{left and f' ({left})'}")


@pytest.fixture
def openssh_of_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory ~/.ssh of a home of its own, which the real ``ssh`` takes for the user's."""
    home = tmp_path / "operator"
    (home / ".ssh").mkdir(parents=True)
    programs = stand_in(tmp_path / "programs", home / ".ssh" / "config")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(home))
    return home / ".ssh"
