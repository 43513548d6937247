"""`HttpProviderContract`: what a provider behind HTTP makes of whatever servers send."""

from __future__ import annotations

import gc
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.events import CallFinished
from tests.servers.chat import ChatServer, Closing, http

__all__ = ["HttpProviderContract"]

_KEY = "sk-canary-0123456789"
_BOMB = gzip.compress(b" " * (64 * 2**20))
_ODD: tuple[Any, ...] = (None, True, -1, 1.5, 2**70, "", "x\u2028y", [], [None], {}, {"x": [{}]})


_NO_JSON = {
    "a page": http(b"<html><body>Please log in</body></html>", kind="text/html"),
    "a page that is called JSON": http(b"<html>", kind="application/json"),
    "nothing": http(b""),
    "space": http(b" \r\n"),
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "half": http(b'{"cut": "sho'),
    "no text": http(b'{"not utf-8": "\xff\xfe\xe2\x82"}'),
    "utf-16": http('{"utf": 16}'.encode("utf-16")),
    "a nest of lists": http(b"[" * 200_000 + b"]" * 200_000),
    "a nest of objects": http(b'{"a":' * 200_000 + b"1" + b"}" * 200_000),
    "an endless number": http(b"9" * 5000),
    "two documents": http(b'{"a": 1} {"b": 2}'),
}
_NO_HTTP = {
    "bad chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz no size\r\nrubbish",
    "another protocol": b"220 mail.example ESMTP\r\n",
    "no length": b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n{}",
    "no gzip": http(b"no gzip at all", headers="content-encoding: gzip\r\n"),
    "brotli": http(b"{}", headers="content-encoding: br\r\n"),
    "cut gzip": http(gzip.compress(b"{}")[:-9], headers="content-encoding: gzip\r\n"),
    "cut deflate": http(zlib.compress(b"{}")[:-3], headers="content-encoding: deflate\r\n"),
}


class HttpProviderContract:
    """
    Subclass this as ``class TestMine(HttpProviderContract)``; override `make` and `whole`.

    pytest then runs the inherited tests, on asyncio and on trio, over real sockets. Each sort of
    bad input has one defined outcome: an answer, or one of our errors.
    """

    pytestmark = pytest.mark.anyio

    def make(self, base_url: str, **options: Any) -> Any:
        """Answer a provider of the server at *base_url*, with these options."""
        raise NotImplementedError

    def whole(self, text: str) -> dict[str, Any]:
        """Answer the document with which a server says *text*, and tells of usage."""
        raise NotImplementedError

    def request(self) -> gp.Request:
        """Answer a request that `whole` is an answer to."""
        return gp.Request("hello")

    @pytest.fixture(autouse=True)
    def _server(self, chat: ChatServer) -> Iterator[None]:
        self.server = chat
        yield
        chat.answers.pop("contract", None)

    def sent(self, answer: bytes, **options: Any) -> Any:
        """Answer a provider whose server sends *answer*, to the byte."""
        self.server.answers["contract"] = lambda _: answer
        return self.make(self.server.url("contract"), **options)

    def document(self, text: str = "fine") -> bytes:
        """Answer the body of `whole`."""
        return json.dumps(self.whole(text)).encode()

    async def outcome(self, answer: bytes, **options: Any) -> gp.Response | errors.PipelineError:
        """Answer what comes of a call that is answered so, and see that it is told of once."""
        provider, told = self.sent(answer, **options), list[Any]()
        came: gp.Response | errors.PipelineError
        with gp.listen(told.append):
            try:
                came = await provider(self.request())
            except errors.PipelineError as error:
                came = error
        (event,) = [each for each in told if isinstance(each, CallFinished)]
        assert event.error == (None if isinstance(came, gp.Response) else type(came).__name__)
        return came

    @pytest.mark.parametrize("what", _NO_JSON)
    async def test_what_is_no_json_is_an_invalid_answer(self, what: str) -> None:
        """Pages, nothing, halves, other encodings and bottomless nests are told as such."""
        came = await self.outcome(_NO_JSON[what])
        assert isinstance(came, errors.InvalidAnswer)
        assert len(str(came)) < 500

    @pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b"true", b'"text"', b"0", b"[{}]"])
    async def test_what_holds_no_answer_is_an_invalid_answer(self, body: bytes) -> None:
        """JSON of another shape is told as such."""
        assert isinstance(await self.outcome(http(body)), errors.InvalidAnswer)

    @pytest.mark.parametrize("kind", ["text/plain", "application/problem+json; charset=x", ""])
    async def test_the_content_type_is_not_believed(self, kind: str) -> None:
        """An answer that is right is read, whatever the server calls it."""
        came = await self.outcome(http(self.document(), kind=kind))
        assert isinstance(came, gp.Response)
        assert came.text == "fine"

    async def test_a_byte_order_mark_is_passed_over(self) -> None:
        """The mark that some put before UTF-8 is no part of the answer."""
        came = await self.outcome(http(b"\xef\xbb\xbf" + self.document()))
        assert isinstance(came, gp.Response)

    async def test_unknown_fields_are_passed_over(self) -> None:
        """A server may say more than we know of, anywhere in its answer."""
        plain = await self.outcome(http(self.document()))
        came = await self.outcome(http(json.dumps(_with_more(self.whole("fine"))).encode()))
        assert isinstance(plain, gp.Response)
        assert isinstance(came, gp.Response)
        assert (came.text, came.usage) == ("fine", plain.usage)

    async def test_of_keys_that_come_twice_the_last_counts(self) -> None:
        """An object that says two things of one name says the second."""
        first, second = self.document("first"), self.document("second")
        twice = first.rstrip()[:-1] + b"," + second.lstrip()[1:]
        came = await self.outcome(http(twice))
        assert isinstance(came, gp.Response)
        assert came.text == "second"

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1E+400"])
    async def test_what_is_no_number_is_nothing(self, number: str) -> None:
        """Numbers that JSON or a double has not are read as null: in usage they count nothing."""
        known = self.whole("fine")
        for document in ({"zz": 7, **known}, _with_numbers(known)):
            body = json.dumps(document).replace(" 7", f" {number}").encode()
            came = await self.outcome(http(body))
            if isinstance(came, gp.Response):
                assert came.text == "fine"
                json.dumps(came.attributes, allow_nan=False)
            else:
                assert isinstance(came, errors.InvalidAnswer)
        plain = json.dumps({"zz": 7, **known}).replace(" 7", f" {number}", 1)
        assert isinstance(await self.outcome(http(plain.encode())), gp.Response)

    async def test_odd_values_are_never_a_crash(self) -> None:
        """Whatever stands in whichever place of an answer, there is a defined outcome."""
        provider = self.sent(b"")
        async with gp.wrap(provider):
            for document in _mutants(self.whole("fine")):
                answer = http(json.dumps(document).encode())
                self.server.answers["contract"] = partial(_given, answer)
                with suppress(errors.PipelineError):
                    response = await provider(self.request())
                    assert isinstance(response.text, str)
                    assert response.usage.input_tokens >= 0

    @pytest.mark.parametrize("what", _NO_HTTP)
    async def test_what_is_no_http_is_a_failed_connection(self, what: str) -> None:
        """Broken framing and broken compression may pass, and may have been billed."""
        came = await self.outcome(Closing(_NO_HTTP[what]))
        assert isinstance(came, errors.ConnectionFailed)
        assert came.sent

    async def test_a_short_body_is_a_failed_connection(self) -> None:
        """A body that ends before the length that was told is not whole."""
        body = self.document()
        came = await self.outcome(Closing(http(body, length=len(body) + 9)))
        assert isinstance(came, errors.ConnectionFailed)
        assert came.sent

    async def test_a_long_body_is_nobody_elses(self) -> None:
        """What comes behind the length that was told is not taken for the next answer."""
        twice = http(self.document("first")) + http(self.document("stray"))
        provider = self.sent(twice)
        async with gp.wrap(provider):
            assert (await provider(self.request())).text == "first"
            for _ in range(3):
                with suppress(errors.ConnectionFailed):  # the other right answer
                    assert (await provider(self.request())).text == "first"

    @pytest.mark.parametrize("coding", ["gzip", "deflate"])
    async def test_a_compressed_answer_is_read(self, coding: str) -> None:
        """What we say we accept is decompressed."""
        pack = gzip.compress if coding == "gzip" else zlib.compress
        packed = http(pack(self.document()), headers=f"content-encoding: {coding}\r\n")
        came = await self.outcome(packed)
        assert isinstance(came, gp.Response)
        assert came.text == "fine"

    async def test_a_bomb_costs_no_more_than_the_limit(self) -> None:
        """Megabytes in kilobytes are refused as they come out, and so is a body that is large."""
        bomb = http(_BOMB, headers="content-encoding: gzip\r\n")
        provider = self.sent(bomb, max_answer_bytes=2**20)
        async with gp.wrap(provider):
            with suppress(errors.PipelineError):
                await provider(self.request())
            gc.collect()
            tracemalloc.start()
            try:
                with pytest.raises(errors.InvalidAnswer, match="larger than 1048576 bytes"):
                    await provider(self.request())
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
        assert peak < 8 * 2**20
        came = await self.outcome(http(b" " * 5000), max_answer_bytes=4000)
        assert isinstance(came, errors.InvalidAnswer)
        assert "larger than 4000 bytes" in str(came)

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
        self, status: int, kind: type[Exception]
    ) -> None:
        """What stands between us and the server answers in its own way, and is understood."""
        for body in (b"<html>a proxy's page</html>", b"", b"\xff", b"[1]", b"{}"):
            came = await self.outcome(http(body, status=f"{status} Whatever", kind="text/html"))
            assert isinstance(came, kind)
            assert str(status) in str(came)

    async def test_a_server_that_quotes_the_key_is_not_quoted(self) -> None:
        """The key is in no error, whatever comes back."""
        document = {"error": {"message": f"bad key {_KEY}", "code": _KEY, "status": _KEY}}
        headers = f"location: https://x/?{_KEY}\r\nrequest-id: {_KEY}\r\nx-request-id: {_KEY}\r\n"
        for status in ("200 OK", "301 Moved", "401 No", "500 Oops"):
            for body in (json.dumps(document).encode(), _KEY.encode()):
                answer = http(body, status=status, headers=headers, kind=_KEY)
                came = await self.outcome(answer, api_key=_KEY)
                assert isinstance(came, errors.PipelineError)
                assert _KEY not in f"{came!r} {vars(came)} {came.__cause__!r} {came.__context__!r}"

    async def test_the_key_goes_to_its_own_server_alone(self) -> None:
        """A redirect to another server is an error, and that server sees nothing."""
        with ChatServer() as other:
            headers = f"location: {other.url('ok')}\r\n"
            came = await self.outcome(
                http(b"", status="307 Temporary Redirect", headers=headers), api_key=_KEY
            )
            assert isinstance(came, gp.ConfigurationError)
            assert other.connections == 0


def _given(answer: bytes, _: object) -> bytes:
    return answer


def _with_more(value: Any) -> Any:
    if isinstance(value, dict):
        more = {key: _with_more(inner) for key, inner in value.items()}
        return {"zz_unknown": {"deep": [1, None]}, **more, "zz-unknown": "new"}
    return [_with_more(each) for each in value] if isinstance(value, list) else value


def _with_numbers(value: Any) -> Any:
    """Answer the document with a seven for each of its numbers."""
    if isinstance(value, dict):
        return {key: _with_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_numbers(each) for each in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return 7 if is_number else value


def _mutants(value: Any) -> Iterator[Any]:
    """Yield the document with each of its parts, in turn, left out or of another kind."""
    yield from _ODD
    if isinstance(value, dict):
        for key, inner in value.items():
            yield {name: kept for name, kept in value.items() if name != key}
            yield from ({**value, key: mutant} for mutant in _mutants(inner))
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from ([*value[:index], mutant, *value[index + 1 :]] for mutant in _mutants(inner))
