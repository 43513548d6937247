"""
The pytest plugin: forbids real network and real sleeps where asked, and gives virtual time.

Loaded by pytest itself wherever the library is installed; does nothing until it is asked.

- ``@pytest.mark.no_network`` forbids connections to, and name look-ups of, other machines.
- ``@pytest.mark.no_sleep`` forbids to wait in real time for longer than a millisecond.
- ``genai_pipeline_forbid = network sleep`` in pytest's settings forbids it to every test;
  ``@pytest.mark.allow_network`` and ``@pytest.mark.allow_sleep`` are the exceptions.
- The fixture ``gp_clock`` is a `FakeClock` in virtual time, on whichever event loop runs.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from genai_pipeline.testing import FakeClock

__all__ = ["gp_clock"]

_OPTION = "genai_pipeline_forbid"
_DEEDS = ("network", "sleep")
_MARKERS = (
    "no_network: fail the test if it connects to another machine (genai_pipeline)",
    "no_sleep: fail the test if it waits in real time (genai_pipeline)",
    "allow_network: the exception to genai_pipeline_forbid = network",
    "allow_sleep: the exception to genai_pipeline_forbid = sleep",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting that forbids for a whole suite."""
    parser.addini(
        _OPTION,
        help="what no test may do, unless marked allow_...: network, sleep",
        type="args",
        default=[],
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known, and refuse a setting that means nothing."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    for deed in config.getini(_OPTION):
        if deed not in _DEEDS:
            raise pytest.UsageError(f"{_OPTION} = {deed}; give one or both of network, sleep")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    """Keep the network closed while fixtures are set up."""
    with _guarded(item, "network"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Keep closed what is forbidden while the test runs."""
    with _guarded(item, "network"), _guarded(item, "sleep"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    """Keep the network closed while fixtures are torn down."""
    with _guarded(item, "network"):
        return (yield)


@contextmanager
def _guarded(item: pytest.Item, deed: str) -> Generator[None]:
    if not _is_forbidden(item, deed):
        yield
        return
    # Nobody else pays for the import.
    guard = importlib.import_module(f"genai_pipeline.testing._forbid_{deed}")
    with guard.forbidden() as attempts:
        try:
            yield
        except BaseException as error:
            if attempts and str(error) not in attempts:
                error.add_note("\n".join(dict.fromkeys(attempts)))
            raise
    if attempts:
        # It raised at the spot, but code that handles errors handled it.
        pytest.fail("\n".join(dict.fromkeys(attempts)), pytrace=False)


def _is_forbidden(item: pytest.Item, deed: str) -> bool:
    marks = {mark.name for mark in item.iter_markers()}
    if f"no_{deed}" in marks:
        return True
    return deed in item.config.getini(_OPTION) and f"allow_{deed}" not in marks


@pytest.fixture
async def gp_clock(anyio_backend: object) -> AsyncIterator[FakeClock]:  # noqa: ARG001 - makes anyio run it
    """Give a `FakeClock` that jumps ahead whenever every task of the test waits."""
    from genai_pipeline.testing import FakeClock  # noqa: PLC0415 - nobody else pays for it

    async with FakeClock() as clock:
        yield clock
