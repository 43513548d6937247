"""The embedded model keeps the contract of all providers."""

from __future__ import annotations

import pytest

import genai_pipeline as gp
from genai_pipeline.providers import Local


@pytest.mark.extras
class TestLocal(gp.testing.ProviderContract):
    """`Local` is asked for summaries of one sentence, which are the sentence itself."""

    def make(self) -> gp.Provider:
        return Local()

    def make_failing(self) -> gp.Provider:
        return Local(max_characters=1)

    def request(self, text: str) -> gp.Request:
        return Local.summary(text)

    def belongs(self, request: gp.Request, response: gp.Response) -> bool:
        return response.text == request.prompt
