"""`OpenAI`: Chat Completions, as OpenAI and every compatible server speak it."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar, Literal

import attrs

from genai_pipeline import _options
from genai_pipeline._journal import RawAnswer
from genai_pipeline._lifespan import Composite, opened
from genai_pipeline._options import check
from genai_pipeline._paid import PaidCall, paid, refuse_unrecorded
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import AuthenticationFailed, ConfigurationError, PipelineError
from genai_pipeline.events import CallFinished, emit, listened
from genai_pipeline.messages import Chunk, Request, Response, Usage
from genai_pipeline.providers._chat_answer import Verdict, read_answer
from genai_pipeline.providers._chat_request import chat_body
from genai_pipeline.providers._chat_stream import Asking, ChatStream
from genai_pipeline.providers._endpoint import (
    Target,
    check_headers,
    check_url,
    host_of,
    is_header_value,
    secrets_in,
)
from genai_pipeline.providers._failures import failure_from, to_error
from genai_pipeline.providers._http import Answer, HttpClient
from genai_pipeline.providers._judgement import judge_chat, kept_headers
from genai_pipeline.providers._retry_after import rate_limits, retry_after

__all__ = ["OpenAI"]

_BASE_URL = "https://api.openai.com/v1"
_KEY_VARIABLE = "OPENAI_API_KEY"
_FIXED = (
    ("accept", "application/json"),
    ("content-type", "application/json"),
    ("user-agent", "genai-pipeline"),
)
_STREAMED = (("accept", "text/event-stream"), ("accept-encoding", "identity"))
_SUCCESS = range(200, 300)


def _limit_field(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    choices = (None, "max_completion_tokens", "max_tokens")
    check(value in choices, owner, option.name, value, f"one of {choices}")


@attrs.frozen(eq=False)
class OpenAI(Composite):
    """
    A model behind a Chat Completions API: OpenAI's, or that of any server that speaks it.

    vLLM, llama.cpp, Ollama, LM Studio, Azure's ``/openai/v1`` and most gateways do; give their
    *base_url*. One object serves any number of concurrent calls, runs, threads and event loops.
    A run opens the connections at the first call and closes them at its end; outside a run,
    ``async with model:`` keeps them for its block, and a lone call opens and closes its own.

    A call makes one attempt and raises the errors of `genai_pipeline.errors`; put a retry
    around it. The text of an answer that was cut at the output limit is returned with
    ``finish_reason="length"``; where labels or a schema were asked for, `Truncated` is raised.
    A cancelled call may have been billed. In a pipeline with a journal, answers are kept as they
    came, before they are read.
    """

    records_calls: ClassVar[bool] = True

    model: str = attrs.field(validator=_options.text)
    """The name of the model, as the server knows it."""

    base_url: str = attrs.field(default=_BASE_URL, kw_only=True)
    """Everything before ``/chat/completions``. ``https``, or ``http`` to this very machine."""

    api_key: str | None = attrs.field(default=None, kw_only=True, repr=False)
    """Sent as ``Authorization: Bearer``; never shown in a repr, an error or an event."""

    api_key_env: str | None = attrs.field(default=None, kw_only=True)
    """
    The environment variable to read the key from, at each call, when *api_key* is not given.

    ``OPENAI_API_KEY`` for OpenAI's own hosts. Elsewhere none: a key goes to no host that it was
    not meant for, and a server that wants none is called without.
    """

    timeout: float = attrs.field(default=600.0, kw_only=True)
    """Seconds for one call, waiting for a free connection included."""

    headers: Mapping[str, str] = attrs.field(factory=dict, kw_only=True, repr=False)
    """Further headers of each call: ``OpenAI-Project``, Azure's ``api-key`` …"""

    limit_field: Literal["max_completion_tokens", "max_tokens"] | None = attrs.field(
        default=None, kw_only=True, validator=_limit_field
    )
    """
    What the server calls ``Request.max_output_tokens``.

    By default ``max_completion_tokens`` for OpenAI and Azure, ``max_tokens`` elsewhere.
    """

    allow_plain_http: bool = attrs.field(default=False, kw_only=True)
    """Allow ``http`` to other machines: whoever is on the way can read the prompts and the key."""

    max_connections: int = attrs.field(default=1000, kw_only=True)
    """Calls at a time in one event loop; further ones wait. Not below ``max_in_flight``."""

    max_answer_bytes: int = attrs.field(default=32 * 2**20, kw_only=True)
    """The largest answer to read, before and after decompression."""

    ssl_context: ssl.SSLContext | None = attrs.field(default=None, kw_only=True, repr=False)
    """What to trust instead of the public certificate authorities; it must verify."""

    proxy: str | None = attrs.field(default=None, kw_only=True, repr=False)
    """The HTTP proxy to go through; those of the environment are not used."""

    name: str = attrs.field(default="openai", kw_only=True, validator=_options.text)
    """What events, errors and reports call the provider."""

    clock: Clock = attrs.field(factory=SystemClock, kw_only=True, repr=False)

    _client: HttpClient = attrs.field(init=False, repr=False)
    _target: Target | None = attrs.field(init=False, repr=False)
    _limit_name: str = attrs.field(init=False, repr=False)
    _who: str = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        put = object.__setattr__
        url = check_url("OpenAI", "base_url", self.base_url, allow_plain_http=self.allow_plain_http)
        put(self, "base_url", url)
        put(self, "headers", check_headers("OpenAI", "headers", self.headers))
        if self.api_key is not None:
            check(is_header_value(self.api_key), self, "api_key", "…", "visible ASCII, in one line")
            check("authorization" not in self.headers, self, "headers", "…", "one authorization")
        client = HttpClient(
            owner="OpenAI",
            timeout=self.timeout,
            max_connections=self.max_connections,
            max_answer_bytes=self.max_answer_bytes,
            ssl_context=self.ssl_context,
            proxy=self.proxy,
            clock=self.clock,
        )
        put(self, "_client", client)
        put(self, "_who", f"{self.name} {self.model!r}")
        put(self, "_limit_name", self._limit_by_host())
        variable = self._key_variable()
        put(self, "_target", None if variable else self._target_for(self.api_key))

    async def __call__(self, request: Request) -> Response:
        """
        Answer *request* with one call.

        Raises `Transient` errors for what passes, with the server's ``retry_after``;
        `InvalidRequest`, `ContextOverflow`, `Refused` and `Truncated` for what does not;
        `AuthenticationFailed`, `QuotaExhausted` and `ConfigurationError` for what would fail
        each record alike.
        """
        began = self.clock.now()
        try:
            verdict = await self._call(request)
        except BaseException as error:
            failure = type(error).__name__ if isinstance(error, Exception) else "Cancelled"
            self._tell(Response(""), failure, began)
            raise
        if verdict.error is not None:
            self._tell(verdict.response, type(verdict.error).__name__, began)
            raise verdict.error
        self._tell(verdict.response, None, began)
        return verdict.response

    def stream(self, request: Request) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """
        Answer *request* piece by piece: ``async with model.stream(request) as chunks:``.

        Entering sends the request, and raises what a call raises; leaving early hangs up. The
        chunks together are the `Response` of a call; what a call would raise instead of it
        (`Refused`, `Truncated`) is raised instead of the last chunk. What passes, but goes wrong
        after the first chunk, is a `StreamInterrupted`, and so is an end without a finish reason.
        The *timeout* does not count the consumer's own time.

        Labels cannot be streamed. A server that answers whole all the same is a
        `ConfigurationError`.
        """
        asking = Asking(
            who=self._who,
            model=self.model,
            client=self._client,
            prepare=self._prepare_stream,
            to_error=self._error_of,
            tell=self._tell_stream,
        )
        return ChatStream(asking, request)

    def parts(self) -> Iterable[object]:
        """Answer what is opened and closed with this."""
        return (self._client,)

    async def _call(self, request: Request) -> Verdict:
        target = self._target or self._target_from_environment()
        body = chat_body(request, model=self.model, limit_field=self._limit_name)
        call = PaidCall(
            provider=self.name,
            model=self.model,
            request=request,
            judge=judge_chat,
            timeout=self.timeout,
            identity=("chat", self.base_url, self._limit_name),
        )
        answer = await paid(call, partial(self._send, target, body))
        if answer.status not in _SUCCESS:
            raise to_error(self._failure(answer, target), self._who)
        verdict = read_answer(request, answer.body, answer.headers, self._who)
        response = verdict.response
        if not response.model:
            response = attrs.evolve(response, model=self.model)
        if answer.replayed:
            told = {**response.attributes, "replayed": True}
            response = attrs.evolve(response, attributes=told)
        return attrs.evolve(verdict, response=response)

    async def _send(self, target: Target, body: bytes) -> RawAnswer:
        async with opened(self._client) as http:
            answer = await http.post(target, body, who=self._who)
        return _raw(answer, target)

    def _failure(self, answer: RawAnswer, target: Target) -> Any:
        headers = answer.headers
        wish = headers.get("x-should-retry", "").lower()
        return failure_from(
            answer.status,
            answer.body,
            retry_after=retry_after(headers, now=self.clock.wall()),
            rate_limits=rate_limits(headers),
            should_retry={"true": True, "false": False}.get(wish),
            request_id=target.hide(headers.get("x-request-id", "")) or None,
            location=target.hide(headers.get("location", "")) or None,
        )

    def _prepare_stream(self, request: Request) -> tuple[Target, bytes]:
        refuse_unrecorded(f"{self._who} is asked to stream")
        target = self._target or self._target_from_environment()
        headers = tuple(pair for pair in target.headers if pair[0] != "accept")
        streamed = attrs.evolve(target, headers=(*_STREAMED, *headers))
        body = chat_body(request, model=self.model, limit_field=self._limit_name, streamed=True)
        return streamed, body

    def _error_of(self, answer: Answer, target: Target) -> PipelineError:
        return to_error(self._failure(_raw(answer, target), target), self._who)

    def _tell(self, response: Response, failure: str | None, began: float) -> None:
        if listened():
            seconds = self.clock.now() - began
            self._tell_stream(response, failure, seconds=seconds, first_chunk=None)

    def _tell_stream(
        self,
        response: Response,
        failure: str | None,
        *,
        seconds: float,
        first_chunk: float | None,
    ) -> None:
        if not listened():
            return
        replayed = bool(response.attributes.get("replayed"))
        usage = Usage(cost=Decimal(0)) if replayed else response.usage
        emit(
            CallFinished(
                provider=self.name,
                model=response.model or self.model,
                seconds=seconds,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cost=usage.cost,
                finish_reason=None if failure else response.finish_reason,
                error=failure,
                first_chunk=first_chunk,
                replayed=replayed,
            )
        )

    def _is_openai(self) -> bool:
        return host_of(self.base_url).endswith("api.openai.com")

    def _limit_by_host(self) -> str:
        if self.limit_field is not None:
            return self.limit_field
        azure = host_of(self.base_url).endswith(".openai.azure.com")
        return "max_completion_tokens" if self._is_openai() or azure else "max_tokens"

    def _key_variable(self) -> str | None:
        """Answer the environment variable that holds the key, if one does."""
        if self.api_key is not None or "authorization" in self.headers:
            return None
        return self.api_key_env or (_KEY_VARIABLE if self._is_openai() else None)

    def _target_from_environment(self) -> Target:
        variable = self._key_variable() or _KEY_VARIABLE
        key = os.environ.get(variable, "").strip()
        if not key:
            raise AuthenticationFailed(
                f"{self.name} {self.model!r}: no API key; set the environment variable "
                f"{variable}, or give api_key="
            )
        if not is_header_value(key):
            raise ConfigurationError(
                f"{self.name}: the environment variable {variable} holds what no header can "
                "carry; give visible ASCII, in one line"
            )
        return self._target_for(key)

    def _target_for(self, key: str | None) -> Target:
        bearer = (("authorization", f"Bearer {key}"),) if key else ()
        return Target(
            f"{self.base_url}/chat/completions",
            (*_FIXED, *self.headers.items(), *bearer),
            secrets=secrets_in((key, *self.headers.values())),
        )


def _raw(answer: Answer, target: Target) -> RawAnswer:
    return RawAnswer(
        body=target.hide_in(answer.body),
        status=answer.status,
        headers=kept_headers(answer.headers, target.hide),
    )
