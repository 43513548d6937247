"""
Hearing the operating system's signals, where that is possible.

`anyio.open_signal_receiver` does not do for runs that overlap, nor give back the handlers that it
finds on asyncio.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from signal import Signals
from types import FrameType
from typing import Any, Self

import anyio
from anyio.lowlevel import checkpoint, current_token

__all__ = ["received_signals"]


class _Receiver:
    """The signals that one run has yet to hear."""

    def __init__(self, signals: Sequence[Signals]) -> None:
        self.signals = frozenset(signals)
        self.unheard: deque[Signals] = deque()
        self.waking = _waking_here()
        self._more = anyio.Event()

    def deliver(self, number: Signals) -> None:
        """Take a signal; called by its handler, in the midst of anything."""
        self.unheard.append(number)
        self.waking.soon(self._wake)

    def _wake(self) -> None:
        self._more.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Signals:
        await checkpoint()
        while not self.unheard:
            self._more = anyio.Event()
            await self._more.wait()
        return self.unheard.popleft()


_receivers: list[_Receiver] = []
_before: dict[Signals, Any] = {}
"""The handlers of others, in whose place ours is."""


@contextmanager
def received_signals(signals: Sequence[Signals]) -> Iterator[AsyncIterator[Signals] | None]:
    """
    Catch *signals* inside the block; answer them as they come.

    Whoever else catches them this way hears them too. At the end the handlers that were there
    before are back, and get what was not heard. Answers `None` where signals cannot be caught:
    outside the main thread, and on platforms whose event loop cannot.
    """
    if not signals or threading.current_thread() is not threading.main_thread():
        yield None
        return
    try:
        receiver = _Receiver(signals)
    except NotImplementedError:
        yield None
        return
    _receivers.append(receiver)
    try:
        for number in receiver.signals:
            _catch(number)
        yield receiver
    finally:
        _leave(receiver)


def _leave(receiver: _Receiver) -> None:
    others = [other for other in _receivers if other is not receiver]
    alone = receiver.signals.difference(*(other.signals for other in others))
    for number in alone:
        _give_back(number)
    _receivers.remove(receiver)
    if all(other.waking is not receiver.waking for other in others):
        receiver.waking.close()
    for number in alone.intersection(receiver.unheard):
        signal.raise_signal(number)


def _handle(number: int, _: FrameType | None) -> None:
    for receiver in tuple(_receivers):
        if number in receiver.signals:
            receiver.deliver(Signals(number))


def _catch(number: Signals) -> None:
    if signal.getsignal(number) is not _handle:
        _before[number] = signal.signal(number, _handle)


def _give_back(number: Signals) -> None:
    before = _before.pop(number, None)
    if signal.getsignal(number) is _handle:
        # One that was not set by Python cannot be set by it either.
        signal.signal(number, signal.SIG_DFL if before is None else before)


class _Waking:
    """Reaches an event loop from inside of a handler of signals."""

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self.soon: Callable[[Callable[[], None]], Any] = loop.run_sync_soon

    def close(self) -> None:
        """Leave the loop as it was."""


class _AsyncioWaking(_Waking):
    """
    One of asyncio, which sleeps on when a signal came to another thread than its own.

    For Python runs handlers in the main thread alone, once that does something.
    """

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self.soon = loop.call_soon_threadsafe
        self._read, self._write = os.pipe()
        try:
            for end in (self._read, self._write):
                os.set_blocking(end, False)
            loop.add_reader(self._read, self._drain)
        except BaseException:
            self._close()
            raise
        self._other = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        if self._other != -1:  # the loop is woken already, as it is by its own handlers
            signal.set_wakeup_fd(self._other)

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._read, 4096)

    def close(self) -> None:
        """Leave the loop as it was."""
        if self._other == -1 and (now := signal.set_wakeup_fd(-1)) not in {-1, self._write}:
            signal.set_wakeup_fd(now)  # others have set theirs since
        self.loop.remove_reader(self._read)
        self._close()

    def _close(self) -> None:
        os.close(self._read)
        os.close(self._write)


def _waking_here() -> _Waking:
    loop: Any = current_token().native_token
    for receiver in _receivers:
        if receiver.waking.loop is loop:
            return receiver.waking
    return _Waking(loop) if hasattr(loop, "run_sync_soon") else _AsyncioWaking(loop)
