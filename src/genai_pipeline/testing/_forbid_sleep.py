"""How the pytest plugin forbids to wait in real time."""

from __future__ import annotations

import asyncio
import functools
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio

from genai_pipeline.testing._forbid import Ban

__all__ = ["forbidden"]

Sleep = Callable[..., Any]

_ban = Ban()
_LONGEST = 0.001
_NAMES = ("sleep", "sleep_until")
_RUN_ON_BEHALF = frozenset({"asyncio", "concurrent", "functools", "threading"})
_MAY_SLEEP = ("genai_pipeline.testing._clock", "trio._subprocess", "trio._timeouts")
_guards: dict[int, tuple[Sleep, Sleep]] = {}
"""What stands in for each function that sleeps, by the function's id; beside the function."""


@contextmanager
def forbidden() -> Iterator[list[str]]:
    """
    Forbid to sleep for more than a millisecond; answer what was tried.

    Holds for `time.sleep` and the sleeps of asyncio, anyio and trio, also in modules that
    imported them by their own name. The standard library may sleep, to wait for a process say,
    and so may a trio that runs on a mock clock.
    """
    _build_guards()
    changed = list(_to_change())
    try:
        for names, name, guard, _ in changed:
            names[name] = guard
        with _ban.lasts() as attempts:
            yield attempts
    finally:
        for names, name, _, real in changed:
            names[name] = real


def _to_change() -> Iterator[tuple[dict[str, Any], str, Sleep, Sleep]]:
    """Yield each module's names in which a name means a function that sleeps."""
    for module in list(sys.modules.values()):
        names: dict[str, Any] = getattr(module, "__dict__", {})
        if str(names.get("__name__")).startswith("anyio._backends"):
            continue  # whoever sleeps there was asked to by anyio.sleep
        for name in _NAMES:
            known = _guards.get(id(names.get(name)))
            if known is not None:
                real, guard = known
                yield names, name, guard, real


def _build_guards() -> None:
    modules = {"time": time, "asyncio": asyncio, "anyio": anyio, "trio": sys.modules.get("trio")}
    for owner, module in modules.items():
        for name in _NAMES:
            real = getattr(module, name, None)
            if real is not None and not hasattr(real, "__guards__") and id(real) not in _guards:
                _guards[id(real)] = (real, _guard(real, f"{owner}.{name}", module))


def _guard(real: Sleep, name: str, module: Any) -> Sleep:
    @functools.wraps(real)
    def guard(*args: Any, **options: Any) -> Any:
        seconds = args[0] if args else next(iter(options.values()), 0)
        if name.endswith("_until"):
            seconds -= module.current_time()
        caller = sys._getframe(1).f_globals.get("__name__", "")  # noqa: SLF001 - as warnings do
        if (
            _ban
            and _LONGEST < seconds < math.inf
            and not _may_sleep(caller)
            and not _in_mock_time(name)
        ):
            _ban.refuse(
                f"{name} of {seconds:g} s waits in real time, which this test forbids; give what "
                "waits the fixture gp_clock as its clock=, or mark the test with "
                "@pytest.mark.allow_sleep"
            )
        return real(*args, **options)

    guard.__guards__ = real  # type: ignore[attr-defined]
    return guard


def _may_sleep(module: str) -> bool:
    """Tell whether *module* sleeps for good reason, and not on behalf of who called it."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return top not in _RUN_ON_BEHALF
    return module in _MAY_SLEEP


def _in_mock_time(name: str) -> bool:
    """Tell whether the sleep is one on trio's own mock clock."""
    testing: Any = sys.modules.get("trio.testing")
    if testing is None or name in ("time.sleep", "asyncio.sleep"):
        return False
    import trio  # noqa: PLC0415 - only there when trio runs

    try:
        return isinstance(trio.lowlevel.current_clock(), testing.MockClock)
    except RuntimeError:  # no trio loop runs here
        return False
