"""Secrets come from the environment, a private file, a command or the operator: nowhere else."""

from __future__ import annotations

import getpass
import io
import os
import stat
import sys

import pytest

from omsfab.errors import InputError, OmsfabError, SecurityRefusal
from omsfab.fleet import secret_sources
from omsfab.fleet.secret_sources import SecretSource
from omsfab.secret import Secret

LABEL = "metadb.password"


def resolved(raw: object, base) -> Secret:
    return secret_sources.resolve(secret_sources.parse(raw), base=base, label=LABEL)


def private(path, content: bytes = b"s3cret\n", mode: int = 0o600):
    path.write_bytes(content)
    path.chmod(mode)
    return path


# --- what hosts.yaml may say -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "source"),
    [
        ({"env": "OMS_PW"}, SecretSource("env", ("OMS_PW",))),
        ({"file": "secrets/pw"}, SecretSource("file", ("secrets/pw",))),
        ({"command": "pass  show oms"}, SecretSource("command", ("pass", "show", "oms"))),
        ({"command": ["sh", "-c", "echo $X"]}, SecretSource("command", ("sh", "-c", "echo $X"))),
        ({"prompt": True}, SecretSource("prompt")),
    ],
)
def test_a_source_is_one_of_four(raw, source):
    """hosts.example.yaml: {env: …}, {file: …}, {command: …}, {prompt: true}."""
    assert source == secret_sources.parse(raw)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ("hunter2", "is a secret in plain text"),
        (42, "is a secret in plain text"),
        (["hunter2"], "is a secret in plain text"),
        (None, "is a secret in plain text"),
        ({}, "names 0 sources"),
        ({"env": "A", "file": "b"}, "names 2 sources"),
        ({"evn": "hunter2"}, "did you mean env?"),
        ({"hunter2": "x"}, "the source is of an unknown kind"),
        ({"env": "hunter2!"}, "env takes the name of a variable"),
        ({"env": ""}, "env takes the name of a variable"),
        ({"env": None}, "env takes the name of a variable"),
        ({"file": ""}, "file takes a path"),
        ({"file": "a\nhunter2"}, "file takes a path"),
        ({"file": "~nobody-of-this-name/pw"}, "there is no such home"),
        ({"command": ""}, "command takes words"),
        ({"command": []}, "command takes words"),
        ({"command": ["pass", 1]}, "command takes words"),
        ({"command": [""]}, "command has an empty first word"),
        ({"command": "pass show 'my oms'"}, "write its words as a list"),
        ({"command": "echo hunter2 | base64"}, "no shell reads it"),
        ({"command": {"a": 1}}, "command takes words"),
        ({"prompt": False}, "prompt takes only true"),
        ({"prompt": 1}, "prompt takes only true"),
    ],
)
def test_anything_else_is_refused_and_not_shown(raw, says):
    """What stands there may be the password itself."""
    with pytest.raises(ValueError) as refused:
        secret_sources.parse(raw)

    assert says in str(refused.value)
    assert "hunter2" not in str(refused.value)


# --- the environment -------------------------------------------------------------------------


def test_an_environment_variable_is_taken_as_it_is(monkeypatch, tmp_path):
    """Blanks at its ends belong to it."""
    monkeypatch.setenv("OMS_PW", " a$b'c ")

    assert Secret(" a$b'c ") == resolved({"env": "OMS_PW"}, tmp_path)


def test_a_variable_that_is_not_set_is_told_with_a_line_that_sets_it(monkeypatch, tmp_path):
    """`read -rs`, because an assignment would end up in the history of the shell."""
    monkeypatch.delenv("OMS_PW", raising=False)

    with pytest.raises(InputError, match="INPUT-010") as refused:
        resolved({"env": "OMS_PW"}, tmp_path)

    assert (LABEL, "read -rs OMS_PW && export OMS_PW") == (
        refused.value.where,
        refused.value.next[0].line,
    )


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "is empty"),
        ("a\nb", "has more than one line"),
        ("a\n", "has more than one line"),
        ("a\rb", "has more than one line"),
        ("a\udcffb", "is not UTF-8"),
    ],
)
def test_a_secret_that_cannot_pass_config_yaml_is_refused(monkeypatch, tmp_path, value, says):
    """OBD refuses empty passwords; V10: NUL and newline in a secret -> exit 2."""
    monkeypatch.setenv("OMS_PW", value)

    with pytest.raises(InputError, match="INPUT-014") as refused:
        resolved({"env": "OMS_PW"}, tmp_path)

    assert 2 == refused.value.exit_code
    assert says in refused.value.what
    assert f"{LABEL}, from the environment variable OMS_PW" == refused.value.where


# --- a file ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"s3cret", "s3cret"),
        (b"s3cret\n", "s3cret"),
        (b"s3cret\r\n", "s3cret"),
        (b" s3cret \n", " s3cret "),
        ("密码😀\n".encode(), "密码😀"),
        (b"#!${x}'\"\\", "#!${x}'\"\\"),
    ],
)
def test_one_line_end_of_a_file_is_taken_off(tmp_path, content, secret):
    """Editors and echo put it there; everything else belongs to the secret."""
    private(tmp_path / "pw", content)

    assert Secret(secret) == resolved({"file": "pw"}, tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n", b"a\n\n", b"a\0b", b"\xff\xfe", b"a" * 4097])
def test_a_file_that_holds_no_password_is_refused(tmp_path, content):
    """Exit 2; the content is not shown."""
    private(tmp_path / "pw", content)

    with pytest.raises(InputError, match="INPUT-014"):
        resolved({"file": "pw"}, tmp_path)


def test_a_missing_file_is_told_with_a_line_that_makes_it(tmp_path):
    """Private from the first byte on."""
    with pytest.raises(InputError, match="INPUT-011") as refused:
        resolved({"file": "my pw"}, tmp_path)

    assert f"install -m 600 /dev/null '{tmp_path}/my pw'" == refused.value.next[0].line


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o601, 0o660])
def test_a_file_that_others_may_touch_is_refused(tmp_path, mode):
    """X03: any bit for group or others -> exit 10, with the line that mends it."""
    path = private(tmp_path / "pw", mode=mode)

    with pytest.raises(SecurityRefusal, match="SEC-003") as refused:
        resolved({"file": "pw"}, tmp_path)

    assert 10 == refused.value.exit_code
    assert f"{mode:04o}" in refused.value.what
    assert f"chmod 600 {path}" == refused.value.next[0].line


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_file_is_read(tmp_path, mode):
    """Reading is enough."""
    private(tmp_path / "pw", mode=mode)

    assert Secret("s3cret") == resolved({"file": "pw"}, tmp_path)


def test_a_symbolic_link_is_refused(tmp_path):
    """X03: whoever owns the link chooses the file."""
    private(tmp_path / "real")
    (tmp_path / "pw").symlink_to("real")

    with pytest.raises(SecurityRefusal, match="SEC-001"):
        resolved({"file": "pw"}, tmp_path)


@pytest.mark.parametrize("kind", ["fifo", "directory"])
def test_only_regular_files_are_read(tmp_path, kind):
    """A pipe must not hold up the run either."""
    path = tmp_path / "pw"
    os.mkfifo(path, 0o600) if kind == "fifo" else path.mkdir(0o700)

    with pytest.raises(SecurityRefusal, match="SEC-001"):
        resolved({"file": "pw"}, tmp_path)


def found(tmp_path, **changes: int) -> os.stat_result:
    """What fstat says of a private file of ours, with some of it changed."""
    real = private(tmp_path / "pw").stat()
    names = ("st_mode", "st_ino", "st_dev", "st_nlink", "st_uid")
    head = [changes.get(name, getattr(real, name)) for name in names]
    return os.stat_result((*head, *tuple(real)[5:]))


def test_a_file_of_another_user_is_refused(tmp_path):
    """X03: its owner can read it, and put another one there."""
    theirs = found(tmp_path, st_uid=os.geteuid() + 4711)

    with pytest.raises(SecurityRefusal, match="SEC-002"):
        secret_sources._refuse_if_others_read(theirs, tmp_path / "pw", LABEL)


def test_a_file_of_root_is_accepted(tmp_path, monkeypatch):
    """root reads everything anyway."""
    monkeypatch.setattr(os, "geteuid", lambda: 4711)

    secret_sources._refuse_if_others_read(found(tmp_path, st_uid=0), tmp_path / "pw", LABEL)


@pytest.mark.parametrize(("kind", "refused"), [("nfs4", True), ("cifs", True), ("ext4", False)])
def test_a_file_on_a_shared_mount_is_refused(tmp_path, monkeypatch, kind, refused):
    """X03: modes say nothing about the other machines that mount it."""
    private(tmp_path / "pw")
    monkeypatch.setattr(secret_sources, "_file_system", lambda _device: kind)

    try:
        resolved({"file": "pw"}, tmp_path)
        outcome = ""
    except SecurityRefusal as error:
        outcome = error.id

    assert ("SEC-004" if refused else "") == outcome


def test_the_kind_of_a_file_system_is_known():
    """/proc is mounted as proc everywhere."""
    assert "proc" == secret_sources._file_system(os.stat("/proc").st_dev)


# --- a command -------------------------------------------------------------------------------


def test_a_command_runs_in_the_directory_of_hosts_yaml(tmp_path):
    """As relative paths do; one line end is taken off, blanks are not."""
    (tmp_path / "pw").write_text(" a b \n")

    assert Secret(" a b ") == resolved({"command": "cat pw"}, tmp_path)


def test_the_words_of_a_command_reach_it_unchanged(tmp_path):
    """No shell in between."""
    assert Secret("$HOME *") == resolved({"command": ["printf", "%s", "$HOME *"]}, tmp_path)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["false"], "ended with status 1"),
        (["/nowhere/pass", "show"], "cannot be started: No such file"),
        (["sleep", "5"], "did not end within 0.05 s"),
    ],
)
def test_a_command_that_fails_is_told_without_its_words(tmp_path, monkeypatch, words, says):
    """Its arguments may be private; its own errors are on the terminal already."""
    if words[0] == "sleep":
        monkeypatch.setattr(secret_sources, "_COMMAND_SECONDS", 0.05)

    with pytest.raises(InputError, match="INPUT-012") as refused:
        resolved({"command": words}, tmp_path)

    assert says in refused.value.what
    assert "show" not in refused.value.render()


def test_a_command_that_prints_nothing_is_refused(tmp_path):
    """An empty password is refused wherever it comes from."""
    with pytest.raises(InputError, match="INPUT-014"):
        resolved({"command": "true"}, tmp_path)


# --- the operator ----------------------------------------------------------------------------


def test_the_operator_is_asked_with_the_key(tmp_path, monkeypatch):
    """There may be several secrets to type."""
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return "s3cret"

    monkeypatch.setattr(getpass, "getpass", answer)
    monkeypatch.setattr(sys, "stdin", Terminal())

    assert Secret("s3cret") == resolved({"prompt": True}, tmp_path)
    assert ["metadb.password: "] == asked


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nobody_is_asked_without_a_terminal(tmp_path, monkeypatch):
    """A cron job must fail at once instead of waiting."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    with pytest.raises(InputError, match="INPUT-013"):
        resolved({"prompt": True}, tmp_path)


# --- in common -------------------------------------------------------------------------------


def test_no_error_carries_a_secret(tmp_path, monkeypatch):
    """Neither its text nor what a traceback would show of its causes."""
    monkeypatch.setenv("OMS_PW", "hunter2\nhunter2")
    private(tmp_path / "pw", b"hunter2\0\n")
    errors: list[OmsfabError] = []
    for raw in ({"env": "OMS_PW"}, {"file": "pw"}, {"command": ["printf", "hunter2\\nx"]}):
        with pytest.raises(InputError) as refused:
            resolved(raw, tmp_path)
        errors.append(refused.value)

    assert [] == [error for error in errors if "hunter2" in error.render() + repr(error)]


def test_a_secret_file_is_not_left_open(tmp_path, monkeypatch):
    """The descriptor is closed although the file is refused."""
    private(tmp_path / "pw", mode=0o644)
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(3):
        with pytest.raises(SecurityRefusal):
            resolved({"file": "pw"}, tmp_path)

    assert before == len(os.listdir("/proc/self/fd"))
    assert stat.S_ISREG((tmp_path / "pw").stat().st_mode)
