"""What stands around a handler: told in words, and checked for orders that do harm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ["MisorderedStack", "describe", "layers", "misplaced"]


class MisorderedStack(UserWarning):
    """Warns of policies in an order that is known to do harm; the message says which."""


_LIMITS = ("RateLimit", "Bulkhead", "AdaptiveLimit")

_CACHE_OUTSIDE = "an answer from the cache would still have to pass {outer}; put Cache before it"
_RETRY_OUTSIDE = (
    "{outer} would see calls, not the attempts that are really made; put Retry before it"
)

# (outer, inner): the harm. The order is from "Order" in the design of the resilience policies:
# deadline, cache, fallback, hedge, retry, rate limit, bulkhead, breaker, timeout.
_HARM: Mapping[tuple[str, str], str] = {
    ("Retry", "Cache"): (
        "every attempt would look into the cache again, and a failure to do so be retried; "
        "put Cache before Retry"
    ),
    **{(limit, "Cache"): _CACHE_OUTSIDE for limit in (*_LIMITS, "CircuitBreaker", "Throttle")},
    **{(limit, "Retry"): _RETRY_OUTSIDE for limit in (*_LIMITS, "CircuitBreaker", "Throttle")},
    **{
        (limit, "Fallback"): (
            "{outer} would stand before the substitutes too; put Fallback before it"
        )
        for limit in (*_LIMITS, "CircuitBreaker", "Throttle")
    },
    **{
        ("CircuitBreaker", router): (
            "one ill target would keep calls from all the others; give each target a breaker of "
            "its own"
        )
        for router in ("LoadBalance", "Degrade")
    },
    ("Retry", "Retry"): (
        "their attempts would multiply; one Retry is enough, which counts faults and bad answers "
        "apart"
    ),
    ("Hedge", "Cache"): (
        "the second attempt would share the call of the first, and wait with it; put Cache before "
        "Hedge"
    ),
    **{
        (limit, "Hedge"): (
            "{outer} would see one call where two requests are made; put Hedge before it"
        )
        for limit in _LIMITS
    },
    ("CircuitBreaker", "Hedge"): (
        "two calls would go under one probe's permit; put Hedge before CircuitBreaker"
    ),
    ("Timeout", "Retry"): (
        "one attempt that hangs would use up the time of all; put Timeout behind Retry, and "
        "Deadline before it to limit them together"
    ),
    **{
        ("Timeout", limit): (
            "waiting in line would count as the attempt's time; put Timeout behind {inner}"
        )
        for limit in _LIMITS
    },
    ("Timeout", "CircuitBreaker"): (
        "the breaker would see cancellations, which say nothing, and never open on a provider "
        "that hangs; put Timeout behind CircuitBreaker"
    ),
    **{
        ("CircuitBreaker", limit): (
            "calls that wait in line would go on though the circuit opened meanwhile; put "
            "CircuitBreaker behind {inner}, and its check_first before"
        )
        for limit in _LIMITS
    },
    **{
        (limit, "RateLimit"): (
            "a call that waits for quota would hold a slot; put RateLimit before {outer}"
        )
        for limit in ("Bulkhead", "AdaptiveLimit")
    },
    ("Retry", "Deadline"): (
        "each attempt would get the whole time again; put Deadline before Retry, and Timeout "
        "behind it for an attempt"
    ),
}


def layers(handler: object) -> Iterator[object]:
    """Yield what stands around *handler*, outermost first, and last the handler itself."""
    while isinstance(middlewares := getattr(handler, "middlewares", None), tuple):
        yield from middlewares
        handler = getattr(handler, "handler", None)
    yield handler


def misplaced(handler: object) -> Iterator[str]:
    """Yield, for each two policies around *handler* that are in the wrong order, the harm."""
    kinds = [type(layer).__name__ for layer in layers(handler)]
    for place, inner in enumerate(kinds):
        for outer in kinds[:place]:
            if outer == "Timeout" in kinds[place:]:
                continue  # each attempt has a timeout of its own; this one is for all of them
            if (harm := _HARM.get((outer, inner))) is not None:
                yield f"{inner} behind {outer}: " + harm.format(outer=outer, inner=inner)


def describe(handler: object) -> str:
    """
    Answer what a call to *handler* passes through, a line for each layer, outermost first.

    Lines that begin with ``!`` name policies that are in an order known to do harm, and why.
    """
    *around, inside = layers(handler)
    lines = [f"{number:>2}  {layer!r}" for number, layer in enumerate(around, 1)]
    lines.append(f"->  {inside!r}")
    lines.extend(f" !  {harm}" for harm in misplaced(handler))
    return "\n".join(lines)
