"""Models as plain data: the form of a catalogue in mappings, in JSON and in TOML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from genai_pipeline import _strict_json
from genai_pipeline._options import check
from genai_pipeline.catalogue._info import ModelInfo
from genai_pipeline.errors import ConfigurationError

__all__ = ["ModelData", "dump", "entry_of", "load", "load_file", "naming", "to_models"]

ModelData: TypeAlias = "Mapping[str, Any] | Iterable[ModelInfo]"
"""The fields of `ModelInfo` by the names of models, or `ModelInfo` objects."""

_FIELDS = tuple(field.name for field in attrs.fields(ModelInfo) if field.name != "model")
_OWNER = "ModelCatalogue"


def to_models(data: ModelData) -> tuple[ModelInfo, ...]:
    """Answer the models in *data*."""
    if isinstance(data, Mapping):
        return tuple(entry_of(name, fields) for name, fields in data.items())
    fine = isinstance(data, Iterable) and not isinstance(data, str | bytes)
    check(fine, _OWNER, "models", data, "a mapping of models to their fields, or several ModelInfo")
    models = tuple(data)
    for index, model in enumerate(models):
        if not isinstance(model, ModelInfo):
            raise ConfigurationError(
                f"{_OWNER}: model {index} is a {type(model).__qualname__}; give a ModelInfo"
            )
    return models


def entry_of(name: Any, fields: Any, base: ModelInfo | None = None) -> ModelInfo:
    """Answer the model *name* with *fields*, and all others as *base* has them."""
    check(isinstance(name, str), _OWNER, "models", name, "names of models")
    check(isinstance(fields, Mapping), _OWNER, f"models[{name!r}]", fields, "a mapping of fields")
    for field, value in fields.items():
        if field not in _FIELDS:
            quote = "; quote a name that has a dot in it" if isinstance(value, Mapping) else ""
            raise ConfigurationError(
                f"{_OWNER}: {name!r} has {field!r}; known are {', '.join(sorted(_FIELDS))}{quote}"
            )
    try:
        return ModelInfo(model=name, **fields) if base is None else attrs.evolve(base, **fields)
    except ConfigurationError as error:
        raise ConfigurationError(f"{_OWNER}: {name!r}: {error}") from error


def load(text: str | bytes) -> dict[str, Any]:
    """Answer the mapping that a JSON text holds."""
    try:
        data = _strict_json.loads(text if isinstance(text, str) else text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{_OWNER}: the models are no JSON: {error}") from error
    check(isinstance(data, dict), _OWNER, "models", data, "a JSON object of models")
    return dict(data)


def load_file(path: str | Path) -> dict[str, Any]:
    """Answer the mapping in a file, of JSON or, if it ends in ``.toml``, of TOML."""
    place = Path(path)
    try:
        content = place.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{_OWNER}: the file cannot be read: {error.strerror or error}"
        ) from error
    return _toml(content) if place.suffix.lower() == ".toml" else load(content)


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Add *path* to what is said of what is in that file."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{error} (in {path})") from error


def dump(models: Iterable[ModelInfo]) -> str:
    """Answer *models* as JSON that `load` reads back."""
    data = {info.model: _plain(info) for info in models}
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def _toml(content: bytes) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - few have one

    try:
        return tomllib.loads(content.decode("utf-8"))
    except ValueError as error:
        raise ConfigurationError(f"{_OWNER}: the models are no TOML: {error}") from error


def _plain(info: ModelInfo) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name in _FIELDS:
        value = getattr(info, name)
        if value not in (None, (), {}):
            plain[name] = value.isoformat() if isinstance(value, date) else value
    return plain
