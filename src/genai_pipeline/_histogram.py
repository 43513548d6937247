"""Durations, counted in buckets: constant memory however many there are."""

from __future__ import annotations

__all__ = ["Histogram"]

# Sixteen buckets for each doubling, so that a percentile is off by 4 % at most. Counted in
# units of 2**-24 s (60 ns); a bucket is the exponent and the four bits behind the leading one.
_UNIT = float(1 << 24)
_FINE = 4
_BUCKETS = 48 << _FINE


class Histogram:
    """Counts durations; answers percentiles, good to 4 %."""

    __slots__ = ("_counts", "count", "longest", "total")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.count = 0
        self.total = 0.0
        self.longest = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        units = int(seconds * _UNIT) | 16
        shift = units.bit_length() - 5
        self._counts[min((shift << 4) + (units >> shift) - 16, _BUCKETS - 1)] += 1
        self.count += 1
        self.total += seconds
        if seconds > self.longest:
            self.longest = seconds

    def percentile(self, share: float) -> float:
        """Answer the seconds that *share* (0 to 1) of the durations did not exceed."""
        left = share * self.count
        for bucket, count in enumerate(self._counts):
            left -= count
            if count and left <= 0:
                middle = ((bucket & 15) + 16.5) * (1 << (bucket >> 4)) / _UNIT
                return min(middle, self.longest)
        return self.longest
