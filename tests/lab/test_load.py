"""A package on its way to a real dockerd, which loads it while it comes."""

from __future__ import annotations

import hashlib
import time

import pytest

from omsfab.commands import docker
from omsfab.errors import StepFailed
from omsfab.fleet.model import Node, Ssh
from omsfab.ssh.shell import SshShell

DEST = "/data/package.tar.gz"


@pytest.fixture(scope="module")
def fleet(make_fleet):
    """One node with nothing on it."""
    return make_fleet("load", nodes=1, metadb="mariadb")


@pytest.fixture
def shell(fleet):
    """A way to the node, which has no image."""
    node = fleet.lab.nodes[0]
    images = fleet.docker(node.name, "images", "-q").split()
    if images:
        fleet.docker(node.name, "rmi", "-f", *images)
    fleet.lab.enter(node.name, ["sh", "-c", "rm -f /data/package*"])
    ssh = Ssh(user="root", key=fleet.lab.key, known_hosts=fleet.lab.known_hosts)
    shell = SshShell(Node(name=node.name, ip=node.ip), ssh)
    yield shell
    shell.close()


def digest(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def send(fleet, shell, sha256, told=lambda there: None):
    package = fleet.lab.package
    size = package.stat().st_size
    shell.send(package, DEST, size, sha256, told, reader=docker.LOAD)


def once(at, act):
    """A listener to progress that acts when so many bytes are there, and never again."""
    done = []

    def told(there):
        if there >= at and not done:
            done.append(there)
            act()

    return told


def unpacked(fleet) -> list[str]:
    """What the daemon has of a package that it reads."""
    look = "find /var/lib/docker/tmp -type f 2>/dev/null; true"
    return fleet.lab.enter(fleet.lab.nodes[0].name, ["sh", "-c", look]).stdout.split()


def images(fleet) -> list[str]:
    return fleet.docker(fleet.lab.nodes[0].name, "images", "-q", "--no-trunc").split()


def test_the_image_is_there_with_the_last_byte(fleet, shell):
    """The daemon unpacks while the package comes, and has the image when the send returns."""
    begun: list[str] = []

    def halfway():
        end = time.monotonic() + 30
        while not begun and time.monotonic() < end:
            begun.extend(unpacked(fleet))
            time.sleep(0.05)

    size = fleet.lab.package.stat().st_size
    send(fleet, shell, digest(fleet.lab.package), once(size // 2, halfway))

    assert [fleet.lab.image_id] == images(fleet)
    assert begun


def test_another_package_becomes_no_image(fleet, shell):
    """It is a whole package, and would load; but it is not the one that was planned."""
    with pytest.raises(StepFailed) as error:
        send(fleet, shell, "0" * 64)

    assert ("XFER-001", []) == (error.value.id, images(fleet))
    assert not unpacked(fleet)


@pytest.mark.parametrize("at", [10, 50, 99])
def test_a_line_that_drops_in_it_costs_no_image(fleet, shell, at):
    """The load begins anew with what is on the disk."""
    size = fleet.lab.package.stat().st_size
    send(fleet, shell, digest(fleet.lab.package), once(size * at // 100, shell.close))
    done = shell.run(docker.load(DEST, fleet.lab.image_id))

    assert (0, [fleet.lab.image_id]) == (done.status, images(fleet))


def test_a_daemon_that_dies_in_it_loads_the_file(fleet, shell):
    """The package arrives; it is loaded from the disk when the daemon is back."""
    node = fleet.lab.nodes[0].name
    size = fleet.lab.package.stat().st_size

    def dies():
        fleet.lab.enter(node, ["lab-service", "dockerd", "kill"])

    send(fleet, shell, digest(fleet.lab.package), once(size // 2, dies))
    none = fleet.lab.enter(node, ["docker", "image", "inspect", fleet.lab.image_id]).returncode
    fleet.lab.enter(node, ["lab-service", "dockerd", "start"])
    done = shell.run(docker.load(DEST, fleet.lab.image_id))

    assert (1, 0) == (none, done.status), done.err
    assert [fleet.lab.image_id] == images(fleet)
