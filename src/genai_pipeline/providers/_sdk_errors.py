"""What the client objects of the vendors' SDKs raise, known by its form: no SDK is imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from genai_pipeline.errors import (
    AttemptTimeout,
    AuthenticationFailed,
    BulkheadFull,
    ConfigurationError,
    ConnectionFailed,
    Permanent,
    PipelineError,
    classify,
)

__all__ = ["answer_in", "hidden", "meaning_of"]

_UNSENT = frozenset({"ConnectError", "ConnectTimeout", "ProxyError", "UnsupportedProtocol"})
_KEYLESS = frozenset({"CredentialsError", "SubjectTokenProviderError"})
_MISUSED = frozenset({"AnthropicError", "OpenAIError", "TypeError", "ValueError"})
_PASSING = frozenset({"APIConnectionError", "DecodingError", "RetryableError", "TransportError"})
_TIMEOUTS = frozenset({"APITimeoutError", "TimeoutException"})
_QUOTED = 300


def answer_in(error: Exception) -> Any:
    """Answer the response that *error* was made of, if the server answered; `None` if not."""
    response = getattr(error, "response", None)
    has_status = isinstance(getattr(response, "status_code", None), int)
    return response if has_status else None


def meaning_of(error: Exception, who: str) -> PipelineError:
    """Answer the error of ours for *error*, where no server answered; *who* begins its message."""
    if isinstance(error, PipelineError):
        return error
    names, causes = _kinds(error), _kinds(error.__cause__)
    told = f"{who}: {_told(error)}"
    if "PoolTimeout" in causes:
        return BulkheadFull(f"{who}: every connection of the client was in use")
    unsent = bool(causes & _UNSENT)
    if names & _TIMEOUTS and not unsent:
        return AttemptTimeout(told)
    if names & _PASSING or classify(error) == "transient":
        return ConnectionFailed(told, sent=not unsent)
    if names & _KEYLESS:
        return AuthenticationFailed(told)
    return ConfigurationError(told) if names & _MISUSED else Permanent(told)


def hidden(problem: PipelineError, hide: Callable[[str], str]) -> PipelineError:
    """Answer *problem* without the secrets that *hide* blots out of its message."""
    problem.args = tuple(hide(arg) if isinstance(arg, str) else arg for arg in problem.args)
    return problem


def _kinds(error: BaseException | None) -> set[str]:
    return set() if error is None else {kind.__name__ for kind in type(error).__mro__}


def _told(error: Exception) -> str:
    cause = error.__cause__
    text = f"the client raised {type(error).__name__}: {str(error)[:_QUOTED]}"
    return text if cause is None else f"{text} ({type(cause).__name__}: {str(cause)[:_QUOTED]})"
