"""`Values`: what is iterable becomes records."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from operator import itemgetter
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline.errors import ConfigurationError, DataError
from genai_pipeline.sources import Values
from tests.sources.reading import keys, read, values

pytestmark = pytest.mark.anyio


async def test_ordinals_are_the_keys() -> None:
    """Without key= the keys count from zero."""
    assert keys(await read(Values(["a", "b"]))) == ["0", "1"]


async def test_the_application_chooses_keys() -> None:
    """The key= function sees the value, and a number becomes its text."""
    assert keys(await read(Values([3, 5], key=lambda value: value * 2))) == ["6", "10"]


async def test_an_asynchronous_iterable_is_read() -> None:
    """An asynchronous generator gives its values in order."""

    async def numbers() -> AsyncIterator[int]:
        yield 1
        yield 2

    deliveries = await read(Values(numbers()))
    assert (keys(deliveries), values(deliveries)) == (["0", "1"], [1, 2])


async def test_a_generator_is_read_once() -> None:
    """A second reading of a generator is an error that tells what to give instead."""
    source = Values(number for number in range(3))
    assert values(await read(source)) == [0, 1, 2]
    with pytest.raises(ConfigurationError, match=r"generator, can be read only once.*give a list"):
        await read(source)


async def test_an_asynchronous_generator_is_read_once() -> None:
    """The same holds for asynchronous generators."""

    async def numbers() -> AsyncIterator[int]:
        yield 1

    source = Values(numbers())
    await read(source)
    with pytest.raises(ConfigurationError, match="only once"):
        await read(source)


async def test_generators_are_closed_when_reading_ends_early() -> None:
    """What a generator holds is released when the reading is closed."""
    ended: list[str] = []

    def plain() -> Iterator[int]:
        try:
            yield from range(5)
        finally:
            ended.append("plain")

    async def other() -> AsyncIterator[int]:
        try:
            for number in range(5):
                yield number
        finally:
            ended.append("async")

    sources: list[Values[int]] = [Values(plain()), Values(plain(), key=str), Values(other())]
    for source in sources:
        deliveries = aiter(source)
        await anext(deliveries)
        await deliveries.aclose()
    assert ended == ["plain", "plain", "async"]


async def test_what_the_iterable_raises_comes_through() -> None:
    """A failing iterable fails the reading with its own error, after the values before it."""

    def failing() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    deliveries = aiter(Values(failing()))
    assert (await anext(deliveries)).record.value == 1
    with pytest.raises(OSError, match="gone"):
        await anext(deliveries)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (lambda row: row["id"], "key= raised KeyError: 'id'"),
        (lambda _: "", "key= answered ''"),
        (lambda _: None, "key= answered None"),
        (lambda _: True, "key= answered True"),
    ],
)
async def test_a_value_without_a_key_is_delivered_as_broken(key: Any, reason: str) -> None:
    """Where key= fails, the record carries a DataError and keeps its ordinal as the key."""
    (delivery,) = await read(Values([{"name": "x"}], key=key))
    assert isinstance(delivery.error, DataError)
    assert reason in str(delivery.error)
    assert (delivery.record.key, delivery.record.value) == ("values[0]", {"name": "x"})


def test_its_repr_is_short() -> None:
    """A message that shows a source of many values does not show them all."""
    assert len(repr(Values(list(range(1_000_000))))) < 200


@pytest.mark.parametrize("wrong", ["a text", b"bytes", 7])
def test_what_is_no_collection_is_refused(wrong: Any) -> None:
    """A text, which would fall apart into letters, and what cannot be iterated are refused."""
    with pytest.raises(ConfigurationError, match=r"Values: iterable=.*give an iterable"):
        Values(wrong)


def test_key_must_be_a_function() -> None:
    """A name where a function belongs is refused when the source is built."""
    with pytest.raises(ConfigurationError, match="key='id'; give a function of the value"):
        Values([1], key="id")  # type: ignore[arg-type]


async def test_a_value_whose_key_failed_takes_no_other_values_place() -> None:
    """Once key= is mended, a journal passes no value by for one that was dead before."""
    journal, found = gp.journals.Memory(), [{"id": 1}, {"id": 0}]
    written = []
    for name in ("idd", "id"):
        sink: gp.sinks.Collect[dict[str, int]] = gp.sinks.Collect()
        report = await gp.Pipeline(
            source=Values(found, key=itemgetter(name)),
            stage=gp.map(dict[str, int]),
            sink=sink,
            journal=journal,
            max_failures=None,
        ).run()
        written.append((report.written, report.dead))
    assert written == [(0, 2), (2, 0)]
