"""`Target`: what one request is sent to, and the secrets that it carries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias
from urllib.parse import urlsplit

import attrs

from genai_pipeline._key_sources import Key

__all__ = ["Headers", "Target", "origin_of", "secrets_in"]

Headers: TypeAlias = tuple[tuple[str, str], ...]
"""Names, in lower case, and values."""

_SHORTEST_SECRET = 6
_PORTS = {"http": 80, "https": 443}


def origin_of(url: str) -> tuple[str, str, int]:
    """Answer scheme, host and port of *url*, in lower case; it must be absolute."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, parts.hostname or "", parts.port or _PORTS.get(scheme, 0)


def _encoded(target: Target) -> tuple[bytes, ...]:
    return tuple(secret.encode() for secret in target.secrets)


def _origin(target: Target) -> tuple[str, str, int]:
    return origin_of(target.url)


@attrs.frozen(cache_hash=True)
class Target:
    """A method, a URL and headers to send; equal ones share what is built from them."""

    url: str
    headers: Headers = attrs.field(repr=False)
    secrets: tuple[str, ...] = attrs.field(default=(), repr=False, eq=False)
    method: str = "POST"
    key: Key | None = attrs.field(default=None, repr=False, eq=False)
    """The key among the headers, to tell when it is another."""

    origin: tuple[str, str, int] = attrs.field(
        init=False, repr=False, eq=False, default=attrs.Factory(_origin, takes_self=True)
    )
    _secret_bytes: tuple[bytes, ...] = attrs.field(
        init=False, repr=False, eq=False, default=attrs.Factory(_encoded, takes_self=True)
    )

    def hide(self, text: str) -> str:
        """Answer *text* with every secret blotted out."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text

    def hide_in(self, body: bytes) -> bytes:
        """Answer *body* with every secret blotted out; the same object when there is none."""
        for secret in self._secret_bytes:
            body = body.replace(secret, b"***")
        return body


def secrets_in(values: Iterable[str | None]) -> tuple[str, ...]:
    """Answer those of *values* that are long enough to be blotted out wherever they appear."""
    return tuple(value for value in values if value and len(value) >= _SHORTEST_SECRET)
