"""`OpenAI`: Chat Completions, as OpenAI and every compatible server speak it."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from genai_pipeline import _options
from genai_pipeline._options import check
from genai_pipeline._secret import Secret
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.messages import Request
from genai_pipeline.providers._chat_dialect import ChatDialect
from genai_pipeline.providers._chat_profile import (
    PROFILES,
    ChatProfile,
    to_profile,
)
from genai_pipeline.providers._chat_request import chat_document
from genai_pipeline.providers._http_model import HttpModel
from genai_pipeline.providers._openai_hosts import BASE_URL, is_azure, is_openai, openai_key
from genai_pipeline.providers._token_count import fetch_count

__all__ = ["OpenAI"]


def _limit_field(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    choices = (None, "max_completion_tokens", "max_tokens")
    check(value in choices, owner, option.name, value, f"one of {choices}")


def _profile(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    fine = value is None or isinstance(value, ChatProfile)
    names = ", ".join(map(repr, PROFILES))
    check(fine, owner, option.name, value, f"None, one of {names}, or a ChatProfile")


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

    base_url: str = attrs.field(default=BASE_URL, kw_only=True)
    """Everything before ``/chat/completions``. ``https``, or ``http`` to this very machine."""

    limit_field: Literal["max_completion_tokens", "max_tokens"] | None = attrs.field(
        default=None, kw_only=True, validator=_limit_field
    )
    """
    What the server calls ``Request.max_output_tokens``.

    By default as the *profile* says.
    """

    profile: ChatProfile | None = attrs.field(
        default=None, kw_only=True, converter=to_profile, validator=_profile
    )
    """
    In what the server differs from OpenAI's: ``vllm``, ``llama.cpp``, or a `ChatProfile`.

    By default ``openai`` for OpenAI and Azure, ``compatible`` for others.
    """

    name: str = attrs.field(default="openai", kw_only=True, validator=_options.text)
    """What events, errors and reports call the provider."""

    async def count_tokens(self, request: Request) -> int:
        """
        Answer how many tokens *request* comes to as input, as the server counts them.

        That is a call of its own, which costs nothing. It raises what a call raises, and
        `ConfigurationError` where the *profile* knows no way to ask: for OpenAI's own models
        ask `OpenAIResponses`, or count by `tokens.Tiktoken`.
        """
        profile, path, caller = self._served(), "/chat/completions/input_tokens", self._caller
        if profile.counts is None:
            raise ConfigurationError(
                f"{caller.who}: this server is not known to count tokens; give profile='vllm', "
                "profile='llama.cpp' or ChatProfile(counts=...), or ask OpenAIResponses"
            )
        document = chat_document(request, model=self.model, profile=profile)
        if profile.counts == "input_tokens":
            return await fetch_count(caller, path, document, field="input_tokens")
        beside = attrs.evolve(caller, base_url=self.base_url.removesuffix("/v1"))
        return await fetch_count(beside, "/tokenize", document, field="count")

    def _speaks(self) -> ChatDialect:
        return ChatDialect(self.model, self._served())

    def _is_known_host(self) -> bool:
        return is_openai(self.base_url)

    def _default_key(self) -> Secret | None:
        return openai_key(self.base_url)

    def _served(self) -> ChatProfile:
        """Answer the profile of the server, with the name of the limit that was given."""
        profile = self.profile
        if profile is None:
            own = is_openai(self.base_url) or is_azure(self.base_url)
            profile = PROFILES["openai" if own else "compatible"]
        if self.limit_field is None:
            return profile
        return attrs.evolve(profile, limit_field=self.limit_field)
