"""Bytes come in any pieces: no character, line or mark may depend on where they were cut."""

from __future__ import annotations

import threading

import pytest

from omsfab.ssh.streams import Kept, Lines, Stream
from omsfab.ssh.transport import as_socket

TEXT = "步骤一 é\r\n【结束】全部初始化步骤执行成功\n🙂 last"
LINES = ["步骤一 é", "【结束】全部初始化步骤执行成功", "🙂 last"]


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
def test_lines_are_whole_wherever_they_were_cut(size):
    """Fabric decodes chunk by chunk and breaks characters; here they are joined before."""
    lines = Lines()
    got = [line for piece in pieces(TEXT.encode(), size) for line in lines.feed(piece)]

    assert LINES == got + lines.rest()


def test_a_line_without_end_comes_in_whole_characters(monkeypatch):
    """A flood without line ends neither fills the memory nor breaks a character."""
    monkeypatch.setattr("omsfab.ssh.streams.LONGEST", 10)
    lines = Lines()
    got = lines.feed(("你" * 10).encode()) + lines.rest()

    assert "你" * 10 == "".join(got)
    assert len(got) > 2


@pytest.mark.parametrize("size", [1, 2, 3, 16, 1000])
def test_noise_before_and_after_the_marks_is_no_output(size):
    """A login profile may print what it likes, also things that look like half a mark."""
    seen: list[str] = []
    stream = Stream("M1", seen.append)
    for piece in pieces(b"Welcome! M M1\nM1<" + TEXT.encode() + b">M>M1 bye\n", size):
        stream.feed(piece)

    assert TEXT + ">M" == stream.text()
    assert [*LINES[:2], "🙂 last>M"] == seen
    assert (True, True, "") == (stream.begun, stream.ended, stream.noise)


def test_output_that_was_cut_off_is_kept():
    """Without the second mark everything that came is output."""
    stream = Stream("M1", None)
    stream.feed(b"M1<half >M")
    stream.finish()

    assert "half >M" == stream.text()


def test_the_noise_is_evidence_when_nothing_else_came():
    """An account without a shell says so itself."""
    stream = Stream("M1", None)
    stream.feed(b"This account is currently not available.\n")

    assert "This account is currently not available." == stream.noise


def test_head_and_tail_are_kept_and_the_gap_is_told():
    """8 MB of a flood are enough, if they are the first and the last."""
    kept = Kept(head=4, tail=3)
    for piece in (b"ab", b"cdef", b"ghi", b"jkl", b"m"):
        kept.feed(piece)

    assert "abcd\n… 6 bytes left out …\nklm" == kept.text()


def test_a_forwarded_connection_whose_transport_has_ended_ends_quietly():
    """Closing its channel has nobody to tell any more: no thread dies of that."""

    class Gone:
        def sendall(self, data):
            raise EOFError

        recv = sendall

        def close(self):
            raise EOFError

    before = set(threading.enumerate())
    as_socket(Gone()).close()
    for thread in set(threading.enumerate()) - before:
        thread.join(5)

    assert set(threading.enumerate()) <= before
