"""`SdkModel`: a model behind the client object of a vendor's SDK, which an application has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from operator import attrgetter
from typing import Any, ClassVar

import attrs

from genai_pipeline._raw_answer import RawAnswer
from genai_pipeline.errors import AttemptTimeout, ConfigurationError, PipelineError
from genai_pipeline.messages import Chunk, Request, Response
from genai_pipeline.providers._answer_stream import AnswerStream
from genai_pipeline.providers._calling import Calling
from genai_pipeline.providers._json import read_json
from genai_pipeline.providers._sdk_errors import answer_in, hidden, meaning_of
from genai_pipeline.providers._sdk_source import SdkSource
from genai_pipeline.providers._target import Target, secrets_in

__all__ = ["SdkModel"]

_KEYS = ("api_key", "auth_token")


@attrs.frozen(kw_only=True, eq=False)
class SdkModel:
    """
    Answers requests by calls of a client object that somebody else opens, and closes.

    The request is ours, and so is the reading of what comes; how it travels is the client's. One
    attempt a call, as of any provider.
    """

    records_calls: ClassVar[bool] = True

    calling: Calling
    client: object = attrs.field(repr=False)
    resource: str = attrs.field(repr=False)
    """Where the client has its functions for this API: ``chat.completions``."""

    arguments: tuple[str, ...] = attrs.field(repr=False)
    """Which fields of a body these want as arguments; the others go with ``extra_body``."""

    max_output_tokens: int | None = None
    """The output limit of requests that have none."""

    @property
    def name(self) -> str:
        """What events, errors and reports call the provider."""
        return self.calling.name

    @property
    def model(self) -> str:
        """The name of the model, as the server knows it."""
        return self.calling.model

    async def __call__(self, request: Request) -> Response:
        """
        Answer *request* with one call of the client.

        Raises the errors of `genai_pipeline.errors`, as a provider of our own does.
        """
        return await self.calling.answer(self._limited(request), self._create)

    def would_replay(self, request: Request) -> bool:
        """Tell whether the journal of the pipeline this runs in would answer *request*."""
        return self.calling.would_replay(self._limited(request))

    def stream(self, request: Request) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """
        Answer *request* piece by piece: ``async with model.stream(request) as chunks:``.

        As of a provider of our own: entering sends the request, leaving early closes the SDK's
        response, and what goes wrong after the first chunk is a `StreamInterrupted`.
        """
        source = SdkSource(self.calling, self._begin, self._target)
        return AnswerStream(self.calling, source, self._limited(request))

    def function(self, name: str) -> Any:
        """Answer the client's function *name*, or raise `ConfigurationError`."""
        path = f"{self.resource}.{name}"
        try:
            return attrgetter(path)(self.client)
        except AttributeError:
            kind = type(self.client).__name__
            raise ConfigurationError(
                f"{self.calling.who}: client is a {kind}, which has no {path}"
            ) from None

    def _limited(self, request: Request) -> Request:
        if request.max_output_tokens is not None or self.max_output_tokens is None:
            return request
        return attrs.evolve(request, max_output_tokens=self.max_output_tokens)

    async def _create(self, body: bytes) -> RawAnswer:
        return await self.send("with_raw_response.create", read_json(body))

    def _begin(self, body: bytes) -> AbstractAsyncContextManager[Any]:
        begin = self.function("with_streaming_response.create")
        context: AbstractAsyncContextManager[Any] = begin(**self._given(read_json(body)))
        return context

    def _given(self, fields: dict[str, Any]) -> dict[str, Any]:
        fields = dict(fields)
        given = {name: fields.pop(name) for name in self.arguments if name in fields}
        return {**given, "extra_body": fields or None, "timeout": self.calling.timeout}

    async def send(self, name: str, fields: dict[str, Any]) -> RawAnswer:
        """Answer what the client's function *name* answers to *fields*, whatever its status."""
        call = self.function(name)
        clock, timeout = self.calling.clock, self.calling.timeout
        problem: PipelineError = AttemptTimeout(f"{self.calling.who}: no answer in {timeout:g} s")
        try:
            with clock.cancel_at(clock.now() + timeout):
                return await self._raw(await call(**self._given(fields)))
        except Exception as error:  # noqa: BLE001 - of any SDK, and whatever it stands on
            response = answer_in(error)
            if response is not None:
                return await self._raw(response)
            problem = hidden(meaning_of(error, self.calling.who), self._target().hide)
        # Raised out here, without a context: the foreign error holds the headers, and the key.
        raise problem

    async def _raw(self, answer: Any) -> RawAnswer:
        content = answer.content if hasattr(answer, "content") else await answer.read()
        target = self._target()
        headers = self.calling.dialect.failures.kept(answer.headers, target.hide)
        return RawAnswer(body=target.hide_in(content), status=answer.status_code, headers=headers)

    def _target(self) -> Target:
        """Answer what blots out the client's keys, as they are now."""
        keys = [getattr(self.client, name, None) for name in _KEYS]
        texts = (key if isinstance(key, str) else None for key in keys)
        return Target(self.calling.place, (), secrets=secrets_in(texts))
