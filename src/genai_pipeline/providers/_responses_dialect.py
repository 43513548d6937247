"""OpenAI's Responses API, as OpenAI and compatible servers speak it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from genai_pipeline.errors import PipelineError
from genai_pipeline.messages import Request, Usage
from genai_pipeline.providers._dialect import Dialect, Verdict
from genai_pipeline.providers._document import as_text
from genai_pipeline.providers._json import json_bytes
from genai_pipeline.providers._responses_answer import error_of, read_response, usage_of
from genai_pipeline.providers._responses_pieces import ResponseEvents, ResponsePieces
from genai_pipeline.providers._responses_request import Asked, response_body

__all__ = ["ResponsesDialect"]


@attrs.frozen
class ResponsesDialect(Dialect):
    """Asks what is *asked* of every call; *who* begins the message of a refusal."""

    asked: Asked
    who: str

    def identity(self) -> tuple[Any, ...]:
        """Answer the API, and what is asked of every call."""
        return "responses", self.asked.stored, self.asked.summary

    def path(self, *, streamed: bool) -> str:  # noqa: ARG002 - the body tells
        """Answer the one path there is."""
        return "/responses"

    def body(self, request: Request, *, streamed: bool) -> bytes:
        """Answer the body of a call."""
        return json_bytes(response_body(request, self.asked, self.who, streamed=streamed))

    def read(
        self, request: Request, document: object, headers: Mapping[str, str], who: str
    ) -> Verdict:
        """Answer what a response means."""
        return read_response(request, document, headers, who)

    def usage_in(self, document: Mapping[str, Any]) -> Usage | None:
        """Answer what a response used."""
        usage = document.get("usage")
        return usage_of(usage) if isinstance(usage, dict) else None

    def pieces(self) -> ResponsePieces:
        """Answer what takes the events of a response."""
        return ResponsePieces()

    def decoder(self) -> ResponseEvents:
        """Answer what knows the last event by its name."""
        return ResponseEvents()

    def error_in(
        self, document: Mapping[str, Any], name: str, headers: Mapping[str, str], who: str
    ) -> PipelineError | None:
        """Answer the error among the events; a response that failed is the end, and read there."""
        error = document.get("error")
        if not error and (as_text(document.get("type")) or name) == "error":
            error = document
        if not error:
            return None
        return error_of(error, who, headers.get("x-request-id"))
