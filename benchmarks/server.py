"""A chat-completions server that answers after a fixed latency, and may keep a bill."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import BinaryIO


def completion(text: str) -> bytes:
    """Answer a whole HTTP response that says *text*."""
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    body = json.dumps(
        {
            "id": "chatcmpl-0123456789abcdef0123456789",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "simulated",
            "choices": [choice],
            "usage": {"prompt_tokens": 25, "completion_tokens": 60, "total_tokens": 85},
        }
    ).encode()
    head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
    return f"{head}{len(body)}\r\n\r\n".encode() + body


_ANSWER = completion("All is well. " * 20)


class Completions(asyncio.Protocol):
    """Answers each request with the same body, ``latency`` seconds after its last byte."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that has come whole."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            place = head.find(b"content-length:")
            length = int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            body, self._buffer = self._buffer[end + 4 :][:length], self._buffer[end + 4 + length :]
            self.answer(body)

    def answer(self, body: bytes) -> None:
        """Answer a request after a while."""
        loop = asyncio.get_running_loop()
        loop.call_later(self._latency, self._transport.write, _ANSWER)


class BilledCompletions(Completions):
    """Writes each request on a bill before it works on it, and each answer that it gave."""

    def __init__(self, latency: float, bill: BinaryIO) -> None:
        super().__init__(latency)
        self._bill = bill

    def answer(self, body: bytes) -> None:
        """Bill a request, and answer it after a while."""
        prompt = json.loads(body)["messages"][-1]["content"]
        self._bill.write(f"billed {prompt}\n".encode())
        asyncio.get_running_loop().call_later(self._latency, self._send, prompt)

    def _send(self, prompt: str) -> None:
        if not self._transport.is_closing():
            self._bill.write(f"answered {prompt}\n".encode())
            self._transport.write(completion(f"re {prompt}"))


async def serve(latency: float, bill: BinaryIO | None) -> None:
    """Print the port, and serve until the standard input is closed."""
    loop = asyncio.get_running_loop()

    def connected() -> Completions:
        return Completions(latency) if bill is None else BilledCompletions(latency, bill)

    server = await loop.create_server(connected, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        paths = map(Path, sys.argv[2:])
        bills = [stack.enter_context(path.open("ab", buffering=0)) for path in paths]
        asyncio.run(serve(float(sys.argv[1]), bills[0] if bills else None))
