"""`ChatProfile`: in what one server of Chat Completions differs from another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import attrs

from genai_pipeline import _options
from genai_pipeline._options import check

__all__ = ["OPENAI", "PROFILES", "ChatProfile", "ProfileName", "to_profile"]

ProfileName: TypeAlias = Literal["openai", "compatible", "vllm", "llama.cpp"]
"""The profiles there are ready-made."""

_LIMITS = ("max_completion_tokens", "max_tokens")
_FORMS = ("json_schema", "json_object", None)
_COUNTS = ("input_tokens", "tokenize", None)
_REASONING = ("reasoning", "reasoning_content", None)


def _to_ignored(ignored: Mapping[str, str]) -> Mapping[str, str]:
    check(isinstance(ignored, Mapping), "ChatProfile", "ignored", ignored, "names and mends")
    return dict(ignored)


@attrs.frozen(kw_only=True)
class ChatProfile:
    """
    Says in what a server that speaks Chat Completions differs from OpenAI's.

    The defaults are what most servers take.
    """

    limit_field: Literal["max_completion_tokens", "max_tokens"] = attrs.field(
        default="max_tokens", validator=_options.one_of(*_LIMITS)
    )
    """What the server calls ``Request.max_output_tokens``."""

    structured: Literal["json_schema", "json_object"] | None = attrs.field(
        default="json_schema", validator=_options.one_of(*_FORMS)
    )
    """
    How labels and schemas are asked for: as a ``json_schema``, as OpenAI has it, or as a
    ``json_object`` with a schema. `None` refuses both, for servers that would not hold to them.
    """

    reasoning_field: Literal["reasoning", "reasoning_content"] | None = attrs.field(
        default=None, validator=_options.one_of(*_REASONING)
    )
    """Where what the model thought is sent back to it, if it is; both are read in answers."""

    stream_usage: bool = attrs.field(default=True, validator=_options.flag)
    """Whether a stream is asked to tell its usage; some servers refuse to be asked."""

    counts: Literal["input_tokens", "tokenize"] | None = attrs.field(
        default=None, validator=_options.one_of(*_COUNTS)
    )
    """
    How the server counts the tokens of a request that is not made, if it does.

    ``input_tokens``: as llama.cpp's does, below ``/chat/completions``; ``tokenize``: as vLLM's
    does, beside ``/v1``.
    """

    ignored: Mapping[str, str] = attrs.field(factory=dict, converter=_to_ignored)
    """Fields of ``Request.extra`` that the server ignores in silence, and what to do instead."""


OPENAI = ChatProfile(limit_field="max_completion_tokens")

_GUIDED = "vLLM passes it over since 0.12; give labels= or schema=, or extra['structured_outputs']"

PROFILES: dict[str, ChatProfile] = {
    "openai": OPENAI,
    "compatible": ChatProfile(),
    "vllm": ChatProfile(
        reasoning_field="reasoning",
        counts="tokenize",
        ignored=dict.fromkeys(
            ("guided_choice", "guided_grammar", "guided_json", "guided_regex"), _GUIDED
        ),
    ),
    "llama.cpp": ChatProfile(reasoning_field="reasoning_content", counts="input_tokens"),
}


def to_profile(given: ChatProfile | ProfileName | None) -> ChatProfile | None:
    """Answer the profile of the name *given*, or *given* itself, whatever it is."""
    known: Any = PROFILES.get(given, given) if isinstance(given, str) else given
    return known  # type: ignore[no-any-return]
