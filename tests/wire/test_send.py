"""Large files over a real sshd: cut, corrupted, full; every byte proven, few sent twice."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import shutil
import signal
import subprocess
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from omsfab.commands import files
from omsfab.errors import LostSession, PreflightError, StepFailed
from omsfab.ssh import transfer

MIB = 1 << 20


@pytest.fixture
def package(tmp_path):
    """24 MiB of noise, and its digest."""
    path = tmp_path / "package.tar.gz"
    path.write_bytes(os.urandom(24 * MIB))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


class Counting:
    """A shell that counts its commands, and the bytes which are fed to the node."""

    def __init__(self, shell):
        self.node, self._shell, self.sent, self.commands = shell.node, shell, 0, 0
        self.said = []

    def run(self, cmd, on_line=None):
        self.commands += 1
        done = self._shell.run(cmd, on_line)
        self.said.append(done.out.strip())
        return done

    def feed(self, cmd, chunks, on_line=None):
        self.commands += 1
        return self._shell.feed(cmd, self._counted(chunks), on_line)

    def _counted(self, chunks):
        for chunk in chunks:
            self.sent += len(chunk)
            yield chunk


class Spoiled(Counting):
    """A line on which one byte is another at its end, so many times."""

    times = 1

    def feed(self, cmd, chunks, on_line=None):
        chunks = list(chunks)
        if self.times:
            self.times -= 1
            chunks[0] = bytes([chunks[0][0] ^ 1]) + chunks[0][1:]
        return super().feed(cmd, chunks, on_line)


def test_a_file_arrives_whole_and_progress_is_told(server, package, tmp_path):
    """Content equal, no part left, the last word of the progress is the size."""
    source, digest = package
    dest, told = tmp_path / "it's there.tar", []
    server.shell().send(source, str(dest), source.stat().st_size, digest, told.append)

    assert digest == hashlib.sha256(dest.read_bytes()).hexdigest()
    assert source.stat().st_size == told[-1] == max(told)
    assert not list(tmp_path.glob("*.part*"))


def test_a_file_that_is_there_is_not_sent(server, package, tmp_path):
    """Repeatable: the second run of a finished plan moves nothing."""
    source, digest = package
    shutil.copy(source, tmp_path / "dest")
    shell = Counting(server.shell())
    transfer.send(shell, source, str(tmp_path / "dest"), 24 * MIB, digest, lambda n: None)

    assert 0 == shell.sent


@pytest.mark.parametrize("at", [10, 50, 99])
def test_a_cut_transfer_goes_on_where_it_was_cut(server, package, tmp_path, at):
    """I05: cut at 10/50/99 %; at most 8 MB are sent again, the result is the file."""
    source, digest = package
    dest, cuts = tmp_path / "dest", []

    def cut_once(there):
        if there >= 24 * MIB * at // 100 and not cuts:
            cuts.append(there)
            for session in server.sessions():
                os.kill(session, signal.SIGKILL)

    shell = Counting(server.shell())
    told: list[str] = []
    transfer.send(shell, source, str(dest), 24 * MIB, digest, cut_once, told.append)

    assert digest == hashlib.sha256(dest.read_bytes()).hexdigest()
    assert 1 == len(cuts)
    if at < 99:  # there all may have been on its way already
        assert ["link to oms1 lost (SSH-020); again in 1 s"] == told
    assert shell.sent - 24 * MIB <= 8 * MIB


def test_a_killed_driver_leaves_a_part_that_is_continued(server, package, tmp_path):
    """The next run, another process: what is there is verified and kept."""
    source, digest = package
    part = tmp_path / "dest.part"
    part.write_bytes(source.read_bytes()[: 16 * MIB])
    shell = Counting(server.shell())
    transfer.send(shell, source, str(tmp_path / "dest"), 24 * MIB, digest, lambda n: None)

    assert 8 * MIB == shell.sent
    assert digest == hashlib.sha256((tmp_path / "dest").read_bytes()).hexdigest()


@pytest.mark.parametrize("length", [MIB, 24 * MIB, 25 * MIB])
def test_a_corrupted_part_is_begun_anew(server, package, tmp_path, length):
    """One flipped bit, or too long: nothing of it is trusted."""
    source, digest = package
    wrong = bytearray((source.read_bytes() + b"x" * MIB)[:length])
    wrong[MIB // 2] ^= 1
    (tmp_path / "dest.part").write_bytes(wrong)
    shell = Counting(server.shell())
    transfer.send(shell, source, str(tmp_path / "dest"), 24 * MIB, digest, lambda n: None)

    assert 24 * MIB == shell.sent
    assert digest == hashlib.sha256((tmp_path / "dest").read_bytes()).hexdigest()


def once(at, act):
    """A listener to progress that acts when so many bytes are there, and never again."""
    done = []

    def told(there):
        if there >= at and not done:
            done.append(there)
            act()

    return told


def test_a_package_is_three_commands(server, package, tmp_path):
    """What is there, the bytes and their digest, the name: the file is not read once more."""
    source, digest = package
    shell = Counting(server.shell())
    transfer.send(shell, source, str(tmp_path / "dest"), 24 * MIB, digest, lambda n: None)

    assert 3 == shell.commands


def test_what_this_run_has_sent_is_not_hashed_before_the_rest_follows(server, package, tmp_path):
    """After a cut the bytes flow again at once; the whole is proven at its end."""
    source, digest = package

    def cut():
        for session in server.sessions():
            os.kill(session, signal.SIGKILL)

    shell = Counting(server.shell())
    dest = tmp_path / "dest"
    transfer.send(shell, source, str(dest), 24 * MIB, digest, once(12 * MIB, cut))

    assert [True] == [said.startswith("part ours ") for said in shell.said if "part" in said]
    assert digest == hashlib.sha256(dest.read_bytes()).hexdigest()


def test_a_part_of_our_own_sending_is_proven_at_the_end(server, package, tmp_path):
    """One bit of what had arrived flips while the line is down: all of it is sent again."""
    source, digest = package
    dest, part = tmp_path / "dest", tmp_path / "dest.part"

    def cut():
        for session in server.sessions():
            os.kill(session, signal.SIGKILL)

    def flip(_):
        with part.open("r+b") as file:
            file.seek(MIB)
            byte = file.read(1)
            file.seek(MIB)
            file.write(bytes([byte[0] ^ 1]))

    shell = Counting(server.shell())
    transfer.send(shell, source, str(dest), 24 * MIB, digest, once(12 * MIB, cut), flip)

    assert digest == hashlib.sha256(dest.read_bytes()).hexdigest()
    assert shell.sent >= 47 * MIB


@pytest.mark.parametrize("how", ["appends to", "truncates", "removes"])
def test_who_meddles_with_the_part_is_noticed(server, package, tmp_path, how):
    """Another hand on the part while it grows: it is not the file, so it is sent again."""
    source, digest = package
    dest, part = tmp_path / "dest", tmp_path / "dest.part"

    def meddle():
        if how == "appends to":
            with part.open("ab") as file:
                file.write(b"x")
        elif how == "truncates":
            os.truncate(part, 0)
        else:
            part.unlink()

    shell = Counting(server.shell())
    transfer.send(shell, source, str(dest), 24 * MIB, digest, once(8 * MIB, meddle))

    assert digest == hashlib.sha256(dest.read_bytes()).hexdigest()
    assert 48 * MIB == shell.sent
    assert not list(tmp_path.glob("dest.*"))


def test_a_package_that_changes_while_it_is_sent_is_told(server, package, tmp_path):
    """XFER-001, as one that had changed before; nothing of it stays on the node."""
    source, digest = package

    def change():
        with source.open("r+b") as file:
            file.seek(20 * MIB)
            file.write(b"another")

    with pytest.raises(StepFailed) as error:
        dest = str(tmp_path / "dest")
        transfer.send(server.shell(), source, dest, 24 * MIB, digest, once(4 * MIB, change))

    assert "XFER-001" == error.value.id
    assert not list(tmp_path.glob("dest*"))


def test_a_package_that_arrives_otherwise_twice_is_refused(server, package, tmp_path):
    """XFER-003 with both digests; what was there is removed."""
    source, digest = package
    shell = Spoiled(server.shell())
    shell.times = 2
    with pytest.raises(StepFailed) as error:
        transfer.send(shell, source, str(tmp_path / "dest"), 24 * MIB, digest, lambda n: None)

    assert ("XFER-003", 48 * MIB) == (error.value.id, shell.sent)
    assert digest in error.value.evidence
    assert not list(tmp_path.glob("dest*"))


def at_work_for(server):
    """What runs below the sessions, by name."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            pid, name = status.read_text().split()[:2]
            environ = status.with_name("environ").read_bytes()
            if f"OMSFAB_TEST={server.home}".encode() in environ:
                found.setdefault(name.strip("()"), []).append(int(pid))
    return found


def test_a_writer_that_is_killed_has_not_written_the_file(server, package, tmp_path):
    """Its status is asked: what it had written is no package, and does not get the name."""
    source, digest = package

    def kill():
        pid = int((tmp_path / "dest.part.pid").read_text())
        os.kill(pid, signal.SIGKILL)

    with pytest.raises(StepFailed) as error:
        dest = str(tmp_path / "dest")
        transfer.send(server.shell(), source, dest, 24 * MIB, digest, once(8 * MIB, kill))

    assert "XFER-005" == error.value.id
    assert not (tmp_path / "dest").exists()


def test_a_digest_that_is_killed_proves_nothing(server, package, tmp_path):
    """No digest is no proof: it is sent again, and proven then."""
    source, digest = package
    dest = tmp_path / "dest"

    def kill():
        now = at_work_for(server)
        for pid in now.get("openssl", []) + now.get("sha256sum", []):
            os.kill(pid, signal.SIGKILL)

    shell = Counting(server.shell())
    transfer.send(shell, source, str(dest), 24 * MIB, digest, once(8 * MIB, kill))

    assert (48 * MIB, digest) == (shell.sent, hashlib.sha256(dest.read_bytes()).hexdigest())


def test_a_writer_that_outlived_its_session_does_not_append(server, package, tmp_path):
    """A session may be cut for us and alive on the node: its `cat` is ended before we go on."""
    source, digest = package
    part = tmp_path / "dest.part"
    part.write_bytes(source.read_bytes()[:MIB])
    with part.open("ab") as file:
        stale = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file)
    Path(f"{part}.pid").write_text(f"{stale.pid}\n")
    transfer.send(server.shell(), source, str(tmp_path / "dest"), 24 * MIB, digest, lambda n: None)

    assert -signal.SIGKILL == stale.wait(5)
    assert digest == hashlib.sha256((tmp_path / "dest").read_bytes()).hexdigest()


def test_a_stale_pid_file_kills_nobody(server, package, tmp_path):
    """The pid may belong to somebody else by now: only a writer of this very part is ended."""
    source, digest = package
    part = tmp_path / "dest.part"
    part.write_bytes(b"")
    innocent = subprocess.Popen(["sleep", "600"])
    Path(f"{part}.pid").write_text(f"{innocent.pid}\n")
    transfer.send(server.shell(), source, str(tmp_path / "dest"), 24 * MIB, digest, lambda n: None)
    alive = innocent.poll() is None
    innocent.kill()
    innocent.wait()

    assert alive


def test_a_full_disk_is_told_with_its_figures(server, package, tmp_path):
    """I07: our own part is removed, df is the evidence.  Skipped where no tmpfs can be mounted."""
    source, digest = package
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here (needs root)")
    try:
        with pytest.raises(StepFailed) as error:
            server.shell().send(source, str(small / "dest"), 24 * MIB, digest, lambda n: None)
        left = list(small.iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)

    assert "XFER-002" == error.value.id
    assert (True, []) == (str(small) in error.value.evidence, left)


def test_a_changed_source_is_not_passed_off_as_the_planned_one(server, package, tmp_path):
    """The digest of the plan is what counts; the part of the other file does not stay."""
    source, digest = package
    with pytest.raises(StepFailed) as error:
        server.shell().send(source, str(tmp_path / "dest"), 24 * MIB, "0" * 64, lambda n: None)

    assert ("XFER-001", "jump host") == (error.value.id, error.value.where)
    assert digest in error.value.what
    assert not list(tmp_path.glob("dest*"))


def test_a_source_of_another_size_is_refused_before_it_is_sent(server, package, tmp_path):
    """XFER-001, no byte moved."""
    source, digest = package
    with pytest.raises(StepFailed) as error:
        server.shell().send(source, str(tmp_path / "dest"), MIB, digest, lambda n: None)

    assert "XFER-001" == error.value.id


@pytest.mark.parametrize("kind", ["gone", "a directory"])
def test_a_source_that_cannot_be_read_is_not_blamed_on_the_node(server, package, tmp_path, kind):
    """XFER-001 at once, with the system's words: when it is looked at, and when it is read."""
    source, digest = package
    source.unlink()
    if kind == "a directory":
        source.mkdir()
    size = source.stat().st_size if source.exists() else 24 * MIB

    with pytest.raises(StepFailed) as error:
        dest = str(tmp_path / "dest")
        transfer.send(server.shell(), source, dest, size, digest, lambda n: None, patience=-1)

    assert ("XFER-001", "jump host") == (error.value.id, error.value.where)
    assert "cannot be read: " in error.value.what


def test_an_unreachable_node_is_given_up_in_the_end(package):
    """XFER-004 after its patience, with how much is there."""
    source, digest = package

    class Gone:
        node = "oms2"

        def run(self, cmd, on_line=None):
            raise LostSession("SSH-020", "gone")

    with pytest.raises(StepFailed) as error:
        transfer.send(Gone(), source, "/d", 24 * MIB, digest, lambda n: None, patience=-1)

    assert "XFER-004" == error.value.id


def test_several_nodes_at_once(server, package, tmp_path):
    """The caller's threads, one shell each: all of it arrives everywhere."""
    source, digest = package
    dests = [tmp_path / f"dest{n}" for n in range(3)]

    def one(dest):
        server.shell().send(source, str(dest), 24 * MIB, digest, lambda n: None)

    threads = [threading.Thread(target=one, args=(dest,)) for dest in dests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [digest] * 3 == [hashlib.sha256(dest.read_bytes()).hexdigest() for dest in dests]


def test_memory_does_not_grow_with_the_file(server, package, tmp_path):
    """J17: streaming only."""
    source, digest = package
    shell = server.shell()
    shell.open()
    tracemalloc.start()
    shell.send(source, str(tmp_path / "dest"), 24 * MIB, digest, lambda n: None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 8 * MIB


# --- who reads it while it arrives --------------------------------------------------------------

KEPT_BACK = 4 * MIB


def reader(tmp_path, then=":"):
    """Words that copy what they read, and give the copy its name when they have come to its
    end."""
    text = f'cat >"$1.part"; {then}; mv "$1.part" "$1"'
    return ("sh", "-c", text, "reader", str(tmp_path / "read"))


def send_and_read(shell, package, tmp_path, told=lambda n: None, words=(), **more):
    source, digest = package
    words = words or reader(tmp_path)
    transfer.send(
        shell, source, str(tmp_path / "dest"), 24 * MIB, digest, told, reader=words, **more
    )


def await_size(path, size=1):
    for _ in range(600):
        if path.exists() and path.stat().st_size >= size:
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} does not come to {size} bytes")


def test_a_reader_has_the_file_while_it_arrives(server, package, tmp_path):
    """The first bytes while the last are not sent yet; all of it in the end, which is waited
    for."""
    source, _ = package

    def halfway():
        await_size(tmp_path / "read.part", 8 * MIB)

    shell = Counting(server.shell())
    send_and_read(shell, package, tmp_path, once(12 * MIB, halfway))

    assert source.read_bytes() == (tmp_path / "read").read_bytes()
    assert source.read_bytes() == (tmp_path / "dest").read_bytes()
    assert 3 == shell.commands
    assert not list(tmp_path.glob("dest.*"))


def test_a_reader_does_not_come_to_the_end_of_another_package(server, package, tmp_path):
    """It is killed before its end, with the last 4 MiB unread: no image is made of it."""
    source, _ = package
    with pytest.raises(StepFailed) as error:
        send_and_read(server.shell(), (source, "0" * 64), tmp_path)
    read = tmp_path / "read.part"

    assert ("XFER-001", False) == (error.value.id, (tmp_path / "read").exists())
    assert not read.exists() or read.stat().st_size <= 24 * MIB - KEPT_BACK


@pytest.mark.parametrize("at", [1, 12, 23])
def test_a_reader_begins_anew_after_a_cut(server, package, tmp_path, at):
    """From the first byte of what is on the disk: what it read before the cut came to no end."""
    source, _ = package

    def cut():
        for session in server.sessions():
            os.kill(session, signal.SIGKILL)

    shell = Counting(server.shell())
    send_and_read(shell, package, tmp_path, once(at * MIB, cut))

    assert source.read_bytes() == (tmp_path / "read").read_bytes()
    assert shell.sent - 24 * MIB <= 8 * MIB


@pytest.mark.parametrize("words", [("false",), ("no-such-word",), ("head", "-c", "1000000")])
def test_a_reader_that_gives_up_does_not_keep_the_file_away(server, package, tmp_path, words):
    """A daemon that is down, or dies in it: the file arrives, and can be read afterwards."""
    _, digest = package
    send_and_read(server.shell(), package, tmp_path, words=words)

    assert digest == hashlib.sha256((tmp_path / "dest").read_bytes()).hexdigest()


def test_a_reader_does_not_come_to_an_end_when_the_writer_is_killed(server, package, tmp_path):
    """Half a package has no end."""

    def kill():
        os.kill(int((tmp_path / "dest.part.pid").read_text()), signal.SIGKILL)

    with pytest.raises(StepFailed) as error:
        send_and_read(server.shell(), package, tmp_path, once(12 * MIB, kill))

    assert ("XFER-005", False) == (error.value.id, (tmp_path / "read").exists())


def test_a_reader_does_not_come_to_an_end_on_a_full_disk(server, package, tmp_path):
    """XFER-002 as without a reader."""
    source, digest = package
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here (needs root)")
    try:
        with pytest.raises(StepFailed) as error:
            dest, words = str(small / "dest"), reader(tmp_path)
            transfer.send(
                server.shell(), source, dest, 24 * MIB, digest, lambda n: None, reader=words
            )
        left = list(small.iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)

    assert ("XFER-002", []) == (error.value.id, left)
    assert not (tmp_path / "read").exists()


def test_a_reader_may_take_its_time_at_the_end(server, package, tmp_path, monkeypatch):
    """Layers are unpacked for minutes behind the last byte: that is no silence of the node."""
    brief = files.append

    def append(*words):
        return dataclasses.replace(brief(*words), limit=4)

    monkeypatch.setattr(files, "append", append)
    send_and_read(server.shell(), package, tmp_path, words=reader(tmp_path, "sleep 7"))

    assert (tmp_path / "read").exists()


def test_a_reader_reads_no_more_than_the_file(server, package, tmp_path):
    """Another hand appends to the part: the first reader is killed, the second has the file."""
    source, _ = package

    def meddle():
        with (tmp_path / "dest.part").open("ab") as file:
            file.write(b"x")

    send_and_read(server.shell(), package, tmp_path, once(8 * MIB, meddle))

    assert source.read_bytes() == (tmp_path / "read").read_bytes()


# --- small files: run.json, backups -------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    """64 KiB of noise, its digest, and where it shall go."""
    path = tmp_path / "backup.jsonl"
    path.write_bytes(os.urandom(64 << 10))
    there = tmp_path / "there"
    there.mkdir()
    return path, hashlib.sha256(path.read_bytes()).hexdigest(), there / "backup.jsonl"


def put(shell, source, dest, digest):
    transfer.send(shell, source, str(dest), source.stat().st_size, digest, lambda n: None)


@pytest.mark.parametrize("there", [None, b"", b"an older one"])
def test_a_small_file_is_one_command(server, small, there):
    """One round trip, also over a file that is there; readable for its owner alone, nothing
    beside it."""
    source, digest, dest = small
    if there is not None:
        dest.write_bytes(there)
        dest.chmod(0o600)
    shell = Counting(server.shell())
    put(shell, source, dest, digest)

    assert source.read_bytes() == dest.read_bytes()
    assert (1, 0o600) == (shell.commands, dest.stat().st_mode & 0o777)
    assert [dest] == list(dest.parent.iterdir())


def test_a_small_file_that_is_there_stays(server, small):
    """The very same file: nothing is written where it has arrived before."""
    source, digest, dest = small
    shutil.copy(source, dest)
    before = dest.stat()
    put(server.shell(), source, dest, digest)

    assert (before.st_ino, before.st_mtime_ns) == (dest.stat().st_ino, dest.stat().st_mtime_ns)


def test_what_a_name_points_to_is_not_written_to(server, small):
    """A second name of an operator's file: the name is another file afterwards, his stays."""
    source, digest, dest = small
    his = dest.with_name("his")
    his.write_bytes(b"his own")
    os.link(his, dest)
    put(server.shell(), source, dest, digest)

    assert (b"his own", source.read_bytes()) == (his.read_bytes(), dest.read_bytes())


def test_a_small_file_that_arrived_otherwise_is_sent_again(server, small):
    """Once; what came first never had the name."""
    source, digest, dest = small
    shell = Spoiled(server.shell())
    put(shell, source, dest, digest)

    assert (2, source.read_bytes()) == (shell.commands, dest.read_bytes())


def test_a_small_file_that_arrives_otherwise_again_is_refused(server, small):
    """XFER-003; the former file stays, nothing lies beside it."""
    source, digest, dest = small
    dest.write_bytes(b"former")
    shell = Spoiled(server.shell())
    shell.times = 2
    with pytest.raises(StepFailed) as error:
        put(shell, source, dest, digest)

    assert ("XFER-003", b"former") == (error.value.id, dest.read_bytes())
    assert [dest] == list(dest.parent.iterdir())


def test_a_small_source_that_changed_is_not_sent(server, small):
    """XFER-001 with both digests, before a byte moves."""
    source, digest, dest = small
    shell = Counting(server.shell())
    with pytest.raises(StepFailed) as error:
        put(shell, source, dest, "0" * 64)

    assert ("XFER-001", 0) == (error.value.id, shell.commands)
    assert digest in error.value.what


def test_a_small_file_cut_in_its_midst_goes_again(server, small, tmp_path):
    """The session is killed while it is written: the former file stays until the whole one is
    there."""
    source, digest, dest = small
    dest.write_bytes(b"former")
    seen = []

    class Cut(Counting):
        def feed(self, cmd, chunks, on_line=None):
            return super().feed(cmd, self._cut(list(chunks)), on_line)

        def _cut(self, chunks):
            yield chunks[0]
            if not seen:
                for session in server.sessions():
                    os.kill(session, signal.SIGKILL)
                seen.append(dest.read_bytes())
            yield from chunks[1:]

    shell = Cut(server.shell())
    put(shell, source, dest, digest)

    assert ([b"former"], source.read_bytes()) == (seen, dest.read_bytes())


def test_a_directory_in_the_place_of_a_small_file(server, small):
    """XFER-006, as for a large one."""
    source, digest, dest = small
    dest.mkdir()
    with pytest.raises(PreflightError) as error:
        put(server.shell(), source, dest, digest)

    assert "XFER-006" == error.value.id


def test_no_room_for_a_small_file(server, small):
    """XFER-002 with df's figures; the former file stays, nothing lies beside it."""
    source, digest, dest = small
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(dest.parent)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here (needs root)")
    try:
        dest.write_bytes(b"former")
        with pytest.raises(StepFailed) as error:
            put(server.shell(), source, dest, digest)
        left, content = list(dest.parent.iterdir()), dest.read_bytes()
    finally:
        subprocess.run(["umount", str(dest.parent)], check=True)

    assert ("XFER-002", b"former") == (error.value.id, content)
    assert (True, [dest]) == (str(dest.parent) in error.value.evidence, left)
