"""What texts and bodies go through on their way into the tables of a journal and out of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.journals._codec import Codec, decoded, encoded

if TYPE_CHECKING:
    from genai_pipeline.journals._tables import Tables

__all__ = ["ENCRYPTED", "KEY", "KEY_ID", "Locked", "Vault"]

ENCRYPTED = "aes-256-gcm"
"""What the tables say of bodies that were encrypted."""

KEY, KEY_ID, KEY_CHECK = "data_key", "data_key_id", "data_key_check"
"""Where `meta` has the data key of the file, by which key it is wrapped, and what proves it."""


class Vault:
    """
    Keeps texts as they are; bodies go through a codec if there is one.

    An owner is a number, under whose key something is kept: that of a subject, or of a group;
    0 for what is nobody's. Of a place, there is one in the file.
    """

    sealed = False
    """Whether everything is encrypted."""

    def __init__(self, codec: Codec | None = None) -> None:
        self.codec = codec

    @property
    def secret(self) -> bytes:
        """What makes the names of records unlike those in other files, where it is not empty."""
        return b""

    def enter(self, tables: Tables, name: str, *, new: bool) -> None:
        """Begin to work on the journal called *name*, in the transaction that takes it over."""
        del name, new
        row = tables.one("SELECT value FROM meta WHERE name = ?", KEY_ID)
        if row is not None:
            raise ConfigurationError(f"Sqlite: codec={self.codec!r}, but {needs_key(row[0])}")

    def rewrap(self, tables: Tables) -> str:
        """Have the data key wrapped by the key of today; answer which one that is."""
        del tables
        raise ConfigurationError(
            "Sqlite: codec=None, and a journal without keys has none to rotate"
        )

    def flush(self) -> None:
        """Make keys durable before what is kept under them."""

    def retain(self, tables: Tables) -> None:
        """Destroy the keys of owners that are there no more."""

    def reopen(self) -> None:
        """Believe nothing that may not be durable, after a failure."""

    def close(self) -> None:
        """Let go of files."""

    def poison(self) -> None:
        """Touch no file any more: this process was forked."""

    def new_owner(self, owner: int) -> None:
        """Make a key for a new *owner*."""

    def body(self, owner: int, body: bytes, place: str) -> tuple[bytes, str | None]:
        """Answer *body* as it is to be kept, and what says how it was changed."""
        del owner
        return encoded(self.codec, body, place)

    def open_body(self, kept: bytes, name: str | None, place: str) -> bytes:
        """Answer a kept body as it was."""
        return decoded(self.codec, kept, name, place)

    def seal(self, owner: int, data: bytes, place: str) -> bytes:
        """Answer *data* as it is to be kept at *place* alone."""
        del owner, place
        return data

    def unseal(self, kept: bytes, place: str) -> bytes:
        """Answer what is kept at *place*."""
        del place
        return kept

    def text(self, owner: int, text: str, place: str) -> str:
        """Answer *text* as it is to be kept at *place* alone."""
        del owner, place
        return text

    def open_text(self, kept: str, place: str) -> str:
        """Answer the text that is kept at *place*."""
        del place
        return kept

    def seal_alike(self, owner: int, data: bytes, kind: str) -> bytes:
        """Answer *data* as all its like of a *kind* are kept, to be found by."""
        del owner, kind
        return data

    def unseal_alike(self, kept: bytes, kind: str) -> bytes:
        """Answer what is kept so."""
        del kind
        return kept

    def word(self, owner: int, text: str, kind: str) -> str:
        """Answer *text* as all its like of a *kind* are kept, to be found by."""
        del owner, kind
        return text

    def open_word(self, kept: str, kind: str) -> str:
        """Answer a text that is kept so."""
        del kind
        return kept

    def shown(self, name: str) -> str:
        """Answer a budget's *name* as it may be told beside the file."""
        return name


def needs_key(key_id: str) -> str:
    """Say what an encrypted journal lacks without its key."""
    return (
        f"the journal is encrypted under the key {key_id!r}; give "
        "gp.journals.Encryption(keys) with that key (commands: --key-file or --key-env)"
    )


class Locked(Vault):
    """What an encrypted file is without its key: whole, counted, and not read."""

    sealed = True

    def __init__(self, codec: Codec | None, key_id: str) -> None:
        super().__init__(codec)
        self._key_id = key_id

    @property
    def secret(self) -> bytes:
        """Raise `ConfigurationError`."""
        raise self._refuse()

    def _refuse(self) -> ConfigurationError:
        return ConfigurationError(
            f"SqliteReader: codec={self.codec!r}, but {needs_key(self._key_id)}"
        )

    def open_body(self, kept: bytes, name: str | None, place: str) -> bytes:  # noqa: ARG002
        """Raise `ConfigurationError`."""
        raise self._refuse()

    def unseal(self, kept: bytes, place: str) -> bytes:  # noqa: ARG002
        """Raise `ConfigurationError`."""
        raise self._refuse()

    def open_text(self, kept: str, place: str) -> str:  # noqa: ARG002
        """Raise `ConfigurationError`."""
        raise self._refuse()

    def unseal_alike(self, kept: bytes, kind: str) -> bytes:  # noqa: ARG002
        """Raise `ConfigurationError`."""
        raise self._refuse()

    def open_word(self, kept: str, kind: str) -> str:  # noqa: ARG002
        """Raise `ConfigurationError`."""
        raise self._refuse()

    def word(self, owner: int, text: str, kind: str) -> str:  # noqa: ARG002
        """Raise `ConfigurationError`."""
        raise self._refuse()
