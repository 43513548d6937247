"""What a run keeps of a record that a process of its own carries: all that it keeps of any."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline._journal import RunInfo
from genai_pipeline._journal_admin import Selector
from genai_pipeline.events import IsolationFailed, RecordWaited
from genai_pipeline.journals import Memory
from genai_pipeline.sources import Values
from tests.engine.doubles import Kept

from .worlds import PRICES

pytestmark = pytest.mark.anyio


def note(folder: str, name: str, what: str) -> None:
    """Write a line to a file that both processes see."""
    with Path(folder, name).open("a", encoding="utf-8") as file:
        file.write(f"{what}\n")


def noted(folder: Path, name: str) -> list[str]:
    """Answer the lines of a file."""
    path = folder / name
    return path.read_text("utf-8").splitlines() if path.exists() else []


class Filed:
    """A provider that keeps a bill, and its answers, in the folder that it is asked about."""

    model = "double"
    name = "double"

    async def __call__(self, request: gp.Request) -> gp.Response:
        folder = request.prompt
        note(folder, "bill", json.dumps(gp.call_token()))
        note(folder, "where", str(os.getpid()))
        if request.extra.get("slow"):
            await anyio.sleep(50)
        if request.extra.get("lost"):
            raise gp.errors.ConnectionFailed("cut off", sent=True)
        return self._answer()

    def _answer(self) -> gp.Response:
        usage = gp.Usage(input_tokens=10, output_tokens=1)
        return gp.Response("yes", usage=usage, model="double")

    async def find(self, call: gp.LostCall) -> Any:
        bill = noted(Path(call.request.prompt), "bill")
        return self._answer() if json.dumps(call.token) in bill else "void"


class Gate:
    """A limit that lets no call pass, unless it is told to."""

    passed_by_replays = True
    open = False

    async def __call__(self, request: gp.Request, call_next: gp.Provider) -> gp.Response:
        if not self.open:
            raise gp.Permanent("sent after all")
        return await call_next(request)


MODEL = gp.resilient(Filed())
GATED = gp.resilient(Filed(), retry=None, rate_limit=Gate())
HASTY = gp.resilient(Filed(), retry=None, timeout=gp.Timeout(0.2))
ONCE = gp.resilient(Filed(), retry=None)


async def ask(folder: str) -> str:
    """Ask once."""
    return (await MODEL(gp.Request(folder, max_output_tokens=4))).text


async def ask_behind_a_gate(folder: str) -> str:
    """Ask once, where no call can be sent."""
    return (await GATED(gp.Request(folder, max_output_tokens=4))).text


async def ask_in_vain(folder: str) -> str:
    """Ask what answers too late."""
    return (await HASTY(gp.Request(folder, max_output_tokens=4, extra={"slow": True}))).text


async def ask_and_lose(folder: str) -> str:
    """Ask twice, since the answer is lost each time."""
    return (await MODEL(gp.Request(folder, max_output_tokens=4, extra={"lost": True}))).text


async def ask_and_wait(folder: str) -> str:
    """Ask, and then be told to come later, the first time."""
    text = await ask(folder)
    if not noted(Path(folder), "waited"):
        note(folder, "waited", "once")
        raise gp.Rejected("later", retry_after=0.05)
    return text


async def never_end(folder: str) -> str:
    """Say which process this is, and stay."""
    note(folder, "where", str(os.getpid()))
    gp.emit(gp.events.PolicyWaited(kind="queue", name="here", seconds=0.0))
    await anyio.sleep(50)
    return folder


async def fail_oddly(folder: str) -> str:
    """Raise what cannot be pickled."""

    class Odd(Exception):
        pass

    raise Odd("strange")


async def fail_in_a_group(_: str) -> None:
    """Raise out of a task group."""

    async def fail() -> None:
        raise gp.errors.Refused("not that")

    async with anyio.create_task_group() as group:
        group.start_soon(fail)
        group.start_soon(anyio.sleep, 50)


async def suspected(journal: Memory) -> None:
    """Let the process die twice while it carries the record."""
    for _ in range(2):
        await journal.__aenter__()
        info = RunInfo(pipeline="pipeline", fingerprint="", stages=(), began=0.0, version="1")
        await journal.claim(await journal.begin_run(info), "0")
        journal.crash()


def pipeline(folder: Path, stage: Any, journal: Memory, **options: Any) -> gp.Pipeline[Any, Any]:
    """Answer a pipeline of one record, in real time, since processes know no other."""
    options.setdefault("budgets", [gp.Budget(cap="1", window="total")])
    return gp.Pipeline(
        source=Values([str(folder)]),
        stage=stage,
        sink=Kept(),
        journal=journal,
        prices=PRICES,
        max_failures=None,
        stop_signals=(),
        **options,
    )


def elsewhere(folder: Path) -> bool:
    """Tell whether everything was done in another process than this one."""
    return str(os.getpid()) not in noted(folder, "where")


async def test_events_calls_and_costs_are_the_runs(tmp_path: Path) -> None:
    """A call made for a suspect is held, kept, told and counted as any other."""
    journal, heard = Memory(), list[gp.events.Event]()
    await suspected(journal)
    with gp.listen(heard.append):
        report = await pipeline(tmp_path, gp.map(ask), journal).run()
    assert (report.written, report.dead) == (1, 0)
    assert [(stage.name, stage.calls) for stage in report.stages] == [("ask", 1), ("sink", 1)]
    assert elsewhere(tmp_path)
    assert not any(isinstance(event, IsolationFailed) for event in heard)
    (line,) = await journal.costs(("stage", "model"))
    assert (line.group, line.calls) == ({"stage": "ask", "model": "double"}, 1)
    assert report.cost is not None
    assert int(report.cost * 10**9) == line.charged > 0


async def test_rows_left_there_are_the_records(tmp_path: Path) -> None:
    """What a stage leaves in a table of the journal, in another process, comes with the end."""
    journal = Memory()
    await suspected(journal)
    stage = gp.chain(gp.map(ask), gp.tee(gp.sinks.JournalTable("seen")))
    report = await pipeline(tmp_path, stage, journal).run()
    assert (report.written, report.dead) == (1, 0)
    assert elsewhere(tmp_path)
    async with journal:
        assert await journal.rows("seen") == [{"key": "0", "value": "yes"}]


async def test_a_budget_holds_for_suspects(tmp_path: Path) -> None:
    """No byte of a call leaves that the run has no money for, and the record is held."""
    journal = Memory()
    await suspected(journal)
    budget = gp.Budget(cap="0.000001", window="total")
    with pytest.raises(gp.RunFailed) as caught:
        await pipeline(tmp_path, gp.map(ask), journal, budgets=[budget]).run()
    assert isinstance(caught.value.exceptions[0], gp.errors.BudgetExhausted)
    assert await journal.counts("pipeline") == {"held": 1}
    assert noted(tmp_path, "bill") == []


async def test_a_suspect_that_is_rejected_waits(tmp_path: Path) -> None:
    """A stage that is told to come later waits in the run, and its calls are replayed."""
    journal, heard = Memory(), list[gp.events.Event]()
    await suspected(journal)
    with gp.listen(heard.append):
        report = await pipeline(tmp_path, gp.map(ask_and_wait), journal).run()
    assert (report.written, report.replayed) == (1, 1)
    assert [type(event) for event in heard].count(RecordWaited) == 1
    assert len(noted(tmp_path, "bill")) == 1
    assert elsewhere(tmp_path)


async def test_replays_pass_by_limits_there_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was answered before the deaths is replayed in the other process, past its limits."""
    journal = Memory()
    for version in "12":
        if version == "1":
            monkeypatch.setattr(Gate, "open", True)  # in this process
        else:
            await suspected(journal)
        stage = gp.chain(gp.map(ask_behind_a_gate), gp.map(str.strip, version=version))
        report = await pipeline(tmp_path, stage, journal).run()
        assert (report.written, report.replayed) == (1, int(version) - 1)
    assert len(noted(tmp_path, "bill")) == 1


async def test_a_call_that_is_cancelled_there_is_unknown(tmp_path: Path) -> None:
    """An attempt that a policy cuts off may have been billed, and counts at its hold."""
    journal = Memory()
    await suspected(journal)
    report = await pipeline(tmp_path, gp.map(ask_in_vain), journal).run()
    assert report.dead == 1
    (record,) = await journal.records(Selector())
    assert (record.error, record.stage) == ("AttemptTimeout", "ask_in_vain")
    (call,) = await journal.open_calls()
    (budget,) = await journal.budgets()
    assert (budget.reserved, budget.spent) == (0, call.charged)
    assert elsewhere(tmp_path)


async def test_lost_calls_are_asked_for_there(tmp_path: Path) -> None:
    """A stage that asks its provider for lost calls does so from the process for suspects."""
    journal = Memory()
    await suspected(journal)
    stage = gp.map(ask_and_lose, on_unknown="reconcile")
    report = await pipeline(tmp_path, stage, journal).run()
    assert (report.written, report.dead) == (1, 0)
    assert len(noted(tmp_path, "bill")) == 1
    assert await journal.open_calls() == []
    assert elsewhere(tmp_path)


async def test_a_run_that_ends_ends_the_process(tmp_path: Path) -> None:
    """When the run is stopped, its suspect is handed back, and no process stays."""
    journal = Memory()
    await suspected(journal)
    run = pipeline(tmp_path, gp.map(never_end), journal, grace=0.0)

    def hear(event: gp.events.Event) -> None:
        if isinstance(event, gp.events.PolicyWaited):
            run.stop()

    with gp.listen(hear):
        report = await run.run()
    assert (report.handed_back, report.dead) == (1, 0)
    (where,) = noted(tmp_path, "where")
    with pytest.raises(ProcessLookupError):
        os.kill(int(where), 0)
    assert await journal.counts("pipeline") == {"ready": 1}


async def test_an_error_that_cannot_be_pickled_is_told(tmp_path: Path) -> None:
    """What a stage raises there is told by its name and text, if it cannot come over itself."""
    journal = Memory()
    await suspected(journal)
    assert (await pipeline(tmp_path, gp.map(fail_oddly), journal).run()).dead == 1
    (record,) = await journal.records(Selector())
    assert (record.stage, record.message) == ("fail_oddly", "Odd: strange")


async def test_an_error_in_a_task_group_means_there_what_it_means_here(tmp_path: Path) -> None:
    """What a stage raises there out of a task group is told as itself, with its stage."""
    journal = Memory()
    await suspected(journal)
    assert (await pipeline(tmp_path, gp.map(fail_in_a_group), journal).run()).dead == 1
    (record,) = await journal.records(Selector())
    assert (record.error, record.stage) == ("Refused", "fail_in_a_group")
    assert record.message == "not that"


async def test_gathering_stages_stay_here(tmp_path: Path) -> None:
    """Records that are gathered with others cannot be elsewhere, and the run says so."""
    journal, heard = Memory(), list[gp.events.Event]()
    await suspected(journal)
    group: gp.Stage[str, list[str]] = gp.gather(2, linger=0.01)
    stage = gp.chain(gp.map(ask), group)
    with gp.listen(heard.append):
        assert (await pipeline(tmp_path, stage, journal).run()).written == 1
    (told,) = [event for event in heard if isinstance(event, IsolationFailed)]
    assert told == IsolationFailed(key="0", reason="a stage gathers several records into one")
