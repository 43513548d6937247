"""What `on` names is tried again, and nothing else; wrong options are refused."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.resilience import Deadline, Retry, RetryBudget, Timeout
from genai_pipeline.testing import FakeClock

from .flaky import Flaky, retry

OURS = [
    kind
    for name in errors.__all__
    if isinstance(kind := getattr(errors, name), type)
    and issubclass(kind, errors.PipelineError)
    and kind is not errors.PipelineError
]
FOREIGN = [OSError, ConnectionResetError, TimeoutError, ValueError, UnicodeError, RuntimeError]
TRANSIENT = [kind for kind in OURS if issubclass(kind, errors.Transient)]
FINAL = [kind for kind in OURS if not issubclass(kind, errors.Transient | errors.Rejected)]


async def calls(on: Any, error: Exception) -> int:
    """Answer how often a call is made that fails with *error* once."""
    clock = FakeClock()
    model = Flaky(clock, error, "fine")
    policed = gp.wrap(model, Retry(on=on, clock=clock, random=lambda: 0.0))
    async with clock:
        try:
            await policed("prompt")
        except type(error) as raised:
            assert raised is error
    return model.calls


@pytest.mark.anyio
@pytest.mark.parametrize("kind", TRANSIENT)
async def test_transient_means_all_that_passes(kind: type[Exception]) -> None:
    """Every error that time may mend is tried again by ``on=Transient``, timeouts included."""
    assert await calls(errors.Transient, kind("it passes")) == 2


@pytest.mark.anyio
@pytest.mark.parametrize("kind", FINAL)
async def test_what_cannot_pass_is_never_repeated_by_a_wide_class(kind: type[Exception]) -> None:
    """Pain 10: no wide class makes a mistake, a refusal or missing money worth another call."""
    for wide in (Exception, errors.PipelineError, (OSError, Exception), errors.Transient):
        assert await calls(wide, kind("it stays")) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("kind", FINAL)
async def test_what_is_named_is_repeated(kind: type[Exception]) -> None:
    """Its own name, or that of its family, is permission; so is a function's yes."""
    for named in (kind, (ValueError, kind), lambda _: True, lambda _: 0):
        assert await calls(named, kind("once more")) == 2
    assert await calls(errors.Permanent, errors.Truncated("cut")) == 2


@pytest.mark.anyio
async def test_a_server_that_says_retry_or_not_is_obeyed_by_a_function() -> None:
    """Behaviour 15: what the server answered beside its status wins over the class, either way."""

    class Answered(errors.InvalidRequest):
        should_retry = True

    class Gone(errors.Overloaded):
        should_retry = False

    def on(error: Exception) -> bool:
        return bool(getattr(error, "should_retry", isinstance(error, errors.Transient)))

    assert await calls(on, Answered("400")) == 2
    assert await calls(on, Gone("500")) == 1
    assert await calls(on, errors.Overloaded("500")) == 2


@given(
    error=st.sampled_from(OURS + FOREIGN),
    on=st.lists(st.sampled_from([*OURS, *FOREIGN, Exception, errors.PipelineError]), min_size=1),
)
def test_a_tuple_means_any_of_its_classes(error: Any, on: list[type[Exception]]) -> None:
    """A tuple names what any of its classes names alone."""
    raised = error("x")
    together = Retry(on=tuple(on)).wish(raised)
    assert together == any(Retry(on=kind).wish(raised) for kind in on)
    if error in FOREIGN:
        assert together == isinstance(raised, tuple(on))


class Asked:
    """An object that is asked, and one that would have to be awaited."""

    def __call__(self, error: Exception) -> bool:
        return True

    async def later(self, error: Exception) -> bool:
        return True


class AskedLater:
    """An object whose call would have to be awaited."""

    async def __call__(self, error: Exception) -> bool:
        return True


@pytest.mark.parametrize(
    "on",
    [
        (),
        None,
        "Transient",
        BaseException,
        KeyboardInterrupt,
        asyncio.CancelledError,
        int,
        3,
        (OSError, KeyboardInterrupt),
        (OSError, "Transient"),
        [OSError],
        Asked().later,
        AskedLater(),
        functools.partial(Asked().later),
    ],
)
def test_what_cannot_be_named_is_refused(on: Any) -> None:
    """Cancellation and the like can never be named, nor can what must be awaited be asked."""
    with pytest.raises(gp.ConfigurationError, match=r"Retry: on=.*give an exception class"):
        Retry(on=on)


def test_what_can_be_asked_is_accepted() -> None:
    """Functions, partial functions and callable objects will do."""
    for on in (lambda _: True, Asked(), functools.partial(Asked())):
        assert Retry(on=on).wish(OSError()) is True


def test_on_has_no_default() -> None:
    """What to repeat, and pay for again, is always said."""
    with pytest.raises(TypeError, match="on"):
        Retry()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Retry(errors.Transient)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("attempts", 0),
        ("attempts", 2.0),
        ("attempts", True),
        ("answer_attempts", 0),
        ("first_wait", 0),
        ("first_wait", float("nan")),
        ("first_wait", "1"),
        ("max_wait", 0.4),
        ("max_wait", float("inf")),
        ("max_server_delay", -1),
        ("patience", -0.1),
        ("patience", None),
        ("budget", 0.2),
    ],
)
def test_wrong_options_of_retry_are_refused(option: str, value: Any) -> None:
    """Each option out of range is named when the policy is built."""
    with pytest.raises(gp.ConfigurationError, match=f"Retry: {option}={value!r}; give"):
        Retry(**{"on": OSError, option: value})


def test_a_wrong_clock_is_told_of_the_retry() -> None:
    """Whether or not it has a budget that would need the clock too."""
    for options in ({}, {"budget": None}):
        with pytest.raises(gp.ConfigurationError, match="Retry: clock=3; give"):
            Retry(**{"on": OSError, "clock": 3, **options})  # type: ignore[arg-type]


def test_limits_of_options_are_allowed() -> None:
    """The least and the equal are fine."""
    Retry(on=OSError, attempts=1, answer_attempts=1, first_wait=8, max_wait=8)
    Retry(on=OSError, max_server_delay=0, patience=0, budget=None)
    RetryBudget(ratio=0, reserve=0, capacity=1)
    RetryBudget(ratio=1)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("ratio", 1.1),
        ("ratio", -0.1),
        ("ratio", True),
        ("reserve", -1),
        ("reserve", float("inf")),
        ("capacity", 0),
        ("capacity", 0.9),
        ("capacity", float("nan")),
        ("capacity", "9"),
    ],
)
def test_wrong_options_of_the_budget_are_refused(option: str, value: Any) -> None:
    """A budget that could never let a retry through, or never refuse one, is refused."""
    with pytest.raises(gp.ConfigurationError, match=f"RetryBudget: {option}={value!r}; give"):
        RetryBudget(**{option: value})


def test_a_wrong_option_of_the_budget_is_told_its_range() -> None:
    """Where a number has a most, the message names it as well."""
    with pytest.raises(gp.ConfigurationError, match=r"ratio=2; give a number, 0 to 1$"):
        RetryBudget(ratio=2)
    with pytest.raises(gp.ConfigurationError, match=r"capacity=0; give a number, 1 or more$"):
        RetryBudget(capacity=0)


def test_defaults_are_those_documented() -> None:
    """Three attempts that wait 0.5 to 8 s, a minute for servers, five in all; a full budget."""
    shown = (
        ", attempts=3, answer_attempts=None, first_wait=0.5, max_wait=8.0,"
        " max_server_delay=60.0, patience=300.0,"
        " budget=RetryBudget(ratio=0.2, reserve=1.0, capacity=500.0), name='retry')"
    )
    assert repr(Retry(on=OSError)).endswith(shown)


@pytest.mark.parametrize("policy", [Timeout, Deadline])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), None, "5", True])
def test_wrong_limits_are_refused(policy: Any, value: Any) -> None:
    """A limit is a finite number of seconds above zero."""
    with pytest.raises(gp.ConfigurationError, match=f"{policy.__name__}: seconds={value!r}"):
        policy(value)


@pytest.mark.anyio
async def test_an_option_is_never_without_effect(clock: FakeClock) -> None:
    """Pain 3: what is set is what happens: two attempts are two, whatever is wrapped how often."""
    model = Flaky(clock, errors.Overloaded("busy"))
    inner = gp.wrap(model, retry(clock, attempts=2))
    with pytest.raises(errors.Overloaded):
        await gp.wrap(inner)("prompt")
    assert model.calls == 2
