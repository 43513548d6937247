"""The command as a user runs it: in a process of its own, with or without a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import pyte

from tests.canary import no_secret_in

__all__ = ["JOBS", "Terminal", "command", "environment", "hear_signals", "start"]

_PATIENCE = 30.0

JOBS = '''
import pathlib

import anyio
import genai_pipeline as gp

begun = pathlib.Path("begun")


class Numbers:
    """Reads the numbers below *end*, and remembers how each was settled."""

    def __init__(self, end, bad=()):
        self.end, self.bad, self.settled = end, bad, []

    def __length_hint__(self):
        return self.end

    async def __aiter__(self):
        for number in range(self.end):
            async def settle(error):
                self.settled.append(error)
            error = gp.errors.DataError("not a number", origin="in", line=number + 1)
            record = gp.Record(number, str(number))
            yield gp.Delivery(record, settle, error if number in self.bad else None)


class Lines:
    """Writes to a file beside it, which gets its name only when all is written."""

    def __init__(self, path):
        self.path = path

    async def __aenter__(self):
        self.file = open(self.path + ".part", "w")

    async def __aexit__(self, *_):
        import os
        self.file.close()
        os.replace(self.path + ".part", self.path)

    async def __call__(self, record):
        begun.touch()
        self.file.write(f"{record.value}\\n")


async def slowly(number):
    await anyio.sleep(0.01)
    return number


async def never(number):
    begun.touch()
    await anyio.sleep_forever()


def failing(number):
    raise ValueError(f"cannot do {number}")


def typed(end: int, factor: float = 1.5, loud: bool = False):
    stage = gp.map(lambda number: number * factor)
    return gp.Pipeline(source=Numbers(end), stage=stage, sink=Lines("typed.txt"))


async def later(end: int = 3):
    await anyio.sleep(0)
    return gp.Pipeline(source=Numbers(end), stage=gp.map(slowly), sink=Lines("later.txt"))


def wrong():
    return 17


def raises():
    raise LookupError("no such customer")


def misconfigured():
    return gp.Pipeline(source=Numbers(1), stage=gp.map(slowly), sink=Lines("x"), grace=-1)


def unwritable():
    return gp.Pipeline(source=Numbers(3), stage=gp.map(slowly), sink=full)


def unauthorised():
    return gp.Pipeline(source=Numbers(3), stage=gp.map(denied), sink=Lines("x"))


async def denied(number):
    raise gp.errors.AuthenticationFailed("the key was not accepted")


async def full(record):
    raise gp.errors.StorageFailed("/data/out.jsonl: no space left on device")


dead = []


async def bury(record):
    dead.append(record.value)


def half(end: int = 10):
    def odd(number):
        if number % 2:
            raise ValueError(f"odd: {number}")
        return number

    return gp.Pipeline(
        source=Numbers(end), stage=gp.map(odd), sink=Lines("half.txt"), dead_letters=bury,
        max_failures=None,
    )


def lossy():
    return gp.Pipeline(source=Numbers(5), stage=gp.map(failing), sink=Lines("x"))


def stuck():
    return gp.Pipeline(source=Numbers(9), stage=gp.map(never), sink=Lines("x"), grace=300)


pipeline = gp.Pipeline(source=Numbers(10), stage=gp.map(slowly), sink=Lines("out.txt"))
slow = gp.Pipeline(source=Numbers(10_000), stage=gp.map(slowly), sink=Lines("slow.txt"), grace=300)
checked = gp.Pipeline(
    source=Numbers(10, bad={3, 7}), stage=gp.map(never), sink=Lines("never.txt"), dead_letters=bury
)
'''


def environment(**changes: str | None) -> dict[str, str]:
    """Answer this process's environment without what would change the display, but *changes*."""
    known = {
        name: value
        for name, value in os.environ.items()
        if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
    }
    if "PYTHONPATH" in known:  # the process has another current folder
        folders = known["PYTHONPATH"].split(os.pathsep)
        known["PYTHONPATH"] = os.pathsep.join(str(Path(each).absolute()) for each in folders)
    for name, change in changes.items():
        if change is None:
            known.pop(name, None)
        else:
            known[name] = change
    return known


def command(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``genai-pipeline`` with *arguments* to its end, without a terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "genai_pipeline", *arguments],
        cwd=cwd,
        env=environment() if env is None else dict(env),
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    no_secret_in(done.stdout + done.stderr)
    return done


def hear_signals() -> None:
    """Let a process that is begun next hear every signal, as a shell does."""
    # What another test, or a library, left blocked here would be inherited, and so would that a
    # shell has begun these tests in the background, where Ctrl-C is ignored.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def start(*arguments: str, cwd: Path, before: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Begin ``genai-pipeline`` with *arguments*, without a terminal, and deaf to no signal."""
    hear_signals()
    return subprocess.Popen(
        [*before, sys.executable, "-m", "genai_pipeline", *arguments],
        cwd=cwd,
        env=environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Terminal:
    """``genai-pipeline`` on a terminal of its own, whose screen can be read."""

    def __init__(
        self, *arguments: str, cwd: Path, columns: int = 100, rows: int = 40, term: str = "xterm"
    ) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._exit: int | None = None
        self.received = b""
        main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(side)
        self._main, self._side = main, side
        hear_signals()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "genai_pipeline", *arguments],
            cwd=cwd,
            env=environment(TERM=term),
            stdin=side,
            stdout=side,
            stderr=side,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._side)
        os.close(self._main)

    @property
    def text(self) -> str:
        """What the screen shows, without blanks at the ends of lines."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    @property
    def settings(self) -> object:
        """The terminal's settings: echo, line mode and the like."""
        return termios.tcgetattr(self._side)

    def wait_for(self, shown: Callable[[str], bool]) -> str:
        """Wait until the screen shows that; answer its text."""
        end = time.monotonic() + _PATIENCE
        while not shown(self.text):
            assert time.monotonic() < end, f"never shown; the screen:\n{self.text}"
            assert self._read() or self._process.poll() is None, f"it ended:\n{self.text}"
        return self.text

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self._process.send_signal(number)

    def finish(self) -> int:
        """Wait until the process ends; answer its exit code."""
        end = time.monotonic() + _PATIENCE
        while self._process.poll() is None:
            assert time.monotonic() < end, f"it does not end; the screen:\n{self.text}"
            self._read()
        while self._read():
            pass
        return self._process.returncode

    def _read(self) -> bool:
        ready, _, _ = select.select([self._main], [], [], 0.05)
        if ready:
            data = os.read(self._main, 1 << 16)
            self.received += data
            self._stream.feed(data)
        return bool(ready)
