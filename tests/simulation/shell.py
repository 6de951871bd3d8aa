"""A Shell and a MetaDB connection that lead into the simulated world, put in their places."""

from __future__ import annotations

import getpass
import hashlib
import io
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import GeneratorType
from typing import Any

import pymysql

import tasks
from omsfab import next_line, retry
from omsfab.cli import rows
from omsfab.cli import status as views
from omsfab.command import Command, shown
from omsfab.commands import docker, oms
from omsfab.commands import files as posix
from omsfab.errors import LostSession, Next, NoAnswer, Unreachable
from omsfab.fleet import hosts_file, mask, oms_config
from omsfab.metadb import backup as metadb_backup
from omsfab.metadb import client, connection, tunnel
from omsfab.metadb import lease as metadb_lease
from omsfab.metadb import rows as metadb_surgery
from omsfab.run import (
    clock,
    jump_host,
    lifecycle,
    observe,
    other_hosts,
    preview,
    recheck,
    session,
    signals,
    start,
)
from omsfab.run import undo as rollback
from omsfab.run.engine import failpoint, init_job, interpreter, runner
from omsfab.run.record import claims, decisions, journal, local_lock, replica
from omsfab.secret import Secret
from omsfab.show import terminal
from omsfab.ssh import files, shell, transfer
from omsfab.ssh.protocol import OnBytes, OnLine, Result
from tests.simulation.faults import What
from tests.simulation.node import Node
from tests.simulation.world import (
    Aside,
    Killed,
    Os,
    Pool,
    Process,
    Secrets,
    Threading,
    Time,
    World,
    datetime_of,
    put,
)

SILENCE = 30.0
"""Seconds after which the line to a dead node is given up."""

Point = Callable[[str, What, Node | None], str]
"""Called at every effect, question or wait of omsfab: (kind, what, node) -> what goes wrong there,
"" for nothing.  Kinds: ask, answer, say, heard, write, wait."""


class SimShell:
    """One node as omsfab's Shell; the words are done by node.py."""

    def __init__(self, node: Node, point: Point) -> None:
        self.node = node.name
        self.guard: Callable[[], None] = lambda: None
        self.connections = 0
        self._there = node
        self._point = point
        self._open = False

    def close(self) -> None:
        self._open = False

    def forward(self, host: str, port: int) -> socket.socket:
        raise OSError("this sshd forwards nothing")

    def run(self, cmd: Command, on_line: OnLine | None = None) -> Result:
        text = cmd.stdin.reveal() if isinstance(cmd.stdin, Secret) else cmd.stdin or ""
        return self.feed(cmd, [text.encode()], on_line)

    def feed(self, cmd: Command, chunks: Iterable[bytes], on_line: OnLine | None = None) -> Result:
        self.guard()
        there, world = self._there, self._there.world
        guarded = world.now
        process = world.process
        assert process is not None
        wrong = self._point("ask", cmd, there)
        world.sleep(world.latency())
        if there.away and not self._open:
            world.sleep(8.0)
            if there.away:
                raise Unreachable("SSH-001", f"{self.node} is not reached", where=self.node)
        if not self._open:
            self._open = True
            self.connections += 1
        if there.away or wrong == "lost":
            raise self._lost(cmd)
        if wrong == "silent":
            raise self._silent(cmd)
        data = b"".join(chunks)
        boot = there.boot
        if process.lease and changes(cmd):
            there.fleet.acts(process, guarded, f"{self.node}: {shown(cmd)}")
        answer: Any = there.answer(cmd.argv, data, process.name)
        if isinstance(answer, GeneratorType):
            answer = self._follow(cmd, answer)
        status, out, err = answer
        if on_line:
            for line in out.splitlines():
                on_line(line)
        wrong = self._point("answer", cmd, there)
        if wrong == "lost" or there.away or there.boot is not boot:
            raise self._lost(cmd)
        if wrong == "silent":
            raise self._silent(cmd)
        return Result(status, out, err)

    def _follow(self, cmd: Command, work: GeneratorType) -> Any:
        """Let a command that takes a while run on the node: it goes on there, whatever becomes of
        who asked."""
        there, world = self._there, self._there.world
        boot = there.boot
        done: list[Any] = []

        def act() -> None:
            while True:
                try:
                    seconds = next(work)
                except StopIteration as end:
                    done.append(end.value)
                    return
                world.sleep(seconds)

        task = world.spawn(act, self.node, boot)
        end = world.now + cmd.limit
        while not task.ended:
            if boot.dead or there.away:
                world.sleep(SILENCE)
                raise self._lost(cmd)
            if world.now >= end:
                raise self._silent(cmd)
            world.join(task, min(end - world.now, SILENCE))
        return done[0]

    def _lost(self, cmd: Command) -> LostSession:
        if self._there.away:
            self._there.world.sleep(SILENCE)
        self._open = False
        return LostSession(
            "SSH-020",
            f"the session to {self.node} ended without an exit status; the command may still run",
            where=self.node,
            evidence=shown(cmd),
        )

    def _silent(self, cmd: Command) -> NoAnswer:
        self._there.world.sleep(cmd.limit)
        silent = NoAnswer(
            "SSH-021", f"{self.node} did not answer in {cmd.limit:g} s", where=self.node,
            evidence=f"{shown(cmd)}\nit may still run there",
        )  # fmt: skip
        silent.waited = cmd.limit
        return silent

    def write(self, path: str, content: Secret, mode: int | None, backup: str) -> None:
        files.write(self, path, content, mode, backup)

    def send(
        self,
        source: Path,
        dest: str,
        size: int,
        sha256: str,
        on_bytes: OnBytes,
        on_lost: OnLine = lambda _: None,
        reader: Sequence[str] = (),
        *,
        relay: bool = False,
    ) -> None:
        transfer.send(self, source, dest, size, sha256, on_bytes, on_lost, reader)

    def ssh_line(self, text: str, note: str = "") -> Next:
        return next_line.shell("ssh", self._there.ip, text, note=note)


CHANGING = (posix._WRITE_IN_PLACE, posix._PUT_BACK, docker._RUN_OR_START, docker._REMOVE_OURS,
            oms._REFRESH, oms._COMPONENTS)  # fmt: skip
CONTROLS = ("stop", "start", "restart")


def changes(cmd: Command) -> bool:
    """Whether it changes what others would see; a claim or a copy does not."""
    words = cmd.argv
    if words[:2] == ("sh", "-c"):
        return words[2] in CHANGING
    if words[:2] == ("docker", "exec"):
        return words[2] == "-d" or (docker._OWN in words and bool({*CONTROLS} & {*words}))
    return words[0] == "docker" and words[1] in CONTROLS


class Quiet:
    """Stands for rich's Console: what is printed goes into the process's own output."""

    is_terminal = False
    width = 100

    def __init__(self, world: World) -> None:
        self._world = world

    def print(self, *said: Any, **how: Any) -> None:
        process = self._world.process
        if process and not self._world.over:
            process.out.append(" ".join(str(getattr(one, "plain", one)) for one in said) + "\n")

    @contextmanager
    def status(self, text: str) -> Iterator[None]:
        yield


class Out(io.TextIOBase):
    """Standard output and error of whoever writes."""

    def __init__(self, world: World) -> None:
        self._world = world

    def write(self, text: str) -> int:
        process = self._world.process
        if process and not self._world.over:
            process.out.append(text)
        return len(text)

    def isatty(self) -> bool:
        return False


class Sys:
    """Stands for ``sys`` in tasks.py."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.stdout = self.stderr = Out(world)

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)

    @property
    def argv(self) -> list[str]:
        process = self._world.process
        return ["fab", *(process.argv if process else ())]


def _scrypt(data: bytes, *, salt: bytes, **cost: int) -> bytes:
    """The same as fast as can be: nobody here tries passwords."""
    return hashlib.sha256(salt + data).digest()


@contextmanager
def installed(world: World, fleet: Any, point: Point) -> Iterator[None]:
    """omsfab's modules reach the simulated world, and nothing else, while this is open."""
    time, threads, words = Time(world), Threading(world), Secrets(world)
    disk, moment = Os(world, point), datetime_of(world)

    def pool(width: int | None = None) -> Pool:
        return Pool(world, width)

    def connect_shells(nodes: Any, ssh: Any) -> dict[str, SimShell]:
        return {node.name: SimShell(fleet.nodes[node.name], point) for node in nodes}

    def connect_metadb(**kwargs: Any) -> Any:
        process = world.process
        if point("say", "connect", None):
            raise pymysql.err.OperationalError(2013, "Lost connection to MySQL server")
        if not fleet.metadb_answers():
            world.sleep(float(kwargs.get("connect_timeout", 10)))
            raise pymysql.err.OperationalError(2003, "Can't connect to MySQL server (timed out)")
        made = fleet.metadb.connect(**kwargs, client=process.host if process else "nobody")
        made.process = process
        if process:  # the system hangs up for it, unless the jump host has died, too
            process.hung_up.append(lambda: made.lose(None if made.id % 5 == 0 else 0.0))
        return made

    def take_lease(*args: Any, **kwargs: Any) -> Any:
        lease = _take(*args, **kwargs)
        if world.process:
            world.process.lease = lease
        return lease

    def refused(*args: Any, **kwargs: Any) -> Any:
        raise OSError("this jump host reaches no port of OMS")

    def who(process: Process | None) -> str:
        return process.user if process else "nobody"

    lookup = Aside(
        socket,
        gethostname=lambda: world.process.host if world.process else "nowhere",
        create_connection=refused,
    )
    kept = _kept()
    sleepy = (init_job, transfer, client, connection, metadb_lease, metadb_surgery, interpreter, runner, lifecycle, views,  # noqa: E501
              terminal, jump_host, failpoint, retry)  # fmt: skip
    threaded = (metadb_lease, runner, replica, journal, terminal, signals, failpoint)
    dated = (start, rollback, lifecycle, metadb_lease, rows)
    pooled = (observe, claims, preview, other_hosts, recheck)
    replaced: list[tuple[Any, str, Any]] = [
        *((module, "time", time) for module in sleepy),
        *((module, "threading", threads) for module in threaded),
        *((module, "ThreadPoolExecutor", pool) for module in pooled),
        *((module, "datetime", moment) for module in dated),
        *((module, "os", disk) for module in (journal, local_lock, jump_host, metadb_backup)),
        (metadb_lease, "take", take_lease),
        (start, "randomness", words),
        (rollback, "randomness", words),
        (lifecycle, "randomness", words),
        (files, "secrets", words),
        (lifecycle, "socket", lookup),
        (interpreter, "socket", lookup),
        (lifecycle, "getpass", Aside(getpass, getuser=lambda: who(world.process))),
        (clock, "now", time.time),
        (decisions, "hashlib", Aside(hashlib, scrypt=_scrypt)),
        (shell, "connect", connect_shells),
        (tunnel, "pymysql", Aside(pymysql, connect=connect_metadb)),
        (session, "Console", lambda **how: Quiet(world)),
        *(
            (module, "home_of", lambda fleet: Path(world.process.home))
            for module in (session, views, rows)
        ),
        *(
            (module, "hosts_path", lambda: Path(world.process.hosts))
            for module in (session, views, rows)
        ),
        (hosts_file, "load", kept["load"]),
        (oms_config, "render", kept["render"]),
        (journal, "read", kept["read"]),
        (oms_config, "read", kept["config"]),
        (mask.Redactor, "__call__", kept["redact"]),
        (terminal, "Text", Words),
        (tasks, "sys", Sys(world)),
    ]
    former_out = sys.stdout
    defaults = runner.Runner.__init__.__defaults__
    with put(replaced):
        runner.Runner.__init__.__defaults__ = tuple(
            world.sleep if one is _sleep else one for one in defaults or ()
        )
        sys.stdout = Out(world)
        try:
            yield
        finally:
            sys.stdout = former_out
            runner.Runner.__init__.__defaults__ = defaults


_sleep = __import__("time").sleep
_PACE = init_job.Pace(fastest=1.0, slowest=5.0)
"""Questions to a docker_init.sh that only say that it still runs are alike: fewer will do."""
init_job.follow.__kwdefaults__["pace"] = _PACE
_take = metadb_lease.take
_MADE: dict[str, Any] = {}


def _kept() -> dict[str, Any]:
    """What is the same in every schedule is made once."""
    if _MADE:
        return _MADE
    load, render = hosts_file.load, oms_config.render
    fleets: dict[Any, Any] = {}
    texts: dict[Any, Any] = {}

    def load_once(path: Path, *, secrets: bool = True) -> Any:
        key = path.read_bytes(), secrets
        if key not in fleets:
            fleets[key] = load(path, secrets=secrets)
        return fleets[key]

    def render_once(fleet: Any, region: Any) -> Any:
        key = (fleet.install.container, fleet.metadb.host, region)
        if key not in texts:
            texts[key] = render(fleet, region)
        return texts[key]

    read, config, redact = journal.read, oms_config.read, mask.Redactor.__call__
    pasts: dict[bytes, Any] = {}
    configs: dict[Any, Any] = {}
    shown_texts: dict[Any, str] = {}

    def read_once(path: Path) -> Any:
        raw = path.read_bytes() if path.exists() else b""
        if raw not in pasts:
            if len(pasts) > 400:
                pasts.clear()
            pasts[raw] = read(path)
        return pasts[raw]

    def config_once(text: Any, *, origin: str = "config.yaml") -> Any:
        key = (text.reveal() if isinstance(text, Secret) else text, origin)
        if key not in configs:
            if len(configs) > 2000:
                configs.clear()
            configs[key] = config(text, origin=origin)
        return dict(configs[key])

    def redact_once(self: Any, text: str) -> str:
        key = (tuple(self._words), text)
        if key not in shown_texts:
            if len(shown_texts) > 20_000:
                shown_texts.clear()
            shown_texts[key] = redact(self, text)
        return shown_texts[key]

    _MADE.update(load=load_once, render=render_once, read=read_once, config=config_once,
                 redact=redact_once)  # fmt: skip
    return _MADE


class Words:
    """Stands for rich's Text: what it says, without a style."""

    def __init__(self, plain: str, style: str = "") -> None:
        self.plain = plain


__all__ = ["Killed", "SimShell", "installed"]
