"""Gemini's ``generateContent``, at Google AI and at Vertex AI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from genai_pipeline.errors import PipelineError
from genai_pipeline.messages import Request, Usage
from genai_pipeline.providers._dialect import Dialect, Verdict
from genai_pipeline.providers._gemini_answer import FAILURES, error_of, read_content, usage_of
from genai_pipeline.providers._gemini_pieces import ContentPieces
from genai_pipeline.providers._gemini_request import gemini_body
from genai_pipeline.providers._json import json_bytes
from genai_pipeline.providers._rules import refuse_streamed_labels

__all__ = ["ContentDialect"]


@attrs.frozen
class ContentDialect(Dialect):
    """Asks the model under *path_of_model*; *who* begins the message of each error."""

    path_of_model: str
    who: str

    failures = FAILURES

    def identity(self) -> tuple[Any, ...]:
        """Answer the API."""
        return ("gemini",)

    def path(self, *, streamed: bool) -> str:
        """Answer the method of the model."""
        method = "streamGenerateContent?alt=sse" if streamed else "generateContent"
        return f"{self.path_of_model}:{method}"

    def body(self, request: Request, *, streamed: bool) -> bytes:
        """Answer the body of a call."""
        if streamed:
            refuse_streamed_labels(request, self.who)
        return json_bytes(gemini_body(request, self.who))

    def read(
        self,
        request: Request,
        document: object,
        headers: Mapping[str, str],  # noqa: ARG002 - they tell nothing
        who: str,
    ) -> Verdict:
        """Answer what an answer means."""
        return read_content(request, document, who)

    def usage_in(self, document: Mapping[str, Any]) -> Usage | None:
        """Answer what an answer used."""
        usage = document.get("usageMetadata")
        return usage_of(usage) if isinstance(usage, dict) else None

    def pieces(self) -> ContentPieces:
        """Answer what takes the fragments of an answer."""
        return ContentPieces()

    def error_in(
        self,
        document: Mapping[str, Any],
        name: str,  # noqa: ARG002 - none has one
        headers: Mapping[str, str],  # noqa: ARG002
        who: str,
    ) -> PipelineError | None:
        """Answer the error among the fragments."""
        return error_of(document, who)
