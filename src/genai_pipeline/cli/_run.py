"""The commands ``run`` and ``resume``."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import FrameType

import anyio

from genai_pipeline.cli import _report_file
from genai_pipeline.cli._session import Outcome, Session
from genai_pipeline.cli._target import Target, UsageError, find
from genai_pipeline.cli._tell import tell
from genai_pipeline.clock import SystemClock
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.pipeline import Pipeline

__all__ = ["check_backend", "run", "target_of"]


def run(options: argparse.Namespace) -> int:
    """Run the pipeline that *options* name; answer the exit code."""
    outcome, name, began = Outcome(), options.target, SystemClock().wall()
    try:
        with _terminated_as_interrupted():
            _check(options)
            target = target_of(options)
            name = target.name
            anyio.run(Session(options, target).execute, outcome, backend=options.backend)
    except (Exception, BaseExceptionGroup) as error:
        if isinstance(error, BaseExceptionGroup) and error.subgroup(KeyboardInterrupt):
            raise KeyboardInterrupt from error
        outcome.error = error
    return tell(outcome, options, name=name, began=began)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """
    Let SIGTERM do what Ctrl-C does, until the run itself listens.

    Otherwise a SIGTERM while sinks are opened would end the process with none of them closed. A
    shell that begins a command in the background lets it ignore Ctrl-C; here it is heard, as it is
    by the run.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _interrupt(_: int, frame: FrameType | None) -> None:
    # Called rather than raised, since a signal raised here may wait until a sleep is over.
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(signal.SIGINT, frame)


def check_backend(name: str) -> None:
    """Raise `ConfigurationError` if the event loop *name* is not there."""
    if name == "trio" and find_spec("trio") is None:
        raise ConfigurationError(
            "--backend trio needs trio; install it with: pip install 'genai_pipeline[trio]'"
        )


def _check(options: argparse.Namespace) -> None:
    """Refuse what cannot work before anything is opened or paid for."""
    check_backend(options.backend)
    if options.report is not None:
        try:
            _report_file.check_place(options.report)
        except ConfigurationError:
            options.report = None
            raise


def target_of(options: argparse.Namespace) -> Target:
    """Answer what *options* name, a pipeline or a function; raises `UsageError` for others."""
    target = find(options.target)
    if isinstance(target.found, Pipeline) or not callable(target.found):
        if options.param:
            raise UsageError(f"{options.target} is no function, so -p has nothing to set")
        if not isinstance(target.found, Pipeline):
            raise UsageError(
                f"{options.target} is a {type(target.found).__name__}, neither a gp.Pipeline "
                "nor a function that answers one"
            )
    return target
