"""``held``: which records wait for somebody, and how they go on."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

import genai_pipeline as gp
from tests.cli.journal_jobs import plain, say
from tests.engine.doubles import Kept


@pytest.fixture
def waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder whose journal holds 0 and 1 for lost answers, and has 2 done."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(gp.RunFailed):
        anyio.run(run_once, {"0", "1"})
    return tmp_path


async def run_once(loses: set[str]) -> gp.Report:
    """Run a pipeline whose stage holds what was lost; some answers are."""

    def answer(request: gp.Request) -> str:
        if request.prompt in loses:
            raise gp.errors.ConnectionFailed("cut off", sent=True)
        return "yes"

    model = gp.wrap(
        gp.testing.Script.of(answer),
        gp.Retry(on=gp.Transient, attempts=2, first_wait=0.001, max_wait=0.001),
    )

    async def ask(number: int) -> str:
        return (await model(gp.Request(str(number), max_output_tokens=1))).text

    return await gp.Pipeline(
        source=gp.sources.Values(range(3)),
        stage=gp.map(ask, on_unknown="hold"),
        sink=Kept(),
        journal=gp.Sqlite("run.db", ballast=0),
    ).run()


def test_list(waiting: Path) -> None:
    """Each held record is listed, with why it is held."""
    assert {line.split()[2] for line in say("held", "list", "run.db").lines[1:]} == {"0", "1"}
    told = {record["key"]: record["error"] for record in plain("held", "list", "run.db")}
    assert told == {"0": "OutcomeUnknown", "1": "OutcomeUnknown"}
    cut = say("held", "list", "run.db", "--limit", "1")
    assert (len(cut.lines), "--limit shows more" in cut.err) == (2, True)


def test_release(waiting: Path) -> None:
    """What is released goes on with the next run, which calls anew; the rest stays held."""
    said = say("held", "release", "run.db", "--key", "1", "--dry-run")
    assert said.err == "1 record (1 OutcomeUnknown) would be released\n"
    assert len(plain("held", "list", "run.db")) == 2
    said = say("held", "release", "run.db", "--key", "1")
    assert (said.code, "1 go on with the next run" in said.err) == (0, True)
    with pytest.raises(gp.RunFailed) as caught:
        anyio.run(run_once, {"0"})
    assert (caught.value.report.written, caught.value.report.skipped) == (1, 1)
    assert [record["key"] for record in plain("held", "list", "run.db")] == ["0"]
    assert say("held", "release", "run.db", "--all").code == 0
    assert anyio.run(run_once, set()).written == 1
    assert plain("held", "list", "run.db") == []


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        ((), "held release: say which records: --key"),
        (("--all", "--key", "0"), "held release: --all goes with no other choice"),
    ],
)
def test_a_choice_is_asked_for(waiting: Path, chosen: tuple[str, ...], reason: str) -> None:
    """Nothing is released by a slip."""
    said = say("held", "release", "run.db", *chosen)
    assert (said.code, reason in said.err) == (2, True)


def test_nothing_fits(waiting: Path) -> None:
    """A choice that nothing fits says so, and releases nothing."""
    assert say("held", "release", "run.db", "--stage", "other").err == "0 records to release\n"
