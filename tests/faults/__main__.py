"""scripts/faults [ID …]: run the matrix, or the faults named, and write docs/scoreboard.md."""

from __future__ import annotations

import argparse
import functools
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from omsfab import lab as labs
from omsfab.lab import demo, profiles
from omsfab.lab.profiles import DEFAULT, PROFILES, QUICK
from tests.faults import harness as limits
from tests.faults import matrix
from tests.faults.harness import ROOT, Figures, Harness, Miss, Skip, packages
from tests.faults.matrix import Fault

BOARD = ROOT / "docs" / "scoreboard.md"
ENGINES = ("oceanbase", "mariadb")
OTHERS = tuple(name for name in PROFILES if name != DEFAULT)
KEPT = ROOT / "tests" / "faults" / "verdicts.jsonl"
"""The newest verdict of each fault, MetaDB and profile: what the board is made of, on any machine."""


@dataclass
class Result:
    id: str
    metadb: str
    exits: str
    verdict: str
    why: str
    seconds: float
    when: str = ""
    commit: str = ""
    profile: str = DEFAULT
    figures: dict[str, Any] = field(default_factory=dict)


def harness(name: str, metadb: str, profile: str, work: Path) -> Harness:
    """A lab with OMS of this profile deployed on its first node."""
    lab = demo.up(name, 3, metadb, bare=False, profile=profile, start_secs=QUICK)
    return Harness(lab, work)


@functools.cache
def outcomes(tests: frozenset[str]) -> dict[str, set[str]]:
    """Test -> what pytest says of it and of each of its parameters; all in one go."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=no", "-rA", *sorted(tests)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found: dict[str, set[str]] = {}
    for word, test in re.findall(r"^(PASSED|FAILED|ERROR|SKIPPED) (\S+)", done.stdout, re.M):
        for known in (test, test.partition("[")[0], test.partition("::")[0]):
            found.setdefault(known, set()).add(word)
    return found


def judge(
    place: Harness | None, one: Fault, metadb: str, profile: str, tests: frozenset[str]
) -> Result:
    """Inject, run, judge; ``tests`` are those of all faults to be judged."""
    began = time.monotonic()
    figures = Figures()
    exits, verdict, why = "", "handled", ""
    if one.body is None or place is None:
        exits = f"{len(one.tests)} test{'s' if len(one.tests) > 1 else ''}"
        bad = [test for test in one.tests if outcomes(tests).get(test) != {"PASSED"}]
        if bad:
            verdict, why = "MISS", f"not passed: {', '.join(bad)}"
    else:
        place.figures = figures
        try:
            with place.fault(one.id):
                packages(place.lab.directory / "state", place.directory / "state")
                one.body(place)
                if place.follows:
                    place.follow_the_last()
                place.again()
        except Miss as miss:
            verdict, why = "MISS", str(miss)
        except Skip as skip:
            verdict, why = "skipped", f"missing: {skip}"
        except Exception as error:
            verdict, why = "MISS", f"the harness broke: {error!r}"
            traceback.print_exc()
        exits = ", ".join(f"{o.code} {o.error}".strip() for o in place.outcomes)
    if verdict == "handled" and one.id in matrix.LESS:
        verdict, why = "partly", matrix.LESS[one.id]
    return Result(
        one.id,
        metadb,
        exits,
        verdict,
        why,
        round(time.monotonic() - began, 1),
        datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        commit(),
        profile,
        asdict(figures),
    )


@functools.cache
def commit() -> str:
    """The commit, with a mark if something else than the board itself was changed since."""
    named = subprocess.run(
        ["git", "describe", "--always"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    own = [f":!{path.relative_to(ROOT)}" for path in (BOARD, KEPT)]
    same = ["git", "diff", "--quiet", "HEAD", "--", ".", *own]
    changed = subprocess.run(same, cwd=ROOT, capture_output=True, check=False).returncode
    return named.stdout.strip() + "-dirty" * bool(changed)


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("ids", nargs="*")
    words.add_argument("--lab", default="faults")
    words.add_argument("--labs", type=int, default=1, help="so many labs side by side")
    words.add_argument("--metadb", default="oceanbase", choices=ENGINES)
    words.add_argument(
        "--profile", default=profiles.chosen().name, choices=PROFILES, help="the OMS of the image"
    )
    words.add_argument("--board", action="store_true", help="run nothing, write what is known")
    words.add_argument("--follow", action="store_true", help="refused: then do what it says")
    words.add_argument("--keep", action="store_true", help="leave the lab running")
    words.add_argument("--claims", type=Path, help=argparse.SUPPRESS)
    words.add_argument("--work", type=Path, default=Path("/var/tmp/omsfab-faults"))
    given = words.parse_args()
    # A shell that begins this in the background has SIGINT ignored, and fab would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was injected is taken away
    if why := labs.missing():
        print(why, file=sys.stderr)
        return 3
    known = {one.id: one for one in matrix.load()}
    if unknown := [id for id in given.ids if id not in known]:
        words.error(f"no such fault: {', '.join(unknown)}")
    given.work.mkdir(parents=True, exist_ok=True, mode=0o700)
    default = known.values()
    if given.metadb != ENGINES[0]:
        default = filter(matrix.metadb_is_involved, known.values())
    if given.profile != DEFAULT:
        apart = apart_from_the_image(results(given.work))
        default = [one for one in known.values() if one.body and one.id not in apart]
    chosen = [known[id] for id in given.ids] or list(default)
    if given.board:
        return write(given.work)
    missed = side_by_side(given, chosen) if given.labs > 1 else one_lab(given, chosen)
    if given.ids:
        if not given.claims:
            print(board(results(given.work)).split("\n\n| fault", 1)[0])
    else:
        write(given.work)
    return int(missed > 0)


def apart_from_the_image(found: Sequence[Result]) -> set[str]:
    """The faults that say nothing about OMS: no run of omsfab reached a container."""
    of = [r for r in found if r.profile == DEFAULT and "reached" in r.figures]
    reached = {r.id for r in of if r.figures["reached"]}
    return {r.id for r in of if r.verdict == "handled" and r.exits} - reached


def free(given: argparse.Namespace, chosen: Iterable[Fault]) -> Iterable[Fault]:
    """The faults that no other lab of this call has taken, each as its turn comes."""
    for one in chosen:
        if given.claims:
            try:
                (given.claims / one.id).touch(exist_ok=False)
            except FileExistsError:
                continue
        yield one


def side_by_side(given: argparse.Namespace, chosen: Sequence[Fault]) -> int:
    """Each lab, in a process of its own, takes the next fault; the longest come first, and what
    tests show comes behind."""
    took = {r.id: r.seconds for r in results(given.work) if r.metadb == given.metadb}
    to_inject = [one for one in chosen if one.body]
    to_inject.sort(key=lambda one: -took.get(one.id, 0))
    claims = Path(tempfile.mkdtemp(prefix="claims-", dir=given.work))
    workers = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.faults", f"--lab={given.lab}{number}"),
                *(f"--metadb={given.metadb}", f"--work={given.work / str(number)}"),
                *(f"--profile={given.profile}", f"--claims={claims}"),
                *(["--follow"] if given.follow else []),
                *(one.id for one in to_inject),
            ],
            cwd=ROOT,
        )
        for number in range(given.labs)
    ]
    missed = sum(worker.wait() for worker in workers)
    shutil.rmtree(claims)
    return missed + one_lab(given, [one for one in chosen if one not in to_inject])


def one_lab(given: argparse.Namespace, chosen: Sequence[Fault]) -> int:
    kept = given.work / "results.json"
    known = {(r.id, r.metadb, r.profile): r for r in read(kept)}
    tests = frozenset(test for one in chosen for test in one.tests)
    place = None
    missed = 0
    try:
        for one in free(given, chosen):
            if one.body and place is None:
                place = harness(given.lab, given.metadb, given.profile, given.work)
                place.follows = given.follow
            print(f"{one.id}  {one.sentence} …", flush=True)
            result = judge(place, one, given.metadb, given.profile, tests)
            known[one.id, given.metadb, given.profile] = result
            missed += result.verdict == "MISS"
            kept.write_text(json.dumps([asdict(each) for each in known.values()], indent=1))
            spent = ", ".join(f"{on} {s:g}" for on, s in result.figures["spent"].items())
            print(
                f"{one.id}  {result.verdict}  [{result.exits}] {result.seconds} s"
                f"{f' ({spent})' if spent else ''}  {result.why}\n",
                flush=True,
            )
        if place:
            place.reset()
    finally:
        if place and not given.keep:
            labs.down(given.lab)
    return missed


# --- the board -----------------------------------------------------------------------------------


def read(path: Path) -> Iterable[Result]:
    return [Result(**r) for r in json.loads(path.read_text())] if path.exists() else []


def results(work: Path) -> list[Result]:
    """What all labs have found, the newest of each fault, engine and profile."""
    found = [Result(**json.loads(line)) for line in KEPT.read_text().splitlines()]
    found += [r for path in work.glob("**/results.json") for r in read(path)]
    found.sort(key=lambda r: r.when)
    newest = {(r.id, r.metadb, r.profile): r for r in found}
    return sorted(newest.values(), key=lambda r: r.when)


def write(work: Path) -> int:
    found = results(work)
    for result in found:
        result.why = _cell(result.why)
        result.figures.pop("spent", None)  # where the seconds went is of the machine alone
    lines = sorted(json.dumps(asdict(result), ensure_ascii=False) for result in found)
    KEPT.write_text("".join(line + "\n" for line in lines))
    BOARD.write_text(board(found))
    print(f"wrote {BOARD.relative_to(ROOT)} and {KEPT.relative_to(ROOT)}")
    return 0


@dataclass
class Entry:
    """A fault, what each engine saw of it on the default profile, and the other profiles."""

    fault: Fault
    by: dict[str, Result]
    on: dict[str, Result]

    @property
    def first(self) -> Result | None:
        return self.by.get(ENGINES[0])

    @property
    def verdict(self) -> str:
        """The worst of engines and profiles; the first engine is always asked."""
        found = [result.verdict for result in (*self.by.values(), *self.on.values())]
        order = ("MISS", "skipped", "partly", "handled")
        return min(found, key=order.index) if self.first else "not run"


def entry(one: Fault, found: Sequence[Result]) -> Entry:
    of = [r for r in found if r.id == one.id]
    return Entry(
        one,
        {r.metadb: r for r in of if r.profile == DEFAULT},
        {r.profile: r for r in of if r.profile in OTHERS},  # the newest, whatever its MetaDB
    )


def board(found: Sequence[Result]) -> str:
    """docs/scoreboard.md."""
    entries = [entry(one, found) for one in matrix.load()]
    specified = {
        id: [entry for entry in entries if entry.fault.of == id] for id in matrix.SPECIFIED
    }
    whole = [id for id, of in specified.items() if of and all(e.verdict == "handled" for e in of)]
    lacking = {id: _lacking(of) for id, of in specified.items() if id not in whole}
    rest = "\n".join(f"- {id}: {text}" for id, text in lacking.items() if text)
    verdicts = ("handled", "partly", "MISS", "skipped", "not run")
    count = {v: sum(e.verdict == v for e in entries) for v in verdicts}
    by_tests = [e for e in entries if e.fault.tests]
    shown = sum(bool(e.by) for e in by_tests)
    minutes = sum(r.seconds for r in found) / 60
    both = sum(len(e.by) > 1 for e in entries)
    days = sorted({r.when[:10] for r in found}) or ["never"]
    commits = ", ".join(_commits(found))
    not_run = [entry for entry in entries if entry.verdict == "not run"]
    return f"""# Faults, and what omsfab did

Written by `scripts/faults`, {days[-1]}, at commit {commits}: {sum(bool(r.profile) for r in found)} verdicts in {minutes:.0f} minutes
of labs, each of three servers with real sshd, dockerd and MetaDB (the table by profile says which); {both} faults of the MetaDB on both.
The rows below name the commit of each verdict that is not of the newest, {(_commits(found) or ["none"])[-1]}.
Do not edit; run it again. `scripts/faults ID` repeats single ones; `scripts/faults --board` writes what is known.

**{len(whole)} of {len(specified)} faults of the specification are handled as specified.**
All entries, those of our own too: {", ".join(f"{count[v]} {v}" for v in verdicts if count[v])}.

{f"Not, or not wholly:{chr(10)}{chr(10)}{rest}{chr(10)}" if rest else ""}{_untold(not_run)}
| figure | wanted | seen |
|---|---|---|
{_figures(found)}

## By profile

The image stands in for one of these versions of OMS, read at its strictest (omsfab/lab/profiles.py has the
evidence of each).  The whole matrix runs on {DEFAULT}, which is also what the tests have.

A fault in which no run of omsfab reached a container (docker of every node was asked what it had done
meanwhile), and what tests show without a lab, says nothing of the image and is run on {DEFAULT} alone.

| OMS | MetaDB | run | handled | partly | MISS | skipped | apart from the image | {" | ".join(COUNTED.values())} |
|---|---|---|---|---|---|---|---|{"---|" * len(COUNTED)}
{_profiles(found)}

## Every fault

*Handled*: exit status, error id, the state of rows, files, containers, programs and counters are as
specified, asked past omsfab; where an error names a `next:` line, it was pasted and did what it says; after
each run that ended well a second one is made. *Partly*: less than is specified, on purpose, for the reason given.
*By tests* ({len(by_tests)}): shown by the tests named there with a real sshd or MetaDB; those of {shown} were executed for this board.

| fault | what happens | injected how | exit status, error | OceanBase | MariaDB | {" | ".join(OTHERS)} | took |
|---|---|---|---|---|---|{"---|" * len(OTHERS)}---|
{chr(10).join(_row(entry, (_commits(found) or [""])[-1]) for entry in entries)}
"""


def _lacking(of: Sequence[Entry]) -> str:
    if not of:
        return "no entry"
    return "; ".join(
        f"{e.fault.id} {e.verdict} {_cell(next((r.why for r in e.by.values() if r.why), ''))}".strip()
        for e in of
        if e.verdict not in ("handled", "not run")
    )


def _commits(found: Sequence[Result]) -> list[str]:
    """In the order in which they were run."""
    return list(dict.fromkeys(r.commit for r in sorted(found, key=lambda r: r.when) if r.commit))


def _untold(entries: Sequence[Entry]) -> str:
    if not entries:
        return ""
    names = " ".join(e.fault.id for e in entries)
    return f"\nNot run ({len(entries)}):\n{names}\n"


COUNTED = {
    "lost": "rows in no table and in no verified backup",
    "overlaps": "overlapping initialisations",
    "surplus": "surplus initialisations",
    "false_success": "exit 0 though OMS is not as wanted",
    "secrets": "secrets outside config.yaml and row backups",
    "no_way_back": "runs that end with 9",
}
MEASURED = {
    limits.DETECTED: 45,
    limits.SECOND: 0,
    limits.RESENT: 8,
    limits.MEMORY: 150,
    limits.STOPPED: 20,
}


def _figures(found: Sequence[Result]) -> str:
    rows = []
    for name, title in COUNTED.items():
        seen = [text for r in found for text in r.figures.get(name, ())]
        rows.append(
            f"| {title} | 0 | {len(seen)}" + (f" ({_cell('; '.join(seen))})" if seen else "") + " |"
        )
    for title, most in MEASURED.items():
        values = [r.figures.get("measured", {}).get(title) for r in found]
        seen = [value for value in values if value is not None]
        at_most = "at most " if most else ""
        # An earlier board's verdicts came over without their figures: its sums stand in one record.
        count = sum(
            r.figures.get("of", {}).get(title, 1)
            for r in found
            if title in r.figures.get("measured", {})
        )
        worst = f"{max(seen):g} in {count} faults" if seen else "not measured"
        rows.append(f"| {title} | {at_most}{most} | {worst} |")
    return "\n".join(rows)


def _profiles(found: Sequence[Result]) -> str:
    """A row for each profile and MetaDB: verdicts, and what must stay 0."""
    rows = []
    apart = apart_from_the_image(found)
    for profile in (DEFAULT, *OTHERS):
        engines = sorted({r.metadb for r in found if r.profile == profile}, key=ENGINES.index)
        if not engines:
            rows.append(f"| {profile} | not run |{' |' * (6 + len(COUNTED))}")
        for engine in engines:
            of = [r for r in found if (r.profile, r.metadb) == (profile, engine)]
            verdicts = [
                sum(r.verdict == v for r in of) for v in ("handled", "partly", "MISS", "skipped")
            ]
            rest = len(apart) if (profile, engine) == (DEFAULT, ENGINES[0]) else ""
            seen = [sum(len(r.figures.get(name, ())) for r in of) for name in COUNTED]
            numbers = " | ".join(map(str, (engine, len(of), *verdicts, rest, *seen)))
            rows.append(f"| {profile} | {numbers} |")
    return "\n".join(rows)


def _row(entry: Entry, newest: str) -> str:
    one, first = entry.fault, entry.first
    cells = []
    for engine in ENGINES:
        result = entry.by.get(engine)
        if result is None:
            cells.append("not run" if engine == ENGINES[0] else "")
        else:
            cells.append(_verdict(result, newest))
    for profile in OTHERS:
        result = entry.on.get(profile)
        cells.append(_verdict(result, newest) if result else "")
    exits = first.exits if first else ""
    took = sum(result.seconds for result in (*entry.by.values(), *entry.on.values()))
    return (
        f"| {one.id} | {one.sentence} | {one.how} | {exits} | {' | '.join(cells)} | {took:.0f} s |"
    )


def _verdict(result: Result, newest: str) -> str:
    said = "**MISS**" if result.verdict == "MISS" else result.verdict
    said += f" ({result.commit})" * (result.commit != newest)
    return f"{said} {_cell(result.why)}".strip()


def _cell(text: str) -> str:
    text = re.sub(r"/(var|tmp|root|home)/\S*/", "…/", text)  # places of whoever ran it
    return text.replace("\n", " ").replace("|", "/")[:300].strip()


if __name__ == "__main__":
    sys.exit(main())
