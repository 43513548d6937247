"""The one copy of the word vectors that a process has, read when it is first needed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import anyio.lowlevel
import anyio.to_thread

from genai_pipeline.providers._local_files import find_model_files

if TYPE_CHECKING:
    from genai_pipeline.providers._local_vectors import WordVectors

__all__ = ["word_vectors"]

_lock = threading.Lock()
_loaded: WordVectors | None = None

_limiter: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar(
    "genai_pipeline_local_loading"
)


async def word_vectors() -> WordVectors:
    """Answer the vectors of this process; the first call reads them, in a worker thread."""
    await anyio.lowlevel.checkpoint()
    if _loaded is not None:
        return _loaded
    # One thread of an event loop reads; the other calls wait without keeping a thread busy.
    limiter = _limiter.get(None)
    if limiter is None:
        limiter = anyio.CapacityLimiter(1)
        _limiter.set(limiter)
    return await anyio.to_thread.run_sync(_load, limiter=limiter, abandon_on_cancel=True)


def _load() -> WordVectors:
    global _loaded  # noqa: PLW0603 - one copy for all providers, event loops and threads
    with _lock:
        if _loaded is None:
            # Imported here, since numpy alone takes longer to import than this library.
            from genai_pipeline.providers._local_vectors import WordVectors  # noqa: PLC0415

            _loaded = WordVectors.load(find_model_files())
        return _loaded
