"""The fab tree: read flags, load the fleet, pick a planner, hand over.

Imports stand inside the tasks, so that `fab --list` costs what a bare fab costs.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import inspect
import io
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from fabric import Connection, task
from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit

from omsfab.plan.procedures.declared import declared

Body = Callable[..., Any]


def open_standard_streams() -> None:
    """Put /dev/null in the place of a stream that was closed (`fab … >&-`): the next file that is
    opened would get its number, and Python has None for it."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115  (stays open)


open_standard_streams()

if {"-l", "--list", "-h", "--help"} & set(sys.argv) and hasattr(signal, "SIGPIPE"):
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `fab --list | head`: fab's own printing

# --- what all tasks share ------------------------------------------------------------------------


def guarded(body: Body) -> Body:
    """Turn an OmsfabError into its five parts on stderr and the exit status of its class."""

    @functools.wraps(body)
    def call(*args: Any, **kwargs: Any) -> Any:
        # Invoke forbids it, and each command would compile omsfab again: a third of its start.
        sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
        from omsfab.errors import OmsfabError, unforeseen

        for stream in (sys.stdout, sys.stderr):  # what a terminal cannot show shall not end a run
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        _name_the_user()
        try:
            return body(*args, **kwargs)
        except OmsfabError as error:
            return _told(_outside_a_run(error))
        except KeyboardInterrupt:
            raise Exit(code=130) from None
        except BrokenPipeError:  # `fab … | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Exit(code=141) from None
        except Exit:
            raise
        except Exception as error:
            return _told(unforeseen(error))

    return call


def _name_the_user() -> None:
    """A user without an entry in passwd (`docker run -u 4242`) goes by its number.

    By the environment, since paramiko asks for the name, too.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):  # OSError since Python 3.13
        os.environ["LOGNAME"] = str(os.getuid())


def _outside_a_run(error: Any) -> Any:
    """A node that fell silent before anything was changed: exit 3, and the task once more."""
    if error.id in ("SSH-020", "SSH-021") and error.changed == "nothing":
        error.exit_code = 3
        error.next = tuple(line for line in error.next if line.task != "run.resume")
    return error


def _told(error: Any) -> None:
    """Say the five parts and leave; a terminal that is gone hears nothing.

    Where nothing else leads on, it is the task that asked, once more.
    """
    from omsfab.fleet.mask import Redactor, plain
    from omsfab.next_line import typed
    from omsfab.show.document import error_document

    error.next = error.next or (typed(sys.argv[1:]),)
    error.shown_by(Redactor())
    with contextlib.suppress(OSError):
        print(plain(error.render()), file=sys.stderr)
        if "--json" in sys.argv:
            print(error_document(error), flush=True)
    raise Exit(code=error.exit_code) from None


def reads_hosts(body: Body) -> Body:
    """Add --hosts: the file that is read instead of hosts.yaml."""

    @functools.wraps(body)
    def call(c: Context, *, hosts: str = "", **kwargs: Any) -> Any:
        from omsfab.next_line import CALLED

        if hosts:
            CALLED.hosts = hosts
        return body(c, **kwargs)

    shape = inspect.signature(body)
    named = inspect.Parameter("hosts", inspect.Parameter.POSITIONAL_OR_KEYWORD, default="")
    call.__signature__ = shape.replace(  # type: ignore[attr-defined]
        parameters=[*shape.parameters.values(), named]
    )
    return call


HOSTS_HELP = {"hosts": "the file to read; else $OMSFAB_HOSTS, hosts.local.yaml or hosts.yaml"}


def _end_with(status: int) -> None:
    if status:
        raise Exit(code=status)


FLAGS_HELP = {
    "plan": "ask the live fleet, and print what would change",
    "yes": "do not ask for confirmation",
    "json": "events as JSON lines on standard output; with --plan or --dry the plan as one object",
    "verbose": "every step of the plan, and every line of output",
}
TELLS = "as JSON on standard output (docs/json.md)"
ACCEPT_HELP = {"accept": "go on although of these error ids, comma separated (docs/errors.md)"}

ALL = ("plan", "yes", "json", "verbose")


def _without_host(words: list[str]) -> list[str]:
    """What was typed, but for -H and its value."""
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        if word in ("-H", "--hosts"):
            next(rest, None)
        elif not word.startswith(("-H", "--hosts=")):
            kept.append(word)
    return kept


def flagged(body: Body, names: tuple[str, ...], *, accepts: bool = False) -> Body:
    """Add these flags, out of --plan, --yes, --json and --verbose, and --accept if it ``accepts``;
    the body gets them as one Flags."""

    @functools.wraps(body)
    def call(c: Context, **kwargs: Any) -> Any:
        from omsfab.run.confirmation import Flags

        given = {name: bool(kwargs.pop(name)) for name in names}
        accept = kwargs.pop("accept", "") if accepts else ""
        flags = Flags(dry=bool(c.config.run.dry), accept=accept, **given)
        if "yes" in given:
            _refuse_unasked(flags)
        return body(c, flags=flags, **kwargs)

    shape = inspect.signature(body)
    kept = [p for p in shape.parameters.values() if p.name != "flags"]
    defaults: dict[str, Any] = dict.fromkeys(names, False) | ({"accept": ""} if accepts else {})
    added = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)
        for name, default in defaults.items()
    ]
    call.__signature__ = shape.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
    return call


def _refuse_unasked(flags: Any) -> None:
    """INPUT-023 before anybody is asked, where no question could be."""
    from omsfab.next_line import typed
    from omsfab.run.confirmation import refuse_json

    if flags.json and not (flags.yes or flags.looks):
        refuse_json(typed(sys.argv[1:]))


def fleet_task(*, heeds_dry: bool = False, **words: str) -> Callable[[Body], Any]:
    """A task on the whole fleet: `fab -H` is refused, since hosts.yaml says where.

    With `fab --dry` its body is not called, unless it ``heeds_dry``: by itself it contacts nobody
    and changes nothing then.  ``words`` explain its flags.
    """

    def make(body: Body) -> Any:
        @functools.wraps(body)
        def call(c: Context, **kwargs: Any) -> Any:
            if isinstance(c, Connection):
                from omsfab.errors import InputError
                from omsfab.next_line import typed

                raise InputError(
                    "INPUT-026",
                    "this task works on the whole fleet, so -H has no meaning here",
                    where=f"-H {c.host}",
                    evidence="the nodes are those of hosts.yaml; --nodes chooses among them"
                    if "nodes" in kwargs
                    else "the nodes are those of hosts.yaml",
                    next=typed(_without_host(sys.argv[1:])),
                )
            if c.config.run.dry and not heeds_dry:
                print(DRY)
                return None
            return body(c, **kwargs)

        made = task(guarded(reads_hosts(call)), auto_shortflags=False)
        made.help = words | HOSTS_HELP
        return made

    return make


DRY = "dry: nothing was contacted and nothing changed; what hosts.yaml says: fab fleet.show"


def operator_task(
    *, flags: tuple[str, ...] = ALL, accepts: bool = False, **words: str
) -> Callable[[Body], Any]:
    """A task on the whole fleet that may change it; ``words`` explain its own flags."""

    def make(body: Body) -> Any:
        told = {name: FLAGS_HELP[name] for name in flags if name not in words}
        told |= ACCEPT_HELP if accepts else {}
        return fleet_task(heeds_dry=True, **words, **told)(flagged(body, flags, accepts=accepts))

    return make


def node_task(
    *, flags: tuple[str, ...] = ALL, accepts: bool = False, **words: str
) -> Callable[[Body], Any]:
    """A task on single nodes: named by --node, or by `fab -H name-or-address`."""

    def make(body: Body) -> Any:
        @functools.wraps(body)
        def call(c: Context, *, node: str = "", **kwargs: Any) -> Any:
            named = c.host if isinstance(c, Connection) else node
            return body(c, node=named, **kwargs)

        made = task(
            guarded(reads_hosts(flagged(call, flags, accepts=accepts))), auto_shortflags=False
        )
        told = {name: FLAGS_HELP[name] for name in flags} | (ACCEPT_HELP if accepts else {})
        made.help = {"node": "names or addresses, comma separated", **words, **told, **HOSTS_HELP}
        return made

    return make


def carry_out(name: str, flags: Any, **args: str) -> None:
    from omsfab.run.session import Session
    from omsfab.run.start import start

    start(Session(flags), name, **args)


# --- procedures: what omsfab/plan/procedures declares ------------------------------------------


WORDS = {
    "region": "found out where only one differs from MetaDB; needed where several do, or with --dry"
}
"""What flags mean that several procedures have."""


def planned_task(made: Any) -> Any:
    """The task of a procedure: its flags are the parameters of its planner, its words theirs."""

    def body(c: Context, *, flags: Any, **given: Any) -> None:
        args = {one.name: one.recorded(given[one.flag]) for one in made.parameters}
        carry_out(made.name, flags, **args)

    either, empty = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
    own = [one for one in made.parameters if one.flag != "node"]
    own.sort(key=lambda one: one.default is not None)
    takes = [
        inspect.Parameter(one.flag, either, default=empty if one.default is None else one.default)
        for one in own
    ]
    if made.scope == "node":
        takes.append(inspect.Parameter("node", either, default=""))
    context = inspect.Parameter("c", either)
    last = inspect.Parameter("flags", inspect.Parameter.KEYWORD_ONLY)
    body.__signature__ = inspect.Signature([context, *takes, last])  # type: ignore[attr-defined]
    body.__doc__ = made.says
    kind = node_task if made.scope == "node" else operator_task
    words = {one.flag: made.words.get(one.flag) or WORDS[one.flag] for one in own}
    return kind(flags=made.flags, accepts=made.accepts, **words)(body)


# --- fleet -----------------------------------------------------------------------------------


@fleet_task(heeds_dry=True, json=TELLS, secrets="read them, too: can each be had?")
def show(c: Context, json: bool = False, secrets: bool = False) -> None:
    """Show what hosts.yaml says, checked, without contact; warns about missing local files."""
    from omsfab.cli import fleet

    fleet.show(as_json=json, secrets=secrets)


@fleet_task(json=TELLS, watch="again every 5 seconds, until Ctrl-C")
def status(c: Context, json: bool = False, watch: bool = False) -> None:
    """Show regions and nodes as they are; exit status 5: something is ill, 3: unreachable."""
    from omsfab.cli import fleet

    _end_with(fleet.status(as_json=json, watch=watch))


@fleet_task(region="only this one", json=TELLS)
def check(c: Context, region: str = "", json: bool = False) -> None:
    """Tell what is not as hosts.yaml wants it, and the fix; exit status 5: something, 3: silent."""
    from omsfab.cli import fleet

    _end_with(fleet.check(region, as_json=json))


@fleet_task(file="the file to write, whole at once, for node_exporter's textfile collector")
def metrics(c: Context, file: str = "") -> None:
    """Write the figures of fleet.status as Prometheus text, on standard output or into a file."""
    from omsfab.cli import fleet

    fleet.metrics(file)


@operator_task(
    flags=("plan", "yes", "json"),
    json=TELLS,
    from_="USER@ADDRESS[:PORT] of nodes where OMS runs, comma separated; MetaDB tells the others",
    container="its name, where several may be the OMS",
    key="a private key, if ~/.ssh/config and the agent have none",
    known_hosts="where host keys are kept, if not in ~/.ssh/known_hosts",
    out="the file to write; else hosts.local.yaml",
    force="overwrite it unasked; what it said is kept beside it",
)
def discover(
    c: Context,
    from_: str = "",
    container: str = "",
    key: str = "",
    known_hosts: str = "",
    out: str = "",
    force: bool = False,
    *,
    flags: Any,
) -> None:
    """Write the hosts.yaml of an OMS that is there, however it was made; change nothing there."""
    from omsfab.cli import adopt

    asked = adopt.Asked(from_, container, key, known_hosts)
    adopt.discover(asked, out, flags, force=force or flags.yes)


@operator_task(
    flags=("plan",),
    out="the file to write; else hosts.local.yaml",
    force="overwrite it unasked; what it said is kept beside it",
)
def init(c: Context, out: str = "", force: bool = False, *, flags: Any) -> None:
    """Ask the few questions for a fleet from nothing, and write its hosts.yaml."""
    from omsfab.cli import adopt

    adopt.init(out, flags, force=force)


@operator_task(
    flags=("plan", "yes", "json"),
    json=TELLS,
    local="the state directory of this jump host, too, with all backups of rows",
)
def forget(c: Context, local: bool = False, *, flags: Any) -> None:
    """Remove what omsfab itself has left on nodes and in MetaDB; OMS goes on as it is."""
    from omsfab.cli import forget as leftovers
    from omsfab.run.session import Session

    _end_with(leftovers.forget(Session(flags), local=local))


@fleet_task(heeds_dry=True)
def schema(c: Context) -> None:
    """Print the JSON schema of hosts.yaml, for editors."""
    import json as codec

    from omsfab.fleet.hosts_file import json_schema

    print(codec.dumps(json_schema(), indent=2, ensure_ascii=False))


# --- node ------------------------------------------------------------------------------------


@node_task(
    flags=("plan", "yes"),
    replace="accept a changed key with exactly this fingerprint (SHA256:…)",
)
def trust(c: Context, node: str = "", replace: str = "", *, flags: Any) -> None:
    """Show the host key of a node and, once confirmed, record it in known_hosts."""
    from omsfab.cli import trust as keys

    keys.trust(node, replace, flags)


@node_task(flags=("json",))
def node_status(c: Context, node: str = "", *, flags: Any) -> None:
    """Show container, programs and health of nodes; exit status 5: one is ill, 3: unreachable."""
    from omsfab.cli import nodes

    _end_with(nodes.status(node, flags))


@node_task(
    flags=("json",),
    component="of these alone: init, container, supervisord, nginx, console, ghana, web, api,"
    " alarm, scheduler, integration, ha, cm, supervisor, store, connector",
    lines="how many of each log: 50; 10000 with --since or --grep",
    since="those written since: 90m, 12h, 7d, 2026-11-25T18:04 (UTC)",
    grep="those that hold this text, in any case",
    follow="go on with what comes, until Ctrl-C",
)
def node_logs(
    c: Context,
    node: str = "",
    component: str = "",
    lines: int = 0,
    since: str = "",
    grep: str = "",
    follow: bool = False,
    *,
    flags: Any,
) -> None:
    """Show the newest lines of the logs: where faults show first, or of the components named."""
    from omsfab.cli import nodes

    want = nodes.Chosen(component, lines, since, grep)
    _end_with(nodes.show_logs(node, flags, want, follow=follow))


# --- diag ------------------------------------------------------------------------------------


@fleet_task(
    node="of these nodes alone, names or addresses, comma separated",
    since="logs written since: 24h, 7d, 2026-11-25T18:04 (UTC)",
    out="the archive to write; in the state directory without it",
)
def bundle(c: Context, node: str = "", since: str = "24h", out: str = "") -> None:
    """Pack logs, docker inspect, config.yaml, rows, runs, versions for a support case, masked."""
    from omsfab.cli import diag

    diag.bundle(node, since, out)


@fleet_task(out="the file to write, 0600; on standard output without it")
def obdiag(c: Context, out: str = "") -> None:
    """Write the config.yml with which the vendor's obdiag gathers logs of this fleet."""
    from omsfab.cli import diag

    diag.obdiag(out)


# --- meta ------------------------------------------------------------------------------------


@fleet_task(region="the rows of this one only", json=TELLS)
def show_rows(c: Context, region: str = "", json: bool = False) -> None:
    """Show the regions that MetaDB holds, and which rows belong to them."""
    from omsfab.cli import rows

    rows.show(region, as_json=json)


@operator_task(flags=("plan",), region="needed with several regions")
def save_rows(c: Context, region: str = "", *, flags: Any) -> None:
    """Back up the rows of a region, verified, as JSON lines and as plain .sql; change nothing."""
    from omsfab.cli import rows

    rows.save(region, flags)


@operator_task(file="a backup: .jsonl of meta.save or of a run", region="checked against the file")
def restore_rows(c: Context, file: str, region: str = "", *, flags: Any) -> None:
    """Replace the rows of a region by those of a backup, in one transaction, proven by hash."""
    from omsfab.cli import rows

    rows.restore(file, region, flags)


# --- run, lock -------------------------------------------------------------------------------


@fleet_task(
    heeds_dry=True,
    region="those that concern this region",
    task="those of this task, or of a group: node, run",
    state="those that are so: open, failed, running, rolled-back, …",
    since="those begun since: 90m, 12h, 7d, 2026-11-25, 2026-11-25T18:04 (UTC)",
    json=TELLS,
)
def list_runs(
    c: Context,
    region: str = "",
    task: str = "",
    state: str = "",
    since: str = "",
    json: bool = False,
) -> None:
    """List the runs of this OMS, newest first."""
    from omsfab.cli import runs as views

    views.runs(region=region, task=task, state=state, since=since, as_json=json)


A_RUN = "a run of fab run.list; the newest without it"


@fleet_task(heeds_dry=True, run=A_RUN, json=TELLS)
def show_run(c: Context, run: str = "", json: bool = False) -> None:
    """Show what a run did and what it did not, stage by stage: the newest, or one named."""
    from omsfab.cli import runs as views

    views.show(run, as_json=json)


@fleet_task(
    heeds_dry=True,
    run=A_RUN,
    node="only what it says of these nodes; metadb: of MetaDB",
    follow="go on as long as it is under way, also from another terminal",
    json="events as JSON lines on standard output",
)
def log_run(
    c: Context, run: str = "", node: str = "", follow: bool = False, json: bool = False
) -> None:
    """Print every event of a run, with the output of the nodes: the newest, or one named."""
    from omsfab.cli import runs as views

    views.log(run, node=node, follow=follow, as_json=json)


@fleet_task(run=A_RUN, out="the file to write")
def report(c: Context, run: str = "", out: str = "") -> None:
    """Write a run as one HTML page (--out; else beside its journal): what, when, how long."""
    from omsfab.cli import runs as views

    views.report(run, out)


FROM = "fetch the run from this node's copy: for a jump host that has lost it"


@operator_task(
    accepts=True,
    run="a run id of fab run.list; the newest unfinished one without it",
    from_=FROM,
    stop_init="end a docker_init.sh of the run that hangs, with its children, and begin another",
)
def resume(
    c: Context, run: str = "", from_: str = "", stop_init: bool = False, *, flags: Any
) -> None:
    """Finish a run that was cut off: what is done stays, what is unknown is asked."""
    from omsfab.run.resume import resume
    from omsfab.run.session import Session

    resume(Session(flags), run, from_, stop_init=stop_init)


@operator_task(
    accepts=True,
    run="a run id of fab run.list; the newest that can be without it",
    from_=FROM,
    stop_init="end a docker_init.sh of the run that hangs, and roll back without running it",
)
def undo(
    c: Context, run: str = "", from_: str = "", stop_init: bool = False, *, flags: Any
) -> None:
    """Roll back what a run did, in reverse; exit 8 if that run had failed, 0 if it ended well."""
    from omsfab.run.session import Session
    from omsfab.run.undo import undo

    undo(Session(flags), run, from_, stop_init=stop_init)


@operator_task(flags=("plan",), run="a run id of fab run.list")
def abandon(c: Context, run: str, *, flags: Any) -> None:
    """Close a run without finishing it; what it changed stays as it is."""
    from omsfab.run.resume import abandon
    from omsfab.run.session import Session

    abandon(Session(flags), run)


@fleet_task(json=TELLS)
def show_lock(c: Context, json: bool = False) -> None:
    """Show who holds the lock of this OMS, on this jump host and in MetaDB."""
    from omsfab.cli import status as views

    views.lock(as_json=json)


@operator_task(flags=("plan", "yes"), run="the exact id of the run whose lease shall be broken")
def break_lock(c: Context, run: str, *, flags: Any) -> None:
    """Free the lease of a run that is dead: exact run id, expired, and unchanged while watched."""
    from omsfab.cli import status as views

    views.break_lock(run, flags)


# --- lab -------------------------------------------------------------------------------------


def lab_task(**words: str) -> Callable[[Body], Any]:
    """A task on a lab of one's own."""
    return fleet_task(heeds_dry=False, name="several labs do not collide", **words)


@lab_task(
    nodes="how many servers",
    metadb="oceanbase, mariadb or mysql",
    bare="do not deploy OMS",
    profile="the OMS that the image stands in for: 3.3.1, 4.2.0, 4.2.7 or 4.2.11+",
)
def lab_up(
    c: Context,
    name: str = "lab",
    nodes: int = 3,
    metadb: str = "oceanbase",
    bare: bool = False,
    profile: str = "",
) -> None:
    """Start the local fleet: servers, MetaDB, VIP; OMS on the first server (root, Linux)."""
    from omsfab.lab import demo

    demo.up(name, nodes, metadb, bare=bare, profile=profile)


@lab_task()
def lab_down(c: Context, name: str = "lab") -> None:
    """End the local fleet; nothing of it stays but the cached image."""
    from omsfab.lab import demo

    demo.down(name)


@lab_task()
def lab_status(c: Context, name: str = "lab") -> None:
    """Show what of the local fleet is alive."""
    from omsfab.lab import demo

    demo.status(name)


@lab_task(metadb="oceanbase, mariadb or mysql", end="end the lab afterwards")
def lab_demo(c: Context, name: str = "demo", metadb: str = "oceanbase", end: bool = False) -> None:
    """Watch one OMS node become three behind a VIP, on the local fleet."""
    from omsfab.lab import demo

    demo.demo(name, metadb, end=end)


GROUPS = {
    "What is wanted, and what is so": ("fleet",),
    "Change the fleet": ("scale", "oms", "tsdb"),
    "Runs: what was done, go on, roll back": ("run", "lock"),
    "Single nodes": ("node",),
    "Rows in MetaDB": ("meta",),
    "For a support case": ("diag",),
    "A local fleet to try it on": ("lab",),
}
"""How `omsfab --list` groups the tasks, by the first part of their names."""

MARKS = {
    "scale.out": "may stop OMS and delete rows",
    "oms.restart": "stops OMS",
    "tsdb.enable": "restarts parts of OMS",
    "run.resume": "does what that run does",
    "run.undo": "may stop OMS and delete rows",
    "node.initialise": "restarts OMS",
    "node.refresh": "restarts parts of OMS",
    "node.restart": "stops OMS",
    "node.stop": "stops OMS",
    "node.exec": "does what the line does",
    "meta.restore": "deletes rows",
    "lock.break": "deletes a lock",
    "fleet.forget": "deletes what run.undo needs",
    "lab.down": "deletes the lab",
    "lab.demo": "deletes a former one",
}
"""Tasks that stop or delete something, as the list says it in front of what they do."""


def _tree(groups: dict[str, dict[str, Any]]) -> Collection:
    tree = Collection()
    for name, members in groups.items():
        group = Collection(name)
        for verb, member in members.items():
            if mark := MARKS.get(f"{name}.{verb}"):
                member.__doc__ = f"! {mark} · {member.__doc__}"
            group.add_task(member, name=verb)
        tree.add_collection(group)
    return tree


def _with_procedures(groups: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    for made in declared():
        if not made.by_hand:
            group, _, verb = made.name.partition(".")
            groups.setdefault(group, {})[verb] = planned_task(made)
    return groups


namespace = _tree(
    _with_procedures(
        {
            "fleet": {
                "show": show,
                "status": status,
                "check": check,
                "metrics": metrics,
                "schema": schema,
                "discover": discover,
                "init": init,
                "forget": forget,
            },
            "node": {"trust": trust, "status": node_status, "logs": node_logs},
            "diag": {"bundle": bundle, "obdiag": obdiag},
            "meta": {"show": show_rows, "save": save_rows, "restore": restore_rows},
            "run": {
                "list": list_runs,
                "show": show_run,
                "log": log_run,
                "report": report,
                "resume": resume,
                "undo": undo,
                "abandon": abandon,
            },
            "lock": {"show": show_lock, "break": break_lock},
            "lab": {"up": lab_up, "down": lab_down, "status": lab_status, "demo": lab_demo},
        }
    )
)
