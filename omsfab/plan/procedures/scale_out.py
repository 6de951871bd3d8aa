"""The main job: which scenario of the guide holds, and its stages in order.

Pure functions of the fleet and of what is so now.  The guide stops production first and moves
gigabytes afterwards; here everything is staged on the new nodes before the outage begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from omsfab.commands.processes import stores_text
from omsfab.commands.supervisor import PROGRAMS
from omsfab.errors import InputError, PreflightError
from omsfab.fleet import oms_config
from omsfab.fleet.model import Fleet, Node, Region
from omsfab.fleet.oms_config import Drift
from omsfab.fleet.values import CmUrl
from omsfab.next_line import fab
from omsfab.plan import questions, step_names, steps
from omsfab.plan.observed import NodeFacts, Observed
from omsfab.plan.procedures import caveats, refusals, regions
from omsfab.plan.procedures.declared import Yes, procedure
from omsfab.plan.procedures.regions import names
from omsfab.plan.records import ClearRows, Plan, Stage, Step

Manner: TypeAlias = Literal["delete", "update"]
"""What is done to the rows of a region whose cm_url changes (docs/decisions.md)."""


@procedure(
    "scale.out",
    "region",
    package=True,
    lease=True,
    undoable=True,
    words={
        "nodes": "add only these of the missing nodes",
        "accept_interruption": "stop OMS although HA is on or projects run",
        "rows": "delete (default) or update: "
        "what is done to the region's rows where cm_url changes",
    },
)
def scale_out(
    fleet: Fleet,
    present: Observed,
    *,
    nodes: str = "",
    region: str = "",
    accept_interruption: Yes = "",
    rows: str = "",
) -> Plan:
    """Scale out: bring a region to the nodes and the cm_url of hosts.yaml (the main job).

    ``nodes`` (comma separated) limits which of the missing nodes are added now;
    ``accept_interruption`` (any word) stops production although it is at work; ``rows`` is what is
    done to the region's rows where cm_url changes: "delete" (default) or "update".
    """
    plan = _scale_out(fleet, present, region, nodes, accept_interruption, manner(rows))
    named = regions.other_names(fleet, present)
    schema = (caveats.OWN_SCHEMA,) if plan.changes else ()
    notes = (*named, *caveats.of_image(fleet), *present.notes)
    background = (*plan.background, *_one_by_one(plan), *schema)
    return replace(plan, reasons=(*plan.reasons, *notes), background=background)


def _one_by_one(plan: Plan) -> tuple[str, ...]:
    """Why several nodes are initialised one after the other, where they are."""
    for stage in plan.stages:
        inits = [step for step in stage.steps if step.name == step_names.INITIALISE]
        if stage.width == 1 and len(inits) > 1:
            return (caveats.ONE_BY_ONE,)
    return ()


def manner(rows: str) -> Manner:
    """Return what ``--rows`` says, or refuse it."""
    if rows in ("", "delete"):
        return "delete"
    if rows == "update":
        return "update"
    raise InputError(
        "INPUT-031",
        f"--rows={rows} is neither delete nor update",
        where="--rows",
        evidence="delete, as the guide has it, is what is done without the flag",
        next=fab("scale.out", plan=True),
    )


def _scale_out(
    fleet: Fleet, present: Observed, region: str, nodes: str, accept_interruption: str, rows: Manner
) -> Plan:
    where = regions.named(fleet, region)
    old, new = regions.nodes_by_state(where, present, nodes)
    refusals.one_holds_the_vip(where, present, [*old, *new])
    chosen = {*old, *new}
    where = where.model_copy(
        update={"nodes": tuple(node for node in where.nodes if node in chosen)}
    )
    here = present.clusters.get(where.location)
    if here is None and not present.clusters:
        running = regions.running(where, present)
        missing = refusals.not_deployed(fleet, where, running, present)
        if missing.where != "metadb.rm_db":
            refusals.fixed_keys(running, present)
        raise missing
    refusals.identity(fleet, where, present)
    if here is None:
        return _new_region(fleet, where, present)
    refusals.all_known(where, present)
    refusals.keys_known([*old, *new], present)
    refusals.fixed_keys(old, present)
    refusals.one_image(old, present)
    if here.same_as(where.cm_url):
        return _behind_vip(fleet, where, present, old, new)
    if here.host in where.ips:
        if not accept_interruption:
            refusals.at_rest(where, present)
        refusals.name_kept(where, present)
        refusals.all_included(regions.named(fleet, region), where, present)
        refusals.held_rows(where, present, rows)
        return _from_physical(fleet, where, present, old, new, here, rows)
    raise PreflightError(
        "PLAN-003",
        f"cm_url in MetaDB is {here}: neither {where.cm_url} nor the address of a node",
        where=f"cluster_info, location {where.location}",
        evidence="the guide knows two scenarios: cm_url is a node's own address, or the VIP",
        fix="correct cm_url in hosts.yaml (or that row)",
    )


DEPLOY = fab("oms.deploy", plan=True)


@procedure(
    "oms.deploy",
    "region",
    package=True,
    lease=True,
    undoable=True,
    words={"nodes": "only these nodes"},
)
def deploy(fleet: Fleet, present: Observed, *, nodes: str = "", region: str = "") -> Plan:
    """Deploy the very first region; a further one is for scale.out."""
    where = regions.named(fleet, region, DEPLOY)
    if where.location in present.clusters:
        raise PreflightError(
            "PLAN-005",
            f"region {where.name} (location {where.location}) is in MetaDB already",
            where="cluster_info",
            evidence=f"cm_url {present.clusters[where.location]}",
            next=fab("scale.out", plan=True),
        )
    if present.clusters:
        raise PreflightError(
            "PLAN-008",
            f"OMS runs already: region {where.name} is a further one",
            where="cluster_info",
            evidence="oms.deploy is for the very first region; it proves nothing about others",
            next=fab("scale.out", region=where.name, plan=True),
        )
    chosen = regions.chosen(where, nodes, DEPLOY) or where.nodes
    where = where.model_copy(update={"nodes": tuple(n for n in where.nodes if n in chosen)})
    refusals.fixed_keys(regions.running(where, present), present)
    return Plan(
        "oms.deploy",
        f"deploy region {where.name} on {names(where.nodes)}",
        (
            f"MetaDB has no row for location {where.location}",
            *caveats.of_image(fleet),
            *present.notes,
        ),
        (
            questions.stage(fleet, where, present, (), where.nodes, vip=False),
            _staging(fleet, where, present, where.nodes),
            Stage("back up the rows of MetaDB", (steps.save_rows(where),)),
            *_joining(fleet, where, present, where.nodes),
            _proof(fleet, where, present, where.nodes),
        ),
        background=(caveats.OWN_SCHEMA,),
    )


# --- the two scenarios of the guide --------------------------------------------------------------


def _from_physical(
    fleet: Fleet,
    region: Region,
    present: Observed,
    old: Sequence[Node],
    new: Sequence[Node],
    here: CmUrl,
    rows: Manner,
) -> Plan:
    """cm_url is a node's own address: the region's rows must go, and come back with the VIP."""
    # A container that runs and is not ONLINE would go on writing: it is stopped with the others.
    old = [*old, *(node for node in new if present.facts(node.name).container == "running")]
    stopped = set(old)
    new = [node for node in new if node not in stopped]
    refusals.containers_kept(fleet, old, present)
    return Plan(
        "scale.out",
        f"scale out region {region.name}: {names(old)} + {names(new)}, cm_url to {region.cm_url}",
        (
            f"cm_url in MetaDB is {here}, the own address of a node;"
            f" hosts.yaml has {region.cm_url}",
            *_about_rows(region, present, rows),
            *(f"despite {text}" for text in present.traffic),
            *_about_old(fleet, old, present),
        ),
        (
            questions.stage(fleet, region, present, old, new, vip=True),
            *((_staging(fleet, region, present, new),) if new else ()),
            *_rows_exchanged(fleet, region, present, old, steps.cleared(region, present, rows)),
            *_initialised_again(fleet, region, present, old, here),
            *_joining(fleet, region, present, new, tolerate_failures=True),
            _proof(fleet, region, present, new, here, rows=True),
        ),
        initial=old[0].name,
        background=(
            'guide: "The IP address of a physical server is specified for the cm_url parameter"',
            *present.scopes,
        ),
    )


def _about_old(fleet: Fleet, old: Sequence[Node], present: Observed) -> tuple[str, ...]:
    return (
        *_flags(fleet, old, present),
        *_not_running(old, present),
        *_running_on(old, present),
        *_unread(old, present),
    )


def _rows_exchanged(
    fleet: Fleet, region: Region, present: Observed, old: Sequence[Node], clear: ClearRows
) -> tuple[Stage, ...]:
    """Production is stopped, its rows go, and the old nodes get the new configuration."""
    stops = tuple(_stopped(fleet, node) for node in old)
    content = oms_config.render(fleet, region)
    return (
        Stage("compare the rows with the plan", (steps.rows_shown(clear),)),
        Stage(
            "stop production",
            tuple(
                step
                for node, stop in zip(old, stops, strict=True)
                for step in (stop, steps.left_over(fleet, node))
            ),
            outage=True,
        ),
        Stage("rows of MetaDB", (steps.clear_rows(clear, stops),), outage=True),
        Stage(
            "configuration of the old nodes",
            tuple(steps.config(fleet, content, node, present.facts(node.name)) for node in old),
            outage=True,
        ),
        Stage("check that nobody writes the rows", (steps.rows_quiet(clear),), outage=True),
    )


def _initialised_again(
    fleet: Fleet, region: Region, present: Observed, old: Sequence[Node], here: CmUrl
) -> tuple[Stage, ...]:
    """The first old node writes the rows anew; once they are proven the others follow."""
    first, *rest = old
    others = min(fleet.install.init_parallel, len(rest))
    return (
        Stage(
            "initialise the first node",
            (
                steps.initialise(fleet, region, first, again=True, old_url=here),
                *_started(fleet, first, present),
            ),
            outage=True,
        ),
        Stage(
            "verify MetaDB",
            (steps.cm_url(region, here), steps.others_unchanged(region)),
            outage=bool(rest),
        ),
        *(
            (
                Stage(
                    f"initialise the other old nodes, {at_a_time(others)}",
                    tuple(
                        step
                        for node in rest
                        for step in (
                            steps.initialise(fleet, region, node, again=True),
                            *_started(fleet, node, present),
                        )
                    ),
                    width=others,
                    outage=True,
                ),
            )
            if rest
            else ()
        ),
    )


VIP_BEFORE = 'guide: "A VIP is specified for the cm_url parameter in the initial environment"'


KNOWN_BEFORE = "config.yaml has the new nodes already; its components read it again"


def _behind_vip(
    fleet: Fleet, region: Region, present: Observed, old: Sequence[Node], new: Sequence[Node]
) -> Plan:
    """cm_url is the VIP already: the new nodes join, the old ones learn the new cm_nodes."""
    refusals.containers_kept(fleet, old, present)
    drifts = {node.name: regions.config_drift(region, present.facts(node.name)) for node in old}
    # Whether components have read a config.yaml that somebody else has written, no file tells.
    told = [node for node in old if new or drifts[node.name]]
    if not told:
        return _as_wanted(fleet, region, present, old)
    title = f"scale out region {region.name}: {names(old)} + {names(new)}"
    return Plan(
        "scale.out",
        title if new else f"bring region {region.name} to the values of hosts.yaml",
        (
            f"cm_url in MetaDB is {region.cm_url} already",
            *(f"{name}: {one}" for name, drift in drifts.items() for one in drift),
            *(f"{node.name}: {KNOWN_BEFORE}" for node in told if not drifts[node.name]),
            *_flags(fleet, old, present),
            *_not_running(old, present),
        ),
        (
            questions.stage(fleet, region, present, old, new, vip=True),
            *((_staging(fleet, region, present, new),) if new else ()),
            *((Stage("back up the rows of MetaDB", (steps.save_rows(region),)),) if new else ()),
            *_joining(fleet, region, present, new, tolerate_failures=True),
            *_told_again(fleet, region, present, told),
            _proof(fleet, region, present, new),
        ),
        initial=old[0].name,
        background=(VIP_BEFORE,),
    )


def _told_again(
    fleet: Fleet, region: Region, present: Observed, told: Sequence[Node]
) -> tuple[Stage, ...]:
    content = oms_config.render(fleet, region)
    made = tuple(
        step
        for node in told
        for step in (
            steps.config(fleet, content, node, present.facts(node.name)),
            steps.refresh(fleet, node, present.facts(node.name)),
        )
    )
    return one_at_a_time("cm_nodes on the old nodes, 1 node at a time", made)


def _as_wanted(fleet: Fleet, region: Region, present: Observed, old: Sequence[Node]) -> Plan:
    """Nothing to do but to prove it."""
    further = [one.name for one in fleet.regions if one.name != region.name]
    return Plan(
        "scale.out",
        f"region {region.name} is as hosts.yaml wants it",
        (
            f"cm_url in MetaDB is {region.cm_url} already",
            f"nothing to do: in MetaDB, ONLINE, with this config.yaml: {names(old)}",
            *((f"not looked at: {', '.join(further)} (--region)",) if further else ()),
        ),
        (_proof(fleet, region, present, ()),),
        background=(VIP_BEFORE,),
    )


def one_at_a_time(title: str, made: tuple[Step, ...]) -> tuple[Stage, ...]:
    """A stage that has one node after another; none where there is nothing to do."""
    return (Stage(title, made, width=1),) if made else ()


def _stopped(fleet: Fleet, node: Node) -> Step:
    """A reboot starts the container, and with it all programs: a resumed run asks again, up to
    docker_init.sh, which must not be interfered with."""
    return replace(
        steps.stop_processes(fleet, node), until=step_names.key(step_names.INITIALISE, node.name)
    )


# --- a new region ----------------------------------------------------------------------------


def _new_region(fleet: Fleet, region: Region, present: Observed) -> Plan:
    """MetaDB does not know the region: it gets rows of its own, and nobody else's rows change.

    Guide, "Scale out OMS from a single region".  The other regions' config.yaml may need
    cm_region and cm_region_cn, which are optional as long as there is but one region.
    """
    new = region.nodes
    others = [other for other in fleet.regions if other.location != region.location]
    theirs = [node for other in others for node in regions.running(other, present)]
    refusals.others_at_their_cm_url(others, present)
    refusals.one_image(theirs, present)
    changed = changed_config(fleet, present, theirs)
    touched = [node for node in theirs if node.name in changed.drifts]
    return Plan(
        "scale.out",
        f"new region {region.name} (location {region.location}) on {names(new)}",
        (*_why_new(fleet, region, present), *changed.reasons),
        (
            questions.stage(fleet, region, present, touched, new, vip=False, others=theirs),
            _staging(fleet, region, present, new),
            Stage("rows of the other regions", (steps.save_rows(region),)),
            *one_at_a_time("config.yaml of the other regions, 1 node at a time", changed.steps),
            *_joining(fleet, region, present, new),
            _proof(fleet, region, present, new, others=True),
        ),
        initial=theirs[0].name if theirs else new[0].name,
    )


@dataclass(frozen=True, slots=True)
class Changed:
    """Nodes whose config.yaml is to change: what differs, by name, and the steps, node by node."""

    drifts: Mapping[str, tuple[Drift, ...]]
    """Empty for a node that was not asked."""
    steps: tuple[Step, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(
            f"{name}: {one}"
            for name, drift in self.drifts.items()
            for one in drift or ("(not asked)",)
        )


def changed_config(
    fleet: Fleet, present: Observed, nodes: Sequence[Node], *, only: str = ""
) -> Changed:
    """Return what brings config.yaml of running nodes, of any region, to hosts.yaml.

    cm_nodes are the nodes of the region that run.  ``only`` is the beginning of the keys that may
    differ.  Nothing of it needs an initialisation: the components are refreshed.
    """
    refusals.keys_known(nodes, present)
    refusals.fixed_keys(nodes, present)
    changed = _differing(fleet, present, nodes, asked_only=bool(only))
    drifts = changed.drifts
    further = [
        f"{name}: {one}"
        for name, drift in drifts.items()
        for one in drift
        if not one.key.startswith(only)
    ]
    if further:
        refusals.stop(
            present,
            "CFG-012",
            f"config.yaml differs from hosts.yaml in more than {only}*",
            where=", ".join(drifts),
            evidence="\n".join(further),
            next=fab("scale.out", plan=True, note="brings the rest; one thing at a time"),
        )
    refusals.containers_kept(fleet, [node for node in nodes if node.name in drifts], present)
    return changed


def _differing(
    fleet: Fleet, present: Observed, nodes: Sequence[Node], *, asked_only: bool
) -> Changed:
    """Each node whose config.yaml differs, or, without contact, may differ."""
    drifts: dict[str, tuple[Drift, ...]] = {}
    made: list[Step] = []
    for region in fleet.regions:
        here = tuple(node for node in region.nodes if node in nodes)
        if not here:
            continue
        where = region.model_copy(update={"nodes": here})
        content = oms_config.render(fleet, where)
        for node in here:
            facts = present.facts(node.name)
            unasked = present.assumed and asked_only
            drift = () if unasked else regions.config_drift(where, facts)
            if drift or unasked:
                drifts[node.name] = drift
                made += [
                    steps.config(fleet, content, node, facts),
                    steps.refresh(fleet, node, facts),
                    _as_before(steps.healthy(fleet, node), steps.BEHIND_PAGE, facts),
                ]
    return Changed(drifts, tuple(made))


def _why_new(fleet: Fleet, region: Region, present: Observed) -> Iterator[str]:
    """Yield what the guide says, and where its own sample is not followed."""
    known = ", ".join(
        f"{code} ({present.regions.get(code) or 'without a name'})" for code in present.clusters
    )
    yield f"MetaDB has no row for location {region.location}; it has: {known}"
    yield 'guide: "Scale out OMS from a single region"; rm_db and cm_db are those of all regions'
    home = next((one.name for one in fleet.regions if one.default), "none")
    yield (
        "cm_is_default: false, although the guide's sample has true: its parameter table allows"
        f" true in one region only, and that is {home}"
    )
    yield (
        f"with Alibaba Cloud MSHA, cm_region must be the region's name there: is {region.name}?"
        " (guide, notice at cm_region)"
    )
    for other in fleet.regions:
        named = present.regions.get(other.location)
        if other.location in present.clusters and named != other.name:
            yield (
                f"MetaDB names location {other.location} {named!r}, hosts.yaml {other.name}:"
                " its config.yaml is brought to that, its rows stay as they are"
            )


def _about_rows(region: Region, present: Observed, rows: Manner) -> Iterator[str]:
    """Yield who refers to the rows, and which of the two ways is taken with them."""
    for one in present.references:
        count = "rows that cannot be counted" if one.rows < 0 else f"{one.rows} rows"
        yield f"{one.column} refers to {one.to}: {count} ({one.by})"
    if rows == "update":
        yield (
            "--rows=update: cluster_info is deleted as the guide has it; in the other tables only"
            " what carries the old cm_url is changed, and ids stay (docs/decisions.md)"
        )
    elif present.references:
        again = fab("scale.out", region=region.name, rows="update", plan=True)
        yield (
            "docker_init.sh may make rows with other ids, and what refers to the former ones would"
            f" lead nowhere; {again} keeps the ids (docs/decisions.md)"
        )


# --- stages they share ---------------------------------------------------------------------------


def preflight(fleet: Fleet, region: Region, present: Observed) -> Stage:
    """The questions to the nodes that answer, where there is no plan: of a container that runs what
    an outage would need, of any other node what a new one needs."""
    known = [node for node in region.nodes if node.name in present.nodes]
    old = [node for node in known if present.facts(node.name).container == "running"]
    new = [node for node in known if node not in old]
    vip = bool(old) and region.location in present.clusters
    return questions.stage(fleet, region, present, old, new, vip=vip)


def _staging(fleet: Fleet, region: Region, present: Observed, new: Sequence[Node]) -> Stage:
    """All that a new node needs, before production is touched: static faults cost nothing here."""
    content = oms_config.render(fleet, region)
    return Stage(
        "stage the new nodes",
        tuple(
            step
            for node in new
            for step in (
                steps.directories(fleet, node),
                steps.image(fleet, node, present.image, present.package),
                steps.config(fleet, content, node, present.facts(node.name)),
                *steps.certificate(fleet, region, node, present),
            )
        ),
    )


def _joining(
    fleet: Fleet,
    region: Region,
    present: Observed,
    new: Sequence[Node],
    *,
    tolerate_failures: bool = False,
) -> tuple[Stage, ...]:
    """Container and initialisation, on as many nodes at once as hosts.yaml says: they share a
    MetaDB.

    Newer images initialise themselves as soon as their container runs, so two containers started
    side by side are two initialisations at once.  The first node of a region is alone: it makes
    what the others find.
    ``tolerate_failures`` where OMS is in service without them: one that fails does not hold the
    others up.
    """
    if not new:
        return ()
    refusals.names_free(fleet, new, present)
    refusals.images_there(fleet, new, present)

    def joined(title: str, nodes: Sequence[Node], width: int) -> Stage:
        return Stage(
            f"{title}, {at_a_time(width)}",
            tuple(
                step
                for node in nodes
                for step in (
                    steps.container(fleet, node, present.image, present.facts(node.name)),
                    steps.initialise(fleet, region, node),
                )
            ),
            width=width,
            tolerate_failures=tolerate_failures,
        )

    width, title = fleet.install.init_parallel, "run and initialise the new nodes"
    if width == 1 or len(new) == len(region.nodes) == 1:
        return (joined(title, new, 1),)
    if len(new) < len(region.nodes):
        return (joined(title, new, min(width, len(new))),)
    first, *rest = new
    return (
        joined("run and initialise the first node", (first,), 1),
        joined("run and initialise the other nodes", rest, min(width, len(rest))),
    )


def at_a_time(width: int) -> str:
    return f"{width} node{'s' if width > 1 else ''} at a time"


def _proof(
    fleet: Fleet,
    region: Region,
    present: Observed,
    new: Sequence[Node],
    old_url: CmUrl | None = None,
    *,
    others: bool = False,
    rows: bool = False,
) -> Stage:
    """What a DBA would look at afterwards, on every node and in MetaDB.

    cm_url too: who answered in the preflight may be gone.  ``others`` where rows were saved then,
    ``rows`` where they were deleted or changed.
    """
    joined, anywhere = set(new), _run_anywhere(present)
    return Stage(
        "final verification",
        (
            *(
                step
                for node in region.nodes
                for step in _proof_of(fleet, region, present, node, joined, anywhere)
            ),
            _last(steps.cm_url(region, old_url)),
            *((_last(steps.others_unchanged(region)),) if others else ()),
            *((steps.rows_back(region, old_url), steps.nothing_left_over()) if rows else ()),
            *((steps.other_urls(region, old_url),) if rows else ()),
        ),
    )


def _proof_of(
    fleet: Fleet,
    region: Region,
    present: Observed,
    node: Node,
    new: Set[Node],
    anywhere: NodeFacts,
) -> tuple[Step, ...]:
    image, shown, facts = present.image, present.pair(region).shown, present.facts(node.name)
    before = anywhere if node in new else facts
    healthy = steps.healthy(fleet, node, shown if node in new else "")
    return (
        *((steps.same_image(fleet, node, image),) if image.startswith("sha") else ()),
        steps.inits_over(fleet, node),
        steps.programs_run(fleet, node, before),
        steps.programs_all(fleet, node),
        _as_before(healthy, steps.BEHIND_PAGE, facts),
        _as_before(steps.host_online(region, node), steps.BEHIND_BEAT, facts),
        *_vip_last(fleet, region, node, new),
    )


def _vip_last(fleet: Fleet, region: Region, node: Node, new: Set[Node]) -> tuple[Step, ...]:
    """As in the preflight: a node that served before may be a backend that its VIP shuts out."""
    if node in new or region.cm_url.host in region.ips:
        return (steps.vip_answers(fleet, region, node, last=True),)
    return steps.vip_reached(fleet, region, node, region.nodes, last=True)


def _last(step: Step) -> Step:
    """The same question again: by a name of its own, or a resumed run would take it for done."""
    return replace(step, name=f"{step.name}-last")


def _flags(fleet: Fleet, old: Sequence[Node], present: Observed) -> tuple[str, ...]:
    """What running containers have that new ones do not get."""
    further = {
        node.name: regions.further_mounts(fleet, node, present.facts(node.name)) for node in old
    }
    return (
        *(
            f"warning: {node.name} runs {line}"
            for node in old
            for line in present.facts(node.name).flags
        ),
        *(
            f"{name} has further mounts, which are kept; new nodes do not get them: "
            + ", ".join(binds)
            for name, binds in further.items()
            if binds
        ),
    )


def _not_running(old: Sequence[Node], present: Observed) -> tuple[str, ...]:
    """Programs that do not run now: nobody waits for them afterwards."""
    return tuple(
        f"warning: {name} is {state} on {node.name}; the run does not wait for it in the end"
        for node in old
        for name, state in present.facts(node.name).states.items()
        if state != "RUNNING"
    )


def _running_on(old: Sequence[Node], present: Observed) -> tuple[str, ...]:
    """What the stop does not end, and what goes on writing to MetaDB."""
    return tuple(
        f"{node.name}: {stores_text(stores)}"
        for node in old
        if (stores := present.facts(node.name).stores)
    )


def _unread(old: Sequence[Node], present: Observed) -> tuple[str, ...]:
    """A config.yaml that only root can read: its mode stays as it is, and what runs then may have
    read it before it was so."""
    return tuple(
        f"warning: only root can read config.yaml of {node.name} (mode {mode}); oms_drc_supervisor"
        " is another user: restarted, it may send no heartbeat"
        for node in old
        if (mode := present.facts(node.name).config_mode) and not int(mode, 8) & 0o044
    )


def _as_before(step: Step, programs: Sequence[str], facts: NodeFacts) -> Step:
    """What these programs are needed for; where one of them was broken before, it is only told."""
    return step if steps.worked(facts, programs) else steps.only_told(step)


def _started(fleet: Fleet, node: Node, present: Observed) -> tuple[Step, ...]:
    """Nothing, where all programs had been stopped before: docker_init.sh starts its own."""
    facts = present.facts(node.name)
    return (steps.start_processes(fleet, node, facts),) if facts.programs else ()


def _run_anywhere(present: Observed) -> NodeFacts:
    """What must run on a new node: OMS's own programs, unless they run on no node of the region."""
    seen = {name for facts in present.nodes.values() for name in facts.programs}
    return NodeFacts(programs=tuple(n for n in PROGRAMS if n in seen))
