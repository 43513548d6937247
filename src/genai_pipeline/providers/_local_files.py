"""Where the word vectors lie: inside an installed package, found without running any of it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import attrs

from genai_pipeline.errors import ConfigurationError

__all__ = ["ModelFiles", "find_model_files"]

_MEND = "python -m pip install 'genai_pipeline[local]'"


@attrs.frozen
class ModelFiles:
    """The two files the vectors are read from."""

    weights: Path
    tokenizer: Path


def find_model_files() -> ModelFiles:
    """
    Answer where the vectors and their tokenizer lie, without loading anything.

    Raises `ConfigurationError` that names the missing package or file and the command that
    installs it.
    """
    needed = ("numpy", "safetensors", "tokenizers", "wordllama")
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"Local: the embedded model needs {' and '.join(missing)}; run {_MEND}"
        )
    spec = find_spec("wordllama")
    places = [] if spec is None else [Path(p) for p in spec.submodule_search_locations or ()]
    for place in places:
        files = ModelFiles(
            place / "weights" / "l2_supercat_256.safetensors",
            place / "tokenizers" / "l2_supercat_tokenizer_config.json",
        )
        if files.weights.is_file() and files.tokenizer.is_file():
            return files
    where = ", ".join(map(str, places)) or "its package"
    raise ConfigurationError(
        f"Local: the installed wordllama holds no word vectors (looked in {where}); run {_MEND}"
    )
