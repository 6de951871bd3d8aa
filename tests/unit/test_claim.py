"""The claim on a node, and files put back, by a real sh."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from omsfab.cli import status as views
from omsfab.commands import claim, files
from omsfab.errors import InputError
from omsfab.run.confirmation import Flags


def run(cmd, place):
    """Run the words here, with another place than /var/lib/omsfab."""
    words = [str(place) if word == claim.PLACE else word for word in cmd.argv]
    return subprocess.run(words, capture_output=True, text=True, input=cmd.stdin)


def test_of_many_at_once_one_has_the_claim(tmp_path):
    """J11: the file comes into being whole, so every loser can say who won."""
    with ThreadPoolExecutor(16) as pool:
        said = list(
            pool.map(lambda n: run(claim.take(f"run{n}", f"me{n}", "now"), tmp_path), range(32))
        )
    winner = [n for n, done in enumerate(said) if done.returncode == 0]

    assert 1 == len(winner)
    assert {0, claim.TAKEN} == {done.returncode for done in said}
    assert {f"run{winner[0]}\nme{winner[0]}\nnow\n"} == {d.stdout for d in said if d.returncode}


@pytest.mark.parametrize(
    ("run_id", "owner", "status"),
    [("r1", "li#1", 0), ("r1", "wang#2", 0), ("r2", "li#1", 0), ("r2", "wang#2", claim.TAKEN)],
)
def test_a_run_and_its_owner_enter_again(tmp_path, run_id, owner, status):
    """Resumed, resumed elsewhere, a repair by the owner of a dead run; but nobody else."""
    run(claim.take("r1", "li#1", "then"), tmp_path)

    assert status == run(claim.take(run_id, owner, "now"), tmp_path).returncode


def test_only_the_run_that_has_it_frees_a_claim(tmp_path):
    """A late end of a run that lost its place frees nobody else's."""
    run(claim.take("r1", "li#1", "then"), tmp_path)
    run(claim.free("r2"), tmp_path)
    kept = run(claim.held(), tmp_path).stdout
    run(claim.free("r1"), tmp_path)

    assert ("r1\nli#1\nthen\n", "") == (kept, run(claim.held(), tmp_path).stdout)


def write(path, text, backup):
    """Stage and write in place, as ssh/files.py does."""
    new = f"{path}.new"
    subprocess.run(files.stage(new, str(path), text).argv, input=text, text=True)
    done = files.write_in_place(new, str(path), 0o600, str(backup))
    assert subprocess.run(done.argv, capture_output=True).returncode == 0


def put_back(path, backup):
    return subprocess.run(files.put_back(str(path), str(backup)).argv).returncode


def test_a_file_that_was_there_comes_back_in_place(tmp_path):
    """Also when it was written twice: the oldest backup is the former content."""
    path, backup = tmp_path / "config.yaml", tmp_path / "bak"
    path.write_text("old\n")
    inode = path.stat().st_ino
    write(path, "new\n", backup)
    write(path, "newer\n", backup)

    assert 0 == put_back(path, backup)
    assert ("old\n", inode) == (path.read_text(), path.stat().st_ino)


def test_a_file_that_was_not_there_goes_again(tmp_path):
    """It holds a password; a second write does not make it one that was there."""
    path, backup = tmp_path / "config.yaml", tmp_path / "bak"
    write(path, "new\n", backup)
    write(path, "newer\n", backup)

    assert (0, False) == (put_back(path, backup), path.exists())


def test_a_file_that_was_never_written_stays(tmp_path):
    """The run was killed between its intent and the write: the former file must not be removed."""
    path = tmp_path / "config.yaml"
    path.write_text("old\n")

    assert (0, "old\n") == (put_back(path, tmp_path / "bak"), path.read_text())


@pytest.mark.parametrize("there", ["old\n", None])
@pytest.mark.parametrize("who", ["a person", "a later run, the same content", "after the rollback"])
def test_a_file_that_others_wrote_since_is_left_alone(tmp_path, there, who):
    """47, and it stays; on request it is kept beside, and the former one comes back."""
    path = tmp_path / "config.yaml"
    mine = tmp_path / "config.yaml.omsfab-1.bak"
    if there:
        path.write_text(there)
    write(path, "new\n", mine)
    if who == "a person":
        path.write_text("theirs\n")
    elif who == "after the rollback":
        assert 0 == put_back(path, mine)
        path.write_text("new\n")
    else:
        write(path, "new\n", tmp_path / "config.yaml.omsfab-2.bak")
        os.utime(f"{mine}.wrote", (1, 1))
    theirs = path.read_text()

    asked = subprocess.run(files.still_written(str(path), str(mine)).argv, capture_output=True)
    refused = put_back(path, mine)
    left = path.read_text()
    aside = subprocess.run(files.put_back(str(path), str(mine), aside=True).argv)

    assert (1, files.NOT_OURS, theirs) == (asked.returncode, refused, left)
    assert (0, theirs) == (aside.returncode, (tmp_path / f"{mine.name}.aside").read_text())
    assert there == (path.read_text() if path.exists() else None)


def test_a_file_whose_write_was_cut_off_is_put_back(tmp_path):
    """Emptied, and not yet written: nobody else's content is lost."""
    path, backup = tmp_path / "config.yaml", tmp_path / "bak"
    path.write_text("old\n")
    write(path, "new\n", backup)
    path.write_text("")

    assert (0, "old\n") == (put_back(path, backup), path.read_text())


def test_a_file_is_put_back_once(tmp_path):
    """A second rollback finds the former content, and changes nothing."""
    path, backup = tmp_path / "config.yaml", tmp_path / "bak"
    path.write_text("old\n")
    write(path, "new\n", backup)

    assert (0, 0, "old\n") == (put_back(path, backup), put_back(path, backup), path.read_text())


def test_claims_beside_the_lease_of_another_run_are_asked_about(monkeypatch):
    """A repair has claims only; that a scale-out holds the lease tells nothing about it."""
    shell = SimpleNamespace(close=lambda: None)
    freed = []
    monkeypatch.setattr(views, "load", lambda: SimpleNamespace(nodes=(), ssh=None))
    holder = SimpleNamespace(run_id="r2")
    monkeypatch.setattr(views, "_metadb", lambda _: SimpleNamespace(lease_holder=lambda: holder))
    monkeypatch.setattr(views.ssh, "connect", lambda *_, **__: {"oms1": shell})
    monkeypatch.setattr(views.claims, "held", lambda _: {"oms1": ("r1", "li", "then")})
    monkeypatch.setattr(views.claims, "free", lambda shells, run: freed.append(run))
    monkeypatch.setattr("sys.stdin", None)

    with pytest.raises(InputError, match="INPUT-023"):
        views.break_lock("r1", Flags())

    assert [] == freed


def test_a_file_keeps_owner_and_mode_however_it_is_written(tmp_path):
    """R1.6: oms_drc_supervisor is no root; 0644 by hand must not become 0600 in the outage."""
    path, backup = tmp_path / "config.yaml", tmp_path / "bak"
    path.write_text("old\n")
    path.chmod(0o644)
    done = files.write_in_place(str(staged(path, "new\n")), str(path), None, str(backup))
    subprocess.run(done.argv, capture_output=True, check=True)
    written = path.stat()
    path.unlink()
    path.write_text("new\n")
    path.chmod(0o600)

    assert 0 == put_back(path, backup)
    assert (0o644, 0o644) == (written.st_mode & 0o777, path.stat().st_mode & 0o777)
    assert "old\n" == path.read_text()


@pytest.mark.parametrize("removed", [False, True])
def test_a_file_keeps_its_owner_group_and_attributes(tmp_path, removed):
    """R1.6: written and put back in place it is one and the same file; one that somebody has
    made anew meanwhile gets its owner and group back."""
    if os.getuid():
        pytest.skip("only root gives a file away")
    path, backup = tmp_path / "config.yaml", tmp_path / "bak"
    path.write_text("old\n")
    os.chown(path, 4242, 4343)
    os.setxattr(path, "user.note", b"ours")

    done = files.write_in_place(str(staged(path, "new\n")), str(path), None, str(backup))
    subprocess.run(done.argv, capture_output=True, check=True)
    written, note = path.stat(), os.getxattr(path, "user.note")
    if removed:
        path.unlink()
        path.write_text("new\n")
    returned = put_back(path, backup)
    back = path.stat()

    assert (4242, 4343, b"ours") == (written.st_uid, written.st_gid, note)
    assert (0, 4242, 4343) == (returned, back.st_uid, back.st_gid)
    assert removed or os.getxattr(path, "user.note") == b"ours"


def test_a_new_file_is_closed_to_others(tmp_path):
    """It holds the password; the group of the image's user is let in once there is one."""
    path = tmp_path / "config.yaml"
    done = files.write_in_place(str(staged(path, "new\n")), str(path), None, str(tmp_path / "bak"))
    subprocess.run(done.argv, capture_output=True, check=True)

    assert 0o600 == path.stat().st_mode & 0o777


def staged(path, text):
    new = path.with_name("staged")
    new.write_text(text)
    return new
