"""An answer that is streamed, read piece by piece."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

import attrs

from genai_pipeline._paid import refuse_unrecorded
from genai_pipeline._raw_answer import RawAnswer
from genai_pipeline._streaming import interruption
from genai_pipeline.errors import (
    ConfigurationError,
    InvalidAnswer,
    PipelineError,
    StreamInterrupted,
)
from genai_pipeline.messages import Chunk, Request, Response, Usage
from genai_pipeline.providers._caller import SUCCESS
from genai_pipeline.providers._calling import Calling
from genai_pipeline.providers._dialect import read_body
from genai_pipeline.providers._json import NotJson, read_json
from genai_pipeline.providers._sse import EventTooLarge, ServerEvent
from genai_pipeline.providers._stream_source import StreamSource
from genai_pipeline.providers._telling import tell

__all__ = ["AnswerStream"]

_WHOLE = ("application/json", "text/html")
_QUOTED = 100


class AnswerStream(AbstractAsyncContextManager[AsyncIterator[Chunk]], AsyncIterator[Chunk]):
    """One answer on its way. It tells of itself and closes once, however it ends."""

    def __init__(self, calling: Calling, source: StreamSource, request: Request) -> None:
        self._calling = calling
        self._source = source
        self._dialect = dialect = calling.dialect
        self._request = request
        self._decoder = dialect.decoder()
        self._events: deque[ServerEvent] = deque()
        self._pieces = dialect.pieces()
        self._text = _Text(is_document=request.schema is not None)
        self._heard = False
        self._begins = b""
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
            if self._complete:
                await self._source.drain()
        finally:
            # What a consumer raises is no failure of the provider's.
            if error is None or isinstance(error, Exception):
                error = GeneratorExit()
            await self._end(error)

    async def _open(self) -> None:
        refuse_unrecorded(f"{self._calling.who} is asked to stream")
        if self._calling.refuse is not None:
            self._calling.refuse(self._request)
        source = self._source
        await source.open(self._dialect.body(self._request, streamed=True))
        if source.status not in SUCCESS:
            raise self._calling.to_error(await source.read_all())
        if self._kind() in _WHOLE and self._kind() != self._dialect.media_type:
            raise self._meaning_of_whole(await source.read_all())

    def _kind(self) -> str:
        kind = self._source.headers.get("content-type", "")
        return kind.partition(";")[0].strip().lower()[:80]

    def _meaning_of_whole(self, answer: RawAnswer) -> PipelineError:
        """Answer what to raise for a server that does not stream."""
        who = self._calling.who
        verdict = read_body(self._dialect, self._request, answer, who)
        return verdict.error or ConfigurationError(
            f"{who}: the server answered whole ({self._kind()}) where a stream was asked for; "
            "call the provider itself, not its stream()"
        )

    async def _next(self) -> Chunk:
        while True:
            while self._events:
                event = self._events.popleft()
                self._heard = True
                chunk = self._last() if self._dialect.is_end(event) else self._take(event)
                if chunk is not None:
                    return chunk
            piece = await self._source.read(patient=self._first_chunk is None)
            if not self._heard:
                self._begins = (self._begins + piece)[:_QUOTED]
            try:
                # At the end a decoder raises what it kept back for the sake of events before.
                self._events.extend(self._decoder.feed(piece))
            except (EventTooLarge, InvalidAnswer) as error:
                raise InvalidAnswer(f"{self._calling.who}: {error}") from None
            if not piece:
                return self._last()

    def _take(self, event: ServerEvent) -> Chunk | None:
        who, data = self._calling.who, self._source.hide_in(event.data)
        try:
            document: Any = read_json(data)
        except NotJson:
            begins = data[:_QUOTED].decode("utf-8", "replace")
            raise InvalidAnswer(f"{who}: an event is no JSON; it begins {begins!r}") from None
        if not isinstance(document, dict):
            raise InvalidAnswer(f"{who}: an event is no JSON object")
        name = event.name.decode("utf-8", "replace")
        error = self._dialect.error_in(document, name, self._source.headers, who)
        if error is not None:
            raise error
        chunk = self._pieces.take(document, name)
        return None if chunk is None else self._text.take(chunk)

    def _is_page(self) -> bool:
        """Tell whether what came is HTML or XML, as which no event begins."""
        return self._begins.lstrip().startswith(b"<")

    def _last(self) -> Chunk:
        """Answer the last chunk of a whole answer, or raise why it is none."""
        who = self._calling.who
        if not self._heard and (self._kind() != self._dialect.media_type or self._is_page()):
            kind = self._kind() or "no content type"
            raise InvalidAnswer(f"{who}: the answer is no stream of events ({kind})")
        if not self._pieces.finished:
            raise self._broken_off("the stream ended without a finish reason")
        document = self._pieces.document()
        verdict = self._dialect.read(self._request, document, self._source.headers, who)
        if verdict.error is not None:
            raise verdict.error
        if self._text.is_document and verdict.response.text != self._text.sent:
            raise InvalidAnswer(f"{who}: the answer is more than the JSON document asked for")
        model = verdict.response.model or self._calling.model
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
        told = f"{self._calling.who}: {what}"
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
        await self._source.aclose()

    def _tell(self, response: Response, failure: str | None) -> None:
        if not self._told:
            self._told = True
            tell(
                self._calling.name,
                self._calling.model,
                response,
                failure,
                seconds=self._seconds,
                first_chunk=self._first_chunk,
            )

    def _note_first(self) -> None:
        if self._first_chunk is None:
            self._first_chunk = self._seconds

    def _now(self) -> float:
        return self._calling.clock.now()

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
