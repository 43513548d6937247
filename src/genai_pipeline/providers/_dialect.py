"""`Dialect`: how one API is spoken, as functions from our words to its bytes and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from genai_pipeline._paid import Judgement
from genai_pipeline._raw_answer import RawAnswer
from genai_pipeline.errors import PipelineError
from genai_pipeline.messages import Chunk, Request, Response, Usage
from genai_pipeline.providers._failure_format import FailureFormat
from genai_pipeline.providers._json import NotJson, not_json, read_json

if TYPE_CHECKING:
    from genai_pipeline.providers._sse import ServerEvent

__all__ = ["Decoder", "Dialect", "Judged", "Pieces", "Verdict", "judge", "read_body"]

# The head of an answer could not be had in time, or a proxy lost it on the way: the server behind
# may have worked, and billed.
_UNKNOWN = frozenset({408, 499, 502, 504, *range(520, 528)})
_SUCCESS = range(200, 300)


@attrs.frozen
class Verdict:
    """What came of a call: a response, and the error to raise in its stead, if any."""

    response: Response
    """Also beside an error: what was used must be counted."""

    error: PipelineError | None = None


class Decoder(Protocol):
    """Cuts the bytes of a stream into events."""

    def feed(self, piece: bytes, /) -> list[ServerEvent]:
        """
        Answer the events that end in *piece*, which is empty at the end of the stream.

        Raises `EventTooLarge`, or another `InvalidAnswer` for bytes that are none.
        """
        ...


class Pieces(Protocol):
    """Takes the events of a stream in turn, and grows the document of a whole answer."""

    @property
    def finished(self) -> bool:
        """Whether the answer is whole."""
        ...

    @property
    def usage(self) -> Usage | None:
        """What was used so far, as far as the server told."""
        ...

    def take(self, document: Mapping[str, Any], name: str, /) -> Chunk | None:
        """
        Answer the chunk to hand on for *document*, the event called *name*, if it has one.

        Events that are not known are passed over.
        """
        ...

    def document(self) -> dict[str, Any]:
        """Answer the document that the server would have sent at once."""
        ...


class Dialect(Protocol):
    """
    How an API is asked, and how its answers are read; it does no I/O and keeps no state.

    Make a class that names this one as its base, and give what has no meaning here.
    """

    failures: FailureFormat = FailureFormat()
    """How the API tells of failures."""

    media_type: str = "text/event-stream"
    """What a stream is sent as, and asked for."""

    def identity(self) -> tuple[Any, ...]:
        """Answer a name for the dialect, and what else of it decides on answers, for a journal."""
        ...

    def path(self, *, streamed: bool) -> str:
        """Answer what to add to the base URL, from its slash on."""
        ...

    def body(self, request: Request, *, streamed: bool) -> bytes:
        """Answer the body that asks for *request*, or raise `ConfigurationError` if it cannot."""
        ...

    def read(
        self, request: Request, document: object, headers: Mapping[str, str], who: str
    ) -> Verdict:
        """
        Answer what *document*, sent with a status of success, means for *request*.

        It may be any JSON. *who* begins the message of each error. Never raises.
        """
        ...

    def usage_in(self, document: Mapping[str, Any]) -> Usage | None:
        """Answer what a whole answer tells of usage; `None` when it tells nothing."""
        ...

    def pieces(self) -> Pieces:
        """Answer what takes the events of one stream."""
        ...

    def decoder(self) -> Decoder:
        """Answer what cuts the bytes of one stream into events."""
        from genai_pipeline.providers._sse import SseDecoder  # noqa: PLC0415 - for streams alone

        return SseDecoder()

    def is_end(self, event: ServerEvent) -> bool:
        """Tell whether *event* says that there are no more, and nothing else."""
        return event.data.strip() == b"[DONE]"

    def error_in(
        self, document: Mapping[str, Any], name: str, headers: Mapping[str, str], who: str
    ) -> PipelineError | None:
        """Answer the error that an event of a stream tells of, if it does."""
        ...


def read_body(
    dialect: Dialect,
    request: Request,
    answer: RawAnswer,
    who: str,
    read: Callable[[bytes], Any] = read_json,
) -> Verdict:
    """Answer what *answer*, of a status of success, means for *request*. Never raises."""
    try:
        document = read(answer.body)
    except NotJson:
        error = not_json(answer.body, answer.headers, who)
        request_id = dialect.failures.request_id(answer.headers)
        return Verdict(Response("", request_id=request_id), error)
    return dialect.read(request, document, answer.headers, who)


class Judged(Protocol):
    """As much of a dialect as tells what an answer costs."""

    @property
    def failures(self) -> FailureFormat:
        """How the API tells of failures."""
        ...

    def usage_in(self, document: Mapping[str, Any], /) -> Usage | None:
        """Answer what a whole answer tells of usage; `None` when it tells nothing."""
        ...


def judge(
    dialect: Judged, answer: RawAnswer, read: Callable[[bytes], Any] = read_json
) -> Judgement:
    """
    Answer what *answer* costs, as far as its status and its body tell; never raises.

    A success is billed, whatever its body is worth. What was turned away (other 3xx, 4xx and
    5xx) is not; after 408, 499, 502, 504 and 520 to 527 nobody knows.
    """
    request_id = dialect.failures.request_id(answer.headers)
    if answer.status not in _SUCCESS:
        return Judgement(
            state="unknown" if answer.status in _UNKNOWN else "void",
            error=f"status {answer.status}",
            request_id=request_id,
        )
    try:
        document = read(answer.body)
    except NotJson:
        return Judgement(state="answered", error="no JSON", request_id=request_id)
    usage = dialect.usage_in(document) if isinstance(document, dict) else None
    return Judgement(state="answered", usage=usage, request_id=request_id)
