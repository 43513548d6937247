"""`HttpClient`: what a provider keeps between runs, and opens in each."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

import anyio
import attrs
from anyio.lowlevel import RunVar

from genai_pipeline._options import at_least, check, flag, positive
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.providers._http._environment import authorities, proxy_for
from genai_pipeline.providers._http._proxy import Proxy, is_proxy_url
from genai_pipeline.providers._http._session import HttpSession
from genai_pipeline.providers._http._wire import open_wire
from genai_pipeline.providers._target import origin_of

if TYPE_CHECKING:
    import ssl

__all__ = ["HttpClient"]

_CLOSE_SECONDS = 5.0


def _verifying(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    if value is None:
        return
    import ssl  # noqa: PLC0415 - slow to import, for whoever only builds a provider

    fine = (
        isinstance(value, ssl.SSLContext)
        and value.verify_mode is ssl.CERT_REQUIRED
        and value.check_hostname
    )
    check(fine, owner, option.name, value, "an ssl.SSLContext that verifies certificates and names")


def _proxy_url(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    # The value may hold a password, so the message does not show it.
    fine = value is None or is_proxy_url(value)
    check(fine, owner, option.name, "…", "the URL of an HTTP proxy, http://host:port")


def _told(validate: Callable[[Any, Any, Any], object]) -> Callable[[Any, Any, Any], None]:
    """Let *validate* name the provider whose option it is."""

    def told(client: HttpClient, option: attrs.Attribute[Any], value: Any) -> None:
        validate(client.owner, option, value)

    return told


@attrs.define
class _Held:
    session: HttpSession
    users: int = 0


@attrs.frozen(kw_only=True, eq=False)
class HttpClient:
    """
    Connections to one server, opened on entering and closed on leaving, once for each event loop.

    Whatever carries a credential goes to the server of *base_url*, and to no other. One object may
    be entered in many runs, threads and event loops at the same time: those in one event loop share
    an `HttpSession`, which the last to leave closes.
    """

    base_url: str
    """The URL of the server: its scheme, host and port are the only ones to send to."""

    owner: str = "HttpClient"
    """Whose options these are: what errors about them name."""

    timeout: float = attrs.field(default=600.0, validator=_told(positive))
    """Seconds for one whole exchange, waiting for a free connection included."""

    idle_timeout: float = attrs.field(default=60.0, validator=_told(positive))
    """Seconds between two pieces of an answer that has begun."""

    connect_timeout: float = attrs.field(default=5.0, validator=_told(positive))
    """Seconds to reach the server."""

    max_connections: int = attrs.field(default=1000, validator=_told(at_least(1, 100_000)))
    """Exchanges at a time; further ones wait."""

    max_answer_bytes: int = attrs.field(default=32 * 2**20, validator=_told(at_least(1)))
    """The largest answer to read, before and after decompression."""

    ssl_context: ssl.SSLContext | None = attrs.field(default=None, validator=_told(_verifying))
    """What to trust instead of `authorities`; it must verify."""

    proxy: str | None = attrs.field(default=None, repr=False, validator=_told(_proxy_url))
    """The proxy to go through, instead of that of the environment."""

    trust_env: bool = attrs.field(default=True, validator=_told(flag))
    """Whether the environment says what proxy and what authorities to use."""

    clock: Clock = attrs.field(factory=SystemClock)
    origin: tuple[str, str, int] = attrs.field(
        init=False, default=attrs.Factory(lambda client: origin_of(client.base_url), True)
    )
    _held: RunVar[_Held | None] = attrs.field(
        factory=lambda: RunVar("genai_pipeline_http"), init=False, repr=False
    )

    async def __aenter__(self) -> HttpSession:
        held = self._held.get(None)
        if held is None:
            wire = open_wire(self, self._trusted(), self._proxy())
            held = _Held(HttpSession(wire, self))
            self._held.set(held)
        held.users += 1
        return held.session

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        held = self._held.get(None)
        assert held is not None
        held.users -= 1
        if held.users == 0:
            self._held.set(None)
            with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
                await held.session.aclose()

    def _trusted(self) -> ssl.SSLContext:
        return self.ssl_context or authorities(trust_env=self.trust_env)

    def _proxy(self) -> Proxy | None:
        url = self.proxy or (proxy_for(*self.origin) if self.trust_env else None)
        return None if url is None else Proxy.of(url)
