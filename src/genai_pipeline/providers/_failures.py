"""What a failed answer means: status, error codes and message become one of our errors."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping

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

__all__ = ["COMMON_RULES", "Failure", "Rule", "to_error"]

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
_CALLER = frozenset(range(400, 500)) - _AUTHENTICATION
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


@attrs.frozen(kw_only=True)
class Rule:
    """A row of a table: failures with all that is given here are of this *kind*."""

    kind: type[PipelineError]
    statuses: Container[int] = range(1000)
    codes: frozenset[str] | re.Pattern[str] | None = None
    """One of these, in lower case, or one that the pattern is found in."""

    text: re.Pattern[str] | None = None
    """What is found in the message."""

    def fits(self, failure: Failure, codes: frozenset[str]) -> bool:
        """Tell whether *failure*, whose *codes* are in lower case, is one of these."""
        return (
            failure.status in self.statuses
            and (self.codes is None or self._names(codes))
            and (self.text is None or self.text.search(failure.message) is not None)
        )

    def _names(self, codes: frozenset[str]) -> bool:
        if isinstance(self.codes, re.Pattern):
            return any(map(self.codes.search, codes))
        return self.codes is not None and not self.codes.isdisjoint(codes)


COMMON_RULES = (
    Rule(kind=QuotaExhausted, codes=_QUOTA_CODES),
    Rule(kind=QuotaExhausted, statuses=_CALLER, text=_QUOTA_TEXT),
    Rule(kind=ContextOverflow, codes=_OVERFLOW_CODES),
    Rule(kind=ContextOverflow, statuses=_CALLER - {429}, text=_OVERFLOW_TEXT),
    Rule(kind=AuthenticationFailed, codes=_KEY_CODES),
    Rule(kind=Refused, codes=_POLICY_CODES),
    Rule(kind=AuthenticationFailed, statuses=_AUTHENTICATION),
    Rule(kind=QuotaExhausted, statuses={402}, codes=_RATE_CODES),
    Rule(kind=RateLimited, codes=_RATE_CODES),
    Rule(kind=Overloaded, codes=_LOAD_CODES),
)
"""What codes and messages mean, whoever sends them; the first that fits decides."""


def to_error(failure: Failure, who: str, rules: tuple[Rule, ...] = COMMON_RULES) -> PipelineError:
    """
    Answer the error that *failure* means; *who* begins its message.

    Defined for every status. What the *rules* say of codes and messages goes before what the
    status says, and ``should_retry`` goes before the status.
    """
    codes = frozenset(code.lower() for code in failure.codes)
    kind = next((rule.kind for rule in rules if rule.fits(failure, codes)), None)
    kind = kind or _by_wish(failure) or _kind_of_status(failure.status)
    message = _told(failure, who)
    if issubclass(kind, Transient):
        return kind(message, retry_after=failure.retry_after, rate_limits=failure.rate_limits)
    if issubclass(kind, Refused):
        return kind(message, explanation=failure.message)
    return kind(message)


def _by_wish(failure: Failure) -> type[PipelineError] | None:
    """Answer what ``should_retry`` changes about the status."""
    kind = _kind_of_status(failure.status)
    if failure.should_retry is True and kind is InvalidRequest:
        return ConnectionFailed
    if failure.should_retry is False and kind is RateLimited:
        return QuotaExhausted  # waiting does not help, and every record fails alike
    if failure.should_retry is False and issubclass(kind, Transient):
        return Permanent
    return None


def _kind_of_status(status: int) -> type[PipelineError]:  # noqa: PLR0911 - a table
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
