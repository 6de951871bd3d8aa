"""Fleets that are not simple: gateways, other ports, sudo, further keys, a hidden MetaDB, images
by a registry with a port or by their id.

One fleet, in the order in which the tests stand: oms1 is deployed through two gateways, oms2 and
oms3 join with images that initialise themselves.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess

import pytest
import yaml

from omsfab.lab import package
from omsfab.lab.metadb import USER_OF_PROXY
from omsfab.lab.profiles import QUICK
from tests.openssh import stand_in

PORTS = {"cm": 18088, "nginx": 18089, "ghana": 18090, "supervisor": 19000, "sshd": 12023}
SLS = {
    "apsara_audit_sls_access_key": {"env": "SLS_KEY"},
    "apsara_audit_sls_access_secret": {"env": "SLS_SECRET"},
    "apsara_audit_sls_endpoint": "cn-hangzhou.log.aliyuncs.com",
    "apsara_audit_sls_ops_site_topic": "ops",
    "apsara_audit_sls_user_site_topic": "user",
}
SECRETS = {"SLS_KEY": "CANARY-key: #1", "SLS_SECRET": 'CANARY-it\'s "2"'}


REGISTRY = "registry.example:5000/oceanbase/oms:feature_4.2.7_ce"


def made():
    """The package of an image that comes from a registry with a port."""
    return package.build(lambda _: None, REGISTRY, start_secs=QUICK)


@pytest.fixture(scope="module")
def fleet(make_fleet):
    """oms1 listens on 2222 and lets nobody in but oms3; oms3 lets nobody in but oms2."""
    fleet = make_fleet("reach", metadb="oceanbase")
    lab = fleet.lab
    ip = {node.name: node.ip for node in lab.nodes}
    keys = {node.name: "" for node in lab.nodes}
    for line in lab.known_hosts.read_text().splitlines():
        names, key = line.split(" ", 1)
        name = names.split(",")[0]
        address = f"[{ip[name]}]:2222" if name == "oms1" else ip[name]
        keys[name] += f"{address} {key}\n"
    (lab.directory / "known").write_text("".join(keys.values()))
    lab.enter("oms1", ["sed", "-i", "s/^Port 22$/Port 2222/", "/etc/ssh/sshd_config"])
    lab.enter("oms1", ["lab-service", "sshd", "restart"])
    lab.enter("oms1", ["ip", "addr", "replace", f"{vip(fleet)}/24", "dev", "eth0"])
    home = lab.directory / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "config").write_text(
        f"Host {ip['oms3']}\n  ProxyJump root@{ip['oms2']}\n"
        f"Host {ip['oms2']}\n  IdentityFile {lab.key}\n"
    )
    stand_in(lab.directory / "programs", home / ".ssh" / "config")
    return fleet


def vip(fleet):
    """An address that oms1 holds, since the lab's balancer knows the usual ports only."""
    return fleet.lab.vip.rsplit(".", 1)[0] + ".101"


def write(fleet, names, *, gateway="", **oms):
    """hosts.yaml with a VIP on the CM port of this fleet; by a gateway, where one is named."""
    lab = fleet.lab
    nodes = {name: lab.node(name).ip for name in names}
    if "oms1" in names:
        nodes["oms1"] = {"ip": nodes["oms1"], "port": 2222, "user": "ops"}
    through = {"gateway": f"root@{lab.node(gateway).ip}"} if gateway else {}
    fleet.write(
        "hosts.yaml",
        f"http://{vip(fleet)}:18088",
        names,
        oms={
            **{"image": REGISTRY, "package": str(made().path), "container": None},
            **{"ports": PORTS, "extra": SLS | {"a_flag": True}},
            **oms,
        },
        ssh={
            "sudo": True,
            "known_hosts": str(lab.directory / "known"),
            **through,
        },
        metadb={"through": "gateway" if gateway else "oms2", "user": USER_OF_PROXY},
        regions={"cn-lab": {"nodes": nodes}},
    )


@contextlib.contextmanager
def closed(fleet, *gates):
    """Close ports of nodes (or of MetaDB) to an address for a while."""
    rules = [("-s", source, "-p", "tcp", "--dport", str(port), "-j", "REJECT")
             for _, source, port in gates]  # fmt: skip

    def tables(verb):
        for (netns, *_), rule in zip(gates, rules, strict=True):
            subprocess.run(
                ["ip", "netns", "exec", netns, "iptables", verb, "INPUT", *rule], check=True
            )

    tables("-I")
    try:
        yield
    finally:
        tables("-D")


def reaches(host, port):
    with socket.socket() as probe:
        probe.settimeout(3)
        return probe.connect_ex((host, port)) == 0


@pytest.fixture(scope="module")
def deployed(fleet):
    """oms1, reached by two hops, as ops with sudo, while this machine reaches neither it, nor oms3,
    nor the MetaDB."""
    lab = fleet.lab
    write(fleet, ["oms1"], gateway="oms3")
    here = lab.bridge
    db = lab.place.netns("metadb")
    gates = [
        (lab.node("oms1").netns, here, 2222),
        (lab.node("oms3").netns, here, 22),
        (db, here, lab.metadb.port),
    ]
    with closed(fleet, *gates):
        blocked = [
            reaches(lab.node("oms1").ip, 2222),
            reaches(lab.node("oms3").ip, 22),
            reaches(lab.metadb.host, lab.metadb.port),
        ]
        path = f"{lab.directory / 'programs'}:{os.environ['PATH']}"
        said = fleet.fab("oms.deploy", "--yes", PATH=path, **SECRETS)
    return said, blocked


def test_one_gateway(fleet):
    """Jump host -> oms2 -> oms3, and MetaDB by oms2: a package goes through, and is loaded."""
    lab = fleet.lab
    write(fleet, ["oms3"], gateway="oms2")
    here = lab.bridge
    gates = [
        (lab.node("oms3").netns, here, 22),
        (lab.place.netns("metadb"), here, lab.metadb.port),
    ]
    with closed(fleet, *gates):
        blocked = [reaches(lab.node("oms3").ip, 22), reaches(lab.metadb.host, lab.metadb.port)]
        asked = fleet.fab("fleet.status", **SECRETS)
        loaded = fleet.fab("node.load-image", "--node=oms3", "--yes", **SECRETS)

    assert [False, False] == blocked
    assert (0, 0) == (asked.status, loaded.status), f"{asked}\n{loaded}"
    assert f"{REGISTRY} {made().id}" == fleet.docker(
        *("oms3", "images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")
    )


def test_two_gateways_another_port_and_a_hidden_metadb(fleet, deployed):
    """Jump host -> oms2 -> oms3 -> oms1:2222; MetaDB by the gateway; nothing of it directly."""
    said, blocked = deployed

    assert [False, False, False] == blocked
    assert said.status == 0, said
    assert {1: f"http://{vip(fleet)}:18088"} == fleet.cm_urls()


def test_an_ordinary_user_with_sudo(fleet, deployed):
    """ops may not speak to docker; the container is there, and config.yaml is closed to it."""
    path = fleet.lab.path("oms1", "/data/config.yaml")
    asked = fleet.lab.enter("oms1", ["su", "ops", "-c", "docker ps"])

    assert 0 != asked.returncode
    assert {"oms1": "running"} == fleet.containers()
    assert (0, 0o640) == (path.stat().st_uid, path.stat().st_mode & 0o777)


def test_the_container_is_named_after_the_version(fleet, deployed):
    """hosts.yaml leaves oms.container out; the tag is feature_4.2.7_ce, the registry has a port."""
    assert "oms_427" == fleet.docker("oms1", "ps", "--format", "{{.Names}}")


def test_custom_ports_are_those_that_listen(fleet, deployed):
    """The five ports of OMS docs from 4.2.2 on; the usual ones are free."""
    rows = fleet.lab.enter("oms1", ["ss", "-Hltn"]).stdout
    listening = {int(line.split()[3].rpartition(":")[2]) for line in rows.splitlines()}

    assert set(PORTS.values()) <= listening
    assert not {8088, 8089, 8090, 9000, 2023} & listening


def test_further_keys_and_those_of_sls_arrive(fleet, deployed):
    """As they were, secrets too, and nobody is shown them."""
    said, _ = deployed
    have = yaml.safe_load(fleet.lab.path("oms1", "/data/config.yaml").read_text())
    left = b"".join(fleet.state_files().values())

    assert SECRETS["SLS_KEY"] == have["apsara_audit_sls_access_key"]
    assert SECRETS["SLS_SECRET"] == have["apsara_audit_sls_access_secret"]
    assert ("ops", True) == (have["apsara_audit_sls_ops_site_topic"], have["a_flag"])
    assert "CANARY" not in said.out
    assert b"CANARY" not in left


def test_the_user_form_of_obproxy_arrives_everywhere(fleet, deployed):
    """OceanBase has a user of that very name: omsfab and the components of OMS log in by it."""
    said, _ = deployed
    have = yaml.safe_load(fleet.lab.path("oms1", "/data/config.yaml").read_text())
    users = {row[0] for row in fleet.lab.sql("select user from information_schema.processlist")}

    assert USER_OF_PROXY == have["oms_meta_user"]
    assert USER_OF_PROXY in users
    assert "port 2881 is an OBServer's, whose user form is user@tenant" in said.out


def test_an_older_image_is_initialised_once(fleet, deployed):
    """init: auto; the container does nothing by itself, so omsfab runs docker_init.sh."""
    assert {"oms1": 1, "oms2": 0, "oms3": 0} == fleet.inits()


@pytest.mark.parametrize(
    ("node", "oms"),
    [
        ("oms2", {"init": "auto"}),
        ("oms3", {"init": "never", "container": "oms_427"}),
    ],
    ids=["auto", "never-by-id"],
)
def test_an_image_that_initialises_itself_does_so_once(fleet, deployed, node, oms):
    """Newer images; auto watches and waits, never only waits; nobody starts a second one.

    oms3 gets the image by its id, as the guide's IMAGE_TAG allows: the same one.
    """
    fleet.lab.knob(node, SELF_INIT=1)
    names = ["oms1", "oms2", "oms3"][: int(node[-1])]
    by_id = {"image": made().id} if "container" in oms else {}
    write(fleet, names, **oms, **by_id)

    with closed(fleet, (fleet.lab.place.netns("metadb"), fleet.lab.bridge, fleet.lab.metadb.port)):
        said = fleet.fab("scale.out", "--yes", **SECRETS)

    assert said.status == 0, said
    assert 1 == fleet.inits()[node]
    assert made().id == fleet.docker(node, "inspect", "-f", "{{.Image}}", "oms_427")
    assert 0 == fleet.overlaps()
    assert {fleet.lab.node(name).ip: "ONLINE" for name in names} == fleet.hosts()
