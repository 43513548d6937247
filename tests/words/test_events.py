"""Events reach whoever listens, and nobody who listens can do harm."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest

import genai_pipeline as gp
from genai_pipeline import events
from genai_pipeline._listeners import listened

EVENT = events.StopRequested(reason="test", grace=1)


def test_nobody_listens() -> None:
    """An event for nobody is no error."""
    assert not listened()
    gp.emit(EVENT)


def test_listeners_nest() -> None:
    """Inner blocks add listeners; the outer ones hear first, and go on after."""
    heard: list[str] = []
    with gp.listen(lambda _: heard.append("a"), lambda _: heard.append("b")):
        with gp.listen(lambda _: heard.append("c")):
            assert listened()
            gp.emit(EVENT)
        gp.emit(EVENT)
    gp.emit(EVENT)
    assert heard == ["a", "b", "c", "a", "b"]


def test_a_listener_that_raises_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once with its error, hears nothing more, and disturbs nobody."""
    heard: list[Any] = []
    calls = 0

    def bad(event: Any) -> None:
        nonlocal calls
        calls += 1
        raise KeyError(event)

    with caplog.at_level(logging.ERROR, "genai_pipeline"), gp.listen(bad, heard.append):
        gp.emit(EVENT)
        gp.emit(EVENT)
    assert heard == [EVENT, EVENT]
    assert calls == 1
    assert len(caplog.records) == 1
    assert "bad" in caplog.text
    assert "KeyError" in caplog.text
    with caplog.at_level(logging.CRITICAL), gp.listen(bad):
        gp.emit(EVENT)
    assert calls == 2


def test_an_error_ends_the_listening() -> None:
    """Leaving the block by an error takes the listeners away."""
    with pytest.raises(KeyError), gp.listen(print):
        raise KeyError
    assert not listened()


@pytest.mark.anyio
async def test_tasks_inherit_and_do_not_leak(anyio_backend: str) -> None:
    """A task hears for those around its start; what it listens to itself stays its own."""
    heard: dict[str, list[Any]] = {"all": [], "one": [], "two": []}

    async def work(name: str) -> None:
        with gp.listen(heard[name].append):
            await anyio.lowlevel.checkpoint()
            gp.emit(events.SourceFailed(error=KeyError(name), retry_in=None))
            await anyio.lowlevel.checkpoint()

    with gp.listen(heard["all"].append):
        async with anyio.create_task_group() as group:
            group.start_soon(work, "one")
            group.start_soon(work, "two")
    assert [len(heard[name]) for name in ("all", "one", "two")] == [2, 1, 1]
    assert heard["one"][0].error.args == ("one",)
    assert heard["two"][0].error.args == ("two",)


def test_events_do_not_change() -> None:
    """Listeners share the object, so it is frozen."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        EVENT.grace = 2  # type: ignore[misc]


def test_every_event_is_exported_and_documented() -> None:
    """Each class below ``Event`` is in ``__all__`` and says what happened."""
    kinds = [
        value
        for value in vars(events).values()
        if isinstance(value, type) and issubclass(value, events.Event)
    ]
    assert {kind.__name__ for kind in kinds} <= set(events.__all__)
    assert all(kind.__doc__ for kind in kinds)
    assert all(attrs.has(kind) for kind in kinds)
