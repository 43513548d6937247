"""The embedded model turns texts into vectors."""

from __future__ import annotations

import math

import pytest

from genai_pipeline.errors import ContextOverflow, InvalidRequest
from genai_pipeline.providers import Local

pytestmark = [pytest.mark.anyio, pytest.mark.extras]


def cosine(one: list[float], other: list[float]) -> float:
    """Answer the cosine of two vectors of length one."""
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_vectors_have_length_one_and_come_in_order(local: Local) -> None:
    """Each text gets 256 numbers of length one, the same alone as in a batch."""
    texts = ["a dog barks", "the stock market fell", "puppies and hounds"]

    vectors = await local.embed(texts)

    for text, vector in zip(texts, vectors, strict=True):
        assert len(vector) == 256
        assert math.isclose(cosine(vector, vector), 1, abs_tol=1e-5)
        assert [vector] == await local.embed([text])


async def test_texts_of_like_meaning_have_like_vectors(local: Local) -> None:
    """Dogs are nearer to puppies than to the stock market."""
    dog, market, puppy = await local.embed(["a dog barks", "stock market", "puppies and hounds"])

    assert cosine(dog, puppy) > cosine(dog, market) + 0.2


async def test_case_does_not_matter(local: Local) -> None:
    """The same words have the same vector in capitals."""
    lower, upper = await local.embed(["customer service", "CUSTOMER SERVICE"])

    assert lower == upper


async def test_a_text_without_words_gets_zeros(local: Local) -> None:
    """A text that holds no word has no direction, and no batch fails because of it."""
    empty, number = await local.embed(["", "42!"])

    assert set(empty) == set(number) == {0.0}


async def test_an_empty_batch_is_answered_empty(local: Local) -> None:
    """No texts make no vectors."""
    assert await local.embed([]) == []


async def test_one_text_in_place_of_several_is_refused(local: Local) -> None:
    """A bare text is not taken for a batch of its letters."""
    with pytest.raises(InvalidRequest, match="give a list"):
        await local.embed("a dog barks")
    with pytest.raises(InvalidRequest, match="give a list"):
        await local.embed([1])  # type: ignore[list-item]


async def test_a_text_too_long_is_refused() -> None:
    """The limit holds for each text of a batch."""
    with pytest.raises(ContextOverflow, match="max_characters=10"):
        await Local(max_characters=10).embed(["short", "much too long"])
