"""The window's counters are always what a recount of its calls gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from genai_pipeline.resilience._outcome_window import FAILED, SLOW, OutcomeWindow

STEPS = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from([0, FAILED, SLOW, FAILED | SLOW])), max_size=80
)
RATES = st.integers(1, 20).map(lambda twentieths: twentieths / 20)


@given(STEPS, st.integers(1, 12), st.integers(1, 60), st.integers(1, 12), RATES, RATES)
def test_counters_equal_a_recount(
    steps: list[tuple[int, int]], size: int, age: int, least: int, failing: float, slowing: float
) -> None:
    """7: by number and by age, after any sequence; and the verdict is that of the recount."""
    window = OutcomeWindow(size=size, age=age, least=least, failure_rate=failing, slow_rate=slowing)
    now, past = 0, list[tuple[int, int]]()
    for seconds, kind in steps:
        now += seconds
        window.add(now, kind)
        past = [(then, what) for then, what in [*past, (now, kind)] if now - then < age][-size:]
        failed = sum(what in {FAILED, FAILED | SLOW} for _, what in past)
        slow = sum(what in {SLOW, FAILED | SLOW} for _, what in past)
        assert (len(window), window.failed, window.slow) == (len(past), failed, slow)
        bad = failed / len(past) >= failing or slow / len(past) >= slowing
        assert (window.verdict() is not None) == (len(past) >= least and bad)
    window.clear()
    assert (len(window), window.failed, window.slow, window.verdict()) == (0, 0, 0, None)


def test_the_verdict_says_why() -> None:
    """It names what went wrong and how often, failures first."""
    window = OutcomeWindow(size=4, age=9, least=2, failure_rate=0.5, slow_rate=0.5)
    window.add(0, SLOW)
    assert window.verdict() is None
    window.add(0)
    assert window.verdict() == "1 of the last 2 calls were slow"
    window.add(0, FAILED)
    window.add(0, FAILED)
    assert window.verdict() == "2 of the last 4 calls failed"


def test_a_share_below_the_rate_is_borne() -> None:
    """One bad call of three is less than half, whether it failed or was slow."""
    for kind in (FAILED, SLOW, FAILED | SLOW):
        window = OutcomeWindow(size=4, age=9, least=2, failure_rate=0.5, slow_rate=0.5)
        for each in (0, 0, kind):
            window.add(0, each)
        assert window.verdict() is None
