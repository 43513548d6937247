"""What a server says of a failure, over real sockets: each has a meaning, whatever it is."""

from __future__ import annotations

import pickle
from email.utils import formatdate
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.providers import OpenAI
from genai_pipeline.resilience import RateLimit, Retry
from genai_pipeline.testing import FakeClock
from tests import canary
from tests.servers.chat import ChatServer, completion, http

pytestmark = pytest.mark.anyio

REQUEST = gp.Request("hello", system=canary.PROMPT)


def failing(chat: ChatServer, status: str, headers: str = "", **options: Any) -> OpenAI:
    """Answer a provider whose server fails so, always."""
    chat.answers["fails"] = lambda _: http({"error": {}}, status=status, headers=headers)
    secrets = {"api_key": canary.KEY, "headers": canary.HEADERS}
    return OpenAI("m", base_url=chat.url("fails"), **{**secrets, **options})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("429 Too Many Requests", errors.RateLimited),
        ("500 Internal Server Error", errors.ConnectionFailed),
        ("503 Service Unavailable", errors.Overloaded),
    ],
)
async def test_a_failure_tells_of_the_quota(
    chat: ChatServer, status: str, kind: type[errors.Transient]
) -> None:
    """The provider's rate limit headers are on the error, also in another process."""
    headers = (
        "X-RateLimit-Remaining-Requests: 0\r\nx-ratelimit-reset-requests: 1m2.5s\r\n"
        "anthropic-ratelimit-input-tokens-remaining: 4000\r\n"
    )
    with pytest.raises(kind) as caught:
        await failing(chat, status, headers)(REQUEST)
    told = {"remaining-requests": 0.0, "reset-requests": 62.5, "input-tokens-remaining": 4000.0}
    assert caught.value.rate_limits == told
    assert pickle.loads(pickle.dumps(caught.value)).rate_limits == told


async def test_a_silent_failure_tells_nothing_of_the_quota(chat: ChatServer) -> None:
    """Without such headers, and without any answer, there is an empty mapping to read."""
    for provider in (
        failing(chat, "429 Too Many Requests"),
        OpenAI("m", base_url=chat.url("reset")),
    ):
        with pytest.raises(errors.Transient) as caught:
            await provider(REQUEST)
        assert caught.value.rate_limits == {}


async def test_what_a_failure_tells_holds_the_next_calls_back(chat: ChatServer) -> None:
    """A `RateLimit` around the provider learns the quota from a 429, as it does from answers."""
    heard: list[Any] = []
    headers = "x-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-requests: 0\r\n"
    limit = RateLimit()
    with gp.listen(heard.append), pytest.raises(errors.RateLimited):
        await gp.wrap(failing(chat, "429 Slow", headers + "retry-after: 0\r\n"), limit)(REQUEST)
    learned = [each for each in heard if isinstance(each, gp.resilience.QuotaLearned)]
    assert [(each.dimension, each.limit) for each in learned] == [("requests", 60)]
    assert limit.buckets.forecast({"requests": 1}, {}) > 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("299 Unheard Of", errors.InvalidAnswer),
        ("306 Switch Proxy", errors.ConfigurationError),
        ("399 Unheard Of", errors.ConfigurationError),
        ("418 I'm a teapot", errors.InvalidRequest),
        ("460 Client Closed", errors.InvalidRequest),
        ("499 Client Closed Request", errors.ConnectionFailed),
        ("520 Unknown Error", errors.ConnectionFailed),
        ("599 Network Timeout", errors.ConnectionFailed),
        ("600 Beyond", errors.ConnectionFailed),
        ("999 Request Denied", errors.ConnectionFailed),
    ],
)
async def test_an_unknown_status_is_defined(
    chat: ChatServer, status: str, kind: type[errors.PipelineError]
) -> None:
    """A status that no standard knows is judged by its first digit, and told as it is."""
    with pytest.raises(kind) as caught:
        await failing(chat, status)(REQUEST)
    assert type(caught.value) is kind
    assert status[0] == "2" or status[:3] in str(caught.value)


@pytest.mark.parametrize(
    "header",
    [
        "retry-after: -5",
        "retry-after: 1000000000",
        "retry-after: 1e9",
        "retry-after: NaN",
        "retry-after: ",
        "retry-after: soon",
        "retry-after-ms: -1",
        "retry-after-ms: 99999999999999",
        f"retry-after: {formatdate(10**10, usegmt=True)}",
        "retry-after: Thu, 99 Foo 9999 99:99:99 GMT",
    ],
)
async def test_a_lying_wait_is_none(chat: ChatServer, header: str) -> None:
    """A Retry-After that is negative, absurd or no time at all counts as absent."""
    with pytest.raises(errors.RateLimited) as caught:
        await failing(chat, "429 Slow", f"{header}\r\n")(REQUEST)
    assert caught.value.retry_after is None


async def test_a_wait_until_the_past_is_over(chat: ChatServer) -> None:
    """A date that has passed asks for no wait."""
    with pytest.raises(errors.RateLimited) as caught:
        await failing(chat, "429 Slow", f"retry-after: {formatdate(0, usegmt=True)}\r\n")(REQUEST)
    assert caught.value.retry_after == 0


@pytest.mark.parametrize("limit", ["0", "-1", "nonsense", "1e999"])
async def test_a_quota_of_nothing_is_not_believed(chat: ChatServer, limit: str) -> None:
    """A told limit of zero or of no number leaves a `RateLimit` as it was."""
    heard: list[Any] = []
    headers = f"x-ratelimit-limit-requests: {limit}\r\n"
    chat.answers["none"] = lambda _: http(completion("fine"), headers=headers)
    model = gp.wrap(OpenAI("m", base_url=chat.url("none")), RateLimit(requests=6000))
    with gp.listen(heard.append):
        for _ in range(3):
            assert (await model(REQUEST)).text == "fine"
    assert not [each for each in heard if isinstance(each, gp.resilience.QuotaLearned)]


class Liar:
    """A provider that raises what a real server's answers were read as, in virtual time."""

    def __init__(self, clock: FakeClock, error: errors.RateLimited) -> None:
        self.times: list[float] = []
        self._clock = clock
        self._error = error

    async def __call__(self, request: gp.Request) -> gp.Response:
        self.times.append(self._clock.now())
        if len(self.times) == 1:
            raise self._error
        return gp.Response("fine")


@pytest.mark.parametrize("header", ["retry-after: 1000000000", "retry-after: -1"])
async def test_a_lie_costs_seconds_and_no_record(chat: ChatServer, header: str) -> None:
    """The usual policies wait a backoff for a lying Retry-After, not the years it asks for."""
    with pytest.raises(errors.RateLimited) as caught:
        await failing(chat, "429 Slow", f"{header}\r\n")(REQUEST)
    async with FakeClock() as clock:
        liar = Liar(clock, caught.value)
        retry = Retry(on=gp.Transient, clock=clock)
        model = gp.resilient(liar, retry=retry, clock=clock)
        assert (await model(REQUEST)).text == "fine"
        assert liar.times[-1] < 10


async def test_an_answer_of_an_unknown_success_is_read(chat: ChatServer) -> None:
    """Any status of success with a completion in it is an answer."""
    chat.answers["odd"] = lambda _: http(completion("odd"), status="298 Fine")
    assert (await OpenAI("m", base_url=chat.url("odd"))(REQUEST)).text == "odd"
