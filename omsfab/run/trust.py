"""Host keys: shown, confirmed by a person, recorded; never accepted in passing."""

from __future__ import annotations

import sys

from omsfab.edges import hostkeys, ssh
from omsfab.errors import InputError, SecurityRefusal
from omsfab.fleet import hostsfile
from omsfab.plan import repair
from omsfab.run.session import Flags, hosts_path


def trust(node: str, replace: str, flags: Flags) -> None:
    """Record the keys of the nodes; all of them when none is named.

    ``replace`` is the fingerprint that a changed key must have: it is read off the node's own
    console, so that nobody in between can answer for it.
    """
    fleet = hostsfile.load(hosts_path())
    nodes = repair.nodes_named(fleet, node) if node else fleet.nodes
    path = hostkeys.known_hosts(fleet.ssh)
    for one in nodes:
        key = ssh.scan(one, fleet.ssh)
        print(f"{one.name}  {one.address or one.ip}  {key.type}  {key.fingerprint}")
        if replace:
            if key.fingerprint != replace:
                raise SecurityRefusal(
                    "SSH-015",
                    f"{one.name} shows {key.fingerprint}, not {replace}",
                    where=one.name,
                    next="on its console: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub, "
                    f"then: fab node.trust --node={one.name}",
                )
            hostkeys.replace(path, key)
        elif flags.dry or flags.plan:
            continue
        else:
            _confirm(flags, one.name)
            hostkeys.record(path, key)
        print(f"recorded in {path}")


def _confirm(flags: Flags, name: str) -> None:
    if flags.yes:
        return
    if not (sys.stdin and sys.stdin.isatty()):  # a closed one is None
        raise InputError(
            "INPUT-023",
            "there is no terminal to ask on",
            where="node.trust",
            next=f"compare the fingerprint, then: fab node.trust --node={name} --yes",
        )
    if input("is this the fingerprint the node shows on its console? [yes/no] ") != "yes":
        raise InputError("INPUT-024", "not confirmed", next=f"fab node.trust --node={name}")
