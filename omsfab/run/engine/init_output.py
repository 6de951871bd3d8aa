"""What docker_init.sh says, line by line, and what it means in the end.  Pure.

Texts: OMS CE documentation, deployment and scale-out pages, Chinese (live output) and English.
From 4.0.0 on the documents have the closing sentence only, not the line that it stands on.
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from dataclasses import dataclass

from omsfab.errors import Mismatch, OmsfabError, StepFailed

SENTENCES = re.compile(
    r"(?:[\[【(<]\s*(?:结束|完成|completed?|end)\s*[\]】)>]\s*)?"
    r"(?:全部初始化步骤执行成功|all initialization steps are executed(?: successfully)?)",
    re.IGNORECASE,
)
"""The closing sentence; what stands around it is judged apart."""

LEVEL = re.compile(r"\b(?:info|notice|debug|warn|warning)$", re.IGNORECASE)

OTHERWISE = re.compile(
    r"\b(?:not|no|never|until|wait|waiting|expect\w*|before|if|when|error|fail\w*)\b|未|没|等待",
    re.IGNORECASE,
)
"""Words before the sentence that say something else of it."""

SUFFIX = re.compile(
    r"(?:[\W\d_]|(?:cost|costs|took|time|in|elapsed|total|ms|s|sec|secs|seconds|min|minutes)\b"
    r"|耗时|用时|总|共|毫秒|秒|分钟|分)*",
    re.IGNORECASE,
)

QUOTED = re.compile(r"""["'`$\\]|\b(?:echo|printf|say|cat|grep)\b""")
"""Signs of a command line: a script's own text that is shown, by `set -x` or `set -v`, say."""

ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[()][0-9A-B]|\x1b\][^\x07]*\x07")
STEP = re.compile(r"(?:【步骤([一二三四五])】|\[step ?([1-5])\])\s*(.*)", re.IGNORECASE)
TRACE = re.compile(r"\++\s*\S*[A-Za-z_'\"]")
"""``set -x`` shows what will be said, also where it is never said."""

FAILED = "init failed!"
TRACEBACK = "Traceback (most recent call last)"

LAST = 20
LONG = 500
"""Characters of a last line that are told: a bar of progress may be one line of megabytes."""


def is_banner(line: str) -> bool:
    """True if the line is the closing sentence, with whatever signs around it, and no command."""
    text = unicodedata.normalize("NFKC", line)
    found = SENTENCES.search(text) or SENTENCES.search(re.sub(r"(?<=[^\x00-\x7f])\s+", "", text))
    return found is not None and _alone(found)


def is_said(line: str, sentence: str) -> bool:
    """True if the line is this sentence, likewise."""
    found = re.search(re.escape(sentence), unicodedata.normalize("NFKC", line), re.IGNORECASE)
    return found is not None and _alone(found)


def _alone(found: re.Match[str]) -> bool:
    before, after = found.string[: found.start()], found.string[found.end() :]
    if TRACE.match(before.lstrip()) or QUOTED.search(before) or QUOTED.search(after):
        return False
    return _is_prefix(before.rstrip()) and bool(SUFFIX.fullmatch(after))


def _is_prefix(text: str) -> bool:
    """Signs and digits, or a log's prefix: it ends with a sign or its level, and denies nothing."""
    if not any(sign.isalpha() for sign in text):
        return True
    ends = not text[-1].isalnum() or LEVEL.search(text)
    return bool(ends) and not OTHERWISE.search(text)


class Reading:
    """Everything that matters of the output so far; fed with one line after the other."""

    def __init__(self) -> None:
        self.step = 0
        self.title = ""
        self.banner = False
        self.traceback = False
        self.failed = ""
        """What it says of its own failure: `init failed!`, or a traceback after the banner."""
        self.last: deque[str] = deque(maxlen=LAST)

    def line(self, text: str, shown: str) -> bool:
        """Take the line in; True if a new step begins with it.

        ``shown`` is what may be told of it: a secret that is a word of the banner must not hide it.
        """
        before = self.step
        text = ANSI.sub("", text)
        for part in text.split("\r"):
            said = part.strip(" \t\ufeff\u3000#")
            if said:
                self._say(said)
        if shown.strip(" -#=*\r"):  # frames say nothing
            self.last.append(ANSI.sub("", shown).rstrip().rpartition("\r")[2][-LONG:])
        return self.step != before

    def _say(self, said: str) -> None:
        if is_banner(said):
            self.banner = True
        elif TRACE.match(said):
            return
        elif FAILED in said.lower() and not QUOTED.search(said):
            self.failed = FAILED
        elif TRACEBACK in said:
            self.traceback = True
            if self.banner:
                self.failed = self.failed or "a Python traceback after its banner"
        if step := STEP.match(said):
            chinese, digit, self.title = step.groups()
            self.step = int(digit) if digit else "一二三四五".index(chinese) + 1


@dataclass(frozen=True, slots=True)
class Well:
    """It ended well, as far as it tells itself; ``warning`` is what an operator should know."""

    note: str
    warning: str = ""


def verdict(
    status: int | None, reading: Reading, *, flag: bool, script: str, node: str, log: str
) -> Well | OmsfabError:
    """Return what came of it, by what it said and left.

    Success is the banner, or a fresh flag file, and no `init failed!` and no traceback after it;
    that MetaDB agrees is asked afterwards.  The exit status is not reliable in either direction
    (vendor's own code), so it is told.  ``status`` is None where nobody wrote it down.
    """
    tail = "\n".join((f"{node}:{log}", *reading.last))
    proof = ""
    if reading.banner:
        proof = "its banner"
    elif flag and not reading.traceback:
        proof = "a fresh flag file"
    ended = _ended(status)
    if reading.failed:
        error: OmsfabError = StepFailed(
            "INIT-011",
            f"{script} failed in step {reading.step or '?'} of 5, {ended}; it says"
            f" `{reading.failed}`",
            where=node, evidence=tail,
        )  # fmt: skip
        error.proven = True
        return error
    if proof:
        seen = f"{script} ended with {proof}"
        if status != 0:
            return Well(seen, f"{script} ended {ended} although it had ended with {proof}")
        return Well(seen, "" if reading.banner else f"{script} ended with {proof} and no banner")
    return _without_proof(status, reading, script, node, tail)


def _ended(status: int | None) -> str:
    if status is None:
        return "without an exit status"
    return f"by signal {status - 128}" if status > 128 else f"with status {status}"


def _without_proof(
    status: int | None, reading: Reading, script: str, node: str, tail: str
) -> OmsfabError:
    """It has shown neither banner nor flag file, and has not said that it failed."""
    if status is None or status > 128:
        lost = " or with its container: it left no exit status" if status is None else ""
        return StepFailed(
            "INIT-012",
            f"{script} ended by signal{lost or f' {(status or 0) - 128}'}",
            where=node, evidence=tail,
        )  # fmt: skip
    if status:
        return StepFailed(
            "INIT-011",
            f"{script} failed in step {reading.step or '?'} of 5 with status {status}; no"
            f" `{FAILED}` was seen",
            where=node, evidence=tail,
        )  # fmt: skip
    return Mismatch(
        "INIT-015",
        f"{script} exited 0 without completion banner",
        where=node, evidence=tail,
    )  # fmt: skip
