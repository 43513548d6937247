"""Keys of encrypted journals: where they come from, and what is refused."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.journals import Encryption, KeyCallbacks, KeyProvider, LocalKeys
from genai_pipeline.testing import KeyProviderContract

OLD, NEW = bytes(range(32)), bytes(range(1, 33))


class TestLocalKeys(KeyProviderContract):
    """Keys that the process knows."""

    def make(self) -> KeyProvider:
        return LocalKeys(OLD)

    def rotated(self) -> KeyProvider:
        return LocalKeys([NEW, OLD])


class TestKeyCallbacks(KeyProviderContract):
    """Keys of a service, behind two functions."""

    def make(self) -> KeyProvider:
        keys = LocalKeys(OLD)
        return KeyCallbacks(keys.key_id, keys.wrap, keys.unwrap)

    def rotated(self) -> KeyProvider:
        keys = LocalKeys([NEW, OLD])
        return KeyCallbacks(keys.key_id, keys.wrap, keys.unwrap)


def test_what_a_service_raises_says_what_was_asked_of_it() -> None:
    """A failure of a callback is a ConfigurationError with the key, the deed and the reason."""

    def refuse(*_: object) -> bytes:
        raise PermissionError("role may not decrypt")

    keys = KeyCallbacks("alias/journal", refuse, refuse)
    with pytest.raises(ConfigurationError, match="wrap by the key 'alias/journal' failed: Perm"):
        keys.wrap(OLD, b"")
    with pytest.raises(ConfigurationError, match=r"unwrap by the key 'old' failed: .*may not"):
        keys.unwrap(b"", "old", b"")


def test_a_service_that_answers_no_key_is_told() -> None:
    """What unwraps to something else than 32 bytes is refused before it is used."""
    keys = KeyCallbacks("k", lambda key, _: key, lambda wrapped, *_: wrapped)
    with pytest.raises(ConfigurationError, match="2 bytes"):
        keys.unwrap(b"xy", "k", b"")


def _file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "journal.key"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_file_holds_keys_in_base64_or_hex(tmp_path: Path) -> None:
    """A file of keys has one a line, the first of which wraps; remarks and blanks are passed by."""
    text = f"# made in May\n{base64.b64encode(NEW).decode()}  # the new one\n\n{OLD.hex()}\n"
    assert LocalKeys.from_file(_file(tmp_path, text)) == LocalKeys([NEW, OLD])


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    """A key that others may read or replace is no key; the message says how to mend it."""
    with pytest.raises(ConfigurationError, match="chmod 600"):
        LocalKeys.from_file(_file(tmp_path, OLD.hex(), mode))


@pytest.mark.parametrize("text", ["", "# nothing\n", "abc", OLD.hex()[:-2], "ä" * 44, "=" * 44])
def test_what_is_no_key_is_refused_and_not_told(tmp_path: Path, text: str) -> None:
    """A file without keys, or with anything else, is refused, and what is in it is not repeated."""
    path = _file(tmp_path, text)
    with pytest.raises(ConfigurationError, match="openssl rand -base64 32") as refusal:
        LocalKeys.from_file(path)
    assert not text.strip() or text.strip() not in str(refusal.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The error of a file that is not there has its path."""
    with pytest.raises(ConfigurationError, match=r"nowhere\.key"):
        LocalKeys.from_file(tmp_path / "nowhere.key")


def test_a_variable_holds_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment variable may hold keys too; one that is not set is named."""
    monkeypatch.setenv("JOURNAL_KEY", f"{NEW.hex()} {OLD.hex()}")
    assert LocalKeys.from_environment("JOURNAL_KEY") == LocalKeys([NEW, OLD])
    with pytest.raises(ConfigurationError, match="'NO_SUCH_KEY': it is not set"):
        LocalKeys.from_environment("NO_SUCH_KEY")


@pytest.mark.parametrize("keys", [b"short", [], [OLD, b"short"]])
def test_keys_have_32_bytes_and_are_never_told(keys: bytes | list[bytes]) -> None:
    """Keys of another length are refused, and neither errors nor reprs tell one."""
    with pytest.raises(ConfigurationError, match="32 bytes") as refusal:
        LocalKeys(keys)
    assert "short" not in str(refusal.value)
    assert OLD.hex() not in repr(LocalKeys(OLD))
    assert repr(OLD) not in repr(LocalKeys(OLD))


@pytest.mark.parametrize("keys", [None, b"k" * 32, LocalKeys])
def test_encryption_asks_for_keys(keys: object) -> None:
    """What is no provider of keys is refused when the encryption is made."""
    with pytest.raises(ConfigurationError, match="keys="):
        Encryption(keys)  # type: ignore[arg-type]
