"""
What it takes to test pipelines, and plug-ins for them, in virtual time and without a network.

`FakeClock`, `Script`, `StreamScript` and `Chaos` need nothing but the library. The contracts and
`strategies` are loaded when first used, and need pytest and Hypothesis.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from genai_pipeline.testing._chaos import Chaos
from genai_pipeline.testing._clock import FakeClock
from genai_pipeline.testing._faults import Fault
from genai_pipeline.testing._script import Script, ScriptError
from genai_pipeline.testing._stream_script import StreamScript

if TYPE_CHECKING:
    from genai_pipeline.testing import strategies
    from genai_pipeline.testing._counting_contract import CountingProviderContract
    from genai_pipeline.testing._embedder_contract import EmbedderContract
    from genai_pipeline.testing._journal_contract import JournalContract
    from genai_pipeline.testing._key_provider_contract import KeyProviderContract
    from genai_pipeline.testing._provider_contract import ProviderContract
    from genai_pipeline.testing._sink_contract import SinkContract
    from genai_pipeline.testing._source_contract import SourceContract
    from genai_pipeline.testing._store_contract import StoreContract
    from genai_pipeline.testing._stream_contract import StreamingProviderContract

__all__ = [
    "Chaos",
    "CountingProviderContract",
    "EmbedderContract",
    "FakeClock",
    "Fault",
    "JournalContract",
    "KeyProviderContract",
    "ProviderContract",
    "Script",
    "ScriptError",
    "SinkContract",
    "SourceContract",
    "StoreContract",
    "StreamScript",
    "StreamingProviderContract",
    "strategies",
]

_HOMES = {
    "CountingProviderContract": "_counting_contract",
    "EmbedderContract": "_embedder_contract",
    "JournalContract": "_journal_contract",
    "KeyProviderContract": "_key_provider_contract",
    "ProviderContract": "_provider_contract",
    "SinkContract": "_sink_contract",
    "SourceContract": "_source_contract",
    "StoreContract": "_store_contract",
    "StreamingProviderContract": "_stream_contract",
    "strategies": "strategies",
}
"""Where each name lives that is loaded when it is first used."""


def __getattr__(name: str) -> Any:
    """Load what needs pytest or Hypothesis when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'genai_pipeline.testing' has no attribute {name!r}")
    module = importlib.import_module(f"genai_pipeline.testing.{_HOMES[name]}")
    return module if name == _HOMES[name] else getattr(module, name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
