"""Erasing subjects of a world between its processes, and what must be true of it then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

import genai_pipeline as gp

from .simulated_ports import Dead, Life

if TYPE_CHECKING:
    from .simulation import World

__all__ = ["ErasurePort"]


@attrs.define(eq=False)
class ErasurePort:
    """Erases what the plan of a world says, until it is done, and looks for what is left."""

    world: World
    keys: set[str] = attrs.field(factory=set)
    """The records that were erased."""

    regathered: set[int] = attrs.field(factory=set)
    """Those who were in a group with somebody who was erased."""

    _done: set[int] = attrs.field(factory=set)

    def name(self, subject: int) -> str:
        """Answer what the journal knows a subject by."""
        return f"subject-{self.world.plan.seed:08x}-{subject}"

    def canary(self, number: int) -> str:
        """Answer what is in all that is asked and answered for a record."""
        return f"canary{self.world.plan.seed:08x}n{number}z"

    def allows(self, value: list[int]) -> bool:
        """Whether an output may be another than before, since its group was taken apart."""
        return not self.regathered.isdisjoint(value)

    async def before(self, process: int) -> None:
        """Erase who is to be before the process of this number."""
        for ordinal, (due, subject) in enumerate(self.world.plan.erasures):
            if due <= process and ordinal not in self._done:
                self._done.add(ordinal)
                while not await self._erase(self.name(subject)):
                    pass
                self._look(self.name(subject))

    async def _erase(self, subject: str) -> bool:
        """Erase in a process of its own; answer whether it was told that it is done."""
        world, life = self.world, Life(self.world)
        life.open_journal()
        try:
            async with life.inner as journal:
                would = await journal.erase(subject, dry_run=True)
                self._compare(subject, set(would.keys))
                for key in would.keys:
                    self._forget(key)
                erased = await life.use("erase", lambda: journal.erase(subject))
                if erased != would:
                    world.wrong(f"O10: erased were {erased}, where {would} was told")
        except (Dead, gp.errors.StorageFailed):
            if not (life.sick or life.gone):
                raise
            world.saw("an erasure that was interrupted")
            return False
        finally:
            life.die()
        return True

    def _compare(self, subject: str, told: set[str]) -> None:
        """Expect all records of a subject to be told which were claimed, and nobody else's."""
        world = self.world
        theirs = {k for k in world.keys if world.attributes(int(k))["customer"] == subject}
        claimed = theirs & {*world.items.values()} - self.keys
        if not claimed <= told <= theirs:
            world.wrong(f"O10: of {subject} are {theirs}, and to be erased are {told}")

    def _forget(self, key: str) -> None:
        """Expect nothing of a record any more, nor of what was kept of groups with it."""
        world = self.world
        if key in self.keys:
            return
        self.keys.add(key)
        ended = world.ends.setdefault(key, [])
        world.saw("erased after its end" if ended else "erased before its end")
        if not ended:
            ended.append("erased")
        world.doubted_ends.pop(key, None)
        canary = self.canary(int(key))
        for prompt in [each for each in world.prompts if canary in each]:
            world.prompts.discard(prompt)
            world.unkept[prompt] += 1
        for call in [each for each, body in world.kept.items() if canary.encode() in body]:
            del world.kept[call]
        for prompt in [each for each in world.doubted_answers if canary in each]:
            del world.doubted_answers[prompt]
        self._take_groups_apart(canary)

    def _take_groups_apart(self, canary: str) -> None:
        world = self.world
        if not world.plan.gathers:
            return
        for prompt in [each for each in world.billed if canary in each]:
            members = [n for n in range(world.plan.records) if self.canary(n) in prompt]
            self.regathered |= set(members)
            if len(members) > 1:
                world.saw("gathered anew, since somebody was erased")

    def _look(self, subject: str) -> None:
        world = self.world
        files = {path.name: path.read_bytes() for path in world.folder.iterdir()}
        if world.disk is not None:
            files |= {
                name: bytes(content)
                for name, content in world.disk.files.items()
                if not name.startswith("temporary")
            }
        for needle in (subject, *(self.canary(int(key)) for key in self.keys)):
            for name, content in files.items():
                if needle.encode() in content:
                    world.wrong(f"O10: {needle} was erased, and is in {name}")
