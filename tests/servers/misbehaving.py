"""
A Chat Completions server in a process of its own that misbehaves by plan, and keeps a log.

What becomes of an attempt is drawn from the seed, its prompt and its number, so that a run meets
the same faults however its calls are timed. Only 429s come in stretches, as those of real
providers do, of a second at most, and count for no number. The log is on disk at once, and
survives a kill.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import attrs

from tests.servers.chat import completion, http

__all__ = ["FAULTS", "LIMITED", "Attempt", "MisbehavingServer", "answer_to"]

FAULTS = {
    "failed": 0.02,
    "reset before the answer": 0.005,
    "reset in the answer": 0.005,
    "slow loris": 0.005,
    "shorter than its length": 0.005,
    "longer than its length": 0.005,
    "cut between chunks": 0.005,
    "with a stray answer behind": 0.005,
}
"""What happens to which share of the attempts; the others are answered."""

LIMITED = 0.05
"""The share of the attempts that get a 429, at most."""

_STRETCH = 1000
_LATENCY = (0.02, 0.08)
_WAITS = ("retry-after: 1", "retry-after-ms: 1100")
_LORIS_PAUSE = 0.2


def answer_to(prompt: str) -> str:
    """Answer the one right answer to *prompt*."""
    return hashlib.sha256(prompt.encode()).hexdigest()


@attrs.frozen
class Attempt:
    """A request that came, on the server's clock."""

    at: float
    prompt: str
    fate: str
    not_before: float = 0.0
    """When its prompt may come again: the time of its answer and what the answer asked for."""


class MisbehavingServer:
    """The server, from ``with`` to its end, on a free port, with its log in *folder*."""

    def __init__(self, folder: Path, *, seed: int, faults: bool = True) -> None:
        self._path = folder / "attempts.jsonl"
        self._options = [str(self._path), str(seed), str(int(faults))]
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Start it, on the port it had before; return when it takes connections."""
        command = [sys.executable, "-m", "tests.servers.misbehaving", str(self.port)]
        self._process = subprocess.Popen(
            [*command, *self._options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        """Kill it: connections break, and new ones are refused."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def tell(self, word: str) -> float:
        """Let it be ``down`` (503 for everyone) or ``up``; answer its time, when it is so."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def attempts(self) -> list[Attempt]:
        """Answer all that came so far, in order."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        found = [json.loads(line) for line in lines]
        ends = {(each["prompt"], each["number"]): each for each in found if "until" in each}
        return [
            Attempt(
                each["at"],
                each["prompt"],
                each["fate"],
                ends.get((each["prompt"], each["number"]), {"until": 0.0})["until"],
            )
            for each in found
            if "fate" in each
        ]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


# In the process of its own.


class _Plan:
    """Decides what becomes of attempts, and logs them."""

    def __init__(self, log: int, seed: str, *, faults: bool) -> None:
        self.is_down = False
        self._log = log
        self._seed = seed
        self._faults = FAULTS if faults else {}
        self._limited = _STRETCH * LIMITED if faults else 0
        self._limited_until = 0.0
        self._count = _STRETCH // 2
        self._numbers: Counter[str] = Counter()
        self._drawn: Counter[str] = Counter()

    def begin(self, prompt: str) -> tuple[int, str, random.Random]:
        self._numbers[prompt] += 1
        number = self._numbers[prompt]
        self._count += 1
        dice = random.Random(f"{self._seed} {prompt} {self._drawn[prompt]}")
        if self.is_down:
            fate = "down"
        elif self._is_limited():
            fate = "rate limited"
        else:
            self._drawn[prompt] += 1
            fate = self._draw(dice.random())
        self._write(prompt=prompt, number=number, fate=fate, at=time.monotonic())
        return number, fate, dice

    def _is_limited(self) -> bool:
        place = self._count % _STRETCH
        if place >= self._limited:
            return False
        now = time.monotonic()
        if place == 0:
            self._limited_until = now + 1.0
        if now < self._limited_until:
            return True
        self._count += int(self._limited) - place
        return False

    def _draw(self, chance: float) -> str:
        for fate, share in self._faults.items():
            chance -= share
            if chance < 0:
                return fate
        return "answered"

    def refuse(self, prompt: str, number: int, header: str) -> None:
        name, _, value = header.partition(": ")
        seconds = float(value) / (1000 if name.endswith("-ms") else 1)
        self._write(prompt=prompt, number=number, until=time.monotonic() + seconds)

    def _write(self, **line: Any) -> None:
        os.write(self._log, json.dumps(line).encode() + b"\n")


class _Connection(asyncio.Protocol):
    def __init__(self, plan: _Plan) -> None:
        self._plan = plan
        self._data = b""
        self._transport: Any = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, separator, body = self._data.partition(b"\r\n\r\n")
        if not separator:
            return
        fields = (line.partition(b":") for line in head.lower().split(b"\r\n")[1:])
        length = next(int(value) for name, _, value in fields if name == b"content-length")
        if len(body) < length:
            return
        self._data = b""
        prompt = json.loads(body[:length])["messages"][-1]["content"]
        number, fate, dice = self._plan.begin(prompt)
        if fate == "down":
            self._send(http({"error": {"message": "down"}}, status="503 Service Unavailable"))
        elif fate == "reset before the answer":
            self._reset()
        else:
            self._later(dice.uniform(*_LATENCY), self._end, prompt, number, fate, dice)

    def _later(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, call, *arguments)

    def _end(self, prompt: str, number: int, fate: str, dice: random.Random) -> None:
        whole = http(completion(answer_to(prompt)))
        if fate == "rate limited":
            wait = dice.choice(_WAITS)
            self._plan.refuse(prompt, number, wait)
            told = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
            self._send(http(told, status="429 Too Many Requests", headers=wait + "\r\n"))
        elif fate == "failed":
            self._send(http({"error": {"message": "oops"}}, status="500 Internal Server Error"))
        elif fate == "reset in the answer":
            self._send(whole[: dice.randrange(1, len(whole))])
            self._reset()
        elif fate == "slow loris":
            self._drip(whole, 0)
        elif fate == "shorter than its length":
            self._send(whole[: dice.randrange(1, len(whole))])
            self._transport.close()
        elif fate == "longer than its length":
            body = whole.partition(b"\r\n\r\n")[2]
            self._send(http(body, length=dice.randrange(1, len(body))))
        elif fate == "cut between chunks":
            body = whole.partition(b"\r\n\r\n")[2]
            cut = dice.randrange(1, len(body))
            self._send(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (cut, body[:cut])
            )
            self._transport.close()
        elif fate == "with a stray answer behind":
            self._send(whole + http(completion("this belongs to nobody")))
        else:
            self._send(whole)

    def _send(self, data: bytes) -> None:
        self._transport.write(data)

    def _drip(self, whole: bytes, sent: int) -> None:
        self._send(whole[sent : sent + 1])
        self._later(_LORIS_PAUSE, self._drip, whole, sent + 1)

    def _reset(self) -> None:
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


async def _serve(port: int, path: str, seed: str, *, faults: bool) -> None:
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    plan = _Plan(log, seed, faults=faults)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Connection(plan), "127.0.0.1", port, backlog=1000, reuse_address=True
    )
    _say(server.sockets[0].getsockname()[1])
    while word := await loop.run_in_executor(None, sys.stdin.readline):
        plan.is_down = word.strip() == "down"
        _say(time.monotonic())


def _say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2], sys.argv[3], faults=bool(int(sys.argv[4]))))
