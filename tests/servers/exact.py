"""A server over real sockets that sends what it is told to, to the byte, whoever asks."""

from __future__ import annotations

import threading

import anyio.to_thread

from tests.servers.chat import ChatServer, Closing, Exchange

__all__ = ["ExactServer"]

_PATIENCE = 30.0


class ExactServer(ChatServer):
    """The server; ``with ExactServer() as server:``, then `say` and `go_on`."""

    def __init__(self) -> None:
        super().__init__()
        self.ways = {"exact": self._send}
        self._answer = b""
        self._pause = 0
        self._heard = threading.Event()

    @property
    def address(self) -> str:
        """The base URL of whatever it is told to send."""
        return f"http://127.0.0.1:{self.port}/exact"

    def say(self, answer: bytes, *, pause: int = 0) -> None:
        """Send *answer* from now on; behind *pause* bytes of it, if any, wait for `go_on`."""
        self._answer, self._pause = answer, pause
        self._heard.clear()

    def go_on(self) -> None:
        """Send the rest."""
        self._heard.set()

    async def _send(self, exchange: Exchange) -> bool:
        answer, pause = self._answer, self._pause
        if pause:
            await exchange.send(answer[:pause])
            await anyio.to_thread.run_sync(self._heard.wait, _PATIENCE)
        await exchange.send(answer[pause:])
        return not isinstance(answer, Closing)
