"""Models are found as their makers, Bedrock, Vertex AI and gateways spell them, and no others."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.catalogue._names import spellings

REFERENCE = gp.ModelCatalogue.reference()

_DAYS = st.dates(min_value=date(2020, 1, 1), max_value=date(2099, 12, 31))
_REGIONS = st.sampled_from(["us", "eu", "apac", "jp", "au", "global", "us-gov"])
_ARNS = st.sampled_from(
    [
        "arn:aws:bedrock:us-east-1::foundation-model/",
        "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/",
        "arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:inference-profile/",
    ]
)


@st.composite
def spelled(draw: st.DrawFn, info: gp.ModelInfo) -> str:
    """A way to spell a model's name."""
    name = info.model
    if name.startswith("amazon."):
        return draw(st.sampled_from(["", "us.", "global."])) + name
    day = draw(_DAYS)
    name += draw(
        st.sampled_from(
            ["", f"-{day:%Y-%m-%d}", f"-{day:%Y%m%d}", f"@{day:%Y%m%d}", "@default", "-001"]
        )
    )
    way = draw(st.sampled_from(["plain", "bedrock", "vertex", "models", "gateway"]))
    if way == "bedrock":
        name += draw(st.sampled_from(["", "-v1", "-v1:0", "-v2:0", "-v1:0:200k"]))
        name = f"{info.provider}.{name}"
        if draw(st.booleans()):
            name = f"{draw(_REGIONS)}.{name}"
        return draw(st.just("") | _ARNS) + name
    if way == "vertex":
        path = f"publishers/{info.provider}/models/{name}"
        return draw(st.sampled_from(["", "projects/p/locations/global/"])) + path
    if way == "models":
        return f"models/{name}"
    return f"{info.provider}/{name}" if way == "gateway" else name


@given(st.sampled_from(REFERENCE.models), st.data())
def test_every_model_is_found_however_it_is_spelled(
    info: gp.ModelInfo, data: st.DataObject
) -> None:
    """Each model of the reference is found with a date or version, at each host, in any case."""
    name = data.draw(spelled(info))
    for each in (name, name.upper()):
        assert REFERENCE.find(each) is info, each
        assert REFERENCE.find(each, provider=info.provider) is info


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-5-mini-2025-08-07", "gpt-5-mini"),
        ("openai.gpt-5.4", "gpt-5.4"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("claude-opus-4-6@default", "claude-opus-4-6"),
        ("anthropic.claude-opus-4-6-v1", "claude-opus-4-6"),
        ("jp.anthropic.claude-opus-5-5", "claude-opus-5-5"),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "claude-haiku-4-5"),
        ("us.amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
        ("amazon.nova-lite-v1:0:300k", "amazon.nova-lite-v1:0"),
        ("eu.cohere.embed-v4:0", "embed-v4.0"),
        ("gemini-embedding-001", "gemini-embedding-001"),
    ],
)
def test_names_in_use(name: str, model: str) -> None:
    """Names that the hosts' documentation gives are found."""
    info = REFERENCE.find(name)
    assert info is not None
    assert info.model == model


@pytest.mark.parametrize(
    "name",
    [
        *("gpt", "gpt-4", "gpt-5-codex", "gpt-5-chat-latest", "gpt-4o-audio-preview", "gpt-4o-min"),
        *("ft:gpt-4o-mini-2024-07-18:acme::7", "claude-opus", "claude-opus-4-5-thinking"),
        *("gemini-2.5-flash-image", "gemini-2.5-flash-preview-09-2025", "text-embedding-3"),
        *(
            "amazon.titan-embed-text-v1",
            "my-gpt-4o",
            "acme/gpt-4o",
            "gpt-4o/extended",
            "",
            "openai/",
        ),
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdefghijkl",
        *("gpt-4o-2024-13-45", "gpt-4o-20240806x", "models/", "2024-08-06", "-20240806"),
    ],
)
def test_other_names_are_unknown(name: str) -> None:
    """A name that only looks like a model's is not taken for it."""
    assert REFERENCE.find(name) is None


@given(st.text(max_size=60))
def test_any_text_has_a_few_spellings(name: str) -> None:
    """Whatever a name is, its spellings are few, itself first, and each within the one before."""
    found = list(spellings(name))
    assert found[0] == name
    assert len(found) <= 7
    for longer, shorter in pairwise(found):
        assert shorter
        assert shorter in longer
        assert len(shorter) < len(longer)
