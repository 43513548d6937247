"""How the pytest plugin forbids real network: other machines, not this one."""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from genai_pipeline.testing._forbid import Ban

__all__ = ["forbidden"]

_ban = Ban()
_ADDRESSED = ("socket.connect", "socket.sendto", "socket.sendmsg")
_LOOKED_UP = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")


@contextmanager
def forbidden() -> Iterator[list[str]]:
    """
    Forbid to connect to, send to and look up other machines; answer what was tried.

    Holds for everything that goes through Python's sockets, under whatever name and in whatever
    thread; native code with sockets of its own (uvloop, gRPC) is out of reach.
    """
    _install()
    with _ban.lasts() as attempts:
        yield attempts


@cache
def _install() -> None:
    sys.addaudithook(_audit)  # once, for it cannot be taken away again


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _ban or not event.startswith("socket."):
        return
    target = _target(event, args)
    if target is None or _is_here(target[0]):
        return
    place = ":".join(_text(part) for part in target if part is not None)
    _ban.refuse(
        f"{event} to {place} is real network, which this test forbids; play the other side with "
        "genai_pipeline.testing.Script or a server on 127.0.0.1, or mark the test with "
        "@pytest.mark.allow_network"
    )


def _target(event: str, args: tuple[Any, ...]) -> tuple[object, ...] | None:
    """Answer the host (and port) that is addressed or looked up; `None` when none is."""
    if event in _ADDRESSED:
        family, address = args[0].family, args[1]
        internet = family in (socket.AF_INET, socket.AF_INET6)
        return address[:2] if internet and isinstance(address, tuple) else None
    if event in _LOOKED_UP:
        return args[:2] if event == "socket.getaddrinfo" else args[:1]
    return None


def _is_here(host: object) -> bool:
    """Tell whether *host* is this machine: nothing, a name of it, or an address of its own."""
    if host is None:
        return True
    name = _text(host).rstrip(".").lower()
    if name in ("", "localhost", socket.gethostname().lower()) or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


def _text(part: object) -> str:
    return part.decode("ascii", "replace") if isinstance(part, bytes) else str(part)
