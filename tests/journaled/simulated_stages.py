"""The stages of simulated worlds: one call or several, one to one, one to many, many to one."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import genai_pipeline as gp

from .simulated_ports import Life, look_up, serve

__all__ = ["stage_of"]


def stage_of(life: Life) -> gp.Stage[Any, Any]:
    """Make the stage that one process runs."""
    world, ask = life.world, _asking(life)
    shape, clock = world.plan.shape, world.clock
    lost: Any = {"on_unknown": "reconcile" if world.plan.reconciles else "retry"}

    async def plain(value: list[int]) -> list[int]:
        await ask("plain", value, 3 if shape == "three" else 1)
        return value

    async def split(value: list[int]) -> list[list[int]]:
        await ask("split", value, 1)
        return [[*value, 100], [*value, 101]]

    async def sift(value: list[int]) -> bool:
        await ask("sift", value, 1)
        return sum(value) % 3 != 1

    async def joined(values: list[list[int]]) -> list[int]:
        both = [number for value in values for number in value]
        await ask("joined", both, 1)
        return both

    async def joined_again(values: list[list[int]]) -> list[int]:
        both = [number for value in values for number in value]
        await ask("joined-again", both, 1)
        return both

    if shape == "split":
        return gp.chain(gp.flat_map(split, **lost), gp.map(plain, **lost))
    if shape == "sift":
        return gp.filter(sift, **lost)
    if world.plan.gathers:
        pairs: gp.Stage[Any, Any] = gp.chain(
            gp.gather(2, linger=2, clock=clock), gp.map(joined, **lost)
        )
        if shape == "gathered":
            return pairs
        fours: gp.Stage[Any, Any] = gp.gather(2, linger=2, clock=clock, name="gather-again")
        return gp.chain(pairs, fours, gp.map(joined_again, **lost))
    return gp.map(plain, **lost)


def _asking(life: Life) -> Callable[[str, list[int], int], Awaitable[None]]:
    world, model = life.world, _model(life)

    async def ask(name: str, value: list[int], times: int) -> None:
        for ordinal in range(times):
            prompt = f"{name}{world.canaries(value)} {json.dumps(value)} {ordinal}"
            answer = await model(gp.Request(prompt, max_output_tokens=4))
            life.check()
            if answer.attributes.get("replayed"):
                world.saw("replayed")
                if prompt not in world.prompts:
                    world.find_answer(prompt)
            if answer.text != f"re {prompt}":
                world.wrong(f"O2: {answer.text} is no answer to {prompt}")
            if prompt not in world.prompts:
                world.wrong(f"O2: the answer to {prompt} is read before it is kept")
        if not world.plan.bad.isdisjoint(value):
            raise ValueError("bad")

    return ask


def _model(life: Life) -> Any:
    async def call(request: gp.Request) -> gp.Response:
        return await serve(life, request)

    async def find(call: gp.LostCall) -> Any:
        return await look_up(life, call)

    world = life.world
    finds = find if world.plan.reconciles else None
    journaled = gp.Journaled(provider="double", model="double", find=finds)
    if not world.plan.retry:
        return gp.wrap(call, journaled)
    retry = gp.Retry(on=gp.Transient, attempts=4, clock=world.clock, random=world.chance.random)
    return gp.wrap(call, retry, journaled)
