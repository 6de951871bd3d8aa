"""A package of which a node has a part, to a real dockerd: what it lacks is sent."""

from __future__ import annotations

import pytest

from omsfab.commands import docker
from omsfab.errors import StepFailed
from omsfab.fleet.image_package import examine
from omsfab.fleet.model import Node, Ssh
from omsfab.lab import package as packages
from omsfab.plan.records import Send
from omsfab.run.engine.packages import Packages
from omsfab.ssh.shell import SshShell

OTHER = "reg.docker.alibaba-inc.com/oceanbase/oms:feature_4.2.6_ce"
DEST = "/data/package.tar.gz"


@pytest.fixture(scope="module")
def fleet(make_fleet):
    """One node with nothing on it."""
    return make_fleet("layers", nodes=1, metadb="mariadb")


@pytest.fixture(scope="module")
def other():
    """The package of another version: the same base, other programs."""
    return packages.build(lambda _: None, OTHER)


class Counting(SshShell):
    """Counts what goes to the node."""

    bytes = 0

    def feed(self, cmd, chunks, on_line=None):
        return super().feed(cmd, self._counted(chunks), on_line)

    def _counted(self, chunks):
        for chunk in chunks:
            self.bytes += len(chunk)
            yield chunk


@pytest.fixture
def shell(fleet):
    """A way to the node, which has the image of the lab and no other."""
    node = fleet.lab.nodes[0]
    if images := fleet.docker(node.name, "images", "-q").split():
        fleet.docker(node.name, "rmi", "-f", *images)
    fleet.lab.enter(node.name, ["sh", "-c", "rm -f /data/package*"])
    fleet.lab.path(node.name, "/data/own.tar.gz").write_bytes(fleet.lab.package.read_bytes())
    fleet.docker(node.name, "load", "-i", "/data/own.tar.gz")
    ssh = Ssh(user="root", key=fleet.lab.key, known_hosts=fleet.lab.known_hosts)
    shell = Counting(Node(name=node.name, ip=node.ip), ssh)
    yield shell
    shell.close()


def send(shell, other, directory):
    """What a run does; what it told."""
    one = examine(other.path, other.tag)
    said = []
    effect = Send(
        other.path, DEST, one.size, one.sha256, docker.LOAD, image=one.image, layers=one.layers
    )
    Packages(directory).send(shell, effect, lambda kind, text, *_: said.append(text))
    return said


def differing(fleet, other) -> int:
    """Bytes of the layers that the lab's image has not."""
    mine = {layer.diff_id for layer in examine(fleet.lab.package, fleet.lab.image).layers}
    layers = examine(other.path, other.tag).layers
    assert 2 == len(layers)
    return sum(layer.size for layer in layers if layer.diff_id not in mine)


def images(fleet) -> set[str]:
    return set(fleet.docker(fleet.lab.nodes[0].name, "images", "-q", "--no-trunc").split())


def test_only_what_differs_is_sent_and_the_image_is_the_same(fleet, shell, other, tmp_path):
    """At most 1.1 times the layers that the node lacks; the id of the package; nothing is left."""
    said = send(shell, other, tmp_path)

    assert {fleet.lab.image_id, other.id} == images(fleet)
    assert 0 < shell.bytes <= 1.1 * differing(fleet, other)
    assert "oms1 has 1 of 2 layers already" in said
    runs = fleet.docker(
        fleet.lab.nodes[0].name, "run", "--rm", other.id, "cat", "/home/admin/version"
    )
    assert "4.2.6" in runs


def test_an_engine_that_has_lost_the_layer_gets_the_whole(fleet, shell, other, tmp_path):
    """The image goes between the question and the load; the run goes on."""
    node = fleet.lab.nodes[0].name
    ask = shell.run

    def and_remove(cmd, on_line=None):
        done = ask(cmd, on_line)
        if cmd.argv[2:3] == docker.layers("").argv[2:3]:
            fleet.docker(node, "rmi", "-f", fleet.lab.image_id)
        return done

    shell.run = and_remove
    said = send(shell, other, tmp_path)
    done = ask(docker.load(DEST, other.id))

    assert "docker does not take it without them; the whole package follows" in said
    assert (0, {other.id}) == (done.status, images(fleet))


def test_a_copy_that_is_there_already_is_used(fleet, shell, other, tmp_path):
    """Brought by hand, it is whole: nothing is made and nothing is sent."""
    node = fleet.lab.nodes[0].name
    fleet.lab.path(node, DEST).write_bytes(other.path.read_bytes())
    send(shell, other, tmp_path)
    done = shell.run(docker.load(DEST, other.id))

    assert (0, 0) == (done.status, shell.bytes)
    assert {fleet.lab.image_id, other.id} == images(fleet)
    assert not list(tmp_path.iterdir())


def test_without_room_here_the_whole_is_sent(fleet, shell, other, tmp_path, monkeypatch):
    """The disk of the jump host has the journal on it."""
    monkeypatch.setattr("omsfab.fleet.layers.SPARE", 1 << 60)
    send(shell, other, tmp_path)

    assert shell.bytes >= other.path.stat().st_size
    assert 0 == shell.run(docker.load(DEST, other.id)).status
    assert {fleet.lab.image_id, other.id} == images(fleet)


def test_another_package_than_the_planned_becomes_no_image(fleet, shell, other, tmp_path):
    """It was replaced since: refused as the whole one is, and nothing of it is loaded."""
    replaced = tmp_path / "oms.tar.gz"
    replaced.write_bytes(fleet.lab.package.read_bytes())
    one = examine(other.path, other.tag)
    effect = Send(
        replaced, DEST, one.size, one.sha256, docker.LOAD, image=one.image, layers=one.layers
    )
    with pytest.raises(StepFailed, match="XFER-001"):
        Packages(tmp_path).send(shell, effect, lambda *_: None)

    assert {fleet.lab.image_id} == images(fleet)
