"""An answer that is streamed, read piece by piece."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Protocol

import attrs

from genai_pipeline._lifespan import opened
from genai_pipeline._paid import refuse_unrecorded
from genai_pipeline._streaming import interruption
from genai_pipeline.errors import (
    ConfigurationError,
    InvalidAnswer,
    PipelineError,
    StreamInterrupted,
)
from genai_pipeline.messages import Chunk, Request, Response, Usage
from genai_pipeline.providers._caller import REFUSED, SUCCESS, Caller
from genai_pipeline.providers._dialect import Dialect, read_body
from genai_pipeline.providers._http import Answer, HttpSession
from genai_pipeline.providers._http._byte_stream import ByteStream
from genai_pipeline.providers._json import NotJson, read_json
from genai_pipeline.providers._sse import EventTooLarge, ServerEvent
from genai_pipeline.providers._target import Target

__all__ = ["AnswerStream"]

_WHOLE = ("application/json", "text/html")
_QUOTED = 100


class _Tell(Protocol):
    def __call__(
        self,
        response: Response,
        failure: str | None,
        *,
        seconds: float,
        first_chunk: float | None,
    ) -> None: ...


class AnswerStream(AbstractAsyncContextManager[AsyncIterator[Chunk]], AsyncIterator[Chunk]):
    """One answer on its way. It tells of itself and closes once, however it ends."""

    def __init__(
        self,
        caller: Caller,
        dialect: Dialect,
        request: Request,
        *,
        model: str,
        tell: _Tell,
        refuse: Callable[[Request], None],
    ) -> None:
        self._caller = caller
        self._dialect = dialect
        self._request = request
        self._model = model
        self._tell_of = tell
        self._refuse = refuse
        self._opened: opened[HttpSession] | None = None
        self._session: HttpSession | None = None
        self._bytes: ByteStream | None = None
        self._target: Target | None = None
        self._decoder = dialect.decoder()
        self._events: deque[ServerEvent] = deque()
        self._pieces = dialect.pieces()
        self._text = _Text(is_document=request.schema is not None)
        self._heard = False
        self._seconds = 0.0
        self._since: float | None = None
        self._first_chunk: float | None = None
        self._told = False
        self._complete = False

    async def __aenter__(self) -> AsyncIterator[Chunk]:
        self._since = self._now()
        try:
            await self._open()
        except BaseException as error:
            await self._end(error)
            raise
        self._pause()
        return self

    async def __anext__(self) -> Chunk:
        if self._complete:
            raise StopAsyncIteration
        if self._told:
            raise self._broken_off("the stream is closed")
        self._since = self._now()
        try:
            chunk = await self._next()
        except Exception as error:  # noqa: BLE001 - raised as what it means here
            raise await self._ended_by(error)  # noqa: B904 - it has its cause
        except BaseException as error:
            await self._end(error)
            raise
        self._pause()
        self._note_first()
        return chunk

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._complete and self._bytes is not None:
                await self._bytes.drain()
        finally:
            # What a consumer raises is no failure of the provider's.
            if error is None or isinstance(error, Exception):
                error = GeneratorExit()
            await self._end(error)

    async def _open(self) -> None:
        caller, dialect = self._caller, self._dialect
        refuse_unrecorded(f"{caller.who} is asked to stream")
        self._refuse(self._request)
        body = dialect.body(self._request, streamed=True)
        stream = await self._begin(body)
        assert self._target is not None
        if stream.status == REFUSED and await caller.renewed(self._target):
            await stream.aclose()
            stream = await self._begin(body)
        if stream.status not in SUCCESS:
            raise caller.to_error(caller.raw(await stream.read_all(), self._target))
        if self._kind() in _WHOLE and self._kind() != dialect.media_type:
            raise self._meaning_of_whole(await stream.read_all())

    async def _begin(self, body: bytes) -> ByteStream:
        caller, dialect = self._caller, self._dialect
        path = dialect.path(streamed=True)
        self._target = await caller.target(path, accept=dialect.media_type)
        if caller.sign is not None:
            self._target = await caller.sign(self._target, body)
        if self._opened is None:
            lifespan = opened(caller.client)
            self._session = await lifespan.__aenter__()
            self._opened = lifespan
        assert self._session is not None
        self._bytes = ByteStream(self._session, self._target, body, who=caller.who)
        await self._bytes.open()
        return self._bytes

    def _kind(self) -> str:
        assert self._bytes is not None
        kind = self._bytes.headers.get("content-type", "")
        return kind.partition(";")[0].strip().lower()[:80]

    def _meaning_of_whole(self, answer: Answer) -> PipelineError:
        """Answer what to raise for a server that does not stream."""
        assert self._target is not None
        who, raw = self._caller.who, self._caller.raw(answer, self._target)
        verdict = read_body(self._dialect, self._request, raw, who)
        return verdict.error or ConfigurationError(
            f"{who}: the server answered whole ({self._kind()}) where a stream was asked for; "
            "call the provider itself, not its stream()"
        )

    async def _next(self) -> Chunk:
        assert self._bytes is not None
        while True:
            while self._events:
                event = self._events.popleft()
                self._heard = True
                chunk = self._last() if self._dialect.is_end(event) else self._take(event)
                if chunk is not None:
                    return chunk
            piece = await self._bytes.read(patient=self._first_chunk is None)
            if not piece:
                return self._last()
            try:
                self._events.extend(self._decoder.feed(piece))
            except EventTooLarge as error:
                raise InvalidAnswer(f"{self._caller.who}: {error}") from None

    def _take(self, event: ServerEvent) -> Chunk | None:
        assert self._target is not None
        who, data = self._caller.who, self._target.hide_in(event.data)
        try:
            document: Any = read_json(data)
        except NotJson:
            begins = data[:_QUOTED].decode("utf-8", "replace")
            raise InvalidAnswer(f"{who}: an event is no JSON; it begins {begins!r}") from None
        if not isinstance(document, dict):
            raise InvalidAnswer(f"{who}: an event is no JSON object")
        name = event.name.decode("utf-8", "replace")
        error = self._dialect.error_in(document, name, self._headers(), who)
        if error is not None:
            raise error
        chunk = self._pieces.take(document, name)
        return None if chunk is None else self._text.take(chunk)

    def _headers(self) -> Mapping[str, str]:
        assert self._bytes is not None
        return self._bytes.headers

    def _last(self) -> Chunk:
        """Answer the last chunk of a whole answer, or raise why it is none."""
        who = self._caller.who
        if not self._heard and self._kind() != self._dialect.media_type:
            kind = self._kind() or "no content type"
            raise InvalidAnswer(f"{who}: the answer is no stream of events ({kind})")
        if not self._pieces.finished:
            raise self._broken_off("the stream ended without a finish reason")
        document = self._pieces.document()
        verdict = self._dialect.read(self._request, document, self._headers(), who)
        if verdict.error is not None:
            raise verdict.error
        if self._text.is_document and verdict.response.text != self._text.sent:
            raise InvalidAnswer(f"{who}: the answer is more than the JSON document asked for")
        model = verdict.response.model or self._model
        response = attrs.evolve(verdict.response, model=model)
        self._complete = True
        self._pause()
        self._note_first()
        self._tell(response, None)
        return Chunk(
            finish_reason=response.finish_reason,
            usage=response.usage,
            model=response.model,
            request_id=response.request_id,
            raw_finish_reason=response.raw_finish_reason,
            attributes=response.attributes,
            parts=response.parts,
            logprobs=response.logprobs,
        )

    def _broken_off(self, what: str) -> StreamInterrupted:
        told = f"{self._caller.who}: {what}"
        return StreamInterrupted(told, partial=self._text.sent, usage=self._pieces.usage)

    async def _ended_by(self, error: Exception) -> Exception:
        """End the stream, and answer what to raise."""
        if self._first_chunk is not None:
            partial, usage = self._text.sent, self._pieces.usage
            error = interruption(error, partial=partial, usage=usage)
        await self._end(error)
        return error

    async def _end(self, error: BaseException) -> None:
        self._pause()
        failure = type(error).__name__
        if not isinstance(error, Exception):
            failure = "Abandoned" if isinstance(error, GeneratorExit) else "Cancelled"
        self._tell(Response("", usage=self._pieces.usage or Usage()), failure)
        stream, lifespan, self._bytes, self._opened = self._bytes, self._opened, None, None
        try:
            if stream is not None:
                await stream.aclose()
        finally:
            if lifespan is not None:
                await lifespan.__aexit__(None, None, None)

    def _tell(self, response: Response, failure: str | None) -> None:
        if not self._told:
            self._told = True
            self._tell_of(response, failure, seconds=self._seconds, first_chunk=self._first_chunk)

    def _note_first(self) -> None:
        if self._first_chunk is None:
            self._first_chunk = self._seconds

    def _now(self) -> float:
        return self._caller.clock.now()

    def _pause(self) -> None:
        """Stop counting the provider's time."""
        if self._since is not None:
            self._seconds += self._now() - self._since
            self._since = None


class _Text:
    """The text handed on. A JSON document goes without the white space around it, as when whole."""

    def __init__(self, *, is_document: bool) -> None:
        self.is_document = is_document
        self._parts: list[str] = []
        self._space = ""

    @property
    def sent(self) -> str:
        return "".join(self._parts)

    def take(self, chunk: Chunk) -> Chunk | None:
        """Answer what of *chunk* to hand on."""
        if self.is_document:
            text = self._space + chunk.text if self._parts else chunk.text.lstrip()
            bare = text.rstrip()
            self._space = text[len(bare) :]
            chunk = attrs.evolve(chunk, text=bare)
        if chunk.text:
            self._parts.append(chunk.text)
        return chunk if chunk.text or chunk.reasoning or chunk.tool_call else None
