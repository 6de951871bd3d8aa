"""`fab diag.*`: what a support case wants to see, in one masked archive; and obdiag's config."""

from __future__ import annotations

import gzip
import io
import json
import platform
import re
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timezone
from functools import partial
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

import omsfab
from omsfab.cli import fleet as looks
from omsfab.cli import runs
from omsfab.command import Command
from omsfab.commands import docker, files, logs, supervisor
from omsfab.errors import InputError, OmsfabError, SecurityRefusal, Unreachable
from omsfab.fleet.mask import Redactor
from omsfab.fleet.model import Fleet, Node
from omsfab.metadb import tunnel
from omsfab.metadb.client import MetaDbEdge
from omsfab.next_line import fab
from omsfab.plan import steps
from omsfab.plan.procedures import node as repair
from omsfab.run import clock, jump_host, observe
from omsfab.run.record import journal as journals
from omsfab.run.session import home_of, load, secrets_of
from omsfab.show.fleet import fleet_lines
from omsfab.ssh import shell as ssh
from omsfab.ssh.dialer import Dialer
from omsfab.ssh.protocol import Shell

LINES = 5_000
"""Lines of each log that are kept: the newest."""
RUNS = 10
"""Runs of this jump host that are kept: the newest."""
LIBRARIES = ("fabric", "invoke", "paramiko", "PyMySQL", "pydantic", "rich", "cryptography")


class Bundle:
    """Texts by name, masked as they come in: nothing else gets into the archive."""

    def __init__(self, redact: Redactor) -> None:
        self._redact = redact
        self.texts: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        """What could not be had, and why."""

    def add(self, name: str, make: Callable[[], str]) -> OmsfabError | None:
        """Keep a text; one that cannot be had is told in its place, and stops nothing else."""
        try:
            text = make()
        except OmsfabError as error:
            self.missing[name] = self._redact(f"{error.id} {error.what}")
            return error
        except (OSError, ValueError) as error:
            self.missing[name] = self._redact(str(error))
            return None
        self.texts[name] = self._redact(text)
        return None

    def archive(self, root: str, at: float) -> bytes:
        """Return the texts as a .tar.gz, all below ``root``."""
        missing = "".join(f"{name}: {why}\n" for name, why in sorted(self.missing.items()))
        texts = self.texts | {"MISSING": missing or "nothing\n"}
        raw = io.BytesIO()
        with (
            gzip.GzipFile(fileobj=raw, mode="wb", mtime=at) as packed,
            tarfile.open(fileobj=packed, mode="w") as tar,
        ):
            for name, text in sorted(texts.items()):
                data = text.encode(errors="replace")
                member = tarfile.TarInfo(f"{root}/{name}")
                member.size, member.mode, member.mtime = len(data), 0o600, int(at)
                tar.addfile(member, io.BytesIO(data))
        return raw.getvalue()


def bundle(node: str, since: str, out: str) -> None:
    """Write logs, docker inspect, config.yaml, rows, runs and versions into one archive, 0600."""
    loaded = load()
    again = fab("diag.bundle", node=node, since=since)
    nodes = repair.nodes_named(loaded, node, again) if node else loaded.nodes
    span = clock.since(since, again)
    moment = datetime.now(timezone.utc)
    root = f"omsfab-bundle-{moment:%Y%m%dT%H%M%SZ}"
    home = home_of(loaded)
    path = Path(out).expanduser() if out else home / f"{root}.tar.gz"
    if not out:
        jump_host.make(home)
    made = Bundle(Redactor(secrets_of(loaded)))
    _of_jump_host(made, loaded, home)
    shells = ssh.connect(loaded.nodes, loaded.ssh)
    try:
        _of_metadb(made, loaded, tunnel.edge(loaded.metadb, shells))
        with ThreadPoolExecutor(min(observe.WIDTH, len(nodes))) as pool:
            for _ in pool.map(
                lambda one: _of_node(made, loaded, one, shells[one.name], span), nodes
            ):
                pass
    finally:
        for shell in shells.values():
            shell.close()
    journals.write_durably(path, made.archive(root, moment.timestamp()))
    for name, why in sorted(made.missing.items()):
        print(f"missing: {name}: {why}")
    size = path.stat().st_size
    print(f"{path}: {len(made.texts)} files, {size / 1e6:.1f} MB, secrets masked, mode 0600")
    print(f"look through it before it leaves this machine: tar -tzf {path}")


def _of_jump_host(made: Bundle, loaded: Fleet, home: Path) -> None:
    made.add("hosts.yaml", lambda: "\n".join(fleet_lines(loaded)))
    made.add("versions", lambda: "".join(_versions()))
    made.add("fleet.status.json", lambda: json.dumps(looks.told(loaded), indent=1))
    for directory in list(journals.runs(home))[:RUNS]:
        for file in ("run.json", "journal.jsonl"):
            where = directory / file
            made.add(f"runs/{directory.name}/{file}", where.read_text)
    made.add("runs/list", lambda: "\n".join(runs.lines(home)))


def _versions() -> Iterator[str]:
    yield f"omsfab {omsfab.VERSION}\nPython {platform.python_version()}\n{platform.platform()}\n"
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            yield f"{name} {metadata.version(name)}\n"


def _of_metadb(made: Bundle, loaded: Fleet, metadb: MetaDbEdge) -> None:
    def rows(location: int) -> str:
        with TemporaryDirectory(prefix="omsfab-") as place:
            saved = metadb.save(location, Path(place), "diag-bundle", steps.TABLES)
            return saved.files[0].read_text()

    made.add("metadb/facts", lambda: str(metadb.facts()))
    made.add("metadb/oms_version", lambda: str(metadb.oms_versions()))
    made.add("metadb/lease", lambda: str(metadb.lease_holder()))
    made.add("metadb/cluster_info", lambda: "\n".join(map(str, metadb.clusters())))
    for region in loaded.regions:
        made.add(f"metadb/rows-{region.name}.jsonl", partial(rows, region.location))
        made.add(
            f"metadb/heartbeats-{region.name}",
            lambda schema=region.heartbeat_db: str(metadb.beats(schema)),  # type: ignore[misc]
        )


def _of_node(made: Bundle, loaded: Fleet, node: Node, shell: Shell, since: str) -> None:
    install = loaded.install_of(node)
    asked = {
        "host": files.host_facts(),
        "inspect.json": docker.inspect(install.container),
        "programs": supervisor.status(install.container),
        "config.yaml": files.read_file(install.mounts.config),
        "config-inside.yaml": docker.inside(install.container, "cat", docker.CONFIG),
        "mounts": docker.inside(install.container, "cat", "/proc/mounts"),
    }
    for component in logs.COMPONENTS:
        chosen = logs.files_of(install, (component,), rotated=True)
        asked[f"logs/{component}"] = logs.newest(install, chosen, LINES, since)

    for name, command in asked.items():
        error = made.add(f"nodes/{node.name}/{name}", partial(_said, shell, command))
        if isinstance(error, Unreachable | SecurityRefusal):
            return  # whoever is silent once is not asked twenty times


def _said(shell: Shell, command: Command) -> str:
    result = shell.run(command)
    return result.out + result.err


def _obdiag(loaded: Fleet) -> str:
    """Return obdiag's config.yml, as its own documentation of `gather oms_log` has it (3.0.0 and
    later); no password stands in it."""
    dialer, mounts = Dialer(loaded.ssh), loaded.install.mounts
    nodes = []
    for node in loaded.nodes:
        config = dialer.target(node).config
        key = str(loaded.ssh.key or next(iter(config.identity_files), ""))
        login = {"ip": node.ip, "ssh_username": config.user, "ssh_port": config.port}
        nodes.append(login | ({"ssh_key_file": key} if key else {}))
    both = {
        "ssh_username": nodes[0]["ssh_username"],
        "ssh_password": "",
        "ssh_type": "remote",
        "container_name": loaded.install.container,
        "log_path": str(mounts.logs),
        "run_path": str(mounts.run),
        "store_path": str(mounts.store),
    }
    name = re.sub(r"\W", "_", loaded.metadb.rm_db)
    oms = {"oms": {"oms_name": name, "servers": {"nodes": nodes, "global": both}}}
    return yaml.safe_dump(oms, sort_keys=False, allow_unicode=True)


def obdiag(out: str) -> None:
    """Print obdiag's config for this fleet, or write it, 0600; a file that is there stays."""
    loaded = load(secrets=False, quiet=True)
    text = _obdiag(loaded)
    if not out:
        return print(text, end="")
    path = Path(out).expanduser()
    if path.exists() and path.read_text() != text:
        raise InputError(
            "INPUT-045",
            f"{path} is there, and says something else",
            where="--out",
            fix="it may have clusters of its own: add what is printed without --out by hand",
            next=fab("diag.obdiag"),
        )
    journals.write_durably(path, text.encode())
    print(f"{path}; then: obdiag gather oms_log --since 1h --scope all -c {path}")
    return None
