"""hosts.yaml -> Fleet: everything that can be known to be wrong without contact is found here.

Three readings of the same file, and the faults of all three are told at once: YAML (yaml_reader),
each value by itself (model, values; in plain words: messages), and what holds between values
(cross_checks).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from omsfab.errors import InputError, Next, OmsfabError, cures
from omsfab.fleet import messages, secret_sources, yaml_reader
from omsfab.fleet.cross_checks import CROSS_CHECKS
from omsfab.fleet.messages import Fault, dotted
from omsfab.fleet.model import Fleet, Reading
from omsfab.fleet.secret_sources import SecretSource
from omsfab.fleet.yaml_reader import Document, KeyPath, YamlFault
from omsfab.next_line import chain, edit, fab, shell
from omsfab.secret import Secret

EXAMPLE = Path(__file__).parents[2] / "hosts.yaml"
LOCAL = EXAMPLE.with_name("hosts.local.yaml")
"""A fleet of one's own, which no version control has: `git pull` never touches it."""


def chosen(named: str = "") -> Path:
    """Return the file that is read: the one named, else hosts.local.yaml, else hosts.yaml."""
    path = Path(named) if named else LOCAL if LOCAL.exists() else EXAMPLE
    here = Path.cwd()
    return path.relative_to(here) if path.parent == here else path


def load(path: Path, *, secrets: bool = True) -> Fleet:
    """Read hosts.yaml, fetch its secrets, and return the Fleet; nothing is contacted.

    Without ``secrets`` none is fetched: each is an empty one then.
    Raises InputError with all faults of the file at once, InputError or SecurityRefusal for a
    secret that cannot be had or is not kept private.
    """
    document = _read(path)
    reading = Reading(path.parent)
    if faults := _examine(document, reading):
        raise _refusal(path, faults, document.lines)
    had = _secrets(reading.sources, path) if secrets else {}
    fleet = _fleet(document.data, Reading(path.parent, had))
    return fleet.model_copy(update={"origin": path})


def faults(text: str, base: Path) -> list[Fault]:
    """Return what is wrong in the text of a hosts.yaml that would stand in ``base``."""
    try:
        document = yaml_reader.load(text)
    except YamlFault as fault:
        return [Fault((), f"line {fault.line}: {fault.what}")]
    return _examine(document, Reading(base))


def json_schema() -> dict[str, Any]:
    """The JSON schema of hosts.yaml, for editors: shape and single values, not the cross checks."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Fleet.model_json_schema(),
        "title": "hosts.yaml of omsfab",
    }


def _read(path: Path) -> Document:
    try:
        if path.is_file() and path.stat().st_size > yaml_reader.LIMIT:
            raise YamlFault(1, f"more than {yaml_reader.LIMIT:,} bytes; is it the right file?")
        return yaml_reader.load(yaml_reader.decode(path.read_bytes()))
    except OSError as error:
        raise InputError(
            "INPUT-002",
            f"{path} cannot be read: {error.strerror}",
            next=_begin(path),
        ) from None
    except YamlFault as fault:
        raise InputError(
            "INPUT-003",
            f"{path} is not a file omsfab can read",
            where=f"{path}, line {fault.line}",
            evidence=f"line {fault.line}: {fault.what}",
            next=_edit(path),
        ) from None


def _fleet(raw: object, reading: Reading) -> Fleet:
    """Return the Fleet of a file; raises pydantic's ValidationError.  Names of the model that are
    no keys of the file are unknown there."""
    return Fleet.model_validate(raw, context=reading, by_alias=True, by_name=False)


def _examine(document: Document, reading: Reading) -> list[Fault]:
    """Return all faults, each once; ``reading`` has the sources of secrets then."""
    faults = [Fault(*fault) for fault in (*document.faults, *document.odd)]
    raw = document.data
    if not isinstance(raw, Mapping):
        what = "is empty" if raw is None else "is not a mapping"
        return [Fault((), f"the file {what}; write oms:, metadb: and regions: into it")]
    try:
        _fleet(raw, reading)
    except ValidationError as error:
        faults += messages.of(error, raw)
    for check in CROSS_CHECKS:
        faults += check(raw)
    return list(dict.fromkeys(faults))


def _refusal(path: Path, faults: list[Fault], lines: Mapping[KeyPath, int]) -> InputError:
    def line(fault: Fault) -> int:
        known = (lines.get(fault.path[:n]) for n in range(len(fault.path), 0, -1))
        return next((number for number in known if number), 0)

    def row(fault: Fault) -> str:
        at = f"  (line {line(fault)})" if line(fault) else ""
        return f"{dotted(fault.path)}  {fault.text}{at}".lstrip()

    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return InputError(
        "INPUT-001",
        f"{path.name} has {count}",
        where=str(path),
        evidence="\n".join(row(fault) for fault in sorted(faults, key=line)),
        next=_edit(path),
    )


def _edit(path: Path) -> Next:
    return chain(edit(str(path)), fab("fleet.show"))


def _begin(path: Path) -> Next:
    """A file that is not there begins as the example; why another cannot be read, `ls` shows."""
    if path.exists() or path.is_symlink() or path.absolute() == EXAMPLE:
        return shell("ls", "-ld", str(path))
    note = f"the commented example; edit it, then look with: {fab('fleet.show')}"
    return shell("install", "-D", "-m", "600", str(EXAMPLE), str(path), note=note)


def _secrets(sources: Mapping[str, SecretSource], path: Path) -> dict[str, Secret]:
    """Fetch all secrets, by the path of their key; all that are missing are told at once, and in
    which file they are named: it may be the example, where another one was meant."""
    secrets: dict[str, Secret] = {}
    missing: list[InputError] = []
    for label, source in sources.items():
        try:
            secrets[label] = secret_sources.resolve(source, base=path.parent, label=label)
        except InputError as error:
            missing.append(error)
        except OmsfabError as error:
            error.where = f"{path}: {error.where}"
            raise
    if len(missing) == 1:
        missing[0].where = f"{path}: {missing[0].where}"
        raise missing[0]
    if missing:
        fix, lines = cures(missing)
        raise InputError(
            missing[0].id,
            f"{len(missing)} secrets cannot be had",
            where=str(path),
            evidence="\n".join(f"{error.where}  {error.what}" for error in missing),
            fix=fix,
            next=lines,
        )
    return secrets
