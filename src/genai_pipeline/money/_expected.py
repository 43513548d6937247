"""`expected`: what calls to come will cost, judged by a sample of past ones."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Context, Decimal, localcontext
from statistics import NormalDist

import attrs

from genai_pipeline._options import check

__all__ = ["Estimate", "expected"]

_LEAST = 2


@attrs.frozen(kw_only=True)
class Estimate:
    """What a number of calls is expected to cost, in US dollars."""

    cost: Decimal
    low: Decimal
    high: Decimal
    """The cost lies between *low* and *high* with the confidence asked for, roughly."""

    calls: int
    """How many calls it is for."""

    sample: int
    """How many past calls it rests on."""


def expected(
    past: Iterable[tuple[Decimal | int, Decimal | int]],
    upcoming: Iterable[Decimal | int],
    *,
    confidence: float = 0.95,
) -> Estimate | None:
    """
    Estimate what calls will cost by what calls of their kind did cost.

    *past* are pairs of size and cost, *upcoming* the sizes of the calls to come. A size is
    whatever the cost grows with: the worst case (`PriceBook.worst`) as a rule, the bytes of the
    input, or 1 for each call if nothing is known of them. The costs' share of the sizes in
    *past* is the ratio that is expected of *upcoming*.

    The range is that of the ratio estimator (Cochran, Sampling Techniques, chapter 6), with
    Student's t, and never below 0. It tells how far chance can go, not whether the calls to
    come are of the same kind. `None` when there is nothing to judge by: fewer than two past
    calls, or none with a size.
    """
    fine = isinstance(confidence, float) and 0 < confidence < 1
    check(fine, "expected", "confidence", confidence, "a number above 0 and below 1")
    pairs = [(_number("past", size), _number("past", cost)) for size, cost in past]
    sizes = [_number("upcoming", size) for size in upcoming]
    with localcontext(Context(prec=50)):
        known = sum((size for size, _ in pairs), Decimal(0))
        if len(pairs) < _LEAST or not known:
            return None
        ratio = sum((cost for _, cost in pairs), Decimal(0)) / known
        total = sum(sizes, Decimal(0))
        middle = ratio * total
        spread = _spread(pairs, ratio, total=total, calls=len(sizes)) * _t(
            confidence, len(pairs) - 1
        )
        return Estimate(
            cost=middle,
            low=max(Decimal(0), middle - spread),
            high=middle + spread,
            calls=len(sizes),
            sample=len(pairs),
        )


def _number(option: str, value: Decimal | int) -> Decimal:
    exact = isinstance(value, Decimal | int) and not isinstance(value, bool)
    fine = exact and value >= 0 and Decimal(value).is_finite()
    check(fine, "expected", option, value, "whole numbers or Decimals of 0 or more")
    return Decimal(value)


def _spread(
    pairs: list[tuple[Decimal, Decimal]], ratio: Decimal, *, total: Decimal, calls: int
) -> Decimal:
    """Answer the standard error of the sum: of the ratio, and of the calls to come themselves."""
    residue = sum(((cost - ratio * size) ** 2 for size, cost in pairs), Decimal(0))
    variance = residue / (len(pairs) - 1)
    known = sum((size for size, _ in pairs), Decimal(0))
    of_ratio = variance * len(pairs) / known**2
    return Decimal(total**2 * of_ratio + calls * variance).sqrt()


def _t(confidence: float, freedom: int) -> Decimal:
    """Answer the two-sided quantile of Student's t (Abramowitz and Stegun 26.7.5)."""
    if freedom == 1:
        return Decimal(math.tan(math.pi * confidence / 2))
    if freedom == 2:  # noqa: PLR2004 - exact, where the series is still coarse
        return Decimal(confidence * math.sqrt(2 / (1 - confidence**2)))
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return Decimal(z + sum(term / freedom**power for power, term in enumerate(terms, start=1)))
