"""
A pipeline over a journal in a file that is stopped when as many calls are on their way as may be.

It prints the prompt of each call that is given up, ``stopped`` before that, and its report.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import anyio

import genai_pipeline as gp
from genai_pipeline.journals import Sqlite
from tests.journaled.mortal_points import CAP, OUTPUT, PRICES

RECORDS, IN_FLIGHT, TIMEOUT = 10, 6, 0.5
on_their_way: list[str] = []
stops: list[int] = [signal.SIGSTOP]


def stop_once() -> None:
    """Be stopped, as by somebody else, when all that may be is on its way."""
    if len(on_their_way) == IN_FLIGHT and stops:
        print("stopped", flush=True)
        os.kill(os.getpid(), stops.pop())


async def call(request: gp.Request) -> gp.Response:
    """Ask the model in the other process, and tell if that is given up."""
    try:
        answer = await exchange(request.prompt)
    except anyio.get_cancelled_exc_class():
        print(request.prompt, flush=True)
        raise
    return gp.Response(answer.decode().strip(), usage=gp.Usage(input_tokens=1), model="double")


async def exchange(prompt: str) -> bytes:
    """Send a line and wait for one, after which nothing more is waited for that may be cut off."""
    stream = await anyio.connect_tcp("127.0.0.1", int(sys.argv[2]))
    try:
        await stream.send(f"{prompt}\n".encode())
        on_their_way.append(prompt)
        try:
            stop_once()
            return await stream.receive()
        finally:
            on_their_way.remove(prompt)
    finally:
        with anyio.CancelScope(shield=True):
            await stream.aclose()


model = gp.wrap(
    call,
    gp.Retry(on=gp.Transient, attempts=50, first_wait=0.01, max_wait=0.01, budget=None),
    gp.Timeout(TIMEOUT),
    gp.Journaled(provider="double", model="double"),
)


async def ask(number: int) -> str:
    """Make one call."""
    return (await model(gp.Request(str(number), max_output_tokens=OUTPUT))).text


async def main() -> None:
    """Run to the end."""
    folder = Path(sys.argv[1])
    pipeline = gp.Pipeline(
        source=gp.sources.Values(range(RECORDS)),
        stage=gp.map(ask),
        sink=gp.sinks.JsonLines(folder / "out.jsonl"),
        journal=Sqlite(folder / "run.db", ballast=0),
        max_in_flight=IN_FLIGHT,
        budgets=[gp.Budget(cap=CAP, window="total")],
        prices=PRICES,
    )
    report = await pipeline.run()
    print(json.dumps(report.to_dict()), flush=True)


if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[3])
