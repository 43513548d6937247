"""`HttpSource`: a streamed answer over our own connections."""

from __future__ import annotations

from collections.abc import Mapping

from genai_pipeline._lifespan import opened
from genai_pipeline._raw_answer import RawAnswer
from genai_pipeline.providers._caller import REFUSED, Caller
from genai_pipeline.providers._http import HttpSession
from genai_pipeline.providers._http._byte_stream import ByteStream
from genai_pipeline.providers._target import Target

__all__ = ["HttpSource"]


class HttpSource:
    """
    Asks for a stream of *media_type* under *path*; see `StreamSource`.

    A key that was refused is looked up once more, and if there is another by now, the request is
    sent once more.
    """

    def __init__(self, caller: Caller, path: str, media_type: str) -> None:
        self._caller = caller
        self._path = path
        self._media_type = media_type
        self._opened: opened[HttpSession] | None = None
        self._session: HttpSession | None = None
        self._bytes: ByteStream | None = None
        self._target: Target | None = None
        self.status = 0
        self.headers: Mapping[str, str] = {}

    async def open(self, body: bytes, /) -> None:
        """Send *body*, and wait for the head of the answer."""
        stream, target = await self._begin(body)
        if stream.status == REFUSED and await self._caller.renewed(target):
            await stream.aclose()
            stream, target = await self._begin(body)
        self.status = stream.status
        self.headers = self._caller.failures.kept(stream.headers, target.hide)

    async def read(self, *, patient: bool) -> bytes:
        """Wait for the next piece."""
        assert self._bytes is not None
        return await self._bytes.read(patient=patient)

    async def read_all(self) -> RawAnswer:
        """Read the answer to its end."""
        assert self._bytes is not None
        assert self._target is not None
        return self._caller.raw(await self._bytes.read_all(), self._target)

    def hide_in(self, data: bytes, /) -> bytes:
        """Blot out what was sent."""
        assert self._target is not None
        return self._target.hide_in(data)

    async def drain(self) -> None:
        """Go on to the end, for a moment."""
        if self._bytes is not None:
            await self._bytes.drain()

    async def aclose(self) -> None:
        """Give the connection back."""
        stream, lifespan, self._bytes, self._opened = self._bytes, self._opened, None, None
        try:
            if stream is not None:
                await stream.aclose()
        finally:
            if lifespan is not None:
                await lifespan.__aexit__(None, None, None)

    async def _begin(self, body: bytes) -> tuple[ByteStream, Target]:
        caller = self._caller
        target = await caller.target(self._path, accept=self._media_type)
        if caller.sign is not None:
            target = await caller.sign(target, body)
        if self._opened is None:
            lifespan = opened(caller.client)
            self._session = await lifespan.__aenter__()
            self._opened = lifespan
        assert self._session is not None
        self._target = target
        self._bytes = ByteStream(self._session, target, body, who=caller.who)
        await self._bytes.open()
        return self._bytes, target
