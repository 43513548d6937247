"""A pipeline over a journal in a file that kills itself, as ``kill -9`` does, at a given point."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio

import genai_pipeline as gp
from genai_pipeline._journal import CallEnd, Intent, ItemEnd, Settled
from genai_pipeline.journals import Sqlite
from tests import canary
from tests.journaled.mortal_points import RECORDS

FOLDER, PORT, SHAPE = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
POINT, NUMBER = sys.argv[4], int(sys.argv[5])
_seen: dict[str, int] = {}


def pass_point(name: str) -> None:
    """Die here if this is the point, and the time."""
    _seen[name] = _seen.get(name, 0) + 1
    if name == POINT and _seen[name] == NUMBER:
        os.kill(os.getpid(), signal.SIGKILL)


def append(name: str, line: str) -> None:
    """Write a line that survives."""
    with (FOLDER / name).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


class MortalSqlite(Sqlite):
    """A journal around whose commits one may die."""

    async def begin_call(self, intent: Intent, /) -> int:
        pass_point("before T1")
        number = await super().begin_call(intent)
        pass_point("after T1")
        return number

    async def end_call(self, call: int, end: CallEnd, /) -> Settled:
        pass_point("before T2")
        settled = await super().end_call(call, end)
        pass_point("after T2")
        return settled

    async def end_item(self, item: bytes, end: ItemEnd, /) -> None:
        pass_point("before T3")
        await super().end_item(item, end)
        pass_point("after T3")


async def call(request: gp.Request) -> gp.Response:
    """Ask the model in the other process."""
    async with await anyio.connect_tcp("127.0.0.1", PORT) as stream:
        pass_point("before sending")
        await stream.send(f"{request.prompt}\n".encode())
        pass_point("sent")
        answer = b""
        while not answer.endswith(b"\n"):
            answer += await stream.receive()
    return gp.Response(answer.decode().strip(), usage=gp.Usage(input_tokens=1), model="double")


model = gp.wrap(call, gp.Journaled(provider="double", model="double"))


async def ask(value: Any) -> Any:
    """Make one call."""
    return (await model(gp.Request(json.dumps(value), system=canary.PROMPT))).text


async def thrice(value: Any) -> Any:
    """Make three calls."""
    return [await ask([value, number]) for number in range(3)]


async def split(value: Any) -> list[Any]:
    """Make two of one, after a call."""
    await ask(value)
    return [[value, 0], [value, 1]]


STAGES: dict[str, gp.Stage[Any, Any]] = {
    "1 to 1": gp.map(ask),
    "1 to N": gp.chain(gp.flat_map(split), gp.map(ask), fan_out=1),
    "N to 1": gp.chain(gp.gather(2, linger=0.2), gp.map(ask)),
    "three calls": gp.map(thrice),
}


class Source:
    """Numbers, some of which were settled by an earlier process."""

    async def __aiter__(self) -> AsyncIterator[gp.Delivery[int]]:
        for number in range(RECORDS):
            yield gp.Delivery(gp.Record(number, str(number)), self._settler(str(number)))

    def _settler(self, key: str) -> Any:
        async def settle(error: Exception | None) -> None:
            pass_point("before settling")
            append("settled", f"{key} {error is None}")

        return settle


async def sink(record: gp.Record[Any]) -> None:
    """Write a line."""
    pass_point("before the sink")
    append("out", json.dumps([record.key, record.value]))
    pass_point("after the sink")


async def main() -> None:
    """Run to the end, or die."""
    pipeline = gp.Pipeline(
        source=Source(),
        stage=STAGES[SHAPE],
        sink=sink,
        journal=MortalSqlite(FOLDER / "run.db", ballast=0),
        max_in_flight=2 if SHAPE == "N to 1" else 1,
    )
    report = await pipeline.run()
    print(json.dumps(report.to_dict()))


if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[6])
