"""The contract of streams, for a provider that asks a misbehaving server of ours."""

from __future__ import annotations

import genai_pipeline as gp
from genai_pipeline.providers._http_model import HttpModel
from genai_pipeline.testing import FakeClock, StreamingProviderContract

__all__ = ["ServedStreamContract"]


class ServedStreamContract(StreamingProviderContract):
    """Tests of a stream over real sockets; *model* is what `model_of` answers for ``ok``."""

    model: HttpModel

    def model_of(self, way: str) -> HttpModel:
        """Answer a model that the server treats in the *way* of that name."""
        raise NotImplementedError

    def make(self) -> gp.StreamingProvider:
        return self.model.stream

    def make_whole(self) -> gp.Provider:
        return self.model

    def make_failing(self) -> gp.StreamingProvider:
        return self.model_of("500").stream

    def make_breaking(self) -> gp.StreamingProvider:
        return self.model_of("stream-cut").stream

    def make_silent(self, clock: FakeClock) -> gp.StreamingProvider:
        return self.model_of("stream-stalled").stream

    def make_clock(self) -> FakeClock:
        return FakeClock(cushion=0.3)
