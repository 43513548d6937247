"""Workers for `benchmarks.kill_restart`: the same job done in several ways, to be killed."""

from __future__ import annotations

import asyncio
import json
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


async def naive(folder: Path, url: str, count: int, cap: int | None) -> None:
    """Tasks behind a semaphore, calls tried again, a line for each record that is done."""
    done, spent, turns = (
        _lines(folder / "out.jsonl"),
        folder / "spent",
        asyncio.Semaphore(IN_FLIGHT),
    )
    calls = len(spent.read_bytes()) if spent.exists() else 0
    with (folder / "out.jsonl").open("a") as out, spent.open("ab", buffering=0) as tally:
        async with httpx.AsyncClient(timeout=30) as client:

            @tenacity.retry(
                stop=tenacity.stop_after_attempt(5), wait=tenacity.wait_exponential(0.1)
            )
            async def ask(prompt: str) -> str:
                nonlocal calls
                if cap is not None and calls >= cap:
                    raise SystemExit
                messages = [{"role": "user", "content": prompt}]
                answer = await client.post(
                    f"{url}/chat/completions", json={"model": "simulated", "messages": messages}
                )
                answer.raise_for_status()
                calls += tally.write(b".")
                text: str = answer.json()["choices"][0]["message"]["content"]
                return text

            async def work(record: int) -> None:
                async with turns:
                    line = json.dumps([record, await job(record, ask)])
                    print(line, file=out, flush=True)

            await asyncio.gather(*(work(each) for each in range(count) if each not in done))


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
    work = {"naive": naive, "ours": ours}[kind]
    anyio.run(work, Path(folder), url, int(count), int(cap) or None)


if __name__ == "__main__":
    main()
