"""
Where a pipeline keeps what it knows of records and of the calls paid for them.

Give one as ``Pipeline(journal=...)``. `genai_pipeline.testing.JournalContract` proves one.
"""

from __future__ import annotations

from genai_pipeline.journals._memory import Memory

__all__ = ["Memory"]
