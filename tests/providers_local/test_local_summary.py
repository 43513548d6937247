"""The embedded model summarises a text by sentences of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.errors import InvalidRequest, Truncated
from genai_pipeline.providers import Local
from genai_pipeline.providers._local_answers import Summary
from genai_pipeline.providers._local_sentences import split_sentences

if TYPE_CHECKING:
    from genai_pipeline.providers._local_vectors import WordVectors

pytestmark = [pytest.mark.anyio, pytest.mark.extras]

KETTLE = (
    "I have used this kettle for half a year. The design is pretty. But the lid of the kettle "
    "broke twice, and the seller refused to replace the kettle. My sister is well."
)


async def test_a_summary_is_one_sentence_of_the_text(local: Local) -> None:
    """By default one sentence is answered, to the letter."""
    response = await local(Local.summary(KETTLE))

    assert response.text in split_sentences(KETTLE)
    assert response.finish_reason == "stop"


async def test_an_aside_is_left_out(local: Local) -> None:
    """A sentence about something else does not stand for the text."""
    response = await local(Local.summary(KETTLE, 2))

    assert "My sister" not in response.text


async def test_sentences_stand_in_the_order_of_the_text(local: Local) -> None:
    """Several sentences keep their order, and asking for more than there are gives all."""
    assert (await local(Local.summary(KETTLE, 99))).text == KETTLE


async def test_a_request_made_by_hand_does_the_same(local: Local) -> None:
    """The convenience builds nothing that a plain request could not say."""
    by_hand = gp.Request(KETTLE, extra={"task": "summary", "sentences": 2})

    assert by_hand == Local.summary(KETTLE, 2)
    assert (await local(by_hand)).text == (await local(Local.summary(KETTLE, 2))).text


async def test_the_second_sentence_does_not_repeat_the_first(local: Local) -> None:
    """Of two sentences that say the same, one is chosen."""
    text = (
        "The bridge over the river is closed to cars. "
        "The bridge over the river is closed to all cars. "
        "Buses take the tunnel instead."
    )

    assert "tunnel" in (await local(Local.summary(text, 2))).text


async def test_the_token_limit_is_kept_by_whole_sentences(local: Local) -> None:
    """A limit leaves out what does not fit, and the answer says that it was cut."""
    every = await local(Local.summary(KETTLE, 4))
    limit = every.usage.output_tokens - 1

    response = await local(Local.summary(KETTLE, 4, max_output_tokens=limit))

    assert response.usage.output_tokens <= limit
    assert response.finish_reason == "length"
    assert set(split_sentences(response.text)) < set(split_sentences(KETTLE))


async def test_a_limit_that_fits_no_sentence_is_an_error(local: Local) -> None:
    """Half a sentence is never answered."""
    with pytest.raises(Truncated, match="max_output_tokens=1"):
        await local(Local.summary(KETTLE, max_output_tokens=1))


@pytest.mark.parametrize("sentences", [0, -1, 101, 1.5, True, "2"])
async def test_a_wrong_number_of_sentences_is_refused(local: Local, sentences: object) -> None:
    """The number is a whole one from 1 to 100."""
    with pytest.raises(InvalidRequest, match="1 to 100"):
        await local(gp.Request(KETTLE, extra={"task": "summary", "sentences": sentences}))


async def test_an_unknown_task_is_refused(local: Local) -> None:
    """A misspelt task or parameter is named, not ignored."""
    with pytest.raises(InvalidRequest, match="cannot write text"):
        await local(gp.Request(KETTLE, extra={"task": "sumary"}))
    with pytest.raises(InvalidRequest, match="extra holds 'sentence'"):
        await local(gp.Request(KETTLE, extra={"task": "summary", "sentence": 1}))


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three? Four…", ["One.", "Two!", "Three?", "Four…"]),
        ("See e.g. Smith et al. 2020. It is so.", ["See e.g. Smith et al. 2020.", "It is so."]),
        ("Dr. No met J. Bond at 5 p.m. sharp.", ["Dr. No met J. Bond at 5 p.m. sharp."]),
        ("Pi is 3.14. e is 2.72, i.e. less.", ["Pi is 3.14. e is 2.72, i.e. less."]),
        ('He said "Go." Then he left.', ['He said "Go."', "Then he left."]),
        ("wrapped\n  over lines.\nNext one.", ["wrapped over lines.", "Next one."]),
        (
            "A heading\n\nA text\n- an item\n- another",
            ["A heading", "A text", "- an item", "- another"],
        ),
        ("Title\n=====\nText under it.", ["Title", "Text under it."]),
        ("今日は。元気です。", ["今日は。", "元気です。"]),
        ("Use os.path.join(a, b). Or not.", ["Use os.path.join(a, b).", "Or not."]),
        ("", []),
        (" \n\n ", []),
    ],
)
def test_sentences_are_split_where_a_reader_would(text: str, sentences: list[str]) -> None:
    """Marks, blank lines and lists end sentences; abbreviations and numbers do not."""
    assert split_sentences(text) == sentences


@given(st.text(st.sampled_from("aB1 .!?\n\t-=*'\")(。e.g"), max_size=300))
def test_splitting_loses_nothing(text: str) -> None:
    """Apart from white space and underlines, the sentences hold every character in order."""
    kept = "".join("".join(split_sentences(text)).split())

    assert kept == "".join(line for line in "".join(_without_underlines(text)).split())


def _without_underlines(text: str) -> list[str]:
    lines = text.split("\n")
    marks = set("-=*")
    return [
        line
        for place, line in enumerate(lines)
        if place == 0
        or not (
            len(line.strip(" \t")) >= 3
            and len(set(line.strip(" \t"))) >= 1
            and set(line.strip(" \t")) <= marks
        )
    ]


@pytest.mark.parametrize("mark", [".", ". ", "\n", "-\n", " \n", ".'", "。", "!?", "a.", "\n1. "])
def test_long_rows_of_marks_are_split_in_time(mark: str) -> None:
    """No text makes the splitting slow: two hundred thousand marks take well under the limit."""
    split_sentences(mark * (200_000 // len(mark)) + "x")


@given(
    st.lists(st.sampled_from([*split_sentences(KETTLE), "12.", "!", "Yes."]), min_size=1),
    st.integers(1, 5),
    st.none() | st.integers(1, 60),
)
def test_any_summary_holds_to_what_was_asked(
    words: WordVectors, sentences: list[str], wanted: int, limit: int | None
) -> None:
    """A summary is made of sentences of the text, no more than asked for, within the limit."""
    text = " ".join(sentences)

    try:
        response = Summary(text, wanted, limit).answer(words)
    except (InvalidRequest, Truncated):
        return
    chosen = split_sentences(response.text)
    assert 1 <= len(chosen) <= wanted
    assert set(chosen) <= set(split_sentences(text))
    assert limit is None or response.usage.output_tokens <= limit
