"""`HttpModel`: a model behind HTTP, whole or streamed, in the dialect of its API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import ClassVar

import attrs

from genai_pipeline._paid import PaidCall, paid
from genai_pipeline.messages import Chunk, Request, Response
from genai_pipeline.providers._answer_stream import AnswerStream
from genai_pipeline.providers._caller import SUCCESS
from genai_pipeline.providers._dialect import Dialect, Verdict, judge, read_body
from genai_pipeline.providers._failure_format import FailureFormat
from genai_pipeline.providers._http_options import HttpOptions
from genai_pipeline.providers._json import ReadOnce
from genai_pipeline.providers._telling import tell

__all__ = ["HttpModel"]


@attrs.frozen(eq=False)
class HttpModel(HttpOptions):
    """
    Answers requests over HTTP, in the dialect that a subclass names.

    One object serves any number of concurrent calls, runs, threads and event loops. A run opens
    the connections at the first call and closes them at its end; outside a run, ``async with
    model:`` keeps them for its block, and a lone call opens and closes its own.
    """

    records_calls: ClassVar[bool] = True

    _dialect: Dialect = attrs.field(init=False, repr=False)

    def _ready(self) -> None:
        object.__setattr__(self, "_dialect", self._speaks())

    def _speaks(self) -> Dialect:
        """Answer the dialect of the API; called once, when the options are checked."""
        raise NotImplementedError

    def _failures(self) -> FailureFormat:
        return self._dialect.failures

    async def __call__(self, request: Request) -> Response:
        """
        Answer *request* with one call.

        Raises `Transient` errors for what passes, with the server's ``retry_after``;
        `InvalidRequest`, `ContextOverflow`, `Refused` and `Truncated` for what does not;
        `AuthenticationFailed`, `QuotaExhausted` and `ConfigurationError` for what would fail
        each record alike.
        """
        began = self.clock.now()
        verdict = Verdict(Response(""))
        failure: str | None = "Cancelled"
        try:
            verdict = await self._call(request)
            failure = None if verdict.error is None else type(verdict.error).__name__
        except Exception as error:
            failure = type(error).__name__
            raise
        finally:
            seconds = self.clock.now() - began
            tell(self.name, self.model, verdict.response, failure, seconds=seconds)
        if verdict.error is not None:
            raise verdict.error
        return verdict.response

    def stream(self, request: Request) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """
        Answer *request* piece by piece: ``async with model.stream(request) as chunks:``.

        Entering sends the request, and raises what a call raises; leaving early hangs up. The
        chunks together are the `Response` of a call; what a call would raise instead of it
        (`Refused`, `Truncated`) is raised instead of the last chunk. What passes, but goes wrong
        after the first chunk, is a `StreamInterrupted`, and so is an end without a finish reason.
        The *timeout* does not count the consumer's own time.

        Labels cannot be streamed. A server that answers whole all the same is a
        `ConfigurationError`.
        """
        told = partial(tell, self.name, self.model)
        return AnswerStream(self._caller, self._dialect, request, model=self.model, tell=told)

    async def _call(self, request: Request) -> Verdict:
        dialect, caller = self._dialect, self._caller
        body, read = dialect.body(request, streamed=False), ReadOnce()
        kind, *rest = dialect.identity()
        call = PaidCall(
            provider=self.name,
            model=self.model,
            request=request,
            judge=partial(judge, dialect, read=read),
            timeout=self.timeout,
            identity=(kind, self.base_url, *rest),
        )
        answer = await paid(call, partial(caller.send, dialect.path(streamed=False), body))
        if answer.status not in SUCCESS:
            raise caller.to_error(answer)
        verdict = read_body(dialect, request, answer, caller.who, read)
        response = verdict.response
        if not response.model:
            response = attrs.evolve(response, model=self.model)
        if answer.replayed:
            told = {**response.attributes, "replayed": True}
            response = attrs.evolve(response, attributes=told)
        return attrs.evolve(verdict, response=response)
