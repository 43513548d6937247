"""Tokens are estimated by the kinds of characters, for all that a model reads."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline import parts
from genai_pipeline.testing.strategies import embedding_requests, requests
from genai_pipeline.tokens import ByCharacters
from genai_pipeline.tokens._characters import hundredths

count = ByCharacters().count


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("", 0, 0),
        ("The quick brown fox jumps over the lazy dog.", 9, 13),  # 10 in o200k_base
        ("for i in range(10):\n    print(f'{i:>3}')\n", 13, 25),  # 21
        ('{"id": 17, "price": 12.50, "tags": ["new", "sale"]}', 20, 27),  # 25
        ("1234567890" * 3, 15, 30),  # 10; 30 where each digit is a token
        ("Быстрая лиса прыгает через ленивую собаку.", 12, 19),  # 14
        ("敏捷的棕色狐狸跳过了懒狗。", 10, 14),  # 12
        ("素早い茶色の狐がのろまな犬を飛び越える。", 15, 20),  # 17
        ("빠른 갈색 여우가 게으른 개를 뛰어넘는다.", 13, 18),  # 16
        ("سريع الثعلب البني يقفز فوق الكلب الكسول", 12, 17),  # 14
        ("तेज भूरी लोमड़ी आलसी कुत्ते पर कूदती है", 16, 23),  # 15
        ("🎉🔥🚀💯", 6, 12),  # 8
        ("\n\n\n\n        \t", 1, 4),  # 2
    ],
)
def test_an_estimate_is_near_in_many_scripts(text: str, least: int, most: int) -> None:
    """Prose, code, JSON and numbers are within what large vocabularies make of them, or near."""
    assert least <= count(text) <= most


@given(st.text(), st.text())
def test_what_two_texts_are_together_is_the_sum(one: str, other: str) -> None:
    """Texts add up exactly, so a longer one is never estimated as less."""
    assert hundredths(one + other) == hundredths(one) + hundredths(other)
    assert hundredths(one) >= 0


@given(st.text(st.characters(exclude_categories=[])))
@example("\ud800")
@example("a\x00b")
def test_any_text_has_an_estimate(text: str) -> None:
    """A character is a tenth of a token to two and a half, broken surrogates too."""
    assert len(text) * 10 <= hundredths(text) <= len(text) * 250


@given(st.text(min_size=1, max_size=40), st.integers(66_000, 300_000))
def test_a_long_text_is_judged_by_slices_of_it(piece: str, length: int) -> None:
    """A text of one kind is estimated by its slices as it is by all of it, rounded up."""
    text = (piece * (length // len(piece) + 1))[:length]
    whole = sum(hundredths(text[at : at + 60_000]) for at in range(0, length, 60_000))
    assert hundredths(text) == pytest.approx(whole, rel=0.03)


@given(st.one_of(requests(), embedding_requests()))
def test_any_request_has_an_estimate(request: Any) -> None:
    """Whatever a request is made of, it is counted, and as often the same."""
    assert count(request) == count(request) >= 0


def test_all_that_the_model_reads_counts() -> None:
    """System, turns, tools, schemas and labels count, and 3 tokens a request and a message."""
    text = "x" * 40
    plain = count(gp.Request(text))
    assert plain == 3 + 3 + 10
    assert count(gp.Request(text, system=text)) == plain + 3 + 10
    assert count(gp.Request([gp.Message("user", text)] * 3)) == 3 + 3 * 13
    assert count(gp.Request(gp.Message("user", [text, text]))) == plain + 10
    tool = gp.Tool("weather", "Tells the weather.", {"type": "object"})
    for more in ({"tools": [tool]}, {"schema": {"type": "object"}}, {"labels": ["yes", "no"]}):
        assert plain + 4 < count(gp.Request(text, **more)) < plain + 40
    assert count(gp.EmbeddingRequest([text, text])) == 20


def test_what_is_no_content_is_refused() -> None:
    """Neither bytes nor messages can be counted; the error says what can."""
    for wrong in (b"text", None, gp.Message("user", "x")):
        with pytest.raises(gp.ConfigurationError, match="a text, a Request or an Embedding"):
            count(wrong)  # type: ignore[arg-type]


def _of(part: parts.Part) -> int:
    return count(gp.Request(gp.Message("user", part))) - 6


PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", 1000, 750)
GIF = b"GIF89a" + struct.pack("<HH", 1000, 750)
JPEG = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc4\x00\x03c\xff\xc2\x00\x11\x08" + struct.pack(
    ">HH", 750, 1000
)
LOSSY = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0abc\x9d\x01\x2a" + struct.pack("<HH", 1000, 750)
LOSSLESS = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 999 | 749 << 14)
EXTENDED = b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0" + b"\xe7\x03\x00\xed\x02\x00"


@pytest.mark.parametrize("data", [PNG, GIF, JPEG, LOSSY, LOSSLESS, EXTENDED])
def test_a_picture_counts_by_its_pixels(data: bytes) -> None:
    """A token for each 750 pixels, whatever the format; 85 in low detail."""
    assert _of(parts.Image(data=data)) == 1000
    assert _of(parts.Image(data=data, detail="low")) == 85


def test_a_large_picture_is_shrunk() -> None:
    """Beyond 1,568 pixels at its longer edge a picture counts no more; a dot counts one."""
    head = PNG[:16]
    assert _of(parts.Image(data=head + struct.pack(">II", 15_680, 7_500))) == 1568
    assert _of(parts.Image(data=head + struct.pack(">II", 1, 1))) == 1


@pytest.mark.parametrize("data", [b"?", PNG[:20], JPEG[:12], PNG[:16] + b"\0" * 8, b"\xff\xd8abcd"])
def test_a_picture_of_unknown_size_counts_a_thousand(data: bytes) -> None:
    """So does one at an address."""
    assert _of(parts.Image(data=data)) == 1000
    assert _of(parts.Image(url="https://host/x.png")) == 1000


@given(
    st.sampled_from([b"", PNG, GIF, JPEG, LOSSY, LOSSLESS, EXTENDED]),
    st.integers(0, 40),
    st.binary(min_size=1, max_size=60),
)
def test_no_file_of_a_picture_is_too_broken(start: bytes, cut: int, rest: bytes) -> None:
    """However a picture's file goes on or ends, it has an estimate of at least one token."""
    assert 1 <= _of(parts.Image(data=start[:cut] + rest)) <= 1568 * 1568 / 750 + 1


def test_a_recording_counts_by_its_length() -> None:
    """32 tokens a second: by what a WAV file tells of itself, else at 128 kbit/s."""
    head = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<IHHI", 16, 1, 1, 16_000)
    wave = head + struct.pack("<I", 32_000)
    assert _of(parts.Audio(data=wave + bytes(320_000 - len(wave)))) == 320
    assert _of(parts.Audio(data=bytes(160_000))) == 320
    assert _of(parts.Audio(data=head)) == 1
    assert _of(parts.Audio(data=head + bytes(160_000 - len(head)))) == 320


def test_a_file_counts_by_its_kind() -> None:
    """A text counts as it reads, a PDF by its pages, and what is not at hand a thousand."""
    assert _of(parts.File(data=b"x" * 40, media_type="text/plain")) == 10
    assert _of(parts.File(data="é".encode() * 10, media_type="text/csv")) == 12
    pages = b"<</Type /Pages>> <</Type /Page>> <</Type/Page/Parent 1 0 R>>"
    assert _of(parts.File(data=b"%PDF-1.7 " + pages)) == 3000
    assert _of(parts.File(data=b"%PDF-1.7 packed")) == 1500
    assert _of(parts.File(id="file-1")) == 1000
    assert _of(parts.File(data=b"PK", media_type="application/zip")) == 1000
