"""OpenSSH's configuration means here what it means to `ssh`, which is asked for it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from omsfab.errors import InputError
from omsfab.fleet.model import Node, Ssh
from omsfab.ssh.config import SshConfig
from omsfab.ssh.dialer import Dialer
from omsfab.ssh.target import Target

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(openssh_of_home):
    """Write files below ~/.ssh of a home of its own."""

    def write(text: str | bytes, name: str = "config") -> None:
        path = openssh_of_home / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    return write


@pytest.fixture
def no_openssh(monkeypatch, tmp_path):
    """A machine without the program."""
    (tmp_path / "nothing").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))


def target(name: str = "oms1", **ssh: object) -> Target:
    return Dialer(Ssh(**ssh)).target(Node(name=name, ip="10.0.0.1", address=name))


def way(name: str = "oms1") -> str:
    """How the machine is reached, e.g. ``-J li@bastion:22 -p 22 li@oms1``."""
    line = Dialer(Ssh()).ssh_line(Node(name=name, ip="10.0.0.1", address=name), "true")
    words = shlex.split(line.line)
    return " ".join(words[words.index("-J" if "-J" in words else "-p") : -1])


def refused(text: str | bytes, config) -> InputError:
    config(text)
    with pytest.raises(InputError) as error:
        way()
    return error.value


def test_what_openssh_understands_holds(config, openssh_of_home):
    """Include, a block in an included file, Match final, a comment in Latin-1."""
    config(
        f"# caf\xe9\nInclude {openssh_of_home}/conf.d/*.conf\n"
        "Match final host oms1\n  Port 2222\nHost *\n  User li\n".encode("latin-1")
    )
    config("Host oms2\n  User wang\n", "conf.d/a.conf")
    config("Host *\n  User root\n", "conf.d/b.off")

    assert ["-p 2222 li@oms1", "-p 22 wang@oms2"] == [way("oms1"), way("oms2")]


def test_what_hosts_yaml_says_wins(config):
    """User and port; and `Match user` sees that user."""
    config("Match user zhang\n  IdentityFile /z\nHost *\n  User li\n  Port 2222\n")
    node = Node(name="oms1", ip="10.0.0.1", user="zhang", port=23)
    found = Dialer(Ssh(user="wang", port=24)).target(node).config

    assert ("zhang", 23, ("/z",)) == (found.user, found.port, found.identity_files)


@pytest.mark.parametrize(
    "text",
    [
        "Host bastion\n  ProxyJump none\nHost *\n  User li\n  ProxyJump bastion\n",
        "Host *\n  User li\n  ProxyJump bastion\n",
        "Host bastion\n  HostName 10.9.9.9\nHost *\n  User li\n  ProxyJump bastion\n",
        "Host oms1\n  User li\n  ProxyJump ssh://li@bastion\nHost *\n  User li\n",
    ],
)
def test_a_gateway_for_all_machines_needs_none_itself(config, text):
    """Whether `ProxyJump none` says so or not, and whatever its address."""
    config(text)

    assert "-J li@bastion:22 -p 22 li@oms1" == way()


@pytest.mark.parametrize("word", ["none", "None"])
def test_proxyjump_none_is_no_machine(config, word):
    """A node that is reached without the gateway of all others."""
    config(f"Host oms1\n  ProxyJump {word}\nHost *\n  User li\n  ProxyJump bastion\n")

    assert "-p 22 li@oms1" == way()


def test_hops_are_visited_in_their_order(config):
    """ssh_config(5): "visited sequentially"; the last one stands beside the node."""
    config("Host oms1\n  ProxyJump a,b:2222,c\nHost *\n  User li\n")

    assert "-J li@a:22,li@b:2222,li@c:22 -p 22 li@oms1" == way()


def test_a_gateway_of_hosts_yaml_wins(config):
    """As `ssh -J` does; what the gateway itself is reached through still counts."""
    config("Host oms1\n  ProxyJump a\nHost bastion\n  ProxyJump outer\n")
    hops = [hop.label for hop in target(gateway="li@bastion:2222").hops]

    assert ["oms1", "gateway bastion", "gateway outer"] == hops


def test_gateways_that_lead_in_a_circle_are_refused(config):
    """SSH-014, exit 2; no endless recursion."""
    error = refused("Host a\n  ProxyJump b\nHost *\n  ProxyJump a\n", config)

    assert ("SSH-014", "ProxyJump leads in a circle") == (error.id, error.evidence)


def test_tokens_and_paths_are_those_of_the_machine(config, openssh_of_home, monkeypatch):
    """%h, %p, %r, %n and %% in a command; ~ and ${NAME} in a path."""
    monkeypatch.setenv("WHO", "li")
    config(
        "Host oms1\n  HostName 10.9.9.9\n  User wang\n  ProxyCommand nc %h %p %r %n %%\n"
        "  IdentityFile ~/.ssh/${WHO}_%h\n"
    )
    found = target().config

    assert "nc 10.9.9.9 22 wang oms1 %" == found.proxy_command
    assert (f"{openssh_of_home}/li_10.9.9.9",) == found.identity_files


@pytest.mark.parametrize(
    "text",
    ["ProxyCommand x %C\n", "ProxyCommand x\nProxyUseFdpass yes\n"],
)
def test_what_is_not_supported_is_refused(config, text):
    """Rather than connected to in another way."""
    error = refused(text, config)

    assert ("SSH-014", True) == (error.id, "is not supported" in error.evidence)


@pytest.mark.parametrize(
    ("said", "socket"),
    [("", "/env"), ("IdentityAgent none\n", ""), ("IdentityAgent $MINE\n", "/mine"),
     ("IdentityAgent /a/%r\n", "/a/li"), ("IdentityAgent SSH_AUTH_SOCK\n", "/env")],
)  # fmt: skip
def test_the_agent_is_the_one_that_is_named(config, monkeypatch, said, socket):
    """IdentityAgent goes before SSH_AUTH_SOCK."""
    monkeypatch.setenv("SSH_AUTH_SOCK", "/env")
    monkeypatch.setenv("MINE", "/mine")
    config(f"User li\n{said}")

    assert socket == target().config.agent


def test_a_host_key_has_the_name_of_its_alias(config):
    """HostKeyAlias: without a port, as OpenSSH looks it up."""
    config("Port 2222\nHost oms1\n  HostKeyAlias node-1\n")

    assert ("node-1", "[oms2]:2222") == (target().known_as, target("oms2").known_as)


def test_files_of_known_hosts_are_those_of_the_machine(config, tmp_path):
    """UserKnownHostsFile of one host; hosts.yaml wins."""
    config("Host oms1\n  UserKnownHostsFile /a/one /a/two\n")

    assert [Path("/a/one"), Path("/a/two")] == [*target().known_hosts]
    assert [tmp_path / "k"] == [*target(known_hosts=tmp_path / "k").known_hosts]


@pytest.mark.parametrize("file", ["/dev/null", "none"])
def test_no_setting_of_openssh_switches_the_check_off(config, openssh_of_home, file):
    """Keys are then looked for where they always are, the system's file included."""
    config(f"StrictHostKeyChecking no\nUserKnownHostsFile {file}\nGlobalKnownHostsFile /dev/null\n")
    files = target().all_known_hosts

    assert (openssh_of_home / "known_hosts", Path("/etc/ssh/ssh_known_hosts")) == files


@pytest.mark.parametrize("line", ['Host "oms1', 'Match exec "a', "Match user", "nonsense"])
def test_a_line_that_cannot_be_read_is_named(config, openssh_of_home, line):
    """SSH-014: the file, included or not, and the line."""
    config(f"Host *\n{line}\n", "other")
    error = refused(f"Include {openssh_of_home}/other\n", config)

    assert ("SSH-014", f"{openssh_of_home}/other, line 2") == (error.id, error.where)


def test_what_openssh_says_without_a_line_is_quoted(config, openssh_of_home):
    """A file that includes itself."""
    error = refused(f"Include {openssh_of_home}/config\n", config)

    assert ("SSH-014", "Too many recursive configuration includes") == (error.id, error.evidence)


def test_each_machine_is_asked_about_once(config, openssh_of_home, tmp_path):
    """Ten threads, two machines: two questions."""
    config(f"Match exec \"echo %n >>'{tmp_path}/asked'\"\n  User li\n")
    ssh = SshConfig()
    names = [f"oms{n % 2}" for n in range(10)]
    threads = [threading.Thread(target=ssh.of, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert ["oms0", "oms1"] == sorted((tmp_path / "asked").read_text().split())


def test_nobody_is_asked_about_machines_that_are_not_contacted(config, tmp_path):
    """A dialer for the whole fleet costs nothing by itself."""
    config(f"Match exec \"touch '{tmp_path}/asked'\"\n  User li\n")
    Dialer(Ssh())

    assert not (tmp_path / "asked").exists()


def test_without_openssh_paramiko_reads_the_file(config, no_openssh):
    """Aliases, users, ports, hops and tokens; the defaults of OpenSSH where nothing is said."""
    config(
        "Host oms1\n  HostName 10.9.9.9\n  Port 2222\n  User li\n  ProxyJump b\n"
        "Host oms2\n  ProxyCommand nc %h 50%%\nHost *\n  User wang\n"
    )
    found = target("oms2").config

    assert "-J wang@b:22 -p 2222 li@oms1" == way()
    assert "nc oms2 50%" == found.proxy_command
    assert [".ssh/id_ed25519", ".ssh/known_hosts"] == [
        os.path.relpath(path, os.environ["HOME"])
        for path in (found.identity_files[0], found.known_hosts[0])
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Port ssh\n", "invalid literal for int() with base 10: 'ssh'"),
        ("CanonicalizeHostname yes\n", "'canonicaldomains'"),
        ("nonsense\n", "Unparsable line nonsense"),
    ],
)
def test_what_paramiko_cannot_use_is_an_error_of_the_file(config, no_openssh, text, why):
    """SSH-014, exit 2; not a defect of omsfab."""
    error = refused(text, config)

    assert ("SSH-014", True) == (error.id, error.evidence.endswith(why))


@pytest.mark.parametrize("text", [b"# caf\xe9\n", b"Match final all\n", b"nonsense\n"])
def test_fab_itself_does_not_read_it(config, text):
    """Fabric would, before any task, and end with a traceback."""
    config(text)
    fab = [str(Path(sys.executable).with_name("fab")), "fleet.schema"]

    assert 0 == subprocess.run(fab, cwd=ROOT, env=os.environ, capture_output=True).returncode
