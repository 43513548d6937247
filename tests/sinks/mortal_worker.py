"""A pipeline with a journal that kills itself, as ``kill -9`` does, at a given point."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import anyio

import genai_pipeline as gp
from genai_pipeline.sinks import Disk
from tests import canary
from tests.sinks.mortal_sinks import IN_FLIGHT, KINDS, RECORDS

FOLDER, KIND = Path(sys.argv[1]), sys.argv[2]
POINT, WHEN = sys.argv[3], float(sys.argv[4])
_seen: dict[str, int] = {}


def die() -> None:
    """Be gone at once."""
    os.kill(os.getpid(), signal.SIGKILL)


def pass_point(name: str) -> None:
    """Die here if this is the point, and the time."""
    _seen[name] = _seen.get(name, 0) + 1
    if name == POINT and _seen[name] == WHEN:
        die()


class MortalDisk(Disk):
    """A disk during whose calls one may die; a write is done by half then."""

    def write(self, fd: int, data: memoryview, offset: int) -> int:
        _seen["disk"] = _seen.get("disk", 0) + 1
        if POINT == "disk" and _seen["disk"] == WHEN:
            super().write(fd, data[: len(data) // 2], offset)
            die()
        return super().write(fd, data, offset)

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        pass_point("disk")
        return super().open(path, flags, mode)

    def cut(self, fd: int, size: int) -> None:
        pass_point("disk")
        super().cut(fd, size)

    def sync(self, fd: int) -> None:
        pass_point("disk")
        super().sync(fd)

    def sync_folder(self, folder: Path) -> None:
        pass_point("disk")
        super().sync_folder(folder)

    def replace(self, source: Path, target: Path) -> None:
        pass_point("disk")
        super().replace(source, target)

    def publish(self, source: Path, target: Path) -> None:
        pass_point("disk")
        super().publish(source, target)

    def remove(self, path: Path) -> None:
        pass_point("disk")
        super().remove(path)


def answer(request: gp.Request) -> str:
    """Put the call on the bill, then answer it."""
    bill = os.open(FOLDER / "bill", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(bill, f"{request.prompt}\n".encode())
    os.close(bill)
    return request.prompt.capitalize()


model = gp.testing.Script.of(answer)


async def ask(number: int) -> str:
    """Make the paid call."""
    return (
        await model(gp.Request(f"say {number}", system=canary.PROMPT, max_output_tokens=9))
    ).text


def halves(text: str) -> list[dict[str, Any]]:
    """Make two children of one record."""
    record = gp.current_record()
    assert record is not None
    return [{"key": f"{record.key}/{half}", "text": text, "half": half} for half in (0, 1)]


async def main() -> None:
    """Run to the end, or die."""
    (FOLDER / "sink").mkdir(exist_ok=True)
    inner = KINDS[KIND].make(FOLDER / "sink", MortalDisk())

    class Mortal:
        async def __aenter__(self) -> None:
            await inner.__aenter__()

        async def __aexit__(self, *error: object) -> None:
            await inner.__aexit__(*error)

        async def __call__(self, record: gp.Record[Any]) -> None:
            await inner(record)
            pass_point("after the sink")

        publishes_at_end = getattr(inner, "publishes_at_end", False)

    pipeline = gp.Pipeline(
        source=gp.sources.Values(range(RECORDS)),
        stage=gp.chain(gp.map(ask), gp.flat_map(halves)),
        sink=Mortal(),
        journal=gp.journals.Sqlite(FOLDER / "run.db", ballast=0),
        max_in_flight=IN_FLIGHT,
    )
    if POINT == "time":
        threading.Timer(WHEN, die).start()
    report = await pipeline.run()
    print(json.dumps(report.to_dict()))
    sys.stdout.flush()
    os._exit(0)  # without waiting for the timer


if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[5])
