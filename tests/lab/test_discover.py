"""An OMS that others deployed: discovered, and then there is nothing to change."""

from __future__ import annotations

import threading

import pytest
import yaml

from tests.lab.by_hand import HAND, OBD, WIZARD, config, deploy, text

OURS = {"oms1": HAND, "oms2": HAND, "oms3": WIZARD, "oms4": OBD}
"""oms1 and oms2 are one OMS behind a VIP, the others one each; every OMS has databases of its own
in one MetaDB."""


@pytest.fixture(scope="module")
def fleet(make_fleet):
    fleet = make_fleet("found", nodes=4, metadb="mariadb")
    lab = fleet.lab
    lab.move_vip("oms1")
    own = {node.name: node.ip for node in lab.nodes}
    two = config(fleet, "hand", f"http://{lab.vip}:8088", [own["oms1"], own["oms2"]])
    said = {
        "oms1": two,
        "oms2": two,
        "oms3": config(fleet, "wizard", f"http://{own['oms3']}:8088", [own["oms3"]]),
        "oms4": config(fleet, "obd", f"http://{own['oms4']}:8088", [own["oms4"]]),
    }
    for wave in (("oms1", "oms3", "oms4"), ("oms2",)):  # one init at a time of each OMS
        jobs = [
            threading.Thread(
                target=deploy,
                args=(fleet, name, OURS[name], text(said[name], quoted=OURS[name].quoted)),
            )
            for name in wave
        ]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
    return fleet


@pytest.fixture
def discover(fleet):
    """Return what fleet.discover does from these nodes; it writes into the lab's directory."""

    def call(nodes, out, *words):
        way = ",".join(f"root@{fleet.lab.node(name).ip}" for name in nodes)
        return fleet.fab(
            *("fleet.discover", f"--from={way}", f"--key={fleet.lab.key}"),
            *(f"--known-hosts={fleet.lab.known_hosts}", f"--out={fleet.lab.directory / out}"),
            *words,
        )

    return call


def password(fleet):
    return {"OMS_META_PASSWORD": fleet.lab.password_file.read_text()}


@pytest.mark.parametrize(
    ("node", "nodes"), [("oms1", {"oms1", "oms2"}), ("oms3", {"oms3"}), ("oms4", {"oms4"})]
)
def test_what_is_discovered_needs_no_change(fleet, discover, node, nodes):
    """By hand, with other paths, another name and quoted keys; by the wizard; by OBD: each file
    has all nodes of its OMS, and scale.out --plan says that nothing is to be done."""
    file = f"found-{node}.yaml"
    said = discover([node], file)
    tree = yaml.safe_load((fleet.lab.directory / file).read_text())
    plan = fleet.fab("scale.out", "--plan", hosts=file, **password(fleet))

    assert said.status == 0, said
    assert (OURS[node].container, dict(OURS[node].places)) == (
        tree["oms"]["container"],
        tree["oms"]["mounts"],
    )
    assert {fleet.lab.node(name).ip for name in nodes} == set(
        tree["regions"]["cn-hand"]["nodes"].values()
    )
    assert plan.status == 0, plan
    assert "No changes." in plan.out


def test_no_secret_is_written_or_shown(fleet, discover):
    """The password of MetaDB is named by its variable."""
    said = discover(["oms1"], "secret.yaml")
    written = (fleet.lab.directory / "secret.yaml").read_text()

    assert "$OMS_META_PASSWORD" in said.out
    assert fleet.lab.password_file.read_text() not in written + said.out


def test_nothing_is_changed_on_nodes_or_metadb(fleet, discover):
    """Files of the node, its containers, and what MetaDB holds are as before."""

    def now():
        words = ["sh", "-c", "sha256sum /srv/oms-config.yaml; docker ps -aq --no-trunc"]
        rows = fleet.lab.sql("select * from hand_rm.cluster_info")
        return fleet.lab.enter("oms1", words).stdout, rows

    before = now()
    discover(["oms1"], "same.yaml")

    assert before == now()


def test_a_file_that_is_there_is_kept(fleet, discover):
    """Not overwritten without --force; then what it said stands beside it."""
    path = fleet.lab.directory / "mine.yaml"
    path.write_text("mine\n")
    refused = discover(["oms3"], "mine.yaml")
    kept = path.read_text()
    forced = discover(["oms3"], "mine.yaml", "--force")
    former = list(fleet.lab.directory.glob("mine.yaml.2*"))

    assert (2, "mine\n") == (refused.status, kept)
    assert 0 == forced.status
    assert ["mine\n"] == [one.read_text() for one in former]


def test_two_of_one_host_are_asked_about(fleet, discover):
    """A second container with the mounts of an OMS: --container names one."""
    fleet.docker(
        *("oms4", "run", "-dit", "--name", "second", "-v", "/data/oms/store:/home/ds/store"),
        *("--entrypoint", "sleep", fleet.lab.image, "600"),
    )
    try:
        asked = discover(["oms4"], "two.yaml")
        named = discover(["oms4"], "two.yaml", f"--container={OBD.container}")
    finally:
        fleet.docker("oms4", "rm", "-f", "second")

    assert (3, True) == (asked.status, "FIND-002" in asked.out)
    assert 0 == named.status


# --- a hosts.yaml that is wrong -------------------------------------------------------------------


@pytest.fixture
def wrong(fleet, discover):
    """Return what tasks say with one value of the file of oms1 replaced."""
    discover(["oms1"], "right.yaml")

    def call(task, old, new, *words):
        text = (fleet.lab.directory / "right.yaml").read_text()
        assert old in text
        (fleet.lab.directory / "wrong.yaml").write_text(text.replace(old, new))
        return fleet.fab(task, *words, hosts="wrong.yaml", **password(fleet))

    return call


def test_another_name_is_named(wrong):
    """fleet.check tells what it is called, and no task would end it as a second OMS."""
    change = (HAND.container, "oms_427")
    check = wrong("fleet.check", *change)
    plan = wrong("scale.out", *change, "--plan")
    restart = wrong("node.restart", *change, "--node=oms1", "--plan")

    assert (5, True) == (check.status, f"runs as {HAND.container}, not oms_427" in check.out)
    assert "HOST-007" not in check.out
    assert [(3, True)] * 2 == [
        (one.status, f"set oms.container to {HAND.container}" in one.out) for one in (plan, restart)
    ]


def test_other_mounts_are_named(wrong):
    """config.yaml is read where the container has it: its path differs, and nothing else."""
    change = (HAND.places["config"], "/data/config.yaml")
    check = wrong("fleet.check", *change)
    push = wrong("node.push-config", *change, "--node=oms1", "--plan")

    assert (5, True) == (check.status, HAND.places["config"] in check.out)
    assert "cm_nodes" not in check.out
    assert (3, True) == (push.status, "CFG-014" in push.out)


def test_another_rm_db_is_named(wrong):
    """fleet.check and the refusal have the one that the nodes use."""
    check = wrong("fleet.check", "rm_db: hand_rm", "rm_db: rm")
    plan = wrong("scale.out", "rm_db: hand_rm", "rm_db: rm", "--plan")

    assert (5, True) == (check.status, "hand_rm -> rm" in check.out)
    assert (3, True) == (plan.status, "set metadb.rm_db to hand_rm" in plan.out)
