"""The kinds of values an answer is made of: each tells its JSON Schema, and takes JSON values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

import attrs

from genai_pipeline._generate._issues import Issue, below, shown
from genai_pipeline._generate._keywords import violations

__all__ = [
    "UNFIT",
    "Bounded",
    "Choice",
    "Field",
    "Formatted",
    "ListOf",
    "MapOf",
    "Node",
    "Object",
    "Scalar",
    "Union",
]

Json: TypeAlias = dict[str, Any]

UNFIT: Any = object()
"""What `Node.take` answers for a value that does not fit."""


class Node(Protocol):
    """One kind of value."""

    def schema(self, shared: dict[str, Json]) -> Json:
        """Answer the JSON Schema; what refers to itself is put into *shared*, by its name."""
        ...

    def take(self, value: Any, path: str, issues: list[Issue]) -> Any:
        """Answer what *value*, of JSON types, stands for; else `UNFIT`, and say why in *issues*."""
        ...


@attrs.frozen
class Scalar:
    """A text, a number, a truth value, or null."""

    kind: str
    """As JSON Schema names it."""

    def schema(self, shared: dict[str, Json]) -> Json:  # noqa: ARG002 - for others
        """Answer the JSON Schema."""
        return {"type": self.kind}

    def take(self, value: Any, path: str, issues: list[Issue]) -> Any:
        """Answer *value* itself, a number as an `int` or a `float` as asked for."""
        found = violations(value, {"type": self.kind}, path)
        if found:
            issues.extend(found)
            return UNFIT
        if self.kind == "integer":
            return int(value)
        if self.kind == "number":
            try:
                return float(value)
            except OverflowError:
                issues.append((path, "a number beyond what a double can hold"))
                return UNFIT
        return value


@attrs.frozen
class Formatted:
    """A text that stands for something else: a date, a UUID, an exact number."""

    name: str
    parse: Callable[[str], Any]
    format: str | None = None
    numbers: bool = False
    """Whether a number is taken for its text."""

    def schema(self, shared: dict[str, Json]) -> Json:  # noqa: ARG002 - for others
        """Answer the JSON Schema."""
        if self.format is None:
            return {"type": "string", "description": self.name}
        return {"type": "string", "format": self.format}

    def take(self, value: Any, path: str, issues: list[Issue]) -> Any:
        """Answer what the text stands for."""
        if self.numbers and type(value) in (int, float):
            value = repr(value)
        if isinstance(value, str):
            try:
                return self.parse(value)
            except (ValueError, ArithmeticError):
                pass
        issues.append((path, f"{shown(value)} is not {self.name}"))
        return UNFIT


@attrs.frozen
class Choice:
    """One of several values: of a `Literal`, or an `Enum`."""

    values: tuple[tuple[Any, Any], ...]
    """What stands in the JSON, and what it stands for."""

    def schema(self, shared: dict[str, Json]) -> Json:  # noqa: ARG002 - for others
        """Answer the JSON Schema."""
        plain = [each for each, _ in self.values]
        kinds = {type(each) for each in plain}
        names = {str: "string", int: "integer", bool: "boolean"}
        kind = names.get(kinds.pop()) if len(kinds) == 1 else None
        return {"enum": plain} if kind is None else {"type": kind, "enum": plain}

    def take(self, value: Any, path: str, issues: list[Issue]) -> Any:
        """Answer the value that is meant."""
        for plain, meant in self.values:
            if type(plain) is type(value) and plain == value:
                return meant
        allowed = ", ".join(shown(plain) for plain, _ in self.values)
        issues.append((path, f"{shown(value)} is none of {allowed}"))
        return UNFIT


@attrs.frozen
class ListOf:
    """Several values of one kind."""

    item: Node
    make: Callable[[list[Any]], Any]

    def schema(self, shared: dict[str, Json]) -> Json:
        """Answer the JSON Schema."""
        return {"type": "array", "items": self.item.schema(shared)}

    def take(self, value: Any, path: str, issues: list[Issue]) -> Any:
        """Answer the list, or tuple, of what the items stand for."""
        if not isinstance(value, list):
            issues.append((path, f"{shown(value)} is no list"))
            return UNFIT
        items = [
            self.item.take(each, below(path, index), issues) for index, each in enumerate(value)
        ]
        return UNFIT if any(item is UNFIT for item in items) else self.make(items)


@attrs.frozen
class MapOf:
    """Values of one kind by names that are not known beforehand."""

    item: Node

    def schema(self, shared: dict[str, Json]) -> Json:
        """Answer the JSON Schema."""
        return {"type": "object", "additionalProperties": self.item.schema(shared)}

    def take(self, value: Any, path: str, issues: list[Issue]) -> Any:
        """Answer the dict of what the values stand for."""
        if not isinstance(value, dict):
            issues.append((path, f"{shown(value)} is no object"))
            return UNFIT
        items = {key: self.item.take(each, below(path, key), issues) for key, each in value.items()}
        return UNFIT if any(item is UNFIT for item in items.values()) else items


@attrs.frozen
class Union:
    """A value of one of several kinds."""

    members: tuple[Node, ...]

    def schema(self, shared: dict[str, Json]) -> Json:
        """Answer the JSON Schema."""
        return {"anyOf": [member.schema(shared) for member in self.members]}

    def take(self, value: Any, path: str, issues: list[Issue]) -> Any:
        """Answer what the first member that fits makes of *value*."""
        closest: list[Issue] = []
        for member in self.members:
            found: list[Issue] = []
            taken = member.take(value, path, found)
            if taken is not UNFIT:
                return taken
            # What goes wrong deep inside is the kind that was meant.
            if not closest or len(found[0][0]) > len(closest[0][0]):
                closest = found
        if closest[0][0] == path:
            closest = [(path, f"{shown(value)} is of none of the kinds allowed")]
        issues.extend(closest)
        return UNFIT


@attrs.frozen
class Bounded:
    """A value within limits, which JSON Schema has keywords for."""

    inner: Node
    keywords: Mapping[str, Any]

    def schema(self, shared: dict[str, Json]) -> Json:
        """Answer the JSON Schema."""
        return {**self.inner.schema(shared), **self.keywords}

    def take(self, value: Any, path: str, issues: list[Issue]) -> Any:
        """Answer what *value* stands for, if it is within the limits."""
        found = violations(value, self.keywords, path)
        issues.extend(found)
        taken = self.inner.take(value, path, issues)
        return UNFIT if found else taken


@attrs.frozen
class Field:
    """One named part of an object."""

    key: str
    node: Node
    required: bool
    description: str | None = None

    def schema(self, shared: dict[str, Json]) -> Json:
        """Answer the JSON Schema: a part that may be left out may be null, since none is."""
        schema = self.node.schema(shared)
        if not self.required and not self.takes_null:
            schema = {"anyOf": [schema, {"type": "null"}]}
        if self.description is not None and "$ref" not in schema:
            schema = {**schema, "description": self.description}
        return schema

    @property
    def takes_null(self) -> bool:
        """Whether null is a value of its own here."""
        return self.node.take(None, "$", []) is not UNFIT


@attrs.define(eq=False)
class Object:
    """An attrs or data class, or a `TypedDict`."""

    name: str
    make: Callable[..., Any]
    description: str | None = None
    fields: tuple[Field, ...] = ()
    """Set once the kinds of all fields are known; one may be this object itself."""

    recursive: bool = False

    def schema(self, shared: dict[str, Json]) -> Json:
        """Answer the JSON Schema."""
        if not self.recursive:
            return self.body(shared)
        if self.name not in shared:
            shared[self.name] = {}
            shared[self.name] = self.body(shared)
        return {"$ref": f"#/$defs/{self.name}"}

    def body(self, shared: dict[str, Json]) -> Json:
        """Answer the JSON Schema, also of what refers to itself."""
        told = {} if self.description is None else {"description": self.description}
        return {
            "type": "object",
            **told,
            "properties": {field.key: field.schema(shared) for field in self.fields},
            "required": [field.key for field in self.fields],
            "additionalProperties": False,
        }

    def take(self, value: Any, path: str, issues: list[Issue]) -> Any:
        """Answer the object made of the parts."""
        if not isinstance(value, dict):
            issues.append((path, f"{shown(value)} is no object"))
            return UNFIT
        before = len(issues)
        known = {field.key for field in self.fields}
        issues.extend((below(path, key), "was not asked for") for key in value if key not in known)
        parts = {}
        for field in self.fields:
            if field.key not in value:
                if field.required:
                    issues.append((below(path, field.key), "is missing"))
            elif value[field.key] is not None or field.required or field.takes_null:
                place = below(path, field.key)
                parts[field.key] = field.node.take(value[field.key], place, issues)
        return UNFIT if len(issues) > before else self._made(parts, path, issues)

    def _made(self, parts: dict[str, Any], path: str, issues: list[Issue]) -> Any:
        try:
            return self.make(**parts)
        except Exception as error:  # noqa: BLE001 - whatever the validators of the class raise
            issues.append((path, f"{type(error).__name__}: {error}"))
            return UNFIT
