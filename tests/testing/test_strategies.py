"""The strategies give valid values of every kind, and plain ones when they shrink."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.testing import Fault
from genai_pipeline.testing import strategies as gps

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, gp.PipelineError) and kind.__name__[0] != "_"
]


def plainest(strategy: st.SearchStrategy[Any], fits: Any = lambda _: True) -> Any:
    """Find the plainest value that fits."""
    return find(strategy, fits, settings=settings(database=None, max_examples=500))


def some(strategy: st.SearchStrategy[Any], fits: Any) -> Any:
    """Find a value that fits, as it comes."""
    drawn = settings(database=None, max_examples=500, phases=[Phase.generate])
    return find(strategy, fits, settings=drawn)


@given(gps.json_values())
def test_json_values_are_json(value: Any) -> None:
    """Every value survives a round trip through JSON."""
    assert json.loads(json.dumps(value)) == value


@given(gps.requests())
def test_requests_are_valid_and_whole(request: gp.Request) -> None:
    """Every request can be rebuilt from its own fields."""
    fields = attrs.asdict(request, recurse=False)
    assert gp.Request(fields.pop("messages"), **fields) == request


@pytest.mark.parametrize("name", ["system", "max_output_tokens", "temperature", "labels", "schema"])
def test_requests_use_every_parameter(name: str) -> None:
    """Each parameter is given now and then, and left out now and then."""
    assert some(gps.requests(), lambda request: getattr(request, name) is not None)
    assert some(gps.requests(), lambda request: getattr(request, name) is None)


def test_the_plainest_request_is_empty() -> None:
    """Requests shrink to the least that is a request."""
    assert plainest(gps.requests()) == gp.Request("")


@given(gps.usages(), gps.usages())
def test_usages_add_up(one: gp.Usage, other: gp.Usage) -> None:
    """Parts stay within their wholes, in sums too, and unknown costs do not count."""
    both = one + other
    assert both.cached_tokens + both.cache_write_tokens <= both.input_tokens
    assert both.reasoning_tokens <= both.output_tokens
    assert (both.cost is None) == (one.cost is None and other.cost is None)
    assert both == other + one


@given(gps.responses(st.sampled_from(["yes", "no"])))
def test_responses_take_texts(response: gp.Response) -> None:
    """The texts can be chosen."""
    assert response.text in {"yes", "no"}


@given(gps.records(st.integers(), keys=st.just("k")))
def test_records_hold_the_values(record: gp.Record[int]) -> None:
    """Records are built around the values asked for."""
    assert isinstance(record.value, int)
    assert record.key == "k"


@given(gps.deliveries(st.integers()))
def test_deliveries_are_good_or_bad(delivery: gp.Delivery[int]) -> None:
    """A delivery has no error, or one about the data."""
    assert delivery.error is None or isinstance(delivery.error, gp.DataError)


@given(gps.dead_letters())
def test_dead_letters_have_times_with_zones(letter: gp.DeadLetter) -> None:
    """Times are in UTC, so they can be compared and written."""
    assert letter.read_at.tzinfo is not None
    assert letter.failed_at.isoformat().endswith("+00:00")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_errors_are_of_every_class(kind: type[gp.PipelineError]) -> None:
    """Each class of the tree comes up, and can be asked for by itself."""
    assert type(some(gps.errors(kind), lambda error: type(error) is kind)) is kind


@given(gps.errors(gp.Transient))
def test_errors_can_be_narrowed(error: gp.PipelineError) -> None:
    """With a root, only what is below it comes."""
    assert isinstance(error, gp.Transient)


@given(gps.fault_plans())
def test_plans_do_not_hang_unless_asked(plan: list[Fault]) -> None:
    """Hanging is opt-in."""
    assert all(fault.kind != "hang" for fault in plan)


def test_plans_shrink_to_nothing() -> None:
    """The plainest plan has no fault, the plainest fault no latency."""
    assert plainest(gps.fault_plans()) == []
    hanging = plainest(gps.fault_plans(hangs=True), lambda p: any(f.kind == "hang" for f in p))
    assert hanging == [Fault("hang")]
