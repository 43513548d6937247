"""Ollama's own ``/api/chat``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from genai_pipeline.errors import PipelineError
from genai_pipeline.messages import Request, Usage
from genai_pipeline.providers._dialect import Dialect, Verdict
from genai_pipeline.providers._json import json_bytes
from genai_pipeline.providers._ndjson import NdjsonDecoder
from genai_pipeline.providers._ollama_answer import FAILURES, error_of, read_chat, usage_of
from genai_pipeline.providers._ollama_pieces import OllamaPieces
from genai_pipeline.providers._ollama_request import ollama_body
from genai_pipeline.providers._rules import refuse_streamed_labels
from genai_pipeline.providers._sse import ServerEvent

__all__ = ["OllamaDialect"]


@attrs.frozen
class OllamaDialect(Dialect):
    """Asks *model*; *settings* go with each request, *options* too, for which it has none."""

    model: str
    who: str
    settings: Mapping[str, Any]
    options: Mapping[str, Any]

    failures = FAILURES
    media_type = "application/x-ndjson"

    def identity(self) -> tuple[Any, ...]:
        """Answer the API, and the options that decide on answers."""
        return "ollama", tuple(sorted(self.options.items()))

    def path(self, *, streamed: bool) -> str:  # noqa: ARG002 - the body tells
        """Answer the one path there is."""
        return "/api/chat"

    def body(self, request: Request, *, streamed: bool) -> bytes:
        """Answer the body of a call."""
        if streamed:
            refuse_streamed_labels(request, self.who)
        body = ollama_body(request, self.who, streamed=streamed)
        options = {**self.options, **body.pop("options", {})}
        told = {"options": options} if options else {}
        return json_bytes({"model": self.model, **self.settings, **body, **told})

    def read(
        self,
        request: Request,
        document: object,
        headers: Mapping[str, str],  # noqa: ARG002 - they tell nothing
        who: str,
    ) -> Verdict:
        """Answer what an answer means."""
        return read_chat(request, document, who)

    def usage_in(self, document: Mapping[str, Any]) -> Usage | None:
        """Answer what an answer used."""
        return usage_of(document) if "eval_count" in document else None

    def pieces(self) -> OllamaPieces:
        """Answer what takes the documents of an answer."""
        return OllamaPieces()

    def decoder(self) -> NdjsonDecoder:
        """Answer what cuts the lines."""
        return NdjsonDecoder()

    def is_end(self, event: ServerEvent) -> bool:  # noqa: ARG002 - the last tells of all
        """Answer that no line only says that there are no more."""
        return False

    def error_in(
        self,
        document: Mapping[str, Any],
        name: str,  # noqa: ARG002 - none has one
        headers: Mapping[str, str],  # noqa: ARG002
        who: str,
    ) -> PipelineError | None:
        """Answer the error among the lines."""
        return error_of(document, who)
