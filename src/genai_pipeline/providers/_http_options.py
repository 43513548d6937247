"""`HttpOptions`: the options that every provider behind HTTP has, and what is made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import attrs

from genai_pipeline import _options
from genai_pipeline._lifespan import Composite
from genai_pipeline._options import check
from genai_pipeline._secret import GetKey, Secret, fixed_key, to_secret
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.providers._caller import Caller, Sign
from genai_pipeline.providers._endpoint import check_headers, check_url, is_header_value
from genai_pipeline.providers._failure_format import FailureFormat
from genai_pipeline.providers._http import HttpClient
from genai_pipeline.providers._target import Headers

if TYPE_CHECKING:
    import ssl

__all__ = ["HttpOptions"]


def _to_secret(given: str | Secret | GetKey | None) -> Secret | None:
    return to_secret(given)


@attrs.frozen(eq=False)
class HttpOptions(Composite):
    """
    A provider behind HTTP, without what it says: subclasses give defaults and the rest.

    Makes the `Caller` that sends their requests, and opens and closes its connections.
    """

    model: str = attrs.field(validator=_options.text)
    """The name of the model, as the server knows it."""

    base_url: str = attrs.field(kw_only=True)
    """Everything before the path of a call. ``https``, or ``http`` to this very machine."""

    api_key: Secret | None = attrs.field(
        default=None, kw_only=True, repr=False, converter=_to_secret
    )
    """
    A text, a `Secret`, or a function that answers a key: see `Secret.from_function`.

    Sent to the server of *base_url* alone; never shown in a repr, an error or an event.
    """

    timeout: float = attrs.field(default=600.0, kw_only=True)
    """Seconds for one call, waiting for a free connection included."""

    headers: Mapping[str, str] = attrs.field(factory=dict, kw_only=True, repr=False)
    """Further headers of each call."""

    allow_plain_http: bool = attrs.field(default=False, kw_only=True)
    """Allow ``http`` to other machines: whoever is on the way can read the prompts and the key."""

    max_connections: int = attrs.field(default=1000, kw_only=True)
    """Calls at a time in one event loop; further ones wait. Not below ``max_in_flight``."""

    max_answer_bytes: int = attrs.field(default=32 * 2**20, kw_only=True)
    """The largest answer to read, before and after decompression."""

    ssl_context: ssl.SSLContext | None = attrs.field(default=None, kw_only=True, repr=False)
    """
    What to trust instead of the authorities of ``SSL_CERT_FILE``, or else the public ones.

    ``ssl.create_default_context(cafile="…")`` for a private one; it must verify.
    """

    proxy: str | None = attrs.field(default=None, kw_only=True, repr=False)
    """The HTTP proxy to go through, instead of that of ``HTTPS_PROXY`` or ``HTTP_PROXY``."""

    trust_env: bool = attrs.field(default=True, kw_only=True)
    """Whether the environment says what proxy to go through, and what authorities to trust."""

    name: str = attrs.field(kw_only=True, validator=_options.text)
    """What events, errors and reports call the provider."""

    clock: Clock = attrs.field(factory=SystemClock, kw_only=True, repr=False)

    _caller: Caller = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        put, kind = object.__setattr__, type(self).__name__
        url = check_url(kind, "base_url", self.base_url, allow_plain_http=self.allow_plain_http)
        put(self, "base_url", url)
        put(self, "headers", check_headers(kind, "headers", self.headers))
        self._ready()
        client = HttpClient(
            owner=kind,
            base_url=url,
            timeout=self.timeout,
            max_connections=self.max_connections,
            max_answer_bytes=self.max_answer_bytes,
            ssl_context=self.ssl_context,
            proxy=self.proxy,
            trust_env=self.trust_env,
            clock=self.clock,
        )
        caller = Caller(
            who=f"{self.name} {self.model!r}",
            base_url=url,
            key=self._key(),
            credentials=self._credentials,
            headers={**self._own_headers(), **self.headers},
            client=client,
            failures=self._failures(),
            sign=self._sign(),
            clock=self.clock,
        )
        put(self, "_caller", caller)

    def parts(self) -> Iterable[object]:
        """Answer what is opened and closed with this."""
        return (self._caller.client,)

    def _ready(self) -> None:
        """Make what a subclass needs of options that are checked by now."""

    def _key(self) -> Secret | None:
        """Answer the key to send; none of our own where *headers* have one."""
        carriers = {name for name, _ in self._credentials("x")}
        given = not carriers.isdisjoint(self.headers)
        if self.api_key is None:
            return None if given else self._default_key()
        check(not given, self, "headers", "…", f"either api_key= or {min(carriers)!r} in headers")
        key = fixed_key(self.api_key)
        carried = () if key is None else self._credentials(key.text)
        fine = all(is_header_value(value) for _, value in carried)
        check(fine, self, "api_key", "…", "visible ASCII, in one line")
        return self.api_key

    def _default_key(self) -> Secret | None:
        """Answer where the key is when none is given; it must be meant for *base_url*."""
        return None

    def _credentials(self, key: str) -> Headers:
        """Answer the headers that carry *key*, in lower case."""
        return (("authorization", f"Bearer {key}"),)

    def _own_headers(self) -> Mapping[str, str]:
        """Answer the headers that the API wants with each request, in lower case."""
        return {}

    def _failures(self) -> FailureFormat:
        """Answer how the API tells of failures."""
        return FailureFormat()

    def _sign(self) -> Sign | None:
        """Answer what signs each request, where a key in a header is not enough."""
        return None
