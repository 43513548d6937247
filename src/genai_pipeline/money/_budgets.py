"""`Budgets`: all budgets of a pipeline, as one run keeps to them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs

from genai_pipeline._journal import BudgetUse
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.money._amounts import EXACT, from_nano
from genai_pipeline.money._budget import Budget
from genai_pipeline.money._events import BudgetThresholdReached

__all__ = ["Budgets"]


def _to_budgets(budgets: Iterable[Budget]) -> tuple[Budget, ...]:
    if isinstance(budgets, Budget):
        raise ConfigurationError("budgets= is one Budget; give a list of them")
    chosen = tuple(budgets)
    seen: set[tuple[str, tuple[str, ...]]] = set()
    for budget in chosen:
        if not isinstance(budget, Budget):
            raise ConfigurationError(
                f"budgets= holds a {type(budget).__qualname__}; give Budget objects"
            )
        if (budget.account, budget.scope) in seen:
            raise ConfigurationError(
                f"budgets= holds two named {budget.account!r} of the same scope; "
                "give one, or name= them"
            )
        seen.add((budget.account, budget.scope))
    return chosen


@attrs.define(eq=False)
class Budgets:
    """
    The budgets of a pipeline during one run.

    Keeps two things in mind: the latest time seen, so that a clock that jumps back does not
    reopen the money of a window that has passed; and which thresholds were told. Does no I/O.
    """

    budgets: tuple[Budget, ...] = attrs.field(converter=_to_budgets)

    latest: float = attrs.field(default=-math.inf, kw_only=True)
    """The latest wall time seen, by earlier runs too if it is given."""

    _of: dict[str, Budget] = attrs.field(init=False, factory=dict, repr=False)
    _told: dict[str, tuple[str, float]] = attrs.field(init=False, factory=dict, repr=False)

    def uses(
        self,
        *,
        attributes: Mapping[str, Any],
        provider: str,
        model: str,
        stage: str,
        run: int,
        at: float,
    ) -> tuple[BudgetUse, ...]:
        """Answer what a call that begins at wall time *at* counts against, ordered by name."""
        if not self.budgets:
            return ()
        self.latest = max(self.latest, at)
        found = {}
        for budget in self.budgets:
            use = budget.uses(
                attributes=attributes,
                provider=provider,
                model=model,
                stage=stage,
                run=run,
                at=self.latest,
            )
            if use is not None:
                found[use.budget] = use
                self._of[use.budget] = budget
        return tuple(found[name] for name in sorted(found))

    def is_scoped(self, budget: str) -> bool:
        """Whether other records than those that count against *budget* have money of their own."""
        found = self._of.get(budget)
        return found is not None and found.parts_records

    def refusing(self, uses: Iterable[BudgetUse]) -> BudgetUse | None:
        """Answer the first of *uses* whose budget refuses calls without a bound, if any."""
        return next(
            (use for use in uses if self._of[use.budget].on_unknown_price == "refuse"), None
        )

    def reached(
        self, uses: Sequence[BudgetUse], spent: Mapping[str, tuple[int, int, int]]
    ) -> tuple[BudgetThresholdReached, ...]:
        """
        Answer the thresholds that settling a call reached, each only once in a window.

        *uses* are what the call counted against, *spent* is what the journal answered
        (``Settled.spent``). Of a window that has passed nothing is told.
        """
        return tuple(
            event for use in uses if use.budget in spent for event in self._reached(use, spent)
        )

    def _reached(
        self, use: BudgetUse, spent: Mapping[str, tuple[int, int, int]]
    ) -> Iterable[BudgetThresholdReached]:
        amount, _, cap = spent[use.budget]
        window, told = self._told.get(use.budget, ("", 0.0))
        if use.window < window:
            return
        if use.window > window:
            told = 0.0
        for share in self._of[use.budget].warn_at:
            if share > told and amount >= EXACT.multiply(Decimal(repr(share)), cap):
                told = share
                yield BudgetThresholdReached(
                    budget=use.budget,
                    window=use.window,
                    share=share,
                    spent=from_nano(amount),
                    cap=from_nano(cap),
                )
        self._told[use.budget] = (use.window, told)
