"""Asking a provider what became of a call whose answer was lost, as far as it can tell."""

from __future__ import annotations

import hashlib
import struct
from contextvars import ContextVar
from typing import Literal, Protocol, TypeAlias

import attrs

from genai_pipeline.messages import Request, Response

__all__ = [
    "Found",
    "LostCall",
    "ReconcilingProvider",
    "call_token",
    "current_call",
    "set_call",
    "token_of",
]

CallName: TypeAlias = tuple[bytes, bytes, int, float]
"""The record, the key, the number and the wall time of a call."""

Found: TypeAlias = Response | Literal["void"] | None
"""
What is found of a lost call: its answer; ``"void"`` when it surely was never executed, nor ever
will be, and costs nothing; `None` when that is not known, or not yet.
"""


@attrs.frozen(kw_only=True)
class LostCall:
    """A call that was begun, and of which nobody knows whether it was billed."""

    token: str
    """What `call_token` answered when the call was made: 32 hexadecimal digits."""

    request: Request
    model: str
    at: float
    """When it was begun, in wall time."""


class ReconcilingProvider(Protocol):
    """
    A provider that can be asked what became of a call, for stages with ``on_unknown="reconcile"``.

    To find a call again, send `call_token` along with it, where the service keeps it: as the
    call's metadata, its name, its key of idempotency.
    """

    async def __call__(self, request: Request, /) -> Response:
        """Answer *request*."""
        ...

    async def find(self, call: LostCall, /) -> Found:
        """
        Answer what became of *call*, without making it again.

        Say ``"void"`` only when the call can no longer come to be executed: a service may list
        a call some time after it took it. What is raised counts as not known, but for `Rejected`,
        which is waited out, and `Systemic`, which stops the run.
        """
        ...


_call: ContextVar[CallName | None] = ContextVar("genai_pipeline_call", default=None)

set_call = _call.set
"""Note which call this task is making; for the engine alone."""

current_call = _call.get
"""Answer which call this task is making, if any; for the engine alone."""


def call_token() -> str | None:
    """
    Answer what names the call that is being made, for a provider to send along with it.

    32 hexadecimal digits, other ones for each attempt, by which `ReconcilingProvider.find` is
    asked for it later. `None` where the pipeline has no journal.
    """
    call = _call.get()
    return None if call is None else token_of(*call)


def token_of(item: bytes, key: bytes, number: int, at: float) -> str:
    """Answer the token of the call *number* that was begun for a record at a wall time."""
    # Without the generation, since a redriven record asks for calls of earlier ones.
    told = item[:-2] + key + struct.pack(">qd", number, at)
    return hashlib.blake2b(told, digest_size=16).hexdigest()
