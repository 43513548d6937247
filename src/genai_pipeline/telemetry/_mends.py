"""What to do about an error: one sentence for each class that a user meets."""

from __future__ import annotations

__all__ = ["LIMITS", "WAITS", "mend"]

_MENDS = {
    "AttemptTimeout": "the provider was too slow; allow more time or lower --max-in-flight",
    "AuthenticationFailed": "check the API key and the environment variable it comes from",
    "ConfigurationError": "correct the option that the message names",
    "ConnectionFailed": "check the address, the network and that the server is up, then run again",
    "ContextOverflow": "shorten the input or choose a model that reads more",
    "DataError": "correct the input that the message names",
    "DeadlineExceeded": "allow more time, or lower --max-in-flight",
    "InvalidAnswer": "the model answered in the wrong form; retry, or ask more plainly",
    "InvalidRequest": "correct the request: its parameters, its model or its size",
    "MemoryError": "lower --max-in-flight, or set max_memory= of the pipeline",
    "ModuleNotFoundError": "install the missing package; genai-pipeline doctor lists the extras",
    "Overloaded": "the provider was overloaded; run again later, or add a retry",
    "QuotaExhausted": "top up the account at the provider, then run again",
    "RateLimited": "lower --max-in-flight, or add a rate limit and a retry",
    "Refused": "the model declined; change the prompt or the input",
    "Rejected": "a policy refused the call for now; run again later",
    "Stopped": "run again to finish what is left",
    "StorageFailed": "mend what the message names, or write elsewhere; then run again",
    "TooManyFailures": "look at the first errors, mend their cause, then run again",
    "Truncated": "raise max_output_tokens",
    "WorkerDied": "look for a crash in native code or a lack of memory",
}

LIMITS = {
    "source": "the source: workers waited for records",
    "workers": "the stages: every worker was busy; --max-in-flight may be raised",
    "quota": "a quota: records waited until a provider or a policy let them on",
    "sink": "the sink: workers waited until their records were durable",
    "memory": "memory: the source was not asked while more than max_memory was used",
    "cpu": "this process's CPU: quicker code or more processes would help",
}
"""What `Report.limited_by` means."""

WAITS = {
    "provider": "the provider",
    "limiter": "quota",
    "cooldown": "the end of cooldowns",
    "queue": "a free place",
    "breaker": "the circuit",
    "backoff": "backoff",
}
"""What the kinds of `Report.waits` mean."""


def mend(error: str | BaseException) -> str | None:
    """
    Answer what to do about *error*, an exception or the name of its class.

    Of an exception also the classes it is derived from are looked at; `None` when nothing
    better can be said than what its message says.
    """
    if isinstance(error, str):
        return _MENDS.get(error.rpartition(".")[2])
    return next(
        (_MENDS[each.__name__] for each in type(error).__mro__ if each.__name__ in _MENDS), None
    )
