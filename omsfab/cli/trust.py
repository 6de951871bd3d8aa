"""Host keys: shown, confirmed by a person, recorded; never accepted in passing."""

from __future__ import annotations

from omsfab import next_line
from omsfab.errors import SecurityRefusal
from omsfab.next_line import fab
from omsfab.plan.procedures import node as repair
from omsfab.run.confirmation import Flags, confirm
from omsfab.run.session import load
from omsfab.ssh import host_keys
from omsfab.ssh import shell as ssh


def trust(node: str, replace: str, flags: Flags) -> None:
    """Record the keys of the nodes; all of them when none is named.

    ``replace`` is the fingerprint that a changed key must have: it is read off the node's own
    console, so that nobody in between can answer for it.
    """
    fleet = load(secrets=False)
    nodes = repair.nodes_named(fleet, node, fab("node.trust")) if node else fleet.nodes
    if flags.dry:
        print("dry: nothing was contacted; the keys of these nodes would be shown, then recorded:")
        print("\n".join(f"{one.name}  {one.address or one.ip}" for one in nodes))
        return
    for one in nodes:
        key = ssh.scan(one, fleet.ssh)
        print(f"{one.name}  {one.address or one.ip}  {key.type}  {key.fingerprint}")
        if replace and key.fingerprint != replace:
            raise SecurityRefusal(
                "SSH-015",
                f"{one.name} shows {key.fingerprint}, not {replace}",
                where=one.name,
                fix="on its console: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
                next=fab("node.trust", node=one.name),
            )
        if flags.plan:
            print(f"would be recorded in {key.file}; nothing was changed")
        elif replace:
            host_keys.replace(key.file, key)
            print(f"recorded in {key.file}")
        else:
            line = next_line.fab("node.trust", node=one.name)
            own = "does the console of the node show the same fingerprint?"
            confirm(flags, f"Record this key of {one.name}: {own}", line)
            host_keys.record(key.file, key)
            print(f"recorded in {key.file}")
