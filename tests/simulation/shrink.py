"""A schedule that breaks something, made as small as it can be and still break it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.simulation.simulate import Outcome, Schedule, run


def smaller(schedule: Schedule) -> Iterator[Schedule]:
    """Yield the schedules that are one step simpler, simplest first."""
    for number in range(len(schedule.operators) - 1, 0, -1):
        kept = [one for n, one in enumerate(schedule.operators) if n != number]
        faults = [
            replace(fault, who=fault.who - (fault.who > number))
            for fault in schedule.faults
            if fault.who != number
        ]
        yield replace(schedule, operators=kept, faults=faults)
    for number in range(len(schedule.faults)):
        yield replace(
            schedule, faults=[one for n, one in enumerate(schedule.faults) if n != number]
        )
    if not schedule.plain:
        yield replace(schedule, plain=True)
    for number, (start, script) in enumerate(schedule.operators):
        for act in range(len(script) - 1, 0, -1):
            less = [one for n, one in enumerate(script) if n != act]
            operators = [*schedule.operators]
            operators[number] = (start, less)
            yield replace(schedule, operators=operators)
        if start != round(start):
            operators = [*schedule.operators]
            operators[number] = (float(round(start)), script)
            yield replace(schedule, operators=operators)


def shrunk(found: Outcome, most: int = 120) -> Outcome:
    """Try what is simpler, again and again, as long as the same thing is broken."""
    kind = found.kind[:50]
    tried = 0
    going = True
    while going and tried < most:
        going = False
        for one in smaller(found.schedule):
            tried += 1
            outcome = run(one)
            if outcome.kind[:50] == kind:
                found, going = outcome, True
                break
            if tried >= most:
                break
    return found
