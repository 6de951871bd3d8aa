"""`fab lock.show` and `lock.break`: who holds the lock, and freeing that of a dead run."""

from __future__ import annotations

import time
from typing import Any

from omsfab import next_line
from omsfab.fleet.model import Fleet
from omsfab.metadb import tunnel
from omsfab.metadb.client import MetaDbEdge
from omsfab.run.confirmation import Flags, confirm
from omsfab.run.record import claims, local_lock
from omsfab.run.session import home_of, hosts_path, load
from omsfab.show.document import document
from omsfab.show.text import say
from omsfab.ssh import shell as ssh


def _metadb(loaded: Fleet) -> MetaDbEdge:
    return tunnel.edge(loaded.metadb, ssh.connect(loaded.nodes, loaded.ssh))


def lock(*, as_json: bool = False) -> None:
    """Print who holds the lock, here, in MetaDB and on the nodes."""
    loaded = load(quiet=as_json)
    found = _asked(loaded)
    if as_json:
        return print(document(hosts_file=str(hosts_path()), **found))
    here, metadb = found["jump_host"], found["metadb"]
    held = "run {run} of {owner} since {since} (pid {pid})".format(**here) if here else "free"
    say(f"this jump host: {held}")
    if metadb is None:
        say("MetaDB: free")
    else:
        life = "alive until {expires}" if metadb["alive"] else "expired at {expires}"
        say(f"MetaDB: run {{run}} of {{owner}} since {{since}}, {life}".format(**metadb))
    for one in found["nodes"]:
        held = "run {run} of {owner} since {since}".format(**one) if one["run"] else "free"
        say(f"{one['node']}: {held}")
    return None


def _asked(loaded: Fleet) -> dict[str, Any]:
    """Return who holds the lock as ``--json`` has it; docs/json.md."""
    here = local_lock.holder(home_of(loaded))
    lease = _metadb(loaded).lease_holder()
    shells = ssh.connect(loaded.nodes, loaded.ssh)
    try:
        held = claims.held(shells.values())
    finally:
        for shell in shells.values():
            shell.close()
    claimed = {node.name: held.get(node.name, ("", "", "")) for node in loaded.nodes}
    return {
        "jump_host": {key: here.get(key) for key in ("run", "owner", "since", "pid")}
        if here
        else None,
        "metadb": {
            "run": lease.run_id,
            "owner": lease.owner,
            "since": str(lease.since),
            "expires": str(lease.expires),
            "alive": lease.live,
        }
        if lease
        else None,
        "nodes": [
            {"node": node, "run": run or None, "owner": owner or None, "since": since or None}
            for node, (run, owner, since) in claimed.items()
        ],
    }


def break_lock(run: str, flags: Flags) -> None:
    """Free the lease of a dead run, and its claims on the nodes.

    A lease must have expired by the clock of MetaDB, and lie still.  A claim has no life of its
    own, so a run that holds nothing but claims is asked about.
    """
    if flags.dry:
        print(f"dry: nothing was contacted; lease and claims of run {run} would be freed")
        return
    loaded = load()
    metadb = _metadb(loaded)
    holder = metadb.lease_holder()
    leased = bool(holder and holder.run_id == run)
    if leased and flags.plan:
        metadb.lease_breakable(run)
    elif leased:
        metadb.lease_break(run, wait=lambda span: _watch(run, span))
        print(f"the lease of run {run} is free")
    shells = ssh.connect(loaded.nodes, loaded.ssh)
    try:
        nodes = [node for node, held in claims.held(shells.values()).items() if held[0] == run]
        if not nodes and not leased:
            metadb.lease_breakable(run)  # says what is so
        if flags.plan:
            return print(f"{_holdings(run, nodes, leased=leased)}; nothing was changed")
        if nodes and not leased:
            print(f"run {run} has claimed {', '.join(nodes)}; whether it is alive, nobody can tell")
            line = next_line.fab("lock.break", run=run)
            free = f"Free the claims of run {run}: is its omsfab certainly dead?"
            confirm(flags, free, line)
        claims.free((shells[node] for node in nodes), run)
    finally:
        for shell in shells.values():
            shell.close()
    if nodes:
        print(f"the claims of run {run} are free: {', '.join(nodes)}")


def _watch(run: str, span: float) -> None:
    print(
        f"the lease of run {run} has expired; it is watched for {span:.0f} s, in case that run"
        " lives after all (Ctrl-C: nothing is changed)",
        flush=True,
    )
    time.sleep(span)


def _holdings(run: str, nodes: list[str], *, leased: bool) -> str:
    """What of a run would be freed."""
    held = [*(["its lease, once watched"] if leased else []), *(f"its claim on {n}" for n in nodes)]
    return f"of run {run} would be freed: {', '.join(held)}"
