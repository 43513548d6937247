"""`Degrade`: less good answers rather than none."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal, cast

from genai_pipeline import _options
from genai_pipeline._lifespan import Composite
from genai_pipeline._listeners import listened
from genai_pipeline._options import apply, check
from genai_pipeline._replay import is_replaying, replays_first, would_replay
from genai_pipeline._wrap import name_of
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import ConfigurationError, NotCached, Rejected, Transient
from genai_pipeline.events import LevelAnswered, emit
from genai_pipeline.messages import Request, Response
from genai_pipeline.resilience._causes import Causes, asked, elsewhere, is_causes
from genai_pipeline.resilience._health import Health, Thresholds
from genai_pipeline.resilience._marks import marked
from genai_pipeline.resilience._route_events import DegradationChanged
from genai_pipeline.types import Provider
from genai_pipeline.walk import mark_record

__all__ = ["Degrade"]


class Degrade(Composite):
    """
    A provider that answers by the best of its *levels* that is in good health.

    ``gp.Degrade(("large", large), ("small", small), ("known", known), ("sorry", Canned("…")))``
    begins with the first. A level whose calls fail too often, *failure_rate* of at least
    *least_calls* within *window* seconds, is left for the next lower one. After *probe_after*
    seconds one call at a time tries a higher level again, in turn from the nearest; after
    *recover_after* good ones in a row that level answers. A bad probe costs its caller nothing but
    time, since the current level answers the call, and the next probe takes twice as long to come,
    up to *max_probe_after* seconds.

    Failures are what *on* names (as for `Fallback`: what may pass, and refusals such as an open
    circuit); other errors are about the request and count as nothing. While the first level
    is in good health, its failures are raised, for the `Retry` around it. Below, they go on to
    the next lower level within the same call, and so does the call that makes a level be
    left. `NotCached` always goes on, and counts as nothing.

    The level is in each answer's ``attributes["level"]``, by name, and `Report.levels` counts the
    answers by level. Below the first, ``attributes["degraded"]`` is true, the records made with
    the answer have the level in *their* ``attributes["degraded"]``, and `Cache` does not keep it.
    Each change emits `DegradationChanged`, each answer `events.LevelAnswered`. The health is this
    object's, shared by all who use it. Cancellation counts as nothing.

    It differs from `Fallback` in that it remembers: in an outage, the level that fails is asked
    by probes alone. Each level has its own retries, breaker and limits.
    """

    __slots__ = ("_clock", "_health", "_levels", "_on", "name")

    def __init__(
        self,
        *levels: Provider | tuple[str, Provider],
        on: Causes = elsewhere,
        failure_rate: float = 0.5,
        least_calls: int = 5,
        window: float = 60.0,
        probe_after: float = 30.0,
        max_probe_after: float = 600.0,
        recover_after: int = 2,
        clock: Clock | None = None,
        name: str = "degrade",
    ) -> None:
        apply(is_causes, self, "on", on)
        apply(_options.share, self, "failure_rate", failure_rate)
        for option, count in (("least_calls", least_calls), ("recover_after", recover_after)):
            apply(_options.at_least(1), self, option, count)
        for option, seconds in (("window", window), ("probe_after", probe_after)):
            apply(_options.positive, self, option, seconds)
        apply(_options.optional(_options.clock), self, "clock", clock)
        apply(_options.text, self, "name", name)
        fine = _options.is_number(max_probe_after) and probe_after <= max_probe_after < math.inf
        allowed = f"seconds, probe_after={probe_after!r} or more"
        check(fine, self, "max_probe_after", max_probe_after, allowed)
        self.name = name
        self._levels = tuple(_level(self, index, level) for index, level in enumerate(levels))
        names = [level for level, _ in self._levels]
        fine = len(names) > 1 and len(set(names)) == len(names)
        check(fine, self, "levels", names, "at least two, each with a name of its own")
        self._on = asked(on)
        self._clock = SystemClock() if clock is None else clock
        limits = Thresholds(
            failure_rate=failure_rate,
            least_calls=least_calls,
            window=window,
            probe_after=probe_after,
            max_probe_after=max_probe_after,
            recover_after=recover_after,
        )
        self._health = Health(len(names), limits, self._clock)

    @property
    def level(self) -> str:
        """The name of the level that answers now."""
        return self._levels[self._health.level][0]

    def parts(self) -> Iterable[object]:
        """Answer the providers: what is entered and left with this."""
        return tuple(provider for _, provider in self._levels)

    async def __call__(self, request: Request, /) -> Response:
        """Answer by the current level, a higher one that is being tried, or a lower one."""
        kept = self._kept(request)
        if kept is not None:
            return await self._replay(kept, request)
        probe = self._health.begin_probe()
        if probe is not None:
            answer = await self._probe(probe, request)
            if answer is not None:
                return answer
        return await self._descend(self._health.level, request)

    async def _replay(self, index: int, request: Request) -> Response:
        def goes_on(error: Exception) -> bool:
            return self._on(error) and self._kept(request) is not None

        with replays_first(goes_on):
            return await self._descend(index, request)

    async def _descend(self, index: int, request: Request) -> Response:
        """Answer by the level *index*, or a lower one."""
        while True:
            replayed = would_replay(request, self._levels[index][1])
            try:
                answer = await self._ask(index, request)
            except NotCached:
                if index == len(self._levels) - 1:
                    raise
                index += 1
            except Exception as error:
                if not self._on(error):
                    raise
                if not replayed and self._health.note(index, failed=True):
                    self._tell(index)
                lower = self._lower(index, request)
                if lower is None:
                    raise
                index = lower
            else:
                if not replayed:
                    self._health.note(index, failed=False)
                return answer

    def would_replay(self, request: Request, /) -> bool:
        """Tell whether a journal would answer *request*, whichever level gave it."""
        return self._kept(request) is not None

    def _kept(self, request: Request, start: int = 0) -> int | None:
        """Answer the highest level, from *start* on, that the journal has an answer of."""
        if is_replaying():
            for index, (_, provider) in enumerate(self._levels[start:], start):
                if would_replay(request, provider):
                    return index
        return None

    def _lower(self, index: int, request: Request) -> int | None:
        """Answer which level is to answer in place of *index*, which failed; if any is."""
        kept = self._kept(request, index + 1)
        if kept is not None:
            return kept
        if index == len(self._levels) - 1:
            return None
        if index == self._health.level == 0:
            return None
        return max(index + 1, self._health.level)

    async def _probe(self, index: int, request: Request) -> Response | None:
        """Try a higher level; answer `None` when it is not well yet."""
        outcome: Literal["good", "bad", "none"] = "none"
        wait: float | None = None
        before = self._health.level
        try:
            answer = await self._ask(index, request)
            outcome = "good"
        except NotCached:
            return None
        except Exception as error:
            if not self._on(error):
                raise
            outcome = "bad"
            wait = error.retry_after if isinstance(error, Transient | Rejected) else None
            return None
        finally:
            if self._health.end_probe(outcome, wait):
                self._tell(before)
        return answer

    async def _ask(self, index: int, request: Request) -> Response:
        name, provider = self._levels[index]
        answer = await provider(request)
        if listened():
            emit(LevelAnswered(name=self.name, level=name, degraded=index > 0))
        if index:
            mark_record(degraded=name)
            return marked(answer, level=name, degraded=True)
        return marked(answer, level=name)

    def _tell(self, before: int) -> None:
        index = self._health.level
        emit(
            DegradationChanged(
                name=self.name,
                level=self._levels[index][0],
                previous=self._levels[before][0],
                index=index,
                degraded=index > 0,
            )
        )

    def __repr__(self) -> str:
        return f"Degrade({', '.join(map(repr, self._levels))})"


def _level(owner: object, index: int, given: object) -> tuple[str, Provider]:
    """Read a level: a name and a provider, or a provider that has a name."""
    if isinstance(given, tuple):
        if len(given) != 2 or not isinstance(given[0], str):  # noqa: PLR2004 - name and provider
            raise ConfigurationError(
                f"Degrade: levels[{index}]={given!r}; give (name, provider) or a provider"
            )
        name, provider = given
    else:
        provider = given
        name = name_of(cast("Any", given))
    fine = callable(provider) and not isinstance(provider, type) and bool(name)
    check(fine, owner, f"levels[{index}]", given, "(name, provider) or a provider")
    return name, cast("Provider", provider)
