"""What docker_init.sh says, line by line, and what it means in the end.  Pure.

Texts: OMS CE documentation, deployment and scale-out pages, Chinese (live output) and English.
"""

from __future__ import annotations

import re
from collections import deque

from omsfab.errors import Mismatch, OmsfabError, StepFailed

BANNERS = ("【结束】全部初始化步骤执行成功", "[completed] all initialization steps are executed")

ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[()][0-9A-B]|\x1b\][^\x07]*\x07")
STEP = re.compile(r"(?:【步骤([一二三四五])】|\[step ?([1-5])\])\s*(.*)", re.IGNORECASE)
TRACE = re.compile(r"\++ ")
"""``set -x`` shows what will be said, also where it is never said."""

LAST = 20
LONG = 500
"""Characters of a last line that are told: a bar of progress may be one line of megabytes."""


class Reading:
    """Everything that matters of the output so far; fed with one line after the other."""

    def __init__(self) -> None:
        self.step = 0
        self.title = ""
        self.banner = False
        self.failed = False
        self.last: deque[str] = deque(maxlen=LAST)

    def line(self, text: str, shown: str) -> bool:
        """Take the line in; True if a new step begins with it.

        ``shown`` is what may be told of it: a secret that is a word of the banner must not hide it.
        """
        before = self.step
        text = ANSI.sub("", text)
        for part in text.split("\r"):
            said = part.strip(" \t\ufeff\u3000#")
            if said and not TRACE.match(said):
                self._say(said)
        if shown.strip():
            self.last.append(ANSI.sub("", shown).rstrip().rpartition("\r")[2][-LONG:])
        return self.step != before

    def _say(self, said: str) -> None:
        plain = said.lower()
        self.banner = self.banner or plain.removesuffix(".").rstrip() in BANNERS
        self.failed = self.failed or "init failed!" in plain
        if step := STEP.match(said):
            chinese, digit, self.title = step.groups()
            self.step = int(digit) if digit else "一二三四五".index(chinese) + 1


def verdict(
    status: int, reading: Reading, *, script: str, node: str, log: str
) -> str | OmsfabError:
    """Return the sentence of success, or the error.

    Success is exit status 0, and the banner as a whole line, and no ``init failed!``: a status of 0
    alone says nothing, and a banner does not make up for another status.
    """
    tail = "\n".join((f"{node}:{log}", *reading.last))
    if status > 128:
        return StepFailed(
            "INIT-012",
            f"{script} ended by signal {status - 128}",
            where=node, evidence=tail,
        )  # fmt: skip
    if status or reading.failed:
        said = "it says `init failed!`" if reading.failed else "no `init failed!` was seen"
        return StepFailed(
            "INIT-011",
            f"{script} failed in step {reading.step or '?'} of 5 with status {status}; {said}",
            where=node, evidence=tail,
        )  # fmt: skip
    if not reading.banner:
        return Mismatch(
            "INIT-015",
            f"{script} exited 0 without completion banner",
            where=node, evidence=tail,
        )  # fmt: skip
    return f"{script} ended with 0 and its banner"
