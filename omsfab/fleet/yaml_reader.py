"""YAML read strictly: the only place where omsfab reads YAML (hosts.yaml, config.yaml).

PyYAML's own loaders keep the last of two equal keys without a word, follow aliases (ten lines
become gigabytes), and recurse as deep as the file likes.  So its events are put together here,
in which case there is nothing left to forbid: no tag can build anything but text, numbers,
true/false, null, lists and mappings.  No message ever quotes a value: it may be a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

LIMIT = 1_000_000
"""Bytes; a hosts.yaml of 200 nodes has 10,000."""

DEPTH = 12
"""Levels; hosts.yaml has 5, config.yaml 2."""

KeyPath: TypeAlias = tuple[str, ...]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER: Any = yaml.resolver.Resolver()  # the types of PyYAML leave its methods out
_TAG = "tag:yaml.org,2002:"
_KINDS = ("str", "int", "float", "bool", "null", "map", "seq")
_KNOWN_TAGS = {None, "!", *(_TAG + kind for kind in _KINDS)}
_UNPRINTABLE = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NO_SPACE = re.compile(r"\s*(- )?[\"']?[\w.-]+[\"']?:[^\s/]")


class YamlFault(Exception):
    """The text cannot be read; ``line`` counts from 1."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(f"line {line}: {what}")
        self.line = line
        self.what = what


@dataclass(frozen=True, slots=True)
class Document:
    """What was read.

    ``lines`` says where each key stands.  ``faults`` are what YAML would let pass and we do not:
    keys that stand twice (the first counts), values that run on into the next line.
    ``odd`` are numbers that do not mean what they look like, such as 010, which is 8.
    """

    data: object
    lines: Mapping[KeyPath, int]
    faults: tuple[tuple[KeyPath, str], ...]
    odd: tuple[tuple[KeyPath, str], ...]


def decode(raw: bytes) -> str:
    """Return the bytes of a file as text; anything but UTF-8 is a YamlFault (a BOM is YAML)."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise YamlFault(line, "is not UTF-8; save the file as UTF-8") from None


def load(text: str) -> Document:
    """Read one YAML document; raises YamlFault with the line where it cannot be read."""
    if len(text.encode(errors="surrogatepass")) > LIMIT:
        raise YamlFault(1, f"more than {LIMIT:,} bytes; such a file holds a few thousand")
    if found := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise YamlFault(line, f"a control character, U+{ord(found.group()):04X}; delete it")
    reader = _Reader(yaml.parse(text, Loader=_LOADER))
    try:
        data = reader.document()
    except yaml.MarkedYAMLError as error:  # its own text quotes the line: not shown
        raise _syntax(error, text) from None
    return Document(data, reader.lines, tuple(reader.faults), tuple(reader.odd))


def _syntax(error: yaml.MarkedYAMLError, text: str) -> YamlFault:
    """The line an editor must go to, and its likely fault in plain words."""
    context, problem = error.context or "", error.problem or ""
    unfinished_key = "simple key" in context
    mark = error.context_mark if unfinished_key or "quoted" in context else error.problem_mark
    rows = text.split("\n")
    number = min(mark.line if mark else 0, len(rows) - 1)
    if "mapping values" in problem and number and _NO_SPACE.match(rows[number - 1]):
        number -= 1  # `a:1` is a text that goes on in the next line, where the parser stumbles
    return YamlFault(number + 1, _likely(rows[number], context, problem))


def _likely(row: str, context: str, problem: str) -> str:
    if "\t" in row[: len(row) - len(row.lstrip())]:
        return "a tab; YAML is indented with spaces"
    if _NO_SPACE.match(row):
        return "a space is missing after the colon; write key: value"
    if "simple key" in context:
        return "a colon is missing; write key: value"
    if "quoted" in context:
        return "a quote is not closed, or has a wrong \\ in it; in single quotes \\ is harmless"
    if "tag" in problem:
        return "a value that begins with !; put it in quotes"
    return f"is not YAML: {problem}; put values with special characters in quotes"


class _Reader:
    """One pass over the events of a document; depth is limited, so recursion is safe."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self.events = events
        self.lines: dict[KeyPath, int] = {}
        self.faults: list[tuple[KeyPath, str]] = []
        self.odd: list[tuple[KeyPath, str]] = []

    def document(self) -> object:
        data: object = None
        documents = 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise YamlFault(_line(event), "a second document (---); a file holds one")
                data = self._value(next(self.events), ())
        return data

    def _value(self, event: yaml.Event, path: KeyPath) -> object:
        if len(path) > DEPTH:
            raise YamlFault(_line(event), f"nested more than {DEPTH} levels deep")
        _refuse_magic(event)
        if isinstance(event, yaml.SequenceStartEvent):
            items = iter(self._next, None)
            return [self._value(item, (*path, str(n))) for n, item in enumerate(items)]
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        assert isinstance(event, yaml.ScalarEvent)  # noqa: S101 - nothing else begins a value
        return self._scalar(event, path)

    def _next(self) -> yaml.Event | None:
        """The next event of a list or mapping, None at its end."""
        event: yaml.Event = next(self.events)
        return None if isinstance(event, yaml.CollectionEndEvent) else event

    def _mapping(self, path: KeyPath) -> dict[str, object]:
        result: dict[str, object] = {}
        for event in iter(self._next, None):
            _refuse_magic(event)
            if not isinstance(event, yaml.ScalarEvent):
                raise YamlFault(_line(event), "a key that is a list or a mapping; keys are text")
            key, line = str(event.value), _line(event)
            here = (*path, key)
            twice = key in result
            if twice:
                both = f"{self.lines[here]} and {line}"
                self.faults.append((here, f"stands twice, on lines {both}; keep one of them"))
            self.lines.setdefault(here, line)
            value = self._value(next(self.events), here)
            if not twice:
                result[key] = value
        return result

    def _scalar(self, event: yaml.ScalarEvent, path: KeyPath) -> object:
        value, plain = str(event.value), bool(event.implicit[0])
        if plain and _line(event) != _last_line(event):
            why = "runs on into the next line; check the indentation, or put the value in quotes"
            self.faults.append((path, why))
        tag = event.tag
        if tag is None:
            tag = _RESOLVER.resolve(yaml.ScalarNode, value, event.implicit)
        match tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return value.lower() in {"true", "yes", "on"}
            case "int" | "float" as kind:
                return self._number(kind, value, path, _line(event))
            case _:
                return value

    def _number(self, kind: str, value: str, path: KeyPath, line: int) -> object:
        if not re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", value):
            how = "write it in plain decimal digits, or in quotes if it is text"
            self.odd.append((path, f"is a number to YAML, but not the one it looks like; {how}"))
        node = yaml.ScalarNode(_TAG + kind, value)
        make = yaml.constructor.SafeConstructor()  # knows 0x, 0o, 1_000 and 1:30 as OMS does
        try:
            number: object = (
                make.construct_yaml_int(node) if kind == "int" else make.construct_yaml_float(node)
            )
        except ValueError:
            raise YamlFault(line, f"tagged !!{kind}, but not a number") from None
        return number


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _last_line(event: yaml.Event) -> int:
    return event.end_mark.line + 1 if event.end_mark else 1


def _refuse_magic(event: yaml.Event) -> None:
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
        why = "ten lines of them can stand for gigabytes; write the values out"
        raise YamlFault(_line(event), f"an anchor or alias (& or *): not read, since {why}")
    if getattr(event, "tag", None) not in _KNOWN_TAGS:
        why = "tags can build any object; put the value in quotes if it is text"
        raise YamlFault(_line(event), f"a tag (!…): not read, since {why}")
