"""A real Redis server's quotas on a test's own clock."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import attrs

import genai_pipeline as gp
from genai_pipeline.stores import RedisQuotas
from tests.servers.valkey import Valkey

__all__ = ["VirtualQuotas", "virtual_quotas"]

_TIME = "redis.call('TIME')"


@attrs.define(kw_only=True, eq=False)
class VirtualQuotas(RedisQuotas):
    """
    `RedisQuotas` whose server takes the time from *clock*.

    The script is the real one, but for the one place where it asks for the time, and for the lines
    that let keys expire in real time. It waits for the server without letting anybody else run,
    so that virtual time stands still meanwhile.
    """

    clock: gp.Clock
    connection: socket.socket
    exchanges: int = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def run(self, script: str, keys: Sequence[str], *arguments: str | float) -> Any:
        assert script.count(_TIME) == 1
        seconds, rest = divmod(self.clock.wall(), 1)
        first = len(arguments) + 1
        lasting = "\n".join(line for line in script.splitlines() if "EXPIRE'" not in line)
        virtual = lasting.replace(_TIME, f"{{ARGV[{first}], ARGV[{first + 1}]}}")
        words = ["EVAL", virtual, len(keys), *keys, *arguments, int(seconds), int(rest * 1e6)]
        self.exchanges += 1
        return self._ask([str(word).encode() for word in words])

    def _ask(self, words: list[bytes]) -> bytes:
        parts = [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
        self.connection.sendall(b"*%d\r\n%b" % (len(words), b"".join(parts)))
        data = b""
        while b"\r\n" not in data:
            data += self.connection.recv(65536)
        head, _, body = data.partition(b"\r\n")
        assert head.startswith(b"$"), head
        while len(body) < int(head[1:]) + 2:
            body += self.connection.recv(65536)
        return body[:-2]


@contextmanager
def virtual_quotas(valkey: Valkey, clock: gp.Clock) -> Iterator[VirtualQuotas]:
    """Give the quotas of *valkey* on *clock*, for one block."""
    with socket.create_connection(("127.0.0.1", valkey.port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield VirtualQuotas(url=valkey.url, clock=clock, connection=connection)
