"""How the MetaDB is reached from this machine: directly, or through a node or the gateway.

Through a node: a TCP connection that its sshd forwards (direct-tcpip).  Nothing listens here, so
nobody else on this machine gets in by it.
"""

from __future__ import annotations

import functools
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any

import pymysql

from omsfab.errors import InputError
from omsfab.fleet.model import MetaDb
from omsfab.metadb.client import MetaDbEdge
from omsfab.metadb.connection import Connect
from omsfab.next_line import shell
from omsfab.ssh.shell import SshShell

GATEWAY = "gateway"
"""The word for ssh.gateway where hosts.yaml names no node."""

Forward = Callable[[str, int], socket.socket]


def edge(metadb: MetaDb, shells: Mapping[str, SshShell]) -> MetaDbEdge:
    """Return the MetaDB by the way that hosts.yaml names."""
    connect: Connect = pymysql.connect
    if metadb.tls:
        connect = functools.partial(connect, ssl=_context(metadb))

    def from_node(node: str) -> MetaDbEdge:
        return MetaDbEdge(metadb, functools.partial(_forwarded, plain, shells[node].forward))

    plain = connect
    if metadb.through == GATEWAY:
        first = next(iter(shells.values()))
        connect = functools.partial(_forwarded, connect, first.forward_from_gateway)
    elif metadb.through:
        connect = functools.partial(_forwarded, connect, shells[metadb.through].forward)
    return MetaDbEdge(metadb, connect, from_node=from_node)


def _context(metadb: MetaDb) -> ssl.SSLContext:
    """The server must show a certificate of this CA, whatever its name: servers sign their own
    for names like ``MySQL_Server_8.0``."""
    assert metadb.tls  # noqa: S101 - asked by the caller
    try:
        context = ssl.create_default_context(cafile=str(metadb.tls.ca))
    except (OSError, ssl.SSLError) as error:
        raise InputError(
            "INPUT-030",
            f"the CA of the MetaDB cannot be read: {error}",
            where=f"metadb.tls.ca, {metadb.tls.ca}",
            next=shell("openssl", "x509", "-in", str(metadb.tls.ca), "-noout", "-subject"),
        ) from None
    context.check_hostname = False
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the CAs that servers make are version 1
    return context


def _forwarded(connect: Connect, forward: Forward, **words: Any) -> Any:
    """Connect as PyMySQL does, over a socket whose other end is on the node."""
    try:
        joined = forward(words["host"], words["port"])
    except OSError as error:
        raise pymysql.err.OperationalError(2003, f"the node cannot reach it: {error}") from error
    made = connect(**words, defer_connect=True)
    made.connect(joined)
    return made
