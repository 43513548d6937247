"""Reports to look at."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from genai_pipeline.report import Report, StageReport

__all__ = ["report", "rich_report"]


def report(**changes: Any) -> Report:
    """Answer a report of a run that has read nothing, but for *changes*."""
    nothing: dict[str, Any] = dict.fromkeys(
        ("read", "written", "filtered", "dead", "handed_back", "pending"), 0
    )
    return Report(**{**nothing, "elapsed": 0.0, **changes})


def rich_report(**changes: Any) -> Report:
    """Answer a report in which everything that can be told is there, but for *changes*."""
    full: dict[str, Any] = {
        "read": 6_264,
        "written": 6_100,
        "filtered": 80,
        "dead": 20,
        "pending": 64,
        "in_flight": 64,
        "elapsed": 12.0,
        "stages": (
            StageReport(
                name="summarise", calls=6_200, total=700, p50=0.1, p95=0.3, p99=0.9, longest=2.5
            ),
            StageReport(name="sink", calls=6_100, total=1, p50=1e-6, p95=2e-6, p99=3e-6, longest=1),
        ),
        "errors": {"DataError": 18, "RateLimited": 2},
        "rejections": 12,
        "waited": 33.0,
        "waits": {"backoff": 6.0, "limiter": 60.0, "provider": 534.0, "breaker": 0.0},
        "calls": 6_300,
        "failed_calls": 100,
        "input_tokens": 1_234_567,
        "output_tokens": 88_000,
        "cost": Decimal("0.4213"),
        "limited_by": "workers",
    }
    return report(**{**full, **changes})
