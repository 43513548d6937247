"""Where a user's function runs: in the event loop, in a worker thread or in a worker process."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from genai_pipeline._options import check
from genai_pipeline._wrap import name_of
from genai_pipeline.errors import ConfigurationError, WorkerDied

__all__ = ["adapt"]


def adapt(
    function: Callable[[Any], Any], *, owner: str, thread: bool, process: bool
) -> Callable[[Any], Any]:
    """
    Answer a callable whose result may have to be awaited, run where it was asked for.

    Raises `ConfigurationError` for what cannot run there.
    """
    check(callable(function), owner, "fn", function, "a function of one value")
    if not (thread or process):
        return function
    where = "thread" if thread else "process"
    check(
        not (thread and process), owner, "thread", thread, "thread=True or process=True, not both"
    )
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - the method, to look at it
    ):
        raise ConfigurationError(
            f"{owner}: {where}=True is for plain functions, and {name_of(function)} is async; "
            f"drop {where}=True"
        )
    if thread:
        return partial(_in_thread, function)
    try:
        pickle.dumps(function)
    except Exception as error:
        raise ConfigurationError(
            f"{owner}: process=True needs a function that can be imported by name, "
            f"and {name_of(function)} cannot ({error}); define it at the top of a module"
        ) from error
    return partial(_in_process, function)


def _in_thread(function: Callable[[Any], Any], value: object) -> Awaitable[Any]:
    return anyio.to_thread.run_sync(function, value)


async def _in_process(function: Callable[[Any], Any], value: object) -> Any:
    import anyio.to_process  # noqa: PLC0415 - brings subprocess, and few need it

    try:
        return await anyio.to_process.run_sync(function, value, cancellable=True)
    except anyio.BrokenWorkerProcess as error:
        raise WorkerDied(
            f"the worker process died while it ran {name_of(function)}; "
            "look for a crash in native code or a lack of memory"
        ) from error
