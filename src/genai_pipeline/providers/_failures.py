"""What a failed answer means: status, error code and message become one of our errors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from genai_pipeline.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectionFailed,
    ContextOverflow,
    InvalidAnswer,
    InvalidRequest,
    Overloaded,
    Permanent,
    PipelineError,
    QuotaExhausted,
    RateLimited,
    Refused,
    Transient,
)

__all__ = ["Failure", "failure_from", "to_error"]

_OVERFLOW_CODES = frozenset(
    {
        "context_length_exceeded",
        "exceed_context_size_error",
        "model_context_window_exceeded",
    }
)
_OVERFLOW_TEXT = re.compile(
    r"maximum context length|context window|prompt is too long|input is too long"
    r"|exceeds? the available context size|exceeds the context size|too many tokens",
    re.IGNORECASE,
)
_QUOTA_CODES = frozenset(
    {
        "billing_error",
        "billing_hard_limit_reached",
        "billing_not_active",
        "credit_balance_exhausted",
        "enforced_spend_limit_reached",
        "insufficient_quota",
        "organization_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "project_spend_limit_exceeded",
    }
)
_QUOTA_TEXT = re.compile(
    r"you have reached your specified|credit balance is too low", re.IGNORECASE
)
_POLICY_CODES = frozenset(
    {
        "bio_policy",
        "content_filter",
        "content_policy_violation",
        "misalignment_policy_violation",
        "responsibleaipolicyviolation",
    }
)
_KEY_CODES = frozenset({"api_key_invalid", "authentication_error", "invalid_api_key"})
_RATE_CODES = frozenset(
    {
        "rate_limit_error",
        "rate_limit_exceeded",
        "resource_exhausted",
        "slow_down",
        "throttlingexception",
    }
)
_LOAD_CODES = frozenset({"overloaded_error", "server_error", "unavailable"})

_AUTHENTICATION = frozenset({401, 403, 407})
_PASSING = frozenset({408, 409, 421, 424, 425, 499})
_MESSAGE_LENGTH = 500


@attrs.frozen(kw_only=True)
class Failure:
    """An answer that is an error, as far as it could be understood."""

    status: int
    message: str = ""
    codes: tuple[str, ...] = ()
    """Everything that names the kind of error, most telling first, as the server wrote it."""

    retry_after: float | None = None
    rate_limits: Mapping[str, float | str] = attrs.field(factory=dict)
    """What the headers told of the quota."""

    should_retry: bool | None = None
    """The server's own word on whether to try again."""

    request_id: str | None = None
    location: str | None = None


def to_error(failure: Failure, who: str) -> PipelineError:
    """
    Answer the error that *failure* means; *who* begins its message.

    Defined for every status. What the codes say goes before what the status says, and
    ``should_retry`` goes before the status.
    """
    make = _by_code(failure) or _by_wish(failure) or _by_status(failure.status)
    return make(failure, _told(failure, who))


Make = Callable[[Failure, str], PipelineError]


def _raise_as(kind: type[PipelineError]) -> Make:
    def make(failure: Failure, message: str) -> PipelineError:
        if issubclass(kind, Transient):
            wait, limits = failure.retry_after, failure.rate_limits
            return kind(message, retry_after=wait, rate_limits=limits)
        if issubclass(kind, Refused):
            return kind(message, explanation=failure.message)
        return kind(message)

    return make


def _by_code(failure: Failure) -> Make | None:  # noqa: PLR0911 - a table, in order
    """Answer what the codes and the message decide, of whatever status but a success."""
    codes = {code.lower() for code in failure.codes}
    caller = 400 <= failure.status < 500 and failure.status not in _AUTHENTICATION  # noqa: PLR2004
    if codes & _QUOTA_CODES or (caller and _QUOTA_TEXT.search(failure.message)):
        return _raise_as(QuotaExhausted)
    if codes & _OVERFLOW_CODES:
        return _raise_as(ContextOverflow)
    if caller and failure.status != 429 and _OVERFLOW_TEXT.search(failure.message):  # noqa: PLR2004
        return _raise_as(ContextOverflow)
    if codes & _KEY_CODES:
        return _raise_as(AuthenticationFailed)
    if codes & _POLICY_CODES:
        return _raise_as(Refused)
    if failure.status in _AUTHENTICATION:
        return None
    if codes & _RATE_CODES:
        return _raise_as(QuotaExhausted if failure.status == 402 else RateLimited)  # noqa: PLR2004
    return _raise_as(Overloaded) if codes & _LOAD_CODES else None


def _by_wish(failure: Failure) -> Make | None:
    """Answer what ``should_retry`` changes about the status."""
    kind = _kinds(failure.status)
    if failure.should_retry is True and kind is InvalidRequest:
        return _raise_as(ConnectionFailed)
    if failure.should_retry is False and kind is RateLimited:
        return _raise_as(QuotaExhausted)  # waiting does not help, and every record fails alike
    if failure.should_retry is False and issubclass(kind, Transient):
        return _raise_as(Permanent)
    return None


def _by_status(status: int) -> Make:
    return _raise_as(_kinds(status))


def _kinds(status: int) -> type[PipelineError]:  # noqa: PLR0911 - a table
    if status in _AUTHENTICATION:
        return AuthenticationFailed
    if status == 402:  # noqa: PLR2004
        return QuotaExhausted
    if status == 429:  # noqa: PLR2004
        return RateLimited
    if status in {503, 529}:
        return Overloaded
    if status in _PASSING:
        return ConnectionFailed
    if status in {501, 505} or 400 <= status < 500:  # noqa: PLR2004
        return InvalidRequest
    if 300 <= status < 400:  # noqa: PLR2004
        return ConfigurationError
    return ConnectionFailed if status >= 500 else InvalidAnswer  # noqa: PLR2004


def _told(failure: Failure, who: str) -> str:
    parts = [f"{who}: {failure.status}"]
    if failure.codes:
        parts.append(f" {failure.codes[0][:80]}")
    if 300 <= failure.status < 400:  # noqa: PLR2004
        target = f" to {failure.location[:200]}" if failure.location else ""
        parts.append(
            f" is a redirect{target}, which is not followed; set base_url to the final URL"
        )
    if failure.message:
        parts.append(f": {failure.message[:_MESSAGE_LENGTH]}")
    if failure.request_id:
        parts.append(f" (request {failure.request_id[:80]})")
    return "".join(parts)


def failure_from(status: int, body: bytes, **told: Any) -> Failure:
    """
    Answer what an error *body* says: OpenAI's form, its many variants, or plain text.

    *told* holds the other fields of `Failure`. Never raises.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        text = " ".join(body[:4000].decode("utf-8", "replace").split())
        return Failure(status=status, message=text[:200], **told)
    if isinstance(document, list) and document:
        document = document[0]
    return failure_in(status, document, **told)


def failure_in(status: int, document: object, **told: Any) -> Failure:
    """Answer what a decoded error *document* says."""
    error = document.get("error", document) if isinstance(document, dict) else document
    inner = error if isinstance(error, dict) else {}
    outer = document if isinstance(document, dict) else {}
    texts = (
        inner.get("message"),
        outer.get("error_description"),
        outer.get("message"),
        error,
        outer.get("detail"),
    )
    message = next((text for text in texts if isinstance(text, str) and text), "")
    if not message and outer.get("detail"):
        message = json.dumps(outer["detail"])[:_MESSAGE_LENGTH]
    return Failure(
        status=status, message=message, codes=tuple(_codes(status, inner, outer)), **told
    )


def _codes(status: int, inner: dict[str, Any], outer: dict[str, Any]) -> Iterator[str]:
    details, cause = inner.get("details"), inner.get("innererror")
    found = (
        inner.get("code"),
        details.get("error_code") if isinstance(details, dict) else None,
        cause.get("code") if isinstance(cause, dict) else None,
        inner.get("type"),
        inner.get("status"),
        outer.get("error") if "error_description" in outer else None,
    )
    seen = {"", "0", str(status)}
    for code in found:
        if isinstance(code, str | int) and not isinstance(code, bool) and str(code) not in seen:
            seen.add(str(code))
            yield str(code)[:100]
