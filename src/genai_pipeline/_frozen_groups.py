"""Gathered groups in a journal: who belongs together is decided once, and then kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

import attrs

from genai_pipeline._group_body import members_in, packed_group
from genai_pipeline._journal import Group
from genai_pipeline._paid import CallRecorder, set_recorder
from genai_pipeline.errors import Permanent, Transient
from genai_pipeline.records import Record
from genai_pipeline.walk import SharedFate, Walk

__all__ = ["FrozenGroups", "one_of"]

_MANY = 256


def one_of(keys: Sequence[str], values: list[Any]) -> Record[Any]:
    """Answer the record made of members with *keys* and *values*."""
    named = hashlib.blake2b("\0".join(keys).encode(), digest_size=16).hexdigest()
    return Record(values, f"gathered:{named}", {"members": tuple(keys)})


class _Gathered(Protocol):
    members: list[Record[Any]]
    marks: list[bytes]
    items: set[bytes]
    fate: SharedFate


@attrs.define(eq=False)
class FrozenGroups:
    """The groups of one stage that the journal knows, and who carries them in this process."""

    _under_way: dict[bytes, SharedFate] = attrs.field(factory=dict, init=False)

    async def freeze(self, stage: str, gathered: _Gathered, recorder: CallRecorder) -> None:
        """Keep who was *gathered* with what; calls from here on are made for the group."""
        keys = [member.key for member in gathered.members]
        values = [member.value for member in gathered.members]
        body = packed_group(keys, values, gathered.items)
        group = await recorder.freeze(stage, gathered.marks, body, gathered.items)
        self._carry(group, gathered.fate, recorder)

    def resume(self, group: Group, walk: Walk, recorder: CallRecorder) -> Sequence[Record[Any]]:
        """
        Let *walk* carry a group on that was frozen before, or join the one that does.

        Answers the record that goes on; none if another carries it, or it has ended.
        """
        fate = self._under_way.get(group.item)
        if fate is not None and not fate.decided:
            walk.join(fate)
            return ()
        if group.state == "dead":
            # What was around the group failed it: then that is no fault of its members either.
            kind = Transient if group.environment else Permanent
            raise kind(
                "the group that this record was gathered into has failed; redrive its records "
                "together, and it goes on"
            )
        fate = SharedFate()
        if group.state != "claimed":
            fate.decide("filtered" if group.state == "filtered" else "written")
            walk.join(fate)
            return ()
        walk.carry(fate)
        self._carry(group, fate, recorder)
        return (one_of(*members_in(group.body)),)

    def _carry(self, group: Group, fate: SharedFate, recorder: CallRecorder) -> None:
        fate.group = group.item
        if len(self._under_way) > _MANY:
            going_on = {item: each for item, each in self._under_way.items() if not each.decided}
            self._under_way = going_on
        self._under_way[group.item] = fate
        set_recorder(recorder.for_group(group))
