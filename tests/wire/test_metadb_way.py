"""Ways to the MetaDB: with TLS against one CA, and through the sshd of a node."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from omsfab.errors import PreflightError
from omsfab.fleet.model import Tls
from omsfab.metadb import tunnel
from omsfab.metadb.client import MetaDbEdge
from omsfab.secret import Secret
from tests.wire.metadb_fixtures import (
    Engine,
    _await,
    connect,
    create_oms,
    engine,
    free_port,
    mariadb_command,
    oms,
)

__all__ = ["engine", "oms"]


def openssl(*words: object) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """A MariaDB with a certificate of a CA of its own; ``oms`` must come by TLS."""
    base = tmp_path_factory.mktemp("tls")
    for name in ("ca", "stranger"):
        openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 9, "-subj", f"/CN={name}"),
            *("-keyout", base / f"{name}.key", "-out", base / f"{name}.pem"),
        )
    openssl(
        *("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=MySQL_Server_8.0_Auto"),
        *("-keyout", base / "server.key", "-out", base / "server.csr"),
    )
    openssl(
        *("x509", "-req", "-in", base / "server.csr", "-days", 9, "-CA", base / "ca.pem"),
        *("-CAkey", base / "ca.key", "-CAcreateserial", "-out", base / "server.pem"),
    )
    engine = Engine("mariadb", free_port())
    command = mariadb_command(base / "data", engine.port)
    tls = [f"--ssl-{key}={base}/{file}" for key, file in
           (("ca", "ca.pem"), ("cert", "server.pem"), ("key", "server.key"))]  # fmt: skip
    process = subprocess.Popen(
        [*command, *tls], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _await(engine, process)
        engine.sql(
            "create user 'oms'@'%' identified by 'secret' require ssl",
            "grant all privileges on *.* to 'oms'@'%'",
        )
        create_oms(engine, "oms")
        yield engine, base
    finally:
        process.kill()
        process.wait()


def metadb(engine, **more):
    return engine.metadb(password=Secret("secret"), **more)


def test_tls_with_the_right_ca(secure):
    """The name in a server's own certificate does not count, its CA does."""
    engine, base = secure
    edge = tunnel.edge(metadb(engine, tls=Tls(ca=base / "ca.pem")), {})

    assert "mariadb" == edge.facts().kind


def test_a_certificate_of_another_ca_is_refused(secure):
    """Whoever sits in between has no certificate of this CA."""
    engine, base = secure
    edge = tunnel.edge(metadb(engine, tls=Tls(ca=base / "stranger.pem")), {})

    with pytest.raises(PreflightError, match="DB-00") as caught:
        edge.facts()

    assert "certificate verify failed" in caught.value.evidence


def test_a_server_without_tls_is_refused(engine, secure):
    """With metadb.tls no password goes over a plain connection."""
    _, base = secure
    edge = tunnel.edge(engine.metadb(tls=Tls(ca=base / "ca.pem")), {})

    with pytest.raises(PreflightError) as caught:
        edge.facts()

    assert "SSL" in caught.value.evidence


def test_a_server_that_signed_its_own_certificate(engine, oms):
    """MySQL makes CA and certificate at its first start; metadb.tls.ca is that CA."""
    if engine.kind != "mysql":
        pytest.skip("does not apply: only MySQL makes them by itself")
    (made,) = engine.sql("select concat(@@datadir, @@ssl_ca)")[0]

    assert tunnel.edge(engine.metadb(tls=Tls(ca=Path(made))), {}).exists()


@pytest.mark.parametrize("user", ["oms@oms_meta", "oms@oms_meta#lab"])
def test_the_user_forms_of_oceanbase_arrive_whole(engine, oms, user):
    """OBServer's user@tenant and OBProxy's user@tenant#cluster.

    A user literally called so gets in by a password that no other user here has, and the server
    is asked who came.
    """
    engine.sql(
        f"drop user if exists '{user}'@'%'",
        f"create user '{user}'@'%' identified by 'of {user}'",
        f"grant all privileges on *.* to '{user}'@'%'",
    )
    wanted = engine.metadb(user=user, password=Secret(f"of {user}"))
    came = []

    def ask(text):
        came.extend(engine.sql("select user from information_schema.processlist"))

    MetaDbEdge(wanted, connect, on_statement=ask).clusters()

    assert (user,) in came


def test_a_refused_connection_is_not_called_a_silent_one(engine):
    """Nobody listens there, which is known at once; no limit was waited for."""
    with pytest.raises(PreflightError, match="DB-001 the MetaDB is not reached") as caught:
        tunnel.edge(engine.metadb(port=free_port()), {}).facts()

    assert "refused" in caught.value.evidence


def test_through_a_node(engine, oms, server):
    """Rows come over the node's sshd; nothing listens on this machine for it."""
    shell = server.shell()
    edge = tunnel.edge(engine.metadb(oms.name, through="oms1"), {"oms1": shell})

    assert edge.exists()
    assert edge.clusters()
    assert 1 == shell.connections


def test_through_a_node_and_with_tls(secure, server):
    """Both at once: the node sees no plain text."""
    engine, base = secure
    wanted = metadb(engine, through="oms1", tls=Tls(ca=base / "ca.pem"))

    assert "mariadb" == tunnel.edge(wanted, {"oms1": server.shell()}).facts().kind


def test_a_node_whose_address_is_not_let_in_is_told(engine, oms, server):
    """R3: an account that is bound to hosts kept a new node out behind the outage (exit 11).  Asked
    from the node, whatever way the MetaDB itself is reached by."""
    engine.sql(
        "drop user if exists 'bound'@'%', 'bound'@'10.254.254.1'",
        "create user 'bound'@'10.254.254.1' identified by 'w'",
    )
    shells = {"oms1": server.shell()}
    bound = {"user": "bound", "password": Secret("w")}

    let_in = tunnel.edge(engine.metadb(oms.name), shells).kept_out("oms1")
    said = tunnel.edge(engine.metadb(oms.name).model_copy(update=bound), shells).kept_out("oms1")
    away = tunnel.edge(engine.metadb(port=free_port()), shells).kept_out("oms1")

    assert (None, None) == (let_in, away)
    assert "denied" in (said or "") or "not allowed" in (said or "")


def test_a_node_that_does_not_reach_it(engine, server):
    """What the node's sshd says stands in the error, with the way."""
    wanted = engine.metadb(port=free_port(), through="oms1")

    with pytest.raises(PreflightError, match="DB-001") as caught:
        tunnel.edge(wanted, {"oms1": server.shell()}).facts()

    assert caught.value.where.endswith("through oms1")
    assert "the node cannot reach it" in caught.value.evidence


def test_a_large_answer_comes_whole(engine, oms, server):
    """More than one window of a channel, both ways."""
    edge = tunnel.edge(engine.metadb(oms.name, through="oms1"), {"oms1": server.shell()})
    text = "x" * 3_000_000

    rows = edge._ask("testing", lambda link: link.rows("select %s", (text,)))

    assert text == rows[0][0]
