"""How an encrypted journal keeps texts and bodies: under the key of the file, or of a subject."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from genai_pipeline.errors import ConfigurationError, StorageFailed
from genai_pipeline.journals._ciphers import Cipher, Tampered, new_key
from genai_pipeline.journals._key_ring import KeyRing
from genai_pipeline.journals._keys import KeyProvider
from genai_pipeline.journals._vault import ENCRYPTED, KEY, KEY_CHECK, KEY_ID, Vault

if TYPE_CHECKING:
    from genai_pipeline.journals._tables import Tables

__all__ = ["Sealed"]

_MOST_KEYS = 4096
_VERSION = 1
_HEADER = 9


class Sealed(Vault):
    """
    Keeps everything encrypted.

    What is kept is a byte of version, 8 of the owner, and what the cipher made. The header and
    the place are what the cipher binds it to.
    """

    sealed = True

    def __init__(self, keys: KeyProvider, ring: KeyRing) -> None:
        super().__init__()
        self._keys = keys
        self._ring = ring
        self._name, self._data_key = "", b""
        self._file: Cipher | None = None
        self._ciphers: dict[int, Cipher] = {}

    @property
    def secret(self) -> bytes:
        """What makes the names of records unlike those in other files."""
        assert self._file is not None
        return self._file.secret

    def __repr__(self) -> str:
        return f"<encryption by {type(self._keys).__name__} {self._keys.key_id!r}>"

    # The key of the file.

    def enter(self, tables: Tables, name: str, *, new: bool) -> None:
        """Make the data key of a new journal, or have that of an old one unwrapped."""
        if self._file is not None:
            return
        names = (KEY, KEY_ID, KEY_CHECK)
        kept = dict(tables.all("SELECT name, value FROM meta WHERE name IN (?, ?, ?)", *names))
        if new:
            key = new_key()
        elif KEY_ID not in kept:
            raise ConfigurationError(
                f"Sqlite: codec=Encryption({type(self._keys).__name__}), but the journal was begun "
                "without: what is in it would stay readable; begin a new journal"
            )
        elif KEY not in kept or KEY_CHECK not in kept:
            raise StorageFailed("the journal is damaged: its data key is lost")
        else:
            key = self._keys.unwrap(kept[KEY], kept[KEY_ID], _context(name))
        cipher = Cipher(key)
        if cipher.check != kept.get(KEY_CHECK, cipher.check):
            # With another key, no record would be known, and all would be paid for again.
            raise ConfigurationError(
                f"Sqlite: codec=Encryption({type(self._keys).__name__}), which unwraps another "
                f"data key than that of this journal; give the keys with {kept[KEY_ID]!r}"
            )
        self._name, self._data_key, self._file = name, key, cipher
        if new:
            tables.do("INSERT INTO meta (name, value) VALUES (?, ?)", KEY_CHECK, cipher.check)
            self.rewrap(tables)
        if tables.one("SELECT 1 FROM owner LIMIT 1") is not None:
            self._ring.open(existing=True)

    def rewrap(self, tables: Tables) -> str:
        """Have the data key wrapped by the key of today; answer which one that is."""
        key_id = self._keys.key_id
        kept = self._keys.wrap(self._data_key, _context(self._name))
        for what, value in ((KEY, kept), (KEY_ID, key_id)):
            tables.do("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", what, value)
        return key_id

    # The keys of owners.

    def new_owner(self, owner: int) -> None:
        """Make a key for a new *owner*."""
        key = new_key()
        assert self._file is not None
        self._ring.add(owner, self._file.wrap(key, _owner_context(owner)))
        self._remember(owner, Cipher(key))

    def flush(self) -> None:
        """Make keys durable before what is kept under them."""
        self._ring.flush()

    def retain(self, tables: Tables) -> None:
        """Destroy the keys of owners that are there no more."""
        owners = {row[0] for row in tables.all("SELECT owner FROM owner")}
        self._ciphers = {owner: self._ciphers[owner] for owner in owners & self._ciphers.keys()}
        self._ring.retain(owners)

    def reopen(self) -> None:
        """Believe nothing that may not be durable, after a failure."""
        self._ring.close()
        self._ciphers.clear()

    def close(self) -> None:
        """Let go of files and keys."""
        self._ring.close()
        self._ciphers.clear()
        self._file, self._data_key = None, b""

    def poison(self) -> None:
        """Touch no file any more: this process was forked."""
        self._ring.poison()

    def _remember(self, owner: int, cipher: Cipher) -> None:
        if len(self._ciphers) >= _MOST_KEYS:
            self._ciphers.pop(next(iter(self._ciphers)))
        self._ciphers[owner] = cipher

    def _cipher(self, owner: int, place: str) -> Cipher:
        assert self._file is not None
        if owner == 0:
            return self._file
        found = self._ciphers.get(owner)
        if found is None:
            kept = self._ring.get(owner)
            if kept is None:
                raise StorageFailed(
                    f"the {place} cannot be read: the key of its subject is not in "
                    f"{self._ring.path.name}; it was erased, or that file is older than the journal"
                )
            try:
                found = Cipher(self._file.unwrap(kept, _owner_context(owner)))
            except Tampered as error:
                raise StorageFailed(
                    f"the {place} cannot be read: the key of its subject in "
                    f"{self._ring.path.name} is damaged, or of another journal"
                ) from error
            self._remember(owner, found)
        return found

    # Bodies and texts.

    def body(self, owner: int, body: bytes, place: str) -> tuple[bytes, str | None]:
        """Answer *body* sealed, and what says so."""
        return self.seal(owner, body, place), ENCRYPTED

    def open_body(self, kept: bytes, name: str | None, place: str) -> bytes:
        """Answer a kept body as it was."""
        if name != ENCRYPTED:
            raise StorageFailed(f"the {place} is not encrypted, as all else in the journal is")
        return self.unseal(kept, place)

    def seal(self, owner: int, data: bytes, place: str) -> bytes:
        """Answer *data* sealed for *place*."""
        header = _header(owner)
        return header + self._cipher(owner, place).seal(data, header + place.encode())

    def unseal(self, kept: bytes, place: str) -> bytes:
        """Answer what was sealed for *place*; raises `StorageFailed`."""
        return self._opened(kept, place, lambda cipher: cipher.unseal)

    def seal_alike(self, owner: int, data: bytes, kind: str) -> bytes:
        """Answer *data* sealed as all its like are."""
        header = _header(owner)
        return header + self._cipher(owner, kind).seal_alike(data, header + kind.encode())

    def unseal_alike(self, kept: bytes, kind: str) -> bytes:
        """Answer what was sealed so; raises `StorageFailed`."""
        return self._opened(kept, kind, lambda cipher: cipher.unseal_alike)

    def _opened(
        self, kept: bytes, place: str, by: Callable[[Cipher], Callable[[bytes, bytes], bytes]]
    ) -> bytes:
        header = kept[:_HEADER]
        if len(header) == _HEADER and header[0] == _VERSION:
            owner = int.from_bytes(header[1:], "big")
            try:
                return by(self._cipher(owner, place))(kept[_HEADER:], header + place.encode())
            except Tampered:
                pass
        raise StorageFailed(
            f"the {place} is not what was kept there: it was changed, or belongs elsewhere"
        )

    def text(self, owner: int, text: str, place: str) -> str:
        """Answer *text* sealed for *place*."""
        return _printed(self.seal(owner, text.encode("utf-8", "surrogatepass"), place))

    def open_text(self, kept: str, place: str) -> str:
        """Answer the text that was sealed for *place*; raises `StorageFailed`."""
        return self.unseal(_scanned(kept), place).decode("utf-8", "surrogatepass")

    def word(self, owner: int, text: str, kind: str) -> str:
        """Answer *text* sealed as all its like are."""
        return _printed(self.seal_alike(owner, text.encode("utf-8", "surrogatepass"), kind))

    def open_word(self, kept: str, kind: str) -> str:
        """Answer a text that was sealed so; raises `StorageFailed`."""
        return self.unseal_alike(_scanned(kept), kind).decode("utf-8", "surrogatepass")

    def shown(self, name: str) -> str:
        """Answer what stands for a budget's *name* beside the file."""
        digest = hashlib.blake2b(name.encode(), digest_size=6, key=self.secret).hexdigest()
        return f"encrypted {digest}"


def _context(name: str) -> bytes:
    return f"genai_pipeline journal {name}".encode()


def _owner_context(owner: int) -> bytes:
    return f"owner {owner}".encode()


def _header(owner: int) -> bytes:
    return bytes([_VERSION]) + owner.to_bytes(8, "big")


def _printed(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _scanned(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""
    return data if _printed(data) == text else b""  # some bits of its last letter say nothing
