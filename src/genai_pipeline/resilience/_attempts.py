"""The attempts at one call: what is counted, how long to wait, and when to give up."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar

import attrs

from genai_pipeline._listeners import listened
from genai_pipeline._replay import is_unsent, replays_elsewhere
from genai_pipeline.errors import InvalidAnswer, RateLimited, Rejected, Transient
from genai_pipeline.events import PolicyWaited, emit
from genai_pipeline.resilience._events import RetryScheduled
from genai_pipeline.resilience._limit import is_end_of_run
from genai_pipeline.types import Handler
from genai_pipeline.walk import current_deadline, current_walk

if TYPE_CHECKING:
    from genai_pipeline.resilience._retry import Retry

__all__ = ["Attempts", "Failed"]

I = TypeVar("I")  # noqa: E741 - the input of an arrow, beside O
O = TypeVar("O")  # noqa: E741 - the output of an arrow, beside I

Kind: TypeAlias = Literal["fault", "answer", "limit", "rejection"]

_NO_FAILURES = ("limit", "rejection")
_BELIEVED = 86_400.0
_LEAST_WAIT = 0.01
_DOUBLINGS = 64
_EARLIER_KEPT = 5
_MESSAGE_CHARACTERS = 200
_NOTE = "Earlier attempts: "


@attrs.define(eq=False)
class Failed:
    """What an attempt that raised returns."""

    _error: BaseException | None

    def peek(self) -> BaseException | None:
        """Answer the error."""
        return self._error

    def take(self) -> BaseException:
        """Answer the error and let go of it, lest its traceback refer back to it."""
        error, self._error = self._error, None
        assert error is not None
        return error


class Attempts(Generic[I, O]):
    """All attempts at one call, from the moment the first has failed."""

    wait: float
    """Seconds to wait before the next attempt."""

    # What `_note` says of the latest failure.
    _kind: Kind
    _hint: float | None
    _error: str
    _waits_for: Literal["queue", "limiter", "cooldown", "breaker", "backoff"]

    def __init__(
        self,
        retry: Retry,
        value: I,
        call_next: Handler[I, O],
        error: Exception,
        wish: bool | float,  # noqa: FBT001 - what `on` said of the error
    ) -> None:
        self._retry = retry
        self._value = value
        self._call_next = call_next
        self._first: tuple[Exception, bool | float] | None = (error, wish)
        self._counts: dict[Kind, int] = {"fault": 0, "answer": 0, "limit": 0, "rejection": 0}
        self._earlier: deque[str] = deque(maxlen=_EARLIER_KEPT)
        self._patience = retry.patience
        self._park = False
        self._unsent = False
        self._has_token = False
        self._made = 1

    async def make(self) -> O | Failed:
        """Make an attempt; answer its failure rather than raise it. The first was made before."""
        if self._first is not None:
            return Failed(self._first[0])
        try:
            return await self._call_next(self._value)
        except BaseException as error:  # noqa: BLE001 - raised again where nothing holds it
            return Failed(error)

    def wants_another(self, outcome: object) -> bool:
        """Tell whether *outcome* is a failure to be tried again; count it and set `wait`."""
        error = outcome.peek() if isinstance(outcome, Failed) else None
        if not isinstance(error, Exception):
            return False
        if self._first is not None:
            wish = self._first[1]
            self._first = None
        else:
            wish = isinstance(error, Rejected) or self._retry.wish(error)
        if wish is False:
            return False
        self._unsent = is_unsent(self._value, self._call_next)
        if not self._unsent and replays_elsewhere(error):
            return False
        self._note(error)
        self.wait = 0.0 if self._unsent else self._wait_after(wish)
        return True

    def must_stop(self) -> bool:
        """Tell whether to give up instead of waiting; a token of the budget is taken last."""
        retry, count = self._retry, self._counts[self._kind]
        if self._kind == "fault" and count >= retry.attempts:
            return True
        if self._kind == "answer" and count >= (retry.answer_attempts or retry.attempts):
            return True
        return not (self._unsent or self._may_wait())

    def _may_wait(self) -> bool:
        retry, deadline = self._retry, current_deadline()
        if retry.clock.now() + self.wait >= deadline:
            self._park = is_end_of_run(deadline)
            return False
        if self._hint is not None and self._hint > retry.max_server_delay:
            self._park = True
            return False
        if self._kind in _NO_FAILURES:
            self._park = self.wait > self._patience
            return not self._park
        self._has_token = retry.budget is not None and retry.budget.withdraw()
        return retry.budget is None or self._has_token

    async def sleep(self, seconds: float) -> None:
        """Wait before the next attempt; an interrupted wait costs the budget nothing."""
        clock = self._retry.clock
        began = clock.now()
        self._announce()
        try:
            await clock.sleep(seconds)
        except BaseException:
            if self._has_token and self._retry.budget is not None:
                self._retry.budget.refund()
            raise
        finally:
            if listened():
                waited, name = clock.now() - began, self._retry.name
                emit(PolicyWaited(kind=self._waits_for, name=name, seconds=waited))
        self._has_token = False
        self._earlier.append(self._error)
        if self._kind in _NO_FAILURES:
            self._patience -= seconds
        if self._kind != "rejection":
            self._made += 1
            _count_for_record(1)

    def final(self, failed: Failed) -> BaseException:
        """Answer what to raise for the last failure, with a note on those before it."""
        error = failed.take()
        if not isinstance(error, Exception):
            return error
        self._tell_of_earlier(error)
        if not self._park or isinstance(error, Rejected):
            return error
        wait = self.wait if self._hint is None else self._hint
        rejection = Rejected(f"try again in {wait:.3g} s: {self._error}", retry_after=wait)
        rejection.__cause__ = error
        return rejection

    def succeeded(self) -> None:
        """Take back what was counted for the record: its next call begins anew."""
        _count_for_record(1 - self._made)

    def _note(self, error: Exception) -> None:
        if isinstance(error, Rejected):
            self._kind, self._waits_for = "rejection", error.waits_for
            if error.waits_for == "breaker":
                # The provider was ill, not this call: an outage uses up nobody's attempts.
                self._counts["fault"] = 0
        elif isinstance(error, RateLimited):
            self._kind, self._waits_for = "limit", "cooldown"
        else:
            self._kind = "answer" if isinstance(error, InvalidAnswer) else "fault"
            self._waits_for = "backoff"
        self._counts[self._kind] += 1
        self._error = f"{type(error).__name__}: {error}"[:_MESSAGE_CHARACTERS]
        self._hint = error.retry_after if isinstance(error, Transient | Rejected) else None
        if isinstance(error, Transient) and self._hint is not None and self._hint > _BELIEVED:
            self._hint = None

    def _wait_after(self, wish: bool | float) -> float:  # noqa: FBT001 - what `on` said
        retry, hint = self._retry, self._hint or 0.0
        # Nothing else keeps from spinning what uses up no attempt.
        least = _LEAST_WAIT if self._kind in _NO_FAILURES else 0.0
        if wish is not True:
            return max(wish, hint, least)
        spread = hint and hint + retry.random() * min(retry.first_wait, hint / 4)
        if self._kind == "rejection" and self._hint is not None:
            return max(spread, least)  # a policy knows when it lets the call pass; a server guesses
        return max(spread, self._backoff(), least)

    def _backoff(self) -> float:
        retry = self._retry
        doublings = min(self._counts[self._kind] - 1, _DOUBLINGS)
        most = min(retry.max_wait, retry.first_wait * 2.0**doublings)
        if self._kind in _NO_FAILURES:
            return most * (1 + retry.random()) / 2
        return most * retry.random()

    def _announce(self) -> None:
        if self._kind != "rejection" and listened():
            error, _, _ = self._error.partition(":")
            emit(
                RetryScheduled(
                    name=self._retry.name, attempt=self._made, wait=self.wait, error=error
                )
            )

    def _tell_of_earlier(self, error: Exception) -> None:
        if self._earlier:
            notes = [note for note in getattr(error, "__notes__", ()) if not note.startswith(_NOTE)]
            error.__notes__ = [*notes, _NOTE + "; ".join(self._earlier)]


def _count_for_record(calls: int) -> None:
    walk = current_walk()
    if walk is not None:
        walk.attempts += calls
