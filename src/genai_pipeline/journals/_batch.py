"""Operations that are asked for together: done all at once, or else each alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from genai_pipeline.journals._faults import is_fatal, translated
from genai_pipeline.journals._operation import Bulk, Operation
from genai_pipeline.journals._tables import Tables, Undone

__all__ = ["commit_together", "do"]


def commit_together(tables: Tables, batch: Sequence[Operation], number: int, path: Path) -> None:
    """
    Do all of *batch* in the *number*-th commit; each of it succeeds or fails by itself.

    Raises what SQLite and the disk do to the whole.
    """
    trusting = not tables.wary
    if not (_try(tables, batch, number, path) or (trusting and _try(tables, batch, number, path))):
        _do_each(tables, batch, path)
        tables.commit(number)


def _try(tables: Tables, batch: Sequence[Operation], number: int, path: Path) -> bool:
    """Do all of *batch* together; else none of it, and answer false."""
    with suppress(Undone):
        if _do_all(tables, batch, path):
            tables.commit(number)
            return True
    tables.roll_back()
    return False


def _do_all(tables: Tables, batch: Sequence[Operation], path: Path) -> bool:
    """Do all of *batch*; answer whether what failed in it had written nothing before."""
    alike: dict[Bulk, list[Operation]] = {}
    for operation in batch:
        if operation.bulk is not None:
            # Whoever asked for one waits for it, so that of these none rests on another.
            alike.setdefault(operation.bulk, []).append(operation)
            continue
        if not _do_alike(tables, alike):
            return False
        before = tables.writes
        do(tables, operation, path)
        if operation.error is not None and tables.writes != before:
            return False
    return _do_alike(tables, alike)


def _do_alike(tables: Tables, alike: dict[Bulk, list[Operation]]) -> bool:
    """Do what is of one kind at once, and forget it; answer whether that worked."""
    while alike:
        bulk, operations = alike.popitem()
        try:
            results = bulk(tables, [operation.given for operation in operations])
        except Undone:
            raise
        except Exception as error:
            if is_fatal(error):
                raise
            return False
        for operation, result in zip(operations, results, strict=True):
            failed = isinstance(result, Exception)
            operation.error = result if failed else None
            operation.result = None if failed else result
    return True


def _do_each(tables: Tables, batch: Sequence[Operation], path: Path) -> None:
    """Do each of *batch*, and undo what one that fails has written."""
    connection = tables.connection
    tables.begin()
    for operation in batch:
        connection.execute("SAVEPOINT operation")
        try:
            do(tables, operation, path)
            tables.flush()
        except Undone as undone:
            operation.error = translated(undone.cause, path)
        if operation.error is not None:
            connection.execute("ROLLBACK TO operation")
            tables.forget()
        connection.execute("RELEASE operation")


def do(tables: Tables, operation: Operation, path: Path) -> None:
    """Do *operation*, and let it know what came of it; raises what is not its own fault."""
    operation.error = None
    try:
        operation.result = operation.do(tables)
    except Undone:
        raise
    except Exception as error:
        if is_fatal(error):
            raise
        operation.error = translated(error, path) if isinstance(error, sqlite3.Error) else error
