"""Whether a request fits a model, as far as that is sure before it is sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from genai_pipeline._part_forms import texts_of
from genai_pipeline.catalogue._info import ModelInfo
from genai_pipeline.embeddings import EmbeddingRequest
from genai_pipeline.errors import ContextOverflow, InvalidRequest
from genai_pipeline.messages import Request
from genai_pipeline.parts import Reasoning, ToolResult

__all__ = [
    "LONGEST",
    "CountText",
    "least_tokens",
    "overflow_of_texts",
    "refuse_what_cannot_fit",
]

CountText: TypeAlias = Callable[[str], int]
"""Answers how many tokens a text has for the model, exactly."""

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
_CORRECT = "or, if the limit is another by now, say so:"

_A_WORD = 4
"""Texts with fewer characters to a word, its blank among them, are not looked for."""

_MOST_BYTES = 4
"""How many bytes of UTF-8 a character has at the most; a token has one at least."""


def least_tokens(texts: Sequence[str], info: ModelInfo) -> int:
    """
    Answer a number of tokens that *texts* together are not below.

    Each `LONGEST` letters and digits are a token at least; blanks and signs count as nothing, since
    long runs of them are one token, or dropped by a chat template. OpenAI's published encodings
    cut texts at blanks before they look for tokens, so with them each word that has an ASCII
    letter or digit is a token at least (for their patterns see ``tiktoken_ext/openai_public.py``
    of tiktoken).
    """
    if info.tokenizer in _WORDY:
        return sum(sum(1 for _ in _WORD.finditer(text)) for text in texts)
    return sum(len(_SIGNS.sub("", text)) for text in texts) // LONGEST


def refuse_what_cannot_fit(
    request: Request, info: ModelInfo, count: CountText | None = None, *, who: str
) -> None:
    """
    Raise for a *request* that the model surely does not take.

    `ContextOverflow` where its texts have more tokens than the model reads, by `least_tokens`
    and by *count*; `InvalidRequest` where more are asked for than it writes; *who* begins the
    message. The prompt of a request with ``extra`` is not judged: a parameter there may have the
    server cut it (OpenAI's ``truncation``, vLLM's ``truncate_prompt_tokens``).
    """
    asked, most = request.max_output_tokens, info.max_output_tokens
    if asked is not None and most is not None and asked > most:
        raise InvalidRequest(
            f"{who}: max_output_tokens={asked} is more than the {most} that the model "
            f"writes{_told(info)}; ask for less, {_CORRECT} catalogue="
        )
    limit = info.most_read
    if limit is None or request.extra:
        return
    size = sum(map(len, _texts(request)))
    found = None
    if size > limit * _each(info):
        found = _least_beyond(tuple(_texts(request)), limit, info)
    if found is None and count is not None and size * _MOST_BYTES > limit:
        found = _counted_beyond(tuple(_verbatim(request)), limit, count)
    if found is not None:
        raise ContextOverflow(
            f"{who}: the prompt has {found} tokens or more, and the model reads "
            f"{limit}{_told(info)}; shorten it, use a model that reads more, {_CORRECT} "
            "context_window= or catalogue="
        )


def overflow_of_texts(
    request: EmbeddingRequest, info: ModelInfo, count: CountText | None = None, *, who: str
) -> ContextOverflow | None:
    """
    Answer the error of a *request* to embed with texts that the model surely does not take.

    They are judged one by one, as prompts are by `refuse_what_cannot_fit`; so is not what has
    ``extra``, which may have the server cut them.
    """
    limit = info.most_read
    if limit is None or request.extra:
        return None
    longest = max(map(len, request.texts))
    if longest <= limit * _each(info) and (count is None or longest * _MOST_BYTES <= limit):
        return None
    found: dict[int, ContextOverflow] = {}
    for place, text in enumerate(request.texts):
        tokens = _beyond(text, limit, info, count)
        if tokens is not None:
            found[place] = ContextOverflow(
                f"{who}: the text has {tokens} tokens or more, and the model reads "
                f"{limit}{_told(info)}; shorten it, {_CORRECT} max_input_tokens= or catalogue="
            )
    if not found or len(request.texts) == 1:
        return found.get(0)
    place, first = next(iter(found.items()))
    told = str(first).removeprefix(f"{who}: ")
    return ContextOverflow(
        f"{who}: {len(found)} of {len(request.texts)} texts are too long; number {place}: {told}",
        texts=found,
    )


def _beyond(text: str, limit: int, info: ModelInfo, count: CountText | None) -> int | None:
    """Answer the tokens of *text*, or the least it has, if that is beyond *limit*."""
    found = _least_beyond((text,), limit, info) if len(text) > limit * _each(info) else None
    if found is None and count is not None:
        return _counted_beyond((text.strip(),), limit, count)
    return found


def _each(info: ModelInfo) -> int:
    """Answer how many characters there must be for each token of a limit, to look for them."""
    return _A_WORD if info.tokenizer in _WORDY else LONGEST


def _least_beyond(texts: Sequence[str], limit: int, info: ModelInfo) -> int | None:
    least = least_tokens(texts, info)
    return least if least > limit else None


def _counted_beyond(texts: Sequence[str], limit: int, count: CountText) -> int | None:
    """Answer how many tokens *texts* have, or the first of them, if that is beyond *limit*."""
    if sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) <= limit:
        return None
    found = 0
    for text in texts:
        found += count(text)
        if found > limit:
            return found
    return None


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


def _verbatim(request: Request) -> Iterator[str]:
    """
    Yield what the model reads as it stands here.

    Not the calls of tools, which APIs write in their own way, nor the blanks around a text, which
    chat templates may drop. The texts of a turn are one, as whether tokens end between them is
    not known.
    """
    if request.system is not None:
        yield request.system.strip()
    for message in request.messages:
        yield message.text.strip()
        for part in message.parts:
            if isinstance(part, ToolResult):
                yield part.content.strip()
