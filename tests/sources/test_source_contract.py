"""The source contract, kept by every source of the library."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.sources import Csv, JsonLines, Push, TextFiles, Values
from genai_pipeline.testing import SourceContract
from genai_pipeline.types import Source


class TestValuesOfAList(SourceContract):
    """`Values` over a list."""

    expected = ("a", "b", "c", "d")

    def make(self) -> Source[Any]:
        """Answer a source over a list."""
        return Values(["a", "b", "c", "d"])


class TestValuesOfAnAsyncGenerator(SourceContract):
    """`Values` over an iterator that can be read once."""

    expected = (0, 1, 2, 3)
    repeatable = False

    def make(self) -> Source[Any]:
        """Answer a source over an asynchronous generator."""

        async def numbers() -> AsyncIterator[int]:
            for number in range(4):
                yield number

        return Values(numbers(), key=lambda number: f"n{number}")


class TestPush(SourceContract):
    """`Push`, filled and closed before it is read."""

    expected = ("a", "b", "c")
    repeatable = False

    def make(self) -> Source[Any]:
        """Answer a source into which three values were put."""
        push: Push[str] = Push(prefix="p")
        for value in self.expected:
            push.put_nowait(value)
        push.close()
        return push


class TestJsonLines(SourceContract):
    """`JsonLines` over a folder of plain and packed files, one with a bad line."""

    expected = tuple({"n": number} for number in range(3000))

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        lines = [json.dumps(value) + "\n" for value in self.expected]
        (tmp_path / "a.jsonl").write_text("".join(lines[:2000]) + "{bad\n")
        (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress("".join(lines[2000:]).encode()))

    def make(self) -> Source[Any]:
        """Answer a source over the folder."""
        return JsonLines(self.folder)


class TestCsv(SourceContract):
    """`Csv` over a file with quoted newlines."""

    expected = ({"id": "1", "text": "a\nb"}, {"id": "2", "text": ""}, {"id": "3", "text": '"'})

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.file = tmp_path / "a.csv"
        self.file.write_text('id,text\n1,"a\nb"\n2,\n3,""""\n')

    def make(self) -> Source[Any]:
        """Answer a source over the file, keyed by its column."""
        return Csv(self.file, key=lambda row: row["id"])


class TestTextFiles(SourceContract):
    """`TextFiles` over a glob."""

    expected = ("one\n", "two\n", "three\n")

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        (tmp_path / "b").mkdir()
        for name, text in zip(("a.md", "b/a.md", "c.md"), self.expected, strict=True):
            (tmp_path / name).write_text(text)

    def make(self) -> Source[Any]:
        """Answer a source over the glob."""
        return TextFiles(self.folder / "**" / "*.md")
