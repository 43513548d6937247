"""`ModelCatalogue`: what is known of models, by their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self

import attrs

from genai_pipeline.catalogue._info import ModelInfo
from genai_pipeline.catalogue._names import spellings
from genai_pipeline.catalogue._reading import (
    ModelData,
    dump,
    entry_of,
    load,
    load_file,
    naming,
    to_models,
)
from genai_pipeline.errors import ConfigurationError

__all__ = ["ModelCatalogue"]


@attrs.frozen
class ModelCatalogue:
    """
    What is known of models: how much they read and write, what they take and can, until when.

    *models* are `ModelInfo` objects, or a mapping of names to mappings of `ModelInfo` fields::

        gp.ModelCatalogue({"acme-large": {"context_window": 200_000, "max_output_tokens": 8_192}})

    Immutable; nothing is fetched. `reference` answers a table to begin with. The models of a
    mapping and of a file have names that differ; objects may have the same name for makers
    that differ.
    """

    models: tuple[ModelInfo, ...] = attrs.field(default=(), converter=to_models)

    _named: dict[str, list[ModelInfo]] = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        named: dict[str, list[ModelInfo]] = {}
        for info in self.models:
            for name in dict.fromkeys(map(str.lower, (info.model, *info.aliases))):
                known = named.setdefault(name, [])
                _refuse_twice(name, info, known)
                known.append(info)
        object.__setattr__(self, "_named", named)

    def __iter__(self) -> Iterator[ModelInfo]:
        return iter(self.models)

    def __len__(self) -> int:
        return len(self.models)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """
        Answer the catalogue that a JSON text holds, in the form of the mapping.

        Raises `ConfigurationError` that names the model, the field and what is allowed.
        """
        return cls(load(text))

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """
        Answer the catalogue in a file of JSON or, if its name ends in ``.toml``, of TOML.

        Raises `ConfigurationError` as `from_json` does, with the path, also where it cannot be
        read.
        """
        with naming(path):
            return cls(load_file(path))

    def to_json(self) -> str:
        """Answer the models as JSON that `from_json` reads back."""
        return dump(self.models)

    @classmethod
    def reference(cls) -> ModelCatalogue:
        """
        Answer what the makers of some well-known models say of them.

        A place to begin, not a promise: each entry tells *as of* which day its *source* said so,
        and makers change limits and set dates without notice. Correct what differs by
        `with_models` or `with_file`.
        """
        return _reference()

    def find(self, model: str, *, provider: str | None = None) -> ModelInfo | None:
        """
        Answer what is known of *model*; `None` when nothing is.

        Found are a model's name and aliases, in whatever case, and their spellings: with a date
        (``gpt-4o-2024-08-06``) or a version (``-001``, ``-v1:0``) after them; as Bedrock has
        them, in an inference profile and an ARN too (``us.anthropic.claude-opus-4-5-…-v1:0``);
        as Vertex AI has them (``claude-opus-4-5@20251101``, ``publishers/google/models/…``); and
        after their maker and a slash, as gateways have them. A name that is only the beginning of
        another is not found, nor is a fine-tuned model.

        *provider* is the maker to be found; without one, a name that two makers have is unknown.
        """
        for name in spellings(model.lower()):
            known = self._named.get(name, ())
            found = [info for info in known if provider in (None, info.provider)]
            if found:
                return found[0] if len(found) == 1 else None
        return None

    def with_models(self, models: ModelData) -> Self:
        """
        Answer a catalogue that knows *models* too.

        Of a mapping, the fields that are given change what is known of the model of that name or
        alias, and the others stay; `None` makes a field unknown. A spelling of a known name
        (see `find`) becomes a model of its own, which has the other fields of that one. A
        `ModelInfo` replaces all that is known of its name.
        """
        given = _changed(self, models) if isinstance(models, Mapping) else to_models(models)
        kept = {(info.provider, info.model): info for info in self.models}
        kept.update({(info.provider, info.model): info for info in given})
        return type(self)(tuple(kept.values()))

    def with_file(self, path: str | Path) -> Self:
        """Answer a catalogue that knows the models in a file too, as by `with_models`."""
        with naming(path):
            return self.with_models(load_file(path))


def _changed(catalogue: ModelCatalogue, data: Mapping[Any, Any]) -> Iterator[ModelInfo]:
    for name, fields in data.items():
        base = None
        if isinstance(name, str) and isinstance(fields, Mapping):
            base = catalogue.find(name, provider=fields.get("provider"))
        if base is not None and name.lower() not in map(str.lower, (base.model, *base.aliases)):
            base = attrs.evolve(base, model=name, aliases=())  # of a spelling: one snapshot
        yield entry_of(name, fields, base)


def _refuse_twice(name: str, info: ModelInfo, known: list[ModelInfo]) -> None:
    for other in known:
        if other.provider == info.provider:
            raise ConfigurationError(
                f"ModelCatalogue: {name!r} names both {other.model!r} and {info.model!r}; give it "
                "to one of them"
            )


@cache
def _reference() -> ModelCatalogue:
    from importlib.resources import files  # noqa: PLC0415 - only who asks for it pays for it

    data = files("genai_pipeline.catalogue").joinpath("reference_models.json")
    return ModelCatalogue.from_json(data.read_text("utf-8"))
