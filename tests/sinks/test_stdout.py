"""Stdout."""

from __future__ import annotations

import io
import os

import anyio
import pytest

from genai_pipeline.errors import ConfigurationError, DataError, StorageFailed
from genai_pipeline.records import Record
from genai_pipeline.sinks import Stdout

pytestmark = pytest.mark.anyio


async def test_text_stands_as_it_is_and_the_rest_is_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Text is printed without quotes, everything else as JSON, a line each."""
    async with Stdout() as sink:
        for value in ("hello", {"a": "é"}, 3, None):
            await sink(Record(value))
    assert capsys.readouterr().out == 'hello\n{"a": "é"}\n3\nnull\n'


async def test_group_is_flushed_once() -> None:
    """What concurrent calls print is flushed when they return, with few flushes."""

    class Counting(io.StringIO):
        flushes = 0

        def flush(self) -> None:
            self.flushes += 1

    stream = Counting()
    async with Stdout(stream=stream) as sink, anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(sink, Record(number))
    assert 1 <= stream.flushes <= 3
    assert sorted(map(int, stream.getvalue().split())) == list(range(100))


async def test_reader_that_has_gone_is_told() -> None:
    """A closed pipe is a StorageFailed that says so, and stays one."""
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    try:
        async with Stdout(stream=stream) as sink:
            for _ in range(2):
                with pytest.raises(StorageFailed, match=r"has gone .broken pipe"):
                    await sink(Record("hello"))
    finally:
        with pytest.raises(BrokenPipeError):
            stream.close()


async def test_closed_stream_is_told() -> None:
    """A stream that somebody closed is a StorageFailed, not a bare ValueError."""
    stream = io.StringIO()
    stream.close()
    async with Stdout(stream=stream) as sink:
        with pytest.raises(StorageFailed, match="closed file"):
            await sink(Record(1))


async def test_narrow_output_loses_nothing_silently() -> None:
    """On an ASCII output JSON uses escapes, and text that does not fit is a DataError."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    async with Stdout(stream=stream) as sink:
        await sink(Record(["é"]))
        with pytest.raises(DataError, match=r"ascii.*PYTHONIOENCODING"):
            await sink(Record("é"))
        await sink(Record("e"))
    assert raw.getvalue() == b'["\\u00e9"]\ne\n'


def test_what_is_no_stream_is_refused_when_built() -> None:
    """stream= must be one to write text to."""
    with pytest.raises(ConfigurationError, match=r"stream='out\.txt'"):
        Stdout(stream="out.txt")  # type: ignore[arg-type]
