"""A small pipeline with a journal, to be killed, and what it leaves."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs

from genai_pipeline.cli import main
from tests.canary import no_secret_in
from tests.cli.command import environment

__all__ = ["END", "Said", "bill", "killed", "money", "plain", "say", "shape", "write_jobs"]

END = 24
"""Records that the pipeline reads; every fifth is bad unless ``MENDED`` is set."""

_JOBS = """
import os
import pathlib
import signal

import anyio
import genai_pipeline as gp

END = 24


class Numbers:
    async def __aiter__(self):
        for number in range(END):
            async def settle(error):
                pass
            tenant = "acme" if number % 2 else "zeta"
            yield gp.Delivery(gp.Record(number, str(number), attributes={"tenant": tenant}), settle)


def answer(request):
    with open("bill", "a") as bill:
        bill.write(request.prompt + "\\n")
    if request.prompt == os.environ.get("DIES_AT"):
        os.kill(os.getpid(), signal.SIGKILL)
    return gp.Response("fine", usage=gp.Usage(input_tokens=8, output_tokens=2))


model = gp.testing.Script.of(answer)


async def ask(number):
    text = (await model(gp.Request(
        f"number {number}", system=os.environ["CANARY_PROMPT"], max_output_tokens=5
    ))).text
    pathlib.Path("begun").touch()
    await anyio.sleep(float(os.environ.get("SLOWLY", "0")))
    if number % 5 == 4 and "MENDED" not in os.environ:
        raise (KeyError if number % 2 else ValueError)(f"bad {number}")
    return text


def pipeline(version: str = "1"):
    return gp.Pipeline(
        name="asked",
        source=Numbers(),
        stage=gp.map(ask, version=version),
        sink=gp.sinks.JsonLines("answers", segment=1000),
        journal=gp.Sqlite("run.db", ballast=0),
        budgets=[gp.Budget(cap="1", window="day")],
        prices=gp.PriceBook({"script": {"input": "2", "output": "10"}}),
        max_in_flight=4,
        max_failures=None,
    )


def forgetful():
    return gp.Pipeline(source=Numbers(), stage=gp.map(ask), sink=gp.sinks.Collect())
"""


def write_jobs(folder: Path) -> None:
    """Put the pipeline into *folder*, as ``paid.py``."""
    (folder / "paid.py").write_text(_JOBS)


def killed(folder: Path, **changes: str) -> None:
    """Run the pipeline in *folder* until it dies in the middle of a call that was billed."""
    write_jobs(folder)
    done = subprocess.run(
        [sys.executable, "-m", "genai_pipeline", "run", "paid.py:pipeline", "-q"],
        cwd=folder,
        env=environment(DIES_AT="number 13", **changes),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def bill(folder: Path) -> list[str]:
    """Answer the calls that were paid for, in order."""
    return (folder / "bill").read_text().splitlines()


@attrs.frozen
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Standard output, line by line."""
        return self.out.splitlines()


def say(*arguments: str) -> Said:
    """Do a command in this process and the current folder."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as usage:
            code = int(str(usage.code))
    return Said(code, no_secret_in(out.getvalue()), no_secret_in(err.getvalue()))


def plain(*arguments: str) -> Any:
    """Do a command that must go well; answer the JSON that it prints."""
    said = say(*arguments, "--json")
    assert said.code == 0, said.err
    return json.loads(said.out)


def money(calls: int) -> float:
    """Answer what *calls* that were answered cost, in dollars."""
    return calls * (8 * 2 + 2 * 10) / 1e6


def shape(folder: Path) -> dict[str, bytes]:
    """Answer the files of *folder* but for the owner's lock, and what is in them."""
    return {
        name: (folder / name).read_bytes()
        for name in sorted(os.listdir(folder))
        if (folder / name).is_file() and not name.endswith(".lock")
    }
