"""Virtual time, tasks and processes: one thread, one order of events, the same for the same seed.

Everything that happens side by side is a task (a greenlet): the lanes of a runner, the keeper of a
lease, docker_init.sh on a node, a person.  A task gives way at every effect, question or wait, and
goes on when its virtual moment has come; how long an effect takes is drawn from the seed, and so
the order is.  A process of an operating system is a number of tasks that are killed, stopped and
woken together.
"""

from __future__ import annotations

import errno
import heapq
import os
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from greenlet import getcurrent, greenlet

EPOCH = 1795341432.0
"""The moment at which every world begins: 2026-11-22 09:57:12 UTC."""

MOST_EVENTS = 150_000
"""A schedule that takes more does not come to an end."""


class Killed(BaseException):
    """The world is over: whatever a task has left to do, it does not do."""


class Endless(AssertionError):
    """A schedule that does not come to an end."""


class Task(greenlet):
    """``token`` goes up with each resumption: what was scheduled for a former one is void."""

    def __init__(self, act: Callable[[], Any], process: Process | None, name: str) -> None:
        super().__init__(act)
        self.process = process
        self.label = name
        self.token = 0
        self.ended = False
        self.waiters: Waiters = []
        self.interrupt: BaseException | None = None
        self.step = ""
        """Key of the step that this lane is at (observed by operators.py)."""


Waiters = list[tuple[Task, int]]
"""Who waits, each with its token of then: one who has gone on meanwhile is not woken."""


@dataclass(eq=False)
class Process:
    """A process of a jump host: its tasks die, sleep and wake together."""

    world: World
    name: str
    user: str = "li"
    host: str = "jump1"
    home: str = ""
    hosts: str = ""
    argv: tuple[str, ...] = ()
    dead: bool = False
    paused: bool = False
    skew: float = 0.0
    """How far its wall clock is ahead of the true time."""
    full_until: float = -1.0
    """Until when the disk of the jump host is full."""
    tear: bool = False
    """Whether the next line of the journal is cut in its middle, and the process killed there."""
    parked: list[Task] = field(default_factory=list)
    fds: set[int] = field(default_factory=set)
    hung_up: list[Callable[[], None]] = field(default_factory=list)
    """What happens elsewhere when it dies: its connections are closed."""
    out: list[str] = field(default_factory=list)
    main: Task | None = None
    pending: list[str] = field(default_factory=list)
    """Replies that will be lost, as soon as there is one."""
    operator: Any = None
    lease: Any = None
    """The lease that it has taken."""

    def kill(self) -> None:
        """kill -9: nothing of it runs any more; files and connections are closed by the system."""
        if self.dead:
            return
        self.dead = True
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()
        for close in self.hung_up:
            close()
        if self.main:
            self.world.finished(self.main)

    def stop(self) -> None:
        self.paused = True

    def go_on(self) -> None:
        self.paused = False
        parked, self.parked = self.parked, []
        for task in parked:
            if not self.dead:
                self.world.at(self.world.now, task)


class World:
    """The order of events.  ``latency`` draws how long something small takes, in seconds."""

    def __init__(self, seed: int = 0, *, plain: bool = False) -> None:
        self.now = 0.0
        self.seed = seed
        self.random = random.Random(seed)
        self.words = random.Random(seed ^ 0x5EED)
        self.plain = plain
        self.over = self.done = False
        self.events = 0
        self._heap: list[tuple[float, int, Task, int]] = []
        self._count = 0
        self._hub = getcurrent()
        self.current: Task | None = None
        """Who runs at this moment; None = nobody, the world itself."""
        self.process: Process | None = None
        """Whose program runs at this moment."""
        self._tasks: list[Task] = []
        self.story: list[tuple[float, str, str]] = []
        self.broken: BaseException | None = None

    # --- what happened -------------------------------------------------------------------------

    def tell(self, who: str, what: str) -> None:
        self.story.append((self.now, who, what))

    # --- tasks ---------------------------------------------------------------------------------

    @property
    def task(self) -> Task:
        assert self.current is not None, "only a task can wait"
        return self.current

    def spawn(
        self,
        act: Callable[[], Any],
        name: str,
        process: Process | None = None,
        after: float = 0.0,
    ) -> Task:
        def run() -> None:
            try:
                if task.interrupt:
                    raise task.interrupt
                act()
            except Killed:
                pass
            except BaseException as error:
                if not self.over and self.broken is None:
                    self.broken = error
            finally:
                self.finished(task)

        task = Task(run, process, name)
        task.parent = self._hub
        self._tasks.append(task)
        self.at(self.now + after, task)
        return task

    def finished(self, task: Task) -> None:
        task.ended = True
        self.wake(task.waiters)

    def wake(self, waiters: Waiters) -> None:
        for task, token in waiters:
            if task.token == token:
                self.at(self.now, task)
        waiters.clear()

    def wait(self, waiters: Waiters, timeout: float | None = None) -> None:
        """Wait until these are woken, or for so many seconds."""
        if self.over:
            raise Killed
        task = self.task
        waiters.append((task, task.token))
        if timeout is not None:
            self.at(self.now + timeout, task)
        self.give_way()

    def at(self, when: float, task: Task) -> None:
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, task, task.token))

    def give_way(self) -> None:
        """Go on when something has scheduled this task."""
        task = self.current
        if self.over or task is None:
            raise Killed
        self._hub.switch()
        process = task.process
        if self.over or (process is not None and process.dead):
            raise Killed
        if task.interrupt is not None:
            interrupt, task.interrupt = task.interrupt, None
            raise interrupt

    def sleep(self, seconds: float) -> None:
        task = self.current
        if self.over or task is None:
            raise Killed
        self._count += 1
        when = self.now + seconds if seconds > 0.0 else self.now
        heapq.heappush(self._heap, (when, self._count, task, task.token))
        self.give_way()

    def join(self, task: Task, timeout: float | None = None) -> None:
        if task.ended:
            return
        self.wait(task.waiters, timeout)

    def latency(self) -> float:
        """Mostly some hundredths of a second, now and then seconds."""
        if self.plain:
            return 0.02
        draw = self.random.random()
        if draw < 0.97:
            return 0.005 + draw * 0.05
        return 3.0 * (draw - 0.97) / 0.03

    def run(self) -> None:
        """Let things happen, in their order, until ``done``, or nothing is left to happen."""
        heap, pop = self._heap, heapq.heappop
        while heap:
            when, _, task, token = pop(heap)
            if token != task.token or task.dead:
                continue
            process = task.process
            if process is not None:
                if process.dead:
                    continue
                if process.paused:
                    process.parked.append(task)
                    continue
            if when > self.now:
                self.now = when
            self.events += 1
            if self.events > MOST_EVENTS:
                raise Endless(f"more than {MOST_EVENTS} events")
            task.token += 1
            self.current, self.process = task, process
            task.switch()
            self.current = self.process = None
            if self.broken is not None:
                raise self.broken
            if self.done:
                return

    def end(self) -> None:
        """Unwind what is left; none of it does anything any more."""
        self.over = True
        self._heap.clear()
        for task in self._tasks:
            if not task.dead and task:
                self.current, self.process = task, task.process
                task.throw(Killed)
        self.current = self.process = None
        self._tasks.clear()


# --- what stands for modules of Python in omsfab's modules --------------------------------------


class Time:
    """Stands for ``time``."""

    CLOCK_MONOTONIC, CLOCK_BOOTTIME = 1, 7

    def __init__(self, world: World) -> None:
        self._world = world

    def monotonic(self) -> float:
        return 1000.0 + self._world.now

    perf_counter = monotonic

    def clock_gettime(self, which: int) -> float:
        return 1000.0 + self._world.now

    def time(self) -> float:
        process = self._world.process
        return EPOCH + self._world.now + (process.skew if process else 0.0)

    def sleep(self, seconds: float) -> None:
        self._world.sleep(seconds)


class Lock:
    def __init__(self, world: World, count: int = 1) -> None:
        self._world, self._free = world, count
        self._waiters: Waiters = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self._free:
            self._free -= 1
            return True
        end = None if timeout < 0 else self._world.now + timeout
        while not self._free:
            if not blocking or (end is not None and self._world.now >= end):
                return False
            self._world.wait(self._waiters, None if end is None else end - self._world.now)
        self._free -= 1
        return True

    def release(self) -> None:
        self._free += 1
        if self._waiters:
            self._world.wake(self._waiters)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc: object) -> None:
        self.release()


class Event:
    def __init__(self, world: World) -> None:
        self._world, self._set = world, False
        self._waiters: Waiters = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        self._world.wake(self._waiters)

    def wait(self, timeout: float | None = None) -> bool:
        if not self._set:
            self._world.wait(self._waiters, timeout)
        return self._set


class Thread:
    SLICE = 5.0
    """A wait in short slices is for Ctrl-C; here it comes anyhow, and slices only cost time."""

    def __init__(
        self,
        world: World,
        target: Callable[..., None],
        args: tuple[Any, ...] = (),
        name: str = "",
        daemon: bool | None = None,
    ) -> None:
        self._world, self._target, self._args, self._name = world, target, args, name
        self._task: Task | None = None
        self.ident: int | None = None

    def start(self) -> None:
        process = self._world.process
        self._task = self._world.spawn(lambda: self._target(*self._args), self._name, process)
        self.ident = id(self)

    def is_alive(self) -> bool:
        return self._task is not None and not self._task.ended

    def join(self, timeout: float | None = None) -> None:
        if self._task is not None:
            if timeout is not None and timeout < self.SLICE:
                timeout = self.SLICE
            self._world.join(self._task, timeout)


class Threading:
    """Stands for ``threading``."""

    def __init__(self, world: World) -> None:
        self._world = world

    def Thread(self, *args: Any, **kwargs: Any) -> Thread:
        return Thread(self._world, *args, **kwargs)

    def Lock(self) -> Lock:
        return Lock(self._world)

    def Semaphore(self, count: int = 1) -> Lock:
        return Lock(self._world, count)

    def Event(self) -> Event:
        return Event(self._world)

    def current_thread(self) -> str:
        return "a task"

    def main_thread(self) -> str:
        return "none of them: signals come as interrupts of tasks"


class Pool:
    """Stands for ``concurrent.futures.ThreadPoolExecutor``."""

    def __init__(self, world: World, width: int | None = None) -> None:
        self._world = world

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def submit(self, act: Callable[..., Any], *args: Any) -> _Asked:
        return _Asked(self._world, act, args)

    def map(self, act: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        asked = [self.submit(act, item) for item in list(items)]
        return iter([one.result() for one in asked])


class _Asked:
    def __init__(self, world: World, act: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._world = world
        self._value: Any = None
        self._error: BaseException | None = None

        def run() -> None:
            try:
                self._value = act(*args)
            except Killed:
                raise
            except BaseException as error:
                self._error = error

        self._task = world.spawn(run, "pool", world.process)
        self._task.step = world.task.step

    def result(self) -> Any:
        while not self._task.ended:
            self._world.join(self._task)
        if self._error is not None:
            raise self._error
        return self._value


class Secrets:
    """Stands for ``secrets``."""

    def __init__(self, world: World) -> None:
        self._world = world

    def token_hex(self, count: int = 16) -> str:
        return f"{self._world.words.getrandbits(8 * count):0{2 * count}x}"

    def token_bytes(self, count: int = 16) -> bytes:
        return bytes.fromhex(self.token_hex(count))


class Os:
    """Stands for ``os`` where the state directory is written: a disk can be full, and a process
    that was killed writes nothing more."""

    def __init__(self, world: World, point: Callable[[str, Any, Any], str]) -> None:
        self._world, self._point = world, point

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    fstat = staticmethod(os.fstat)

    def _alive(self) -> Process | None:
        if self._world.over:
            raise Killed
        return self._world.process

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        process = self._alive()
        if process and process.full_until > self._world.now and flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fd = os.open(path, flags, mode)
        if process:
            process.fds.add(fd)
        return fd

    def close(self, fd: int) -> None:
        process = self._world.process
        if process is None or self._world.over or process.dead:
            if process and fd in process.fds:
                process.fds.discard(fd)
                os.close(fd)
            return
        process.fds.discard(fd)
        os.close(fd)

    def write(self, fd: int, data: bytes) -> int:
        process = self._alive()
        self._point("write", data, None)
        if process and process.full_until > self._world.now:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if process and process.tear and len(data) > 2:
            os.write(fd, data[: len(data) // 2])
            process.kill()
            self._world.give_way()
        return os.write(fd, data)

    def fdopen(self, fd: int, *args: Any) -> Any:
        process = self._alive()
        if process:
            process.fds.discard(fd)
        return os.fdopen(fd, *args)

    def fsync(self, fd: int) -> None:
        self._alive()

    def ftruncate(self, fd: int, size: int) -> None:
        if self._world.over or (self._world.process and self._world.process.dead):
            return
        os.ftruncate(fd, size)

    def _full(self, found: os.statvfs_result) -> Any:
        process = self._world.process
        if process and process.full_until > self._world.now:
            return _Stat(found.f_frsize, 0)
        return _Stat(1, 1 << 40)

    def fstatvfs(self, fd: int) -> Any:
        return self._full(os.fstatvfs(fd))

    def statvfs(self, path: Any) -> Any:
        return self._full(os.statvfs(path))


@dataclass
class _Stat:
    f_frsize: int
    f_bavail: int


class Aside:
    """A module, but for some names of it."""

    def __init__(self, module: Any, **names: Any) -> None:
        self._module = module
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def datetime_of(world: World) -> type[datetime]:
    """Stands for ``datetime.datetime``."""

    class Virtual(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            process = world.process
            skew = process.skew if process else 0.0
            return datetime.fromtimestamp(EPOCH + world.now + skew, tz or timezone.utc)

    return Virtual


@contextmanager
def put(replaced: Iterable[tuple[Any, str, Any]]) -> Iterator[None]:
    """Set attributes of modules, and set them back."""
    former = []
    try:
        for module, name, value in replaced:
            former.append((module, name, module.__dict__[name]))
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in reversed(former):
            setattr(module, name, value)
