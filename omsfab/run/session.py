"""What every task works with: flags, fleet, connections, the screen."""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, cast

from rich.console import Console

import omsfab
from omsfab.errors import Next, OmsfabError
from omsfab.fleet import hosts_file
from omsfab.fleet.mask import Redactor
from omsfab.fleet.model import Fleet, Install, Tsdb
from omsfab.metadb import tunnel
from omsfab.next_line import CALLED
from omsfab.plan import acceptance, overview
from omsfab.plan.events import Event
from omsfab.plan.overview import Answer
from omsfab.plan.procedures.registry import Task
from omsfab.plan.records import Plan
from omsfab.plan.stakes import stakes
from omsfab.run import clock, jump_host, lifecycle
from omsfab.run.confirmation import Flags as Flags
from omsfab.run.confirmation import confirm
from omsfab.run.lifecycle import Order, World
from omsfab.run.record import holders
from omsfab.run.record import journal as journals
from omsfab.secret import Secret
from omsfab.show.columns import folded, width
from omsfab.show.overview import overview_lines
from omsfab.show.terminal import JsonLines, Show, Terminal
from omsfab.show.text import ASSUMED, accepted_line, plan_lines, stakes_text
from omsfab.ssh import shell as ssh


def hosts_path() -> Path:
    """Return the file that is read: --hosts, $OMSFAB_HOSTS, hosts.local.yaml, or hosts.yaml."""
    return hosts_file.chosen(CALLED.hosts or os.environ.get("OMSFAB_HOSTS", ""))


def load(*, secrets: bool = True, quiet: bool = False) -> Fleet:
    """Read the fleet, and say out of which file; ``quiet`` where its own output says that.

    The line goes to standard error: what a task prints stays clean for programs.
    """
    path = hosts_path()
    fleet = hosts_file.load(path, secrets=secrets)
    if not quiet:
        metadb = f"{fleet.metadb.host}:{fleet.metadb.port}/{fleet.metadb.rm_db}"
        print(f"omsfab {omsfab.VERSION} · {path} · MetaDB {metadb}", file=sys.stderr, flush=True)
    return fleet


def home_of(fleet: Fleet) -> Path:
    """Return the state directory of this OMS, named by its MetaDB: all its runs share one lock.

    It need not be there: who writes makes it (``jump.make``).
    """
    root = Path(os.environ.get("OMSFAB_HOME", "~/.local/state/omsfab")).expanduser()
    metadb = fleet.metadb
    return root / re.sub(r"[^\w.-]", "_", f"{metadb.host}_{metadb.port}_{metadb.rm_db}")


def secrets_of(fleet: Fleet) -> tuple[Secret, ...]:
    extra = (value for value in fleet.install.extra.values() if isinstance(value, Secret))
    return (fleet.metadb.password, *((fleet.tsdb.password,) if fleet.tsdb else ()), *extra)


Call = TypeVar("Call", bound=Callable[..., Any])


def told_safely(call: Call) -> Call:
    """What leaves the call as an error quotes no secret of the fleet."""

    @functools.wraps(call)
    def wrapped(session: Session, *args: Any, **kwargs: Any) -> Any:
        try:
            return call(session, *args, **kwargs)
        except OmsfabError as error:
            error.shown_by(session.redact)
            raise

    return cast("Call", wrapped)


class Session:
    """One call of a task."""

    flags = Flags()
    redact = Redactor()
    """Makes what nodes and MetaDB say fit to be shown."""
    scratch: TemporaryDirectory[str]
    """Where the copy of a run is that is only looked at."""

    def __init__(self, flags: Flags, fleet: Fleet | None = None) -> None:
        self.flags = flags
        self.fleet = fleet or load(quiet=flags.json)
        self.home = home_of(self.fleet)
        self.redact = Redactor(secrets_of(self.fleet))
        self.console = Console(stderr=flags.json)
        self.shells = ssh.connect(self.fleet.nodes, self.fleet.ssh)
        self.metadb = tunnel.edge(self.fleet.metadb, self.shells)

    def accepted(self, again: Next) -> frozenset[str]:
        """Return the ids of ``--accept``, or raise INPUT-029."""
        return acceptance.parsed(self.flags.accept, again) if self.flags.accept else frozenset()

    def tell_accepted(self, ids: frozenset[str], waived: Sequence[OmsfabError] = ()) -> None:
        why = {error.id: error for error in waived}
        for id in sorted(ids):
            self.print(accepted_line(id, why.get(id)))

    def ready(self) -> None:
        """The jump host can keep a run; a task that only looks leaves nothing there."""
        if not self.flags.looks:
            jump_host.make(self.home)
        jump_host.ready(self.home)

    def part(self, task: Task) -> Install | Tsdb | None:
        """Return the part of hosts.yaml that names image and package of the task."""
        return self.fleet.tsdb if task.tsdb else self.fleet.install

    def execute(self, order: Order) -> None:
        whole = order.plan.task in holders.FREE
        show = self.show(order.plan, lifecycle.heard_before(order), whole=whole)
        world = World(self.home, self.shells, self.metadb, secrets_of(self.fleet), show)
        try:
            if order.lease:
                jump_host.tell_time(self.metadb, self.print)
            _, summary = lifecycle.carry_out(world, order)
        finally:
            if order.past is None:
                journals.forget_unbegun(order.directory)
        self.print(f"{order.plan.task}: {summary}")
        self.print(f"journal: {order.directory}")

    def confirm(self, does: str, plan: Plan, again: Next, fleet: Fleet | None = None) -> None:
        """Ask with what is at stake; ``fleet`` is the one that is meant, if it is not ours."""
        at_stake = stakes(plan, (fleet or self.fleet).regions)
        text = stakes_text(at_stake, plan.title)
        sentence = f"{does[:1].upper()}{does[1:]}: {text[:1].lower()}{text[1:]}" if does else text
        confirm(self.flags, f"{sentence}.", again, word=at_stake.region)

    def tell_plan(
        self,
        plan: Plan,
        answers: Mapping[str, Answer] | None = None,
        *,
        fleet: Fleet | None = None,
        assumed: bool = False,
        **more: object,
    ) -> None:
        """Print the plan: on one screen, whole (``--verbose``), or as one JSON object; a run by
        ``--json`` tells events alone.  ``fleet`` is the one that is meant, if it is not ours."""
        regions = (fleet or self.fleet).regions
        if self.flags.json:
            if self.flags.looks:
                file = {"hosts_file": str(self.fleet.origin or ""), "assumed": assumed}
                said = overview.record(plan, regions, answers, **file, **more)
                print(self.redact(json.dumps(said, ensure_ascii=False)))
            return
        wide = width()
        guess = folded(ASSUMED, wide) if assumed and wide else [ASSUMED] * assumed
        if self.flags.verbose:
            lines = plan_lines(plan, answers, assumed=assumed)
        else:
            seen = overview.overview(plan, regions, answers)
            lines = overview_lines(plan, seen, wide, assumed=assumed)
        self.print("\n".join([*guess, *lines]))

    def show(self, plan: Plan, heard: Sequence[Event] = (), *, whole: bool = False) -> Show:
        """Return who looks at the events of this plan; ``heard`` are those of before that tell of
        an outage.  With ``whole`` what commands say is what was asked for."""
        if self.flags.json:
            return JsonLines(print)
        whole = whole or self.flags.verbose
        return Terminal(self.console, plan, heard, whole=whole, wall=clock.now)

    def print(self, text: str) -> None:
        self.console.print(self.redact(text), highlight=False, markup=False, soft_wrap=True)

    def hang_up(self) -> None:
        for shell in self.shells.values():
            shell.close()
