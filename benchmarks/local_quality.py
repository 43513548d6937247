"""
How good the embedded model is: accuracy with its 95 % interval, beside simple baselines.

Run it as ``python benchmarks/local_quality.py`` (held-out texts) or with ``dev`` behind it, for
the texts that options were chosen on. The texts stand in ``benchmarks/data``; they were written
for this purpose before anything was tuned, and every second text of each label is held out.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import anyio

import genai_pipeline as gp
from genai_pipeline.providers import Local

DATA = Path(__file__).parent / "data"


def interval(right: int, total: int) -> tuple[float, float]:
    """Answer the 95 % interval of Wilson for the share *right* of *total*."""
    z = 1.96
    share, weight = right / total, z * z / total
    middle = (share + weight / 2) / (1 + weight)
    half = z * math.sqrt(share * (1 - share) / total + weight / (4 * total)) / (1 + weight)
    return middle - half, middle + half


def show(name: str, right: int, total: int) -> None:
    """Print one line of the table."""
    low, high = interval(right, total)
    print(f"  {name:<24}{right:>4} of {total:<4}{right / total:>5.0%}  ({low:.0%} to {high:.0%})")


def rows_of(name: str, split: str) -> list[dict[str, Any]]:
    """Answer the rows of one file that belong to *split*."""
    lines = (DATA / name).read_text(encoding="utf-8").splitlines()
    return [each for each in map(json.loads, lines) if each["split"] == split]


async def measure_labels(split: str) -> None:
    """Print how often the right label was chosen, by names alone and with descriptions."""
    described = json.loads((DATA / "local_descriptions.json").read_text(encoding="utf-8"))
    every = rows_of("local_labels.jsonl", split)
    for task, descriptions in described.items():
        rows = [each for each in every if each["task"] == task]
        print(f"{task}, {len(descriptions)} labels")
        show(
            "always one label",
            Counter(each["label"] for each in rows).most_common(1)[0][1],
            len(rows),
        )
        for name, model in (
            ("label names alone", Local()),
            ("names, descriptions", Local(descriptions=descriptions)),
        ):
            answers = [
                await model(gp.Request(each["text"], labels=list(descriptions))) for each in rows
            ]
            right = sum(
                answer.text == each["label"] for answer, each in zip(answers, rows, strict=True)
            )
            show(name, right, len(rows))


async def measure_summaries(split: str) -> None:
    """Print how often the sentence was chosen that a person had chosen."""
    rows = rows_of("local_summaries.jsonl", split)
    print("summary in one sentence")
    found = {"first sentence": 0, "longest sentence": 0, "Local": 0}
    for each in rows:
        sentences = each["text"].replace(". ", ".\n").split("\n")
        chosen = sentences[each["chosen"]]
        answer = await Local()(Local.summary(each["text"]))
        found["first sentence"] += chosen == sentences[0]
        found["longest sentence"] += chosen == max(sentences, key=len)
        found["Local"] += chosen == answer.text
    for name, right in found.items():
        show(name, right, len(rows))


async def main(split: str) -> None:
    """Print all figures for one split."""
    await measure_labels(split)
    await measure_summaries(split)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1] if len(sys.argv) > 1 else "held-out")
