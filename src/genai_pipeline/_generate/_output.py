"""What is asked for, as a JSON Schema, and how an answer becomes it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import attrs

from genai_pipeline._canonical import json_copy
from genai_pipeline._generate._issues import Issue, Unfit, below
from genai_pipeline._generate._nodes import UNFIT, Choice, Node, Object
from genai_pipeline._generate._schemas import checker_of, references_in, strict
from genai_pipeline._generate._types import node_of
from genai_pipeline._options import check

__all__ = ["Output", "output_of"]

Json: TypeAlias = dict[str, Any]

_SHARED = ("$defs", "definitions")
_VALUE = "value"
"""The key of what is no object, since a document has to be one."""


@attrs.frozen
class Output:
    """A shape of answers."""

    name: str
    schema: Json = attrs.field(repr=False)
    """Of an object: every API that takes a schema takes one of an object."""

    take: Callable[[Json], Any] = attrs.field(repr=False)
    """Answers what a JSON object stands for; raises `Unfit`."""

    labels: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    """What each text stands for, where the answer is one of several texts."""


def output_of(kind: Any) -> Output:
    """
    Answer the shape that *kind* is: a class, another type, or a JSON Schema.

    Raises `ConfigurationError` for what cannot be asked for.
    """
    if isinstance(kind, Mapping):
        return _of_schema(kind)
    if isinstance(kind, type) and callable(getattr(kind, "model_json_schema", None)):
        return _of_pydantic(kind)
    if isinstance(kind, type) and hasattr(kind, "__struct_fields__"):
        return _of_msgspec(kind)
    return _of_type(kind)


def _of_type(kind: Any) -> Output:
    node = node_of(kind)
    name = node.name if isinstance(node, Object) else getattr(kind, "__name__", str(kind))
    shared: dict[str, Json] = {}
    schema = node.body(shared) if isinstance(node, Object) else _wrapping(node.schema(shared))
    told = {"title": name, **schema} | ({"$defs": shared} if shared else {})
    return Output(name, told, _taker(node, wrapped=not isinstance(node, Object)), _labels(node))


def _taker(node: Node, *, wrapped: bool) -> Callable[[Json], Any]:
    def take(document: Json) -> Any:
        value, path, issues = _inside(document) if wrapped else document, "$", list[Issue]()
        taken = node.take(value, below(path, _VALUE) if wrapped else path, issues)
        if taken is UNFIT or issues:
            raise Unfit(*issues)
        return taken

    return take


def _labels(node: Node) -> Mapping[str, Any] | None:
    if not isinstance(node, Choice):
        return None
    values = dict(node.values)
    texts = all(isinstance(plain, str) and plain for plain in values)
    return values if texts and len(values) > 1 else None


def _wrapping(schema: Json) -> Json:
    return {
        "type": "object",
        "properties": {_VALUE: schema},
        "required": [_VALUE],
        "additionalProperties": False,
    }


def _inside(document: Json) -> Any:
    if set(document) != {_VALUE}:
        raise Unfit(("$", f"is not an object with the one key {_VALUE!r}"))
    return document[_VALUE]


def _of_schema(given: Mapping[str, Any]) -> Output:
    schema: Json = json_copy(given, where="generate: output")
    check(bool(schema), "generate", "output", given, "a JSON Schema that says something")
    issues_of = checker_of(schema)
    title = schema.get("title")
    name = title if isinstance(title, str) and title else "schema"
    wrapped = schema.get("type") != "object"
    fine = not wrapped or "#" not in references_in(schema)
    check(fine, "generate", "output", given, "a JSON Schema of an object, since it holds itself")

    def take(document: Json) -> Any:
        value = _inside(document) if wrapped else document
        issues = issues_of(value)
        if issues:
            raise Unfit(*issues)
        return value

    return Output(name, _wrapped(schema) if wrapped else schema, take)


def _wrapped(schema: Json) -> Json:
    """Put *schema* below one key; what it refers to stays where it is looked for."""
    shared: Json = {keyword: schema[keyword] for keyword in _SHARED if keyword in schema}
    inner = {keyword: told for keyword, told in schema.items() if keyword not in shared}
    return {**_wrapping(inner), **shared}


def _of_pydantic(kind: Any) -> Output:
    def take(document: Json) -> Any:
        try:
            return kind.model_validate_json(json.dumps(document))
        except Exception as error:  # noqa: BLE001 - validators of the model's own raise anything
            raise Unfit(*_issues_of(error)) from None

    return Output(kind.__name__, _rooted(strict(kind.model_json_schema())), take)


def _issues_of(error: Exception) -> list[Issue]:
    """Answer what pydantic, or a validator of the model's own, says is wrong."""
    issues = []
    errors: Any = getattr(error, "errors", None)
    found: Any = errors() if callable(errors) else ()
    for each in found:
        path = "$"
        for part in each["loc"]:
            path = below(path, part)
        issues.append((path, str(each["msg"])))
    return issues or [("$", f"{type(error).__name__}: {error}")]


def _of_msgspec(kind: Any) -> Output:
    msgspec: Any = importlib.import_module("msgspec")  # there, since the class is made of it

    def take(document: Json) -> Any:
        try:
            return msgspec.convert(document, kind)
        except Exception as error:  # noqa: BLE001 - so do those of a Struct
            message, _, place = str(error).partition(" - at `")
            raise Unfit((place.rstrip("`") or "$", message)) from None

    schema = msgspec.json.schema(kind)
    return Output(kind.__name__, _rooted(strict(schema)), take)


def _rooted(schema: Json) -> Json:
    """Answer *schema* with what its reference at the root leads to, since APIs want an object."""
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    name = reference.rpartition("/")[2]
    return {**schema["$defs"][name], "$defs": schema["$defs"]}
