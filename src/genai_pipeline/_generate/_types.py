"""A Python type as the kinds of values that an answer may be made of."""

from __future__ import annotations

import dataclasses
import inspect
import math
import types
import typing
from collections.abc import Hashable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    get_args,
    get_origin,
    is_typeddict,
)
from uuid import UUID

import attrs

from genai_pipeline._generate._nodes import (
    Bounded,
    Choice,
    Field,
    Formatted,
    ListOf,
    MapOf,
    Node,
    Object,
    Scalar,
    Union,
)
from genai_pipeline.errors import ConfigurationError

__all__ = ["fields_of_type", "node_of"]


def _exact(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError(text)
    return number


_PLAIN: dict[Any, Node] = {
    str: Scalar("string"),
    int: Scalar("integer"),
    float: Scalar("number"),
    bool: Scalar("boolean"),
    None: Scalar("null"),
    type(None): Scalar("null"),
    datetime: Formatted("a date and time as in ISO 8601", datetime.fromisoformat, "date-time"),
    date: Formatted("a date as in ISO 8601", date.fromisoformat, "date"),
    time: Formatted("a time as in ISO 8601", time.fromisoformat, "time"),
    UUID: Formatted("a UUID", UUID, "uuid"),
    Decimal: Formatted("an exact decimal number, such as 12.50", _exact, numbers=True),
}
_ALLOWED = (
    "an attrs class, a data class, a TypedDict, a Literal, an Enum, str, int, float, bool, None, "
    "date, datetime, time, Decimal, UUID, and lists, tuples (of one type and ...), dicts by str "
    "and unions of these"
)
_LIMITS = {
    "string": {"min_length": "minLength", "max_length": "maxLength"},
    "array": {"min_length": "minItems", "max_length": "maxItems"},
    "number": {
        "ge": "minimum",
        "le": "maximum",
        "gt": "exclusiveMinimum",
        "lt": "exclusiveMaximum",
    },
}
_LIMITS["integer"] = _LIMITS["number"]


def node_of(kind: Any) -> Node:
    """
    Answer what *kind*, a type, is made of.

    Raises `ConfigurationError` that names the place of what is not supported.
    """
    return _Reading().read(kind, getattr(kind, "__name__", str(kind)))


def fields_of_type(kind: Any) -> dict[str, Any] | None:
    """Answer the names and types of the fields of a class; `None` for what has no such."""
    if not _has_fields(kind):
        return None
    return {part.name: part.kind for part in _parts_of(kind, kind.__name__)}


def _has_fields(kind: Any) -> bool:
    return isinstance(kind, type) and (
        is_typeddict(kind) or attrs.has(kind) or dataclasses.is_dataclass(kind)
    )


@attrs.frozen
class _Part:
    """A field of a class: its name there, and in calls that make one."""

    name: str
    key: str
    kind: Any
    required: bool
    description: str | None = None


class _Reading:
    """Reads one type, and the types within it, each class once."""

    def __init__(self) -> None:
        self._objects: dict[Any, Object] = {}
        self._unfinished: set[Any] = set()

    def read(self, kind: Any, where: str) -> Node:
        """Answer what *kind* is made of; *where* names it in errors."""
        if isinstance(kind, Hashable) and kind in _PLAIN:
            return _PLAIN[kind]
        if get_origin(kind) is not None:
            return self._composed(kind, get_origin(kind), get_args(kind), where)
        if isinstance(kind, type) and issubclass(kind, Enum):
            return Choice(tuple(_choices(tuple(kind), where)))
        if _has_fields(kind):
            return self._object(kind, where)
        raise _unsupported(kind, where)

    def _composed(self, kind: Any, origin: Any, arguments: tuple[Any, ...], where: str) -> Node:
        if origin is Annotated:
            return _bounded(self.read(arguments[0], where), arguments[1:], where)
        if origin in (Required, NotRequired):
            return self.read(arguments[0], where)
        if origin is Literal:
            return Choice(tuple(_choices(arguments, where)))
        if origin in (typing.Union, types.UnionType):
            return Union(tuple(self.read(each, where) for each in arguments))
        return self._collection(kind, origin, arguments, where)

    def _collection(self, kind: Any, origin: Any, arguments: tuple[Any, ...], where: str) -> Node:
        item = f"{where}[]"
        if origin in (list, Sequence) and len(arguments) == 1:
            return ListOf(self.read(arguments[0], item), list)
        if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:  # noqa: PLR2004
            return ListOf(self.read(arguments[0], item), tuple)
        if origin in (dict, Mapping) and len(arguments) == 2 and arguments[0] is str:  # noqa: PLR2004
            return MapOf(self.read(arguments[1], item))
        raise _unsupported(kind, where)

    def _object(self, kind: Any, where: str) -> Object:
        known = self._objects.get(kind)
        if known is not None:
            known.recursive = known.recursive or kind in self._unfinished
            return known
        names = {each.name for each in self._objects.values()}
        name = kind.__name__
        while name in names:
            name += "_"
        node = Object(name, kind, _docstring(kind))
        self._objects[kind] = node
        self._unfinished.add(kind)
        parts = list(_parts_of(kind, where))
        _check_can_be_made(kind, parts, where)
        node.fields = tuple(
            Field(
                part.key,
                self.read(part.kind, f"{where}.{part.name}"),
                part.required,
                part.description or _described(part.kind),
            )
            for part in parts
        )
        self._unfinished.discard(kind)
        return node


def _parts_of(kind: Any, where: str) -> Iterator[_Part]:
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except Exception as error:  # an annotation may be any expression
        raise ConfigurationError(
            f"{where}: its annotations cannot be read ({error}); define what they name at the "
            "top of the module"
        ) from error
    if is_typeddict(kind):
        for name, hint in hints.items():
            # Annotations that are texts hide NotRequired from the class itself.
            wrapped = get_origin(hint) if get_origin(hint) in (Required, NotRequired) else None
            fallback = Required if name in kind.__required_keys__ else NotRequired
            yield _Part(name, name, hint, (wrapped or fallback) is Required)
    elif attrs.has(kind):
        for field in attrs.fields(kind):
            if field.init:
                yield _Part(
                    field.name,
                    field.alias or field.name,
                    hints.get(field.name, Any),
                    field.default is attrs.NOTHING,
                    field.metadata.get("description"),
                )
    else:
        missing = dataclasses.MISSING
        for each in dataclasses.fields(kind):
            if each.init:
                required = each.default is missing and each.default_factory is missing
                described = each.metadata.get("description")
                yield _Part(each.name, each.name, hints[each.name], required, described)


def _check_can_be_made(kind: Any, parts: list[_Part], where: str) -> None:
    if is_typeddict(kind):
        return
    try:
        inspect.signature(kind).bind(**{part.key: None for part in parts})
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{where}: {kind.__name__} cannot be made of its fields alone: {error}"
        ) from None


def _docstring(kind: Any) -> str | None:
    text = vars(kind).get("__doc__")
    made_up = f"{kind.__name__}("  # as `dataclasses` does
    return inspect.cleandoc(text) if text and not text.startswith(made_up) else None


def _choices(values: tuple[Any, ...], where: str) -> Iterator[tuple[Any, Any]]:
    for value in values:
        plain = value.value if isinstance(value, Enum) else value
        if not isinstance(plain, str | int | None):
            raise ConfigurationError(
                f"{where}: {value!r} cannot stand in JSON as it is; a choice is a text, a whole "
                "number, a truth value or None"
            )
        yield plain, value


def _described(kind: Any) -> str | None:
    if get_origin(kind) in (Required, NotRequired):
        return _described(get_args(kind)[0])
    if get_origin(kind) is not Annotated:
        return None
    for told in get_args(kind)[1:]:
        text = told if isinstance(told, str) else getattr(told, "documentation", None)
        if isinstance(text, str):
            return text
    return None


def _bounded(node: Node, told: tuple[Any, ...], where: str) -> Node:
    """Answer *node* within the limits told as `annotated_types` does: ``ge``, ``max_length``."""
    names = _LIMITS.get(str(node.schema({}).get("type")), {})
    keywords = {}
    for each in told:
        for name in {name for limits in _LIMITS.values() for name in limits}:
            limit = getattr(each, name, None)
            if limit is None or (name == "min_length" and limit == 0):
                continue
            fine = isinstance(limit, int | float) and math.isfinite(limit)
            if name not in names or not fine:
                raise ConfigurationError(f"{where}: {each!r} is no limit that can be kept here")
            keywords[names[name]] = limit
    return Bounded(node, keywords) if keywords else node


def _unsupported(kind: Any, where: str) -> ConfigurationError:
    shown = kind.__name__ if isinstance(kind, type) and get_origin(kind) is None else repr(kind)
    return ConfigurationError(
        f"generate: output: {where} is of {shown}, which is not supported; give {_ALLOWED}; or a "
        "pydantic model, a msgspec Struct or a JSON Schema as the whole output"
    )
