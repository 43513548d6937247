"""A plain function runs where it was asked for, and its death is one record's."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline.errors import WorkerDied
from tests.testing.doubles import Buried, Listed, Written

pytestmark = pytest.mark.anyio


def where(_: object) -> tuple[int, int]:
    return os.getpid(), threading.get_ident()


def scale(value: int, by: int = 2) -> int:
    return value * by


def crash(value: int) -> int:
    if value == 2:
        os._exit(3)
    return value


def fail(value: int) -> int:
    raise gp.DataError("bad", origin="a.csv", line=value)


async def wait(value: int) -> int:
    return value


class Waits:
    async def __call__(self, value: int) -> int:
        return value


async def call(stage: Any, value: Any) -> Any:
    return (await stage(gp.Record(value, "k")))[0].value


async def test_by_default_in_the_event_loop(anyio_backend: str) -> None:
    """A plain function is called where the pipeline runs."""
    assert await call(gp.map(where), 0) == where(0)


async def test_in_a_thread(anyio_backend: str) -> None:
    """``thread=True`` runs it in this process and another thread."""
    process, thread = await call(gp.map(where, thread=True), 0)
    assert process == os.getpid()
    assert thread != threading.get_ident()
    assert await call(gp.map(functools.partial(scale, by=5), thread=True), 3) == 15


async def test_in_a_process(anyio_backend: str) -> None:
    """``process=True`` runs it in another process; errors come back whole."""
    process, _ = await call(gp.map(where, process=True), 0)
    assert process != os.getpid()
    assert await call(gp.map(functools.partial(scale, by=5), process=True), 3) == 15
    with pytest.raises(gp.DataError, match=r"a\.csv, line 7: bad") as caught:
        await call(gp.map(fail, process=True), 7)
    assert caught.value.line == 7


async def test_a_dying_worker_fails_one_record(anyio_backend: str) -> None:
    """A process that dies takes one record with it, which says so; the others go on."""
    buried, written = Buried(), Written()
    pipeline: gp.Pipeline[int, int] = gp.Pipeline(
        source=Listed(1, 2, 3),
        stage=gp.map(crash, process=True),
        sink=written,
        dead_letters=buried,
        max_in_flight=1,
    )
    report = await pipeline.run()
    assert (report.written, report.dead) == (2, 1)
    assert written.values == [1, 3]
    letter = buried.letters[0]
    assert letter.error.endswith(WorkerDied.__name__)
    assert "while it ran crash" in letter.message


@pytest.mark.parametrize("join", [gp.map, gp.flat_map, gp.filter])
async def test_every_stage_can(join: Callable[..., Any], anyio_backend: str) -> None:
    """Threads serve map, flat_map and filter alike."""
    assert len(await join(where, thread=True)(gp.Record(1, "k"))) == (
        2 if join is gp.flat_map else 1
    )


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (lambda value: value, {"process": True}, "map: process=True needs .* and lambda cannot"),
        (wait, {"thread": True}, "map: thread=True is for plain functions, and wait is async"),
        (Waits(), {"process": True}, "map: process=True is for plain functions, and Waits is"),
        (scale, {"thread": True, "process": True}, "thread=True or process=True, not both"),
        ("scale", {}, "map: fn='scale'; give a function of one value"),
    ],
)
def test_what_cannot_run_there_is_refused(function: Any, options: Any, message: str) -> None:
    """The function is named when the stage is built, with what to do."""
    with pytest.raises(gp.ConfigurationError, match=message):
        gp.map(function, **options)
