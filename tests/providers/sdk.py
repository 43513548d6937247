"""OpenAI's own SDK, called at the same server as our providers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio.to_thread
import openai

from tests.servers.chat import ChatServer, Exchange

__all__ = ["headers_of", "sdk_request"]


async def sdk_request(
    chat: ChatServer, url: str, call: Callable[[openai.OpenAI], Any]
) -> tuple[Exchange, Any]:
    """Answer the request that the SDK makes for *call* at *url*, and what it answers."""

    def make() -> Any:
        with openai.OpenAI(base_url=url, api_key="sk-test", max_retries=0) as client:
            return call(client)

    answer = await anyio.to_thread.run_sync(make)
    return chat.seen[-1], answer


def headers_of(exchange: Exchange) -> dict[str, str]:
    """Answer the headers that tell the server what to do, without those that tell of the client."""
    ours = ("accept-encoding", "connection", "content-length", "host", "user-agent")
    return {
        name: value
        for name, value in exchange.headers.items()
        if name not in ours and not name.startswith("x-stainless-")
    }
