"""What bodies go through on their way into a journal file and out of it."""

from __future__ import annotations

from typing import Protocol

from genai_pipeline.errors import ConfigurationError

__all__ = ["Codec", "decoded", "encoded"]


class Codec(Protocol):
    """
    Changes bodies of answers, groups and dead letters for keeping, and back: by compression, say.

    To encrypt, there is `Encryption`, which leaves no key, label or message readable either.

    Raises what it likes when a body cannot be changed back.
    """

    @property
    def name(self) -> str:
        """What says in the file how a body was changed; a file may hold several."""
        ...

    def encode(self, body: bytes, context: str, /) -> bytes:
        """Change *body*, which belongs to *context* alone: ``answer 7``."""
        ...

    def decode(self, body: bytes, context: str, /) -> bytes:
        """Change it back."""
        ...


def encoded(codec: Codec | None, body: bytes, context: str) -> tuple[bytes, str | None]:
    """Answer *body* as it is to be kept, and the codec's name."""
    return (body, None) if codec is None else (codec.encode(body, context), codec.name)


def decoded(codec: Codec | None, body: bytes, name: str | None, context: str) -> bytes:
    """Answer a kept *body* as it was; raises `ConfigurationError` when another codec is needed."""
    if name is None:
        return body
    if codec is None or codec.name != name:
        raise ConfigurationError(
            f"Sqlite: codec={codec and codec.name!r}, but the {context} was kept by {name!r}; "
            "give that one"
        )
    return codec.decode(body, context)
