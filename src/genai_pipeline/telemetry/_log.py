"""`LogEvents`: events, written to structlog; the only module that imports it."""

from __future__ import annotations

import re
import sys
from typing import Any, Literal, Self, TextIO, TypeAlias

import attrs
import structlog

from genai_pipeline import events
from genai_pipeline.events import Event

__all__ = ["LogEvents"]

Level: TypeAlias = Literal["debug", "info", "warning"]

_LEVELS: dict[Level, int] = {"debug": 10, "info": 20, "warning": 30}


class _Printer:
    """Prints lines; to whatever is standard error at that moment, unless told otherwise."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def _print(self, line: str) -> None:
        print(line, file=self._stream or sys.stderr, flush=True)

    debug = info = warning = _print


def _logger() -> Any:
    return structlog.get_logger("genai_pipeline")


@attrs.frozen(kw_only=True)
class LogEvents:
    """
    Writes each event it hears as one structlog entry: ``with gp.listen(LogEvents()):``.

    The entry is named as the event is, in snake case (``record_waited``), and has its fields;
    exceptions become their class and message. Trouble is logged as a warning, the beginning and
    the end of a run as info, what happens to every record or call as debug, so that a filtering
    logger at level info stays quiet over millions of records.
    """

    logger: Any = attrs.field(factory=_logger)
    """Any structlog logger; the one named ``genai_pipeline`` by default."""

    @classmethod
    def to_stream(cls, stream: TextIO | None = None, *, level: Level = "info") -> Self:
        """Write lines of ``key=value`` to *stream* (standard error), from *level* upwards."""
        processors: list[Any] = [
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ]
        logger = structlog.wrap_logger(
            _Printer(stream),
            processors=processors,
            wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        )
        return cls(logger=logger)

    def __call__(self, event: Event) -> None:
        """Write *event*."""
        fields = attrs.asdict(event, recurse=False)
        name = _snake(type(event).__name__)
        getattr(self.logger, _level(event))(name, **{key: _plain(fields[key]) for key in fields})


def _level(event: Event) -> str:
    match event:
        case events.RecordSettled(outcome="dead" | "handed_back"):
            return "warning"
        case events.SourceFailed() | events.StopRequested() | events.RecordWaited():
            return "warning"
        case events.IsolationFailed() | events.DiskFilled() | events.IntakePaused():
            return "warning"
        case events.RecordSettled() | events.CallFinished(error=None):
            return "debug"
        case events.CallFinished():
            return "warning"
        case _:
            return "info"


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _plain(value: object) -> object:
    return f"{type(value).__name__}: {value}" if isinstance(value, BaseException) else value
