"""What must be true of a world in the end, as somebody finds it who opens its journal."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from genai_pipeline._journal import Claim
from genai_pipeline.errors import StorageFailed

if TYPE_CHECKING:
    from .simulation import World

__all__ = ["look_back"]


async def look_back(world: World, journal: Any) -> None:
    """Compare what the world knows with what its *journal* says."""
    await _resolve_doubts(world, journal)
    claims = await journal.past_calls(world.keys, "pipeline")
    for key in world.keys:
        claim, ends = claims.get(key), world.ends.get(key, [])
        if key in world.erasures.keys:
            if claim is not None and (claim.state != "filtered" or claim.calls):
                world.wrong(f"O10: {key} was erased, and the journal has {claim}")
        elif claim is None or ends != [claim.state]:
            world.wrong(f"O1: {key} ended {ends}, and the journal has {claim}")
        else:
            _look_at_faults(world, key, claim)
    for call, body in world.kept.items():
        if (await journal.answer(call)).body != body:
            world.wrong(f"O2: call {call} has another answer now")
    if world.disk is not None:
        for problem in await journal.check():
            world.wrong(f"O11: {problem}")
    await _look_at_money(world, journal)
    for prompt, times in world.billed.items():
        # What is asked for is paid for once, also where the answer was lost.
        if times > (1 if world.plan.reconciles else 1 + world.unkept[prompt]):
            world.wrong(f"O3: {prompt} is billed {times} times")
    await _look_at_rows(world, journal)
    if world.plan.gathers:
        _look_at_groups(world)


async def _look_at_rows(world: World, journal: Any) -> None:
    """See that rows are in the journal of what is done, each once, and of nothing else."""
    rows = [row["value"] for row in await journal.rows("rows")]
    gone, again = {int(key) for key in world.erasures.keys}, world.erasures.regathered
    done = [int(key) for key, ends in world.ends.items() if ends == ["done"]]
    done = [number for number in done if number not in gone]
    if world.plan.gathers:
        numbers = [number for value in rows for number in value]
        once = [number for number in numbers if number not in again]
        fine = len(once) == len(set(once)) and {*done} - again <= {*once}
        fine = fine and gone.isdisjoint(numbers)
    else:
        fine = sorted(rows) == sorted(each for number in done for each in world.outputs(number))
    if not fine:
        world.wrong(f"O6: of {done} there are the rows {rows}")


async def _resolve_doubts(world: World, journal: Any) -> None:
    for prompt, (call, _) in list(world.doubted_answers.items()):
        with suppress(StorageFailed):
            await journal.answer(call)
            world.find_answer(prompt)


async def _look_at_money(world: World, journal: Any) -> None:
    for line in await journal.budgets():
        if line.reserved:
            world.wrong("O4: money is held for no call")
    unknown = {call.call for call in await journal.open_calls(limit=10_000)}
    if len(unknown - world.begun) > world.lost_calls:
        world.wrong(f"O4: nobody made the calls {unknown - world.begun}")


def _look_at_faults(world: World, key: str, claim: Claim) -> None:
    bad, poison = int(key) in world.plan.bad, claim.crashes >= 3
    if poison:
        world.saw("a record that was carried at three deaths")
    if claim.attempts > bad + poison:
        world.wrong(f"O7: {key} has {claim.attempts} faults of its own")
    if claim.state == "dead" and not (bad or poison or claim.environment):
        world.wrong(f"O7: {key} is dead for nothing")


def _look_at_groups(world: World) -> None:
    again = world.erasures.regathered
    members: dict[str, list[int]] = {}
    for prompt in world.prompts:
        stage, numbers = prompt.rpartition(" ")[0].split(" ", 1)
        members.setdefault(stage.partition("~")[0], []).extend(json.loads(numbers))
    if any(len(numbers) != len(set(numbers)) for numbers in members.values()):
        world.wrong("O6: somebody was gathered anew after a call for his group was paid")
    written = [number for value in world.sink.values() for number in value]
    once = [number for number in written if number not in again]
    if len(once) != len(set(once)):
        world.wrong("O6: somebody was written in two groups")
    ended = {int(key) for key, ends in world.ends.items() if ends in (["done"], ["filtered"])}
    if not ended <= set(written):
        world.wrong("O6: a gathered record is done, and in no group that was written")
