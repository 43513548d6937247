"""Where a worker may be killed, and what it runs."""

from __future__ import annotations

import genai_pipeline as gp

RECORDS = 6

PRICES = gp.PriceBook({"double": {"input": "1", "output": "10"}})
OUTPUT, CAP = 4, "0.01"
"""How many tokens an answer may have, and what all may cost in dollars."""

SHAPES = ("1 to 1", "1 to N", "N to 1", "three calls")

# How many calls may be made twice: those whose answer was not kept when the process died.
POINTS = {
    "before the claim": 0,
    "in the claim": 0,
    "after the claim": 0,
    "before the freeze": 0,
    "in the freeze": 0,
    "after the freeze": 0,
    "before T1": 0,
    "in T1": 0,
    "after T1": 0,
    "before sending": 0,
    "half sent": 0,
    "sent": 1,
    "in the body": 1,
    "before T2": 1,
    "in T2": 1,
    "after T2": 0,
    "before the sink": 0,
    "a file half written": 0,
    "a file synced": 0,
    "a file renamed": 0,
    "after the sink": 0,
    "before T3": 0,
    "in T3": 0,
    "after T3": 0,
    "before settling": 0,
}

UNKNOWN = {
    *("after T1", "before sending", "half sent", "sent", "in the body", "before T2", "in T2"),
}
"""Where a call is under way, so that nobody can tell what became of it."""


def applies(point: str, shape: str) -> bool:
    """Tell whether a pipeline of this *shape* comes to *point*: only groups are frozen."""
    return "freeze" not in point or shape == "N to 1"
