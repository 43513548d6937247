"""
A pipeline over a journal in a file that kills itself, as ``kill -9`` does, at a given point.

For each line of JSON that it reads, the folder, the port, the shape, the point, its number and
the event loop, it forks a process that does the work, and prints how that ended: its exit code,
negative for a signal, and its report if it came to one.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import traceback
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs

import genai_pipeline as gp
from genai_pipeline._journal import CallEnd, Claim, Group, Intent, ItemEnd, Settled
from genai_pipeline._journal_tables import TableRows
from genai_pipeline.journals import Sqlite
from genai_pipeline.sinks import Disk
from tests import canary
from tests.journaled.mortal_points import CAP, OUTPUT, PRICES, RECORDS


@attrs.define
class Death:
    """Where this process dies, and what it has come by."""

    point: str = ""
    number: int = 0
    doing: str = ""
    seen: dict[str, int] = attrs.field(factory=dict)

    def passes(self, name: str) -> bool:
        """Tell whether *name* is the point, and this the time."""
        self.seen[name] = self.seen.get(name, 0) + 1
        return name == self.point and self.seen[name] == self.number

    def come_by(self, name: str) -> None:
        """Die here if this is the point, and the time."""
        if self.passes(name):
            os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def around(self, what: str) -> Iterator[None]:
        """Die before *what*, after it, or in its commit."""
        self.come_by(f"before {what}")
        self.doing = f"in {what}"
        yield
        self.doing = ""
        self.come_by(f"after {what}")


DEATH = Death()
FOLDER, PORT = Path(), 0


def append(name: str, line: str) -> None:
    """Write a line that survives."""
    with (FOLDER / name).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


class MortalConnection(sqlite3.Connection):
    """A connection in whose commits one may die."""

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        # What is written in one statement is committed by it.
        alone = sql.startswith("INSERT INTO written") and not self.in_transaction
        if DEATH.doing and (alone or sql == "COMMIT"):
            DEATH.come_by(DEATH.doing)
        return super().execute(sql, *parameters)


def connect(path: Path) -> Any:
    """Open *path* as a journal does."""
    return sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, factory=MortalConnection
    )


class MortalSqlite(Sqlite):
    """A journal around whose commits one may die."""

    async def claim(self, run: int, key: str, /, *, subject: str | None = None) -> Claim:
        with DEATH.around("the claim"):
            return await super().claim(run, key, subject=subject)

    async def freeze_group(self, *given: Any, **options: Any) -> Group:
        with DEATH.around("the freeze"):
            return await super().freeze_group(*given, **options)

    async def begin_call(self, intent: Intent, /) -> int:
        with DEATH.around("T1"):
            return await super().begin_call(intent)

    async def end_call(self, call: int, end: CallEnd, /) -> Settled:
        with DEATH.around("T2"):
            return await super().end_call(call, end)

    async def end_item(
        self, item: bytes, end: ItemEnd, /, *, rows: Sequence[TableRows] = ()
    ) -> None:
        with DEATH.around("T3"):
            await super().end_item(item, end, rows=rows)


class MortalDisk(Disk):
    """A disk around whose calls one may die."""

    def write(self, fd: int, data: memoryview, offset: int) -> int:
        if DEATH.passes("a file half written"):
            super().write(fd, data[: len(data) // 2], offset)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().write(fd, data, offset)

    def sync(self, fd: int) -> None:
        super().sync(fd)
        DEATH.come_by("a file synced")

    def replace(self, source: Path, target: Path) -> None:
        super().replace(source, target)
        DEATH.come_by("a file renamed")


async def call(request: gp.Request) -> gp.Response:
    """Ask the model in the other process."""
    async with await anyio.connect_tcp("127.0.0.1", PORT) as stream:
        DEATH.come_by("before sending")
        data = f"{request.prompt}\n".encode()
        await stream.send(data[:-1])
        DEATH.come_by("half sent")
        await stream.send(data[-1:])
        DEATH.come_by("sent")
        answer = await stream.receive(1)
        DEATH.come_by("in the body")
        while not answer.endswith(b"\n"):
            answer += await stream.receive()
    return gp.Response(answer.decode().strip(), usage=gp.Usage(input_tokens=1), model="double")


model = gp.wrap(call, gp.Journaled(provider="double", model="double"))


async def ask(value: Any) -> Any:
    """Make one call."""
    request = gp.Request(json.dumps(value), system=canary.PROMPT, max_output_tokens=OUTPUT)
    return (await model(request)).text


async def thrice(value: Any) -> Any:
    """Make three calls."""
    return [await ask([value, number]) for number in range(3)]


async def split(value: Any) -> list[Any]:
    """Make two of one, after a call."""
    await ask(value)
    return [[value, 0], [value, 1]]


def stage_of(shape: str) -> gp.Stage[Any, Any]:
    """Make the stage of this *shape*, which leaves in a table what the sink gets."""
    table = gp.tee(gp.sinks.JournalTable("out"))
    if shape == "1 to N":
        return gp.chain(gp.flat_map(split), gp.map(ask), table, fan_out=1)
    if shape == "N to 1":
        return gp.chain(gp.gather(2, linger=0.2), gp.map(ask), table)
    return gp.chain(gp.map(ask if shape == "1 to 1" else thrice), table)


class Source:
    """Numbers, some of which were settled by an earlier process."""

    async def __aiter__(self) -> AsyncIterator[gp.Delivery[int]]:
        for number in range(RECORDS):
            yield gp.Delivery(gp.Record(number, str(number)), self._settler(str(number)))

    def _settler(self, key: str) -> Any:
        async def settle(error: Exception | None) -> None:
            DEATH.come_by("before settling")
            append("settled", f"{key} {error is None}")

        return settle


class Sink:
    """Writes a file for each record, and then a line."""

    def __init__(self) -> None:
        self._files = gp.sinks.Files(FOLDER / "files", disk=MortalDisk())

    async def __aenter__(self) -> None:
        await self._files.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        await self._files.__aexit__(*error)  # type: ignore[arg-type]

    async def __call__(self, record: gp.Record[Any]) -> None:
        DEATH.come_by("before the sink")
        await self._files(record)
        append("out", json.dumps([record.key, record.value]))
        DEATH.come_by("after the sink")


async def work(shape: str) -> None:
    """Run to the end, or die."""
    pipeline = gp.Pipeline(
        source=Source(),
        stage=stage_of(shape),
        sink=Sink(),
        journal=MortalSqlite(FOLDER / "run.db", ballast=0, connect=connect),
        max_in_flight=2 if shape == "N to 1" else 1,
        budgets=[gp.Budget(cap=CAP, window="total")],
        prices=PRICES,
    )
    report = await pipeline.run()
    (FOLDER / "report").write_text(json.dumps(report.to_dict()))


def live(folder: str, port: int, shape: str, point: str, number: int, backend: str) -> None:
    """Do the work in this process."""
    global FOLDER, PORT, DEATH
    FOLDER, PORT, DEATH = Path(folder), port, Death(point, number)
    try:
        if point.endswith("take-over"):
            DEATH.doing = point
        anyio.run(work, shape, backend=backend)
    except BaseException:  # noqa: BLE001 - told, and no way back into the parent's code
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> None:
    """Fork a process for each line."""
    for line in sys.stdin:
        given = json.loads(line)
        report = Path(given[0], "report")
        report.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            live(*given)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found = json.loads(report.read_text()) if report.exists() else None
        print(json.dumps([code, found]), flush=True)


if __name__ == "__main__":
    main()
