"""Where calls go, and the headers they carry: checked when built."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from genai_pipeline.errors import ConfigurationError

__all__ = ["check_headers", "check_url", "host_of", "is_header_value", "is_loopback"]

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?", re.ASCII)
_OURS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
    }
)


def check_url(owner: str, option: str, value: Any, *, allow_plain_http: bool) -> str:
    """
    Answer *value* without a slash at its end, if it is a URL to send secrets to.

    That is one of ``https``, or ``http`` to this very machine; without credentials, query and
    fragment. Raises `ConfigurationError`.
    """
    parts = _split(value)
    if parts is None:
        shown = repr(value) if "@" not in str(value) else "a URL with credentials"
        raise ConfigurationError(
            f"{owner}: {option}={shown}; give https://host/path, without credentials, query or "
            "fragment"
        )
    if parts.scheme == "http" and not (allow_plain_http or is_loopback(parts.hostname or "")):
        raise ConfigurationError(
            f"{owner}: {option}={value!r} would send prompts and the key unencrypted; "
            "use https, or allow_plain_http=True where the network is trusted"
        )
    return str(value).rstrip("/")


def _split(value: object) -> SplitResult | None:
    if not isinstance(value, str) or not value.isascii() or re.search(r"[\s\x00-\x1f]", value):
        return None
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return None
    fine = (
        parts.scheme in {"http", "https"}
        and parts.hostname
        and parts.username is None
        and not parts.query
        and not parts.fragment
        and port != 0
    )
    return parts if fine else None


def host_of(url: str) -> str:
    """Answer the host in *url*, in lower case."""
    return urlsplit(url).hostname or ""


def is_loopback(host: str) -> bool:
    """Tell whether *host* is this very machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_header_value(text: object) -> bool:
    """Tell whether a header can carry *text*: visible ASCII, no space at either end."""
    return isinstance(text, str) and _HEADER_VALUE.fullmatch(text) is not None


def check_headers(owner: str, option: str, value: Any) -> Mapping[str, str]:
    """
    Answer *value* with names in lower case.

    Raises `ConfigurationError`, which shows no value of a header, for names and values that no
    header can have, and for the headers that belong to the transport.
    """
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{owner}: {option} is no mapping; give names and values")
    headers: dict[str, str] = {}
    for name, text in value.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ConfigurationError(f"{owner}: {option} has the name {name!r}; give a header name")
        if name.lower() in _OURS:
            raise ConfigurationError(f"{owner}: {option}[{name!r}]; the transport sets this itself")
        if not is_header_value(text):
            raise ConfigurationError(
                f"{owner}: {option}[{name!r}] is no header value; give visible ASCII in one line"
            )
        headers[name.lower()] = text
    return headers
