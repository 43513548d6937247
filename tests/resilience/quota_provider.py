"""A provider with a quota, in virtual or real time, that counts what it serves and refuses."""

from __future__ import annotations

import random
from collections import deque
from typing import Literal

import attrs

import genai_pipeline as gp
from genai_pipeline.errors import RateLimited

Kind = Literal["bucket", "window"]


@attrs.define
class QuotaProvider:
    """
    Serves *requests* and *tokens* in each *per* seconds, and raises `RateLimited` beyond.

    It counts input when a request comes and output when its answer goes: as a bucket that
    holds *per* seconds' worth, or in a window that slides.
    """

    clock: gp.Clock
    requests: float
    tokens: float
    per: float = 60.0
    kind: Kind = "bucket"
    served: list[tuple[float, int]] = attrs.field(factory=list)
    refused: list[float] = attrs.field(factory=list)
    _window: deque[tuple[float, float, float]] = attrs.field(factory=deque)
    _used: list[float] = attrs.field(factory=lambda: [0.0, 0.0])
    _at: float = 0.0

    async def __call__(self, request: gp.Request) -> gp.Response:
        read, write = int(request.prompt.split()[0]), int(request.prompt.split()[1])
        self._check(read)
        self._count(1, read)
        await self.clock.sleep(0.3 + write * 0.02)
        self._count(0, write)
        self.served.append((self.clock.now(), read + write))
        return gp.Response("fine", usage=gp.Usage(input_tokens=read, output_tokens=write))

    def used(self, seconds: float) -> float:
        """Answer the share of the tighter limit that was served in the first *seconds*."""
        served = [tokens for at, tokens in self.served if at <= seconds]
        requests = len(served) / (self.requests * seconds / self.per)
        return max(requests, sum(served) / (self.tokens * seconds / self.per))

    def refused_after(self, seconds: float) -> float:
        """Answer how many were refused for each that was served, after the first *seconds*."""
        served = sum(at > seconds for at, _ in self.served)
        return sum(at > seconds for at in self.refused) / served

    def _check(self, read: int) -> None:
        self._forget()
        over = (
            self._used[0] + 1 - self.requests,
            self._used[1] + read - self.tokens,
        )
        if max(over) > 0:
            self.refused.append(self.clock.now())
            wait = max(over[0] / self.requests, over[1] / self.tokens) * self.per
            raise RateLimited("slow down", retry_after=wait)

    def _forget(self) -> None:
        now = self.clock.now()
        if self.kind == "bucket":
            passed = (now - self._at) / self.per
            self._used[0] = max(0.0, self._used[0] - passed * self.requests)
            self._used[1] = max(0.0, self._used[1] - passed * self.tokens)
            self._at = now
        while self._window and self._window[0][0] <= now - self.per:
            _, requests, tokens = self._window.popleft()
            self._used[0] -= requests
            self._used[1] -= tokens

    def _count(self, requests: float, tokens: float) -> None:
        self._forget()
        self._used[0] += requests
        self._used[1] += tokens
        if self.kind == "window":
            self._window.append((self.clock.now(), requests, tokens))


async def keep_asking(
    model: gp.Provider, clock: gp.Clock, dice: random.Random, *, until: float, mean: float
) -> None:
    """Call *model* again and again, with what is refused asked again, as a retry does."""
    while clock.now() < until:
        request = ask(dice, mean=mean)
        answered = False
        while clock.now() < until and not answered:
            try:
                await model(request)
                answered = True
            except RateLimited:
                pass


def ask(dice: random.Random, *, unknown: float = 0.2, mean: float = 100.0) -> gp.Request:
    """
    Make a request whose text tells the provider what it will take; some set no output limit.

    The text is about as long as the input tokens it stands for.
    """
    read = dice.randint(20, 120)
    write = max(1, min(1000, int(dice.lognormvariate(0, 0.7) * mean * 0.78)))
    limit = None if dice.random() < unknown else max(write, 300)
    text = f"{read} {write} "
    return gp.Request(text + "x" * int(read * 4 - len(text)), max_output_tokens=limit)
