"""The pytest plugin forbids what it was asked to forbid, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import TypeAlias

import pytest

pytest_plugins = ["pytester"]

_PLUGIN = "genai_pipeline.testing.pytest_plugin"
_INSTALLED = any(each.value == _PLUGIN for each in entry_points(group="pytest11"))
_SOURCE = str(Path(__file__).parents[2] / "src")


Run: TypeAlias = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a test file in a process of its own, with the plugin and no other but anyio's."""
    path = [_SOURCE, *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    plugins = ["-p", "anyio", "-p", "genai_pipeline" if _INSTALLED else _PLUGIN]

    def run(code: str, settings: str = "") -> pytest.RunResult:
        pytester.makepyfile(code)
        pytester.makeini(f"[pytest]\nfilterwarnings = error\n{settings}")
        return pytester.runpytest_subprocess("--strict-markers", *plugins, timeout=50)

    return run


NETWORK = """
    import socket
    import pytest

    @pytest.mark.no_network
    def test_connect():
        with socket.socket() as s:
            s.connect(("192.0.2.1", 80))

    @pytest.mark.no_network
    def test_connect_ex():
        with socket.socket() as s:
            s.connect_ex(("192.0.2.1", 80))

    @pytest.mark.no_network
    def test_datagram():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"x", ("192.0.2.1", 53))

    @pytest.mark.no_network
    def test_look_up():
        socket.getaddrinfo("model.example", 443)

    @pytest.mark.no_network
    def test_handled():
        try:
            socket.create_connection(("model.example", 443))
        except Exception:
            pass

    @pytest.mark.no_network
    def test_another_error():
        try:
            socket.create_connection(("model.example", 443))
        except Exception:
            raise KeyError("no answer") from None
"""


def test_other_machines_are_out_of_reach(run: Run) -> None:
    """Every way to another machine fails the test, also when its error was handled."""
    result = run(NETWORK)
    result.assert_outcomes(failed=6)
    result.stdout.fnmatch_lines(
        [
            "*socket.connect to 192.0.2.1:80 is real network, which this test forbids*",
            "*socket.getaddrinfo to model.example:443 is real network*Script*127.0.0.1*",
            "*KeyError: 'no answer'*",
            "*socket.getaddrinfo to model.example:443 is real network*",
        ]
    )


def test_this_machine_is_in_reach(run: Run) -> None:
    """Loopback, unix sockets and listening are no network."""
    result = run(
        """
        import socket
        import anyio
        import pytest

        pytestmark = pytest.mark.no_network

        def test_loopback():
            with socket.create_server(("127.0.0.1", 0)) as server:
                socket.create_connection(("localhost", server.getsockname()[1])).close()

        def test_unix(tmp_path, monkeypatch):
            monkeypatch.chdir(tmp_path)  # a whole path may be longer than a socket's may be
            with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
                server.bind("s")
                server.listen()
                client.connect("s")

        @pytest.mark.anyio
        async def test_anyio():
            listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            await (await anyio.connect_tcp("localhost", port)).aclose()
            await listener.aclose()

        @pytest.mark.anyio
        async def test_anyio_elsewhere():
            with pytest.raises(BaseException, match="real network"):
                await anyio.connect_tcp("192.0.2.1", 80)
        """,
    )
    result.assert_outcomes(passed=4, failed=2)
    result.stdout.fnmatch_lines(["FAILED *test_anyio_elsewhere*", "FAILED *test_anyio_elsewhere*"])


def test_sleeping_is_forbidden(run: Run) -> None:
    """The sleeps of time, asyncio, anyio and trio fail the test, however they were imported."""
    result = run(
        """
        import asyncio, functools, time
        from asyncio import sleep
        import anyio, anyio.to_thread, pytest, trio
        import genai_pipeline as gp

        pytestmark = [pytest.mark.no_sleep, pytest.mark.anyio]

        def test_time():
            time.sleep(0.01)

        def test_imported_by_name():
            asyncio.run(sleep(0.01))

        def test_trio():
            trio.run(trio.sleep, 0.01)

        async def test_anyio():
            await anyio.sleep(0.01)

        async def test_until():
            await anyio.sleep_until(anyio.current_time() + 0.01)

        async def test_system_clock():
            await gp.SystemClock().sleep(0.01)

        async def test_thread():
            await anyio.to_thread.run_sync(time.sleep, 0.01)
        """,
    )
    result.assert_outcomes(failed=3 + 4 * 2)
    result.stdout.fnmatch_lines_random(
        [
            "*time.sleep of 0.01 s waits in real time*gp_clock*allow_sleep*",
            "*asyncio.sleep of 0.01 s waits in real time*",
            "*trio.sleep of 0.01 s waits in real time*",
            "*anyio.sleep of 0.01 s waits in real time*",
            "*anyio.sleep_until of 0.0* s waits in real time*",
        ]
    )


def test_what_is_no_waiting_is_fine(run: Run) -> None:
    """Zero sleeps, virtual time, waiting for processes and unmarked tests pass."""
    result = run(
        """
        import subprocess, sys, time
        import anyio, pytest, trio, trio.testing

        pytestmark = pytest.mark.anyio

        @pytest.mark.no_sleep
        async def test_virtual(gp_clock):
            await anyio.sleep(0)
            await gp_clock.sleep(3600)
            assert gp_clock.now() == 3600

        @pytest.mark.no_sleep
        async def test_for_ever(gp_clock):
            with gp_clock.cancel_at(10):
                await anyio.sleep_forever()

        @pytest.mark.no_sleep
        def test_mock_clock():
            trio.run(trio.sleep, 60, clock=trio.testing.MockClock(autojump_threshold=0))

        @pytest.mark.no_sleep
        def test_process():
            process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.05)"])
            assert process.wait(timeout=30) == 0

        @pytest.fixture
        def slow_server():
            time.sleep(0.01)

        @pytest.mark.no_sleep
        def test_fixture(slow_server):
            pass

        def test_unmarked():
            time.sleep(0.01)
        """,
    )
    result.assert_outcomes(passed=8)


def test_a_whole_suite_can_be_closed(run: Run) -> None:
    """The setting forbids to every test but those that are marked as exceptions."""
    result = run(
        """
        import socket, time
        import pytest

        def test_sleep():
            time.sleep(0.01)

        def test_network():
            socket.getaddrinfo("model.example", 443)

        @pytest.mark.allow_sleep
        def test_may_sleep():
            time.sleep(0.01)

        @pytest.mark.allow_network
        def test_may_look_up():
            with pytest.raises(OSError):
                socket.getaddrinfo("model.invalid", 443)

        @pytest.fixture
        def dials():
            socket.getaddrinfo("model.example", 443)

        def test_fixture(dials):
            pass
        """,
        "genai_pipeline_forbid = network sleep",
    )
    result.assert_outcomes(passed=2, failed=2, errors=1)


def test_a_setting_that_means_nothing_is_refused(run: Run) -> None:
    """A misspelt deed stops pytest with the words that are allowed."""
    result = run("def test_it(): pass", "genai_pipeline_forbid = networks")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*genai_pipeline_forbid = networks; give*network, sleep*"])


def test_a_guard_that_outlives_its_test_is_harmless(run: Run, pytester: pytest.Pytester) -> None:
    """A module first imported by a closed test can sleep later, and is closed again later."""
    pytester.makepyfile(sleeper="from time import sleep\n")
    result = run(
        """
        import pytest

        @pytest.mark.no_sleep
        def test_1_import():
            import sleeper

        def test_2_open():
            import sleeper
            sleeper.sleep(0.01)

        @pytest.mark.no_sleep
        def test_3_closed():
            import sleeper
            with pytest.raises(AssertionError, match="time.sleep"):
                sleeper.sleep(0.01)
        """,
    )
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["FAILED *test_3_closed*"])


def test_who_does_not_ask_pays_nothing(run: Run) -> None:
    """Without a marker or setting nothing is replaced, hooked or imported beyond the package."""
    result = run(
        """
        import sys, time

        def test_it():
            assert not hasattr(time.sleep, "__guards__")
            assert "genai_pipeline.testing._forbid_network" not in sys.modules
            assert "genai_pipeline.testing._forbid_sleep" not in sys.modules
            assert "hypothesis" not in sys.modules
        """,
    )
    result.assert_outcomes(passed=1)
