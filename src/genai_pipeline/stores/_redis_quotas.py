"""`RedisQuotas`: quotas that processes share through Redis."""

from __future__ import annotations

import json

import attrs

from genai_pipeline._quotas import QuotaAsk, QuotaReply
from genai_pipeline.stores._redis import RedisScripts
from genai_pipeline.stores._redis_quotas_script import SCRIPT

__all__ = ["RedisQuotas"]

_FORGOTTEN_AFTER = 60
_GRACE = 0.25


@attrs.define(kw_only=True, eq=False)
class RedisQuotas(RedisScripts):
    """
    Keeps quotas for all processes, on one Redis or Valkey server and its clock.

    Give it to `SharedBuckets`; several may share it. Of each quota there are two keys, of one slot
    in a cluster; they are forgotten when the buckets are full again anyway. A server that lost
    its data begins with full buckets, which allows one burst.
    """

    prefix: str = "genai_pipeline:quota:"
    """What the keys begin with."""

    async def exchange(self, name: str, ask: QuotaAsk, /) -> QuotaReply:
        """Do what *ask* says with the quota *name*, in one indivisible step."""
        message = attrs.asdict(ask, filter=lambda _, value: value is not None)
        message |= {"forget": _FORGOTTEN_AFTER, "grace": _GRACE}
        keys = [f"{self.prefix}{{{name}}}:{part}" for part in ("levels", "members")]
        reply = json.loads(await self.run(SCRIPT, keys, json.dumps(message)))
        return QuotaReply(
            granted=reply["granted"],
            wait=reply["wait"],
            blocked=reply["blocked"],
            members=reply["members"],
            levels=tuple(reply["levels"]),
            extras=tuple(reply["extras"]),
        )
