"""Chat Completions, as OpenAI and every compatible server speak it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from genai_pipeline.errors import PipelineError
from genai_pipeline.messages import Request, Usage
from genai_pipeline.providers._chat_answer import read_document, usage_of
from genai_pipeline.providers._chat_pieces import ChatPieces, error_in
from genai_pipeline.providers._chat_profile import ChatProfile
from genai_pipeline.providers._chat_request import chat_body
from genai_pipeline.providers._dialect import Dialect, Verdict

__all__ = ["ChatDialect"]

_NOBODY = Request("?")


@attrs.frozen
class ChatDialect(Dialect):
    """Asks *model*, at a server of this *profile*."""

    model: str
    profile: ChatProfile

    def identity(self) -> tuple[Any, ...]:
        """Answer the API, and how the server is asked."""
        profile = self.profile
        return "chat", profile.limit_field, profile.structured, profile.reasoning_field

    def path(self, *, streamed: bool) -> str:  # noqa: ARG002 - the body tells
        """Answer the one path there is."""
        return "/chat/completions"

    def body(self, request: Request, *, streamed: bool) -> bytes:
        """Answer the body of a call."""
        return chat_body(request, model=self.model, profile=self.profile, streamed=streamed)

    def read(
        self, request: Request, document: object, headers: Mapping[str, str], who: str
    ) -> Verdict:
        """Answer what a completion means."""
        return read_document(request, document, headers, who)

    def usage_in(self, document: Mapping[str, Any]) -> Usage | None:
        """Answer what a completion used."""
        usage = document.get("usage")
        return usage_of(usage) if isinstance(usage, dict) else None

    def pieces(self) -> ChatPieces:
        """Answer what takes the chunks of a completion."""
        return ChatPieces()

    def error_in(
        self, document: Mapping[str, Any], name: str, headers: Mapping[str, str], who: str
    ) -> PipelineError | None:
        """Answer the error among the chunks."""
        error = error_in(document, name)
        if not error:
            return None
        told = {"error": error, "id": document.get("id")}
        return read_document(_NOBODY, told, headers, who).error
