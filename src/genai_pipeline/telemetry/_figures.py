"""Figures for people: short, rounded honestly, never more digits than mean something."""

from __future__ import annotations

import math
from decimal import Decimal

__all__ = ["count", "money", "per_second", "percent", "seconds", "size", "span", "tokens"]

_MINUTE = 60
_HOUR = 3600
_THOUSAND = 1000


def count(number: int) -> str:
    """``12345`` as ``12,345``."""
    return f"{number:,}"


def tokens(number: int) -> str:
    """``1234567`` as ``1.23 M``; whole below ten thousand."""
    for unit, scale in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= scale and number >= 10 * _THOUSAND:
            return f"{_three(number / scale)} {unit}"
    return f"{number:,}"


def size(octets: float) -> str:
    """Answer bytes with a binary unit: ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if octets < 1024:  # noqa: PLR2004
            return f"{octets:.0f} B" if unit == "B" else f"{_three(octets)} {unit}"
        octets /= 1024
    return f"{_three(octets)} TiB"


def per_second(rate: float) -> str:
    """Answer a rate: ``512/s``, ``0.25/s``."""
    return f"{rate:,.0f}/s" if rate >= 100 else f"{_three(rate)}/s"  # noqa: PLR2004


def percent(share: float) -> str:
    """Answer a share as whole percents; 100 % only when it is all."""
    whole = math.floor(share * 100 + 1e-9)
    return "<1 %" if whole == 0 and share > 0 else f"{whole} %"


def span(duration: float) -> str:
    """Answer a time that passed or is left, to the second: ``0:07``, ``1:02:03``, ``3 d 04:00``."""
    whole = int(duration)
    hours, rest = divmod(whole, _HOUR)
    minutes, left = divmod(rest, _MINUTE)
    if hours >= 48:  # noqa: PLR2004 - until then hours are read more easily than days
        return f"{hours // 24} d {hours % 24:02}:{minutes:02}"
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def seconds(duration: float) -> str:
    """Answer a latency to two digits, with its unit: ``3.2 ms``, ``1.2 s``, ``2:05``."""
    if duration >= 2 * _MINUTE:
        return span(duration)
    duration = float(f"{duration:.2g}")
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if duration * scale >= 1:
            return f"{round(duration * scale, 1):g} {unit}"
    return f"{round(duration * 1e6, 2):g} µs"


def money(dollars: Decimal) -> str:
    """Answer US dollars: cents from one dollar on, three significant digits below."""
    if dollars == 0 or abs(dollars) >= 1:
        return f"${dollars:,.2f}"
    digits = 2 - dollars.adjusted()
    return f"${dollars:.{min(digits, 8)}f}"


def _three(number: float) -> str:
    """Answer at most three significant digits of a number below a thousand."""
    if number >= 99.95:  # noqa: PLR2004 - it would round to 100.0
        return f"{number:.0f}"
    if number >= 9.995:  # noqa: PLR2004
        return f"{number:.1f}"
    return f"{number:.2f}"
