"""An image is known by its id, a container by the name the guide gives to its version."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from omsfab.commands import node_checks
from omsfab.errors import PreflightError
from omsfab.fleet import hosts_file, values
from omsfab.fleet.model import Ports
from omsfab.plan.observed import NodeFacts, Observed
from omsfab.plan.procedures import caveats, scale_out
from omsfab.run import observe
from omsfab.secret import Secret
from omsfab.ssh.protocol import Result

ID = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32


@pytest.mark.parametrize(
    ("image", "version", "container"),
    [
        ("reg.docker.alibaba-inc.com/oceanbase/oms:feature_4.2.7_ce", (4, 2, 7), "oms_427"),
        ("work.oceanbase-dev.com/obartifact-store/oms:feature_4.2.2-ce", (4, 2, 2), "oms_422"),
        ("reg.docker.alibaba-inc.com/oceanbase/oms-ce:feature_4.2.11_ce", (4, 2, 11), "oms_4211"),
        ("oms:feature_4.0.0-ce_bp1", (4, 0, 0), "oms_400"),
        ("oms:feature_4.0-ce", (4, 0), "oms_40"),
        ("oms:feature_3.1.0", (3, 1, 0), "oms_310"),
        ("registry.example:5000/oms-4.1.0/oms:latest", (), None),
        ("10.0.0.7:5000/oms:feature_4.2.7_ce", (4, 2, 7), "oms_427"),
        (ID, (), None),
    ],
)
def test_the_container_is_named_after_the_version_in_the_tag(image, version, container):
    """Guide, CONTAINER_NAME: oms_xxx, OMS V3.1.0 is oms_310.  A registry's port is no version."""
    assert version == values.version_of(image)
    assert container == values.container_of(image)


def test_hosts_yaml_may_leave_the_container_out(tmp_path, monkeypatch):
    """It is proposed from the tag then."""
    monkeypatch.setenv("OMS_META_PASSWORD", "x")
    example = Path(__file__).parents[2] / "hosts.yaml"
    path = tmp_path / "hosts.yaml"
    path.write_text(example.read_text().replace("  container: oms_427\n", ""))

    assert "oms_427" == hosts_file.load(path).install.container


def test_a_node_that_runs_another_image_stops_the_plan(fleet, package, present):
    """All nodes run the same version; the id decides, since a tag may be loaded twice."""
    now = present(package)
    other = replace(now.nodes["oms1"], image=OTHER)

    with pytest.raises(PreflightError, match="IMG-007") as caught:
        scale_out.scale_out(fleet, replace(now, nodes={"oms1": other}))

    assert f"oms1: {OTHER}" in caught.value.evidence


@pytest.mark.parametrize(("sent", "id"), [(True, "HOST-006"), (False, "HOST-001")])
def test_only_with_a_package_docker_must_know_its_id(fleet, package, sent, id):
    """The containerd store gives other ids; here docker refuses both questions."""

    class Shell:
        def run(self, cmd):
            return Result(
                node_checks.UNFIT if cmd == node_checks.docker_fits(package=True) else 1, "", ""
            )

    shells = dict.fromkeys((node.name for node in fleet.nodes), Shell())

    with pytest.raises(PreflightError, match=id):
        observe.at_nodes(fleet, fleet.nodes, shells, package if sent else None)


def test_every_node_has_the_image_id_in_the_end(fleet, package, present):
    """The final verification asks each container for its image."""
    plan = scale_out.scale_out(fleet, present(package))

    assert ["oms1", "oms2", "oms3"] == [s.node for s in plan.steps if s.name == "image-id"]


@pytest.mark.parametrize(
    ("nodes", "image"),
    [
        ({"a": NodeFacts(container="running", image=ID), "b": NodeFacts(loaded=OTHER)}, ID),
        ({"a": NodeFacts(loaded=ID), "b": NodeFacts(loaded=ID), "c": NodeFacts()}, ID),
        ({"a": NodeFacts(loaded=ID), "b": NodeFacts(loaded=OTHER)}, None),
    ],
)
def test_without_a_package_the_nodes_say_what_the_tag_means(fleet, nodes, image):
    """What runs counts first, then what is loaded under that name, if it is the same everywhere."""
    assert (image or fleet.install.image) == observe.wanted_image(fleet, nodes, None)


@pytest.mark.parametrize(
    ("kind", "version", "image", "user", "port", "says"),
    [
        ("mysql", "5.7.44", "oms:feature_4.2.7_ce", "oms", 3306, "wants MySQL 8 or OceanBase"),
        ("mysql", "8.0.36", "oms:feature_3.3.0-ce", "oms", 3306, "caching_sha2_password"),
        ("mysql", "9.7.4-2", "oms:feature_4.2.7_ce", "oms", 3306, "know MySQL 5.7 and 8"),
        ("mariadb", "10.11", "oms:feature_4.2.7_ce", "oms", 3306, "MySQL and OceanBase only"),
        ("oceanbase", "4.2", "oms:feature_4.2.7_ce", "oms@m", 2883, "user@tenant#cluster"),
        ("oceanbase", "4.2", "oms:feature_4.2.7_ce", "oms@m#c", 2881, "whose user form is user@"),
        ("oceanbase", "4.2", "oms:feature_4.2.7_ce", "oms", 2881, "names no tenant"),
        ("mysql", "8.0.36", "oms:feature_4.2.7_ce", "oms", 3306, None),
        ("mysql", "5.7.44", "oms:feature_3.3.0-ce", "oms", 3306, None),
        ("oceanbase", "4.2", "oms:feature_4.2.7_ce", "oms@m#c", 2883, None),
        ("oceanbase", "4.2", "oms:feature_4.2.7_ce", "oms@m", 2881, None),
    ],
)
def test_caveats_of_versions_are_said(fleet, kind, version, image, user, port, says):
    """OMS docs and FAQ: which kinds of MetaDB go with which OMS, and the two user forms."""
    metadb = fleet.metadb.model_copy(update={"user": user, "port": port, "password": Secret("x")})
    install = fleet.install.model_copy(update={"image": image})
    this = fleet.model_copy(update={"metadb": metadb, "install": install})

    notes = list(caveats.of_metadb(this, kind, version))

    assert (1 if says else 0) == len(notes)
    assert (says or "") in "".join(notes)


EDITION = "reg.docker.alibaba-inc.com/oboms/oms-all-in-one:feature_4.2.7"


@pytest.mark.parametrize(
    ("install", "says"),
    [
        ({"image": "oms:feature_4.2.7_ce"}, None),
        (
            {"container": "oms_422"},
            "oms_422 from an image of 4.2.7: the guide would call it oms_427",
        ),
        ({"container": "my-oms-ce-123456"}, None),
        ({"image": ID, "container": "oms_422"}, None),
        ({"image": ID, "ports": Ports(cm=18088)}, "before 4.2.2 do not know the keys of oms.ports"),
        ({"image": "oms:latest", "ports": Ports(cm=18088)}, "does not tell its version"),
        ({"ports": Ports(cm=18088)}, None),
        ({"image": EDITION}, "Enterprise Edition"),
    ],
)
def test_what_the_name_of_the_image_tells_stands_in_the_plan(
    fleet, package, present, install, says
):
    """Of a scale-out and of a first deployment: ports, the container's name, the edition."""
    this = fleet.model_copy(update={"install": fleet.install.model_copy(update=install)})
    plans = (
        scale_out.scale_out(this, present(package)),
        scale_out.deploy(this, Observed(package=package, image=package.image)),
    )
    told = list(caveats.of_image(this))

    assert (1 if says else 0) == len(told)
    assert all((says or "") in text for text in told)
    assert all({*told} <= {*plan.reasons} for plan in plans)


def test_caveats_stand_in_the_plan(fleet, package, present):
    """The operator reads them before saying yes."""
    plan = scale_out.scale_out(fleet, replace(present(package), notes=("MetaDB is old",)))

    assert "MetaDB is old" in plan.reasons
