"""How many tokens the answer to a request will be, learned from the answers before it."""

from __future__ import annotations

import math
from collections import deque

import attrs

from genai_pipeline.messages import Request

__all__ = ["UsualOutput"]

_ENOUGH = 20
_WINDOW = 400
_PERCENTILE = 0.95
_EVERY = 20


@attrs.define(eq=False)
class UsualOutput:
    """
    Tells how long the answers of one model usually are.

    That is the 95th percentile of the last answers, never above what the request allows.
    """

    first: int
    """The output tokens to expect of a request that sets no limit, before there are answers."""

    _outputs: deque[int] = attrs.field(factory=lambda: deque(maxlen=_WINDOW))
    _seen: int = 0
    _usual: float = math.inf

    def of(self, request: Request, *, strict: bool) -> int:
        """Answer the output tokens to expect; with *strict* all that the request allows."""
        most = request.max_output_tokens
        if most is not None and (strict or self._seen < _ENOUGH):
            return most
        usual = self.first if self._seen < _ENOUGH else math.ceil(self._usual)
        return usual if most is None else min(usual, most)

    def learn(self, output_tokens: int) -> None:
        """Learn from an answer of so many tokens."""
        self._outputs.append(output_tokens)
        self._seen += 1
        if self._seen % _EVERY == 0:
            ordered = sorted(self._outputs)
            self._usual = ordered[math.ceil(_PERCENTILE * len(ordered)) - 1]
