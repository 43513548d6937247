"""The support tickets are all sorted, whether the server is well, flaky or away."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.examples.command import EXAMPLES, rows, run_example

pytestmark = pytest.mark.extras

TICKETS = rows(EXAMPLES / "data" / "support_tickets.jsonl")
LOCAL = "local-wordvectors-256"


@contextmanager
def chat_server(mode: str) -> Iterator[str]:
    """Run a server in a process of its own; give its base URL."""
    script = str(Path(__file__).parent / "chat_server.py")
    command = [sys.executable, script, mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.terminate()


def sort_tickets(directory: Path, base_url: str) -> list[dict[str, str]]:
    """Run the example against a server; answer the sorted tickets once they are all there."""
    environment = {"SUPPORT_BASE_URL": base_url, "SUPPORT_MODEL": "tiny"}

    report = run_example(directory, "support_tickets.py", **environment)

    assert report["read"] == report["written"] == len(TICKETS)
    assert rows(directory / "unsorted_tickets.jsonl") == []
    tickets = rows(directory / "sorted_tickets.jsonl")
    assert [ticket["id"] for ticket in tickets] == [ticket["id"] for ticket in TICKETS]
    return tickets


def test_a_healthy_server_sorts_every_ticket(tmp_path: Path) -> None:
    """With a server that answers, its choices are taken and the embedded model is not asked."""
    with chat_server("healthy") as url:
        tickets = sort_tickets(tmp_path, url)

    choices = {(t["category"], t["priority"], t["answered_by"]) for t in tickets}
    assert choices == {("billing", "urgent", "tiny")}


def test_a_flaky_server_is_helped_out(tmp_path: Path) -> None:
    """With a server that fails two calls of three, both models have a share in the answers."""
    with chat_server("flaky") as url:
        tickets = sort_tickets(tmp_path, url)

    answered_by = Counter(ticket["answered_by"] for ticket in tickets)
    assert set(answered_by) <= {"tiny", LOCAL, f"{LOCAL} and tiny"}
    assert answered_by["tiny"] < len(TICKETS)
    assert answered_by[LOCAL] < len(TICKETS)


def test_without_a_server_everything_is_sorted_offline(tmp_path: Path) -> None:
    """With nobody at the address the embedded model sorts all, and mostly as a person would."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free_port = taken.getsockname()[1]

    tickets = sort_tickets(tmp_path, f"http://127.0.0.1:{free_port}/v1")

    assert {ticket["answered_by"] for ticket in tickets} == {LOCAL}
    chosen = {ticket["id"]: ticket["category"] for ticket in tickets}
    expected = {
        "T-1001": "billing",
        "T-1002": "login",
        "T-1003": "delivery",
        "T-1004": "bug",
        "T-1012": "wish",
        "T-1013": "cancellation",
    }
    assert {key: chosen[key] for key in expected} == expected
