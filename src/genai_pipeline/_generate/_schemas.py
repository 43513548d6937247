"""JSON Schemas that others wrote: checked, obeyed, and put into the form that APIs enforce."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from genai_pipeline._generate._issues import Issue
from genai_pipeline._generate._json_schema import checker_by_library
from genai_pipeline._generate._keywords import faults_in, violations
from genai_pipeline.errors import ConfigurationError

__all__ = ["checker_of", "references_in", "strict"]

Checker: TypeAlias = Callable[[Any], list[Issue]]

_MEND = "pip install 'genai_pipeline[schema]'"


def checker_of(schema: dict[str, Any]) -> Checker:
    """
    Answer what tells everything in a value that *schema* does not allow.

    By ``jsonschema`` where it is installed, else by the keywords that this library knows. Raises
    `ConfigurationError` for what is no JSON Schema, for a keyword that nobody here obeys, and
    for a reference that leads out of the schema.
    """
    references = [*references_in(schema)]
    for reference in references:
        if not reference.startswith("#"):
            raise ConfigurationError(
                f"generate: output: the JSON Schema refers to {reference!r}; nothing is fetched, "
                "so put it into $defs"
            )
    checker = checker_by_library(schema, references)
    if checker is not None:
        return checker
    fault = next(faults_in(schema), None)
    if fault is not None:
        raise ConfigurationError(f"generate: output: {fault}; for all of JSON Schema: {_MEND}")
    return functools.partial(violations, schema=schema)


def references_in(schema: object) -> Iterator[str]:
    """Yield what *schema* refers to, from anywhere in it."""
    if isinstance(schema, Mapping):
        for keyword, told in schema.items():
            if keyword in {"$ref", "$dynamicRef"} and isinstance(told, str):
                yield told
            else:
                yield from references_in(told)
    elif isinstance(schema, list):
        for each in schema:
            yield from references_in(each)


def strict(schema: Any) -> Any:
    """
    Answer *schema* in the form that APIs can enforce: objects closed, all their keys required.

    Defaults are dropped, since no key is left out, and ``oneOf`` becomes ``anyOf``. An object of
    names that are not known beforehand stays what it is.
    """
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    made = {
        "anyOf" if keyword == "oneOf" else keyword: _strict_below(keyword, told)
        for keyword, told in schema.items()
        if keyword != "default"
    }
    if isinstance(schema.get("properties"), Mapping):
        made["required"] = list(schema["properties"])
        made.setdefault("additionalProperties", False)
    elif schema.get("type") == "object" and "additionalProperties" not in schema:
        made |= {"properties": {}, "required": [], "additionalProperties": False}
    return made


def _strict_below(keyword: str, told: Any) -> Any:
    if keyword in {"properties", "$defs", "definitions"} and isinstance(told, Mapping):
        return {name: strict(each) for name, each in told.items()}
    if keyword in {"enum", "const", "examples", "required"}:
        return told
    return strict(told)
