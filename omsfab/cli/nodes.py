"""`fab node.status` and `node.logs`: single nodes, looked at; nothing is changed."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from omsfab.cli import fleet as looks
from omsfab.command import question
from omsfab.commands import claim, docker, init_job, logs, oms, supervisor
from omsfab.errors import InputError, OmsfabError, SecurityRefusal
from omsfab.fleet import values
from omsfab.fleet.mask import Lines, Redactor, one_line
from omsfab.fleet.model import Fleet, Node
from omsfab.next_line import fab
from omsfab.plan.procedures import node as repair
from omsfab.run import clock, observe
from omsfab.run.confirmation import Flags
from omsfab.run.session import hosts_path, load, secrets_of
from omsfab.show import columns
from omsfab.show.document import document
from omsfab.show.text import clock_span, say
from omsfab.ssh import shell as ssh
from omsfab.ssh.protocol import Shell

WELL, ILL, UNREACHABLE = 0, 5, 3
"""Exit statuses, as those of ``fleet.status``."""

T = TypeVar("T")


def _each(
    loaded: Fleet, nodes: Sequence[Node], ask: Callable[[Node, Shell], T]
) -> dict[str, T | OmsfabError]:
    """Ask all of them side by side; one that cannot be asked is told as its error."""
    shells = ssh.connect(nodes, loaded.ssh)

    def one(node: Node) -> T | OmsfabError:
        try:
            return ask(node, shells[node.name])
        except OmsfabError as error:
            return error

    try:
        with ThreadPoolExecutor(min(observe.WIDTH, len(nodes))) as pool:
            found = pool.map(one, nodes)
            return {node.name: each for node, each in zip(nodes, found, strict=True)}
    finally:
        for shell in shells.values():
            shell.close()


# --- node.status ---------------------------------------------------------------------------------

HEADS = ("node", "what", "state", "says")


@dataclass(frozen=True, slots=True)
class NodeTold:
    """A node as it answered; what could not be asked is empty."""

    node: str
    address: str
    region: str
    error: str = ""
    """Why it could not be asked, with the id of the error."""
    docker: str = ""
    """The version of its engine."""
    container: str = ""
    """running, stopped or absent."""
    name: str = ""
    """What the container is called in hosts.yaml."""
    since: str = ""
    """When it was started, or ended; as docker writes it, UTC."""
    exit_code: int | None = None
    image: str = ""
    image_id: str = ""
    states: Mapping[str, str] = field(default_factory=dict)
    uptimes: Mapping[str, float] = field(default_factory=dict)
    says: Mapping[str, str] = field(default_factory=dict)
    """What supervisord says of a program that does not run."""
    health: str = ""
    init: str = ""
    """What of docker_init.sh runs; "" where none does."""
    claimed_by: str = ""
    """The run that has claimed the node."""

    @property
    def healthy(self) -> bool:
        missing = [one for one in supervisor.CORE if self.states.get(one) != "RUNNING"]
        return self.health in looks.WELL and not missing

    def record(self) -> dict[str, Any]:
        """The node as ``--json`` has it; docs/json.md."""
        runs = self.container == "running"
        return {
            "node": self.node,
            "address": self.address,
            "region": self.region,
            "error": self.error or None,
            "docker": self.docker or None,
            "container": self.container or None,
            "container_name": self.name,
            "since": self.since or None,
            "exit_code": self.exit_code,
            "image": self.image or None,
            "image_id": self.image_id or None,
            "programs": dict(self.states),
            "uptime_seconds": dict(self.uptimes),
            "says": dict(self.says),
            "running": sum(state == "RUNNING" for state in self.states.values()) if runs else None,
            "healthy": self.healthy if self.container else None,
            "health": self.health or None,
            "init": self.init or None,
            "claimed_by": self.claimed_by or None,
        }

    def rows(self) -> Iterator[tuple[str, ...]]:
        """A row for the container, its health, docker_init.sh and each program."""
        if self.error:
            yield self.node, one_line(self.error)
            return
        runs = self.container == "running"
        ended = "" if self.exit_code is None else f", exit status {self.exit_code}"
        image = f", image {self.image}" if self.image else ""
        since = f"since {self.since}{ended}{image}" if self.since else ""
        yield self.node, self.name, self.container, since
        for program, state in self.states.items():
            up = self.uptimes.get(program)
            says = self.says.get(program, "") if up is None else f"up {clock_span(up)}"
            yield self.node, program, state, says
        if runs:
            yield self.node, "health page", self.health, ""
            running = f"{one_line(self.init)}: do not restart the container" if self.init else ""
            yield self.node, "docker_init.sh", "RUNNING" if running else "does not run", running
        claimed = f"by run {self.claimed_by}" if self.claimed_by else ""
        yield self.node, "claim", "claimed" if claimed else "free", claimed


def status(node: str, flags: Flags) -> int:
    """Print a table: container, programs, health of each node named; 0 well, 5 ill, 3 silent."""
    loaded = load(quiet=flags.json)
    nodes = repair.nodes_named(loaded, node, fab("node.status"))
    if flags.dry:
        print(f"dry: nothing was contacted; {', '.join(one.name for one in nodes)} would be asked")
        return WELL
    asked = _each(loaded, nodes, lambda one, shell: _told(loaded, one, shell))
    found = [
        answer
        if isinstance(answer, NodeTold)
        else NodeTold(
            one.name, one.ip, loaded.region_of(one).name, f"{answer.what} ({answer.id})",
            name=loaded.install_of(one).container,
        )
        for one, answer in zip(nodes, asked.values(), strict=True)
    ]  # fmt: skip
    refused = [answer for answer in asked.values() if isinstance(answer, OmsfabError)]
    code = _exit(found, refused)
    if flags.json:
        records = [one.record() for one in found]
        print(document(hosts_file=str(hosts_path()), exit=code, nodes=records))
        return code
    rows = [row for one in found for row in one.rows()]
    for line in columns.table(HEADS, rows, None):
        say(line)
    for line in dict.fromkeys(str(one) for error in refused for one in error.next):
        say(f"next: {line}")
    return code


def _exit(found: Sequence[NodeTold], refused: Sequence[OmsfabError]) -> int:
    if forbidden := [error for error in refused if isinstance(error, SecurityRefusal)]:
        return forbidden[0].exit_code
    if any(one.error for one in found):
        return UNREACHABLE
    return WELL if all(one.healthy for one in found) else ILL


def _told(loaded: Fleet, node: Node, shell: Shell) -> NodeTold:
    install = loaded.install_of(node)
    redact = Redactor(secrets_of(loaded))
    named = (node.name, node.ip, loaded.region_of(node).name)
    engine = shell.run(question(docker.version()))
    if engine.status != 0:
        said = one_line(engine.err or engine.out)
        return NodeTold(
            *named, f"docker does not answer: {said} (HOST-001)", name=install.container
        )
    held = shell.run(question(claim.held())).out.splitlines()
    there = shell.run(question(docker.inspect(install.container)))
    common: dict[str, Any] = {
        "name": install.container,
        "docker": engine.out.strip(),
        "claimed_by": held[0] if held else "",
    }
    if there.status != 0:
        return NodeTold(*named, container="absent", **common)
    tagged = shell.run(question(docker.running_from(install.container))).out.split()
    common |= _of_container(json.loads(there.out), tagged)
    if common["container"] != "running":
        return NodeTold(*named, **common)
    said = shell.run(question(supervisor.status(install.container))).out
    over = shell.run(question(init_job.over(install.container, oms.INIT, unasked=True)))
    return NodeTold(
        *named,
        states=supervisor.states(said),
        uptimes=supervisor.uptimes(said),
        says={name: redact(text) for name, text in supervisor.remarks(said).items()},
        health=looks.health(node, install, shell),
        init=redact(over.err.strip() or over.out.strip()) if over.status else "",
        **common,
    )


def _of_container(record: Mapping[str, Any], tagged: Sequence[str]) -> dict[str, Any]:
    """``record`` is what docker inspect says, ``tagged`` whether it runs, and from which image."""
    state, runs = record["State"], bool(record["State"]["Running"])
    tag = tagged[1] if len(tagged) > 1 else str(record["Config"]["Image"])
    return {
        "container": "running" if runs else "stopped",
        "since": str(state["StartedAt" if runs else "FinishedAt"]).partition(".")[0],
        "exit_code": None if runs else int(state.get("ExitCode") or 0),
        "image": ".".join(map(str, values.version_of(tag))) or tag.rpartition(":")[2][:12],
        "image_id": str(record["Image"]),
    }


# --- node.logs -----------------------------------------------------------------------------------

LINES, ALL_LINES = 50, 10_000
"""How many lines of each log are shown, and how many where they are chosen by time or text."""

LOOK = 1.0
"""Seconds between two looks at logs that are followed."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is to be shown of the logs, as an operator types it."""

    component: str = ""
    lines: int = 0
    since: str = ""
    grep: str = ""

    def meant(self, node: str) -> Wanted:
        """Return what it means, or raise INPUT-043, INPUT-044 with a line for that ``node``."""
        named = [word.strip() for word in self.component.split(",") if word.strip()]
        known = [logs.ALIASES.get(word, word) for word in named]
        strange = sorted(set(known) - set(logs.COMPONENTS))
        if strange:
            raise InputError(
                "INPUT-044",
                f"OMS has no component {', '.join(strange)}",
                where="--component",
                evidence=f"there are: {', '.join(logs.COMPONENTS)}",
                next=fab("node.logs", node=node, component="cm"),
            )
        again = fab("node.logs", node=node, since="1h")
        since = clock.since(self.since, again) if self.since else ""
        default = ALL_LINES if self.since or self.grep else LINES
        return Wanted(tuple(known), self.lines or default, since, self.grep)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The same as values."""

    components: tuple[str, ...]
    lines: int
    since: str
    """-SECONDS by the node's clock, or seconds since the epoch."""
    text: str


def show_logs(node: str, flags: Flags, chosen: Chosen, *, follow: bool) -> int:
    """Print the newest lines of the logs of each node named, behind its name where there are
    several; with ``follow`` go on with what comes, until Ctrl-C."""
    loaded = load(quiet=flags.json)
    nodes = repair.nodes_named(loaded, node, fab("node.logs"))
    want = chosen.meant(node)
    if flags.dry:
        print(f"dry: nothing was contacted; {', '.join(one.name for one in nodes)} would be asked")
        return WELL
    tell = _Teller(nodes, Redactor(secrets_of(loaded)), as_json=flags.json)
    following = _Following(loaded, nodes, want, tell) if follow else None

    def newest(one: Node, shell: Shell) -> str:
        install = loaded.install_of(one)
        files = logs.files_of(install, want.components, rotated=bool(want.since))
        return shell.run(logs.newest(install, files, want.lines, want.since, want.text)).out

    asked = _each(loaded, nodes, newest)
    for name, said in asked.items():
        if isinstance(said, OmsfabError):
            tell.error(name, said)
        else:
            tell.whole(name, said)
    if following:
        following.go_on()
    return UNREACHABLE if any(isinstance(said, OmsfabError) for said in asked.values()) else WELL


class _Teller:
    """Prints lines of logs: masked, behind node and file, or as JSON."""

    def __init__(self, nodes: Sequence[Node], redact: Redactor, *, as_json: bool) -> None:
        self.redact = redact
        self._wide = max(len(node.name) for node in nodes) if len(nodes) > 1 else 0
        self._json = as_json
        self._last = ("", "")

    def whole(self, node: str, said: str) -> None:
        """What ``logs.newest`` has printed."""
        for part in f"\n{said}".split("\n==> ")[1:]:
            file, _, text = part.partition("\n")
            self.lines(node, file, self.redact(text.removesuffix("\n")).split("\n"))

    def lines(self, node: str, file: str, lines: Sequence[str]) -> None:
        """Lines of one file, masked already."""
        if self._json:
            for line in lines:
                print(document(node=node, file=file, line=line), flush=True)
            return
        before = f"{node:<{self._wide}} | " if self._wide else ""
        if lines and self._last != (node, file):
            self._last = (node, file)
            print(f"{before}==> {file}")
        for line in lines:
            print(f"{before}{line}", flush=True)

    def error(self, node: str, error: OmsfabError) -> None:
        said = self.redact(f"{error.id} {error.what}")
        if self._json:
            print(document(node=node, error={"id": error.id, "what": error.what}), flush=True)
        else:
            print(f"{node}: {said}", flush=True)


class _Following:
    """What comes behind the ends of the logs; they are looked at, and no process is left behind on
    the nodes.  A node that falls silent is told of, and asked again."""

    def __init__(self, loaded: Fleet, nodes: Sequence[Node], want: Wanted, tell: _Teller) -> None:
        self._nodes, self._want, self._tell = nodes, want, tell
        self._files = {
            node.name: logs.files_of(loaded.install_of(node), want.components, rotated=True)
            for node in nodes
        }
        self._shells = ssh.connect(nodes, loaded.ssh)
        self._read: dict[str, dict[str, int]] = {}
        self._rest: dict[tuple[str, str], bytes] = {}
        self._held: dict[tuple[str, str], Lines] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._silent: set[str] = set()
        self._look()

    def go_on(self) -> None:
        try:
            while True:
                time.sleep(LOOK)
                self._look()
        finally:
            for shell in self._shells.values():
                shell.close()

    def _look(self) -> None:
        def ask(node: Node) -> str | OmsfabError:
            known = self._read.get(node.name, {})
            asks = logs.growth(self._files[node.name], known, first=node.name not in self._read)
            try:
                return self._shells[node.name].run(asks).out
            except OmsfabError as error:
                return error

        with ThreadPoolExecutor(min(observe.WIDTH, len(self._nodes))) as pool:
            for node, said in zip(self._nodes, pool.map(ask, self._nodes), strict=True):
                if isinstance(said, OmsfabError):
                    if node.name not in self._silent:
                        self._tell.error(node.name, said)
                    self._silent.add(node.name)
                else:
                    self._silent.discard(node.name)
                    self._hear(node.name, said)

    def _hear(self, node: str, said: str) -> None:
        read = self._read.setdefault(node, {})
        came = set()
        for line in said.splitlines():
            inode, offset, body, name = line.split(" ", 3)
            read[inode] = int(offset)
            key = (node, inode)
            self._names.setdefault(key, name)
            if body != "-":
                came.add(key)
                self._came(key, base64.b64decode(body))
        for key, held in self._held.items():  # nothing came: what waits is not the half of a secret
            if key[0] == node and key not in came:
                self._show(key, held.rest())

    def _came(self, key: tuple[str, str], data: bytes) -> None:
        *whole, rest = (self._rest.pop(key, b"") + data).split(b"\n")
        if rest:
            self._rest[key] = rest
        held = self._held.setdefault(key, self._tell.redact.lines())
        for line in whole:
            self._show(key, held.feed(line.decode(errors="replace")))

    def _show(self, key: tuple[str, str], lines: Sequence[str]) -> None:
        text = self._want.text.lower()
        shown = [line for line in lines if text in line.lower()]
        if shown:
            self._tell.lines(key[0], self._names[key], shown)
