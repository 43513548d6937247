"""What each provider over HTTP makes of servers that fail, lie, or quote what is secret."""

from __future__ import annotations

import gc
import json
import tracemalloc

import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from tests.providers.bad_answers import BOMB
from tests.providers.test_bad_input import Outcome, called, streamed
from tests.providers.wires import Wire
from tests.servers.chat import ChatServer, http
from tests.servers.exact import ExactServer

pytestmark = pytest.mark.anyio
ASK = gp.Request("hello")
KEY = "sk-canary-0123456789"
LIMIT = 2**20


def whole(wire: Wire, text: str) -> bytes:
    """Answer a right answer that says *text*."""
    return http(wire.whole(text))


def stream(wire: Wire, text: str) -> bytes:
    """Answer a right stream that says *text*."""
    return http(wire.coded(wire.events(text)) + wire.end, kind=wire.media_type)


async def both(wire: Wire, exact: ExactServer, answer: bytes, **options: str) -> list[Outcome]:
    """Answer what comes of a call and of a stream that are answered so."""
    provider = wire.make(exact.address, **options)
    return [
        await called(provider, exact, answer),
        await streamed(provider, exact, answer),
    ]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidRequest),
        (401, errors.AuthenticationFailed),
        (404, errors.InvalidRequest),
        (429, errors.RateLimited),
        (500, errors.ConnectionFailed),
        (502, errors.ConnectionFailed),
        (503, errors.Overloaded),
        (529, errors.Overloaded),
        (301, gp.ConfigurationError),
        (308, gp.ConfigurationError),
    ],
)
async def test_a_failure_without_words_is_known_by_its_status(
    exact: ExactServer, wire: Wire, status: int, kind: type[Exception]
) -> None:
    """What stands between us and the server answers in its own way, and is understood."""
    for body in (b"<html>a proxy's page</html>", b"", b"\xff", b"[1]"):
        for came in await both(
            wire, exact, http(body, status=f"{status} Whatever", kind="text/html")
        ):
            assert isinstance(came.error, kind)
            assert str(status) in str(came.error)


async def test_what_comes_behind_an_answer_is_nobodys(exact: ExactServer, wire: Wire) -> None:
    """Bytes behind the length that was told are not taken for the next answer."""
    provider = wire.make(exact.address)
    async with gp.wrap(provider):
        came = await called(provider, exact, whole(wire, "first") + whole(wire, "stray"))
        assert came.text == "first"
        for _ in range(3):
            came = await called(provider, exact, whole(wire, "next"))
            if not isinstance(came.error, errors.ConnectionFailed):  # the other right answer
                assert came.text == "next"
        came = await streamed(provider, exact, stream(wire, "first") + stream(wire, "stray"))
        assert came.text == "first"
        for _ in range(3):
            came = await streamed(provider, exact, stream(wire, "next"))
            if not isinstance(came.error, errors.ConnectionFailed):
                assert came.text == "next"


async def test_a_bomb_costs_no_more_than_the_limit(exact: ExactServer, wire: Wire) -> None:
    """Megabytes in kilobytes are refused as they come out, whatever the status they come with."""
    packed = "content-encoding: gzip\r\n"
    provider = wire.make(exact.address, max_answer_bytes=LIMIT)
    async with gp.wrap(provider):
        await called(provider, exact, http(b"", headers=packed))  # loads what is needed
        for status in ("200 OK", "500 Oops"):
            exact.say(http(BOMB, status=status, kind=wire.media_type, headers=packed))
            gc.collect()
            tracemalloc.start()
            try:
                with pytest.raises(errors.InvalidAnswer, match=f"larger than {LIMIT} bytes"):
                    await provider(ASK)
                unpacked = status != "200 OK"
                kind = errors.InvalidAnswer if unpacked else errors.ConnectionFailed
                with pytest.raises(kind, match="larger than" if unpacked else "not asked for"):
                    async with provider.stream(ASK) as chunks:
                        await anext(chunks)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert peak < 8 * 2**20


async def test_a_server_that_quotes_the_key_is_not_quoted(exact: ExactServer, wire: Wire) -> None:
    """The key is in no error, whatever comes back."""
    document = {"error": {"message": f"bad key {KEY}", "code": KEY, "status": KEY}}
    headers = f"location: https://x/?{KEY}\r\nrequest-id: {KEY}\r\nx-request-id: {KEY}\r\n"
    for status in ("200 OK", "301 Moved", "401 No", "500 Oops"):
        for body in (json.dumps(document).encode(), KEY.encode()):
            for kind in (KEY, wire.media_type):
                answer = http(body, status=status, headers=headers, kind=kind)
                for came in await both(wire, exact, answer, api_key=KEY):
                    error = came.error
                    assert error is not None
                    assert KEY not in f"{error!r} {vars(error)} {error.__cause__!r}"
                    assert KEY not in f"{error.__context__!r}"
    told = wire.frame("error", b"{" + KEY.encode())
    right = stream(wire, "fine").replace(b"\r\n", f"\r\n{headers}".encode(), 1)
    for answer in (http(told, kind=wire.media_type), right):
        came = (await both(wire, exact, answer, api_key=KEY))[1]
        assert KEY not in f"{came.error!r} {came.response!r}"


async def test_the_key_goes_to_its_own_server_alone(exact: ExactServer, wire: Wire) -> None:
    """A redirect to another server is an error, and that server sees nothing."""
    with ChatServer() as other:
        headers = f"location: {other.url('ok')}\r\n"
        moved = http(b"", status="307 Temporary Redirect", headers=headers)
        for came in await both(wire, exact, moved, api_key=KEY):
            assert isinstance(came.error, gp.ConfigurationError)
        assert other.connections == 0
