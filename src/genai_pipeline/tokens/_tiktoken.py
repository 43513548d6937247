"""`Tiktoken`: counts tokens as OpenAI's models have them."""

from __future__ import annotations

import hashlib
import os
import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import attrs

from genai_pipeline import _options
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.tokens._contents import Countable, total_of

if TYPE_CHECKING:
    from tiktoken import Encoding

__all__ = ["Tiktoken"]

_PLACE = "https://openaipublic.blob.core.windows.net/encodings"
_O200K = ("o200k_base", "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d")
_P50K = ("p50k_base", "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069")
_FILES = {
    "o200k_harmony": _O200K,
    "o200k_base": _O200K,
    "cl100k_base": (
        "cl100k_base",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
    "p50k_edit": _P50K,
    "p50k_base": _P50K,
    "r50k_base": (
        "r50k_base",
        "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
    ),
}
"""The vocabulary of each encoding, and its SHA-256, as tiktoken knows them."""

_is_encoding = _options.having(
    "a tiktoken.Encoding; by name it is Tiktoken.load('o200k_base')", "encode_ordinary"
)


@attrs.frozen(eq=False)
class Tiktoken:
    """
    Counts tokens by a vocabulary of OpenAI's, exactly for texts.

    *encoding* is a ``tiktoken.Encoding``, also one of an application's own; `load` makes one by
    its name. What a request has beside texts is counted as `TokenEstimator` counts it, which
    given this as its *counter* corrects that too.

    Needs the extra ``tokens``. Nothing is ever downloaded by counting, and no event loop should
    wait for texts of megabytes: they take a second for each four or so.
    """

    encoding: Encoding = attrs.field(validator=_is_encoding)

    @classmethod
    def load(cls, name: str, *, download: bool = False) -> Self:
        """
        Answer a counter by the *name* of an encoding, or of a model that tiktoken knows.

        It reads the vocabulary, of megabytes, where tiktoken keeps it: in the folder that the
        environment variable ``TIKTOKEN_CACHE_DIR`` names. Unless *download* allows to fetch a
        missing one from OpenAI's store, raises `ConfigurationError` that tells which file to put
        where. So build it when the program starts; it takes half a second.
        """
        tiktoken = _library()
        encoding = _encoding_of(name, tiktoken)
        if not download and encoding not in tiktoken.registry.ENCODINGS:
            _check_at_hand(encoding)
        try:
            return cls(tiktoken.get_encoding(encoding))
        except (OSError, ValueError) as error:  # what requests raises is an OSError
            raise ConfigurationError(
                f"Tiktoken: the vocabulary of {encoding!r} cannot be loaded: {error}; "
                f"{_mend(encoding)}"
            ) from error

    def count(self, content: Countable, /, *, model: str = "") -> int:  # noqa: ARG002 - for any
        """Answer how many tokens *content* is: exactly for a text, about for a request."""
        return total_of(content, self._length)

    def _length(self, text: str) -> int:
        return len(self.encoding.encode_ordinary(text))


def _library() -> Any:
    try:
        return import_module("tiktoken")
    except ImportError:
        raise ConfigurationError(
            "Tiktoken: tiktoken is not installed; pip install 'genai_pipeline[tokens]'"
        ) from None


def _encoding_of(name: str, tiktoken: Any) -> str:
    known = tiktoken.list_encoding_names()
    if name in known:
        return name
    try:
        return str(tiktoken.encoding_name_for_model(name))
    except (KeyError, AttributeError):
        raise ConfigurationError(
            f"Tiktoken: name={name!r}; give a model that tiktoken knows, or one of {known}"
        ) from None


def _check_at_hand(encoding: str) -> None:
    """Raise unless the file is there and whole, as tiktoken downloads anything else anew."""
    file = _file_of(encoding)
    if file is None or not file.is_file():
        raise ConfigurationError(
            f"Tiktoken: the vocabulary of {encoding!r} is not at hand; {_mend(encoding)}"
        )
    if hashlib.sha256(file.read_bytes()).hexdigest() != _FILES[encoding][1]:
        raise ConfigurationError(
            f"Tiktoken: {file} is not the vocabulary of {encoding!r}, or not whole; "
            f"{_mend(encoding)}"
        )


def _file_of(encoding: str) -> Path | None:
    """Answer where tiktoken looks for the vocabulary; `None` when it would always download."""
    folder = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR"))
    if folder is None:
        folder = str(Path(tempfile.gettempdir(), "data-gym-cache"))
    if encoding not in _FILES or not folder:
        return None
    name = hashlib.sha1(_url_of(encoding).encode(), usedforsecurity=False).hexdigest()
    return Path(folder, name)


def _url_of(encoding: str) -> str:
    return f"{_PLACE}/{_FILES[encoding][0]}.tiktoken"


def _mend(encoding: str) -> str:
    if encoding not in _FILES:
        return "give Tiktoken a tiktoken.Encoding, or download=True"
    file = _file_of(encoding)
    name = Path("TIKTOKEN_CACHE_DIR", "…") if file is None else file
    return f"put {_url_of(encoding)} there as {name}, or give download=True"
