"""A budget spent by processes that are killed: what the model billed, and what the journals say."""

from __future__ import annotations

import random
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

import genai_pipeline as gp
from genai_pipeline._journal import NANO
from genai_pipeline.journals import Sqlite

HERE = Path(__file__).parent
PROCESSES = 4
KILLS = 15
IN_FLIGHT = 3
OUTPUT = 100
SEED = 20261126

PRICES = gp.PriceBook({"double": {"input": "1", "output": "10"}})

HOLD = PRICES.worst("double", "double", gp.Request("000000", max_output_tokens=OUTPUT), at=0.0)
"""What is held for a call: the most that it can cost."""

assert HOLD is not None
CAP = HOLD * 1000
"""So much that what calls of unknown outcome are held at is less than a twentieth of it."""


def usage_of(prompt: str) -> gp.Usage:
    """Answer what the model uses for *prompt*: less than it may, as models do."""
    return gp.Usage(input_tokens=6, output_tokens=OUTPUT - 30 + int(prompt) % 30)


def billed(path: Path) -> Decimal:
    """Add up the model's own bill."""
    lines = path.read_text().splitlines()
    costs = (PRICES.cost("double", "double", usage_of(line), at=0.0) for line in lines)
    return sum((cost or Decimal(0) for cost in costs), Decimal(0))


@contextmanager
def model(bill: Path) -> Iterator[str]:
    """Start the model, which writes its own bill; give its port."""
    bill.touch()
    command = [sys.executable, str(HERE / "bill_server.py"), str(bill)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


@attrs.define(eq=False)
class Workers:
    """Processes that spend, each of which is replaced when it is killed."""

    folder: Path
    port: str
    shared: bool
    """Whether all take turns at one journal, or each has its own, and its part of the money."""

    stack: ExitStack
    selector: selectors.BaseSelector = attrs.field(factory=selectors.DefaultSelector)
    begun: int = 0

    @property
    def journals(self) -> list[Path]:
        """The files that there are."""
        return [self.folder / f"{name}.db" for name in range(1 if self.shared else PROCESSES)]

    def start(self, place: int) -> None:
        """Begin a process."""
        journal = self.journals[0 if self.shared else place]
        cap = CAP / len(self.journals)
        backend = ("asyncio", "trio")[self.begun % 2]
        first = 0 if self.shared else place * 100_000
        told = (str(journal), self.port, f"{cap:f}", str(first), backend)
        worker = self.stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "tests.journaled.spending_worker", *told],
                cwd=HERE.parent.parent,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        self.stack.callback(worker.kill)
        self.begun += 1
        assert worker.stdout is not None
        self.selector.register(worker.stdout, selectors.EVENT_READ, (place, worker))

    def next_word(self) -> tuple[str, int, Any]:
        """Wait until a process says something; answer that, its place, and the process."""
        key, _ = self.selector.select()[0]
        place, worker = key.data
        word = worker.stdout.readline().strip()
        if word != "up":
            self.selector.unregister(worker.stdout)
        return word, place, worker


def spend(workers: Workers, bill: Path) -> int:
    """Let processes spend, and kill one at a time; answer how many were killed."""
    kills, chance = 0, random.Random(SEED)
    for place in range(PROCESSES):
        workers.start(place)
    done = 0
    while done < PROCESSES:
        word, place, worker = workers.next_word()
        if word == "up" and kills < KILLS:
            time.sleep(chance.uniform(0.04, 0.08))
            worker.kill()
            workers.selector.unregister(worker.stdout)
            kills += 1
            assert billed(bill) <= CAP
            workers.start(place)
        elif word != "up":
            assert word == "used up", "a worker failed, and tells why on stderr"
            done += 1
    return kills


@pytest.mark.timeout(300)
@pytest.mark.parametrize("shared", [True, False], ids=["one file", "a file each"])
@pytest.mark.thorough
def test_a_budget_holds_while_processes_are_killed(folder: Path, shared: bool) -> None:
    """
    While four processes spend and one is killed every 60 ms, the bill never passes the cap.

    In the end it comes to 95 % of it. A journal in a file has one owner at a time: either the
    processes take turns, three of them waiting, or each has a file and a quarter of the money.
    """
    bill, began = folder / "bill", time.monotonic()
    with model(bill) as port, ExitStack() as stack:
        workers = Workers(folder, port, shared, stack)
        kills = spend(workers, bill)
    total = billed(bill)

    async def look(path: Path) -> tuple[int, int, int]:
        async with Sqlite(path, ballast=0) as journal:
            assert await journal.check() == []
            (line,) = await journal.budgets()
            assert line.reserved == 0
            unknown = await journal.open_calls(limit=10_000)
            return line.spent, sum(call.charged for call in unknown), len(unknown)

    found = [anyio.run(look, path) for path in workers.journals]
    accounted, held, unknown = (Decimal(sum(each)) for each in zip(*found, strict=True))
    print(
        f"cap {CAP}: {kills} kills in {time.monotonic() - began:.0f} s, billed {total} "
        f"({total / CAP:.1%}), accounted {accounted / NANO}, of which {held / NANO} for "
        f"{unknown} calls of unknown outcome"
    )
    assert kills == KILLS
    assert total * NANO <= accounted <= CAP * NANO
    assert accounted >= Decimal("0.95") * CAP * NANO
    assert total >= Decimal("0.95") * CAP
