"""A green run is a whole run: what could turn a check into a skip, a pass, or nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SKIPS = """
import pytest

def test_one():
    pytest.skip({reason!r})

def test_two():
    pass
"""


@pytest.fixture
def run(tmp_path):
    """Run pytest on a tests/lab of its own, with this project's configuration."""

    def call(text: str, tests: str, *words: str) -> tuple[int, str]:
        for name in ("pyproject.toml", "tests/conftest.py", "tests/openssh.py"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes((ROOT / name).read_bytes())
        (tmp_path / "tests/lab").mkdir(exist_ok=True)
        (tmp_path / "tests/lab/test_it.py").write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/lab", *words],
            cwd=tmp_path,
            env=os.environ | {"OMSFAB_TESTS": tests},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    return call


def test_a_skip_is_a_failure_where_all_can_run(run):
    """Its reason is told, and the run is red."""
    status, said = run(SKIPS.format(reason="no sshd here"), "whole")

    assert 1 == status
    assert "nothing may be left out here: no sshd here" in said


def test_a_skip_stays_one_where_a_part_will_do(run):
    """An ordinary user's machine carries no lab."""
    status, said = run(SKIPS.format(reason="no sshd here"), "parts")

    assert 0 == status
    assert "1 passed, 1 skipped" in said


def test_a_combination_that_does_not_exist_is_no_failure(run):
    """Aria is MariaDB's, wherever the tests run."""
    status, said = run(SKIPS.format(reason="does not apply: Aria is MariaDB's"), "whole")

    assert 0 == status
    assert "1 passed, 1 skipped" in said


@pytest.mark.parametrize(
    "text",
    [
        "import pytest\npytest.skip('all of it', allow_module_level=True)",
        "import pytest\npytest.importorskip('no_such_library')",
        "import pytest\n@pytest.mark.parametrize('x', [])\ndef test_x(x): pass",
        "import pytest\n@pytest.mark.xfail\ndef test_x(): pass",
        "import threading\ndef test_x():\n"
        "    t = threading.Thread(target=lambda: 1 / 0)\n    t.start()\n    t.join()",
        "def test_x():\n    return 1 == 2",
        "def helper(): pass",
    ],
    ids=["module", "import", "empty", "xfail", "thread", "return", "none"],
)
def test_what_tests_nothing_is_a_failure(run, text):
    """A module that skips itself, a list without cases, an assertion in a thread, no test."""
    status, said = run(text, "whole")

    assert 0 != status, said


@pytest.mark.parametrize("words", [(), ("-n", "2", "--dist", "loadfile")], ids=["one", "two"])
def test_how_many_tests_of_the_lab_ran_is_said(run, words):
    """Also where they ran in other processes."""
    reason = "takes long: elsewhere"

    assert (
        "tests of the lab that ran: 1 (1 skipped)\n"
        in run(SKIPS.format(reason=reason), "whole", *words)[1]
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can carry a lab")
def test_several_may_ask_at_once_whether_a_lab_is_possible():
    """Two workers probed one control group; the one that came second skipped every lab test."""
    line = "from omsfab import lab; print([lab.missing() for _ in range(20)])"

    def ask(_: int) -> str:
        words = [sys.executable, "-c", line]
        return subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout.strip()

    with ThreadPoolExecutor(4) as pool:
        answers = set(pool.map(ask, range(4)))

    assert {str([None] * 20)} == answers


def test_what_ci_runs_leaves_nothing_out():
    """.ci/run calls scripts/check, which calls scripts/test, all of them with whole."""
    assert "exec scripts/check" in (ROOT / ".ci/run").read_text()
    check = (ROOT / "scripts/check").read_text()
    assert "OMSFAB_TESTS=whole" in check
    assert 'exec scripts/test "$@"' in check
    assert "tests/wire tests/lab tests/simulation tests/unit" in (ROOT / "scripts/test").read_text()
