"""A server: files, docker, supervisord, docker_init.sh; and the words that omsfab sends there.

A command is known by the script that it is (the constant of omsfab/commands) or by its words, and a
Python function does what it would do.  One that nobody here knows is an error of the simulation.
Where a guard is a line of a script, the function looks for that line: without it, it does what the
script would do then.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache
from itertools import pairwise
from typing import Any

from omsfab.commands import (
    claim,
    docker,
    init_job,
    node_checks,
    oms,
    preflight,
    processes,
    supervisor,
)
from omsfab.commands import files as posix
from tests.simulation.world import EPOCH, Process, World

PROGRAMS = ("nginx", "oms_console", "oms_drc_cm", "oms_drc_supervisor", "sshd")
STARTSECS = 2.0
BANNER = "# 【结束】全部初始化步骤执行成功"

Answer = tuple[int, str, str]
Long = Generator[float, None, Answer]
"""A command that takes a while yields the seconds; a reboot ends it in between."""


class NotSimulated(AssertionError):
    """A command or a state that the simulation does not know."""


@dataclass(eq=False)
class File:
    """``writer`` is who has written it last: a run, "hand", "world"."""

    content: bytes
    mode: str = "600"
    owner: str = "0:0"
    at: float = 0.0
    writer: str = "world"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(eq=False)
class Program:
    state: str
    at: float


@dataclass(eq=False)
class Init:
    """A docker_init.sh: ``attempt`` is omsfab's directory of it, "" where somebody else ran it."""

    node: str
    attempt: str
    pid: int
    began: float
    knob: str
    ended: float | None = None
    well: bool = False


@dataclass(eq=False)
class Attempt:
    owner: str = "0"
    claimed: float | None = None
    refused: str = ""
    pid: str = ""
    status: int | None = None
    status_at: float = 0.0
    output: bytearray = field(default_factory=bytearray)
    has_output: bool = False
    init: Init | None = None


@dataclass(eq=False)
class Container:
    id: str
    name: str
    image: str
    labels: dict[str, str]
    env: dict[str, str]
    binds: list[tuple[str, str]]
    maker: str
    state: str = "created"
    started: float = 0.0
    config: File | None = None
    """What its bind mount holds: a file replaced by rename is another one."""
    programs: dict[str, Program] = field(default_factory=dict)
    components: dict[str, Any] | None = None
    """config.yaml as the components have been told of it; lost with the container."""
    flag: float | None = None
    lock: int | None = None
    """The pid that holds init.lock."""
    inits: list[Init] = field(default_factory=list)
    log: bytearray = field(default_factory=bytearray)
    """docker_init.log of those that omsfab did not start, and when it was written last."""
    log_at: float | None = None
    life: Process | None = None


@dataclass(eq=False)
class Node:
    world: World
    fleet: Any
    name: str
    ip: str
    files: dict[str, File] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    images: dict[str, set[str]] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    away_until: float = -1.0
    docker_until: float = -1.0
    """Until when dockerd does not answer."""
    full_until: float = -1.0
    skew: float = 0.0
    boot: Process = None  # type: ignore[assignment]
    pids: int = 100
    knobs: list[str] = field(default_factory=list)
    """What the next initialisations do otherwise than well, first one first."""
    rows: str = "keep"
    selfs: list[str] = field(default_factory=list)
    """How the next containers initialise themselves: each with the knob of it."""

    def __post_init__(self) -> None:
        self.boot = Process(self.world, self.name)

    # --- state -----------------------------------------------------------------------------------

    @property
    def away(self) -> bool:
        return self.away_until > self.world.now

    @property
    def full(self) -> bool:
        return self.full_until > self.world.now

    def pid(self) -> int:
        self.pids += 1
        return self.pids

    def running(self, name: str) -> Container | None:
        found = self.containers.get(name)
        return found if found and found.state == "running" else None

    def state(self, program: Program) -> str:
        if program.state == "STARTING" and self.world.now - program.at >= STARTSECS:
            program.state, program.at = "RUNNING", program.at + STARTSECS
        return program.state

    def runs(self, container: Container, name: str) -> bool:
        program = container.programs.get(name)
        return (
            container.state == "running"
            and program is not None
            and self.state(program) == "RUNNING"
        )

    def alive(self, container: Container) -> list[str]:
        if container.state != "running":
            return []
        states = ("RUNNING", "STARTING", "STOPPING", "BACKOFF")
        return [n for n, p in container.programs.items() if self.state(p) in states]

    # --- what happens to it ----------------------------------------------------------------------

    def reboot(self, seconds: float) -> None:
        """Containers are down afterwards: docker run had no --restart."""
        self.away_until = max(self.away_until, self.world.now + seconds)
        for container in self.containers.values():
            if container.state == "running":
                self.halt(container)
        self.boot.kill()
        self.boot = Process(self.world, self.name)

    def halt(self, container: Container) -> None:
        container.state = "exited"
        container.lock = None
        for program in container.programs.values():
            program.state, program.at = "STOPPED", self.world.now
        for init in container.inits:
            if init.ended is None:
                init.ended = self.world.now
        container.inits.clear()
        if container.life:
            container.life.kill()
            container.life = None

    def launch(self, container: Container) -> None:
        """docker start: mounts are taken as they are now, supervisord starts its programs."""
        container.state = "running"
        container.started = self.world.now
        container.life = Process(self.world, f"{self.name}/{container.name}")
        source = next((a for a, b in container.binds if b == docker.CONFIG), "")
        container.config = self.files.get(source)
        for name in PROGRAMS:
            self.start_program(container, name)
        if self.selfs and container.components is None:
            self.knobs.insert(0, self.selfs.pop(0))
            self.by_itself(container, 2.0)

    def start_program(self, container: Container, name: str) -> None:
        program = container.programs.setdefault(name, Program("STOPPED", 0.0))
        if self.state(program) in ("RUNNING", "STARTING"):
            return
        dead = name in ("oms_console", "oms_drc_cm", "oms_drc_supervisor")
        dead = dead and container.components is None
        if name == "oms_drc_supervisor" and container.config is not None:
            dead = dead or container.config.mode == "600"  # it runs as the image's user ds
        program.state, program.at = ("FATAL" if dead else "STARTING"), self.world.now

    def write(self, path: str, content: bytes, writer: str, mode: str = "") -> File:
        found = self.files.get(path)
        if found is None:
            found = self.files[path] = File(b"", mode or "600")
        found.content, found.at, found.writer = content, self.world.now, writer
        return found

    # --- docker_init.sh --------------------------------------------------------------------------

    def initialise(
        self, container: Container, attempt: Attempt | None, name: str
    ) -> Iterator[float]:
        """The script as a process in the container: yields between its steps, returns its status
        by ``attempt``."""
        knob = self.knobs.pop(0) if self.knobs else ""
        init = Init(self.name, name, self.pid(), self.world.now, knob)
        container.inits.append(init)
        self.fleet.inits.append(init)
        self.world.tell(
            self.name, f"docker_init.sh begins ({name or 'by hand'}{' ' + knob if knob else ''})"
        )
        self.fleet.began()
        if attempt:
            attempt.init = init
        status = 0
        try:
            for status in self._steps(container, attempt, init):
                if status < 0:
                    yield -float(status)
        finally:
            if init.ended is None and not self.world.over:
                init.ended = self.world.now
        if init in container.inits:
            container.inits.remove(init)
        self.world.tell(self.name, f"docker_init.sh ends with {status}")
        if attempt and knob != "wrapper":
            attempt.status, attempt.status_at = status, self.world.now

    def _steps(self, container: Container, attempt: Attempt | None, init: Init) -> Iterator[int]:
        """Yields -seconds to wait; the last value is the exit status."""
        knob = init.knob

        def say(text: str) -> None:
            if attempt:
                attempt.output += text.encode() + b"\n"
            else:
                container.log += text.encode() + b"\n"
                container.log_at = self.world.now

        def trouble(step: int) -> bool:
            return knob in (f"fail{step}", f"hang{step}")

        def bad(step: int) -> Iterator[int]:
            if knob == f"hang{step}":
                while True:
                    yield -3600
            say("Traceback (most recent call last):\ninit failed!")
            yield 1

        config = parsed(container.config.content if container.config else b"")
        say("【步骤一】校验 config.yaml 配置文件")
        yield -2
        if trouble(1) or not config.get("cm_url"):
            yield from bad(1)
            return
        say("【步骤二】创建 OMS 元信息库")
        yield -4
        if trouble(2):
            yield from bad(2)
            return
        if not self.fleet.init_db(config, self.rows):
            say("Traceback (most recent call last):\nOperationalError: (2013, lost)\ninit failed!")
            yield 1
            return
        if knob == "early":
            say(BANNER)
            container.flag = self.world.now
            self._late(container, attempt, config, init)
            yield 0
            return
        say("【步骤三】创建 OMS 各组件的配置文件")
        yield -3
        if trouble(3):
            yield from bad(3)
            return
        container.components = dict(config)
        say("【步骤四】重启 OMS 所有组件 (大约需要两分钟，请耐心等待)")
        for seconds in self.restart(container, PROGRAMS):
            yield -max(1, int(seconds))
        if trouble(4):
            yield from bad(4)
            return
        yield -5
        say("【步骤五】初始化 OMS 资源标签和资源组")
        if trouble(5):
            yield from bad(5)
            return
        if not self.fleet.add_resource(config, self.rows):
            say("Traceback (most recent call last):\nOperationalError: (2013, lost)\ninit failed!")
            yield 1
            return
        yield -5
        if knob == "repeat":
            self.by_itself(container)
            yield -1
        if knob == "signal":
            yield 137
            return
        if knob != "nobanner":
            say(BANNER)
            init.well = True
            container.flag = self.world.now
        yield 1 if knob == "exit1" else 0

    def _late(self, container: Container, attempt: Attempt | None, config: Any, init: Init) -> None:
        """What a script that returned before its end still does."""

        def rest() -> None:
            self.world.sleep(20)
            container.components = dict(config)
            for seconds in self.restart(container, PROGRAMS):
                self.world.sleep(seconds)
            self.fleet.add_resource(config, self.rows)

        if container.life:
            self.world.spawn(rest, f"{self.name}/late", container.life)

    def by_itself(self, container: Container, after: float = 0.0) -> None:
        """docker_init.sh, started by the image itself."""

        def again() -> None:
            self.world.sleep(after)
            for seconds in self.initialise(container, None, ""):
                self.world.sleep(seconds)

        if container.life:
            self.world.spawn(again, f"{self.name}/again", container.life)

    def restart(self, container: Container, names: tuple[str, ...]) -> Iterator[float]:
        for name in names:
            program = container.programs.setdefault(name, Program("STOPPED", 0.0))
            program.state, program.at = "STOPPED", self.world.now
        yield 3.0
        for name in names:
            self.start_program(container, name)
            yield STARTSECS

    # --- commands --------------------------------------------------------------------------------

    def answer(self, argv: tuple[str, ...], stdin: bytes, who: str) -> Answer | Long:
        """Do what the words say; ``who`` is the run that says them, for the book of writers."""
        if argv[:2] == ("sh", "-c"):
            act = scripts().get(argv[2])
            if act is not None:
                return act(Call(self, argv[2], argv[4:], stdin, who))
        for start, act in WORDS:
            if argv[: len(start)] == start:
                return act(Call(self, "", argv[len(start) :], stdin, who))
        raise NotSimulated(f"{self.name}: no function for {argv[:6]}")


@dataclass(frozen=True)
class Call:
    node: Node
    text: str
    args: tuple[str, ...]
    stdin: bytes
    who: str

    @property
    def world(self) -> World:
        return self.node.world

    @property
    def now(self) -> float:
        """The node's own clock, seconds since the epoch."""
        return EPOCH + self.node.world.now + self.node.skew

    def has(self, line: str) -> bool:
        """Whether the script has this line of LINES, however it is laid out."""
        return LINES[line][1] in " ".join(self.text.split())


LINES = {
    "up": (docker._UP, "case $runs in true*) exit 0"),
    "up stopped": (docker._UP, '[ -z "$2" ] || ctl "$1" stop all'),
    "whose container": (docker._REMOVE_OURS, '[ "$by" != "$3" ] || ours=yes'),
    "once": (init_job.WRAPPER, '[ -d claim ] && refuse "this attempt was started before" '),
    "lock": (init_job.WRAPPER, "flock -n 9 || locked_out"),
    "scan": (init_job.WRAPPER, '[ -z "$other" ] || refuse "$other"'),
    "in place": (posix._WRITE_IN_PLACE, 'dd if="$new" of="$path"'),
    "whose file": (posix._PUT_BACK, 'why="its content is not what the run wrote"'),
    "grows": (posix._EXTEND, 'cmp -s - "$path" || { rm -f -- "$new"; exit 46'),
}
"""Lines of scripts that guard something; without one, the function does what the script would."""

OK: Answer = (0, "", "")


def said(text: str) -> Answer:
    return 0, text + "\n", ""


def summed(file: File) -> str:
    """What ``sha256sum`` says of its input."""
    return f"{file.sha256}  -"


def none(kind: str, name: str) -> Answer:
    """What `docker inspect --format` says of what is not there: an empty line, and why."""
    return 1, "\n", f"Error: No such {kind}: {name}\n"


def no(text: str, status: int = 1) -> Answer:
    return status, text + "\n" if text else "", ""


def err(text: str, status: int = 1) -> Answer:
    return status, "", text + "\n"


NO_DOCKER = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock."


def dockered(act: Callable[[Call], Answer | Long]) -> Callable[[Call], Answer | Long]:
    """A word to docker, which may be down."""

    def call(c: Call) -> Answer | Long:
        if c.node.docker_until > c.world.now:
            return err(NO_DOCKER)
        return act(c)

    return call


@cache
def parsed(content: bytes) -> dict[str, Any]:
    """config.yaml as the programs of OMS read it."""
    import yaml

    try:
        found = yaml.safe_load(content.decode())
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


# --- questions -----------------------------------------------------------------------------------


def _ports_free(c: Call) -> Answer:
    alive = any(c.node.alive(one) for one in c.node.containers.values())
    return no(f"port {c.args[0]} is used: java pid 7") if alive else OK


def _has_address(c: Call) -> Answer:
    return OK if c.args[0] == c.node.ip else no("addresses here: " + c.node.ip)


def _writable(c: Call) -> Answer:
    return OK if c.args[0] in c.node.files else no(f"{c.args[0]} is no file")


def _same_inside(c: Call) -> Answer:
    name, path, _ = c.args
    here = c.node.files.get(path)
    if here is None:
        return 1, "", ""
    container = c.node.containers.get(name)
    if container is None:
        return err("no such container")
    if container.state != "running":
        return OK
    if container.config is not None and container.config.content == here.content:
        return OK
    said = "the container still sees the former file: its bind mount holds another inode"
    return no(said, node_checks.STALE)


def _space(c: Call) -> Answer:
    return no("0 MB free, 100 MB needed for /data") if c.node.full else OK


def _connect(c: Call) -> Answer:
    host, port = c.args[0], int(c.args[1])
    return (
        OK
        if c.node.fleet.listens(host, port)
        else no(f"no connection to {host} port {port} within 5 s")
    )


def _held(c: Call) -> Answer:
    return OK if c.node.fleet.holds(c.args[0]) else no("neither accepted nor refused")


def _file_is(c: Call) -> Answer:
    path, digest, mode = c.args
    found = c.node.files.get(path)
    if found is None or found.mode != mode or found.sha256 != digest:
        return no(f"{path} is another file")
    return OK


def _hold(c: Call) -> Answer:
    host, port = c.args[0], int(c.args[1])
    if not c.node.fleet.listens(host, port):
        return no(f"no connection to {host} port {port}")
    return said(f"held {c.node.ip}:40001")


def _connections(c: Call) -> Answer:
    return said("\n".join(f"{node.ip}:40001" for node in c.node.fleet.nodes.values()))


def _docker_fits(c: Call) -> Answer:
    return said("20.10.24")


def _stays_up(c: Call) -> Long:
    yield 3.0
    found = c.node.running(c.args[0])
    return OK if found and c.world.now - found.started >= 3 else no("status exited, exit 137")


def _directories(c: Call) -> Answer:
    return OK if all(path in c.node.directories for path in c.args) else (1, "", "")


def _mkdir(c: Call) -> Answer:
    if c.node.full:
        return err("mkdir: No space left on device")
    c.node.directories.update(c.args)
    return OK


def _stat_mode(c: Call) -> Answer:
    found = c.node.files.get(c.args[-1])
    return said(found.mode) if found else err("stat: no such file or directory")


def _omsflow(c: Call) -> Answer:
    return OK if c.node.running(c.args[0]) else err("container is not running")


def _login(c: Call) -> Answer:
    if not c.node.running(c.args[0]):
        return err("container is not running")
    return OK if c.node.fleet.metadb_answers() else no('(2003, "Can\'t connect to MySQL server")')


def _tag(c: Call) -> Answer:
    name, wanted = c.args
    found = _image(c.node, name)
    return OK if found in ("", wanted) else no(f"{name} is {found} here")


def _full_says(c: Call) -> Answer:
    return no("/var: 0 MB free, 50 MB needed") if c.node.full else OK


# --- claims --------------------------------------------------------------------------------------

CLAIM = f"{claim.PLACE}/claim"


def _claim_take(c: Call) -> Answer:
    _, run, owner, since = c.args
    if c.node.full:
        return err("cannot create: No space left on device", 2)
    found = c.node.files.get(CLAIM)
    text = f"{run}\n{owner}\n{since}\n".encode()
    if found is not None:
        held = found.content.decode().splitlines()
        same = held[:1] == [run] or held[1:2] == [owner]
        if not same:
            return no("\n".join(held), claim.TAKEN)
    c.node.files[CLAIM] = File(text, at=c.world.now, writer=run)
    return OK


def _claim_free(c: Call) -> Answer:
    found = c.node.files.get(CLAIM)
    if found is not None and found.content.decode().splitlines()[:1] == [c.args[1]]:
        del c.node.files[CLAIM]
    return OK


def _claim_held(c: Call) -> Answer:
    found = c.node.files.get(CLAIM)
    return (0, found.content.decode(), "") if found else OK


# --- docker --------------------------------------------------------------------------------------


def _image(node: Node, reference: str) -> str:
    if reference in node.images:
        return reference
    return next((id for id, tags in node.images.items() if reference in tags), "")


def _moment(at: float) -> str:
    stamp = datetime.fromtimestamp(EPOCH + at, timezone.utc)
    return stamp.strftime("%Y-%m-%dT%H:%M:%S.000000000Z")


def _inspect(c: Call) -> Answer:
    form, name = c.args
    found = c.node.containers.get(name)
    if found is None:
        return none("container", name)
    runs = str(found.state == "running").lower()
    label = re.fullmatch(
        r'\{\{index \.Config\.Labels "([\w.]+)"\}\} \{\{\.State\.Running\}\}', form
    )
    if label:
        return said(f"{found.labels.get(label[1], '<no value>')} {runs}")
    simple = {"{{.State.Running}}": runs, "{{.Image}}": found.image}
    if form in simple:
        return said(simple[form])
    if form != "{{json .}}":
        raise NotSimulated(f"docker inspect --format {form}")
    record = {
        "Id": found.id,
        "Image": found.image,
        "Config": {
            "Env": [f"{k}={v}" for k, v in found.env.items()],
            "Labels": found.labels,
        },
        "State": {"Running": found.state == "running", "Status": found.state},
        "Mounts": [{"Type": "bind", "Source": a, "Destination": b} for a, b in found.binds],
        "HostConfig": {
            "NetworkMode": "host",
            "Privileged": True,
            "PidsLimit": None,
            "Ulimits": [{"Name": "nproc", "Hard": 65535, "Soft": 65535}],
        },
    }
    return said(json.dumps(record))


def _image_inspect(c: Call) -> Answer:
    found = _image(c.node, c.args[-1])
    return said(found) if found else none("image", c.args[-1])


def _docker_start(c: Call) -> Answer | Long:
    return _start(c, c.args[-1])


def _start(c: Call, name: str) -> Long:
    found = c.node.containers.get(name)
    if found is None:
        return err(f"Error: No such container: {name}")
    yield 0.5
    if found.state != "running" and name in c.node.containers:
        c.node.launch(found)
    yield 0.2
    return said(name)


def _docker_stop(c: Call) -> Long:
    name = c.args[-1]
    found = c.node.containers.get(name) or _by_id(c.node, name)
    if found is None:
        return err(f"Error: No such container: {name}")
    yield 4.0
    if found.state == "running":
        c.node.halt(found)
    return said(name)


def _docker_restart(c: Call) -> Long:
    name = c.args[-1]
    found = c.node.containers.get(name)
    if found is None:
        return err(f"Error: No such container: {name}")
    yield 4.0
    if found.state == "running":
        c.node.halt(found)
    yield 0.5
    c.node.launch(found)
    return said(name)


def _by_id(node: Node, id: str) -> Container | None:
    return next((one for one in node.containers.values() if one.id == id), None)


def _run_or_start(c: Call) -> Long:
    name, label, spec, path, *words = c.args
    found = c.node.containers.get(name)
    if found is not None and found.labels.get(label) == spec:
        answer = yield from _start(c, name)
        _share_config(c, path, name)
        return answer
    if found is not None:
        return err(f'Conflict. The container name "/{name}" is already in use', 125)
    labels, env, binds = {}, {}, []
    for flag, value in pairwise(words):
        if flag == "--label":
            key, _, text = value.partition("=")
            labels[key] = text
        elif flag == "-e":
            key, _, text = value.partition("=")
            env[key] = text
        elif flag == "-v":
            source, _, target = value.partition(":")
            binds.append((source, target))
    image = _image(c.node, words[-1])
    if not image:
        return err("Unable to find image locally", 125)
    yield 0.4
    made = Container(
        c.node.fleet.container_id(), name, image, labels, env, binds,
        labels.get(docker.RUN_LABEL, "hand"),
    )  # fmt: skip
    c.node.containers[name] = made
    c.world.tell(c.node.name, f"container {name} made by {made.maker}")
    yield 0.4
    if c.node.containers.get(name) is made:
        c.node.launch(made)
        _share_config(c, path, name)
    return said(made.id)


def _up(c: Call) -> Long:
    name, stopped = c.args
    found = c.node.containers.get(name)
    if found is not None and found.state == "running":
        return OK
    if not c.has("up"):
        return OK
    if found is None:
        return err(f"Error: No such container: {name}")
    status, out, text = yield from _start(c, name)
    if status:
        return status, out, text
    yield 1.0
    if stopped and c.has("up stopped"):
        yield from _stop_all(c, found)
    return status, out, text


def _load(c: Call) -> Long:
    path, image = c.args
    if image in c.node.images:
        return OK
    found = c.node.files.get(path)
    if found is None:
        return err(f"open {path}: no such file or directory")
    yield 5.0
    fleet = c.node.fleet
    if found.content != fleet.package:
        return err("invalid tar header")
    c.node.images.setdefault(fleet.image, set()).add(fleet.reference)
    return said(f"Loaded image: {fleet.reference}")


def _share_config(c: Call, path: str, container: str) -> None:
    found = c.node.files.get(path)
    if found and found.mode == "600" and c.node.running(container):
        found.mode = "640"


def _config_shared(c: Call) -> Answer:
    found = c.node.files.get(c.args[1])
    closed = found and found.mode == "600" and c.node.running(c.args[0])
    return no("closed to the user ds") if closed else OK


def _remove_unstarted(c: Call) -> Answer:
    found = c.node.containers.get(c.args[0])
    if found is not None and found.state == "created":
        _drop(c, found)
    return OK


def _drop(c: Call, found: Container, run: str = "") -> None:
    del c.node.containers[found.name]
    c.world.tell(
        c.node.name, f"container {found.name} (made by {found.maker}) is removed by {c.who}"
    )
    if run:
        c.node.fleet.removed(c.node, found, run)


def _whose(c: Call) -> tuple[Container | None, bool, str]:
    name, spec, run, ids = c.args
    found = c.node.containers.get(name)
    if found is None:
        return None, False, ""
    by = found.labels.get(docker.RUN_LABEL, "")
    ours = False
    if found.labels.get(docker.SPEC_LABEL, "<no value>") == spec:
        ours = by == run or not c.has("whose container") if by else found.id in ids.split()
    return (
        found,
        ours,
        f"this container is another one: {found.id[:12]}, made by {by or 'nobody known'}",
    )


def _remove_ours(c: Call) -> Answer | Long:
    found, ours, other = _whose(c)
    if found is None:
        return OK
    if not ours:
        return said(f"{other}: left alone")

    def remove() -> Long:
        yield 4.0
        if found.state == "running":
            c.node.halt(found)
        yield 0.3
        if c.node.containers.get(found.name) is found:
            _drop(c, found, c.args[2])
        return said(f"{found.id}\n{found.id}")  # of docker stop, and of docker rm

    return remove()


def _gone_or_others(c: Call) -> Answer:
    _, ours, _ = _whose(c)
    return (1, "", "") if ours else OK


def _none_of_others(c: Call) -> Answer:
    found, ours, other = _whose(c)
    return OK if found is None or ours else no(other)


def _absent(c: Call) -> Answer:
    return (1, "running\n", "") if c.args[0] in c.node.containers else OK


def _down(c: Call) -> Answer:
    return (1, "", "") if c.node.running(c.args[0]) else OK


# --- supervisord ---------------------------------------------------------------------------------


def _stop_all(c: Call, container: Container) -> Long:
    stopped = []
    for name, program in container.programs.items():
        if c.node.state(program) in ("RUNNING", "STARTING"):
            program.state, program.at = "STOPPING", c.world.now
            yield 0.7
            if program.state == "STOPPING":
                program.state, program.at = "STOPPED", c.world.now
            stopped.append(f"{name}: stopped\n")
            if name == "oms_drc_supervisor":
                c.node.fleet.offline(container.env.get("OMS_HOST_IP", ""))
        elif program.state == "FATAL":
            pass
    return 0, "".join(stopped), ""


def _status_text(c: Call, container: Container, names: tuple[str, ...] = ()) -> str:
    lines = []
    for name, program in sorted(container.programs.items()):
        if names and name not in names:
            continue
        state = c.node.state(program)
        more = ""
        if state == "RUNNING":
            up = int(c.world.now - program.at)
            more = f"pid {100 + len(lines)}, uptime {up // 3600}:{up // 60 % 60:02d}:{up % 60:02d}"
        lines.append(f"{name:<30} {state:<9} {more}")
    return "\n".join(lines)


def _supervisorctl(c: Call, name: str, words: tuple[str, ...]) -> Answer | Long:
    container = c.node.containers.get(name)
    if container is None:
        return err(f"Error: No such container: {name}")
    if container.state != "running":
        return err(f"Error response from daemon: Container {name} is not running")
    verb, *names = words
    if verb == "status":
        return said(_status_text(c, container, tuple(names)))
    if verb == "pid":
        return said("1")
    if verb == "stop":
        return _stop_all(c, container)

    def act() -> Long:
        chosen = tuple(container.programs) if names == ["all"] else tuple(names)
        lines = []
        if verb == "restart":
            yield from c.node.restart(container, chosen)
            lines += [f"{one}: {word}\n" for word in ("stopped", "started") for one in chosen]
        else:
            for one in chosen:
                program = container.programs.get(one)
                if program and c.node.state(program) not in ("RUNNING",):
                    c.node.start_program(container, one)
                    yield STARTSECS
                    lines.append(f"{one}: started\n")
        return 0, "".join(lines), ""

    return act()


def _answers(c: Call) -> Answer:
    return OK if c.node.running(c.args[0]) else no("container is not running")


def _exec(c: Call) -> Answer | Long:
    """docker exec [-d|-i] NAME WORDS…"""
    args = c.args
    detached = args[0] == "-d"
    args = args[1:] if args[0].startswith("-") else args
    name, *words = args
    container = c.node.containers.get(name)
    if container is None:
        return err(f"Error: No such container: {name}")
    if container.state != "running":
        return err(f"Error response from daemon: Container {name} is not running")
    if words[:2] == ["sh", "-c"]:
        text, rest = words[2], tuple(words[4:])
        if text == docker._OWN:
            return _supervisorctl(c, name, rest)
        if text == init_job.WRAPPER and detached:
            return _wrapper(Call(c.node, text, rest, b"", c.who), container)
        if text == init_job._LOOK:
            return said(_look(c, container, rest))
        if text == init_job._END:
            return _end(c, container)
    if words[0] == "date":
        return said(f"{int(c.now)} +0000")
    raise NotSimulated(f"docker exec {words[:4]}")


def _refresh(c: Call) -> Answer | Long:
    name, _, *programs = c.args
    container = c.node.running(name)
    if container is None:
        return err(f"Container {name} is not running")

    def act() -> Long:
        yield 2.0
        container.components = dict(parsed(container.config.content if container.config else b""))
        yield from c.node.restart(container, tuple(programs))
        return OK

    return act()


def _components(c: Call) -> Answer:
    container = c.node.running(c.args[0])
    if container is None:
        return err("not running")
    container.components = dict(parsed(container.config.content if container.config else b""))
    return OK


def _recent(c: Call) -> Answer:
    return said("==> docker_init.log\nnothing to see")


def _http(c: Call) -> Answer:
    url = c.args[0]
    return c.node.fleet.page(url)


# --- docker_init.sh as omsfab starts it ----------------------------------------------------------


def _inside(node: Node, container: Container, inside: str) -> str:
    """The path on the node of one in the container's logs mount."""
    source = next(a for a, b in container.binds if b == docker.LOGS)
    return source + inside.removeprefix(docker.LOGS)


def _running_lines(container: Container) -> list[str]:
    return [f"{one.pid} since Sun Nov 22 10:00:00 2026" for one in container.inits]


def _prepare(c: Call) -> Answer:
    if c.node.full:
        return err("mkdir: No space left on device")
    attempt = c.node.attempts.setdefault(c.args[0], Attempt())
    if attempt.claimed is None:
        attempt.refused = ""
    return said("0")


def _wrapper(c: Call, container: Container) -> Answer:
    inside, _, _, _, _, *_ = c.args
    path = _inside(c.node, container, inside)
    attempt = c.node.attempts.get(path)

    def work() -> None:
        c.world.sleep(c.world.latency())
        if attempt is None:
            return
        once = c.has("once")
        if attempt.claimed is not None:
            if once:
                attempt.refused = attempt.refused or "this attempt was started before"
                return
            attempt.claimed = None
        locks = c.has("lock")
        pid = c.node.pid()
        if container.lock is not None and locks:
            c.world.sleep(1.0)
            line = (_running_lines(container) or [""])[0]
            attempt.refused = attempt.refused or f"lock {line}"
            return
        container.lock = pid
        scans = c.has("scan")
        others = _running_lines(container)
        if others and scans:
            attempt.refused = attempt.refused or others[0]
            container.lock = None
            return
        if attempt.claimed is not None:
            attempt.refused = attempt.refused or "this attempt was started before"
            container.lock = None
            return
        attempt.claimed = c.world.now
        attempt.status = None
        attempt.pid = f"{pid} {int(c.world.now * 100)}"
        attempt.output.clear()
        attempt.has_output = True
        name = path.rpartition("/")[2]
        script = c.node.initialise(container, attempt, name)
        for seconds in script:
            c.world.sleep(seconds)
            if attempt.init and attempt.init.knob == "wrapper" and container.lock == pid:
                container.lock = None
                attempt.pid = f"{pid} 0"
        if container.lock == pid:
            container.lock = None

    c.world.spawn(work, f"{c.node.name}/wrapper", container.life)
    return OK


def _look(c: Call, container: Container, rest: tuple[str, ...]) -> str:
    pid, _, _, _, _, inside = rest
    lines = []
    if pid and container.lock == int(pid):
        lines.append("alive")
    lines += [f"running {line}" for line in _running_lines(container)]
    if container.flag is not None:
        lines.append(f"flag {int(EPOCH + container.flag)}")
    if inside and container.flag is not None:
        attempt = c.node.attempts.get(_inside(c.node, container, inside))
        if attempt and attempt.claimed is not None and container.flag > attempt.claimed:
            lines.append("fresh")
    return "\n".join(lines)


def _end(c: Call, container: Container) -> Long:
    """--stop-init: omsfab's attempts alone."""
    ended = [one for one in container.inits if one.attempt]
    out = ""
    if ended or container.lock is not None:
        yield 1.0
        out = "ended " + " ".join(str(one.pid) for one in ended) + "\n"
        for init in ended:
            init.ended = c.world.now
            if init in container.inits:
                container.inits.remove(init)
        container.lock = None
        _end_tasks(c.node, container)
    return 0, out + "free\n", ""


def _end_tasks(node: Node, container: Container) -> None:
    """What runs in the container of docker_init.sh runs no more; its programs go on."""
    if container.life:
        container.life.kill()
        container.life = Process(node.world, f"{node.name}/{container.name}")


def _poll(c: Call) -> Long:
    attempt = c.node.attempts.get(c.args[0])
    offset, most, looks = (int(word) for word in c.args[1:])
    if attempt is None:
        return OK
    while looks and not (attempt.status is not None or attempt.refused):
        if attempt.has_output and len(attempt.output) > offset:
            break
        each = min(looks, 5)  # a look a second: they are many, and alike
        yield each * init_job.LOOK
        looks -= each
    offset = max(offset, 0)
    lines = []
    if attempt.claimed is not None:
        lines.append(f"claimed {int(c.world.now - attempt.claimed)}")
    if attempt.refused:
        lines.append(f"refused {attempt.refused}")
    if attempt.pid:
        lines.append(f"pid {attempt.pid}")
    if attempt.status is not None:
        lines.append(f"status {attempt.status}")
    if attempt.has_output:
        lines.append(f"size {len(attempt.output)}")
        data = bytes(attempt.output[offset : offset + most])
        lines.append(f"bytes {base64.b64encode(data).decode()}")
    return said("\n".join(lines))


def _itself(c: Call) -> Answer:
    name = c.args[0]
    container = c.node.containers.get(name)
    if container is None:
        return err(f"Error: No such container: {name}")
    lines = [
        f"state {str(container.state == 'running').lower()} {_moment(container.started)}",
        f"now {int(c.now)}",
    ]
    if container.state != "running":
        lines[0] = lines[0].replace("true", "false")
        return 1, "\n".join(lines) + "\n", f"Container {name} is not running"
    if container.log_at is not None:
        lines.append(f"initlog {int(EPOCH + container.log_at)}")
        lines += [
            f"said {one}" for one in container.log.decode().splitlines()
            if "初始化步骤" in one or "init failed!" in one or "Traceback" in one
        ]  # fmt: skip
    lines.append(f"programs {c.now - EPOCH - container.started:.0f}")
    return said("\n".join([*lines, _look(c, container, ("", "", "", "", "", ""))]))


def _over(c: Call) -> Answer | Long:
    container = c.node.running(c.args[0])
    if container is None or not container.inits:
        return OK
    return err("\n".join(f"pid {line}" for line in _running_lines(container)))


def _ended(c: Call) -> Answer:
    attempt = c.node.attempts.get(c.args[0])
    if attempt is None or attempt.status is None:
        return err("stat: no such file")
    return said(str(int(c.world.now - attempt.status_at)))


def _marks(c: Call) -> Answer:
    attempt = c.node.attempts.get(c.args[0])
    return (0, attempt.output.decode(), "") if attempt else OK


def _newest(c: Call) -> Answer:
    found = [
        one
        for path, one in c.node.attempts.items()
        if path.startswith(c.args[0]) and one.claimed is not None
    ]
    newest = max(found, key=lambda one: one.claimed or 0.0, default=None)
    if newest is None or newest.status is not None:
        return OK
    last = newest.output.decode().strip().splitlines()
    return said(
        f"claimed {int(c.world.now - (newest.claimed or 0))}\nlast {last[-1] if last else ''}"
    )


# --- files ---------------------------------------------------------------------------------------


def _cat(c: Call) -> Answer:
    found = c.node.files.get(c.args[-1])
    if found is None:
        return err(f"cat: {c.args[-1]}: No such file or directory")
    return 0, found.content.decode(), ""


def _ls(c: Call) -> Answer:
    below = c.args[-1].rstrip("/") + "/"
    names = {p[len(below) :].split("/")[0] for p in c.node.files if p.startswith(below)}
    return said("\n".join(sorted(names)))


def _rm(c: Call) -> Answer:
    for path in c.args:
        c.node.files.pop(path, None)
    return OK


def _stage(c: Call) -> Answer:
    new, path = c.args
    if path in c.node.directories:
        return 41, "", ""
    if c.node.full:
        return err("dd: No space left on device", 42)
    c.node.files[new] = File(c.stdin, at=c.world.now, writer=c.who)
    return said(summed(c.node.files[new]))


def _write_in_place(c: Call) -> Answer | Long:
    new, path, mode, backup = c.args
    files, node = c.node.files, c.node
    if path in node.directories:
        return 41, "", ""

    def work() -> Long:
        found = files.get(path)
        if found is not None and backup not in files and f"{backup}.none" not in files:
            if node.full:
                return err("No space left on device", 43)
            files[f"{backup}.owner"] = File(f"{found.owner} {found.mode}".encode())
            files[backup] = File(found.content, at=c.world.now, writer=c.who)
            yield 0.02
        if found is None:
            files[f"{backup}.none"] = File(b"", at=c.world.now, writer=c.who)
        content = files[new].content
        if node.full:
            return err("No space left on device", 43)
        wrote = files.setdefault(f"{backup}.wrote", File(b"", writer=c.who))
        wrote.content += files[new].sha256.encode() + b"\n"
        wrote.at = c.world.now
        yield 0.02
        found = files.get(path)
        if not c.has("in place"):  # replaced by rename: another inode
            files[path] = found = File(b"", found.mode if found else "600", at=c.world.now)
        if found is None:
            found = files[path] = File(b"", "600")
        if mode != "found":
            found.mode = mode
        found.content, found.at, found.writer = b"", c.world.now, _run_of(backup)
        yield 0.01
        found.content, found.at = content, c.world.now
        files.pop(new, None)
        return said(summed(found))

    return work()


def _run_of(backup: str) -> str:
    found = re.search(r"\.omsfab-(.+)\.bak$", backup)
    return found[1] if found else ""


def _why_not_ours(c: Call, path: str, backup: str) -> str:
    files = c.node.files
    found, kept = files.get(path), files.get(backup)
    if kept is not None:
        same = found is not None and found.content == kept.content
    elif f"{backup}.none" in files:
        same = found is None
    else:
        return ""
    if same:
        return ""
    why = ""
    wrote = files.get(f"{backup}.wrote")
    for name, later in files.items():
        others = name.startswith(f"{path}.omsfab-") and name.endswith(".bak.wrote")
        if others and wrote and name != f"{backup}.wrote" and later.at > wrote.at:
            why = f"{name} was written since"
    known = wrote.content.decode().split() if wrote else []
    foreign = found is not None and found.content and found.sha256 not in known
    if foreign and c.has("whose file"):
        why = "its content is not what the run wrote"
    if f"{backup}.undone" in files:
        why = "it was put back already, and is another one again"
    return why


def _still_written(c: Call) -> Answer:
    why = _why_not_ours(c, *c.args)
    return no(f"{c.args[0]}: {why}") if why else OK


def _put_back(c: Call) -> Answer:
    path, backup, aside = c.args
    files = c.node.files
    why = _why_not_ours(c, path, backup)
    if why and not aside:
        return no(f"{path}: {why}; it is left alone", posix.NOT_OURS)
    found = files.get(path)
    if c.node.full:
        return err("No space left on device")
    if why and found is not None:
        files[f"{backup}.aside"] = File(found.content, at=c.world.now, writer=c.who)
    kept = files.get(backup)
    if kept is None and f"{backup}.none" not in files:
        return said("nothing was written here, so nothing is put back")
    run = _run_of(backup)
    c.node.fleet.put_back(c.node, path, found, kept, run, aside=bool(why))
    if kept is not None:
        if found is None:
            found = files[path] = File(b"")
        owner = files.get(f"{backup}.owner")
        if owner:
            found.owner, _, found.mode = owner.content.decode().partition(" ")
        found.content, found.at, found.writer = kept.content, c.world.now, run
    else:
        files.pop(path, None)
    wrote = files.pop(f"{backup}.wrote", None)
    if wrote is not None:
        files[f"{backup}.undone"] = wrote
    return OK


def _put_whole(c: Call) -> Answer:
    dest, sha256 = c.args
    if c.node.full:
        return 42, "", "dd: error writing: No space left on device"
    came = hashlib.sha256(c.stdin).hexdigest()
    if came == sha256:
        c.node.files[dest] = File(c.stdin, at=c.world.now, writer=c.who)
    return said(came)


def _part_state(c: Call) -> Answer:
    dest, size, ours = c.args[0], int(c.args[1]), int(c.args[2])
    found = c.node.files.get(dest)
    if found is not None and len(found.content) == size:
        return said(f"dest {found.sha256} {size}")
    part = c.node.files.get(f"{dest}.part")
    if part is None:
        return OK
    there = len(part.content)
    return said(f"part {posix.OURS if there <= ours and there < size else part.sha256} {there}")


def _append(c: Call) -> Answer | Long:
    dest, offset, size, sha256, *reader = c.args
    part = c.node.files.get(f"{dest}.part")
    if c.node.full:
        return err("cat: write error: No space left on device")
    if offset == "0":
        part = c.node.files[f"{dest}.part"] = File(b"")
    if part is None or len(part.content) != int(offset):
        return 45, "", ""
    part.content += c.stdin
    part.at, part.writer = c.world.now, c.who
    there = f"{part.sha256} {len(part.content)}"
    if there != f"{sha256} {size}" or tuple(reader) != docker.LOAD:
        return said(there)

    def loads() -> Long:
        yield 5.0
        fleet = c.node.fleet
        if c.node.docker_until <= c.world.now:  # else the reader fails, and nobody asks
            c.node.images.setdefault(fleet.image, set()).add(fleet.reference)
        return said(there)

    return loads()


def _finish(c: Call) -> Answer:
    part = c.node.files.pop(f"{c.args[0]}.part", None)
    if part is None:
        return err("mv: cannot stat")
    c.node.files[c.args[0]] = part
    return OK


def _drop_part(c: Call) -> Answer:
    c.node.files.pop(f"{c.args[0]}.part", None)
    return OK


def _use_copy(c: Call) -> Answer:
    copy, dest, size = c.args
    found = c.node.files.get(copy)
    if found is not None and dest not in c.node.files and len(found.content) == int(size):
        c.node.files[dest] = found
    return OK


def _read_bytes(c: Call) -> Answer:
    path, offset, most = c.args[0], int(c.args[1]), int(c.args[2])
    found = c.node.files.get(path)
    if found is None:
        return err(f"cat: {path}: No such file or directory")
    return said(base64.b64encode(found.content[offset : offset + most]).decode())


def _files_below(c: Call) -> Answer:
    below = c.args[0] + "/"
    names = sorted(p[len(below) :] for p in c.node.files if p.startswith(below))
    if not names:
        return err(f"cd: {c.args[0]}: No such file or directory")
    return said("\n".join(names))


def _extend(c: Call) -> Answer:
    path = c.args[0]
    content = base64.b64decode(c.stdin)
    if c.node.full:
        return 42, "", "No space left on device"
    found = c.node.files.get(path)
    guarded = c.has("grows")
    if guarded and found and not content.startswith(found.content):
        return 46, "", ""
    if found and not content.startswith(found.content):
        c.node.fleet.copied(c.node, path)
    c.node.files[path] = File(content, at=c.world.now, writer=c.who)
    return said(summed(c.node.files[path]))


RUN = re.compile(r"\d[^/]*Z-[^/]*")
OF_RUN = b'"kind": "run"'


def _runs(c: Call, place: str) -> Iterator[tuple[str, bytes]]:
    for path, found in sorted(c.node.files.items()):
        if path.startswith(place + "/") and path.endswith("/journal.jsonl"):
            run = path[len(place) + 1 : -len("/journal.jsonl")]
            if RUN.fullmatch(run):
                yield run, found.content


def _copies(c: Call) -> Answer:
    lines = []
    for run, journal in _runs(c, c.args[0]):
        record = c.node.files.get(f"{c.args[0]}/{run}/run.json")
        text = record.content.decode() if record else ""
        undoes = re.search(r'^  "run": "([0-9A-Za-z-]*)",*$', text, re.M)
        told = [line for line in journal.splitlines() if OF_RUN in line]
        last = base64.b64encode(told[-1]).decode() if told else ""
        intents = sum(b'"kind": "intent"' in line for line in journal.splitlines())
        lines.append(f"{run} {intents} {undoes[1] if undoes and undoes[1] else '-'} {last}")
    return 0, "".join(f"{line}\n" for line in lines), ""


def _remove_copies(c: Call) -> Answer:
    place, *runs = c.args
    for run in runs:
        for path in [p for p in c.node.files if p.startswith(f"{place}/{run}/")]:
            del c.node.files[path]
    return OK


def _clock(c: Call) -> Answer:
    return said(f"{c.now:.9f} +0000")


def _machine_id(c: Call) -> Answer:
    return said(hashlib.md5(c.node.name.encode()).hexdigest())


def _addresses(c: Call) -> Answer:
    return said(c.node.ip)


@cache
def scripts() -> dict[str, Callable[[Call], Answer | Long]]:
    """The constant scripts of omsfab, each with what does it here."""
    fine: Callable[[Call], Answer] = lambda c: OK  # noqa: E731
    d = dockered
    return {
        node_checks._PORTS_FREE: _ports_free,
        node_checks._HAS_ADDRESS: _has_address,
        node_checks._CONFIG_PLACE: fine,
        node_checks._WRITABLE: _writable,
        node_checks._MACHINE: fine,
        node_checks._SAME_INSIDE: d(_same_inside),
        node_checks._SPACE: _space,
        node_checks._CONNECT: _connect,
        node_checks._HELD: _held,
        node_checks._FILE_IS: _file_is,
        node_checks._HTTPS_ONLY: fine,
        node_checks._HOLD: _hold,
        node_checks._CONNECTIONS: _connections,
        node_checks._DOCKER_FITS: d(_docker_fits),
        node_checks._STAYS_UP: d(_stays_up),
        node_checks._ADVICE: fine,
        node_checks._DIRECTORIES: _directories,
        node_checks._FILES: lambda c: (
            OK if all(f in c.node.files for f in c.args) else no("no file")
        ),
        preflight._OMSFLOW: d(_omsflow),
        preflight._LOGIN: d(_login),
        preflight._ONE_OMS: fine,
        processes._PROCESSES: fine,
        preflight._TAKES: fine,
        preflight._ROOM: _full_says,
        preflight._TAG: d(_tag),
        preflight._HABITS: fine,
        claim._TAKE: _claim_take,
        claim._FREE: _claim_free,
        claim._HELD: _claim_held,
        docker._RUN_OR_START: d(_run_or_start),
        docker._UP: d(_up),
        docker._LOAD: d(_load),
        docker._CONFIG_SHARED: d(_config_shared),
        docker._REMOVE_UNSTARTED: d(_remove_unstarted),
        docker._REMOVE_OURS: d(_remove_ours),
        docker._GONE_OR_OTHERS: d(_gone_or_others),
        docker._NONE_OF_OTHERS: d(_none_of_others),
        docker._ABSENT: d(_absent),
        docker._CONTAINERS: lambda c: said("[]"),  # no OMS under another name
        docker._DOWN: d(_down),
        supervisor._ANSWERS: d(_answers),
        oms._REFRESH: d(_refresh),
        oms._COMPONENTS: d(_components),
        init_job._PREPARE: _prepare,
        init_job._POLL: _poll,
        init_job._ITSELF: d(_itself),
        init_job._OVER: d(_over),
        init_job._ENDED: _ended,
        init_job._MARKS: _marks,
        init_job._NEWEST: _newest,
        posix._PRIVATE_DIRECTORY: _full_mkdir,
        posix._READ_BYTES: _read_bytes,
        posix._FILES_BELOW: _files_below,
        posix._EXTEND: _extend,
        posix._COPIES: _copies,
        posix._REMOVE_COPIES: _remove_copies,
        posix._STAGE: _stage,
        posix._WRITE_IN_PLACE: _write_in_place,
        posix._STILL_WRITTEN: _still_written,
        posix._PUT_BACK: _put_back,
        posix._PUT_WHOLE: _put_whole,
        posix._PART_STATE: _part_state,
        posix._APPEND: _append,
        posix._FINISH: _finish,
        posix._DROP: _drop_part,
        posix._USE_COPY: _use_copy,
        posix._MACHINE_ID: _machine_id,
        posix._CLOCK: _clock,
        posix._ADDRESSES: _addresses,
        posix._HTTP: _http,
    }


def _full_mkdir(c: Call) -> Answer:
    return err("mkdir: No space left on device") if c.node.full else OK


INSPECT = ("docker", "inspect", "--type", "container", "--format")
WORDS: tuple[tuple[tuple[str, ...], Callable[[Call], Answer | Long]], ...] = (
    (INSPECT, dockered(_inspect)),
    (("docker", "image", "inspect", "--format", "{{.Id}}"), dockered(_image_inspect)),
    (("docker", "version"), dockered(lambda c: said("20.10.24"))),
    (("docker", "exec"), dockered(_exec)),
    (("docker", "start"), dockered(_docker_start)),
    (("docker", "stop"), dockered(_docker_stop)),
    (("docker", "restart"), dockered(_docker_restart)),
    (("docker", "logs"), dockered(_recent)),
    (("mkdir", "-p", "--"), _mkdir),
    (("rm", "-f", "--"), _rm),
    (("stat", "-c", "%a", "--"), _stat_mode),
    (("cat", "--"), _cat),
    (("ls", "-1", "--"), _ls),
    (("df", "-P", "--"), lambda c: said("/dev/vda1 100 100 0 100% /")),
    (("true",), lambda c: OK),
)
