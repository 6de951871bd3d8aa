"""The search is tested: a guard is taken out of a copy of omsfab, and the search has to notice.

Those of tests/guards.py that are about locks, rows, initialisations and ways back, and further
mends of the kind "the world changed while nobody looked".  A focus says where to look first: with
it a guard that is out is found after some ten schedules, and without it after some thousand.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.guards import GUARDS, ROOT, Guard
from tests.simulation.faults import Fault
from tests.simulation.simulate import Focus, focused, run

OUTAGE = ("stop-processes@oms1", "clear-rows@metadb", "config@oms1", "rows-quiet@metadb")
INITS = ("initialise@oms1", "initialise@oms2")
FORWARD = (("fab scale.out", "next", "next", "next"),)
BACK = (("fab scale.out", "undo", "next", "next"),)
AGAIN = (("fab scale.out", "undo", "fab scale.out", "next"),)
TAKEN_OVER = (
    ("wait:300", "fab scale.out", "break", "undo --from=oms1", "fab scale.out", "next"),
    ("wait:300", "fab scale.out", "break", "resume --from=oms1", "next"),
)


@dataclass(frozen=True)
class Out:
    """A guard that is taken out, and where its absence shows."""

    guard: Guard
    focus: Focus


FOCUS: dict[str, Focus] = {
    "rows deleted are counted against rows saved": Focus(
        "physical", ("dba-host",), ("clear-rows@metadb",), FORWARD
    ),
    "the fence: the token of the lease, under its lock": Focus(
        "physical", ("kill",), ("-",), FORWARD, TAKEN_OVER, within=(2000, 2001),
        fixed=(Fault("pause", 131, 0, "clear-rows@metadb", "900"),)
    ),
    "the backup is copied to a second machine before the delete": Focus("physical"),
    "the outcome is read from the marker, not from the client's error": Focus(
        "physical", ("db-lost",), ("clear-rows@metadb",), BACK, within=(284, 284)
    ),
    "the scope: only this region's rows": Focus("two"),
    "rows that were not shown are not deleted": Focus(
        "physical", ("dba-host",), ("rows-shown@metadb", "stop-processes@oms1"), FORWARD
    ),
    "nobody writes rows while they are deleted": Focus(
        "physical", ("dba-url",), ("clear-rows@metadb",), FORWARD, within=(58, 66)
    ),
    "rows are quiet before docker_init.sh runs": Focus(
        "physical", ("dba-back",), ("config@oms1", "clear-rows@metadb"), FORWARD
    ),
    "what a step needs elsewhere is asked right before it": Focus(
        "physical", ("start-programs",), ("stop-processes@oms1",), FORWARD, within=(12, 13),
        fixed=(Fault("pause", 13, 0, "stop-processes@oms1", "40"),)
    ),
    "programs are stopped again before rows go": Focus(
        "physical", ("kill",), ("clear-rows@metadb",), FORWARD, within=(1, 280),
        fixed=(Fault("start-programs", 400, 0, "-", "oms1"),)
    ),
    "rows are saved before a node that joins writes any": Focus("vip", scripts=BACK),
    "after a rollback, rows are compared with those saved": Focus("vip", scripts=BACK),
    "a lease to be broken has lain still": Focus(
        "physical", ("pause",), (*OUTAGE, *INITS), FORWARD,
        (("wait:130", "fab scale.out", "break", "undo --from=oms1", "next"),),
    ),
    "a run that had failed and is rolled back is no success": Focus(
        "physical", ("kill",), OUTAGE, (("fab scale.out", "abandon", "undo", "next"),)
    ),
    "an expired lease of another is not stolen": Focus(
        "physical", ("pause",), (*OUTAGE, *INITS), FORWARD,
        (("wait:150", "fab scale.out", "next", "next"),),
    ),
    "the claim: an attempt runs once, however often it is started": Focus(
        "physical", ("lost", "silent", "kill"), INITS, FORWARD
    ),
    "the lock in the container: no two initialisations at once": Focus(
        "physical", ("lost", "silent", "kill", "hand-init"), INITS, FORWARD
    ),
    "the process scan: an init by hand locks ours out": Focus(
        "physical", ("hand-init",), (*OUTAGE, "initialise@oms1"), FORWARD
    ),
    "the acknowledgement: a start counts once its claim is read back": Focus(
        "physical", ("hand-init",), (*OUTAGE, "initialise@oms1"), FORWARD
    ),
    "exit status 0 alone is no success": Focus(
        "physical", ("init:nobanner", "init:early", "init:exit1"), ("-",), FORWARD, within=(1, 200)
    ),
    "a file is written in place: its inode stays": Focus("physical"),
    "the container must see the config.yaml that was written": Focus(
        "physical", ("replace-config",), ("config@oms1",), FORWARD
    ),
    "the intent is on disk before the effect": Focus(
        "physical", ("kill",), ("directories@oms2", "image@oms2", *OUTAGE, *INITS), BACK
    ),
    "a journal that cannot be written stops the run": Focus(
        "physical", ("disk-full",), (*OUTAGE, *INITS), BACK, more=("kill",)
    ),
    "a rollback that changed nothing leaves the run open": Focus(
        "physical", ("kill",), (*OUTAGE, *INITS), BACK, more=("away", "lost")
    ),
    "a run that is being rolled back is not resumed": Focus(
        "physical", ("kill",), (*OUTAGE, "restore-rows@metadb"),
        (("fab scale.out", "undo", "resume", "next"),), more=("kill",),
    ),
    "a run that ended on another jump host is not resumed": Focus(
        "physical", ("kill",), (*OUTAGE, *INITS),
        (("fab scale.out", "wait:600", "resume", "undo"),),
        (("wait:60", "resume --from=oms1", "wait:150", "resume --from=oms1", "next"),),
    ),
    "a run is not rolled back below one that another jump host has made since": Focus(
        "physical", ("kill",), (*OUTAGE, *INITS), (("fab scale.out", "wait:900", "undo", "next"),),
        (("wait:200", "undo --from=oms1", "fab scale.out", "next"),),
    ),
    "rows that others have put back are not put back over theirs": Focus(
        "physical", ("kill",), (*OUTAGE, *INITS), (("fab scale.out", "wait:900", "undo", "next"),),
        (("wait:200", "undo --from=oms1", "fab scale.out", "next"),),
    ),
    "a rollback removes no container of another run": Focus(
        "physical", ("kill",), INITS, (("fab scale.out", "wait:900", "undo", "next"),),
        (("wait:200", "undo --from=oms1", "fab scale.out", "next"),), more=("away",),
    ),
    "a rollback puts back no file that others have written since": Focus(
        "physical", ("edit-config",), ("container@oms2", *INITS), BACK
    ),
    "deleted rows are put back whoever stopped the programs": Focus(
        "physical", ("stop-programs",), ("image@oms2", "rows-shown@metadb"), BACK
    ),
    "a rollback waits for docker_init.sh of the run": Focus("physical", ("kill",), INITS, BACK),
    "exit 3 says that nothing was changed": Focus(
        "physical", ("away", "silent", "disk-full"), (*OUTAGE, *INITS), FORWARD
    ),
    "an outcome that is not proven is no success": Focus(
        "physical", ("program-fatal", "dba-url", "docker-stop"), INITS, FORWARD
    ),
    "a once-only step whose session was lost is not repeated": Focus(
        "physical", ("lost", "silent"), INITS, FORWARD
    ),
    "nothing more is done once the lock is lost": Focus(
        "physical", ("pause",), (*OUTAGE, *INITS), FORWARD, TAKEN_OVER
    ),
    "nothing is judged once the lock is lost": Focus(
        "physical", ("clock",), ("-",), FORWARD, TAKEN_OVER,
        fixed=(Fault("pause", 131, 0, "clear-rows@metadb", "900"),),
    ),
    "the copy of another jump host that went on is not overwritten": Focus(
        "physical", ("pause", "kill"), (*OUTAGE, *INITS), FORWARD, TAKEN_OVER
    ),
    "nobody is begun while an initialisation may still run": Focus(
        "three", ("init:hang2", "away"), ("container@oms2", "initialise@oms2"), FORWARD
    ),
    "every container that runs is stopped before rows go": Focus(
        "physical", ("kill",), ("initialise@oms2",),
        (("fab scale.out", "abandon", "fab scale.out", "next"),),
    ),
    "the rows of all regions are saved before a new one writes": Focus("region", scripts=BACK),
    "a container that went down with its node is started": Focus(
        "physical", ("reboot", "docker-stop"), (*OUTAGE, *INITS), FORWARD
    ),
    "its programs are stopped again, where they had been": Focus(
        "physical", ("reboot",), (*OUTAGE, "initialise@oms1"), FORWARD
    ),
    "a MetaDB that fails over is waited for": Focus(
        "physical", ("metadb-away",), (*OUTAGE, *INITS), FORWARD
    ),
}  # fmt: skip

MENDS = (
    Out(
        Guard(
            "what must not be done twice, its own memory is asked about",
            "omsfab/run/runner.py",
            "            and (not step.apply or self._world.ended(step, self._attempt(step)))\n",
            "",
            "",
        ),
        Focus("physical", ("lie",), (*OUTAGE, *INITS), FORWARD),
    ),
    Out(
        Guard(
            "a wrapper that was killed is no failure of the script",
            "omsfab/edges/verdict.py",
            "    if proof:\n",
            "    if proof and status is not None:\n",
            "",
        ),
        Focus("physical", ("init:wrapper",), ("-",), FORWARD),
    ),
    Out(
        Guard(
            "a foreign initialisation is believed on evidence only",
            "omsfab/edges/job.py",
            "                if own.done:\n",
            "                if True:\n",
            "",
        ),
        Focus("auto", ("init:self-fail5", "init:self-nobanner"), ("-",), FORWARD),
    ),
    Out(
        Guard(
            "a node that was away in the end is proven anew",
            "omsfab/run/runner.py",
            "        if stage is not plan.stages[-1] or not stage.asks_only:\n",
            "        if True:\n",
            "",
        ),
        Focus("physical", ("reboot",), ("health@oms2", "host@oms2", "vip-last@oms2"), FORWARD),
    ),
    Out(
        Guard(
            "a program that is FATAL has no process",
            "omsfab/commands/supervisor.py",
            '"BACKOFF", "STOPPING"})',
            '"BACKOFF", "STOPPING", "FATAL"})',
            "",
        ),
        Focus("physical", ("program-fatal",), ("image@oms2", "stop-processes@oms1"), FORWARD),
    ),
)


def chosen(words: list[str]) -> Iterator[Out]:
    """Those that the search is tried upon."""
    for guard in GUARDS:
        if guard.name in FOCUS:
            yield Out(guard, FOCUS[guard.name])
    yield from MENDS


def hunt(tree: Path, out: Out, count: int) -> tuple[int, str]:
    """How many schedules it took in this tree, and what was broken; 0 = not found.

    What is broken with the guard in place as well is no sign of its absence.
    """
    seed = 0
    while seed < count:
        words = (str(count), f"--hunt={out.guard.name}", f"--seed={seed}")
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "tests.simulation", *words],
            cwd=tree, capture_output=True, text=True, check=False,
        )  # fmt: skip
        try:
            found = json.loads(done.stdout.splitlines()[-1])
        except (ValueError, IndexError):
            return -1, (done.stdout + done.stderr)[-300:].replace("\n", " ")
        if not found["after"]:
            break
        seed = int(found["after"])
        with_it = run(focused(seed - 1, out.focus))
        if not with_it.broken:
            return seed, found["broken"]
        print(f"with the guard in place: {with_it.schedule}: {with_it.broken[0][:150]}", flush=True)
    return 0, ""


def place_of(tree: Path, guard: Guard) -> Path | None:
    """The file that has the guard's text, once: it may have moved."""
    found = [p for p in (tree / "omsfab").rglob("*.*") if p.suffix in (".py", ".sh")]
    there = [p for p in found if p.read_text().count(guard.old) == 1]
    named = [p for p in there if p.name == Path(guard.file).name]
    likely = named or there
    return likely[0] if len(likely) == 1 else None


def main(words: list[str], count: int) -> int:
    """Print a row for each guard: after how many schedules its absence was noticed, by what."""
    missed = 0
    with tempfile.TemporaryDirectory(prefix="omsfab-simulated-") as directory:
        tree = Path(directory) / "omsfab"
        skip = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".progress.json")
        shutil.copytree(ROOT, tree, ignore=skip)
        for out in chosen(words):
            guard = out.guard
            if words and not any(word in guard.name for word in words):
                continue
            path = place_of(tree, guard)
            if path is None:
                print(f"| {guard.name} | its text has changed | |", flush=True)
                continue
            text = path.read_text()
            path.write_text(text.replace(guard.old, guard.new))
            try:
                after, broken = hunt(tree, out, count)
            finally:
                path.write_text(text)
            missed += after <= 0
            told = str(after) if after > 0 else f"not within {count}"
            print(f"| {guard.name} | {told} | {broken} |", flush=True)
    return int(missed > 0)
