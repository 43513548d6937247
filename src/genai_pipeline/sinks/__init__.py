"""
Where records end: in memory, in files, in a table, on the standard output.

A sink is any ``async def __call__(self, record) -> None``. It may be an asynchronous context
manager; the pipeline enters it before the run and leaves it after, also when the run fails.
`genai_pipeline.testing.SinkContract` proves one.
"""

from __future__ import annotations

from genai_pipeline.sinks._collect import Collect
from genai_pipeline.sinks._csv import Csv
from genai_pipeline.sinks._disk import Disk
from genai_pipeline.sinks._files import Files
from genai_pipeline.sinks._journal_table import JournalTable
from genai_pipeline.sinks._json_lines import JsonLines
from genai_pipeline.sinks._stdout import Stdout
from genai_pipeline.sinks._table import Table

__all__ = ["Collect", "Csv", "Disk", "Files", "JournalTable", "JsonLines", "Stdout", "Table"]
