"""``erase``, ``journal rotate``, and commands that read a journal with a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from genai_pipeline.journals import LocalKeys
from tests.cli.journal_jobs import plain, say, shape

OLD, NEW = bytes(range(32)), bytes(range(1, 33))

_JOBS = """
import genai_pipeline as gp


class Orders:
    async def __aiter__(self):
        for number in range(6):
            who = "ann" if number % 2 else "bob"
            attributes = {"customer": f"{who}@example.org"}
            yield gp.Delivery(gp.Record(f"order of {who}", f"{who}-{number}", attributes))


model = gp.testing.Script.of(lambda request: gp.Response(request.prompt, request_id="req-1"))


async def ask(order):
    text = (await model(gp.Request(order, max_output_tokens=5))).text
    raise ValueError(f"bad {text}")


def pipeline_of(journal):
    return gp.Pipeline(
        name="orders",
        source=Orders(),
        stage=gp.map(ask),
        sink=gp.sinks.JsonLines("orders", segment=1000),
        journal=journal,
        subject="customer",
        max_failures=None,
    )


plain = pipeline_of(gp.Sqlite("plain.db", ballast=0))
keys = gp.journals.LocalKeys.from_file("journal.key")
sealed = pipeline_of(gp.Sqlite("run.db", ballast=0, codec=gp.journals.Encryption(keys)))
"""


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modules: None) -> Path:
    """Stand in a folder with a plain and an encrypted journal; answer the folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orders.py").write_text(_JOBS)
    _write_key("journal.key", OLD)
    assert say("run", "orders.py:plain", "-q").code == 0
    assert say("run", "orders.py:sealed", "-q").code == 0
    return tmp_path


def _write_key(name: str, *keys: bytes) -> None:
    Path(name).write_text("\n".join(key.hex() for key in keys))
    Path(name).chmod(0o600)


def test_erase(orders: Path) -> None:
    """What was erased is told, with the keys and request ids under which others have it."""
    told = plain("erase", "plain.db", "--subject", "ann@example.org", "--dry-run")
    assert (told["records"], told["calls"], told["groups"]) == (3, 3, 0)
    assert told["keys"] == ["ann-1", "ann-3", "ann-5"]
    assert [each["provider"] for each in told["requests"]] == ["script"] * len(told["requests"])
    before = shape(orders)
    said = say("erase", "plain.db", "--subject", "ann@example.org", "--dry-run")
    assert said.err == "3 records with 3 calls would be erased\n"
    assert shape(orders) == before
    said = say("erase", "plain.db", "--subject", "ann@example.org")
    assert said.code == 0
    assert said.err == "3 records with 3 calls erased; nothing of them is left in plain.db\n"
    assert said.lines[0] == "what the journal cannot reach:"
    assert "  sinks: what was written under the keys ann-1, ann-3, ann-5" in said.lines
    assert any("copies of the journal" in line for line in said.lines)
    left = {name: content for name, content in shape(orders).items() if name.startswith("plain.db")}
    assert [name for name, content in left.items() if b"ann" in content] == []
    assert {record["key"] for record in plain("dead", "list", "plain.db")} == {
        *("bob-0", "bob-2", "bob-4")
    }
    again = say("erase", "plain.db", "--subject", "ann@example.org")
    assert (again.code, again.out) == (0, "")
    assert again.err == "plain.db: nothing is kept of this subject\n"
    assert say("resume", "orders.py:plain", "-q").code == 0
    assert say("journal", "check", "plain.db").code == 0


LOOKS = [
    ("dead", "list", "run.db"),
    ("dead", "show", "run.db", "ann-1"),
    ("dead", "export", "run.db", "--all"),
    ("dead", "redrive", "run.db", "--all", "--dry-run"),
    ("cost", "run.db", "--by", "customer"),
    ("status", "run.db"),
    ("runs", "run.db"),
    ("journal", "check", "run.db"),
    ("purge", "run.db", "--older-than", "0s", "--dry-run"),
    ("erase", "run.db", "--subject", "bob@example.org", "--dry-run"),
]
CHANGES = [
    ("dead", "redrive", "run.db", "--all"),
    ("erase", "run.db", "--subject", "bob@example.org"),
    ("purge", "run.db", "--older-than", "0s"),
    ("journal", "vacuum", "run.db"),
]


@pytest.mark.parametrize("command", [*LOOKS, *CHANGES])
def test_another_key_reads_nothing(orders: Path, command: tuple[str, ...]) -> None:
    """With another key each command prints nothing, changes nothing, and names the key."""
    _write_key("wrong.key", NEW)
    before = shape(orders)
    refused = say(*command, "--key-file", "wrong.key")
    assert (refused.code, refused.out) == (78, "")
    assert f"wrapped by key '{LocalKeys(OLD).key_id}'" in refused.err
    assert shape(orders) == before


@pytest.mark.parametrize("command", LOOKS)
def test_a_key_can_come_from_anywhere(
    orders: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """By a file, a variable or the pipeline's own codec, each command answers the same."""
    monkeypatch.setenv("JOURNAL_KEY", OLD.hex())
    first, *others = (
        say(*command, *key)
        for key in (
            ("--key-file", "journal.key"),
            ("--key-env", "JOURNAL_KEY"),
            ("--codec-of", "orders.py:sealed"),
        )
    )
    assert first.code == 0
    assert others == [first, first]


@pytest.mark.parametrize("command", CHANGES)
def test_a_journal_is_changed_with_its_key(orders: Path, command: tuple[str, ...]) -> None:
    """What changes an encrypted journal does so with its key, and leaves it whole."""
    assert say(*command, "--key-file", "journal.key").code == 0
    assert say("journal", "check", "run.db", "--key-file", "journal.key").code == 0


@pytest.mark.parametrize(
    "command",
    [
        ("dead", "list", "run.db"),
        ("dead", "show", "run.db", "ann-1"),
        ("dead", "export", "run.db", "--all"),
        ("cost", "run.db", "--by", "customer"),
        ("erase", "run.db", "--subject", "ann@example.org"),
        ("purge", "run.db", "--older-than", "0s"),
        ("dead", "redrive", "run.db", "--all"),
    ],
)
def test_without_a_key_nothing_is_printed(orders: Path, command: tuple[str, ...]) -> None:
    """Whoever forgets the key is told of the options, and gets no half of an answer."""
    said = say(*command)
    assert (said.code, said.out) == (78, "")
    assert "--key-file or --key-env" in said.err


def test_without_a_key_files_are_looked_after(orders: Path) -> None:
    """Checks, copies, counts and salvage need no key, since they read nothing that is sealed."""
    for command in (
        ("journal", "check", "run.db"),
        ("journal", "backup", "run.db", "copy.db"),
        ("journal", "salvage", "run.db", "saved.db"),
        ("runs", "run.db"),
        ("status", "run.db"),
    ):
        assert say(*command).code == 0, command
    assert "keys of subjects are not in it" in say("journal", "backup", "run.db", "more.db").err


def test_rotate(orders: Path) -> None:
    """After a rotation the new key alone reads the journal, and runs go on with it."""
    _write_key("both.key", NEW, OLD)
    said = say("journal", "rotate", "run.db", "--key-file", "both.key")
    assert (said.code, said.out) == (0, "")
    assert f"under the key {LocalKeys(NEW).key_id} now" in said.err
    assert say("dead", "list", "run.db", "--key-file", "journal.key").code == 78
    _write_key("journal.key", NEW)
    assert len(plain("dead", "list", "run.db", "--key-file", "journal.key")) == 6
    assert say("resume", "orders.py:sealed", "-q").code == 0
    refused = say("journal", "rotate", "plain.db")
    assert (refused.code, "none to rotate" in refused.err) == (78, True)


def test_what_has_no_codec_is_told(orders: Path) -> None:
    """A target that is no pipeline with a file, two sources of keys, a missing variable: told."""
    other = say("dead", "list", "run.db", "--codec-of", "orders.py:model")
    assert (other.code, "no gp.Pipeline" in other.err) == (2, True)
    both = say("dead", "list", "run.db", "--key-file", "journal.key", "--key-env", "K")
    assert both.code == 2
    unset = say("dead", "list", "run.db", "--key-env", "NO_SUCH_KEY")
    assert (unset.code, "NO_SUCH_KEY" in unset.err) == (78, True)


def test_purge_can_be_tried(orders: Path) -> None:
    """A dry run counts what a purge would forget, and changes nothing."""
    before = shape(orders)
    said = say("purge", "plain.db", "--older-than", "0s", "--dry-run")
    assert (said.code, said.err) == (0, "6 records and 6 calls would be forgotten\n")
    assert shape(orders) == before
    assert say("purge", "plain.db", "--older-than", "0s").err.startswith("6 records and 6 calls ")
