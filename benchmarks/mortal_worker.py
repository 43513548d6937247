"""Workers for `benchmarks.kill_restart`: the same job done in several ways, to be killed."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import httpx
import tenacity

import genai_pipeline as gp

IN_FLIGHT = 16
STEPS = 3
TOKENS = 60
PRICE = "10"
"""US dollars for a million tokens, as the server counts them: 60 for each answer."""

Ask = Callable[[str], Awaitable[str]]


async def job(record: int, ask: Ask) -> str:
    """Draft, review, rewrite: three calls, each of which needs the answer before."""
    text = ""
    for step in range(STEPS):
        text = await ask(f"{record}.{step}")
    return text


class Answers:
    """Calls by hand, tried again, with a cap that counts the answers which a file remembers."""

    def __init__(self, folder: Path, url: str, cap: int | None) -> None:
        self._url, self._cap = url, cap
        spent = folder / "spent"
        self._calls = len(spent.read_bytes()) if spent.exists() else 0
        self._tally = spent.open("ab", buffering=0)
        self._client = httpx.AsyncClient(timeout=30)

    async def ask(self, prompt: str) -> str:
        """Make one call, unless there were too many."""
        if self._cap is not None and self._calls >= self._cap:
            os._exit(0)
        messages = [{"role": "user", "content": prompt}]
        answer = await self._client.post(
            f"{self._url}/chat/completions", json={"model": "simulated", "messages": messages}
        )
        answer.raise_for_status()
        self._calls += self._tally.write(b".")
        text: str = answer.json()["choices"][0]["message"]["content"]
        return text


async def naive(folder: Path, url: str, count: int, cap: int | None) -> None:
    """Tasks behind a semaphore, calls tried again, a line for each record that is done."""
    answers, turns = Answers(folder, url, cap), asyncio.Semaphore(IN_FLIGHT)
    done = _lines(folder / "out.jsonl")
    retried = tenacity.retry(
        stop=tenacity.stop_after_attempt(5), wait=tenacity.wait_exponential(0.1)
    )
    with (folder / "out.jsonl").open("a") as out:

        async def work(record: int) -> None:
            async with turns:
                line = json.dumps([record, await job(record, retried(answers.ask))])
                print(line, file=out, flush=True)

        await asyncio.gather(*(work(each) for each in range(count) if each not in done))


async def dbos(folder: Path, url: str, count: int, cap: int | None) -> None:
    """Durable workflows of DBOS over SQLite: each call is a step, and so is writing the line."""
    from dbos import DBOS, SetWorkflowID  # noqa: PLC0415 - a peer, not always installed

    DBOS(
        config={
            "name": "mortal",
            "system_database_url": f"sqlite:///{folder / 'dbos.sqlite'}",
            "application_version": "1",
            "log_level": "ERROR",
        }
    )
    answers: list[Answers] = []

    @DBOS.step(retries_allowed=True, max_attempts=5, interval_seconds=0.1)
    async def ask(prompt: str) -> str:
        if not answers:  # in the event loop of the workflows
            answers.append(Answers(folder, url, cap))
        return await answers[0].ask(prompt)

    @DBOS.step()
    async def write(line: str) -> None:
        with (folder / "out.jsonl").open("a") as out:
            print(line, file=out, flush=True)

    @DBOS.workflow()
    async def work(record: int) -> None:
        await write(json.dumps([record, await job(record, ask)]))

    DBOS.launch()
    await DBOS.register_queue_async(
        "records", worker_concurrency=IN_FLIGHT, polling_interval_sec=0.02
    )
    handles = []
    for record in range(count):
        with SetWorkflowID(str(record)):  # one that has begun, or ended, is not begun again
            handles.append(await DBOS.enqueue_workflow_async("records", work, record))
    for handle in handles:
        await handle.get_result()


def _lines(path: Path) -> set[int]:
    lines = path.read_text().splitlines() if path.exists() else []
    return {json.loads(line)[0] for line in lines if line.endswith("]")}


async def ours(folder: Path, url: str, count: int, cap: int | None) -> None:
    """Run a pipeline with a journal."""
    model = gp.providers.OpenAI("simulated", base_url=url, api_key="sk-none")

    async def ask(prompt: str) -> str:
        return (await model(gp.Request(prompt, max_output_tokens=TOKENS))).text

    async def work(record: int) -> list[object]:
        return [record, await job(record, ask)]

    one = gp.Budget(cap=PRICE).cap * TOKENS / 1_000_000
    pipeline = gp.Pipeline(
        source=gp.sources.Values(range(count)),
        stage=gp.map(work),
        sink=gp.sinks.JsonLines(folder / "out.jsonl"),
        journal=gp.Sqlite(folder / "run.db"),
        budgets=[] if cap is None else [gp.Budget(cap=one * cap, window="total")],
        prices=gp.PriceBook({"simulated": {"input": "0", "output": PRICE}}),
        max_in_flight=IN_FLIGHT,
    )
    await pipeline.run()


def main() -> None:
    """Do the job."""
    kind, folder, url, count, cap = sys.argv[1:]
    work = {"naive": naive, "dbos": dbos, "ours": ours}[kind]
    anyio.run(work, Path(folder), url, int(count), int(cap) or None)


if __name__ == "__main__":
    main()
