"""A pipeline with one record that kills whatever process it is carried by."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import anyio

import genai_pipeline as gp
from genai_pipeline.events import IsolationFailed

FOLDER, WAY = Path(os.environ["POISON_FOLDER"]), os.environ["POISON_WAY"]
RECORDS, KILLER = 50, 25
_LITTLE = 1 << 36
PRICES = gp.PriceBook({"script": {"input": "1", "output": "10"}})


def note(name: str, what: object) -> None:
    """Write a line that survives."""
    with (FOLDER / name).open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()} {what}\n")
        file.flush()
        os.fsync(file.fileno())


def answer(request: gp.Request) -> str:
    """Answer as the model, which keeps a bill."""
    note("bill", request.prompt)
    print("what stages print goes nowhere near the pipes")
    return request.prompt.upper()


MODEL = gp.resilient(gp.testing.Script.of(answer))


def deaths() -> int:
    """Answer how many processes were killed from outside so far."""
    path = FOLDER / "killed"
    return len(path.read_text().splitlines()) if path.exists() else 0


async def polish(number: int) -> str:
    """Ask the model twice; between that, die if this is the one."""
    await anyio.sleep(0.02)
    first = (await MODEL(gp.Request(f"first {number}", max_output_tokens=5))).text
    if number == KILLER:
        await anyio.sleep(0.01)  # the others of its time are under way
        if WAY in {"killed", "closure"}:
            os.kill(os.getpid(), signal.SIGKILL)
        elif WAY == "abort":
            os.abort()
        elif WAY == "segfault":
            ctypes.string_at(0)
        elif WAY == "memory":
            resource.setrlimit(resource.RLIMIT_AS, (_LITTLE, resource.RLIM_INFINITY))
            bytearray(2 * _LITTLE)
        elif WAY == "exit":
            os._exit(7)
        elif WAY in {"innocent", "refused", "object", "orphan"} and deaths() < 2:
            note("killed", number)
            os.kill(os.getpid(), signal.SIGKILL)  # as somebody else would
        elif WAY == "orphan" and deaths() == 2:
            note("killed", number)
            os.kill(os.getppid(), signal.SIGKILL)
            await anyio.sleep(50)
        elif WAY == "refused":
            raise gp.errors.InvalidRequest("no")
    second = (await MODEL(gp.Request(f"second {number}", max_output_tokens=5))).text
    if WAY == "object":
        return Unpicklable(f"{first} {second}")
    return f"{first} {second}"


class Unpicklable(str):
    """A text that cannot leave its process."""

    __slots__ = ()

    def __reduce__(self) -> Any:
        raise TypeError("this is mine")


async def keep(record: gp.Record[str]) -> None:
    """Keep what is written."""
    note("written", f"{record.key} {record.value}")


def pipeline() -> gp.Pipeline[int, str]:
    """Make the pipeline; with a closure, its stages cannot be pickled."""
    stage: Any = gp.map(polish)
    if WAY == "closure":
        stage = gp.map(lambda number: polish(number), name="polish")
    return gp.Pipeline(
        source=gp.sources.Values(range(RECORDS)),
        stage=stage,
        sink=keep,
        journal=gp.Sqlite(FOLDER / "run.db", ballast=0),
        budgets=[gp.Budget(cap="1", window="total")],
        prices=PRICES,
        max_in_flight=8,
    )


async def main() -> None:
    """Run it once, and say what came of it."""
    told: list[str] = []

    def hear(event: gp.events.Event) -> None:
        if isinstance(event, IsolationFailed):
            told.append(event.reason)

    with gp.listen(hear):
        report = await pipeline().run()
    print(json.dumps({**report.counts, "calls": report.calls, "told": told}))


if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[1])
