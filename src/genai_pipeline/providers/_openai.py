"""`OpenAI`: Chat Completions, as OpenAI and every compatible server speak it."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from genai_pipeline import _options
from genai_pipeline._options import check
from genai_pipeline._secret import Secret
from genai_pipeline.providers._chat_dialect import ChatDialect
from genai_pipeline.providers._endpoint import host_of
from genai_pipeline.providers._http_model import HttpModel

__all__ = ["OpenAI"]

_KEY = "OPENAI_API_KEY"


def _limit_field(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    choices = (None, "max_completion_tokens", "max_tokens")
    check(value in choices, owner, option.name, value, f"one of {choices}")


@attrs.frozen(eq=False)
class OpenAI(HttpModel):
    """
    A model behind a Chat Completions API: OpenAI's, or that of any server that speaks it.

    vLLM, llama.cpp, Ollama, LM Studio, Azure's ``/openai/v1`` and most gateways do; give their
    *base_url*. One object serves any number of concurrent calls, runs, threads and event loops.
    A run opens the connections at the first call and closes them at its end; outside a run,
    ``async with model:`` keeps them for its block, and a lone call opens and closes its own.

    Without *api_key*, OpenAI's own hosts get the key in ``OPENAI_API_KEY``, and others none: a key
    goes to no host that it was not meant for.

    A call makes one attempt and raises the errors of `genai_pipeline.errors`; put a retry
    around it. The text of an answer that was cut at the output limit is returned with
    ``finish_reason="length"``; where labels or a schema were asked for, `Truncated` is raised.
    A cancelled call may have been billed. In a pipeline with a journal, answers are kept as they
    came, before they are read.
    """

    base_url: str = attrs.field(default="https://api.openai.com/v1", kw_only=True)
    """Everything before ``/chat/completions``. ``https``, or ``http`` to this very machine."""

    limit_field: Literal["max_completion_tokens", "max_tokens"] | None = attrs.field(
        default=None, kw_only=True, validator=_limit_field
    )
    """
    What the server calls ``Request.max_output_tokens``.

    By default ``max_completion_tokens`` for OpenAI and Azure, ``max_tokens`` elsewhere.
    """

    name: str = attrs.field(default="openai", kw_only=True, validator=_options.text)
    """What events, errors and reports call the provider."""

    def _speaks(self) -> ChatDialect:
        return ChatDialect(self.model, self._limit_name())

    def _default_key(self) -> Secret | None:
        return Secret.from_env(_KEY) if self._is_openai() else None

    def _is_openai(self) -> bool:
        return host_of(self.base_url).endswith("api.openai.com")

    def _limit_name(self) -> str:
        if self.limit_field is not None:
            return self.limit_field
        azure = host_of(self.base_url).endswith(".openai.azure.com")
        return "max_completion_tokens" if self._is_openai() or azure else "max_tokens"
