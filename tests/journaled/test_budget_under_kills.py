"""A budget spent by processes that are killed: what the model billed, and what the journal says."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import anyio

import genai_pipeline as gp
from genai_pipeline._journal import NANO
from genai_pipeline.journals import Sqlite

HERE = Path(__file__).parent
CAP = Decimal("0.3")
MOST_KILLS = 25
SEED = 20261126

PRICES = gp.PriceBook({"double": {"input": "1", "output": "10"}})


def budget() -> gp.Budget:
    """Answer what the worker may spend in all its lives."""
    return gp.Budget(cap=CAP, window="total")


def usage_of(prompt: str) -> gp.Usage:
    """Answer what the model uses for *prompt*: less than it may, as models do."""
    return gp.Usage(input_tokens=6, output_tokens=70 + int(prompt) % 30)


def billed(path: Path) -> Decimal:
    """Add up the model's own bill."""
    lines = path.read_text().splitlines()
    costs = (PRICES.cost("double", "double", usage_of(line), at=0.0) for line in lines)
    return sum((cost or Decimal(0) for cost in costs), Decimal(0))


def spend(folder: Path, port: str, backend: str, seconds: float | None) -> bool:
    """Let a worker spend, and kill it after *seconds*; tell whether it was done before."""
    command = [sys.executable, "-m", "tests.journaled.spending_worker", str(folder), port, backend]
    with subprocess.Popen(
        command, cwd=HERE.parent.parent, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        if worker.stdout.readline() == "used up\n":
            return True
        try:
            worker.wait(seconds)
        except subprocess.TimeoutExpired:
            worker.kill()
            return False
        assert worker.returncode == 0, "the worker failed, and tells why on stderr"
        assert worker.stdout.readline() == "used up\n"
        return True


def test_a_budget_holds_while_processes_are_killed(tmp_path: Path) -> None:
    """
    Through kills every 60 to 150 ms the bill never passes the cap, which in the end is used up.

    A journal in a file has one owner at a time, so the processes take turns.
    """
    path, kills, chance = tmp_path / "bill", 0, random.Random(SEED)
    path.touch()
    server_command = [sys.executable, str(HERE / "bill_server.py"), str(path)]
    began = time.monotonic()
    with subprocess.Popen(server_command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = server.stdout.readline().strip()
            while True:
                seconds = chance.uniform(0.06, 0.15) if kills < MOST_KILLS else None
                if spend(tmp_path, port, ("asyncio", "trio")[kills % 2], seconds):
                    break
                kills += 1
                assert billed(path) <= CAP
        finally:
            server.kill()
    bill = billed(path)

    async def look() -> tuple[int, int, int]:
        async with Sqlite(tmp_path / "run.db", ballast=0) as journal:
            assert await journal.check() == []
            (line,) = await journal.budgets()
            assert line.reserved == 0
            unknown = await journal.open_calls(limit=10_000)
            return line.spent, sum(call.charged for call in unknown), len(unknown)

    accounted, held, unknown = anyio.run(look)
    print(
        f"cap {CAP}: {kills} kills in {time.monotonic() - began:.0f} s, billed {bill}, accounted "
        f"{accounted / NANO}, of which {held / NANO} for {unknown} calls of unknown outcome"
    )
    assert kills >= 3
    assert bill * NANO <= accounted <= CAP * NANO
    assert accounted >= Decimal("0.95") * CAP * NANO
    # What the bill lacks of the cap is what calls of unknown outcome count with.
    assert bill * NANO >= accounted - held
