"""Which quotas there are: those given, and those that the provider tells."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from genai_pipeline.events import emit
from genai_pipeline.resilience._buckets import Needs, Quota
from genai_pipeline.resilience._events import QuotaLearned
from genai_pipeline.resilience._told_limits import DAY, Told

__all__ = ["QuotaBook"]

_DAILY = "_per_day"
_MINUTE = 60.0


@attrs.define(kw_only=True)
class QuotaBook:
    """Knows the quotas of one limit, and how they change by what the provider tells."""

    name: str
    given: Needs
    per: float
    burst: float
    share: float
    quotas: dict[str, Quota] = attrs.field(init=False)
    counts_tokens: bool = attrs.field(init=False)
    """Whether any quota is one of tokens."""

    one_of_each: Needs = attrs.field(init=False)
    """What a call needs when no quota is one of tokens."""

    _heard: dict[str, float] = attrs.field(factory=dict, init=False)
    """The limits told last."""

    def __attrs_post_init__(self) -> None:
        self.quotas = {
            name: self._quota(name, limit, self.per) for name, limit in self.given.items()
        }
        self._read_names()

    def learn(self, told: Mapping[str, Told]) -> bool:
        """
        Obey lower limits, and those of which none is given; answer whether that is new.

        *told* is by the name of the quota, see `dimension_of`.
        """
        changed = False
        for name, one in told.items():
            if one.limit is None or one.limit == self._heard.get(name):
                continue
            self._heard[name] = one.limit
            quota = self._told(name, one.limit)
            if quota is not None and quota != self.quotas.get(name):
                self.quotas[name] = quota
                self._read_names()
                changed = True
                emit(QuotaLearned(name=self.name, dimension=name, limit=one.limit, per=quota.per))
        return changed

    def _read_names(self) -> None:
        self.counts_tokens = any("tokens" in name for name in self.quotas)
        self.one_of_each = dict.fromkeys(self.quotas, 1.0)

    def _told(self, name: str, limit: float) -> Quota | None:
        given = self.given.get(name)
        if given is None:
            return self._quota(name, limit, _MINUTE)
        if self.per != _MINUTE and not name.endswith(_DAILY):
            return None  # ours and theirs are not for the same time
        return self._quota(name, min(limit, given), self.per)

    def _quota(self, name: str, limit: float, per: float) -> Quota:
        limit *= self.share
        if name.endswith(_DAILY):
            return Quota(limit=limit, per=DAY, burst=limit, calendar=True)
        burst = limit * min(self.burst, per) / per
        return Quota(limit=limit, per=per, burst=max(1.0, burst))


def dimension_of(dimension: str, told: Told) -> str:
    """Answer the name of the quota that *told* is about: the day's has a name of its own."""
    return dimension + _DAILY if told.is_daily else dimension
