"""Rows that a pipeline leaves in its journal, in the commit that ends their record."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pytest

import genai_pipeline as gp
from genai_pipeline._journal_admin import Selector
from genai_pipeline.errors import ConfigurationError, Permanent
from genai_pipeline.journals import Encryption, LocalKeys, Memory, Sqlite
from genai_pipeline.sinks import JournalTable
from genai_pipeline.testing import FakeClock, Script
from tests.engine.doubles import Kept

pytestmark = pytest.mark.anyio

Make = Callable[[], Any]


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, folder: Path) -> Any:
    """Give a journal of either kind."""
    return Memory() if request.param == "memory" else Sqlite(folder / "run.db", ballast=0)


class Rows:
    """Texts by key, each delivery settled in a list."""

    def __init__(self, values: Iterable[str]) -> None:
        self.values = list(values)
        self.settled: list[str] = []

    async def __aiter__(self) -> AsyncIterator[gp.Delivery[str]]:
        for value in self.values:

            async def settle(error: Exception | None, value: str = value) -> None:
                self.settled.append(value)

            yield gp.Delivery(gp.Record(value, value, {"customer": value[0]}), settle)


async def run(
    journal: Any, values: Iterable[str], stage: Any, sink: Any, **options: Any
) -> gp.Report:
    return await gp.Pipeline(
        source=Rows(values), stage=stage, sink=sink, journal=journal, **options
    ).run()


async def rows(journal: Any, table: str = "out") -> dict[str, Any]:
    """Answer what is in a table of two columns."""
    async with journal:
        return {row["key"]: row["value"] for row in await journal.rows(table)}


def same(value: str) -> str:
    return value


def upper(value: str) -> str:
    return value.upper()


async def test_each_record_leaves_its_rows(journal: Any) -> None:
    """One row, several of a fan-out, or none of a filtered record; a second run adds nothing."""

    async def split(value: str) -> list[str]:
        return list(value[1:])

    stage = gp.chain(gp.filter(lambda value: value != "x"), gp.flat_map(split), gp.map(upper))
    for skipped in (0, 4):
        report = await run(journal, ["ab", "c", "x", "def"], stage, JournalTable("out"))
        assert report.skipped == skipped
    assert await rows(journal) == {"ab/0": "B", "def/0": "E", "def/1": "F"}


async def test_columns_hold_what_they_are_of(journal: Any) -> None:
    """With columns, fields of values are typed, and what may be missing is none."""

    async def measure(value: str) -> dict[str, Any]:
        told: dict[str, Any] = {"n": len(value), "share": 1, "raw": value.encode(), "tags": [value]}
        return told if value == "a" else {**told, "good": True, "share": 0.5}

    columns = {"n": int, "share": float, "good": bool | None, "raw": bytes, "tags": object}
    await run(journal, ["a", "bb"], gp.map(measure), JournalTable("out", columns=columns))
    async with journal:
        found = await journal.rows("out")
    first = {"key": "a", "n": 1, "share": 1.0, "good": None, "raw": b"a", "tags": ["a"]}
    second = {"key": "bb", "n": 2, "share": 0.5, "good": True, "raw": b"bb", "tags": ["bb"]}
    assert found == [first, second]
    assert type(found[0]["share"]) is float
    assert type(found[1]["good"]) is bool


async def test_a_changed_version_replaces_rows(journal: Any) -> None:
    """Made anew, a record leaves no row of before; those that fail or are filtered leave none."""

    def split(count: int) -> Any:
        async def work(value: str) -> list[str]:
            if count == 1 and value == "b":
                raise Permanent("no")
            if count == 1 and value == "c":
                return []
            return [f"{value}{count}"] * count

        return gp.flat_map(work, version=str(count))

    kept: gp.Stage[str, str] = gp.tee(JournalTable("kept"))
    await run(journal, "abc", gp.chain(kept, split(3)), JournalTable("out"), dead_letters=Kept())
    assert len(await rows(journal)) == 9
    await run(journal, "abc", split(1), JournalTable("out"), dead_letters=Kept())
    assert list((await rows(journal)).values()) == ["a1"]
    assert await rows(journal, "kept") == {"a": "a", "b": "b", "c": "c"}, "it is not this one's"


async def test_a_redriven_record_replaces_its_rows(journal: Any) -> None:
    """Dead, a record leaves its letter alone; redriven, its rows, and the letter is gone."""
    mended = False

    async def work(value: str) -> list[str]:
        if not mended:
            raise Permanent(f"bad {value}")
        return [value, value]

    letters, out = JournalTable("letters"), JournalTable("out")
    seen: gp.Stage[str, str] = gp.tee(JournalTable("seen"))
    stage = gp.chain(seen, gp.flat_map(work))
    await run(journal, "ab", stage, out, dead_letters=letters)
    told = await rows(journal, "letters")
    assert {key: letter["message"] for key, letter in told.items()} == {"a": "bad a", "b": "bad b"}
    assert (await rows(journal), await rows(journal, "seen")) == ({}, {})
    async with journal:
        assert await journal.redrive(Selector(keys=("a",))) == 1
    mended = True
    await run(journal, "ab", stage, out, dead_letters=letters)
    assert set(await rows(journal, "letters")) == {"b"}
    assert len(await rows(journal)) == 2
    assert set(await rows(journal, "seen")) == {"a"}


async def test_what_is_handed_back_leaves_rows_as_they_are(journal: Any) -> None:
    """A record that a run could not end keeps the rows of its last end."""
    await run(journal, "a", gp.map(upper), JournalTable("out"))

    async def fail(value: str) -> str:
        raise gp.Systemic("the key is wrong")

    with pytest.raises(gp.RunFailed):
        await run(journal, "a", gp.map(fail), JournalTable("out"))
    assert await rows(journal) == {"a": "A"}


async def test_a_value_that_does_not_fit_is_dead_alone(journal: Any) -> None:
    """A row of the wrong type is a dead letter of its own; its neighbours' are written."""

    async def odd(value: str) -> dict[str, Any]:
        return {"n": "three" if value == "c" else 1}

    dead = Kept()
    sink = JournalTable("out", columns={"n": int})
    report = await run(journal, "abcde", gp.map(odd), sink, dead_letters=dead)
    assert (report.written, report.dead) == (4, 1)
    assert [letter.message for letter in dead.values] == [
        "value['n'] is 'three', which is no int of 64 bits; convert it in a stage before the sink"
    ]
    async with journal:
        assert [row["key"] for row in await journal.rows("out")] == ["a", "b", "d", "e"]


@pytest.mark.parametrize("letters", [True, False])
async def test_a_row_that_the_table_refuses_is_dead_alone(folder: Path, letters: bool) -> None:
    """A constraint that others put on the table fails the record, and not the batch it shares."""
    path, dead = folder / "run.db", Kept()
    await run(Sqlite(path, ballast=0), "", gp.map(upper), JournalTable("out"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE UNIQUE INDEX once ON out (value)")
        connection.commit()

    async def two(value: str) -> list[str]:
        return ["fine" + value, "same" if value in "bd" else value]

    options: dict[str, Any] = {"dead_letters": dead} if letters else {}
    out = JournalTable("out")
    try:
        report = await run(Sqlite(path, ballast=0), "abcdefgh", gp.flat_map(two), out, **options)
    except gp.RunFailed as failed:
        assert not letters
        report = failed.report
        assert "refuses a row: UNIQUE constraint failed: out.value" in str(failed.exceptions[0])
    assert (report.written, report.dead, report.read) == (7, 1, 8)
    found = await rows(Sqlite(path, ballast=0))
    assert len(found) == 14
    assert len({key[0] for key in found} & {"b", "d"}) == 1
    async with Sqlite(path, ballast=0) as journal:
        (lost,) = await journal.records(Selector())
        assert (lost.stage, lost.error) == ("sink", "DataError")
    if letters:
        (letter,) = dead.values
        assert letter.message.startswith("the table 'out' refuses a row: UNIQUE")


async def test_gathered_records_leave_the_rows_of_their_list(journal: Any) -> None:
    """A list's row comes with the end of the list, and is there once, whoever carried it."""

    async def joined(values: list[str]) -> str:
        return "".join(sorted(values))

    members: gp.Stage[str, str] = gp.tee(JournalTable("members"))
    pairs: gp.Stage[str, list[str]] = gp.gather(2, linger=0.2)
    stage = gp.chain(members, pairs, gp.map(joined))
    for _ in range(2):
        await run(journal, "abcd", stage, JournalTable("out"))
    out = await rows(journal)
    assert "".join(sorted("".join(out.values()))) == "abcd"
    assert len(out) == 2
    assert set(await rows(journal, "members")) == set("abcd")


async def test_lists_of_lists_leave_their_rows(journal: Any) -> None:
    """What was gathered twice leaves its row once, with the end of the last list."""

    async def joined(values: list[list[str]]) -> str:
        return "".join(sorted(itertools.chain.from_iterable(values)))

    pairs: gp.Stage[str, list[str]] = gp.gather(2, linger=0.2, name="pairs")
    kept: gp.Stage[list[str], list[str]] = gp.tee(JournalTable("pairs"))
    fours: gp.Stage[list[str], list[list[str]]] = gp.gather(2, linger=0.2, name="fours")
    for _ in range(2):
        stage = gp.chain(pairs, kept, fours, gp.map(joined))
        await run(journal, "abcdefgh", stage, JournalTable("out"))
    out, of_pairs = await rows(journal), await rows(journal, "pairs")
    assert (len(out), len(of_pairs)) == (2, 4)
    assert "".join(sorted("".join(out.values()))) == "abcdefgh"
    assert sorted(itertools.chain.from_iterable(of_pairs.values())) == list("abcdefgh")


async def test_lists_of_one_record_are_told_apart(folder: Path) -> None:
    """Of a record whose pieces went into several lists, each list's row is that list's."""
    journal = Sqlite(folder / "run.db", ballast=0)

    async def split(value: str) -> list[str]:
        return [value + piece for piece in "12"]

    async def joined(values: list[str]) -> list[str]:
        return sorted(values)

    lists: gp.Stage[str, list[str]] = gp.gather(1)
    stage = gp.chain(gp.flat_map(split), lists, gp.map(joined))
    await run(journal, ["ann", "bob"], stage, JournalTable("out"), subject="customer")
    with closing(sqlite3.connect(folder / "run.db")) as connection:
        found = connection.execute("SELECT count(DISTINCT _record), count(*) FROM out").fetchone()
        assert found == (4, 4)
        groups = connection.execute("SELECT substr(item, 1, 14) FROM gathered").fetchall()
        owners = connection.execute("SELECT _record FROM out").fetchall()
        assert sorted(groups) == sorted(owners)
    async with journal:
        erased = await journal.erase("a")
        assert (erased.records, erased.groups, erased.rows) == (1, 2, 2)
    assert sorted((await rows(journal)).values()) == [["bob1"], ["bob2"]]


async def test_erasing_a_subject_drops_its_rows(journal: Any) -> None:
    """Purging leaves rows; erasing a subject then still finds its own, and drops them."""
    await run(
        journal, ["ann", "amy", "bob"], gp.map(upper), JournalTable("out"), subject="customer"
    )
    async with journal:
        await journal.purge(1e12)
        assert len(await journal.rows("out")) == 3
        told = await journal.erase("a", dry_run=True)
        assert await journal.erase("a") == told
        assert told.rows == 2
    assert await rows(journal) == {"bob": "BOB"}


async def test_no_byte_of_an_erased_row_is_left(folder: Path) -> None:
    """After an erasure the file, its log and what lies beside it hold nothing of the rows."""
    journal, secret = Sqlite(folder / "run.db", ballast=0), "ann's very own words"
    await run(journal, [secret, "bob"], gp.map(upper), JournalTable("out"), subject="customer")
    assert secret.upper().encode() in (folder / "run.db").read_bytes()
    async with journal:
        await journal.erase("a")
        for path in folder.iterdir():
            assert secret.upper().encode() not in path.read_bytes()
            assert secret.encode() not in path.read_bytes()


async def test_two_tables_and_other_sinks_go_together(journal: Any) -> None:
    """Tables can be written on the way, in order, behind policies, and beside other sinks."""
    out, retry = Kept(), gp.Retry(on=gp.Transient, attempts=2)
    seen: gp.Stage[str, str] = gp.tee(gp.wrap(JournalTable("seen"), retry))
    stage = gp.chain(seen, gp.map(upper))
    await run(journal, "abc", stage, out)
    assert await rows(journal, "seen") == {"a": "a", "b": "b", "c": "c"}
    assert sorted(out.values) == ["A", "B", "C"]
    await run(journal, "de", gp.map(upper), gp.in_order(JournalTable("out")))
    assert await rows(journal) == {"d": "D", "e": "E"}


async def test_a_retried_record_leaves_one_row(journal: Any, clock: FakeClock) -> None:
    """What an attempt put there that then failed is written once, as the last one had it."""
    count = itertools.count()

    async def flaky(value: str) -> str:
        if next(count) == 0:
            raise gp.Transient("once more")
        return value

    seen: gp.Stage[str, str] = gp.tee(JournalTable("seen"))
    stage = gp.chain(gp.map(same), seen, gp.map(flaky))
    retry = gp.Retry(on=gp.Transient, attempts=2, clock=clock)
    await run(journal, "a", gp.wrap(stage, retry), JournalTable("out"))
    assert await rows(journal, "seen") == await rows(journal) == {"a": "a"}


async def test_the_source_is_told_after_the_rows_are_there(folder: Path) -> None:
    """When a record is settled, its row is there: it can be read while the run goes on."""
    journal, found = Sqlite(folder / "run.db", ballast=0), list[Any]()

    class Source(Rows):
        async def __aiter__(self) -> AsyncIterator[gp.Delivery[str]]:
            async def settle(error: Exception | None) -> None:
                found.append(await journal.rows("out"))

            yield gp.Delivery(gp.Record("a", "a"), settle)

    sink = JournalTable("out")
    await gp.Pipeline(source=Source(""), stage=gp.map(upper), sink=sink, journal=journal).run()
    assert found == [[{"key": "a", "value": "A"}]]


async def test_a_plan_writes_no_rows(journal: Any) -> None:
    """A sample that walks records for a plan comes past a table, and writes nothing."""
    model = Script("yes", then="repeat")

    async def ask(value: str) -> str:
        return (await model(gp.Request(value, max_output_tokens=1))).text

    pipeline = gp.Pipeline(
        source=Rows("ab"),
        stage=gp.chain(gp.tee(JournalTable("seen")), gp.map(ask)),
        sink=JournalTable("out"),
        journal=journal,
    )
    plan = await pipeline.plan(sample=2)
    assert (plan.next_calls, model.calls) == (2, 0)
    async with journal:
        assert await journal.tables() == []


def _pipeline(sink: Any, **options: Any) -> gp.Pipeline[Any, Any]:
    return gp.Pipeline(source=Rows("a"), stage=gp.map(upper), sink=sink, **options)


@pytest.mark.parametrize("where", ["sink", "stage", "dead_letters"])
def test_a_table_needs_a_journal(where: Literal["sink", "stage", "dead_letters"]) -> None:
    """A pipeline without a journal is refused when it is made, wherever the table is."""
    table = JournalTable("out")
    parts: dict[str, Any] = {"stage": gp.map(upper), "sink": Kept()}
    parts[where] = gp.tee(table) if where == "stage" else gp.in_order(table)
    with pytest.raises(ConfigurationError, match="'out' needs a journal= that keeps tables"):
        gp.Pipeline(source=Rows("a"), **parts)
    gp.Pipeline(source=Rows("a"), **parts, journal=Memory())


async def test_two_forms_of_one_table_are_refused() -> None:
    """Sinks of one table must have the same columns; those may share it."""
    wide = JournalTable("out", columns={"n": int})
    with pytest.raises(ConfigurationError, match="two sinks write the table 'out'"):
        _pipeline(wide, journal=Memory(), dead_letters=JournalTable("out"))
    _pipeline(wide, journal=Memory(), dead_letters=JournalTable("out", columns={"n": int}))


async def test_a_hidden_table_says_so(journal: Any) -> None:
    """Called where the pipeline cannot see it, or outside of any, a table is refused."""
    table = JournalTable("out")

    async def hidden(record: gp.Record[str]) -> None:
        await table(record)

    with pytest.raises(gp.RunFailed) as failed:
        await run(journal, "a", gp.map(upper), hidden)
    assert "in pipelines with a journal alone" in str(failed.value.exceptions[0])
    with pytest.raises(gp.RunFailed) as failed:
        await run(journal, "a", gp.tee(JournalTable("seen")), hidden)
    assert "does not know that it writes the table 'out'" in str(failed.value.exceptions[0])
    with pytest.raises(ConfigurationError, match="in pipelines with a journal alone"):
        await table(gp.Record("a", "a"))


async def test_an_encrypted_journal_refuses_tables(folder: Path) -> None:
    """What would be in the clear beside what is encrypted is refused before anything is read."""
    path = folder / "run.db"
    journal = Sqlite(path, ballast=0, codec=Encryption(LocalKeys(bytes(32))))
    with pytest.raises(ConfigurationError, match="'out' would hold in the clear"):
        await run(journal, "a", gp.map(upper), JournalTable("out"))
    assert (await run(journal, "a", gp.map(upper), Kept())).written == 1


@pytest.mark.parametrize(("key", "told"), [("", "has no key"), ("\ud800", "no Unicode text")])
async def test_an_output_without_a_key_of_text_is_dead(journal: Any, key: str, told: str) -> None:
    """A key that no column of text can hold is a DataError of its record alone."""

    async def stage(record: gp.Record[str]) -> list[gp.Record[str]]:
        return [gp.Record(record.value, key) if record.value == "b" else record]

    dead = Kept()
    report = await run(journal, "abc", stage, JournalTable("out"), dead_letters=dead)
    assert (report.written, report.dead) == (2, 1)
    assert told in dead.values[0].message
    assert await rows(journal) == {"a": "a", "c": "c"}
