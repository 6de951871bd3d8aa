"""Lines that led to harm, or nowhere: each is raised here for real, and its lines are judged."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from omsfab.command import command
from omsfab.errors import (
    InputError,
    Mismatch,
    OmsfabError,
    PreflightError,
    RollbackIncomplete,
    SecurityRefusal,
    StepFailed,
)
from omsfab.fleet import secret_sources
from omsfab.fleet.oms_config import Drift
from omsfab.lab import pasted
from omsfab.next_line import fab, recorded, shell
from omsfab.plan import questions
from omsfab.plan.events import RunEnd
from omsfab.plan.procedures import node as repair
from omsfab.plan.procedures import refusals, scale_out
from omsfab.plan.records import Plan, Run, Stage, Step
from omsfab.run import lifecycle
from omsfab.run import undo as rollback
from omsfab.run.confirmation import Flags, confirm
from omsfab.run.engine.runner import Runner
from omsfab.run.lifecycle import Order
from omsfab.run.record import journal as journals
from omsfab.run.record.past_run import PastRun
from omsfab.run.session import Session
from omsfab.run.start import _name_who_deleted
from omsfab.ssh.protocol import Result
from tests.unit.test_looks_only import Terminal, half_done, place  # noqa: F401  # a fixture
from tests.unit.test_looks_only import fab as typed
from tests.unit.test_undo_runs import BACK, FORWARD, made, the_plan, world


def judged(error: OmsfabError, asked: str) -> pasted.Told:
    """The error as it is printed, once its lines are found fit for what was asked."""
    assert [] == pasted.judge(error.render(), asked.split(), error.exit_code)
    said = pasted.told(error.render())
    assert said
    return said


def printed(capsys, asked: str, code: int) -> pasted.Told:
    """What `fab` printed on standard error, its lines found fit for what was asked."""
    text = capsys.readouterr().err
    assert [] == pasted.judge(text, asked.split(), code), text
    said = pasted.told(text)
    assert said, text
    return said


# --- row 1: PLAN-002 ---


@pytest.mark.parametrize("task", ["scale.out", "oms.deploy"])
def test_a_wrong_rm_db_is_told_and_deploys_nothing(fleet, package, present, task):
    """Three nodes ran, and `fab oms.deploy` stood there."""
    now = dataclasses.replace(present(package), clusters={}, hosts={})
    first = dataclasses.replace(
        now.nodes["oms1"], drift=(Drift("drc_rm_db", "oms_rm", "oms_other"),)
    )
    now = dataclasses.replace(now, nodes={"oms1": first})

    with pytest.raises(PreflightError) as error:
        (scale_out.scale_out if task == "scale.out" else scale_out.deploy)(fleet, now)

    said = judged(error.value, task)
    assert "drc_rm_db" in error.value.render()
    assert not any("oms.deploy" in line for line in said.part("next"))


def test_rows_that_a_run_has_deleted_are_put_back_by_its_rollback(
    fleet, package, present, tmp_path
):
    """After run.abandon: the run is named, and the line that brings its rows back."""
    run = made(tmp_path, FORWARD, "stop-processes@oms1", "clear-rows@metadb", region="")
    lifecycle.close(run, RunEnd("abandoned"), "abandoned by the operator")
    region = fleet.regions[0]
    error = refusals.not_deployed(fleet, region, region.nodes, present(package))
    here = Session.__new__(Session)
    here.flags, here.home, here.fleet = Flags(plan=True), tmp_path, fleet
    here.metadb = SimpleNamespace(deleted_by=lambda name, location: name == FORWARD)

    _name_who_deleted(here, error, {"region": ""})

    said = judged(error, "scale.out --plan")
    assert (f"fab run.undo --run={FORWARD}   # puts them back",) == said.part("next")


# --- row 2: RUN-027 ---


def test_a_line_in_a_container_is_no_reason_to_roll_a_scale_out_back(place, capsys):  # noqa: F811
    """`fab run.undo --run=<a node.exec>` printed the run.undo of the scale-out."""
    (half,) = (place / "state").glob("*/*-scale-out-aaaa")
    run = half.parent / "20260102T000000Z-node-exec-bbbb"
    record = {"task": "node.exec", "args": {"node": "oms1", "words": "x"}, "owner": "li"}
    journals.begin(run, {**record, "initial": ""})
    book = journals.Journal(run)
    book.write(lifecycle.Event(1.0, 0, "oms1", "exec", "intent", ""))
    book.close()

    asked = f"run.undo --run={run.name}"
    code = typed(*asked.split())

    assert ("RUN-027", (f"fab run.show --run={run.name}",)) == (
        (said := printed(capsys, asked, code)).id,
        said.part("next"),
    )


# --- row 3: a backup that is not there, or damaged ---


@pytest.mark.parametrize(("text", "id"), [(None, "INPUT-041"), ("{}\n", "DB-021")])
def test_a_backup_that_is_none_leads_to_no_run(place, capsys, text, id):  # noqa: F811
    """A typo in --file led to run.resume --from=NODE."""
    saved = next((place / "state").glob("*")) / "saved/20260102T000000Z-meta-save/rows.jsonl"
    saved.parent.mkdir(parents=True)
    saved.write_text("{}\n")
    file = place / "given.jsonl"
    if text is not None:
        file.write_text(text)

    code = typed("meta.restore", f"--file={file}")

    said = printed(capsys, f"meta.restore --file={file}", code)
    assert id == said.id
    assert f"fab meta.restore --file={saved} --plan" in said.part("next")[0]


# --- row 4: node.exec without a terminal ---


def test_what_is_typed_for_a_container_touches_nothing_here(tmp_path, monkeypatch):
    """Pasted, the line of INPUT-023 ran `touch X` on the jump host."""
    monkeypatch.setattr("sys.stdin", None)
    line = "echo a; touch X"
    with pytest.raises(InputError, match="INPUT-023") as error:
        confirm(Flags(), "carry this out?", recorded("node.exec", {"node": "oms1", "words": line}))

    said = judged(error.value, f"node.exec --node=oms1 --command={line.replace(' ', '_')}")
    stub = 'fab() { printf "%s\\n" "$@" >>typed; }\n'
    for text in said.part("next"):
        subprocess.run(["bash", "-c", stub + text], cwd=tmp_path, check=True)

    assert ["typed"] == [path.name for path in tmp_path.iterdir()]
    assert f"--command={line}" in (tmp_path / "typed").read_text().splitlines()


# --- row 5: node.logs without a node ---


@pytest.mark.parametrize("task", ["node.logs", "node.status", "node.stop", "node.restart"])
def test_a_task_without_its_node_is_called_with_one(place, capsys, task):  # noqa: F811
    """node.logs printed node.status."""
    code = typed(task)

    said = printed(capsys, task, code)
    assert ("INPUT-022", 2) == (said.id, code)
    calls = [pasted.parsed(call) for line in said.part("next") for call in pasted.called(line)]
    assert [(task, "oms1")] == [(name, given["node"]) for name, given in calls]


# --- row 6: SSH-009 on several nodes ---


def test_each_node_whose_key_is_not_known_has_its_line():
    """One of three stood there."""
    from omsfab.errors import refusal

    errors = [
        SecurityRefusal("SSH-009", f"{n}: unknown", where=n, next=fab("node.trust", node=n))
        for n in ("oms1", "oms2", "oms3")
    ]

    said = judged(refusal(errors), "scale.out")

    assert tuple(f"fab node.trust --node=oms{n}" for n in (1, 2, 3)) == said.part("next")


# --- row 7: INPUT-012 ---


def test_a_command_that_gives_no_secret_says_what_to_do():
    """No next line stood there at all."""
    with pytest.raises(InputError, match="INPUT-012") as error:
        secret_sources._from_command(("false",), Path("/"), "metadb.password")

    said = judged(error.value, "fleet.check")
    assert said.part("fix")
    assert said.part("next")


# --- row 8: VIP-001, CFG-009 ---


class NothingIsSo:
    """A world in which every question is answered by no."""

    def ask(self, probe, node, tell):
        return "not so"


@pytest.mark.parametrize(
    ("name", "cure"), [("seen", "fab node.restart"), ("vip", "bind 10.0.0.100 to")]
)
def test_what_is_not_so_before_a_run_has_a_cure(fleet, package, present, name, cure):
    """The same command again stood there: a container that holds a former file wants a restart."""
    now = present(package)
    region = fleet.regions[0]
    stage = questions.stage(fleet, region, now, region.nodes[:1], region.nodes[1:], vip=True)
    steps = tuple(step for step in stage.steps if step.name == name)
    assert steps, [step.name for step in stage.steps]
    plan = Plan("scale.out", "t", (), (dataclasses.replace(stage, steps=steps[:1]),))

    with pytest.raises(OmsfabError) as error:
        Runner(NothingIsSo(), lambda event: None).carry_out(plan)
    error.value.next = error.value.next or (fab("scale.out"),)

    assert cure in " ".join(pasted.fixes(judged(error.value, "scale.out")))


# --- row 9: SSH-021 outside a run: test_looks_only.py ---
# --- row 10: RUN-003 of node.restart ---


def test_a_restart_that_leaves_programs_down_names_node_start(tmp_path, fleet, present):
    """run.resume stood there, which restarted them again."""
    plan = repair.restart(fleet, present(), node="oms1")
    (start,) = (step for step in plan.steps if step.name == "start-processes")
    run = made(tmp_path, task="node.restart", node="oms1")
    step = dataclasses.replace(start, check=(), apply=(Run(command("act")),), verify=())
    here = world(tmp_path)
    here.shells["oms1"].run = lambda cmd, on_line=None: Result(cmd.argv[0] == "act", "", "")

    with pytest.raises(OmsfabError) as error:
        order = Order(run, Plan("node.restart", "t", (), (Stage("s", (step,)),)))
        lifecycle.carry_out(here, order)

    said = judged(error.value, "node.restart --node=oms1")
    lines = [*said.part("fix"), *said.part("next")]
    assert any("fab node.start --node=oms1" in line for line in lines)
    assert "run.resume" not in error.value.render()


# --- row 11: -H on a task of the whole fleet ---


@pytest.mark.parametrize(("task", "named"), [("fleet.status", False), ("scale.out", True)])
def test_flags_that_a_task_has_not_are_not_advised(place, capsys, task, named):  # noqa: F811
    """`--nodes chooses among them` was said of fleet.status."""
    code = typed("-H", "oms1", task)

    text = capsys.readouterr().err
    assert [] == pasted.judge(text, ["-H", "oms1", task], code)
    assert ("INPUT-026", named) == (pasted.told(text).id, "--nodes" in text)
    assert (f"fab {task}",) == pasted.told(text).part("next")


# --- a task that asks, with output for a program ---


@pytest.mark.parametrize("task", ["run.resume", "run.undo"])
def test_json_asks_nothing_on_a_terminal(place, capsys, monkeypatch, task):  # noqa: F811
    """Its plan was not printed and the prompt went into the file; with `> file` it hung."""
    monkeypatch.setattr("sys.stdin", Terminal("yes\n"))
    monkeypatch.setattr("omsfab.run.recorded.refuse_others", lambda *_, **__: None)

    code = typed(task, "--json")

    told = capsys.readouterr()
    assert ("INPUT-023", 2) == (json.loads(told.out)["error"]["id"], code)
    assert [] == pasted.judge(told.err, [task, "--json"], code)
    assert ("INPUT-023", True) == (pasted.told(told.err).id, "--yes" in told.err)


# --- rollbacks that would only find the same ---


class NoCopy:
    """The copy of a run on its initial node, which needs a real node."""

    def __init__(self, *_):
        pass

    def __getattr__(self, name):
        return lambda *_: None


@pytest.fixture(autouse=True)
def _no_copies(monkeypatch):
    monkeypatch.setattr(lifecycle, "Mirror", NoCopy)


def rolled_back(home, error, *, changes):
    """A rollback that ends so, before or after its first change; what run.undo then prints."""
    run = made(home, FORWARD, "stop-processes@oms1", "clear-rows@metadb")
    back = made(home, BACK, task="run.undo", run=FORWARD, all="")
    first = Step("b", "oms1", "b", apply=(Run(command("well")),))
    last = dataclasses.replace(the_plan("run.undo").steps[0])
    here = world(home)

    def act(cmd, on_line=None):
        if cmd.argv[0] == "act":
            raise error
        return Result(0, "", "")

    here.shells["oms1"].run = act
    steps = (first, last) if changes else (last,)
    plan = Plan("run.undo", "t", (), (Stage("s", steps),), initial="oms1")
    session = Session.__new__(Session)
    session.home = home
    session.execute = lambda order: lifecycle.carry_out(here, order)
    order = Order(back, plan, lease=True, undoes=run)
    with pytest.MonkeyPatch.context() as patched, pytest.raises(OmsfabError) as told:
        patched.setattr(rollback, "_served", lambda *_: {})
        rollback._carry_out(session, order, PastRun(run))
    return told.value


@pytest.mark.parametrize("changes", [False, True])
def test_a_file_of_others_is_looked_at_or_accepted(tmp_path, changes):
    """CFG-013 printed run.undo once more, which found it again, beside the line that accepts it."""
    look = shell("ssh", "oms1", "ls -l /data/config.yaml")
    found = StepFailed("CFG-013", "written by others", fix="look at it", next=look)

    error = rolled_back(tmp_path, found, changes=changes)

    said = judged(error, f"run.undo --run={FORWARD}")
    assert (look.line,) == said.part("next")
    assert (f"fab run.undo --run={FORWARD} --accept=CFG-013",) == said.part("accept")
    assert ("look at it",) == said.part("fix")
    assert (RollbackIncomplete, "RUN-025") == (type(error), error.id)


def test_a_rollback_whose_backup_is_lost_takes_the_copy(tmp_path):
    """DB-014: `--from=NODE` stood there; the node that has the copy is known."""
    lost = Mismatch("DB-014", "no backup is here", fix="its copy takes its place")

    error = rolled_back(tmp_path, lost, changes=True)

    said = judged(error, f"run.undo --run={FORWARD}")
    assert said.part("next")[0].startswith(f"fab run.undo --run={FORWARD} --from=oms1")


def test_a_run_whose_backup_is_lost_takes_the_copy(tmp_path):
    """The same of a run that goes forward."""
    run = made(tmp_path, FORWARD, "stop-processes@oms1")
    here = world(tmp_path)

    def act(cmd, on_line=None):
        if cmd.argv[0] == "act":
            raise Mismatch("DB-014", "no backup is here", fix="its copy takes its place")
        return Result(0, "", "")

    here.shells["oms1"].run = act
    plan = dataclasses.replace(the_plan("scale.out"), initial="oms1")
    with pytest.raises(Mismatch) as error:
        lifecycle.carry_out(here, Order(run, plan, lease=True))

    said = judged(error.value, "scale.out")
    assert said.part("next")[0] == f"fab run.resume --from=oms1 --run={FORWARD}"
