"""What the embedded model needs on the machine, and what it says when that is missing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.providers import Local, _local_loading
from genai_pipeline.providers._local_files import ModelFiles, find_model_files

INSTALL = r"pip install 'genai_pipeline\[local\]'"


def run_python(code: str) -> str:
    """Answer what a new interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.extras
def test_building_one_imports_nothing_heavy() -> None:
    """The vectors, numpy and the package that ships them stay unread until the first call."""
    code = (
        "import sys; from genai_pipeline.providers import Local; Local();"
        "HEAVY = 'numpy', 'tokenizers', 'safetensors', 'wordllama';"
        "print([m for m in HEAVY if m in sys.modules])"
    )

    assert run_python(code) == "[]"


@pytest.mark.extras
def test_a_call_never_runs_the_package_that_ships_the_vectors() -> None:
    """The package would look for its files online; its code is not imported at all."""
    code = (
        "import sys, anyio, genai_pipeline as gp; from genai_pipeline.providers import Local;"
        "r = anyio.run(Local(), gp.Request('a late parcel', labels=['delivery', 'login']));"
        "print(r.text, [m for m in ('wordllama', 'pydantic', 'requests') if m in sys.modules])"
    )

    assert run_python(code) == "delivery []"


@pytest.mark.extras
def test_another_process_gives_the_same_scores() -> None:
    """The answer does not depend on the process or its hash seed."""
    code = (
        "import anyio, genai_pipeline as gp; from genai_pipeline.providers import Local;"
        "q = gp.Request('a late parcel', labels=['delivery', 'login']);"
        "print(anyio.run(Local(), q).attributes['scores'])"
    )
    here = anyio.run(Local(), gp.Request("a late parcel", labels=["delivery", "login"]))

    assert run_python(code) == str(here.attributes["scores"])


@pytest.mark.parametrize("missing", ["wordllama", "numpy"])
def test_a_missing_package_is_named_with_its_mend(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """Without the extra, building one says what is missing and how to install it."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "genai_pipeline.providers._local_files.find_spec",
        lambda name: None if name == missing else find(name),
    )

    with pytest.raises(ConfigurationError, match=f"{missing}.*{INSTALL}"):
        Local()


def test_a_package_without_the_vectors_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another release that keeps its files elsewhere is told from a missing one."""
    spec = ModuleSpec("wordllama", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr("genai_pipeline.providers._local_files.find_spec", lambda _: spec)

    with pytest.raises(ConfigurationError, match="holds no word vectors"):
        Local()


@pytest.mark.extras
@pytest.mark.parametrize("broken", ["weights", "tokenizer"])
def test_a_damaged_file_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broken: str
) -> None:
    """A file cut short on disk raises an error that says to install again, at every call."""
    files = find_model_files()
    cut = tmp_path / "weights" / "cut"
    cut.parent.mkdir()
    whole: Path = getattr(files, broken)
    cut.write_bytes(whole.read_bytes()[:1000])
    damaged = ModelFiles(**{"weights": files.weights, "tokenizer": files.tokenizer, broken: cut})
    monkeypatch.setattr(_local_loading, "_loaded", None)
    monkeypatch.setattr(_local_loading, "find_model_files", lambda: damaged)

    for _ in range(2):
        with pytest.raises(ConfigurationError, match="reinstall wordllama"):
            anyio.run(Local(), gp.Request("a parcel", labels=["delivery", "login"]))
