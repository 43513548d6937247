"""A run that uses too much memory asks its source for nothing more, and goes on by itself."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline import _resident_memory, events
from genai_pipeline._resident_memory import resident_memory
from genai_pipeline.journals import Memory, Sqlite, read_status
from genai_pipeline.testing import FakeClock

from .doubles import Kept, Ledger, run_interrupted

pytestmark = pytest.mark.anyio

linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="Linux alone has /proc/self/statm"
)

MB = 1024**2
MOST = 100 * MB


def taking(clock: FakeClock, seconds: float = 1) -> Any:
    """Make a stage that takes *seconds*."""

    async def take(value: int) -> int:
        await clock.sleep(seconds)
        return value

    return gp.map(take)


def high_until(clock: FakeClock, moment: float, *, since: float = 0) -> Callable[[], int]:
    """Answer memory that is above `MOST` between two moments."""
    return lambda: 2 * MOST if since <= clock.now() < moment else MOST // 2


def heard() -> tuple[list[Any], Callable[[Any], None]]:
    """Answer a list of the events about intake, and who listens for them."""
    told: list[Any] = []

    def listener(event: Any) -> None:
        if isinstance(event, events.IntakePaused | events.IntakeResumed):
            told.append(event)

    return told, listener


async def run_slowly(clock: FakeClock, used: Callable[[], int]) -> tuple[list[Any], gp.Report]:
    """Carry five records, each for 30 s, while *used* answers the memory; answer what was told."""
    told, listener = heard()
    with gp.listen(listener):
        report = await gp.Pipeline(
            source=Ledger(range(5)),
            stage=taking(clock, 30),
            sink=Kept(),
            max_memory=MOST,
            memory_used=used,
            clock=clock,
        ).run()
    return told, report


async def test_nothing_is_read_while_memory_is_high_and_all_is_read_after(
    clock: FakeClock,
) -> None:
    """Intake pauses above max_memory, what is in flight goes on, and later everything is read."""
    source, sink = Ledger(range(100), clock=clock, every=0.5), Kept()
    seen: list[int] = []

    async def look() -> None:
        for _ in range(3):
            await clock.sleep(10.25)
            seen.append(len(source.read))

    async with anyio.create_task_group() as group:
        group.start_soon(look)
        report = await gp.Pipeline(
            source=source,
            stage=taking(clock, 25),
            sink=sink,
            max_memory=MOST,
            memory_used=high_until(clock, 20, since=5),
            clock=clock,
        ).run()
    assert seen == [10, 10, 31]
    assert report.written == len(sink.records) == 100
    source.check()


async def test_events_and_report_say_for_how_long(clock: FakeClock) -> None:
    """A pause and its end are told once each, with the memory; the report has the seconds."""
    told, listener = heard()
    with gp.listen(listener):
        report = await gp.Pipeline(
            source=Ledger(range(200), clock=clock, every=0.5),
            stage=taking(clock, 60),
            sink=Kept(),
            max_memory=MOST,
            memory_used=high_until(clock, 55, since=5),
            max_in_flight=500,
            clock=clock,
        ).run()
    paused, resumed = told
    assert paused == events.IntakePaused(memory=2 * MOST, max_memory=MOST)
    assert resumed.memory == MOST // 2
    assert resumed.seconds == pytest.approx(report.paused)
    assert report.paused == pytest.approx(50, abs=0.7)
    assert report.to_dict()["paused"] == report.paused
    assert report.limited_by == "memory"
    lines = [str(line) for line in gp.telemetry.summary(report)]
    assert any(line.startswith("  paused        ") and "for memory" in line for line in lines)


async def test_memory_must_be_well_below_before_it_goes_on(clock: FakeClock) -> None:
    """A twentieth of max_memory must be free again, so that intake does not flutter."""

    def used() -> int:
        now = clock.now()
        return MOST + 1 if now < 10 else MOST * 96 // 100 if now < 20 else MOST * 95 // 100

    told, _ = await run_slowly(clock, used)
    _, resumed = told
    assert resumed.memory == MOST * 95 // 100
    assert resumed.seconds == pytest.approx(20, abs=0.2)


@pytest.mark.parametrize("workers", [1, 8])
async def test_one_record_at_a_time_goes_through_where_memory_never_falls(
    clock: FakeClock, workers: int
) -> None:
    """A run whose memory stays high comes to its end, with one record in flight at a time."""
    source, sink = Ledger(range(20)), Kept()
    report = await gp.Pipeline(
        source=source,
        stage=taking(clock, 0.05),
        sink=sink,
        max_in_flight=workers,
        max_memory=MOST,
        memory_used=lambda: 2 * MOST,
        clock=clock,
    ).run()
    assert sink.values == list(range(20))
    assert source.most_unsettled == 1
    assert report.elapsed == pytest.approx(20 * 0.05)
    assert report.exhausted
    source.check()


async def test_with_a_journal_ended_records_are_passed_by_though_memory_is_high(
    clock: FakeClock,
) -> None:
    """A run that resumes comes to what is left to do."""
    journal = Memory()
    for values in (range(150), range(160)):
        report = await gp.Pipeline(
            source=Ledger(values),
            stage=taking(clock),
            sink=Kept(),
            journal=journal,
            max_memory=MOST,
            memory_used=lambda: 2 * MOST,
            clock=clock,
        ).run()
    assert (report.skipped, report.written) == (150, 10)


@pytest.mark.parametrize("kind", ["stop", "timeout", "cancel"])
async def test_a_stop_ends_the_wait_at_once(clock: FakeClock, kind: str) -> None:
    """A run that waits for memory reads no more once it is to stop, and hands back all it has."""
    source = Ledger(range(50))
    options: dict[str, Any] = {"timeout": 50} if kind == "timeout" else {}
    pipeline = gp.Pipeline(
        source=source,
        stage=taking(clock, 1000),
        sink=Kept(),
        max_memory=MOST,
        memory_used=high_until(clock, 1e9),
        grace=0,
        clock=clock,
        **options,
    )
    report = await run_interrupted(pipeline, kind, at=50)
    assert clock.now() == pytest.approx(50)
    assert (report.read, report.handed_back) == (1, 1)
    assert report.paused == pytest.approx(50)
    source.check()


async def test_a_signal_ends_the_wait_at_once(anyio_backend: str) -> None:
    """SIGTERM stops a run that waits for memory: what is in flight ends, and no more is read."""
    source = Ledger(range(50))

    async def kill(value: int) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        await clock.sleep(5)
        return value

    async with FakeClock(cushion=0.01) as clock:
        report = await gp.Pipeline(
            source=source,
            stage=gp.map(kill),
            sink=Kept(),
            max_memory=MOST,
            memory_used=lambda: 2 * MOST,
            clock=clock,
        ).run()
    assert report.stopped == "signal SIGTERM"
    assert (report.read, report.written) == (1, 1)
    source.check()


async def test_memory_is_looked_at_ten_times_a_second(clock: FakeClock) -> None:
    """However fast records come and however long a pause is, looking costs next to nothing."""
    looked: list[float] = []

    def used() -> int:
        looked.append(clock.now())
        return 2 * MOST if 2 <= clock.now() < 5 else MOST // 2

    await gp.Pipeline(
        source=Ledger(range(300), clock=clock, every=0.02),
        stage=taking(clock, 2),
        sink=Kept(),
        max_in_flight=200,
        max_memory=MOST,
        memory_used=used,
        clock=clock,
    ).run()
    assert all(later - sooner > 0.0999 for sooner, later in itertools.pairwise(looked))
    assert len(looked) >= 40


async def test_without_the_option_the_source_is_read_as_it_is(clock: FakeClock) -> None:
    """A run without max_memory reads nothing from the system, and pauses for nothing."""
    told, listener = heard()
    with gp.listen(listener), pytest.MonkeyPatch.context() as patch:
        patch.setattr(_resident_memory, "STATM", Path("/no such file"))
        report = await gp.Pipeline(
            source=Ledger(range(5)), stage=taking(clock), sink=Kept(), clock=clock
        ).run()
    assert (report.written, report.paused, told) == (5, 0, [])


async def test_serving_goes_on_pausing_when_the_source_is_begun_anew(clock: FakeClock) -> None:
    """A source that fails for a moment is begun anew, and still asked for one record at a time."""
    told, listener = heard()
    fails = gp.errors.ConnectionFailed("the queue is away")
    source = Ledger(range(10), fails_at=4, error=fails)
    pipeline = gp.Pipeline(
        source=source,
        stage=taking(clock),
        sink=(sink := Kept()),
        dead_letters=Kept(),
        max_memory=MOST,
        memory_used=lambda: 2 * MOST,
        clock=clock,
    )

    async def mend() -> None:
        await clock.sleep(5)
        source.values, source._fails_at = source.values[4:], None

    with gp.listen(listener):
        async with anyio.create_task_group() as group:
            group.start_soon(mend)
            report = await pipeline.serve()
    assert sorted({*sink.values}) == list(range(10))
    assert len(told) == 1
    assert report.paused > 0


async def test_the_status_says_that_a_run_waits_for_memory(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The status beside the journal names memory and the limit while intake is paused."""
    path = tmp_path / "run.db"
    said: list[Any] = []

    async def look() -> None:
        for _ in range(2):
            await clock.sleep(50)
            status = read_status(path)
            assert status is not None
            said.append(dict(status.waits))

    async with anyio.create_task_group() as group:
        group.start_soon(look)
        await gp.Pipeline(
            source=Ledger(range(3)),
            stage=taking(clock, 150),
            sink=Kept(),
            journal=Sqlite(path, ballast=0, writer="inline", clock=clock),
            max_memory=MOST,
            memory_used=high_until(clock, 70),
            clock=clock,
        ).run()
    assert said == [{"1": f"memory below {MOST} bytes"}, {}]


async def test_memory_that_cannot_be_read_just_now_changes_nothing(clock: FakeClock) -> None:
    """An OSError, such as for too many open files, neither fails the run nor ends a pause."""

    def used() -> int:
        if 1 <= clock.now() < 10:
            raise OSError(24, "Too many open files")
        return 2 * MOST if clock.now() < 1 else MOST // 2

    told, report = await run_slowly(clock, used)
    assert report.written == 5
    assert told[1].seconds == pytest.approx(10, abs=0.2)


async def test_what_answers_no_bytes_fails_the_run_by_name(clock: FakeClock) -> None:
    """A memory_used that answers nonsense is named, and nothing is lost."""
    source = Ledger(range(5))
    with pytest.raises(gp.RunFailed) as failed:
        await gp.Pipeline(
            source=source,
            stage=taking(clock),
            sink=Kept(),
            max_memory=MOST,
            memory_used=lambda: None,  # type: ignore[arg-type, return-value]
            clock=clock,
        ).run()
    assert "memory_used=None; give one that answers bytes" in str(failed.value.exceptions[0])


@pytest.mark.parametrize("value", [0, -1, 1024, 2.5e9, "2 GB", True, MB - 1])
def test_a_wrong_limit_is_refused(value: Any) -> None:
    """A limit is in bytes, whole, and no less than any process has."""
    with pytest.raises(gp.ConfigurationError, match=r"max_memory=.*; give bytes, a whole number"):
        gp.Pipeline(source=Ledger([]), stage=gp.map(str), sink=Kept(), max_memory=value)


def test_a_wrong_reader_is_refused() -> None:
    """What reads memory is a function, and given along with a limit."""
    ends: dict[str, Any] = {"source": Ledger([]), "stage": gp.map(str), "sink": Kept()}
    with pytest.raises(gp.ConfigurationError, match="memory_used=5; give a function of nothing"):
        gp.Pipeline(**ends, max_memory=MOST, memory_used=5)  # type: ignore[arg-type]
    with pytest.raises(gp.ConfigurationError, match="max_memory=, which is not given; give it"):
        gp.Pipeline(**ends, memory_used=lambda: 5)


def test_where_the_system_does_not_tell_the_error_names_the_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without /proc/self/statm, a limit needs memory_used, and the error says so when built."""
    monkeypatch.setattr(_resident_memory, "STATM", tmp_path / "statm")
    ends: dict[str, Any] = {"source": Ledger([]), "stage": gp.map(str), "sink": Kept()}
    with pytest.raises(gp.ConfigurationError, match=r"give memory_used=, such as lambda: psutil"):
        gp.Pipeline(**ends, max_memory=MOST)
    gp.Pipeline(**ends, max_memory=MOST, memory_used=lambda: 5)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    memory=st.lists(st.integers(0, 2 * MOST), min_size=1, max_size=40),
    takes=st.lists(st.floats(0, 0.5), min_size=1, max_size=10),
    every=st.sampled_from([0, 0.01, 0.3]),
    workers=st.integers(1, 6),
    count=st.integers(0, 40),
)
async def test_whatever_memory_does_every_record_is_written_once(
    memory: list[int],
    takes: list[float],
    every: float,
    workers: int,
    count: int,
) -> None:
    """Over any series of memory, no record is lost, max_in_flight is kept, and the run ends."""
    readings = itertools.cycle(memory)
    in_flight = most = 0

    async def take(value: int) -> int:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await clock.sleep(takes[value % len(takes)])
        in_flight -= 1
        return value

    async with FakeClock() as clock:
        source, sink = Ledger(range(count), clock=clock, every=every), Kept()
        report = await gp.Pipeline(
            source=source,
            stage=gp.map(take),
            sink=sink,
            max_in_flight=workers,
            max_memory=MOST,
            memory_used=lambda: next(readings),
            clock=clock,
        ).run()
    assert sorted(sink.values) == list(range(count))
    assert (report.written, report.exhausted) == (count, True)
    assert most <= workers
    assert report.paused <= report.elapsed + 1e-6
    if min(memory) > MOST:
        assert most <= 1
    source.check()


@linux
def test_memory_that_is_held_is_told() -> None:
    """The bytes that are resident grow by what is held, and fall when it is freed."""
    before = resident_memory()
    held = b"x" * (64 * MB)
    with_it = resident_memory()
    del held
    assert with_it - before > 48 * MB
    assert with_it - resident_memory() > 48 * MB


@linux
@pytest.mark.parametrize("limited", [True, False])
def test_a_process_with_little_memory_does_all_its_work(limited: bool) -> None:
    """A process that may have 300 MB does with max_memory what kills records without it."""
    script = Path(__file__).with_name("memory_worker.py")
    options = ["limited"] if limited else []
    done = subprocess.run(
        [sys.executable, str(script), *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    written, dead, paused, resumed = map(int, done.stdout.split())
    assert written + dead == 20
    assert (dead > 0) is not limited
    assert (paused > 0) is (resumed > 0) is limited
