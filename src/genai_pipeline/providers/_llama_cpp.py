"""`LlamaCpp`: any GGUF file, in this process, without a network."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import PurePath
from types import TracebackType
from typing import ClassVar

import attrs

from genai_pipeline import _options
from genai_pipeline._lifespan import Composite
from genai_pipeline._options import at_least, check, optional, positive
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.messages import Chunk, Request, Response
from genai_pipeline.providers._chat_profile import ChatProfile
from genai_pipeline.providers._llama_server import LlamaServer, Settings
from genai_pipeline.providers._openai import OpenAI

__all__ = ["LlamaCpp"]


_PROFILE = ChatProfile(counts="input_tokens")


def _to_path(path: str | os.PathLike[str]) -> str:
    fine = isinstance(path, str | os.PathLike)
    check(fine, "LlamaCpp", "model", path, "the path of a GGUF file")
    return os.fspath(path)


@attrs.frozen(eq=False)
class _Served(OpenAI):
    """The model as it is served: by another port each time, but always the same."""

    file: str = attrs.field(kw_only=True)

    def _place(self) -> str:
        return self.file


@attrs.frozen(eq=False)
class LlamaCpp(Composite):
    """
    A language model in this very process, by llama.cpp: any GGUF file, no network, no bill.

    The first call loads the file, in a worker thread, and it stays in memory until `close`, or
    until nothing refers to this any more. One object serves any number of concurrent calls, runs,
    threads and event loops; *parallel* of them are worked on at a time, the others wait.

    Asks as `OpenAI` does, with all that it takes: tools, JSON Schemas, which the model then cannot
    but obey, reasoning, scores, and ``extra`` for what llama.cpp knows beside. A cancelled call
    frees its place at the next token. Needs the extra ``llamacpp``.
    """

    records_calls: ClassVar[bool] = True
    output_modes: ClassVar[tuple[str, ...]] = OpenAI.output_modes

    model: str = attrs.field(converter=_to_path, validator=_options.text)
    """The path of the GGUF file."""

    context: int = attrs.field(default=4096, kw_only=True, validator=at_least(1))
    """The most tokens of a call, prompt and answer; a longer prompt is `ContextOverflow`."""

    parallel: int = attrs.field(default=4, kw_only=True, validator=at_least(1, 64))
    """Calls to work on at a time; each keeps a *context* in memory."""

    threads: int | None = attrs.field(default=None, kw_only=True, validator=optional(at_least(1)))
    """Threads to compute with; `None` leaves it to llama.cpp: one for each core."""

    gpu_layers: int | None = attrs.field(
        default=None, kw_only=True, validator=optional(at_least(0))
    )
    """How many layers to compute on a GPU; `None`: as many as fit on one, if there is one."""

    timeout: float = attrs.field(default=600.0, kw_only=True, validator=positive)
    """Seconds for one call, waiting for a free place included, but not loading."""

    name: str = attrs.field(default="llamacpp", kw_only=True, validator=_options.text)
    """What events, errors and reports call the provider."""

    clock: Clock = attrs.field(factory=SystemClock, kw_only=True, repr=False)

    _server: LlamaServer = attrs.field(init=False, repr=False)
    _served: dict[str, _Served] = attrs.field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        settings = Settings(
            path=self.model,
            context=self.context,
            parallel=self.parallel,
            threads=self.threads,
            gpu_layers=self.gpu_layers,
        )
        object.__setattr__(self, "_server", LlamaServer(settings))

    async def __call__(self, request: Request) -> Response:
        """Answer *request* with one call; raises what `OpenAI` raises."""
        model = await self._loaded()
        return await model(request)

    def would_replay(self, request: Request) -> bool:
        """Tell whether a journal would answer *request*, once the file is loaded."""
        return any(served.would_replay(request) for served in self._served.values())

    def stream(self, request: Request) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """Answer *request* piece by piece, as `OpenAI.stream` does."""
        return _Stream(self, request)

    async def count_tokens(self, request: Request) -> int:
        """
        Answer how many tokens *request* comes to as input, as the model counts them.

        The first use loads the file, as a call does; nothing leaves this process.
        """
        model = await self._loaded()
        return await model.count_tokens(request)

    def close(self) -> None:
        """Free the memory; calls that are under way fail, and a later one loads the file again."""
        self._server.close()
        self._served.clear()

    def parts(self) -> Iterable[object]:
        """Answer nothing: what a run opens is opened by the first call."""
        return ()

    async def _loaded(self) -> _Served:
        running = await self._server.running()
        served = self._served.get(running.url)
        if served is None:
            path = PurePath(self.model)
            served = _Served(
                path.stem,
                base_url=f"{running.url}/v1",
                api_key=running.key,
                profile=_PROFILE,
                timeout=self.timeout,
                max_connections=self.parallel,
                trust_env=False,
                name=self.name,
                clock=self.clock,
                file=f"{path.name}:{running.size}",
            )
            served = self._served.setdefault(running.url, served)
        return served


class _Stream(AbstractAsyncContextManager[AsyncIterator[Chunk]]):
    """A stream of a model that may have to be loaded first."""

    def __init__(self, model: LlamaCpp, request: Request) -> None:
        self._model = model
        self._request = request
        self._inner: AbstractAsyncContextManager[AsyncIterator[Chunk]] | None = None

    async def __aenter__(self) -> AsyncIterator[Chunk]:
        model = await self._model._loaded()  # noqa: SLF001 - a part of it
        self._inner = model.stream(self._request)
        return await self._inner.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        assert self._inner is not None
        return await self._inner.__aexit__(kind, error, trace)
