"""The JSON document in what a model wrote: as it is, in a fence, among prose, or mended."""

from __future__ import annotations

import re
from typing import Any

import attrs

from genai_pipeline._generate._issues import Unfit
from genai_pipeline._generate._repair import repaired
from genai_pipeline._strict_json import DEEPEST, AmbiguousJson, loads, scan

__all__ = ["Document", "document_in"]

_BRACE = re.compile("[{}]")
_FENCE = re.compile(r"^[ \t]*```", re.MULTILINE)  # no JSON text has a line that begins so
_SEVERAL = "there is more than one JSON object"
_THOUGHT = ("<think>", "</think>")


@attrs.frozen
class Document:
    """A JSON object, and whether its text had to be mended."""

    value: dict[str, Any]
    repaired: bool = False


def document_in(text: str, *, repair: bool) -> Document:
    """
    Answer the one JSON object in *text*.

    It is the text itself, or the only object in it: behind the model's thoughts, in the only code
    fence, among prose. With *repair*, and the package ``json-repair`` installed, broken JSON is
    mended. Raises `Unfit`, and nothing else: for texts without an object or with several, and
    for JSON that means nothing, or more than one thing (the same key twice, NaN, a number beyond
    a double, half a surrogate pair, more than 200 levels), which is not mended.
    """
    if not text.strip():
        raise Unfit(("$", "the answer is empty"))
    try:
        text.encode()
        return _found(text, repair=repair)
    except UnicodeEncodeError:
        raise Unfit(("$", "the answer holds half a sign: a lone surrogate")) from None
    except AmbiguousJson as error:
        raise Unfit(("$", str(error))) from None
    except RecursionError:
        raise Unfit(("$", f"the answer is nested deeper than {DEEPEST} levels")) from None
    except ValueError as error:
        raise Unfit(("$", f"no JSON object: {error}")) from None


def _found(text: str, *, repair: bool) -> Document:
    try:
        return Document(_object(text))
    except ValueError:
        text = _undressed(text)
    try:
        return Document(_only_object(text))
    except AmbiguousJson:
        raise
    except ValueError:
        if not repair or "{" not in text:
            raise
    broken = text[text.index("{") :]
    if _has_several(broken):
        raise AmbiguousJson(_SEVERAL)
    return Document(_object(repaired(broken)), repaired=True)


def _undressed(text: str) -> str:
    """Leave out what the model thought, and all around the only fence."""
    begin, end = _THOUGHT
    if text.lstrip().startswith(begin):
        text = text.partition(end)[2] or text
    parts = _FENCE.split(text)
    return parts[1] if len(parts) == 3 else text  # noqa: PLR2004 - before, inside and behind it


def _object(text: str) -> dict[str, Any]:
    value = loads(text)
    if not isinstance(value, dict):
        raise ValueError("it is another kind of JSON")  # noqa: TRY004 - an answer is no argument
    return value


def _only_object(text: str) -> dict[str, Any]:
    opening = text.find("{")
    if opening < 0:
        raise ValueError("the answer has no brace")
    try:
        _, end = scan(text, opening)
    except StopIteration as stop:
        raise ValueError(f"no value begins at character {stop.value}") from None
    if "{" in text[end:]:
        raise AmbiguousJson(_SEVERAL)
    return _object(text[opening:end])


def _has_several(broken: str) -> bool:
    """Tell whether another object seems to begin where one has ended; mending would choose one."""
    depth, ended = 0, False
    for sign in _BRACE.findall(broken):
        if sign == "{" and ended:
            return True
        depth += 1 if sign == "{" else -1
        ended = ended or depth == 0
    return False
