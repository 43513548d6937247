"""`Fallback`: other targets for when the first cannot."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, TypeVar

from genai_pipeline import _options
from genai_pipeline._lifespan import Composite
from genai_pipeline._options import apply, check
from genai_pipeline._replay import is_replaying, replays_first, would_replay
from genai_pipeline._wrap import name_of
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import ContextOverflow, InvalidAnswer, Rejected
from genai_pipeline.events import emit
from genai_pipeline.resilience._causes import Causes, asked, elsewhere, is_causes
from genai_pipeline.resilience._limit import binding_deadline
from genai_pipeline.resilience._marks import fresh, marked, noted, told
from genai_pipeline.resilience._route_events import FallbackTaken
from genai_pipeline.types import Handler

__all__ = ["Fallback"]

I = TypeVar("I")  # noqa: E741 - the input of an arrow, beside O
O = TypeVar("O")  # noqa: E741 - the output of an arrow, beside I

_NOTE = "Fallbacks failed too: "


class _NotAccepted(Exception):
    """Stands for an answer that was not good enough."""


def _to_sizes(sizes: Iterable[int] | None) -> tuple[int, ...] | None:
    return tuple(sizes) if isinstance(sizes, Iterable) else sizes


class Fallback(Composite, Generic[I, O]):
    """
    Asks *others*, one after the other, when the handler it stands around cannot answer.

    ``gp.wrap(model, gp.Fallback(smaller_model, other_vendor))`` goes on to the next target

    - when one raises what *on* names: by default what may pass (`Transient`), what a policy
      refused (`Rejected`: an open circuit costs no request), a refused key or a used up quota,
      but never what is wrong with the request, the data or the program;
    - when *accept* does not accept the answer of one: it gets the answer, and may be async;
    - with *context_sizes*, when one raises `ContextOverflow`: to the next that reads more.

    Any other error is raised at once, whoever raised it. The answer of another target is marked
    with its name in ``Response.attributes["fallback"]``, so that it is known for what it is, and
    `Cache` does not keep it. Each change emits `FallbackTaken`.

    When all fail, the first target's error is raised, with a note on the others; an answer not
    accepted counts as `InvalidAnswer`. Two exceptions, for the sake of waiting well: when all
    refused, the error's ``retry_after`` is that of the first to be ready again; when the first
    refused and another gave an invalid answer, which is paid for, that is raised. Past the
    caller's deadline no further target is asked.

    Stand it outside of retries, breaker and limits, each target with its own, and inside of
    `Deadline` and `Cache`. The others live as long as what it stands around.
    """

    __slots__ = ("_accept", "_clock", "_on", "_sizes", "name", "others")

    def __init__(
        self,
        *others: Handler[I, O],
        on: Causes = elsewhere,
        accept: Callable[[O], bool | Awaitable[bool]] | None = None,
        context_sizes: Sequence[int] | None = None,
        clock: Clock | None = None,
        name: str = "fallback",
    ) -> None:
        check(bool(others), self, "others", others, "at least one other handler")
        for index, other in enumerate(others):
            fine = callable(other) and not isinstance(other, type)
            check(fine, self, f"others[{index}]", other, "a handler, no class")
        apply(is_causes, self, "on", on)
        fine = accept is None or callable(accept)
        check(fine, self, "accept", accept, "a function of the answer, or None")
        apply(_options.optional(_options.clock), self, "clock", clock)
        apply(_options.text, self, "name", name)
        sizes = _to_sizes(context_sizes)
        allowed = f"{len(others) + 1} numbers of tokens, the first target's before the others'"
        fine = sizes is None or (
            isinstance(sizes, tuple)
            and len(sizes) == len(others) + 1
            and all(isinstance(size, int) and size is not True and size > 0 for size in sizes)
        )
        check(fine, self, "context_sizes", context_sizes, allowed)
        self.others = others
        self.name = name
        self._on = asked(on)
        self._accept = accept
        self._sizes = sizes
        self._clock = SystemClock() if clock is None else clock

    def parts(self) -> Iterable[object]:
        """Answer the others: what is entered and left with this."""
        return self.others

    def __call__(self, value: I, call_next: Handler[I, O]) -> Awaitable[O]:
        """Pass *value* on, and to the other targets as far as it takes."""
        if is_replaying() and (kept := self._kept(value, call_next)) is not None:
            return self._replay(value, call_next, kept)
        return self._ask(value, call_next)

    async def _replay(self, value: I, call_next: Handler[I, O], kept: int) -> O:
        """Begin with the target *kept*, of which the journal has an answer."""

        def goes_on(error: Exception) -> bool:
            return self._goes_on(error) and self._kept(value, call_next) is not None

        with replays_first(goes_on):
            if kept:
                return await self._ask_others(value, [], kept)
            return await self._ask(value, call_next)

    async def _ask(self, value: I, call_next: Handler[I, O]) -> O:
        try:
            answer = await call_next(value)
            if self._accept is None or await self._accepts(answer):
                return answer
            error: Exception = _not_accepted()
        except Exception as raised:
            if not self._goes_on(raised):
                raise
            error = raised
        try:
            return await self._ask_others(value, [error], 1)
        finally:
            del error  # a traceback refers to this frame, and back

    def would_replay(self, value: I, call_next: Handler[I, O]) -> bool:
        """Tell whether a journal would answer a call with *value*, whichever target gave it."""
        return self._kept(value, call_next) is not None

    def _kept(self, value: I, call_next: Handler[I, O]) -> int | None:
        """Answer which target the journal has an answer of, 0 being the first."""
        targets = (call_next, *self.others)
        kept = (index for index, target in enumerate(targets) if would_replay(value, target))
        return next(kept, None)

    async def _ask_others(self, value: I, failures: list[Exception], start: int) -> O:
        notes: list[str] = []
        read = self._overflowed(0, failures[0], 0) if failures else 0
        for index, other in enumerate(self.others[start - 1 :], start):
            if self._sizes is not None and self._sizes[index] <= read:
                continue
            deadline = binding_deadline()
            if failures and deadline <= self._clock.now():
                break
            name = name_of(other)
            if failures:
                emit(FallbackTaken(name=self.name, target=name, error=_cause(failures[-1])))
            try:
                answer = await other(value)
                if self._accept is None or await self._accepts(answer):
                    return marked(answer, fallback=name)
                error: Exception = _not_accepted()
            except Exception as raised:
                if not self._goes_on(raised):
                    raise
                error = raised
            if failures:
                notes.append(told(name, error))
            failures.append(error)
            read = self._overflowed(index, error, read)
        error = _decisive(failures)
        try:
            raise noted(error, _NOTE, notes) if notes else error
        finally:
            del error, failures  # as above

    def _goes_on(self, error: Exception) -> bool:
        if self._sizes is not None and isinstance(error, ContextOverflow):
            return True
        return self._on(error)

    def _overflowed(self, index: int, error: Exception, read: int) -> int:
        """Answer how much is known not to be enough."""
        if self._sizes is not None and isinstance(error, ContextOverflow):
            return max(read, self._sizes[index])
        return read

    async def _accepts(self, answer: O) -> bool:
        assert self._accept is not None
        verdict = self._accept(answer)
        return bool(await verdict if inspect.isawaitable(verdict) else verdict)

    def __repr__(self) -> str:
        return f"Fallback({', '.join(map(repr, self.others))})"


def _not_accepted() -> InvalidAnswer:
    error = InvalidAnswer("the answer was not accepted")
    error.__cause__ = _NotAccepted()
    return error


def _cause(error: Exception) -> str:
    if isinstance(error.__cause__, _NotAccepted):
        return "NotAccepted"
    return type(error).__name__


def _decisive(failures: list[Exception]) -> Exception:
    """Answer which of the failures of all targets to raise."""
    first = failures[0]
    if not isinstance(first, Rejected):
        return first
    paid = next((error for error in failures if isinstance(error, InvalidAnswer)), None)
    if paid is not None:
        return paid
    waits = [error.retry_after for error in failures if isinstance(error, Rejected)]
    if len(waits) == len(failures) and any(wait is not None for wait in waits):
        first = fresh(first)
        first.retry_after = min(wait for wait in waits if wait is not None)
    return first
