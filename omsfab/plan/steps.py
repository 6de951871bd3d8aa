"""Builders of steps: each names one outcome and says in prose why a part is missing.

Nothing happens when a step is built.  Order and choice are the planners' (scale.py, repair.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

from omsfab.commands import docker, influx, node_checks, oms, processes, supervisor
from omsfab.commands import files as posix
from omsfab.commands import init_job as job
from omsfab.fleet import values
from omsfab.fleet.image_package import Package
from omsfab.fleet.model import Fleet, Node, Region, Tsdb
from omsfab.fleet.values import CmUrl
from omsfab.next_line import fab, shell
from omsfab.plan import step_names
from omsfab.plan.observed import NodeFacts, Observed
from omsfab.plan.records import (
    METADB,
    AnswersWithin,
    Await,
    ClearRows,
    CmUrlIs,
    ConfigSays,
    CopyFile,
    ExitsZero,
    FromAny,
    Healthy,
    HostsOnline,
    Job,
    KeepRows,
    NothingLeftOver,
    NothingRuns,
    OthersUnchanged,
    OtherUrls,
    OutputIs,
    Programs,
    ReachesMember,
    RowsBack,
    RowsShown,
    Run,
    SaveRows,
    Send,
    Step,
    Write,
)
from omsfab.secret import Secret

TABLES = ("cluster_info", "location_cm", "host", "resource_group")
"""The four tables that "must be modified" (guide, note of the physical-address scenario)."""

SUPERVISORD_WEB = 8084

SELF_INIT = (4, 2, 11)
"""From this version on the vendor's deployer waits for an initialisation of the image's own."""

RESERVE = 200_000_000
"""Bytes of room that a new node shall have beside package and image: logs of a first start."""


# --- preflight: read-only --------------------------------------------------------------------


def docker_answers(node: Node) -> Step:
    """Without the daemon nothing works, and its own words say why."""
    return Step(
        name="docker",
        node=node.name,
        title="docker answers",
        kind="read-only",
        verify=(ExitsZero(node_checks.docker_fits(), "docker does not answer"),),
        fault="HOST-001",
    )


def advised(fleet: Fleet, node: Node) -> Step:
    """Vendor's tools warn of these and go on, and so do we."""
    mounts = fleet.install.mounts
    return Step(
        name="advice",
        node=node.name,
        title="the node meets the OMS hardware recommendations",
        kind="read-only",
        verify=(ExitsZero(node_checks.advice(mounts.logs, mounts.store, mounts.run), ""),),
        fault="HOST-010",
        warn=True,
    )


def quick(node: Node) -> Step:
    """Nothing fails by slowness alone, but an operator should know why it takes long."""
    return Step(
        name="line",
        node=node.name,
        title="SSH latency is low (under 1 s)",
        kind="read-only",
        verify=(AnswersWithin(1.0),),
        fault="NET-004",
        warn=True,
    )


def ready(fleet: Fleet, node: Node, package: Package | None) -> Step:
    """A node without a container can take one: address, free ports, room, no directory in the way.

    ``--net host`` makes docker blind for taken ports; ``-v`` on a missing file makes a directory.
    The image needs 2.5 times its package in docker's root directory.
    """
    install = fleet.install_of(node)
    ports = install.ports
    taken = (ports.cm, ports.nginx, ports.ghana, ports.supervisor, ports.sshd, SUPERVISORD_WEB)
    size = package.size if package else 0
    home = str(PurePosixPath(install.mounts.config).parent)
    room = {install.mounts.logs: size + RESERVE, home: 0}
    mounted = (install.mounts.https_crt, install.mounts.https_key)
    certs = tuple(path for path in mounted if path and not fleet.region_of(node).https)
    return Step(
        name="ready",
        node=node.name,
        title="address, free ports and disk space",
        kind="read-only",
        verify=(
            ExitsZero(
                node_checks.has_address(node.ip), f"{node.ip} is not an address of this node"
            ),
            ExitsZero(node_checks.ports_free(*taken), "a port of OMS is taken"),
            *_processor(package),
            ExitsZero(node_checks.config_place(install.mounts.config), "config.yaml has no place"),
            ExitsZero(node_checks.space(size * 5 // 2, room), "not enough room"),
            *(
                (ExitsZero(node_checks.files(*certs), "a certificate file is missing"),)
                if certs
                else ()
            ),
        ),
        fault="HOST-002",
    )


def _processor(package: Package | None) -> tuple[ExitsZero, ...]:
    if package is None or not package.architecture:
        return ()
    return (ExitsZero(node_checks.machine(package.architecture), "another processor"),)


def ready_for_tsdb(node: Node, tsdb: Tsdb, package: Package | None, runs: OutputIs) -> Step:
    """A node can take the time-series database, beside OMS perhaps; asked unless it ``runs``."""
    size = package.size if package else 0
    room = {str(PurePosixPath(tsdb.data).parent): size, tsdb.data: RESERVE}
    return Step(
        name="ready",
        node=node.name,
        title="address, ports and room for the time-series database",
        kind="read-only",
        check=(runs,),
        verify=(
            ExitsZero(
                node_checks.has_address(node.ip), f"{node.ip} is not an address of this node"
            ),
            ExitsZero(node_checks.ports_free(tsdb.port, influx.BACKUPS), "a port of it is taken"),
            *_processor(package),
            ExitsZero(node_checks.space(size * 5 // 2, room), "not enough room"),
        ),
        fault="HOST-002",
    )


def no_init_runs(fleet: Fleet, node: Node) -> Step:
    """Nobody else initialises a running node: that starts programs and writes rows."""
    container = fleet.install.container
    over = job.over(container, oms.INIT, unasked=True)
    return Step(
        name="init-runs",
        node=node.name,
        title=f"no docker_init.sh runs in {container}",
        kind="read-only",
        verify=(ExitsZero(over, "docker_init.sh already runs"),),
        fault="INIT-010",
        fix="wait for its end",
    )


def vip_answers(fleet: Fleet, region: Region, node: Node, *, last: bool = False) -> Step:
    """The VIP maps CM and console port for this node, before anything is stopped (guide, step 1).

    The guide has it bound to all servers of the region first; OMS docs: 8088 and 8089, all nodes.
    ``last`` asks again at the end, by a name of its own, or a resumed run would take it for done; a
    balancer may need a while to see that OMS is back.
    """
    ports = (fleet.install.ports.cm, fleet.install.ports.nginx)
    asked = tuple(
        ExitsZero(
            node_checks.connects(region.cm_url.host, port), f"{region.cm_url.host}:{port} is silent"
        )
        for port in ports
    )
    return Step(
        name="vip-last" if last else "vip",
        node=node.name,
        title=f"{region.cm_url.host} answers on ports {ports[0]} and {ports[1]}",
        kind="read-only",
        verify=tuple(Await(one, limit=60) for one in asked) if last else asked,
        fault="VIP-001",
        fix=f"bind {region.cm_url.host} to the nodes of region {region.name} (keepalived, or"
        f" `ip addr add` on one of them), or have the balancer lead ports {ports[0]} and {ports[1]}"
        " to each",
        next=fab("node.check", node=node.name, note="asks it from there; then the task again"),
    )


def vip_reached(
    fleet: Fleet, region: Region, node: Node, others: Sequence[Node], *, last: bool = False
) -> tuple[Step, Step]:
    """The same of a node that serves, so it is behind the VIP itself: backends of some balancers
    cannot reach their own VIP although everybody else does.  That is told as a warning, where one
    of the others, or the jump host, gets through."""
    own = vip_answers(fleet, region, node, last=last)
    names = tuple(one.name for one in others if one != node)
    ports = (fleet.install.ports.cm, fleet.install.ports.nginx)
    asked = tuple(
        FromAny(ExitsZero(node_checks.connects(region.cm_url.host, port), f"{port} is silent"), names,  # noqa: E501
                region.cm_url.host, port)
        for port in ports
    )  # fmt: skip
    return (
        replace(own, verify=tuple(Await(one, limit=60) for one in asked) if last else asked),
        Step(
            name="vip-own-last" if last else "vip-own",
            node=node.name,
            title=f"{node.name} itself reaches {region.cm_url.host}",
            kind="read-only",
            verify=vip_answers(fleet, region, node).verify,
            fault="VIP-004",
            fix=str(
                shell(
                    *("nc", "-vz", region.cm_url.host, str(ports[0])),
                    note="first: ask whether the balancer lets its own backends through",
                )
            ),
            warn=True,
            wanted="every node reaches the VIP: its components find CM there",
        ),
    )


def vip_arrives(fleet: Fleet, region: Region, node: Node, members: tuple[str, ...]) -> Step:
    """Who answers is proven where the VIP is an address; a balancer in between hides it."""
    return Step(
        name="vip-member",
        node=node.name,
        title=f"VIP {region.cm_url.host} routes to a node of the region",
        kind="read-only",
        verify=(ReachesMember(region.cm_url.host, fleet.install.ports.cm, members),),
        fault="VIP-003",
        warn=True,
    )


def cm_url_held(fleet: Fleet, region: Region, node: Node) -> Step:
    """A host holds the VIP of a region that does not run yet.

    Nobody can answer on its ports before the first container runs, but a host that is there
    refuses, and a balancer accepts; an address that nobody holds is silent.
    """
    host, port = region.cm_url.host, fleet.install.ports.cm
    return Step(
        name="vip-held",
        node=node.name,
        title=f"{host} is assigned (port {port} connects or refuses)",
        kind="read-only",
        verify=(ExitsZero(node_checks.held(host, port), f"nobody holds {host}"),),
        fault="VIP-001",
        fix=f"bind {host} on a machine of the region, or correct cm_url in hosts.yaml",
        next=shell("nc", "-vz", host, str(port)),
    )


def tsdb_login(tsdb: Tsdb, node: Node) -> Step:
    """The node gets into the time-series database, before its config.yaml says so.

    With tsdb_enabled and no database oms_drc_supervisor restarts for ever (OMS docs).  How CeresDB
    lets users in is not public, so there it is only asked whether it listens.
    """
    asked = (
        ExitsZero(influx.login(tsdb), f"{tsdb.username} does not get in")
        if tsdb.service == "INFLUXDB"
        else ExitsZero(node_checks.connects(tsdb.host, tsdb.port), "it does not listen")
    )
    return Step(
        name="tsdb",
        node=node.name,
        title=f"{tsdb.service} at {tsdb.url} lets user {tsdb.username} in",
        kind="read-only",
        verify=(asked,),
        fault="TSDB-006",
        next=fab("tsdb.deploy"),
    )


def tsdb_points(tsdb: Tsdb, node: Node, nodes: Sequence[Node]) -> tuple[Step, ...]:
    """Metrics of all these nodes arrive, asked from one of them; a warning, since an idle OMS may
    have none to write.  What OMS writes into CeresDB, nobody can be asked."""
    if tsdb.service != "INFLUXDB":
        return ()
    came = ExitsZero(
        influx.points(tsdb, [n.ip for n in nodes]), "an OMS without work may write none"
    )
    return (
        Step(
            name="tsdb-points",
            node=node.name,
            title=f"metrics of every node arrive at {tsdb.url}",
            kind="read-only",
            verify=(Await(came, limit=60, every=3),),
            fault="TSDB-007",
            warn=True,
        ),
    )


# --- staging: the new node gets everything before production is touched ------------------------


def directories(fleet: Fleet, node: Node) -> Step:
    """The mount directories exist, since docker would make missing ones with root's umask."""
    mounts = fleet.install.mounts
    paths = (str(PurePosixPath(mounts.config).parent), mounts.logs, mounts.store, mounts.run)
    return Step(
        name="directories",
        node=node.name,
        title="make the mount directories",
        check=(ExitsZero(node_checks.directories(*paths), "they are missing"),),
        apply=(Run(node_checks.make_directories(*paths)),),
        verify=(ExitsZero(node_checks.directories(*paths), "they are missing"),),
        recheck_on_resume=True,
    )


def image(fleet: Fleet, node: Node, wanted: str, package: Package | None) -> Step:
    """The image is there by its id; the package is sent only where it is not.

    A tar without a tag loads with status 0 as ``<none>``, so the id decides, not the tag.
    """
    place = str(PurePosixPath(fleet.install.mounts.logs).parent)
    return loaded(node, fleet.install.image, wanted, package, place, relay=fleet.ssh.relay)


def sent_as(place: str, package: Package) -> str:
    """Where the package lies on a node meanwhile, by a name of ours: what an operator has put there
    himself is used where it is the same, and never removed."""
    return f"{place}/omsfab-{package.sha256[:12]}-{PurePosixPath(package.path).name}"


def loaded(
    node: Node,
    name: str,
    wanted: str,
    package: Package | None,
    place: str,
    part: str = "oms",
    *,
    relay: bool = False,
) -> Step:
    """The image ``wanted`` (an id) is there; ``place`` is where the package lies meanwhile.

    ``part`` of hosts.yaml names image and package.
    """
    there = OutputIs(docker.image_id(wanted), wanted)
    if package is None:
        return Step(
            name=step_names.IMAGE,
            node=node.name,
            title=f"{name} is loaded",
            kind="read-only",
            verify=(there,),
            fault="IMG-001",
            fix=f"write its package as {part}.package in hosts.yaml",
            next=fab("fleet.show"),
            recheck_on_resume=True,
        )
    copy = f"{place}/{PurePosixPath(package.path).name}"
    dest = sent_as(place, package)
    return Step(
        name=step_names.IMAGE,
        node=node.name,
        title=f"send the package and load {name}",
        check=(there,),
        apply=(
            Run(posix.use_copy(copy, dest, package.size)),
            Send(
                Path(package.path),
                dest,
                package.size,
                package.sha256,
                docker.LOAD,
                relay=relay,
                image=wanted,
                layers=package.layers,
            ),
            Run(docker.load(dest, wanted)),
            Run(node_checks.remove_file(dest)),
        ),
        verify=(there,),
        fault="IMG-002",
        recheck_on_resume=True,
    )


def config(fleet: Fleet, content: Secret, node: Node, facts: NodeFacts) -> Step:
    """config.yaml has the values of hosts.yaml, compared by value, and the container sees them.

    ``content`` is that of the node's region (``oms_config.render``), made once for all its nodes.
    """
    path = fleet.install.mounts.config
    inside = (
        (ExitsZero(node_checks.same_inside(fleet.install.container, path, docker.CONFIG), "stale"),)
        if facts.container == "running"
        else ()
    )
    return Step(
        name=step_names.CONFIG,
        node=node.name,
        title=f"write {path}",
        check=(ConfigSays(path, content), *inside),
        apply=(Write(path, content),),
        verify=(ConfigSays(path, content), *inside),
        fault="CFG-006",
        fix=f"docker restart {fleet.install.container} on {node.name} where its container sees the"
        " former file, then: fab run.resume",
        recheck_on_resume=True,
    )


def certificate(fleet: Fleet, region: Region, node: Node, present: Observed) -> tuple[Step, ...]:
    """Certificate and key are on the node, where the region brings them: two steps, or none.

    Whether they could work is judged when such a plan is made (session.py), and not again.
    """
    if region.https is None:
        return ()
    pair = present.pair(region)
    mounts = fleet.install_of(node).mounts
    files = (
        (step_names.HTTPS_CRT, mounts.https_crt, region.https.crt, pair.crt, 0o644),
        (step_names.HTTPS_KEY, mounts.https_key, region.https.key, pair.key, 0o600),
    )

    def step(name: str, path: str, source: Path, digest: str, mode: int) -> Step:
        there = ExitsZero(node_checks.file_is(path, digest, mode), "not this file")
        return Step(
            name=name,
            node=node.name,
            title=f"write {path}",
            check=(there,),
            apply=(
                Run(node_checks.make_directories(str(PurePosixPath(path).parent))),
                CopyFile(source, path, digest, mode),
            ),
            verify=(there,),
            fault="CERT-003",
            recheck_on_resume=True,
        )

    return tuple(
        step(name, path or "", source, digest, mode) for name, path, source, digest, mode in files
    )


def serve_certificate(fleet: Fleet, node: Node) -> Step:
    """NGINX has read certificate and key anew.  No check: what it serves may be the former one."""
    container = fleet.install.container
    return Step(
        name=step_names.NGINX,
        node=node.name,
        title="restart nginx, which reads its certificate at the start",
        apply=(Run(supervisor.restart(container, "nginx"), any_status=True),),
        verify=(Await(Programs(supervisor.status(container), names=("nginx",)), limit=120),),
        fault="RUN-003",
    )


# --- the outage ------------------------------------------------------------------------------


def stop_processes(fleet: Fleet, node: Node) -> Step:
    """All programs are stopped (guide, step 2); supervisord itself and docker exec stay.

    A program that is FATAL or EXITED has no process, so it stops nobody.
    """
    container = fleet.install.container
    stopped = Programs(supervisor.status(container), "STOPPED")
    return Step(
        name=step_names.STOP_PROCESSES,
        node=node.name,
        title=f"stop all processes in {container}",
        check=(stopped,),
        apply=(
            Run(docker.up(container)),
            Run(supervisor.stop_all(container), any_status=True, programs="stop"),
        ),
        # A `stop all` of a run that was killed may be under way: ours then ends before it.
        verify=(Await(stopped, limit=120),),
        fault="RUN-002",
    )


def left_over(fleet: Fleet, node: Node) -> Step:
    """What `stop all` has not ended: an orphan that ignores TERM keeps its port, and may write.

    Told with the line that ends it, and no more: omsfab ends nothing that it cannot name.  Who
    writes rows is found by ``rows_quiet`` and before rows go.
    """
    container = fleet.install.container
    nothing = NothingRuns(container, processes.listing(container, fleet.install.ports))
    return Step(
        name="left-over",
        node=node.name,
        title=f"the programs have left no process in {container}, and hold no port",
        kind="read-only",
        verify=(Await(nothing, limit=4),),
        fault="RUN-007",
        fix="end it by the line beside it: docker_init.sh starts programs that need these ports",
        warn=True,
    )


def cleared(
    region: Region,
    present: Observed,
    rows: Literal["delete", "update"],
    tables: tuple[str, ...] = TABLES,
) -> ClearRows:
    """Return what is done to the region's rows."""
    old, new = (
        (present.clusters.get(region.location), region.cm_url) if rows == "update" else (None, None)
    )
    return ClearRows(region.location, tables, rows, old, new, present.shown)


def rows_shown(clear: ClearRows) -> Step:
    """The rows are still those that were shown; asked before anything is stopped.

    A package may have taken an hour, and a DBA may have worked on the rows meanwhile.
    """
    return Step(
        name="rows-shown",
        node=METADB,
        title=f"the rows of location {clear.location} are those that were shown",
        kind="read-only",
        verify=(RowsShown(clear),),
        fault="DB-041",
        next=fab("run.undo", note="production runs; then plan again: fab scale.out --plan"),
    )


def clear_rows(clear: ClearRows, stopped: Sequence[Step]) -> Step:
    """The region's rows are saved, verified, and gone (guide, step 3 and its note), or changed.

    There is no check: the marker of the transaction tells whether it was done by this run.  That
    the programs are stopped is asked right before it, whatever the journal says of ``stopped``.
    """
    of = f"the rows of location {clear.location} in {', '.join(clear.tables)}"
    return Step(
        name=step_names.CLEAR_ROWS,
        node=METADB,
        title=f"back up and delete {of}"
        if clear.rows == "delete"
        else f"back up {of}, delete that of cluster_info and change the url in the others",
        kind="transaction",
        needs=tuple((step.node, probe) for step in stopped for probe in step.check),
        apply=(clear,),
        fault="DB-016",
    )


def rows_quiet(clear: ClearRows) -> Step:
    """Nobody has written rows since: docker_init.sh would build upon them, or keep them."""
    return Step(
        name="rows-quiet",
        node=METADB,
        title=f"the rows of location {clear.location} are as this run has left them",
        kind="transaction",
        apply=(KeepRows(clear),),
        fault="DB-044",
    )


def rows_back(region: Region, old_url: CmUrl | None) -> Step:
    """What docker_init.sh has not made again, nobody outside the vendor can know before."""
    return Step(
        name=step_names.ROWS_BACK,
        node=METADB,
        title="each row that went is back, and nothing refers to a former id",
        kind="read-only",
        verify=(RowsBack(region.location, old_url, region.cm_url),),
        fault="DB-043",
        warn=True,
    )


def nothing_left_over() -> Step:
    """The whole tables: no host of a group that is gone, no two rows of one key."""
    return Step(
        name="whole-tables",
        node=METADB,
        title="no row is left over in the whole of the tables",
        kind="read-only",
        verify=(NothingLeftOver(),),
        fault="DB-045",
        warn=True,
    )


def other_urls(region: Region, old_url: CmUrl | None) -> Step:
    """Nobody outside the vendor knows these columns, so what they say is told and stops nothing."""
    return Step(
        name="urls",
        node=METADB,
        title=f"location_cm, host and resource_group name {region.cm_url}",
        kind="read-only",
        verify=(OtherUrls(region.location, region.cm_url, old_url),),
        fault="VER-005",
        warn=True,
    )


def save_rows(region: Region, tables: tuple[str, ...] = TABLES) -> Step:
    """The rows of all regions are on file before a new node is initialised.

    A new region writes rows of its own only; this is what proves it afterwards.  A rollback takes
    out what was not there then.
    """
    return Step(
        name=step_names.SAVE_ROWS,
        node=METADB,
        title=f"save the rows of all regions in {', '.join(tables)}",
        apply=(SaveRows(region.location, tables),),
        fault="DB-021",
    )


DIRTY_OR_OTHER = fab(
    "meta.show",
    note="which rows are there; fab fleet.check compares config.yaml in the containers",
)
"""Two rows, or none, are the matter of MetaDB; another url is that of config.yaml."""


def initialise(
    fleet: Fleet, region: Region, node: Node, *, again: bool = False, old_url: CmUrl | None = None
) -> Step:
    """MetaDB and the components in the container agree with config.yaml.

    The script takes 2 to 4 minutes and must not be interrupted (guide, step 7), so it runs as a
    Job, and there is no undo.  There is no check either: on a second node of a region the row is
    right before the node itself has been initialised.  ``again`` = the container was initialised
    before, so waiting for it to initialise itself would be in vain (guide, step 5).
    """
    return Step(
        name=step_names.INITIALISE,
        node=node.name,
        title="run docker_init.sh and wait for its end",
        kind="once-only",
        apply=(init_job(fleet, again=again),),
        verify=(Await(CmUrlIs(region.location, region.cm_url, old_url), limit=10),),
        fault="VER-001",
        next=DIRTY_OR_OTHER,
    )


def init_job(fleet: Fleet, *, again: bool = True) -> Job:
    directory, inside = oms.attempts(fleet.install)
    return Job(
        container=fleet.install.container,
        argv=oms.INIT,
        directory=directory,
        inside=inside,
        init="always" if again else fleet.install.init,
        itself=values.version_of(fleet.install.image) >= SELF_INIT,
    )


def others_unchanged(region: Region) -> Step:
    """No row of another region was touched."""
    return Step(
        name="other-regions",
        node=METADB,
        title="the rows of all other regions are what they were",
        kind="read-only",
        verify=(OthersUnchanged(region.location),),
        fault="VER-002",
    )


# --- containers ------------------------------------------------------------------------------


def container(fleet: Fleet, node: Node, wanted: str, facts: NodeFacts) -> Step:
    """The OMS container runs with the guide's flags, from this very image."""
    install = fleet.install_of(node)
    runs = OutputIs(docker.state(install.container), f"{docker.spec(node, install, wanted)} true")
    # A run that was killed behind docker run has left the file closed to oms_drc_supervisor.
    shared = ExitsZero(docker.config_shared(install), "config.yaml is closed to the user ds")
    left_over = (
        (Run(docker.remove_unstarted(install.container)),) if facts.container == "created" else ()
    )  # a start that failed leaves the name taken
    return Step(
        name=step_names.CONTAINER,
        node=node.name,
        title=f"run {install.container} from {install.image}",
        check=(runs, shared),
        apply=(
            *left_over,
            Run(docker.run_or_start(node, install, wanted, pull_flag=facts.pull_flag)),
        ),
        verify=(ExitsZero(node_checks.stays_up(install.container), "it ended"), runs, shared),
        fault="RUN-004",
        next=fab("node.logs", node=node.name),
        recheck_on_resume=True,
    )


def refresh(fleet: Fleet, node: Node, facts: NodeFacts) -> Step:
    """The components of a node that is not initialised anew know its changed config.yaml.

    No check: a file on the node does not tell whether the components have read it.  oms_drc_cm
    holds the login of the MetaDB as well, which the vendor's line does not think of.
    """
    login = any(one.key.startswith("oms_meta_") for one in facts.drift)
    more = ("oms_drc_cm",) if login else ()
    wanted = tuple(n for n in (*oms.READERS, *more) if n in facts.programs or not facts.states)
    install = fleet.install
    run = Programs(supervisor.status(install.container), names=wanted)
    return Step(
        name=step_names.REFRESH,
        node=node.name,
        title="apply config.yaml to the components (restarts console and supervisor)",
        apply=(Run(docker.up(install.container)), Run(oms.refresh(install, *more))),
        verify=(Await(run, limit=120),) if wanted else (),
        fault="RUN-003",
        next=fab("node.logs", node=node.name, note="why a program does not start"),
    )


# --- final verification: read-only ---------------------------------------------------------------


def programs_run(fleet: Fleet, node: Node, facts: NodeFacts | None = None) -> Step:
    """Those that ran before run, or OMS's own where none did: what else there is may be off on
    purpose (autostart=false) or was broken before, and ``programs_all`` tells of it."""
    return Step(
        name="programs",
        node=node.name,
        title="the programs that ran before, or OMS's own, are RUNNING",
        kind="read-only",
        verify=(Await(_expected(fleet, facts), limit=180),),
        fault="RUN-003",
        next=fab(
            "node.status",
            node=node.name,
            note=f"where the container is down: docker start {fleet.install.container}",
        ),
    )


def inits_over(fleet: Fleet, node: Node) -> Step:
    """An image may begin docker_init.sh anew behind its banner: what is proven then, while it runs,
    it stops and starts again a moment later."""
    over = job.over(fleet.install.container, oms.INIT, unasked=True)
    return replace(
        no_init_runs(fleet, node),
        name="init-runs-last",
        verify=(Await(ExitsZero(over, "docker_init.sh runs again"), limit=600, every=5),),
        next=fab("node.logs", node=node.name),
    )


def programs_all(fleet: Fleet, node: Node) -> Step:
    return Step(
        name="programs-all",
        node=node.name,
        title="every program of supervisord is RUNNING",
        kind="read-only",
        verify=(Await(Programs(supervisor.status(fleet.install.container)), limit=15),),
        fault="RUN-006",
        warn=True,
    )


def start_processes(fleet: Fleet, node: Node, facts: NodeFacts) -> Step:
    """Programs that ran before run again; where that is not known, all of them.

    docker_init.sh restarts the programs that it names, which need not be all that were stopped.  A
    reboot since leaves the container down, and nothing else of the run would start it again.
    """
    container = fleet.install.container
    names = facts.programs
    run = supervisor.start(container, *names) if names else supervisor.start_all(container)
    up = _expected(fleet, facts)
    return Step(
        name=step_names.START_PROCESSES,
        node=node.name,
        title=f"start the processes in {container} that ran before",
        check=(up,),
        apply=(Run(docker.up(container)), Run(run, any_status=True, programs="start")),
        verify=(Await(up, limit=180),),
        fault="RUN-003",
        recheck_on_resume=True,
        next=fab("node.logs", node=node.name, note="why a program does not start"),
    )


def _expected(fleet: Fleet, facts: NodeFacts | None) -> Programs:
    status = supervisor.status(fleet.install.container)
    if facts and facts.programs:
        return Programs(status, names=facts.programs)
    return Programs(status, names=supervisor.PROGRAMS, known=True)


HEALTHY = 900
"""Seconds for which the vendor's deployer waits for the health page (images from 4.2.11 on)."""


def healthy(fleet: Fleet, node: Node, shown: str = "", limit: float = HEALTHY) -> Step:
    """``shown`` is the sha256 of the certificate (DER) that this plan has brought to the node; a
    node that keeps its own may have another one than hosts.yaml, or an expired one."""
    install = fleet.install_of(node)
    url = oms.health_url(node, install)
    only = node_checks.https_only(node.ip, install.ports.nginx, shown)
    behind = Programs(supervisor.status(install.container), names=BEHIND_PAGE, known=True)
    page = Healthy(posix.http_get(url), oms.page_of_cm(node.ip, install), behind)
    return Step(
        name="health",
        node=node.name,
        title=f"{url} says healthy",
        kind="read-only",
        verify=(
            Await(page, limit=limit),
            *((ExitsZero(only, "not HTTPS only"),) if install.https else ()),
        ),
        fault="RUN-005",
        next=fab("node.logs", node=node.name),
    )


BEHIND_PAGE = ("nginx", "oms_console", "oms_drc_cm")
"""Programs without which the health page does not say healthy."""
BEHIND_BEAT = ("oms_drc_cm", "oms_drc_supervisor")
"""Programs without which MetaDB does not show a host ONLINE."""


def worked(facts: NodeFacts, programs: Sequence[str]) -> bool:
    """Whether it can have worked before; where no program ran, or that is not known, it had to."""
    broken = [name for name in programs if facts.states.get(name, "RUNNING") != "RUNNING"]
    return not (facts.programs and broken)


def only_told(step: Step) -> Step:
    """What did not work before stops no run, and is not waited for long."""
    first, *rest = step.verify
    if isinstance(first, Await):
        first = replace(first, limit=30)
    return replace(step, verify=(first, *rest), warn=True)


def same_image(fleet: Fleet, node: Node, wanted: str) -> Step:
    """The container runs from the very image that all nodes shall run: its id, not its tag."""
    return Step(
        name="image-id",
        node=node.name,
        title=f"{fleet.install.container} runs from {wanted[:19]}",
        kind="read-only",
        verify=(OutputIs(docker.image_of(fleet.install.container), wanted),),
        fault="IMG-006",
        next=fab("fleet.check"),
    )


def host_online(region: Region, node: Node) -> Step:
    """OMS itself sees the node: its row ONLINE, its beat fresh by the clock of MetaDB."""
    return Step(
        name="host",
        node=node.name,
        title=f"{node.ip} is ONLINE in MetaDB with a fresh heartbeat",
        kind="read-only",
        verify=(
            Await(
                HostsOnline(region.location, region.heartbeat_db, (node.ip,)), limit=180, every=2
            ),
        ),
        fault="VER-003",
    )


def cm_url(region: Region, old_url: CmUrl | None = None) -> Step:
    return Step(
        name="cm-url",
        node=METADB,
        title=f"cluster_info.cm_url is {region.cm_url}",
        kind="read-only",
        verify=(CmUrlIs(region.location, region.cm_url, old_url),),
        fault="VER-001",
        next=DIRTY_OR_OTHER,
    )
