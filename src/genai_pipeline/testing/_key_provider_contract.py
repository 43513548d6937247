"""`KeyProviderContract`: what every keeper of keys promises, as tests."""

from __future__ import annotations

import pytest

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.journals import KeyProvider

__all__ = ["KeyProviderContract"]

_DATA_KEY = bytes(range(32))


class KeyProviderContract:
    """
    Tests that a `journals.KeyProvider` must pass; subclass it and override `make` and `rotated`.

    ::

        class TestMyKeys(KeyProviderContract):
            def make(self):
                return MyKeys(["old"])

            def rotated(self):
                return MyKeys(["new", "old"])
    """

    def make(self) -> KeyProvider:
        """Answer a provider; each time one of the same keys."""
        raise NotImplementedError

    def rotated(self) -> KeyProvider:
        """Answer one that wraps by a new key, and still has the key of `make`."""
        raise NotImplementedError

    def test_what_is_wrapped_comes_back(self) -> None:
        """A data key is unwrapped as it was, also by another provider of the same keys."""
        keys = self.make()
        wrapped = keys.wrap(_DATA_KEY, b"journal 1")
        assert self.make().unwrap(wrapped, keys.key_id, b"journal 1") == _DATA_KEY
        assert _DATA_KEY not in wrapped

    def test_the_key_has_a_name_that_stays(self) -> None:
        """The name of the key is text, the same each time, and another after a rotation."""
        assert self.make().key_id
        assert self.make().key_id == self.make().key_id != self.rotated().key_id

    def test_it_is_bound_to_its_context(self) -> None:
        """What was wrapped for one journal does not unwrap for another."""
        keys = self.make()
        wrapped = keys.wrap(_DATA_KEY, b"journal 1")
        with pytest.raises(ConfigurationError):
            keys.unwrap(wrapped, keys.key_id, b"journal 2")

    def test_what_was_changed_does_not_unwrap(self) -> None:
        """A change of any byte, and a cut at any place, is told."""
        keys = self.make()
        wrapped = keys.wrap(_DATA_KEY, b"journal 1")
        changed = [
            wrapped[:place] + bytes([wrapped[place] ^ 1]) + wrapped[place + 1 :]
            for place in range(len(wrapped))
        ]
        for each in (b"", wrapped[:-1], wrapped + b"\0", *changed):
            with pytest.raises(ConfigurationError):
                keys.unwrap(each, keys.key_id, b"journal 1")

    def test_a_rotated_key_is_still_there(self) -> None:
        """After a rotation, what the old key wrapped unwraps, and new ones go by the new key."""
        old, new = self.make(), self.rotated()
        wrapped = old.wrap(_DATA_KEY, b"journal 1")
        assert new.unwrap(wrapped, old.key_id, b"journal 1") == _DATA_KEY
        again = new.wrap(_DATA_KEY, b"journal 1")
        assert new.unwrap(again, new.key_id, b"journal 1") == _DATA_KEY

    def test_a_key_that_is_not_there_is_told(self) -> None:
        """Without the key that wrapped, the error says which one is needed."""
        old, new = self.make(), self.rotated()
        wrapped = new.wrap(_DATA_KEY, b"journal 1")
        with pytest.raises(ConfigurationError, match=new.key_id):
            old.unwrap(wrapped, new.key_id, b"journal 1")
