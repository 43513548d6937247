"""`FailureLimit`: how many records of a run may fail before it stops."""

from __future__ import annotations

from collections import defaultdict, deque

from genai_pipeline.errors import TooManyFailures

__all__ = ["FailureLimit"]

_SHARE_AFTER = 100
"""A share says nothing of fewer records."""

_LATEST = 100
"""So many of the latest records that ended are looked at for failures of one kind."""


class FailureLimit:
    """
    Counts failures against ``max_failures``: a number, a share of what ended, or `None`.

    With *alike*, a share holds for one kind of failure among the latest records too, so that a
    prompt that breaks late stops the run however many records went well before.
    """

    def __init__(self, limit: float | None, *, alike: bool) -> None:
        self._limit = limit
        self._alike = alike
        self._ends: defaultdict[str, deque[int]] = defaultdict(lambda: deque(maxlen=_LATEST))

    def exceeded_by(self, kind: str, failures: int, ended: int) -> TooManyFailures | None:
        """
        Note that the *ended*-th record, the *failures*-th of those that failed, died of *kind*.

        Answers the error that ends the run if it was one too many.
        """
        limit = self._limit
        if limit is None:
            return None
        told = f"{failures} of {ended} records failed"
        if isinstance(limit, float):
            exceeded = ended >= _SHARE_AFTER and failures > limit * ended
            recent = self._recent(kind, ended)
            if self._alike and ended >= _LATEST and recent > limit * _LATEST:
                exceeded, told = True, f"{recent} of the last {_LATEST} records died of {kind}"
        else:
            exceeded = failures > limit
        return TooManyFailures(f"{told}, more than max_failures={limit!r}") if exceeded else None

    def _recent(self, kind: str, ended: int) -> int:
        """Answer how many of the latest records died of *kind*, with the *ended*-th."""
        ends = self._ends[kind]
        ends.append(ended)
        while ends[0] <= ended - _LATEST:
            ends.popleft()
        return len(ends)
