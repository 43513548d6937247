"""`Proxy`: an HTTP proxy to go through, and the credentials for it."""

from __future__ import annotations

import base64
from urllib.parse import unquote, urlsplit

import attrs

from genai_pipeline.providers._target import Headers

__all__ = ["Proxy", "is_proxy_url"]


@attrs.frozen
class Proxy:
    """
    The *url* of a proxy, without credentials, and the credentials.

    Apart, since the errors of HTTP libraries show the URL.
    """

    url: str
    credentials: tuple[str, str] | None = attrs.field(repr=False)

    @classmethod
    def of(cls, url: str) -> Proxy:
        """Answer the proxy of a *url* that may hold credentials."""
        parts = urlsplit(url)
        credentials = None
        if parts.username is not None:
            credentials = unquote(parts.username), unquote(parts.password or "")
        place = parts.netloc.rpartition("@")[2]
        return cls(f"{parts.scheme}://{place}", credentials)

    @property
    def headers(self) -> Headers:
        """What the credentials are sent as."""
        if self.credentials is None:
            return ()
        told = base64.b64encode(":".join(self.credentials).encode()).decode()
        return (("proxy-authorization", f"Basic {told}"),)


def is_proxy_url(value: object) -> bool:
    """Tell whether *value* is the URL of an HTTP proxy; it may hold a password."""
    if not isinstance(value, str):
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
