"""Runs the tests of mutants, each in a process of its own that is forked off warm."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, TypeAlias

import attrs
import coverage
import hypothesis
import pytest

from tests.mutation.mutants import Mutant
from tests.mutation.planting import Garden, plant_before_import

__all__ = ["Fate", "fates_of"]

Fate: TypeAlias = Literal["killed", "timed out", "survived", "no test"]

FORK = multiprocessing.get_context("fork")
ERRORS = os.fdopen(os.dup(2), "w", buffering=1)  # past what pytest captures
SURVIVED, KILLED, IMPORT_AFRESH, BROKEN = 0, 50, 51, 52
"""How a process ends that ran the tests of a mutant."""

OPTIONS = (
    *("-q", "--timeout=0", "-pno:randomly"),
    "--assert=plain",  # nobody reads why a test failed, and pytest lets us import what we like
)
MOST_MEMORY = 8 * 2**30


@attrs.frozen
class Known:
    """What the tests do without a mutant."""

    seconds: Mapping[str, float]
    """How long each takes; the slow ones are not here."""

    covering: Mapping[Path, Mapping[int, list[str]]]
    """By module and line, the tests that run it."""

    def tests_of(self, mutant: Mutant, *, afresh: bool) -> list[str]:
        """Answer the tests that can notice the mutant, the quickest first."""
        of_lines = self.covering.get(mutant.path, {})
        lines: Iterable[int] = of_lines if afresh else mutant.lines
        names = {name for line in lines for name in of_lines.get(line, [])}
        if afresh:  # a validator that refuses keeps all lines of the module from running
            files = {_file_of(name) for name in names}
            names = {name for name in self.seconds if not files or _file_of(name) in files}
        return sorted(names & self.seconds.keys(), key=lambda name: self.seconds[name])


def _file_of(name: str) -> str:
    return name.partition("::")[0]


def fates_of(
    mutants: Sequence[Mutant], tests: Sequence[str], slowest: float
) -> Iterator[tuple[Mutant, Fate]]:
    """Yield each mutant with its fate; tests that take more than *slowest* seconds are left out."""
    _settle_hypothesis()
    here, there = FORK.Pipe(duplex=False)
    worker = FORK.Process(target=_work, args=(mutants, tests, slowest, there))
    worker.start()
    there.close()
    modules: list[str] = here.recv()
    known: Known = here.recv()
    later = []
    for mutant in mutants:
        fate: Fate | None = None if mutant.afresh else here.recv()
        if fate is None:
            later.append(mutant)
        else:
            yield mutant, fate
    worker.join()
    if later:
        _warm_up(modules)
        _check_that_the_original_lives(later[0], known)
    for mutant in later:
        names = known.tests_of(mutant, afresh=True)
        fate = _fate(mutant, names, _try_afresh) if names else "no test"
        assert fate is not None
        yield mutant, fate


def _settle_hypothesis() -> None:
    hypothesis.settings.register_profile(
        "mutation",
        max_examples=30,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    )
    hypothesis.settings.load_profile("mutation")


# One process collects the tests and imports the modules, then forks for each mutant.


def _work(
    mutants: Sequence[Mutant], tests: Sequence[str], slowest: float, answers: Connection
) -> None:
    _be_quiet()
    plugin = _Worker(mutants, slowest, answers)
    code = pytest.main([*OPTIONS, *tests], plugins=[plugin])
    if not plugin.begun:
        print(f"pytest could not collect {' '.join(tests)}: {code!r}", file=ERRORS)


@attrs.define(eq=False)  # pytest puts its plugins into sets
class _Worker:
    mutants: Sequence[Mutant]
    slowest: float
    answers: Connection
    begun: bool = False
    failed: list[str] = attrs.field(factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(f"{report.nodeid}\n{report.longreprtext}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.begun = True
        self.answers.send(_libraries())
        known = self._know(session.items)
        self.answers.send(known)
        items = {item.nodeid: item for item in session.items}
        garden = Garden()
        garden.find({mutant.path for mutant in self.mutants})

        def attempt(mutant: Mutant, names: list[str]) -> int:
            if not garden.plant(mutant):
                return IMPORT_AFRESH
            chosen = [items[name] for name in names]
            for item, after in zip(chosen, [*chosen[1:], None], strict=True):
                signal.alarm(_most_seconds(known.seconds[item.nodeid]))
                item.ihook.pytest_runtest_protocol(item=item, nextitem=after)
                if self.failed:
                    return KILLED
            return SURVIVED

        for mutant in self.mutants:
            if not mutant.afresh:
                names = known.tests_of(mutant, afresh=False)
                # What no test runs may run at import, such as what makes a validator.
                self.answers.send(_fate(mutant, names, attempt) if names else None)
        return True

    def _know(self, items: Sequence[pytest.Item]) -> Known:
        """Run all tests once, in a process of its own, lest they leave anything in this one."""
        here, there = FORK.Pipe(duplex=False)

        def run() -> int:
            there.send(self._run_covered(items))
            return SURVIVED

        process = FORK.Process(target=_isolated, args=(run,))
        process.start()
        there.close()
        known: Known = here.recv()
        process.join()
        return known

    def _run_covered(self, items: Sequence[pytest.Item]) -> Known:
        paths = sorted({str(mutant.path) for mutant in self.mutants})
        measured = coverage.Coverage(data_file=None, config_file=False, include=paths)
        seconds: dict[str, float] = {}
        measured.start()
        for item, after in zip(items, [*items[1:], None], strict=True):
            measured.switch_context(item.nodeid)
            began = time.perf_counter()
            item.ihook.pytest_runtest_protocol(item=item, nextitem=after)
            took = time.perf_counter() - began
            if took <= self.slowest:
                seconds[item.nodeid] = took
        measured.stop()
        if self.failed:
            raise RuntimeError("tests fail without a mutant:\n" + "\n".join(self.failed))
        data = measured.get_data()
        covering = {}
        for path in paths:
            by_line = data.contexts_by_lineno(path)
            covering[Path(path)] = {
                line: [name for name in names if name] for line, names in by_line.items()
            }
        return Known(seconds, covering)


# What shows only at import needs a process that has imported the libraries and nothing of ours.


def _libraries() -> list[str]:
    here = str(Path.cwd())
    return [
        name
        for name, module in sys.modules.items()
        for file in [getattr(module, "__file__", None) or ""]
        if "site-packages" in file or not file.startswith(here)
    ]


def _warm_up(modules: Iterable[str]) -> None:
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError:  # some libraries put objects that are no modules there
            continue


def _check_that_the_original_lives(mutant: Mutant, known: Known) -> None:
    code = compile(mutant.path.read_text(), str(mutant.path), "exec")
    names = known.tests_of(mutant, afresh=True)
    fate = _fate(attrs.evolve(mutant, code=code), names, _try_afresh) if names else "survived"
    if fate != "survived":
        raise RuntimeError(f"tests of {mutant.path} fail on a fresh import: {fate}")


def _try_afresh(mutant: Mutant, names: list[str]) -> int:
    planted = plant_before_import(mutant)
    files = dict.fromkeys(_file_of(name) for name in names)
    chosen = _Chosen(names)
    try:
        code = pytest.main([*OPTIONS, "-x", *files], plugins=[chosen])
    except Exception:  # noqa: BLE001 - a plugin may fail to import
        code = pytest.ExitCode.TESTS_FAILED
    if not planted:
        return BROKEN
    return SURVIVED if code is pytest.ExitCode.OK else KILLED


@attrs.define(eq=False)
class _Chosen:
    names: Sequence[str]

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        at = {name: index for index, name in enumerate(self.names)}
        items[:] = sorted(
            (item for item in items if item.nodeid in at), key=lambda item: at[item.nodeid]
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        signal.alarm(_most_seconds(0.5))


# A process for each mutant.


def _most_seconds(usual: float) -> int:
    return int(3 + 10 * usual)


def _fate(
    mutant: Mutant, names: list[str], attempt: Callable[[Mutant, list[str]], int]
) -> Fate | None:
    """Answer what becomes of the mutant, `None` if it must be imported afresh to know."""
    process = FORK.Process(target=_isolated, args=(lambda: attempt(mutant, names),))
    process.start()
    process.join()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid or 0, signal.SIGKILL)  # servers that its tests began
    match process.exitcode:
        case 0:
            return "survived"
        case 50:
            return "killed"
        case 51:
            return None
        case code if code == -signal.SIGALRM:
            return "timed out"
        case code:
            raise RuntimeError(f"the tests of {mutant} ended with {code}")


def _be_quiet() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _isolated(run: Callable[[], int]) -> None:
    code = BROKEN
    try:
        _be_quiet()
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        code = run()
    except BaseException:  # noqa: BLE001 - it is told, and the process ends
        traceback.print_exc(file=ERRORS)
    os._exit(code)
