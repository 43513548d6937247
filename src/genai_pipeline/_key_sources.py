"""Where a `Secret` finds its key: given, in the environment, or in a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, NoReturn, Protocol

from genai_pipeline._options import check
from genai_pipeline.errors import AuthenticationFailed, ConfigurationError

__all__ = ["Environment", "Fixed", "Key", "KeyFile", "KeySource"]

_LARGEST = 64 * 1024


class Key:
    """A key in hand. It shows in no repr, so that tracebacks with local variables hide it too."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return "Key(***)"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a key cannot be pickled, lest it be kept")


class KeySource(Protocol):
    """Where a key comes from; its text says so."""

    async def current(self, who: str) -> Key:
        """Answer the key as it is now, the same object while it stays the same."""
        ...

    async def renew(self, used: Key, who: str) -> bool:
        """Look again, since *used* was refused; tell whether there is another now."""
        ...

    def reference(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """Answer the method of `Secret`, and its arguments, that make a secret of this source."""
        ...


class Fixed:
    """A key that was given as it is."""

    def __init__(self, value: str) -> None:
        self.key = Key(value)

    def __str__(self) -> str:
        return "***"

    async def current(self, who: str) -> Key:  # noqa: ARG002 - there is one
        """Answer it."""
        return self.key

    async def renew(self, used: Key, who: str) -> bool:  # noqa: ARG002 - there is one
        """Tell that there is no other."""
        return False

    def reference(self) -> NoReturn:
        """Refuse: the value itself would be kept."""
        raise TypeError(
            "a Secret of a given text cannot be pickled, lest it be kept; "
            "use Secret.from_env, from_file or from_function"
        )


class Environment:
    """A key in an environment variable."""

    def __init__(self, variable: str) -> None:
        fine = isinstance(variable, str) and bool(variable) and not set(variable) & set("=\0")
        check(fine, "Secret.from_env", "variable", variable, "the name of an environment variable")
        self._variable = variable
        self._last: Key | None = None

    def __str__(self) -> str:
        return f"from the environment variable {self._variable}"

    async def current(self, who: str) -> Key:
        """Answer what the variable holds."""
        key = self._read()
        if key is None:
            raise AuthenticationFailed(
                f"{who}: no API key; set the environment variable {self._variable}, "
                "or give api_key="
            )
        return key

    async def renew(self, used: Key, who: str) -> bool:  # noqa: ARG002 - nothing can fail
        """Tell whether the variable has been set anew."""
        key = self._read()
        return key is not None and key is not used

    def reference(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """Answer the variable's name."""
        return "from_env", (self._variable,), {}

    def _read(self) -> Key | None:
        self._last = _unless_same(os.environ.get(self._variable, ""), self._last)
        return self._last


class KeyFile:
    """A key in a file of its own."""

    def __init__(self, path: str | os.PathLike[str], allow_readable_by_others: bool) -> None:  # noqa: FBT001
        fine = isinstance(path, str | os.PathLike) and bool(os.fspath(path))
        check(fine, "Secret.from_file", "path", path, "the path of a file")
        check(
            isinstance(allow_readable_by_others, bool),
            *("Secret.from_file", "allow_readable_by_others", allow_readable_by_others),
            "True or False",
        )
        self._path = Path(path)
        self._any_mode = allow_readable_by_others
        self._seen: tuple[int, ...] | None = None
        self._last: Key | None = None

    def __str__(self) -> str:
        return f"from the file {self._path}"

    async def current(self, who: str) -> Key:
        """Answer what the file holds."""
        try:
            self._look()
        except OSError as error:
            raise AuthenticationFailed(
                f"{who}: no API key, since {self._path} cannot be read: {error.strerror}"
            ) from None
        except _Unfit as unfit:
            raise ConfigurationError(f"{who}: the key file {self._path} {unfit}") from None
        if self._last is None:
            raise AuthenticationFailed(f"{who}: no API key; {self._path} is empty")
        return self._last

    async def renew(self, used: Key, who: str) -> bool:
        """Tell whether the file has another key now."""
        self._seen = None
        return await self.current(who) is not used

    def reference(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """Answer the path."""
        return "from_file", (self._path,), {"allow_readable_by_others": self._any_mode}

    def _look(self) -> None:
        found = os.stat(self._path)  # noqa: PTH116 - with each call, and twice as fast
        seen = (found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size, found.st_mode)
        if seen == self._seen:
            return
        if not stat.S_ISREG(found.st_mode):
            raise _Unfit("is no regular file; give one")
        if not self._any_mode:
            _check_mode(found)
        if found.st_size > _LARGEST:
            raise _Unfit(f"has {found.st_size} bytes; give one that holds the key alone")
        self._last = _unless_same(_text_of(self._path), self._last)
        self._seen = seen


class _Unfit(Exception):
    """Raised when a file is not fit to hold a key; says why."""


def _check_mode(found: os.stat_result) -> None:
    mode = stat.S_IMODE(found.st_mode)
    is_mine = found.st_uid == os.geteuid()
    if mode & (0o077 if is_mine else 0o027):
        raise _Unfit(
            f"has mode {mode:04o}, so others can read or change it; chmod 600 it, "
            "or give allow_readable_by_others=True"
        )


def _text_of(path: Path) -> str:
    text = _decoded(path.read_bytes()[: _LARGEST + 1])
    if text is None:
        raise _Unfit("is no text in UTF-8")
    return text


def _decoded(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:  # which holds the bytes
        return None


def _unless_same(text: str, last: Key | None) -> Key | None:
    """Answer a key of *text*, or the *last* one if that says the same; `None` for no key."""
    text = text.strip()
    if last is not None and last.text == text:
        return last
    return Key(text) if text else None
