"""A handler that fails as told, and the settings of `Retry` that most tests share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from genai_pipeline.clock import Clock
from genai_pipeline.errors import Transient
from genai_pipeline.resilience import Retry


class Flaky:
    """Plays one outcome for each call, the last one for ever: raises errors, answers others."""

    def __init__(self, clock: Clock, *outcomes: object, takes: float = 0.0) -> None:
        self.clock = clock
        self.times: list[float] = []
        """When each call began."""
        self.takes = takes
        self._outcomes: Iterator[object] = iter(outcomes)
        self._outcome: object = None

    async def __call__(self, value: object) -> Any:
        self.times.append(self.clock.now())
        if self.takes:
            await self.clock.sleep(self.takes)
        self._outcome = next(self._outcomes, self._outcome)
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome

    @property
    def calls(self) -> int:
        """How often it was called."""
        return len(self.times)

    @property
    def waits(self) -> list[float]:
        """The seconds between the calls, when a call takes no time."""
        return [later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False)]


def retry(clock: Clock, **options: Any) -> Retry:
    """Make a `Retry` of `Transient` in which chance always gives its most, but for *options*."""
    return Retry(**{"on": Transient, "clock": clock, "random": always(1.0), **options})


def always(value: float) -> Any:
    """Answer a chance that always gives *value*."""
    return lambda: value


def cycle(values: Iterable[float]) -> Any:
    """Answer a chance that gives *values* in turn, again and again."""
    given = list(values)
    turn = iter(range(10**9))
    return lambda: given[next(turn) % len(given)]
