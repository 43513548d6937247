"""Who opens and closes what: everything that lives during one run, entered once, closed last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

import anyio
from anyio.lowlevel import RunVar

if TYPE_CHECKING:
    from anyio.abc import TaskGroup  # loads half of anyio

__all__ = ["Composite", "Lifespan", "every_part", "if_open", "opened"]

T = TypeVar("T")

_current: ContextVar[Lifespan | None] = ContextVar("genai_pipeline_lifespan", default=None)


class Lifespan:
    """
    Enters asynchronous context managers, each object once, and leaves them in reverse order.

    While it is open it is the current one of its task and of the tasks begun inside, so that
    a model called deep inside a stage opens its connections here, and shares them.
    """

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        # The object itself is kept beside its result, lest its id be given to another.
        self._entered: dict[int, tuple[object, Any]] = {}
        self._entering: dict[int, anyio.Lock] = {}
        self._outer: Lifespan | None = None
        self._open = False
        # Of one event loop: a thread begun here, with a loop of its own, inherits this lifespan.
        self._group: RunVar[TaskGroup | None] = RunVar("genai_pipeline_group", None)

    @property
    def group(self) -> TaskGroup | None:
        """
        Where work goes on that outlives the call which began it, if the owner gives one.

        It is cancelled and awaited before anything entered here is left.
        """
        return self._group.get()

    @group.setter
    def group(self, group: TaskGroup | None) -> None:
        self._group.set(group)

    async def __aenter__(self) -> Self:
        self._open = True
        self._outer = _current.get()
        _current.set(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open = False
        self._entered.clear()
        try:
            await self._stack.__aexit__(kind, error, trace)
        finally:
            _current.set(self._outer)

    def entered(self, part: object) -> Any:
        """Answer what entering *part* gave; `None` if it is not entered."""
        known = self._entered.get(id(part))
        return None if known is None else known[1]

    async def enter(self, part: object) -> Any:
        """Enter *part*, unless that was done; answer what entering it gave (or *part*)."""
        known = self._entered.get(id(part))
        if known is not None:
            return known[1]
        if not hasattr(type(part), "__aenter__"):
            return part
        async with self._entering.setdefault(id(part), anyio.Lock()):
            if id(part) not in self._entered:
                manager = cast("AbstractAsyncContextManager[Any]", part)
                value = await self._stack.enter_async_context(manager)
                self._entered[id(part)] = (part, value)
        return self._entered[id(part)][1]

    @staticmethod
    def current() -> Lifespan | None:
        """Answer the innermost lifespan this code runs in that is still open."""
        lifespan = _current.get()
        while lifespan is not None and not lifespan._open:  # noqa: SLF001 - its own
            lifespan = lifespan._outer  # noqa: SLF001 - its own
        return lifespan


class Composite:
    """
    Made of parts that may have a life cycle; entering it enters them.

    Inside a run the parts are the run's; outside, ``async with`` opens a lifespan of its own.
    """

    __slots__ = ("_stacks",)
    _stacks: list[tuple[Lifespan | None, AsyncExitStack]]

    def parts(self) -> Iterable[object]:
        """Answer what this is made of."""
        raise NotImplementedError

    def __getstate__(self) -> object:
        """Answer what a copy in another process is made of: it is not entered there."""
        state: Any = object.__getstate__(self)
        for names in state if isinstance(state, tuple) else (state,):
            if names is not None:
                names.pop("_stacks", None)
        return state

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            lifespan = Lifespan.current()
            if lifespan is None:
                lifespan = await stack.enter_async_context(Lifespan())
            for part in self.parts():
                await lifespan.enter(part)
            if not hasattr(self, "_stacks"):
                object.__setattr__(self, "_stacks", [])  # also on a frozen class
            self._stacks.append((lifespan, stack.pop_all()))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Several tasks may be inside at once, each in a lifespan of its own.
        mine = [entry for entry in self._stacks if entry[0] is _current.get()]
        entry = (mine or self._stacks)[-1]
        self._stacks.remove(entry)
        await entry[1].__aexit__(kind, error, trace)


class opened(Generic[T]):  # noqa: N801 - read as a verb: ``async with opened(client) as c``
    """
    Answer what entering *resource* gives: the run's own inside a run, else one for this block.

    For providers and others that hold connections: the first call in a run opens them and the
    end of the run closes them; a call outside any run opens and closes them itself.
    """

    __slots__ = ("_own", "_resource")

    def __init__(self, resource: AbstractAsyncContextManager[T]) -> None:
        self._resource = resource
        self._own = False

    async def __aenter__(self) -> T:
        lifespan = Lifespan.current()
        if lifespan is not None:
            return cast("T", await lifespan.enter(self._resource))
        self._own = True
        return await self._resource.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._own:
            await self._resource.__aexit__(kind, error, trace)


def if_open(resource: AbstractAsyncContextManager[T]) -> T | None:
    """
    Answer what entering *resource* gave, if the run that this code is in has entered it.

    For calls that are made often: it spares them what `opened` does for the first of a run.
    """
    lifespan = Lifespan.current()
    return None if lifespan is None else cast("T | None", lifespan.entered(resource))


def every_part(thing: object) -> Iterator[object]:
    """Yield *thing* and all it is made of, outermost first."""
    yield thing
    if isinstance(thing, Composite):
        for part in thing.parts():
            yield from every_part(part)
