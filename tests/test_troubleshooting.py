"""The troubleshooting page knows every error and warning, and says what is true."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline import errors, resilience
from genai_pipeline.errors import Overloaded, PipelineError
from genai_pipeline.providers import OpenAI
from genai_pipeline.providers._failures import Failure, to_error
from genai_pipeline.testing import FakeClock, Script
from genai_pipeline.walk import deadline_at

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "troubleshoot.md"
WHO = "openai 'gpt'"


def rows() -> Iterator[list[str]]:
    """Yield the cells of each row."""
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


ROWS = {row[0].strip("`"): row for row in rows()}


def test_every_error_has_its_row() -> None:
    """Each class of errors, and each warning, is told once: what, why, who and how."""
    known = [name for name in errors.__all__ if isinstance(getattr(errors, name), type)]
    names = [row[0].strip("`") for row in rows()]
    assert sorted(names) == sorted([*known, "MisorderedStack", "RunFailed"])
    for row in ROWS.values():
        assert len(row) == 5
        assert all(row)


def test_each_stands_where_its_family_is() -> None:
    """An error stands in the table of who must act on it, below its root."""
    text = PAGE.read_text("utf-8")
    for heading, root in (
        ("Time must act", errors.Transient),
        ("Nobody must act", errors.Rejected),
        ("The author must act", errors.Permanent),
        ("The owner of the data must act", errors.DataError),
        ("The operator must act", errors.Systemic),
    ):
        _, _, rest = text.partition(f"\n## {heading}\n")
        section, _, _ = rest.partition("\n## ")
        names = re.findall(r"^\| `(\w+)`", section, re.MULTILINE)
        family = [
            name
            for name in errors.__all__
            if inspect.isclass(kind := getattr(errors, name)) and issubclass(kind, root)
        ]
        assert sorted(names) == sorted(family)
        assert names[0] == root.__name__


def test_the_options_that_it_names_exist() -> None:
    """What it says to turn can be turned."""
    named = set(re.findall(r"`(\w+)\((\w+)=\)`", PAGE.read_text("utf-8")))
    assert len(named) > 20
    for owner, option in named:
        thing: Any = OpenAI if owner == "OpenAI" else getattr(gp, owner)
        assert option in inspect.signature(thing).parameters, (owner, option)


def shape_of(name: str) -> str:
    """Answer the pattern of messages that the page shows for an error."""
    shown = ROWS[name][1]
    assert shown.startswith("`")
    return re.escape(shown.strip("`")).replace("…", ".*")


def provider_errors() -> Iterator[tuple[str, Exception]]:
    """Yield what answers of a server become."""
    for name, status, code in (
        ("RateLimited", 429, "rate_limit_exceeded"),
        ("Overloaded", 503, "overloaded"),
        ("InvalidRequest", 400, "invalid_request_error"),
        ("ContextOverflow", 400, "context_length_exceeded"),
        ("QuotaExhausted", 429, "insufficient_quota"),
    ):
        yield name, to_error(Failure(status=status, codes=(code,), message="said"), WHO)
    told = Failure(status=500, message="said", codes=("x",), should_retry=False)
    yield "Permanent", to_error(told, WHO)
    yield "ConnectionFailed", to_error(Failure(status=502, message="said"), WHO)


@pytest.mark.parametrize(
    ("name", "error"), list(provider_errors()), ids=lambda each: str(each)[:20]
)
def test_messages_of_providers_are_as_shown(name: str, error: Exception) -> None:
    """What a server's answer becomes is the error of the row, and its message as shown."""
    assert type(error).__name__ == name
    assert re.fullmatch(shape_of(name), str(error))


async def circuit_open(clock: FakeClock) -> None:
    breaker = gp.CircuitBreaker(clock=clock)
    for _ in range(10):
        breaker.admit().settle(Overloaded("503"))
    breaker.check()


async def bulkhead_full(clock: FakeClock) -> None:
    bulkhead = gp.Bulkhead(1, queue=0, clock=clock)
    async with bulkhead.slot():
        await gp.wrap(Script("hi"), bulkhead)(gp.Request("hi"))


async def rate_limit_exceeded(clock: FakeClock) -> None:
    limited = gp.wrap(Script("hi", then="repeat"), gp.RateLimit(requests=1, clock=clock))
    await limited(gp.Request("hi"))
    with deadline_at(clock.now() + 1):
        await limited(gp.Request("hi"))


async def rejected(clock: FakeClock) -> None:
    script = Script(errors.RateLimited("429", retry_after=3600))
    await gp.wrap(script, gp.Retry(on=gp.Transient, clock=clock))(gp.Request("hi"))


async def no_target_ready(clock: FakeClock) -> None:
    limited = Script(errors.RateLimited("429", retry_after=9))
    await gp.LoadBalance({"a": limited}, clock=clock)(gp.Request("hi"))


async def throttled(clock: FakeClock) -> None:
    throttle = gp.Throttle(random=lambda: 0.0, clock=clock)
    model = gp.wrap(Script(Overloaded("503"), then="repeat"), throttle)
    for _ in range(2):
        try:
            await model(gp.Request("hi"))
        except Overloaded:
            pass


async def attempt_timeout(clock: FakeClock) -> None:
    await gp.wrap(clock.sleep, gp.Timeout(5, clock=clock))(9)


async def deadline_exceeded(clock: FakeClock) -> None:
    await gp.wrap(clock.sleep, gp.Deadline(5, clock=clock))(9)


async def not_cached(clock: FakeClock) -> None:
    await resilience.cache_only(None)


async def configuration_error(clock: FakeClock) -> None:
    gp.Retry(on=gp.Transient, attempts=0, clock=clock)


async def authentication_failed(clock: FakeClock) -> None:
    await OpenAI("gpt", api_key=gp.Secret.from_env("NO_SUCH_VARIABLE"))(gp.Request("hi"))


async def fail(value: int) -> int:
    raise ValueError(value)


async def too_many_failures(clock: FakeClock) -> None:
    sink: gp.sinks.Collect[int] = gp.sinks.Collect()
    dead: gp.sinks.Collect[gp.DeadLetter] = gp.sinks.Collect()
    try:
        await gp.Pipeline(
            source=gp.sources.Values(range(9)),
            stage=gp.map(fail),
            sink=sink,
            dead_letters=dead,
            max_failures=2,
            clock=clock,
        ).run()
    except gp.RunFailed as failed:
        assert re.fullmatch(shape_of("RunFailed"), str(failed))
        raise failed.exceptions[0] from None


RAISE: dict[str, Callable[[FakeClock], Any]] = {
    "AttemptTimeout": attempt_timeout,
    "AuthenticationFailed": authentication_failed,
    "BulkheadFull": bulkhead_full,
    "CircuitOpen": circuit_open,
    "ConfigurationError": configuration_error,
    "DeadlineExceeded": deadline_exceeded,
    "NoTargetReady": no_target_ready,
    "NotCached": not_cached,
    "RateLimitExceeded": rate_limit_exceeded,
    "Rejected": rejected,
    "Throttled": throttled,
    "TooManyFailures": too_many_failures,
}


@pytest.mark.anyio
@pytest.mark.parametrize("name", RAISE)
async def test_messages_of_policies_are_as_shown(name: str, clock: FakeClock) -> None:
    """What a policy or a run raises is the error of the row, and its message as shown."""
    with pytest.raises(PipelineError) as raised:
        await RAISE[name](clock)
    assert type(raised.value).__name__ == name
    assert re.fullmatch(shape_of(name), str(raised.value))


def test_the_warning_is_as_shown() -> None:
    """The warning of a harmful order reads as the page shows it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cache = gp.Cache(store=gp.stores.Memory())
        gp.wrap(Script("hi"), gp.Retry(on=gp.Transient), cache)
    (warning,) = caught
    assert re.fullmatch(shape_of("MisorderedStack"), str(warning.message))
