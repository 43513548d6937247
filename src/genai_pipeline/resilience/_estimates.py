"""How many tokens a request will use, learned from the answers to those before it."""

from __future__ import annotations

import json
import math
from collections import deque

import attrs

from genai_pipeline._part_forms import texts_of
from genai_pipeline.messages import Request, Usage
from genai_pipeline.parts import Audio, File, Image, Part

__all__ = ["Estimates", "text_bytes", "text_tokens"]

_BYTES_A_TOKEN = 3.5
_TOKENS_A_MESSAGE = 4
_BYTES_OF_MEDIA = 3_500
_SMOOTHING = 0.1
_SANE = (0.1, 10.0)
_ENOUGH = 20
_WINDOW = 400
_PERCENTILE = 0.95
_EVERY = 20


def text_bytes(request: Request) -> int:
    """Answer the bytes of everything in *request* that the model reads; an image counts 3,500."""
    total = 0 if request.system is None else _length(request.system)
    for message in request.messages:
        content = message.content
        total += _length(content) if isinstance(content, str) else sum(map(_bytes_of, content))
    if request.schema is not None:
        total += len(json.dumps(dict(request.schema)))
    if request.tools:
        total += len(json.dumps([tool.plain() for tool in request.tools]))
    return total


def _bytes_of(part: Part) -> int:
    if isinstance(part, Image | Audio | File):
        return _BYTES_OF_MEDIA
    return sum(_length(text) for text in texts_of(part))


def text_tokens(text: str) -> int:
    """Answer about how many tokens *text* is."""
    return math.ceil(_length(text) / _BYTES_A_TOKEN)


def _length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


@attrs.define(eq=False)
class Estimates:
    """
    Estimates the tokens of requests to one model.

    Input: bytes / 3.5, times a moving average of what the answers showed. Output: the 95th
    percentile of the last answers, never above what the request allows.
    """

    first_output: int
    """The output tokens to expect of a request that sets no limit, before there are answers."""

    _ratio: float = 1.0
    _outputs: deque[int] = attrs.field(factory=lambda: deque(maxlen=_WINDOW))
    _seen: int = 0
    _usual: float = math.inf

    def input_of(self, request: Request) -> tuple[int, int]:
        """Answer the input tokens to expect, and the same before anything was learned."""
        plain = math.ceil(text_bytes(request) / _BYTES_A_TOKEN)
        plain += _TOKENS_A_MESSAGE * len(request.messages)
        return math.ceil(plain * self._ratio - 1e-6), plain

    def output_of(self, request: Request, *, strict: bool) -> int:
        """Answer the output tokens to expect; with *strict* all that the request allows."""
        most = request.max_output_tokens
        if most is not None and (strict or self._seen < _ENOUGH):
            return most
        usual = self.first_output if self._seen < _ENOUGH else math.ceil(self._usual)
        return usual if most is None else min(usual, most)

    def learn(self, plain: int, usage: Usage) -> None:
        """Learn from an answer to a request whose input was estimated as *plain* (0: by others)."""
        if plain and usage.input_tokens > 0:
            ratio = min(max(usage.input_tokens / plain, _SANE[0]), _SANE[1])
            self._ratio += _SMOOTHING * (ratio - self._ratio)
        self._outputs.append(usage.output_tokens)
        self._seen += 1
        if self._seen % _EVERY == 0:
            ordered = sorted(self._outputs)
            self._usual = ordered[math.ceil(_PERCENTILE * len(ordered)) - 1]
