"""llama.cpp inside of this process: loaded when first used, kept until it is closed."""

from __future__ import annotations

import importlib
import os
import secrets
import threading
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import attrs

from genai_pipeline.errors import ConfigurationError

__all__ = ["LlamaServer", "Settings"]

_limiter: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar(
    "genai_pipeline_llama_loading"
)
_QUIET = -1


@attrs.frozen(kw_only=True)
class Settings:
    """What llama.cpp is told when it loads a model."""

    path: str
    context: int
    parallel: int
    threads: int | None
    gpu_layers: int | None


@attrs.frozen
class Running:
    """A server that runs: where, and the key without which it answers nobody."""

    url: str
    key: str
    size: int
    """Of the file, in bytes."""

    handle: Any = attrs.field(repr=False)
    """It serves as long as this is referenced."""


class LlamaServer:
    """
    One model in memory, at most.

    llama.cpp comes as a server, which listens on the loopback device; a random key keeps the other
    users of the machine out.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._running: Running | None = None

    async def running(self) -> Running:
        """
        Answer the server; the first call loads the model, in a worker thread.

        Raises `ConfigurationError` when that is not possible.
        """
        if self._running is not None:
            return self._running
        # One thread of an event loop loads; the other calls wait without keeping a thread busy.
        limiter = _limiter.get(None)
        if limiter is None:
            limiter = anyio.CapacityLimiter(1)
            _limiter.set(limiter)
        return await anyio.to_thread.run_sync(self._load, limiter=limiter, abandon_on_cancel=True)

    def close(self) -> None:
        """Free the memory; calls that are under way fail."""
        with self._lock:
            self._running = None

    def _load(self) -> Running:
        with self._lock:
            if self._running is None:
                self._running = _start(self._settings)
            return self._running


def _start(settings: Settings) -> Running:
    try:
        xllamacpp: Any = importlib.import_module("xllamacpp")
    except ImportError:
        raise ConfigurationError(
            "LlamaCpp: xllamacpp is not installed; pip install 'genai_pipeline[llamacpp]'"
        ) from None
    path = settings.path
    if not os.path.isfile(path):  # noqa: PTH113 - a text for llama.cpp as well
        raise ConfigurationError(f"LlamaCpp: model={path!r}: there is no such file")
    options: Any = xllamacpp.CommonParams()
    key = secrets.token_urlsafe(32)
    options.model.path = path
    options.api_keys = [key]
    options.hostnames = ["127.0.0.1"]
    options.n_ctx = settings.context * settings.parallel
    options.n_parallel = settings.parallel
    options.warmup = False
    options.verbosity = _QUIET
    if settings.threads is not None:
        options.cpuparams.n_threads = settings.threads
    if settings.gpu_layers is not None:
        options.n_gpu_layers = settings.gpu_layers
    try:
        server: Any = xllamacpp.Server(options)
        # Its loop begins in another thread, and to drop it before that never returns.
        server.handle_completions({"prompt": "a", "n_predict": 1})
    except RuntimeError as error:
        raise ConfigurationError(
            f"LlamaCpp: model={path!r}: llama.cpp cannot load it ({error}); give a whole GGUF "
            "file, and less context= or parallel= if memory is short"
        ) from error
    return Running(server.listening_address, key, os.path.getsize(path), server)  # noqa: PTH202
