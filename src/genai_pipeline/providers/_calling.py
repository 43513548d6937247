"""One paid call, whichever way it is sent: kept in a journal, read, and told of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

import attrs

from genai_pipeline._paid import CallName, PaidCall, current_recorder, paid
from genai_pipeline._raw_answer import RawAnswer
from genai_pipeline._replay import is_kept
from genai_pipeline.clock import Clock
from genai_pipeline.errors import PipelineError
from genai_pipeline.messages import Request, Response
from genai_pipeline.providers._caller import SUCCESS
from genai_pipeline.providers._dialect import Dialect, Verdict, judge, read_body
from genai_pipeline.providers._json import ReadOnce, read_json
from genai_pipeline.providers._telling import Telling

__all__ = ["Calling", "SendBody", "placed"]

SendBody: TypeAlias = Callable[[bytes], Awaitable[RawAnswer]]
"""Sends a body, and answers what comes, whatever its status."""


@attrs.frozen(kw_only=True, eq=False)
class Calling:
    """Makes calls in a *dialect*; *name* and *model* are what events and errors say."""

    name: str
    model: str
    who: str
    """Begins the message of each error."""

    place: str
    """What tells this model from others of its name, for a journal: a base URL."""

    dialect: Dialect
    to_error: Callable[[RawAnswer], PipelineError] = attrs.field(repr=False)
    """Answers what an answer means that is no success."""

    timeout: float
    clock: Clock

    refuse: Callable[[Request], None] | None = attrs.field(default=None, repr=False)
    """Raises for what the model surely does not take, before anything is sent."""

    _identity: tuple[Any, ...] = attrs.field(
        init=False,
        repr=False,
        default=attrs.Factory(
            lambda self: placed(self.dialect.identity(), self.place), takes_self=True
        ),
    )

    async def answer(
        self, request: Request, send: Callable[[bytes], Awaitable[RawAnswer]]
    ) -> Response:
        """
        Answer *request*, whose body *send* sends, through the journal of a run, if any.

        Emits what came of it; raises the errors of the provider.
        """
        with Telling(self.name, self.model, self.clock) as telling:
            if self.refuse is not None:
                self.refuse(request)
            body = self.dialect.body(request, streamed=False)
            if current_recorder() is None:  # nobody need know of the call before it is made
                verdict = self._verdict(request, await send(body), read_json)
            else:
                read = ReadOnce()  # what it used is asked for before it is read
                answer = await paid(self._call(request, read), partial(send, body))
                verdict = self._verdict(request, answer, read)
            telling.response = verdict.response
            if verdict.error is not None:
                raise verdict.error
            return verdict.response

    def _verdict(
        self, request: Request, answer: RawAnswer, read: Callable[[bytes], Any]
    ) -> Verdict:
        if answer.status not in SUCCESS:
            raise self.to_error(answer)
        verdict = read_body(self.dialect, request, answer, self.who, read)
        response = verdict.response
        if not response.model:
            response = attrs.evolve(response, model=self.model)
        if answer.replayed:
            told: dict[str, Any] = {**response.attributes, "replayed": True}
            response = attrs.evolve(response, attributes=told)
        if response is verdict.response:
            return verdict
        return attrs.evolve(verdict, response=response)

    def would_replay(self, request: Request) -> bool:
        """Tell whether a journal would answer *request*."""
        return is_kept(
            CallName(provider=self.name, model=self.model, request=request, identity=self._identity)
        )

    def _call(self, request: Request, read: ReadOnce) -> PaidCall:
        return PaidCall(
            provider=self.name,
            model=self.model,
            request=request,
            judge=partial(judge, self.dialect, read=read),
            timeout=self.timeout,
            identity=self._identity,
        )


def placed(identity: tuple[Any, ...], place: str) -> tuple[Any, ...]:
    """Answer the *identity* of a dialect as it is spoken at *place*, for a journal."""
    kind, *rest = identity
    return (kind, place, *rest)
