"""What statuses, codes and messages mean."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_pipeline import errors
from genai_pipeline.providers import _failures
from genai_pipeline.providers._error_body import failure_from
from genai_pipeline.providers._failures import Failure, to_error

CODES = sorted(
    _failures._OVERFLOW_CODES
    | _failures._QUOTA_CODES
    | _failures._POLICY_CODES
    | _failures._KEY_CODES
    | _failures._RATE_CODES
    | _failures._LOAD_CODES
)


def meaning(status: int, error: dict[str, Any] | None = None, **told: Any) -> errors.PipelineError:
    """Answer what an OpenAI-like error means."""
    body = json.dumps({"error": error or {"message": "m"}}).encode()
    return to_error(failure_from(status, body, **told), "p 'm'")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidRequest),
        (401, errors.AuthenticationFailed),
        (402, errors.QuotaExhausted),
        (403, errors.AuthenticationFailed),
        (404, errors.InvalidRequest),
        (408, errors.ConnectionFailed),
        (409, errors.ConnectionFailed),
        (413, errors.InvalidRequest),
        (422, errors.InvalidRequest),
        (424, errors.ConnectionFailed),
        (429, errors.RateLimited),
        (500, errors.ConnectionFailed),
        (501, errors.InvalidRequest),
        (502, errors.ConnectionFailed),
        (503, errors.Overloaded),
        (504, errors.ConnectionFailed),
        (520, errors.ConnectionFailed),
        (529, errors.Overloaded),
        (308, errors.ConfigurationError),
        (204, errors.InvalidAnswer),
        (100, errors.InvalidAnswer),
    ],
)
def test_a_status_alone(status: int, kind: type[Exception]) -> None:
    """Without a telling code, the status decides."""
    assert type(meaning(status)) is kind


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (429, {"code": "insufficient_quota"}, errors.QuotaExhausted),
        (429, {"type": "insufficient_quota", "code": None}, errors.QuotaExhausted),
        (
            429,
            {"type": "rate_limit_error", "details": {"error_code": "enforced_spend_limit_reached"}},
            errors.QuotaExhausted,
        ),
        (400, {"message": "You have reached your specified API usage"}, errors.QuotaExhausted),
        (400, {"code": "context_length_exceeded"}, errors.ContextOverflow),
        (400, {"type": "exceed_context_size_error"}, errors.ContextOverflow),
        (400, {"message": "prompt is too long: 9 tokens > 8"}, errors.ContextOverflow),
        (400, {"message": "This model's maximum context length is 8"}, errors.ContextOverflow),
        (429, {"message": "too many tokens per minute"}, errors.RateLimited),
        (400, {"code": "content_filter"}, errors.Refused),
        (
            400,
            {"code": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}},
            errors.Refused,
        ),
        (400, {"code": "API_KEY_INVALID"}, errors.AuthenticationFailed),
        (503, {"code": "slow_down"}, errors.RateLimited),
        (500, {"type": "server_error"}, errors.Overloaded),
        (402, {"status": "RESOURCE_EXHAUSTED"}, errors.QuotaExhausted),
        (403, {"code": "rate_limit_exceeded"}, errors.AuthenticationFailed),
    ],
)
def test_a_code_goes_before_the_status(
    status: int, error: dict[str, Any], kind: type[Exception]
) -> None:
    """What the error says of itself decides, where it says something."""
    assert type(meaning(status, error)) is kind


@pytest.mark.parametrize(
    ("status", "wish", "kind"),
    [
        (400, True, errors.ConnectionFailed),
        (429, False, errors.QuotaExhausted),
        (500, False, errors.Permanent),
        (401, True, errors.AuthenticationFailed),
        (500, True, errors.ConnectionFailed),
        (400, False, errors.InvalidRequest),
    ],
)
def test_the_server_may_say_whether_to_retry(
    status: int,
    wish: bool,
    kind: type[Exception],
) -> None:
    """15: ``x-should-retry`` goes before the status."""
    assert type(meaning(status, should_retry=wish)) is kind


@given(
    st.integers(100, 599),
    st.lists(st.sampled_from(CODES) | st.text(max_size=20), max_size=3),
    st.text(max_size=600),
    st.none() | st.booleans(),
    st.none() | st.floats(),
)
def test_every_answer_has_a_meaning(
    status: int,
    codes: list[str],
    message: str,
    wish: bool | None,
    wait: float | None,
) -> None:
    """Pain 10: every status with every code becomes one of our errors, which survives a pickle."""
    failure = Failure(
        status=status, codes=tuple(codes), message=message, should_retry=wish, retry_after=wait
    )
    error = to_error(failure, "p 'm'")
    assert isinstance(error, errors.PipelineError)
    assert str(error).startswith(f"p 'm': {status}")
    assert len(str(error)) < 1000
    if isinstance(error, errors.Transient):
        assert error.retry_after is None or error.retry_after >= 0
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (b'{"error": {"message": "no", "code": 17}}', "no", "17"),
        (b'{"error": "invalid_client", "error_description": "who?"}', "who?", "invalid_client"),
        (b'{"error": "model not found"}', "model not found", None),
        (b'{"object": "error", "message": "bad", "type": "BadRequest"}', "bad", "BadRequest"),
        (b'{"detail": "Not Found"}', "Not Found", None),
        (b'{"detail": [{"loc": ["body"]}]}', '[{"loc": ["body"]}]', None),
        (b'[{"error": {"message": "m", "status": "UNAVAILABLE"}}]', "m", "UNAVAILABLE"),
        (b"<html>\n <h1>502</h1></html>", "<html> <h1>502</h1></html>", None),
        (b'"text"', "text", None),
        (b"\xff\xfe", "\ufffd\ufffd", None),
        (b"", "", None),
    ],
)
def test_the_forms_of_an_error(body: bytes, message: str, code: str | None) -> None:
    """The message and the code are found in whatever form servers give them."""
    failure = failure_from(418, body)
    assert failure.message == message
    assert failure.codes[:1] == (() if code is None else (code,))


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["error", "message", "code", "type", "detail", "details", "innererror"]
                ),
                inner,
                max_size=4,
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_body_is_understood_somehow(body: bytes) -> None:
    """No body makes the reader of errors raise."""
    assert isinstance(to_error(failure_from(500, body), "p"), errors.PipelineError)


def test_a_message_says_what_is_needed_to_complain() -> None:
    """Provider, model, status, code, the server's words, the request and the mend are there."""
    error = meaning(
        429,
        {"message": "x" * 2000, "code": "rate_limit_exceeded"},
        request_id="req-9",
        retry_after=3.0,
    )
    assert isinstance(error, errors.RateLimited)
    assert error.retry_after == 3.0
    text = str(error)
    assert text.startswith("p 'm': 429 rate_limit_exceeded: xxx")
    assert text.endswith("(request req-9)")
    assert len(text) < 700
    redirect = to_error(Failure(status=301, location="https://b.example"), "p")
    assert "redirect to https://b.example, which is not followed; set base_url" in str(redirect)
