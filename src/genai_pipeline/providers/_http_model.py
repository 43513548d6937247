"""`HttpModel`: a model behind HTTP, whole or streamed, in the dialect of its API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import ClassVar

import attrs

from genai_pipeline._options import at_least, optional
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.messages import Chunk, Request, Response
from genai_pipeline.providers._calling import Calling, SendBody
from genai_pipeline.providers._dialect import Dialect
from genai_pipeline.providers._failure_format import FailureFormat
from genai_pipeline.providers._http_limited import HttpLimited

__all__ = ["HttpModel"]


@attrs.frozen(eq=False)
class HttpModel(HttpLimited):
    """
    Answers requests over HTTP, in the dialect that a subclass names.

    One object serves any number of concurrent calls, runs, threads and event loops. A run opens
    the connections at the first call and closes them at its end; outside a run, ``async with
    model:`` keeps them for its block, and a lone call opens and closes its own.
    """

    records_calls: ClassVar[bool] = True
    output_modes: ClassVar[tuple[str, ...]] = ("labels", "native", "tool", "prompt")

    context_window: int | None = attrs.field(
        default=None, kw_only=True, validator=optional(at_least(1))
    )
    """The most tokens of a prompt, in place of what the *catalogue* says."""

    _dialect: Dialect = attrs.field(init=False, repr=False)
    _calling: Calling = attrs.field(init=False, repr=False)
    _send: SendBody = attrs.field(init=False, repr=False)
    _send_untimed: SendBody = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        HttpLimited.__attrs_post_init__(self)
        calling = Calling(
            name=self.name,
            model=self.model,
            who=self._caller.who,
            place=self._place(),
            dialect=self._dialect,
            to_error=self._caller.to_error,
            timeout=self.timeout,
            clock=self.clock,
            refuse=self._limits.refuse,
        )
        object.__setattr__(self, "_calling", calling)
        send = partial(self._caller.send, self._dialect.path(streamed=False))
        object.__setattr__(self, "_send", send)
        object.__setattr__(self, "_send_untimed", partial(send, timed=False))

    def _ready(self) -> None:
        object.__setattr__(self, "_dialect", self._speaks())

    def _speaks(self) -> Dialect:
        """Answer the dialect of the API; called once, when the options are checked."""
        raise NotImplementedError

    def _place(self) -> str:
        """Answer what tells this model from others of its name, for a journal."""
        return self.base_url

    def _window(self) -> int | None:
        return self.context_window

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
        return await self._calling.answer(request, self._send)

    def cut_off_within(
        self, seconds: float, clock: Clock
    ) -> Callable[[Request], Awaitable[Response]] | None:
        """
        Answer what to call where the caller cuts each call off, *seconds* after it on *clock*.

        It sets no timer of its own, which would only ring later; `None` if it might ring first, or
        if a subclass makes calls in its own way.
        """
        alike = clock is self.clock or (
            isinstance(clock, SystemClock) and isinstance(self.clock, SystemClock)
        )
        ours = type(self).__call__ is HttpModel.__call__
        return self._untimed if alike and ours and seconds <= self.timeout else None

    def _untimed(self, request: Request) -> Awaitable[Response]:
        return self._calling.answer(request, self._send_untimed)

    def would_replay(self, request: Request) -> bool:
        """Tell whether the journal of the pipeline this runs in would answer *request*."""
        return self._calling.would_replay(request)

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
        # Streams alone need them.
        from genai_pipeline.providers._answer_stream import AnswerStream  # noqa: PLC0415
        from genai_pipeline.providers._http_source import HttpSource  # noqa: PLC0415

        dialect = self._dialect
        source = HttpSource(self._caller, dialect.path(streamed=True), dialect.media_type)
        return AnswerStream(self._calling, source, request)
