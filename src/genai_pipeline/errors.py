"""
Every error this library raises, classified by *who must act*.

::

    PipelineError
    ├── Transient            time: the same call may succeed later (``retry_after``)
    │   ├── RateLimited          the provider asks to slow down
    │   ├── Overloaded           the provider is there but cannot serve now
    │   ├── ConnectionFailed     the network or the peer broke the exchange
    │   ├── AttemptTimeout       one attempt took longer than it may
    │   ├── InvalidAnswer        the answer is not what was asked for
    │   ├── NotCached            no answer is known, and none may be fetched
    │   └── StreamInterrupted    a streamed answer broke off
    ├── Rejected             a policy of ours refused before the call was made (``retry_after``)
    │   ├── BulkheadFull         too many calls run and wait already
    │   ├── CircuitOpen          calls failed so often that none is made for a while
    │   ├── RateLimitExceeded    the quota frees too late, or too many calls wait for it
    │   ├── NoTargetReady        every target of a route is resting
    │   └── Throttled            the callee turns so many away that this one is spared it
    ├── Permanent            the author: the same call will fail again
    │   ├── InvalidRequest       the provider does not accept the request
    │   │   └── ContextOverflow      the request is longer than the model reads
    │   ├── Truncated            the answer was cut at the output limit
    │   ├── Refused              the model or its filter declined to answer
    │   └── WorkerDied           the process that ran the function died
    ├── DataError            the owner of the data: the input itself is wrong
    ├── Systemic             the operator: every record would fail alike
    │   ├── AuthenticationFailed the credentials are missing, wrong or not enough
    │   ├── QuotaExhausted       the money or quota at the vendor is used up
    │   ├── BudgetExhausted      a call could cost more than a hard budget has left
    │   ├── StorageFailed        a disk is full, read-only or failing
    │   │   └── StorageFull          a disk or a quota is full, and all else is well
    │   ├── TooManyFailures      more records failed than ``max_failures`` allows
    │   └── ConfigurationError   an option or a combination of options is wrong
    ├── AccountingError      the counts of a run do not add up: a bug of this library
    ├── DeadlineExceeded     the time the caller gave has passed
    ├── OutcomeUnknown       a call may have been billed, and its record is held for a person
    └── Stopped              the run ended before the record was finished

    RunFailed (ExceptionGroup)   what went wrong in a run; lives in `genai_pipeline.report`

`category` says the same in one word, also for exceptions that are not ours:
`classify` answers ``transient``, ``permanent``, ``system`` or ``data``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, TypeAlias

__all__ = [
    "AccountingError",
    "AttemptTimeout",
    "AuthenticationFailed",
    "BudgetExhausted",
    "BulkheadFull",
    "Category",
    "CircuitOpen",
    "ConfigurationError",
    "ConnectionFailed",
    "ContextOverflow",
    "DataError",
    "DeadlineExceeded",
    "InvalidAnswer",
    "InvalidRequest",
    "NoTargetReady",
    "NotCached",
    "OutcomeUnknown",
    "Overloaded",
    "Permanent",
    "PipelineError",
    "QuotaExhausted",
    "RateLimitExceeded",
    "RateLimited",
    "Refused",
    "Rejected",
    "Stopped",
    "StorageFailed",
    "StorageFull",
    "StreamInterrupted",
    "Systemic",
    "Throttled",
    "TooManyFailures",
    "Transient",
    "Truncated",
    "WorkerDied",
    "classify",
]

Category: TypeAlias = Literal["transient", "permanent", "system", "data"]


class PipelineError(Exception):
    """The root of all that this library raises on purpose; survives `pickle`, with its fields."""

    category: ClassVar[Category] = "permanent"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__.copy())


def _rebuild(
    cls: type[PipelineError], args: tuple[Any, ...], state: dict[str, Any]
) -> PipelineError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class _Delayed(PipelineError):
    """An error that may know when trying again makes sense."""

    category: ClassVar[Category] = "transient"

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        if retry_after is not None and not (math.isfinite(retry_after) and retry_after >= 0):
            retry_after = None
        self.retry_after = retry_after
        """Seconds to wait before the next try, as the refuser said; `None` when it did not."""


class Transient(_Delayed):
    """
    Raised when a call failed for a passing reason: time must act.

    A *retry_after* that is negative, infinite or not a number is dropped. *rate_limits* is what
    the provider told of its quota along with the failure, in the form of
    ``Response.attributes["rate_limits"]``: ``{"remaining-requests": 0.0}``. A `RateLimit` obeys it.
    """

    def __init__(
        self,
        message: str = "",
        *,
        retry_after: float | None = None,
        rate_limits: Mapping[str, float | str] | None = None,
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.rate_limits: Mapping[str, float | str] = dict(rate_limits or {})
        """What the provider told of its quota, by the names of its headers; empty if nothing."""


class RateLimited(Transient):
    """Raised when the provider asks to slow down; says nothing about its health."""


class Overloaded(Transient):
    """Raised when the provider is reached but cannot serve now."""


class ConnectionFailed(Transient):
    """
    Raised when the network or the peer broke the exchange.

    *sent* tells whether the whole request may have reached the peer, and hence may be billed.
    """

    def __init__(
        self,
        message: str = "",
        *,
        retry_after: float | None = None,
        rate_limits: Mapping[str, float | str] | None = None,
        sent: bool = True,
    ) -> None:
        super().__init__(message, retry_after=retry_after, rate_limits=rate_limits)
        self.sent = sent


class AttemptTimeout(Transient):
    """Raised when one attempt took longer than it may."""


class InvalidAnswer(Transient):
    """
    Raised when an answer arrived that is not what was asked for; it may have been billed.

    *text* is what the model said; *issues* are places in it (``$.lines[2]``) and messages.
    """

    def __init__(
        self,
        message: str = "",
        *,
        retry_after: float | None = None,
        rate_limits: Mapping[str, float | str] | None = None,
        text: str = "",
        issues: Iterable[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message, retry_after=retry_after, rate_limits=rate_limits)
        self.text, self.issues = text, tuple(issues)


class NotCached(Transient):
    """Raised when no answer is known already, where only such are given."""


class StreamInterrupted(Transient):
    """
    Raised when a streamed answer broke off: after it had begun, or without its end.

    Nothing tries it again by itself, since what arrived may have been used. *partial* is the text
    that arrived, *usage* the `Usage` that the provider had told by then, `None` if none; what
    broke it is the ``__cause__``. It has probably been billed.
    """

    def __init__(
        self,
        message: str = "",
        *,
        retry_after: float | None = None,
        rate_limits: Mapping[str, float | str] | None = None,
        partial: str = "",
        usage: Any = None,
    ) -> None:
        super().__init__(message, retry_after=retry_after, rate_limits=rate_limits)
        self.partial, self.usage = partial, usage


class Rejected(_Delayed):
    """
    Raised when a policy of ours refused a call before it was made.

    No failure of the record: the runner waits *retry_after* seconds (one, when it is `None`)
    and calls the refusing stage again.
    """

    waits_for: ClassVar[Literal["queue", "limiter", "cooldown", "breaker"]] = "cooldown"
    """What a caller that tries again waits for, as `events.PolicyWaited.kind` tells it."""


class BulkheadFull(Rejected):
    """Raised when so many calls run and wait already that one more may not even wait."""

    waits_for: ClassVar[Literal["queue", "limiter", "cooldown", "breaker"]] = "queue"


class RateLimitExceeded(Rejected):
    """Raised when the quota frees after the caller's deadline, or too many wait for it."""

    waits_for: ClassVar[Literal["queue", "limiter", "cooldown", "breaker"]] = "limiter"


class CircuitOpen(Rejected):
    """
    Raised when calls failed so often, or so slowly, that none is made for a while.

    *retry_after* is `None` while an operator holds the circuit open.
    """

    waits_for: ClassVar[Literal["queue", "limiter", "cooldown", "breaker"]] = "breaker"


class Throttled(Rejected):
    """Raised when the callee turns so many calls away that this one was kept from it."""


class NoTargetReady(Rejected):
    """Raised when every target that a route could choose refuses calls or rests."""


class Permanent(PipelineError):
    """Raised when the same call would fail again: the author must act."""


class InvalidRequest(Permanent):
    """Raised when the provider does not accept the request."""


class ContextOverflow(InvalidRequest):
    """Raised when the request is longer than the model reads, or *texts* to embed in it are."""

    def __init__(self, message: str = "", *, texts: Mapping[int, Exception] | None = None) -> None:
        super().__init__(message)
        self.texts: Mapping[int, Exception] = dict(texts or {})
        """The errors of these texts, by their places in the request; empty if not known."""


class Truncated(Permanent):
    """Raised when an answer was cut at the output limit; *partial* is the text that arrived."""

    def __init__(self, message: str = "", *, partial: str = "") -> None:
        super().__init__(message)
        self.partial = partial


class Refused(Permanent):
    """Raised when the model or its filter declined; *explanation* is what the provider said."""

    def __init__(self, message: str = "", *, explanation: str = "") -> None:
        super().__init__(message)
        self.explanation = explanation


class WorkerDied(Permanent):
    """Raised when the worker process that ran a function died."""


class DataError(PipelineError):
    """
    Raised when the input itself is wrong: the owner of the data must act.

    *origin*, *line* and *column* (both from 1) say where, as far as they are known;
    *payload* is the raw input.
    """

    category: ClassVar[Category] = "data"

    def __init__(
        self,
        message: str = "",
        *,
        origin: str | None = None,
        line: int | None = None,
        column: int | None = None,
        payload: object = None,
    ) -> None:
        places = {"": origin, "line ": line, "column ": column}
        place = ", ".join(f"{name}{at}" for name, at in places.items() if at)
        super().__init__(f"{place}: {message}" if place else message)
        self.origin, self.line, self.column = origin, line, column
        self.payload = payload


class Systemic(PipelineError):
    """
    Raised when every record would fail alike: the operator must act.

    The runner stops the run and hands the record back.
    """

    category: ClassVar[Category] = "system"


class AuthenticationFailed(Systemic):
    """Raised when the credentials are missing, wrong or not enough."""


class QuotaExhausted(Systemic):
    """Raised when the money or the quota at the vendor is used up; waiting does not help."""


class BudgetExhausted(Systemic):
    """
    Raised when a call could cost more than what is left of a hard budget.

    The record is held: raise the cap, or wait for the budget's next window, and run again. The run
    stops; if *scoped*, as the budget of one tenant, it goes on with other records. *budget* names
    it; *waits* tells whether calls under way hold money that may come back.
    """

    def __init__(self, message: str = "", *, budget: str = "", waits: bool = False) -> None:
        super().__init__(message)
        self.budget, self.waits, self.scoped = budget, waits, False


class StorageFailed(Systemic):
    """Raised when a disk is full, read-only or failing."""


class StorageFull(StorageFailed):
    """Raised when a disk or quota is full, and a pipeline may wait, see its ``on_full_disk``."""

    path: str = ""
    """What could not be written, if it is known."""


class TooManyFailures(Systemic):
    """Raised when more records failed than ``max_failures`` allows."""


class ConfigurationError(Systemic):
    """
    Raised when an option, or a combination of options, is wrong.

    The message names the option, the value that was given and what is allowed.
    """


class AccountingError(PipelineError):
    """Raised when the counts of a run do not add up, which is a bug; please report it."""

    category: ClassVar[Category] = "system"


class DeadlineExceeded(PipelineError):
    """Raised when the time that the caller gave has passed."""

    category: ClassVar[Category] = "transient"


class OutcomeUnknown(PipelineError):
    """
    Raised when a call may have been billed without an answer, and its stage does not repeat it.

    See ``on_unknown`` of `map`. The record is held: it is looked at again by each run, and goes
    on when the provider knows of the call (``"reconcile"``), when the stage's policy is
    ``"retry"``, or when somebody gives the call up.
    """

    category: ClassVar[Category] = "system"


class Stopped(PipelineError):
    """Handed to `Delivery.settle` for a record that the run did not finish."""

    category: ClassVar[Category] = "transient"


def classify(error: BaseException) -> Category:
    """Say who must act on *error*; an exception that is not ours counts as permanent."""
    if isinstance(error, PipelineError):
        return error.category
    if isinstance(error, ConnectionError | TimeoutError):
        return "transient"
    return "data" if isinstance(error, UnicodeError) else "permanent"
