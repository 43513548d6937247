"""What bytes that a Chat Completions server sent mean."""

from __future__ import annotations

from collections.abc import Mapping

import genai_pipeline as gp
from genai_pipeline._journal import RawAnswer
from genai_pipeline.providers._chat_dialect import ChatDialect
from genai_pipeline.providers._chat_profile import ChatProfile
from genai_pipeline.providers._dialect import Verdict, read_body

__all__ = ["read_answer"]

_DIALECT = ChatDialect("m", ChatProfile())


def read_answer(request: gp.Request, body: bytes, headers: Mapping[str, str], who: str) -> Verdict:
    """Answer what *body*, sent with a status of success, means for *request*."""
    return read_body(_DIALECT, request, RawAnswer(body=body, headers=headers), who)
