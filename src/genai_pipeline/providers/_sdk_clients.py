"""Providers made of the client objects of the `openai` and `anthropic` SDKs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, cast

from genai_pipeline import _options
from genai_pipeline._options import apply, at_least, one_of, optional, positive
from genai_pipeline._raw_answer import RawAnswer
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import ConfigurationError, PipelineError
from genai_pipeline.providers._anthropic_dialect import MessagesDialect
from genai_pipeline.providers._anthropic_hosts import is_anthropic
from genai_pipeline.providers._anthropic_request import (
    NEWEST,
    VERSIONS,
    CacheTime,
    MessageForm,
    Version,
)
from genai_pipeline.providers._bedrock_host import is_amazon
from genai_pipeline.providers._calling import Calling
from genai_pipeline.providers._chat_dialect import ChatDialect
from genai_pipeline.providers._chat_profile import ChatProfile
from genai_pipeline.providers._dialect import Dialect
from genai_pipeline.providers._failure_format import FailureFormat
from genai_pipeline.providers._gemini_host import is_google
from genai_pipeline.providers._limits import Limits, is_catalogue, is_exact_counter
from genai_pipeline.providers._openai_hosts import is_azure, is_openai
from genai_pipeline.providers._sdk_messages import SdkMessages
from genai_pipeline.providers._sdk_model import SdkModel

if TYPE_CHECKING:  # it is loaded by the first call
    from genai_pipeline.catalogue import ModelCatalogue
    from genai_pipeline.types import TokenCounter

__all__ = ["from_anthropic", "from_openai"]


def from_openai(
    client: object,
    model: str,
    *,
    limit_field: Literal["max_completion_tokens", "max_tokens"] | None = None,
    catalogue: ModelCatalogue | None = None,
    context_window: int | None = None,
    counter: TokenCounter | None = None,
    name: str = "openai",
    timeout: float = 600.0,
    clock: Clock | None = None,
) -> SdkModel:
    """
    Answer a provider that asks *model* through *client*: an ``AsyncOpenAI``, or a kind of it.

    For an application whose client already knows how: its key, proxy, Azure deployment. What is
    sent is what `OpenAI` would send, answers and failures mean the same, and a journal keeps
    them. The client's own retries are off here, on a copy that shares its connections, since a
    retry belongs around the provider, where budgets and journals know of it; closing the client
    stays with whoever opened it. *timeout* bounds one call.

    What the model surely does not take is refused before it is sent, by *catalogue*,
    *context_window* and *counter* as of `OpenAI`: the client's base URL tells whether it is
    OpenAI's own.

    Raises `ConfigurationError` for a client that is synchronous, or whose retries cannot be off.
    """
    who = "from_openai"
    limits = optional(one_of("max_completion_tokens", "max_tokens"))
    apply(limits, who, "limit_field", limit_field)
    quiet = _quiet(who, client, "AsyncOpenAI")
    url = _url(quiet)
    is_new = is_openai(url) or is_azure(url)
    limit = limit_field or ("max_completion_tokens" if is_new else "max_tokens")
    known = _limits(
        who,
        model=model,
        name=name,
        refers=is_openai(url),
        catalogue=catalogue,
        context_window=context_window,
        counter=counter,
    )
    return SdkModel(
        calling=_calling(
            who,
            client=quiet,
            dialect=ChatDialect(model, ChatProfile(limit_field=limit)),
            limits=known,
            name=name,
            timeout=timeout,
            clock=clock,
        ),
        client=quiet,
        resource=_known(who, quiet, "chat.completions"),
        arguments=("model", "messages", "stream"),
    )


def from_anthropic(
    client: object,
    model: str,
    *,
    max_output_tokens: int | None = None,
    cache_prompt: CacheTime | None = None,
    catalogue: ModelCatalogue | None = None,
    context_window: int | None = None,
    counter: TokenCounter | None = None,
    name: str = "anthropic",
    timeout: float = 600.0,
    clock: Clock | None = None,
) -> SdkMessages:
    """
    Answer a provider that asks *model* through *client*: an ``AsyncAnthropic``, or a kind of it.

    Those for Bedrock, Vertex AI and Foundry are kinds of it. What is sent is what `Anthropic`
    would send in the client's version of the API, with *max_output_tokens* and *cache_prompt* as
    there; the rest is as of `from_openai`. Known to the reference catalogue are the models at
    Anthropic's own address, Amazon's and Google's.
    """
    who = "from_anthropic"
    apply(optional(at_least(1)), who, "max_output_tokens", max_output_tokens)
    apply(one_of(None, "5m", "1h"), who, "cache_prompt", cache_prompt)
    quiet = _quiet(who, client, "AsyncAnthropic")
    url = _url(quiet)
    known = _limits(
        who,
        model=model,
        name=name,
        refers=is_anthropic(url) or is_amazon(url) or is_google(url),
        catalogue=catalogue,
        context_window=context_window,
        counter=counter,
    )
    known.check_output(who, "max_output_tokens", max_output_tokens)
    form = MessageForm(model=model, version=_version(quiet), cache_prompt=cache_prompt)
    return SdkMessages(
        calling=_calling(
            who,
            client=quiet,
            dialect=MessagesDialect(form, known.who),
            limits=known,
            name=name,
            timeout=timeout,
            clock=clock,
        ),
        client=quiet,
        resource=_known(who, quiet, "messages"),
        arguments=("model", "max_tokens", "messages", "stream"),
        max_output_tokens=max_output_tokens,
        form=form,
    )


def _quiet(who: str, client: object, wanted: str) -> object:
    """Answer a copy of *client* that makes one attempt a call."""
    kind = type(client).__name__
    if not inspect.iscoroutinefunction(getattr(client, "close", None)):
        raise ConfigurationError(f"{who}: client is a {kind}; give an {wanted}, or a kind of it")
    copy = getattr(client, "with_options", None)
    quiet = copy(max_retries=0) if callable(copy) else client
    if getattr(quiet, "max_retries", None) != 0:
        raise ConfigurationError(
            f"{who}: the retries of the client, a {kind}, cannot be switched off; give one that "
            "has with_options(max_retries=0)"
        )
    return cast("object", quiet)


def _known(who: str, client: object, resource: str) -> str:
    """Answer *resource*, which *client* has, or raise `ConfigurationError`."""
    path = f"{resource}.with_raw_response.create"
    try:
        attrgetter(path)(client)
    except AttributeError:
        raise ConfigurationError(
            f"{who}: client is a {type(client).__name__}, which has no {path}"
        ) from None
    return resource


def _limits(
    who: str,
    *,
    model: str,
    name: str,
    refers: bool,
    catalogue: ModelCatalogue | None,
    context_window: int | None,
    counter: TokenCounter | None,
) -> Limits:
    apply(_options.text, who, "model", model)
    apply(_options.text, who, "name", name)
    apply(optional(is_catalogue), who, "catalogue", catalogue)
    apply(optional(at_least(1)), who, "context_window", context_window)
    apply(optional(is_exact_counter), who, "counter", counter)
    limits = Limits(
        who=f"{name} {model!r}",
        model=model,
        catalogue=catalogue,
        refers=refers,
        most_read=context_window,
        counter=counter,
    )
    limits.check_counter(who)
    return limits


def _calling(
    who: str,
    *,
    client: object,
    dialect: Dialect,
    limits: Limits,
    name: str,
    timeout: float,
    clock: Clock | None,
) -> Calling:
    clock = clock or SystemClock()
    apply(positive, who, "timeout", timeout)
    apply(_options.clock, who, "clock", clock)
    return Calling(
        name=name,
        model=limits.model,
        who=limits.who,
        place=_url(client),
        dialect=dialect,
        to_error=partial(_to_error, dialect.failures, limits.who, clock),
        timeout=timeout,
        clock=clock,
        refuse=limits.refuse,
    )


def _to_error(failures: FailureFormat, who: str, clock: Clock, answer: RawAnswer) -> PipelineError:
    return failures.to_error(answer, who, now=clock.wall())


def _url(client: object) -> str:
    return str(getattr(client, "base_url", "")).rstrip("/")


def _version(client: object) -> Version:
    headers: Any = getattr(client, "default_headers", None)
    told: object = headers.get("anthropic-version") if isinstance(headers, Mapping) else None
    known: dict[object, Version] = {version: version for version in VERSIONS}
    return known.get(told, NEWEST)
