"""
A small OpenAI-compatible server of its own process: ``python chat_server.py healthy|flaky``.

Prints its port, then answers each Chat Completions call with the first label it is offered. The
flaky one fails two calls of three: with a 503, or by hanging up in the middle of its answer.
"""

from __future__ import annotations

import itertools
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODE = sys.argv[1]
calls = itertools.count()


class Chat(BaseHTTPRequestHandler):
    """Answers one connection's calls."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer a call, or fail it on purpose."""
        length = int(self.headers["content-length"])
        body: dict[str, Any] = json.loads(self.rfile.read(length))
        schema = body["response_format"]["json_schema"]["schema"]
        label = schema["properties"]["label"]["enum"][0]
        answer = {
            "id": "chat-1",
            "object": "chat.completion",
            "model": body["model"],
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": json.dumps({"label": label})},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
        }
        turn = next(calls) % 3 if MODE == "flaky" else 0
        if turn == 1:
            self._send(503, {"error": {"message": "loading", "type": "unavailable"}})
        elif turn == 2:
            self._send(200, answer, cut=20)
        else:
            self._send(200, answer)

    def _send(self, status: int, document: object, cut: int = 0) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) - cut])
        if cut:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Takes as many callers at once as a pipeline sends."""

    request_queue_size = 256


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Chat)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
