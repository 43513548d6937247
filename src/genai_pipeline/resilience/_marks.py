"""What a policy writes on what it hands back: on answers, and on errors."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import attrs

from genai_pipeline.messages import Response, Usage

__all__ = ["fresh", "marked", "noted", "remade", "told"]

E = TypeVar("E", bound=Exception)
O = TypeVar("O")  # noqa: E741 - the output of an arrow

_MESSAGE_CHARACTERS = 200


def marked(answer: O, **attributes: Any) -> O:
    """Answer the same with more *attributes* if it is a `Response`, which can bear them."""
    if isinstance(answer, Response):
        twin = remade(answer, answer.usage, {**answer.attributes, **attributes})
        return cast("O", twin)
    return answer


def remade(answer: Response, usage: Usage, attributes: Mapping[str, Any]) -> Response:
    """Answer the same as *answer* but for its *usage* and *attributes*."""
    if type(answer) is not Response:
        return attrs.evolve(answer, usage=usage, attributes=attributes)
    # Named one by one, it takes half the time: each call that passes a router comes here.
    return Response(
        answer.text,
        usage=usage,
        finish_reason=answer.finish_reason,
        model=answer.model,
        request_id=answer.request_id,
        raw_finish_reason=answer.raw_finish_reason,
        attributes=attributes,
        parts=answer.parts,
        logprobs=answer.logprobs,
    )


def noted(error: E, prefix: str, notes: list[str]) -> E:
    """Answer *error* with one note that begins with *prefix*, in place of an earlier such."""
    kept = [note for note in getattr(error, "__notes__", ()) if not note.startswith(prefix)]
    error.__notes__ = [*kept, prefix + "; ".join(notes)]
    return error


def told(name: str, error: Exception) -> str:
    """Say in few words how the target *name* failed."""
    return f"{name}: {type(error).__name__}: {error}"[:_MESSAGE_CHARACTERS]


def fresh(error: E) -> E:
    """
    Answer a copy of *error* that can be raised beside it: each raise writes to its object.

    An exception that cannot be copied faithfully is answered itself.
    """
    try:
        twin = copy.copy(error)
    except Exception:  # noqa: BLE001 - whatever the constructor of another's exception does
        return error
    if type(twin) is not type(error) or twin.args != error.args:
        return error
    if hasattr(error, "__notes__"):
        twin.__notes__ = list(error.__notes__)
    twin.__cause__ = error.__cause__
    twin.__suppress_context__ = error.__suppress_context__
    return twin.with_traceback(error.__traceback__)
