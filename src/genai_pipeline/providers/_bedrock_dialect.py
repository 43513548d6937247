"""Bedrock's Converse API, which speaks alike of all its models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from genai_pipeline.errors import PipelineError
from genai_pipeline.messages import Request, Usage
from genai_pipeline.providers._bedrock_answer import FAILURES, read_converse, usage_of
from genai_pipeline.providers._bedrock_pieces import ConversePieces
from genai_pipeline.providers._bedrock_request import converse_body
from genai_pipeline.providers._dialect import Dialect, Verdict
from genai_pipeline.providers._error_body import failure_in
from genai_pipeline.providers._eventstream import EventStreamDecoder
from genai_pipeline.providers._failures import to_error
from genai_pipeline.providers._json import json_bytes
from genai_pipeline.providers._rules import refuse_streamed_labels
from genai_pipeline.providers._sse import ServerEvent

__all__ = ["ConverseDialect"]

_STATUSES = {
    "throttlingexception": 429,
    "serviceunavailableexception": 503,
    "internalserverexception": 500,
    "modelstreamerrorexception": 424,
    "modeltimeoutexception": 408,
    "validationexception": 400,
}


@attrs.frozen
class ConverseDialect(Dialect):
    """Asks the model under *path_of_model*; *who* begins the message of each error."""

    path_of_model: str
    who: str

    failures = FAILURES
    media_type = "application/vnd.amazon.eventstream"

    def identity(self) -> tuple[Any, ...]:
        """Answer the API."""
        return ("converse",)

    def path(self, *, streamed: bool) -> str:
        """Answer the operation on the model."""
        return f"{self.path_of_model}/{'converse-stream' if streamed else 'converse'}"

    def body(self, request: Request, *, streamed: bool) -> bytes:
        """Answer the body of a call."""
        if streamed:
            refuse_streamed_labels(request, self.who)
        return json_bytes(converse_body(request, self.who))

    def read(
        self, request: Request, document: object, headers: Mapping[str, str], who: str
    ) -> Verdict:
        """Answer what an answer means."""
        return read_converse(request, document, headers, who)

    def usage_in(self, document: Mapping[str, Any]) -> Usage | None:
        """Answer what an answer used."""
        usage = document.get("usage")
        return usage_of(usage) if isinstance(usage, dict) else None

    def pieces(self) -> ConversePieces:
        """Answer what takes the events of an answer."""
        return ConversePieces()

    def decoder(self) -> EventStreamDecoder:
        """Answer what cuts Amazon's frames into events."""
        return EventStreamDecoder()

    def is_end(self, event: ServerEvent) -> bool:  # noqa: ARG002 - the metadata come behind the end
        """Answer that no event is the last: the stream's end is."""
        return False

    def error_in(
        self, document: Mapping[str, Any], name: str, headers: Mapping[str, str], who: str
    ) -> PipelineError | None:
        """Answer the exception among the events; names of events begin with a small letter too."""
        if not name.lower().endswith(("exception", "error")):
            return None
        status = document.get("originalStatusCode")
        if type(status) is not int or not 400 <= status <= 599:  # noqa: PLR2004
            status = _STATUSES.get(name.lower(), 500)
        told = {"message": document.get("message") or document.get("originalMessage") or name}
        failure = failure_in(status, told, more=(name,), request_id=FAILURES.request_id(headers))
        return to_error(failure, who, FAILURES.rules)
