"""`Anthropic`: Anthropic's Messages API, as Claude and every compatible server speak it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Literal

import attrs

from genai_pipeline import _options
from genai_pipeline._options import at_least, check, one_of, optional
from genai_pipeline._secret import Secret
from genai_pipeline.messages import Chunk, Request, Response
from genai_pipeline.providers._anthropic_dialect import MessagesDialect
from genai_pipeline.providers._anthropic_hosts import BASE_URL, anthropic_key, is_anthropic
from genai_pipeline.providers._anthropic_request import (
    NEWEST,
    VERSIONS,
    CacheTime,
    MessageForm,
    Version,
)
from genai_pipeline.providers._http_model import HttpModel
from genai_pipeline.providers._target import Headers
from genai_pipeline.providers._token_count import fetch_count

__all__ = ["Anthropic"]

_VERSION = "anthropic-version"


@attrs.frozen(eq=False)
class Anthropic(HttpModel):
    """
    A model behind Anthropic's Messages API: a Claude, or what a compatible server has.

    One object serves any number of concurrent calls, runs, threads and event loops. A run opens
    the connections at the first call and closes them at its end; outside a run, ``async with
    model:`` keeps them for its block, and a lone call opens and closes its own.

    Without *api_key*, Anthropic's own host gets the key in ``ANTHROPIC_API_KEY``, and others none:
    a key goes to no host that it was not meant for.

    A call makes one attempt and raises the errors of `genai_pipeline.errors`; put a retry
    around it. The text of an answer that was cut at the output limit is returned with
    ``finish_reason="length"``; where labels or a schema were asked for, `Truncated` is raised.
    What the API cannot do, such as a temperature in its newest version, raises
    `ConfigurationError` before anything is sent. A cancelled call may have been billed. In a
    pipeline with a journal, answers are kept as they came, before they are read.
    """

    base_url: str = attrs.field(default=BASE_URL, kw_only=True)
    """Everything before ``/v1/messages``. ``https``, or ``http`` to this very machine."""

    version: Version = attrs.field(default=NEWEST, kw_only=True, validator=one_of(*VERSIONS))
    """
    The version of the API, sent as ``anthropic-version``.

    The newest takes no temperature and no ``top_p``; ``2023-06-01`` does, for models before 4.7.
    """

    max_output_tokens: int | None = attrs.field(
        default=None, kw_only=True, validator=optional(at_least(1))
    )
    """The output limit of requests that have none: the API wants one with each call."""

    cache_prompt: CacheTime | None = attrs.field(
        default=None, kw_only=True, validator=one_of(None, "5m", "1h")
    )
    """
    How long to cache what stands before the last turn: tools, system, examples, what was said.

    It pays where calls have this in common. `None` marks nothing for the cache.
    """

    key_header: Literal["x-api-key", "authorization"] = attrs.field(
        default="x-api-key", kw_only=True, validator=one_of("x-api-key", "authorization")
    )
    """What carries the key; ``authorization`` sends ``Bearer KEY``, as some gateways want it."""

    name: str = attrs.field(default="anthropic", kw_only=True, validator=_options.text)
    """What events, errors and reports call the provider."""

    _form: MessageForm = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        HttpModel.__attrs_post_init__(self)
        self._limits.check_output(self, "max_output_tokens", self.max_output_tokens)

    async def __call__(self, request: Request) -> Response:
        """
        Answer *request* with one call.

        Raises `Transient` errors for what passes, with the server's ``retry_after``;
        `InvalidRequest`, `ContextOverflow`, `Refused` and `Truncated` for what does not;
        `AuthenticationFailed`, `QuotaExhausted` and `ConfigurationError` for what would fail
        each record alike.
        """
        return await HttpModel.__call__(self, self._limited(request))

    def stream(self, request: Request) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """
        Answer *request* piece by piece: ``async with model.stream(request) as chunks:``.

        Entering sends the request, and raises what a call raises; leaving early hangs up. The
        chunks together are the `Response` of a call; what a call would raise instead of it
        (`Refused`, `Truncated`) is raised instead of the last chunk. What passes, but goes wrong
        after the first chunk, is a `StreamInterrupted`, and so is an end without a stop reason.
        The *timeout* does not count the consumer's own time. Labels cannot be streamed.
        """
        return HttpModel.stream(self, self._limited(request))

    async def count_tokens(self, request: Request) -> int:
        """
        Answer how many tokens *request* has for the model, as the API counts them; free of charge.

        Raises what a call raises. It needs no output limit.
        """
        path = f"{self._dialect.path(streamed=False)}/count_tokens"
        document = self._form.counted(request, self._caller.who)
        return await fetch_count(self._caller, path, document, field="input_tokens")

    def _limited(self, request: Request) -> Request:
        """Answer *request* with a limit, so that its price is bounded by it wherever it is kept."""
        if request.max_output_tokens is not None or self.max_output_tokens is None:
            return request
        return attrs.evolve(request, max_output_tokens=self.max_output_tokens)

    def _speaks(self) -> MessagesDialect:
        check(_VERSION not in self.headers, self, "headers", "…", f"version=, not {_VERSION!r}")
        form = MessageForm(
            model=self.model,
            version=self.version,
            cache_prompt=self.cache_prompt,
        )
        object.__setattr__(self, "_form", form)
        return MessagesDialect(form, f"{self.name} {self.model!r}")

    def _is_known_host(self) -> bool:
        return is_anthropic(self.base_url)

    def _default_key(self) -> Secret | None:
        return anthropic_key(self.base_url)

    def _credentials(self, key: str) -> Headers:
        if self.key_header == "authorization":
            return (("authorization", f"Bearer {key}"),)
        return (("x-api-key", key),)

    def _own_headers(self) -> Mapping[str, str]:
        return {_VERSION: self.version}
