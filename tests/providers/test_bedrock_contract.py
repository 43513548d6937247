"""The provider contracts, on a server of ours that speaks Bedrock's Converse API."""

from __future__ import annotations

import pytest

import genai_pipeline as gp
from genai_pipeline.providers import AwsCredentials, Bedrock
from genai_pipeline.testing import ProviderContract
from tests import canary
from tests.providers.stream_wires import ServedStreamContract
from tests.servers.bedrock import KEY_ID, SECRET, TOKEN, BedrockServer

MODEL = "example.model-v1:0"


class TestBearer(ProviderContract):
    """Bedrock with a bearer key."""

    @pytest.fixture(autouse=True)
    def _server(self, bedrock: BedrockServer) -> None:
        self.server = bedrock

    def make(self) -> gp.Provider:
        return Bedrock(
            MODEL, base_url=self.server.url("ok"), api_key=canary.KEY, headers=canary.HEADERS
        )

    def make_failing(self) -> gp.Provider:
        return Bedrock(
            MODEL, base_url=self.server.url("500"), api_key=canary.KEY, headers=canary.HEADERS
        )

    def belongs(self, request: gp.Request, response: gp.Response) -> bool:
        return response.text == f"you said: {request.prompt}"


class TestSigned(TestBearer):
    """Bedrock with signed requests, which the server checks."""

    def make(self) -> gp.Provider:
        return Bedrock(
            MODEL,
            region="us-east-1",
            base_url=self.server.url("ok"),
            credentials=AwsCredentials(KEY_ID, SECRET, TOKEN),
        )


class TestBedrockStream(ServedStreamContract):
    """Bedrock's stream over real sockets."""

    @pytest.fixture(autouse=True)
    def _server(self, bedrock: BedrockServer) -> None:
        self.server = bedrock
        self.model = self.model_of("ok")

    def model_of(self, way: str) -> Bedrock:
        return Bedrock(
            MODEL,
            region="us-east-1",
            base_url=self.server.url(way),
            credentials=AwsCredentials(KEY_ID, SECRET),
        )
