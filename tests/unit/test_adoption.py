"""fleet.discover: what nodes and MetaDB say becomes a hosts.yaml; nothing is contacted here."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from omsfab.cli import adopt
from omsfab.commands import docker
from omsfab.errors import InputError, PreflightError
from omsfab.fleet import hosts_file, oms_config
from omsfab.fleet.values import CmUrl
from omsfab.plan import adoption
from omsfab.plan.adoption import Differs, Row, Seen
from omsfab.plan.observed import NodeFacts, Observed
from omsfab.plan.procedures import refusals
from omsfab.run.confirmation import Flags
from omsfab.secret import Secret
from omsfab.show.hosts_yaml import hosts_text
from omsfab.ssh.protocol import Result
from tests.unit.test_json import documented, keys

IMAGE = "reg.docker.alibaba-inc.com/oceanbase/oms:feature_4.2.7_ce"
ID = "sha256:" + "a" * 64


def inspected(name="oms_prod", at="/srv/oms", *, config=None, image=IMAGE, runs=True, **more):
    """A container as `docker inspect` tells it; ``at`` is where its mounts are, "" for none."""
    places = {
        "/home/admin/conf/config.yaml": config or f"{at}/config.yaml",
        "/home/admin/logs": f"{at}/logs",
        "/home/ds/store": f"{at}/store",
        "/home/ds/run": f"{at}/run",
        **more.get("further", {}),
    }
    mounts = [{"Type": "bind", "Source": s, "Destination": d} for d, s in places.items()]
    return {
        "Name": f"/{name}",
        "Image": ID,
        "State": {"Running": runs},
        "Config": {"Image": image, "Env": [f"OMS_HOST_IP={more.get('ip', '10.0.0.1')}", "PATH=/"]},
        "Mounts": mounts if at else [],
    }


def found(*records):
    return adoption.containers(json.dumps(records))


FLAT = """
oms_meta_host: 10.0.0.9
oms_meta_port: 2881
oms_meta_user: oms@oms_meta
oms_meta_password: hun#ter2
drc_rm_db: my_rm
drc_cm_db: my_cm
drc_cm_heartbeat_db: my_hb_1
cm_url: http://10.0.0.1:8088
cm_location: 1
cm_region: cn-hangzhou
cm_nodes:
 - 10.0.0.1
tsdb_enabled: false
"""

QUOTED = """
"oms_meta_host": "10.0.0.9"
"oms_meta_port": "2881"
"oms_meta_user": "oms@oms_meta"
"oms_meta_password": "hun#ter2"
"drc_rm_db": "my_rm"
"drc_cm_db": "my_cm"
"drc_cm_heartbeat_db": "my_hb_1"
"cm_url": "http://10.0.0.1:8088"
"cm_location": "1"
"cm_region": "cn-hangzhou"
"cm_nodes": ["10.0.0.1"]
"cm_is_default": !!bool "true"
"tsdb_enabled": "false"
"""


def seen(text=FLAT, *records, **more):
    one = adoption.likely(found(*(records or (inspected(),))))[0]
    words = {"name": "db-1", "address": "10.0.0.1", "user": "root", **more}
    return Seen(**words, container=one, config=oms_config.read(Secret(text)))


def row(**more):
    words = {"location": 1, "region": "cn-hangzhou", "label": "cn-hangzhou", "default": True}
    words |= {"cm_url": CmUrl.read("http://10.0.0.1:8088"), "hosts": ("10.0.0.1",), **more}
    return Row(**words)


def loaded(found, tmp_path, monkeypatch):
    """The Fleet of what was found, through its text."""
    for name in found.secrets.values():
        monkeypatch.setenv(name, "hun#ter2")
    path = tmp_path / "hosts.local.yaml"
    path.write_text(hosts_text(found.tree, "test"))
    return hosts_file.load(path)


@pytest.mark.parametrize(
    ("record", "by"),
    [
        (inspected("oms_prod", "/srv/oms"), "mounts"),
        (inspected("OMS_20231117_103102", "/data/1/oms/out", image=ID), "mounts"),
        (inspected("prod-oms-ce-123456", "/x", config="/x/run/config.yaml", image=ID), "mounts"),
        (inspected("other", ""), "image"),
        (inspected("other", "", image="registry:5000/oceanbase/oms-ce:4.2.11"), "image"),
    ],
)
def test_a_container_is_known_by_mounts_or_image(record, by):
    """By hand, by the wizard, by OBD; one without any mount by the name of its image."""
    assert [by] == [one.by for one in found(record)]


@pytest.mark.parametrize("image", ["influxdb:1.8", "oceanbase/oms-tools/x:1", "domsms:1", "roms:1"])
def test_another_program_is_no_oms(image):
    """Whatever else runs on the host."""
    assert () == found(inspected("oms_427", "", image=image))


def test_the_one_that_runs_is_meant():
    """An upgrade keeps the former container; two that run are for the operator."""
    old, new = inspected("oms_420", runs=False), inspected("oms_427")

    assert ["oms_427"] == [one.name for one in adoption.likely(found(old, new))]
    assert 2 == len(adoption.likely(found(inspected("a"), inspected("b"))))


@pytest.mark.parametrize("text", [FLAT, QUOTED], ids=["flat", "quoted"])
def test_each_form_of_config_yaml_gives_the_same_fleet(text, tmp_path, monkeypatch):
    """And config.yaml made from it says what the node's says: nothing would change."""
    config = oms_config.read(text)
    fleet = loaded(adoption.deployment([seen(text)], [row()], {}), tmp_path, monkeypatch)
    want = oms_config.wanted(fleet, fleet.regions[0])

    assert ("my_rm", "my_hb_1") == (fleet.metadb.rm_db, fleet.regions[0].heartbeat_db)
    assert [] == [d.key for d in oms_config.differences(config, want) if d.key != "cm_region_cn"]


def test_the_container_is_that_which_runs(tmp_path, monkeypatch):
    """Name, image and mounts, the certificate's with them; the node by its host name."""
    crt = {"/etc/pki/nginx/oms_server.crt": "/c/crt", "/etc/pki/nginx/oms_server.key": "/c/key"}
    record = inspected("OMS_20231117_103102", "/out", further=crt)
    fleet = loaded(adoption.deployment([seen(FLAT, record)], [row()], {}), tmp_path, monkeypatch)

    assert ("OMS_20231117_103102", IMAGE) == (fleet.install.container, fleet.install.image)
    assert ("/out/config.yaml", "/c/key") == (
        fleet.install.mounts.config,
        fleet.install.mounts.https_key,
    )
    assert [("db-1", "10.0.0.1", "root")] == [
        (one.name, one.ip, fleet.ssh.user) for one in fleet.nodes
    ]


def test_an_image_by_its_id_is_named_by_its_tag():
    """`docker run sha256:…`: a tag, if the id has one, else the id."""
    tagged = seen(FLAT, inspected(image=ID), tags=(IMAGE,))
    bare = seen(FLAT, inspected(image=ID))

    assert [IMAGE, ID] == [
        adoption.deployment([one], [row()], {}).tree["oms"]["image"] for one in (tagged, bare)
    ]


def test_no_secret_is_written():
    """Each is named: MetaDB, metrics, further keys; its text is nowhere."""
    text = FLAT.replace("tsdb_enabled: false", "") + (
        "tsdb_enabled: true\ntsdb_service: INFLUXDB\ntsdb_url: 10.0.0.8:8086\n"
        "tsdb_username: oms\ntsdb_password: s3cret\napsara_audit_sls_access_secret: topsecret\n"
    )
    made = adoption.deployment([seen(text)], [row()], {})
    written = hosts_text(made.tree, "test") + repr(made)

    assert {
        "metadb.password": "OMS_META_PASSWORD",
        "tsdb.password": "OMS_TSDB_PASSWORD",
        "oms.extra.apsara_audit_sls_access_secret": "APSARA_AUDIT_SLS_ACCESS_SECRET",
    } == made.secrets
    assert not any(word in written for word in ("hun#ter2", "s3cret", "topsecret"))


def test_metadb_tells_further_nodes_and_regions():
    """What nobody named in --from is asked as well."""
    rows = [row(hosts=("10.0.0.1", "10.0.0.2")), row(location=2, hosts=("10.1.0.1",))]

    assert ("10.0.0.2", "10.1.0.1") == adoption.further([seen()], rows)


def test_a_region_that_nobody_could_read_is_told():
    """Its heartbeat database stands in config.yaml alone: it is not made up."""
    js = row(location=2, region="cn-js", default=False, hosts=("10.1.0.1",))
    silent = Seen("10.1.0.1", "10.1.0.1", error="no way (SSH-001)")
    made = adoption.deployment([seen(), silent], [row(), js], {})

    assert ["regions.cn-js.heartbeat_db: no node of location 2 could be read"] == list(made.lacking)
    assert ["10.1.0.1 (10.1.0.1): no way (SSH-001)"] == list(made.notes)


def test_what_differs_between_nodes_is_told_once():
    """With who says what; most of them decide what is written."""
    ips = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
    text = FLAT.replace(" - 10.0.0.1", "".join(f" - {ip}\n" for ip in ips))
    nodes = [
        seen(text, inspected("oms_427" if n < 2 else "oms_prod", ip=ip), name=f"db-{n}", address=ip)
        for n, ip in enumerate(ips)
    ]
    made = adoption.deployment(nodes, [row(hosts=ips)], {})

    assert "oms_427" == made.tree["oms"]["container"]
    assert [("container", (("oms_427", ("db-0", "db-1")), ("oms_prod", ("db-2",))))] == [
        (one.what, one.said) for one in made.differs
    ]


def test_passwords_that_differ_are_told_without_their_text():
    """One node has another password: named, not shown."""
    other = FLAT.replace("hun#ter2", "other")
    nodes = [seen(), seen(other, inspected(ip="10.0.0.2"), name="db-2", address="10.0.0.2")]
    told = [one for one in adoption.deployment(nodes, [row()], {}).differs]
    (one,) = [one for one in told if one.what == "oms_meta_password"]

    assert ["**** (a)", "**** (b)"] == [value for value, _ in one.said]


def test_nodes_of_one_host_name_are_numbered():
    """`localhost` tells nobody apart."""
    two = seen(FLAT, inspected(ip="10.0.0.2"), address="10.0.0.2")
    made = adoption.deployment([seen(), two], [row(hosts=("10.0.0.1", "10.0.0.2"))], {})

    assert {"oms1": "10.0.0.1", "oms2": "10.0.0.2"} == made.tree["regions"]["cn-hangzhou"]["nodes"]


def test_another_ssh_address_is_kept():
    """OMS knows it by OMS_HOST_IP, SSH by what stands in --from."""
    made = adoption.deployment([seen(address="203.0.113.5", port=2222)], [row()], {})

    assert {"db-1": {"ip": "10.0.0.1", "address": "203.0.113.5"}} == (
        made.tree["regions"]["cn-hangzhou"]["nodes"]
    )
    assert {"user": "root", "port": 2222} == made.tree["ssh"]


@pytest.mark.parametrize(
    "text", ["yes", "1.5", "012", "a: b", "#x", "", "~", "null", "http://h:1", "中文", "{x}", "a'b"]
)
def test_every_text_comes_back_as_it_was(text):
    """Written plain or in quotes, YAML reads the same text."""
    from omsfab.fleet import yaml_reader

    read = yaml_reader.load(hosts_text({"x": {"k": text}}, "t")).data

    assert {"x": {"k": text}} == read


def test_the_text_is_a_valid_hosts_yaml(tmp_path):
    """No fault by the same rules as a file of an operator."""
    made = adoption.deployment([seen()], [row()], {})

    assert [] == hosts_file.faults(hosts_text(made.tree, "t"), Path(tmp_path))


# --- what hosts.yaml has otherwise ----------------------------------------------------------------


def test_an_oms_of_another_name_is_no_absent_one(fleet):
    """No task plans with it; fleet.check names it, and asks nothing that a new node needs."""
    facts = NodeFacts(container="absent", others=("oms_prod",))
    present = Observed(clusters={1: CmUrl.read("http://10.0.0.1:8088")}, nodes={"oms1": facts})

    with pytest.raises(PreflightError) as caught:
        refusals.called_otherwise(fleet, present)

    assert ("CFG-015", "oms1") == (caught.value.id, caught.value.where)
    assert "set oms.container to oms_prod" in caught.value.fix
    assert {"oms1"} == refusals.mistaken(fleet, present)


def test_a_node_without_any_oms_is_not_called_so(fleet):
    """It is new, and all that it needs is asked."""
    present = Observed(nodes={"oms1": NodeFacts(), "oms2": NodeFacts(container="running")})

    refusals.called_otherwise(fleet, present)
    assert set() == refusals.mistaken(fleet, present)


def test_the_rm_db_that_the_nodes_use_is_named(fleet):
    """PLAN-002: not that OMS was never there, nor that its rows were deleted."""
    drift = oms_config.Drift("drc_rm_db", "my_rm", fleet.metadb.rm_db)
    present = Observed(nodes={"oms1": NodeFacts(container="running", drift=(drift,))})
    region = fleet.regions[0]
    error = refusals.not_deployed(fleet, region, region.nodes[:1], present)

    assert ("PLAN-002", "set metadb.rm_db to my_rm in hosts.yaml") == (error.id, error.fix)


# --- what cannot be adopted ----------------------------------------------------------------------

NODE = Seen("db-1", "10.0.0.1", "root")
ASKED = adopt.Asked("root@10.0.0.1")


def test_a_node_without_oms_is_told_with_what_runs_there():
    """FIND-001: nothing has the mounts or the image."""
    with pytest.raises(PreflightError) as error:
        adopt._chosen(NODE, found(inspected("web", "", image="nginx:1")), ASKED)

    assert ("FIND-001", True) == (error.value.id, "no container has" in error.value.render())


def test_a_container_that_is_named_and_not_there_is_told():
    """FIND-001: --container, with those that are there."""
    with pytest.raises(PreflightError) as error:
        adopt._chosen(NODE, found(inspected()), adopt.Asked("root@10.0.0.1", container="oms_x"))

    assert "no container oms_x" == error.value.what
    assert "oms_prod  running" in error.value.render()


@pytest.mark.parametrize(("text", "says"), [("", "cannot be read"), ("a: 1\n", "lacks oms_meta")])
def test_a_config_yaml_that_is_none_is_told(text, says, monkeypatch):
    """FIND-003: neither an empty file nor one without what every OMS has."""
    monkeypatch.setattr(sys, "argv", ["fab", "fleet.discover", "--from=root@10.0.0.1"])

    class Answers:
        node = "10.0.0.1"

        def run(self, command, *_):
            listed = command == docker.containers()
            return Result(0, json.dumps([inspected()]) if listed else text, "")

    with pytest.raises(PreflightError) as error:
        adopt._seen(NODE, Answers(), ASKED)

    assert ("FIND-003", True) == (error.value.id, says in error.value.what)


@pytest.mark.parametrize("looks", [True, False])
def test_a_program_is_told_in_one_object(looks, tmp_path, monkeypatch, capsys):
    """What --json prints is documented, key by key; with --plan nothing is written."""
    differs = (Differs("oms_meta_user", (("a", ("db-1",)), ("b", ("db-2",)))),)
    made = replace(adoption.deployment([seen()], [row()], {}), differs=differs)
    monkeypatch.setattr(adopt, "look", lambda asked, nodes: made)
    file = tmp_path / "new.yaml"
    adopt.discover(ASKED, str(file), Flags(json=True, plan=looks, yes=not looks))
    told = json.loads(capsys.readouterr().out)

    assert documented("fab fleet.discover --json") == keys(told)
    assert (not looks, not looks) == (told["written"], file.exists())
    assert made.tree == told["fleet"]


def test_a_deployment_that_is_known_in_part_is_not_written(tmp_path, monkeypatch):
    """FIND-004: a region of which no node was read; no file is made."""
    js = row(location=2, region="cn-js", default=False, hosts=("10.1.0.1",))
    made = adoption.deployment([seen(), Seen("b", "10.1.0.1", error="away")], [row(), js], {})
    monkeypatch.setattr(adopt, "look", lambda asked, nodes: made)

    with pytest.raises(PreflightError, match="FIND-004"):
        adopt.discover(ASKED, str(tmp_path / "new.yaml"), Flags())

    assert [] == list(tmp_path.iterdir())


def test_what_hosts_yaml_may_not_say_is_not_written(tmp_path):
    """FIND-005: a location that OMS has not, with its key."""
    tree = adoption.deployment([seen()], [row(location=999)], {}).tree

    with pytest.raises(PreflightError) as error:
        adopt._write(tree, "test", tmp_path / "new.yaml", Flags(), force=False)

    assert ("FIND-005", True) == (error.value.id, "location" in error.value.render())
    assert [] == list(tmp_path.iterdir())


# --- a fleet from nothing -------------------------------------------------------------------------


@pytest.fixture
def answered(monkeypatch, tmp_path):
    """Return the Fleet that these answers to fleet.init make, and what was said of wrong ones."""

    def call(*answers: str):
        left = iter(answers)
        monkeypatch.setattr("builtins.input", lambda asks: next(left))
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setenv("OMS_META_PASSWORD", "x")
        adopt.init(str(tmp_path / "new.yaml"), Flags())
        return hosts_file.load(tmp_path / "new.yaml")

    return call


REST = ("10.0.0.9", "", "oms@oms_meta", "")
ANSWERS = ("", "", "", "cn-js", "10.0.0.1", "", *REST)


def test_a_few_answers_make_a_fleet(answered):
    """An empty one takes what stands in brackets; one node has its own address in cm_url."""
    fleet = answered(*ANSWERS)
    region = fleet.regions[0]

    assert ("cn-js", "http://10.0.0.1:8088", ("10.0.0.1",)) == (
        region.name,
        str(region.cm_url),
        region.ips,
    )
    assert ("oms_rm", 2881) == (fleet.metadb.rm_db, fleet.metadb.port)


def test_a_wrong_answer_is_asked_again(answered, capsys):
    """With what is wrong, in the words of hosts.yaml's own check."""
    fleet = answered(
        *ANSWERS[:4], "10.0.0.300", "10.0.0.1,10.0.0.2", "http://10.0.0.100:8088", *REST
    )

    assert ("10.0.0.1", "10.0.0.2") == fleet.regions[0].ips
    assert "  " in capsys.readouterr().out


def test_a_pipe_is_not_asked(tmp_path):
    """Without a terminal: the commented example, as a line."""
    with pytest.raises(InputError, match="INPUT-023"):
        adopt.init(str(tmp_path / "new.yaml"), Flags())


@pytest.mark.parametrize("text", ["", "root@", "root@a b", "root@h:99999", "@h"])
def test_what_is_no_node_is_told(text):
    """INPUT-034, with an example."""
    with pytest.raises(InputError, match="INPUT-034"):
        adopt.Asked(text).nodes()


def test_each_part_of_from_is_read():
    """USER@ADDRESS:PORT, each but the address optional."""
    nodes = adopt.Asked("root@10.0.0.1:2222, oms2.example").nodes()

    assert [("10.0.0.1", "root", 2222), ("oms2.example", None, None)] == [
        (one.ip, one.user, one.port) for one in nodes
    ]
