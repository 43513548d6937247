"""`TokenEstimator`: counts tokens about, and learns from answers how far off it is."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import attrs

from genai_pipeline._options import at_least, check, from_to, positive, token_counter
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.tokens._characters import HUNDREDTHS, hundredths
from genai_pipeline.tokens._contents import Countable, total_of
from genai_pipeline.types import TokenCounter

__all__ = ["ByCharacters", "TokenEstimator"]

_LEAST, _MOST = 0.1, 10.0
_SMOOTHING = 0.05
_STEP = 2.0
_HEAVIEST = 2.0
_GROWTH = 4.0
_MOST_MODELS = 100


class ByCharacters:
    """Counts tokens by the kinds of characters there are, for no model in particular."""

    def count(self, content: Countable, /, *, model: str = "") -> int:  # noqa: ARG002 - for any
        """Answer about how many tokens *content* is."""
        return -(-total_of(content, hundredths, token=HUNDREDTHS) // HUNDREDTHS)

    def __repr__(self) -> str:
        return "ByCharacters()"


@attrs.frozen(kw_only=True)
class _Calibration:
    """What is known of one model."""

    ratio: float = attrs.field(default=1.0, validator=from_to(_LEAST, _MOST))
    size: float = attrs.field(default=1.0, validator=positive)
    """How many tokens its requests have, as they are counted, on a moving average."""

    answers: int = attrs.field(default=0, validator=at_least(0))

    def after(self, counted: int, input_tokens: int) -> _Calibration:
        """Answer what is known after one answer more."""
        answers, ratio = self.answers + 1, self.ratio
        size = self.size if self.answers else float(counted)
        rate = max(1 / (answers + 1), _SMOOTHING)  # what it was before the first counts as one
        weight = min(counted / size, _HEAVIEST)
        shown = min(max(input_tokens / counted, ratio / _STEP), ratio * _STEP)
        ratio += rate * weight * (shown - ratio)
        size += rate * (min(counted, _GROWTH * size) - size)
        ratio = min(max(ratio, _LEAST), _MOST)
        return _Calibration(ratio=ratio, size=size, answers=answers)


def _read(estimator: TokenEstimator) -> OrderedDict[str, _Calibration]:
    known, allowed = estimator.known, "what TokenEstimator.snapshot() answered"
    check(isinstance(known, Mapping), estimator, "known", known, allowed)
    read: OrderedDict[str, _Calibration] = OrderedDict()
    for model, fields in known.items():
        check(isinstance(model, str), estimator, "known", model, allowed)
        try:
            read[model] = _Calibration(**fields)
        except (TypeError, ConfigurationError) as error:
            raise ConfigurationError(
                f"TokenEstimator: known[{model!r}]={fields!r}; give {allowed} ({error})"
            ) from None
    while len(read) > _MOST_MODELS:
        read.popitem(last=False)
    return read


@attrs.frozen(kw_only=True, eq=False)
class TokenEstimator:
    """
    Counts tokens about, and corrects itself for each model by what its answers told.

    Whatever *counter* counts is multiplied by a ratio for the *model*, 1 at first, that follows
    how many input tokens answers told (`learn`): an average over the latest 20 or so, in which a
    large request weighs more than a small one. No answer moves it by more than a factor of two,
    and from the 19th on by more than a tenth, whatever it tells; the ratio is 0.1 to 10. A
    constant error of *counter* is gone after some dozen answers.

    It asks nobody and keeps no text: a few numbers for each of the 100 models that it learned of
    last. May be shared between threads, event loops and policies.
    """

    counter: TokenCounter = attrs.field(factory=ByCharacters, validator=token_counter)
    """
    What is corrected: by default a rule that weighs characters by their kinds, in microseconds.

    An exact tokenizer does not know what a provider puts around messages and tools either.
    """

    known: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict, repr=False)
    """What `snapshot` answered, also by way of JSON, to go on with."""

    _known: OrderedDict[str, _Calibration] = attrs.field(
        default=attrs.Factory(_read, takes_self=True), init=False, repr=False
    )
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    def count(self, content: Countable, /, *, model: str = "") -> int:
        """
        Answer about how many tokens *content* is for *model*.

        The content is a text, a `Request` (with its system text, tools, schema, pictures …), or
        an `EmbeddingRequest`; the model is any name, as long as `learn` gets the same.
        """
        return self.corrected(self.counter.count(content, model=model), model=model)

    def corrected(self, counted: int, *, model: str = "") -> int:
        """Answer about how many tokens it is for *model* that *counter* counted so many of."""
        return max(min(counted, 1), round(counted * self.ratio(model)))

    def learn(self, counted: int, input_tokens: int, *, model: str = "") -> None:
        """
        Learn that a request had *input_tokens*, the cached ones included, for *model*.

        *counted* is what *counter* had counted, not what was corrected. A zero of either teaches
        nothing.
        """
        if counted <= 0 or input_tokens <= 0:
            return
        with self._lock:
            known = self._known.get(model) or _Calibration()
            self._known[model] = known.after(counted, input_tokens)
            self._known.move_to_end(model)
            if len(self._known) > _MOST_MODELS:
                self._known.popitem(last=False)

    def ratio(self, model: str = "") -> float:
        """Answer what counts for *model* are multiplied by."""
        known = self._known.get(model)
        return 1.0 if known is None else known.ratio

    def snapshot(self) -> dict[str, dict[str, float]]:
        """
        Answer all that was learned, as plain JSON types: give it to a later one as ``known=``.

        By model: the *ratio*, the *size* of requests and the number of *answers* it is from.
        """
        with self._lock:
            return {model: attrs.asdict(known) for model, known in self._known.items()}
