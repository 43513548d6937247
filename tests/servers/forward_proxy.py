"""A forward proxy over real sockets: tunnels, plain forwarding, and a password if it wants one."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from contextlib import suppress
from typing import Self

import attrs

__all__ = ["ForwardProxy", "Passed"]


@attrs.frozen
class Passed:
    """What the proxy saw of a request."""

    method: str
    target: str
    head: str


class ForwardProxy:
    """
    Connects whatever host it is asked for to a server on *port* of this machine.

    With *password* it asks for ``user:password``, with *tls* it is spoken to over TLS.
    """

    def __init__(
        self, port: int, *, password: str | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.seen: list[Passed] = []
        self._port = port
        self._password = password
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept)

    @property
    def address(self) -> str:
        """Its host and port."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
            self._sockets.append(client)
            self._pass(client)

    def _pass(self, client: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = client.recv(65536)
            if not piece:
                return
            data += piece
        head = data.partition(b"\r\n\r\n")[0].decode("latin-1")
        method, target = head.split(" ")[:2]
        self.seen.append(Passed(method, target, head.lower()))
        if not self._admits(head):
            client.sendall(
                b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                b"proxy-authenticate: Basic\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            client.close()
            return
        server = socket.create_connection(("127.0.0.1", self._port))
        self._sockets.append(server)
        if method == "CONNECT":
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            server.sendall(data)
        threading.Thread(target=_pump, args=(server, client), daemon=True).start()
        _pump(client, server)

    def _admits(self, head: str) -> bool:
        if self._password is None:
            return True
        wanted = base64.b64encode(f"user:{self._password}".encode()).decode()
        return f"proxy-authorization: basic {wanted}".lower() in head.lower()


def _pump(source: socket.socket, drain: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            drain.sendall(piece)
    with suppress(OSError):
        drain.shutdown(socket.SHUT_WR)
