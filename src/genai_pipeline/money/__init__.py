"""Money: what calls cost, the most that they can cost, and how much they may. Does no I/O."""

from __future__ import annotations

from genai_pipeline.money._amounts import from_nano, to_nano
from genai_pipeline.money._book import PriceBook, Quote
from genai_pipeline.money._bounds import service_of
from genai_pipeline.money._budget import Budget
from genai_pipeline.money._budgets import Budgets
from genai_pipeline.money._events import BudgetThresholdReached
from genai_pipeline.money._expected import Estimate, expected
from genai_pipeline.money._price import Price, Rates

__all__ = [
    "Budget",
    "BudgetThresholdReached",
    "Budgets",
    "Estimate",
    "Price",
    "PriceBook",
    "Quote",
    "Rates",
    "expected",
    "from_nano",
    "service_of",
    "to_nano",
]
