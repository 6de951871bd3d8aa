"""The ways of a figure, run in turn; and the results, kept so that parts of two days meet."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from tests.bench import figures, rivals
from tests.bench.figures import FIGURES, Result

ROOT = Path(__file__).parents[2]

Way = Callable[[], float]
"""Does it once and returns the seconds it took."""


def timed(call: Callable[[], object]) -> Way:
    """Return a way that takes the time of the whole call."""

    def way() -> float:
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    return way


def process(
    *words: str, cwd: Path = ROOT, ok: tuple[int, ...] = (0,), stdin: Path | None = None, **env: str
) -> Way:
    """Return a way that takes the time of a process; it must end with one of these statuses."""

    def call() -> None:
        with (stdin or Path(os.devnull)).open("rb") as data:
            done = subprocess.run(
                words, cwd=cwd, env={**os.environ, **env}, stdin=data,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
        if done.returncode not in ok:
            said = done.stdout.decode("utf-8", "replace")
            raise RuntimeError(f"{words[0]} ended with {done.returncode}: {said[-1500:]}")

    return timed(call)


def take(
    id: str,
    ways: Mapping[str, Way | rivals.Missing],
    rounds: int,
    before: Callable[[], object] = lambda: None,
) -> Result:
    """Run the ways in turn, each round beginning with the next one; print and keep the result.

    ``before`` comes before each way and is not counted.  A rival that fails is missing from then
    on; omsfab has to work.
    """
    times: dict[str, list[float]] = {}
    missing = {name: str(way) for name, way in ways.items() if isinstance(way, rivals.Missing)}
    can = {name: way for name, way in ways.items() if not isinstance(way, rivals.Missing)}
    for number in range(rounds):
        names = list(can)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            before()
            try:
                took = can[name]()
                times.setdefault(name, []).append(took)
                print(f"{id} {number + 1}/{rounds} {name}: {figures.seconds(took)}", flush=True)
            except Exception as error:
                if name == figures.OURS:
                    raise
                print(f"{name} failed: {error}", flush=True)
                missing[name] = "it failed here"
                can.pop(name)
                times.pop(name, None)
    return keep(id, times, missing)


def keep(id: str, ways: Mapping[str, list[float]], missing: Mapping[str, str]) -> Result:
    """Print a result, and keep it for docs/speed.md."""
    when = time.strftime("%Y-%m-%d %H:%M")
    result = Result(id, when, commit(), machine(), ways, missing)
    path = rivals.home() / "results" / f"{id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(result), indent=1) + "\n")
    figure = next(one for one in FIGURES if one.id == id)
    print("", *figures.told(figure, result), sep="\n", flush=True)
    return result


def kept() -> dict[str, Result]:
    """Return what was kept last of each figure."""
    paths = sorted((rivals.home() / "results").glob("*.json"))
    return {path.stem: Result.of(json.loads(path.read_text())) for path in paths}


def commit() -> str:
    words = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def machine() -> dict[str, str]:
    """Return what the figures depend on."""
    ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cores": f"{os.cpu_count()} cores {names[0] if names else platform.machine()}",
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "ssh": ssh.partition(",")[0].strip(),
        "python": f"Python {platform.python_version()}",
    }


def rival(make: Callable[[], Way]) -> Way | rivals.Missing:
    """Return the way that is made, or why there is none."""
    try:
        return make()
    except rivals.Missing as reason:
        return reason


@contextmanager
def told(part: str) -> Iterator[None]:
    """Say which part runs, and how long it took."""
    began = time.monotonic()
    print(f"\n== {part}", flush=True)
    yield
    print(f"\n== {part}: {time.monotonic() - began:.0f} s", flush=True)
