"""`HttpEmbedder`: a model that embeds, behind HTTP, in the dialect of its API."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Protocol

import attrs

from genai_pipeline._options import at_least, optional
from genai_pipeline._paid import CallName, Judgement, PaidCall, paid
from genai_pipeline._raw_answer import RawAnswer
from genai_pipeline._replay import is_kept
from genai_pipeline.embeddings import EmbeddingRequest, EmbeddingResponse
from genai_pipeline.messages import Response, Usage
from genai_pipeline.providers._caller import document_in
from genai_pipeline.providers._calling import placed
from genai_pipeline.providers._dialect import judge
from genai_pipeline.providers._failure_format import FailureFormat
from genai_pipeline.providers._http_limited import HttpLimited
from genai_pipeline.providers._telling import Telling

__all__ = ["EmbeddingDialect", "HttpEmbedder"]


class EmbeddingDialect(Protocol):
    """
    How an API is asked to embed, and how its answers are read; it does no I/O.

    Make a class that names this one as its base, and give what has no meaning here.
    """

    failures: FailureFormat = FailureFormat()
    """How the API tells of failures."""

    def identity(self) -> tuple[Any, ...]:
        """Answer a name for the dialect, and what else of it decides on answers, for a journal."""
        ...

    def path(self, request: EmbeddingRequest) -> str:
        """Answer what to add to the base URL, from its slash on."""
        ...

    def body(self, request: EmbeddingRequest) -> bytes:
        """Answer the body that asks for *request*, or raise `ConfigurationError` if it cannot."""
        ...

    def read(
        self, request: EmbeddingRequest, document: object, headers: Mapping[str, str], who: str
    ) -> EmbeddingResponse:
        """
        Answer what *document*, sent with a status of success, means for *request*.

        Raises the error that it means, whose message *who* begins.
        """
        ...

    def usage_in(self, document: Mapping[str, Any]) -> Usage | None:
        """Answer what a whole answer tells of usage; `None` when it tells nothing."""
        ...

    def usage_told(self, headers: Mapping[str, str]) -> Usage | None:  # noqa: ARG002 - most tell none
        """Answer what the headers of an answer tell of usage, where its document tells nothing."""
        return None


def _judge(dialect: EmbeddingDialect, answer: RawAnswer) -> Judgement:
    judgement = judge(dialect, answer)
    if judgement.state != "answered" or judgement.usage is not None:
        return judgement
    return attrs.evolve(judgement, usage=dialect.usage_told(answer.headers))


@attrs.frozen(eq=False)
class HttpEmbedder(HttpLimited):
    """
    Embeds over HTTP, in the dialect that a subclass names.

    One object serves any number of concurrent calls, runs, threads and event loops, as every
    provider does.
    """

    records_calls: ClassVar[bool] = True
    limit_option: ClassVar[str] = "max_input_tokens"

    max_input_tokens: int | None = attrs.field(
        default=None, kw_only=True, validator=optional(at_least(1))
    )
    """The most tokens of a text, in place of what the *catalogue* says."""

    _dialect: EmbeddingDialect = attrs.field(init=False, repr=False)

    def _ready(self) -> None:
        object.__setattr__(self, "_dialect", self._speaks())

    def _speaks(self) -> EmbeddingDialect:
        """Answer the dialect of the API; called once, when the options are checked."""
        raise NotImplementedError

    def _window(self) -> int | None:
        return self.max_input_tokens

    def _failures(self) -> FailureFormat:
        return self._dialect.failures

    async def __call__(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """
        Answer a vector for each text of *request*, in its order, with one call.

        Raises what every provider raises, for the request as a whole; before anything is sent
        `ContextOverflow` for texts that the model surely does not read, with their places.
        """
        with Telling(self.name, self.model, self.clock) as telling:
            response = await self._call(request)
            telling.response = Response(
                "", usage=response.usage, model=response.model, attributes=response.attributes
            )
            return response

    def would_replay(self, request: EmbeddingRequest) -> bool:
        """Tell whether the journal of the pipeline this runs in would answer *request*."""
        return is_kept(
            CallName(
                provider=self.name, model=self.model, request=request, identity=self._identity()
            )
        )

    def _identity(self) -> tuple[Any, ...]:
        return placed(self._dialect.identity(), self.base_url)

    async def _call(self, request: EmbeddingRequest) -> EmbeddingResponse:
        dialect, caller = self._dialect, self._caller
        overflow = self._limits.overflow_of(request)
        if overflow is not None:
            raise overflow
        body = dialect.body(request)
        call = PaidCall(
            provider=self.name,
            model=self.model,
            request=request,
            judge=partial(_judge, dialect),
            timeout=self.timeout,
            identity=self._identity(),
        )
        answer = await paid(call, partial(caller.send, dialect.path(request), body))
        document = document_in(answer, caller.who, caller.to_error)
        response = dialect.read(request, document, answer.headers, caller.who)
        if answer.replayed:
            attributes = {**response.attributes, "replayed": True}
            response = attrs.evolve(response, attributes=attributes)
        return response if response.model else attrs.evolve(response, model=self.model)
