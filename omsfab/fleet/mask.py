"""Text from a node becomes text for a screen, a journal, a report here, and nowhere else.

``plain`` takes out what a terminal would obey: escape sequences (OSC 52 writes the clipboard),
control characters, marks that turn or hide text.  Line ends and tabs stay.

``Redactor`` masks secrets in what is left, in whatever form a program has written them:

============================  ====================================================================
a secret of                   is masked
============================  ====================================================================
8 characters or more          wherever it stands
6 or 7, or 4 or 5 that are    where no letter or digit is beside it
not all letters or all digits
fewer (``no``, ``root``),     where a value stands: behind a key such as ``password``, in a URL,
or a word such as             behind ``-p``, alone on its line
``password`` itself
============================  ====================================================================

What stands behind a key that names a password is masked whatever it is (``password_original`` is
printed by docker_init.sh, in clear, and need not be the password that we know).
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from itertools import groupby

from omsfab.secret import Secret

STARS = "****"

WHOLE, WORD = 8, 6
"""Characters from which on a secret is masked wherever it stands, and as a word of its own."""

LONGEST = 256
"""A longer secret is the content of a file: nobody prints it on one line, its lines are masked."""

KEYS = "oms_meta_password password_original passwd passphrase pwd drc_password secret access_key"
"""A secret that is a part of these would take the keys away by which others are found."""

# --- what a terminal would obey ------------------------------------------------------------------

_ESCAPES = re.compile(
    r"""
      (?:\x1b\[|\x9b) [0-?]* [ -/]* [@-~]?                        # CSI: colours, cursor
    | (?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f]) [^\x07\x1b\x9c\r\n]* (?:\x07|\x1b\\|\x9c)?  # OSC, DCS
    | \x1b [ -/]* [0-~]?                                          # all others
    """,
    re.VERBOSE,
)
_OVERSTRUCK = re.compile(r"[^\r\n\x08]\x08")
_LINE_ENDS = re.compile(r"\r\n|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_RETURNED = re.compile(r"[^\n]*\r(?=[^\r\n])")


def plain(text: str) -> str:
    """Return the text as a terminal would show it, without anything that a terminal obeys.

    Of a line that was written over (a progress bar) the last state stays.
    """
    return _settled(_stripped(text))


def _stripped(text: str) -> str:
    """Without escapes and unseen characters; carriage returns are still there."""
    if text.isascii() and text.isprintable():
        return text
    text = _ESCAPES.sub("", text)
    for _ in range(32):
        text, count = _OVERSTRUCK.subn("", text)
        if not count:
            break
    return _UNSEEN.sub("", _LINE_ENDS.sub("\n", text))


def _settled(text: str) -> str:
    return _RETURNED.sub("", text).replace("\r", "") if "\r" in text else text


def one_line(text: str) -> str:
    """``plain``, on one line: for a table's cell or a title."""
    return " ".join(plain(text).split())


# --- values by their key -------------------------------------------------------------------------

_QUOTED = r"""
    [bBuUrR]{0,2} (?:
      "(?:\\.|""|[^"\\\n])*(?:"|(?=\n)|\Z)
    | '(?:\\.|''|'\\''|'"'"'|[^'\\\n])*(?:'|(?=\n)|\Z)
    | (?P<bs>\\+)(?P<q>["']) [^\n]*? (?<!\\)(?P=bs)(?P=q)
    )
"""
_BY_KEY = re.compile(
    rf"""
    (?<![A-Za-z0-9])(?<!using\ )
    (?P<key>["']?[\w.\-]{{0,40}}(?:passw(?:or)?d|passphrase|pwd|secret|access_?key)[\w.\-]{{0,40}})
    (?:\\*["'])? [ \t]* (?:=>|:=|[:=]|%3[aAdD])
    [ \t]* (?:(?P<block>[|>][+-]?[0-9]?)?[ \t]*\n[ \t]*)?
    (?P<value>
      {_QUOTED}
    | (?(block) [^\n]+ | [^\s"'&,;<>|\\(){{}}\[\]$%*][^\s&,;"'<>|\\){{}}\]]* )
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_YAML_LINE = re.compile(
    r"^[ \t-]*[\w.]*(?:passw(?:or)?d|passphrase|pwd|access_?key)[\w.]*:[ \t]+"
    r"(?P<value>[^\s\[{|>&*!%#'\"][^\n#]*?)[ \t]*(?:[ \t]\#|$)",
    re.MULTILINE | re.IGNORECASE,
)
_OTHER_PLACES = re.compile(
    rf"""
      --?(?:password|passwd|pwd)[ ]+(?P<flag>[^\s'"-]\S*|["'][^"'\n]*["']?)
    | [a-z][a-z0-9+.\-]*://[^\s:/@'"]*:(?P<url>[^\s/@'"]+)(?=@)
    | \b(?:identified[ ]+by[ ]+(?:password[ ]+)?|password[ ]*\([ ]*)(?P<sql>{_QUOTED})
    | \bauthorization["']?[ ]*[:=][ ]*["']?(?:basic|bearer|token)[ ]+(?P<header>[^\s"']+)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_AWAITED = re.compile(
    r"""(?:passw(?:or)?d|passphrase|pwd|secret|access_?key)"""
    r"""[\w.\-]*\\*["']?[ \t]*[:=][ \t]*[|>]?[+-]?\Z""",
    re.IGNORECASE,
)
"""The value of a key may follow on the next line."""

_MAY_HOLD = re.compile(
    r"passw|pwd|passphrase|secret|access_?key|://|identified|authorization", re.IGNORECASE
)


def _by_key(text: str) -> Iterator[tuple[int, int]]:
    """Yield where values stand whose key says that they are secret."""
    if not _MAY_HOLD.search(text):
        return
    for found in _BY_KEY.finditer(text):
        yield _inside(found.span("value"), text)
    for found in _YAML_LINE.finditer(text):
        yield found.span("value")
    for found in _OTHER_PLACES.finditer(text):
        for name in ("flag", "url", "sql", "header"):
            if (found[name] or "*").strip("*"):
                yield _inside(found.span(name), text)


def _inside(span: tuple[int, int], text: str) -> tuple[int, int]:
    """Without the quotes around it: what is left is still a value of its language."""
    begin, end = span
    opening = re.compile(r"""[bBuUrR]{0,2}\\*["']""").match(text, begin, end)
    if not opening:
        return span
    closing = re.search(r"""\\*["']\Z""", text[opening.end() : end])
    return opening.end(), opening.end() + closing.start() if closing else end


# --- the forms of a secret -----------------------------------------------------------------------

_GAP = r"""(?:\\*["']?\\?[\r\n]+[ \t]*["']?|\\+[\r\n]+)?"""
"""A line end may fall between any two characters, with quotes where a program wraps its strings."""


@cache
def _character(c: str) -> str:
    """Return what matches one character, as it is or as shell, URL, JSON, YAML, Python, HTML
    write it, once or one within the other.  Each alternative begins with a literal: re is quick."""
    code = ord(c)
    utf8 = c.encode(errors="surrogatepass")
    escaped = [rf"x0*{_digits(f'{code:x}')}", rf"u\{{?0*{_digits(f'{code:04x}')}\}}?"]
    escaped += [rf"U{_digits(f'{code:08x}')}", rf"0?{code:o}"]
    if code > 127:
        escaped.append(r"\\+".join(f"x{_digits(f'{byte:02x}')}" for byte in utf8))
        escaped.append(r"\\+".join(f"{byte:03o}" for byte in utf8))
    if code > 0xFFFF:
        high, low = 0xD800 + ((code - 0x10000) >> 10), 0xDC00 + ((code - 0x10000) & 0x3FF)
        escaped.append(rf"u{_digits(f'{high:04x}')}\\+u{_digits(f'{low:04x}')}")
    if not c.isalnum():
        escaped.append(re.escape(c))
    escaped += {"\n": ["n"], "\t": ["t"], "\r": ["r"]}.get(c, [])
    same = {" ": [" ", r"\+"], "$": [r"\$\$?"]}.get(c, [re.escape(c)])
    same.append("".join(f"%(?:25)*{_digits(f'{byte:02x}')}" for byte in utf8))
    named = html.escape(c)
    same += [rf"&#(?:0*{code}|x0*{_digits(f'{code:x}')});", *([named] if named != c else [])]
    return f"(?:{'|'.join(same)}|{BACK}{BACK}{{0,15}}(?:{'|'.join(escaped)}))"


BACK = r"\\"
QUOTING = "\\'\""
_QUOTING = (
    "(?:[" + BACK + "'\"]|%(?:25)*(?:5[cC]|2[27])|&(?:quot|#(?:34|39|92|x2[27]|x5c));"
    + BACK.join(["|", "(?:[xX]|u00)(?:5[cC]|2[27])|", "0?(?:134|42|47)"]) + "){1,40}"
)  # fmt: skip
"""A run of backslashes and quotes, as one: each shell and language doubles them its own way."""


def _digits(text: str) -> str:
    """Match hexadecimal digits in either case."""
    return "".join(f"[{x}{x.upper()}]" if x.isalpha() else x for x in text)


def _base64(secret: str) -> Iterator[list[str]]:
    """Yield the characters of base64 that stand for the secret, at each place it may begin.

    What stands before and behind it shares the first and the last character, so these are left out.
    """
    data = secret.encode(errors="surrogatepass")
    for before in range(3):
        text = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        core = text[(0, 2, 3)[before] :]
        if (before + len(data)) % 3:
            core = core[:-1]
        yield [_sixty_four(c) for c in core]


def _sixty_four(c: str) -> str:
    return {"+": r"(?:\+|-|%2[bB])", "/": r"(?:/|_|%2[fF]|\\/)"}.get(c, c)


def _characters(secret: str) -> list[str]:
    quoting = groupby(secret, QUOTING.__contains__)
    runs = ([_QUOTING] if run else [_character(c) for c in some] for run, some in quoting)
    return [unit for units in runs for unit in units]


def _units(secret: str) -> Iterator[tuple[list[str], str]]:
    """Yield (patterns of the characters, what may stand between two) for each form but base64's
    and the digits' where they would be too short to mean anything."""
    yield _characters(secret), _GAP
    wrapped = r"(?:\\*[\r\n]+[ \t]*|\\+n)?"
    if len(secret) >= WORD:
        for core in _base64(secret):
            yield core, wrapped
    if len(secret) >= 4:
        digits = [_digits(f"{byte:02x}") for byte in secret.encode(errors="surrogatepass")]
        yield digits, r"(?:[ :]|\\*[\r\n]+[ \t]*)?"


_ALONE_BEFORE = (
    r"(?:(?<![A-Za-z0-9_])|(?<=%[0-9A-Fa-f]{2})"
    r"|(?<=\\[nrt])|(?<=\\u[0-9a-f]{4})|(?<=\\x[0-9a-f]{2}))"
)
_ALONE_BEHIND = r"(?![A-Za-z0-9_])"


def _patterns(secret: str) -> Iterator[str]:
    """Yield what finds this secret."""
    exactly = "|".join(
        rf"(?<![A-Za-z0-9+/=_-]){re.escape(base64.b64encode(text.encode()).decode())}"
        r"(?![A-Za-z0-9+/=_-])"
        for text in (secret, f"{secret}\n")
    )
    if _only_as_value(secret):
        word = "".join(_characters(secret))
        yield rf"(?<=\s-p){word}(?=\s|$)|^[ \t]*{word}[ \t]*$|{exactly}"
        return
    if len(secret) >= WHOLE:
        before = behind = ""
    else:
        before, behind = _ALONE_BEFORE, _ALONE_BEHIND
        yield exactly
    for number, (units, gap) in enumerate(_units(secret)):
        form = gap.join(units)
        yield form if number else before + form + behind


def _only_as_value(secret: str) -> bool:
    word = secret.isalpha() or secret.isdigit()
    return len(secret) < (WORD if word else 4) or secret.lower() in KEYS


def _begins(secret: str) -> Iterator[str]:
    """Yield what finds the first part of the secret at the end of a text."""
    for units, gap in _units(secret[:60]):
        nested = ""
        for unit in reversed(units[1:]):
            nested = rf"(?:{gap}{unit}{nested})?"
        yield rf"{units[0]}{nested}\\*[\"']?\s*\Z"


# --- all of it -----------------------------------------------------------------------------------


class Redactor:
    """Makes text that may be shown: without escapes, without any of these secrets."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        words: set[str] = set()
        for secret in secrets:
            text = secret.reveal()
            words |= set(text.splitlines()) if len(text) > LONGEST else {text, text.strip()}
        words -= {""}
        longest_first = sorted(words, key=lambda word: (-len(word), word))
        self._found = [
            re.compile(pattern, re.MULTILINE)
            for word in longest_first
            for pattern in _patterns(word[:LONGEST])
        ]
        self._words = [word for word in longest_first if not _only_as_value(word)]

    def __call__(self, text: str) -> str:
        """Return the text without anything a terminal obeys, and with stars for what is secret."""
        text = _stripped(text)
        spans = sorted(
            (
                *_by_key(text),
                *(found.span() for pattern in self._found for found in pattern.finditer(text)),
            )
        )
        parts: list[str] = []
        at = 0
        for begin, end in spans:
            if end <= at:
                continue
            if begin > at or not parts:
                parts += [text[at:begin], STARS if begin < end else ""]
            at = end
        return _settled("".join((*parts, text[at:])))

    @cached_property
    def _begun(self) -> list[re.Pattern[str]]:
        return [re.compile(pattern) for word in self._words for pattern in _begins(word)]

    def lines(self) -> Lines:
        """Return a filter for lines that come one after the other."""
        return Lines(self)

    def unfinished(self, text: str) -> bool:
        """True if a secret may have begun at the end of this text, and go on in the next line."""
        tail = _stripped(text)[-4 * LONGEST :]
        return bool(_AWAITED.search(tail)) or any(begun.search(tail) for begun in self._begun)


class Lines:
    """Lines one by one; one that may hold the beginning of a secret waits for the next."""

    MOST = 8
    """So many lines wait at most."""

    def __init__(self, redact: Redactor) -> None:
        self._redact = redact
        self._held: list[str] = []

    def feed(self, line: str) -> list[str]:
        """Return the lines that can be shown now."""
        self._held.append(line)
        if len(self._held) < self.MOST and self._redact.unfinished("\n".join(self._held)):
            return []
        return self.rest()

    def rest(self) -> list[str]:
        """Return what waits still: nothing more will come."""
        held, self._held = self._held, []
        return self._redact("\n".join(held)).split("\n") if held else []
