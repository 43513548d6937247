"""A pipeline that is told whose data its records are, and journals that erase them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.journals import Encryption, LocalKeys, Memory, Sqlite
from genai_pipeline.testing import Script
from tests.engine.doubles import Kept
from tests.journals.test_encryption import found_in

pytestmark = pytest.mark.anyio

ANN, BOB = "ann-4711", "bob-0815"
PRICES = gp.PriceBook({"script": {"input": "2", "output": "10"}})
ENCRYPTION = Encryption(LocalKeys(bytes(32)))


class People:
    """Records of two people, with who they are in key, value and attributes."""

    def __init__(self, *, each: int = 3) -> None:
        self.each = each

    async def __aiter__(self) -> AsyncIterator[gp.Delivery[str]]:
        for number in range(self.each):
            for who in (ANN, BOB):
                attributes = {"customer": who, "mail": f"{who}@example.org", "number": number}
                record = gp.Record(f"letter of {who}", f"{who}/{number}", attributes)
                yield gp.Delivery(record)


def answering() -> Script:
    return Script.of(lambda request: f"answer to {request.prompt}")


def ask(model: Any) -> Any:
    async def asked(value: Any) -> str:
        text = str((await model(gp.Request(str(value), max_output_tokens=9))).text)
        if "letter" in str(value) and getattr(model, "fails", False):
            raise ValueError(f"cannot read {value}")
        return text

    return asked


def pipeline(journal: Any, stage: Any, **options: Any) -> gp.Pipeline[Any, Any]:
    told: dict[str, Any] = {"subject": "customer", "max_failures": None, **options}
    return gp.Pipeline(source=People(), stage=stage, sink=Kept(), journal=journal, **told)


@pytest.mark.parametrize("codec", [None, ENCRYPTION], ids=["plain", "encrypted"])
async def test_a_run_leaves_nothing_of_whom_was_erased(
    tmp_path: Path, codec: Encryption | None
) -> None:
    """Prompt, answer, key, attributes, error, budget: none is in any file; others' records are."""
    path = tmp_path / "run.db"
    journal = Sqlite(path, ballast=0, codec=codec)
    model = answering()
    model.fails = True  # type: ignore[attr-defined]
    budget = gp.Budget(cap="5", window="run", scope="customer")
    report = await pipeline(journal, gp.map(ask(model)), budgets=[budget], prices=PRICES).run()
    assert report.dead == 6
    found = set(found_in(tmp_path, ANN))
    assert found == ({"run.db", "run.db.status"} if codec is None else set())
    async with journal:
        erased = await journal.erase(ANN)
        assert found_in(tmp_path, ANN) == []
    assert (erased.records, erased.calls) == (3, 3)
    assert erased.keys == tuple(f"{ANN}/{number}" for number in range(3))
    assert found_in(tmp_path, ANN) == []
    assert (found_in(tmp_path, BOB) == []) == (codec is not None)
    paid = model.calls
    report = await pipeline(journal, gp.map(ask(model))).run()
    assert (report.skipped, report.read, model.calls) == (6, 6, paid)


@pytest.mark.parametrize("make", [lambda _: Memory(), lambda path: Sqlite(path, ballast=0)])
async def test_what_was_erased_is_not_bought_again(tmp_path: Path, make: Any) -> None:
    """After a stage has changed, all but the erased records go through again."""
    journal, model = make(tmp_path / "run.db"), answering()
    await pipeline(journal, gp.map(ask(model))).run()
    async with journal:
        await journal.erase(ANN)
    report = await pipeline(journal, gp.map(ask(model), version="2")).run()
    assert (report.skipped, report.written, model.calls) == (3, 3, 9)
    plan = await pipeline(journal, gp.map(ask(model), version="2")).plan()
    assert (plan.records, plan.finished) == (6, 6)


async def test_groups_of_several_people_go_with_each(tmp_path: Path) -> None:
    """What was gathered of several subjects is erased with any of them."""
    journal = Sqlite(tmp_path / "run.db", ballast=0)
    stage: Any = gp.chain(gp.gather(6), gp.map(ask(answering())))
    report = await pipeline(journal, stage, max_in_flight=6).run()
    assert report.written == 6
    assert "run.db" in found_in(tmp_path, ANN)
    async with journal:
        erased = await journal.erase(ANN)
        assert (erased.records, erased.groups, erased.calls) == (3, 1, 1)
        assert await journal.counts("pipeline") == {"done": 3}
    assert found_in(tmp_path, ANN) == []


@pytest.mark.parametrize(
    ("subject", "of"),
    [
        (lambda record: record.key.partition("/")[0], ANN),
        ("number", "0"),
        (lambda _: None, None),
        ("no such attribute", None),
    ],
)
async def test_a_subject_is_an_attribute_or_a_function(subject: Any, of: str | None) -> None:
    """Text and whole numbers name a subject; a record for which there is none is nobody's."""
    journal = Memory()
    await pipeline(journal, gp.map(str.upper), subject=subject).run()
    async with journal:
        assert (await journal.erase("somebody else")).records == 0
        if of is not None:
            assert (await journal.erase(of, dry_run=True)).records in {2, 3}


async def test_what_is_no_subject_stops_the_run() -> None:
    """A subject that is neither text nor a whole number is told, with the record's key."""
    with pytest.raises(gp.RunFailed) as failed:
        await pipeline(Memory(), gp.map(str.upper), subject=lambda _: 1.5).run()
    error = failed.value.exceptions[0]
    assert isinstance(error, ConfigurationError)
    assert f"answers float for the record '{ANN}/0'" in str(error)


@pytest.mark.parametrize("subject", ["", 3, [], str])
def test_a_bad_subject_is_refused(subject: Any) -> None:
    """What cannot tell whose data a record is raises when the pipeline is built."""
    with pytest.raises(ConfigurationError, match="subject="):
        pipeline(None if subject is str else Memory(), gp.map(str.upper), subject=subject)


def test_subjects_need_a_journal_that_erases() -> None:
    """Without a journal, or with one that cannot erase, a subject would be forgotten: refused."""

    class Forgetful:
        begin_run = claim = begin_call = end_call = end_item = print

    for journal in (None, Forgetful()):
        with pytest.raises(ConfigurationError, match="needs a journal= that can erase"):
            pipeline(journal, gp.map(str.upper))
