"""The embedded model files a text under one of the labels that were given."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.errors import ConfigurationError, ContextOverflow, InvalidRequest
from genai_pipeline.providers import Local
from genai_pipeline.providers._local_answers import Labelling

if TYPE_CHECKING:
    from genai_pipeline.providers._local_vectors import WordVectors

pytestmark = [pytest.mark.anyio, pytest.mark.extras]

TEAMS = ("payment", "login", "delivery")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("I forgot my password and cannot sign in", "login"),
        ("My parcel has not arrived, the courier lost it", "delivery"),
        ("You charged my card twice, please refund the invoice", "payment"),
    ],
)
async def test_a_clear_text_is_filed_where_it_belongs(local: Local, text: str, label: str) -> None:
    """A text in everyday words gets the label that a person would choose."""
    assert (await local(gp.Request(text, labels=TEAMS))).text == label


async def test_labels_are_answered_to_the_letter(local: Local) -> None:
    """The answer is the label as it was given, however it is written."""
    labels = ["  Food_and-Drinks!", "MotorSport (cars)"]

    response = await local(gp.Request("a soup with fresh bread", labels=labels))

    assert response.text == "  Food_and-Drinks!"


async def test_scores_of_all_labels_come_with_the_answer(local: Local) -> None:
    """The response holds a similarity for each label, and the answer has the highest."""
    response = await local(gp.Request("the parcel is late", labels=TEAMS))

    scores = response.attributes["scores"]
    assert tuple(scores) == TEAMS
    assert all(-1 <= score <= 1 for score in scores.values())
    assert response.text == max(scores, key=scores.__getitem__)


async def test_words_written_together_are_read_as_words(local: Local) -> None:
    """A label that is an identifier counts with each of its words."""
    request = gp.Request("the oven bakes bread", labels=["KitchenAppliance", "garden_tools"])

    assert (await local(request)).text == "KitchenAppliance"


async def test_a_description_gives_a_meaning_to_a_code() -> None:
    """Labels that say nothing by themselves are chosen by their descriptions."""
    local = Local(descriptions={"A1": "cooking, recipes, meals", "A2": "football, matches, teams"})

    response = await local(gp.Request("They scored in the last minute", labels=["A1", "A2"]))

    assert response.text == "A2"


async def test_a_request_describes_its_own_labels(local: Local) -> None:
    """Descriptions in the request's extra are used like those of the provider, and win."""
    descriptions = {"x": "cooking, recipes, meals", "y": "football, matches, teams"}
    text = "Stir the soup and add salt"
    extra = {"descriptions": descriptions}
    swapped = Local(descriptions={"x": descriptions["y"], "y": descriptions["x"]})

    for model in (local, swapped):
        assert (await model(gp.Request(text, labels=["x", "y"], extra=extra))).text == "x"
    assert (await swapped(gp.Request(text, labels=["x", "y"]))).text == "y"


async def test_descriptions_of_other_labels_are_ignored_in_the_provider() -> None:
    """One provider may describe the labels of several requests."""
    local = Local(descriptions={"login": "password", "elsewhere": "unused"})

    response = await local(gp.Request("reset my password", labels=["login", "shop"]))

    assert set(response.attributes["scores"]) == {"login", "shop"}


async def test_usage_counts_tokens_and_costs_nothing(local: Local) -> None:
    """Tokens are counted for real, and the cost is known to be zero."""
    short = (await local(gp.Request("a parcel", labels=TEAMS))).usage
    long = (await local(gp.Request("a parcel " * 50, labels=TEAMS))).usage

    assert 0 < short.input_tokens < long.input_tokens
    assert short.output_tokens > 0
    assert short.cost == Decimal(0)


async def test_only_the_last_message_is_read(local: Local) -> None:
    """Instructions and earlier turns do not sway the choice."""
    request = gp.Request(
        [
            gp.Message("user", "I cannot sign in"),
            gp.Message("assistant", "What else?"),
            gp.Message("user", "the parcel was delivered to the wrong house"),
        ],
        system="You sort mail about passwords.",
        temperature=0.7,
        labels=TEAMS,
    )

    assert (await local(request)).text == "delivery"


async def test_the_longest_text_allowed_is_read_in_a_thread(local: Local) -> None:
    """A text as long as allowed is answered; one character more is refused before reading."""
    local = Local(max_characters=20_000)
    text = ("the parcel is late " * 2_000)[:20_000]

    assert (await local(gp.Request(text, labels=TEAMS))).text == "delivery"
    with pytest.raises(ContextOverflow, match=r"20,001 characters.*max_characters=20,000"):
        await local(gp.Request(text + "x", labels=TEAMS))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (gp.Request("Write a poem"), "cannot write text; it chooses among labels="),
        (gp.Request("x", schema={"type": "object"}), "cannot fill a schema="),
        (gp.Request([gp.Message("assistant", "Sure:")], labels=["a", "b"]), "role 'assistant'"),
        (gp.Request("12345 !?", labels=["cat", "dog"]), "'12345 !\\?' holds no word"),
        (gp.Request("", labels=["cat", "dog"]), "holds no word"),
        (gp.Request("9" * 99, labels=["cat", "dog"]), "'9{40}…' holds no word"),
        (gp.Request("cat", labels=["cat", "1"]), "the label '1' holds no word"),
        (gp.Request("cat", labels=["cat", "dog"], extra={"top_k": 1}), "extra holds 'top_k'"),
        (
            gp.Request("cat", labels=["cat", "dog"], extra={"descriptions": {"cow": "moo"}}),
            "descriptions\\['cow'\\]",
        ),
        (
            gp.Request("cat", labels=["cat", "dog"], extra={"descriptions": ["moo"]}),
            "give a mapping",
        ),
    ],
)
async def test_what_it_cannot_do_is_refused_with_the_reason(
    local: Local, request_: gp.Request, message: str
) -> None:
    """A request outside its abilities raises, and says what was wrong and what it can do."""
    with pytest.raises(InvalidRequest, match=message):
        await local(request_)


@pytest.mark.parametrize(
    "options",
    [{"descriptions": "billing"}, {"descriptions": {"a": 1}}, {"max_characters": 0}],
)
def test_wrong_options_are_refused_when_built(options: dict[str, object]) -> None:
    """An option that can never work raises at once and is named."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        Local(**options)  # type: ignore[arg-type]


letters = st.text(st.characters(codec="utf-8"), max_size=200)


@given(letters, st.lists(letters.filter(bool), min_size=2, max_size=6, unique=True))
def test_any_text_gets_a_label_or_a_reason(
    words: WordVectors, text: str, labels: list[str]
) -> None:
    """Whatever the text and the labels are, one label is answered or the request is refused."""
    task = Labelling(text, tuple(labels), {})

    try:
        first = task.answer(words)
    except InvalidRequest as error:
        assert "holds no word" in str(error)
    else:
        assert first.text in labels
        assert task.answer(words) == first


def test_text_that_is_no_text_is_read_without_a_crash(words: WordVectors) -> None:
    """A lone surrogate, which no encoding can hold, does not stop the words beside it."""
    assert not words.read("\ud800 hello").empty
