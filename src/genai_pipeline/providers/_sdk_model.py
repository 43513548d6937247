"""`SdkModel`: a model behind the client object of a vendor's SDK, which an application has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, TypeAlias

import attrs

from genai_pipeline._raw_answer import RawAnswer
from genai_pipeline.errors import AttemptTimeout, PipelineError
from genai_pipeline.messages import Request, Response
from genai_pipeline.providers._calling import Calling
from genai_pipeline.providers._json import read_json
from genai_pipeline.providers._sdk_errors import answer_in, meaning_of
from genai_pipeline.providers._target import Target, secrets_in

__all__ = ["Create", "SdkModel"]

Create: TypeAlias = Callable[..., Awaitable[Any]]
"""The SDK's own function that makes a call, and answers the response as it came."""

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
    create: Create = attrs.field(repr=False)
    arguments: tuple[str, ...] = attrs.field(repr=False)
    """Which fields of a body *create* wants as arguments; the others go with ``extra_body``."""

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
        if request.max_output_tokens is None and self.max_output_tokens is not None:
            request = attrs.evolve(request, max_output_tokens=self.max_output_tokens)
        return await self.calling.answer(request, self._send)

    async def _send(self, body: bytes) -> RawAnswer:
        fields = read_json(body)
        given = {name: fields.pop(name) for name in self.arguments if name in fields}
        clock, timeout = self.calling.clock, self.calling.timeout
        problem: PipelineError = AttemptTimeout(f"{self.calling.who}: no answer in {timeout:g} s")
        try:
            with clock.cancel_at(clock.now() + timeout):
                answer = await self.create(**given, extra_body=fields or None, timeout=timeout)
                return await self._raw(answer)
        except Exception as error:  # noqa: BLE001 - of any SDK, and whatever it stands on
            response = answer_in(error)
            if response is not None:
                return await self._raw(response)
            problem = self._hidden(meaning_of(error, self.calling.who))
        # Raised out here, without a context: the foreign error holds the headers, and the key.
        raise problem

    async def _raw(self, answer: Any) -> RawAnswer:
        content = answer.content if hasattr(answer, "content") else await answer.read()
        target = self._target()
        headers = self.calling.dialect.failures.kept(answer.headers, target.hide)
        return RawAnswer(body=target.hide_in(content), status=answer.status_code, headers=headers)

    def _hidden(self, problem: PipelineError) -> PipelineError:
        hide = self._target().hide
        problem.args = tuple(hide(arg) if isinstance(arg, str) else arg for arg in problem.args)
        return problem

    def _target(self) -> Target:
        """Answer what blots out the client's keys, as they are now."""
        keys = [getattr(self.client, name, None) for name in _KEYS]
        texts = (key if isinstance(key, str) else None for key in keys)
        return Target(self.calling.place, (), secrets=secrets_in(texts))
