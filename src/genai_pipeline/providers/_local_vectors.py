"""The word vectors: read once for each process, turned into a vector for any text."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import attrs
import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.providers._local_files import ModelFiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Reading", "WordVectors"]

DIMENSIONS = 256

# "customer_service" and "ImportError" are words written together; "iPhone" is one word.
_JOINT = re.compile(r"_|(?<=[a-z]{2})(?=[A-Z][a-z])")

_LABEL_SETS_KEPT = 64


@attrs.frozen(eq=False)
class Reading:
    """A text as the model sees it."""

    vector: NDArray[np.float32]
    """Of length one; all zeros when the text holds no word."""

    tokens: int
    """How many tokens the text has, punctuation included."""

    @property
    def empty(self) -> bool:
        """Whether the text holds nothing to go by."""
        return not self.vector.any()


class WordVectors:
    """
    Turns texts into vectors: the sum of the vectors of their tokens, brought to length one.

    The vectors were trained to be summed: frequent words are short in it and rare words long, so
    no further weighting is needed. Texts are read in lower case; tokens without a letter
    (digits, punctuation) count as tokens and add nothing to the vector. Safe in several threads.
    """

    def __init__(self, matrix: NDArray[np.float16], tokenizer: Tokenizer) -> None:
        self._matrix = matrix
        self._tokenizer = tokenizer
        self._lettered = np.zeros(len(matrix), dtype=bool)
        for token, index in tokenizer.get_vocab().items():
            if index < len(matrix) and not token.startswith("<"):
                self._lettered[index] = any(letter.isalpha() for letter in token)
        self.read_all = lru_cache(_LABEL_SETS_KEPT)(self._read_all)

    @classmethod
    def load(cls, files: ModelFiles) -> WordVectors:
        """Read *files*; raises `ConfigurationError` when they are not what they should be."""
        try:
            matrix = load_file(files.weights)["embedding.weight"]
            tokenizer = Tokenizer.from_file(str(files.tokenizer))
        except Exception as error:
            raise ConfigurationError(
                f"Local: cannot read {files.weights.name} and {files.tokenizer.name} in "
                f"{files.weights.parent.parent} ({error}); reinstall wordllama"
            ) from error
        if matrix.ndim != 2 or matrix.shape[1] != DIMENSIONS:  # noqa: PLR2004 - a matrix
            raise ConfigurationError(
                f"Local: {files.weights} has the shape {matrix.shape}, "
                f"not (words, {DIMENSIONS}); install the release of wordllama that is asked for"
            )
        return cls(matrix, tokenizer)

    def read(self, text: str) -> Reading:
        """Answer the vector and the number of tokens of *text*."""
        ids = np.asarray(self._encode(_JOINT.sub(" ", text).lower()), dtype=np.intp)
        words, counts = np.unique(ids[self._lettered[ids]], return_counts=True)
        total = (self._matrix[words].astype(np.float32) * counts[:, None]).sum(axis=0)
        return Reading(_to_length_one(total), len(ids))

    def count(self, text: str) -> int:
        """Answer how many tokens *text* has."""
        return len(self._encode(text))

    def centralities(self, readings: Sequence[Reading]) -> list[float]:
        """
        Answer the cosine between each of *readings* and their mean, in which all count alike.

        The vector of the whole text would not do: in it a long sentence counts for more.
        """
        total = np.stack([each.vector for each in readings]).sum(axis=0)
        return self.similarities(Reading(_to_length_one(total), 0), readings)

    def similarities(self, reading: Reading, others: Sequence[Reading]) -> list[float]:
        """
        Answer the cosine between *reading* and each of *others*.

        Rounded to six places, so that different processors agree on which is the highest.
        """
        cosines: list[float] = (np.stack([o.vector for o in others]) @ reading.vector).tolist()
        return [round(cosine, 6) for cosine in cosines]

    def _encode(self, text: str) -> list[int]:
        if not text.isascii():  # lone surrogates are no text; the tokenizer would refuse them
            text = text.encode("utf-8", "replace").decode("utf-8")
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def _read_all(self, texts: tuple[str, ...]) -> tuple[Reading, ...]:
        """Answer the reading of each of *texts*; `read_all` remembers the last sets of them."""
        return tuple(self.read(text) for text in texts)


def _to_length_one(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    length = float(np.sqrt((vector * vector).sum()))
    return (vector / length).astype(np.float32) if length else vector
