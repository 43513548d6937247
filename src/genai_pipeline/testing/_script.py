"""`Script`: a provider that answers what the test says."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from typing import ClassVar, Literal, Self, TypeAlias, cast

from genai_pipeline._options import check
from genai_pipeline._paid_response import paid_response, would_replay_response
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.events import CallFinished, emit
from genai_pipeline.messages import Request, Response, Usage

__all__ = ["Answer", "Script", "ScriptError", "words_of"]

_SHOWN = 60

Plain: TypeAlias = str | Response | BaseException | type[BaseException]
Function: TypeAlias = Callable[[Request], Plain | Awaitable[Plain]]
Answer: TypeAlias = Plain | Function
"""A text, a `Response`, an exception to raise, or a function of the request that gives one."""


class ScriptError(ConfigurationError, AssertionError):
    """
    Raised when a `Script` is called in a way its author did not foresee.

    An assertion of the test, and systemic, so that no retry or dead letter hides it: a run
    stops and raises it.
    """


class Script:
    """
    A provider that gives *answers* in the order of calls, and remembers the requests.

    Each answer is a text, a `Response`, an exception (raised) or a function of the `Request`,
    async or plain, that gives one of these. After the last, *then* says what comes: ``"error"``
    a `ScriptError` that tells how many answers there were, ``"repeat"`` the last one again, or
    a function that answers all further requests.

    A text is made a `Response` whose usage counts words: the request's as input tokens, the
    answer's as output tokens. It must fit the request, one of its labels or JSON when it has a
    schema; that it does not is a `ScriptError`. A `Response` goes out as it is, so a provider
    that misbehaves can be played too.

    Every call takes *latency* seconds on *clock*: a number, or a function of the request. Which
    answer a call gets is decided when it begins, so concurrent calls of different latency do
    not mix. Each call emits one `CallFinished`.

    In a pipeline with a journal its responses are kept there, and one that is kept already is
    given back without a call: it is not among the *requests* then.
    """

    records_calls: ClassVar[bool] = True
    output_modes: ClassVar[tuple[str, ...]] = ("labels", "native", "tool", "prompt")

    def __init__(
        self,
        *answers: Answer,
        then: Literal["error", "repeat"] | Function = "error",
        latency: float | Callable[[Request], float] = 0.0,
        clock: Clock | None = None,
        model: str = "script",
    ) -> None:
        for index, answer in enumerate(answers):
            fine = isinstance(answer, str | Response | BaseException) or callable(answer)
            allowed = "a text, a Response, an exception or a function of the request"
            check(fine, self, f"answers[{index}]", answer, allowed)
        allowed = "'error', 'repeat' or a function of the request"
        check(then in ("error", "repeat") or callable(then), self, "then", then, allowed)
        allowed = "at least one answer to repeat, or another then="
        check(bool(answers) or then != "repeat", self, "then", then, allowed)
        if not callable(latency):
            check(0 <= latency < float("inf"), self, "latency", latency, "seconds, 0 or more")
        self.requests: list[Request] = []
        """The requests, in the order of calls."""
        self.in_flight = 0
        """Calls that have begun and not ended."""
        self.most_in_flight = 0
        """The most calls that were ever in flight together: what a bulkhead let through."""
        self.model = model
        self._answers = answers
        self._then = then
        self._latency = latency
        self._clock = clock or SystemClock()

    @classmethod
    def of(
        cls,
        function: Function,
        *,
        latency: float | Callable[[Request], float] = 0.0,
        clock: Clock | None = None,
    ) -> Self:
        """Make a script that answers every request by *function*."""
        return cls(then=function, latency=latency, clock=clock)

    @property
    def calls(self) -> int:
        """How many calls were made."""
        return len(self.requests)

    @property
    def prompts(self) -> list[str]:
        """The prompts of the requests, in the order of calls."""
        return [request.prompt for request in self.requests]

    @property
    def left(self) -> int:
        """How many answers nobody has called for yet."""
        return max(0, len(self._answers) - self.calls)

    async def __call__(self, request: Request, /) -> Response:
        """Give the next answer, or raise it."""
        response = await paid_response(
            request, partial(self._call, request), provider="script", model=self.model
        )
        if response.attributes.get("replayed"):
            usage = Usage(cost=Decimal(0))
            nothing = Response("", usage=usage, finish_reason=response.finish_reason)
            self._tell(self._clock.now(), nothing, None, replayed=True)
        return response

    def would_replay(self, request: Request, /) -> bool:
        """Tell whether the journal of the pipeline this runs in would answer *request*."""
        return would_replay_response(request, provider="script", model=self.model)

    async def _call(self, request: Request) -> Response:
        number = len(self.requests)
        self.requests.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        began = self._clock.now()
        try:
            latency = self._latency(request) if callable(self._latency) else self._latency
            await self._clock.sleep(latency)
            response = await self._respond(number, request)
        except BaseException as error:
            failure = type(error).__name__ if isinstance(error, Exception) else "Cancelled"
            self._tell(began, Response(""), failure)
            raise
        finally:
            self.in_flight -= 1
        self._tell(began, response, None)
        return response

    async def _respond(self, number: int, request: Request) -> Response:
        answer = self._answer(number, request)
        if not isinstance(answer, str | Response | BaseException) and not _is_error(answer):
            given = cast("Function", answer)(request)
            answer = await given if isinstance(given, Awaitable) else given
        if isinstance(answer, BaseException):
            raise answer.with_traceback(None)
        if _is_error(answer):
            raise cast("type[BaseException]", answer)
        if isinstance(answer, Response):
            return answer
        if not isinstance(answer, str):
            raise ScriptError(
                f"the answer to call {number + 1} is a {type(answer).__qualname__}; "
                "give a text, a Response or an exception"
            )
        _check_fits(answer, request, number)
        return Response(answer, usage=words_of(request, answer), model=self.model)

    def _answer(self, number: int, request: Request) -> Answer:
        if number < len(self._answers):
            return self._answers[number]
        if self._then == "repeat":
            return self._answers[-1]
        if callable(self._then):
            return self._then
        count = len(self._answers)
        raise ScriptError(
            f"the script has {count} answer{'' if count == 1 else 's'}, and this is call "
            f"{number + 1}: {_short(request.prompt)}; give more answers, or then='repeat' or a "
            "function"
        )

    def _tell(
        self, began: float, response: Response, failure: str | None, *, replayed: bool = False
    ) -> None:
        emit(
            CallFinished(
                provider="script",
                model=response.model or self.model,
                seconds=self._clock.now() - began,
                input_tokens=response.usage.input_tokens,
                output_tokens=response.usage.output_tokens,
                cost=response.usage.cost,
                finish_reason=None if failure else response.finish_reason,
                error=failure,
                replayed=replayed,
            )
        )

    def __repr__(self) -> str:
        return f"<Script: {len(self._answers)} answers, {self.calls} calls>"


def _is_error(answer: object) -> bool:
    return isinstance(answer, type) and issubclass(answer, BaseException)


def _check_fits(text: str, request: Request, number: int) -> None:
    if request.labels is not None and text not in request.labels:
        raise ScriptError(
            f"the answer to call {number + 1} is {_short(text)}, which is none of the request's "
            f"labels {request.labels!r}; give a label, or a Response to answer wrongly on purpose"
        )
    if request.schema is not None:
        try:
            json.loads(text)
        except ValueError as error:
            raise ScriptError(
                f"the answer to call {number + 1} is {_short(text)}, which is no JSON ({error}), "
                "and the request has a schema; give JSON, or a Response to answer wrongly on "
                "purpose"
            ) from None


def words_of(request: Request, answer: str) -> Usage:
    """Answer the usage of a call, words for tokens."""
    asked = [request.system or "", *(message.text for message in request.messages)]
    return Usage(
        input_tokens=sum(len(text.split()) for text in asked),
        output_tokens=len(answer.split()),
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
