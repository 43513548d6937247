"""Fixtures for the policies: a real server for state shared between processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.valkey import Valkey


@pytest.fixture
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """Give a Valkey server of the test's own, that it may stall, kill and start again."""
    with Valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server
