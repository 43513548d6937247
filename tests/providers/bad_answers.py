"""Bad input by name: what a server sends, whole or as a stream, in the terms of any API."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias

import attrs

from tests.providers.wires import Wire
from tests.servers.chat import Closing, http

__all__ = ["BOMB", "CASES", "LIMIT", "Case", "mutants"]

LIMIT = 2**20 + 2**18
"""The ``max_answer_bytes`` of whoever is answered so."""

BOMB = gzip.compress(b" " * (64 * 2**20))
"""Sixty-four megabytes."""

Whole: TypeAlias = Callable[[Wire], bytes | None]
Streamed: TypeAlias = Callable[[Wire, bytes, bytes], bytes | None]
"""Answers what is sent where some of a stream came before, and some would come after."""


@attrs.frozen
class Case:
    """One sort of bad input; what cannot be sent so is `None`."""

    whole: Whole | None = None
    streamed: Streamed | None = None


_PAGE = b"<html>\n<body>Please log in</body></html>\n"
_MARK = b"\xef\xbb\xbf"
_NOT_UTF_8 = b'{"text": "\xff\xfe\xe2\x82"}'
_TYPE_FOR_WHOLE = "application/json"
_NO_BODY = b"HTTP/1.1 204 No Content\r\n\r\n"
_SEVEN = re.compile(r"(?<=[\[ ])7(?=[,\]}])")
_NUMBERS = ("NaN", "-Infinity", "1e999", str(2**70), "-7")


def _document(wire: Wire, text: str = "fine") -> bytes:
    return json.dumps(wire.whole(text)).encode()


def _same(answer: bytes) -> Case:
    """Answer the case in which a server sends just *answer*, whatever is asked."""
    return Case(lambda _: answer, lambda *_: answer)


def _body(make: Callable[[bytes], bytes]) -> Whole:
    """Answer what sends the body that *make* makes of a right document."""
    return lambda wire: http(make(_document(wire)))


def _event(data: bytes) -> Streamed:
    """Answer what sends *data* as an event of the kind that brings text."""

    def streamed(wire: Wire, before: bytes, after: bytes) -> bytes:
        name, _ = wire.halves()[0][-1]
        return http(before + wire.frame(name, data) + after, kind=wire.media_type)

    return streamed


def _inside(data: bytes) -> Case:
    """Answer the case in which *data* stands where a document should, as body or as event."""
    return Case(lambda _: http(data), _event(data))


def _packed(data: bytes, coding: str = "gzip") -> Case:
    headers = f"content-encoding: {coding}\r\n"
    return Case(
        lambda _: http(data, headers=headers),
        lambda wire, *_: http(data, kind=wire.media_type, headers=headers),
    )


def _compressed(
    wire: Wire, pack: Callable[[bytes], bytes] = gzip.compress, coding: str = "gzip"
) -> bytes:
    return http(pack(_document(wire)), headers=f"content-encoding: {coding}\r\n")


def _compressed_stream(wire: Wire, before: bytes, after: bytes) -> bytes:
    packed = gzip.compress(before + after)
    return http(packed, kind=wire.media_type, headers="content-encoding: gzip\r\n")


def _cut(wire: Wire, before: bytes, after: bytes) -> bytes:
    """Answer a stream that ends in the middle of an event."""
    return before + wire.coded([wire.halves()[1][0]])[:-9]


def _short_stream(wire: Wire, before: bytes, after: bytes) -> bytes:
    cut = _cut(wire, before, after)
    return Closing(http(cut, kind=wire.media_type, length=len(before + after)))


def _long_stream(wire: Wire, before: bytes, after: bytes) -> bytes:
    length = len(_cut(wire, before, after))
    return Closing(http(before + after, kind=wire.media_type, length=length))


def _without_length(body: bytes, kind: str) -> bytes:
    return Closing(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n\r\n".encode() + body)


def _chunked(data: bytes, kind: str, end: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
    piece = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
    return Closing(head.encode() + piece + end)


def _large_stream(wire: Wire, before: bytes, after: bytes) -> bytes:
    padding = wire.coded([("weatherReport", {"type": "weather_report", "sky": "b" * 2**16})])
    data = before + padding * (LIMIT // 2**16) + after
    return _chunked(data, wire.media_type, b"0\r\n\r\n")


def _twice(wire: Wire) -> bytes:
    return http(_joined(_document(wire, "evil"), _document(wire)))


def _twice_in_events(wire: Wire, *_: bytes) -> bytes:
    pairs = zip(wire.events("evil"), wire.events("fine"), strict=True)
    frames = [
        wire.frame(name, _joined(json.dumps(wrong).encode(), json.dumps(right).encode()))
        for (_, wrong), (name, right) in pairs
    ]
    return http(b"".join(frames) + wire.end, kind=wire.media_type)


def _joined(first: bytes, second: bytes) -> bytes:
    """Answer an object with the keys of both, twice."""
    return first[:-1] + b"," + second[1:]


def _odd_numbers(document: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield *document* with each of the numbers that are none, or too large, for all of its own."""
    text = json.dumps({"zz": [7], **_with_sevens(document)})
    yield from (_SEVEN.sub(number, text).encode() for number in _NUMBERS)


def _with_sevens(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_sevens(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_sevens(each) for each in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return 7 if is_number else value


def _with_more(value: Any) -> Any:
    if isinstance(value, dict):
        more = {key: _with_more(inner) for key, inner in value.items()}
        return {"zz_unknown": {"deep": [1, None]}, **more, "zz-unknown": "new"}
    return [_with_more(each) for each in value] if isinstance(value, list) else value


def _more_in_events(wire: Wire, *_: bytes) -> bytes:
    events = [(name, _with_more(told)) for name, told in wire.events("fine")]
    return http(wire.coded(events) + wire.end, kind=wire.media_type)


def _unknown_events(wire: Wire, before: bytes, after: bytes) -> bytes:
    strange = wire.coded([("weatherReport", {"type": "weather_report", "sky": ["blue", 7]})])
    return http(before + strange + after, kind=wire.media_type)


def _without_end(wire: Wire, before: bytes, _: bytes) -> bytes:
    return http(before, kind=wire.media_type)


def _without_spare(wire: Wire, *_: bytes) -> bytes:
    events = wire.events("fine")
    kept = events[: len(events) - wire.spare]
    return http(wire.coded(kept), kind=wire.media_type)


def _error(wire: Wire, before: bytes, after: bytes) -> bytes:
    return http(before + wire.coded([wire.error]) + after, kind=wire.media_type)


def mutants(value: Any, odd: tuple[Any, ...]) -> Iterator[Any]:
    """Yield the document with each of its parts, in turn, left out or one of *odd* values."""
    yield from odd
    if isinstance(value, dict):
        for key, inner in value.items():
            yield {name: kept for name, kept in value.items() if name != key}
            yield from ({**value, key: mutant} for mutant in mutants(inner, odd))
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from ([*value[:index], each, *value[index + 1 :]] for each in mutants(inner, odd))


def _number_cases() -> dict[str, Case]:
    def case(at: int) -> Case:
        def whole(wire: Wire) -> bytes:
            return http(list(_odd_numbers(wire.whole("fine")))[at])

        def streamed(wire: Wire, *_: bytes) -> bytes:
            told = ((name, list(_odd_numbers(each))[at]) for name, each in wire.events("fine"))
            body = b"".join(wire.frame(name, data) for name, data in told)
            return http(body + wire.end, kind=wire.media_type)

        return Case(whole, streamed)

    names = [number if len(number) < 20 else "2**70" for number in _NUMBERS]
    return {f"`{name}` for every number": case(at) for at, name in enumerate(names)}


CASES: dict[str, Case] = {
    "a page in HTML": _same(http(_PAGE, kind="text/html")),
    "a page that is called what was asked for": Case(
        lambda _: http(_PAGE),
        lambda wire, *_: http(_PAGE, kind=wire.media_type),
    ),
    "nothing": Case(lambda _: http(b""), lambda wire, *_: http(b"", kind=wire.media_type)),
    "white space": Case(
        lambda _: http(b" \r\n"), lambda wire, *_: http(b"\r\n\r\n", kind=wire.media_type)
    ),
    "status 204, and no content": _same(_NO_BODY),
    "a right answer under another content type": Case(
        lambda wire: http(_document(wire), kind="text/plain"),
        lambda _, before, after: http(before + after, kind="text/plain; charset=x"),
    ),
    "a right answer, whole": Case(
        lambda wire: http(_document(wire)), lambda wire, *_: http(_document(wire))
    ),
    "less than its `content-length`": Case(
        lambda wire: Closing(http(_document(wire), length=len(_document(wire)) + 9)),
        _short_stream,
    ),
    "more than its `content-length`": Case(
        lambda wire: Closing(http(_document(wire), length=len(_document(wire)) - 9)),
        _long_stream,
    ),
    "no length, and the whole": Case(
        lambda wire: _without_length(_document(wire), _TYPE_FOR_WHOLE),
        lambda wire, before, after: _without_length(before + after, wire.media_type),
    ),
    "no length, and a part": Case(
        lambda wire: _without_length(_document(wire)[:-9], _TYPE_FOR_WHOLE),
        lambda wire, *parts: _without_length(_cut(wire, *parts), wire.media_type),
    ),
    "a `content-length` that is no number": _same(
        Closing(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n{}")
    ),
    "chunks that end early": Case(
        lambda wire: _chunked(_document(wire)[:-9], _TYPE_FOR_WHOLE, b"ff\r\n{"),
        lambda wire, *parts: _chunked(_cut(wire, *parts), wire.media_type, b"ff\r\n{"),
    ),
    "chunks of no size": Case(
        lambda wire: _chunked(_document(wire), _TYPE_FOR_WHOLE, b"zz no size\r\nrubbish"),
        lambda wire, before, _: _chunked(before, wire.media_type, b"zz no size\r\nrubbish"),
    ),
    "another protocol": _same(Closing(b"220 mail.example ESMTP\r\n")),
    "gzip": Case(_compressed, _compressed_stream),
    "deflate": Case(partial(_compressed, pack=zlib.compress, coding="deflate")),
    "a gzip bomb": _packed(BOMB),
    "gzip that is cut": _packed(gzip.compress(b"{}")[:-9]),
    "deflate that is cut": _packed(zlib.compress(b"{}")[:-3], "deflate"),
    "no gzip, though it is called so": _packed(b"no gzip at all"),
    "Brotli, which was not asked for": _packed(b"{}", "br"),
    "more than `max_answer_bytes`": Case(lambda _: http(b" " * (LIMIT + 1)), _large_stream),
    "half a document": _inside(b'{"cut": "sho'),
    "bytes that are no UTF-8": _inside(_NOT_UTF_8),
    "UTF-16": _inside('{"utf": 16}'.encode("utf-16")),
    "200,000 brackets": _inside(b"[" * 200_000 + b"]" * 200_000),
    "200,000 braces": _inside(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "a number of 5,000 digits": _inside(b'{"digits": ' + b"9" * 5000 + b"}"),
    "two documents": _inside(b'{"a": 1} {"b": 2}'),
    "an array": _inside(b"[{}]"),
    "`null`": _inside(b"null"),
    "a number": _inside(b"12"),
    "a text": _inside(b'"text"'),
    "an empty object": _inside(b"{}"),
    "an event over the limit": Case(
        streamed=lambda wire, before, _: http(before + wire.huge, kind=wire.media_type)
    ),
    "a byte order mark": Case(_body(lambda body: _MARK + body), _event(_MARK + b"{}")),
    "fields that are not known": Case(
        lambda wire: http(_with_more(wire.whole("fine"))), _more_in_events
    ),
    "events that are not known": Case(streamed=_unknown_events),
    "each key twice": Case(_twice, _twice_in_events),
    **_number_cases(),
    "an error, with a status of success": Case(
        lambda wire: http(wire.failed) if wire.failed else None,
        lambda wire, *_: http(wire.failed) if wire.failed else None,
    ),
    "an error among the events": Case(streamed=_error),
    "an end before the answer is whole": Case(streamed=_without_end),
    "an end without a last sign of it": Case(streamed=_without_spare),
}
"""By the words with which the reference tells of them."""
