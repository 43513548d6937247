"""What the parts of `JournalContract` have in common: a journal to ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from genai_pipeline._journal import Journal

__all__ = ["JournalTests"]


class JournalTests:
    """Tests that ask a journal which a subclass makes."""

    def make(self) -> Journal:
        """Answer a new and empty journal, not entered; called many times."""
        raise NotImplementedError

    async def die(self, journal: Any, /) -> Journal:
        """
        Let the owner of *journal*, which is entered, die as by ``kill -9``.

        Answer a journal over what it left, not entered.
        """
        raise NotImplementedError

    def _run(self, backend: str, check: Callable[[Any], Awaitable[None]]) -> None:
        async def run() -> None:
            async with self.make() as journal:
                await check(journal)

        anyio.run(run, backend=backend)
