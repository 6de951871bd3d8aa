"""How many statements a scale-out sends to the MetaDB, which may stand in another region."""

from __future__ import annotations

from collections import Counter

from tests.simulation import simulate

MOST = 120
IN_THE_OUTAGE = ("clear-rows@metadb", "rows-quiet@metadb")


def statements(scenario: str = "physical") -> Counter[str]:
    """By step, for a plain scale.out that ends well; outside of steps: ``-``."""
    schedule = simulate.Schedule(1, scenario, operators=[(0.0, ["fab scale.out"])], plain=True)
    run = simulate._Run(schedule)
    asked: Counter[str] = Counter()
    hook = run.fleet.metadb.on_statement

    def count(connection, text, phase):
        if phase == "before" and run.world.process is not None:
            asked[run.world.task.step or "-"] += 1
        hook(connection, text, phase)

    run.fleet.metadb.on_statement = count
    outcome = run.outcome()
    assert (["0"], []) == (outcome.ends, outcome.broken)
    return asked


def told(asked: Counter[str]) -> str:
    return "\n".join(f"{times:4d} {step}" for step, times in asked.most_common())


def test_a_scale_out_onto_one_new_node_sends_few_statements():
    """At 100 ms there and back each of them is a tenth of a second; 490 were sent once."""
    asked = statements()

    assert asked.total() <= MOST, told(asked)


def test_few_of_them_stand_in_the_outage():
    """Two looks whether others write, the transaction, two looks whether rows stay away."""
    asked = statements()

    # 27 and 5: a statement for each of the four tables to lock it and to delete from it
    assert sum(asked[step] for step in IN_THE_OUTAGE) <= 34, told(asked)
