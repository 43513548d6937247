"""``models``: what is known of models, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import genai_pipeline as gp
from genai_pipeline.cli import main
from tests.cli.command import command

Captured = pytest.CaptureFixture[str]


def listed(capsys: Captured, *arguments: str) -> list[str]:
    """Answer the names that ``models`` lists, which are found."""
    assert main(["models", *arguments, "--json"]) == 0
    return [each["model"] for each in json.loads(capsys.readouterr().out)["models"]]


def test_a_table(tmp_path: Path) -> None:
    """A line a model: limits, modalities, prices and date; a dash for what is not known."""
    done = command("models", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    head, *lines = done.stdout.splitlines()
    assert " ".join(head.split()) == "MODEL CONTEXT OUTPUT MODALITIES $ IN $ OUT AS OF NOTE"
    assert len(lines) == len(gp.ModelCatalogue.reference())
    told = {line.split()[0]: line.split()[1:] for line in lines}
    mini = ["128,000", "16,384", "text", "image", "file", ">", "text", "0.15", "0.6"]
    assert told["gpt-4o-mini"][:9] == mini
    assert told["gpt-4o-mini"][-2:] == ["until", "2027-01-14"]
    small = ["8,192", "-", "text", ">", "embedding", "0.02", "0"]
    assert told["text-embedding-3-small"][:7] == small


def test_json(capsys: Captured) -> None:
    """For programs: all that is known, days as ISO 8601, prices as text, `null` where unknown."""
    assert main(["models", "gpt-4o-mini", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["models"]
    info = gp.ModelCatalogue.reference().find("gpt-4o-mini")
    assert info is not None
    assert found["context_window"] == 128_000
    assert found["retires"] == "2027-01-14"
    assert found["dimensions"] is None
    assert found["source"] == info.source
    assert found["usd_per_million_tokens"]["input"] == "0.15"
    assert main(["models", "nova-micro", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["models"]
    assert found["usd_per_million_tokens"] is None


def test_patterns(capsys: Captured) -> None:
    """A pattern is a part of a name, a glob, or a name as a host spells it."""
    assert listed(capsys, "EMBEDDING-3") == ["text-embedding-3-small", "text-embedding-3-large"]
    assert set(listed(capsys, "claude-haiku-*")) == {"claude-haiku-5-5", "claude-haiku-4-5"}
    assert listed(capsys, "us.anthropic.claude-haiku-4-5-20251001-v1:0") == ["claude-haiku-4-5"]
    assert listed(capsys, "titan-embed-text-v2") == ["amazon.titan-embed-text-v2:0"]


def test_makers(capsys: Captured) -> None:
    """Only the models of one maker, if that is asked for."""
    every = listed(capsys)
    ours = listed(capsys, "--provider", "google")
    assert ours
    assert ours == [name for name in every if name.startswith("gemini-")]
    assert listed(capsys, "embed", "--provider", "cohere") == ["embed-v4.0"]


@pytest.mark.parametrize(
    "arguments", [["no-such-model"], ["gpt-4o", "--provider", "google"], ["--provider", "nobody"]]
)
def test_none(capsys: Captured, arguments: list[str]) -> None:
    """Where nothing is found, that is said, with what helps, and the exit code is 1."""
    assert main(["models", *arguments]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "no such model is known; --catalogue FILE adds models\n"
    assert main(["models", *arguments, "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"models": []}


def test_a_file_adds_and_corrects(capsys: Captured, tmp_path: Path) -> None:
    """A file adds models to the reference, and corrects what it says of others."""
    path = tmp_path / "models.toml"
    path.write_text("[acme]\ncontext_window = 7\n[gpt-4o]\nmax_output_tokens = 9\n")
    assert main(["models", "--catalogue", str(path), "--json"]) == 0
    found = {each["model"]: each for each in json.loads(capsys.readouterr().out)["models"]}
    assert found["acme"]["context_window"] == 7
    assert (found["gpt-4o"]["context_window"], found["gpt-4o"]["max_output_tokens"]) == (128_000, 9)
    assert len(found) == len(gp.ModelCatalogue.reference()) + 1
    assert main(["models", "acme", "--catalogue", str(path)]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert " ".join(line.split()) == "acme 7 - - > - - - -"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[acme]\ncontext = 7", "'acme' has 'context'; known are aliases"),
        ("[acme]\ncontext_window = 'x'", "'acme': ModelInfo: context_window='x'; give a whole"),
        (None, "the file cannot be read"),
    ],
)
def test_a_wrong_file(capsys: Captured, tmp_path: Path, text: str | None, said: str) -> None:
    """A file that is wrong is a wrong configuration: named, with the field and the mend."""
    path = tmp_path / "models.toml"
    if text is not None:
        path.write_text(text)
    assert main(["models", "--catalogue", str(path)]) == 78
    err = capsys.readouterr().err
    assert said in err
    assert str(path)[-20:] in err or "…" in err
