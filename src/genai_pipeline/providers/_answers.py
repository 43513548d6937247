"""What a text has to be where labels or a schema were asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["as_json", "as_label", "is_strict", "label_schema", "schema_name"]

_FENCE = "```"
_TRIM = " \t\r\n\"'`*_.,;!\u201c\u201d\u2018\u2019"
_NAME = re.compile(r"[^A-Za-z0-9_-]+")
_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}


def label_schema(labels: Sequence[str]) -> dict[str, Any]:
    """Answer the JSON Schema of an object that holds one of *labels*."""
    return {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": list(labels)}},
        "required": ["label"],
        "additionalProperties": False,
    }


def as_label(text: str, labels: Sequence[str]) -> str | None:
    """
    Answer which of *labels* the model chose, to the letter; `None` when that is not clear.

    Takes the JSON object asked for, the bare label, and the label as models dress it that know
    nothing of schemas: in quotes, in other case, or after a colon (``Label: spam``).
    """
    if text in labels:
        return text
    document = _loads(_unfenced(text))
    if isinstance(document, dict) and len(document) == 1:
        document = next(iter(document.values()))
    if isinstance(document, str):
        text = document
        if text in labels:
            return text
    for said in (text, text.rpartition(":")[2]):
        meant = [label for label in labels if _plain(label) == _plain(said)]
        if len(meant) == 1:
            return meant[0]
    return None


def as_json(text: str, schema: Mapping[str, Any]) -> str | None:
    """
    Answer the JSON document in *text*, without the code fence some models put around it.

    `None` when it is no JSON, or is not of the schema's outermost type, or lacks one of its
    required keys. The rest of *schema* is not looked at.
    """
    bare = _unfenced(text)
    document = _loads(bare)
    if document is _BROKEN or not _of_type(document, schema.get("type")):
        return None
    if isinstance(document, dict):
        required = schema.get("required")
        if isinstance(required, list) and any(key not in document for key in required):
            return None
    return bare


def is_strict(schema: object) -> bool:
    """Tell whether every object in *schema* is closed and requires all its keys."""
    if isinstance(schema, list):
        return all(is_strict(item) for item in schema)
    if not isinstance(schema, dict):
        return True
    properties = schema.get("properties")
    if schema.get("type") == "object" or isinstance(properties, dict):
        keys = properties if isinstance(properties, dict) else {}
        if schema.get("additionalProperties") is not False:
            return False
        required = schema.get("required", [])
        if not isinstance(required, list) or sorted(map(str, required)) != sorted(keys):
            return False
    return all(is_strict(item) for item in schema.values())


def schema_name(schema: Mapping[str, Any], fingerprint: str) -> str:
    """Answer a name of the letters the API allows: the title, or one made of *fingerprint*."""
    title = schema.get("title")
    name = _NAME.sub("_", title)[:64].strip("_") if isinstance(title, str) else ""
    return name or f"schema_{fingerprint[:16]}"


_BROKEN = object()


def _loads(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _BROKEN


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _unfenced(text: str) -> str:
    bare = text.strip()
    if len(bare) > 2 * len(_FENCE) and bare.startswith(_FENCE) and bare.endswith(_FENCE):
        bare = bare[len(_FENCE) : -len(_FENCE)].strip().removeprefix("json")
    return bare.strip()


def _plain(text: str) -> str:
    return text.strip(_TRIM).casefold()


def _of_type(document: object, kind: object) -> bool:
    if kind in {"number", "integer"}:
        return isinstance(document, int | float) and not isinstance(document, bool)
    expected = _TYPES.get(kind) if isinstance(kind, str) else None
    return expected is None or isinstance(document, expected)
