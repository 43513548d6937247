"""What providers tell of their limits: OpenAI's and Anthropic's headers, in one form."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

import attrs

__all__ = ["Told", "told_limits"]

DAY = 86_400.0

_NAME = re.compile(
    r"(?:x-|anthropic-)?(?:ratelimit-)?"
    r"(?:(?P<what>limit|remaining|reset)-(?P<of>requests|(?:input-|output-)?tokens)"
    r"|(?P<of_>requests|(?:input-|output-)?tokens)-(?P<what_>limit|remaining|reset))",
    re.ASCII,
)
_DURATION = re.compile(
    r"(?:(\d{1,9})h)?(?:(\d{1,9})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?",
    re.ASCII,
)


@attrs.define
class Told:
    """What was told of one dimension; `None` is what was not."""

    limit: float | None = None
    remaining: float | None = None
    reset: float | None = None
    """Seconds until the whole limit is free again."""

    @property
    def is_daily(self) -> bool:
        """
        Whether the limit is one for a day, as OpenAI's for requests is on small accounts.

        The header does not say; but what is missing comes back at the limit's own rate.
        """
        if not self.limit or not self.reset or self.remaining is None:
            return False
        used = self.limit - self.remaining
        return used > 0 and math.isclose(self.reset / used * self.limit, DAY, rel_tol=0.1)


def told_limits(told: Mapping[str, object], *, wall: float) -> dict[str, Told]:
    """
    Answer what is told by dimension: requests, tokens, ``input_tokens``, ``output_tokens``.

    Names are those of the headers, with or without ``x-ratelimit-`` or ``anthropic-ratelimit-``;
    values are numbers or the headers' text. Limits of zero or less mean unknown. *wall* is the
    time in seconds since 1970 UTC. What is not understood is left out; never raises.
    """
    found: dict[str, Told] = {}
    for name, value in told.items():
        meaning = _meaning(name) if isinstance(name, str) else None
        if meaning is None:
            continue
        what, dimension = meaning
        number = _number(value, wall) if what == "reset" else _plain(value)
        if number is None or (what == "limit" and number <= 0):
            continue
        one = found.get(dimension)
        if one is None:
            one = found[dimension] = Told()
        setattr(one, what, number)
    return found


@lru_cache(maxsize=256)  # each answer has the same few names
def _meaning(name: str) -> tuple[str, str] | None:
    """Answer what a header tells, and of which dimension; `None` for one of something else."""
    match = _NAME.fullmatch(name.lower())
    if match is None:
        return None
    return match["what"] or match["what_"], (match["of"] or match["of_"]).replace("-", "_")


def _plain(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (float, str, int)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < math.inf else None


def _number(value: object, wall: float) -> float | None:
    plain = _plain(value)
    if plain is not None or not isinstance(value, str):
        return plain
    text = value.strip()
    match = _DURATION.fullmatch(text)
    if match is not None and any(match.groups()):
        hours, minutes, seconds, thousandths = (float(part or 0) for part in match.groups())
        return hours * 3600 + minutes * 60 + seconds + thousandths / 1000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else max(0.0, moment.timestamp() - wall)
