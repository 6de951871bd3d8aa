"""A fleet of three nodes behind a VIP, and what is so before the scale-out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from omsfab.commands import docker
from omsfab.fleet.image_package import Package
from omsfab.fleet.model import Fleet, Install, MetaDb, Node, Region
from omsfab.fleet.values import CmUrl
from omsfab.plan.observed import NodeFacts, Observed
from omsfab.secret import Secret
from tests.pasting import every_error_can_be_pasted  # noqa: F401  # a fixture of all tests

MARKER = "CANARY-7f3 it's $HOME `id` #é"
IMAGE = "sha256:" + "ab" * 32
INSTALL = Install(
    image="reg.docker.alibaba-inc.com/oceanbase/oms:feature_4.2.7_ce", container="oms_427"
)


@pytest.fixture
def fleet() -> Fleet:
    nodes = tuple(Node(name=f"oms{n}", ip=f"10.0.0.{n}") for n in (1, 2, 3))
    region = Region(
        name="cn-hangzhou",
        location=1,
        label="",  # as the recorded runs of tests/unit/runs have it
        cm_url="http://10.0.0.100:8088",
        heartbeat_db="oms_cm_heartbeat_1",
        nodes=nodes,
    )
    metadb = MetaDb(
        host="10.0.0.9",
        port=2881,
        user="oms@oms_meta",
        password=Secret(MARKER),
        rm_db="oms_rm",
        cm_db="oms_cm",
    )
    return Fleet(install=INSTALL, metadb=metadb, regions=(region,))


@pytest.fixture
def package() -> Package:
    return Package("packages/oms_4.2.7-ce.tar.gz", 2_000_000_000, "cd" * 32, IMAGE)


@pytest.fixture
def present() -> Callable[..., Observed]:
    """Return a maker: one node deployed at ``url``, unless said otherwise."""

    def make(
        package: Package | None = None, *, url: str = "http://10.0.0.1:8088", **nodes: NodeFacts
    ) -> Observed:
        first = NodeFacts(
            container="running",
            has_image=True,
            image=IMAGE,
            host_ip="10.0.0.1",
            binds=tuple(":".join(pair) for pair in docker.mounts(INSTALL)),
            cm_nodes=("10.0.0.1",),
        )
        return Observed(
            clusters={1: CmUrl.read(url)},
            hosts={"10.0.0.1": "ONLINE"},
            nodes={"oms1": first, **nodes},
            package=package,
            image=IMAGE,
        )

    return make
