"""
`paid`: how a provider makes a call that costs money, so that a journal can know of it.

A provider gives what it is about to send and how to send it. Outside a pipeline with a journal
that is all: it is sent. Inside one, the intent is noted first, the answer is kept before it is
read, and an answer that is kept already is given back instead of a second call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, TypeVar, cast

import attrs

from genai_pipeline._raw_answer import RawAnswer
from genai_pipeline.errors import (
    ConfigurationError,
    ConnectionFailed,
    Permanent,
    RateLimited,
    Rejected,
    Stopped,
    Systemic,
)
from genai_pipeline.messages import Request, Usage

if TYPE_CHECKING:  # slow to import, for whoever only builds a provider
    from genai_pipeline._journal import CallState, Group
    from genai_pipeline._reconcile import LostCall
    from genai_pipeline.embeddings import EmbeddingRequest
    from genai_pipeline.records import Record

__all__ = [
    "CallName",
    "CallRecorder",
    "Find",
    "Judgement",
    "OnUnknown",
    "PaidCall",
    "StageMark",
    "UnkeptAnswer",
    "Visit",
    "current_recorder",
    "current_visit",
    "is_unbilled",
    "paid",
    "refuse_unrecorded",
    "set_recorder",
    "set_visit",
    "unattributed",
    "unrecorded",
]

T = TypeVar("T")

Send: TypeAlias = Callable[[], Awaitable[RawAnswer]]
Find: TypeAlias = "Callable[[LostCall], Awaitable[RawAnswer | Literal['void'] | None]]"
"""As `ReconcilingProvider.find`, with the answer as it came."""

OnUnknown: TypeAlias = Literal["retry", "reconcile", "hold"]
"""
What a stage does about a call of which nobody knows whether it was billed: makes a new one; asks
the provider, and holds the record when that does not know; or holds the record at once, for a
person to decide.
"""


@attrs.frozen(kw_only=True)
class Judgement:
    """What an answer means for money, told before anybody reads it."""

    state: CallState
    """``answered`` (also when it will turn out useless), ``void`` or ``unknown``."""

    usage: Usage | None = None
    """`None` when the answer does not tell it: the call then counts at its hold."""

    error: str | None = None
    """What kind of failure it is, if it is one."""

    request_id: str | None = None


@attrs.frozen(kw_only=True)
class CallName:
    """What a journal knows a call by, beside the stage that makes it."""

    provider: str
    """The provider's name, as in events."""

    model: str
    request: Request | EmbeddingRequest

    identity: tuple[Any, ...] = ()
    """What else decides on the answer: the dialect of the endpoint, a version."""


@attrs.frozen(kw_only=True)
class PaidCall(CallName):
    """A call about to be made."""

    judge: Callable[[RawAnswer], Judgement] = attrs.field(repr=False)
    """Tells what an answer means for money; never raises."""

    timeout: float = 600.0
    """Seconds after which the call will have ended, one way or another."""

    find: Find | None = attrs.field(default=None, repr=False)
    """Asks the provider what became of such a call that was lost, if it can be asked."""


class CallRecorder(Protocol):
    """Makes the paid calls of one record's walk, or of a group's; the engine's part of `paid`."""

    @property
    def item(self) -> bytes:
        """What the journal calls the record, or the group."""
        ...

    sends: ClassVar[bool]
    """Whether a call that is not answered from the journal is made; of a plan, none is."""

    @property
    def replaying(self) -> bool:
        """Whether answers are left that were kept before this walk, or before it began anew."""
        ...

    def keeps(self, call: CallName, /) -> bool:
        """Tell whether one of these answers is for *call*, made here."""
        ...

    def make(self, call: PaidCall, send: Send, /) -> Awaitable[RawAnswer]:
        """Answer *call* from the journal, or send it and keep what comes."""
        ...

    def member(self, stage: str, record: Record[Any], /) -> tuple[bytes, Any]:
        """
        Answer what stands for *record* at *stage* as a member of a group, and its value as JSON.

        Raises `ConfigurationError` for a value that JSON cannot hold as it is.
        """
        ...

    async def group_of(self, member: bytes, /) -> Group | None:
        """Answer the group that *member* was frozen into before, if it was."""
        ...

    async def freeze(
        self, stage: str, members: list[bytes], body: bytes, items: Collection[bytes], /
    ) -> Group:
        """Keep a group, so that nobody else is ever gathered in place of its members."""
        ...

    def for_group(self, group: Group, /) -> CallRecorder:
        """Answer what makes the calls of *group*."""
        ...


_recorder: ContextVar[CallRecorder | None] = ContextVar("genai_pipeline_recorder", default=None)

set_recorder = _recorder.set
"""Let the calls of this task be recorded; for the engine alone."""

current_recorder: Callable[[], CallRecorder | None] = _recorder.get
"""Answer what records the calls made here; `None` where there is no journal."""


async def unrecorded(act: Callable[[], Awaitable[T]]) -> T:
    """Let *act* make calls without a record, as parts of one that has it."""
    token = _recorder.set(None)
    try:
        return await act()
    finally:
        _recorder.reset(token)


@contextmanager
def unattributed(who: str) -> Iterator[None]:
    """Refuse calls that cost money inside the block, since *who* makes them for several records."""
    recorder = _recorder.get()
    if recorder is None:
        yield
        return
    token = _recorder.set(cast("CallRecorder", _Refusing(who)))
    try:
        yield
    finally:
        _recorder.reset(token)


class _Refusing:
    sends = True
    replaying = False

    def __init__(self, who: str) -> None:
        self._who = who

    async def make(self, call: PaidCall, send: Send, /) -> RawAnswer:  # noqa: ARG002 - refused
        raise ConfigurationError(
            f"batched: {self._who} calls {call.provider} {call.model!r} for several records at "
            "once, which a journal cannot keep, since a later run would group them otherwise; "
            "gp.gather the records, and call the model in the stage behind"
        )


@attrs.frozen
class StageMark:
    """What the calls of a stage are known by."""

    stage: str
    version: str = "1"
    on_unknown: OnUnknown = "retry"


class Visit:
    """One attempt of a record at one stage; what it took from the journal can be put back."""

    __slots__ = ("_outer", "_undo", "mark")

    def __init__(self, mark: StageMark, outer: Visit | None = None) -> None:
        self.mark = mark
        self._outer = outer
        self._undo: list[Callable[[], None]] | None = None

    def took(self, put_back: Callable[[], None]) -> None:
        """Note how to put back an answer that this attempt used; twice must do no more."""
        if self._undo is None:
            self._undo = []
        self._undo.append(put_back)
        if self._outer is not None:
            self._outer.took(put_back)

    def undo(self) -> None:
        """Put back all that was used, since the stage begins anew."""
        while self._undo:
            self._undo.pop()()


_visit: ContextVar[Visit | None] = ContextVar("genai_pipeline_visit", default=None)

set_visit = _visit.set
"""Note which attempt at a stage this task is part of; for the engine alone."""


def current_visit() -> Visit | None:
    """Answer the attempt at a stage that this code is part of."""
    return _visit.get()


class UnkeptAnswer(ConfigurationError):
    """Raised when an answer came, and was billed, that a journal cannot keep."""


def is_unbilled(error: BaseException) -> bool:
    """
    Tell whether *error*, raised by an attempt to call, means that nothing is billed.

    That is so when the request never left (`ConnectionFailed` whose ``sent`` is false,
    `Rejected`) and when it was turned away (`RateLimited`, `Permanent`, `Systemic`). Of
    anything else, cancellation included, nobody knows.
    """
    if isinstance(error, ConnectionFailed):
        return not error.sent
    if isinstance(error, UnkeptAnswer):
        return False
    return isinstance(error, RateLimited | Permanent | Systemic | Rejected | Stopped)


def refuse_unrecorded(what: str) -> None:
    """Raise `ConfigurationError` in a pipeline with a journal, which would not know of a call."""
    if _recorder.get() is not None:
        raise ConfigurationError(
            f"{what} in a pipeline with a journal, which keeps whole answers; call the model "
            "without stream()"
        )


def paid(call: PaidCall, send: Send) -> Awaitable[RawAnswer]:
    """
    Make *call* by ``send()``, through the journal of the pipeline this code runs in, if any.

    What *send* raises is raised as it is, after the journal knows of it: see `is_unbilled` for
    what each error means for money.
    """
    recorder = _recorder.get()
    return send() if recorder is None else recorder.make(call, send)
