"""A catalogue finds models by their names, and can be corrected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.catalogue._info import FEATURES, INPUTS, OUTPUTS

_NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9._:/@-]{0,20}", fullmatch=True)
_COUNTS = st.none() | st.integers(1, 10**7)
_DAYS = st.none() | st.dates()
_TEXTS = st.none() | st.text(min_size=1, max_size=10)


def infos(names: st.SearchStrategy[str] = _NAMES) -> st.SearchStrategy[gp.ModelInfo]:
    """Models of all kinds."""
    return st.builds(
        gp.ModelInfo,
        model=names,
        provider=st.none() | st.sampled_from(["openai", "acme"]),
        context_window=_COUNTS,
        max_input_tokens=_COUNTS,
        max_output_tokens=_COUNTS,
        dimensions=_COUNTS,
        input_modalities=st.none() | st.lists(st.sampled_from(INPUTS), min_size=1, unique=True),
        output_modalities=st.none() | st.lists(st.sampled_from(OUTPUTS), min_size=1, unique=True),
        features=st.dictionaries(st.sampled_from(FEATURES), st.booleans()),
        tokenizer=_TEXTS,
        deprecated=st.none() | st.booleans(),
        retires=_DAYS,
        as_of=_DAYS,
        source=_TEXTS,
        note=_TEXTS,
    )


def catalogues() -> st.SearchStrategy[gp.ModelCatalogue]:
    """Catalogues whose models have names that differ."""
    listed = st.lists(infos(), max_size=6, unique_by=lambda info: info.model.lower())
    return listed.map(gp.ModelCatalogue)


@given(catalogues())
def test_json_and_back(catalogue: gp.ModelCatalogue) -> None:
    """A catalogue survives JSON, field by field."""
    assert gp.ModelCatalogue.from_json(catalogue.to_json()) == catalogue


@given(catalogues(), st.data())
def test_each_is_found_by_its_name(catalogue: gp.ModelCatalogue, data: st.DataObject) -> None:
    """Whatever else is in a catalogue, a model is found by its very name, in whatever case."""
    for info in catalogue:
        assert catalogue.find(info.model) is info
        assert catalogue.find(info.model.upper()) is info
        assert catalogue.find(info.model, provider="nobody") is None
    name = data.draw(_NAMES)
    found = catalogue.find(name)
    assert found is None or name.lower().find(found.model.lower().rstrip(":")) >= 0


@given(catalogues(), st.data())
def test_a_correction_changes_what_it_names(
    catalogue: gp.ModelCatalogue, data: st.DataObject
) -> None:
    """Fields that are given replace what is known of a model; its others, and others, stay."""
    if not len(catalogue):
        return
    info = data.draw(st.sampled_from(catalogue.models))
    window = data.draw(_COUNTS)
    changed = catalogue.with_models({info.model: {"context_window": window}})
    assert [other for other in changed if other.model != info.model] == [
        other for other in catalogue if other.model != info.model
    ]
    found = changed.find(info.model)
    assert found is not None
    assert found.context_window == window
    assert found.max_output_tokens == info.max_output_tokens
    assert found.features == info.features
    assert len(changed) == len(catalogue)


@given(catalogues(), infos())
def test_a_whole_model_replaces_another(catalogue: gp.ModelCatalogue, info: gp.ModelInfo) -> None:
    """A `ModelInfo` replaces all that is known of its name and maker, or is new."""
    taken = {(other.model.lower(), other.provider) for other in catalogue}
    if (info.model.lower(), info.provider) in taken:
        catalogue = gp.ModelCatalogue(o for o in catalogue if o.model.lower() != info.model.lower())
    changed = catalogue.with_models([info])
    assert changed.find(info.model, provider=info.provider) in (info, None)
    assert info in changed
    assert changed.with_models([info]) == changed


def test_a_correction_of_one_snapshot() -> None:
    """A spelling of a known name becomes a model of its own, with the other fields of that one."""
    catalogue = gp.ModelCatalogue({"acme": {"context_window": 10, "max_output_tokens": 5}})
    changed = catalogue.with_models({"acme-2026-05-13": {"max_output_tokens": 4}})
    old, other, plain = map(changed.find, ("acme-2026-05-13", "acme-2026-08-06", "acme"))
    assert old is not None
    assert (old.model, old.context_window, old.max_output_tokens) == ("acme-2026-05-13", 10, 4)
    assert other is plain
    assert plain is not None
    assert plain.max_output_tokens == 5


def test_a_correction_by_alias() -> None:
    """What is said of an alias is said of its model."""
    catalogue = gp.ModelCatalogue({"acme-2": {"aliases": ["acme-latest"], "context_window": 10}})
    changed = catalogue.with_models({"acme-latest": {"context_window": 20}})
    assert len(changed) == 1
    assert changed.find("acme-2") is changed.find("acme-latest") is changed.models[0]
    assert changed.models[0].context_window == 20


def test_a_correction_may_make_unknown() -> None:
    """`None` makes a field unknown, so that a limit counts no more."""
    changed = gp.ModelCatalogue.reference().with_models({"gpt-4o": {"max_output_tokens": None}})
    info = changed.find("gpt-4o")
    assert info is not None
    assert info.max_output_tokens is None
    assert info.context_window == 128_000


def test_two_makers_of_one_name() -> None:
    """A name that two makers have is unknown until the maker is said."""
    one, other = (gp.ModelInfo(model="large", provider=maker) for maker in ("acme", "zenith"))
    catalogue = gp.ModelCatalogue([one, other])
    assert catalogue.find("large") is None
    assert catalogue.find("large", provider="zenith") is other
    changed = catalogue.with_models({"large": {"provider": "acme", "context_window": 7}})
    found = changed.find("large", provider="acme")
    assert found is not None
    assert found.context_window == 7
    assert changed.find("large", provider="zenith") is other


WRONG: list[tuple[Any, str]] = [
    ("gpt", "models='gpt'; give a mapping"),
    (7, "models=7; give a mapping"),
    ([{"model": "a"}], "model 0 is a dict; give a ModelInfo"),
    ({7: {}}, "models=7; give names"),
    ({"a": 7}, r"models\['a'\]=7; give a mapping of fields"),
    ({"a": {"context": 7}}, "'a' has 'context'; known are aliases, as_of"),
    ({"a": {"model": "b"}}, "'a' has 'model'; known are"),
    ({"gpt-4": {"1": {"context_window": 7}}}, "'gpt-4' has '1'.*quote a name that has a dot"),
    ({"a": {"context_window": -7}}, "'a': ModelInfo: context_window=-7; give a whole number"),
    ({"a b": {}}, "'a b': ModelInfo: model='a b'; give a name"),
    ({"a": {"aliases": ["b"]}, "b": {}}, "'b' names both 'a' and 'b'"),
    ({"a": {"aliases": ["A"]}, "A": {}}, "'a' names both 'a' and 'A'"),
]


@pytest.mark.parametrize(("models", "said"), WRONG, ids=lambda case: str(case)[:40])
def test_wrong_models_are_refused(models: Any, said: str) -> None:
    """An error names the model, the field and what is allowed."""
    with pytest.raises(gp.ConfigurationError, match=f"ModelCatalogue: .*{said}"):
        gp.ModelCatalogue(models)
    with pytest.raises(gp.ConfigurationError, match="ModelCatalogue: "):
        gp.ModelCatalogue().with_models(models)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("m.json", "{", "no JSON"),
        ("m.json", "[]", "give a JSON object of models"),
        ("m.json", '{"a": {}, "a": {}}', "no JSON: .*twice"),
        ("m.json", '{"a": {"dimensions": 0}}', "'a': ModelInfo: dimensions=0"),
        ("m.toml", "a = ", "no TOML"),
        ("m.toml", "[a]\ndimensions = 0", "'a': ModelInfo: dimensions=0"),
        ("m.toml", "a = 7", r"models\['a'\]=7; give a mapping of fields"),
        ("m.toml", "[gpt-4.1]\ndimensions = 7", "quote a name that has a dot"),
        ("m.json", b"\xff", "no JSON"),
        ("m.toml", b"\xff", "no TOML"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, name: str, text: str | bytes, said: str) -> None:
    """A file that is wrong is named beside what is wrong in it."""
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    for read in (gp.ModelCatalogue.from_file, gp.ModelCatalogue.reference().with_file):
        with pytest.raises(gp.ConfigurationError, match=f"ModelCatalogue: .*{said}") as caught:
            read(path)
        assert str(caught.value).count(str(path)) == 1


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A file that cannot be read is named, and why."""
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(gp.ConfigurationError, match="cannot be read: ") as caught:
            gp.ModelCatalogue.from_file(path)
        assert str(caught.value).count(str(path)) == 1


def test_json_and_toml_say_the_same(tmp_path: Path) -> None:
    """A file of TOML is read as one of JSON is, days included."""
    toml, other = tmp_path / "m.toml", tmp_path / "m.json"
    toml.write_text('["acme-4.1"]\ncontext_window = 128_000\nretires = 2027-01-14\n')
    other.write_text('{"acme-4.1": {"context_window": 128000, "retires": "2027-01-14"}}')
    read = gp.ModelCatalogue.from_file(toml)
    assert read == gp.ModelCatalogue.from_file(other)
    assert gp.ModelCatalogue().with_file(str(toml)) == read
