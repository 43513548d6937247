"""`Progress`: a run, shown while it goes on."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TextIO, TypeAlias

import anyio
import attrs
from anyio.abc import TaskGroup

from genai_pipeline import _options
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.report import Report
from genai_pipeline.telemetry._snapshot import Observer, Snapshot

__all__ = ["Display", "Mode", "Progress", "chosen_mode"]

Mode: TypeAlias = Literal["auto", "live", "plain", "json", "none"]


class Display(Protocol):
    """Shows snapshots; each answer is the seconds until it wants the next."""

    def open(self) -> float:
        """Begin."""
        ...

    def show(self, snapshot: Snapshot, /) -> float:
        """Show *snapshot*."""
        ...

    def close(self) -> None:
        """End, and leave the stream as it was."""
        ...


def _is_total(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    if not callable(value):
        _options.optional(_options.at_least(0))(owner, option, value)


@attrs.define(kw_only=True, eq=False)
class Progress:
    """
    Shows how a run goes, for as long as the ``async with`` block around it is open.

    ::

        async with gp.telemetry.Progress(report=pipeline.report):
            await pipeline.run()

    It asks for a report when it draws, and costs the records nothing. When the stream cannot be
    written to, it falls silent; the run goes on.
    """

    report: Callable[[], Report | None]
    """Answers how the run stands: ``pipeline.report``."""

    mode: Mode = attrs.field(
        default="auto", validator=_options.one_of("auto", "live", "plain", "json", "none")
    )
    """
    ``live`` draws on a terminal (needs the extra ``cli``), ``plain`` writes a line now and then,
    ``json`` writes an object each second; ``auto`` is live where that works, else plain.
    """

    total: int | Callable[[], Awaitable[int | None]] | None = attrs.field(
        default=None, validator=_is_total
    )
    """
    How many records there are, if that is known: for the share and the time left. May be an
    async function that finds out while the run goes on.
    """

    name: str = "run"
    stream: TextIO | None = None
    """Where to show it; standard error by default, so that standard output stays clean."""

    clock: Clock = attrs.field(factory=SystemClock)
    _group: TaskGroup | None = attrs.field(default=None, init=False)

    async def __aenter__(self) -> Self:
        display = self._display()
        if display is not None:
            self._group = group = anyio.create_task_group()
            await group.__aenter__()
            observer = Observer(name=self.name, total=None)
            group.start_soon(self._find_total, observer)
            group.start_soon(self._refresh, display, observer)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._group is not None:
            group, self._group = self._group, None
            group.cancel_scope.cancel()
            # The error of the block is not the group's, which would wrap it in another group.
            await group.__aexit__(None, None, None)

    def _display(self) -> Display | None:
        from genai_pipeline.telemetry import _lines  # noqa: PLC0415 - only when shown

        stream = self.stream or sys.stderr
        mode = chosen_mode(self.mode, stream)
        if mode == "live":
            from genai_pipeline.telemetry._live import LiveDisplay  # noqa: PLC0415 - an extra

            return LiveDisplay(stream, force=self.mode == "live")
        if mode == "plain":
            return _lines.PlainLines(stream)
        return _lines.JsonLines(stream) if mode == "json" else None

    async def _find_total(self, observer: Observer) -> None:
        try:
            observer.total = await self.total() if callable(self.total) else self.total
        except Exception as error:  # noqa: BLE001 - the run goes on without a total
            logging.getLogger("genai_pipeline").debug("nobody knows the total: %r", error)

    async def _refresh(self, display: Display, observer: Observer) -> None:
        try:
            pause = display.open()
            try:
                while True:
                    await self.clock.sleep(pause)
                    report = self._look()
                    if report is not None:
                        pause = display.show(observer.look(report))
            finally:
                display.close()
        except Exception as error:  # noqa: BLE001 - whatever breaks the display, the run goes on
            logging.getLogger("genai_pipeline").debug("the display ended: %r", error)

    def _look(self) -> Report | None:
        try:
            return self.report()
        except ConfigurationError:
            return None  # the run has not begun


def chosen_mode(mode: Mode, stream: TextIO) -> Mode:
    """Answer what ``auto`` means on *stream*; any other mode is itself."""
    if mode != "auto":
        return mode
    able = stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    return "live" if able and find_spec("rich") is not None else "plain"
