"""JSON Schema in full, where the package ``jsonschema`` is installed; its only importer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from genai_pipeline._generate._issues import Issue, below
from genai_pipeline.errors import ConfigurationError

__all__ = ["checker_by_library"]


def checker_by_library(
    schema: dict[str, Any], references: Iterable[str]
) -> Callable[[Any], list[Issue]] | None:
    """
    Answer what tells all that *schema* does not allow; `None` where the package is missing.

    *references* are those in it. Raises `ConfigurationError` for what is no schema, and for a
    reference that leads nowhere. Nothing is fetched from anywhere.
    """
    try:
        import jsonschema.validators  # noqa: PLC0415 - few use it, and it takes 50 ms
        import referencing.exceptions  # noqa: PLC0415
        import referencing.jsonschema  # noqa: PLC0415
    except ImportError:
        return None
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise ConfigurationError(
            f"generate: output: {error.json_path} is no JSON Schema: {error.message}"
        ) from None
    dialect = str(kind.META_SCHEMA.get("$schema"))
    root = referencing.jsonschema.specification_with(dialect).create_resource(schema)
    registry: Any = referencing.Registry().with_resource(root.id() or "", root)
    for reference in references:
        try:
            registry.resolver(root.id() or "").lookup(reference)
        except referencing.exceptions.Unresolvable:
            raise ConfigurationError(
                f"generate: output: the JSON Schema refers to {reference!r}, which is not in it"
            ) from None
    return functools.partial(_issues, kind(schema, registry=referencing.Registry()))


def _issues(validator: Any, value: Any) -> list[Issue]:
    return [(_place(error.absolute_path), error.message) for error in validator.iter_errors(value)]


def _place(parts: Any) -> str:
    path = "$"
    for part in parts:
        path = below(path, part)
    return path
