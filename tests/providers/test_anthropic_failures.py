"""What Anthropic's API says of a failure, over real sockets: each row of its table, and streams."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.providers import Anthropic
from genai_pipeline.resilience import RateLimit
from genai_pipeline.testing import FakeClock
from tests.servers.chat import http
from tests.servers.messages import MessagesServer, events_of, failure, message, sse

pytestmark = pytest.mark.anyio
REQUEST = gp.Request("hello", max_output_tokens=9)


def failing(
    claude: MessagesServer, status: str, document: Any, headers: str = "", **options: Any
) -> Anthropic:
    """Answer a provider whose server fails so, always."""
    claude.answers["fails"] = lambda _: http(document, status=status, headers=headers)
    return Anthropic("m", base_url=claude.url("fails"), **options)


SPENT = {"error_code": "enforced_spend_limit_reached"}


@pytest.mark.parametrize(
    ("status", "document", "kind"),
    [
        (400, failure("invalid_request_error", "messages: no"), errors.InvalidRequest),
        (
            400,
            failure("invalid_request_error", "prompt is too long: 300000 tokens > 200000 maximum"),
            errors.ContextOverflow,
        ),
        (
            400,
            failure("invalid_request_error", "You have reached your specified API usage limits."),
            errors.QuotaExhausted,
        ),
        (401, failure("authentication_error", "invalid x-api-key"), errors.AuthenticationFailed),
        (402, failure("billing_error", "no credit"), errors.QuotaExhausted),
        (403, failure("permission_error", "not yours"), errors.AuthenticationFailed),
        (404, failure("not_found_error", "model: m"), errors.InvalidRequest),
        (409, failure("conflict_error", "busy"), errors.ConnectionFailed),
        (413, failure("request_too_large", "Request exceeds the maximum"), errors.InvalidRequest),
        (429, failure("rate_limit_error", "slow down"), errors.RateLimited),
        (
            429,
            failure("rate_limit_error", "too fast", error_code="ramp_limit_exceeded"),
            errors.RateLimited,
        ),
        (429, failure("rate_limit_error", "spent", **SPENT), errors.QuotaExhausted),
        (
            429,
            failure("rate_limit_error", "spent", error_code="contract_spend_limit_reached"),
            errors.QuotaExhausted,
        ),
        (500, failure("api_error", "Internal server error"), errors.ConnectionFailed),
        (504, failure("timeout_error", "took too long"), errors.ConnectionFailed),
        (529, failure("overloaded_error", "Overloaded"), errors.Overloaded),
        (529, b"<html>overloaded</html>", errors.Overloaded),
        (502, b"", errors.ConnectionFailed),
    ],
)
async def test_each_failure_is_one_of_ours(
    claude: MessagesServer, status: int, document: Any, kind: type[errors.PipelineError]
) -> None:
    """Status, type and code of a failure decide who must act, and the message quotes them."""
    model = failing(claude, f"{status} Failed", document, "request-id: req_7\r\n")
    with pytest.raises(errors.PipelineError) as caught:
        await model(REQUEST)
    assert type(caught.value) is kind
    assert str(caught.value).startswith(f"anthropic 'm': {status}")
    assert str(caught.value).endswith("(request req_7)")


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        (failure("rate_limit_error", "slow down"), errors.RateLimited),
        (failure("rate_limit_error", "spent", **SPENT), errors.QuotaExhausted),
        (failure("authentication_error", "revoked"), errors.AuthenticationFailed),
        (failure("permission_error", "not yours"), errors.AuthenticationFailed),
        (failure("billing_error", "no credit"), errors.QuotaExhausted),
        (failure("invalid_request_error", "no"), errors.InvalidRequest),
        (failure("request_too_large", "too large"), errors.InvalidRequest),
        (failure("conflict_error", "busy"), errors.ConnectionFailed),
        (failure("timeout_error", "too long"), errors.ConnectionFailed),
        (failure("api_error", "oops"), errors.ConnectionFailed),
        (failure("overloaded_error", "Overloaded"), errors.Overloaded),
        (failure("something_new", "?"), errors.ConnectionFailed),
        ({"type": "error", "error": "a text"}, errors.ConnectionFailed),
        ({"type": "error"}, errors.ConnectionFailed),
    ],
)
async def test_a_failure_inside_a_success_is_one_of_ours(
    claude: MessagesServer, document: dict[str, Any], kind: type[errors.PipelineError]
) -> None:
    """An error after a status of 200 is known by its type: at once, or after some text."""
    begun = b"".join(map(sse, events_of(message("half"))[:4]))
    for data, expected in ((b"", kind), (begun, kind)):
        stream = http(data + sse(document), kind="text/event-stream")
        claude.answers["fails"] = lambda _, stream=stream: stream  # type: ignore[misc]
        with pytest.raises(errors.PipelineError) as caught:
            async with Anthropic("m", base_url=claude.url("fails")).stream(REQUEST) as chunks:
                async for _ in chunks:
                    pass
        error: BaseException | None = caught.value
        if data and issubclass(kind, errors.Transient):
            assert isinstance(error, errors.StreamInterrupted)
            assert error.partial == "hal"
            assert error.usage == gp.Usage(
                input_tokens=17, output_tokens=1, cached_tokens=4, cache_write_tokens=3
            )
            error = error.__cause__
        assert type(error) is expected


async def test_the_wait_is_what_the_server_says(claude: MessagesServer) -> None:
    """In seconds, in fractions of them, or until a date; nothing else is believed."""
    clock = FakeClock()
    date = format_datetime(datetime.fromtimestamp(clock.wall() + 90, UTC), usegmt=True)
    for header, seconds in (
        ("retry-after: 7", 7.0),
        ("retry-after: 7\r\nretry-after-ms: 250", 0.25),
        (f"retry-after: {date}", pytest.approx(90, abs=1)),
        ("retry-after: soon", None),
    ):
        document = failure("rate_limit_error", "slow")
        model = failing(claude, "429 Slow", document, f"{header}\r\n", clock=clock)
        with pytest.raises(errors.RateLimited) as caught:
            await model(REQUEST)
        assert caught.value.retry_after == seconds


LIMITS = (
    "anthropic-ratelimit-requests-limit: 60\r\n"
    "anthropic-ratelimit-requests-remaining: 0\r\n"
    "anthropic-ratelimit-requests-reset: 2026-11-23T12:00:00Z\r\n"
    "anthropic-ratelimit-input-tokens-remaining: 4000\r\n"
)


async def test_the_quota_is_told(claude: MessagesServer) -> None:
    """Answers and failures tell what is left, and until when, in the server's own words."""
    told = {
        "requests-limit": 60.0,
        "requests-remaining": 0.0,
        "requests-reset": "2026-11-23T12:00:00Z",
        "input-tokens-remaining": 4000.0,
    }
    slow = failure("rate_limit_error", "slow")
    with pytest.raises(errors.RateLimited) as caught:
        await failing(claude, "429 Slow", slow, LIMITS)(REQUEST)
    assert caught.value.rate_limits == told
    response = await failing(claude, "200 OK", message("x"), LIMITS)(REQUEST)
    assert response.attributes["rate_limits"] == told


async def test_a_rate_limit_learns_the_quota(claude: MessagesServer) -> None:
    """A `RateLimit` around the provider obeys what the headers tell."""
    heard: list[Any] = []
    model = failing(claude, "200 OK", message("x"), LIMITS)
    with gp.listen(heard.append):
        await gp.wrap(model, RateLimit())(REQUEST)
    learned = [each for each in heard if isinstance(each, gp.resilience.QuotaLearned)]
    assert ("requests", 60) in [(each.dimension, each.limit) for each in learned]
