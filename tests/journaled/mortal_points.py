"""Where a worker may be killed, and what it runs."""

from __future__ import annotations

RECORDS = 6

SHAPES = ("1 to 1", "1 to N", "N to 1", "three calls")

# How many calls may be made twice: those whose answer was not kept when the process died.
POINTS = {
    "before T1": 0,
    "after T1": 0,
    "before sending": 0,
    "sent": 1,
    "before T2": 1,
    "after T2": 0,
    "before the sink": 0,
    "after the sink": 0,
    "before T3": 0,
    "after T3": 0,
    "before settling": 0,
}
