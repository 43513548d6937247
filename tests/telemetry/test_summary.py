"""The summary tells how a run ended, in counts that add up."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_pipeline.errors import RateLimited
from genai_pipeline.telemetry import summary
from genai_pipeline.telemetry._mends import mend
from tests.telemetry.reports import report, rich_report


def told(**changes: object) -> str:
    """Answer the summary of a run with *changes* as one text."""
    return "\n".join(map(str, summary(rich_report(**changes), title="job")))


def test_everything_is_told() -> None:
    """Speed, stages, money, errors with their mends, and where the outputs are."""
    lines = summary(
        rich_report(exhausted=True), title="job", written_to="out.jsonl", dead_letters_to="d.jsonl"
    )
    text = "\n".join(map(str, lines))
    for part in (
        "job: done in 12 s; 20 records failed",
        "6,264 read = 6,100 written + 80 filtered + 20 dead + 64 pending",
        "517/s, limited by the stages",
        "6,300, 100 failed",
        "1.23 M in, 88.0 k out",
        "$0.421",
        "12 for a policy, 33 s in all",
        "waited for    the provider 89 %, quota 10 %, backoff 1 % (10:00 of all calls)",
        "18 DataError: correct the input",
        "2 RateLimited: lower --max-in-flight",
        "out.jsonl",
        "d.jsonl",
    ):
        assert part in text
    assert re.search(r"summarise +6,200 +100 ms +300 ms +900 ms +2.5 s", text)


def test_mended_answers_are_counted() -> None:
    """What stages did about answers that they could not use is told, if they did anything."""
    text = told(mended={"reasked": 12, "cap_raised": 3})
    assert "mended        reasked 12, cap raised 3" in text
    assert "mended" not in told()


@pytest.mark.parametrize(
    ("changes", "headline"),
    [
        ({"exhausted": True, "errors": {}}, "job: done in 12 s"),
        ({"exhausted": True, "errors": {"X": 1}}, "job: done in 12 s; 1 record failed"),
        ({"stopped": "signal SIGTERM"}, "job: stopped after 12 s: signal SIGTERM"),
        ({"exhausted": False}, "job: ended after 12 s, before the source did"),
    ],
)
def test_headline(changes: dict[str, object], headline: str) -> None:
    """The first line says whether all was done, and if not, why."""
    assert told(**changes).splitlines()[0] == headline


def test_where_the_time_went_is_said_in_one_line() -> None:
    """What calls waited for comes with its share, most first; without calls nothing is said."""
    kinds = {"other": 1.0, "cooldown": 5.0, "breaker": 3.0, "queue": 1.0}
    line = "the circuit 30 %, a free place 10 %, other 10 % (10 s of all calls)"
    assert f"the end of cooldowns 50 %, {line}" in told(waits=kinds)
    assert "waited for" not in told(waits={})
    assert "waited for" not in told(waits={"provider": 0.0})


@given(*[st.integers(0, 10**9)] * 5)
def test_counts_add_up(written: int, filtered: int, dead: int, back: int, pending: int) -> None:
    """What is said to be read is the sum of the ends that are said."""
    ends = {"written": written, "filtered": filtered, "dead": dead, "handed_back": back}
    read = sum(ends.values()) + pending
    lines = summary(report(read=read, pending=pending, elapsed=1.0, **ends))
    counts = next(str(line) for line in lines if "read =" in str(line)).replace(",", "")
    first, *rest = map(int, re.findall(r"\d+", counts))
    assert first == sum(rest) == read


def test_mend_of_a_derived_class() -> None:
    """A class of the user's own that is derived from one of ours is mended like that."""

    class VeryRateLimited(RateLimited):
        pass

    assert mend(VeryRateLimited("x")) == mend("genai_pipeline.errors.RateLimited")
    assert mend(KeyError("x")) is None
