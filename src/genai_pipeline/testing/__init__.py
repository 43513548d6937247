"""What it takes to test pipelines, and plug-ins for them, in virtual time and without a network."""

from __future__ import annotations

from genai_pipeline.testing._clock import FakeClock

__all__ = ["FakeClock"]
