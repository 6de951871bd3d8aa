"""The procedures that there are, with their planners."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

from omsfab.plan import procedures
from omsfab.plan.procedures import declared
from omsfab.plan.procedures.declared import Task as Task

for _module in pkgutil.iter_modules(procedures.__path__, f"{procedures.__name__}."):
    if _module.name != __name__:
        importlib.import_module(_module.name)

TASKS: Mapping[str, Task] = declared.TASKS

UNDO = "run.undo"

UNDOABLE = frozenset(name for name, task in TASKS.items() if task.undoable)
"""Tasks whose runs can be rolled back."""


def is_repair(task: str) -> bool:
    """Whether it works on single nodes: small, and done again as a whole."""
    return task in TASKS and TASKS[task].scope == "node"
