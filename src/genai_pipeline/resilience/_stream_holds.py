"""What a stream holds of the limits that it shares with calls, until its end."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from genai_pipeline.messages import Request, Response
from genai_pipeline.resilience._adaptive_limit import AdaptiveLimit, AdaptiveSlot
from genai_pipeline.resilience._breaker import Admission, CircuitBreaker
from genai_pipeline.resilience._bulkhead import Bulkhead, Slot
from genai_pipeline.resilience._rate_limit import RateLimit
from genai_pipeline.resilience._reservation import Reservation

__all__ = ["Concurrency", "Holds", "Limits"]

Concurrency: TypeAlias = "AdaptiveLimit | Bulkhead"


@attrs.frozen(kw_only=True)
class Limits:
    """The policies that a stream passes, in this order; the same objects serve calls."""

    rate_limit: RateLimit | None = None
    concurrency: Concurrency | None = None
    breaker: CircuitBreaker | None = None


class Holds:
    """A quota's reservation, a slot and a breaker's permit: taken in order, settled once."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._reservation: Reservation | None = None
        self._slot: AdaptiveSlot | Slot | None = None
        self._admission: Admission | None = None

    async def take(self, request: Request) -> None:
        """Wait for all of them, or raise what refuses, holding none."""
        limits = self._limits
        if limits.breaker is not None:
            limits.breaker.check()  # nobody queues for what is down
        if limits.rate_limit is not None:
            self._reservation = await limits.rate_limit.reserve(request)
        try:
            if limits.concurrency is not None:
                slot = limits.concurrency.slot()
                await slot.__aenter__()
                self._slot = slot
                if limits.rate_limit is not None:
                    await limits.rate_limit.check_again(request, _go_on)
            if limits.breaker is not None:
                self._admission = limits.breaker.admit()
        except BaseException:
            reservation, self._reservation = self._reservation, None
            if reservation is not None:
                reservation.refund()
            await self._free_slot(GeneratorExit())
            raise

    def begun(self) -> None:
        """Tell that the first chunk came: to a breaker that probes, this is good enough."""
        breaker, admission = self._limits.breaker, self._admission
        if breaker is not None and admission is not None and breaker.state == "half-open":
            admission.settle(None)

    async def answered(self, response: Response, *, paused: float) -> None:
        """End with a whole answer."""
        reservation, self._reservation = self._reservation, None
        try:
            await self._free(None, paused)
        finally:
            if reservation is not None:
                reservation.answered(response)

    async def failed(self, error: Exception, *, paused: float) -> None:
        """End with what went wrong at the provider, or on the way."""
        reservation, self._reservation = self._reservation, None
        try:
            await self._free(error, paused)
        finally:
            if reservation is not None:
                await reservation.failed(error)

    async def left(self, text: str | None) -> None:
        """End without anything being said of the provider; *text* is what came, if it began."""
        reservation, self._reservation = self._reservation, None
        try:
            await self._free(GeneratorExit(), 0.0)
        finally:
            if reservation is not None and text is not None:
                reservation.left_early(reservation.tokens_of(text))
            elif reservation is not None:
                reservation.keep()

    async def _free(self, error: BaseException | None, paused: float) -> None:
        admission, self._admission = self._admission, None
        try:
            if admission is not None:
                admission.settle(error, paused=paused)
        finally:
            await self._free_slot(error)

    async def _free_slot(self, error: BaseException | None) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            await slot.__aexit__(None if error is None else type(error), error, None)


async def _go_on(request: Request) -> None:
    """Stand behind a policy that only lets a call wait."""
