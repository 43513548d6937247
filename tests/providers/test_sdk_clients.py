"""Providers around an application's own SDK clients: the real ones, at servers that misbehave."""

from __future__ import annotations

import gc
import importlib
import subprocess
import sys
import traceback
from typing import Any

import anthropic
import anyio
import openai
import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.events import CallFinished
from genai_pipeline.journals import Memory
from genai_pipeline.providers import Anthropic, OpenAI, from_anthropic, from_openai
from genai_pipeline.testing import ProviderContract
from tests.engine.doubles import Kept, Ledger
from tests.providers.lent import CANARY, Lenders, claude_at, forgets_sockets, openai_at
from tests.servers.chat import ChatServer, completion, http
from tests.servers.messages import MessagesServer, failure, message

pytestmark = pytest.mark.anyio
REQUEST = gp.Request("hello", max_output_tokens=9)


class TestFromOpenAI(Lenders, ProviderContract):
    """The contract, through OpenAI's own client."""

    def make(self) -> gp.Provider:
        return self.lent("ok")

    def make_failing(self) -> gp.Provider:
        return self.lent("500")

    def belongs(self, request: gp.Request, response: gp.Response) -> bool:
        return response.text == f"you said: {request.prompt}"

    @forgets_sockets
    async def test_cancellation_passes_through_everywhere(self) -> None:
        """A call that is cancelled at any of its awaits ends, and the next one is answered."""
        await super().test_cancellation_passes_through_everywhere()
        gc.collect()


class TestFromAnthropic(TestFromOpenAI):
    """The contract, through Anthropic's own client."""

    kind = "anthropic"


async def test_openais_client_asks_what_we_would(chat: ChatServer) -> None:
    """Body and answer are those of `OpenAI`; the way there is the client's."""
    request = gp.Request(
        "q",
        system="s",
        max_output_tokens=9,
        temperature=0.5,
        tools=[gp.Tool("f")],
        labels=["a", "b"],
        extra={"service_tier": "flex"},
    )
    url = chat.url("ok")
    mine = await OpenAI("m", base_url=url)(request)
    async with openai_at(url, default_headers={"x-team": "red"}) as client:
        theirs = await from_openai(client, "m")(request)
    ours, sent = chat.seen[-2:]
    assert (sent.target, sent.json) == (ours.target, ours.json)
    assert sent.headers["authorization"] == f"Bearer {CANARY}"
    assert sent.headers["x-team"] == "red"
    assert theirs == mine


async def test_anthropics_client_asks_what_we_would(claude: MessagesServer) -> None:
    """Body and answer are those of `Anthropic`, with the limit and the cache that are given."""
    request = gp.Request("q", system="s", reasoning_effort="low", extra={"speed": "fast"})
    url = claude.url("ok")
    options: Any = {"max_output_tokens": 64, "cache_prompt": "5m"}
    mine = await Anthropic("claude-opus-5", base_url=url, **options)(request)
    async with claude_at(url) as client:
        theirs = await from_anthropic(client, "claude-opus-5", **options)(request)
    ours, sent = claude.seen[-2:]
    assert (sent.target, sent.json) == (ours.target, ours.json)
    assert theirs == mine


async def test_the_clients_version_decides(claude: MessagesServer) -> None:
    """A client of the newest version takes no temperature; one that says otherwise does."""
    warm = gp.Request("q", temperature=0.5, max_output_tokens=9)
    async with claude_at(claude.url("ok")) as client:
        with pytest.raises(gp.ConfigurationError, match="version 2026-10-21"):
            await from_anthropic(client, "a-model")(warm)
        old = client.with_options(default_headers={"anthropic-version": "2023-06-01"})
        await from_anthropic(old, "a-model")(warm)
    assert claude.seen[-1].json["temperature"] == 0.5


async def test_clients_of_clouds_serve_as_well(chat: ChatServer, claude: MessagesServer) -> None:
    """What Azure's deployments and Foundry want of paths and keys, their own clients know."""
    azure = openai.AsyncAzureOpenAI(
        azure_endpoint=chat.url("ok"), api_version="2024-10-21", api_key=CANARY
    )
    async with azure:
        assert (await from_openai(azure, "my-deployment")(REQUEST)).text == "you said: hello"
    sent = chat.seen[-1]
    path = "/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21"
    assert sent.target.endswith(path)
    assert sent.headers["api-key"] == CANARY
    foundry = anthropic.AsyncAnthropicFoundry(base_url=claude.url("ok"), api_key=CANARY)
    async with foundry:
        assert (await from_anthropic(foundry, "m")(REQUEST)).text == "you said: hello"
    assert claude.seen[-1].headers["api-key"] == CANARY


async def test_a_large_answer_may_take_its_time(claude: MessagesServer) -> None:
    """The SDK refuses large limits without a timeout of their own; ours is given along."""
    async with claude_at(claude.url("ok")) as client:
        model = from_anthropic(client, "claude-opus-5", max_output_tokens=128_000)
        assert (await model(gp.Request("q"))).text == "you said: q"


@pytest.mark.parametrize("retries", [0, 2, 5])
async def test_the_clients_retries_are_off(chat: ChatServer, retries: int) -> None:
    """One call is one request, however often the client would try; the client stays as it was."""
    before = len(chat.seen)
    async with openai_at(chat.url("500"), max_retries=retries) as client:
        with pytest.raises(errors.Overloaded):
            await from_openai(client, "m")(REQUEST)
        assert client.max_retries == retries
    assert len(chat.seen) == before + 1


class Stubborn:
    """A client that says nothing of retries."""

    async def close(self) -> None: ...


class Bare(Stubborn):
    """A client that speaks another language."""

    max_retries = 0


@pytest.mark.parametrize(
    ("client", "words"),
    [
        (openai.OpenAI(api_key="k"), "client is a OpenAI; give an AsyncOpenAI"),
        (object(), "client is a object"),
        (Stubborn(), "the retries of the client, a Stubborn, cannot be switched off"),
        (Bare(), "client is a Bare, which has no chat.completions.with_raw_response.create"),
    ],
)
def test_a_client_that_cannot_serve_is_refused(client: object, words: str) -> None:
    """A synchronous client, one with retries of its own, and what is no client raise at once."""
    with pytest.raises(gp.ConfigurationError, match=words):
        from_openai(client, "m")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": ""}, "from_anthropic: model=''"),
        ({"name": ""}, "from_anthropic: name=''"),
        ({"timeout": 0}, "from_anthropic: timeout=0"),
        ({"max_output_tokens": 0}, "from_anthropic: max_output_tokens=0"),
        ({"cache_prompt": "1d"}, "from_anthropic: cache_prompt='1d'"),
        ({"clock": 3}, "from_anthropic: clock=3"),
    ],
)
async def test_a_wrong_option_is_told(options: dict[str, Any], words: str) -> None:
    """Options are checked when the provider is made."""
    async with claude_at("http://127.0.0.1:1") as client:
        with pytest.raises(gp.ConfigurationError, match=words):
            from_anthropic(client, **{"model": "m", **options})
    async with openai_at("http://127.0.0.1:1") as other:
        with pytest.raises(gp.ConfigurationError, match="from_openai: limit_field='tokens'"):
            from_openai(other, "m", limit_field="tokens")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("way", "kind"),
    [
        ("429", errors.RateLimited),
        ("500", errors.Overloaded),
        ("401", errors.AuthenticationFailed),
        ("html", errors.InvalidAnswer),
        ("empty", errors.InvalidAnswer),
        ("reset", errors.ConnectionFailed),
        ("reset-early", errors.ConnectionFailed),
        ("close-early", errors.ConnectionFailed),
        ("truncated", errors.ConnectionFailed),
        ("bad-chunks", errors.ConnectionFailed),
        ("no-http", errors.ConnectionFailed),
        ("hang", errors.AttemptTimeout),
        ("drip", errors.AttemptTimeout),
    ],
)
async def test_each_failure_is_one_of_ours(
    chat: ChatServer, way: str, kind: type[errors.PipelineError]
) -> None:
    """Whatever goes wrong on the way is in our tree, told once, and shows no key."""
    told: list[Any] = []
    with gp.listen(told.append), pytest.raises(errors.PipelineError) as caught:
        async with openai_at(chat.url(way)) as client:
            await from_openai(client, "m", timeout=0.3 if kind is errors.AttemptTimeout else 10)(
                REQUEST
            )
    error = caught.value
    assert type(error) is kind
    assert str(error).startswith("openai 'm': ")
    assert [event.error for event in told] == [kind.__name__]
    if isinstance(error, errors.ConnectionFailed):
        assert error.sent
    shown = "".join(traceback.format_exception(error)) + repr(told)
    assert CANARY not in shown
    if way == "429":
        assert isinstance(error, errors.RateLimited)
        assert error.retry_after == 7


def _raised(kind: type[Exception], cause: str | None = None) -> Exception:
    """Answer an error of *kind*, raised because of one that is called *cause*."""
    error = kind("said so")
    if cause is not None:
        error.__cause__ = type(cause, (Exception,), {})("no way")
    return error


def _named(*names: str) -> type[Exception]:
    """Answer a class of errors that descends from classes of these *names*, the last first."""
    kind: type[Exception] = Exception
    for name in reversed(names):
        kind = type(name, (kind,), {})
    return kind


TIMEOUT = _named("APITimeoutError", "APIConnectionError", "OpenAIError")


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (_raised(TIMEOUT), errors.AttemptTimeout, "the client raised APITimeoutError: said so"),
        (_raised(TIMEOUT, "ReadTimeout"), errors.AttemptTimeout, "(ReadTimeout: no way)"),
        (_raised(TIMEOUT, "ConnectTimeout"), errors.ConnectionFailed, "ConnectTimeout"),
        (_raised(TIMEOUT, "PoolTimeout"), errors.BulkheadFull, "every connection of the client"),
        (_raised(_named("RetryableError", "AnthropicError")), errors.ConnectionFailed, "said so"),
        (_raised(ConnectionResetError), errors.ConnectionFailed, "ConnectionResetError"),
        (_raised(_named("CredentialsError", "AnthropicError")), errors.AuthenticationFailed, ""),
        (_raised(_named("OpenAIError")), gp.ConfigurationError, "the client raised OpenAIError"),
        (_raised(TypeError), gp.ConfigurationError, "the client raised TypeError: said so"),
        (_raised(KeyError), errors.Permanent, "the client raised KeyError"),
        (errors.RateLimited("ours"), errors.RateLimited, "ours"),
    ],
)
async def test_what_a_client_raises_has_a_meaning(
    error: Exception, kind: type[errors.PipelineError], words: str
) -> None:
    """By the names of the SDKs' classes, and of what they stand on, each error is one of ours."""

    class Completions:
        @property
        def with_raw_response(self) -> Completions:
            return self

        async def create(self, **_: Any) -> Any:
            raise error

    class Client(Bare):
        class chat:  # noqa: N801 - the SDK's own word
            completions = Completions()

    with pytest.raises(errors.PipelineError) as caught:
        await from_openai(Client(), "m")(REQUEST)
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert caught.value.__context__ is None or caught.value is error
    if isinstance(caught.value, errors.ConnectionFailed):
        assert caught.value.sent == ("ConnectTimeout" not in words)


async def test_a_server_that_is_not_there_has_seen_nothing(chat: ChatServer) -> None:
    """A call that never left is known to be unbilled."""
    async with claude_at("http://127.0.0.1:1") as client:
        with pytest.raises(errors.ConnectionFailed) as caught:
            await from_anthropic(client, "m")(REQUEST)
    assert not caught.value.sent


async def test_a_key_that_is_sent_back_is_not_shown(claude: MessagesServer) -> None:
    """What the server says is quoted without the client's key."""
    claude.answers["leak"] = lambda _: http(
        failure("authentication_error", f"bad {CANARY}"), status="401 Unauthorized"
    )
    async with claude_at(claude.url("leak")) as client:
        with pytest.raises(errors.AuthenticationFailed, match=r"bad \*\*\*"):
            await from_anthropic(client, "m")(REQUEST)


async def test_what_anthropic_says_is_read(claude: MessagesServer) -> None:
    """Spend limits, refusals and usage mean what they mean to `Anthropic`."""
    spent = failure("rate_limit_error", "spent", error_code="enforced_spend_limit_reached")
    claude.answers["spent"] = lambda _: http(spent, status="429 Slow")
    claude.answers["no"] = lambda _: http(message("I", stop_reason="refusal"))
    for way, kind in (("spent", errors.QuotaExhausted), ("no", errors.Refused)):
        async with claude_at(claude.url(way)) as client:
            with pytest.raises(kind):
                await from_anthropic(client, "m")(REQUEST)
    async with claude_at(claude.url("ok")) as client:
        response = await from_anthropic(client, "m")(REQUEST)
    assert response.usage.input_tokens == 17
    assert (response.finish_reason, response.request_id) == ("stop", "req_1")


async def test_it_is_known_by_name_and_model(claude: MessagesServer) -> None:
    """Policies, reports and reprs say what it is, and show no key."""
    async with claude_at(claude.url("ok")) as client:
        model = from_anthropic(client, "claude-opus-5", name="house")
        assert (model.name, model.model) == ("house", "claude-opus-5")
        assert "claude-opus-5" in repr(model)
        assert CANARY not in repr(model)
        told: list[Any] = []
        with gp.listen(told.append):
            await gp.resilient(model)(REQUEST)
    assert "house" in [event.provider for event in told if isinstance(event, CallFinished)]


async def test_a_cancelled_call_hangs_up(chat: ChatServer) -> None:
    """Cancellation goes through the client, and the event says so."""
    told: list[Any] = []
    async with openai_at(chat.url("hang")) as client:
        with gp.listen(told.append), anyio.move_on_after(0.2) as scope:
            await from_openai(client, "m")(REQUEST)
    assert scope.cancelled_caught
    assert [event.error for event in told] == ["Cancelled"]


async def test_paid_answers_are_kept(chat: ChatServer) -> None:
    """In a pipeline with a journal an answer is replayed, and what was turned away is not."""
    busy = [True]

    def answer(_: Any) -> bytes:
        if busy.pop() if busy else False:
            return http({"error": {"message": "slow"}}, status="429 Too Many Requests")
        return http(completion("now"))

    chat.answers["busy"] = answer
    before, journal = len(chat.seen), Memory()
    prices = gp.PriceBook({"m": {"input": "1", "output": "10"}})
    async with openai_at(chat.url("busy")) as client:
        model = from_openai(client, "m")
        retry = gp.Retry(on=gp.Transient, attempts=2, first_wait=0.01, max_wait=0.01)

        async def ask(value: str) -> Any:
            answer = await gp.wrap(model, retry)(gp.Request(value, max_output_tokens=9))
            return [answer.text, answer.attributes.get("replayed")]

        class Failing(Kept):
            async def __call__(self, record: gp.Record[Any]) -> None:
                raise gp.errors.StorageFailed("the disk is full")

        def pipeline(sink: Kept) -> gp.Pipeline[Any, Any]:
            return gp.Pipeline(
                source=Ledger(["hi"]), stage=gp.map(ask), sink=sink, journal=journal, prices=prices
            )

        with pytest.raises(gp.RunFailed):
            await pipeline(Failing()).run()
        sink = Kept()
        report = await pipeline(sink).run()
    assert (report.replayed, sink.values) == (1, [["now", True]])
    assert len(chat.seen) == before + 2
    (line,) = await journal.costs()
    assert (line.calls, line.unknown) == (1, 0)


_IMPORT = """
import sys
from genai_pipeline.providers import from_anthropic, from_openai
print([name for name in ("openai", "anthropic", "httpx", "aiohttp") if name in sys.modules])
"""


def test_no_sdk_is_imported() -> None:
    """The client objects are known by what they can do, so no SDK needs to be there."""
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
    assert importlib.util.find_spec("openai")  # or the test would prove nothing
