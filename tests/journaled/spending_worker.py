"""
A pipeline over a journal in a file that spends a budget until it is used up, or is killed.

While another process has the file, it waits for its turn.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

import genai_pipeline as gp
from genai_pipeline.journals import Sqlite

from .test_budget_under_kills import IN_FLIGHT, OUTPUT, PRICES, usage_of

told: list[str] = []
PATH, PORT, CAP, FIRST = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])


async def call(request: gp.Request) -> gp.Response:
    """Ask the model in the other process, which bills it."""
    if not told:
        told.append("up")
        print("up", flush=True)
    async with await anyio.connect_tcp("127.0.0.1", PORT) as stream:
        await stream.send(f"{request.prompt}\n".encode())
        answer = b""
        while not answer.endswith(b"\n"):
            answer += await stream.receive()
    return gp.Response(answer.decode().strip(), usage=usage_of(request.prompt), model="double")


model = gp.wrap(call, gp.Journaled(provider="double", model="double"))


async def ask(value: int) -> str:
    """Make one call."""
    return (await model(gp.Request(f"{value:06d}", max_output_tokens=OUTPUT))).text


async def sink(record: gp.Record[str]) -> None:
    """Keep nothing: what is kept is in the journal."""


async def run() -> None:
    """Run until the money is used up."""
    pipeline = gp.Pipeline(
        source=gp.sources.Values(range(FIRST, FIRST + 100_000)),
        stage=gp.map(ask),
        sink=sink,
        journal=Sqlite(PATH, ballast=0),
        budgets=[gp.Budget(cap=CAP, window="total")],
        prices=PRICES,
        max_in_flight=IN_FLIGHT,
    )
    try:
        await pipeline.run()
    except gp.RunFailed as failed:
        if not all(isinstance(each, gp.errors.BudgetExhausted) for each in failed.exceptions):
            raise


async def main() -> None:
    """Wait for the journal, and run."""
    while True:
        try:
            await run()
        except gp.ConfigurationError as error:
            if "is in use by" not in str(error):
                raise
            await anyio.sleep(0.02)
        else:
            print("used up", flush=True)
            return


if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[5])
