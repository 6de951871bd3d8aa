"""What was decided when a run was confirmed, so that a resume can tell whether it still holds.

Decided are: which steps write, send, initialise or touch rows, on which node, with which values;
and the public part of the fleet.  How a step does it (titles, scripts, limits, questions) is
omsfab's own matter: an omsfab that was updated in between goes on with the run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from omsfab.command import Command
from omsfab.errors import OmsfabError
from omsfab.fleet import oms_config
from omsfab.fleet.model import Fleet
from omsfab.fleet.values import CmUrl
from omsfab.plan.procedures import undo
from omsfab.plan.records import Plan, Run, Send, Step, Write
from omsfab.secret import Secret

VERSION = "0.1.0"
"""Of omsfab, as in pyproject.toml; a run records it."""

FORM = 2
"""Of the digest; 1 (up to 0.1.0 of November 2026) was made of titles and scripts as well."""

OWN = frozenset({"limit", "every"})
"""Fields of effects that omsfab decides."""

RECORDED = {"CopyFile": "Bring", "init": "habit"}
"""Types and fields of effects whose name in runs of this form is another one."""


@dataclass(frozen=True, slots=True)
class Change:
    """Why a run cannot be resumed with this omsfab and this hosts.yaml."""

    what: str
    evidence: tuple[str, ...]
    cure: str


def digest(plan: Plan, salt: str) -> str:
    """Return what tells the decisions of this plan from any other's.

    Of a secret there is a hash only, salted with the run's name and slow to try out.
    """
    hashed: dict[str, str] = {}
    steps = [
        [step.key, step.kind, [_plain(effect, salt, hashed) for effect in effects]]
        for step in plan.steps
        if (effects := [effect for effect in step.apply if not isinstance(effect, Run)])
    ]
    text = json.dumps([plan.task, steps], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object, salt: str, hashed: dict[str, str]) -> object:
    """Return it for JSON.  A field that has its default is left out: one that a later omsfab adds
    changes no decision."""
    if isinstance(value, Secret):
        text = value.reveal()
        if text not in hashed:
            key = hashlib.scrypt(text.encode(), salt=salt.encode(), n=1 << 13, r=8, p=1)
            hashed[text] = key.hex()
        return hashed[text]
    if isinstance(value, Write):
        return ["Write", value.path, _plain(_values(value.content), salt, hashed)]
    if isinstance(value, CmUrl):
        return str(value)
    if isinstance(value, Send):  # the package may lie elsewhere on another jump host
        return ["Send", value.sha256]
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value).__name__
        return {"is": RECORDED.get(kind, kind)} | {
            RECORDED.get(field.name, field.name): _plain(getattr(value, field.name), salt, hashed)
            for field in fields(value)
            if field.name not in OWN
            and getattr(value, field.name) != field.default
            and not (
                field.default_factory is not MISSING
                and getattr(value, field.name) == field.default_factory()
            )
            and not isinstance(getattr(value, field.name), Command)
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(one, salt, hashed) for key, one in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(one, salt, hashed) for one in value]
    if isinstance(value, Path):
        return value.name
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _values(content: Secret) -> object:
    """Return what a config.yaml says; how it is laid out and commented is no decision."""
    try:
        return oms_config.read(content)
    except OmsfabError:
        return content


def changed(record: Mapping[str, Any], plan: Plan, fleet: Fleet, run: str) -> Change | None:
    """Return None if what was decided for this run still holds, else what does not."""
    lines = tuple(_values_changed(record, fleet))
    by = record.get("omsfab", "")
    if record.get("form", 1) != FORM:
        return Change(
            f"was recorded in another form (by omsfab {by or '0.1.0 or older'})",
            (
                f"its form is {record.get('form', 1)}, that of this omsfab ({VERSION}) is {FORM}: "
                "whether the plan is still the one that was confirmed cannot be compared",
                *(lines or ("hosts.yaml names the same nodes, paths and names as then",)),
                *_steps_changed(record, plan),
            ),
            "use the omsfab that began it",
        )
    if lines:
        return Change("was planned from another hosts.yaml", lines, "take that change back")
    if record["digest"] == digest(plan, run):
        return None
    steps = tuple(_steps_changed(record, plan))
    if steps and by != VERSION:
        return Change(
            f"was begun by omsfab {by}, which plans other steps than this one ({VERSION})",
            steps,
            f"use omsfab {by}",
        )
    return Change(
        "was planned from another hosts.yaml or package",
        (
            "the plan made from them now is not the one that was confirmed: "
            "a password, a package or a certificate is another one",
            *steps,
        ),
        "take that change back",
    )


def _values_changed(record: Mapping[str, Any], fleet: Fleet) -> Iterator[str]:
    """Yield a line per value of hosts.yaml that is not what it was; fields that are new have their
    default on both sides."""
    if "fleet" not in record:
        return
    try:
        then = undo.public(undo.fleet_of(record, fleet))
    except (ValueError, TypeError, KeyError) as error:
        yield f"its hosts.yaml cannot be read any more: {type(error).__name__}"
        return
    yield from _different("", then, undo.public(fleet))


def _different(path: str, then: object, now: object) -> Iterator[str]:
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*then, *now)):
            yield from _different(f"{path}.{key}".lstrip("."), then.get(key), now.get(key))
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, (before, after) in enumerate(zip(then, now, strict=True), 1):
            yield from _different(f"{path}[{number}]", before, after)
    elif then != now and path != "install.package":  # it may lie elsewhere on another jump host
        yield f"{path}: {_short(then)} -> {_short(now)}"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) < 80 else f"{text[:77]}..."


def _steps_changed(record: Mapping[str, Any], plan: Plan) -> Iterator[str]:
    """Yield the steps that only one of both plans has."""
    then = record.get("steps", ())
    now = [step.key for step in plan.steps if _acts(step)]
    yield from (f"- {key}, which was planned then" for key in then if key not in now)
    yield from (f"+ {key}, which is planned now" for key in now if key not in then)


def _acts(step: Step) -> bool:
    return bool(step.apply)
