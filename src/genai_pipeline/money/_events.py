"""What happens to budgets, told to whoever listens."""

from __future__ import annotations

from decimal import Decimal

import attrs

from genai_pipeline.events import Event

__all__ = ["BudgetThresholdReached"]


@attrs.frozen(kw_only=True)
class BudgetThresholdReached(Event):
    """
    What was spent of a budget reached a share of its cap.

    Told once for each share and window by one run; a call that passes several at once tells
    of each. Money held for calls under way does not count as spent.
    """

    budget: str
    """Names the budget and the scope: ``run``, ``day tenant=acme``."""

    window: str
    """The window it was spent in: ``2026-11-26``."""

    share: float
    """Which of ``Budget.warn_at``: 0.8 is 80 %."""

    spent: Decimal
    """US dollars."""

    cap: Decimal
