"""`Secret`: a credential that shows itself to nobody but the server it is meant for."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, Self, TypeAlias

from genai_pipeline._key_function import Answered, KeyFunction
from genai_pipeline._key_sources import Environment, Fixed, Key, KeyFile, KeySource
from genai_pipeline._options import check
from genai_pipeline.clock import Clock
from genai_pipeline.errors import ConfigurationError

__all__ = ["GetKey", "Secret", "fixed_key", "to_secret"]

GetKey: TypeAlias = Callable[[], Answered | Awaitable[Answered]]
"""A function that answers a key, or a pair of a key and the seconds it lasts; it may be async."""


class Secret:
    """
    A credential, and where it comes from.

    ``Secret("sk-…")``, or one that is looked up when it is needed: `from_env`, `from_file`,
    `from_function`. Its value is in no repr, text, log, copy or pickle; only `reveal` answers it.
    A secret of a given text refuses to be pickled; the others are pickled as what they are: the
    name of a variable, a path, an importable function.
    """

    __slots__ = ("_source",)
    _source: KeySource

    def __init__(self, value: str) -> None:
        fine = isinstance(value, str) and bool(value.strip())
        check(fine, "Secret", "value", "…", "a text that is not empty")
        self._source = Fixed(value)

    @classmethod
    def from_env(cls, variable: str) -> Self:
        """
        Answer the secret in the environment *variable*, which is read at each call.

        White space around it does not count. While the variable is not set, or empty, calls
        raise `AuthenticationFailed`.
        """
        return cls._of(Environment(variable))

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *, allow_readable_by_others: bool = False
    ) -> Self:
        """
        Answer the secret that is all the text of the file at *path*, read again when it changes.

        White space around it does not count. The file is looked at with each call, so a key is
        rotated by replacing the file. It may be readable by its owner alone or, if that is not the
        user who runs this, by the group too; calls raise `ConfigurationError` otherwise, unless
        you *allow_readable_by_others*. Without the file, or with an empty one, they raise
        `AuthenticationFailed`.
        """
        return cls._of(KeyFile(path, allow_readable_by_others))

    @classmethod
    def from_function(cls, get: GetKey, *, early: float = 60.0, clock: Clock | None = None) -> Self:
        """
        Answer the secret that *get* answers: a vault's, or a token that expires.

        *get* takes nothing and answers the key, or a pair of the key and the seconds it lasts; it
        is a plain function, called in a worker thread, or an async one. What it answered is
        kept until a server refuses it (401), or until *early* seconds before it expires; then one
        call asks, and the others wait for it. While that fails, a key that has not expired stays
        in use. Without one, the error is raised: as it is if it is one of this library's, as
        `ConnectionFailed` if it is a `TimeoutError` or `ConnectionError`, else as
        `AuthenticationFailed`.
        """
        return cls._of(KeyFunction(get, early=early, clock=clock))

    @classmethod
    def _of(cls, source: KeySource) -> Self:
        secret = cls.__new__(cls)
        secret._source = source  # noqa: SLF001 - its own
        return secret

    async def reveal(self) -> str:
        """
        Answer the value itself, to send it; keep it nowhere.

        Raises `AuthenticationFailed` when there is none.
        """
        return (await self._source.current("Secret")).text

    async def current(self, who: str) -> Key:
        """Answer the key as it is now; *who* begins the message of an error."""
        return await self._source.current(who)

    async def renew(self, used: Key, who: str) -> bool:
        """Look again, since *used* was refused; tell whether there is another key now."""
        return await self._source.renew(used, who)

    def __repr__(self) -> str:
        return f"Secret({self._source})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __getstate__(self) -> NoReturn:
        raise TypeError("a Secret does not tell its state")

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        name, given, options = self._source.reference()
        return _again, (type(self), name, given, options)


def _again(
    kind: type[Secret], name: str, given: tuple[Any, ...], options: dict[str, Any]
) -> Secret:
    secret: Secret = getattr(kind, name)(*given, **options)
    return secret


def to_secret(given: str | Secret | GetKey | None) -> Secret | None:
    """Answer the secret that an ``api_key=`` means; raises `ConfigurationError`."""
    if given is None or isinstance(given, Secret):
        return given
    if isinstance(given, str) and given.strip():
        return Secret(given)
    if callable(given) and not isinstance(given, type):
        return Secret.from_function(given)
    raise ConfigurationError(
        "api_key=… is no key; give a text that is not empty, a Secret, "
        "or a function that answers the key"
    )


def fixed_key(secret: Secret | None) -> Key | None:
    """Answer the key of a secret that was given as a text; `None` for any other."""
    source = None if secret is None else secret._source  # noqa: SLF001 - a part of it
    return source.key if isinstance(source, Fixed) else None
