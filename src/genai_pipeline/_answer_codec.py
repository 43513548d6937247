"""How answers are kept: as JSON text, so that nothing read back can run."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Generic, TypeVar

import attrs

from genai_pipeline._canonical import json_copy
from genai_pipeline._part_forms import kept_part, plain_part
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.messages import Response, TokenLogprob, Usage

__all__ = ["Kept", "packed", "plain_usage", "unpacked"]

O = TypeVar("O")  # noqa: E741 - the output of an arrow

_VERSION = 1

_encode = json.JSONEncoder(separators=(",", ":")).encode


@attrs.frozen
class Kept(Generic[O]):
    """An answer out of a store, and when it was put there (wall time)."""

    answer: O
    made: float


def packed(answer: object, made: float) -> str:
    """
    Answer the text that keeps *answer*: a `Response`, or a value of plain JSON types.

    Raises `ConfigurationError` for any other, and for attributes that JSON cannot hold.
    """
    if isinstance(answer, Response):
        kind, plain = "response", _plain(answer)
    else:
        kind, plain = "json", json_copy(answer, where="the answer")
        if plain != answer:
            raise ConfigurationError("the answer has tuples, which JSON cannot tell from lists")
    return _encode({"version": _VERSION, "made": made, kind: plain})


def unpacked(text: Any) -> Kept[Any]:
    """Answer what *text* keeps; raises `ValueError` if it is no such text."""
    try:
        entry = json.loads(text)
        if entry["version"] != _VERSION:
            raise ValueError(f"the entry is of version {entry['version']!r}, not {_VERSION}")
        made = float(entry["made"])
        if "response" in entry:
            return Kept(_response(entry["response"]), made)
        return Kept(entry["json"], made)
    except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"the entry is not one of a cache: {error!r}") from error


def plain_usage(usage: Usage) -> dict[str, Any]:
    """Answer *usage* as plain JSON types, its cost as text."""
    plain = attrs.asdict(usage, recurse=False)
    plain["cost"] = None if usage.cost is None else str(usage.cost)
    return plain


def _plain(response: Response) -> dict[str, Any]:
    fields = attrs.asdict(response, recurse=False)
    fields["usage"] = plain_usage(response.usage)
    fields["parts"] = [plain_part(part) for part in response.parts]
    fields["logprobs"] = [[each.token, each.logprob, each.top] for each in response.logprobs]
    for name in ("parts", "logprobs"):
        if not fields[name]:
            del fields[name]
    plain: dict[str, Any] = json_copy(fields, where="Response")
    return plain


def _response(plain: dict[str, Any]) -> Response:
    usage = plain["usage"]
    cost = None if usage["cost"] is None else Decimal(usage["cost"])
    fields = {**plain, "usage": Usage(**{**usage, "cost": cost})}
    fields["parts"] = tuple(kept_part(part) for part in plain.get("parts", ()))
    fields["logprobs"] = tuple(map(_logprob, plain.get("logprobs", ())))
    return Response(**fields)


def _logprob(plain: list[Any]) -> TokenLogprob:
    token, logprob, top = plain
    return TokenLogprob(token, logprob, tuple((other, value) for other, value in top))
