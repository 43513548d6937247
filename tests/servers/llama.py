"""Run llama.cpp's own HTTP server: ``python llama.py MODEL PORT [embed]``."""

from __future__ import annotations

import importlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["running_llama"]

_START_SECONDS = 30


@contextmanager
def running_llama(folder: Path, *, embeds: bool = False) -> Iterator[str]:
    """
    Start the server with a tiny model written to *folder*; give its base URL; stop it.

    One that *embeds* does nothing else.
    """
    model = folder / "tiny.gguf"
    writer = [sys.executable, str(Path(__file__).with_name("tiny_model.py")), str(model)]
    subprocess.run(writer, check=True, capture_output=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (folder / "llama.log").open("wb")
    with (
        log,
        subprocess.Popen(
            [sys.executable, __file__, str(model), str(port), *(["embed"] if embeds else [])],
            stdout=log,
            stderr=log,
        ) as server,
    ):
        try:
            _await_health(port, server)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.kill()


def _await_health(port: int, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            raise RuntimeError(f"llama.cpp's server ended at once, with {server.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"llama.cpp's server was not ready within {_START_SECONDS} s")


def _serve(model: str, port: int, *, embeds: bool) -> None:
    xllamacpp: Any = importlib.import_module("xllamacpp")
    options = xllamacpp.CommonParams()
    options.model.path = model
    options.hostnames = ["127.0.0.1"]
    options.port = port
    options.n_ctx = 4096
    options.n_parallel = 4
    options.cpuparams.n_threads = 1
    options.warmup = False
    if embeds:
        options.embedding = True
        options.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    _running = xllamacpp.Server(options)  # serves as long as it is referenced
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), embeds="embed" in sys.argv[3:])
