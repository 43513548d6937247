"""Requests say no early, own what they were given, and have one fingerprint."""

from __future__ import annotations

import hashlib
import pickle
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.errors import StreamInterrupted
from genai_pipeline.testing import strategies as gps

request: Any = gp.Request
message_: Any = gp.Message
"""The same, for what their types forbid."""

GOLDEN: list[tuple[gp.Request, str]] = [
    (gp.Request("Hello"), "78987f4bc6958d7952abad285b1c34ca"),
    (gp.Request(""), "9f52d2048f91a730dfdfc41599548f3c"),
    (gp.Request("Grüße, 世界 \U0001f600"), "6c8e175d7f5a9a89d9d5187fa2272a6b"),
    (
        gp.Request([gp.Message("user", "a"), gp.Message("assistant", "b")]),
        "a5e103eab56e0b075381e35ca2933c1b",
    ),
    (
        gp.Request(
            "x",
            system="be brief",
            max_output_tokens=100,
            temperature=0.5,
            labels=["yes", "no"],
            extra={"seed": 1, "nested": {"b": [1, 2.5, None], "a": True}},
        ),
        "7cf5d70824912d2d66972c6eb13f8d83",
    ),
    (
        gp.Request("x", schema={"type": "object", "properties": {"a": {"type": "number"}}}),
        "640792e5cc402e487f18c0fdc21671e1",
    ),
]


def test_a_text_is_one_user_turn() -> None:
    """A prompt stands for one message of the user."""
    assert gp.Request("hi").messages == (gp.Message("user", "hi"),)
    assert gp.Request(gp.Message("assistant", "hi")).prompt == ""
    turns = [gp.Message("user", "one"), gp.Message("assistant", "1"), gp.Message("user", "two")]
    assert gp.Request(iter(turns)).prompt == "two"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: request([]), "Request: no messages; a request needs at least one"),
        (lambda: request(3), "Request: messages=3; give text or several Messages"),
        (lambda: request(["a"]), "Request: message 0 is a str; give text"),
        (lambda: request("x", system=3), "system=3; give text"),
        (lambda: request("x", max_output_tokens=0), "max_output_tokens=0; give a whole number"),
        (lambda: request("x", max_output_tokens=1.5), r"max_output_tokens=1\.5; give a whole"),
        (lambda: request("x", max_output_tokens=True), "max_output_tokens=True; give a whole"),
        (lambda: request("x", temperature=2.1), r"temperature=2\.1; give a number, 0 to 2"),
        (lambda: request("x", temperature=float("nan")), "temperature=nan; give a number, 0 to 2"),
        (lambda: request("x", temperature="1"), "temperature='1'; give a number, 0 to 2"),
        (lambda: request("x", temperature=True), "temperature=True; give a number, 0 to 2"),
        (lambda: request("x", labels="ab"), "labels='ab'; give several texts"),
        (lambda: request("x", labels=3), "labels=3; give several texts"),
        (lambda: request("x", labels=["a"]), "give at least two, each a different text"),
        (lambda: request("x", labels=["a", "a"]), "give at least two, each a different text"),
        (lambda: request("x", labels=["a", ""]), "each is a text, none is empty"),
        (lambda: request("x", labels=["a", []]), "each is a text, none is empty"),
        (lambda: request("x", labels=["a", "b"], schema={}), "exclude each other; give one"),
        (lambda: request("x", schema=[]), r"schema=\[\]; give a mapping"),
        (lambda: request("x", extra={"a": [1, {2}]}), r"extra\['a'\]\[1\] is a set, which JSON"),
        (lambda: request("x", extra={1: 2}), "extra has the key 1; JSON keys are text"),
        (lambda: request("x", schema={"m": float("inf")}), r"schema\['m'\] is inf, which JSON"),
        (lambda: message_("boss", "x"), "role='boss'; give one of 'system', 'user'"),
        (lambda: message_("user", b"x"), "content=b'x'; give text"),
    ],
)
def test_a_wrong_field_is_named(make: Any, message: str) -> None:
    """What is wrong with a request is said when it is built: field, value and what is allowed."""
    with pytest.raises(gp.ConfigurationError, match=message):
        make()


def test_arguments_are_copied() -> None:
    """What the caller changes later does not change the request."""
    inner: dict[str, Any] = {"list": [1, (2, 3)]}
    labels = ["a", "b"]
    request = gp.Request("x", extra={"inner": inner}, labels=labels)
    inner["list"].append(4)
    labels.append("c")
    assert request.extra == {"inner": {"list": [1, [2, 3]]}}
    assert request.labels == ("a", "b")


def test_requests_do_not_change() -> None:
    """A field cannot be set."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        gp.Request("x").system = "y"  # type: ignore[misc]


@pytest.mark.parametrize(("request_", "fingerprint"), GOLDEN)
def test_fingerprints_never_change(request_: gp.Request, fingerprint: str) -> None:
    """A fingerprint is the same in every version: journals and caches outlive upgrades."""
    assert request_.fingerprint() == fingerprint


def test_a_fingerprint_is_a_digest_of_canonical_json() -> None:
    """Anyone can compute it: BLAKE2b, 16 bytes, over the parameters given, keys sorted."""
    text = b'{"messages":[["user","\\u00fc"]],"temperature":1}'
    digest = hashlib.blake2b(text, digest_size=16).hexdigest()
    assert gp.Request("ü", temperature=1.0).fingerprint() == digest


@given(gps.requests())
def test_equal_requests_have_equal_fingerprints(request: gp.Request) -> None:
    """A copy, made field by field or by pickle, has the same fingerprint."""
    fields = attrs.asdict(request, recurse=False)
    rebuilt = gp.Request(fields.pop("messages"), **fields)
    assert rebuilt.fingerprint() == request.fingerprint()
    assert pickle.loads(pickle.dumps(request)).fingerprint() == request.fingerprint()


@given(gps.requests(), gps.requests())
def test_requests_differ_as_their_fingerprints_do(one: gp.Request, other: gp.Request) -> None:
    """Two requests with one fingerprint are equal."""
    if one.fingerprint() == other.fingerprint():
        assert one == other


@given(gps.requests(), st.data())
def test_any_change_changes_the_fingerprint(request: gp.Request, data: st.DataObject) -> None:
    """Whichever field is changed, the fingerprint changes."""
    changes: dict[str, Any] = {
        "messages": (*request.messages, gp.Message("user", "more")),
        "system": (request.system or "") + "x",
        "max_output_tokens": (request.max_output_tokens or 0) + 1,
        "temperature": 1.5 if request.temperature == 1.25 else 1.25,
        "extra": {**request.extra, "one more": None, "x": [request.extra.get("x")]},
    }
    if request.schema is None:
        changes["labels"] = [*(request.labels or "ab"), "one label more"]
    if request.labels is None:
        changes["schema"] = {"of": request.schema}
    name = data.draw(st.sampled_from(sorted(changes)))
    changed = attrs.evolve(request, **{name: changes[name]})
    assert changed.fingerprint() != request.fingerprint()


@given(gps.json_objects())
def test_the_order_of_keys_does_not_matter(extra: dict[str, Any]) -> None:
    """Objects are equal whatever the order of their keys, and so are fingerprints."""
    backwards = dict(reversed(extra.items()))
    one, other = gp.Request("x", extra=extra), gp.Request("x", extra=backwards)
    assert one.fingerprint() == other.fingerprint()


def test_the_borders_between_texts_matter() -> None:
    """Texts that join to the same are not confused, nor is a role with another."""
    requests = [
        gp.Request("ab"),
        gp.Request([gp.Message("user", "a"), gp.Message("user", "b")]),
        gp.Request("b", system="a"),
        gp.Request(gp.Message("system", "ab")),
        gp.Request("x", labels=["ab", "c"]),
        gp.Request("x", labels=["a", "bc"]),
        gp.Request("x", labels=["c", "ab"]),
        gp.Request("x", extra={"a": None}),
        gp.Request("x", extra={"a": "null"}),
        gp.Request("x", extra={"a": 1}),
        gp.Request("x", extra={"a": True}),
        gp.Request("x", extra={"a": "1"}),
        gp.Request("x"),
        gp.Request("x", system=""),
    ]
    assert len({request.fingerprint() for request in requests}) == len(requests)


def test_numbers_are_compared_as_json_does() -> None:
    """One and 1.0 are one number."""
    assert gp.Request("x", temperature=1).fingerprint() == (
        gp.Request("x", temperature=1.0).fingerprint()
    )


def test_usage_adds_up() -> None:
    """Tokens are added one by one, costs only where they are known."""
    paid = gp.Usage(input_tokens=1, output_tokens=2, cached_tokens=1, cost="0.1")
    free = gp.Usage(input_tokens=10, reasoning_tokens=5, cache_write_tokens=3)
    assert paid + free == gp.Usage(
        input_tokens=11,
        output_tokens=2,
        cached_tokens=1,
        cache_write_tokens=3,
        reasoning_tokens=5,
        cost=Decimal("0.1"),
    )
    assert (paid + paid).cost == Decimal("0.2")
    assert (free + free).cost is None


@given(gps.responses(), st.lists(st.text(max_size=5), max_size=5))
def test_chunks_join_to_the_response(response: gp.Response, texts: list[str]) -> None:
    """Pieces of text, and a last chunk with the rest, are the response again."""
    last = gp.Chunk(
        response.text,
        finish_reason=response.finish_reason,
        usage=response.usage,
        model=response.model,
        request_id=response.request_id,
        raw_finish_reason=response.raw_finish_reason,
        attributes=response.attributes,
        parts=response.parts,
        logprobs=response.logprobs,
    )
    joined = gp.join_chunks([*map(gp.Chunk, texts), last])
    assert joined == attrs.evolve(response, text="".join(texts) + response.text)


def test_the_last_usage_counts() -> None:
    """Usage is told from the beginning on, so that of the last chunk that tells any is all."""
    first, then = gp.Usage(input_tokens=1), gp.Usage(input_tokens=1, output_tokens=2)
    chunks = [gp.Chunk("a", usage=first), gp.Chunk("b", usage=then), gp.Chunk(finish_reason="stop")]
    assert gp.join_chunks(chunks).usage == then


@pytest.mark.parametrize("texts", [[], ["a", "b"]])
def test_chunks_without_a_last_one_are_no_response(texts: list[str]) -> None:
    """What broke off raises with what there is."""
    with pytest.raises(StreamInterrupted) as caught:
        gp.join_chunks(map(gp.Chunk, texts))
    assert caught.value.partial == "".join(texts)
