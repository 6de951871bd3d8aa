"""A real sshd on loopback: host keys, commands, output, and lines that drop."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import getpass
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest
from paramiko.common import cMSG_CHANNEL_EOF

from omsfab.command import command, question, script
from omsfab.commands import files
from omsfab.errors import (
    InputError,
    LockLost,
    LostSession,
    PreflightError,
    SecurityRefusal,
    StepFailed,
    Unreachable,
)
from omsfab.fleet.model import Node
from omsfab.secret import Secret
from omsfab.ssh import host_keys
from omsfab.ssh.dialer import Dialer
from omsfab.ssh.shell import SshShell, connect, scan
from omsfab.ssh.transport import Timeouts

PARENT = script("cat /proc/$PPID/stat | cut -d ' ' -f 4")
"""Prints the pid of the sshd process that serves this session: the parent of the login shell."""


# --- host keys -------------------------------------------------------------------------------


def test_an_unknown_host_key_is_refused(sshd):
    """Nobody is trusted at first sight; the line to paste names the node."""
    sshd.known_hosts.unlink()

    with pytest.raises(SecurityRefusal) as refusal:
        sshd.shell().run(command("true"))

    assert ("SSH-009", 10) == (refusal.value.id, refusal.value.exit_code)
    assert "fab node.trust --node=oms1" == refusal.value.next[0].line


def test_a_changed_host_key_is_refused_with_both_fingerprints(sshd):
    """I20: `SSH-010 host key of oms2 changed (SHA256:old -> SHA256:new)`."""
    old = scan(sshd.node, sshd.ssh()).fingerprint
    sshd.stop()
    sshd.new_host_key()
    sshd.start()
    new = scan(sshd.node, sshd.ssh()).fingerprint

    with pytest.raises(SecurityRefusal) as refusal:
        sshd.shell().run(command("true"))

    assert f"SSH-010 host key of oms1 changed ({old} -> {new})" == str(refusal.value)


def test_a_scanned_and_recorded_key_is_trusted(sshd):
    """What `fab node.trust` does: scan asks no trust, record writes 0600 and once."""
    sshd.known_hosts.unlink()
    key = scan(sshd.node, sshd.ssh())

    assert (True, False) == tuple(host_keys.record(sshd.known_hosts, key) for _ in range(2))
    assert "0o600" == oct(stat.S_IMODE(sshd.known_hosts.stat().st_mode))
    assert 0 == sshd.shell().run(command("true")).status


def test_a_replaced_key_leaves_other_machines_alone(sshd):
    """Plain, shared and hashed entries of this machine go; others and comments stay."""
    sshd.stop()
    sshd.new_host_key()
    sshd.start()
    key = scan(sshd.node, sshd.ssh())
    old = sshd.known_hosts.read_text().split(" ", 1)[1].strip()
    hashed = host_keys.HostKeys.hash_host(key.name)
    other = host_keys.HostKeys.hash_host("other")
    sshd.known_hosts.write_text(
        f"# ours\n{key.name} {old}\nother,{key.name} {old}\n{hashed} {old}\n{other} {old}\n"
    )
    host_keys.replace(sshd.known_hosts, key)

    assert ["# ours", f"other {old}", f"{other} {old}", key.line] == (
        sshd.known_hosts.read_text().splitlines()
    )
    assert 0 == sshd.shell().run(command("true")).status


def test_a_hashed_known_host_is_known(sshd):
    """`HashKnownHosts yes` is the default of Debian."""
    name, rest = sshd.known_hosts.read_text().split(" ", 1)
    sshd.known_hosts.write_text(f"{host_keys.HostKeys.hash_host(name)} {rest}")

    assert 0 == sshd.shell().run(command("true")).status


def other_key(directory):
    """A public key that nobody shows, as type and base64."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / "other")], check=True
    )
    return " ".join((directory / "other.pub").read_text().split()[:2])


def test_a_certificate_authority_in_known_hosts_is_no_key(sshd):
    """Its line stands for certificates; the lines beside it count as before."""
    line = sshd.known_hosts.read_text()
    sshd.known_hosts.write_text(f"@cert-authority *.example.com {other_key(sshd.home)}\n{line}")

    assert 0 == sshd.shell().run(command("true")).status


def test_a_certificate_authority_vouches_for_no_machine(sshd):
    """Not even with the machine's own key: without a line of its own it is unknown."""
    line = sshd.known_hosts.read_text()
    sshd.known_hosts.write_text(f"@cert-authority {line}")

    with pytest.raises(SecurityRefusal, match="SSH-009"):
        sshd.shell().run(command("true"))


def test_a_revoked_host_key_is_refused(sshd):
    """SSH-017, although another line trusts it."""
    line = sshd.known_hosts.read_text()
    sshd.known_hosts.write_text(f"{line}@revoked {line}")

    with pytest.raises(SecurityRefusal) as refusal:
        sshd.shell().run(command("true"))

    assert ("SSH-017", 10) == (refusal.value.id, refusal.value.exit_code)


def test_each_key_of_a_name_counts(sshd):
    """Two machines behind one name, or a key that is being replaced: both lines are trusted."""
    line = sshd.known_hosts.read_text()
    sshd.known_hosts.write_text(f"{line.split()[0]} {other_key(sshd.home)}\n{line}")

    assert 0 == sshd.shell().run(command("true")).status


def test_a_machine_is_asked_for_the_type_of_key_that_is_known(sshd):
    """It has two; only its RSA key was trusted, and that is what it shows."""
    rsa = sshd.home / "rsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", str(rsa)], check=True)
    sshd.stop()
    sshd.more = f"HostKey {rsa}"
    sshd.start()
    name = sshd.known_hosts.read_text().split()[0]
    sshd.known_hosts.write_text(f"{name} {rsa.with_suffix('.pub').read_text()}")

    assert 0 == sshd.shell().run(command("true")).status


def test_a_known_hosts_file_may_hold_any_bytes_in_comments(sshd):
    """Latin-1 in a comment: read, written again with another key, and still those bytes."""
    line = sshd.known_hosts.read_bytes()
    sshd.known_hosts.write_bytes(b"# caf\xe9\n" + line)
    new = f"n1 {other_key(sshd.home)}"
    host_keys.record(sshd.known_hosts, host_keys.HostKey("n1", "t", "f", new))

    assert b"# caf\xe9\n" + line + f"{new}\n".encode() == sshd.known_hosts.read_bytes()
    assert 0 == sshd.shell().run(command("true")).status


def test_two_writers_lose_no_key(tmp_path):
    """`fab node.trust` for many nodes at once: each key is there, none twice."""
    path = tmp_path / "ssh" / "known_hosts"
    keys = [host_keys.HostKey(f"n{n}", "t", "f", f"n{n} t k") for n in range(20)]
    threads = [
        threading.Thread(target=host_keys.record, args=(path, key)) for key in keys for _ in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(key.line for key in keys) == sorted(path.read_text().splitlines())


def test_a_key_is_recorded_where_a_lock_wants_a_file_open_for_writing(tmp_path, monkeypatch):
    """NFS makes of flock a lock of its own, which wants a descriptor that may write."""
    real = fcntl.flock

    def of_nfs(fd, how):
        if how & fcntl.LOCK_EX and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", of_nfs)
    key = host_keys.HostKey("oms1", "ssh-ed25519", "SHA256:x", f"oms1 {other_key(tmp_path)}")

    assert host_keys.record(tmp_path / "ssh" / "known_hosts", key)
    assert [key.line] == (tmp_path / "ssh" / "known_hosts").read_text().splitlines()


# --- no connection ---------------------------------------------------------------------------


def test_a_refused_connection_says_how_to_try_it_by_hand(sshd):
    """SSH-001: at once, exit 3, and the next line is an ssh command."""
    sshd.stop()

    with pytest.raises(Unreachable) as error:
        sshd.shell().run(command("true"))

    assert ("SSH-001", 3) == (error.value.id, error.value.exit_code)
    assert error.value.next[0].line.startswith("ssh -o UserKnownHostsFile=")


def test_a_port_that_is_not_ssh_is_named(sshd):
    """N08: it answers, and says nothing: SSH-003, no second try."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        sshd.port = mute.getsockname()[1]
        with pytest.raises(Unreachable) as error:
            sshd.shell(Timeouts(banner=0.5)).run(command("true"))

    assert "SSH-003" == error.value.id


@pytest.mark.parametrize("most", [3, 1])
def test_a_dropped_connection_is_tried_again(sshd, most):
    """sshd drops connections under load (MaxStartups); three tries are made, but one for a look at
    the whole fleet (fleet.status), which a single node holds up."""
    tries: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as gate:

        def serve():
            with contextlib.suppress(OSError):  # closed by the test, behind the last try
                while True:
                    peer, _ = gate.accept()
                    tries.append("dropped")
                    peer.close()

        threading.Thread(target=serve, daemon=True).start()
        sshd.port = gate.getsockname()[1]
        with pytest.raises(Unreachable) as error:
            dialer = Dialer(sshd.ssh(), Timeouts(retry=0.1))
            SshShell(sshd.node, sshd.ssh(), dialer, tries=most).run(command("true"))

    assert ["dropped"] * most == tries
    assert "SSH-008" == error.value.id


def test_a_key_that_is_not_accepted_is_final(sshd):
    """SSH-004: no retry, so that no account is locked."""
    (sshd.home / "authorized_keys").write_text("")

    with pytest.raises(PreflightError) as error:
        sshd.shell().run(command("true"))

    assert "SSH-004" == error.value.id
    assert not isinstance(error.value, Unreachable)


def test_a_missing_key_file_is_an_input_error(server):
    """Known before any contact: exit 2."""
    with pytest.raises(InputError) as error:
        server.shell(key=server.home / "nokey")

    assert "SSH-007" == error.value.id


def test_nodes_behind_one_gateway_share_its_connection(sshd):
    """speed.md: fifty connections to a gateway at once, and it drops twelve."""
    nodes = [Node(name=f"n{n}", ip="127.0.0.1", port=sshd.port) for n in range(8)]
    shells = connect(nodes, sshd.ssh(gateway=f"{getpass.getuser()}@127.0.0.1:{sshd.port}"))
    with ThreadPoolExecutor(len(nodes)) as pool:
        said = [result.out for result in pool.map(lambda s: s.run(PARENT), shells.values())]
    logins = (sshd.home / "sshd.log").read_text().count("Accepted publickey")
    for shell in shells.values():
        shell.close()

    assert (len(nodes), len(nodes) + 1) == (len(set(said)), logins)


def test_the_gateway_is_checked_like_a_node(sshd):
    """No trust for whoever stands in between; the line to paste asks for it by hand."""
    sshd.known_hosts.unlink()
    with pytest.raises(SecurityRefusal) as refusal:
        sshd.shell(gateway=f"jump@127.0.0.1:{sshd.port}").run(command("true"))

    assert "SSH-009" == refusal.value.id
    assert "the host key of gateway 127.0.0.1 is not known" in refusal.value.what
    assert f"-p {sshd.port} jump@127.0.0.1 true" in refusal.value.render()


def test_the_users_ssh_config_is_honoured(sshd, openssh_of_home):
    """An alias with its own port, user and key; hosts.yaml says none of them."""
    (openssh_of_home / "config").write_text(
        f"Host oms-a\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {getpass.getuser()}\n"
        f"  IdentityFile {sshd.home}/user_key\n  IdentityFile ~/.ssh/missing\n"
        "  IdentitiesOnly yes\n"
    )
    node = Node(name="oms1", ip="10.255.0.1", address="oms-a")
    shell = connect([node], sshd.ssh(key=None))["oms1"]
    sshd.shells.append(shell)

    assert "here\n" == shell.run(command("echo", "here")).out


def test_a_host_key_is_looked_up_by_its_alias(sshd, openssh_of_home):
    """HostKeyAlias, e.g. for nodes behind one forwarded address: no line for the address counts."""
    _, rest = sshd.known_hosts.read_text().split(" ", 1)
    sshd.known_hosts.write_text(f"node-1 {rest}")
    with pytest.raises(SecurityRefusal, match="SSH-009"):
        sshd.shell().run(command("true"))
    (openssh_of_home / "config").write_text("HostKeyAlias node-1\n")

    assert 0 == sshd.shell().run(command("true")).status
    assert scan(sshd.node, sshd.ssh()).line.startswith("node-1 ")


def test_no_setting_of_openssh_skips_the_host_key(sshd, openssh_of_home):
    """What many have in ~/.ssh/config for machines of a lab; a file elsewhere counts for `ssh`."""
    (openssh_of_home / "config").write_text(
        "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nVerifyHostKeyDNS yes\n"
    )

    with pytest.raises(SecurityRefusal, match="SSH-009"):
        sshd.shell(known_hosts=None).run(command("true"))


def test_what_is_no_file_is_never_replaced_by_a_known_hosts_file(sshd, tmp_path):
    """SSH-012: /dev/null of a jump host would be a file afterwards.  (Here a socket stands for it:
    should the check be gone, the machine under the tests keeps its own.)"""
    with socket.socket(socket.AF_UNIX) as special:
        special.bind(str(tmp_path / "special"))
        key = replace(scan(sshd.node, sshd.ssh()), file=tmp_path / "special")

        with pytest.raises(SecurityRefusal, match="SSH-012"):
            host_keys.record(key.file, key)


def test_a_proxycommand_is_the_connection(sshd, openssh_of_home):
    """By a shell, as OpenSSH runs it: with tokens and redirections."""
    (openssh_of_home / "config").write_text(
        "ProxyCommand bash -c 'exec 3<>/dev/tcp/%h/%p; cat <&3 & cat >&3; kill $!'\n"
    )

    assert "here\n" == sshd.shell().run(command("echo", "here")).out


def test_a_proxycommand_that_fails_is_a_lost_connection(sshd, openssh_of_home):
    """It ends at once, three times."""
    (openssh_of_home / "config").write_text(f"ProxyCommand echo x >>{sshd.home}/tried\n")

    with pytest.raises(Unreachable, match="SSH-008"):
        sshd.shell(Timeouts(retry=0.1)).run(command("true"))

    assert "x\nx\nx\n" == (sshd.home / "tried").read_text()


def test_an_agent_that_ssh_config_names_is_asked(sshd, locked, openssh_of_home, monkeypatch):
    """IdentityAgent: of 1Password, say; SSH_AUTH_SOCK names none."""
    sock = os.environ["SSH_AUTH_SOCK"]
    monkeypatch.delenv("SSH_AUTH_SOCK")
    with (openssh_of_home / "config").open("a") as file:
        file.write(f"IdentityAgent {sock}\n")

    assert 0 == sshd.shell(key=None).run(command("true")).status


def test_two_keys_are_given_where_two_are_wanted(sshd, openssh_of_home):
    """`AuthenticationMethods publickey,publickey`: the second one counts as well."""
    other_key(sshd.home)
    with (sshd.home / "authorized_keys").open("a") as file:
        file.write((sshd.home / "other.pub").read_text())
    (openssh_of_home / "config").write_text(f"IdentityFile {sshd.home}/other\n")
    sshd.stop()
    sshd.more = "AuthenticationMethods publickey,publickey\n"
    sshd.start()

    assert 0 == sshd.shell().run(command("true")).status


def test_what_is_wanted_beside_a_key_is_told(sshd):
    """SSH-004: a second factor cannot be given here."""
    sshd.stop()
    sshd.more = "AuthenticationMethods publickey,keyboard-interactive\n"
    sshd.start()

    with pytest.raises(PreflightError) as error:
        sshd.shell().run(command("true"))

    assert ("SSH-004", "oms1: authentication failed: a key is not enough") == (
        error.value.id,
        error.value.what,
    )
    assert "after the key it wants keyboard-interactive as well" == error.value.evidence


@pytest.fixture
def locked(sshd, openssh_of_home, monkeypatch):
    """A user key with a passphrase, its former self in an agent; IdentitiesOnly for all."""
    sock, key = sshd.home / "agent", sshd.home / "user_key"
    (openssh_of_home / "config").write_text(f"IdentitiesOnly yes\nIdentityFile {key}\n")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(sock))
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(sock)], stdout=subprocess.DEVNULL) as agent:
        try:
            while not sock.exists():
                time.sleep(0.05)
            subprocess.run(["ssh-add", "-q", str(key)], check=True)
            subprocess.run(["ssh-keygen", "-q", "-p", "-N", "canary", "-f", str(key)], check=True)
            yield key
        finally:
            agent.terminate()


def test_identitiesonly_allows_the_key_that_the_agent_holds(sshd, locked):
    """The file cannot be opened without its passphrase; the agent has what is in it."""
    assert 0 == sshd.shell(key=None).run(command("true")).status


def test_identitiesonly_needs_but_the_public_half(sshd, locked):
    """A forwarded agent: the private file is elsewhere."""
    locked.unlink()

    assert 0 == sshd.shell(key=None).run(command("true")).status


def test_identitiesonly_offers_no_other_key_of_the_agent(sshd, locked, openssh_of_home):
    """Else sshd would soon have had too many."""
    other_key(locked.parent)
    config = openssh_of_home / "config"
    config.write_text(f"IdentitiesOnly yes\nIdentityFile {locked.parent}/other\n")

    with pytest.raises(PreflightError) as error:
        sshd.shell(key=None).run(command("true"))

    assert ("SSH-004", "oms1: authentication failed: no key accepted") == (
        error.value.id,
        error.value.what,
    )


@pytest.fixture
def crowded(sshd, locked, openssh_of_home):
    """An agent with more keys than sshd will hear, ours the last; it is named nowhere."""
    for number in range(3):
        key = locked.parent / f"crowd{number}"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        subprocess.run(["ssh-add", "-q", str(key)], check=True)
    subprocess.run(["ssh-add", "-q", "-d", f"{locked}.pub"], check=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-p", "-P", "canary", "-N", "", "-f", str(locked)], check=True
    )
    subprocess.run(["ssh-add", "-q", str(locked)], check=True)
    (openssh_of_home / "config").unlink()
    sshd.stop()
    sshd.more = "MaxAuthTries 2\n"
    sshd.start()
    return locked


def test_of_many_keys_in_the_agent_the_operators_own_is_offered_first(
    sshd, crowded, openssh_of_home
):
    """As ssh does: what ~/.ssh/id_ed25519.pub names does not wait behind the others."""
    shutil.copy(f"{crowded}.pub", openssh_of_home / "id_ed25519.pub")

    assert 0 == sshd.shell(key=None).run(command("true")).status


def test_more_keys_than_sshd_hears_are_told(sshd, crowded):
    """SSH-008 with the word to look for in sshd_config: the line is fine."""
    with pytest.raises(Unreachable) as error:
        sshd.shell(key=None).run(command("true"))

    assert "SSH-008" == error.value.id
    assert "MaxAuthTries" in error.value.what


def test_an_agent_that_talks_nonsense_is_no_agent(sshd, monkeypatch, tmp_path):
    """A key file is enough; and without one the error is about keys, not about the agent."""
    sock = tmp_path / "agent"
    monkeypatch.setenv("SSH_AUTH_SOCK", str(sock))
    with socket.socket(socket.AF_UNIX) as fool:
        fool.bind(str(sock))
        fool.listen()
        fool.settimeout(10)

        def answer():
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = fool.accept()
                    peer.sendall(b"\0\0\0\1\5")

        threading.Thread(target=answer, daemon=True).start()
        assert 0 == sshd.shell().run(command("true")).status
        monkeypatch.setenv("HOME", str(tmp_path))
        with pytest.raises(PreflightError, match="no key accepted"):
            sshd.shell(key=None).run(command("true"))


def test_a_passphrase_without_an_agent_is_told(sshd, locked, monkeypatch):
    """SSH-004, with the line that gives the key to the agent."""
    monkeypatch.delenv("SSH_AUTH_SOCK")

    with pytest.raises(PreflightError) as error:
        sshd.shell(key=None).run(command("true"))

    assert "oms1: the key has a passphrase, and no agent holds it" == error.value.what
    assert f"ssh-add {locked}" == error.value.next[0].line


def test_a_lost_session_takes_no_younger_line_with_it(sshd, monkeypatch):
    """Two threads, one node: while one still finds out that its line is dead, the other has a new
    one and works on it."""
    shell = sshd.shell()
    shell.open()
    lost = shell._lost

    def late(*words):
        time.sleep(1.5)
        return lost(*words)

    monkeypatch.setattr(shell, "_lost", late)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(shell.run, command("sleep", "60"))
        time.sleep(0.3)
        for pid in sshd.sessions():
            os.kill(pid, signal.SIGKILL)
        second = pool.submit(shell.run, script("sleep 2.5; echo here"))

        assert "here\n" == second.result().out
        with pytest.raises(LostSession):
            first.result()


def test_a_command_that_ends_at_once_does_not_cost_the_line(sshd, monkeypatch):
    """sshd drops a line on which EOF comes behind CLOSE; here every EOF is slow."""
    shell = sshd.shell()
    shell.open()
    send = paramiko.Transport._send_user_message

    def slow(self, message):
        if message.asbytes()[:1] == cMSG_CHANNEL_EOF:
            time.sleep(0.3)
        send(self, message)

    monkeypatch.setattr(paramiko.Transport, "_send_user_message", slow)
    for _ in range(3):
        assert 0 == shell.run(command("true")).status

    assert 1 == shell.connections


# --- commands --------------------------------------------------------------------------------


def test_nothing_is_sent_once_the_lock_is_lost(server, tmp_path):
    """R2b.2: a holder that was stopped and woke up touches no node; neither command nor file."""
    shell = server.shell()
    assert 0 == shell.run(command("touch", str(tmp_path / "before"))).status

    def lost():
        raise LockLost("DB-031", "lost")

    shell.guard = lost
    with pytest.raises(LockLost):
        shell.run(command("touch", str(tmp_path / "later")))
    with pytest.raises(LockLost):
        shell.write(str(tmp_path / "file"), Secret("x"), None, str(tmp_path / "bak"))

    assert ["before"] == [path.name for path in tmp_path.iterdir()]


def test_status_and_both_streams_come_back(server):
    """A status is a result, not an error; input is fed and ended."""
    result = server.shell().run(script("cat; echo bad >&2; exit 3", stdin="你好\n"))

    assert (3, "你好\n", "bad\n") == (result.status, result.out, result.err)


def test_a_noisy_login_profile_does_no_harm(sshd):
    """An echo in .bashrc breaks scp and many scripts; not this."""
    (sshd.user / ".bashrc").write_text("echo welcome; echo oops >&2; printf 'no line end'\n")
    result = sshd.shell().run(script("printf x; printf y >&2"))

    assert ("x", "y") == (result.out, result.err)


def test_an_account_without_a_shell_is_named(sshd):
    """SSH-013 with the account's own words, not an empty output."""
    (sshd.user / ".bashrc").write_text("echo This account is not available.; exit 1\n")

    with pytest.raises(PreflightError) as error:
        sshd.shell().run(command("true"))

    assert "SSH-013" == error.value.id
    assert "This account is not available." == error.value.evidence


def test_characters_cut_in_two_arrive_whole(server):
    """A character whose bytes come a quarter of a second apart is one character."""
    lines: list[str] = []
    cut = r"printf '\344\275'; sleep 0.25; printf '\240\345'; sleep 0.1; printf '\245\275\n'"
    result = server.shell().run(script(cut), lines.append)

    assert ("你好\n", ["你好"]) == (result.out, lines)


def test_lines_come_while_the_command_runs(server):
    """The command waits for what the reader of its first line does."""
    go = server.home / "go"
    wait = script('echo one; while [ ! -e "$1" ]; do sleep 0.05; done; echo two', str(go))
    result = server.shell().run(wait, lambda line: line == "one" and go.touch())

    assert "one\ntwo\n" == result.out


def test_forty_megabytes_stay_in_bounds(server):
    """Fabric's run takes minutes here; both streams at once must not block each other either."""
    shell = server.shell()
    shell.open()
    tracemalloc.start()
    result = shell.run(script("head -c 20000000 /dev/zero | tee /dev/stderr", limit=60))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert "bytes left out" in result.out
    assert (True, True) == (len(result.out) < 8_400_000, len(result.err) < 8_400_000)
    assert peak < 80_000_000


def test_a_child_left_behind_holds_nobody_up(server):
    """speed.md: an unredirected `&` hangs Fabric's run until the child ends."""
    result = server.shell().run(script("sleep 600 & echo $!"))
    os.kill(int(result.out), signal.SIGKILL)

    assert 0 == result.status


def test_a_killed_session_is_a_lost_session(server):
    """Exit status -1 is no status: the command may still run, exit 7; the shell reconnects."""
    shell = server.shell()
    session = shell.run(PARENT).out.strip()

    with pytest.raises(LostSession) as error:
        shell.run(script('kill -9 "$1"; sleep 20', session))

    assert ("SSH-020", 7) == (error.value.id, error.value.exit_code)
    assert "again\n" == shell.run(command("echo", "again")).out


def test_a_line_that_died_between_two_commands_is_replaced(server):
    """Nothing was sent over it, so nothing is unknown."""
    shell = server.shell()
    os.kill(int(shell.run(PARENT).out), signal.SIGKILL)

    assert "still here\n" == shell.run(command("echo", "still here")).out


def test_a_frozen_sshd_is_noticed(server):
    """N03: TCP is fine, nobody answers: the watchdog asks, waits, and gives up the line."""
    shell = server.shell(Timeouts(keepalive=0.2, silence=0.8))
    session = int(shell.run(PARENT).out)

    with pytest.raises(LostSession):
        shell.run(script('kill -STOP "$1"; sleep 600', str(session), limit=60))


def test_a_silent_command_on_a_living_line_is_left_alone(server):
    """The same patience, no output for longer than it: the peer answers, so all is well."""
    shell = server.shell(Timeouts(keepalive=0.2, silence=0.8))

    assert "done\n" == shell.run(script("sleep 1.8; echo done")).out


def test_silence_beyond_the_limit_is_an_error(server):
    """SSH-021; the channel is closed, the connection is still good."""
    shell = server.shell()

    with pytest.raises(StepFailed) as error:
        shell.run(script("sleep 15", limit=0.5))

    assert "SSH-021 oms1 did not answer in 0.5 s" == str(error.value)
    assert 0 == shell.run(command("true")).status


class Sudo:
    """A sudo first in PATH that does what it is told."""

    def __init__(self, server):
        self._server = server
        self._file = server.home / "bin" / "sudo"

    def says(self, text):
        self._file.write_text(text)
        self._file.chmod(0o755)

    def shell(self):
        return self._server.shell(sudo=True)

    def gone(self):
        self._file.unlink()


@pytest.fixture
def sudo(server):
    sudo = Sudo(server)
    yield sudo
    sudo.gone()


def test_a_command_that_talks_for_ever_is_given_up(shell):
    """SSH-021: its limit is a limit of silence, so one that never falls silent has another."""
    with pytest.raises(StepFailed, match="SSH-021") as error:
        endless = command("sh", "-c", "while :; do echo x; sleep 0.1; done", limit=30)
        shell.run(replace(endless, most=1))

    assert "goes on talking" in error.value.what


@pytest.mark.parametrize(
    ("says", "status", "id"),
    [
        ("sudo: a password is required", 1, "SUDO-001"),
        ("sudo: sorry, you must have a tty to run sudo", 1, "SUDO-002"),
        ("oms is not in the sudoers file.  This incident will be reported.", 1, "SUDO-003"),
        ("Sorry, user oms is not allowed to execute '/bin/sh' as root on oms1.", 1, "SUDO-003"),
    ],
)
def test_the_moods_of_sudo_are_told_apart(sudo, says, status, id):
    """I11: `sudo -n` always; exit 3 with sudo's own words."""
    sudo.says(f'#!/bin/sh\n[ "$1 $2" = "-n --" ] || exit 99\necho "{says}" >&2\nexit {status}\n')

    with pytest.raises(PreflightError) as error:
        sudo.shell().run(command("true"))

    assert (id, says) == (error.value.id, error.value.evidence)


def test_sudo_passes_words_input_and_status_on(sudo):
    """The other side of the moods: words through sudo are the same words."""
    sudo.says('#!/bin/sh\nshift 2\nexec "$@"\n')
    result = sudo.shell().run(script('cat; printf "%s" "$1"; exit 4', "a 'b", stdin="in "))

    assert (4, "in a 'b") == (result.status, result.out)


# --- files -----------------------------------------------------------------------------------


def test_a_write_keeps_the_inode_and_the_former_content(server, tmp_path):
    """A container sees a bind-mounted file by its inode; a rename would leave it on the old one."""
    path, backup = tmp_path / "it's config.yaml", tmp_path / "keep" / "before"
    path.write_text("old\n")
    path.chmod(0o604)
    inode = path.stat().st_ino
    server.shell().write(str(path), Secret("new: 'ü'\n"), None, str(backup))

    assert ("new: 'ü'\n", "old\n") == (path.read_text(), backup.read_text())
    assert (inode, 0o604, 0o600) == (
        path.stat().st_ino,
        stat.S_IMODE(path.stat().st_mode),
        stat.S_IMODE(backup.stat().st_mode),
    )
    assert not list(tmp_path.glob("*.new"))


def test_a_second_write_leaves_the_first_backup(server, tmp_path):
    """V06: a half-written file of a first try is not the former content."""
    path, backup = tmp_path / "f", tmp_path / "b"
    path.write_text("old")
    for content in ("half", "whole"):
        server.shell().write(str(path), Secret(content), 0o600, str(backup))

    assert ("whole", "old") == (path.read_text(), backup.read_text())


def test_a_missing_file_is_created_with_its_mode_and_no_backup(server, tmp_path):
    """I13: never readable by others, not even for a moment."""
    path, backup = tmp_path / "f", tmp_path / "b"
    server.shell().write(str(path), Secret("x" * 100_000), 0o600, str(backup))

    assert ("x" * 100_000, 0o600) == (path.read_text(), stat.S_IMODE(path.stat().st_mode))
    assert not backup.exists()


def test_a_write_goes_through_a_symbolic_link(server, tmp_path):
    """The source of a bind mount may be a link; what it leads to is what the container sees."""
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    server.shell().write(str(tmp_path / "link"), Secret("new"), 0o640, str(tmp_path / "b"))

    assert (True, "new") == ((tmp_path / "link").is_symlink(), (tmp_path / "real").read_text())


def test_a_directory_in_the_place_of_the_file_is_refused(server, tmp_path):
    """V07: docker -v makes one when the file is missing."""
    with pytest.raises(PreflightError) as error:
        server.shell().write(str(tmp_path), Secret("x"), 0o600, str(tmp_path / "b"))

    line = shlex.split(error.value.next[0].line)
    assert ("ssh", f"rmdir {tmp_path}") == (line[0], line[-1].removeprefix("sudo "))
    assert "CFG-002" == error.value.id


def test_a_write_that_finds_no_room_leaves_everything(server):
    """A full disk (here one that is always full): the file is as before."""
    with pytest.raises(StepFailed) as error:
        server.shell().write("/proc/omsfab", Secret("x"), 0o600, "/proc/omsfab.bak")

    assert "CFG-004" == error.value.id


# --- facts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bare", [False, True])
def test_a_page_is_fetched_with_and_without_curl(sshd, bare):
    """A CentOS node may have bash and nothing else: same body, same status."""
    if bare:
        _without_curl(sshd)
    answers = (
        b'HTTP/1.0 200 OK\r\nX: y\r\n\r\n{"data": 1}',
        b"HTTP/1.1 503 Busy\r\n\r\nsick",
        b"HTTP/1.1 404 Not Found\r\n\r\nno",
    )
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            for answer in answers:
                peer, _ = server.accept()
                asked = b""
                while b"\r\n\r\n" not in asked:
                    asked += peer.recv(4096)
                peer.sendall(answer)
                peer.close()

        threading.Thread(target=serve, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/oms/health?a=b"
        results = [sshd.shell().run(files.http_get(url)) for _ in answers]

    said = [(result.status, result.out.strip()) for result in results]
    assert [(0, '{"data": 1}'), (22, "sick"), (44, "no")] == said


def _without_curl(sshd):
    """Let `command -v curl` find nothing: PATH is a directory of links to all other tools."""
    tools = sshd.home / "tools"
    tools.mkdir()
    for directory in ("/usr/bin", "/bin"):
        for tool in Path(directory).iterdir():
            if tool.name not in {"curl", "wget"} and not (tools / tool.name).is_symlink():
                (tools / tool.name).symlink_to(tool)
    (sshd.user / ".bashrc").write_text(f"PATH={tools}\n")


def test_facts_of_a_node_are_printed(server):
    """Every question has an answer on a plain Debian or CentOS."""
    shell = server.shell()

    assert "127.0.0.1" in shell.run(files.addresses()).out.split()
    assert abs(time.time() - float(shell.run(files.clock()).out.split()[0])) < 60


def test_no_weak_mac_is_offered(server):
    """R4: an audit finds neither MD5 nor SHA-1, whole or cut short."""
    shell = server.shell()
    shell.run(command("true"))
    options = shell._transport.get_security_options()
    names = " ".join((*options.digests, *options.kex, *options.ciphers))

    assert [] == re.findall(r"md5|sha1\b|-96|cbc|arcfour|3des", names)


# --- questions -------------------------------------------------------------------------------


SH = question(script("echo $PPID"))
"""Prints the pid of the shell that runs the question."""


def test_questions_share_a_session_and_what_acts_has_its_own(server):
    """A session costs two round trips and a login shell; twenty questions are asked in one."""
    shell = server.shell()
    asked = {shell.run(SH).out for _ in range(20)}
    acted = {shell.run(replace(SH, asks=False)).out for _ in range(3)}

    assert (1, 3) == (len(asked), len(acted))


def test_a_question_is_answered_as_by_a_session_of_its_own(server):
    """Both outputs to the byte, the status, and no input."""
    shell = server.shell()
    texts = ("printf 'a\\n\\nb'; printf 'c\\n' >&2; exit 7", "cat; exit 0", "kill -9 $$", "true")
    of_its_own = [shell.run(script(text)) for text in texts]

    assert of_its_own == [shell.run(question(script(text))) for text in texts]
    assert [7, 0, 137, 0] == [one.status for one in of_its_own]


def test_a_silent_question_is_answered_to_nobody_else(server):
    """Its session is given up; the next question has another, and its own answer."""
    shell = server.shell()
    first = shell.run(SH).out
    with pytest.raises(StepFailed, match="SSH-021"):
        shell.run(question(script("sleep 1.5; echo late", limit=0.5)))

    assert "second\n" == shell.run(question(command("echo", "second"))).out
    assert first != shell.run(SH).out


def test_a_session_that_died_while_it_waited_is_replaced(server):
    """sshd may close idle sessions (ChannelTimeout); nobody need hear of it."""
    shell = server.shell()
    waiting = int(shell.run(SH).out)
    os.kill(waiting, signal.SIGKILL)

    assert str(waiting) != shell.run(SH).out.strip()
    assert 1 == shell.connections


def test_a_line_that_died_while_it_waited_is_replaced(server):
    """A question may be asked again; so it is, over a new connection."""
    shell = server.shell()
    of_sshd = int(shell.run(question(PARENT)).out)
    os.kill(of_sshd, signal.SIGKILL)

    assert 0 == shell.run(question(command("true"))).status
    assert 2 == shell.connections


def test_a_question_is_not_asked_again_once_the_lock_is_lost(server):
    """The line died while it waited, and the lock went with it: nothing more is run there."""
    shell = server.shell()
    of_sshd = int(shell.run(question(PARENT)).out)
    held = iter([True])

    def guard():
        if not next(held, False):
            raise LockLost("LCK-001", "the lock is lost")

    shell.guard = guard
    shell._connected()  # it still passes for alive
    waiting = shell._idle[0]
    os.kill(int(of_sshd), signal.SIGSTOP)
    threading.Timer(0.5, os.kill, (of_sshd, signal.SIGKILL)).start()

    with pytest.raises(LockLost):
        shell.run(question(command("true")))
    assert waiting.closed


def test_where_sshd_allows_one_session_a_waiting_one_gives_way(sshd):
    """`MaxSessions 1`: question, act, question, over one connection."""
    sshd.stop()
    sshd.more = "MaxSessions 1\n"
    sshd.start()
    shell = sshd.shell()
    said = [
        shell.run(question(command("echo", "1"))).out,
        shell.run(command("cat", stdin="2\n")).out,
        shell.run(question(command("echo", "3"))).out,
    ]

    assert ["1\n", "2\n", "3\n"] == said
    assert 1 == shell.connections


def test_many_questions_at_once_have_each_their_own_answer(server):
    """Several threads ask the same node."""
    shell = server.shell()
    with ThreadPoolExecutor(8) as pool:
        said = pool.map(
            lambda n: shell.run(question(command("echo", str(n)))).out.strip(), range(200)
        )

    assert [str(n) for n in range(200)] == list(said)
