"""What ``--json`` prints where something is told: one object, documented in docs/json.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from omsfab.errors import Finding, OmsfabError
from omsfab.fleet.mask import plain

SCHEMA = 1
"""Of all objects alike: keys are added, and never change their meaning within one."""


def document(**said: Any) -> str:
    """Return the object on one line; no text in it holds what a terminal would obey."""
    return json.dumps(_plain({"schema": SCHEMA, **said}), ensure_ascii=False)


def error_document(error: OmsfabError) -> str:
    """Return an error as such an object: a script need not read what is meant for people."""
    return document(
        exit=error.exit_code,
        error={
            "id": error.id,
            "what": error.what,
            "where": error.where or None,
            "changed": error.changed,
            "evidence": error.evidence or None,
            "fix": error.cure or None,
            "next": [line.line for line in error.next],
            "outage": error.outage or None,
            "findings": [finding_record(one) for one in error.findings],
        },
    )


def finding_record(one: Finding) -> dict[str, Any]:
    """A finding as ``--json`` has it; docs/json.md."""
    return {
        "id": one.id,
        "node": one.node or None,
        "weight": one.weight,
        "what": one.what,
        "found": one.found or None,
        "wanted": one.wanted or None,
        "fix": one.fix or None,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
