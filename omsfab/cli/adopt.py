"""A hosts.yaml for a fleet of one's own: out of what runs (discover), or asked for (init)."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from omsfab.command import question
from omsfab.commands import docker, files
from omsfab.errors import InputError, Next, OmsfabError, PreflightError, SecurityRefusal, refusal
from omsfab.fleet import hosts_file, oms_config
from omsfab.fleet.model import MetaDb, Node, Ssh
from omsfab.fleet.oms_config import Value
from omsfab.metadb import tunnel
from omsfab.metadb.client import MetaDbEdge
from omsfab.next_line import CALLED, chain, fab, plus, shell, typed
from omsfab.plan import adoption
from omsfab.plan.adoption import Container, Found, Row, Seen, Tree
from omsfab.run.confirmation import TRIES, Flags, confirm
from omsfab.run.record import journal as journals
from omsfab.run.session import hosts_path
from omsfab.secret import Secret
from omsfab.show.columns import folded, width
from omsfab.show.document import document
from omsfab.show.hosts_yaml import found_lines, hosts_text
from omsfab.show.text import say
from omsfab.ssh import shell as ssh
from omsfab.ssh.protocol import Shell
from omsfab.ssh.shell import SshShell

WIDTH = 20
"""Nodes asked side by side."""

_FROM = re.compile(r"(?:([^@\s]+)@)?([^@:\s]+)(?::(\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the operator said of the way to the nodes, and of what is there."""

    sources: str
    container: str = ""
    key: str = ""
    known_hosts: str = ""

    @property
    def ssh(self) -> Ssh:
        return Ssh(
            key=Path(self.key).expanduser().absolute() if self.key else None,
            known_hosts=Path(self.known_hosts).absolute() if self.known_hosts else None,
        )

    @property
    def again(self) -> dict[str, Any]:
        words = {"from_": self.sources, "container": self.container, "key": self.key}
        return {**words, "known_hosts": self.known_hosts}

    def nodes(self) -> list[Node]:
        """The nodes of --from; raises INPUT-034."""
        made: dict[str, Node] = {}
        for word in filter(None, (one.strip() for one in self.sources.split(","))):
            found = _FROM.fullmatch(word)
            if not found or int(found[3] or 1) > 65535:
                raise InputError(
                    "INPUT-034",
                    f"{word} is no USER@ADDRESS",
                    where="--from",
                    fix="write nodes of one OMS, e.g. root@10.0.0.1,root@10.0.0.2:2222",
                    next=shell(CALLED.program, "--help", "fleet.discover"),
                )
            user, address, port = found.groups()
            node = Node(name=address, ip=address, user=user, port=int(port) if port else None)
            made[address] = node
        if not made:
            raise InputError(
                "INPUT-034",
                "no node was named",
                where="--from",
                fix="write a node of the OMS that is there, e.g. --from=root@10.0.0.1",
                next=shell(CALLED.program, "--help", "fleet.discover"),
            )
        return list(made.values())


def discover(asked: Asked, out: str, flags: Flags, *, force: bool = False) -> None:
    """Write the hosts.yaml of an OMS that is there: nodes of --from, config.yaml, MetaDB."""
    nodes = asked.nodes()
    file = _target(out)
    if flags.dry:
        names = ", ".join(node.name for node in nodes)
        print(f"dry: nothing was contacted; {file} would be written from what runs on {names}")
        return
    found = look(asked, nodes)
    if not flags.json:
        for line in found_lines(found, file.name):
            say(line)
    if found.lacking:
        raise PreflightError(
            "FIND-004",
            "not all regions can be read",
            where=", ".join(found.tree["regions"]),
            evidence="\n".join(found.lacking),
            fix="name a node of each region in --from, with the user that may log in there",
            next=plus(fab("fleet.discover"), **asked.again),
        )
    origin = f"Written by omsfab from what runs on {asked.sources}."
    told = _write(found.tree, origin, file, flags, force)
    asks = [(shell("read", "-rsp", f"{n}: ", n), shell("export", n)) for n in _once(found)]
    lines = [*(chain(*each) for each in asks), _with(file, "scale.out", plan=True)]
    if flags.json:
        return print(record(found, file, lines, written=not flags.plan))
    for line in (*told, *(f"next: {line}" for line in lines)):
        print(line)
    return None


def _once(found: Found) -> Iterator[str]:
    """The environment variables that the secrets are asked of."""
    yield from dict.fromkeys(found.secrets.values())


def record(found: Found, file: Path, lines: Sequence[Next], *, written: bool) -> str:
    """What ``--json`` prints; docs/json.md."""
    return document(
        hosts_file=str(file),
        written=written,
        fleet=found.tree,
        secrets=dict(found.secrets),
        differs=[
            {
                "what": one.what,
                "said": [{"value": value, "nodes": list(who)} for value, who in one.said],
            }
            for one in found.differs
        ],
        notes=list(found.notes),
        next=[line.line for line in lines],
    )


# --- looking -------------------------------------------------------------------------------------


def look(asked: Asked, nodes: Sequence[Node]) -> Found:
    """Ask the nodes, MetaDB, and the further nodes that these know of."""
    with _reached(nodes, asked) as (shells, way):
        seen = _each(nodes, shells, asked)
        wrong = [error for _, error in seen if error]
        if wrong:
            raise refusal(wrong)
        first = [one for one, _ in seen]
        known, through = _rows(first, shells)
        more = [
            Node(name=ip, ip=ip, user=nodes[0].user, port=nodes[0].port)
            for ip in adoption.further(first, known)
        ]
        with _reached(more, asked) as (others, _):
            told = [
                replace(one, error=f"{error.what} ({error.id})") if error else one
                for one, error in _each(more, others, asked)
            ]
    tree: Tree = {}
    if asked.key:
        tree["key"] = str(asked.ssh.key)
    if way.sudo:
        tree["sudo"] = True
    if asked.known_hosts:
        tree["known_hosts"] = str(asked.ssh.known_hosts)
    found = adoption.deployment([*first, *told], known, tree)
    if through:
        found.tree["metadb"]["through"] = _name_at(found.tree, through)
    return found


def _name_at(tree: Tree, ip: str) -> str:
    return next(
        str(name)
        for region in tree["regions"].values()
        for name, keys in region["nodes"].items()
        if ip == (keys["ip"] if isinstance(keys, Mapping) else keys)
    )


@contextmanager
def _reached(nodes: Sequence[Node], asked: Asked) -> Iterator[tuple[dict[str, SshShell], Ssh]]:
    """Shells of the nodes, with sudo where docker wants it."""
    way = asked.ssh
    shells = ssh.connect(nodes, way)
    try:
        if nodes and _wants_sudo(shells[nodes[0].name]):
            _close(shells)
            way = way.model_copy(update={"sudo": True})
            shells = ssh.connect(nodes, way)
        yield shells, way
    finally:
        _close(shells)


def _close(shells: Mapping[str, SshShell]) -> None:
    for one in shells.values():
        one.close()


def _wants_sudo(shell: Shell) -> bool:
    try:
        said = shell.run(question(docker.version()))
    except OmsfabError:
        return False
    return said.status != 0 and "permission denied" in said.out + said.err


def _each(
    nodes: Sequence[Node], shells: Mapping[str, SshShell], asked: Asked
) -> list[tuple[Seen, OmsfabError | None]]:
    def ask(node: Node) -> tuple[Seen, OmsfabError | None]:
        bare = Seen(node.name, node.ip, node.user or "", node.port)
        try:
            return _seen(bare, shells[node.name], asked), None
        except OmsfabError as error:
            error.node = node.name
            if isinstance(error, SecurityRefusal) and error.id == "SSH-009":
                error.next = _known(node, asked)
            return bare, error

    with ThreadPoolExecutor(min(WIDTH, len(nodes) or 1)) as pool:
        return list(pool.map(ask, nodes))


def _known(node: Node, asked: Asked) -> tuple[Next, ...]:
    """OpenSSH shows the key and asks; there is no hosts.yaml yet for node.trust."""
    file = ("-o", f"UserKnownHostsFile={asked.known_hosts}") if asked.known_hosts else ()
    port = ("-p", str(node.port)) if node.port else ()
    login = f"{node.user}@{node.ip}" if node.user else node.ip
    note = "shows the key: compare it on the node's console, then the same line again"
    return (shell("ssh", *file, *port, login, "true", note=note), typed(sys.argv[1:]))


def _seen(bare: Seen, shell: Shell, asked: Asked) -> Seen:
    """Look at one node; raises what stands against it."""
    said = shell.run(question(docker.containers()))
    if said.status != 0:
        raise PreflightError(
            "HOST-001",
            "docker does not answer",
            where=bare.address,
            evidence=said.err.strip(),
            next=typed(sys.argv[1:]),
        )
    one = _chosen(bare, adoption.containers(said.out), asked)
    config = _config(bare, shell, one)
    return replace(
        bare,
        name=shell.run(question(files.machine_name())).out.strip().partition(".")[0],
        addresses=tuple(shell.run(question(files.addresses())).out.split()),
        container=one,
        tags=tuple(shell.run(question(docker.image_tags(one.image_id))).out.split()),
        config=config,
    )


def _config(bare: Seen, shell: Shell, one: Container) -> dict[str, Value]:
    """What config.yaml says, read through the container; raises where it is none of an OMS."""
    inside = next(
        (
            text.out
            for path in adoption.CONFIGS
            if (text := shell.run(question(docker.config_inside(one.name, path)))).status == 0
            and text.out
            and text.out
        ),
        None,
    )
    if inside is None:
        raise PreflightError(
            "FIND-003",
            f"config.yaml of container {one.name} cannot be read",
            where=f"{bare.address}, {' or '.join(adoption.CONFIGS)}",
            evidence="; ".join(f"{key}: {path}" for key, path in one.mounts.items()) or "no mount",
            fix="bring it back to where the container has it mounted",
            next=typed(sys.argv[1:]),
        )
    config = oms_config.read(Secret(inside), origin=f"config.yaml of {one.name} on {bare.address}")
    lacking = [key for key in NEEDED if not config.get(key)]
    if lacking:
        raise PreflightError(
            "FIND-003",
            f"config.yaml of container {one.name} lacks {', '.join(lacking)}",
            where=bare.address,
            fix="that is no config.yaml of an OMS that was initialised; look what else runs there",
            next=typed(sys.argv[1:]),
        )
    return config


NEEDED = (
    *("oms_meta_host", "oms_meta_port", "oms_meta_user", "oms_meta_password"),
    *("drc_rm_db", "drc_cm_db", "drc_cm_heartbeat_db", "cm_url"),
)
"""Keys of config.yaml without which there is no OMS."""


def _chosen(bare: Seen, found: Sequence[Container], asked: Asked) -> Container:
    named = [one for one in found if one.name == asked.container]
    left = named if asked.container else adoption.likely(found)
    if len(left) == 1:
        return left[0]
    told = [f"{one.name}  {'running' if one.runs else 'stopped'}  {one.image}" for one in found]
    if not left:
        raise PreflightError(
            "FIND-001",
            f"no container {asked.container}" if asked.container else "no OMS container",
            where=bare.address,
            evidence="\n".join(told) or "no container has the mounts or the image of OMS",
            fix="name a node where OMS runs; a fleet from nothing is asked for by fleet.init",
            next=fab("fleet.init"),
        )
    raise PreflightError(
        "FIND-002",
        f"{len(left)} containers may be the OMS that is meant",
        where=bare.address,
        evidence="\n".join(told),
        fix="name the right one",
        next=plus(fab("fleet.discover"), **{**asked.again, "container": left[0].name}),
    )


def _rows(seen: Sequence[Seen], shells: Mapping[str, SshShell]) -> tuple[list[Row], str]:
    """Return the regions of MetaDB, and the node that reached it where this machine does not."""
    config = seen[0].config
    password = config["oms_meta_password"]
    metadb = MetaDb(
        host=str(config["oms_meta_host"]),
        port=int(str(config["oms_meta_port"])),
        user=str(config["oms_meta_user"]),
        password=password if isinstance(password, Secret) else Secret(str(password)),
        rm_db=str(config["drc_rm_db"]),
        cm_db=str(config["drc_cm_db"]),
    )
    try:
        return _asked(tunnel.edge(metadb, shells)), ""
    except OmsfabError as direct:
        by_node = metadb.model_copy(update={"through": seen[0].address})
        try:
            return _asked(tunnel.edge(by_node, shells)), seen[0].ip
        except OmsfabError:
            raise direct from None


def _asked(edge: MetaDbEdge) -> list[Row]:
    return [
        Row(
            row.code,
            row.region,
            row.region_cn,
            row.cm_url,
            row.is_default,
            tuple(host.ip for host in edge.hosts(row.code)),
        )
        for row in (edge.clusters() if edge.exists() else ())
    ]


# --- writing -------------------------------------------------------------------------------------


def _target(out: str) -> Path:
    """The file to write: --out or --hosts, else hosts.local.yaml; the reference stays as it is."""
    return Path(out or CALLED.hosts) if out or CALLED.hosts else hosts_file.LOCAL


def _write(tree: Tree, said: str, file: Path, flags: Flags, force: bool) -> list[str]:
    """Write the file, unless that is only looked at; return what is to be told of it."""
    text = hosts_text(tree, said)
    if wrong := hosts_file.faults(text, file.parent):
        raise PreflightError(
            "FIND-005",
            "what was found is not what a hosts.yaml may say",
            where=str(file),
            evidence="\n".join(f"{'.'.join(one.path)}  {one.text}" for one in wrong),
            fix="correct it where it comes from, or write the file by hand",
            next=fab("fleet.show"),
        )
    if flags.plan:
        return [text, f"nothing was written; without --plan this goes to {file}"]
    kept = []
    if file.exists() and file.read_text(encoding="utf-8", errors="replace") != text:
        former = file.with_name(f"{file.name}.{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}")
        if not force:
            asks = f"Overwrite {file}; what it says now is kept as {former.name}."
            confirm(flags, asks, typed(sys.argv[1:]))
        journals.write_durably(former, file.read_bytes())
        kept = [f"kept {former}"]
    journals.write_durably(file, text.encode())
    return [*kept, f"wrote {file}"]


def _with(file: Path, task: str, **words: Any) -> Next:
    """The line for this file, which is named if it is not the one that is read anyway."""
    usual = CALLED.hosts or file.absolute() == hosts_path().absolute()
    named: dict[str, Any] = {} if usual else {"hosts": str(file)}
    return plus(fab(task), **named, **words)


# --- a fleet from nothing ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Question:
    """What fleet.init asks: what it is for, in words, and what an empty answer means."""

    key: str
    asks: str
    usual: str = ""


IMAGE = "reg.docker.alibaba-inc.com/oceanbase/oms:feature_4.2.7_ce"

QUESTIONS = (
    Question("oms.image", "OMS image, as docker load prints it", IMAGE),
    Question("oms.package", "its package, a file of this machine (- for none)", "-"),
    Question("ssh.user", "SSH user on the nodes", "root"),
    Question("region", "name of the region, e.g. cn-hangzhou"),
    Question("nodes", "addresses of its nodes, comma separated"),
    Question("cm_url", "cm_url, its VIP, SLB or domain name, e.g. http://10.0.0.100:8088"),
    Question("metadb.host", "MetaDB: address"),
    Question("metadb.port", "MetaDB: port (3306 MySQL, 2881 OBServer, 2883 OBProxy)", "2881"),
    Question("metadb.user", "MetaDB: user, e.g. oms@oms_meta"),
    Question("prefix", "MetaDB: names of the databases begin with", "oms"),
)


def init(out: str, flags: Flags, *, force: bool = False) -> None:
    """Ask what a fleet from nothing needs, and write its hosts.yaml."""
    file = _target(out)
    if not (sys.stdin and sys.stdin.isatty()):
        raise InputError(
            "INPUT-023",
            "there is no terminal to ask on",
            where="fleet.init",
            fix="write the file by hand: hosts.yaml of omsfab is a commented example",
            next=shell("install", "-D", "-m", "600", str(hosts_file.EXAMPLE), str(file)),
        )
    answers: dict[str, str] = {}
    for one in QUESTIONS:
        _ask(one, answers, file)
    for line in _write(_tree(answers), "Written by omsfab fleet.init.", file, flags, force):
        print(line)
    name = "OMS_META_PASSWORD"
    print(f"next: {chain(shell('read', '-rsp', f'{name}: ', name), shell('export', name))}")
    print(f"next: {_with(file, 'oms.deploy', plan=True)}")


def _ask(question: Question, answers: dict[str, str], file: Path) -> None:
    """Ask until the answer is one that hosts.yaml may have."""
    key = question.key
    usual = question.usual
    if key == "cm_url" and "," not in answers["nodes"]:
        usual = f"http://{answers['nodes'].strip()}:8088"
    for _ in range(TRIES):
        given = input(f"{question.asks}{f' [{usual}]' if usual else ''}: ").strip() or usual
        before = _wrong(answers, file)
        wrong = [one for one in _wrong({**answers, key: given}, file) if one not in before]
        if given and not wrong:
            answers[key] = given
            return
        said = "; ".join(wrong) if given else "an answer is needed"
        for line in folded(said, (width() or 80) - 2):
            print(f"  {line}")
    raise InputError(
        "INPUT-024",
        f"no usable answer for: {question.asks}",
        where="fleet.init",
        next=typed(sys.argv[1:]),
    )


def _wrong(answers: Mapping[str, str], file: Path) -> list[str]:
    """What is wrong with the answers so far; the rest is filled with what is right."""
    text = hosts_text(_tree({**FILLED, **answers}), "a try")
    return [one.text for one in hosts_file.faults(text, file.parent)]


FILLED = {
    "oms.image": IMAGE,
    "region": "cn-hangzhou",
    "nodes": "192.0.2.1,192.0.2.2",
    "cm_url": "http://192.0.2.100:8088",
    "metadb.host": "192.0.2.200",
    "metadb.port": "2881",
    "metadb.user": "oms@oms_meta",
    "prefix": "oms",
}


def _tree(answers: Mapping[str, str]) -> Tree:
    nodes = [one.strip() for one in answers["nodes"].split(",") if one.strip()]
    port = answers["metadb.port"]
    package = answers.get("oms.package", "-")
    return {
        "oms": {"image": answers["oms.image"], **({} if package == "-" else {"package": package})},
        "metadb": {
            "host": answers["metadb.host"],
            "port": int(port) if port.isdigit() else port,
            "user": answers["metadb.user"],
            "password": {"env": "OMS_META_PASSWORD"},
            "rm_db": f"{answers['prefix']}_rm",
            "cm_db": f"{answers['prefix']}_cm",
        },
        **({"ssh": {"user": answers["ssh.user"]}} if "ssh.user" in answers else {}),
        "regions": {
            answers["region"]: {
                "location": 1,
                "default": True,
                "cm_url": answers["cm_url"],
                "heartbeat_db": f"{answers['prefix']}_cm_heartbeat_1",
                "nodes": {f"oms{number}": ip for number, ip in enumerate(nodes, start=1)},
            }
        },
    }
