"""
A model in a process of its own that bills each call, and answers those that it is told to.

It reads lists of prompts in JSON, a line each: from then on these are answered, those that wait
and those to come. It prints each prompt whose answer has been sent.
"""

from __future__ import annotations

import json
import socketserver
import sys
import threading
from pathlib import Path

told = threading.Condition()
answered: set[str] = set()


class Call(socketserver.StreamRequestHandler):
    """One call: a line in, a line out."""

    def handle(self) -> None:
        """Bill the call, and answer it when that is allowed, if anybody still waits for it."""
        line = self.rfile.readline()
        if not line.endswith(b"\n"):
            return
        with Path(sys.argv[1]).open("ab") as bill:
            bill.write(line)
        prompt = line.decode().strip()
        with told:
            told.wait_for(lambda: prompt in answered)
        try:
            self.wfile.write(b"re " + line)
        except OSError:
            return
        with told:  # lines of several calls must not get into each other
            print(prompt, flush=True)


class Server(socketserver.ThreadingTCPServer):
    """Many calls at once."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 50


if __name__ == "__main__":
    with Server(("127.0.0.1", 0), Call) as server:
        print(server.server_address[1], flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for prompts in sys.stdin:
            with told:
                answered.update(json.loads(prompts))
                told.notify_all()
        server.shutdown()
