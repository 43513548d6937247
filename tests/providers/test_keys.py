"""Keys over real sockets: which one a server gets, and what happens when it is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.providers import OpenAI
from tests.servers.chat import ChatServer, Exchange, completion, http
from tests.servers.chat_streams import STREAMS

pytestmark = pytest.mark.anyio
REQUEST = gp.Request("hello")


@pytest.fixture
def guarded(chat: ChatServer) -> Iterator[set[str]]:
    """Let the server take the keys in a set alone, and answer with the one it got."""
    accepted: set[str] = set()

    def answer(exchange: Exchange) -> bytes:
        key = exchange.headers["authorization"].removeprefix("Bearer ")
        if key in accepted:
            return http(completion(f"key ending in {key[-3:]}"))
        return http({"error": {"message": f"no such key {key}"}}, status="401 Unauthorized")

    chat.answers["guarded"] = answer
    yield accepted
    del chat.answers["guarded"]


def keys_seen(chat: ChatServer, since: int) -> list[str]:
    """Answer the keys that the server got, in turn."""
    return [each.headers["authorization"].split()[1][-3:] for each in chat.seen[since:]]


async def test_a_key_is_given_in_several_forms(chat: ChatServer, guarded: set[str]) -> None:
    """A text, a secret and a function of either kind all are keys."""
    guarded.add("sk-key-one")

    async def later() -> str:
        return "sk-key-one"

    for key in ("sk-key-one", gp.Secret("sk-key-one"), lambda: "sk-key-one", later):
        model = OpenAI("m", base_url=chat.url("guarded"), api_key=key)
        assert isinstance(model.api_key, gp.Secret)
        assert (await model(REQUEST)).text == "key ending in one"


async def test_a_refused_key_is_looked_up_once_more(chat: ChatServer, guarded: set[str]) -> None:
    """A key that was changed meanwhile costs a call nothing but a second request."""
    guarded.add("sk-key-two")
    keys = iter(["sk-key-one", "sk-key-two"])
    model = OpenAI("m", base_url=chat.url("guarded"), api_key=lambda: next(keys))
    before = len(chat.seen)
    assert (await model(REQUEST)).text == "key ending in two"
    assert (await model(REQUEST)).text == "key ending in two"
    assert keys_seen(chat, before) == ["one", "two", "two"]


async def test_a_key_that_stays_refused_is_an_error(chat: ChatServer, guarded: set[str]) -> None:
    """No third request is sent, and the error hides both keys."""
    keys = iter(["sk-key-one", "sk-key-two", "sk-key-six"])
    model = OpenAI("m", base_url=chat.url("guarded"), api_key=lambda: next(keys))
    before = len(chat.seen)
    with pytest.raises(errors.AuthenticationFailed, match=r"no such key \*\*\*"):
        await model(REQUEST)
    assert keys_seen(chat, before) == ["one", "two"]
    assert not guarded


async def test_the_same_key_is_not_sent_twice(chat: ChatServer, guarded: set[str]) -> None:
    """Where there is no other key, a refusal is final."""
    before = len(chat.seen)
    for key in ("sk-key-one", lambda: "sk-key-one"):
        with pytest.raises(errors.AuthenticationFailed):
            await OpenAI("m", base_url=chat.url("guarded"), api_key=key)(REQUEST)
    assert keys_seen(chat, before) == ["one", "one"]
    assert not guarded


async def test_many_refusals_ask_for_one_key(chat: ChatServer, guarded: set[str]) -> None:
    """Calls that were refused together look the key up once."""
    guarded.add("sk-key-two")
    asked: list[str] = []

    async def get() -> str:
        asked.append("sk-key-one" if not asked else "sk-key-two")
        return asked[-1]

    model = OpenAI("m", base_url=chat.url("guarded"), api_key=get)
    texts: list[str] = []

    async def call() -> None:
        texts.append((await model(REQUEST)).text)

    async with gp.wrap(model), anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(call)
    assert texts == ["key ending in two"] * 20
    assert asked == ["sk-key-one", "sk-key-two"]


async def test_a_key_file_is_rotated_under_a_running_program(
    chat: ChatServer, guarded: set[str], tmp_path: Path
) -> None:
    """The next call sends the new key; nothing has to be built again."""
    file = tmp_path / "key"
    file.write_text("sk-key-one\n", "utf-8")
    file.chmod(0o600)
    guarded.update({"sk-key-one", "sk-key-new"})
    model = OpenAI("m", base_url=chat.url("guarded"), api_key=gp.Secret.from_file(file))
    async with model:
        assert (await model(REQUEST)).text == "key ending in one"
        file.write_text("sk-key-new\n", "utf-8")
        assert (await model(REQUEST)).text == "key ending in new"


async def test_a_stream_looks_its_key_up_once_more(
    chat: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that is refused for its key begins once more with another."""
    whole = STREAMS["stream"]

    async def guarded(exchange: Exchange) -> bool:
        if exchange.headers["authorization"] == "Bearer sk-key-two":
            return await whole(exchange)
        await exchange.send(http({"error": {}}, status="401 Unauthorized"))
        return True

    monkeypatch.setitem(STREAMS, "stream-guarded", guarded)
    keys = iter(["sk-key-one", "sk-key-two"])
    model = OpenAI("m", base_url=chat.url("stream-guarded"), api_key=lambda: next(keys))
    before = len(chat.seen)
    async with model.stream(REQUEST) as chunks:
        text = "".join([chunk.text async for chunk in chunks])
    assert text
    assert keys_seen(chat, before) == ["one", "two"]
    with pytest.raises(errors.AuthenticationFailed):
        async with OpenAI("m", base_url=chat.url("stream-guarded"), api_key="sk-key-x").stream(
            REQUEST
        ):
            pass


async def test_without_a_key_nothing_is_sent(chat: ChatServer) -> None:
    """A key that cannot be had is an error before a connection is opened."""

    def broken() -> str:
        raise LookupError

    before, told = chat.connections, list[Any]()
    model = OpenAI("m", base_url=chat.url("ok"), api_key=broken)
    with gp.listen(told.append), pytest.raises(errors.AuthenticationFailed, match=r"^openai 'm': "):
        await model(REQUEST)
    assert chat.connections == before
    assert [event.error for event in told] == ["AuthenticationFailed"]


async def test_several_keys_have_limits_of_their_own(chat: ChatServer, guarded: set[str]) -> None:
    """A provider for each key, each behind its own quota, and a balance over them: one model."""
    guarded.update({"sk-key-one", "sk-key-two"})
    model = gp.LoadBalance(
        {
            f"key {key[-3:]}": gp.wrap(
                OpenAI("m", base_url=chat.url("guarded"), api_key=key),
                gp.RateLimit(requests=2, per=3600, burst=3600, queue=0),
            )
            for key in ("sk-key-one", "sk-key-two")
        }
    )
    before = len(chat.seen)
    async with gp.wrap(model):
        for _ in range(4):
            await model(REQUEST)
        with pytest.raises(gp.Rejected):
            await model(REQUEST)
    assert sorted(keys_seen(chat, before)) == ["one", "one", "two", "two"]
