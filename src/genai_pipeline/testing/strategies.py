"""
Hypothesis strategies for the words of the library, to property-test what is built on them.

``from genai_pipeline.testing import strategies as gps``, and ``@given(gps.requests())``. Every
strategy yields valid values only, over the whole range that validation allows, and shrinks to
the plainest one. Needs Hypothesis.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

try:
    from hypothesis import strategies as st
except ImportError as error:  # pragma: no cover - the test suite has it
    raise ImportError(
        "genai_pipeline.testing.strategies needs Hypothesis; pip install hypothesis"
    ) from error

from genai_pipeline import errors as _errors
from genai_pipeline.embeddings import EmbeddingRequest
from genai_pipeline.messages import (
    FinishReason,
    Message,
    Request,
    Response,
    Role,
    TokenLogprob,
    Usage,
)
from genai_pipeline.parts import Audio, File, Image, Part, Reasoning, Text, ToolCall, ToolResult
from genai_pipeline.records import DeadLetter, Delivery, Record
from genai_pipeline.testing._faults import KINDS, Fault

__all__ = [
    "dead_letters",
    "deliveries",
    "embedding_requests",
    "errors",
    "fault_plans",
    "json_objects",
    "json_values",
    "messages",
    "parts",
    "records",
    "requests",
    "responses",
    "usages",
]

A = TypeVar("A")

_ROLES: tuple[Role, ...] = ("user", "system", "assistant", "tool")
_REASONS: tuple[FinishReason, ...] = ("stop", "length", "tool", "refusal", "filter", "other")
_LEAVES = 8
_LARGEST = 2**53
_MOST_TOKENS = 2_000_000


def json_values(max_leaves: int = _LEAVES) -> st.SearchStrategy[Any]:
    """Draw anything JSON can hold: nulls, numbers, texts, lists and objects of plain types."""
    return _json_values(max_leaves)


@cache  # building it is the larger part of drawing a request
def _json_values(max_leaves: int) -> st.SearchStrategy[Any]:
    scalars = (
        st.none()
        | st.booleans()
        | st.integers(-_LARGEST, _LARGEST)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text()
    )
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=max_leaves,
    )


def json_objects(max_leaves: int = _LEAVES) -> st.SearchStrategy[dict[str, Any]]:
    """Draw JSON objects: texts to `json_values`."""
    return st.dictionaries(st.text(), json_values(max_leaves), max_size=4)


def messages() -> st.SearchStrategy[Message]:
    """Draw one turn of a conversation, of any role and text."""
    return st.builds(Message, st.sampled_from(_ROLES), st.text())


def requests() -> st.SearchStrategy[Request]:
    """Draw requests with any combination of parameters that is allowed."""
    labels = st.lists(st.text(min_size=1), min_size=2, max_size=5, unique=True)
    parameters = {
        "system": st.none() | st.text(),
        "max_output_tokens": st.none() | st.integers(1, _MOST_TOKENS),
        "temperature": st.none() | st.floats(0, 2) | st.integers(0, 2),
        "extra": json_objects(4),
    }
    prompts = st.text() | st.lists(messages(), min_size=1, max_size=4)
    return (
        st.builds(Request, prompts, **parameters)
        | st.builds(Request, prompts, labels=labels, **parameters)
        | st.builds(Request, prompts, schema=json_objects(), **parameters)
    )


def embedding_requests() -> st.SearchStrategy[EmbeddingRequest]:
    """Draw requests to embed, with any combination of parameters that is allowed."""
    return st.builds(
        EmbeddingRequest,
        st.text() | st.lists(st.text(), min_size=1, max_size=5),
        dimensions=st.none() | st.integers(1, 4096),
        task=st.none() | st.sampled_from(["query", "document", "similarity"]),
        extra=json_objects(3),
    )


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Draw usages whose parts are within their wholes, with and without a known cost."""
    tokens = st.integers(0, _MOST_TOKENS)
    asked, answered = draw(tokens), draw(tokens)
    cached = draw(st.integers(0, asked))
    cost = st.decimals(0, 1000, places=6, allow_nan=False, allow_infinity=False)
    return Usage(
        input_tokens=asked,
        output_tokens=answered,
        cached_tokens=cached,
        cache_write_tokens=draw(st.integers(0, asked - cached)),
        reasoning_tokens=draw(st.integers(0, answered)),
        cost=draw(st.none() | cost),
    )


def responses(texts: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[Response]:
    """Draw responses of any end and usage; *texts* says which answers."""
    return st.builds(
        Response,
        st.text() if texts is None else texts,
        usage=usages(),
        finish_reason=st.sampled_from(_REASONS),
        model=st.sampled_from(["", "tiny-1", "vendor/large-2026-01-01"]),
        request_id=st.none() | st.text(min_size=1, max_size=12),
        raw_finish_reason=st.none() | st.text(max_size=12),
        attributes=json_objects(4),
        parts=st.just(()) | st.lists(_said(), min_size=1, max_size=3).map(tuple),
        logprobs=st.lists(_scores(), max_size=2).map(tuple),
    )


def _said() -> st.SearchStrategy[Part]:
    sealed = st.none() | st.text(max_size=8)
    return st.one_of(
        st.builds(Text, st.text(), signature=sealed),
        st.builds(Reasoning, st.text(), signature=sealed, hidden=st.booleans()),
        st.builds(ToolCall, st.text(max_size=8), st.text(), id=st.text(max_size=8)),
    )


def parts() -> st.SearchStrategy[Part]:
    """Draw parts of messages of every kind."""
    data = st.binary(min_size=1, max_size=20)
    url = st.just("https://example.org/x")
    return st.one_of(
        _said(),
        st.builds(Image, data=data, detail=st.none() | st.just("low")),
        st.builds(Image, url=url, media_type=st.just("image/webp")),
        st.builds(Audio, data=data),
        st.builds(File, data=data, name=st.text(min_size=1, max_size=8)),
        st.builds(File, url=url),
        st.builds(File, id=st.text(min_size=1, max_size=8)),
        st.builds(ToolResult, st.text(), call_id=st.text(max_size=8), is_error=st.booleans()),
    )


def _scores() -> st.SearchStrategy[TokenLogprob]:
    score = st.floats(-50, 0)
    top = st.lists(st.tuples(st.text(max_size=4), score), max_size=2).map(tuple)
    return st.builds(TokenLogprob, st.text(max_size=4), score, top)


def records(
    values: st.SearchStrategy[A],
    *,
    keys: st.SearchStrategy[str] | None = None,
    attributes: st.SearchStrategy[Mapping[str, Any]] | None = None,
) -> st.SearchStrategy[Record[A]]:
    """
    Draw records around *values*, with any key and attributes unless told which.

    Keys repeat as they like; for a source's worth of records ask for
    ``st.lists(records(...), unique_by=lambda record: record.key)``.
    """
    return st.builds(
        Record[A],
        values,
        st.text(max_size=12) if keys is None else keys,
        json_objects(4) if attributes is None else attributes,
    )


def deliveries(values: st.SearchStrategy[A]) -> st.SearchStrategy[Delivery[A]]:
    """Draw deliveries of `records`, good or with a `DataError`, that settle nothing."""
    faults = st.none() | st.builds(_errors.DataError, st.text(max_size=20))
    return st.builds(Delivery[A], records(values), error=faults)


def dead_letters(payloads: st.SearchStrategy[Any] | None = None) -> st.SearchStrategy[DeadLetter]:
    """Draw dead letters of every category, with JSON payloads unless told which."""
    times = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - Hypothesis takes bounds without a zone
    return st.builds(
        DeadLetter,
        key=st.text(max_size=12),
        payload=json_values() if payloads is None else payloads,
        attributes=json_objects(4),
        error=st.sampled_from([f"{kind.__module__}.{kind.__qualname__}" for kind in _kinds()]),
        category=st.sampled_from(["transient", "permanent", "system", "data"]),
        message=st.text(),
        stage=st.text(max_size=12),
        attempts=st.integers(1, 100),
        read_at=times,
        failed_at=times,
        trace=st.text(),
    )


def errors(
    root: type[_errors.PipelineError] = _errors.PipelineError,
) -> st.SearchStrategy[_errors.PipelineError]:
    """Draw instances of every class of our error tree, or of *root* and those below it."""
    kinds = [kind for kind in _kinds() if issubclass(kind, root)]
    return st.sampled_from(kinds).flatmap(_instances)


def fault_plans(*, max_size: int = 30, hangs: bool = False) -> st.SearchStrategy[list[Fault]]:
    """
    Draw plans for ``Chaos.planned(*plan)``: what happens to each of the first calls.

    Shrinks towards no fault at all. Without *hangs* nothing hangs for ever, so no timeout is
    needed around the call.
    """
    kinds = [kind for kind in KINDS if hangs or kind != "hang"]
    seconds = st.floats(0, 60)
    fault = st.builds(
        Fault,
        st.none() | st.sampled_from(kinds),
        latency=st.just(0.0) | seconds,
        retry_after=st.none() | seconds,
    )
    return st.lists(fault, max_size=max_size)


def _kinds() -> list[type[_errors.PipelineError]]:
    named = (getattr(_errors, name) for name in _errors.__all__)
    return [
        each for each in named if isinstance(each, type) and issubclass(each, _errors.PipelineError)
    ]


def _instances(kind: type[Any]) -> st.SearchStrategy[Any]:
    seconds = st.none() | st.floats(0, 3600)
    places = st.none() | st.integers(1, 10_000)
    told = st.dictionaries(
        st.sampled_from(["limit-requests", "remaining-requests", "remaining-tokens"]),
        st.floats(0, 1e6),
    )
    fields: dict[type[Any], dict[str, st.SearchStrategy[Any]]] = {
        _errors.ConnectionFailed: {"sent": st.booleans()},
        _errors.Transient: {"retry_after": seconds, "rate_limits": told},
        _errors.Rejected: {"retry_after": seconds},
        _errors.Truncated: {"partial": st.text()},
        _errors.InvalidAnswer: {
            "text": st.text(),
            "issues": st.lists(st.tuples(st.text(), st.text()), max_size=3),
        },
        _errors.StreamInterrupted: {"partial": st.text()},
        _errors.Refused: {"explanation": st.text()},
        _errors.DataError: {
            "origin": st.none() | st.text(max_size=12),
            "line": places,
            "column": places,
            "payload": json_values(4),
        },
    }
    given = {
        name: field
        for owner, names in fields.items()
        if issubclass(kind, owner)
        for name, field in names.items()
    }
    return st.builds(kind, st.text(max_size=40), **given)
