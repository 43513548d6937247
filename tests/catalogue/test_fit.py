"""What surely does not fit a model is refused; whatever may fit is not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.catalogue._fit import (
    LONGEST,
    least_tokens,
    overflow_of_texts,
    refuse_what_cannot_fit,
)
from genai_pipeline.parts import Image, Reasoning, Text, ToolCall, ToolResult

UNKNOWN = gp.ModelInfo(model="acme", context_window=100, as_of="2026-11-26")
WORDS = gp.ModelInfo(model="gpt-x", context_window=100, tokenizer="o200k_base")

_LETTERS = st.text(st.sampled_from("aZ0é中 \n\t/'._-\u0301\u00a0\u2028\x1c\x85"), max_size=200)


def refused(request: gp.Request, info: gp.ModelInfo) -> bool:
    """Tell whether *request* is refused as longer than the model reads."""
    try:
        refuse_what_cannot_fit(request, info, who="acme 'm'")
    except errors.ContextOverflow:
        return True
    return False


def pieces(text: str) -> list[str]:
    """Cut *text* as ``o200k_base`` does before it looks for tokens, and no finer."""
    return re.findall(r"[^\r\n\w]?[^\W\d_\u0301]*[\u0301'\w]+| ?[^\s\w]+[\r\n/]*|\s+", text)


@given(_LETTERS)
def test_words_are_no_more_than_the_pieces(text: str) -> None:
    """With OpenAI's encodings, the bound is never above the pieces that tokens stay within."""
    assert least_tokens([text], WORDS) <= len(pieces(text))


@given(_LETTERS, _LETTERS, st.sampled_from([UNKNOWN, WORDS]))
def test_the_bound_grows_with_the_text(one: str, other: str, info: gp.ModelInfo) -> None:
    """More text has no lower bound, and a turn more adds no more than its own."""
    alone = least_tokens([one], info)
    assert alone <= least_tokens([one, other], info) <= alone + least_tokens([other], info) + 1


@given(st.integers(0, 300), st.sampled_from(["", " ", "\n", "-", "=", "\u200b", "🙂"]))
def test_an_unknown_tokenizer_gets_the_benefit_of_the_doubt(tokens: int, sign: str) -> None:
    """Only letters and digits count, each 128 as one token, however many signs are around."""
    text = sign * 5 + "a" * (tokens * LONGEST) + sign * 10_000
    assert least_tokens([text], UNKNOWN) == tokens
    assert refused(gp.Request(text or "x"), UNKNOWN) == (tokens > 100)


@pytest.mark.parametrize(("words", "too_many"), [(100, False), (101, True)])
def test_words_at_the_limit(words: int, too_many: bool) -> None:
    """With a known encoding, a prompt is refused from the first word above the limit on."""
    assert refused(gp.Request("word " * words), WORDS) == too_many


@pytest.mark.parametrize("info", [UNKNOWN, WORDS], ids=lambda info: str(info.tokenizer))
def test_all_texts_count_and_nothing_else(info: gp.ModelInfo) -> None:
    """System, turns, tool calls and results count; images and tools count as nothing."""
    text = "word " * 40 if info is WORDS else "a" * 40 * LONGEST
    turns = [
        gp.Message("user", [Text(text), Image(data=b"x" * 100_000, media_type="image/png")]),
        gp.Message("assistant", [ToolCall("f", "{}", id="1")]),
        gp.Message("tool", [ToolResult(text, call_id="1", name="f")]),
    ]
    assert not refused(gp.Request(turns), info)
    assert refused(gp.Request(turns, system=text), info)


def test_what_a_server_may_leave_out_does_not_count() -> None:
    """Earlier reasoning counts as nothing, and with ``extra``, which may cut it, no prompt does."""
    text = "word " * 101
    thought = gp.Message("assistant", [Reasoning(text, signature=text), Text("so be it")])
    turns = [gp.Message("user", "hello"), thought, gp.Message("user", "go on")]
    assert not refused(gp.Request(turns), WORDS)
    assert refused(gp.Request(text), WORDS)
    assert not refused(gp.Request(text, extra={"truncation": "auto"}), WORDS)


def test_the_error_says_what_to_do() -> None:
    """It names the model, the limit, its date, the count and what to do, and is permanent."""
    request = gp.Request("a" * 200 * LONGEST)
    with pytest.raises(errors.ContextOverflow) as caught:
        refuse_what_cannot_fit(request, UNKNOWN, who="openai 'acme'")
    assert str(caught.value) == (
        "openai 'acme': the prompt has 200 tokens or more, and the model reads 100 (as of "
        "2026-11-26); shorten it, use a model that reads more, or, if the limit is another by now, "
        "say so: context_window= or catalogue="
    )
    assert isinstance(caught.value, errors.Permanent)


def test_the_input_limit_counts_where_it_is_lower() -> None:
    """A model that reads less than its window refuses by what it reads."""
    info = gp.ModelInfo(model="m", context_window=100, max_input_tokens=50, tokenizer="cl100k_base")
    assert refused(gp.Request("word " * 51), info)
    assert not refused(gp.Request("word " * 50), info)


def test_an_unknown_limit_refuses_nothing() -> None:
    """Where no limit is known, nothing is too long, and nothing is counted."""

    def never(text: str) -> int:
        raise AssertionError

    info = gp.ModelInfo(model="m")
    request = gp.Request("word " * 10_000, max_output_tokens=10**9)
    refuse_what_cannot_fit(request, info, never, who="m")


class Thirds:
    """Counts exactly, for a tokenizer that cuts each three bytes off, and tells what it counted."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, text: str) -> int:
        self.asked.append(text)
        return -(-len(text.encode()) // 3)


def refused_by(count: Thirds, request: gp.Request, info: gp.ModelInfo = UNKNOWN) -> bool:
    """Tell whether *request* is refused as longer than the model reads, if *count* counts it."""
    try:
        refuse_what_cannot_fit(request, info, count, who="m")
    except errors.ContextOverflow:
        return True
    return False


@given(st.text(st.sampled_from("aé中🙂 \n"), min_size=20, max_size=500))
def test_a_counter_decides_to_the_token(text: str) -> None:
    """Property: with an exact counter, refused is what has more tokens than the model reads."""
    info = gp.ModelInfo(model="m", context_window=100)
    assert refused_by(Thirds(), gp.Request(text), info) == (Thirds()(text.strip()) > 100)


@pytest.mark.parametrize(
    ("text", "info", "asked", "too_many"),
    [
        ("🙂" * 25, UNKNOWN, False, False),  # as many bytes as the limit has tokens
        ("🙂" * 26, UNKNOWN, True, False),
        ("🙂" * 76, UNKNOWN, True, True),
        ("a" * 300, UNKNOWN, True, False),
        ("a" * 301, UNKNOWN, True, True),
        ("a" * 101 * LONGEST, UNKNOWN, False, True),
        ("word " * 101, WORDS, False, True),
    ],
)
def test_a_counter_is_asked_where_nothing_else_decides(
    text: str, info: gp.ModelInfo, asked: bool, too_many: bool
) -> None:
    """What fits by its bytes, and what cannot by its words or letters, is not counted."""
    count = Thirds()
    assert refused_by(count, gp.Request(text), info) == too_many
    assert bool(count.asked) == asked


def test_counted_is_what_is_read_as_it_stands() -> None:
    """The system, the text of a turn as one, and results of tools; no calls, no blanks around."""
    turns = [
        gp.Message("user", [Text(" so "), Image(data=b"x", media_type="image/png"), Text("be ")]),
        gp.Message("assistant", [Reasoning("hm"), ToolCall("f", '{"long": 1}', id="1"), Text("I")]),
        gp.Message("tool", [ToolResult("\nresult\n", call_id="1", name="f")]),
    ]
    count = Thirds()
    info = gp.ModelInfo(model="m", context_window=10)
    assert not refused_by(count, gp.Request(turns, system="you "), info)
    assert [text for text in count.asked if text] == ["you", "so be", "I", "result"]


@given(
    st.lists(st.text(st.sampled_from("aé🙂 "), max_size=60), min_size=1, max_size=8),
    st.booleans(),
)
def test_texts_to_embed_are_judged_one_by_one(texts: list[str], cut: bool) -> None:
    """Property: in the error are the texts with more tokens than the model reads, and no others."""
    info = gp.ModelInfo(model="m", max_input_tokens=10)
    extra = {"truncate": True} if cut else {}
    request = gp.EmbeddingRequest(texts, extra=extra)
    error = overflow_of_texts(request, info, Thirds(), who="m")
    bad = [at for at, text in enumerate(texts) if not cut and Thirds()(text.strip()) > 10]
    assert (error is not None) == bool(bad)
    if error is not None and len(texts) > 1:
        assert list(error.texts) == bad
    assert overflow_of_texts(request, gp.ModelInfo(model="m"), Thirds(), who="m") is None


def test_nothing_is_counted_beyond_the_limit() -> None:
    """Once it is too long, the rest of a conversation is not counted."""
    count = Thirds()
    assert refused_by(count, gp.Request([gp.Message("user", "a" * 200) for _ in range(50)]))
    assert len(count.asked) == 2


@pytest.mark.parametrize("asked", [None, 1, 50, 51])
def test_more_output_than_there_is(asked: int | None) -> None:
    """An output limit above the model's own is an `InvalidRequest` that names both."""
    info = gp.ModelInfo(model="acme", max_output_tokens=50)
    request = gp.Request("hello", max_output_tokens=asked)
    if asked == 51:
        with pytest.raises(errors.InvalidRequest, match="max_output_tokens=51 is more than the 50"):
            refuse_what_cannot_fit(request, info, who="m")
    else:
        refuse_what_cannot_fit(request, info, who="m")
