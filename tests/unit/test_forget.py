"""`fab fleet.forget`: what is omsfab's own goes, whoever's else stays, an open run refuses."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from omsfab import next_line
from omsfab.cli import forget
from omsfab.cli.forget import Found, Traces
from omsfab.commands import claim, leftovers
from omsfab.errors import InputError, Locked, PreflightError
from omsfab.fleet import hosts_file
from omsfab.metadb.client import Place
from omsfab.plan.events import RunEnd
from omsfab.run import lifecycle
from omsfab.run.record.past_run import PastRun
from omsfab.run.record.replica import Copy
from omsfab.run.recorded import changed
from omsfab.run.session import home_of
from tests.unit.test_json import documented, keys
from tests.unit.test_looks_only import HOSTS, RUN, fab, place  # noqa: F401  # a fixture

BACKUP = "config.yaml.omsfab-20260101T000000Z-scale-out-aaaa.bak"
OURS = (
    f"own/{RUN}/run.json",
    f"own/{RUN}/backup/region-1.jsonl",
    "own/claim",
    "own/claim.4711",
    f"data/{BACKUP}",
    f"data/{BACKUP}.wrote",
    f"data/{BACKUP}.owner",
    "data/config.yaml.omsfab-0123abcd.new",
    "data/omsfab-0123456789ab-oms.tar.gz.part",
    f"data/logs/omsfab/{RUN}-initialise-1/output",
    "data/logs/omsfab/init.lock",
)
THEIRS = (
    "data/config.yaml",
    "data/config.yaml.bak",
    "data/config.yaml.omsfab-mine.bak",
    "data/omsfab-notes.txt",
    "data/logs/docker_init.log",
)


@pytest.fixture
def node(tmp_path):
    """A node's disk with all that omsfab may leave there, and the operator's files beside it;
    returns how a command runs on it."""
    for name in (*OURS, *THEIRS):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)

    def run(words):
        cmd = words(f"{tmp_path}/data/logs", [f"{tmp_path}/data/config.yaml"], [f"{tmp_path}/data"])
        argv = [f"{tmp_path}/own" if word == claim.PLACE else word for word in cmd.argv]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    return run


def files(below: Path):
    return {str(path.relative_to(below)) for path in below.rglob("*") if not path.is_dir()}


def test_what_omsfab_left_on_a_node_goes_and_nothing_else(node, tmp_path):
    """By whole names: a file of the operator's beside it stays, whatever it is called."""
    said = node(leftovers.remove)

    assert (0, "") == (said.returncode, said.stderr)
    assert set(THEIRS) == files(tmp_path)
    assert not (tmp_path / "own").exists()
    assert not (tmp_path / "data/logs/omsfab").exists()
    assert "" == node(leftovers.look).stdout


def test_a_directory_with_a_file_of_somebody_else_stays_with_it(node, tmp_path):
    (tmp_path / "own/notes").write_text("")
    (tmp_path / "data/logs/omsfab/notes").write_text("")

    assert 0 == node(leftovers.remove).returncode
    assert {*THEIRS, "own/notes", "data/logs/omsfab/notes"} == files(tmp_path)
    assert "" == node(leftovers.look).stdout


def test_no_link_of_the_logs_mount_is_followed(node, tmp_path):
    """Users of the image write there."""
    (tmp_path / "data/logs/omsfab").rename(tmp_path / "precious")
    (tmp_path / "data/logs/omsfab").symlink_to(tmp_path / "precious")
    node(leftovers.remove)

    assert f"precious/{RUN}-initialise-1/output" in files(tmp_path)


def test_what_there_is_is_told_by_kind(node):
    """As `fleet.forget` counts it."""
    kinds = [line.partition(" ")[0] for line in node(leftovers.look).stdout.splitlines()]

    assert {"package": 1, "backup": 1, "run": 1, "attempt": 1} == {
        kind: kinds.count(kind) for kind in kinds if kind != "trace"
    }


# --- what stands against it ----------------------------------------------------------------------


class MetaDb:
    def __init__(self, holder=None):
        self.holder = holder

    def lease_holder(self):
        return self.holder

    def lease_refuse_taken(self):
        raise Locked("DB-030", "held")


class Shell:
    """A node on which docker_init.sh runs, or not."""

    def __init__(self, status=0):
        self.status = status

    def run(self, cmd):
        return SimpleNamespace(status=self.status, out="", err="pid 7")


def found(*nodes, here=(), places=(), local=False):
    return Found(nodes, places, Path("/nowhere"), tuple(here), local)


def session(metadb=None, **shells):
    fleet = hosts_file.load(HOSTS, secrets=False)
    return SimpleNamespace(fleet=fleet, shells=shells, metadb=metadb or MetaDb())


def test_a_run_here_that_has_not_ended_refuses(place):  # noqa: F811
    """It is named, with what ends it."""
    here = [PastRun(home_of(hosts_file.load(HOSTS)) / RUN)]

    with pytest.raises(PreflightError, match=f"RUN-038 run {RUN}") as refused:
        forget.refuse_open(session(), found(here=here))

    assert ["run.resume", "run.abandon"] == [line.task for line in refused.value.next]


def test_a_run_of_another_jump_host_that_has_not_ended_refuses():
    """Its copy on a node says so; one that has ended does not."""
    ended = Copy("20260101T000000Z-scale-out-cccc", 3, end=RunEnd("done"))
    forget.refuse_open(session(), found(Traces("oms1", copies=(ended,))))

    with pytest.raises(PreflightError, match="RUN-038") as refused:
        open_ = Copy("20260101T000000Z-scale-out-bbbb", 3)
        forget.refuse_open(session(), found(Traces("oms1", copies=(ended, open_))))

    assert "--from=oms1" in refused.value.next[0].line


@pytest.mark.parametrize(("run", "refuses"), [("r1", True), (forget.SELF, False)])
def test_a_lease_that_is_held_refuses(run, refuses):
    """But that of a fleet.forget that was cut off, which goes on."""
    at = session(MetaDb(SimpleNamespace(run_id=run)))

    if refuses:
        with pytest.raises(Locked, match="DB-030"):
            forget.refuse_open(at, found())
    else:
        forget.refuse_open(at, found())


def test_the_output_of_a_docker_init_that_runs_is_not_removed():
    traces = Traces("oms1", (("attempt", "/data/logs/omsfab/x"),))
    forget.refuse_open(session(oms1=Shell()), found(traces))

    with pytest.raises(Locked, match="INIT-010"):
        forget.refuse_open(session(oms1=Shell(1)), found(traces))


def test_a_node_that_keeps_something_is_told_with_what_it_is():
    """RUN-039: a read-only mount, say; the same line then does what is left."""
    said = SimpleNamespace(node="oms1", run=lambda _: SimpleNamespace(status=1, err="run /x"))
    error = forget._removed(said, None, next_line.fab("fleet.forget", local=True))

    assert ("RUN-039", "run /x") == (error.id, error.evidence)
    assert "fab fleet.forget --local" == error.next[0].line
    assert ["fleet.forget"] == [line.task for line in error.next]


# --- what is told --------------------------------------------------------------------------------


def test_the_screen_says_what_goes_and_what_is_over_then():
    """Counts by node, MetaDB, and the runs that can no longer be rolled back."""
    copy = Copy("20260101T000000Z-scale-out-cccc", 3, end=RunEnd("done"))
    seen = found(
        Traces("oms1", (("run", "/a"), ("run", "/b"), ("backup", "/c"), ("trace", "/d")), (copy,)),
        Traces("oms2"),
        Traces("oms3", error="connection refused (SSH-001)"),
        places=(Place("oms_rm", ("omsfab_lease", "omsfab_marker")),),
    )

    assert [
        "What omsfab has left of this fleet; OMS needs none of it",
        "  oms1    2 copies of runs · 1 backup of a file",
        "  oms2    nothing",
        "  oms3    UNREACHABLE, stays as it is: connection refused (SSH-001)",
        "  MetaDB  tables oms_rm.omsfab_lease, oms_rm.omsfab_marker",
        "  here    nothing",
        "run.undo will be IMPOSSIBLE for:",
        "  20260101T000000Z-scale-out-cccc",
    ] == list(forget.lines(seen, None))
    assert [
        "removed: omsfab has left nothing on oms1, oms2, MetaDB",
        "exit 3: unreachable: oms3",
        "next: fab fleet.forget   # once they answer: it removes what is left there",
    ] == list(forget.ending(seen, removed=True))


def test_tables_that_another_oms_uses_stay():
    """The row says which OMS, and that only rows go."""
    seen = found(places=(Place("omsfab", ("omsfab_lease", "omsfab_marker"), ("other_rm",)),))

    assert (
        "  MetaDB  rows of this OMS in omsfab.omsfab_lease, omsfab.omsfab_marker"
        " (used by other_rm, too)"
    ) in list(forget.lines(seen, None))


def test_a_second_time_there_is_nothing():
    assert ["nothing to forget: omsfab has left nothing on oms1, MetaDB"] == list(
        forget.lines(found(Traces("oms1")), None)
    )


@pytest.mark.parametrize(
    ("copy", "reversible"),
    [
        (Copy("20260101T000000Z-scale-out-cccc", 3, end=RunEnd("done")), True),
        (Copy("20260101T000000Z-scale-out-cccc", 3, end=RunEnd("undone")), False),
        (Copy("20260101T000000Z-run-undo-cccc", 3, "x", RunEnd("done")), False),
        (Copy("20260101T000000Z-oms-restart-cccc", 3, end=RunEnd("done")), False),
    ],
)
def test_only_what_run_undo_would_take_counts_as_reversible(copy, reversible):
    """Of runs of other jump hosts, as their copies tell."""
    seen = found(Traces("oms1", copies=(copy,)))

    assert reversible == bool(seen.reversible)


def test_a_run_that_was_forgotten_cannot_be_rolled_back(place, capsys):  # noqa: F811
    """run.undo says so before it asks anybody: its markers and backups are gone."""
    home = home_of(hosts_file.load(HOSTS))
    run = PastRun(home / RUN)
    lifecycle.close(run.directory, RunEnd("abandoned"), "abandoned")
    assert run.anew.reversible
    run.forget()

    with pytest.raises(InputError, match=r"RUN-027 .* can no longer be rolled back"):
        changed(SimpleNamespace(home=home), RUN)
    with pytest.raises(InputError, match="INPUT-008"):
        changed(SimpleNamespace(home=home), "")
    fab("run.show")
    assert "run.undo" not in capsys.readouterr().out


def test_what_json_prints_is_documented():
    """Each key, and none that is not there."""
    seen = found(Traces("oms1"), places=(Place("oms_rm", ("omsfab_lease",)),))
    told = json.loads(forget.record(seen, removed=True))

    assert documented("fab fleet.forget --json") == keys(told)
