"""The main job on real servers, on OceanBase and MariaDB, looked at past omsfab.

The tests of a fleet build on each other, in the order in which they stand: one node, three nodes
behind a VIP, nothing to do, repairs.
"""

from __future__ import annotations

import hashlib
import json
import time

import pytest

from omsfab.lab.profiles import chosen
from tests.lab.marks import LONG
from tests.lab.oracle import NASTY, Fleet

BINDS = {
    "/data/config.yaml:/home/admin/conf/config.yaml",
    "/data/oms/oms_logs:/home/admin/logs",
    "/data/oms/oms_store:/home/ds/store",
    "/data/oms/oms_run:/home/ds/run",
}


@pytest.fixture(scope="module", params=["oceanbase", pytest.param("mariadb", marks=LONG)])
def fleet(request, make_fleet) -> Fleet:
    """OceanBase as an ordinary user with sudo; MariaDB as root.  Both with a nasty password."""
    ssh = {"user": "ops", "sudo": True} if request.param == "oceanbase" else {}
    fleet = make_fleet(request.param[:2], metadb=request.param, password=NASTY, ssh=ssh)
    said = fleet.fab("oms.deploy", "--yes", hosts="initial.yaml")
    assert said.status == 0, said
    # Another region, as MetaDB would hold it: none of its rows may change.
    fleet.lab.sql(
        "insert into oms_rm.cluster_info (region, region_cn, cm_url, code, is_default_cm)"
        " values ('cn-else', 'cn-else', 'http://10.99.0.1:8088', 9, 0)"
    )
    return fleet


@pytest.fixture(scope="module")
def scaled(fleet):
    """`fab scale.out --yes` from one node to three; what it said, and the rows before."""
    before = fleet.lab.sql("select * from oms_rm.cluster_info where code = 9")
    planned = fleet.fab("scale.out", "--plan")
    untouched = (fleet.cm_urls()[1], fleet.containers(), fleet.programs("oms1"))
    return fleet.fab("scale.out", "--yes"), planned, untouched, before


def test_a_plan_changes_nothing(fleet, scaled):
    """--plan asks and tells: processes run, rows and containers as before."""
    _, planned, untouched, _ = scaled

    assert planned.status == 0, planned
    assert (f"http://{fleet.lab.nodes[0].ip}:8088", {"oms1": "running"}, {"RUNNING"}) == untouched
    assert "DELETES   4 rows of region cn-lab" in planned.out


def test_cm_url_in_metadb_is_the_vip(fleet, scaled):
    """Guide, step 5: cluster_info.cm_url equals the VIP, and no row carries the old one."""
    said, *_ = scaled
    old = fleet.lab.nodes[0].ip

    assert said.status == 0, said
    assert f"http://{fleet.lab.vip}:8088" == fleet.cm_urls()[1]
    assert [] == [
        row
        for row in fleet.lab.sql("select * from oms_cm.location_cm")
        if f"{old}:8088" in str(row)
    ]


def test_other_regions_rows_are_untouched(fleet, scaled):
    """The DELETE of the guide would have taken region 9 too."""
    assert scaled[3] == fleet.lab.sql("select * from oms_rm.cluster_info where code = 9")


def test_all_hosts_are_online_and_healthy(fleet, scaled):
    """OMS itself sees three nodes; each answers, and so does the VIP."""
    addresses = [*(node.ip for node in fleet.lab.nodes), fleet.lab.vip]

    assert {node.ip: "ONLINE" for node in fleet.lab.nodes} == fleet.hosts()
    assert [True] * 4 == [fleet.serves(host) for host in addresses]


@pytest.mark.parametrize("node", ["oms1", "oms2", "oms3"])
def test_containers_have_the_guides_flags(fleet, scaled, node):
    """By docker inspect: net, mounts, address, privileges, limits, name, image id."""
    record = json.loads(fleet.docker(node, "inspect", "oms_427"))[0]
    host = record["HostConfig"]

    assert "host" == host["NetworkMode"]
    assert BINDS == set(host["Binds"])
    assert f"OMS_HOST_IP={fleet.lab.node(node).ip}" in record["Config"]["Env"]
    assert host["Privileged"]
    assert host["PidsLimit"] in (-1, None)  # None: what engines keep of "unlimited"
    assert [{"Name": "nproc", "Hard": 65535, "Soft": 65535}] == host["Ulimits"]
    assert fleet.lab.image_id == record["Image"]


def test_config_yaml_is_the_same_on_all_nodes_and_in_all_containers(fleet, scaled):
    """One file, which root and the image's user read, seen by the container itself."""
    digests = set()
    for node in fleet.lab.nodes:
        path = fleet.lab.path(node.name, "/data/config.yaml")
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
        inside = fleet.docker(
            node.name, "exec", "oms_427", "sha256sum", "/home/admin/conf/config.yaml"
        )
        digests.add(inside.split()[0])
        assert 0o640 == path.stat().st_mode & 0o777
        assert "oms_meta_host" in fleet.docker(
            node.name, "exec", "-u", "ds", "oms_427", "cat", "/home/admin/conf/config.yaml"
        )

    assert 1 == len(digests)


def test_docker_init_ran_once_per_planned_initialisation(fleet, scaled):
    """oms1 twice (deployment, scale-out), the new ones once, never two at a time."""
    assert ({"oms1": 2, "oms2": 1, "oms3": 1}, 0) == (fleet.inits(), fleet.overlaps())


def test_the_screen_shows_each_initialisation_until_its_banner(fleet, scaled):
    """The step that it is in, on every node; what it says is folded."""
    out = scaled[0].out

    for node in ("oms1", "oms2", "oms3"):
        lines = [line for line in out.splitlines() if f"  {node} " in line]
        assert any("docker_init.sh ended with its banner" in line for line in lines)
        assert not any("【结束】全部初始化步骤执行成功" in line for line in lines)
        assert all(any(f"step {n} of 5" in line for line in lines) for n in range(1, 6))
    assert "OMS of cn-lab was DOWN for" in out


def test_the_password_is_nowhere_but_in_config_yaml(fleet, scaled):
    """Not on the screen, not in journals, backups or mirrors."""
    found = [
        path
        for path, data in fleet.state_files().items()
        if NASTY.encode() in data or json.dumps(NASTY)[1:-1].encode() in data
    ]

    assert [] == found
    assert NASTY not in scaled[0].out


def test_a_second_run_has_nothing_to_do(fleet, scaled):
    """0 changes, exit 0, no initialisation."""
    before = fleet.inits()

    said = fleet.fab("scale.out", "--yes")

    assert said.status == 0, said
    assert "scale.out: 0 changes" in said.out
    assert before == fleet.inits()


def test_fleet_check_finds_the_other_region_and_no_more(fleet, scaled):
    """hosts.yaml, nodes and MetaDB agree, but for the region that hosts.yaml does not know."""
    said = fleet.fab("fleet.check")
    other = "location 9 (cn-else, http://10.99.0.1:8088) is not in hosts.yaml"

    assert (5, True) == (said.status, other in said.out), said
    assert " checks: 1 difference" in said.out


# --- repairs on one node, by `fab -H` --------------------------------------------------------


@pytest.mark.parametrize("name", ["oms2", "address"])
def test_a_node_is_named_or_addressed(fleet, scaled, name):
    """fab -H takes a name or an address of hosts.yaml."""
    host = fleet.lab.node("oms2").ip if name == "address" else name

    said = fleet.fab("-H", host, "node.status")

    assert said.status == 0, said
    assert "oms_drc_cm" in said.out


def test_fleet_wide_tasks_refuse_a_host(fleet, scaled):
    """And say why: exit 2."""
    said = fleet.fab("-H", "oms2", "scale.out")

    assert (2, True) == (said.status, "INPUT-026" in said.out), said


def test_stop_and_start(fleet, scaled):
    """supervisorctl stop all, and all again."""
    stopped = fleet.fab("-H", "oms3", "node.stop", "--yes")
    between = fleet.programs("oms3")
    started = fleet.fab("-H", "oms3", "node.start", "--yes")

    assert [0, 0] == [stopped.status, started.status], (stopped, started)
    assert ({"STOPPED"}, {"RUNNING"}) == (between, fleet.programs("oms3"))


def test_restart_brings_the_programs_back(fleet, scaled):
    """The container is restarted, and every program RUNNING afterwards."""
    before = fleet.docker("oms3", "inspect", "-f", "{{.State.StartedAt}}", "oms_427")

    said = fleet.fab("-H", "oms3", "node.restart", "--yes")

    assert said.status == 0, said
    assert before != fleet.docker("oms3", "inspect", "-f", "{{.State.StartedAt}}", "oms_427")
    assert {"RUNNING"} == fleet.programs("oms3")


def test_push_config_repairs_a_changed_file_in_place(fleet, scaled):
    """Same inode, former content kept beside it, nothing to do the second time."""
    path = fleet.lab.path("oms3", "/data/config.yaml")
    good, inode = path.read_bytes(), path.stat().st_ino
    bad = good.replace(b"cm_is_default: true", b"cm_is_default: false")
    path.write_bytes(bad)

    said = fleet.fab("-H", "oms3", "node.push-config", "--yes")
    again = fleet.fab("-H", "oms3", "node.push-config", "--yes")

    assert said.status == 0, said
    assert (good, inode) == (path.read_bytes(), path.stat().st_ino)
    assert bad in [p.read_bytes() for p in path.parent.glob("config.yaml.omsfab-*.bak")]
    assert "0 changes" in again.out


def test_load_image_and_run_rebuild_a_lost_node(fleet, scaled):
    """The container and the image of oms3 are gone; two tasks and an initialisation cure it."""
    fleet.docker("oms3", "rm", "-f", "oms_427")
    fleet.docker("oms3", "rmi", "-f", fleet.lab.image_id)

    said = [
        fleet.fab("-H", "oms3", task, "--yes")
        for task in ("node.load-image", "node.run", "node.initialise")
    ]
    said.append(fleet.fab("-H", "oms3", "node.check"))

    assert [0, 0, 0, 0] == [one.status for one in said], "\n".join(map(str, said))
    assert fleet.serves(fleet.lab.node("oms3").ip)


def test_exec_and_logs_show_what_the_container_says(fleet, scaled):
    """Words reach the container's shell unharmed; logs show the initialisation."""
    said = fleet.fab("-H", "oms2", "node.exec", "--command", "echo \"a  'b'\" $((6*7))", "--yes")
    logs = fleet.fab("-H", "oms2", "node.logs")

    assert "a  'b' 42" in said.out, said
    assert "【结束】" in logs.out, logs


def test_an_unknown_host_key_is_refused_until_it_is_trusted(fleet, scaled):
    """Exit 10 with the line to paste; node.trust records the key; then it works."""
    known = fleet.lab.directory / "empty_known_hosts"
    known.write_text("")
    names = [node.name for node in fleet.lab.nodes]
    url = f"http://{fleet.lab.vip}:8088"
    user = {"user": "ops", "sudo": True} if fleet.lab.metadb.kind == "oceanbase" else {}
    fleet.write("untrusted.yaml", url, names, ssh={"known_hosts": str(known), **user})

    refused = fleet.fab("node.status", "--node=oms2", hosts="untrusted.yaml")
    trusted = fleet.fab("node.trust", "--yes", hosts="untrusted.yaml")
    works = fleet.fab("node.status", "--node=oms2", hosts="untrusted.yaml")

    assert [10, 0, 0] == [refused.status, trusted.status, works.status], refused
    assert "fab node.trust --node" in refused.out


def test_a_silent_vip_stops_the_run_before_production(fleet, scaled):
    """Nobody answers at the cm_url: exit 3, be it planned or run, and every program still runs."""
    names = [node.name for node in fleet.lab.nodes]
    nobody = fleet.lab.vip.rsplit(".", 1)[0] + ".77"
    fleet.lab.sql(
        f"update oms_rm.cluster_info set cm_url = 'http://{fleet.lab.nodes[0].ip}:8088'"
        " where code = 1"
    )
    user = {"user": "ops", "sudo": True} if fleet.lab.metadb.kind == "oceanbase" else {}
    fleet.write("silent.yaml", f"http://{nobody}:8088", names, ssh=user)

    planned = fleet.fab("scale.out", "--plan", hosts="silent.yaml")
    said = fleet.fab("scale.out", "--yes", hosts="silent.yaml")
    fleet.lab.sql(
        f"update oms_rm.cluster_info set cm_url = 'http://{fleet.lab.vip}:8088' where code = 1"
    )

    assert (3, True) == (planned.status, "VIP-001" in planned.out), planned
    assert (3, True) == (said.status, "VIP-001" in said.out), said
    assert {"RUNNING"} == fleet.programs("oms1")
    assert 2 == fleet.inits()["oms1"]


def test_no_backup_copy_is_readable_by_others(fleet, scaled):
    """The mirror on the first node and the run's own directory: 0600 and 0700."""
    modes = fleet.lab.enter("oms1", ["find", "/var/lib/omsfab", "-perm", "/077"])
    own = [p for p in fleet.state_files() if p.stat().st_mode & 0o077 and p.suffix == ".jsonl"]

    assert ("", []) == (modes.stdout.strip(), own)
    assert "region-1" in fleet.lab.enter("oms1", ["find", "/var/lib/omsfab"]).stdout


def test_time_passes(fleet, scaled):
    """Beats are fresh by the clock of MetaDB after all this."""
    time.sleep(1)
    said = fleet.fab("fleet.status", "--json")

    assert said.status == 0, said
    wanted = "healthy" if chosen(fleet.lab.profile).has_health else "CM answers"
    nodes = json.loads(said.out.splitlines()[-1])["nodes"]
    assert [wanted] * 3 == [row["health"] for row in nodes]
