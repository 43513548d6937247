"""Collect."""

from __future__ import annotations

import pytest

from genai_pipeline.errors import ConfigurationError, StorageFailed
from genai_pipeline.records import Record
from genai_pipeline.sinks import Collect

pytestmark = pytest.mark.anyio


async def test_keeps_records_and_values() -> None:
    """Values and whole records are there in the order of arrival, until cleared."""
    sink: Collect[str] = Collect()
    await sink(Record("a", "key-a", {"tenant": "t"}))
    await sink(Record("b", "key-b"))
    assert sink.values == ["a", "b"]
    assert [record.key for record in sink.records] == ["key-a", "key-b"]
    assert sink.records[0].attributes == {"tenant": "t"}
    sink.clear()
    assert sink.values == []


async def test_holds_no_more_than_it_may() -> None:
    """Beyond limit= a StorageFailed names the limit; what is there stays."""
    sink: Collect[int] = Collect(limit=2)
    await sink(Record(1))
    await sink(Record(2))
    with pytest.raises(StorageFailed, match="limit=2"):
        await sink(Record(3))
    assert sink.values == [1, 2]


def test_limit_is_a_number_above_zero() -> None:
    """A wrong limit is refused when built."""
    with pytest.raises(ConfigurationError, match="limit=0"):
        Collect(limit=0)
