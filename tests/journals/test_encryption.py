"""An encrypted journal: nothing to be read without the key, and nothing changed unseen."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_pipeline._journal import BudgetUse, CallEnd, Intent, ItemEnd, RawAnswer
from genai_pipeline._journal_admin import Selector
from genai_pipeline.errors import ConfigurationError, StorageFailed
from genai_pipeline.journals import (
    Encryption,
    KeyCallbacks,
    LocalKeys,
    Sqlite,
    SqliteReader,
    salvage,
)
from genai_pipeline.journals._ciphers import Cipher, Tampered
from genai_pipeline.journals._sql_calls import digest_of
from tests.journals.script import run_info

pytestmark = pytest.mark.anyio

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
CANARY = "c4n4ry"
SUBJECT = f"subject-{CANARY}"


def encrypted(path: Path, *keys: bytes, **options: Any) -> Sqlite:
    return Sqlite(path, ballast=0, codec=Encryption(LocalKeys(keys or OLD)), **options)


def reader(path: Path, *keys: bytes) -> SqliteReader:
    return SqliteReader(path, codec=Encryption(LocalKeys(keys or OLD)))


@attrs.frozen
class Filled:
    """What was put into a journal."""

    item: bytes
    call: int
    member: bytes


async def fill(journal: Sqlite, subject: str | None = SUBJECT) -> Filled:
    """Put a canary wherever a user can put something."""
    run = await journal.begin_run(run_info())
    item = (await journal.claim(run, f"key-{CANARY}", subject=subject)).item
    member = b"m" * 16
    await journal.freeze_group(run, "map", [member], f"body-{CANARY}".encode(), items=[item])
    intent = Intent(
        run=run,
        item=item,
        stage="map",
        key=f"call-{CANARY}".encode(),
        provider="provider",
        model="model",
        at=1.0,
        deadline=61.0,
        hold=5,
        budgets=(BudgetUse(budget=f"run tenant={CANARY}", window="1", cap=1000),),
        labels={"tenant": f"label-{CANARY}"},
    )
    call = await journal.begin_call(intent)
    headers = {"content-type": f"header-{CANARY}"}
    answer = RawAnswer(body=f"answer-{CANARY}".encode() * 300, headers=headers)
    await journal.end_call(call, CallEnd(state="answered", at=2.0, cost=3, answer=answer))
    end = ItemEnd(
        state="dead",
        at=3.0,
        fingerprint="f",
        stage="map",
        error="ValueError",
        message=f"message-{CANARY}",
        category="permanent",
        letter=f'{{"payload": "{CANARY}"}}'.encode(),
    )
    await journal.end_item(item, end)
    return Filled(item, call, member)


async def seen(journal: Any, filled: Filled) -> list[Any]:
    """Answer all that can be read."""
    return [
        *await journal.records(Selector(keys=(f"key-{CANARY}",))),
        await journal.letter(filled.item),
        await journal.costs(("tenant",)),
        await journal.budgets(),
    ]


def artefacts(folder: Path) -> dict[str, bytes]:
    """Answer all files in *folder*, and what is in them."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def found_in(folder: Path, text: str = CANARY) -> list[str]:
    """Answer the files in *folder* that have *text*, plainly or in UTF-16."""
    forms = (text.encode(), text.encode("utf-16-le"))
    return [
        name
        for name, content in artefacts(folder).items()
        if any(form in content for form in forms) or text in name
    ]


async def test_no_file_tells_what_is_in_it(folder: Path) -> None:
    """Keys, answers, headers, letters, messages, labels, budgets: no byte of them, in no file."""
    path = folder / "run.db"
    async with encrypted(path) as journal:
        filled = await fill(journal)
        assert found_in(folder) == []
        assert (path.with_name("run.db-wal")).stat().st_size > 0
        await journal.backup(folder / "copy.db")
    salvage(path, folder / "saved.db")
    assert sorted(artefacts(folder)) == [
        *("copy.db", "run.db", "run.db.keys", "run.db.status", "saved.db", "saved.db.keys")
    ]
    assert found_in(folder) == []
    async with encrypted(path) as journal:
        expected = await seen(journal, filled)
        assert CANARY in str(expected)
        assert (await journal.answer(filled.call)).headers["content-type"] == f"header-{CANARY}"
        run = await journal.begin_run(run_info())
        group = await journal.group_of(run, filled.member)
        assert group is not None
        assert group.body == f"body-{CANARY}".encode()
        claim = (await journal.past_calls([f"key-{CANARY}"], "p"))[f"key-{CANARY}"]
        assert [call.key for call in claim.calls] == [f"call-{CANARY}".encode()]
    async with reader(folder / "saved.db") as saved:
        assert await seen(saved, filled) == expected
        assert await saved.check() == []


async def test_without_encryption_the_canary_is_found(folder: Path) -> None:
    """The same search finds the canary in a journal that is not encrypted: it can tell."""
    async with Sqlite(folder / "run.db", ballast=0) as journal:
        await fill(journal)
        assert "run.db-wal" in found_in(folder)


async def test_every_file_is_for_its_user_alone(folder: Path) -> None:
    """Whatever the umask, all files beside a journal, and all copies, have mode 0600."""
    before = os.umask(0)
    try:
        path = folder / "run.db"
        async with Sqlite(path, ballast=1 << 16, codec=Encryption(LocalKeys(OLD))) as journal:
            await fill(journal)
            await journal.backup(folder / "copy.db")
            modes = _modes(folder)
            assert {"run.db", "run.db-wal", "run.db.keys", "run.db.lock"} < modes.keys()
            assert {"run.db.ballast", "run.db.status"} < modes.keys()
            assert set(modes.values()) == {0o600}
        salvage(path, folder / "saved.db")
        async with reader(folder / "saved.db") as journal:
            await journal.backup(folder / "again.db")
            assert set(_modes(folder).values()) == {0o600}
    finally:
        os.umask(before)


def _modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


async def test_equal_texts_do_not_look_equal(folder: Path) -> None:
    """Equal answers are kept as different bytes; records are named otherwise in each journal."""
    names = []
    for number in range(2):
        async with encrypted(folder / f"{number}.db") as journal:
            names.append((await fill(journal)).item)
            await fill(journal, "another")
        with closing(sqlite3.connect(folder / f"{number}.db")) as connection:
            bodies = [row[0] for row in connection.execute("SELECT body FROM answer")]
        assert len(set(bodies)) == len(bodies)
    assert names[0] != names[1]


@pytest.mark.parametrize(
    ("table", "column", "places"),
    [
        ("answer", "body", ["answer 1"]),
        ("answer", "headers", ["headers of 1"]),
        ("ending", "letter", ["letter "]),
        ("ending", "message", ["message of "]),
        ("item", "key", ["key of "]),
        ("gathered", "body", ["group "]),
        ("budget", "budget", ["budget"]),
    ],
)
async def test_what_was_changed_is_told(
    folder: Path, table: str, column: str, places: list[str]
) -> None:
    """Any bit that flips in what is sealed is a StorageFailed that names it, digests or not."""
    path = folder / "run.db"
    async with encrypted(path) as journal:
        filled = await fill(journal)
    key = {"item": "latest", "budget": "id"}.get(table, "rowid")
    with closing(sqlite3.connect(path)) as connection:
        content = connection.execute(f"SELECT {column} FROM {table} WHERE {key} = 1").fetchone()[0]
    size, is_text = len(content), isinstance(content, str)
    for place in sorted({*range(0, size, max(1, size // 20)), size - 1}):
        flipped = bytearray(content.encode() if is_text else content)
        flipped[place] ^= 1
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            kept = flipped.decode() if is_text else bytes(flipped)
            _put(connection, table, column, key, kept)
        with pytest.raises(StorageFailed) as told:
            await _read_all(path, filled)
        assert any(each in str(told.value) for each in places), told.value


def _put(connection: sqlite3.Connection, table: str, column: str, key: str, kept: object) -> None:
    connection.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = 1", (kept,))
    if table == "answer":
        row = connection.execute("SELECT status, headers, body FROM answer").fetchone()
        connection.execute("UPDATE answer SET digest = ?", (digest_of(*row),))
    elif column in ("letter", "body"):
        assert isinstance(kept, bytes)
        digest = blake2b(kept, digest_size=16).digest()
        connection.execute(f"UPDATE {table} SET digest = ?", (digest,))


async def _read_all(path: Path, filled: Filled) -> None:
    async with encrypted(path, writer="inline") as journal:
        await journal.answer(filled.call)
        await seen(journal, filled)
        await journal.group_of(await journal.begin_run(run_info()), filled.member)


async def test_what_was_moved_is_told(folder: Path) -> None:
    """An answer put in the place of another is refused, though it is whole."""
    path = folder / "run.db"
    async with encrypted(path) as journal:
        await fill(journal, None)
        await fill(journal, None)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            "UPDATE answer SET (status, headers, body, digest) = "
            "(SELECT status, headers, body, digest FROM answer WHERE call = 1) WHERE call = 2"
        )
    async with reader(path) as journal:
        told = await journal.check()
        assert [each.partition(",")[0] for each in told] == [
            "answer 2: the answer 2 is not what was kept there: it was changed"
        ]
    async with encrypted(path) as journal:
        assert (await journal.answer(1)).body
        with pytest.raises(StorageFailed, match="answer 2 is not what was kept there"):
            await journal.answer(2)


async def test_a_wrong_key_opens_nothing(folder: Path) -> None:
    """With another key the journal is not entered; the error names the key that it needs."""
    async with encrypted(folder / "run.db") as journal:
        await fill(journal)
    before = artefacts(folder)
    needed = LocalKeys(OLD).key_id
    for enter in (encrypted, reader):
        with pytest.raises(ConfigurationError, match=f"wrapped by key '{needed}'"):
            async with enter(folder / "run.db", NEW):
                pass
    with pytest.raises(ConfigurationError, match=f"encrypted under the key '{needed}'"):
        async with Sqlite(folder / "run.db", ballast=0):
            pass
    after = artefacts(folder)
    assert {name: after[name] for name in before if name != "run.db.status"} == {
        name: content for name, content in before.items() if name != "run.db.status"
    }


async def test_without_a_key_it_is_looked_after_and_not_read(folder: Path) -> None:
    """Whoever lacks the key can check, copy and count, and is told of the key for the rest."""
    path = folder / "run.db"
    async with encrypted(path) as journal:
        filled = await fill(journal)
    async with SqliteReader(path) as locked:
        assert await locked.check() == []
        assert await locked.counts("p") == {"dead": 1}
        assert [run.pipeline for run in await locked.runs()] == ["p"]
        await locked.backup(folder / "copy.db")
        for ask in (
            locked.records(Selector()),
            locked.letter(filled.item),
            locked.costs(("tenant",)),
            locked.budgets(),
            locked.erase(SUBJECT, dry_run=True),
        ):
            with pytest.raises(ConfigurationError, match="--key-file or --key-env"):
                await ask


async def test_encryption_is_from_the_beginning(folder: Path) -> None:
    """A journal that was begun without is not entered with it, and stays as it was."""
    async with Sqlite(folder / "run.db", ballast=0) as journal:
        await fill(journal)
    for enter in (encrypted, reader):
        with pytest.raises(ConfigurationError, match="was begun without"):
            async with enter(folder / "run.db"):
                pass
    async with Sqlite(folder / "run.db", ballast=0) as journal:
        assert await journal.counts("p") == {"dead": 1}


async def test_rotation_writes_the_data_key_alone_anew(folder: Path) -> None:
    """After a rotation the new key opens the journal and the old one does not; bodies stay."""
    path = folder / "run.db"
    async with encrypted(path) as journal:
        filled = await fill(journal)
        expected = await seen(journal, filled)
    before = _table(path, "answer")
    async with encrypted(path, NEW, OLD) as journal:
        assert await journal.rotate() == LocalKeys(NEW).key_id
    assert _table(path, "answer") == before
    async with encrypted(path, NEW) as journal:
        assert await seen(journal, filled) == expected
    with pytest.raises(ConfigurationError, match=LocalKeys(NEW).key_id):
        async with encrypted(path, OLD):
            pass


async def test_a_plain_journal_has_no_key_to_rotate(folder: Path) -> None:
    """Rotating a journal without encryption is a ConfigurationError."""
    async with Sqlite(folder / "run.db", ballast=0) as journal:
        with pytest.raises(ConfigurationError, match="none to rotate"):
            await journal.rotate()


def _table(path: Path, table: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT * FROM {table}").fetchall()


async def test_subjects_need_their_keys(folder: Path) -> None:
    """Without the file of keys the journal is not entered; nothing of subjects can be read."""
    path = folder / "run.db"
    async with encrypted(path) as journal:
        await fill(journal)
    path.with_name("run.db.keys").rename(folder / "away")
    for enter in (encrypted, reader):
        with pytest.raises(ConfigurationError, match=r"run\.db\.keys.*is missing"):
            async with enter(path):
                pass
    assert not path.with_name("run.db.keys").exists()
    (folder / "away").rename(path.with_name("run.db.keys"))
    async with encrypted(path) as journal:
        assert await journal.check() == []


async def test_without_subjects_there_is_no_file_of_keys(folder: Path) -> None:
    """A journal none of whose records is anybody's is whole in one file."""
    async with encrypted(folder / "run.db") as journal:
        await fill(journal, None)
    assert not (folder / "run.db.keys").exists()


async def test_a_service_that_unwraps_another_key_is_found_out(folder: Path) -> None:
    """Under another data key no record would be known, so the journal is not entered with one."""
    async with encrypted(folder / "run.db") as journal:
        await fill(journal)
    keys = LocalKeys(OLD)
    other = KeyCallbacks(keys.key_id, keys.wrap, lambda *_: NEW)
    with pytest.raises(ConfigurationError, match="unwraps another data key"):
        async with Sqlite(folder / "run.db", ballast=0, codec=Encryption(other)):
            pass


@pytest.mark.parametrize("codec", [LocalKeys(OLD), Encryption, "aes", 1])
def test_what_is_no_codec_is_refused(folder: Path, codec: Any) -> None:
    """Keys without `Encryption` around them, or anything else, encrypt nothing: refused."""
    for make in (Sqlite, SqliteReader):
        with pytest.raises(ConfigurationError, match="codec="):
            make(folder / "run.db", codec=codec)


async def test_a_lost_data_key_is_told(folder: Path) -> None:
    """A file whose data key is gone says that it is damaged, and begins no new one."""
    path = folder / "run.db"
    async with encrypted(path) as journal:
        await fill(journal)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM meta WHERE name = 'data_key'")
    with pytest.raises(StorageFailed, match="data key is lost"):
        async with encrypted(path):
            pass


async def test_the_run_is_told_of_budgets_by_their_names(folder: Path) -> None:
    """The engine has budgets by name; beside the file they have names that tell nothing."""
    path = folder / "run.db"
    async with encrypted(path, writer="inline") as journal:
        await fill(journal)
    status = path.with_name("run.db.status").read_text()
    assert '"encrypted ' in status
    assert CANARY not in status


@given(
    body=st.binary(max_size=200),
    place=st.text(st.characters(codec="utf-8"), max_size=20),
    bit=st.integers(0, 10**6),
)
def test_what_a_cipher_seals(body: bytes, place: str, bit: int) -> None:
    """What is sealed opens as it was at its place, with its key, and whole: else never."""
    cipher, at = Cipher(OLD), place.encode()
    for seal, unseal in (
        (cipher.seal, "unseal"),
        (cipher.seal_alike, "unseal_alike"),
        (cipher.wrap, "unwrap"),
    ):
        kept = seal(body, at)
        assert getattr(cipher, unseal)(kept, at) == body
        flipped = bytearray(kept)
        flipped[bit // 8 % len(kept)] ^= 1 << bit % 8
        for other, data, where in (
            (cipher, bytes(flipped), at),
            (cipher, kept[: bit % len(kept)], at),
            (cipher, kept, at + b"x"),
            (Cipher(NEW), kept, at),
        ):
            with pytest.raises(Tampered):
                getattr(other, unseal)(data, where)
    assert cipher.seal(body, at) != cipher.seal(body, at)
    assert cipher.seal_alike(body, at) == cipher.seal_alike(body, at)
