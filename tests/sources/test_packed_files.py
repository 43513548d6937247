"""gzip and zstd: told by their first bytes, read as a stream, and bounded."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.sources import Csv, JsonLines, TextFiles
from tests.sources.reading import errors, read, values

pytestmark = pytest.mark.anyio

Pack = Callable[[bytes], bytes]


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=[gzip.compress, _zstd], ids=["gzip", "zstd"])
def pack(request: pytest.FixtureRequest) -> Pack:
    """Answer a way to pack bytes."""
    packing: Pack = request.param
    return packing


async def test_packed_files_are_told_by_their_first_bytes(pack: Pack) -> None:
    """The name does not matter; offsets are those of the unpacked text."""
    Path("a.data").write_bytes(pack(b'{"a": 1}\n{"a": 2}\n'))
    deliveries = await read(JsonLines("a.data"))
    assert values(deliveries) == [{"a": 1}, {"a": 2}]
    assert [each.record.attributes["offset"] for each in deliveries] == [0, 9]


async def test_other_sources_read_packed_files_too(pack: Pack) -> None:
    """Rows and texts may be packed, in any encoding."""
    Path("a.csv.gz").write_bytes(pack("a\r\né\r\n".encode("utf-16")))
    assert values(await read(Csv("a.csv.gz"))) == [{"a": "é"}]
    assert values(await read(TextFiles("a.csv.gz"))) == ["a\r\né\r\n"]


async def test_members_and_frames_that_follow_each_other_are_one_text(pack: Pack) -> None:
    """Packed files that were joined are read to the end, across a line that two share."""
    Path("a").write_bytes(b"".join(pack(part) for part in (b"1\n2", b"", b"3\n", b"4")))
    assert values(await read(JsonLines("a"))) == [1, 23, 4]


async def test_zeros_after_a_gzip_file_are_padding() -> None:
    """As gzip itself does, zeros at the end are passed over."""
    Path("a").write_bytes(gzip.compress(b"1\n") + b"\0" * 300_000)
    assert values(await read(JsonLines("a"))) == [1]


async def test_a_skippable_zstd_frame_is_skipped() -> None:
    """A zstd file may begin with a frame of metadata."""
    Path("a").write_bytes(b"\x50\x2a\x4d\x18\x03\0\0\0abc" + _zstd(b"1\n"))
    assert values(await read(JsonLines("a"))) == [1]


async def test_a_truncated_file_gives_the_lines_before_the_cut(pack: Pack) -> None:
    """The cut is an error that names file, line and byte; a half line is never a record."""
    lines = b"".join(b"%d\n" % (number * 7919 % 100_003) for number in range(50_000))
    whole = pack(lines)
    cut = len(whole) // 2
    Path("a").write_bytes(whole[:cut])
    Path("b").write_text("1\n")
    deliveries = await read(JsonLines("[ab]"))
    (error,) = errors(deliveries)
    read_before = values(deliveries)[:-1]
    assert read_before == [int(line) for line in lines.split()[: len(read_before)]]
    assert len(read_before) > 1000
    assert error.line == len(read_before) + 1
    assert f"it ends at byte {cut}, too early" in str(error)
    assert lines.split(b"\n")[error.line - 1].decode().startswith(str(error.payload))
    assert values(deliveries)[-1] == 1


async def test_a_truncated_small_file_gives_its_lines(pack: Pack) -> None:
    """Also where the cut is met while the encoding is being told."""
    Path("a").write_bytes(pack(b"1\n2\n")[:-2])
    deliveries = await read(JsonLines("a"))
    assert set(values(deliveries)) <= {1, 2}
    assert "truncated" in str(errors(deliveries)[0])


async def test_a_damaged_file_is_an_error(pack: Pack) -> None:
    """Bytes that were changed are noticed, and the next file is read."""
    data = bytearray(pack(json.dumps(list(range(20_000))).encode()))
    data[len(data) // 2] ^= 0xFF
    data[len(data) // 2 + 1] ^= 0xFF
    Path("a").write_bytes(data)
    Path("b").write_text("1\n")
    deliveries = await read(JsonLines("[ab]"))
    assert values(deliveries)[-1:] == [1]
    assert len(errors(deliveries)) >= 1


async def test_a_bomb_is_defused_by_its_ratio(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file that decodes to very much ends in an error, and the next file is read."""
    monkeypatch.setattr("genai_pipeline.sources._compression.HARMLESS", 1_000_000)
    Path("a").write_bytes(pack(b" " * 20_000_000))
    Path("b").write_text("1\n")
    deliveries = await read(JsonLines("[ab]"))
    assert values(deliveries) == [1]
    assert "beyond max_ratio=500" in str(errors(deliveries)[0])


async def test_a_bomb_is_defused_by_its_size(pack: Pack) -> None:
    """max_decoded_bytes bounds what any packed file may give."""
    Path("a").write_bytes(pack(b"1\n" * 40_000))
    deliveries = await read(JsonLines("a", max_decoded_bytes=60_000))
    assert values(deliveries) == [1] * 30_000
    assert "decodes to more than max_decoded_bytes=60000" in str(errors(deliveries)[0])


async def test_a_text_that_unpacks_to_too_much(pack: Pack) -> None:
    """For TextFiles the limit of a file is that of its text."""
    Path("a").write_bytes(pack(b"x" * 10_000_000))
    (error,) = errors(await read(TextFiles("a", max_file_bytes=1000)))
    assert "too long: more than max_file_bytes=1000" in str(error)


async def test_zstd_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error tells which command mends it."""
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.delitem(sys.modules, "genai_pipeline.sources._zstd", raising=False)
    Path("a").write_bytes(_zstd(b"1\n"))
    with pytest.raises(ConfigurationError, match=r"pip install 'genai_pipeline\[zstd\]'"):
        await read(JsonLines("a"))
