"""The copy of a run comes from a node, which may be anybody's by then."""

from __future__ import annotations

import base64

import pytest

from omsfab.errors import InputError, StepFailed
from omsfab.next_line import shell
from omsfab.run.record import replica
from omsfab.ssh.protocol import Result

RUN = "20260101T000000Z-scale-out-aaaa"


class Node:
    """A node that lists these names, and whose files are all ``{}``."""

    node = "oms1"

    def __init__(self, *names, runs=(RUN,)):
        self.names, self.runs = names, runs

    def run(self, cmd, on_line=None):
        text = " ".join(cmd.argv)
        if "files below" in text:
            return Result(0, "".join(f"{name}\n" for name in self.names), "")
        if "as base64" in text:
            return Result(0, base64.b64encode(b"{}").decode(), "")
        return Result(0, "".join(f"{name}\n" for name in self.runs), "")

    def ssh_line(self, text, note=""):
        return shell("ssh", "oms1", text, note=note)


def files(directory):
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "name",
    ["../../escaped", "/{here}/escaped", "backup/../../../escaped", "backup/a/b", "..", ".ssh", ""],
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_node_writes_no_file_here_but_those_of_a_run(tmp_path, name, whole):
    """RUN-024: neither when a run is fetched nor when what is lost of one is brought back."""
    home = tmp_path / "a" / "home"
    home.mkdir(parents=True)
    node = Node("run.json", name.format(here=str(tmp_path)[1:]))

    with pytest.raises(StepFailed, match="RUN-024"):
        if whole:
            replica.fetch(node, RUN, home)
        else:
            replica.complete(node, home / RUN)

    assert set() == files(tmp_path)


def test_all_files_of_a_run_are_fetched(tmp_path):
    """What runs do have passes: journal, and backups as they are named."""
    names = {"run.json", "journal.jsonl", "backup/3.1.jsonl", "backup/save-rows_3.1.sql"}

    here = replica.fetch(Node(*sorted(names)), "", tmp_path)

    assert (tmp_path / RUN, {*names, replica.FETCHED}) == (here, files(here))


def test_what_is_lost_of_a_run_here_is_brought(tmp_path):
    """`run.resume --from=` after DB-014: its backup comes; what is here stays, and no mark says
    that the run came from a node."""
    journal = tmp_path / RUN / "journal.jsonl"
    journal.parent.mkdir()
    journal.write_text("mine\n")
    (tmp_path / RUN / "run.json").write_text("{}\n")

    here = replica.fetch(Node("run.json", "journal.jsonl", "backup/3.1.jsonl"), RUN, tmp_path)

    assert {"run.json", "journal.jsonl", "backup/3.1.jsonl"} == files(here)
    assert ("mine\n", "{}\n") == (journal.read_text(), (here / "run.json").read_text())


def test_a_journal_that_was_lost_here_comes_back_as_a_copy(tmp_path):
    """It may lag behind what this jump host had begun, so that counts as begun."""
    (tmp_path / RUN).mkdir()
    (tmp_path / RUN / "run.json").write_text('{"schema": 2, "task": "node.run", "args": {}}')
    before = replica.past_of(tmp_path / RUN).changed

    replica.complete(Odd("run.json", "journal.jsonl", says=""), tmp_path / RUN)

    assert (False, True) == (before, replica.past_of(tmp_path / RUN).changed)


class Odd(Node):
    """A node whose answer to a question for bytes is this, however often it is asked."""

    def __init__(self, *names, says):
        super().__init__(*names)
        self.says = says

    def run(self, cmd, on_line=None):
        asked = "as base64" in " ".join(cmd.argv)
        return Result(0, self.says, "") if asked else super().run(cmd, on_line)


ENDLESS = base64.b64encode(b"x" * replica.CHUNK).decode()


@pytest.mark.parametrize(
    "node",
    [
        Odd("run.json", says=ENDLESS),
        Odd("run.json", says=base64.b64encode(b"x" * (replica.CHUNK + 1)).decode()),
        Odd("run.json", says="é"),
        Node("run.json", *(f"backup/{n}" for n in range(replica.FILES))),
    ],
    ids=["endless", "more than was asked for", "no base64", "too many files"],
)
def test_a_node_does_not_fill_the_jump_host(tmp_path, monkeypatch, node):
    """RUN-024: a copy is read up to what a run has at the most."""
    monkeypatch.setattr(replica, "BYTES", 3 * replica.CHUNK)

    with pytest.raises(StepFailed, match="RUN-024"):
        replica.fetch(node, RUN, tmp_path)

    assert not (tmp_path / RUN).exists()


@pytest.mark.parametrize(
    ("here", "there", "left"),
    [
        (b"a\n", b"a\nb\n", b"a\nb\n"),
        (b"a\nb\n", b"a\n", b"a\nb\n"),
        (b"a\nx\n", b"a\nb\nc\n", b"a\nb\nc\n"),
        (b"a\nx\n", b"q\nb\nc\n", b"a\nx\n"),
    ],
    ids=["ahead", "behind", "parted", "another run"],
)
def test_a_journal_that_another_jump_host_went_on_with_is_taken(tmp_path, here, there, left):
    """With --from, if ours is its beginning, or has gone another way: RUN-033 would come for ever,
    whichever line is pasted.  Ours is kept beside it then."""
    (tmp_path / RUN).mkdir()
    (tmp_path / RUN / "run.json").write_text("{}")
    journal = tmp_path / RUN / "journal.jsonl"
    journal.write_bytes(here)

    replica.fetch(Odd("run.json", says=base64.b64encode(there).decode()), RUN, tmp_path)

    assert left == journal.read_bytes()
    assert (left != here) == (tmp_path / RUN / replica.FETCHED).exists()
    kept = tmp_path / RUN / replica.PARTED
    assert (here == b"a\nx\n" and left != here) == kept.exists()


def test_a_node_does_not_name_the_directory_of_a_run(tmp_path):
    """Without --run the newest there is taken, of those that are called as runs are."""
    home = tmp_path / "home"
    home.mkdir()

    with pytest.raises(InputError, match="RUN-023"):
        replica.fetch(Node("run.json", runs=("99999999/../../escaped", "claim")), "", home)

    assert set() == files(tmp_path)
