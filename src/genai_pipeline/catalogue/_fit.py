"""Whether a request fits a model, as far as that is sure before it is sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TypeAlias

from genai_pipeline._part_forms import texts_of
from genai_pipeline.catalogue._info import ModelInfo
from genai_pipeline.errors import ContextOverflow, InvalidRequest
from genai_pipeline.messages import Request
from genai_pipeline.parts import Reasoning

__all__ = ["LONGEST", "Counter", "least_tokens", "refuse_what_cannot_fit"]

Counter: TypeAlias = Callable[[Request, ModelInfo], int | None]
"""Answers how many tokens a request has at the very least, or exactly; `None`: not known."""

LONGEST = 128
"""
How many letters and digits one token has at the very most.

In the vocabularies of GPT-2, GPT-NeoX, Llama 2 and 3, Qwen 2 and 3.5, DeepSeek, Gemma 4, Command R,
Falcon, MPT, Phi-3, StarCoder and some more it is 64; this is twice that. (Blanks and signs come in
runs of up to 512 bytes.)
"""

_WORD = re.compile(r"[A-Za-z0-9]\S*")
_SIGNS = re.compile(r"[\W_]+")
_WORDY = frozenset({"cl100k_base", "o200k_base", "o200k_harmony"})
_CORRECT = "or, if the limit is another by now, say so: context_window= or catalogue="

_A_WORD = 4
"""Texts with fewer characters to a word, its blank among them, are not looked for."""


def least_tokens(request: Request, info: ModelInfo) -> int:
    """
    Answer a number of tokens that the texts of *request* are not below.

    Each `LONGEST` letters and digits are a token at least; blanks and signs count as nothing, since
    long runs of them are one token, or dropped by a chat template, and so does all that is no
    text. OpenAI's published encodings cut texts at blanks before they look for tokens, so with
    them each word that has an ASCII letter or digit is a token at least (for their patterns see
    ``tiktoken_ext/openai_public.py`` of tiktoken).
    """
    if info.tokenizer in _WORDY:
        return sum(sum(1 for _ in _WORD.finditer(text)) for text in _texts(request))
    return sum(len(_SIGNS.sub("", text)) for text in _texts(request)) // LONGEST


def refuse_what_cannot_fit(
    request: Request, info: ModelInfo, counter: Counter | None = None, *, who: str
) -> None:
    """
    Raise for a *request* that the model surely does not take.

    `ContextOverflow` where it has more tokens than the model reads, `InvalidRequest` where more
    are asked for than it writes; *who* begins the message. By default `least_tokens` counts, and
    only texts so long that it may matter; a *counter* that is given, all with more characters
    than the limit has tokens. The prompt of a request with ``extra`` is not judged: a parameter
    there may have the server cut it (OpenAI's ``truncation``, vLLM's ``truncate_prompt_tokens``).
    """
    asked, most = request.max_output_tokens, info.max_output_tokens
    if asked is not None and most is not None and asked > most:
        raise InvalidRequest(
            f"{who}: max_output_tokens={asked} is more than the {most} that the model "
            f"writes{_told(info)}; ask for less, {_CORRECT}"
        )
    limit = info.most_read
    if (
        limit is None
        or request.extra
        or sum(map(len, _texts(request))) <= limit * _each(info, counter)
    ):
        return
    count = (counter or least_tokens)(request, info)
    if count is not None and count > limit:
        raise ContextOverflow(
            f"{who}: the prompt has {count} tokens or more, and the model reads "
            f"{limit}{_told(info)}; shorten it, use a model that reads more, {_CORRECT}"
        )


def _each(info: ModelInfo, counter: Counter | None) -> int:
    """Answer how many characters there must be for each token of the limit to count them."""
    if counter is not None:
        return 1
    return _A_WORD if info.tokenizer in _WORDY else LONGEST


def _told(info: ModelInfo) -> str:
    return "" if info.as_of is None else f" (as of {info.as_of})"


def _texts(request: Request) -> Iterator[str]:
    """Yield what the model reads; without earlier reasoning, which APIs may leave out."""
    if request.system is not None:
        yield request.system
    for message in request.messages:
        if isinstance(message.content, str):
            yield message.content
        else:
            for part in message.content:
                if not isinstance(part, Reasoning):
                    yield from texts_of(part)
