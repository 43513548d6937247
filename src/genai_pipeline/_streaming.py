"""What all streams of answers have in common: what an error means once an answer has begun."""

from __future__ import annotations

from genai_pipeline.errors import PipelineError, StreamInterrupted, Transient, classify
from genai_pipeline.messages import Usage

__all__ = ["cause_of", "interruption"]


def interruption(error: Exception, *, partial: str, usage: Usage | None) -> Exception:
    """
    Answer what to raise for *error* after the first chunk.

    What passes becomes a `StreamInterrupted` because of it. What says who else must act
    (`Refused`, `AuthenticationFailed` …) stays what it is, and so does `DeadlineExceeded`.
    """
    passing = isinstance(error, Transient) or (
        not isinstance(error, PipelineError) and classify(error) == "transient"
    )
    if isinstance(error, StreamInterrupted) or not passing:
        return error
    interrupted = StreamInterrupted(
        f"the answer failed after {len(partial)} characters: {error}",
        retry_after=error.retry_after if isinstance(error, Transient) else None,
        rate_limits=error.rate_limits if isinstance(error, Transient) else None,
        partial=partial,
        usage=usage,
    )
    interrupted.__cause__ = error
    return interrupted


def cause_of(error: BaseException) -> BaseException:
    """Answer what went wrong: for a `StreamInterrupted`, what broke the stream, if it is known."""
    if isinstance(error, StreamInterrupted) and isinstance(error.__cause__, Exception):
        return error.__cause__
    return error
