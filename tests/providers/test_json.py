"""JSON as servers send it."""

from __future__ import annotations

import json
import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_pipeline.providers._json import NotJson, json_bytes, read_json
from genai_pipeline.testing import strategies as gps


@given(gps.json_objects())
def test_what_is_written_is_read(document: dict[str, object]) -> None:
    """Any document comes back as it was, with or without escapes and a byte order mark."""
    for body in (json_bytes(document), json.dumps(document).encode()):
        assert read_json(body) == read_json(b"\xef\xbb\xbf" + body) == document


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """Rubbish raises the one error, and what is read is plain JSON."""
    with suppress(NotJson):
        json.dumps(read_json(body), allow_nan=False)


@given(st.from_regex(r"-?[1-9][0-9]{0,30}(\.[0-9]{1,30})?[eE][+-]?[0-9]{1,4}", fullmatch=True))
def test_a_number_is_a_double_or_nothing(text: str) -> None:
    """What no double holds is null, and all else the nearest double."""
    value = read_json(f"[{text}]".encode())[0]
    assert value == (float(text) if math.isfinite(float(text)) else None)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e309", f"{'9' * 400}.5"])
def test_what_is_no_number_is_null(text: str) -> None:
    """Names that JSON has not, and what is beyond a double, are read as null."""
    assert read_json(f'{{"a": [{text}, 1.5]}}'.encode()) == {"a": [None, 1.5]}


def test_of_keys_that_come_twice_the_last_counts() -> None:
    """As in every reader of Python's, so that nobody sees another value than we do."""
    assert read_json(b'{"a": 1, "b": 2, "a": 3}') == {"a": 3, "b": 2}


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"\xff", b'"\xe2\x82"', "{}".encode("utf-16"), b"[" * 10**6, b"9" * 5000, b"{} {}"],
    ids=len,
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """Nothing, other encodings, bottomless nests, endless numbers and leftovers."""
    with pytest.raises(NotJson) as caught:
        read_json(body)
    assert caught.value.__suppress_context__


def test_half_a_pair_can_be_sent() -> None:
    """Text that UTF-8 cannot hold goes as an escape."""
    assert json_bytes({"a": "\ud800"}) == b'{"a":"\\ud800"}'
