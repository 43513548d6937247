"""Paths on the command line become sources and sinks, by how they end."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from genai_pipeline import sinks, sources
from genai_pipeline.cli import _edges as edges
from genai_pipeline.cli import main
from genai_pipeline.cli._sample import HandedBack, Sample
from genai_pipeline.cli._target import UsageError
from genai_pipeline.cli._total import total
from tests.cli.command import command, start

Captured = pytest.CaptureFixture[str]

_SHOUT = """
import genai_pipeline as gp

pipeline = gp.Pipeline(
    source=gp.sources.JsonLines("in.jsonl", key=lambda row: row["id"]),
    stage=gp.map(lambda row: {**row, "text": row["text"].upper()}),
    sink=gp.sinks.JsonLines("out.jsonl"),
)
"""


@pytest.fixture
def shout(jobs: Path) -> Path:
    """Stand in a folder with ``shout.py``, which writes texts in capitals, and its input."""
    (jobs / "shout.py").write_text(_SHOUT)
    (jobs / "in.jsonl").write_text('{"id": "a", "text": "x"}\n{"id": "b", "text": "y"}\n')
    return jobs


def rows(path: Path) -> list[str]:
    """Answer the texts in a JSON Lines file."""
    return sorted(json.loads(line)["text"] for line in path.read_text().splitlines())


def test_without_options(shout: Path, capsys: Captured) -> None:
    """The pipeline's own source and sink are used, and a second run doubles nothing."""
    for _ in range(2):
        assert main(["run", "shout.py"]) == 0
        assert rows(shout / "out.jsonl") == ["X", "Y"]
    assert "written to    out.jsonl" in capsys.readouterr().err


def test_csv_in_and_out(shout: Path) -> None:
    """Other paths take the place of the pipeline's own, whatever their format."""
    (shout / "in.csv").write_text("id,text\n1,one\n2,two\n")
    assert main(["run", "shout.py", "--input", "in.csv", "--output", "out.csv", "-q"]) == 0
    found = (shout / "out.csv").read_text().splitlines()
    assert (found[0], sorted(found[1:])) == ("id,text", ["1,ONE", "2,TWO"])
    assert not (shout / "out.jsonl").exists()


def test_folder_and_glob(shout: Path) -> None:
    """A folder and a glob are read as what their files are, packed or not."""
    (shout / "many").mkdir()
    (shout / "many/a.jsonl").write_text('{"id": "a", "text": "a"}\n')
    with gzip.open(shout / "many/b.jsonl.gz", "wt") as file:
        file.write('{"id": "b", "text": "b"}\n')
    for path in ("many", "many/*.jsonl*"):
        if path == "many/*.jsonl*":
            (shout / "many/b.jsonl.gz").rename(shout / "many/b.jsonl")
            path = "many/*.jsonl"  # noqa: PLW2901 - the files decide their packing, not the name
        assert main(["run", "shout.py", "--input", path, "-q"]) == 0
        assert rows(shout / "out.jsonl") == ["A", "B"]


def test_standard_output(shout: Path) -> None:
    """With ``--output -`` standard output has the records alone, to be piped on."""
    done = command("run", "shout.py", "--output", "-", cwd=shout)
    assert done.returncode == 0
    assert sorted(json.loads(line)["text"] for line in done.stdout.splitlines()) == ["X", "Y"]
    assert "written to    standard output" in done.stderr


def test_reader_of_the_output_goes_away(shout: Path) -> None:
    """When whoever reads standard output has enough, the run stops with 74, and says so."""
    (shout / "in.jsonl").write_text('{"id": "a", "text": "x"}\n' * 5_000)
    with start("run", "shout.py", "--output", "-", cwd=shout) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
    assert process.returncode == 74
    assert "whoever read it has gone" in err
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def test_dead_letters(shout: Path, capsys: Captured) -> None:
    """Records that fail, and lines that cannot be read, go where the option says."""
    (shout / "in.jsonl").write_text('{"id": "a", "text": 3}\nnot json\n{"id": "c", "text": "z"}\n')
    assert main(["run", "shout.py", "--dead-letters", "dead.jsonl"]) == 0
    letters = [json.loads(line) for line in (shout / "dead.jsonl").read_text().splitlines()]
    assert sorted(letter["category"] for letter in letters) == ["data", "permanent"]
    assert rows(shout / "out.jsonl") == ["Z"]
    assert "dead letters  dead.jsonl" in capsys.readouterr().err


def test_options_of_the_pipelines_own_source_are_kept(shout: Path) -> None:
    """A source of the same kind keeps its options, such as the key, and gets another path."""
    own = sources.JsonLines("in.jsonl", key=len, encoding="utf-8")
    other = edges.source("other.jsonl", own)
    assert (other.path, other.key, other.encoding) == (("other.jsonl",), len, "utf-8")
    segments = edges.sink("x.jsonl", sinks.JsonLines(shout / "parts", segment=5))
    assert (segments.path, segments.segment) == (Path("x.jsonl"), None)


@pytest.mark.parametrize(
    ("option", "path", "reason"),
    [
        ("--input", "in.parquet", "cannot tell the format; the name must end in .jsonl"),
        ("--input", "-", "standard input cannot be read"),
        ("--output", "out.txt", "cannot tell the format; the name must end in .jsonl"),
        ("--output", "out.jsonl.gz", "cannot tell the format"),
        ("--dead-letters", "dead.csv", "the name must end in .jsonl"),
    ],
)
@pytest.mark.usefixtures("shout")
def test_unknown_format(option: str, path: str, reason: str, capsys: Captured) -> None:
    """A name that tells no format is wrong usage, with the names that do."""
    assert main(["run", "shout.py", option, path]) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.usefixtures("shout")
def test_input_that_is_not_there(capsys: Captured) -> None:
    """An input file that does not exist is named."""
    assert main(["run", "shout.py", "--input", "absent.jsonl"]) == 78
    err = capsys.readouterr().err
    assert "'absent.jsonl' does not exist" in err
    assert "read =" not in err, "nothing was read, so there is nothing to sum up"


@pytest.mark.usefixtures("shout")
def test_output_in_a_missing_folder(capsys: Captured) -> None:
    """An output that cannot be is refused before anything is read."""
    assert main(["run", "shout.py", "--output", "absent/out.jsonl"]) == 78
    assert "absent does not exist; make it" in capsys.readouterr().err


def test_texts(jobs: Path) -> None:
    """Text files are read whole."""
    assert isinstance(edges.source("notes.txt", None), sources.TextFiles)
    (jobs / "notes").mkdir()
    (jobs / "notes/a.html").write_text("x")
    assert isinstance(edges.source("notes", None), sources.TextFiles)
    with pytest.raises(UsageError):
        edges.sink("notes.txt", None)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", b"{}\n{}\n", 2),
        ("a.jsonl", b'{"a": "b"}\n{}', 2),
        ("a.jsonl", b"", 0),
        ("a.jsonl", gzip.compress(b"{}\n", mtime=0), None),
        ("a.jsonl", "{}\n".encode("utf-16"), None),
        ("a.csv", b"a,b\n1,2\n3,4\n", 2),
        ("a.csv", b'a,b\n1,"2\n3",4\n', None),
        ("absent.jsonl", None, None),
    ],
)
async def test_total(jobs: Path, name: str, content: bytes | None, expected: int | None) -> None:
    """The total is the number of lines where these are records, else it is not known."""
    if content is not None:
        (jobs / name).write_bytes(content)
    source = edges.source(name, None)
    assert await total(source) == expected
    assert await total(HandedBack(source)) == expected
    assert await total(Sample(source, 1)) == (1 if expected is None else min(1, expected))


@pytest.mark.anyio
async def test_total_of_values() -> None:
    """Values have as many records as their iterable says, if it does."""
    assert await total(sources.Values([1, 2, 3])) == 3
    assert await total(sources.Values(iter([1, 2, 3]))) is None
