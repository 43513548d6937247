"""
Where records begin: memory, other tasks, and files.

Each source is an asynchronous iterable of deliveries with stable keys, and takes ``key=``, a
function of the value, to choose them otherwise.
"""

from __future__ import annotations

from genai_pipeline.sources._csv import Csv
from genai_pipeline.sources._jsonlines import JsonLines
from genai_pipeline.sources._push import Push
from genai_pipeline.sources._receipt import Receipt
from genai_pipeline.sources._text import TextFiles
from genai_pipeline.sources._values import Values

__all__ = ["Csv", "JsonLines", "Push", "Receipt", "TextFiles", "Values"]
