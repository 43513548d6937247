"""`Cache`: answers known already, and one call for many equal ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, TypeVar, cast

import attrs

from genai_pipeline import _options
from genai_pipeline._answer_codec import Kept, packed, plain_usage, unpacked
from genai_pipeline._lifespan import Composite
from genai_pipeline._listeners import listened
from genai_pipeline._options import check, optional, positive, seconds
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.events import emit
from genai_pipeline.messages import Response, Usage
from genai_pipeline.resilience._cache_key import Keys
from genai_pipeline.resilience._causes import Causes, asked, elsewhere, is_causes
from genai_pipeline.resilience._marks import remade
from genai_pipeline.resilience._route_events import CacheAnswered, CacheFailed, CacheMissed
from genai_pipeline.resilience._single_flight import SingleFlight
from genai_pipeline.types import Handler, Store

__all__ = ["Cache"]

I = TypeVar("I")  # noqa: E741 - the input of an arrow, beside O
O = TypeVar("O")  # noqa: E741 - the output of an arrow, beside I

_FREE = Usage(cost=Decimal(0))
_COMPLETE = ("stop", "tool")
_NOT_THE_REAL_THING = ("fallback", "degraded", "stale")


_is_store = _options.having("a store, such as gp.stores.Memory()", "get", "put", "delete")
_is_key = _options.function("the value that answers a text or None, or None")
_is_keep = _options.function("the answer that tells whether to keep it, or None")


def _to_names(per: str | Iterable[str]) -> tuple[str, ...]:
    if isinstance(per, str):
        return (per,)
    return tuple(per) if isinstance(per, Iterable) else per  # the validator refuses it


def _are_names(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    fine = isinstance(value, tuple) and all(isinstance(name, str) and name for name in value)
    check(fine, owner, option.name, value, "the name of an attribute of records, or several")


@attrs.frozen(kw_only=True, eq=False)
class Cache(Composite):
    """
    Answers equal calls once: from a *store*, or by sharing a call that is under way.

    The key of an answer is the whole request with every parameter
    (`Request.fingerprint`), the *scope* and the tenant (*per*). For other handlers than
    providers, *key* makes a text of each value; what it answers `None` for is passed by.

    **What is kept.** Complete answers alone: errors never; a `Response` only if its
    ``finish_reason`` is ``stop`` or ``tool``, and not one that a `Fallback` or a lower level of
    `Degrade` gave; no answer that *keep* says no to. Entries are JSON, never pickles; an answer
    of a handler that is no provider must be plain JSON to be kept.

    **What comes back.** A `Response` out of the store has ``attributes["cached"]`` true, one
    shared with an equal call ``attributes["shared"]``. Either used nothing, so its ``usage`` is
    zero and its cost 0, and sums over answers stay true; what the call used that made it is in
    ``attributes["cached_usage"]``.

    **One call for many.** Equal calls share one, in a task of its own: when the caller who
    began it is cancelled, the others still get the answer, and only when the last has left is
    the call cancelled. In a pipeline it has the latest deadline of those who wait, each of whom
    keeps his own; elsewhere it has none, and whoever began it leaves only when it has ended
    or nobody else waits. All get its error, each an object of its own; the next call tries again.

    **When things fail.** With *stale_for*, an entry past its *ttl* answers for a call
    that fails for a cause of *stale_on*, marked ``attributes["stale"]``. A store that fails, or
    takes longer than *store_timeout*, fails no call: it is as if it were empty (`CacheFailed`).

    Stand it outside of everything that costs: budgets, retries, limits, breaker. A hit then
    passes none of them. Emits `CacheAnswered` and `CacheMissed`.
    """

    store: Store[Any] = attrs.field(validator=_is_store)
    """Where answers are kept; it lives as long as what the cache stands around."""

    ttl: float | None = attrs.field(default=86_400.0, validator=optional(positive))
    """Seconds until an answer is fetched anew; `None`: never."""

    scope: str | None = attrs.field(default=None, validator=optional(_options.text))
    """
    What decides on answers beside the request: the model and its version, the prompt's version.

    Equal scopes share entries, between processes too, so name everything. `None`: entries belong
    to this object and the handler it stands around, and serve nobody after the process ended.
    """

    per: tuple[str, ...] = attrs.field(default=(), converter=_to_names, validator=_are_names)
    """
    Attributes of the record whose values must be equal too, such as ``"tenant"``.

    A record without them, or a call outside any pipeline, is passed by.
    """

    key: Callable[[Any], str | None] | None = attrs.field(default=None, validator=optional(_is_key))
    """Makes the text that stands for a value; `None`: the fingerprint of the request."""

    keep: Callable[[Any], bool] | None = attrs.field(default=None, validator=optional(_is_keep))
    """Tells of a complete answer whether to keep it; `None`: every one."""

    stale_for: float = attrs.field(default=0.0, validator=seconds)
    """Seconds after its *ttl* in which an answer may stand in for a failure."""

    stale_on: Causes = attrs.field(default=elsewhere, validator=is_causes, repr=False)
    """Which failures: a class, several, or a function; by default those that may pass."""

    store_timeout: float = attrs.field(default=5.0, validator=positive)
    """The longest to wait for the store, in seconds."""

    clock: Clock = attrs.field(factory=SystemClock, repr=False, validator=_options.clock)

    name: str = attrs.field(default="cache", validator=_options.text)
    """What to call this in events."""

    _keys: Keys = attrs.field(
        init=False, repr=False, default=attrs.Factory(lambda self: self._make_keys(), True)
    )
    _flights: SingleFlight = attrs.field(init=False, repr=False, factory=SingleFlight)

    def _make_keys(self) -> Keys:
        return Keys(self.scope, self.per, self.key)

    def parts(self) -> Iterable[object]:
        """Answer the store: what is entered and left with this."""
        return (self.store,)

    async def __call__(self, value: I, call_next: Handler[I, O]) -> O:
        """Answer from the store, with an equal call, or by passing *value* on."""
        key = self._keys.of(value, call_next)
        if key is None:
            return await call_next(value)
        kept = await self._look_up(key)
        if kept is not None and self._age(kept) < (math.inf if self.ttl is None else self.ttl):
            return cast("O", self._reused(kept, "fresh", cached=True))

        async def fetch() -> O:
            return await call_next(value)

        async def put(answer: O) -> None:
            await self._put(key, answer)

        emit(CacheMissed(name=self.name))
        try:
            answer, shared = await self._flights(key, fetch, put)
        except Exception as error:
            if kept is None or not asked(self.stale_on)(error):
                raise
        else:
            if not shared:
                return answer
            return self._reused(Kept(answer, self.clock.wall()), "shared", shared=True)
        return cast("O", self._reused(kept, "stale", cached=True, stale=True))

    async def _look_up(self, key: str) -> Kept[Any] | None:
        """Answer the entry of *key*, also a stale one if it may be of use."""
        while True:
            mark = self._flights.landings()
            kept = await self._get(key)
            if kept is not None or not self._flights.landed_since(mark, key):
                return kept

    async def _get(self, key: str) -> Kept[Any] | None:
        try:
            with self.clock.cancel_at(self.clock.now() + self.store_timeout):
                text = await self.store.get(key)
                kept = None if text is None else unpacked(text)
                return kept if kept is None or self._age(kept) < self._kept_for() else None
            raise TimeoutError(f"the store took longer than {self.store_timeout:g} s")  # noqa: TRY301
        except Exception as error:  # noqa: BLE001 - a cache that is down is an empty one
            emit(CacheFailed(name=self.name, operation="get", error=error))
            return None

    async def _put(self, key: str, answer: object) -> None:
        try:
            if not self._is_kept(answer):
                return
            entry = packed(answer, self.clock.wall())
            ttl = self._kept_for()
            put = self.store.put(key, entry, ttl=None if math.isinf(ttl) else ttl)
            with self.clock.cancel_at(self.clock.now() + self.store_timeout) as scope:
                # The answer is paid for, so nobody's leaving keeps it from being kept.
                scope.shield = True
                await put
                return
            raise TimeoutError(f"the store took longer than {self.store_timeout:g} s")  # noqa: TRY301
        except Exception as error:  # noqa: BLE001 - the answer matters more than keeping it
            emit(CacheFailed(name=self.name, operation="put", error=error))

    def _is_kept(self, answer: object) -> bool:
        if isinstance(answer, Response) and (
            answer.finish_reason not in _COMPLETE
            or any(answer.attributes.get(mark) for mark in _NOT_THE_REAL_THING)
        ):
            return False
        return self.keep is None or bool(self.keep(answer))

    def _age(self, kept: Kept[Any]) -> float:
        # Entries of another machine may come a little out of the future, but not far.
        return abs(self.clock.wall() - kept.made)

    def _kept_for(self) -> float:
        return math.inf if self.ttl is None else self.ttl + self.stale_for

    def _reused(self, kept: Kept[O], kind: Any, **marks: bool) -> O:
        if listened():
            emit(CacheAnswered(name=self.name, kind=kind, seconds=self._age(kept)))
        answer = kept.answer
        if not isinstance(answer, Response):
            return answer
        attributes = {"cached_usage": plain_usage(answer.usage), **answer.attributes, **marks}
        return cast("O", remade(answer, _FREE, attributes))
