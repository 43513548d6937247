"""A world in virtual time, run from its plan to its end, and what must be true of it."""

from __future__ import annotations

import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import apsw
import attrs
import trio._core._run as trio_run
from anyio.lowlevel import checkpoint
from trio.testing import MockClock

import genai_pipeline as gp
from genai_pipeline._journal import NANO, ItemEnd
from genai_pipeline.journals import Memory
from tests.journals.disk import Disk

from .simulated_erasures import ErasurePort
from .simulated_oracles import look_back
from .simulated_plan import WorldPlan
from .simulated_ports import PRICES, Dead, JournalPort, Life, QueuePort, TrioClock
from .simulated_stages import stage_of

__all__ = ["World", "simulate"]

_LONG = 5000.0
_ALL = 1 << 10


@attrs.define(eq=False)
class World:
    """What outlives processes, and what is wrong with it."""

    plan: WorldPlan
    folder: Path
    clock: TrioClock = attrs.field(factory=TrioClock)
    memory: Memory = attrs.field(factory=Memory)
    disk: Disk | None = None
    dark: Disk | None = None
    """Once the power is gone: what will be on the disk when it is back."""

    chance: random.Random = attrs.field(factory=random.Random)
    log: list[str] = attrs.field(factory=list)
    found: list[str] = attrs.field(factory=list)
    seen: Counter[str] = attrs.field(factory=Counter)
    uses: Counter[str] = attrs.field(factory=Counter)
    calm: bool = False
    erasures: ErasurePort = attrs.field(
        default=attrs.Factory(lambda self: ErasurePort(self), takes_self=True)
    )

    settled: set[str] = attrs.field(factory=set)
    items: dict[bytes, str] = attrs.field(factory=dict)
    ends: dict[str, list[str]] = attrs.field(factory=dict)
    sink: dict[str, Any] = attrs.field(factory=dict)
    billed: Counter[str] = attrs.field(factory=Counter)
    unkept: Counter[str] = attrs.field(factory=Counter)
    served: dict[str, gp.Response] = attrs.field(factory=dict)
    """What the model answered, by the token of the call."""

    kept: dict[int, bytes] = attrs.field(factory=dict)
    prompts: set[str] = attrs.field(factory=set)
    """Those whose answer is kept."""

    begun: set[int] = attrs.field(factory=set)
    lost_calls: int = 0
    """Calls that may have been begun although nobody was told."""

    doubted_answers: dict[str, tuple[int, bytes]] = attrs.field(factory=dict)
    doubted_ends: dict[str, ItemEnd] = attrs.field(factory=dict)

    money: int = 0
    cap: int = 0
    spent: int = 0

    @property
    def keys(self) -> list[str]:
        """The keys of the records."""
        return [str(number) for number in range(self.plan.records)]

    def attributes(self, number: int) -> dict[str, str]:
        """Answer what tells whose data a record is."""
        subjects = self.plan.subjects
        return {"customer": self.erasures.name(number % subjects)} if subjects else {}

    def canaries(self, numbers: Iterable[int]) -> str:
        """Answer what is in all that is asked and answered for records which are somebody's."""
        if not self.plan.subjects:
            return ""
        return "".join(f"~{self.erasures.canary(number)}" for number in numbers if number < 100)

    # What happens.

    def tell(self, *what: object) -> None:
        """Write the log of events, by which two runs of a plan are compared."""
        self.log.append(" ".join(map(str, (round(anyio.current_time(), 6), *what))))

    def wrong(self, what: str) -> None:
        """Note that something is not as it must be."""
        self.tell("WRONG", what)
        self.found.append(what)

    def saw(self, point: str) -> None:
        """Count that a point was reached which every sweep must reach."""
        self.tell("saw", point)
        self.seen[point] += 1

    def due(self, port: str) -> str | None:
        """Count a use of *port*; answer the fault that it meets."""
        self.uses[port] += 1
        self.tell(port)
        if self.calm:
            return None
        for fault in self.plan.faults:
            if (fault.port, fault.nth) == (port, self.uses[port]):
                kind = fault.kind
                self.saw(f"{kind} at {port}" if kind.startswith("death") else kind)
                return kind
        return None

    def break_disk(self) -> None:
        """Let the next write to the disk fail."""
        assert self.disk is not None
        disk, healthy = self.disk, self.disk.trouble

        which = self.chance.choice(("write", "sync"))

        def once(kind: str, name: str) -> type[apsw.Error] | None:
            if kind != which:
                return None
            disk.trouble = healthy
            return apsw.IOError

        disk.trouble = once

    def cut_power_soon(self) -> None:
        """Let the power go at one of the next changes of the disk."""
        assert self.disk is not None
        disk = self.disk
        # A commit has many writes and one sync, so that few syncs were met among all changes.
        at_sync = self.chance.random() < 0.3
        left = self.chance.randint(0, 2 if at_sync else 15)

        def cut(kind: str, name: str) -> type[apsw.Error] | None:
            nonlocal left
            if at_sync and kind != "sync":
                return None
            left -= 1
            if left >= 0:
                return None
            # Whoever was killed meanwhile left this disk behind, and a copy to the next.
            if self.dark is None and self.disk is disk:
                self.dark = disk.after_a_power_cut(self.chance)
                self.saw(f"power cut at a {kind}")
            return apsw.IOError

        disk.trouble = cut

    def change_disks(self) -> None:
        """Leave the disk to the next process as the end of this one, or of the power, has it."""
        if self.disk is not None:
            self.disk = self.dark or self.disk.after_a_kill()
        self.dark = None

    @contextmanager
    def _in_doubt(self, note: Callable[[], None]) -> Iterator[None]:
        """If the power goes meanwhile, *note* that nobody was told whether it was kept."""
        try:
            yield
        except BaseException:
            if self.dark is not None:
                self.saw("power cut while it was written")
                note()
            raise

    def in_doubt_of_call(self) -> AbstractContextManager[None]:
        """Begin a call, which may be there although nobody was told."""

        def note() -> None:
            self.lost_calls += 1

        return self._in_doubt(note)

    def in_doubt_of_answer(self, call: int, body: bytes | None) -> AbstractContextManager[None]:
        """Keep an answer, which may be there although nobody was told."""

        def note() -> None:
            if body is not None:
                self.doubted_answers[_prompt_of(body)] = call, body

        return self._in_doubt(note)

    def in_doubt_of_end(self, key: str | None, end: ItemEnd) -> AbstractContextManager[None]:
        """Keep an end, which may be there although nobody was told."""

        def note() -> None:
            if key is not None:
                self.doubted_ends[key] = end

        return self._in_doubt(note)

    def find_answer(self, prompt: str) -> None:
        """Note that there is an answer, should it have been in doubt."""
        doubted = self.doubted_answers.pop(prompt, None)
        if doubted is not None:
            self.saw("an answer that was kept, and nobody was told")
            self.keep(*doubted)

    def bill(self, prompt: str, usage: gp.Usage) -> None:
        """Bill a call."""
        if prompt in self.prompts:
            self.wrong(f"O3: {prompt} is paid for again, and its answer was kept")
        self.billed[prompt] += 1
        self.unkept[prompt] += 1
        self.money += int((PRICES.cost("double", "double", usage, at=0.0) or 0) * NANO)

    def keep(self, call: int, body: bytes) -> None:
        """Note that an answer is in the journal."""
        prompt = _prompt_of(body)
        self.kept[call] = body
        self.prompts.add(prompt)
        self.unkept[prompt] -= 1

    def note_end(self, key: str, end: ItemEnd) -> None:
        """Note the end of a record that the journal has."""
        self.tell("end", key, end.state)
        if end.state not in {"done", "filtered", "dead"}:
            return
        self.saw(end.state)
        self.ends.setdefault(key, []).append(end.state)
        values = list(self.sink.values())
        if end.state == "done" and not all(each in values for each in self.outputs(int(key))):
            self.wrong(f"O6: {key} is done, and its output is not in the sink")

    def settle(self, key: str, error: Exception | None) -> None:
        """Hear from the pipeline what became of a delivery."""
        self.tell("settled", key, type(error).__name__)
        if error is None:
            self.settled.add(key)
            if key not in self.ends and key in self.doubted_ends:
                self.saw("an end that was kept, and nobody was told")
                self.note_end(key, self.doubted_ends.pop(key))
            if key not in self.ends:
                self.wrong(f"O1: the queue was told of {key} before it had ended")

    async def look_at_money(self, life: Life) -> None:
        """Compare the books with the cap, and with the bill."""
        if self.plan.cap is None:
            return
        for line in await life.inner.budgets():
            self.spent = line.spent
            if line.spent + line.reserved > self.cap:
                self.wrong("O4: more is spent and reserved than the cap")
            if self.money > line.spent + line.reserved:
                self.wrong("O4: more is billed than is spent and reserved")

    # What is run.

    def outputs(self, number: int) -> list[list[int]]:
        """Answer what the sink must have of a record; of a gathered one it is not known."""
        if self.plan.gathers:
            return []
        if self.plan.shape == "split":
            return [[number, 100], [number, 101]]
        return [[number]]

    async def live(self, *, again: bool = False) -> gp.Report | None:
        """Run one process to its end; answer its report, if it came to give one."""
        life = Life(self)
        life.open_journal()

        async def sink(record: gp.Record[Any]) -> None:
            async def work() -> None:
                await checkpoint()
                if self.erasures.allows(record.value):
                    self.sink[record.key] = record.value
                if self.sink.setdefault(record.key, record.value) != record.value:
                    self.wrong(f"O6: a repeat of {record.key} brought something else")

            await life.use("sink", work)

        budgeted: dict[str, Any] = {}
        if self.plan.cap is not None:
            cap = f"{self.cap / NANO:.9f}"
            budgeted = {"budgets": [gp.Budget(cap=cap, window="total")], "prices": PRICES}
        journal: Any = JournalPort(life)
        pipeline = gp.Pipeline(
            source=QueuePort(life, again),
            stage=gp.chain(stage_of(life), gp.tee(gp.sinks.JournalTable("rows"))),
            sink=sink,
            max_in_flight=self.plan.max_in_flight,
            max_failures=None,
            grace=3,
            clock=self.clock,
            journal=journal,
            stop_signals=(),
            subject="customer" if self.plan.subjects else None,
            **budgeted,
        )
        self.tell("birth")
        report = await self._run(life, pipeline)
        if not life.gone and not life.sick and not life.handed_out <= self.prompts:
            self.wrong("O2: an answer in hand was not kept")
        if report is not None:
            report.check()
            if report.pending:
                self.wrong("O1: the run ended with records pending")
        life.die()
        return report

    async def _run(self, life: Life, pipeline: gp.Pipeline[Any, Any]) -> gp.Report | None:
        report = None
        began = anyio.current_time()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._happen, life, pipeline, group.cancel_scope)
                with anyio.move_on_after(_LONG) as scope:
                    try:
                        report = await pipeline.run()
                    except gp.RunFailed as failed:
                        report = failed.report
                        for error in failed.exceptions:
                            self.tell("failed", type(error).__name__)
                            if isinstance(error, gp.errors.BudgetExhausted):
                                self.cap *= 3
                if scope.cancelled_caught:
                    self.wrong(f"O9: a run did not end in {anyio.current_time() - began} s")
                group.cancel_scope.cancel()
        except gp.errors.StorageFailed:
            if not (life.sick or life.gone):
                raise
        except BaseExceptionGroup as problem:
            rest = problem.split(Dead)[1]
            if rest is not None and (life.sick or life.gone):
                rest = rest.split(gp.errors.StorageFailed)[1]
            if rest is not None:
                raise
        except Dead:
            pass
        return None if life.gone else report

    async def _happen(
        self, life: Life, pipeline: gp.Pipeline[Any, Any], scope: anyio.CancelScope
    ) -> None:
        timed = [] if self.calm else [each for each in self.plan.faults if each.port == "time"]
        for fault in sorted(timed, key=lambda each: each.nth):
            if fault.nth < anyio.current_time():
                continue  # it was an earlier process that lived then
            await anyio.sleep_until(fault.nth + 0.5)
            self.saw(f"{fault.kind} at a time")
            if fault.kind == "death":
                life.die()
                scope.cancel()
            elif fault.kind == "cancel":
                scope.cancel()
            elif fault.kind == "stop":
                pipeline.stop()
            else:
                self.clock.offset += {"clock back": -90_000.0, "clock on": 90_000.0}[fault.kind]

    async def run(self) -> None:
        """Run processes until every record has ended; then one more, which must do nothing."""
        self.cap = self.plan.cap or 0
        for number in range(len(self.plan.faults) + 12):
            await self.erasures.before(number)
            if self.settled == set(self.keys):
                break
            await self.live()
        else:
            self.wrong("O9: faults are over, and records have not ended")
        self.calm = True
        await self.erasures.before(_ALL)
        bill = self.money
        report = await self.live(again=True)
        if report is None or (report.skipped, report.calls) != (self.plan.records, 0):
            self.wrong(f"O1: what is finished was not passed by: {report}")
        if self.money != bill:
            self.wrong("O3: a run over finished records was billed")
        life = Life(self)
        life.open_journal()
        async with life.inner as journal:
            await look_back(self, journal)


def _prompt_of(body: bytes) -> str:
    return str(json.loads(body)["response"]["text"]).removeprefix("re ")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let trio schedule as *seed* says; it has no public way to."""
    before = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    trio_run._r = random.Random(seed)
    try:
        yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r = before  # type: ignore[misc]


def simulate(plan: WorldPlan) -> World:
    """Run the world of *plan*; what is wrong with it is in its ``found``."""
    with tempfile.TemporaryDirectory() as folder, seeded(plan.seed):
        world = World(
            plan,
            Path(folder),
            disk=Disk() if plan.in_file else None,
            chance=random.Random(plan.seed),
        )
        clock = MockClock(autojump_threshold=0)
        anyio.run(world.run, backend="trio", backend_options={"clock": clock})
    return world
