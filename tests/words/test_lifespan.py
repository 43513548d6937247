"""Everything that lives during a run is opened once and closed last."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType

import anyio
import anyio.lowlevel
import pytest

from genai_pipeline._lifespan import Composite, Lifespan, every_part, opened

pytestmark = pytest.mark.anyio


class Part:
    """Keeps in a shared log when it is opened and closed."""

    def __init__(self, name: str, log: list[str], *, fails: str = "") -> None:
        self.name = name
        self.log = log
        self.fails = fails

    async def __aenter__(self) -> str:
        await anyio.lowlevel.checkpoint()
        if self.fails == "entering":
            raise KeyError(self.name)
        self.log.append(f"+{self.name}")
        return f"open {self.name}"

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.log.append(f"-{self.name}")
        if self.fails == "leaving":
            raise KeyError(self.name)


class Whole(Composite):
    """Made of parts."""

    def __init__(self, *parts: object) -> None:
        self._parts = parts

    def parts(self) -> Iterable[object]:
        return self._parts


async def test_each_part_once_and_in_reverse(anyio_backend: str) -> None:
    """A part that is entered again gives what it gave; parts close in reverse order."""
    log: list[str] = []
    a, b = Part("a", log), Part("b", log)
    async with Lifespan() as lifespan:
        assert await lifespan.enter(a) == "open a"
        assert await lifespan.enter(b) == "open b"
        assert await lifespan.enter(a) == "open a"
        assert await lifespan.enter("no life cycle") == "no life cycle"
    assert log == ["+a", "+b", "-b", "-a"]


async def test_concurrent_users_share_one_opening(anyio_backend: str) -> None:
    """Tasks that need a part at the same time get the same one."""
    log: list[str] = []
    part = Part("a", log)
    seen: list[object] = []

    async def use() -> None:
        async with opened(part) as given:
            seen.append(given)

    async with Lifespan(), anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(use)
    assert seen == ["open a"] * 10
    assert log == ["+a", "-a"]


async def test_outside_a_run_each_block_opens_its_own(anyio_backend: str) -> None:
    """Without a lifespan ``opened`` opens and closes by itself, also after an error."""
    log: list[str] = []
    async with opened(Part("a", log)) as given:
        assert given == "open a"
        assert log == ["+a"]
    with pytest.raises(ValueError, match="x"):
        async with opened(Part("b", log)):
            raise ValueError("x")
    assert log == ["+a", "-a", "+b", "-b"]


async def test_a_closed_lifespan_is_none(anyio_backend: str) -> None:
    """A task that outlives its lifespan opens for itself; the outer lifespan is current again."""
    log: list[str] = []
    assert Lifespan.current() is None
    async with Lifespan() as outer:
        async with Lifespan() as inner:
            assert Lifespan.current() is inner
        assert Lifespan.current() is outer
        assert await outer.enter(Part("a", log)) == "open a"
    assert Lifespan.current() is None
    async with opened(Part("b", log)):
        pass
    assert log == ["+a", "-a", "+b", "-b"]


async def test_composites_open_their_parts(anyio_backend: str) -> None:
    """Inside a lifespan parts are its own, however often they are used, and it closes them."""
    log: list[str] = []
    shared = Part("shared", log)
    one, other = Whole(shared, Part("a", log)), Whole(Whole(shared), Part("b", log))
    async with Lifespan() as lifespan:
        async with one:
            pass
        assert log == ["+shared", "+a"]
        await lifespan.enter(other)
        await lifespan.enter(one)
    assert log == ["+shared", "+a", "+b", "-b", "-a", "-shared"]


async def test_a_composite_alone_is_a_lifespan(anyio_backend: str) -> None:
    """Outside a run ``async with`` opens the parts, for calls inside too, and closes them."""
    log: list[str] = []
    part = Part("a", log)
    whole = Whole(part)
    for _ in range(2):
        async with whole as same:
            assert same is whole
            async with opened(part) as given:
                assert given == "open a"
    assert log == ["+a", "-a"] * 2


async def test_a_composite_may_be_entered_within_itself(anyio_backend: str) -> None:
    """The outermost block closes the parts."""
    log: list[str] = []
    whole = Whole(Part("a", log))
    async with whole:
        async with whole:
            pass
        assert log == ["+a"]
    assert log == ["+a", "-a"]


async def test_a_run_inside_a_block_keeps_its_own(anyio_backend: str) -> None:
    """A run that ends inside ``async with model`` does not close what the block opened."""
    log: list[str] = []
    whole = Whole(Part("a", log))
    async with whole:
        async with Lifespan() as run:
            await run.enter(whole)
        assert log == ["+a", "+a", "-a"]
        assert Lifespan.current() is not None
    assert log == ["+a", "+a", "-a", "-a"]


async def test_tasks_do_not_close_each_others_parts(anyio_backend: str) -> None:
    """Two tasks in one composite each close their own, whoever leaves first."""

    class Counted:
        """Opens connection after connection."""

        def __init__(self) -> None:
            self.opened = 0
            self.closed: list[str] = []

        async def __aenter__(self) -> str:
            self.opened += 1
            return str(self.opened)

        async def __aexit__(self, *_: object) -> None:
            self.closed.append("closed")

    part = Counted()
    whole = Whole(part)
    first_in, second_in, first_out = anyio.Event(), anyio.Event(), anyio.Event()
    seen: list[str] = []

    async def first() -> None:
        async with whole:
            first_in.set()
            await second_in.wait()
        first_out.set()
        assert Lifespan.current() is None

    async def second() -> None:
        await first_in.wait()
        async with whole:
            second_in.set()
            await first_out.wait()
            assert len(part.closed) == 1
            async with opened(part) as given:
                seen.append(given)

    async with anyio.create_task_group() as group:
        group.start_soon(first)
        group.start_soon(second)
    assert seen == ["2"]
    assert part.opened == len(part.closed) == 2


async def test_a_part_that_does_not_open_leaves_nothing_open(anyio_backend: str) -> None:
    """The error comes out, and what was opened before is closed."""
    log: list[str] = []
    whole = Whole(Part("a", log), Part("bad", log, fails="entering"), Part("c", log))
    with pytest.raises(KeyError, match="bad"):
        async with whole:
            raise AssertionError("not reached")
    assert log == ["+a", "-a"]
    assert Lifespan.current() is None


async def test_a_part_that_failed_to_open_may_be_tried_again(anyio_backend: str) -> None:
    """A failure is not remembered: the next one who needs the part tries anew."""
    log: list[str] = []
    part = Part("a", log, fails="entering")
    async with Lifespan() as lifespan:
        with pytest.raises(KeyError):
            await lifespan.enter(part)
        part.fails = ""
        assert await lifespan.enter(part) == "open a"
    assert log == ["+a", "-a"]


async def test_one_that_fails_to_close_keeps_no_other_open(anyio_backend: str) -> None:
    """Everything is closed, and the error comes out."""
    log: list[str] = []
    with pytest.raises(KeyError, match="b"):
        async with Whole(Part("a", log), Part("b", log, fails="leaving"), Part("c", log)):
            pass
    assert log == ["+a", "+b", "+c", "-c", "-b", "-a"]
    assert Lifespan.current() is None


async def test_cancellation_closes(anyio_backend: str) -> None:
    """Cancelled while open or while opening, what was opened is closed."""
    log: list[str] = []
    with anyio.CancelScope() as scope:
        async with Whole(Part("a", log)):
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    with anyio.CancelScope() as scope:
        lifespan = Lifespan()
        async with lifespan:
            await lifespan.enter(Part("b", log))
            scope.cancel()
            await lifespan.enter(Part("c", log))
    assert log == ["+a", "-a", "+b", "-b"]


def test_every_part_is_found() -> None:
    """Parts of parts are found, outermost first."""
    inner = Whole("b", "c")
    outer = Whole("a", inner)
    assert list(every_part(outer)) == [outer, "a", inner, "b", "c"]
