"""What is done about calls of which nobody knows whether they were billed."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Literal, cast

import anyio
import attrs

from genai_pipeline._journal import MOST_NANO, CallEnd, PastCall, RawAnswer
from genai_pipeline._lifespan import every_part
from genai_pipeline._paid import PaidCall, StageMark, unrecorded
from genai_pipeline._reconcile import LostCall, token_of
from genai_pipeline._run_journal import RunJournal
from genai_pipeline._wrap import name_of
from genai_pipeline.errors import (
    ConfigurationError,
    OutcomeUnknown,
    Rejected,
    Stopped,
    Systemic,
)
from genai_pipeline.events import CallReconciled, emit
from genai_pipeline.messages import Request, Usage
from genai_pipeline.money import service_of, to_nano

__all__ = ["LostCalls", "end_of", "require_reconcilable"]

_SETTLES = ("answered", "void")
_MOST_TOKENS = 2**53


@attrs.define(eq=False)
class LostCalls:
    """The calls of one record, or one group, that are unknown, and who may be asked for them."""

    run: RunJournal
    item: bytes
    record: str
    """What to call the record."""

    _by_key: dict[bytes, list[PastCall]] = attrs.field(factory=dict, init=False)
    _of_this_run: set[int] = attrs.field(factory=set, init=False)
    _asking: anyio.Lock | None = attrs.field(default=None, init=False)

    def add(self, call: PastCall, *, of_this_run: bool = False) -> None:
        """Note that the outcome of *call* is not known."""
        self._by_key.setdefault(call.key, []).append(call)
        if of_this_run:
            self._of_this_run.add(call.call)

    def require_none(self, key: bytes, mark: StageMark) -> None:
        """Raise `OutcomeUnknown` when a call of *key* may have been billed."""
        unknown = self._by_key.get(key)
        if unknown:
            raise OutcomeUnknown(
                f"{mark.stage}: call {unknown[0].call} for the record {self.record!r} may have "
                "been billed, and no answer came; the record is held "
                f"(on_unknown={mark.on_unknown!r}): look the call up at the provider, then let "
                "the stage retry, or give the call up by `genai-pipeline held release`"
            )

    async def find(
        self, call: PaidCall, key: bytes, mark: StageMark
    ) -> tuple[int, RawAnswer] | None:
        """
        Ask the provider of *call* for those of *key*; answer the first that it has the answer of.

        What is found is settled in the journal before anybody reads it.
        """
        if self._asking is None:
            self._asking = anyio.Lock()
        async with self._asking:
            lost, unknown = self._by_key.get(key, []), list[PastCall]()
            try:
                while lost:
                    unknown.append(lost.pop(0))
                    found = await self._ask(unknown[-1], call, mark)
                    if found is None:
                        continue
                    settled = unknown.pop()
                    if isinstance(found, RawAnswer):
                        return settled.call, found
            finally:
                lost[:0] = unknown
        return None

    async def _ask(
        self, lost: PastCall, call: PaidCall, mark: StageMark
    ) -> RawAnswer | Literal["void"] | None:
        """Ask for one call, and settle what is found."""
        found = await self._found(lost, call)
        end = None
        if isinstance(found, RawAnswer):
            end = end_of(self.run, call, found, begun=lost.at)
            if end.state not in _SETTLES:
                end = None  # its answer tells no more than was known
        elif found is not None:
            end = CallEnd(state="void", at=self.run.clock.wall())
        if end is not None:
            mine = lost.call in self._of_this_run
            await self.run.reconcile(lost, end, of_this_run=mine)
        outcome = "unknown" if end is None else end.state
        emit(
            CallReconciled(
                stage=mark.stage, provider=call.provider, model=call.model, outcome=outcome
            )
        )
        if end is None or not isinstance(found, RawAnswer) or end.state == "void":
            return None if end is None else "void"
        return attrs.evolve(found, replayed=True)

    async def _found(self, lost: PastCall, call: PaidCall) -> RawAnswer | Literal["void"] | None:
        assert call.find is not None
        asked = LostCall(
            token=token_of(self.item, lost.key, lost.call, lost.at),
            request=cast(Request, call.request),  # those of embedders are not looked for
            model=call.model,
            at=lost.at,
        )
        try:
            return await unrecorded(partial(call.find, asked))
        except (Rejected, Stopped, Systemic):
            raise
        except Exception as error:
            raise OutcomeUnknown(
                f"call {lost.call} for the record {self.record!r} may have been billed, and "
                f"asking {call.provider} for it failed ({type(error).__name__}: {error}); the "
                "record is held, and the next run asks again"
            ) from error


def end_of(run: RunJournal, call: PaidCall, raw: RawAnswer, *, begun: float) -> CallEnd:
    """Answer how *call* ended that *begun* at a wall time, by its answer as it came."""
    judgement = call.judge(raw)
    usage, answered, cost = judgement.usage, judgement.state == "answered", None
    if usage is not None and not _tells(usage):
        usage = None
    if usage is not None and answered:
        dollars = run.prices.cost(
            call.provider, call.model, usage, at=begun, service=service_of(call.request)
        )
        cost = None if dollars is None else to_nano(dollars)
    return CallEnd(
        state=judgement.state,
        at=run.clock.wall(),
        cost=None if cost is None or cost > MOST_NANO else cost,
        usage=usage,
        answer=raw if answered else None,
        error=judgement.error,
        request_id=judgement.request_id,
    )


def _tells(usage: Usage) -> bool:
    """Tell whether *usage* can be what a call used; a provider may answer any nonsense."""
    if not (usage.input_tokens or usage.output_tokens):
        # Of no call: what is told to have used nothing was not counted, and is not free.
        cost = usage.cost
        return cost is not None and cost.is_finite() and cost >= 0
    return (
        _is_count(usage.input_tokens)
        and _is_count(usage.output_tokens)
        and _is_count(usage.cached_tokens)
        and _is_count(usage.cache_write_tokens)
        and _is_count(usage.reasoning_tokens)
    )


def _is_count(tokens: object) -> bool:
    return isinstance(tokens, int) and 0 <= tokens <= _MOST_TOKENS


def require_reconcilable(stages: Iterable[object]) -> None:
    """
    Raise `ConfigurationError` for a stage that is to ask a provider which cannot be asked.

    Looks at what stages are made of, and at what their functions name. A provider that is hidden
    from that is found out when the stage is about to call it.
    """
    for stage in stages:
        for part in every_part(stage):
            if getattr(part, "on_unknown", None) != "reconcile":
                continue
            for provider in _providers_in(part):
                if not callable(getattr(provider, "find", None)):
                    raise ConfigurationError(cannot_be_asked(name_of(part), _called(provider)))  # type: ignore[arg-type]


def cannot_be_asked(stage: str, provider: str) -> str:
    """Answer that *stage* would have to ask *provider* for lost calls, and how to mend it."""
    return (
        f"{stage}: on_unknown='reconcile': {provider} cannot be asked for a call, since it has no "
        "`find`; give one that is a ReconcilingProvider (to Journaled by find=), or choose "
        "'retry' or 'hold'"
    )


def _providers_in(stage: object) -> Iterator[object]:
    """Yield what takes calls to the journal, in a stage and in what its functions name."""
    for part in every_part(stage):
        for thing in (part, *_named_by(part)):
            for inner in every_part(thing):
                if getattr(inner, "records_calls", False) is True:
                    yield inner


def _named_by(function: object) -> Iterator[object]:
    if inspect.isfunction(function):
        with suppress(ValueError):  # a name that has no value yet
            names = inspect.getclosurevars(function)
            yield from (*names.nonlocals.values(), *names.globals.values())


def _called(provider: object) -> str:
    told = getattr(provider, "provider", None) or getattr(provider, "name", None)
    return told if isinstance(told, str) else type(provider).__name__
