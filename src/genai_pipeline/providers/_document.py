"""What a document from a server holds, where each value may be of any type."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["as_count", "as_dict", "as_list", "as_text", "object_in", "quoted"]

_MOST = 2**53


def as_dict(value: object) -> dict[str, Any]:
    """Answer *value* if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """Answer *value* if it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def as_text(value: object) -> str:
    """Answer *value* if it is text, else an empty one."""
    return value if isinstance(value, str) else ""


def as_count(value: object) -> int:
    """Answer *value* if it is a number of things, else 0."""
    if type(value) is not int and type(value) is not float:
        return 0
    return int(value) if 0 < value < _MOST else 0


def object_in(text: str) -> Any:
    """Answer the object that *text* is the JSON of; the text itself when it was cut."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return text
    return found if isinstance(found, dict) else text


def quoted(request_id: str | None) -> str:
    """Answer the end of a message, that names the request."""
    return f" (request {request_id[:80]})" if request_id else ""
