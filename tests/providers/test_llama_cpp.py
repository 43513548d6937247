"""`LlamaCpp`: a real model of random weights, in this process."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.providers import LlamaCpp
from genai_pipeline.testing import (
    CountingProviderContract,
    ProviderContract,
    StreamingProviderContract,
)
from tests.servers import tiny_model

pytestmark = [pytest.mark.anyio, pytest.mark.extras]
REQUEST = gp.Request("hello", max_output_tokens=8, temperature=0, seed=1)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the file of a tiny model."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = [sys.executable, str(Path(tiny_model.__file__)), str(path)]
    subprocess.run(writer, check=True, capture_output=True)
    return path


@pytest.fixture(scope="module")
def tiny(path: Path) -> Iterator[LlamaCpp]:
    """Give the model, loaded once for all tests."""
    model = LlamaCpp(path, context=512, threads=1)
    yield model
    model.close()


class TestLlamaCpp(ProviderContract):
    """The contract of providers."""

    @pytest.fixture(autouse=True)
    def _model(self, tiny: LlamaCpp) -> None:
        self.model = tiny

    def make(self) -> gp.Provider:
        return self.model

    def make_failing(self) -> gp.Provider:
        return lambda _: self.model(gp.Request("word " * 3000))


class TestLlamaCppStream(StreamingProviderContract):
    """The contract of streams."""

    @pytest.fixture(autouse=True)
    def _model(self, tiny: LlamaCpp) -> None:
        self.model = tiny

    def make(self) -> gp.StreamingProvider:
        return self.model.stream

    def make_failing(self) -> gp.StreamingProvider:
        return lambda _: self.model.stream(gp.Request("word " * 3000))

    def request(self, text: str) -> gp.Request:
        return gp.Request(text, max_output_tokens=8, temperature=0, seed=1)


class TestLlamaCppCounts(CountingProviderContract):
    """The contract of counting."""

    @pytest.fixture(autouse=True)
    def _model(self, tiny: LlamaCpp) -> None:
        self.model = tiny

    def make(self) -> gp.CountingProvider:
        return self.model

    def make_failing(self) -> gp.CountingProvider:
        return LlamaCpp("/no/such/file.gguf")


async def test_a_schema_cannot_but_be_obeyed(tiny: LlamaCpp) -> None:
    """A model that knows nothing still answers in the form that was asked for."""
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    response = await tiny(gp.Request("?", schema=schema, max_output_tokens=64, seed=1))
    assert isinstance(json.loads(response.text)["ok"], bool)


async def test_the_same_seed_says_the_same(tiny: LlamaCpp) -> None:
    """An answer is repeated by its seed, whole and streamed, and its tokens are counted."""
    first = await tiny(REQUEST)
    assert first.text
    assert (first.usage.output_tokens, first.finish_reason) == (8, "length")
    async with tiny.stream(REQUEST) as chunks:
        streamed = gp.join_chunks([chunk async for chunk in chunks])
    assert (streamed.text, streamed.usage.output_tokens) == (first.text, 8)


async def test_a_long_prompt_is_told(tiny: LlamaCpp) -> None:
    """A prompt that is longer than the context is never cut."""
    with pytest.raises(errors.ContextOverflow, match="llamacpp 'tiny': "):
        await tiny(gp.Request("word " * 3000))


async def test_a_cancelled_call_frees_its_place(path: Path) -> None:
    """A call that is given up makes room for the next one."""
    model = LlamaCpp(path, context=1024, parallel=1, threads=1)
    endless = gp.Request("hello", max_output_tokens=900, extra={"ignore_eos": True})
    await model(REQUEST)
    for _ in range(3):
        with anyio.CancelScope() as scope:
            async with model.stream(endless) as chunks:
                async for _chunk in chunks:
                    scope.cancel()
    assert (await model(REQUEST)).text
    model.close()


async def test_nobody_else_is_answered(tiny: LlamaCpp) -> None:
    """Another program on the machine, without the key, is turned away."""
    running = await tiny._server.running()

    def knock() -> int:
        request = urllib.request.Request(
            f"{running.url}/v1/chat/completions", b"{}", {"content-type": "application/json"}
        )
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=5)
        caught.value.close()
        return caught.value.code

    assert await anyio.to_thread.run_sync(knock) == 401
    assert running.key not in repr(tiny)


async def test_a_closed_model_loads_again(path: Path) -> None:
    """After `close` the memory is free, and a later call loads the file once more."""
    model = LlamaCpp(path, context=512, threads=1)
    first = (await model(REQUEST)).text
    model.close()
    assert (await model(REQUEST)).text == first
    model.close()


async def test_a_model_nobody_asked_can_be_closed(path: Path) -> None:
    """Closing right after loading returns, each time."""
    model = LlamaCpp(path, context=64, parallel=1, threads=1)
    for _ in range(10):
        await model._server.running()
        model.close()


async def test_what_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    """A missing file and one that is no model are told apart, with the mend."""
    with pytest.raises(gp.ConfigurationError, match=r"none\.gguf': there is no such file"):
        await LlamaCpp(tmp_path / "none.gguf")(REQUEST)
    (tmp_path / "no.gguf").write_bytes(b"GGUF, or so it says")
    with pytest.raises(gp.ConfigurationError, match=r"cannot load it .*give a whole GGUF file"):
        await LlamaCpp(tmp_path / "no.gguf")(REQUEST)


async def test_the_extra_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its extra the provider says what to install."""
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(gp.ConfigurationError, match=r"genai_pipeline\[llamacpp\]"):
        await LlamaCpp(path)(REQUEST)


@pytest.mark.parametrize(
    "wrong",
    [{"context": 0}, {"parallel": 0}, {"threads": 0}, {"gpu_layers": -1}, {"timeout": 0}],
)
def test_a_wrong_option_is_told_when_built(wrong: dict[str, Any]) -> None:
    """Each option that cannot work raises at once, naming itself."""
    with pytest.raises(gp.ConfigurationError, match=f"LlamaCpp: {next(iter(wrong))}="):
        LlamaCpp("m.gguf", **wrong)
    with pytest.raises(gp.ConfigurationError, match="LlamaCpp: model=3; give the path"):
        LlamaCpp(3)  # type: ignore[arg-type]


async def test_a_journal_gives_answers_back(path: Path) -> None:
    """An answer that is kept is given back, though the model was loaded anew, at another port."""
    journal, sink = gp.journals.Memory(), gp.sinks.Collect[str]()
    for replayed in (0, 1):
        model = LlamaCpp(path, context=512, threads=1)

        async def ask(value: str, model: LlamaCpp = model) -> str:
            return (await model(gp.Request(value, max_output_tokens=8, seed=1))).text

        report = await gp.Pipeline(
            source=gp.sources.Values(["a"]), stage=gp.map(ask), sink=sink, journal=journal
        ).run()
        assert report.replayed == replayed
        model.close()
    assert sink.values[0] == sink.values[1]
