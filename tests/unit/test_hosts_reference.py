"""docs/hosts.md: every key of hosts.yaml, made from the models that read the file."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from omsfab.fleet.model import PARTS, keys_of

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "hosts.md"
HEAD = """# hosts.yaml, key by key

Made from the models that read the file
(`OMSFAB_REWRITE=1 scripts/test tests/unit/test_hosts_reference.py`).
The commented example with every key is [hosts.yaml](../hosts.yaml). `fab fleet.show` checks a file
without contact and tells every fault with its key and line; `fab fleet.schema` prints a JSON schema
for editors.

Paths of the jump host (package, key, known_hosts, certificates, secret files) begin at the
directory of the file. A secret is never written there. It says where the secret comes from, one of:

| source | meaning |
|---|---|
| `{env: NAME}` | an environment variable |
| `{file: PATH}` | a file of yours, mode 0600 |
| `{command: WORDS}` | what a command prints |
| `{prompt: true}` | asked for at the terminal |

*Required* keys have no default. `NAME` stands for a name that you choose.
"""


def _place(path: tuple[str, ...]) -> str:
    return ".".join(path).replace("*", "NAME")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if field.default_factory is not None or value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, BaseModel):
        return ""
    return f"`{value if isinstance(value, str) else json.dumps(value)}`" if value != "" else ""


def _example(field: FieldInfo) -> str:
    (one, *_) = field.examples or [None]
    if one is None or isinstance(one, list):
        return ""
    text = json.dumps(one, ensure_ascii=False) if not isinstance(one, str) else one
    if isinstance(one, dict):
        text = re.sub(r'"([^"]*)"', r"\1", text)
    return f"`{text}`"


def _rows(path: tuple[str, ...], part: Any) -> list[str]:
    lines = []
    docstrings = part.docstrings()
    for key, field in keys_of(part).items():
        what = " ".join(docstrings[key].split()).replace("|", "\\|")
        if any(_at == (*path, key) or _at == (*path, key, "*") for _at in PARTS):
            lines.append(f"| `{key}` | | | see below: {what} |")
        else:
            cells = (_default(field), _example(field), what)
            lines.append(f"| `{key}` | {' | '.join(cells)} |")
    return lines


def reference() -> str:
    """The page, out of the models."""
    parts = [HEAD]
    for path, part in PARTS.items():
        place = f"`{_place(path)}`" if path else "Top level"
        says = " ".join((part.__doc__ or "").split()).replace("``", "`")
        table = ["| key | default | example | what it is |", "|---|---|---|---|"]
        parts.append("\n".join((f"## {place}", "", says, "", *table, *_rows(path, part), "")))
    return "\n".join(parts)


def test_the_page_is_what_the_models_say():
    """A key that is added, renamed or explained otherwise changes docs/hosts.md."""
    made = reference()
    if os.environ.get("OMSFAB_REWRITE"):
        REFERENCE.write_text(made, encoding="utf-8")

    assert made == REFERENCE.read_text(encoding="utf-8")


def test_every_key_of_the_example_has_a_row():
    """Whatever hosts.yaml of the project shows, commented keys too, is explained on the page."""
    page = REFERENCE.read_text(encoding="utf-8")
    example = (ROOT / "hosts.yaml").read_text(encoding="utf-8")
    keys = set(re.findall(r"^ *(?:# )? *([a-z_]+):(?: |$)", example, re.M))
    named = {"env", "oms", "regions"}  # a source of a secret; the top level

    missing = {key for key in keys - named if f"| `{key}` |" not in page}
    assert {one for one in missing if not one.startswith("apsara_")} == set()
