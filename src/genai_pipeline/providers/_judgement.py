"""What a Chat Completions answer means for money, told before anybody reads it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from genai_pipeline._journal import CallState, RawAnswer
from genai_pipeline._paid import Judgement
from genai_pipeline.messages import Request
from genai_pipeline.providers._chat_answer import Verdict, read_answer, read_document, usage_of

__all__ = ["ChatJudge", "kept_headers"]

# The head of an answer could not be had in time, or a proxy lost it on the way: the server behind
# may have worked, and billed.
_UNKNOWN = frozenset({408, 499, 502, 504, *range(520, 528)})

_KEPT = frozenset(
    {
        *("content-type", "location", "retry-after", "retry-after-ms", "x-request-id"),
        "x-should-retry",
    }
)


_LIMITS = ("x-ratelimit-", "anthropic-ratelimit-")


@attrs.define(eq=False)
class ChatJudge:
    """Tells what the answer to one call means for money; keeps what it read of it."""

    _body: bytes | None = attrs.field(default=None, init=False)
    _document: Any = attrs.field(default=None, init=False)

    def __call__(self, answer: RawAnswer) -> Judgement:
        """
        Answer what *answer* costs, as far as its status and its body tell; never raises.

        A success is billed, whatever its body is worth. What was turned away (other 3xx, 4xx and
        5xx) is not; after 408, 499, 502, 504 and 520 to 527 nobody knows.
        """
        request_id = answer.headers.get("x-request-id")
        if not 200 <= answer.status < 300:  # noqa: PLR2004
            state: CallState = "unknown" if answer.status in _UNKNOWN else "void"
            return Judgement(state=state, error=f"status {answer.status}", request_id=request_id)
        try:
            document = self._document = json.loads(answer.body)
        except (ValueError, RecursionError):
            return Judgement(state="answered", error="no JSON", request_id=request_id)
        self._body = answer.body
        usage = document.get("usage") if isinstance(document, dict) else None
        known = usage_of(usage) if isinstance(usage, dict) else None
        return Judgement(state="answered", usage=known, request_id=request_id)

    def read(self, request: Request, answer: RawAnswer, who: str) -> Verdict:
        """Answer what *answer*, a success, means for *request*: see `read_answer`."""
        if self._body is not answer.body:  # it came from a journal, or nobody asked for judgement
            return read_answer(request, answer.body, answer.headers, who)
        return read_document(request, self._document, answer.headers, who)


def kept_headers(headers: Mapping[str, str], hide: Callable[[str], str]) -> dict[str, str]:
    """Answer the *headers* that reading an answer needs, in lower case, without secrets."""
    kept = {}
    for name, value in headers.items():
        low = name.lower()
        if low in _KEPT or low.startswith(_LIMITS):
            kept[low] = hide(value)
    return kept
