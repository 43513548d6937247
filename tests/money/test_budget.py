"""A budget says which account a call counts against, and in which window."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.money import Budgets, BudgetThresholdReached
from genai_pipeline.money._windows import WINDOWS, Window, window_of
from tests.money.prices import NOW

budget_of: Any = gp.Budget
budgets_of: Any = Budgets
"""The same, for what their types forbid."""

moments = st.floats(0, 4_000_000_000)


def _call(**changes: Any) -> dict[str, Any]:
    call = {
        "attributes": {},
        "provider": "acme",
        "model": "acme-1",
        "stage": "summarise",
        "run": 7,
        "at": NOW,
    }
    return {**call, **changes}


def _account(budget: gp.Budget, **changes: Any) -> str | None:
    use = budget.uses(**_call(**changes))
    return None if use is None else use.budget


def test_a_plain_budget_takes_every_call() -> None:
    """Without a scope there is one account, named for its window, with the cap in nano-dollars."""
    use = gp.Budget(cap="5.00").uses(**_call())
    assert use is not None
    assert (use.budget, use.window, use.cap) == ("run", "000000000007", 5_000_000_000)


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("run", "000000000007"),
        ("hour", "2026-11-26T12"),
        ("day", "2026-11-26"),
        ("month", "2026-11"),
        ("total", ""),
    ],
)
def test_windows_are_of_the_calendar_in_utc(window: Window, expected: str) -> None:
    """Each window has the name of its stretch of time."""
    use = gp.Budget(cap=1, window=window).uses(**_call())
    assert use is not None
    assert use.window == expected


def test_each_value_of_the_scope_has_its_account() -> None:
    """Records of two tenants count apart, those without a tenant together."""
    budget = gp.Budget(cap=1, window="day", scope="tenant")
    assert _account(budget, attributes={"tenant": "acme"}) == "day tenant=acme"
    assert _account(budget, attributes={"tenant": "other", "x": 1}) == "day tenant=other"
    assert _account(budget, attributes={"tenant": 5}) == "day tenant=5"
    assert _account(budget) == _account(budget, attributes={"tenant": None}) == "day tenant"


def test_a_scope_may_have_several_names() -> None:
    """Each combination of values has an account; model, stage and provider are the call's."""
    budget = gp.Budget(cap=1, scope=("tenant", "model", "stage", "provider"))
    attributes = {"tenant": "a", "model": "mine"}
    told = "run tenant=a model=acme-1 stage=summarise provider=acme"
    assert _account(budget, attributes=attributes) == told


@settings(deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["tenant", "team"]), st.text(), max_size=2),
        min_size=2,
        max_size=2,
        unique_by=lambda one: (one.get("tenant"), one.get("team")),
    )
)
def test_no_two_values_share_an_account(records: list[dict[str, str]]) -> None:
    """Values with spaces, quotes or equal signs cannot be made to look like another tenant's."""
    budget = gp.Budget(cap=1, scope=("tenant", "team"))
    first, second = (_account(budget, attributes=one) for one in records)
    assert first != second


def test_filters_leave_other_calls_alone() -> None:
    """A budget of a model, stage or provider takes the calls that fit all it names."""
    budget = gp.Budget(cap=1, model="acme-*", stage="summarise", provider="acme")
    account = "run[provider=acme,model=acme-*,stage=summarise]"
    assert _account(budget) == account
    for other in ({"model": "other"}, {"stage": "tag"}, {"provider": "reseller"}):
        assert _account(budget, **other) is None


def test_a_filter_and_a_scope_have_different_accounts() -> None:
    """A cap on one model, and one cap for each model, are two accounts."""
    one, each = gp.Budget(cap=1, model="acme-1"), gp.Budget(cap=1, scope="model")
    assert _account(one) != _account(each)


def test_a_name_goes_before_the_made_one() -> None:
    """A budget may be given the name that its account is kept under; the cap is not part of it."""
    budgets = [gp.Budget(cap=cap, window="day", scope="tenant", name="daily") for cap in (1, 2)]
    assert [_account(one, attributes={"tenant": "a"}) for one in budgets] == ["daily tenant=a"] * 2


def test_a_cap_is_rounded_down() -> None:
    """A cap of a fraction of a nano-dollar allows no more than it says."""
    use = gp.Budget(cap="1.0000000019").uses(**_call())
    assert use is not None
    assert use.cap == 1_000_000_001


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"cap": 5.0}, 'Budget: cap=5.0 is a float, which is not exact; give text ("5.0")'),
        ({"cap": 0}, "cap=0; give an amount above 0"),
        ({"cap": "0.0000000001"}, "an amount above 0"),
        ({"cap": "-1"}, "cap='-1'"),
        ({"cap": "five"}, "cap='five'"),
        ({"cap": True}, "cap=True"),
        ({"cap": 1, "window": "week"}, "window='week'; give one of 'run', 'hour'"),
        ({"cap": 1, "scope": 5}, "scope=5; give the name of a record attribute"),
        ({"cap": 1, "scope": ["a", "a"]}, "that differ"),
        ({"cap": 1, "scope": ""}, "scope=''"),
        ({"cap": 1, "model": ""}, "model=''"),
        ({"cap": 1, "model": "a*b"}, "with a * at its end"),
        ({"cap": 1, "warn_at": [0]}, "shares of the cap above 0, up to 1"),
        ({"cap": 1, "warn_at": [80]}, "warn_at=[80]"),
        ({"cap": 1, "warn_at": 0.5}, "warn_at=0.5"),
        ({"cap": 1, "on_unknown_price": "ignore"}, "give one of 'refuse', 'allow'"),
        ({"cap": 1, "name": "my budget"}, "name='my budget'; give letters, digits"),
    ],
)
def test_a_wrong_budget_is_refused(options: dict[str, Any], told: str) -> None:
    """The error names the option, the value and what is allowed."""
    with pytest.raises(gp.ConfigurationError) as caught:
        budget_of(**options)
    assert told in str(caught.value)


def test_a_budget_has_options_only() -> None:
    """A number alone does not say what it is."""
    with pytest.raises(TypeError):
        budget_of("5.00")


@settings(deadline=None)
@given(st.sampled_from(WINDOWS), st.tuples(moments, moments), st.tuples(*[st.integers(1)] * 2))
def test_window_names_grow_with_time(
    window: Window, times: tuple[float, float], runs: tuple[int, int]
) -> None:
    """A later time is in the same window or in one whose name is greater, letter by letter."""
    early, late = sorted(times)
    first, second = sorted(number % 10**12 for number in runs)
    assert window_of(window, run=first, at=early) <= window_of(window, run=second, at=late)


@settings(deadline=None)
@given(st.sampled_from(["hour", "day", "month"]), st.lists(moments, min_size=1, max_size=20))
def test_a_clock_that_jumps_back_reopens_nothing(window: Window, times: list[float]) -> None:
    """Whatever the clock does, a run's calls count in windows that never go back."""
    budgets = Budgets([gp.Budget(cap=1, window=window)])
    seen = [budgets.uses(**_call(at=at))[0].window for at in times]
    assert seen == sorted(seen)
    latest = itertools.accumulate(times, max)
    assert seen == [window_of(window, run=7, at=at) for at in latest]


def test_the_time_of_earlier_runs_can_be_given() -> None:
    """A process that starts with a clock behind the journal's goes on in the journal's window."""
    tomorrow = datetime(2026, 11, 27, tzinfo=UTC).timestamp()
    budgets = Budgets([gp.Budget(cap=1, window="day")], latest=tomorrow)
    assert budgets.uses(**_call())[0].window == "2026-11-27"


def test_a_call_counts_against_all_its_budgets_in_order() -> None:
    """A call may count against several budgets; they are ordered by name, without the others."""
    budgets = Budgets(
        [
            gp.Budget(cap=9, window="run"),
            gp.Budget(cap=1, window="day", scope="tenant"),
            gp.Budget(cap=1, window="day", model="other"),
        ]
    )
    uses = budgets.uses(**_call(attributes={"tenant": "a"}))
    assert [use.budget for use in uses] == ["day tenant=a", "run"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (gp.Budget(cap=1), "budgets= is one Budget; give a list"),
        (["5.00"], "holds a str; give Budget objects"),
        ([gp.Budget(cap=1), gp.Budget(cap=2)], "two named 'run' of the same scope"),
        ([gp.Budget(cap=1, name="day"), gp.Budget(cap=2, window="day")], "two named 'day'"),
    ],
)
def test_wrong_budgets_are_refused(wrong: Any, told: str) -> None:
    """Two budgets that would share an account are told apart before anything runs."""
    with pytest.raises(gp.ConfigurationError) as caught:
        budgets_of(wrong)
    assert told in str(caught.value)


def test_one_budget_may_refuse_what_another_allows() -> None:
    """A call without a bound is refused if any of its budgets refuses such calls."""
    strict = gp.Budget(cap=1, model="strict-*")
    budgets = Budgets([gp.Budget(cap=1, on_unknown_price="allow"), strict])
    assert budgets.refusing(budgets.uses(**_call())) is None
    refusing = budgets.refusing(budgets.uses(**_call(model="strict-1")))
    assert refusing is not None
    assert refusing.budget == "run[model=strict-*]"


def _settle(budgets: Budgets, spent: int, **changes: Any) -> list[float]:
    uses = budgets.uses(**_call(**changes))
    return [
        one.share
        for one in budgets.reached(uses, {use.budget: (spent, 0, use.cap) for use in uses})
    ]


def test_thresholds_are_told_once() -> None:
    """Each share of the cap is told when what is spent reaches it, and not again."""
    budgets = Budgets([gp.Budget(cap="0.00000001")])  # ten nano-dollars
    told = [_settle(budgets, spent) for spent in (0, 4, 5, 6, 4, 8, 9, 10, 12)]
    assert told == [[], [], [0.5], [], [], [0.8], [], [1.0], []]


def test_passing_several_thresholds_tells_each() -> None:
    """One dear call that passes all thresholds tells of all, the lowest first."""
    assert _settle(Budgets([gp.Budget(cap=1, warn_at=[1, 0.5])]), 10**9) == [0.5, 1.0]


def test_thresholds_begin_anew_with_the_window() -> None:
    """The next day tells again, and of a day that has passed nothing is told."""
    budgets = Budgets([gp.Budget(cap=1, window="day", warn_at=[0.5])])
    yesterday = budgets.uses(**_call())
    assert _settle(budgets, 10**9) == [0.5]
    assert _settle(budgets, 10**9, at=NOW + 86_400) == [0.5]
    assert budgets.reached(yesterday, {"day": (10**9, 0, 10**9)}) == ()
    assert _settle(budgets, 10**9, at=NOW + 86_400) == []


def test_a_threshold_event_has_dollars() -> None:
    """The event says which budget, window and share, and both amounts in dollars."""
    budgets = Budgets([gp.Budget(cap="2.50", window="day", scope="tenant", warn_at=[0.8])])
    uses = budgets.uses(**_call(attributes={"tenant": "a"}))
    told = budgets.reached(uses, {"day tenant=a": (2_000_000_000, 1, 2_500_000_000)})
    assert told == (
        BudgetThresholdReached(
            budget="day tenant=a",
            window="2026-11-26",
            share=0.8,
            spent=Decimal(2),
            cap=Decimal("2.50"),
        ),
    )


def test_accounts_that_were_not_settled_tell_nothing() -> None:
    """A budget that the journal did not speak of reached no threshold."""
    budgets = Budgets([gp.Budget(cap=1)])
    assert budgets.reached(budgets.uses(**_call()), {}) == ()


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 100), max_size=20),
    st.lists(st.integers(1, 100).map(lambda percent: percent / 100), max_size=4),
)
def test_exactly_the_shares_reached_are_told(costs: list[int], shares: list[float]) -> None:
    """After any calls, the shares told are those that the sum has reached, each once."""
    budgets = Budgets([gp.Budget(cap="0.0000002", warn_at=shares)])  # 200 nano-dollars
    told = [share for spent in itertools.accumulate(costs) for share in _settle(budgets, spent)]
    reached = [one for one in sorted(set(shares)) if sum(costs) >= Decimal(repr(one)) * 200]
    assert told == (reached if costs else [])


@pytest.mark.parametrize("cap", ["1000000001", "1e12", "1e30"])
def test_a_cap_beyond_what_a_journal_can_count_is_refused_when_built(cap: str) -> None:
    """Not at the first call; the error says how much is allowed."""
    with pytest.raises(gp.ConfigurationError, match=r"cap=.*(up to|at most) 10"):
        gp.Budget(cap=cap)
    assert gp.Budget(cap="1000000000").cap == 10**9
