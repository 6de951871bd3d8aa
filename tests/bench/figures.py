"""What is measured, the goal beside each figure, and docs/speed.md made of the results; pure.

Everything is in seconds and less is better, so a goal is a factor: at most so many times a rival.
"Twice as fast as" is at most 0.5 times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

OURS = "omsfab"
BEST = "the best rival"
SECONDS = ""
"""Instead of a rival: the goal is a number of seconds."""


@dataclass(frozen=True)
class Goal:
    """``way`` takes at most ``factor`` times as long as ``against``, or ``factor`` seconds."""

    factor: float
    against: str = SECONDS
    way: str = OURS


@dataclass(frozen=True)
class Figure:
    """``how`` is a sentence or two on how it is taken; ``limit`` the reason why a goal cannot be
    reached, where that is known."""

    id: str
    part: str
    title: str
    goals: tuple[Goal, ...]
    how: str = ""
    limit: str = ""


@dataclass(frozen=True)
class Result:
    """Seconds of each way, one for each round; ``missing`` maps a rival to the reason."""

    figure: str
    when: str
    commit: str
    machine: Mapping[str, str]
    ways: Mapping[str, Sequence[float]]
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def medians(self) -> dict[str, float]:
        return {name: median(values) for name, values in self.ways.items() if values}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Result:
        return cls(**record)


@dataclass(frozen=True)
class Verdict:
    """``measured`` is the factor, or the seconds; None where it could not be taken."""

    goal: Goal
    against: str
    measured: float | None

    @property
    def reached(self) -> bool | None:
        return None if self.measured is None else self.measured <= self.goal.factor

    @property
    def wanted(self) -> str:
        if self.goal.against == SECONDS:
            return f"≤ {self.goal.factor:g} s"
        return f"≤ {self.goal.factor:g} × {self.goal.against}"

    @property
    def told(self) -> str:
        if self.measured is None:
            return "not measured"
        if self.goal.against == SECONDS:
            return seconds(self.measured)
        best = f" ({self.against})" if self.goal.against == BEST else ""
        return f"{self.measured:.2f}{best}"

    @property
    def word(self) -> str:
        return {True: "reached", False: "**not reached**", None: "–"}[self.reached]


def judge(figure: Figure, result: Result) -> Iterator[Verdict]:
    """Yield what became of each goal of the figure."""
    took = result.medians
    for goal in figure.goals:
        against = goal.against
        if against == BEST:
            rivals = {name: value for name, value in took.items() if name != goal.way}
            against = min(rivals, key=lambda name: rivals[name], default=BEST)
        if goal.way not in took or (against != SECONDS and against not in took):
            yield Verdict(goal, against, None)
        else:
            base = 1.0 if against == SECONDS else took[against]
            yield Verdict(goal, against, took[goal.way] / base)


def seconds(value: float) -> str:
    """Three digits that count."""
    if value < 0.1:
        return f"{value * 1000:.3g} ms"
    return f"{value:.3g} s" if value < 100 else f"{value:.0f} s"


def rows(result: Result) -> Iterator[tuple[str, str, str, str]]:
    """Yield a row per way, the fastest first: way, median, lowest to highest, omsfab beside it."""
    took = result.medians
    ours = took.get(OURS)
    for name in sorted(took, key=lambda name: took[name]):
        low, high = min(result.ways[name]), max(result.ways[name])
        beside = f"{ours / took[name]:.2f}" if ours and name != OURS else ""
        yield name, seconds(took[name]), f"{seconds(low)} – {seconds(high)}", beside


def told(figure: Figure, result: Result) -> Iterator[str]:
    """Yield the figure as text for a terminal."""
    yield f"{figure.title} (median of {max(map(len, result.ways.values()), default=0)})"
    for name, took, span, beside in rows(result):
        yield f"  {name:<34} {took:>9}   {span:<22} {beside:>5}"
    for name, why in result.missing.items():
        yield f"  {name:<34}   missing   {why}"
    for verdict in judge(figure, result):
        yield f"  goal {verdict.wanted}: {verdict.told}, {verdict.word.strip('*')}"


def page(figures: Sequence[Figure], results: Mapping[str, Result]) -> str:
    """Return docs/speed.md; ``results`` are by the id of their figure."""
    taken = [(one, results[one.id]) for one in figures if one.id in results]
    lines = [*HEAD, *_machines([result for _, result in taken]), "", "## Goals", ""]
    lines += ["| figure | goal | measured | |", "|---|---|--:|---|"]
    for one, result in taken:
        lines += [f"| {one.title} | {v.wanted} | {v.told} | {v.word} |" for v in judge(one, result)]
    lines += [f"| {one.title} | | not measured | – |" for one in figures if one.id not in results]
    lines += ["", *_missing([result for _, result in taken])]
    for one, result in taken:
        lines += ["", *_section(one, result)]
    return "\n".join(lines) + "\n"


HEAD = (
    "# Speed",
    "",
    "Made by `scripts/bench --write` from what `scripts/bench` has measured; not edited by hand.",
    "omsfab and its rivals run on one machine, in turn, in the same run: absolute figures are that",
    "machine's, ratios hold elsewhere. Servers, OceanBase and OMS are those of the local lab",
    "(`fab lab.up`), so the wire is a virtual one, and OMS a stand-in: small image, short",
    "initialisation. That is hard on omsfab: with gigabytes and minutes, what it does itself",
    "weighs less. Each figure is the median of its rounds; beside it the lowest and the highest.",
    "",
)  # fmt: skip


def _machines(results: Sequence[Result]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for result in results:
        seen.setdefault(", ".join(result.machine.values()), f"{result.when}, {result.commit}")
    for machine, when in seen.items():
        yield f"Machine: {machine} (from {when})."


def _missing(results: Sequence[Result]) -> Iterator[str]:
    reasons = {name: why for result in results for name, why in result.missing.items()}
    yield "## Rivals that were missing"
    yield ""
    if not reasons:
        yield "None."
    for name, why in reasons.items():
        yield f"- {name}: {why}"


def _section(figure: Figure, result: Result) -> Iterator[str]:
    yield f"## {figure.title[0].upper()}{figure.title[1:]}"
    yield ""
    if figure.how:
        yield figure.how
        yield ""
    rounds = max(map(len, result.ways.values()), default=0)
    yield f"| way | median of {rounds} | from – to | omsfab / it |"
    yield "|---|--:|--:|--:|"
    for row in rows(result):
        yield f"| {' | '.join(row)} |"
    for name, why in result.missing.items():
        yield f"| {name} | missing | {why} | |"
    short = [verdict for verdict in judge(figure, result) if verdict.reached is False]
    if short and figure.limit:
        yield ""
        yield figure.limit


BARE = "bare"
IMPORT = "python -c 'import paramiko'"
RAW = "paramiko, TCP_NODELAY"
PLAIN = "paramiko"
SCP, PUT = "scp", "Fabric put"
CAT = "ssh cat, aes128-gcm"
SCP_4, SCP_8 = "scp × 4", "scp × 8"
TO_ONE = "omsfab, to one node"
HAND, ANSIBLE = "bash by hand", "Ansible"
ALONE = "stop and docker_init.sh alone"
SCRIPT = "docker_init.sh alone"
PLANS = {10: "10 nodes", 100: "100 nodes", 1000: "1,000 nodes"}
SWEEPS = (1, 10, 50, 100)

FIGURES = (
    Figure(
        "list", "startup", "`fab --list`", (Goal(1.1, BARE),),
        "A process from its start to its end; bare is Fabric's own `fab --list` of a fabfile"
        " with one task that does nothing.",
    ),
    Figure(
        "dry", "startup", "`fab --dry scale.out`", (Goal(0.5),),
        "A process from its start to its end, for the example hosts.yaml: the file is read and"
        " checked, the plan is made and printed, nobody is contacted. Beside it a Python that"
        " imports paramiko and ends.",
        "Fabric, which brings paramiko, is a third of it; the rest is the import of pydantic, of"
        " the models of hosts.yaml and of all that a task may need.",
    ),
    Figure(
        "command", "command", "`true` on a warm connection", (Goal(1.3, RAW),),
        "Each round runs `true` 50 times on a connection that is open, and counts the time of one."
        " paramiko is a bare session with TCP_NODELAY, its output read to the end.",
    ),
    *(
        Figure(
            f"status-{many}", "status", f"`fab fleet.status` of {many} node{'s'[: many > 1]}",
            (Goal(1.15, BEST),),
            "Cold, a whole process. One server of the lab answers on as many addresses, so its"
            " docker and sshd do the work of all of them. Rivals ask what fleet.status asks a"
            " node (docker, container, programs, the console's page) in one command line, 50 nodes"
            " side by side; they ask neither MetaDB nor the VIP, which fleet.status does. ssh is"
            " held to curve25519; parallel-ssh checks no host keys."
            if many == 1 else "As for one node.",
        )
        for many in SWEEPS
    ),
    Figure(
        "send-1", "send", "256 MiB to one node",
        (Goal(1.0, SCP), Goal(round(1 / 2.5, 2), PUT), Goal(round(1 / 0.95, 2), CAT)),
        "From no connection to the file on the node; the start of Python is left out. omsfab"
        " proves the content by its digest, which a plan knows beforehand; the rivals prove"
        " nothing.",
        "The bytes go by the system's ssh, on a machine whose two cores serve both ends, and both"
        " digests besides.",
    ),
    Figure(
        "send-4", "send", "256 MiB to each of four nodes at once", (Goal(1.0, SCP_4),),
        "As to one node; omsfab in one process, as in a run.",
        "A process of ssh encrypts for each of the four.",
    ),
    Figure(
        "idle", "idle", "the processor, in a minute of 200 connections that nobody uses",
        (Goal(1.8),),
        "Seconds of CPU of a process that holds them open, each asked for a sign of life every ten"
        " seconds; 1.8 s are 3 % of a core.",
    ),
    Figure(
        "relay", "relay", "256 MiB to each of eight nodes behind a line of 200 Mbit/s",
        (Goal(1.5, TO_ONE),),
        "The line is the jump host's own, by tbf; among themselves the nodes are as fast as this"
        " machine. omsfab has each node pass the file on to the next while it arrives.",
        "The line alone takes 10.7 s; behind it two cores encrypt, decrypt, hash and write for nine"
        " machines, which have cores of their own elsewhere.",
    ),
    Figure(
        "job", "job", "from a physical address to a VIP, one new node",
        (Goal(1.1, HAND), Goal(0.6, ANSIBLE)),
        "The guide's longer scenario on OceanBase: send and load the image, stop, back up and"
        " delete rows, change config.yaml, initialise, run and initialise the new node. All three"
        " begin from the same fleet, the new node without the image, and know that the image does"
        " not initialise itself (`init: always`); the outcome is asked past all of them."
        " `tests/bench/hand.sh` stages before the outage, shares connections and loads the image"
        " while it arrives; `tests/bench/playbook.yml` has pipelining and shared connections. Of"
        " the checks, the journal, the lock and the way back neither has anything. The last way is"
        " no rival: the old node's stop and docker_init.sh alone.",
        "What omsfab does beside: some 3 s until the plan (start, package, a look at the fleet),"
        " 3 s of checks under the lock, 4 s in which the rows are watched for writers, 3 s in which"
        " a new container must stay up, 2 s of proof at the end. These seconds stay what they are"
        " where an initialisation takes minutes: beside two of two minutes they are a tenth.",
    ),
    Figure(
        "outage", "job", "the outage of that job", (Goal(1.1, ALONE),),
        "How long CM of the old node did not accept a connection, asked every 20 ms past all of"
        " them. The last way is `supervisorctl stop all` and docker_init.sh in one line on the"
        " node.",
        "Two watches of two seconds, before the rows go and before docker_init.sh begins, are kept:"
        " who else writes them is seen before it is too late. Here CM is back some three seconds"
        " after docker_init.sh began; a real image restarts for minutes, and the same five seconds"
        " are less than a twentieth.",
    ),
    *(
        Figure(
            f"flood-{size}", "flood", f"a docker_init.sh that says {size} MB", (Goal(1.1, SCRIPT),),
            "The step that starts, follows and judges docker_init.sh, all its output read, against"
            " `docker exec` on the node with the output thrown away."
            if size == 4 else "As for 4 MB.",
        )
        for size in (4, 400)
    ),
    Figure(
        "plan", "plan", "planning a scale-out",
        (Goal(2.0, way=PLANS[1000]), Goal(11, PLANS[100], PLANS[1000])),
        "The planner alone: one node is deployed at its own address, all others are new. Ten"
        " times the nodes in ten times the time is a straight line.",
    ),
)  # fmt: skip
PARTS = tuple(dict.fromkeys(one.part for one in FIGURES))
