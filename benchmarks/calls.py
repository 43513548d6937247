"""Calls per second to a server with latency: ours beside the HTTP clients it stands on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

import aiohttp
import anyio
import attrs
import httpx
import httpx_aiohttp

import genai_pipeline as gp
from benchmarks.harness import Goal, Table, take_turns
from genai_pipeline._wrap import Wrapped

IN_FLIGHT = 256
LATENCY = 0.05

Client = Callable[[str, int], Awaitable[int]]


@contextmanager
def simulated_server(*bill: str) -> Iterator[str]:
    """Run the server in a process of its own, which keeps a *bill*; answer its base URL."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.server", str(LATENCY), *bill],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        finally:
            server.stdin.close()
            server.wait(10)


def prompts(count: int) -> Iterator[str]:
    """Answer different prompts."""
    return (f"Summarise ticket number {number} in one line, please." for number in range(count))


def body(prompt: str) -> dict[str, object]:
    """Answer what every client here sends."""
    return {"model": "simulated", "messages": [{"role": "user", "content": prompt}]}


async def _workers(count: int, call: Callable[[str], Awaitable[str]]) -> int:
    """Keep `IN_FLIGHT` calls going over all prompts, as plainly as can be."""
    waiting = prompts(count)
    answers: dict[str, str] = {}

    async def work() -> None:
        for prompt in waiting:
            answers[prompt] = await call(prompt)

    async with anyio.create_task_group() as group:
        for _ in range(IN_FLIGHT):
            group.start_soon(work)
    return len(answers)


async def raw_aiohttp(url: str, count: int) -> int:
    """Call with aiohttp alone."""
    headers = {"authorization": "Bearer sk-none"}
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def call(prompt: str) -> str:
            async with session.post(f"{url}/chat/completions", json=body(prompt)) as answer:
                text: str = json.loads(await answer.read())["choices"][0]["message"]["content"]
                return text

        return await _workers(count, call)


async def httpx_over_aiohttp(url: str, count: int) -> int:
    """Call with httpx over aiohttp's connections."""
    limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
    async with httpx_aiohttp.HttpxAiohttpClient(
        limits=limits, timeout=60, headers={"authorization": "Bearer sk-none"}
    ) as client:

        async def call(prompt: str) -> str:
            answer = await client.post(f"{url}/chat/completions", json=body(prompt))
            text: str = answer.json()["choices"][0]["message"]["content"]
            return text

        return await _workers(count, call)


def _provider(url: str) -> gp.providers.OpenAI:
    return gp.providers.OpenAI("simulated", base_url=url, api_key="sk-none")


async def ours(url: str, count: int) -> int:
    """Run a whole pipeline: source, provider, sink, with events and accounting."""
    model = _provider(url)
    sink: gp.sinks.Collect[str] = gp.sinks.Collect()

    async def ask(prompt: str) -> str:
        return (await model(gp.Request(prompt))).text

    pipeline = gp.Pipeline(
        source=gp.sources.Values(prompts(count)),
        stage=gp.map(ask),
        sink=sink,
        max_in_flight=IN_FLIGHT,
    )
    return (await pipeline.run()).written


async def resilient(url: str, count: int) -> int:
    """Call one provider object behind the standard stack, from as many workers."""
    return await _ask(gp.resilient(_provider(url)), count)


async def resilient_at_once(url: str, count: int) -> int:
    """Do the same without the five round trips in which the limit doubles from 10 calls to 256."""
    limit = gp.AdaptiveLimit(initial=IN_FLIGHT, ceiling=IN_FLIGHT)
    return await _ask(gp.resilient(_provider(url), concurrency=limit), count)


async def _ask(model: Wrapped[gp.Request, gp.Response], count: int) -> int:
    async def call(prompt: str) -> str:
        return (await model(gp.Request(prompt))).text

    async with model:
        return await _workers(count, call)


@attrs.frozen
class _Case:
    """Measures a client: its calls per second, and the processor's time of this process."""

    client: Client
    backend: str = "asyncio"
    seconds: list[float] = attrs.field(factory=list)
    """Of the processor, for each thousand calls."""

    def rate(self, url: str, count: int) -> float:
        """Answer the calls per second of one round."""
        began, busy = time.perf_counter(), time.process_time()
        done = anyio.run(self.client, url, count, backend=self.backend)
        seconds = time.perf_counter() - began
        self.seconds.append((time.process_time() - busy) / count * 1000)
        assert done == count, f"{done} of {count} calls were answered"
        return count / seconds


def measure(*, smoke: bool = False) -> list[Table]:
    """Measure by turns, against one server."""
    count = 300 if smoke else 10_000
    cases = {
        "aiohttp alone": _Case(raw_aiohttp),
        "httpx over aiohttp": _Case(httpx_over_aiohttp),
        "gp.resilient, asyncio": _Case(resilient),
        "the same, its limit known": _Case(resilient_at_once),
        "gp.resilient, trio": _Case(resilient, "trio"),
        "a pipeline, asyncio": _Case(ours),
        "a pipeline, trio": _Case(ours, "trio"),
    }
    with simulated_server() as url:
        turns = {name: partial(case.rate, url, count) for name, case in cases.items()}
        runs = take_turns(turns, 1 if smoke else 5)
    told = f"{count:,} of them, {IN_FLIGHT} in flight, {LATENCY * 1000:g} ms latency"
    rates = Table(
        title=f"Calls: {told}",
        unit="calls/s",
        runs=runs,
        baseline="aiohttp alone",
        goals=(
            Goal("gp.resilient, asyncio", at_least=0.8, ratio=True),
            Goal("a pipeline, asyncio", at_least=0.8, ratio=True),
        ),
        notes=(f"the latency alone allows {IN_FLIGHT / LATENCY:,.0f}/s",),
    )
    busy = Table(
        title=f"Calls: {told}",
        unit="s of CPU per 1,000 calls",
        runs={name: case.seconds[-len(runs[name]) :] for name, case in cases.items()},
        baseline="aiohttp alone",
        goals=(Goal("gp.resilient, asyncio", at_most=0.6),),
    )
    return [rates, busy]
