"""Packages go by the system's ssh where it gets there without a question, else as ever."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from omsfab.command import command
from omsfab.errors import StepFailed
from omsfab.ssh import openssh, transfer
from omsfab.ssh.dialer import Dialer
from omsfab.ssh.streams import Stream
from omsfab.ssh.transport import Timeouts

MIB = 1 << 20
SSH = shutil.which("ssh") or "/usr/bin/ssh"


@pytest.fixture
def package(tmp_path):
    """16 MiB of noise, and its digest."""
    path = tmp_path / "package.tar.gz"
    path.write_bytes(os.urandom(16 * MIB))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def own_ssh(tmp_path, monkeypatch):
    """Put a script before the system's ssh; ``ssh -G``, which asks for no connection, is let by."""

    def put(text: str) -> Path:
        place = tmp_path / "first"
        place.mkdir()
        called = place / "called"
        (place / "ssh").write_text(
            f'#!/bin/sh\n[ "$1" != -G ] || exec {SSH} "$@"\necho once >>{called}\n{text}\n'
        )
        (place / "ssh").chmod(0o755)
        monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
        return called

    return put


def sent(server, package, tmp_path) -> str:
    """Send it to a node, and return the digest of what is there."""
    source, digest = package
    dest = tmp_path / "dest"
    transfer.send(server.shell(), source, str(dest), 16 * MIB, digest, lambda n: None, patience=5)
    return hashlib.sha256(dest.read_bytes()).hexdigest()


def ours() -> list[str]:
    """Processes of ssh that this one has begun."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().partition(") ")
        except OSError:
            continue
        if name.endswith("(ssh") and int(rest.split()[1]) == os.getpid():
            found.append(name)
    return found


def reaches(words: list[str]) -> bool:
    out, err = Stream("m", None), Stream("m", None)
    with openssh.begun([*words, "printf 'm<'; printf 'm<' >&2"], out, err) as process:
        return process is not None


def words_to(server, **changes) -> list[str]:
    ssh = server.ssh(**changes)
    return Dialer(ssh).openssh(server.node)


def test_a_package_goes_by_the_systems_ssh(server, package, tmp_path, own_ssh):
    """Once, and it arrives."""
    called = own_ssh(f'exec {SSH} "$@"')

    assert package[1] == sent(server, package, tmp_path)
    assert "once\n" == called.read_text()
    assert [] == ours()


@pytest.mark.parametrize("says", ["exit 255", "echo 'Permission denied' >&2; exit 255", "exit 0"])
def test_where_it_does_not_get_there_the_package_goes_as_ever(
    server, package, tmp_path, own_ssh, says
):
    """It has taken nothing of the input before the command has begun."""
    called = own_ssh(says)

    assert package[1] == sent(server, package, tmp_path)
    assert called.exists()


def test_one_that_hangs_at_the_login_is_given_up(server, package, tmp_path, own_ssh, monkeypatch):
    """And nothing of it stays."""
    monkeypatch.setattr(openssh, "LOGIN", 0.5)
    own_ssh("exec sleep 600")

    assert package[1] == sent(server, package, tmp_path)
    assert [] == ours()


def test_one_that_dies_in_the_midst_is_a_lost_line(server, package, tmp_path, own_ssh):
    """What had come is kept, the rest follows."""
    own_ssh(f'[ -e {tmp_path}/cut ] && exec {SSH} "$@"; touch {tmp_path}/cut\n'
            f'head -c {4 * MIB} | {SSH} "$@"; kill -9 $$')  # fmt: skip
    source, digest = package
    dest, lost = tmp_path / "dest", []
    server.shell().send(source, str(dest), 16 * MIB, digest, lambda n: None, lost.append)

    assert digest == hashlib.sha256(dest.read_bytes()).hexdigest()
    assert ["link to oms1 lost (SSH-020); again in 1 s"] == lost


def test_a_host_key_that_is_not_known_is_refused(server, tmp_path):
    """Whatever ssh_config says, as with every other connection."""
    empty = tmp_path / "known"
    empty.touch()
    (tmp_path / "other").write_text(server.known_hosts.read_text())

    assert reaches(words_to(server))
    assert not reaches(words_to(server, known_hosts=empty))
    assert reaches(words_to(server, known_hosts=tmp_path / "other"))


def test_another_host_key_than_the_known_is_refused(server, tmp_path):
    """The key of another machine in its place."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "k"], check=True
    )
    kind, key, *_ = (tmp_path / "k.pub").read_text().split()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{server.port} {kind} {key}\n")

    assert not reaches(words_to(server, known_hosts=tmp_path / "known"))


def test_a_path_with_a_blank_and_a_percent_is_that_path(server, tmp_path):
    """ssh expands and splits what stands in an option."""
    known = tmp_path / "100 %h known"
    known.write_text(server.known_hosts.read_text())

    assert reaches(words_to(server, known_hosts=known))


def test_a_path_that_cannot_be_said_is_not_said(server, tmp_path):
    """Then it goes as ever."""
    known = tmp_path / 'a "known" one'
    known.write_text(server.known_hosts.read_text())

    assert [] == words_to(server, known_hosts=known)


def test_behind_a_gateway_it_is_not_used(server):
    """To the gateway it would go by options of its own: nobody would have said whom to trust."""
    target = Dialer(server.ssh()).target(server.node)
    behind = dataclasses.replace(target, gateway=target)
    by_command = dataclasses.replace(
        target, config=dataclasses.replace(target.config, proxy_command="nc %h %p")
    )

    assert openssh.words(target, Timeouts())
    assert [] == openssh.words(behind, Timeouts())
    assert [] == openssh.words(by_command, Timeouts())


def test_a_source_that_changes_leaves_no_process(server, package, tmp_path):
    """The error is that of the file; ssh has ended when it is told."""
    source, digest = package

    def shorten(there):
        with source.open("r+b") as file:
            file.truncate(8 * MIB)

    with pytest.raises(StepFailed) as error:
        server.shell().send(source, str(tmp_path / "dest"), 16 * MIB, digest, shorten)

    assert "XFER-001" == error.value.id
    assert [] == ours()


def test_what_talks_without_an_end_is_given_up(server):
    """As on every other connection."""
    endless = dataclasses.replace(
        command("sh", "-c", "cat >/dev/null; while sleep 0.1; do echo; done", limit=5),
        most=1,
        bulk=True,
    )
    quiet = dataclasses.replace(command("sleep", "60", limit=1), bulk=True)
    said = []
    for cmd in (endless, quiet):
        with pytest.raises(StepFailed) as error:
            server.shell().feed(cmd, [b"x" * MIB])
        said.append(error.value.what)

    assert ["oms1 did not come to an end in 1 s, though it goes on talking",
            "oms1 did not answer in 1 s"] == said  # fmt: skip
    assert [] == ours()


def test_four_at_once_are_four_processes(server, package, tmp_path):
    """Each whole."""
    source, digest = package
    threads = [
        threading.Thread(
            target=lambda n=n: server.shell().send(
                source, str(tmp_path / f"dest{n}"), 16 * MIB, digest, lambda there: None
            )
        )
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    for n in range(4):
        assert digest == hashlib.sha256((tmp_path / f"dest{n}").read_bytes()).hexdigest()
