"""Durations, counted in buckets: constant memory however many there are."""

from __future__ import annotations

from collections import Counter

__all__ = ["Histogram"]

# Sixteen buckets for each doubling, so that a percentile is off by 4 % at most. Counted in
# units of 2**-24 s (60 ns); a bucket is the exponent and the four bits behind the leading one.
_UNIT = float(1 << 24)
_FINE = 4
_BUCKETS = 48 << _FINE


class Histogram:
    """Counts durations; answers percentiles, good to 4 %."""

    __slots__ = ("_counts", "_samples", "count", "longest", "note", "total")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self._samples: list[float] = []
        self.count = 0
        self.longest = 0.0
        self.total = 0.0
        self.note = self._samples.append
        """Remember one duration until `fold`; costs next to nothing, but memory."""

    def fold(self, weight: int = 1) -> None:
        """Count the remembered durations, each as *weight*."""
        samples, counts, last = self._samples, self._counts, _BUCKETS - 1
        if not samples:
            return
        for units, times in Counter([int(seconds * _UNIT) for seconds in samples]).items():
            shift = max(units.bit_length() - _FINE - 1, 0)
            bucket = (shift << _FINE) + (max(units, 16) >> shift) - 16
            counts[min(bucket, last)] += times * weight
        self.count += len(samples) * weight
        self.total += sum(samples) * weight
        self.longest = max(self.longest, *samples)
        samples.clear()

    def percentile(self, share: float) -> float:
        """Answer the seconds that *share* (0 to 1) of the durations did not exceed."""
        left = share * self.count
        for bucket, count in enumerate(self._counts):
            left -= count
            if count and left <= 0:
                middle = ((bucket & 15) + 16.5) * (1 << (bucket >> 4)) / _UNIT
                return min(middle, self.longest)
        return self.longest
