"""``scripts/simulate``: go on with the search, replay a schedule, or take guards out and search."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tests.simulation import guards
from tests.simulation.shrink import shrunk
from tests.simulation.simulate import SCENARIOS, Schedule, aim, drawn, focused, never, pairs, run

STATE = Path(__file__).parent / ".progress.json"
PART = 50
REACH = 60_000
"""Seeds among which those are looked for that aim at what was not met yet."""


def look(seed: int) -> tuple[int, list[str], str, list[tuple[str, str]], int]:
    found = run(drawn(seed))
    return seed, found.broken, found.kind, sorted(found.covered), found.events


def every_pair() -> set[tuple[str, str]]:
    """Each step of any scenario with each fault."""
    return {pair for scenario in SCENARIOS for pair in pairs(scenario)}


def chosen_from(first: int, covered: Collection[tuple[str, str]], count: int) -> list[int]:
    """So many seeds from the first on: those that aim at a pair which was not met yet, as long as
    some are within reach; else one after the other."""
    window = range(first, first + REACH)
    holes: dict[tuple[str, str], int] = {}
    for seed in window:
        pair = aim(seed)[1][0]
        if pair not in covered and pair not in holes:
            holes[pair] = seed
            if len(holes) == count:
                break
    return [*holes.values()] or [*window[:count]]


def search(count: int, first: int | None, jobs: int) -> int:
    """Go on where the last search ended; keep what was found."""
    state: dict[str, Any] = {"next": 0, "schedules": 0, "events": 0, "found": {}, "covered": {}}
    if first is None and STATE.exists():
        state = json.loads(STATE.read_text())
    elif first is not None:
        state["next"] = first
    covered = Counter({tuple(key.split("|")): n for key, n in state["covered"].items()})
    began = time.monotonic()
    done = 0
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        while done < count:
            part = chosen_from(state["next"], covered, min(PART * jobs, count - done))
            for seed, broken, kind, struck, events in pool.imap_unordered(look, part, chunksize=5):
                covered.update(struck)
                state["events"] += events
                if broken:
                    seeds = state["found"].setdefault(kind, [])
                    if not seeds:
                        print(f"seed {seed}: {broken[0]}", flush=True)
                    seeds.append(seed)
            done += len(part)
            state["next"] = max(part) + 1
            state["schedules"] += len(part)
            state["covered"] = {"|".join(pair): n for pair, n in covered.items()}
            STATE.write_text(json.dumps(state, indent=1, sort_keys=True))
            took = time.monotonic() - began
            print(
                f"{state['schedules']} schedules (up to seed {state['next'] - 1}),"
                f" {done / took:.1f} a second, {len(covered)} pairs of step and fault,"
                f" {len(state['found'])} findings",
                flush=True,
            )
    tell(covered, state["found"])
    return int(bool(state["found"]))


def hunt(name: str, first: int, count: int) -> int:
    """Search by the focus of a guard until something is broken; print it as JSON."""
    (focus,) = (out.focus for out in guards.chosen([]) if out.guard.name == name)
    for seed in range(first, count):
        found = run(focused(seed, focus))
        if found.broken:
            print(json.dumps({"after": seed + 1, "broken": found.broken[0][:200]}))
            return 1
    print(json.dumps({"after": 0, "broken": ""}))
    return 0


def tell(covered: Counter[Any], found: dict[str, list[int]]) -> None:
    every = every_pair()
    steps, faults = sorted({step for step, _ in every}), sorted({fault for _, fault in every})
    there = len(every & covered.keys())
    reasons = Counter(why for one in set(SCENARIOS) for p, why in never(one).items()
                      if p not in every)  # fmt: skip
    print(
        f"\ncoverage: {len(steps)} steps, {len(faults)} faults, {there} of {len(every)} pairs met"
    )
    for why, many in reasons.most_common():
        print(f"  not counted, {many} times: {why}")
    for step in steps:
        lacking = [f for f in faults if (step, f) in every and (step, f) not in covered]
        met = sum(covered[step, fault] for fault in faults)
        print(f"  {step:<26} {met:6d} times, without: {', '.join(lacking) or 'none'}")
    for kind, seeds in sorted(found.items(), key=lambda pair: -len(pair[1])):
        print(f"FOUND {len(seeds)} times, first by seed {min(seeds)}: {kind}")


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=1000, help="how many schedules more")
    parser.add_argument("--seed", type=int, help="begin anew, at this seed")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--replay", help="a seed, or a file of the corpus: print its story")
    parser.add_argument("--shrink", action="store_true", help="as small as still breaks it")
    parser.add_argument("--guards", action="store_true", help="take each guard out, and search")
    parser.add_argument("--only", default="", help="with --guards: those with this in their name")
    parser.add_argument("--hunt", default="", help=argparse.SUPPRESS)
    chosen = parser.parse_args(words)
    if chosen.hunt:
        return hunt(chosen.hunt, chosen.seed or 0, chosen.count)
    if chosen.guards:
        return guards.main([chosen.only] if chosen.only else [], chosen.count)
    if chosen.replay:
        if chosen.replay.isdigit():
            schedule = drawn(int(chosen.replay))
        else:
            schedule = Schedule.of(json.loads(Path(chosen.replay).read_text())["schedule"])
        found = run(schedule)
        if chosen.shrink and found.broken:
            found = shrunk(found)
        print(found.told())
        return int(bool(found.broken))
    return search(chosen.count, chosen.seed, chosen.jobs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
