"""What the environment says of proxies and of certificate authorities."""

from __future__ import annotations

import functools
import ipaddress
import os
from pathlib import Path
from typing import TYPE_CHECKING

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.providers._endpoint import is_loopback
from genai_pipeline.providers._http._proxy import is_proxy_url

if TYPE_CHECKING:
    import ssl

__all__ = ["authorities", "proxy_for"]


def proxy_for(scheme: str, host: str, port: int) -> str | None:
    """
    Answer the proxy that ``https_proxy``, ``http_proxy`` or ``all_proxy`` names for a server.

    In lower or upper case. None for this very machine, and for what ``no_proxy`` names: hosts,
    domains, networks (``10.0.0.0/8``) or ``*``. Raises `ConfigurationError` for what is no HTTP
    proxy, such as a SOCKS one.
    """
    from urllib.request import getproxies_environment  # noqa: PLC0415 - slow to import

    told = getproxies_environment()
    proxy = told.get(scheme) or told.get("all")
    spared = told.get("no", "").split(",")
    if not proxy or is_loopback(host) or any(_names(each, host, port) for each in spared):
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    if not is_proxy_url(proxy):
        name = scheme if told.get(scheme) else "all"
        raise ConfigurationError(
            f"the environment variable {name.upper()}_PROXY holds no URL of an HTTP proxy; "
            "set it to http://host:port, or give trust_env=False or proxy="
        )
    return proxy


def authorities(*, trust_env: bool) -> ssl.SSLContext:
    """
    Answer the certificate authorities to trust.

    Those that ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` names, else the public ones. Raises
    `ConfigurationError` when they cannot be read.
    """
    file = os.environ.get("SSL_CERT_FILE") if trust_env else None
    folder = os.environ.get("SSL_CERT_DIR") if trust_env else None
    if not (file or folder):
        return _public()
    problem: ConfigurationError
    try:
        return _named(file or None, folder or None, Path(file).stat().st_mtime_ns if file else 0)
    except OSError as error:  # what ssl raises is one as well
        problem = ConfigurationError(
            f"the certificate authorities of SSL_CERT_FILE={file!r} cannot be read: {error}; "
            "name a file of certificates in PEM form, or give ssl_context="
        )
    raise problem


@functools.lru_cache(maxsize=4)
def _named(file: str | None, folder: str | None, changed: int) -> ssl.SSLContext:  # noqa: ARG001
    import ssl  # noqa: PLC0415 - slow to import, for whoever only builds a provider

    # Read once for as long as the file stays the same: it takes 20 ms.
    return ssl.create_default_context(cafile=file, capath=folder)


@functools.cache
def _public() -> ssl.SSLContext:
    import httpx  # noqa: PLC0415 - on first use

    return httpx.create_ssl_context(trust_env=False)


def _names(entry: str, host: str, port: int) -> bool:
    """Tell whether an *entry* of ``no_proxy`` names the server."""
    entry = entry.strip().lower()
    if entry in {"*", host, f"{host}:{port}"}:
        return True
    domain = entry.removeprefix("*").removeprefix(".")
    if domain and host.endswith(f".{domain}"):
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
