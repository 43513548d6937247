"""How long a server asks to wait, and other durations in headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

__all__ = ["LIMIT_PREFIXES", "believed", "duration", "rate_limits", "retry_after"]

_LONGEST = 86_400.0
_NUMBER = re.compile(r"\s*([0-9]{1,20}(?:\.[0-9]{0,20})?)\s*", re.ASCII)
_GO_DURATION = re.compile(
    r"(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m(?!s))?(?:([0-9]{1,9}(?:\.[0-9]{1,9})?)s)?"
    r"(?:([0-9]{1,9}(?:\.[0-9]{1,9})?)ms)?",
    re.ASCII,
)
LIMIT_PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-")


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """
    Answer the seconds that ``retry-after-ms`` or ``retry-after`` asks for.

    *now* is the wall clock, for the form that gives a date; a date that has passed gives zero.
    Answers `None` for what is absent, negative, not finite or not understood, and for more than
    a day, which is not believed.
    """
    given = headers.get("retry-after")
    exact = _number(headers.get("retry-after-ms"))
    seconds = _number(given) if exact is None else exact / 1000
    if seconds is None and given is not None:
        date = _date(given)
        seconds = None if date is None else max(0.0, date - now)
    return believed(seconds)


def believed(seconds: float | None) -> float | None:
    """Answer *seconds*, unless it is more than a day."""
    return seconds if seconds is not None and seconds <= _LONGEST else None


def duration(text: str) -> float | None:
    """
    Answer the seconds in *text*: a plain number, or a duration as Go prints it (``1h2m3.5s``).

    `None` for anything else.
    """
    plain = _number(text)
    if plain is not None:
        return plain
    match = _GO_DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def rate_limits(headers: Mapping[str, str]) -> dict[str, float | str]:
    """
    Answer what ``x-ratelimit-…`` and ``anthropic-ratelimit-…`` tell, by the rest of their names.

    ``{"remaining-requests": 59.0, "reset-tokens": 0.012}``; resets are the seconds until the
    whole limit is free again, or, as Anthropic tells them, that moment in the text of RFC 3339.
    Values that are not understood are left out, and so are zeros beside a limit of 0 or -1, by
    which Azure says that it does not know.
    """
    told: dict[str, float | str] = {}
    for name, text in headers.items():
        low = name.lower()
        if not low.startswith(LIMIT_PREFIXES):
            continue
        _, _, what = low.partition("ratelimit-")
        value = duration(text)
        if value is not None:
            told[what] = value
        elif low.endswith("-reset") and _is_moment(text):
            told[what] = text
    for name in [name for name in told if told[name] == 0 and _of_no_limit(name, headers)]:
        del told[name]
    return told


def _of_no_limit(name: str, headers: Mapping[str, str]) -> bool:
    """Tell whether *name* is of a limit that the server says it does not know."""
    kind, _, what = name.partition("-")
    if kind not in {"limit", "remaining", "reset"}:
        return False
    return headers.get(f"x-ratelimit-limit-{what}", "").strip() in {"0", "-1"}


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _number(text: str | None) -> float | None:
    match = None if text is None else _NUMBER.fullmatch(text)
    return None if match is None else float(match[1])


def _date(text: str) -> float | None:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - slow to import, seldom used

    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
