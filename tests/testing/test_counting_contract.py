"""`CountingProviderContract` passes what keeps it, and catches what breaks it."""

from __future__ import annotations

import itertools
from typing import Any

import anyio.lowlevel
import pytest

import genai_pipeline as gp
from genai_pipeline.events import CallFinished
from genai_pipeline.testing import CountingProviderContract

pytestmark = pytest.mark.anyio


class Words:
    """A third party's provider, to which each word is a token."""

    async def __call__(self, request: gp.Request) -> gp.Response:
        await anyio.lowlevel.checkpoint()
        usage = gp.Usage(input_tokens=len(request.prompt.split()))
        return gp.Response("fine", usage=usage, model="words")

    async def count_tokens(self, request: gp.Request) -> Any:
        await anyio.lowlevel.checkpoint()
        return len(request.prompt.split())


class Failing(Words):
    """One that cannot count."""

    async def count_tokens(self, request: gp.Request) -> int:
        raise gp.ConfigurationError("no counting here")


class TestThirdParty(CountingProviderContract):
    """A provider of ten lines keeps the contract."""

    def make(self) -> gp.CountingProvider:
        return Words()

    def make_failing(self) -> gp.CountingProvider:
        return Failing()


class Doubling(Words):
    """One that counts too many."""

    async def count_tokens(self, request: gp.Request) -> Any:
        return 2 * await super().count_tokens(request)


class Fractional(Words):
    """One that answers what is no whole number."""

    async def count_tokens(self, request: gp.Request) -> Any:
        return float(await super().count_tokens(request))


class Constant(Words):
    """One that does not look at the text."""

    async def count_tokens(self, request: gp.Request) -> Any:
        return 5


class Growing(Words):
    """One that counts more each time."""

    def __init__(self) -> None:
        self.more = itertools.count()

    async def count_tokens(self, request: gp.Request) -> Any:
        return await super().count_tokens(request) + next(self.more)


class Telling(Words):
    """One that tells of a call, and so of a bill."""

    async def count_tokens(self, request: gp.Request) -> Any:
        gp.emit(CallFinished(provider="words", model="words", seconds=0.0))
        return await super().count_tokens(request)


class Swallowing(Words):
    """One that takes a cancellation for a failure, and answers a number."""

    async def count_tokens(self, request: gp.Request) -> Any:
        try:
            return await super().count_tokens(request)
        except BaseException:  # noqa: BLE001 - that is what is wrong with it
            return 0


class Foreign(Words):
    """One that fails with an error of its own."""

    async def count_tokens(self, request: gp.Request) -> Any:
        raise KeyError("count")


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (Doubling, "test_a_count_is_what_a_call_uses"),
        (Fractional, "test_a_count_is_what_a_call_uses"),
        (Constant, "test_more_text_is_more_tokens"),
        (Constant, "test_concurrent_counts_do_not_mix"),
        (Growing, "test_more_text_is_more_tokens"),
        (Telling, "test_a_count_is_no_call"),
        (Swallowing, "test_cancellation_passes_through_everywhere"),
    ],
)
async def test_what_breaks_the_contract_is_caught(broken: Any, test: str) -> None:
    """Counts that are wrong, alike, of no whole number, told as calls or unstoppable fail it."""

    class Broken(CountingProviderContract):
        def make(self) -> gp.CountingProvider:
            return broken()  # type: ignore[no-any-return]

    with pytest.raises(AssertionError):
        await getattr(Broken(), test)()


async def test_a_foreign_failure_is_caught() -> None:
    """What a provider raises has to be one of the library's errors."""

    class Broken(TestThirdParty):
        __test__ = False

        def make_failing(self) -> gp.CountingProvider:
            return Foreign()

    with pytest.raises(KeyError):
        await Broken().test_a_failure_is_one_of_ours()
