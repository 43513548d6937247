"""The small part of JSON Schema that needs no library: kinds, parts, choices and limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from genai_pipeline._generate._issues import Issue, below, shown

__all__ = ["faults_in", "violations"]

Schema: TypeAlias = Mapping[str, Any]

_SAID = {
    "object": "an object",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}

_SHAPES: dict[str, tuple[type, ...]] = {
    "type": (str, list),
    "enum": (list,),
    "const": (object, bool),
    "properties": (Mapping,),
    "required": (list,),
    "additionalProperties": (bool, Mapping),
    "items": (bool, Mapping),
    "anyOf": (list,),
    "$ref": (str,),
    "$defs": (Mapping,),
    "definitions": (Mapping,),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), (int,)),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), (int, float)),
}
"""What may stand behind the keywords that are obeyed here."""

_TOLD = frozenset(
    {
        *("$schema", "$id", "$comment", "title", "description", "default"),
        *("examples", "format", "deprecated", "readOnly", "writeOnly"),
    }
)
"""Keywords that forbid nothing."""

_MOST_REFERENCES = 100


def violations(value: Any, schema: Schema, path: str = "$") -> list[Issue]:
    """
    Answer everything in *value*, of JSON types, that *schema* does not allow.

    *schema* has no keywords but those that `faults_in` finds no fault with.
    """
    return list(_Check(schema).all(value, schema, path))


def faults_in(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield what keeps *schema* from being obeyed by `violations`, each place by its JSONPath."""
    yield from _faults(schema, schema, "$")


def _faults(schema: Any, root: Schema, path: str) -> Iterator[str]:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, Mapping):
        yield f"{path} is no schema: {shown(schema)}"
        return
    for keyword in (each for each in schema if each not in _TOLD):
        told: Any = schema[keyword]
        place = below(path, keyword)
        if keyword not in _SHAPES:
            yield f"{place} is a keyword that is not known here"
        elif not _is_fine(keyword, told):
            yield f"{place} is {shown(told)}, which it cannot be"
        elif keyword == "$ref" and not _leads_somewhere(told, root):
            yield f"{place} is {shown(told)}, which leads nowhere"
        else:
            for each, inner in _inside(keyword, told, place):
                yield from _faults(inner, root, each)


def _is_fine(keyword: str, told: Any) -> bool:
    kinds = _SHAPES[keyword]
    if not isinstance(told, kinds) or (isinstance(told, bool) and bool not in kinds):
        return False
    several: list[Any] = told if isinstance(told, list) else [told]
    if keyword == "type":
        return all(each in _SAID for each in several)
    return keyword != "required" or all(isinstance(each, str) for each in several)


def _inside(keyword: str, told: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield the schemas behind a *keyword*, and the place of each."""
    if keyword in {"properties", "$defs", "definitions"}:
        for name, each in told.items():
            yield below(place, name), each
    elif keyword == "anyOf":
        for index, each in enumerate(told):
            yield below(place, index), each
    elif keyword in {"items", "additionalProperties"}:
        yield place, told


def _leads_somewhere(reference: Any, root: Schema) -> bool:
    for _ in range(_MOST_REFERENCES):
        place: Any = root
        hash_, *parts = reference.split("/")
        for part in parts:
            place = place.get(part) if isinstance(place, Mapping) else None
        if hash_ != "#" or not isinstance(place, Mapping):
            return False
        if "$ref" not in place:
            return True
        reference = place["$ref"]
        if not isinstance(reference, str):
            return False
    return False


class _Check:
    def __init__(self, root: Schema) -> None:
        self._root = root

    def all(self, value: Any, schema: Schema | bool, path: str) -> Iterator[Issue]:  # noqa: FBT001
        """Yield what *schema* does not allow of *value*."""
        if isinstance(schema, bool):
            if not schema:
                yield path, "is not allowed"
            return
        kinds = schema.get("type")
        if kinds is not None and not _is_of(value, kinds):
            yield path, f"{shown(value)} is not {_said(kinds)}"
            return
        if "$ref" in schema:
            yield from self.all(value, self._resolved(schema["$ref"]), path)
        if "anyOf" in schema:
            yield from self._any_of(value, schema["anyOf"], path)
        for keyword, breaks, message in _RULES:
            if keyword in schema and breaks(value, schema[keyword]):
                yield path, message.format(shown(value), shown(schema[keyword]))
        if isinstance(value, list) and "items" in schema:
            for index, item in enumerate(value):
                yield from self.all(item, schema["items"], below(path, index))
        if isinstance(value, dict):
            yield from self._parts(value, schema, path)

    def _parts(self, value: dict[str, Any], schema: Schema, path: str) -> Iterator[Issue]:
        for key in schema.get("required", ()):
            if key not in value:
                yield below(path, key), "is missing"
        known = schema.get("properties", {})
        others = schema.get("additionalProperties", True)
        for key, item in value.items():
            if key in known:
                yield from self.all(item, known[key], below(path, key))
            elif others is False:
                yield below(path, key), "was not asked for"
            else:
                yield from self.all(item, others, below(path, key))

    def _any_of(self, value: Any, schemas: list[Schema], path: str) -> Iterator[Issue]:
        found = [list(self.all(value, schema, path)) for schema in schemas]
        if all(found):
            closest = max(found, key=lambda issues: len(issues[0][0]))
            if closest[0][0] == path:
                closest = [(path, f"{shown(value)} is of none of the kinds allowed")]
            yield from closest

    def _resolved(self, reference: str) -> Schema:
        place: Any = self._root
        for part in reference.split("/")[1:]:
            place = place[part]
        schema: Schema = place
        return schema


def _is_of(value: Any, kinds: str | list[str]) -> bool:
    if isinstance(kinds, list):
        return any(_is_of(value, kind) for kind in kinds)
    if isinstance(value, bool):
        return kinds == "boolean"
    if kinds == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    python: dict[str, type | tuple[type, ...]] = {
        "object": dict,
        "array": list,
        "string": str,
        "number": (int, float),
        "null": type(None),
    }
    return kinds in python and isinstance(value, python[kinds])


def _said(kinds: str | list[str]) -> str:
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return " or ".join(_SAID.get(kind, kind) for kind in kinds)


def _same(one: Any, other: Any) -> bool:
    """Compare as JSON does, where 1 is 1.0 and not true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)


def _limit(
    kinds: type | tuple[type, ...], breaks: Callable[[Any, Any], bool]
) -> Callable[[Any, Any], bool]:
    def check(value: Any, limit: Any) -> bool:
        return isinstance(value, kinds) and not isinstance(value, bool) and breaks(value, limit)

    return check


def _is_none_of(value: Any, choices: list[Any]) -> bool:
    return not any(_same(value, choice) for choice in choices)


_RULES: tuple[tuple[str, Callable[[Any, Any], bool], str], ...] = (
    ("const", lambda value, only: not _same(value, only), "{} is not {}"),
    ("enum", _is_none_of, "{} is none of {}"),
    ("minimum", _limit((int, float), lambda value, least: value < least), "{} is below {}"),
    ("maximum", _limit((int, float), lambda value, most: value > most), "{} is above {}"),
    ("exclusiveMinimum", _limit((int, float), lambda v, least: v <= least), "{} is not above {}"),
    ("exclusiveMaximum", _limit((int, float), lambda v, most: v >= most), "{} is not below {}"),
    ("minLength", _limit(str, lambda v, least: len(v) < least), "{} is shorter than {} characters"),
    ("maxLength", _limit(str, lambda v, most: len(v) > most), "{} is longer than {} characters"),
    ("minItems", _limit(list, lambda v, least: len(v) < least), "{} has fewer than {} items"),
    ("maxItems", _limit(list, lambda v, most: len(v) > most), "{} has more than {} items"),
)
