"""Durations in headers."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_pipeline.providers._retry_after import duration, rate_limits, retry_after
from genai_pipeline.resilience._told_limits import told_limits

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": formatdate(NOW + 30, usegmt=True)}, 30.0),
        ({"retry-after": formatdate(NOW - 30, usegmt=True)}, 0.0),
        ({"retry-after": "86400"}, 86_400.0),
        ({"retry-after": "86401"}, None),
        ({"retry-after-ms": "86400001", "retry-after": "5"}, None),
        ({"retry-after": "1000000000"}, None),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e400"}, None),
        ({"retry-after": "1_000"}, None),
        ({"retry-after": "\u0661"}, None),
        ({"retry-after": "later"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_the_forms_of_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """14: seconds, milliseconds and dates are understood; what makes no sense is as absent."""
    assert retry_after(headers, now=NOW) == seconds


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_safe_to_wait_for(exact: str, coarse: str) -> None:
    """14: no header makes it raise, or ask for more than a day or less than nothing."""
    seconds = retry_after({"retry-after-ms": exact, "retry-after": coarse}, now=NOW)
    assert seconds is None or (math.isfinite(seconds) and 0 <= seconds <= 86_400)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12ms", 0.012),
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("2m", 120.0),
        ("59", 59.0),
        ("-1", None),
        ("", None),
        ("s", None),
        ("5 parsecs", None),
    ],
)
def test_durations_as_servers_print_them(text: str, seconds: float | None) -> None:
    """A plain number and a Go duration give seconds, anything else nothing."""
    assert duration(text) == (None if seconds is None else pytest.approx(seconds))


def test_rate_limits_are_gathered_by_name() -> None:
    """Headers of any case are taken; those that make no sense are left out."""
    headers = {
        "X-RateLimit-Remaining-Requests": "59",
        "x-ratelimit-reset-tokens": "1m2.5s",
        "x-ratelimit-limit-tokens": "-1",
        "x-ratelimit-note": "2026-11-26T06:00:00Z",
        "content-type": "application/json",
    }
    assert rate_limits(headers) == {"remaining-requests": 59.0, "reset-tokens": 62.5}


def test_anthropics_names_and_moments_are_taken() -> None:
    """Anthropic's headers come with their own names, and with resets as moments."""
    headers = {
        "anthropic-ratelimit-requests-remaining": "3",
        "Anthropic-RateLimit-Requests-Reset": "2026-11-26T06:00:00Z",
        "anthropic-ratelimit-tokens-reset": "2026-11-26T06:00:00",
        "anthropic-ratelimit-input-tokens-reset": "soon",
    }
    told = rate_limits(headers)
    assert told == {"requests-remaining": 3.0, "requests-reset": "2026-11-26T06:00:00Z"}
    moment = datetime(2026, 11, 26, 5, 59, 30, tzinfo=UTC).timestamp()
    (requests,) = told_limits(told, wall=moment).values()
    assert (requests.remaining, requests.reset) == (3, 30)
