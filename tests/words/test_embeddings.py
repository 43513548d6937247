"""Requests to embed say no early and have one fingerprint; vectors are compact."""

from __future__ import annotations

import json
import pickle
from array import array
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline._encode import encode_json
from genai_pipeline.testing import strategies as gps

request_: Any = gp.EmbeddingRequest
"""The same, for what its types forbid."""


def test_a_text_is_a_request_of_one() -> None:
    """One text stands for a list of it."""
    assert gp.EmbeddingRequest("a") == gp.EmbeddingRequest(["a"])
    assert gp.EmbeddingRequest(iter(["a", "b"])).texts == ("a", "b")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: request_([]), "no texts; a request needs at least one"),
        (lambda: request_(b"a"), r"texts=b'a'; give a text, or several"),
        (lambda: request_(3), "texts=3; give a text, or several"),
        (lambda: request_(["a", None]), "text 1 is a NoneType; give texts"),
        (lambda: request_("a", dimensions=0), "dimensions=0; give a whole number, 1 or more"),
        (lambda: request_("a", task="search"), "task='search'; give one of 'query', 'document'"),
        (lambda: request_("a", extra=[]), r"extra=\[\]; give a mapping"),
        (lambda: request_("a", extra={"x": {1}}), r"extra\['x'\] is a set, which JSON"),
    ],
)
def test_a_wrong_field_is_named(make: Any, message: str) -> None:
    """What is wrong is said when the request is built: field, value and what is allowed."""
    with pytest.raises(gp.ConfigurationError, match=message):
        make()


def test_a_fingerprint_never_changes() -> None:
    """Journals outlive upgrades: fingerprints are the same in every version."""
    plain, full = (
        gp.EmbeddingRequest("Grüße"),
        gp.EmbeddingRequest(["a", "b"], dimensions=8, task="query", extra={"user": "u"}),
    )
    assert plain.fingerprint() == "38b4c8e087d0f43fdfcdb67cc70c6089"
    assert full.fingerprint() == "0cd252dab673353fc6702fe33f00577c"


@given(gps.embedding_requests(), gps.embedding_requests())
def test_requests_differ_as_their_fingerprints_do(
    one: gp.EmbeddingRequest, other: gp.EmbeddingRequest
) -> None:
    """Two requests with one fingerprint are equal, and a copy of a request has its own."""
    if one.fingerprint() == other.fingerprint():
        assert one == other
    assert pickle.loads(pickle.dumps(one)).fingerprint() == one.fingerprint()


@given(gps.embedding_requests())
def test_a_request_to_embed_is_never_one_to_generate(request: gp.EmbeddingRequest) -> None:
    """The two vocabularies share no fingerprint, whatever they ask."""
    assert request.fingerprint() != gp.Request("\n".join(request.texts)).fingerprint()


def test_requests_do_not_change() -> None:
    """A field cannot be set."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        gp.EmbeddingRequest("x").task = "query"  # type: ignore[misc]


@given(st.lists(st.lists(st.floats(width=32, allow_nan=False)), max_size=3))
def test_vectors_are_arrays_of_single_precision(vectors: list[list[float]]) -> None:
    """What single precision can hold comes back unchanged, in 4 bytes a number."""
    response = gp.EmbeddingResponse(vectors)
    assert [list(vector) for vector in response.vectors] == vectors
    assert all(memoryview(vector).itemsize == 4 for vector in response.vectors)  # type: ignore[arg-type]
    assert response == gp.EmbeddingResponse(response.vectors)


def test_an_array_is_taken_as_it_is() -> None:
    """A provider's own array is not copied."""
    vector = array("f", [1.0, 2.0])
    assert gp.EmbeddingResponse([vector]).vectors[0] is vector


def test_sinks_write_a_vector_as_a_list() -> None:
    """A response is JSON without further ado."""
    response = gp.EmbeddingResponse([[0.5, -1.0]], model="tiny")
    assert json.loads(encode_json(response))["vectors"] == [[0.5, -1.0]]
