"""What a run and the process that it walks suspects in say to each other."""

from __future__ import annotations

import pickle
import struct
from contextvars import ContextVar
from typing import Any, TypeAlias

from genai_pipeline._paid import is_unbilled
from genai_pipeline.errors import Permanent, PipelineError, Transient

__all__ = ["HEADER", "Message", "importing_main", "length_of", "packed", "portable", "unpacked"]

Message: TypeAlias = tuple[str, int, Any]
"""What is said, the number of the call that it is about, and what goes with it."""

importing_main: ContextVar[bool] = ContextVar("genai_pipeline_importing_main", default=False)
"""Whether this is a process for suspects that imports the main module of the run's."""

_HEADER = struct.Struct(">Q")

HEADER = _HEADER.size
"""Bytes before each message, which tell its length."""


def packed(message: Message) -> bytes:
    """Answer *message* as bytes, its length first; raises what pickling raises."""
    body = pickle.dumps(message)
    return _HEADER.pack(len(body)) + body


def length_of(header: bytes) -> int:
    """Answer how many bytes follow."""
    length: int = _HEADER.unpack(header)[0]
    return length


def unpacked(body: bytes) -> Message:
    """Answer the message whose bytes follow its length; from our own process alone."""
    message: Message = pickle.loads(body)  # noqa: S301 - between two processes of one run
    return message


def portable(error: Exception) -> Exception:
    """Answer *error*, or one that means the same for money and retries, if it cannot be pickled."""
    try:
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - what was just pickled
    except Exception:  # noqa: BLE001 - anybody's class may raise anything
        copy = None
    if type(copy) is type(error):
        return error
    told = f"{type(error).__name__}: {error}"
    if is_unbilled(error):
        return Permanent(told)
    is_transient = isinstance(error, PipelineError) and error.category == "transient"
    return Transient(told) if is_transient else RuntimeError(told)
