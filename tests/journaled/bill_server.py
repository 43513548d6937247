"""A model in a process of its own, which writes each call on its bill before it answers."""

from __future__ import annotations

import socketserver
import sys
from pathlib import Path


class Call(socketserver.StreamRequestHandler):
    """One call: a line in, a line out."""

    def handle(self) -> None:
        """Bill the call, then answer it."""
        prompt = self.rfile.readline()
        if not prompt.endswith(b"\n"):
            return
        with Path(sys.argv[1]).open("ab") as bill:
            bill.write(prompt)
        self.wfile.write(b"re " + prompt)


class Server(socketserver.ThreadingTCPServer):
    """Many calls at once."""

    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    with Server(("127.0.0.1", 0), Call) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
