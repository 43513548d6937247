"""The keys of rows."""

from __future__ import annotations

from genai_pipeline.errors import DataError
from genai_pipeline.records import Record

__all__ = ["row_key"]


def row_key(record: Record[object]) -> str:
    """Answer the key of *record*, or raise `DataError` where a column cannot hold it."""
    if not record.key:
        raise DataError("the record has no key; let the source give each its own")
    try:
        record.key.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"the record's key {record.key!r:.100} is no Unicode text, as a column of text has to "
            "be; give the source a key= that is"
        ) from error
    return record.key
