"""What a plan is made of: records only, never a callable.

A step names one outcome on one node.  Its parts are *probes* (questions: read-only) and *effects*
(changes).  One interpreter, run/engine/interpreter.py, carries both out, so what is printed before
"yes" is the object that is then run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from omsfab.command import Command
from omsfab.errors import Next
from omsfab.fleet.layers import Layer
from omsfab.fleet.values import CmUrl
from omsfab.plan import step_names
from omsfab.secret import Secret

METADB = step_names.METADB
"""The name under which steps of the MetaDB stand where others have a node's name."""


# --- probes: questions -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OutputIs:
    """The command ends with 0 and prints ``text`` (stripped); anything else is "not so"."""

    command: Command
    text: str


@dataclass(frozen=True, slots=True)
class ExitsZero:
    """The command ends with 0; ``otherwise`` is what it means when it does not; empty: what it
    says then."""

    command: Command
    otherwise: str


@dataclass(frozen=True, slots=True)
class ConfigSays:
    """The config.yaml at ``path`` has these values, in whichever form they are written."""

    path: str
    content: Secret


@dataclass(frozen=True, slots=True)
class CmUrlIs:
    """``cluster_info`` has one row for this location, with this cm_url.

    ``old`` is the cm_url that no row of it may carry any more.
    """

    location: int
    url: CmUrl
    old: CmUrl | None = None


@dataclass(frozen=True, slots=True)
class OtherUrls:
    """The tables whose columns are not public name the cm_url of cluster_info, and not ``old``."""

    location: int
    url: CmUrl
    old: CmUrl | None


@dataclass(frozen=True, slots=True)
class RowsShown:
    """The rows that ``clear`` would take out are those that were shown."""

    clear: ClearRows


@dataclass(frozen=True, slots=True)
class RowsBack:
    """Each row that this run has taken out is there again, and nothing refers to a former id.

    ``old`` and ``new`` are the cm_urls, for the line that mends what is not.
    """

    location: int
    old: CmUrl | None
    new: CmUrl


@dataclass(frozen=True, slots=True)
class NothingLeftOver:
    """No host is of a group that is gone, and no key has two rows, in the whole of the tables."""


@dataclass(frozen=True, slots=True)
class OthersUnchanged:
    """The rows of all other regions are those that this run has saved, by what identifies them."""

    location: int


@dataclass(frozen=True, slots=True)
class RowsKept:
    """This run has deleted no row of the region: its marker says so, not its journal."""

    location: int


@dataclass(frozen=True, slots=True)
class RowsAsSaved:
    """The rows of all regions are those that this run has saved, by what identifies them."""

    location: int


@dataclass(frozen=True, slots=True)
class HostsOnline:
    """MetaDB has a row ONLINE and a beat younger than ``beat_age`` s for each address."""

    location: int
    heartbeat_db: str
    ips: tuple[str, ...]
    beat_age: float = 60


@dataclass(frozen=True, slots=True)
class ReachesMember:
    """A connection from here to ``host:port`` arrives at one of the ``members`` (node names).

    It is opened, held, and looked for on each of them, by the address it comes from.
    """

    host: str
    port: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnswersWithin:
    """The node answers the shortest command within ``limit`` seconds."""

    limit: float


@dataclass(frozen=True, slots=True)
class Programs:
    """RUNNING: every program of the container's supervisord runs, or each of ``names``.

    STOPPED: none of them has a process; one that is FATAL or EXITED has none.  ``known`` narrows
    RUNNING to those of ``names`` that this supervisord has at all.
    """

    command: Command
    state: Literal["RUNNING", "STOPPED"] = "RUNNING"
    names: tuple[str, ...] = ()
    known: bool = False


@dataclass(frozen=True, slots=True)
class NothingRuns:
    """No process of OMS's own programs is left in the container, and none of their ports is held.

    ``command`` lists what runs (commands/processes.py); Stores and connectors are told of, and are
    no answer.
    """

    container: str
    command: Command


@dataclass(frozen=True, slots=True)
class Healthy:
    """The health page says ``{"data": {"healthy": true}}``.

    Where it is no such page, ``cm`` fetches that of CM, which has to be there; None: no other will
    do.  What says that OMS is not healthy is believed in any case.  ``behind`` are the programs
    without which it never says so: where one is down for good it is not waited for.
    """

    command: Command
    cm: Command | None = None
    behind: Programs | None = None


@dataclass(frozen=True, slots=True)
class SameTime:
    """The node's clock and time zone are MetaDB's, within ``apart`` seconds.

    ``command`` prints seconds since the epoch and the offset from UTC, such as ``+0800``.
    """

    command: Command
    apart: float = 60
    zone: bool = True
    """Whether the zone counts, too."""


@dataclass(frozen=True, slots=True)
class MetaDbAnswersWithin:
    """A statement takes MetaDB no longer than ``limit`` seconds, as seen from here."""

    limit: float


@dataclass(frozen=True, slots=True)
class LetsIn:
    """The MetaDB lets our user in from the node; asked over its sshd, which may refuse that."""


@dataclass(frozen=True, slots=True)
class MetaDbVersion:
    """``oms_version`` in MetaDB has no newer version than this, and none of another line."""

    version: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Guarded:
    """None of these ports of the node answers the jump host: nothing there asks for a password."""

    host: str
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FromAny:
    """The probe holds on one of the nodes; or ``port`` of ``host`` answers the jump host.

    Backends of some balancers cannot reach their own VIP although everybody else does.
    """

    probe: ExitsZero | IsOms
    nodes: tuple[str, ...]
    host: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class IsOms:
    """The health page is that of an OMS, healthy or not; or the page of its CM answers."""

    page: Command
    cm: Command | None


@dataclass(frozen=True, slots=True)
class Await:
    """The probe holds within ``limit`` seconds, asked every ``every`` seconds."""

    probe: OutputIs | ExitsZero | CmUrlIs | HostsOnline | Programs | NothingRuns | Healthy | FromAny
    limit: float
    every: float = 1.0


OfMetaDb: TypeAlias = (
    "CmUrlIs | OtherUrls | RowsShown | RowsBack | NothingLeftOver | OthersUnchanged | RowsKept"
    " | RowsAsSaved | HostsOnline | MetaDbAnswersWithin | MetaDbVersion"
)

Probe: TypeAlias = (
    "OutputIs | ExitsZero | ConfigSays | ReachesMember | AnswersWithin | SameTime | Programs"
    " | NothingRuns | Healthy | Await | LetsIn | Guarded | FromAny | IsOms | InitOver | OfMetaDb"
)


# --- effects: changes ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    """Run the command; it must end with 0, unless it is a mere look (``any_status``).

    ``programs`` says what it does to all programs of the container, so that an outage is known.
    """

    command: Command
    any_status: bool = False
    programs: Literal["", "stop", "start", "restart"] = ""


@dataclass(frozen=True, slots=True)
class Write:
    """Write a file in place (its inode is kept), the former content beside it as a backup."""

    path: str
    content: Secret
    mode: int | None = None
    """None: as found, with its owner and group; a new file is 0600."""


@dataclass(frozen=True, slots=True)
class CopyFile:
    """Write a file of this machine as ``Write`` does; it must still have this sha256.

    It is read when it is written, so a plan can be made where the file is not.
    """

    source: Path
    path: str
    sha256: str
    mode: int = 0o600


@dataclass(frozen=True, slots=True)
class PutBack:
    """Put back what a Write or CopyFile replaced, from its ``backup``; a file it made is removed.

    Where nothing was written, nothing happens.  A file that somebody else has written since is left
    alone, or kept beside it (``aside``).
    """

    path: str
    backup: str
    aside: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Send a file of the jump host to the node, resumed where it was cut, compared at the end.

    ``reader`` are words that have it as their standard input while it arrives: see
    ``files.append``.
    """

    source: Path
    dest: str
    size: int
    sha256: str
    reader: tuple[str, ...] = ()
    relay: bool = False
    """Whether nodes that are to have it pass it on to each other: see ssh/relay.py."""
    image: str = ""
    layers: tuple[Layer, ...] = ()
    """Those of a package of this image (an id): what the node has of them is left out."""


@dataclass(frozen=True, slots=True)
class Job:
    """Run a command inside the container, detached, until it ends; never twice, never cut off.

    ``directory`` is the attempt directory's parent on the node, ``inside`` the same place as the
    container sees it (the logs mount).  Success is the banner or a fresh flag file, and neither
    ``init failed!`` nor a traceback behind it; that MetaDB agrees is the step's ``verify``.
    ``init`` is that of hosts.yaml: with "auto" the container is first watched for
    an initialisation of its own, with "never" omsfab only waits for that.
    """

    container: str
    argv: tuple[str, ...]
    directory: str
    inside: str
    init: Literal["auto", "always", "never"] = "always"
    limit: float = 15 * 60
    itself: bool = False
    """Images of this version initialise themselves, so "auto" waits for that longer."""


@dataclass(frozen=True, slots=True)
class EndInit:
    """End the attempts of omsfab's that still run in the container, with all that belongs to them.

    Nothing else is ended; afterwards the lock of initialisations is free.
    """

    job: Job


@dataclass(frozen=True, slots=True)
class InitOver:
    """No initialisation runs in the container; one that does is waited for, up to the job's limit,
    and told of with the line that ends it."""

    job: Job


@dataclass(frozen=True, slots=True)
class ClearRows:
    """Back up this region's rows, verified, then delete them: one transaction, read from a marker.

    ``tables`` out of cluster_info, location_cm, host, resource_group.  With ``rows`` "update" only
    the row of cluster_info goes; in the other tables texts that carry the cm_url ``old`` get
    ``new``, and ids stay.
    """

    location: int
    tables: tuple[str, ...]
    rows: Literal["delete", "update"] = "delete"
    old: CmUrl | None = None
    new: CmUrl | None = None
    shown: tuple[tuple[str, str, str], ...] = ()
    """The rows as they were shown: table, natural key, digest.  Others are not deleted."""


@dataclass(frozen=True, slots=True)
class KeepRows:
    """The rows are as this run's ClearRows has left them; what came back meanwhile is told, and
    taken out once more by a resumed run."""

    clear: ClearRows


@dataclass(frozen=True, slots=True)
class SaveRows:
    """Back up the rows of all regions, verified, and delete none: what OthersUnchanged proves, and
    what a rollback restores.  A table that is not there yet has none."""

    location: int
    tables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RestoreRows:
    """Put the rows saved by a run's ClearRows back; what is there now is replaced.

    Where the run deleted no row, nothing happens.  ``source`` is a backup file of somebody else's.
    """

    location: int
    source: str = ""
    saved: bool = False
    """Put back what SaveRows has saved, although this run deleted no row."""
    once_more: bool = False
    """They were put back, and docker_init.sh has made something else of them since."""


@dataclass(frozen=True, slots=True)
class DropHosts:
    """Take the ``host`` rows of these addresses out, saved first; one that SaveRows saw stays."""

    location: int
    ips: tuple[str, ...]


Effect: TypeAlias = (
    "Run | Write | CopyFile | PutBack | Send | Job | EndInit | ClearRows | KeepRows | SaveRows"
    " | RestoreRows"
    " | DropHosts"
)


# --- steps, stages, plan ---------------------------------------------------------------------

Kind: TypeAlias = Literal["read-only", "repeatable", "transaction", "once-only"]


@dataclass(frozen=True, slots=True)
class Step:
    """One node, one outcome.

    ``check`` asks whether the outcome is there already: all probes hold = nothing to do; an empty
    check = always needed.  ``verify`` proves the outcome afterwards.  How it is rolled back is
    plan/procedures/undo.py's.
    """

    name: str
    node: str
    title: str
    kind: Kind = "repeatable"
    needs: tuple[tuple[str, Probe], ...] = ()
    """What must be so on other nodes, each with its question: asked right before the effects,
    whatever the journal says."""
    check: tuple[Probe, ...] = ()
    apply: tuple[Effect, ...] = ()
    verify: tuple[Probe, ...] = ()
    fault: str = "STEP-001"
    """Id of the error when ``verify`` does not hold."""
    fix: str = ""
    """What a person does then, in words."""
    next: Next | None = None
    """The line to paste then; None = that of the task."""
    wanted: str = ""
    """What is wanted instead, in the operator's words, where the title does not say it."""
    warn: bool = False
    """Only tell when ``verify`` does not hold, and go on."""
    spare: tuple[Effect, ...] = ()
    """What is done where ``apply`` comes to a known bad end, or to something else than wanted: this
    step is then not the only way, so it warns, and what was not done is told at the end.  Without
    the first of it nothing of it can be done."""
    recheck_on_resume: bool = False
    """What it made stays so by itself, so a resumed run looks again: somebody may have pruned an
    image or edited a file meanwhile.  (That programs are stopped is true only for a while.)"""
    until: str = ""
    """Key of the step up to which its outcome must hold: until that one is done, or has begun if it
    happens once only, a resumed run asks again, and does it again where it no longer holds."""

    @property
    def key(self) -> str:
        """Unique in a plan, e.g. ``initialise@oms1``."""
        return step_names.key(self.name, self.node)


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps between two barriers: nodes side by side, the steps of one node in order.

    ``width`` nodes at once, 0 = all.
    """

    title: str
    steps: tuple[Step, ...]
    width: int = 0
    outage: bool = False
    """True while the OMS processes of production are stopped."""
    tolerate_failures: bool = False
    """Each node for itself: one that fails drops out of the plan, the others go on."""
    gather: bool = False
    """Every step is asked, whatever the others said: all that is not so is told at once."""

    @property
    def asks_only(self) -> bool:
        """Whether none of its steps changes anything."""
        return not any(step.apply for step in self.steps)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a task will do.  ``reasons`` say why it is this plan and no other."""

    task: str
    title: str
    reasons: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = field(default=())
    initial: str = ""
    """The node that keeps a copy of the run, so that a lost jump host can be replaced."""
    background: tuple[str, ...] = ()
    """Reasons that hold for every such plan: ``--verbose`` tells them."""

    @property
    def changes(self) -> bool:
        """True if a step of it may change something."""
        return any(step.apply and step.kind != "read-only" for step in self.steps)

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for stage in self.stages for step in stage.steps)
