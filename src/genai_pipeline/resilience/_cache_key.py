"""Under which key an answer is kept: all that decides on it, in one text."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from genai_pipeline._canonical import digest, json_copy
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.messages import Request
from genai_pipeline.walk import current_record

__all__ = ["Keys"]

_FORMAT = "genai_pipeline cache 1"


class Keys:
    """Makes keys out of the scope, the tenant and the request."""

    def __init__(
        self,
        scope: str | None,
        per: tuple[str, ...],
        key: Callable[[Any], str | None] | None,
    ) -> None:
        self._scope = scope
        self._per = per
        self._key = key
        self._own: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
        self._held: dict[int, tuple[object, str]] = {}

    def of(self, value: object, call_next: object) -> str | None:
        """Answer the key of *value*; `None` when its answer must not be shared."""
        name = self._name(value)
        if name is None:
            return None
        tenant = self._tenant()
        if tenant is None:
            return None
        named = self._scope is not None
        scope = self._scope if named else self._of(call_next)
        return digest([_FORMAT, named, scope, tenant, name])

    def _name(self, value: object) -> str | None:
        if self._key is not None:
            name = self._key(value)
            if name is not None and not isinstance(name, str):
                raise ConfigurationError(
                    f"Cache: key={self._key!r} answered {name!r}; let it answer text, or None"
                )
            return name
        if isinstance(value, Request):
            return value.fingerprint()
        raise ConfigurationError(
            f"Cache: key=None, and the value is a {type(value).__qualname__}; "
            "give a function that answers a text for each value, or cache a provider"
        )

    def _tenant(self) -> list[Any] | None:
        if not self._per:
            return []
        record = current_record()
        if record is None or any(name not in record.attributes for name in self._per):
            return None
        return [
            json_copy(record.attributes[name], where=f"Cache: the record's attribute {name!r}")
            for name in self._per
        ]

    def _of(self, handler: object) -> str:
        """Answer a text for this very handler, in this very process."""
        try:
            return self._own.setdefault(handler, uuid.uuid4().hex)
        except TypeError:  # it has no place for weak references, or no hash
            held = self._held.setdefault(id(handler), (handler, uuid.uuid4().hex))
            return held[1]
