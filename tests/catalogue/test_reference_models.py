"""The models that come with the library are a reference: dated, and said where they are from."""

from __future__ import annotations

import json
from datetime import date
from importlib.resources import files

import genai_pipeline as gp
from tests.money.prices import TODAY

REFERENCE = gp.ModelCatalogue.reference()


def test_each_entry_has_its_date_and_source() -> None:
    """Every model says who makes it, and as of which day what page says so."""
    assert len(REFERENCE) >= 50
    for info in REFERENCE:
        assert info.provider in {"openai", "anthropic", "google", "amazon", "cohere"}, info.model
        assert info.as_of is not None, info.model
        assert date(2025, 1, 1) <= info.as_of <= TODAY
        assert info.source is not None, info.model
        assert info.source.startswith("https://"), info.model


def test_each_entry_is_plausible() -> None:
    """What reads and writes has room for both; what embeds says how much it reads and makes."""
    for info in REFERENCE:
        if info.output_modalities == ("embedding",):
            assert info.dimensions is not None
            assert info.max_input_tokens is not None
            assert info.context_window is info.max_output_tokens is None
            continue
        assert info.dimensions is None
        assert info.context_window is not None, info.model
        assert info.most_read is not None
        assert 100_000 <= info.most_read <= info.context_window <= 2_000_000
        if info.max_output_tokens is not None:
            assert 8_000 <= info.max_output_tokens <= info.context_window / 2
        assert info.output_modalities in (None, ("text",))
        assert info.input_modalities is None or info.input_modalities[0] == "text"


def test_what_ends_is_deprecated() -> None:
    """A model whose end is announced is deprecated."""
    ending = [info for info in REFERENCE if info.retires is not None]
    assert ending
    assert all(info.deprecated for info in ending)


def test_the_reference_survives_json() -> None:
    """A copy of it can be kept and edited as a file."""
    assert gp.ModelCatalogue.from_json(REFERENCE.to_json()) == REFERENCE


def test_every_priced_model_is_known() -> None:
    """What has a reference price has its limits in the catalogue, snapshots included."""
    names = {price.model for price in gp.PriceBook.reference().prices}
    unknown = [name for name in names if not name.endswith("*") and REFERENCE.find(name) is None]
    assert unknown == []


def test_no_name_is_given_twice() -> None:
    """The file names no model twice, which JSON readers would let pass."""
    text = files("genai_pipeline.catalogue").joinpath("reference_models.json").read_text("utf-8")
    pairs: list[tuple[str, object]] = json.loads(text, object_pairs_hook=list)
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)) == len(REFERENCE)
