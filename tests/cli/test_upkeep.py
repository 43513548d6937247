"""``journal`` and ``purge``: whether a journal is whole, copies of it, and forgetting."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.journal_jobs import END, bill, plain, say, shape


@pytest.fixture
def ended(crashed: Path) -> Path:
    """Stand in a folder in which a run came to its end; answer the folder."""
    assert say("resume", "paid.py:pipeline", "-q").code == 0
    return crashed


def damage(sql: str) -> None:
    """Change something behind the journal's back."""
    with closing(sqlite3.connect("run.db", isolation_level=None)) as connection:
        connection.execute(sql)


def test_check(crashed: Path) -> None:
    """A journal that a killed process left is whole, and is said to be."""
    said = say("journal", "check", "run.db")
    assert (said.code, said.out, said.err) == (0, "", "run.db: all is well\n")
    assert plain("journal", "check", "run.db") == {"fine": True, "problems": []}


def test_check_finds_damage(ended: Path) -> None:
    """A damaged answer and a wrong account are found, named, and exit code 1; nothing is mended."""
    damage("UPDATE answer SET body = x'00' WHERE call = 3")
    damage("UPDATE budget SET spent = spent + 1")
    before = shape(ended)
    said = say("journal", "check", "run.db")
    assert said.code == 1
    assert any(line.startswith("answer of call 3: ") for line in said.lines)
    assert any(line.startswith("budget ") for line in said.lines)
    assert "genai-pipeline journal salvage run.db NEW" in said.err
    assert shape(ended) == before


def test_salvage(ended: Path) -> None:
    """Out of a damaged journal comes a sound one with all that is whole; the old one stays."""
    damage("UPDATE answer SET body = x'00' WHERE call = 3")
    before = shape(ended)
    said = say("journal", "salvage", "run.db", "new.db")
    assert said.code == 0
    assert "answers that are not whole: 1;" in said.err
    assert say("journal", "check", "new.db").code == 0
    counts, saved = (plain("status", name)["pipelines"][0] for name in ("run.db", "new.db"))
    assert saved["records"] == counts["records"]
    now = shape(ended)
    assert {name: now[name] for name in before} == before


def test_backup(crashed: Path) -> None:
    """A backup says what the journal says, and can take its place; no file is replaced."""
    assert say("journal", "backup", "run.db", "copy.db").code == 0
    for look in (("runs",), ("cost", "--by", "tenant"), ("dead", "list")):
        name, *options = look
        if name == "dead":
            assert plain("dead", "list", "copy.db") == plain("dead", "list", "run.db")
        else:
            assert plain(name, "copy.db", *options) == plain(name, "run.db", *options)
    before = shape(crashed)
    again = say("journal", "backup", "run.db", "copy.db")
    assert (again.code, shape(crashed) == before) == (78, True)
    assert "exists; give a new path" in again.err
    (crashed / "copy.db").replace(crashed / "run.db")
    for name in ("run.db-wal", "run.db.status"):
        (crashed / name).unlink()
    assert say("resume", "paid.py:pipeline", "-q").code == 0
    assert len(set(bill(crashed))) == END
    assert len(bill(crashed)) <= END + 4, "only what was in flight is paid for again"


def test_purge_forgets_and_resume_stays_exact(ended: Path) -> None:
    """What is purged cannot be shown any more, costs what it cost, and is not worked on again."""
    cost, paid = plain("cost", "run.db", "--by", "tenant"), bill(ended)
    kept = say("purge", "run.db", "--older-than", "1h")
    assert (kept.code, kept.err[:24]) == (0, "0 records and 0 calls fo")
    assert say("dead", "show", "run.db", "9").code == 0
    gone = say("purge", "run.db", "--older-than", "0s", "--pipeline", "asked")
    assert gone.err.startswith(f"{END} records and ")
    assert say("dead", "show", "run.db", "9").code == 2
    assert plain("cost", "run.db", "--by", "tenant") == cost
    assert say("resume", "paid.py:pipeline", "-q").code == 0
    assert bill(ended) == paid
    assert "purged before" in say("dead", "export", "run.db", "--all").err
    assert say("journal", "check", "run.db").code == 0


def test_redriving_what_was_purged_says_what_it_costs(ended: Path) -> None:
    """A purged record has no answers left, so nobody is told that they are used again."""
    assert say("purge", "run.db", "--older-than", "0s").code == 0
    redriven = say("dead", "redrive", "run.db", "--all")
    assert redriven.code == 0
    assert redriven.err.endswith("4 of them were purged: all their calls are made anew\n")
    paid = len(bill(ended))
    assert say("resume", "paid.py:pipeline", "-q").code == 0
    assert len(bill(ended)) == paid + 4


def test_vacuum(ended: Path) -> None:
    """After a purge, vacuum leaves nothing of what was purged, and a smaller file."""
    assert say("purge", "run.db", "--older-than", "0s").code == 0
    before = (ended / "run.db").stat().st_size
    said = say("journal", "vacuum", "run.db")
    assert said.code == 0
    assert (ended / "run.db").stat().st_size < before
    assert b"bad 9" not in (ended / "run.db").read_bytes()


_TABLED = """
import genai_pipeline as gp

COLUMNS = {"n": int, "odd": bool, "raw": bytes, "tags": list, "note": str | None}


async def describe(n: int) -> dict[str, object]:
    return {"n": n, "odd": n % 2 == 1, "raw": b"\\0", "tags": ["é", n], "note": None}


pipeline = gp.Pipeline(
    source=gp.sources.Values(range(3), key=str),
    stage=gp.map(describe),
    sink=gp.sinks.JournalTable("answers", columns=COLUMNS),
    journal=gp.Sqlite("tabled.db"),
)
"""


def test_table(jobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that a sink keeps in a journal are listed, and written as JSON Lines and CSV."""
    monkeypatch.setattr("genai_pipeline.cli._rows._AT_ONCE", 2)
    (jobs / "tabled.py").write_text(_TABLED, "utf-8")
    assert say("run", "tabled.py", "-q").code == 0
    before = shape(jobs)
    listed = say("journal", "table", "tabled.db")
    assert listed.lines == ["TABLE    COLUMNS", "answers  key, n, odd, raw, tags, note"]
    said = say("journal", "table", "tabled.db", "answers")
    assert (said.code, said.err) == (0, "answers: 3 rows\n")
    told = [json.loads(line) for line in said.lines]
    assert [row["key"] for row in told] == ["0", "1", "2"]
    tags = ["é", 1]
    assert told[1] == {"key": "1", "n": 1, "odd": True, "raw": "AA==", "tags": tags, "note": None}
    assert shape(jobs) == before
    for name in ("out.csv", "out.jsonl"):
        assert say("journal", "table", "tabled.db", "answers", "--output", name).code == 0
    assert (jobs / "out.csv").read_text("utf-8").splitlines()[:2] == [
        "key,n,odd,raw,tags,note",
        '0,0,false,AA==,"[""é"", 0]",',
    ]
    assert [json.loads(line) for line in (jobs / "out.jsonl").read_text().splitlines()] == told


def test_table_that_is_not_there(crashed: Path) -> None:
    """A table that is not in the journal is wrong usage, and which there are is told."""
    said = say("journal", "table", "run.db", "answers")
    assert (said.code, said.out) == (2, "")
    assert "there is no table 'answers' in it; there is none" in said.err
    said = say("journal", "table", "run.db")
    assert (said.code, said.lines) == (0, ["TABLE  COLUMNS"])
