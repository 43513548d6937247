"""How calls reach a server: which certificates, proxies and redirects a key is trusted with."""

from __future__ import annotations

import datetime as dt
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.providers import OpenAI
from genai_pipeline.providers._http._environment import authorities, proxy_for
from tests.servers.chat import ChatServer, http
from tests.servers.forward_proxy import ForwardProxy

pytestmark = pytest.mark.anyio
REQUEST = gp.Request("hello")
KEY = "sk-canary-0123456789"
_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*_VARIABLES, *map(str.upper, _VARIABLES), "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Give a certificate authority of our own."""
    return trustme.CA()


@pytest.fixture
def authority_file(authority: trustme.CA, tmp_path: Path) -> str:
    """Give the file of its certificate."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """Answer what trusts *authority* alone."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@contextmanager
def serving(authority: trustme.CA, *names: str, **options: Any) -> Iterator[ChatServer]:
    """Run a server with a certificate for *names*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **options).configure_cert(context)
    with ChatServer(tls=context) as server:
        yield server


async def assert_not_sent(provider: OpenAI, server: ChatServer) -> None:
    """Assert that a call fails before the server sees anything of it."""
    with pytest.raises(errors.ConnectionFailed) as caught:
        await provider(REQUEST)
    assert caught.value.sent is False
    assert server.seen == []


async def test_a_private_authority_is_named_by_the_environment(
    authority: trustme.CA, authority_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``SSL_CERT_FILE`` says whom to trust, to those alone that trust the environment."""
    with serving(authority, "127.0.0.1") as server:
        model = OpenAI("m", base_url=server.url("ok"), api_key=KEY)
        await assert_not_sent(model, server)
        monkeypatch.setenv("SSL_CERT_FILE", authority_file)
        await assert_not_sent(OpenAI("m", base_url=server.url("ok"), trust_env=False), server)
        assert (await model(REQUEST)).text == "you said: hello"


async def test_a_private_authority_is_given(authority: trustme.CA, authority_file: str) -> None:
    """A context made of the authority's file is trusted, whoever else is not."""
    with serving(authority, "127.0.0.1") as server:
        context = ssl.create_default_context(cafile=authority_file)
        model = OpenAI("m", base_url=server.url("ok"), api_key=KEY, ssl_context=context)
        assert (await model(REQUEST)).text == "you said: hello"
        other = trusting(trustme.CA())
        server.seen.clear()
        await assert_not_sent(OpenAI("m", base_url=server.url("ok"), ssl_context=other), server)


def test_authorities_are_read_once_for_each_change(
    authority_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lone calls do not read them each time, and a new bundle counts at once."""
    monkeypatch.setenv("SSL_CERT_FILE", authority_file)
    first = authorities(trust_env=True)
    assert authorities(trust_env=True) is first
    trustme.CA().cert_pem.write_to_path(authority_file)
    os.utime(authority_file, (1, 1))
    second = authorities(trust_env=True)
    assert second.get_ca_certs() != first.get_ca_certs()
    assert authorities(trust_env=False) is authorities(trust_env=False)


@pytest.mark.parametrize("text", [None, "no certificate"])
async def test_authorities_that_cannot_be_read_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    """A wrong ``SSL_CERT_FILE`` is a `ConfigurationError` that names it, not a failed handshake."""
    path = tmp_path / "authorities.pem"
    if text is not None:
        path.write_text(text, "utf-8")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(gp.ConfigurationError, match=r"SSL_CERT_FILE='.*authorities\.pem'"):
        await OpenAI("m", base_url="https://127.0.0.1:9/v1")(REQUEST)


async def test_a_bad_certificate_gets_no_key(authority: trustme.CA) -> None:
    """One for another name, or one that has expired, ends the call before it is sent."""
    context = trusting(authority)
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=2)
    for names, options in ((["model.example"], {}), (["127.0.0.1"], {"not_after": past})):
        with serving(authority, *names, **options) as server:
            model = OpenAI("m", base_url=server.url("ok"), api_key=KEY, ssl_context=context)
            await assert_not_sent(model, server)


def test_verification_cannot_be_turned_off() -> None:
    """A context that does not verify certificates, or names, is refused when given."""
    nameless = ssl.create_default_context()
    nameless.check_hostname = False
    lax = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    lax.check_hostname = False
    lax.verify_mode = ssl.CERT_OPTIONAL
    for context in (nameless, lax, False):
        with pytest.raises(gp.ConfigurationError, match="verifies certificates and names"):
            OpenAI("m", ssl_context=context)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["given", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_a_tunnel_hides_all_from_the_proxy(
    authority: trustme.CA, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over ``https`` the proxy learns the host's name, and neither the key nor the prompt."""
    with serving(authority, "model.example") as server, ForwardProxy(server.port) as proxy:
        address = f"http://{proxy.address}"
        if how != "given":
            monkeypatch.setenv(how, address)
        model = OpenAI(
            "m",
            base_url="https://model.example/ok/v1",
            api_key=KEY,
            ssl_context=trusting(authority),
            proxy=address if how == "given" else None,
        )
        async with model:
            for _ in range(2):
                assert (await model(REQUEST)).text == "you said: hello"
        (passed,) = proxy.seen
        assert (passed.method, passed.target) == ("CONNECT", "model.example:443")
        assert KEY not in passed.head
        assert "authorization" not in passed.head


async def test_the_server_behind_a_tunnel_is_verified(authority: trustme.CA) -> None:
    """A proxy that leads elsewhere gets no further than the handshake."""
    with serving(authority, "else.example") as server, ForwardProxy(server.port) as proxy:
        model = OpenAI(
            "m",
            base_url="https://model.example/ok/v1",
            api_key=KEY,
            ssl_context=trusting(authority),
            proxy=f"http://{proxy.address}",
        )
        await assert_not_sent(model, server)


async def test_a_proxy_over_tls(authority: trustme.CA) -> None:
    """A proxy may be spoken to over TLS, and is verified as servers are."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with (
        serving(authority, "model.example") as server,
        ForwardProxy(server.port, tls=context) as proxy,
    ):
        model = OpenAI(
            "m",
            base_url="https://model.example/ok/v1",
            ssl_context=trusting(authority),
            proxy=f"https://{proxy.address}",
        )
        assert (await model(REQUEST)).text == "you said: hello"
        assert [each.method for each in proxy.seen] == ["CONNECT"]


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_may_want_a_password(authority: trustme.CA, scheme: str) -> None:
    """It gets the one in its URL; where that is wrong, the error says so and hides it."""
    context = trusting(authority)
    with serving(authority, "model.example") as tls, ChatServer() as plain:
        server = tls if scheme == "https" else plain
        with ForwardProxy(server.port, password="open-sesame") as proxy:

            def model(password: str) -> OpenAI:
                return OpenAI(
                    "m",
                    base_url=f"{scheme}://model.example/ok/v1",
                    allow_plain_http=True,
                    ssl_context=context,
                    proxy=f"http://user:{password}@{proxy.address}",
                )

            assert (await model("open-sesame")(REQUEST)).text == "you said: hello"
            wrong = model("wrong-sesame")
            with pytest.raises(errors.AuthenticationFailed, match="407") as caught:
                await wrong(REQUEST)
            assert "sesame" not in f"{caught.value!r} {wrong!r} {caught.value.__context__!r}"


async def test_a_proxy_that_is_not_there_was_sent_nothing() -> None:
    """A proxy that refuses connections fails the call before anything is sent."""
    model = OpenAI("m", base_url="https://model.example/v1", proxy="http://127.0.0.1:9")
    with pytest.raises(errors.ConnectionFailed) as caught:
        await model(REQUEST)
    assert caught.value.sent is False


async def test_the_environment_can_be_left_aside(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ``NO_PROXY`` names goes straight, as does all with ``trust_env=False``."""
    with serving(authority, "model.invalid") as server, ForwardProxy(server.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        url, context = "https://model.invalid/ok/v1", trusting(authority)
        straight = OpenAI("m", base_url=url, ssl_context=context, trust_env=False)
        await assert_not_sent(straight, server)
        monkeypatch.setenv("NO_PROXY", "other.example, .invalid")
        await assert_not_sent(OpenAI("m", base_url=url, ssl_context=context), server)
        assert proxy.seen == []


async def test_this_machine_is_never_behind_a_proxy(
    chat: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model server on this machine is called straight, whatever the environment says."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await OpenAI("m", base_url=chat.url("ok"))(REQUEST)).text == "you said: hello"


async def test_a_proxy_of_another_kind_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SOCKS proxy in the environment is a `ConfigurationError` that hides its password."""
    monkeypatch.setenv("HTTPS_PROXY", "socks5://user:sesame@127.0.0.1:1080")
    with pytest.raises(gp.ConfigurationError, match=r"HTTPS_PROXY.*trust_env=False") as caught:
        await OpenAI("m", base_url="https://model.example/v1")(REQUEST)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("spared", "host", "port", "straight"),
    [
        ("", "model.example", 443, False),
        ("*", "model.example", 443, True),
        ("model.example", "model.example", 443, True),
        ("MODEL.Example", "model.example", 443, True),
        ("example", "model.example", 443, True),
        (".example", "model.example", 443, True),
        ("*.example", "model.example", 443, True),
        ("ample", "model.example", 443, False),
        ("del.example", "model.example", 443, False),
        ("model.example:443", "model.example", 443, True),
        ("model.example:444", "model.example", 443, False),
        ("else,, model.example", "model.example", 443, True),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "11.1.2.3", 443, False),
        ("fd00::/8", "fd00::1", 443, True),
        ("10.0.0.0/8", "model.example", 443, False),
    ],
)
def test_what_no_proxy_names(
    spared: str, host: str, port: int, straight: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hosts, domains, ports and networks are spared the proxy, and nothing else."""
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", spared)
    proxy = None if straight else "http://proxy.example:3128"
    assert proxy_for("https", host, port) == proxy


@given(st.text(alphabet=st.characters(blacklist_characters="\0", codec="utf-8")))
def test_no_list_is_too_odd(spared: str) -> None:
    """Whatever ``NO_PROXY`` holds, there is an answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
        patch.setenv("NO_PROXY", spared)
        assert proxy_for("https", "model.example", 443) in {None, "http://proxy.example:3128"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 300, 304])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_redirect_is_not_followed(
    chat: ChatServer, authority: trustme.CA, status: int, streamed: bool
) -> None:
    """Neither key nor prompt follow it: the error names the place, and what to set."""
    with ChatServer() as other:
        place = f"{other.url('ok')}/chat/completions"
        chat.answers["moved"] = lambda exchange: http(
            b"",
            status=f"{status} Moved",
            headers=f"location: {place}?{exchange.headers['x-k']}\r\n",
        )
        model = OpenAI("m", base_url=chat.url("moved"), api_key=KEY, headers={"x-k": KEY})
        words = rf"{status} is a redirect to {place}\?\*\*\*, .* set base_url to the final URL"
        with pytest.raises(gp.ConfigurationError, match=words):
            if streamed:
                async with model.stream(REQUEST):
                    pass
            else:
                await model(REQUEST)
        assert other.connections == 0
