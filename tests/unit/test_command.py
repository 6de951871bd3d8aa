"""Words become shell text in one place; a real sh is the judge."""

from __future__ import annotations

import random
import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from omsfab.command import command, framed, script, shown, wire
from omsfab.secret import Secret

NASTY = [
    "a b",
    "it's",
    "$(reboot)",
    "`x`",
    "a\nb",
    "",
    "*",
    "-rf",
    "~",
    "!!",
    "\\",
    '"',
    "#",
    "é你",
]
ALPHABET = "ab '\"$`\\(){}[]<>|&;*?~#!%=^\t\n\r-/.,é你🙂\x01\x7f\x1b"


def through_sh(text: str) -> bytes:
    return subprocess.run(["sh", "-c", text], capture_output=True, check=True).stdout


def test_ten_thousand_hostile_words_come_back_unchanged():
    """V11: what goes through a real sh is exactly what went in, word by word."""
    dice = random.Random(20261122)
    words = NASTY + ["".join(dice.choices(ALPHABET, k=dice.randint(0, 12))) for _ in range(10_000)]

    for at in range(0, len(words), 500):
        batch = words[at : at + 500]
        got = through_sh(wire(command("printf", r"%s\0", *batch), sudo=False))

        assert batch == got.decode().split("\0")[:-1]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), max_size=20))
def test_any_words_come_back_unchanged_through_the_frame(words):
    """The frame adds its marks around both streams and changes no word."""
    text = framed(command("printf", r"%s\0", *words), "MARK", sudo=False)
    expected = "\0".join(words) + "\0"

    assert f"MARK<{expected}>MARK".encode() == through_sh(text)


def test_data_of_a_script_is_never_read_as_script():
    """Scripts are constants; data arrives as "$1"."""
    for word in NASTY:
        assert word.encode() == through_sh(wire(script('printf %s "$1"', word), sudo=False))


def test_the_frame_passes_status_and_input_on():
    """A framed command ends with its own status, and its input is its own."""
    text = framed(script("cat; echo bad >&2; exit 3"), "M", sudo=False)
    done = subprocess.run(["sh", "-c", text], input=b"in", capture_output=True, check=False)

    assert (3, b"M<in>M", b"M<bad\n>M") == (done.returncode, done.stdout, done.stderr)


def test_sudo_never_asks():
    """I11: `sudo -n` always, and `--` before the words."""
    assert "sudo -n -- docker ps" == wire(command("docker", "ps"), sudo=True)
    assert framed(command("docker", "ps"), "M", sudo=True).endswith(" M sudo -n -- docker ps")


def test_the_frame_fits_on_one_line():
    """A csh does not take a line end between quotes."""
    assert "\n" not in framed(command("true"), "M", sudo=False)


def test_a_secret_on_stdin_is_in_no_text():
    """X01: secrets travel on standard input, so neither the wire nor the screen shows them."""
    cmd = command("sh", "-s", stdin=Secret("CANARY"))
    texts = (wire(cmd, sudo=False), framed(cmd, "M", sudo=True), shown(cmd), repr(cmd), str(cmd))

    assert not [text for text in texts if "CANARY" in text]


def test_a_script_is_shown_by_its_first_line():
    """The operator reads what it does and on what, quoted so that it can be pasted."""
    cmd = script("# write the file in place\nrm x", "/data/my file")

    assert "[write the file in place] '/data/my file'" == shown(cmd)
