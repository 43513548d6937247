"""Shouting keeps the contract of all providers, on both event loops."""

import pytest
from shouting_provider import Shouting

import genai_pipeline as gp


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run each inherited test on both event loops."""
    return str(request.param)


class TestShouting(gp.testing.ProviderContract):
    """All that a pipeline relies on."""

    def make(self) -> gp.Provider:
        """Make one as a user would."""
        return Shouting(marks=3)

    def belongs(self, request: gp.Request, response: gp.Response) -> bool:
        """Tell the answer to *request* from those to others."""
        return response.text == request.prompt.upper() + "!!!"
