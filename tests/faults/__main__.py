"""scripts/faults [ID …]: run the matrix, or the faults named, and write docs/scoreboard.md."""

from __future__ import annotations

import argparse
import functools
import json
import re
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from omsfab import lab as labs
from omsfab.lab import demo
from tests.faults import matrix
from tests.faults.ground import ROOT, Figures, Ground, Miss, Skip, packages
from tests.faults.matrix import Fault

BOARD = ROOT / "docs" / "scoreboard.md"


@dataclass
class Result:
    id: str
    sentence: str
    how: str
    exits: str
    verdict: str
    why: str
    seconds: float
    day: str = ""
    figures: dict[str, list[str]] = field(default_factory=dict)


def ground(name: str, metadb: str, work: Path) -> Ground:
    """A lab with OMS deployed on its first node."""
    lab = demo.up(name, 3, metadb, bare=False)
    return Ground(lab, work)


@functools.cache
def outcomes() -> dict[str, set[str]]:
    """Test -> what pytest says of it and of each of its parameters; all in one go."""
    tests = {test for one in matrix.load() for test in one.tests}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=no", "-rA", *sorted(tests)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found: dict[str, set[str]] = {}
    for word, test in re.findall(r"^(PASSED|FAILED|ERROR|SKIPPED) (\S+)", done.stdout, re.M):
        for known in (test.partition("[")[0], test.partition("::")[0]):
            found.setdefault(known, set()).add(word)
    return found


def passed(test: str) -> bool:
    return outcomes().get(test) == {"PASSED"}


def judge(place: Ground | None, one: Fault) -> Result:
    """Inject, run, judge."""
    began = time.monotonic()
    figures = Figures()
    exits, verdict, why = "", "handled", ""
    if one.body is None or place is None:
        exits = f"{len(one.tests)} test{'s' if len(one.tests) > 1 else ''}"
        bad = [test for test in one.tests if not passed(test)]
        if bad:
            verdict, why = "MISS", f"not passed: {', '.join(bad)}"
    else:
        place.figures = figures
        try:
            with place.fault(one.id):
                packages(place.lab.directory / "state", place.directory / "state")
                one.body(place)
        except Miss as miss:
            verdict, why = "MISS", str(miss)
        except Skip as skip:
            verdict, why = "skipped", f"missing: {skip}"
        except Exception as error:
            verdict, why = "MISS", f"the harness broke: {error!r}"
            traceback.print_exc()
        exits = ", ".join(f"{o.code} {o.error}".strip() for o in place.outcomes)
    return Result(
        one.id,
        one.sentence,
        one.how,
        exits,
        verdict,
        why,
        round(time.monotonic() - began, 1),
        datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        asdict(figures),
    )


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("ids", nargs="*")
    words.add_argument("--lab", default="faults")
    words.add_argument("--metadb", default="oceanbase", choices=("oceanbase", "mariadb"))
    words.add_argument("--board", action="store_true", help="run nothing, write what is known")
    words.add_argument("--keep", action="store_true", help="leave the lab running")
    words.add_argument("--work", type=Path, default=Path("/var/tmp/omsfab-faults"))
    given = words.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was injected is taken away
    if why := labs.missing():
        print(why, file=sys.stderr)
        return 3
    known = {one.id: one for one in matrix.load()}
    if unknown := [id for id in given.ids if id not in known]:
        words.error(f"no such fault: {', '.join(unknown)}")
    chosen = [known[id] for id in given.ids or known]
    if given.board:
        chosen = []
    kept = given.work / "results.json"
    results: dict[str, Result] = {}
    if kept.exists() and (given.ids or given.board):
        results = {r["id"]: Result(**r) for r in json.loads(kept.read_text())}
    given.work.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = None
    missed = 0
    try:
        for one in chosen:
            if one.body and place is None:
                place = ground(given.lab, given.metadb, given.work)
            print(f"{one.id}  {one.sentence} …", flush=True)
            result = results[one.id] = judge(place, one)
            missed += result.verdict == "MISS"
            kept.write_text(json.dumps([asdict(each) for each in results.values()], indent=1))
            print(
                f"{one.id}  {result.verdict}  [{result.exits}] {result.seconds} s  {result.why}\n"
            )
        if place:
            place.reset()
    finally:
        if place and not given.keep:
            labs.down(given.lab)
    everything = matrix.load()
    for one in everything:
        not_run = Result(one.id, one.sentence, one.how, "", "not run", "", 0)
        results.setdefault(one.id, not_run)
    text = board([results[one.id] for one in everything], given.metadb)
    if given.ids and not given.board:
        print(text.split("\n\n| fault", 1)[0])
    else:
        BOARD.write_text(text)
        print(f"wrote {BOARD.relative_to(ROOT)}")
    return int(missed > 0)


def board(results: list[Result], metadb: str) -> str:
    """docs/scoreboard.md."""
    count = {
        v: sum(r.verdict == v for r in results) for v in ("handled", "MISS", "skipped", "not run")
    }
    days = sorted({r.day for r in results if r.day})
    minutes = sum(r.seconds for r in results) / 60
    rows = "\n".join(
        f"| {r.id} | {r.sentence} | {r.how} | {r.exits} | "
        f"{'**MISS**' if r.verdict == 'MISS' else r.verdict} {_cell(r.why)}| {r.seconds:.0f} s |"
        for r in results
    )

    def figure(name: str) -> str:
        found = [text for r in results for text in r.figures.get(name, ())]
        return f"{len(found)}" + (f" ({'; '.join(found)})" if found else "")

    return f"""# Faults, and what omsfab did

Written by `scripts/faults`, {days[-1]}: {len(results) - count["not run"]} faults in {minutes:.0f} minutes, on a lab
of three servers with real sshd, dockerd and {metadb}. Do not edit; run it again. `scripts/faults ID`
repeats single ones, and a result is kept until then: they may come from several commits.

**{count["handled"]} handled · {count["MISS"]} missed · {count["skipped"]} skipped · {count["not run"]} not run**

| figure | wanted | seen |
|---|---|---|
| rows in no table and in no verified backup | 0 | {figure("lost")} |
| overlapping initialisations | 0 | {figure("overlaps")} |
| surplus initialisations | 0 | {figure("surplus")} |
| exit 0 though OMS is not as wanted | 0 | {figure("false_success")} |
| secrets outside config.yaml and row backups | 0 | {figure("secrets")} |

*Handled*: exit status, error id, the state of rows, files, containers, programs and counters are as
specified, asked past omsfab; where an error names a `next:` line, it was pasted and did what it says.
*By tests*: shown by tests with a real sshd or MetaDB, which this run has executed.

| fault | what happens | injected how | exit status, error | verdict | took |
|---|---|---|---|---|---|
{rows}
"""


def _cell(text: str) -> str:
    return (text.replace("\n", " ").replace("|", "/")[:300] + " ") if text else ""


if __name__ == "__main__":
    sys.exit(main())
