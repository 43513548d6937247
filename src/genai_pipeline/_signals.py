"""Hearing the operating system's signals, where that is possible."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from signal import Signals

import anyio

__all__ = ["received_signals"]


@contextmanager
def received_signals(signals: Sequence[Signals]) -> Iterator[AsyncIterator[Signals] | None]:
    """
    Catch *signals* inside the block; answer them as they come.

    Answers `None` where they cannot be caught: outside the main thread, and on platforms whose
    event loop cannot.
    """
    if not signals or threading.current_thread() is not threading.main_thread():
        yield None
        return
    try:
        receiver = anyio.open_signal_receiver(*signals)
        entered = receiver.__enter__()
    except NotImplementedError:
        yield None
        return
    try:
        yield entered
    finally:
        receiver.__exit__(None, None, None)
