"""Plans and events as plain text: what a log, a pipe and a test see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone

from typing_extensions import assert_never

from omsfab.command import shown
from omsfab.errors import OmsfabError
from omsfab.fleet.mask import plain
from omsfab.plan.acceptance import ACCEPTABLE
from omsfab.plan.events import Event
from omsfab.plan.outage import Outage
from omsfab.plan.overview import Answer, State
from omsfab.plan.records import (
    AnswersWithin,
    Await,
    ClearRows,
    CmUrlIs,
    ConfigSays,
    CopyFile,
    DropHosts,
    Effect,
    EndInit,
    ExitsZero,
    FromAny,
    Guarded,
    Healthy,
    HostsOnline,
    InitOver,
    IsOms,
    Job,
    KeepRows,
    LetsIn,
    MetaDbAnswersWithin,
    MetaDbVersion,
    NothingLeftOver,
    NothingRuns,
    OthersUnchanged,
    OtherUrls,
    OutputIs,
    Plan,
    Probe,
    Programs,
    PutBack,
    ReachesMember,
    RestoreRows,
    RowsAsSaved,
    RowsBack,
    RowsKept,
    RowsShown,
    Run,
    SameTime,
    SaveRows,
    Send,
    Step,
    Write,
)
from omsfab.plan.stakes import STOP_OMS, STOPS, Stakes


def plan_lines(
    plan: Plan, found: Mapping[str, Answer] | None = None, *, assumed: bool = False
) -> Iterator[str]:
    """Yield every step of the plan (``--verbose``).

    ``found`` (``--plan``) is what the live fleet said, by step key; ``assumed``: nobody was asked.
    """
    yield f"{plan.task}: {plan.title}"
    for reason in (*plan.reasons, *plan.background):
        yield f"   {'assuming' if assumed else 'because'} {reason}"
    for number, stage in enumerate(plan.stages, 1):
        if not stage.steps:  # a resumed run has done it
            continue
        outage = "  [OMS processes are stopped]" if stage.outage else ""
        yield f"{number}. {stage.title}{outage}"
        width = max((len(step.node) for step in stage.steps), default=0)
        for step in stage.steps:
            seen = found.get(step.key) if found else None
            sign = f" {ANSWERS[seen.state]}" if seen else ""
            yield f"{sign:<3}{step.node:<{width}}  {step.title}"
            whole = seen is None or seen.state in ("needed", "unasked")
            lines = step_lines(step) if whole else ()
            yield from (f"   {'':<{width}}   {line}" for line in lines)
            for text in seen.lacking if seen else ():
                yield from (f"   {'':<{width}}   · {line}" for line in _lacks(seen, text))
    yield from outage_lines(plan)


def _lacks(seen: Answer | None, text: str) -> Iterator[str]:
    lines = text.splitlines()
    if seen and seen.id and lines:
        lines[0] = f"{seen.id} {lines[0]}"
    yield from lines


ANSWERS: Mapping[State, str] = {
    "needed": "+",
    "unchanged": "=",
    "unasked": "?",
    "passed": "✓",
    "warning": "!",
    "failed": "✗",
}

ASSUMED = (
    "ASSUMED (nothing was asked): what is so on nodes and in MetaDB is a guess here, in each line"
    " that begins with 'assuming', and so is what they already have; --plan asks"
)


def outage_lines(plan: Plan) -> Iterator[str]:
    """Yield how long production will be down, as far as it can be known before."""
    stages = [n for n, stage in enumerate(plan.stages, 1) if stage.outage and stage.steps]
    if not stages:
        return
    effects = [e for s in plan.stages if s.outage for step in s.steps for e in step.apply]
    times = sum(isinstance(effect, Job) for effect in effects)
    each = {0: "", 1: "docker_init.sh (guide: 2 to 4 minutes) and "}.get(
        times, f"{times} times docker_init.sh (guide: 2 to 4 minutes each) and "
    )
    span = f"stages {stages[0]} to {stages[-1]}" if len(stages) > 1 else f"stage {stages[0]}"
    yield f"OMS processes are stopped in {span}: {each}a few seconds"


def stakes_text(at_stake: Stakes, otherwise: str) -> str:
    """Return e.g. ``Stop OMS on oms1 (about 3 to 5 min), delete 4 rows of region cn-lab, add oms2
    and oms3``; ``otherwise`` is said where nothing is known to be at stake."""
    parts: list[str] = []
    for verb, nodes in at_stake.acts:
        about = ""
        if verb == STOP_OMS and at_stake.minutes:
            about = " (about {} to {} min)".format(*at_stake.minutes)
        parts.append(f"{verb} {_joined(nodes)}{about}")
    stops = sum(verb in STOPS for verb, _ in at_stake.acts)
    text = ", ".join([*parts[:stops], *at_stake.rows, *parts[stops:]]) or otherwise
    return text[:1].upper() + text[1:]


def _joined(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def step_lines(step: Step) -> Iterator[str]:
    """Yield a line per effect (``+``), or per question of a step that changes nothing (``?``)."""
    if step.apply:
        yield from (f"+ {effect_text(effect)}" for effect in step.apply)
    else:
        yield from (f"? {probe_text(probe)}" for probe in step.verify)


def effect_text(effect: Effect) -> str:  # noqa: C901  (a case a kind)
    match effect:
        case Run(command, _, _):
            return shown(command)
        case Write(path, content, mode):
            size = len(content.reveal().encode())
            kept = "owner and mode as found" if mode is None else f"mode {mode:o}"
            return f"write {path} in place ({size} bytes, {kept}), previous version backed up"
        case CopyFile(source, path, _, mode):
            return f"write {source} to {path} in place (mode {mode:o}), previous version backed up"
        case PutBack(path, backup, aside):
            kept = f"; what is there now is kept as {backup}.aside" if aside else ""
            return f"put {backup} back into {path}; remove {path} if there was none{kept}"
        case Send(source, dest, size, _, reader, relay, _, layers):
            meanwhile = f"; meanwhile {shown_words(reader)}" if reader else ""
            way = ", from here or from another node that gets it" if relay else ""
            less = ", without layers that are there" if layers else ""
            return f"send {source} to {dest} ({size / 1e6:.1f} MB){less}{way}{meanwhile}"
        case Job(container, argv, _, _, init):
            words = shown_words(("docker", "exec", container, *argv))
            words = f"docker start {container} if it is down; {words}"
            return {
                "always": f"{words}, detached, followed to its end",
                "auto": f"{words}, detached, unless the container initialises itself",
                "never": f"wait until {container} has initialised itself",
            }[init]
        case EndInit(job):
            return f"end docker_init.sh in {job.container} if omsfab began it, with its children"
        case ClearRows(location, tables, "delete"):
            return f"back up, then delete in one transaction: {', '.join(tables)} of {location}"
        case ClearRows(location, tables, _, old, new):
            rest = ", ".join(table for table in tables if table != "cluster_info")
            return (
                f"back up, then in one transaction: delete cluster_info of {location}; where {rest}"
                f" carry {old}, write {new}; ids stay"
            )
        case KeepRows():
            return "look twice whether the rows are as this run has left them"
        case SaveRows(_, tables):
            return f"save to the run's directory, verified: {', '.join(tables)}"
        case RestoreRows(location, source):
            return f"put the saved rows of location {location} back" + f" from {source}" * bool(
                source
            )
        case DropHosts(_, ips):
            return f"save the host rows of {', '.join(ips)}, then take them out"
        case _:
            assert_never(effect)


def probe_text(probe: Probe) -> str:  # noqa: C901  (a case a kind)
    match probe:
        case OutputIs(command, text):
            return f"{shown(command)} says {text}"
        case ExitsZero(command, _):
            return shown(command)
        case ConfigSays(path, _):
            return f"{path} has the values of hosts.yaml"
        case CmUrlIs(location, url, _):
            return f"cluster_info.cm_url of location {location} is {url}"
        case OtherUrls(_, url, old):
            return f"location_cm, host and resource_group name {url}, and no longer {old}"
        case RowsShown():
            return "the rows are those that this plan was made with"
        case RowsBack(location):
            return (
                f"each row of location {location} is there again, and nothing refers to a former id"
            )
        case NothingLeftOver():
            return "no host is of a group that is gone, and no key has two rows"
        case OthersUnchanged(location):
            return f"the rows of all regions but {location} are as before"
        case RowsKept(location):
            return f"the run has deleted no row of location {location}"
        case RowsAsSaved():
            return "the rows of all regions are those saved, by what identifies them"
        case HostsOnline(location, _, ips, _):
            return f"hosts of location {location} ONLINE, beats fresh: {', '.join(ips)}"
        case ReachesMember(host, port, members):
            return f"a connection to {host}:{port} arrives at one of {', '.join(members)}"
        case AnswersWithin(limit):
            return f"it answers within {limit:g} s"
        case Programs(command, "STOPPED"):
            return f"{shown(command)}: no program has a process"
        case Programs(command, state, names):
            return f"{shown(command)}: {', '.join(names) or 'every program'} {state}"
        case NothingRuns(container, _):
            return f"no process of its programs is left in {container}, and their ports are free"
        case SameTime(command, apart, zone):
            and_zone = ", and its zone" if zone else ""
            return f"{shown(command)} is MetaDB's time, {apart:.0f} s more or less{and_zone}"
        case MetaDbAnswersWithin(limit):
            return f"a statement takes MetaDB at most {limit * 1000:.0f} ms"
        case LetsIn():
            return "MetaDB lets its user in from there"
        case MetaDbVersion(version):
            return f"oms_version in MetaDB is {'.'.join(map(str, version))}"
        case Guarded(host, ports):
            return f"{host} does not answer the jump host on {', '.join(map(str, ports))}"
        case FromAny(inner, nodes, host, _):
            here = ("the jump host",) if host else ()
            return f"from one of {', '.join((*nodes, *here))}: {probe_text(inner)}"
        case IsOms(page, cm):
            or_cm = f" or {shown(cm)}" if cm else ""
            return f"{shown(page)}{or_cm} is answered by an OMS"
        case Healthy(command):
            return f"{shown(command)} says healthy"
        case InitOver(job):
            return f"no docker_init.sh runs in {job.container}, within {job.limit:.0f} s"
        case NothingRuns(container, _):
            return f"no process of its programs is left in {container}, and their ports are free"
        case Await(inner, limit, _):
            return f"{probe_text(inner)}, within {limit:.0f} s"
        case _:
            assert_never(probe)


def shown_words(words: tuple[str, ...]) -> str:
    return " ".join(words)


SIGNS = {
    "warning": "!",
    "line": "│",
    "done": "✓",
    "satisfied": "=",
    "failed": "✗",
    "intent": "▸",
}


def event_line(event: Event) -> str:
    """One line for a terminal that cannot be redrawn, and for logs; times are UTC."""
    clock = datetime.fromtimestamp(event.at, timezone.utc).strftime("%H:%M:%SZ")
    text = plain(event.text)  # also of a journal that an older omsfab wrote
    if event.kind in ("stage", "run"):
        return f"{clock}  {event.kind}  {text}"
    if event.kind == "accepted":
        return f"{clock}  {accepted_line(text)}"
    sign = SIGNS.get(event.kind, "·")
    return f"{clock}  {event.node:<8}  {event.step:<{STEP}}  {sign} {text}".rstrip()


STEP = 16
"""Columns for the name of a step: that of the longest."""


def say(text: str) -> None:
    """Print what may come from a node, from MetaDB or from a file of a node."""
    print(plain(text))


def accepted_line(id: str, why: OmsfabError | None = None) -> str:
    """``accepted: ENV-006 a clock …``; ``why`` is what was refused for it in the plan."""
    said = f": {why.what} ({why.where})" if why else ""
    return f"accepted: {id} {ACCEPTABLE.get(id, '')}{said}"


def counted(number: int, noun: str) -> str:
    """Return ``1 change``, ``2 changes``."""
    return f"{number} {noun}{'s' * (number != 1)}"


def seconds(span: float) -> str:
    """Return a duration for people: ``48 s``, ``4 min 05 s``."""
    whole = round(span)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def clock_span(span: float) -> str:
    """Return a duration as a clock shows it: ``0:09``, ``14:20``, ``1:02:03``."""
    minutes, rest = divmod(round(span), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def outage_text(found: Outage, cure: str = "") -> str:
    """Return what an outage means for production, in a line; ``cure`` says what ends it."""
    where = f"OMS of {', '.join(found.regions)}" if found.regions else "OMS"
    on = "" if found.whole else f" on {', '.join(found.nodes)}"
    lasted = clock_span(found.seconds)
    if found.until is None:
        said = f"{where} is DOWN{on} for {lasted} (since {_moment(found.since, found)})"
        return f"{said}; {cure}" if cure else said
    times = f"{_moment(found.since, found)} to {_moment(found.until, found)}"
    total = f"in {len(found.spans)} parts, " if len(found.spans) > 1 else ""
    return f"{where} was DOWN{on} for {lasted} ({total}{times})"


NOT_RECORDED = (
    "whether OMS was down is not recorded: an earlier omsfab made the run, which did not watch the"
    " programs; what is so now: fab fleet.status"
)


def _moment(at: float, found: Outage) -> str:
    """A time of day, UTC; with its day where the outage is longer than one."""
    shape = "%H:%M:%SZ" if found.spans[-1][1] - found.since < 86400 else "%Y-%m-%d %H:%M:%SZ"
    return datetime.fromtimestamp(at, timezone.utc).strftime(shape)
