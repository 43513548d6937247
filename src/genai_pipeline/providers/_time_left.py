"""`TimeLeft`: how long a streamed answer may still take, in all and for its next piece."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import attrs

from genai_pipeline.clock import Clock

__all__ = ["TimeLeft"]


@attrs.define(eq=False)
class TimeLeft:
    """The *seconds* that are left for an answer; what passes between two steps is not counted."""

    seconds: float
    clock: Clock

    async def spend(
        self, step: Callable[[], Awaitable[None]], *, idle: float
    ) -> Literal["idle", "all"] | None:
        """
        Take *step*, for *idle* seconds and for what is left at the most.

        Answers which of the two cut it off; `None` when it came to its end.
        """
        began = self.clock.now()
        shorter: Literal["idle", "all"] = "idle" if idle < self.seconds else "all"
        try:
            with self.clock.cancel_at(began + min(self.seconds, idle)) as scope:
                await step()
        finally:
            self.seconds -= self.clock.now() - began
        return shorter if scope.cancelled_caught else None
