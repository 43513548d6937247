"""`Ollama`: models of an Ollama server, by its own API."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from genai_pipeline import _options
from genai_pipeline._options import at_least, check, optional
from genai_pipeline._secret import Secret
from genai_pipeline.providers._endpoint import host_of
from genai_pipeline.providers._http_model import HttpModel
from genai_pipeline.providers._ollama_dialect import OllamaDialect

__all__ = ["Ollama"]

_CLOUD = "ollama.com"
_KEY = "OLLAMA_API_KEY"


def _keep_alive(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    fine = isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""
    check(value is None or fine, owner, option.name, value, "a duration, as '10m', or seconds")


@attrs.frozen(eq=False)
class Ollama(HttpModel):
    """
    A model of an Ollama server, on this machine as a rule, by Ollama's own API.

    One object serves any number of concurrent calls, runs, threads and event loops. A run opens
    the connections at the first call and closes them at its end; outside a run, ``async with
    model:`` keeps them for its block, and a lone call opens and closes its own.

    A call makes one attempt and raises the errors of `genai_pipeline.errors`; put a retry
    around it. A model that is not pulled is `InvalidRequest`, a full queue `Overloaded`. The text
    of an answer that was cut at the output limit is returned with ``finish_reason="length"``;
    where labels or a schema were asked for, `Truncated` is raised. In a pipeline with a journal,
    answers are kept as they came, before they are read.

    Ollama cuts a prompt that is longer than the context, and tells nobody: set *context*. One
    that is surely longer is then refused here.
    """

    output_modes: ClassVar[tuple[str, ...]] = ("labels", "native", "prompt")

    base_url: str = attrs.field(default="http://localhost:11434", kw_only=True)
    """Everything before ``/api/chat``."""

    context: int | None = attrs.field(default=None, kw_only=True, validator=optional(at_least(1)))
    """The tokens of the context (``num_ctx``); `None` leaves it to the server: often 4,096."""

    keep_alive: str | float | None = attrs.field(default=None, kw_only=True, validator=_keep_alive)
    """How long the model stays loaded after a call: ``"10m"``, or seconds; -1 is for ever."""

    name: str = attrs.field(default="ollama", kw_only=True, validator=_options.text)
    """What events, errors and reports call the provider."""

    def _speaks(self) -> OllamaDialect:
        settings = {} if self.keep_alive is None else {"keep_alive": self.keep_alive}
        options = {} if self.context is None else {"num_ctx": self.context}
        return OllamaDialect(self.model, f"{self.name} {self.model!r}", settings, options)

    def _window(self) -> int | None:
        return self.context if self.context_window is None else self.context_window

    def _default_key(self) -> Secret | None:
        return Secret.from_env(_KEY) if host_of(self.base_url) == _CLOUD else None
