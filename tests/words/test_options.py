"""Options are validated when they are given, and the message is enough to mend them."""

from __future__ import annotations

import math
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
)
def test_every_value_in_its_range_is_fine(**options: Any) -> None:
    """What is allowed is accepted as it is, however large."""
    assert attrs.asdict(Policy(**options)) == options


def test_numbers_beyond_floats_are_numbers() -> None:
    """A whole number too large for a float breaks nothing."""
    assert Policy(rate=10**400, wait=10**400).rate == 10**400
