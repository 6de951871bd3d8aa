"""What an error prints to be pasted, judged as an operator's shell and `fab` itself would.

For tests, the tour and the fault matrix.  Imports nothing of omsfab: tasks and flags are those of
`fab --help`.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FAB = Path(sys.executable).with_name("fab")
EDITOR = "${EDITOR:-vi}"


def _of(text: str) -> frozenset[str]:
    return frozenset(text.split())


PROGRAMS = _of(
    "chmod chown command cp curl date df docker export git install ls mv nc openssl read rmdir"
    " sha256sum ssh ssh-add ssh-keygen ulimit unset"
)
"""What else a line may call, on the operator's own machine."""

PROSE = _of("command date export git install read")
"""Those of them that an English sentence may begin with, too."""

LOOKS = _of(
    "fleet.show fleet.status fleet.check fleet.schema node.status node.logs node.check meta.show"
    " run.list run.show run.log run.report lock.show"
)
"""Tasks that only look: any error may send there."""

WORDS = _of("fleet.show fleet.check fleet.schema run.list run.show run.log meta.show lock.show")
"""The looks that tell which word would be right, where one of the line was wrong (exit 2)."""

WAYS = _of("run.resume run.undo run.abandon lock.break")
"""What is done about a run that is there."""

BEFORE: Mapping[str, frozenset[str]] = {
    "scale.out": _of(
        "oms.deploy tsdb.deploy tsdb.enable node.trust node.start node.stop node.restart"
    ),
    "oms.deploy": _of("scale.out tsdb.deploy tsdb.enable node.trust node.start node.restart"),
    "tsdb.deploy": _of("tsdb.enable oms.deploy node.trust"),
    "tsdb.enable": _of("tsdb.deploy oms.deploy scale.out node.trust node.restart"),
    "meta.save": _of("node.trust"),
    "meta.restore": _of("node.trust node.stop meta.save"),
    "node.restart": _of("node.trust node.start node.run"),
    "node.start": _of("node.trust node.run node.restart"),
    "node.refresh": _of("scale.out node.trust node.restart node.start"),
    "node.run": _of("scale.out node.trust node.start node.restart node.load-image"),
    "node.push-config": _of("scale.out node.trust node.restart"),
    "node.push-certs": _of("node.trust node.start node.restart node.run"),
    "node.initialise": _of("node.trust node.start node.restart node.run"),
}
"""Task -> the tasks that are steps before it, or the one that was meant; of any other task that is
node.trust alone."""

OF_A_RUN = _of(
    "RUN-020 RUN-026 RUN-034 PLAN-002 INIT-010 DB-030 DB-031 DB-033 LOCK-001 LOCK-002 JRN-002"
    " JRN-004 BUG-002 ENV-004 RUN-038"
)
"""Ids that speak of another run: only they may send to it although nothing was changed."""

OTHER_RUN = _of("RUN-020 RUN-026 RUN-029 RUN-034 RUN-038 INIT-010 DB-030 LOCK-002")
"""Ids of which the run that stands in the way is another one than was asked for."""

BY_HAND = _of("INPUT-023 INPUT-024 RUN-030 INIT-030")
"""Ids of which the operator himself is the cause: the same line again leads on."""

NEEDS: Mapping[str, str] = {
    "run.abandon": "run",
    "lock.break": "run",
    "meta.restore": "file",
    "node.exec": "command",
}
"""Tasks and the flag without which they do nothing; those of nodes want --node as well."""


@dataclass(frozen=True)
class Told:
    """The last error in an output: its parts as printed, each a tuple of lines."""

    id: str
    what: str
    parts: Mapping[str, tuple[str, ...]]

    def part(self, label: str) -> tuple[str, ...]:
        return self.parts.get(label, ())

    @property
    def cured(self) -> bool:
        """Whether something says what is to be done first."""
        return bool(self.part("fix")) or any(
            line.strip().startswith("fix:") for line in self.part("findings")
        )


def told(text: str) -> Told | None:
    """Return the last error of an output, or None."""
    found: Told | None = None
    label, parts = "", {}  # type: str, dict[str, list[str]]
    for line in text.splitlines():
        if head := re.match(r"([A-Z]+-\d{3})  (.*)", line):
            label, parts = "", {}
            found = Told(head[1], head[2], parts)  # type: ignore[arg-type]
        elif found and (part := re.match(r"  ([a-z]+): +(.*)", line)):
            label = part[1]
            parts[label] = [part[2]]
        elif found and label and line.startswith(" " * 12):
            parts[label].append(line[12:])
        else:
            label = ""
    return found and Told(found.id, found.what, {k: tuple(v) for k, v in parts.items()})


def faults(said: Told, asked: Sequence[str], code: int | None = None) -> list[str]:
    """Return what is wrong with the lines of an error; ``asked`` are the words behind `fab`,
    ``code`` the exit status."""
    wrong: list[str] = []
    lines = [*said.part("next"), *said.part("accept")]
    calls = [call for line in lines for call in called(line)]
    wrong += _astray(said, calls, asked, code)
    next_ = [call for line in said.part("next") for call in called(line)]
    again = [call for call in next_ if same(call, asked)]
    others = [line for line in said.part("next") if not any(same(c, asked) for c in called(line))]
    if again and not others and not said.cured and said.id not in BY_HAND:
        wrong.append(f"{' '.join(again[0])!r} is what was asked, and no fix: says what to do first")
    return [*unpasteable(said), *(f"{said.id}: {why}" for why in wrong)]


def unpasteable(said: Told) -> Iterator[str]:
    """Yield what is wrong with the lines of an error, whatever was asked."""
    for line in (*said.part("next"), *said.part("accept")):
        yield from (f"{said.id}: {line!r}: {why}" for why in unfit(line))
    for line in fixes(said):
        found = unfit(line) if pastes(line) else quoted(line)
        yield from (f"{said.id}: {line!r}: {why}" for why in found)


def judge(text: str, asked: Sequence[str], code: int | None = None) -> list[str]:
    """As ``faults``, of the last error of an output; nothing where there is none."""
    said = told(text)
    return faults(said, asked, code) if said else []


def fixes(said: Told) -> list[str]:
    """What the error and its findings say under ``fix:``, line by line."""
    found, inside = list(said.part("fix")), False
    for line in said.part("findings"):
        if match := re.match(r"\s*fix: +(.*)", line):
            found.append(match[1])
            inside = True
        elif inside and line.startswith(" " * 12):
            found.append(line.strip())
        else:
            inside = False
    return found


def pastes(line: str) -> bool:
    """Whether a line of ``fix:`` is one to paste: it begins with a program."""
    first = line.split(" ", 1)[0]
    return first in (PROGRAMS - PROSE) | {"fab", EDITOR}


# --- one line ------------------------------------------------------------------------------------


@functools.cache
def unfit(line: str) -> tuple[str, ...]:
    """Return why this cannot be pasted as it stands; nothing if it can."""
    said = subprocess.run(["bash", "-n", "-c", line], capture_output=True, text=True, check=False)
    if said.returncode:
        return (f"no shell reads it: {said.stderr.strip()}",)
    wrong = [f"unquoted {sign!r}" for sign in bare(line)]
    for words in commands(line):
        if words[0] == "fab":
            wrong += wrong_call(words[1:])
        elif words[0] not in PROGRAMS and words[0] != EDITOR:
            wrong.append(f"{words[0]} is no program that is known here")
        elif words[0] not in ("read", "export", "unset"):
            wrong += [f"{word!r} is a placeholder" for word in words[1:] if placeholder(word)]
        if words[0] == "ssh":
            there = subprocess.run(["bash", "-n", "-c", words[-1]], check=False)
            wrong += [f"no shell there reads {words[-1]!r}"] * bool(there.returncode)
    return (*wrong, *quoted(line.partition("   # ")[2]))


def quoted(prose: str) -> list[str]:
    """Return what is wrong with the tasks that a sentence names, e.g. ``look: fab meta.show``."""
    found = re.findall(r"\bfab ([a-z]+\.[a-z-]+)((?: --[a-z-]+(?:='[^']*'|=[^\s,;]*)?)*)", prose)
    return [why for task, flags in found for why in wrong_call([task, *shlex.split(flags)], said=1)]


QUOTED = re.compile(r"""\$'(?:\\.|[^'])*'|'[^']*'|"(?:\\.|[^"])*\"""")
SIGNS = re.compile(r"[$`\\*?\[\]{}<>|&;()!\n]|(?<=\s)~")


def bare(line: str) -> Iterator[str]:
    """Yield the signs that mean something to a shell and are not quoted, but for && and ; between
    commands, and the editor's name."""
    line = line.removeprefix(EDITOR)
    rest = re.split(r"\s#", QUOTED.sub("_", line))[0]
    for part in QUOTED.findall(line):
        if part.startswith('"'):
            yield from re.findall(r"(?<!\\)[$`]", part)
    yield from SIGNS.findall(re.sub(r" && |; ", " ", rest))


def commands(line: str) -> list[list[str]]:
    """The words of each command of a line, without its comment."""
    lexer = shlex.shlex(line.replace("$'", "'"), posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if word in ("&&", ";"):
            found.append([])
        else:
            found[-1].append(word)
    return [words for words in found if words]


def called(line: str) -> list[list[str]]:
    """The words behind each `fab` of a line that a shell reads."""
    try:
        return [words[1:] for words in commands(line) if words[0] == "fab"]
    except ValueError:
        return []


def placeholder(word: str) -> bool:
    """Whether somebody has to put something in its place: NODE, <run>, …"""
    value = word.partition("=")[2] if word.startswith("-") else word
    return bool(re.fullmatch(r"[A-Z][A-Z_]+", value)) or any(s in value for s in ("…", "...", "<"))


# --- tasks and flags, as fab tells them ----------------------------------------------------------


@functools.cache
def tasks() -> frozenset[str]:
    """The tasks of the tree."""
    return frozenset(re.findall(r"^  ([a-z]+\.[a-z-]+)", _fab("--list"), re.M))


@functools.cache
def flags(task: str) -> Mapping[str, bool]:
    """Long flag -> whether it takes a value."""
    found = re.findall(r"--([a-z-]+)(=STRING|=INT)?", _fab("--help", task).partition("Options:")[2])
    return {name: bool(value) for name, value in found if name}


@functools.cache
def _short(task: str) -> Mapping[str, str]:
    text = _fab("--help", task)
    return dict(re.findall(r"^  -(\w)(?: STRING| INT)?, --([a-z-]+)", text, re.M))


def _fab(*words: str) -> str:
    """What `fab` prints; asked once for each state of the task tree, by whichever process."""
    tree = hashlib.sha256((ROOT / "tasks.py").read_bytes()).hexdigest()[:12]
    kept = Path(tempfile.gettempdir(), f"omsfab-help-{os.getuid()}-{tree}", " ".join(words))
    if kept.exists():
        return kept.read_text()
    done = subprocess.run(
        [str(FAB), *words], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    kept.parent.mkdir(mode=0o700, exist_ok=True)
    new = kept.with_name(f".{os.getpid()}")
    new.write_text(done.stdout)
    new.replace(kept)
    return done.stdout


def wrong_call(words: Sequence[str], *, said: bool | int = False) -> list[str]:
    """Return what is wrong with words behind `fab`; one that a sentence names may lack its node."""
    task, given = parsed(words)
    if task not in tasks():
        return [f"there is no task {task or words}"]
    known = flags(task)
    wrong = []
    for name, value in given.items():
        if name == "node" and "-H" in words:
            continue
        if name not in known:
            wrong.append(f"{task} has no --{name}")
        elif known[name] != bool(value):
            wrong.append(f"--{name} of {task} {'lacks its value' if known[name] else 'takes none'}")
        elif placeholder(f"--{name}={value}"):
            wrong.append(f"--{name}={value} is a placeholder")
    needed = {NEEDS.get(task, ""), "node" if task.startswith("node.") else ""} - {"", *given}
    if needed and not said:
        wrong.append(f"{task} without --{', --'.join(sorted(needed))}")
    return wrong


def parsed(words: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Return the task of words behind `fab`, and its flags with their values; -H is a --node."""
    task, given = "", {}  # type: str, dict[str, str]
    rest = iter(words)
    for word in rest:
        if not task:
            if word in ("-H", "--hosts"):
                given["node"] = next(rest, "")
            elif not word.startswith("-"):
                task = word
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if word.startswith("-") and not word.startswith("--"):
            name = _short(task).get(name[:1], name) if task in tasks() else name
        if not equals and task in tasks() and flags(task).get(name):
            value = next(rest, "")
        given[name] = value
    return task, given


ASKING = _of("plan yes json")
"""Flags that make no other thing of a line: they say how it asks."""


def same(call: Sequence[str], asked: Sequence[str]) -> bool:
    """Whether a call does again what was asked, whichever way it asks or names the same run."""
    (task, given), (before, former) = parsed(call), parsed(asked)
    for flag in ASKING:
        given.pop(flag, None)
        former.pop(flag, None)
    if task in WAYS and "run" not in former:
        given.pop("run", None)
    return (task, given) == (before, former)


def _astray(
    said: Told, calls: Sequence[Sequence[str]], asked: Sequence[str], code: int | None
) -> Iterator[str]:
    """Yield the tasks that have nothing to do with what was asked."""
    task, former = parsed(asked)
    nothing = said.part("changed")[:1] == ("nothing",)
    allowed = {task, *BEFORE.get(task, {"node.trust"})} | (WORDS if code == 2 else LOOKS)
    if not nothing or task in WAYS or said.id in OF_A_RUN:
        allowed |= WAYS
    if task in WAYS:  # the task of the run, which the words do not tell
        allowed |= tasks()
    for call in calls:
        name, given = parsed(call)
        if name not in allowed:
            yield f"fab {name} has nothing to do with fab {task}"
        run = given.get("run", "")
        if (
            (task, name) == ("run.undo", "run.undo")
            and former.get("run", run) != run
            and said.id not in OTHER_RUN
        ):
            yield f"it sends to another run than {former['run']}"
