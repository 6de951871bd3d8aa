"""Nothing out of a node reaches a screen that a terminal obeys, and no form of a secret either."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import string
from urllib.parse import quote, quote_plus

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from omsfab.fleet.mask import KEYS, Redactor, one_line, plain
from omsfab.secret import Secret

SIGNS = string.ascii_letters + string.digits + "!#$%&'()*+,-./:;<=>?@[]^_`{|}~\"\\ äß密"
ZQ7 = Redactor([Secret("Zq7#密Zq7#")])
secrets = st.text(st.sampled_from(SIGNS), min_size=8, max_size=40).filter(
    # A part of the keys by which others are found is masked where a value stands only.
    lambda text: (
        text == text.strip()
        and len(set(text)) > 3
        and "passw" not in text.lower()
        and text.lower() not in KEYS
    )
)
FORMS = {
    "plain": lambda s: s,
    "sh": shlex.quote,
    "sh, each sign": lambda s: re.sub(r"([^\w])", r"\\\1", s),
    "URL": lambda s: quote(s, safe=""),
    "URL, a path": quote,
    "URL, a form": quote_plus,
    "URL, small digits": lambda s: re.sub("%..", lambda m: m[0].lower(), quote(s, safe="")),
    "URL twice": lambda s: quote(quote(s, safe=""), safe=""),
    "JSON": json.dumps,
    "JSON, unescaped": lambda s: json.dumps(s, ensure_ascii=False),
    "JSON in JSON": lambda s: json.dumps(json.dumps(s)),
    "Python": repr,
    "Python 2": lambda s: "u" + ascii(s),
    "bytes of Python": lambda s: repr(s.encode()),
    "YAML": lambda s: yaml.safe_dump({"x": s}, width=1000),
    "YAML, single": lambda s: "'" + s.replace("'", "''") + "'",
    "YAML, double": lambda s: yaml.dump({"x": s}, default_style='"', width=1000),
    "HTML": html.escape,
    "hex": lambda s: s.encode().hex(),
    "octal": lambda s: "".join(f"\\{b:03o}" for b in s.encode()),
}


def remains(encoded: str, shown: str) -> bool:
    """True if a third of the encoded text or more is still to be read in one piece."""
    size = max(4, len(encoded) // 3)
    return any(encoded[at : at + size] in shown for at in range(len(encoded) - size + 1))


@given(secret=secrets, before=st.sampled_from(["", "x ", "=", "url?a=", "[ok] "]))
@settings(max_examples=40, deadline=None)
def test_no_form_of_a_secret_survives(secret, before):
    """Plain, quoted for sh, URL, JSON, Python, YAML, HTML, as hex: nothing to be read is left."""
    redact = Redactor([Secret(secret)])
    for form, write in FORMS.items():
        shown = redact(f"{before}{write(secret)} and more")

        assert "****" in shown, form
        assert not remains(secret, shown), form
        assert shown.endswith("and more"), form


@given(secret=secrets, before=st.binary(max_size=7), after=st.binary(max_size=7))
@settings(max_examples=40, deadline=None)
def test_base64_is_seen_wherever_the_secret_begins_in_it(secret, before, after):
    """Three bytes make four signs, so one secret looks in three ways: ``user:secret`` say."""
    assume(len(secret.encode()) >= 8)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(before + secret.encode() + after).decode()

        shown = Redactor([Secret(secret)])(f"Basic: {encoded}.")

        assert "****" in shown
        assert not remains(base64.b64encode(secret.encode()).decode()[:-3], shown)


@given(secret=secrets, at=st.integers(1, 30), code=st.sampled_from(
    ["\x1b[0m", "\x1b[1;31m", "\x9b32m", "\x1b]0;title\x07", "\x1b(B", "\x00", "\u200b", "x\x08"]
))  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_a_colour_within_a_secret_does_not_hide_it(secret, at, code):
    """What a terminal would show is what is looked through."""
    at = min(at, len(secret) - 1)

    shown = Redactor([Secret(secret)])(f"pw {secret[:at]}{code}{secret[at:]} end")

    assert "pw **** end" == shown


@pytest.mark.parametrize("form", ["plain", "URL", "JSON", "hex"])
@given(secret=secrets, data=st.data())
@settings(max_examples=8, deadline=None)
def test_a_secret_on_two_lines_is_masked_also_line_by_line(form, secret, data):
    """A console of 80 columns, a wrapped base64, a chunk that ends in its middle."""
    whole = FORMS[form](secret)
    at = data.draw(st.integers(1, len(whole) - 1))
    assume(re.sub(r"%.?.?\Z|\\u?.{0,4}\Z", "", whole[:at]) == whole[:at])  # not within an escape
    lines = Redactor([Secret(secret)]).lines()

    shown = [*lines.feed("before"), *lines.feed(f"pw {whole[:at]}"), *lines.feed(f"{whole[at:]} z")]
    shown += lines.rest()

    assert ["before", "pw"] == [shown[0], shown[1].split()[0]]
    assert not remains(secret, "".join(shown))
    assert "z" == shown[-1].split()[-1]


@given(secret=secrets)
@settings(max_examples=8, deadline=None)
def test_wrapped_base64_is_masked(secret):
    """`base64` wraps its lines; each of them is fed by itself."""
    encoded = base64.b64encode(b"user:" + secret.encode()).decode()
    redact = Redactor([Secret(secret)]).lines()

    shown = [
        line for at in range(0, len(encoded), 16) for line in redact.feed(encoded[at : at + 16])
    ]
    shown += redact.rest()

    assert not remains(base64.b64encode(b"user:" + secret.encode()).decode()[8:-4], "".join(shown))


@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200))
@settings(max_examples=300, deadline=None)
def test_ordinary_text_stays(text):
    """What holds no secret and names none is shown as it is."""
    assume(not re.search("pass|pwd|secret|://|identified|authorization", text, re.I))

    assert text == ZQ7(text)


@pytest.mark.parametrize("password", ["no", "root", "test", "admin", "1", "8088", "password"])
@pytest.mark.parametrize(
    "text",
    [
        "no drop task",
        "use config /home/admin/conf/config.yaml",
        "root 17 0.0 bash /root/docker_init.sh",
        "Engine(mysql+pymysql://test:***@10.186.62.73:8088/test_cm?charset=utf8)",
        "http://10.0.0.1:8088/oms/health says no",
        "Access denied for user 'root'@'10.0.0.1' (using password: YES)",
        "sudo: a password is required",
        "node1  admin  no  1",
        "exit status 1 after 1 s, port 8088",
    ],
)
def test_a_short_password_does_not_garble_the_text(password, text):
    """A word of two to five letters stands in every log, and is no secret there."""
    assert text == Redactor([Secret(password)])(text)


@pytest.mark.parametrize("password", ["no", "root", "admin", "1", "8088", "a,b", "password", "x y"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{'username': 'u', 'password_original': %r, 'port': 8027}",
         "{'username': 'u', 'password_original': '****', 'port': 8027}"),
        ("{u'password_original': u%r}", "{u'password_original': u'****'}"),
        ("oms_meta_password: %s", "oms_meta_password: ****"),
        ("  oms_meta_password: %s  # from the file", "  oms_meta_password: ****  # from the file"),
        ('"oms_meta_password": "%s", "x": 1', '"oms_meta_password": "****", "x": 1'),
        ('{\\"password\\": \\"%s\\", \\"x\\": 1}', '{\\"password\\": \\"****\\", \\"x\\": 1}'),
        ("identified by '%s';", "identified by '****';"),
        ("oms_meta_password: |\n  %s\nnext: 1", "oms_meta_password: |\n  ****\nnext: 1"),
    ],
)  # fmt: skip
def test_what_stands_behind_the_key_of_a_password_is_masked(password, text, expected):
    """Whatever it is: the image prints the password as it has it, which need not be ours."""
    assert expected == Redactor([])(text % password)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mysql://root:root@h/oms_rm", "mysql://root:****@h/oms_rm"),
        ("mysql -uroot -proot -h h", "mysql -uroot -p**** -h h"),
        ("mysql --password root", "mysql --password ****"),
        ("mysql --password=root -uroot", "mysql --password=**** -uroot"),
        ("GET /x?user=root&password=root&y=1", "GET /x?user=root&password=****&y=1"),
        ("root", "****"),
        ("cm9vdA==", "****"),
    ],
)
def test_a_short_password_is_masked_where_a_value_stands(text, expected):
    """URL, command line, form; alone on its line; base64 of exactly it."""
    assert expected == Redactor([Secret("root")])(text)


@pytest.mark.parametrize(
    ("password", "text", "expected"),
    [
        ("ab1!", "x ab1! y, xab1!, ab1!2", "x **** y, xab1!, ab1!2"),
        ("sesame", "open sesame, sesames", "open ****, sesames"),
        ("123456", "n=123456 1234567", "n=**** 1234567"),
    ],
)
def test_a_password_of_middling_length_is_masked_as_a_word(password, text, expected):
    """Part of a longer word it is a coincidence."""
    assert expected == Redactor([Secret(password)])(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[33muse config\x1b[0m", "use config"),
        ("a\x1b]52;c;ZWNobyBoaQ==\x07b", "ab"),
        ("a\x1b]52;c;ZWNobyBoaQ==\x1b\\b", "ab"),
        ("a\x9d52;c;ZWNobyBoaQ==\x9cb", "ab"),
        ("a\x1b]0;never ended\nb", "a\nb"),
        ("a\x1bP1;2|q\x1b\\b\x1b_x\x1b\\c\x1b^y\x07d", "abcd"),
        ("\x9b31mred\x9b0m", "red"),
        ("\x1bc\x1b(Bx\x1b7\x1b[?1049h", "x"),
        ("beep\x07 nul\x00 del\x7f", "beep nul del"),
        ("one\r\ntwo\tthree", "one\ntwo\tthree"),
        (" 10%\r 50%\r100%", "100%"),
        (" 10%\r 50%\r100%\r", "100%"),
        ("N\x08NA\x08AM\x08ME\x08E", "NAME"),
        ("\u202egnp.exe\u2066", "gnp.exe"),
        ("a\u2028b\x0bc\x85d", "a\nb\nc\nd"),
        ("密码 ✓ │ é", "密码 ✓ │ é"),
        ("half \x1b[", "half "),
    ],
)
def test_nothing_that_a_terminal_obeys_passes(text, expected):
    """CSI, OSC with either end, DCS, APC, C1, BEL; carriage returns leave the last state."""
    assert expected == plain(text)


@given(st.text(max_size=80))
@settings(max_examples=500, deadline=None)
def test_no_control_character_but_line_end_and_tab_passes(text):
    """Whatever a node says."""
    shown = plain(text)

    assert set() == {c for c in shown if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160}
    assert shown == plain(shown)


def test_one_line_is_one():
    """A table's cell holds no line end."""
    assert "a b c" == one_line(" a\nb\r\n\tc\x1b[0m ")


def test_a_line_that_begins_no_secret_is_shown_at_once():
    """Only what might go on in the next line waits."""
    lines = ZQ7.lines()

    assert [["ready."], [], ["x Zq7", "done."]] == [
        lines.feed("ready."), lines.feed("x Zq7"), lines.feed("done.")
    ]  # fmt: skip


def test_many_lines_of_backslashes_take_no_time():
    """No way to share them out is tried for ever."""
    secret = "a" + "\\" * 12 + "'" * 6 + "b"

    assert "\\" * 5000 == Redactor([Secret(secret)])("\\" * 5000)
