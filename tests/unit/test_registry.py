"""A procedure is one file: its declaration is its task, and what is read off it is what runs."""

from __future__ import annotations

import inspect

from omsfab.plan.procedures.declared import declared, undeclared
from omsfab.plan.procedures.registry import TASKS
from tasks import namespace


def test_what_is_read_off_a_source_is_what_its_planner_declares():
    """tasks.py reads declarations, a run looks them up: both say the same of every procedure."""
    read = {task.name: task._replace(says="", parameters=()) for task in declared()}

    assert read == {name: task._replace(planner=undeclared) for name, task in TASKS.items()}


def test_every_parameter_of_a_planner_is_a_flag_of_its_task():
    """By its name there, with its default; what is there by hand says for itself."""
    for made in declared():
        signature = inspect.signature(TASKS[made.name].planner).parameters
        keywords = [p.name for p in signature.values() if p.kind is p.KEYWORD_ONLY]
        flags = {one.name for one in namespace[made.name].get_arguments(ignore_unknown_help=True)}

        assert keywords == [one.name for one in made.parameters]
        assert {one.flag for one in made.parameters} <= flags


def test_a_flag_is_recorded_in_words():
    """A run's record has strings alone: an omsfab of another day reads it."""
    given = {one.name: one for one in {t.name: t for t in declared()}["scale.out"].parameters}

    assert "yes" == given["accept_interruption"].recorded(True)
    assert "" == given["accept_interruption"].recorded(False)
    assert "oms2" == given["nodes"].recorded("oms2")
