"""Anthropic's Messages API, as Claude and every compatible server speak it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from genai_pipeline.errors import PipelineError
from genai_pipeline.messages import Request, Usage
from genai_pipeline.providers._anthropic_answer import read_message, usage_of
from genai_pipeline.providers._anthropic_failures import FAILURES, told_error
from genai_pipeline.providers._anthropic_pieces import MessagePieces
from genai_pipeline.providers._anthropic_request import MessageForm
from genai_pipeline.providers._dialect import Dialect, Verdict
from genai_pipeline.providers._json import json_bytes
from genai_pipeline.providers._sse import ServerEvent

__all__ = ["MessagesDialect"]

_STOP = re.compile(rb'\s*\{\s*"type"\s*:\s*"message_stop"')


@attrs.frozen
class MessagesDialect(Dialect):
    """Asks with a *form*; *who* begins the message of each error."""

    form: MessageForm
    who: str

    failures = FAILURES

    def identity(self) -> tuple[Any, ...]:
        """Answer the API and its version."""
        return "messages", self.form.version

    def path(self, *, streamed: bool) -> str:  # noqa: ARG002 - the body tells
        """Answer the one path there is."""
        return "/v1/messages"

    def body(self, request: Request, *, streamed: bool) -> bytes:
        """Answer the body of a call."""
        return json_bytes(self.form.body(request, self.who, streamed=streamed))

    def read(
        self, request: Request, document: object, headers: Mapping[str, str], who: str
    ) -> Verdict:
        """Answer what a message means."""
        return read_message(request, document, headers, who)

    def usage_in(self, document: Mapping[str, Any]) -> Usage | None:
        """Answer what a message used."""
        usage = document.get("usage")
        return usage_of(usage) if isinstance(usage, dict) else None

    def pieces(self) -> MessagePieces:
        """Answer what takes the events of a message."""
        return MessagePieces()

    def is_end(self, event: ServerEvent) -> bool:
        """Tell whether *event* ends the message."""
        return event.name == b"message_stop" or _STOP.match(event.data) is not None

    def error_in(
        self, document: Mapping[str, Any], name: str, headers: Mapping[str, str], who: str
    ) -> PipelineError | None:
        """Answer the error among the events."""
        if document.get("error") or "error" in (name, document.get("type")):
            return told_error(document, headers, who)
        return None
