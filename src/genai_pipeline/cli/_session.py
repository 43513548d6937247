"""One run, from what the command line says to how it came out."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import attrs

from genai_pipeline.cli import _dry_run
from genai_pipeline.cli._parameters import bind
from genai_pipeline.cli._sample import Sample
from genai_pipeline.cli._target import Target, UsageError, in_own_code
from genai_pipeline.cli._total import total
from genai_pipeline.events import StopRequested, listen
from genai_pipeline.pipeline import Pipeline
from genai_pipeline.report import Report, RunFailed
from genai_pipeline.telemetry import LogEvents, Progress
from genai_pipeline.telemetry._progress import Mode

__all__ = ["Outcome", "Session", "pipeline_of"]


@attrs.define(kw_only=True)
class Outcome:
    """How a run came out, as far as it came."""

    pipeline: Pipeline[Any, Any] | None = None
    report: Report | None = None
    error: BaseException | None = None
    at_once: bool = False
    """Whether a second signal ended it."""


@attrs.define
class _Stops:
    """Hears when the run is asked to stop, and tells people what happens now."""

    quiet: bool
    at_once: bool = False

    def __call__(self, event: object) -> None:
        if not isinstance(event, StopRequested) or not event.reason.startswith("signal"):
            return
        self.at_once = event.again
        if self.quiet:
            return
        told = (
            "once more: ending now"
            if event.again
            else f"reading no more; what is in flight has {event.grace:g} s; once more ends at once"
        )
        print(f"{event.reason}: {told}", file=sys.stderr)


@attrs.frozen
class Session:
    """Runs what a target names as the options say."""

    options: argparse.Namespace
    target: Target

    async def execute(self, outcome: Outcome) -> None:
        """Run; note in *outcome* how it came out; raises what the run raises."""
        options = self.options
        pipeline = self._bound(await pipeline_of(self.target, options))
        if options.command == "resume":
            from genai_pipeline.cli._resume import tell_known  # noqa: PLC0415 - quick start

            await tell_known(pipeline, quiet=options.quiet)
        if options.dry_run:
            pipeline = _dry_run.rehearsal(pipeline)
        outcome.pipeline = pipeline
        stops = _Stops(quiet=options.quiet)
        try:
            with ExitStack() as stack:
                stack.enter_context(listen(stops))
                if options.verbose:
                    level: Any = "debug" if options.verbose > 1 else "info"
                    stack.enter_context(listen(LogEvents.to_stream(level=level)))
                async with self._progress(pipeline):
                    outcome.report = await pipeline.run()
        except RunFailed as failed:
            outcome.report = failed.report
            raise
        finally:
            outcome.at_once = stops.at_once

    def _bound(self, pipeline: Pipeline[Any, Any]) -> Pipeline[Any, Any]:
        """Answer *pipeline* with what the command line puts in place of its own."""
        options = self.options
        changes = self._edges(pipeline)
        if options.sample is not None:
            changes["source"] = Sample(changes.get("source", pipeline.source), options.sample)
        if options.max_in_flight is not None:
            changes["max_in_flight"] = options.max_in_flight
        if options.grace is not None:
            changes["grace"] = options.grace
        return attrs.evolve(pipeline, **changes) if changes else pipeline

    def _edges(self, pipeline: Pipeline[Any, Any]) -> dict[str, Any]:
        options = self.options
        changes: dict[str, Any] = {}
        if options.input is None and options.output is None and options.dead_letters is None:
            return changes
        from genai_pipeline.cli import _edges  # noqa: PLC0415 - quick start

        if options.input is not None:
            changes["source"] = _edges.source(options.input, pipeline.source)
        if options.output is not None:
            changes["sink"] = _edges.sink(options.output, pipeline.sink)
        if options.dead_letters is not None:
            letters = _edges.dead_letters(options.dead_letters, pipeline.dead_letters)
            changes["dead_letters"] = letters
        return changes

    def _progress(self, pipeline: Pipeline[Any, Any]) -> Progress:
        return Progress(
            report=pipeline.report,
            mode=self._mode(),
            total=partial(total, pipeline.source),
            name=self.target.name,
            clock=pipeline.clock,
        )

    def _mode(self) -> Mode:
        options = self.options
        if options.quiet:
            return "none"
        if options.progress == "auto" and options.output == "-" and sys.stdout.isatty():
            return "plain"  # the records themselves scroll over this terminal
        mode: Mode = options.progress
        return mode


async def pipeline_of(target: Target, options: argparse.Namespace) -> Pipeline[Any, Any]:
    """Answer the pipeline that *target* is, or answers with the parameters of *options*."""
    found, name = target.found, options.target
    if isinstance(found, Pipeline):
        return found
    assert callable(found)
    made = await _made(found, bind(found, options.param, name=name), name)
    if isinstance(made, Pipeline):
        return made
    raise UsageError(f"{name} answered a {type(made).__name__}; it must answer a gp.Pipeline")


async def _made(function: Callable[..., Any], parameters: dict[str, Any], name: str) -> object:
    with in_own_code(f"{name}(...) raised"):
        made = function(**parameters)
        return await made if inspect.isawaitable(made) else made
