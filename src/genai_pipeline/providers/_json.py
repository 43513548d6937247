"""JSON to send, and JSON as servers send it, where what is odd has a defined meaning."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import attrs

from genai_pipeline.errors import InvalidAnswer

__all__ = ["NotJson", "ReadOnce", "json_bytes", "not_json", "read_json"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_QUOTED = 100
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """Answer *document* as JSON to send."""
    try:
        return _ENCODER.encode(document).encode()
    except UnicodeEncodeError:  # half a surrogate pair, which only an escape can carry
        return json.dumps(document, separators=(",", ":")).encode()


class NotJson(ValueError):
    """Raised when bytes are no JSON."""


def read_json(body: bytes) -> Any:
    """
    Answer the document in *body*, in UTF-8.

    Of keys that come twice in one object the last one counts. ``NaN``, ``Infinity``, and
    fractions beyond what a double holds are read as null, since no number stands for them.
    Raises `NotJson` for anything else that is no JSON, and for what is nested too deeply.
    """
    try:
        return _DECODER.decode(body.removeprefix(_BYTE_ORDER_MARK).decode())
    except (ValueError, RecursionError):
        raise NotJson from None


@attrs.define(eq=False)
class ReadOnce:
    """`read_json` for one body that several ask for: what was read is not to be changed."""

    _body: bytes | None = attrs.field(default=None, init=False)
    _document: Any = attrs.field(default=None, init=False)

    def __call__(self, body: bytes) -> Any:
        """Answer the document in *body*; raises `NotJson`."""
        if body is not self._body:
            self._document = read_json(body)
            self._body = body
        return self._document


def not_json(body: bytes, headers: Mapping[str, str], who: str) -> InvalidAnswer:
    """Answer the error for a *body* that should be JSON; *who* begins its message."""
    if not body.strip():
        return InvalidAnswer(f"{who}: the answer is empty")
    kind = headers.get("content-type", "no content type")[:80]
    begins = " ".join(body[:400].decode("utf-8", "replace").split())[:_QUOTED]
    return InvalidAnswer(f"{who}: the answer is no JSON ({kind}); it begins {begins!r}")


def _number(text: str) -> float | None:
    value = float(text)  # which makes infinity of 1e999
    return value if math.isfinite(value) else None


def _nothing(_: str) -> None:
    return None


_DECODER = json.JSONDecoder(parse_constant=_nothing, parse_float=_number)
