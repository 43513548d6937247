"""``dead``: which records failed for good, and how they are worked on again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.journal_jobs import END, bill, plain, say, shape

BAD = {str(number) for number in range(4, END, 5)}


@pytest.fixture
def ended(crashed: Path) -> Path:
    """Stand in a folder in which a run came to its end; answer the folder."""
    assert say("resume", "paid.py:pipeline", "-q").code == 0
    return crashed


def keys(*arguments: str) -> set[str]:
    """Answer the keys that are listed."""
    return {record["key"] for record in plain("dead", "list", "run.db", *arguments)}


def test_list(ended: Path) -> None:
    """Each dead record is listed with its key and why it died, within eighty columns."""
    lines = say("dead", "list", "run.db").lines
    assert {line.split()[2] for line in lines[1:]} == keys() == BAD
    assert all(f"bad {line.split()[2]}" in line for line in lines[1:])
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        (("--key", "4", "--key", "9", "--key", "3"), {"4", "9"}),
        (("--error", "ValueError"), {"4", "14"}),
        (("--error", "builtins.KeyError"), {"9", "19"}),
        (("--error", "ValueError", "--key", "9"), set()),
        (("--stage", "ask"), BAD),
        (("--stage", "other"), set()),
        (("--category", "permanent"), BAD),
        (("--category", "transient"), set()),
        (("--since", "1h"), BAD),
        (("--until", "1h"), set()),
        (("--since", "2020-01-01", "--until", "2020-01-02T00:00+02:00"), set()),
        (("--pipeline", "asked"), BAD),
        (("--all",), BAD),
    ],
)
def test_selectors(ended: Path, chosen: tuple[str, ...], found: set[str]) -> None:
    """Records are selected by all that is given together, for each action alike."""
    assert keys(*chosen) == found
    exported = say("dead", "export", "run.db", *chosen)
    assert {json.loads(line)["key"] for line in exported.lines} == found
    counted = say("dead", "redrive", "run.db", "--dry-run", *chosen)
    assert counted.err.startswith(f"{len(found)} record")
    assert keys() == BAD


def test_limit(ended: Path) -> None:
    """A list that is cut says so, on standard error."""
    said = say("dead", "list", "run.db", "--limit", "2")
    assert (len(said.lines), "--limit shows more" in said.err) == (3, True)
    assert say("dead", "list", "run.db", "--limit", "4").err == ""


def test_show(ended: Path) -> None:
    """All that is kept of a record is shown: its payload, where it came from and the traceback."""
    said = say("dead", "show", "run.db", "9")
    for told in ("KeyError", "bad 9", "permanent", "acme", "paid.py", "Traceback"):
        assert told in said.out
    (record,) = plain("dead", "show", "run.db", "9")
    assert (record["letter"]["payload"], record["generation"]) == (9, 0)


def test_show_a_payload_that_is_nothing_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A payload of 0, or of null, is shown as any other."""
    (tmp_path / "falsy.py").write_text(
        "import genai_pipeline as gp\n"
        "pipeline = gp.Pipeline(source=gp.sources.Values([0, None]), stage=gp.map(len),\n"
        "    sink=gp.sinks.JsonLines('out', segment=9), journal=gp.Sqlite('run.db', ballast=0),\n"
        "    max_failures=None)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert say("run", "falsy.py", "-q").code == 0
    said = say("dead", "show", "run.db", "0", "1")
    assert said.out.count("  payload\n    0\n") == said.out.count("  payload\n    null\n") == 1


def test_show_what_is_not_there(ended: Path) -> None:
    """A key that no dead record has is wrong usage, and named."""
    said = say("dead", "show", "run.db", "9", "3")
    assert said.code == 2
    assert "no dead record has the key '3'" in said.err


@pytest.mark.parametrize("action", ["redrive", "export"])
def test_everything_must_be_asked_for(ended: Path, action: str) -> None:
    """Without a choice nothing is done; --all is one, and goes with no other."""
    before = shape(ended)
    for wrong in ((), ("--all", "--key", "4")):
        said = say("dead", action, "run.db", *wrong)
        assert (said.code, said.out) == (2, "")
        assert "--all" in said.err
    assert shape(ended) == before


def test_redrive(ended: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redriven records are worked on by the next run, out of the answers that were paid for."""
    paid = bill(ended)
    said = say("dead", "redrive", "run.db", "--key", "4", "--key", "9")
    assert said.code == 0
    assert said.err.splitlines() == [
        "2 records (1 KeyError, 1 ValueError) to redrive",
        "2 go on with the next run; answered calls are used again",
    ]
    assert keys() == BAD - {"4", "9"}
    monkeypatch.setenv("MENDED", "1")
    assert say("resume", "paid.py:pipeline", "-q").code == 0
    assert bill(ended) == paid
    assert keys() == BAD - {"4", "9"}
    (status,) = plain("status", "run.db")["pipelines"]
    assert status["records"] == {"done": END - len(BAD) + 2, "dead": len(BAD) - 2}


def test_redrive_afresh(ended: Path) -> None:
    """Redriven afresh, records are paid for once more."""
    paid = bill(ended)
    assert "all calls are made anew" in say("dead", "redrive", "run.db", "--all", "--fresh").err
    assert say("resume", "paid.py:pipeline", "-q").code == 0
    assert sorted(bill(ended)[len(paid) :]) == sorted(f"number {key}" for key in BAD)
    again = plain("dead", "list", "run.db")
    assert {(record["key"], record["generation"]) for record in again} == {(k, 1) for k in BAD}


def test_export_to_a_file(ended: Path) -> None:
    """Dead letters are exported to a file as to standard output, which may be read back."""
    said = say("dead", "export", "run.db", "--all", "--output", "dead.jsonl")
    assert (said.code, said.out) == (0, "")
    lines = (ended / "dead.jsonl").read_text().splitlines()
    printed = say("dead", "export", "run.db", "--all").lines
    assert list(map(json.loads, lines)) == list(map(json.loads, printed))
    wrong = say("dead", "export", "run.db", "--all", "--output", "dead.txt")
    assert wrong.code == 2
    assert "must end in .jsonl" in wrong.err
