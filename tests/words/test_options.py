"""Options are validated when they are given, and the message is enough to mend them."""

from __future__ import annotations

import math
import random
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline import _options


@attrs.frozen(kw_only=True)
class Policy:
    """One option of each kind."""

    rate: Any = attrs.field(default=1, validator=_options.positive)
    wait: Any = attrs.field(default=0, validator=_options.seconds)
    size: Any = attrs.field(default=1, validator=_options.at_least(1))
    share: Any = attrs.field(default=1, validator=_options.at_least(0, 100))
    mode: Any = attrs.field(default="a", validator=_options.one_of("a", "b", None))
    limit: Any = attrs.field(default=None, validator=_options.optional(_options.positive))
    part: Any = attrs.field(default=1, validator=_options.share)
    ratio: Any = attrs.field(default=1, validator=_options.from_to(0, 2))
    name: Any = attrs.field(default="a", validator=_options.text)
    strict: Any = attrs.field(default=True, validator=_options.flag)
    ask: Any = attrs.field(default=len, validator=_options.function("a text that counts it"))
    chance: Any = attrs.field(default=random.random, validator=_options.random)
    clock: Any = attrs.field(factory=gp.SystemClock, validator=_options.clock)


async def later(_: object) -> int:
    """Answer what must be awaited."""
    return 0


class Later:
    """What answers, when called, what must be awaited."""

    async def __call__(self, _: object) -> int:
        return 0


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("rate", 0, "a number above 0"),
        ("rate", math.inf, "a number above 0"),
        ("rate", math.nan, "a number above 0"),
        ("rate", True, "a number above 0"),
        ("rate", "1", "a number above 0"),
        ("rate", None, "a number above 0"),
        ("wait", -0.001, "seconds, 0 or more"),
        ("wait", math.nan, "seconds, 0 or more"),
        ("wait", math.inf, "seconds, 0 or more"),
        ("size", 0, "a whole number, 1 or more"),
        ("size", 1.0, "a whole number, 1 or more"),
        ("size", True, "a whole number, 1 or more"),
        ("share", 101, "a whole number, 0 to 100"),
        ("mode", "c", "one of 'a', 'b', None"),
        ("limit", -1, "a number above 0"),
        ("part", 0, "a number above 0, up to 1"),
        ("part", 1.01, "a number above 0, up to 1"),
        ("part", math.nan, "a number above 0, up to 1"),
        ("ratio", 2.01, "a number, 0 to 2"),
        ("ratio", True, "a number, 0 to 2"),
        ("name", "", "a text that is not empty"),
        ("name", b"a", "a text that is not empty"),
        ("strict", 1, "True or False"),
        ("ask", later, "a function of a text that counts it"),
        ("ask", Later(), "a function of a text that counts it"),
        ("ask", "len", "a function of a text that counts it"),
        ("chance", 0.5, "a function that answers a number from 0 up to 1, such as random.random"),
        ("clock", gp.SystemClock, "a clock, such as SystemClock()"),
        ("clock", random, "a clock, such as SystemClock()"),
    ],
)
def test_a_wrong_option_is_named(option: str, value: Any, allowed: str) -> None:
    """The error names the class, the option, the value and what is allowed."""
    with pytest.raises(gp.ConfigurationError) as caught:
        Policy(**{option: value})
    assert str(caught.value) == f"Policy: {option}={value!r}; give {allowed}"


@given(
    rate=st.floats(0, exclude_min=True, allow_infinity=False) | st.integers(min_value=1),
    wait=st.floats(0, allow_infinity=False) | st.integers(min_value=0),
    size=st.integers(min_value=1),
    share=st.integers(0, 100),
    mode=st.sampled_from(["a", "b", None]),
    limit=st.none() | st.floats(0.1, 5),
    part=st.floats(0, 1, exclude_min=True),
    ratio=st.floats(0, 2),
    name=st.text(min_size=1),
    strict=st.booleans(),
)
def test_every_value_in_its_range_is_fine(**options: Any) -> None:
    """What is allowed is accepted as it is, however large."""
    built = attrs.asdict(Policy(**options))
    assert {option: built[option] for option in options} == options


def test_numbers_beyond_floats_are_numbers() -> None:
    """A whole number too large for a float breaks nothing."""
    assert Policy(rate=10**400, wait=10**400).rate == 10**400
