"""What stands for a policy that is not given: the usual one."""

from __future__ import annotations

from typing import Any

__all__ = ["USUAL"]


class _Usual:
    def __repr__(self) -> str:
        return "<the usual>"


USUAL: Any = _Usual()
