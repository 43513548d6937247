"""What is asked of a record: a template, or a function of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs

from genai_pipeline._generate._template import NOTICE, Template
from genai_pipeline._wrap import name_of
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.messages import Request

__all__ = ["FromFunction", "FromTemplate", "Parameters", "Prompt"]


@attrs.frozen(kw_only=True)
class Parameters:
    """What each request of a stage says beside its prompt, unless that says it itself."""

    system: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict)

    def request(self, text: str) -> Request:
        """Answer a request that says *text*; raises `ConfigurationError` for wrong options."""
        return Request(
            text,
            system=self.system,
            max_output_tokens=self.max_output_tokens,
            temperature=self.temperature,
            extra=self.extra,
        )

    def completed(self, request: Request) -> Request:
        """Answer *request* with what it leaves to the stage."""
        given: dict[str, Any] = {}
        for name in ("system", "max_output_tokens", "temperature"):
            if getattr(request, name) is None:
                given[name] = getattr(self, name)
        if self.extra:
            given["extra"] = {**self.extra, **request.extra}
        return attrs.evolve(request, **given)


class Prompt(Protocol):
    """Makes the request for a record."""

    @property
    def told(self) -> str | None:
        """What stands for it in a stage's fingerprint, beside its parameters."""
        ...

    def request(self, value: Any) -> Request:
        """Answer the request for a record's *value*."""
        ...


@attrs.frozen
class FromTemplate:
    """Fills a template."""

    template: Template
    parameters: Parameters

    @classmethod
    def of(cls, template: Template, parameters: Parameters) -> FromTemplate:
        """Let the system prompt explain the marks in prompts, if there are any."""
        if template.marks:
            given = parameters.system
            told = NOTICE if given is None else f"{given}\n\n{NOTICE}"
            parameters = attrs.evolve(parameters, system=told)
        return cls(template, parameters)

    @property
    def told(self) -> str | None:
        """The template."""
        return self.template.text

    def request(self, value: Any) -> Request:
        """Answer the request for a record's *value*."""
        return self.parameters.request(self.template.fill(value))


@attrs.frozen
class FromFunction:
    """Asks a function of the record."""

    function: Callable[[Any], Request | str]
    parameters: Parameters

    @property
    def told(self) -> str | None:
        """Nothing: what a function does shows nowhere."""
        return None

    def request(self, value: Any) -> Request:
        """Answer the request for a record's *value*."""
        made = self.function(value)
        if isinstance(made, str):
            return self.parameters.request(made)
        if not isinstance(made, Request):
            raise ConfigurationError(
                f"generate: prompt: {name_of(self.function)} answered a {type(made).__name__}; let "
                "it answer a Request, or a text"
            )
        if made.labels is not None or made.schema is not None or made.tools:
            raise ConfigurationError(
                f"generate: prompt: the request of {name_of(self.function)} has labels, a schema "
                "or tools of its own; output= says what is asked for"
            )
        return self.parameters.completed(made)
