"""What calls cost, summed up by any names: for every journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from genai_pipeline._journal_admin import COST_NAMES, CostLine

__all__ = ["CostPart", "grouped"]


@attrs.frozen(kw_only=True)
class CostPart:
    """Calls that agree in everything that costs can be grouped by."""

    pipeline: str
    run: int
    stage: str
    provider: str
    model: str
    labels: Mapping[str, str]
    sums: tuple[int, ...]
    """In the order of `FIGURES`."""

    def value(self, name: str) -> str:
        """Answer what it has for *name*."""
        return str(getattr(self, name) if name in COST_NAMES else self.labels.get(name, ""))


FIGURES = tuple(field.name for field in attrs.fields(CostLine) if field.name != "group")


def grouped(parts: Iterable[CostPart], by: Sequence[str]) -> list[CostLine]:
    """Answer one line for each group, the dearest first."""
    sums: dict[tuple[str, ...], tuple[int, ...]] = {}
    for part in parts:
        group = tuple(part.value(name) for name in by)
        known = sums.get(group)
        sums[group] = (
            part.sums
            if known is None
            else tuple(a + b for a, b in zip(known, part.sums, strict=True))
        )
    lines = [
        CostLine(
            group=dict(zip(by, group, strict=True)), **dict(zip(FIGURES, figures, strict=True))
        )
        for group, figures in sums.items()
    ]
    return sorted(lines, key=lambda line: (-line.charged, tuple(line.group.values())))
