"""SQL as far as a MetaDB is asked: texts become syntax trees, trees become Python functions.

Nothing is answered that was not understood: a text beyond this grammar raises ``NotSimulated``
with the text.  Trees are kept by text and functions by tree and tables, so a statement that was
seen before costs a look-up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

Node: TypeAlias = "tuple[Any, ...]"
Values: TypeAlias = "tuple[Any, ...]"


class NotSimulated(Exception):
    """The simulation does not know this statement, function or column: it must learn it."""


# --- tables ----------------------------------------------------------------------------------

INTEGERS = {"tinyint", "smallint", "mediumint", "int", "integer", "bigint"}
FLOATS = {"float", "double"}
TIMES = {"datetime"}
BINARIES = {"blob", "binary", "varbinary", "tinyblob", "mediumblob", "longblob"}
NO_DEFAULT = ("none",)


@dataclass(frozen=True, slots=True)
class Column:
    """``kind``: n number, c text without case, b text with case, x bytes, t time."""

    name: str
    type: str
    kind: str
    length: int = 0
    nullable: bool = True
    default: Node = NO_DEFAULT
    extra: str = ""
    charset: str | None = None


@dataclass(eq=False, slots=True)
class Shape:
    """What a table is, apart from its rows; the same text gives the same shape."""

    columns: tuple[Column, ...]
    keys: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """Unique keys: name, and where their columns stand."""
    auto: int | None = None
    foreign: tuple[tuple[str, str, tuple[str, str], str, str], ...] = ()
    """Foreign keys: name, column, table, column there, rule for a delete."""
    index: dict[str, int] = field(init=False)
    plans: dict[Any, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.index = {column.name.lower(): n for n, column in enumerate(self.columns)}

    def key(self, values: Values, places: Sequence[int]) -> tuple[Any, ...]:
        """The values of a key, as they are compared."""
        columns = self.columns
        return tuple(fold(values[n]) if columns[n].kind == "c" else values[n] for n in places)


# --- words -----------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<hex>[xX]'(?:[0-9A-Fa-f]{2})*')
    |(?P<str>'(?:[^'\\]|''|\\.)*')
    |(?P<num>\d+(?:\.\d+)?(?:[eE]\d+)?)
    |(?P<quoted>`(?:[^`]|``)+`)
    |(?P<word>@?@?[A-Za-z_][\w$]*)
    |(?P<param>%s)
    |(?P<op><>|<=|>=|!=|[-=<>().,+*;])
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"0": "\0", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a", "%": "\\%", "_": "\\_"}


def _unquote(text: str) -> str:
    body = text[1:-1].replace("''", "'")
    if "\\" in body:
        body = re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), body, flags=re.S)
    return body


def tokens(text: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    at, end = 0, len(text.rstrip().rstrip(";"))
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise NotSimulated(f"not understood at {text[at : at + 30]!r}: {text}")
        kind, value = str(match.lastgroup), match[str(match.lastgroup)]
        if kind == "str":
            value = _unquote(value)
        elif kind == "hex":
            value = bytes.fromhex(value[2:-1])
        elif kind == "num":
            value = int(value) if value.isdigit() else float(value)
        elif kind == "quoted":
            kind, value = "name", value[1:-1].replace("``", "`")
        elif kind == "word" and value.startswith("_utf8"):
            kind = "charset"
        found.append((kind, value))
        at = match.end()
    return found


# --- trees -----------------------------------------------------------------------------------


@dataclass(eq=False, slots=True)
class Source:
    schema: str
    table: str
    alias: str
    on: Node | None = None
    select: Select | None = None


@dataclass(eq=False, slots=True)
class Select:
    items: list[Node]
    sources: list[Source]
    where: Node | None = None
    group: list[Node] = field(default_factory=list)
    order: list[tuple[Node, bool]] = field(default_factory=list)
    limit: int | None = None
    distinct: bool = False
    lock: bool = False
    subs: list[Select] = field(default_factory=list)
    plans: dict[Any, Any] = field(default_factory=dict)
    further: list[Select] = field(default_factory=list)
    """What is joined to it by UNION ALL; the limit is that of all."""


@dataclass(eq=False, slots=True)
class Statement:
    """``kind`` is the verb; ``table`` schema and name; what else it has by verb."""

    kind: str
    text: str
    table: tuple[str, str] = ("", "")
    select: Select | None = None
    names: list[str] = field(default_factory=list)
    rows: list[list[Node]] = field(default_factory=list)
    sets: list[tuple[str, Node]] = field(default_factory=list)
    where: Node | None = None
    ignore: bool = False
    more: Any = None
    subs: list[Select] = field(default_factory=list)
    plans: dict[Any, Any] = field(default_factory=dict)


class Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokens(text)
        self.at = 0
        self.params = 0
        self.subs: list[Select] = []

    # -- small steps --

    def fail(self) -> NotSimulated:
        rest = self.tokens[self.at : self.at + 4]
        return NotSimulated(f"not understood at {rest}: {self.text}")

    def peek(self, *words: str) -> bool:
        """Whether these words, or signs, come next."""
        for n, word in enumerate(words):
            if self.at + n >= len(self.tokens):
                return False
            kind, value = self.tokens[self.at + n]
            if kind not in ("word", "op") or value.lower() != word:
                return False
        return True

    def take(self, *words: str) -> bool:
        if self.peek(*words):
            self.at += len(words)
            return True
        return False

    def need(self, *words: str) -> None:
        if not self.take(*words):
            raise self.fail()

    def next(self, *kinds: str) -> Any:
        if self.at >= len(self.tokens) or self.tokens[self.at][0] not in kinds:
            raise self.fail()
        self.at += 1
        return self.tokens[self.at - 1][1]

    def name(self) -> str:
        return str(self.next("word", "name"))

    def place(self) -> tuple[str, str]:
        first = self.name()
        return (first, self.name()) if self.take(".") else ("", first)

    def end(self) -> bool:
        return self.at >= len(self.tokens)

    def list_of(self, one: Callable[[], Any]) -> list[Any]:
        found = [one()]
        while self.take(","):
            found.append(one())
        return found

    # -- expressions --

    def expression(self) -> Node:
        node = self._and()
        while self.take("or"):
            node = ("or", node, self._and())
        return node

    def _and(self) -> Node:
        node = self._not()
        while self.take("and"):
            node = ("and", node, self._not())
        return node

    def _not(self) -> Node:
        return ("not", self._not()) if self.take("not") else self._compare()

    def _compare(self) -> Node:
        node = self._add()
        while True:
            for sign, op in (("=", "eq"), ("<>", "ne"), ("!=", "ne"), ("<=", "le"), (">=", "ge"),
                             ("<", "lt"), (">", "gt")):  # fmt: skip
                if self.take(sign):
                    node = (op, node, self._add())
                    break
            else:
                if self.take("is"):
                    no = self.take("not")
                    node = ("isnull", node) if self.take("null") else ("istrue", node)
                    if node[0] == "istrue":
                        self.need("true")
                    node = ("not", node) if no else node
                elif self.peek("not", "in") or self.peek("in"):
                    no = self.take("not")
                    self.need("in")
                    self.need("(")
                    if self.peek("select"):
                        self.subs.append(self.select())
                        node = ("insub", node, len(self.subs) - 1)
                    else:
                        node = ("in", node, self.list_of(self.expression))
                    self.need(")")
                    node = ("not", node) if no else node
                elif self.take("like"):
                    node = ("like", node, self.next("str"))
                else:
                    return node

    def _add(self) -> Node:
        node = self._primary()
        while True:
            if self.take("+", "interval") or self.take("-", "interval"):
                sign = -1 if self.tokens[self.at - 2][1] == "-" else 1
                node = ("interval", node, self._primary(), sign, self.name().lower())
            elif self.take("+"):
                node = ("plus", node, self._primary())
            elif self.take("-"):
                node = ("minus", node, self._primary())
            else:
                return node

    def _primary(self) -> Node:
        if self.end():
            raise self.fail()
        kind, value = self.tokens[self.at]
        if kind == "op":
            if self.take("-"):
                return ("num", -self.next("num"))
            self.need("(")
            node = self.expression()
            self.need(")")
            return node
        self.at += 1
        if kind in ("num", "str", "hex"):
            return (kind, value)
        if kind == "charset":
            return ("str", self.next("hex").decode())
        if kind == "param":
            self.params += 1
            return ("param", self.params - 1)
        if kind == "word":
            word = value.lower()
            if word == "null":
                return ("null",)
            if word in ("true", "false"):
                return ("num", int(word == "true"))
            if word == "case":
                return self._case()
            if word.startswith("@@"):
                return ("var", word[2:])
            if self.peek("("):
                return self._function(word)
            if word in ("current_timestamp", "utc_timestamp"):
                return ("func", word, [])
        parts = [value]
        while self.take("."):
            parts.append(self.name())
        return ("col", tuple(part.lower() for part in parts))

    def _case(self) -> Node:
        subject = self._primary()
        pairs = []
        while self.take("when"):
            test = self.expression()
            self.need("then")
            pairs.append((test, self.expression()))
        other = self.expression() if self.take("else") else ("null",)
        self.need("end")
        return ("case", subject, pairs, other)

    def _function(self, word: str) -> Node:
        self.need("(")
        if word == "cast":
            node = self.expression()
            self.need("as")
            self.need("binary")
            self.need(")")
            return ("binary", node)
        if word == "convert":
            node = self.expression()
            self.need("using")
            self.name()
            self.need(")")
            return node
        if word == "timestampdiff":
            unit = self.name().lower()
            self.need(",")
            args: list[Node] = [("unit", unit), *self.list_of(self.expression)]
        elif self.take("*") or self.peek(")"):
            args = []
        else:
            args = self.list_of(self.expression)
        self.need(")")
        return ("func", word, args)

    # -- statements --

    def select(self) -> Select:
        self.need("select")
        outer, self.subs = self.subs, []
        found = Select([], [])
        found.distinct = self.take("distinct")
        found.items = self.list_of(self._item)
        if self.take("from"):
            found.sources = [self._source()]
            while self.take("join"):
                found.sources.append(self._source())
        if self.take("where"):
            found.where = self.expression()
        if self.take("group", "by"):
            found.group = self.list_of(self.expression)
        if self.take("order", "by"):
            found.order = self.list_of(self._order)
        if self.take("limit"):
            found.limit = self.next("num")
        found.lock = self.take("for", "update")
        found.subs, self.subs = self.subs, outer
        if self.take("union", "all"):
            if found.limit is not None or found.order or found.lock:
                raise self.fail()
            rest = self.select()
            found.further = [rest, *rest.further]
            found.limit, rest.limit, rest.further = rest.limit, None, []
        return found

    def _item(self) -> Node:
        if self.take("*"):
            return ("star",)
        node = self.expression()
        if self.take("as"):
            self.name()
        return node

    def _order(self) -> tuple[Node, bool]:
        node = self.expression()
        down = self.take("desc")
        self.take("asc")
        return node, down

    def _source(self) -> Source:
        if self.take("("):
            inner = self.select()
            self.need(")")
            return Source("", "", self.name().lower(), select=inner)
        schema, table = self.place()
        alias = table
        if not self.end() and self.tokens[self.at][0] in ("word", "name"):
            word = self.tokens[self.at][1].lower()
            if word not in (
                "where", "join", "on", "group", "order", "limit", "for", "set", "union",
            ):  # fmt: skip
                self.take("as")
                alias = self.name()
        on = self.expression() if self.take("on") else None
        return Source(schema, table, alias.lower(), on)

    def statement(self) -> Statement:
        found = self._statement()
        if not self.end():
            raise self.fail()
        found.subs = self.subs
        return found

    def _statement(self) -> Statement:
        text = self.text
        if self.peek("select"):
            return Statement("select", text, select=self.select())
        word = self.name().lower()
        if word == "explain":
            inner = Parser.__new__(Parser)
            inner.__dict__.update(self.__dict__)
            told = inner._statement()
            self.at = inner.at
            return Statement("explain", text, table=told.table, more=told)
        maker = getattr(self, f"_{word}", None)
        if maker is None or word in ("statement", "item", "source", "order", "case", "function"):
            raise NotSimulated(f"no such statement here: {text}")
        made = maker()
        assert isinstance(made, Statement)
        return made

    def _replace(self) -> Statement:
        return replace(self._insert(), kind="replace")

    def _insert(self) -> Statement:
        found = Statement("insert", self.text, ignore=self.take("ignore"))
        self.need("into")
        found.table = self.place()
        if self.take("("):
            found.names = self.list_of(self.name)
            self.need(")")
        if self.peek("select"):
            found.select = self.select()
            return found
        self.need("values")

        def row() -> list[Node]:
            self.need("(")
            values = self.list_of(self.expression)
            self.need(")")
            return values

        found.rows = self.list_of(row)
        return found

    def _update(self) -> Statement:
        found = Statement("update", self.text, table=self.place())
        self.need("set")

        def one() -> tuple[str, Node]:
            name = self.place()[1].lower()
            self.need("=")
            return name, self.expression()

        found.sets = self.list_of(one)
        found.where = self.expression() if self.take("where") else None
        return found

    def _delete(self) -> Statement:
        self.need("from")
        found = Statement("delete", self.text, table=self.place())
        found.where = self.expression() if self.take("where") else None
        return found

    def _start(self) -> Statement:
        self.need("transaction")
        return Statement("begin", self.text)

    def _begin(self) -> Statement:
        return Statement("begin", self.text)

    def _commit(self) -> Statement:
        return Statement("commit", self.text)

    def _rollback(self) -> Statement:
        return Statement("rollback", self.text)

    def _kill(self) -> Statement:
        return Statement("kill", self.text, more=self._primary())

    def _use(self) -> Statement:
        return Statement("use", self.text, more=self.name())

    def _show(self) -> Statement:
        if self.take("warnings"):
            return Statement("show warnings", self.text)
        if self.take("tables"):
            self.need("from")
            return Statement("show tables", self.text, more=self.name())
        self.need("variables", "where", "variable_name", "in", "(")
        names = self.list_of(lambda: self.next("str"))
        self.need(")")
        return Statement("show variables", self.text, more=[name.lower() for name in names])

    def _set(self) -> Statement:
        if self.take("names"):
            self.name()
            return Statement("set", self.text, more=[])
        if not self.take("session"):
            self.take("global")
        if self.take("transaction", "isolation", "level"):
            level = " ".join(self.name().lower() for _ in range(len(self.tokens) - self.at))
            return Statement("set", self.text, more=[("isolation", ("str", level))])

        def one() -> tuple[str, Node]:
            name = self.name().lower()
            self.need("=")
            return name, self._primary()

        return Statement("set", self.text, more=self.list_of(one))

    def _drop(self) -> Statement:
        kind = "drop table" if self.take("table") else "drop database"
        if kind == "drop database" and not self.take("database"):
            raise self.fail()
        found = Statement(kind, self.text, ignore=self.take("if", "exists"))
        found.table = self.place() if kind == "drop table" else (self.name(), "")
        return found

    def _create(self) -> Statement:
        if self.take("database"):
            found = Statement("create database", self.text)
            found.ignore = self.take("if", "not", "exists")
            found.table = (self.name(), "")
            self.at = len(self.tokens)  # whatever its character set is
            return found
        self.need("table")
        found = Statement("create table", self.text, ignore=self.take("if", "not", "exists"))
        found.table = self.place()
        start = self.at
        columns = self._columns()
        found.more = _shape(repr(self.tokens[start:]), columns)
        return found

    # -- columns --

    def _columns(self) -> Callable[[], Shape]:
        self.need("(")
        raw: list[dict[str, Any]] = []
        keys: list[tuple[str, list[str]]] = []
        foreign: list[tuple[str, str, tuple[str, str], str, str]] = []
        while True:
            if self.take("primary", "key"):
                keys.append(("PRIMARY", self._names()))
            elif self.take("unique", "key") or self.take("unique"):
                named = self.name()
                keys.append((named, self._names()))
            elif self.tokens[self.at][0] == "word" and self.take("key"):
                self.name()
                self._names()
            elif self.take("constraint") or self.peek("foreign"):
                foreign.append(self._foreign())
            else:
                raw.append(self._column(keys))
            if not self.take(","):
                break
        self.need(")")
        rest = [str(value).lower() for _, value in self.tokens[self.at :]]
        self.at = len(self.tokens)
        case = "b" if any(word.endswith("_bin") for word in rest) else "c"

        def make() -> Shape:
            columns = tuple(
                Column(**{**one, "kind": case if one["kind"] == "c" else one["kind"]})
                for one in raw
            )
            places = {column.name.lower(): n for n, column in enumerate(columns)}
            auto = next((n for n, c in enumerate(columns) if "auto_increment" in c.extra), None)
            unique = tuple(
                (name, tuple(places[part.lower()] for part in parts)) for name, parts in keys
            )
            return Shape(columns, unique, auto, tuple(foreign))

        return make

    def _names(self) -> list[str]:
        self.need("(")
        found = self.list_of(self.name)
        self.need(")")
        return found

    def _foreign(self) -> tuple[str, str, tuple[str, str], str, str]:
        name = "" if self.peek("foreign") else self.name()
        self.need("foreign", "key")
        (column,) = self._names()
        self.need("references")
        to = self.place()
        (there,) = self._names()
        rule = "RESTRICT"
        if self.take("on", "delete"):
            words = [self.name().upper()]
            if words[0] in ("SET", "NO"):
                words.append(self.name().upper())
            rule = " ".join(words)
        return name, column, to, there, rule

    def _column(self, keys: list[tuple[str, list[str]]]) -> dict[str, Any]:
        name, kind = self.name(), self.name().lower()
        length = 0
        if self.take("("):
            length = self.next("num")
            if self.take(","):
                self.next("num")
            self.need(")")
        text = kind in ("varchar", "char", "text", "json", "mediumtext", "longtext", "tinytext")
        letter = "n" if kind in INTEGERS or kind in FLOATS else "t" if kind in TIMES else ""
        letter = letter or ("x" if kind in BINARIES else "c" if text else "")
        if not letter:
            raise NotSimulated(f"no such type of a column here, {kind}: {self.text}")
        found: dict[str, Any] = {
            "name": name, "type": "int" if kind == "integer" else kind, "kind": letter,
            "length": length, "charset": "utf8mb4" if text and kind != "json" else None,
        }  # fmt: skip
        while not (self.peek(",") or self.peek(")")):
            if self.take("not", "null"):
                found["nullable"] = False
            elif self.take("null"):
                found["nullable"] = True
            elif self.take("default"):
                found["default"] = self._primary()
            elif self.take("auto_increment"):
                found["extra"] = "auto_increment"
            elif self.take("primary", "key"):
                found["nullable"] = False
                keys.append(("PRIMARY", [name]))
            else:
                raise self.fail()
        return found


_SHAPES: dict[str, Shape] = {}


def _shape(text: str, make: Callable[[], Shape]) -> Shape:
    found = _SHAPES.get(text)
    if found is None:
        found = _SHAPES[text] = make()
    return found


_PARSED: dict[str, Statement] = {}


def parse(text: str) -> Statement:
    """The tree of a text; raises NotSimulated."""
    found = _PARSED.get(text)
    if found is None:
        if len(_PARSED) > 20_000:  # texts with values in them: new ones forever
            _PARSED.clear()
        found = _PARSED[text] = Parser(text).statement()
    return found


# --- what the functions use ------------------------------------------------------------------


def fold(value: Any) -> Any:
    """Text as a collation without case compares it: blanks at its end are nothing."""
    return None if value is None else str(value).casefold().rstrip(" ")


def num(value: Any) -> Any:
    """A number out of whatever it is; text counts as far as it is one."""
    if value is None or isinstance(value, (int, float)):
        return value
    text = value.decode("latin1") if isinstance(value, bytes) else str(value)
    found = re.match(r"\s*(-?\d+)(\.\d+)?", text)
    return 0 if found is None else float(found[0]) if found[2] else int(found[1])


def when(value: Any) -> Any:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def less(a: Any, b: Any) -> Any:
    return None if a is None or b is None else int(a < b)


def most(a: Any, b: Any) -> Any:
    return None if a is None or b is None else int(a <= b)


def binary(value: Any) -> Any:
    if value is None or isinstance(value, bytes):
        return value
    return str(value).removesuffix(".0" if isinstance(value, float) else "\0").encode()


def stamp(value: Any, digits: int) -> Any:
    if value is None:
        return None
    text = value.isoformat(" ", "microseconds" if digits else "seconds")
    return (text[: len(text) - 6 + digits] if digits else text).encode()


def apart(unit: str, a: Any, b: Any) -> Any:
    if a is None or b is None:
        return None
    micros = (b - a) // timedelta(microseconds=1)
    scale = {"microsecond": 1, "second": 1_000_000, "minute": 60_000_000}[unit]
    return micros // scale if micros >= 0 else -(-micros // scale)


def later(value: Any, amount: Any, sign: int, unit: str) -> Any:
    return None if value is None else value + timedelta(**{unit + "s": sign * num(amount)})


def like(pattern: str) -> Callable[[Any], bool]:
    parts = re.split(r"%+", pattern)
    found = re.compile(".*".join(re.escape(part).replace("_", ".") for part in parts), re.I | re.S)
    return lambda value: value is not None and found.fullmatch(value) is not None


_ENV: dict[str, Any] = {
    "fold": fold, "num": num, "when": when, "less": less, "most": most, "binary": binary,
    "stamp": stamp, "apart": apart, "later": later,
}  # fmt: skip


class Unknown(Exception):
    """No such column: error 1054."""


class Scope:
    """Which variable of the function holds the row of which table."""

    def __init__(self, *sources: tuple[str, str, Shape]) -> None:
        self.sources = sources
        self.env = dict(_ENV)

    def find(self, parts: tuple[str, ...]) -> tuple[str, Column]:
        for alias, variable, shape in self.sources:
            if len(parts) > 1 and parts[-2] != alias:
                continue
            n = shape.index.get(parts[-1])
            if n is not None:
                return f"{variable}[{n}]", shape.columns[n]
        raise Unknown(".".join(parts))

    def keep(self, value: Any) -> str:
        name = f"k{len(self.env)}"
        self.env[name] = value
        return name

    def function(self, args: str, body: str) -> Callable[..., Any]:
        return eval(f"lambda {args}: {body}", self.env)

    def test(self, node: Node | None) -> str:
        return "True" if node is None else self.code(node)[0]

    def code(self, node: Node) -> tuple[str, str]:
        """The Python text of an expression, and its kind: that of a column, or l text written
        out, p parameter, o truth, z NULL."""
        made: tuple[str, str] = getattr(self, f"_{node[0]}")(*node[1:])
        return made

    def value(self, node: Node) -> str:
        """The same, as it stands in an answer."""
        text, kind = self.code(node)
        return f"int({text})" if kind == "o" else text

    def _num(self, value: float) -> tuple[str, str]:
        return repr(value), "n"

    def _str(self, value: str) -> tuple[str, str]:
        return repr(value), "l"

    def _hex(self, value: bytes) -> tuple[str, str]:
        return repr(value), "x"

    def _null(self) -> tuple[str, str]:
        return "None", "z"

    def _param(self, n: int) -> tuple[str, str]:
        return f"p[{n}]", "p"

    def _var(self, name: str) -> tuple[str, str]:
        return f"c.variable({name!r})", "n" if name in ("port", "max_allowed_packet") else "c"

    def _col(self, parts: tuple[str, ...]) -> tuple[str, str]:
        text, column = self.find(parts)
        return text, column.kind

    def _and(self, a: Node, b: Node) -> tuple[str, str]:
        return f"({self.test(a)} and {self.test(b)})", "o"

    def _or(self, a: Node, b: Node) -> tuple[str, str]:
        return f"({self.test(a)} or {self.test(b)})", "o"

    def _not(self, a: Node) -> tuple[str, str]:
        """Where NULL and false differ, only a column that is NULL makes them: looked at here."""
        if a[0] in ("in", "insub", "like"):
            return f"({self.code(a[1])[0]} is not None and not {self.test(a)})", "o"
        return f"(not {self.test(a)})", "o"

    def _istrue(self, a: Node) -> tuple[str, str]:
        return f"bool({self.test(a)})", "o"

    def _isnull(self, a: Node) -> tuple[str, str]:
        return f"({self.code(a)[0]} is None)", "o"

    def pair(self, a: Node, b: Node) -> tuple[str, str]:
        """Both sides, so that Python compares them as the server does."""
        (x, kx), (y, ky) = self.code(a), self.code(b)
        kinds = {kx, ky}
        if "x" in kinds:
            return (x if kx == "x" else f"binary({x})"), (y if ky == "x" else f"binary({y})")
        if "n" in kinds:
            return (x if kx in "no" else f"num({x})"), (y if ky in "no" else f"num({y})")
        if "t" in kinds:
            return (x if kx == "t" else f"when({x})"), (y if ky == "t" else f"when({y})")
        if "b" in kinds:
            return x, y
        if "c" in kinds or "l" in kinds:
            return self._folded(a, x, kx), self._folded(b, y, ky)
        return x, y

    def _folded(self, node: Node, text: str, kind: str) -> str:
        return repr(fold(node[1])) if kind == "l" and node[0] == "str" else f"fold({text})"

    def _eq(self, a: Node, b: Node) -> tuple[str, str]:
        x, y = self.pair(a, b)
        if {a[0], b[0]} & {"num", "str", "hex", "param"}:
            return f"({x} == {y})", "o"
        return f"({x} == {y} and {x} is not None)", "o"

    def _ne(self, a: Node, b: Node) -> tuple[str, str]:
        x, y = self.pair(a, b)
        known = [
            f" and {text} is not None"
            for node, text in ((a, x), (b, y))
            if node[0] not in ("num", "str", "hex")
        ]
        return f"({x} != {y}{''.join(known)})", "o"

    def _lt(self, a: Node, b: Node) -> tuple[str, str]:
        x, y = self.pair(a, b)
        return f"less({x}, {y})", "n"

    def _gt(self, a: Node, b: Node) -> tuple[str, str]:
        return self._lt(b, a)

    def _le(self, a: Node, b: Node) -> tuple[str, str]:
        x, y = self.pair(a, b)
        return f"most({x}, {y})", "n"

    def _ge(self, a: Node, b: Node) -> tuple[str, str]:
        return self._le(b, a)

    def _in(self, a: Node, items: list[Node]) -> tuple[str, str]:
        return "(" + " or ".join(self._eq(a, item)[0] for item in items) + ")", "o"

    def _insub(self, a: Node, n: int) -> tuple[str, str]:
        x, kind = self.code(a)
        return f"s[{n}].has({x}, {kind!r})", "o"

    def _like(self, a: Node, pattern: str) -> tuple[str, str]:
        return f"{self.keep(like(pattern))}({self.code(a)[0]})", "o"

    def _plus(self, a: Node, b: Node) -> tuple[str, str]:
        (x, _), (y, _) = self.code(a), self.code(b)
        return f"(None if {x} is None else {x} + {y})", "n"

    def _minus(self, a: Node, b: Node) -> tuple[str, str]:
        (x, _), (y, _) = self.code(a), self.code(b)
        return f"(None if {x} is None else {x} - {y})", "n"

    def _interval(self, a: Node, amount: Node, sign: int, unit: str) -> tuple[str, str]:
        return f"later({self.code(a)[0]}, {self.code(amount)[0]}, {sign}, {unit!r})", "t"

    def _binary(self, a: Node) -> tuple[str, str]:
        if a[0] == "col":
            text, column = self.find(a[1])
            if column.kind == "t":
                return f"stamp({text}, {column.length})", "x"
            if column.kind in "cb":
                return f"(None if {text} is None else {text}.encode())", "x"
            if column.kind == "x":
                return text, "x"
            return f"(None if {text} is None else str({text}).encode())", "x"
        return f"binary({self.code(a)[0]})", "x"

    def _case(self, subject: Node, pairs: list[tuple[Node, Node]], other: Node) -> tuple[str, str]:
        text = self.code(other)[0]
        for test, then in reversed(pairs):
            text = f"({self.code(then)[0]} if {self._eq(subject, test)[0]} else {text})"
        return text, self.code(pairs[0][1])[1]

    def _func(self, word: str, args: list[Node]) -> tuple[str, str]:
        if word == "timestampdiff":
            a, b = (self.code(arg)[0] for arg in args[1:])
            return f"apart({args[0][1]!r}, {a}, {b})", "n"
        if word in ("utc_timestamp", "now", "current_timestamp"):
            whole = "" if args else ".replace(microsecond=0)"
            return f"c.{'utc' if word == 'utc_timestamp' else 'local'}{whole}", "t"
        if word == "lower":
            return f"fold({self.code(args[0])[0]})", "c"
        if word == "connection_id":
            return "c.id", "n"
        if word == "version":
            return "c.variable('version')", "c"
        raise NotSimulated(f"no such function here: {word}")


# --- plans -----------------------------------------------------------------------------------

AGGREGATES = ("count", "min", "max")


class Answers:
    """The values of a sub-select, for ``in``."""

    def __init__(self, rows: list[Values], kind: str) -> None:
        self.values = {value for (value,) in rows} - {None}
        self.kind = kind

    def has(self, value: Any, kind: str) -> bool:
        if value is None:
            return False
        same = num if "n" in (kind, self.kind) else fold if "c" in (kind, self.kind) else binary
        return same(value) in {same(one) for one in self.values}


@dataclass(slots=True)
class Choice:
    """Which rows a statement means; ``key``: by a unique key, its places and its values."""

    match: Callable[..., Any]
    key: tuple[tuple[int, ...], Callable[..., Any]] | None = None


def never(node: Node | None) -> bool:
    """True of a condition that no row can meet, as ``1 = 0``: no server looks at rows for it."""
    if node is None or node[0] not in ("and", "or", "eq"):
        return False
    if node[0] == "eq":
        return (node[1][0], node[2][0]) == ("num", "num") and bool(node[1][1] != node[2][1])
    either = [never(part) for part in node[1:]]
    return any(either) if node[0] == "and" else all(either)


def choose(scope: Scope, shape: Shape, where: Node | None) -> Choice:
    if never(where):
        return Choice(lambda *args: False, ((), lambda *args: None))
    given: dict[int, str] = {}
    todo = [where] if where is not None else []
    while todo:
        node = todo.pop()
        if node[0] == "and":
            todo += node[1:]
        elif node[0] == "eq" and node[1][0] == "col" and node[2][0] in ("num", "str", "param"):
            place = shape.index.get(node[1][1][-1])
            if place is not None:
                given[place] = scope.pair(node[1], node[2])[1]
    found = Choice(scope.function("r0, p, c, s", scope.test(where)))
    for _, places in shape.keys:
        if {*places} <= {*given}:
            cells = "".join(given[n] + ", " for n in places)
            found.key = (places, scope.function("p, c", f"({cells})"))
            break
    return found


@dataclass(slots=True)
class Plan:
    """A select over tables of certain shapes, as functions of rows, parameters, connection, and
    the answers of its sub-selects."""

    rows: Callable[..., list[Values]]
    choice: Choice | None = None
    project: Callable[..., Values] | None = None
    kinds: tuple[str, ...] = ()


def plan(select: Select, shapes: Sequence[Shape]) -> Plan:
    found = select.plans.get(tuple(shapes))
    if found is None:
        found = select.plans[tuple(shapes)] = _plan(select, shapes)
    return found


def _plan(select: Select, shapes: Sequence[Shape]) -> Plan:
    scope = Scope(
        *((source.alias, f"r{n}", shape)
          for n, (source, shape) in enumerate(zip(select.sources, shapes, strict=True)))
    )  # fmt: skip
    items: list[Node] = []
    for item in select.items:
        if item[0] == "star":
            items += [
                ("col", (column.name.lower(),)) for shape in shapes for column in shape.columns
            ]
        else:
            items.append(item)
    loops = "".join(
        f" for r{n} in t[{n}]" + (f" if {scope.test(source.on)}" if source.on else "")
        for n, source in enumerate(select.sources)
    )
    where = f" if {scope.test(select.where)}" if select.where is not None else ""
    grouped = select.group or any(n[0] == "func" and n[1] in AGGREGATES for n in items)
    if grouped:
        rows = _grouped(scope, select, items, loops, where)
    else:
        row = "".join(scope.value(item) + ", " for item in items)
        keys = "".join(_sortable(scope, node) + ", " for node, _ in select.order)
        if not select.sources:
            rows = scope.function("t, p, c, s", f"[({row})]")
        elif keys:
            both = scope.function("t, p, c, s", f"[(({keys}), ({row})){loops}{where}]")
            downs = [down for _, down in select.order]
            if any(downs) and not all(downs):
                raise NotSimulated("an order both up and down")
            rows = _ordered(both, any(downs))
        else:
            rows = scope.function("t, p, c, s", f"[({row}){loops}{where}]")
    if select.distinct:
        rows = _distinct(rows)
    found = Plan(rows, kinds=tuple(scope.code(n)[1] for n in items if n[0] != "func"))
    if select.lock:
        if len(shapes) != 1 or grouped or select.order:
            raise NotSimulated("a locking read of more than one plain table")
        found.choice = choose(scope, shapes[0], select.where)
        found.project = scope.function("r0, p, c, s", "(" + row + ")")
    return found


def _sortable(scope: Scope, node: Node) -> str:
    text, kind = scope.code(node)
    text = f"fold({text})" if kind == "c" else text
    return f"({text} is not None, {text})"


def _ordered(both: Callable[..., Any], down: bool) -> Callable[..., list[Values]]:
    def rows(*args: Any) -> list[Values]:
        return [row for _, row in sorted(both(*args), key=lambda one: one[0], reverse=down)]

    return rows


def _distinct(inner: Callable[..., list[Values]]) -> Callable[..., list[Values]]:
    return lambda *args: list(dict.fromkeys(inner(*args)))


def _grouped(
    scope: Scope, select: Select, items: list[Node], loops: str, where: str
) -> Callable[..., list[Values]]:
    if not select.group and len(items) == 1 and items[0][1:] == ("count", []):
        return scope.function("t, p, c, s", f"[(sum([1{loops}{where}]),)]")
    keys = "".join(_sortable(scope, node) + ", " for node in select.group)
    cells = []
    for item in items:
        aggregate = item[0] == "func" and item[1] in AGGREGATES
        cells.append(
            ("1" if not item[2] else scope.code(item[2][0])[0]) if aggregate else scope.value(item)
        )
    row = "".join(cell + ", " for cell in cells)
    both = scope.function("t, p, c, s", f"[(({keys}), ({row})){loops}{where}]")
    how = [item[1] if item[0] == "func" and item[1] in AGGREGATES else "" for item in items]
    sole = not select.group

    def rows(*args: Any) -> list[Values]:
        groups: dict[Any, list[Values]] = {(): []} if sole else {}
        for key, found in both(*args):
            groups.setdefault(key, []).append(found)
        answer = []
        for members in groups.values():
            cells: list[Any] = []
            for n, word in enumerate(how):
                column = [member[n] for member in members if member[n] is not None]
                if word == "count":
                    cells.append(len(column))
                elif word:
                    cells.append((min if word == "min" else max)(column, default=None))
                else:
                    cells.append(members[0][n])
            answer.append(tuple(cells))
        return answer

    return rows
