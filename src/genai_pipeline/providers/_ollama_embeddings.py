"""`OllamaEmbeddings`: vectors from an Ollama server, by its own API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from genai_pipeline import _options
from genai_pipeline._options import at_least, optional
from genai_pipeline.embeddings import EmbeddingRequest, EmbeddingResponse
from genai_pipeline.errors import InvalidAnswer
from genai_pipeline.messages import Usage
from genai_pipeline.providers._document import as_list, as_text
from genai_pipeline.providers._embedding_answer import response_in_order
from genai_pipeline.providers._http_embedder import EmbeddingDialect, HttpEmbedder
from genai_pipeline.providers._json import json_bytes
from genai_pipeline.providers._ollama_answer import FAILURES, error_of, usage_of
from genai_pipeline.providers._rules import refuse_extra, refuse_task

__all__ = ["OllamaEmbeddings"]

_OWN = ("model", "input", "dimensions")


@attrs.frozen
class _EmbedDialect(EmbeddingDialect):
    """``/api/embed``."""

    model: str
    who: str
    options: Mapping[str, Any]

    failures = FAILURES

    def identity(self) -> tuple[Any, ...]:
        """Answer the API, and the options that decide on answers."""
        return "ollama embeddings", tuple(sorted(self.options.items()))

    def path(self, request: EmbeddingRequest) -> str:  # noqa: ARG002 - the same for all
        """Answer the one path there is."""
        return "/api/embed"

    def body(self, request: EmbeddingRequest) -> bytes:
        """Answer the body that asks for *request*: a text that is too long is never cut."""
        refuse_task(request, self.who)
        refuse_extra(request, self.who, taken=_OWN)
        body: dict[str, Any] = {"model": self.model, "input": list(request.texts)}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        if self.options:
            body["options"] = dict(self.options)
        return json_bytes({"truncate": False, **body, **request.extra})

    def read(
        self,
        request: EmbeddingRequest,
        document: object,
        headers: Mapping[str, str],  # noqa: ARG002 - they tell nothing
        who: str,
    ) -> EmbeddingResponse:
        """Answer the vectors in *document*, which come in the order of the texts."""
        if not isinstance(document, dict):
            raise InvalidAnswer(f"{who}: the answer is no JSON object")
        failed = error_of(document, who)
        if failed is not None:
            raise failed
        vectors, model = as_list(document.get("embeddings")), as_text(document.get("model"))
        return response_in_order(vectors, request, self.usage_in(document), who, model=model)

    def usage_in(self, document: Mapping[str, Any]) -> Usage | None:
        """Answer what was used."""
        return usage_of(document) if "prompt_eval_count" in document else None


@attrs.frozen(eq=False)
class OllamaEmbeddings(HttpEmbedder):
    """
    A model that embeds, of an Ollama server.

    It takes an `EmbeddingRequest` and answers an `EmbeddingResponse`; `embed` makes a stage of it.
    A text that is longer than the context is `InvalidRequest`, where Ollama itself would cut it in
    silence; one that is surely longer than the *context* given is `ContextOverflow` at once. What
    the vectors are for (``task``) is refused.

    Everything else is as with `Ollama`: one attempt a call, the same errors; in a pipeline with a
    journal, answers are kept as they came.
    """

    base_url: str = attrs.field(default="http://localhost:11434", kw_only=True)
    """Everything before ``/api/embed``."""

    context: int | None = attrs.field(default=None, kw_only=True, validator=optional(at_least(1)))
    """The tokens of the context (``num_ctx``); `None` leaves it to the server."""

    name: str = attrs.field(default="ollama", kw_only=True, validator=_options.text)
    """What events, errors and reports call the provider."""

    def _window(self) -> int | None:
        return self.context if self.max_input_tokens is None else self.max_input_tokens

    def _speaks(self) -> _EmbedDialect:
        options = {} if self.context is None else {"num_ctx": self.context}
        return _EmbedDialect(self.model, f"{self.name} {self.model!r}", options)
