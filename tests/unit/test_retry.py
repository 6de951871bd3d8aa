"""What is tried again, after which pauses, and what is raised in the end."""

from __future__ import annotations

import itertools

import pytest

from omsfab import retry


class Time:
    """Stands for ``time``: nobody waits for real."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def time(monkeypatch):
    time = Time()
    monkeypatch.setattr(retry, "time", time)
    return time


def failing(*errors: BaseException):
    """Fail with each of the errors, then return how often it was tried."""
    left = list(errors)

    def act() -> int:
        if left:
            raise left.pop(0)
        return len(errors) + 1

    return act


LOST = (ConnectionError,)


def test_it_is_tried_until_it_works(time):
    """One pause before each new try."""
    done = retry.call(failing(*[ConnectionError()] * 6), on=LOST, waits=retry.Backoff())

    assert (7, [1, 2, 4, 8, 15, 15]) == (done, time.slept)


def test_when_the_pauses_end_the_last_error_is_raised(time):
    """It itself, not one that wraps it; and nobody waits in vain."""
    errors = [ConnectionError(n) for n in "abc"]
    with pytest.raises(ConnectionError) as raised:
        retry.call(failing(*errors), on=LOST, waits=[0.5, 1])

    assert (errors[2], [0.5, 1]) == (raised.value, time.slept)


def test_what_is_not_worth_another_try_is_raised_at_once(time):
    """The second error is another one."""
    with pytest.raises(ValueError, match="wrong"):
        retry.call(
            failing(ConnectionError(), ValueError("wrong")), on=LOST, waits=itertools.repeat(3.0)
        )

    assert [3] == time.slept


def test_an_error_may_say_that_it_is_final(time):
    """Of the kinds that are tried again, but not this one."""
    with pytest.raises(ConnectionError):
        retry.call(
            failing(ConnectionError(1), ConnectionError(2)),
            on=LOST,
            waits=retry.Backoff(),
            again=lambda error: error.args == (1,),
        )

    assert [1] == time.slept


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_goes_through(time, error):
    """Ctrl-C ends the trying."""
    with pytest.raises(error):
        retry.call(failing(error()), on=LOST, waits=retry.Backoff())


def test_who_waits_is_told_why_and_how_long(time):
    """Before the pause, not after it."""
    told = []
    retry.call(
        failing(ConnectionError("away")),
        on=LOST,
        waits=[2],
        on_wait=lambda error, pause: told.append((str(error), pause, len(time.slept))),
    )

    assert [("away", 2, 0)] == told


def test_a_backoff_begins_anew_after_progress(time):
    """As a transfer does that has gained bytes meanwhile."""
    pauses = retry.Backoff()
    first = [next(pauses) for _ in range(3)]
    pauses.reset()

    assert ([1, 2, 4], 1) == (first, next(pauses))
