"""Figures are short, and round the way a reader expects."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_pipeline.telemetry import _figures as figures


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (0.0, "0 µs"),
        (7.03e-06, "7 µs"),
        (0.00999, "10 ms"),
        (0.0361, "36 ms"),
        (0.152, "150 ms"),
        (0.9999, "1 s"),
        (1.25, "1.2 s"),
        (61.4, "61 s"),
        (125.0, "2:05"),
    ],
)
def test_seconds(duration: float, text: str) -> None:
    """A latency has two digits and the unit that fits it."""
    assert text == figures.seconds(duration)


@pytest.mark.parametrize(
    ("duration", "text"),
    [(0, "0:00"), (67.9, "1:07"), (3723, "1:02:03"), (172_800, "2 d 00:00")],
)
def test_span(duration: float, text: str) -> None:
    """A time that passes is told in hours, minutes and seconds, from two days on in days."""
    assert text == figures.span(duration)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (9_999, "9,999"), (12_345, "12.3 k"), (1_234_567, "1.23 M"), (99_960, "100 k")],
)
def test_tokens(number: int, text: str) -> None:
    """Tokens are exact while there are few, then have three digits."""
    assert text == figures.tokens(number)


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        ("0", "$0.00"),
        ("1234.567", "$1,234.57"),
        ("0.4213", "$0.421"),
        ("0.00012", "$0.000120"),
        ("0.0000000001", "$0.00000000"),
    ],
)
def test_money(dollars: str, text: str) -> None:
    """Dollars have cents from one on, and three significant digits below."""
    assert text == figures.money(Decimal(dollars))


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (0.001, "<1 %"), (0.62, "62 %"), (0.9999, "99 %"), (1, "100 %")],
)
def test_percent(share: float, text: str) -> None:
    """A hundred percent is all, and nothing else is."""
    assert text == figures.percent(share)


@pytest.mark.parametrize(
    ("octets", "text"),
    [(0, "0 B"), (1536, "1.50 KiB"), (3 << 30, "3.00 GiB"), (5 << 50, "5120 TiB")],
)
def test_size(octets: int, text: str) -> None:
    """Bytes have a binary unit."""
    assert text == figures.size(octets)


@given(st.floats(min_value=0, max_value=1e9))
def test_seconds_are_short_for_any_duration(duration: float) -> None:
    """No duration takes more than a column of a table."""
    assert len(figures.seconds(duration)) <= len("11574 d 00:00")


@given(st.floats(min_value=1e-6, max_value=119))
def test_seconds_are_within_five_percent(duration: float) -> None:
    """What a latency says is off by no more than two digits allow."""
    number, unit = figures.seconds(duration).split()
    told = float(number) * {"s": 1, "ms": 1e-3, "µs": 1e-6}[unit]
    assert abs(told - duration) <= 0.051 * duration
