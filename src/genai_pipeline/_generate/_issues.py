"""What is wrong with an answer, and where in it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, TypeAlias

__all__ = ["Issue", "Unfit", "below", "shown", "told"]

Issue: TypeAlias = tuple[str, str]
"""A place, as a JSONPath (``$.lines[2].total``), and what is wrong there."""

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_MOST = 10
_LONGEST = 200


class Unfit(Exception):
    """Raised when an answer is not what was asked for."""

    def __init__(self, *issues: Issue) -> None:
        super().__init__(told(issues))
        self.issues = issues


def below(path: str, part: str | int) -> str:
    """Answer the place of *part* within the object or list at *path*."""
    if isinstance(part, int):
        return f"{path}[{part}]"
    if _NAME.fullmatch(part):
        return f"{path}.{part}"
    return f"{path}[{json.dumps(part)}]"


def shown(value: Any) -> str:
    """Answer what *value*, of JSON types, is in few words."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= _LONGEST // 4 else f"{text[: _LONGEST // 4]}…"


def told(issues: Sequence[Issue], between: str = "; ") -> str:
    """Answer the first of *issues* in words, and how many more there are."""
    lines = [f"{path[:_LONGEST]}: {message[:_LONGEST]}" for path, message in issues[:_MOST]]
    if len(issues) > _MOST:
        lines.append(f"and {len(issues) - _MOST} more")
    return between.join(lines)
