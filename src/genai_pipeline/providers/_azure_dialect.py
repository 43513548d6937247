"""Chat Completions as Azure speaks it: two routes, and a content filter that tells what it saw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import attrs

from genai_pipeline.errors import Refused
from genai_pipeline.messages import Request
from genai_pipeline.providers._chat_dialect import ChatDialect
from genai_pipeline.providers._dialect import Verdict
from genai_pipeline.providers._document import as_dict, as_list, as_text, quoted

__all__ = ["AzureDialect"]

_PROMPT, _ANSWER = "prompt_filter_results", "content_filter_results"


@attrs.frozen
class AzureDialect(ChatDialect):
    """Asks the deployment *model*, by the classic route if there is an *api_version*."""

    api_version: str | None = None

    def identity(self) -> tuple[Any, ...]:
        """Answer the API, its version, and how it is asked."""
        return "azure", self.api_version, *ChatDialect.identity(self)

    def path(self, *, streamed: bool) -> str:  # noqa: ARG002 - the body tells
        """Answer the route."""
        if self.api_version is None:
            return "/openai/v1/chat/completions"
        deployment, version = quote(self.model, safe=""), quote(self.api_version, safe="")
        return f"/openai/deployments/{deployment}/chat/completions?api-version={version}"

    def read(
        self, request: Request, document: object, headers: Mapping[str, str], who: str
    ) -> Verdict:
        """Answer what a completion means, with what the content filter told of it."""
        verdict = ChatDialect.read(self, request, document, headers, who)
        told = _told(as_dict(document))
        if not told:
            return verdict
        attributes = {**verdict.response.attributes, **told}
        response = attrs.evolve(verdict.response, attributes=attributes)
        error = verdict.error
        filtered = ", ".join(_filtered(told))
        if isinstance(error, Refused) and filtered and not error.explanation:
            error = Refused(
                f"{who}: the content filter refused: {filtered}{quoted(response.request_id)}",
                explanation=filtered,
            )
        return Verdict(response, error)


def _told(document: dict[str, Any]) -> dict[str, Any]:
    """Answer what the filter told of the prompt and of the answer."""
    choices = as_list(document.get("choices"))
    found = {
        _PROMPT: document.get(_PROMPT),
        _ANSWER: as_dict(choices[0] if choices else None).get(_ANSWER),
    }
    return {name: results for name, results in found.items() if results}


def _filtered(told: dict[str, Any]) -> Iterator[str]:
    """Answer the categories that were filtered, and how severe they were."""
    prompts = [as_dict(each).get(_ANSWER) for each in as_list(told.get(_PROMPT))]
    for results in (*prompts, told.get(_ANSWER)):
        for category, result in as_dict(results).items():
            if as_dict(result).get("filtered") is True:
                severity = as_text(as_dict(result).get("severity"))
                yield f"{category} ({severity})" if severity else category
