"""What `fab fleet.check` finds of faults planted on three nodes and in MetaDB, in one call; and
before them `fab fleet.forget`, which OMS does not notice."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

OMS = "oms_427"
BLOCK = "iptables -I INPUT -p tcp --dport 22 -j REJECT"


@pytest.fixture(scope="module")
def fleet(make_fleet):
    fleet = make_fleet("check", nodes=3, metadb="mariadb")
    said = fleet.fab("oms.deploy", "--yes")
    assert said.status == 0, said
    yield fleet
    on(fleet, "oms1", "chattr -a /data/config.yaml")  # or nobody could take the lab down


def on(fleet, node, *lines):
    for line in lines:
        done = fleet.lab.enter(node, ["bash", "-c", line])
        assert done.returncode == 0, (node, line, done)


# --- fleet.forget --------------------------------------------------------------------------------


def left(fleet, node):
    """What of omsfab's is on a node, past omsfab."""
    find = "find /var/lib/omsfab -mindepth 1; find /data -name '*omsfab*'"
    return fleet.lab.enter(node, ["sh", "-c", find]).stdout.splitlines()


def tables(fleet):
    text = "select table_schema, table_name from information_schema.tables"
    return [row for row in fleet.lab.sql(text) if "omsfab" in row[0] + row[1]]


def test_a_rollback_that_is_looked_at_asks_what_it_would_ask(fleet):
    """run.undo --plan: its preflight is asked, and nothing is changed."""
    said = fleet.fab("run.undo", "--plan")

    assert said.status == 0, said
    assert re.search(r"^  checks +[1-9]\d* passed$", said.out, re.M)
    assert "Nothing was changed. Apply with: fab run.undo --run=" in said.out
    assert fleet.serves(fleet.lab.vip)


def test_omsfab_removes_what_it_left_and_oms_goes_on(fleet):
    """--plan changes nothing; a node that is away is named with the line that repeats it; then all
    is gone, and the same line has nothing to do."""
    rows = fleet.lab.sql("select * from oms_rm.cluster_info")
    before = {node.name: left(fleet, node.name) for node in fleet.lab.nodes}
    plan = fleet.fab("fleet.forget", "--plan")
    after_plan = {node.name: left(fleet, node.name) for node in fleet.lab.nodes}
    on(fleet, "oms3", BLOCK)
    away = fleet.fab("fleet.forget", "--yes")
    on(fleet, "oms3", BLOCK.replace("-I", "-D"))
    rest = fleet.fab("fleet.forget", "--yes")
    again = fleet.fab("fleet.forget", "--yes")

    assert before == after_plan
    assert all(before.values())
    assert (0, 3, 0, 0) == (plan.status, away.status, rest.status, again.status), (away, rest)
    assert "tables oms_rm.omsfab_lease, oms_rm.omsfab_marker" in plan.out
    assert "next: fab fleet.forget" in away.out
    assert "nothing to forget" in again.out
    assert {node.name: [] for node in fleet.lab.nodes} == {
        node.name: left(fleet, node.name) for node in fleet.lab.nodes
    }
    assert [] == tables(fleet)
    assert rows == fleet.lab.sql("select * from oms_rm.cluster_info")
    assert fleet.serves(fleet.lab.vip)
    assert "INPUT-008" in fleet.fab("run.undo", "--plan").out


# --- fleet.check ---------------------------------------------------------------------------------


def key(name, value):
    """A line that writes a key of config.yaml in place, as an operator's editor may not."""
    change = f"s|^{name}:.*|{name}: {value}|"
    return (
        f"sed '{change}' /data/config.yaml >/root/new; grep -q '^{name}:' /root/new ||"
        f" echo '{name}: {value}' >>/root/new; cat /root/new >/data/config.yaml"
    )


EMPTY = "tar -cf - -T /dev/null | docker import - planted >/dev/null; docker tag planted IMAGE"
"""Another image gets the name that hosts.yaml has."""
LISTEN = (
    "socat TCP-LISTEN:8089,fork,reuseaddr /dev/null >/dev/null 2>&1 & echo $! >/run/planted;"
    " for _ in $(seq 100); do ss -Hltn 'sport = :8089' | grep -q . && exit 0; sleep 0.1; done;"
    " exit 1"
)
"""Connections that OMS has just closed there would keep the port, and it is waited for."""
INIT = "echo sleep 900\\; true >/tmp/docker_init.sh; exec bash /tmp/docker_init.sh"
LATE = 'printf \'#!/bin/sh\\nexec /bin/date -d "1 hour ago" "$@"\\n\' >/usr/local/bin/date'

# A node that is silent, or whose docker is, hides all else that is wrong there, so neither is among
# them: test_fleet_check of tests/unit has these.
PLANTED = {
    "oms1": (
        (key("cm_url", "http://10.0.0.9:8088"), "cm_url", "http://10.0.0.9:8088 ->"),
        (key("cm_region", "cn-other"), "cm_region", "cn-other ->"),
        (key("cm_is_default", "false"), "cm_is_default", "false -> true"),
        (key("oms_meta_user", "root"), "oms_meta_user", "root ->"),
        (key("drc_cm_heartbeat_db", "other_hb"), "drc_cm_heartbeat_db", "other_hb ->"),
        (key("tsdb_enabled", "true"), "tsdb_enabled", "true -> false"),
        (
            "sed '/^ *- .*/{x;s/^/x/;/^x$/{x;d};x}' /data/config.yaml >/root/new;"
            " cat /root/new >/data/config.yaml",
            "cm_nodes",
            "->",
        ),
        ("chmod 644 /data/config.yaml", "config.yaml", "has mode 644"),
        ("chattr +a /data/config.yaml", "CFG-009", "append-only"),
        (f"docker exec -d {OMS} sh -c '{INIT}'", "INIT-010", "docker_init.sh"),
        (
            f"docker exec {OMS} mv /usr/bin/supervisorctl /usr/bin/supervisorctl.away",
            "RUN-042",
            "supervisorctl",
        ),
        (
            f"docker exec {OMS} mv /usr/bin/date /usr/bin/date.real;"
            " printf '#!/bin/sh\\necho $(date.real +%%s) +0300\\n' >/root/date;"
            f" chmod +x /root/date; docker cp /root/date {OMS}:/usr/bin/date",
            "ENV-006",
            "",
        ),
        (
            f"docker run -d --name oms_old --net none --entrypoint sleep"
            f" $(docker inspect -f '{{{{.Image}}}}' {OMS}) 3600",
            "HOST-007",
            "container oms_old",
        ),
    ),
    "oms2": (
        (f"docker exec {OMS} supervisorctl stop oms_console", "program", "oms_console is STOPPED"),
        (
            f"docker exec {OMS} supervisorctl stop oms_drc_supervisor",
            "program",
            "oms_drc_supervisor is STOPPED",
        ),
        (
            "cp -a /data/config.yaml /data/c && mv /data/c /data/config.yaml",
            "config.yaml",
            "former",
        ),
        (f"docker exec {OMS} mv /root/docker_init.sh /root/kept.sh", "INIT-017", "docker_init.sh"),
        (
            "mkdir -p /var/lib/omsfab && mount -t tmpfs -o size=1m none /var/lib/omsfab",
            "HOST-008",
            "50 MB needed",
        ),
        (f"{LATE}; chmod +x /usr/local/bin/date", "ENV-007", "its clock differs"),
        (f"docker update --restart=always {OMS}", "docker run", "--restart always"),
        (f"docker update --cpu-shares=512 {OMS}", "docker run", "--cpu-shares 512"),
        (EMPTY, "image", "image sha256:"),
    ),
    "oms3": (
        (f"{EMPTY}; docker rm -f {OMS}", "container", "is absent"),
        ("true", "IMG-008", "is sha256:"),
        (LISTEN, "HOST-002", "port 8089 is used"),
        (
            "mount --bind /data /data && mount -o remount,ro,noexec,bind /data",
            "CFG-009",
            "/data is on a read-only mount",
        ),
        ("true", "HOST-010", "noexec"),
        (
            "mkdir -p /var/lib/omsfab && mount --bind /var/lib/omsfab /var/lib/omsfab &&"
            " mount -o remount,ro,bind /var/lib/omsfab",
            "HOST-008",
            "cannot be written",
        ),
    ),
}
"""By node: how it is planted, and which group tells it, with what in it."""

BY_ADDRESS = (
    ("oms1", "DB-007", "create user '{user}'@'{ip}' identified by 'x'"),
    ("oms3", "DB-007", "create user '{user}'@'{ip}' identified by 'x'"),
)
IN_METADB = (
    ("update oms_cm.host set host_status = 'OFFLINE' where ip = '{oms2}'", "host", "is OFFLINE"),
    ("update oms_rm.cluster_info set cm_url = 'http://10.0.0.8:8088'", "cm_url", "10.0.0.8"),
    ("update oms_rm.cluster_info set region = 'cn-elsewhere'", "cm_region", "cn-elsewhere"),
    ("update oms_rm.cluster_info set is_default_cm = 0", "cm_is_default", "false -> true"),
    ("update oms_rm.oms_version set version = '4.2.99'", "IMG-009", "4.2.99"),
    (
        "insert into oms_cm.host (ip, host_status, resource_group_id)"
        " select '10.9.9.9', 'ONLINE', id from oms_cm.resource_group limit 1",
        "host",
        "10.9.9.9 is not in hosts.yaml",
    ),
)
ON_THE_WAY = (
    ("oms2", "iptables -I OUTPUT -d {metadb} -p tcp -j REJECT", "DB-006", "does not"),
    ("oms3", "iptables -I OUTPUT -d {vip} -p tcp -j REJECT", "VIP-001", ""),
)


@pytest.fixture(scope="module")
def checked(fleet):
    """The groups of one fleet.check, and what should be among them: node, label, text."""
    lab = fleet.lab
    ips = {node.name: node.ip for node in lab.nodes}
    with ThreadPoolExecutor(3) as pool:
        lines = {
            node: [line.replace("IMAGE", lab.image) for line, *_ in faults]
            for node, faults in PLANTED.items()
        }
        list(pool.map(lambda node: on(fleet, node, *lines[node]), lines))
    wanted = [(node, *rest) for node, faults in PLANTED.items() for _, *rest in faults]
    for node, label, text in BY_ADDRESS:
        lab.sql(text.format(user=lab.metadb.user, ip=ips[node]))
        wanted.append((node, label, ""))
    for text, label, says in IN_METADB:
        lab.sql(text.format(**ips))
        wanted.append(("oms2" if "OFFLINE" in text else "MetaDB", label, says))
    for node, line, label, says in ON_THE_WAY:
        on(fleet, node, line.format(metadb=lab.metadb.host, vip=lab.vip))
        wanted.append((node, label, says))
    told = fleet.fab("fleet.check", "--json")
    return told, wanted


def is_told(groups, node, label, says):
    return any(
        label == one["label"]
        and (node in one["nodes"] or (node == "MetaDB" and "metadb" in one["nodes"]))
        and says in f"{one['what']}\n{one['found']}"
        for one in groups
    )


def test_one_check_finds_every_fault(checked):
    """Thirty and more on three nodes and in MetaDB, each by its group; exit 5 once."""
    told, wanted = checked
    groups = json.loads(told.out.splitlines()[-1])["groups"]
    missed = [one for one in wanted if not is_told(groups, *one)]

    assert 5 == told.status
    assert len(wanted) >= 30
    assert [] == missed, json.dumps(groups, indent=1, ensure_ascii=False)


def test_each_fault_has_a_fix(checked):
    """Nothing is told that leaves the reader alone."""
    groups = json.loads(checked[0].out.splitlines()[-1])["groups"]

    assert [] == [one["label"] for one in groups if not one["fix"]]
