"""The way to a Redis or Valkey server; the only importer of its client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import anyio
import attrs

from genai_pipeline import _options
from genai_pipeline._options import check
from genai_pipeline.errors import AuthenticationFailed, ConnectionFailed, StorageFailed

try:
    import coredis
    from coredis import exceptions as foreign
except ImportError as error:  # pragma: no cover - the test suite has it
    raise ImportError(
        "Redis needs the client coredis; pip install 'genai_pipeline[redis]'"
    ) from error

__all__ = ["RedisScripts"]

_SCHEMES = ("redis", "rediss", "unix")


def _url(owner: object, option: attrs.Attribute[str], value: object) -> None:
    fine = isinstance(value, str) and urlsplit(value).scheme in _SCHEMES
    check(fine, owner, option.name, "<hidden>", "a URL like redis://host:6379/0")


@attrs.define(kw_only=True, eq=False)
class RedisScripts:
    """
    Runs Lua scripts on a server, each in one indivisible step, while it is entered.

    It connects when first used and again when the connection broke. Enter it in the task that
    outlives all its users, as a pipeline does; several users may be inside.
    """

    url: str = attrs.field(validator=_url, repr=False)
    """As in ``redis://user:password@host:6379/0``, ``rediss://`` for TLS, or ``unix://``."""

    timeout: float = attrs.field(default=1.0, validator=_options.positive)
    """The most seconds that connecting, and each script, may take."""

    _client: coredis.Redis[bytes] | None = attrs.field(default=None, init=False, repr=False)
    _users: int = attrs.field(default=0, init=False, repr=False)

    async def __aenter__(self) -> Self:
        if self._client is None:
            client = coredis.Redis.from_url(
                self.url, connect_timeout=self.timeout, max_connections=4
            )
            await client.__aenter__()
            self._client = client
        self._users += 1
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._users -= 1
        if self._users == 0:
            client, self._client = self._client, None
            assert client is not None
            # Not told of the error, which its task group would wrap.
            await client.__aexit__(None, None, None)

    async def run(self, script: str, keys: Sequence[str], *arguments: str | float) -> Any:
        """
        Answer what *script* answers, texts as bytes.

        Raises `ConnectionFailed` when the server cannot be reached or is silent,
        `AuthenticationFailed` when it does not let us in, `StorageFailed` when it cannot do it.
        """
        check(self._client is not None, self, "entered", False, "it to a pipeline, or async with")
        assert self._client is not None
        with _translated(), anyio.fail_after(self.timeout):
            # The client caches the script's digest and sends the text only when it must.
            return await self._client.register_script(script)(keys=keys, args=arguments)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (foreign.AuthenticationError, foreign.AuthorizationError) as error:
        raise AuthenticationFailed(f"the Redis server refused us: {error}") from error
    except (foreign.ConnectionError, OSError, TimeoutError, anyio.ClosedResourceError) as error:
        raise ConnectionFailed(f"the Redis server is not reached: {error}") from error
    except foreign.RedisError as error:
        raise StorageFailed(f"the Redis server failed: {error}") from error
