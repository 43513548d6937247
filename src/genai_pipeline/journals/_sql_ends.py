"""How the carrying of records ended, in the tables of a journal file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import attrs

from genai_pipeline._journal import ItemEnd
from genai_pipeline._journal_tables import TableRows
from genai_pipeline._lives import ended
from genai_pipeline.errors import AccountingError
from genai_pipeline.journals._bulk import RowKind
from genai_pipeline.journals._sql_records import columns, life_of, put_life
from genai_pipeline.journals._sql_rows import EndedRows, put_rows
from genai_pipeline.journals._tables import Tables, readable

__all__ = ["EndedItem", "end_items"]


@attrs.frozen
class EndedItem:
    """How the carrying of a record ended, and its dead letter with the codec's name."""

    item: bytes
    end: ItemEnd
    letter: tuple[bytes, str | None] | None = None
    """As the codec made it; where everything is encrypted, as it came."""

    rows: Sequence[TableRows] = ()


def end_items(tables: Tables, ends: Sequence[EndedItem]) -> list[Exception | None]:
    """Note how the carrying of records ended, and write the rows that come with it."""
    told: list[Exception | None] = []
    rows: list[EndedRows] = []
    for each in ends:
        life = tables.carried.pop(each.item, None)
        try:
            if life is None:
                noted = _end_known(tables, each)
            else:
                noted = True
                _put_ending(tables, each)
                state = columns(tables, ended(life, each.end) or life)
                tables.note(RowKind.ITEM_END, each.item, *state, each.end.at)
            if each.rows and noted:
                rows.append(EndedRows(each.item, each.rows, known=life is None))
        except AccountingError as error:
            told.append(error)
        else:
            told.append(None)
        tables.sealed_for.pop(each.item, None)
    if rows:
        put_rows(tables, rows)
    return told


def _end_known(tables: Tables, ended_item: EndedItem) -> bool:
    """Note the end of a record that may have had one before; answer whether that is noted."""
    item, end = ended_item.item, ended_item.end
    life = ended(life_of(tables, item), end)
    if life is not None:
        put_life(tables, item, life, end.at)
        tables.do("DELETE FROM ending WHERE item = ?", item)
        _put_ending(tables, ended_item)
    return life is not None


def _put_ending(tables: Tables, ended: EndedItem) -> None:
    """Write how a record ended that is not plainly done."""
    end = ended.end
    if (end.stage, end.error, end.category, end.message, ended.letter) != (None,) * 5:
        message, (body, codec) = _told(tables, ended)
        tables.do(
            "INSERT INTO ending (item, stage, error, category, message, letter, digest, codec) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            ended.item,
            tables.word(end.stage),
            tables.word(end.error),
            tables.word(end.category),
            message,
            body,
            None if body is None else hashlib.blake2b(body, digest_size=16).digest(),
            codec,
        )


def _told(tables: Tables, ended: EndedItem) -> tuple[str | None, tuple[bytes | None, str | None]]:
    """Answer message and letter as they are to be kept."""
    message, (body, codec) = readable(ended.end.message), ended.letter or (None, None)
    if tables.vault.sealed:
        owner, name = tables.owner_of(ended.item), ended.item.hex()
        if message is not None:
            message = tables.vault.text(owner, message, f"message of {name}")
        if body is not None:
            return message, tables.vault.body(owner, body, f"letter {name}")
    return message, (body, codec)
