"""How Anthropic's API tells of failures: by status, or inside an answer by type alone."""

from __future__ import annotations

from collections.abc import Mapping

from genai_pipeline.errors import PipelineError, QuotaExhausted
from genai_pipeline.providers._error_body import failure_in
from genai_pipeline.providers._failure_format import FailureFormat
from genai_pipeline.providers._failures import COMMON_RULES, Rule, to_error
from genai_pipeline.providers._retry_after import rate_limits

__all__ = ["FAILURES", "told_error"]

_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_SERVER_ERROR = 500

_SPENT = frozenset(
    {
        *("contract_spend_limit_reached", "linked_organization_billing_unavailable"),
        *("linked_organization_spend_limit_reached", "organization_on_hold"),
    }
)

FAILURES = FailureFormat(
    rules=(Rule(kind=QuotaExhausted, codes=_SPENT), *COMMON_RULES),
    request_id_headers=("request-id", "x-request-id"),
)
"""Where the API puts what an error needs to know, and what its codes mean."""


def told_error(
    document: Mapping[str, object], headers: Mapping[str, str], who: str
) -> PipelineError:
    """Answer the error that *document* tells of, in an answer with a status of success."""
    error = document.get("error")
    kind = error.get("type") if isinstance(error, dict) else None
    told = document.get("request_id")
    failure = failure_in(
        _STATUSES.get(kind, _SERVER_ERROR) if isinstance(kind, str) else _SERVER_ERROR,
        document,
        rate_limits=rate_limits(headers),
        request_id=FAILURES.request_id(headers) or (told if isinstance(told, str) else None),
    )
    return to_error(failure, who, FAILURES.rules)
