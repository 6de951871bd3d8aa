"""Trying again until it works or is given up: one way for all that is waited for.

The loop is tenacity's.  It waits by ``time.sleep`` of this module, looked up at each call: whoever
puts another ``time`` here, as a simulation does, moves every wait.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
E = TypeVar("E", bound=Exception)


SLOW_LOGIN = (1.0, 4.0)
"""Seconds before the second and the third try of a small command that was not answered."""


class Backoff:
    """Seconds before each new try: 1, 2, 4, 8, 15, 15, …; from the start again after ``reset``."""

    FIRST, MOST = (1, 2, 4, 8), 15

    def __init__(self) -> None:
        self._pauses = self._from_the_start()

    def __iter__(self) -> Iterator[float]:
        return self

    def __next__(self) -> float:
        return next(self._pauses)

    def reset(self) -> None:
        self._pauses = self._from_the_start()

    def _from_the_start(self) -> Iterator[float]:
        yield from self.FIRST
        while True:
            yield self.MOST


def call(
    act: Callable[[], T],
    *,
    on: tuple[type[E], ...],
    waits: Iterable[float],
    again: Callable[[E], bool] = lambda error: True,
    on_wait: Callable[[E, float], None] = lambda error, pause: None,
    sleep: Callable[[float], None] | None = None,
) -> T:
    """Return what ``act`` returns, tried again after each pause of ``waits``, in seconds.

    After an error of the kinds ``on``, of which ``again`` says that it is worth another try.  When
    it is not, or ``waits`` has come to its end, that error is raised; any other always is.
    ``on_wait`` is told of the error and the pause before each; ``sleep`` waits, where it is given.
    """
    try:
        return act()  # nearly always that is all: what follows is made for who tries again
    except on as error:
        if not again(error):
            raise
        first = error
    pause = sleep or (lambda seconds: time.sleep(seconds))
    return _again(act, first, on, iter(waits), again, on_wait, pause)


def _again(
    act: Callable[[], T],
    first: E,
    on: tuple[type[E], ...],
    pauses: Iterator[float],
    again: Callable[[E], bool],
    on_wait: Callable[[E, float], None],
    sleep: Callable[[float], None],
) -> T:
    """Go on after the first try has failed with ``first``."""
    from tenacity import RetryCallState, Retrying, retry_if_exception  # 30 ms that few tasks need

    failed = [first]

    def once_more() -> T:
        if failed:
            raise failed.pop()
        return act()

    def worth(error: BaseException) -> bool:
        return error is first or (isinstance(error, on) and again(error))

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, on):
            on_wait(error, state.upcoming_sleep)

    return Retrying(
        retry=retry_if_exception(worth),
        wait=lambda _: next(pauses, math.inf),
        stop=lambda state: state.upcoming_sleep == math.inf,
        before_sleep=tell,
        sleep=sleep,
        reraise=True,
    )(once_more)
