"""~/.ssh/config means what it means to OpenSSH; told by the line an error offers for pasting."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from omsfab.errors import InputError
from omsfab.fleet.model import Node, Ssh
from omsfab.ssh.dialer import Dialer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Write files below ~/.ssh of a home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()

    def write(text: str | bytes, name: str = "config") -> None:
        path = tmp_path / ".ssh" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    return write


def way(name: str = "oms1") -> str:
    """How the machine is reached, e.g. ``-J li@bastion:22 -p 22 li@oms1``."""
    line = Dialer(Ssh()).by_hand(Node(name=name, ip="10.0.0.1", address=name), "true")
    words = shlex.split(line.line)
    return " ".join(words[words.index("-J" if "-J" in words else "-p") : -1])


def test_an_included_file_counts(config):
    """Relative to ~/.ssh, by pattern, quoted or not; what is not there is passed over."""
    config('Include conf.d/*.conf "missing file"\nHost *\n  User li\n')
    config("Host oms1\n  Port 2222\n", "conf.d/a.conf")
    config("Host oms1\n  Port 3333\n", "conf.d/b.conf")
    config("Host oms1\n  Port 4444\n", "conf.d/a.off")

    assert "-p 2222 li@oms1" == way()


def test_an_include_ends_no_block(config):
    """What follows it, a second file too, belongs to the block it stands in, not to the file's."""
    config("Host oms1\n  Include other more\n  Port 2222\nHost *\n  User li\n")
    config("Host oms9\n  User root\n", "other")
    config("User wang\n", "more")

    assert "-p 2222 wang@oms1" == way()


def test_a_file_included_in_a_block_holds_for_that_block(config):
    """Its blocks are for machines that both name; what stands before them, too."""
    config("Host oms1 !oms3\n  Include other\nHost *\n  User li\n")
    config("Port 2222\nHost *\n  User zhang\nMatch all\n  User wang\n", "other")

    assert ["-p 2222 zhang@oms1", "-p 22 li@oms2"] == [way("oms1"), way("oms2")]


def test_a_file_that_includes_itself_is_named(config, tmp_path):
    """SSH-014, exit 2; no endless reading."""
    config("Include config\n")

    with pytest.raises(InputError) as error:
        way()

    assert ("SSH-014", f"{tmp_path}/.ssh/config, line 1") == (error.value.id, error.value.where)


def test_a_comment_may_be_in_any_encoding(config):
    """One byte of Latin-1."""
    config(b"# caf\xe9\nHost oms1\n  User li\n")

    assert "-p 22 li@oms1" == way()


def test_match_final_all_is_understood(config):
    """Fedora and RHEL have it in /etc/ssh/ssh_config.d; it comes last."""
    config("Match final all\n  User last\n  Port 2222\nHost oms1\n  User li\n")

    assert "-p 2222 li@oms1" == way()


@pytest.mark.parametrize(
    "text",
    [
        "Host bastion\n  ProxyJump none\nHost *\n  User li\n  ProxyJump bastion\n",
        "Host *\n  User li\n  ProxyJump bastion\n",
        "Host bastion\n  HostName 10.9.9.9\nHost *\n  User li\n  ProxyJump bastion\n",
        "Host oms1\n  User li\n  ProxyJump ssh://li@bastion\n",
    ],
)
def test_a_gateway_for_all_machines_needs_none_itself(config, text):
    """Whether `ProxyJump none` says so or not, and whatever its address."""
    config(text)

    assert "-J li@bastion:22 -p 22 li@oms1" == way().replace("10.9.9.9", "bastion")


@pytest.mark.parametrize("word", ["none", "None"])
def test_proxyjump_none_is_no_machine(config, word):
    """A node that is reached without the gateway of all others."""
    config(f"Host oms1\n  ProxyJump {word}\nHost *\n  User li\n  ProxyJump bastion\n")

    assert "-p 22 li@oms1" == way()


def test_hops_are_visited_in_their_order(config):
    """ssh_config(5): "visited sequentially"; the last one stands beside the node."""
    config("Host oms1\n  ProxyJump a,b:2222, c\nHost *\n  User li\n")

    assert "-J li@a:22,li@b:2222,li@c:22 -p 22 li@oms1" == way()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Host a\n  ProxyJump b\nHost *\n  ProxyJump a\n", "ProxyJump leads in a circle"),
        ("Port ssh\n", "invalid literal for int() with base 10: 'ssh'"),
        ("CanonicalizeHostname yes\n", "'canonicaldomains'"),
    ],
)
def test_what_cannot_be_used_is_an_error_of_the_file(config, text, why):
    """SSH-014, exit 2; not a defect of omsfab."""
    config(text)

    with pytest.raises(InputError) as error:
        way()

    assert ("SSH-014", why) == (error.value.id, error.value.evidence)


@pytest.mark.parametrize("line", ['Host "oms1', 'Match exec "a', "Match user", "nonsense"])
def test_a_line_that_cannot_be_read_is_named(config, tmp_path, line):
    """SSH-014: the file, included or not, and the line."""
    config("Include other\n")
    config(f"Host *\n{line}\n", "other")

    with pytest.raises(InputError) as error:
        way()

    assert ("SSH-014", f"{tmp_path}/.ssh/other, line 2") == (error.value.id, error.value.where)


@pytest.mark.parametrize("text", [b"# caf\xe9\n", b"Match final all\n", b"nonsense\n"])
def test_fab_itself_does_not_read_it(config, text):
    """Fabric would, before any task, and end with a traceback."""
    config(text)
    fab = [str(Path(sys.executable).with_name("fab")), "fleet.schema"]

    assert 0 == subprocess.run(fab, cwd=ROOT, env=os.environ, capture_output=True).returncode
