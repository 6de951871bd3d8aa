"""Taking a run back: what it began, in reverse, as a plan that is shown before it is run.

A pure function of what the run's directory holds: the public part of its fleet, what was so before,
and which steps it had begun.  hosts.yaml as it was then is not needed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from omsfab.commands import docker, oms, supervisor
from omsfab.commands import files as posix
from omsfab.fleet.image_package import Package
from omsfab.fleet.model import Fleet, Install, Node, Region
from omsfab.fleet.values import CmUrl
from omsfab.next_line import fab
from omsfab.plan import step_names, steps
from omsfab.plan.observed import NodeFacts, Observed
from omsfab.plan.procedures import regions
from omsfab.plan.records import (
    METADB,
    Await,
    CmUrlIs,
    DropHosts,
    EndInit,
    ExitsZero,
    InitOver,
    Plan,
    Probe,
    PutBack,
    RestoreRows,
    RowsAsSaved,
    RowsKept,
    Run,
    Stage,
    Step,
)

ROWS_BACK = (step_names.RESTORE_ROWS, step_names.DROP_HOSTS)
"""Steps of a rollback that change rows."""

NO_URL = CmUrl.read("")

HEALTHY = 300
"""Seconds for which the page of what ran before is waited for, which is only told."""


def public(fleet: Fleet) -> dict[str, Any]:
    """Return what a run stores of its fleet: no secret, and nothing a rollback does not need."""
    return {
        "install": fleet.install.model_dump(mode="json", exclude={"extra"}),
        "regions": [region.model_dump(mode="json") for region in fleet.regions],
    }


def fleet_of(record: Mapping[str, Any], now: Fleet) -> Fleet:
    """Return the fleet of a run: its nodes, paths and names; logins are those of hosts.yaml now."""
    then = record["fleet"]
    return now.model_copy(
        update={
            "install": Install(**then["install"]),
            "regions": tuple(Region(**region) for region in then["regions"]),
        }
    )


def unlike(record: Mapping[str, Any], now: Fleet) -> tuple[str, ...]:
    """Return what a run says otherwise than hosts.yaml of where it acts, as ``key: there, here``.

    A copy of a run comes from a node, which may be in other hands: it names no path, no container
    and no address that hosts.yaml does not name.
    """
    then = fleet_of(record, now)
    lines: list[str] = []

    def compare(key: str, there: object, here: object) -> None:
        if there != here:
            lines.append(f"{key}: {there} in the copy, {here} in hosts.yaml")

    for key in ("container", "mounts", "ports"):
        compare(f"oms.{key}", getattr(then.install, key), getattr(now.install, key))
    known = {node.name: (node, region) for region in now.regions for node in region.nodes}
    for region in then.regions:
        for node in region.nodes:
            if node.name not in known:
                lines.append(f"nodes: {node.name} ({node.ip}) in the copy, not in hosts.yaml")
                continue
            mine, home = known[node.name]
            compare(f"location of {node.name}", region.location, home.location)
            for key in ("ip", "address", "port", "user"):
                compare(f"{node.name}.{key}", getattr(node, key), getattr(mine, key))
    return tuple(lines)


@dataclass(frozen=True, slots=True)
class _Begun:
    """What a run may have changed, by the keys of the steps that it had begun.

    ``ids`` are the containers that docker named in the run, by node; ``aside``: a file that
    somebody else has written since is kept beside it; ``without_init``: no docker_init.sh is run.
    """

    fleet: Fleet
    present: Observed
    run: str
    where: Region | None
    keys: Collection[str]
    ids: Mapping[str, Sequence[str]]
    aside: bool
    without_init: bool

    def has(self, step: str, node: str = METADB) -> bool:
        return step_names.key(step, node) in self.keys

    def facts(self, node: Node) -> NodeFacts:
        return self.present.facts(node.name)

    def own(self, node: Node) -> Sequence[str]:
        """The ids of containers that the run made there."""
        return self.ids.get(node.name, ())

    @property
    def running(self) -> list[Node]:
        """Nodes on which OMS ran before."""
        return [one for one in self.fleet.nodes if self.facts(one).container == "running"]

    @property
    def new(self) -> list[Node]:
        return [one for one in self.fleet.nodes if one not in self.running]

    @property
    def made(self) -> list[Node]:
        return [one for one in self.new if self.has(step_names.CONTAINER, one.name)]

    @property
    def made_before(self) -> list[Node]:
        """Nodes whose container was there before, down: the run has only started it."""
        return [one for one in self.made if self.facts(one).container in ("created", "stopped")]

    def written(self, node: Node) -> list[str]:
        """The files that the run wrote there."""
        files = _files(self.fleet.install_of(node))
        return [path for step, path in files if path and self.has(step, node.name)]

    @property
    def rows(self) -> Region | None:
        """The region whose rows were deleted."""
        return self.where if self.has(step_names.CLEAR_ROWS) else None

    @property
    def stopped(self) -> list[Node]:
        """Deleted rows concern all nodes of the region, whoever stopped their programs."""
        return [
            node
            for node in self.running
            if self.has(step_names.STOP_PROCESSES, node.name)
            or (self.rows and node in self.rows.nodes)
        ]

    @property
    def refreshed(self) -> list[Node]:
        return [
            one for one in self.running if self.has(step_names.CONFIG, one.name) and not self.rows
        ]

    @property
    def joined(self) -> list[Node]:
        nodes = self.fleet.nodes
        joined = [one for one in nodes if self.has(step_names.CONTAINER, one.name)]
        begun = (one for one in nodes if self.has(step_names.INITIALISE, one.name))
        return [*joined, *(one for one in begun if one not in joined)]

    @property
    def saved(self) -> bool:
        """Whether hosts may have joined whose rows were saved before."""
        return bool(self.joined) and self.has(step_names.SAVE_ROWS)

    @property
    def old_url(self) -> CmUrl:
        return self.present.clusters.get(self.where.location, NO_URL) if self.where else NO_URL


def undo(
    fleet: Fleet,
    present: Observed,
    *,
    run: str,
    region: str,
    begun: Collection[str],
    made_ids: Mapping[str, Sequence[str]] | None = None,
    aside: bool = False,
    without_init: bool = False,
) -> Plan:
    """Return the plan that takes the run back.

    ``begun`` are the keys of its steps that may have changed something.  Images and data
    directories stay.  Rows alone are no rollback: the components keep what docker_init.sh gave
    them, so it runs again with the former config.yaml.

    Only what is still this run's own is removed or put back, and that is asked first of all:
    somebody may have rolled it back elsewhere and begun anew.  ``made_ids`` are the containers that
    docker named in the run, by node; ``aside``: a file that somebody else has written since is kept
    beside it and the former one put back.  ``without_init``: a docker_init.sh of the run that still
    runs is ended, and none is run.
    """
    where = regions.named(fleet, region) if region or len(fleet.regions) == 1 else None
    it = _Begun(fleet, present, run, where, begun, made_ids or {}, aside, without_init)
    left = _left(it.made, bool(it.rows) or it.saved, present)
    return Plan(
        "run.undo",
        f"roll back run {run}",
        ("images and data directories stay", *left),
        tuple(stage for stage in _in_order(it) if stage.steps),
        initial=it.stopped[0].name if it.stopped else "",
    )


def _in_order(it: _Begun) -> tuple[Stage, ...]:
    return (
        _still_own(it),
        _inits_over(it),
        _made_removed(it),
        *_joined_rows(it),
        *_rows_back(it),
        _former_files(it),
        *_initialised_again(it),
        *_programs_back(it),
        _proof(it),
    )


def _still_own(it: _Begun) -> Stage:
    steps_: list[Step] = []
    for node in it.fleet.nodes:
        if node in it.made and node not in it.made_before:
            steps_.append(_own_container(it.fleet, node, it.present.image, it.run, it.own(node)))
        if written := it.written(node):
            steps_.append(_own_files(node, written, it.run))
    return Stage("what the run made is still its own", tuple(steps_))


def _inits_over(it: _Begun) -> Stage:
    begun = (one for one in it.fleet.nodes if it.has(step_names.INITIALISE, one.name))
    return Stage(
        "docker_init.sh of the run has ended",
        tuple(_init_over(it.fleet, node, it.run, it.without_init) for node in begun),
    )


def _made_removed(it: _Begun) -> Stage:
    steps_: list[Step] = []
    package = it.present.package
    for node in it.new:
        if node in it.made_before:
            steps_.append(_stopped_again(it.fleet, node))
        elif node in it.made:
            steps_.append(_removed(it.fleet, node, it.present.image, it.run, it.own(node)))
        steps_ += [_put_back(node, path, it.run, it.aside) for path in it.written(node)]
        if package and it.has(step_names.IMAGE, node.name):
            steps_.append(_unsent(it.fleet, node, package))
    return Stage("remove what the run made", tuple(steps_))


def _joined_rows(it: _Begun) -> Iterator[Stage]:
    """Rows of hosts that joined; what was saved of a new region has no row of it, so putting that
    back takes its rows out."""
    if not (it.where and it.saved):
        return
    if it.where.location in it.present.clusters:
        dropped = _hosts_dropped(it.where, it.joined)
        yield Stage("rows of the hosts that joined", (dropped,))
        return
    others = (steps.others_unchanged(it.where),) if it.present.clusters else ()
    yield Stage("rows of the new region", (_restored(it.where, saved=True), *others))


def _rows_back(it: _Begun) -> Iterator[Stage]:
    """Production is stopped, then the rows are put back."""
    if not it.rows:
        return
    stops = [
        replace(
            steps.stop_processes(it.fleet, node),
            until=step_names.key(step_names.INITIALISE, node.name),
        )
        for node in it.stopped
    ]
    left = [steps.left_over(it.fleet, node) for node in it.stopped]
    lanes = tuple(step for pair in zip(stops, left, strict=True) for step in pair)
    yield Stage("stop production", lanes, outage=True)
    needs = tuple((step.node, probe) for step in stops for probe in step.check)
    yield Stage("rows of MetaDB", (replace(_restored(it.rows), needs=needs),), outage=True)


def _former_files(it: _Begun) -> Stage:
    return Stage(
        "configuration",
        tuple(
            _put_back(node, path, it.run, it.aside)
            for node in it.running
            for path in it.written(node)
        ),
        outage=bool(it.rows),
    )


def _initialised_again(it: _Begun) -> Iterator[Stage]:
    """Where the surgery never came to its COMMIT, nothing was initialised, nor need be."""
    if not it.rows:
        return
    where = it.rows
    begun_one = any(it.has(step_names.INITIALISE, node.name) for node in it.stopped)
    kept = () if begun_one else (RowsKept(where.location),)
    yield Stage(
        "initialise with the former configuration, 1 node at a time",
        tuple(
            _initialised(it.fleet, where, node, it.old_url, kept, it.without_init)
            for node in it.stopped
        ),
        width=1,
        outage=True,
    )


def _programs_back(it: _Begun) -> Iterator[Stage]:
    """What cannot run now is told: nothing is left to be put back, and once more would not help."""
    yield Stage(
        "the components read the former configuration, 1 node at a time",
        tuple(
            replace(steps.refresh(it.fleet, node, it.facts(node)), warn=True)
            for node in it.refreshed
        ),
        width=1,
    )
    yield Stage(
        "restore previously running processes",
        tuple(
            replace(steps.start_processes(it.fleet, node, it.facts(node)), warn=True)
            for node in it.stopped
            if it.facts(node).programs or not it.facts(node).states
        ),
    )


def _proof(it: _Begun) -> Stage:
    healthy = (
        replace(steps.healthy(it.fleet, node, limit=HEALTHY), warn=True)
        for node in it.stopped
        if steps.worked(it.facts(node), steps.BEHIND_PAGE)
    )
    rows = (_former_url(it, it.rows), _former_rows(it.rows)) if it.rows else ()
    return Stage("final verification", (*healthy, *rows))


def _left(made: list[Node], rows: bool, present: Observed) -> tuple[str, ...]:
    """Say what MetaDB keeps: rows that an initialisation wrote."""
    if rows and not present.clusters:
        return ("databases and tables that docker_init.sh made stay, without rows of the region",)
    new = [node for node in made if node.ip not in present.hosts]
    if rows or not new:
        return ()
    return (f"MetaDB may keep host rows of {regions.names(new)}: nothing of this run deleted rows",)


def _init_over(fleet: Fleet, node: Node, run: str, without_init: bool) -> Step:
    """It goes on by itself after a kill: it must not be interrupted, and it writes rows and starts
    programs, which nobody may put back or stop meanwhile.  One that hangs is ended on request."""
    init = steps.init_job(fleet)
    return Step(
        name="init-over",
        node=node.name,
        title=f"no docker_init.sh runs in {init.container}",
        kind="repeatable" if without_init else "read-only",
        apply=(EndInit(init),) if without_init else (),
        verify=(InitOver(init),),
        recheck_on_resume=True,
        fault="INIT-022",
        next=fab("run.undo", run=run, stop_init=True),
    )


def _own_container(fleet: Fleet, node: Node, image: str, run: str, ids: Sequence[str]) -> Step:
    """No other run, and no person, has made a container there since."""
    install = fleet.install_of(node)
    spec = docker.spec(node, install, image)
    own = docker.none_of_others(install.container, spec, run, ids)
    return Step(
        name="own-container",
        node=node.name,
        title=f"{install.container}, if it is there, is the one that the run made",
        kind="read-only",
        verify=(ExitsZero(own, "it would be left alone"),),
        recheck_on_resume=True,
        fault="RUN-036",
        next=fab("fleet.status"),
    )


def _own_files(node: Node, paths: Sequence[str], run: str) -> Step:
    """No other run, and no person, has written these files since."""
    return Step(
        name="own-files",
        node=node.name,
        title=f"{', '.join(paths)}: as the run wrote it",
        kind="read-only",
        verify=tuple(
            ExitsZero(posix.still_written(path, _backup(path, run)), "it would be left alone")
            for path in paths
        ),
        recheck_on_resume=True,
        fault="CFG-013",
        next=fab("fleet.check"),
    )


def _stopped_again(fleet: Fleet, node: Node) -> Step:
    """A container that was there before, down, is down again; the run had only started it."""
    container = fleet.install.container
    down = ExitsZero(docker.down(container), "it runs")
    return Step(
        name=step_names.STOP_CONTAINER,
        node=node.name,
        title=f"stop {container}, which was there before the run",
        check=(down,),
        apply=(Run(docker.stop(container)),),
        verify=(down,),
        fault="RUN-004",
    )


def _removed(fleet: Fleet, node: Node, image: str, run: str, ids: Sequence[str]) -> Step:
    """The container this run made is gone; one that somebody else made is left alone."""
    install = fleet.install_of(node)
    spec = docker.spec(node, install, image)
    gone = ExitsZero(docker.gone_or_others(install.container, spec, run, ids), "it is there")
    return Step(
        name=step_names.REMOVE_CONTAINER,
        node=node.name,
        title=f"stop and remove {install.container}; its data is kept",
        check=(ExitsZero(docker.absent(install.container), "it is there"),),
        apply=(Run(docker.remove_ours(install.container, spec, run, ids)),),
        verify=(gone,),
        fault="RUN-004",
    )


def _unsent(fleet: Fleet, node: Node, package: Package) -> Step:
    """What a cut transfer left is gone; an image that was loaded stays."""
    place = str(PurePosixPath(fleet.install.mounts.logs).parent)
    dest = steps.sent_as(place, package)
    return Step(
        name="remove-package",
        node=node.name,
        title="remove what was sent of the package",
        apply=(Run(posix.drop_part(dest)), Run(posix.remove(dest))),
    )


def _files(install: Install) -> tuple[tuple[str, str | None], ...]:
    """Return the files a run may write, each with the name of the step that does."""
    mounts = install.mounts
    return (
        (step_names.CONFIG, mounts.config),
        (step_names.HTTPS_CRT, mounts.https_crt),
        (step_names.HTTPS_KEY, mounts.https_key),
    )


def _backup(path: str, run: str) -> str:
    return f"{path}.omsfab-{run}.bak"


def _put_back(node: Node, path: str, run: str, aside: bool) -> Step:
    """No check: whether the run had written at all, its backup on the node tells."""
    return Step(
        name=f"put-back-{path.rpartition('/')[2]}",
        node=node.name,
        title=f"put the former {path} back",
        apply=(PutBack(path, _backup(path, run), aside),),
        fault="CFG-006",
    )


def _restored(region: Region, *, saved: bool = False) -> Step:
    """The saved rows are back, proven by hash inside the transaction."""
    return Step(
        name=step_names.RESTORE_ROWS,
        node=METADB,
        title=f"put the saved rows of location {region.location} back",
        kind="transaction",
        apply=(RestoreRows(region.location, saved=saved),),
        fault="DB-017",
    )


def _hosts_dropped(region: Region, nodes: list[Node]) -> Step:
    """No host row is left of the nodes that go; all other rows are as before they came."""
    return Step(
        name=step_names.DROP_HOSTS,
        node=METADB,
        title=f"take the host rows of {regions.names(nodes)} out",
        kind="transaction",
        apply=(DropHosts(region.location, tuple(node.ip for node in nodes)),),
        verify=(RowsAsSaved(region.location),),
        fault="VER-004",
    )


def _initialised(
    fleet: Fleet,
    region: Region,
    node: Node,
    old_url: CmUrl,
    kept: tuple[Probe, ...],
    without_init: bool,
) -> Step:
    """The former configuration reaches MetaDB and components; config.yaml on the node says which.

    Other tables may hold the other url until a later node is initialised: only this row counts.
    The rollback does not hang on a script that has just failed: the rows are put back by then, so
    what is left of it is done by its third step alone, the components' files.  What the script may
    have made of the rows meanwhile is put back once more.
    """
    install = fleet.install
    stopped = (
        Run(docker.up(install.container, stopped=True)),
        Run(supervisor.stop_all(install.container), any_status=True, programs="stop"),
    )
    files = Run(oms.component_files(install))
    step = replace(
        steps.initialise(fleet, region, node, again=True),
        check=kept,
        verify=(Await(CmUrlIs(region.location, old_url), limit=10),),
    )
    if without_init:
        title = "write the components' files from the former config.yaml, without docker_init.sh"
        return replace(step, title=title, kind="repeatable", apply=(*stopped, files))
    again = RestoreRows(region.location, once_more=True)
    return replace(step, spare=(*stopped, again, files))


def _former_url(it: _Begun, region: Region) -> Step:
    """Before its first docker_init.sh a run writes no cm_url, and the rows that it had deleted are
    compared as they are put back: another one is the work of others, and no rollback mends it."""
    url = it.old_url
    return Step(
        name="cm-url",
        node=METADB,
        title=f"cluster_info.cm_url is {url} again",
        kind="read-only",
        verify=(CmUrlIs(region.location, url, None if region.cm_url == url else region.cm_url),),
        fault="VER-001",
        fix="look who has written this row since (fab meta.show)",
        next=fab("meta.show"),
        warn=not any(it.has(step_names.INITIALISE, node.name) for node in it.fleet.nodes),
    )


def _former_rows(region: Region) -> Step:
    """All four tables; what differs has been written by docker_init.sh or by others since."""
    return Step(
        name="rows-as-saved",
        node=METADB,
        title="the rows are those saved before, but for times and status",
        kind="read-only",
        verify=(RowsAsSaved(region.location),),
        fault="VER-004",
        warn=True,
    )
