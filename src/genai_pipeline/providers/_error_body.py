"""What the body of a failed answer says: OpenAI's form, its many variants, or plain text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from genai_pipeline.providers._failures import Failure
from genai_pipeline.providers._retry_after import believed, duration

__all__ = ["failure_from", "failure_in"]

_MESSAGE_LENGTH = 500
_RETRY_INFO = "google.rpc.RetryInfo"


def failure_from(status: int, body: bytes, *, more: tuple[str, ...] = (), **told: Any) -> Failure:
    """
    Answer what an error *body* says, in whichever of the forms that the APIs have for it.

    *more* codes, from a header, go before its own; *told* holds the other fields of `Failure`.
    Never raises.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        text = " ".join(body[:4000].decode("utf-8", "replace").split())
        return Failure(status=status, message=text[:200], codes=more, **told)
    if isinstance(document, list) and document:
        document = document[0]
    return failure_in(status, document, more=more, **told)


def failure_in(
    status: int, document: object, *, more: tuple[str, ...] = (), **told: Any
) -> Failure:
    """Answer what a decoded error *document* says; *more* codes go before its own."""
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
    if told.get("retry_after") is None:
        told["retry_after"] = _retry_info(inner.get("details"))
    return Failure(
        status=status, message=message, codes=(*more, *_codes(status, inner, outer)), **told
    )


def _retry_info(details: object) -> float | None:
    """Answer the wait that Google's ``RetryInfo`` among *details* asks for."""
    for detail in _dicts(details):
        delay = detail.get("retryDelay")
        if str(detail.get("@type", "")).endswith(_RETRY_INFO) and isinstance(delay, str):
            return believed(duration(delay))
    return None


def _codes(status: int, inner: dict[str, Any], outer: dict[str, Any]) -> Iterator[str]:
    details, cause = inner.get("details"), inner.get("innererror")
    found = (
        inner.get("code"),
        details.get("error_code") if isinstance(details, dict) else None,
        cause.get("code") if isinstance(cause, dict) else None,
        inner.get("type"),
        inner.get("status"),
        outer.get("error") if "error_description" in outer else None,
        *_google_codes(details),
    )
    seen = {"", "0", str(status)}
    for code in found:
        if isinstance(code, str | int) and not isinstance(code, bool) and str(code) not in seen:
            seen.add(str(code))
            yield str(code)[:100]


def _google_codes(details: object) -> Iterator[object]:
    """Answer the reasons and the quotas that Google's *details* name."""
    for detail in _dicts(details):
        yield detail.get("reason")
        for violation in _dicts(detail.get("violations")):
            yield violation.get("quotaId")


def _dicts(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
