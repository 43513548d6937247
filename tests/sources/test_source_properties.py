"""Whatever a file holds and however it is cut up, the same records come out."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import anyio
import pytest
import zstandard
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from genai_pipeline.records import Delivery
from genai_pipeline.sources import Csv, JsonLines, TextFiles
from tests.sources.reading import errors, keys, read, values

_PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
_BLOCK = "genai_pipeline.sources._compression.BLOCK"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
blocks = st.sampled_from([5, 7, 64, 128 * 1024])
packings = st.sampled_from(sorted(_PACKINGS))
newlines = st.sampled_from(["\n", "\r\n"])
encodings = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-be"])
backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])
quick = settings(max_examples=60, deadline=None)


def _read(
    backend: str, make: Callable[[Path], Any], data: bytes, block: int
) -> list[Delivery[Any]]:
    with tempfile.TemporaryDirectory() as folder, mock.patch(_BLOCK, block):
        path = Path(folder, "in.data")
        path.write_bytes(data)
        return anyio.run(read, make(path), backend=backend)


@backends
@quick
@given(
    items=st.lists(json_values, max_size=8),
    newline=newlines,
    encoding=encodings,
    packing=packings,
    block=blocks,
    ascii_only=st.booleans(),
    ended=st.booleans(),
)
def test_any_json_values_come_out_as_they_went_in(
    *,
    backend: str,
    items: list[Any],
    newline: str,
    encoding: str,
    packing: str,
    block: int,
    ascii_only: bool,
    ended: bool,
) -> None:
    """Newlines, encodings, packing and block borders change neither values nor keys."""
    text = newline.join(json.dumps(item, ensure_ascii=ascii_only) for item in items)
    text += newline if ended else ""
    data = _PACKINGS[packing](text.encode(encoding))
    deliveries = _read(backend, lambda path: JsonLines(path, encoding=encoding), data, block)
    assert values(deliveries) == items
    assert [key.rpartition(":")[2] for key in keys(deliveries)] == [
        str(number + 1) for number in range(len(items))
    ]


@backends
@quick
@given(
    rows=st.lists(st.lists(texts, min_size=2, max_size=2), max_size=8),
    newline=newlines,
    encoding=encodings,
    packing=packings,
    block=blocks,
)
def test_any_rows_come_out_as_they_went_in(
    *, backend: str, rows: list[list[str]], newline: str, encoding: str, packing: str, block: int
) -> None:
    """Fields with quotes, delimiters and newlines survive, in whatever form the file is."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator=newline, quoting=csv.QUOTE_ALL)
    writer.writerows([["a", "b"], *rows])
    data = _PACKINGS[packing](out.getvalue().encode(encoding))
    deliveries = _read(backend, lambda path: Csv(path, encoding=encoding), data, block)
    assert [list(value.values()) for value in values(deliveries)] == rows
    assert errors(deliveries) == []


@backends
@quick
@given(
    count=st.integers(1, 12),
    damage=st.dictionaries(st.integers(0, 200), st.integers(0, 255), min_size=1, max_size=3),
    block=blocks,
)
def test_damage_costs_only_the_lines_it_hits(
    backend: str, count: int, damage: dict[int, int], block: int
) -> None:
    """After bytes were changed at random, every line that was not hit is still delivered."""
    lines = [json.dumps({"n": number, "text": "ü" * number}) for number in range(count)]
    data = bytearray("\n".join(lines).encode())
    for place, byte in damage.items():
        data[place % len(data)] = byte
    assume(not data.startswith((b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b\x08", b"(\xb5/\xfd")))
    whole = set(lines) & set(bytes(data).decode("utf-8", "replace").split("\n"))
    deliveries = _read(backend, JsonLines, bytes(data), block)
    delivered = {json.dumps(value) for value in values(deliveries)}
    assert {json.dumps(json.loads(line)) for line in whole} <= delivered
    told = len(values(deliveries)) + len(errors(deliveries))
    blank = sum(not line.strip(b" \t\r\n") for line in bytes(data).split(b"\n"))
    assert told == len(bytes(data).split(b"\n")) - blank


@backends
@quick
@given(
    count=st.integers(2, 12),
    hits=st.sets(st.integers(0, 11), max_size=1),
    bad=st.sampled_from(['"open', 'a"b,"c', '1,"x"y', "1,2,3", "1", '"', '1,"']),
    block=blocks,
)
def test_damaged_rows_cost_only_themselves(
    backend: str, count: int, hits: set[int], bad: str, block: int
) -> None:
    """A row with a stray quote or the wrong width does not take its neighbours along."""
    rows = [bad if number in hits else f'{number},"x, y"' for number in range(count)]
    data = ("a,b\n" + "\n".join(rows)).encode()
    deliveries = _read(backend, Csv, data, block)
    whole = [number for number in range(count) if number not in hits]
    assert [int(value["a"]) for value in values(deliveries)] == whole
    assert [error.line for error in errors(deliveries)] == sorted(
        hit + 2 for hit in hits if hit < count
    )


@backends
@quick
@given(data=st.binary(max_size=300), head=st.sampled_from([b"", b"\x1f\x8b\x08", b"(\xb5/\xfd"]))
@pytest.mark.parametrize("make", [JsonLines, Csv, TextFiles])
def test_any_bytes_are_read_without_a_crash(
    backend: str, make: Callable[[Path], Any], data: bytes, head: bytes
) -> None:
    """Whatever a file holds, the reading ends, keys are unique, and nothing is raised."""
    deliveries = _read(backend, make, head + data, 64)
    assert len(set(keys(deliveries))) == len(deliveries)
    for delivery in deliveries:
        if delivery.error is None and isinstance(delivery.record.value, float):
            assert math.isfinite(delivery.record.value)
    errors(deliveries)


@backends
@quick
@given(text=texts, encoding=encodings, packing=packings, block=blocks)
@example(text="\0", encoding="utf-16", packing="plain", block=64)  # as if it were UTF-32
def test_any_text_comes_out_as_it_went_in(
    backend: str, text: str, encoding: str, packing: str, block: int
) -> None:
    """A text is one record, whatever form its file has."""
    assume(not text.startswith("\ufeff"))
    data = _PACKINGS[packing](text.encode(encoding))
    deliveries = _read(backend, lambda path: TextFiles(path, encoding=encoding), data, block)
    assert values(deliveries) == [text]
