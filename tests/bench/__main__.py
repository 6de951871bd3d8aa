"""scripts/bench [PART …]: measure these parts, or all; --write makes docs/speed.md of the results.

Results are kept below $OMSFAB_BENCH or ~/.cache/omsfab-bench, so that parts may be measured at
different times: `scripts/bench job --rounds=5`, then `scripts/bench --write` without a part.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable

from tests.bench import figures, job, quick, sweep, turns, wire
from tests.bench.figures import FIGURES, PARTS

RUN: dict[str, tuple[Callable[[int], None], int]] = {
    "startup": (quick.startup, 11),
    "command": (wire.command, 7),
    "idle": (wire.idle, 3),
    "send": (wire.send, 5),
    "relay": (wire.relay, 3),
    "plan": (quick.plan, 5),
    "status": (sweep.status, 3),
    "job": (job.job, 3),
    "flood": (job.flood, 3),
}
"""Part -> what measures it in so many rounds, and how many there are unless said otherwise."""


def main() -> None:
    words = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    words.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    words.add_argument("--rounds", type=int, default=0, help="instead of each part's own number")
    words.add_argument("--write", action="store_true", help="write docs/speed.md")
    given = words.parse_args()
    if unknown := set(given.parts) - set(RUN):
        words.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    # A lab is taken down also where the bench is ended, or runs behind a shell that ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parts = given.parts or ([] if given.write else list(RUN))
    for part in parts:
        measure, rounds = RUN[part]
        with turns.told(part):
            measure(given.rounds or rounds)
    if given.write:
        (turns.ROOT / "docs" / "speed.md").write_text(figures.page(FIGURES, turns.kept()))
        print("docs/speed.md is written")


if __name__ == "__main__":
    main()
