"""The JSON document in what a model wrote: as it is, in a fence, among prose, or mended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from genai_pipeline._generate._issues import Unfit
from genai_pipeline._generate._repair import repaired
from genai_pipeline._strict_json import DEEPEST, AmbiguousJson, loads, scan

__all__ = ["Document", "document_in"]

_FENCE = "```"
_THOUGHT = ("<think>", "</think>")


@attrs.frozen
class Document:
    """A JSON object, and whether its text had to be mended."""

    value: dict[str, Any]
    repaired: bool = False


def document_in(text: str, *, repair: bool) -> Document:
    """
    Answer the one JSON object in *text*.

    It is the text itself, what follows the model's thoughts, what stands in the only code fence,
    or the only object among prose. With *repair*, and the package ``json-repair`` installed,
    broken JSON is mended. Raises `Unfit`, and nothing else: for texts without an object or with
    several, and for what means nothing, or more than one thing (the same key twice, NaN, a
    number beyond a double, half a surrogate pair, more than 200 levels), which is not mended.
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
    for candidate in _candidates(text):
        try:
            return Document(_object(candidate))
        except AmbiguousJson:
            raise
        except ValueError:
            pass
    opening = text.find("{")
    if opening < 0:
        raise ValueError("the answer has no brace")
    try:
        return Document(_only_object(text, opening))
    except AmbiguousJson:
        raise
    except ValueError:
        if not repair:
            raise
    closing = text.rfind("}")
    broken = text[opening : closing + 1] if closing > opening else text[opening:]
    return Document(_object(repaired(broken)), repaired=True)


def _candidates(text: str) -> Iterator[str]:
    yield text
    begin, end = _THOUGHT
    if text.lstrip().startswith(begin) and end in text:
        text = text.partition(end)[2]
        yield text
    parts = text.split(_FENCE)
    if len(parts) == 3:  # noqa: PLR2004 - before, inside and behind the only one
        language, newline, rest = parts[1].partition("\n")
        yield rest if newline and language.strip().isalnum() else parts[1]


def _object(text: str) -> dict[str, Any]:
    value = loads(text)
    if not isinstance(value, dict):
        raise ValueError("it is another kind of JSON")  # noqa: TRY004 - an answer is no argument
    return value


def _only_object(text: str, opening: int) -> dict[str, Any]:
    try:
        _, end = scan(text, opening)
    except StopIteration as stop:
        raise ValueError(f"no value begins at character {stop.value}") from None
    if "{" in text[end:]:
        raise AmbiguousJson("there is more than one JSON object")
    return _object(text[opening:end])
