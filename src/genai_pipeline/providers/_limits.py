"""`Limits`: what a model surely does not take is refused before it is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from genai_pipeline._options import check
from genai_pipeline.messages import Request
from genai_pipeline.types import TokenCounter

if TYPE_CHECKING:  # it is loaded by the first call, not by building a provider
    from genai_pipeline.catalogue import ModelCatalogue, ModelInfo

__all__ = ["Limits", "is_catalogue", "is_exact_counter"]


def is_catalogue(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    """Allow a `ModelCatalogue`."""
    from genai_pipeline.catalogue import ModelCatalogue  # noqa: PLC0415 - see above

    fine = isinstance(value, ModelCatalogue)
    check(fine, owner, option.name, value, "a ModelCatalogue, an empty one to refuse nothing")


def is_exact_counter(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    """Allow what counts tokens, but for what is known to estimate them."""
    from genai_pipeline.tokens import ByCharacters, TokenEstimator  # noqa: PLC0415 - for few

    counts = callable(getattr(value, "count", None)) and not isinstance(value, type | Sequence)
    fine = counts and not isinstance(value, ByCharacters | TokenEstimator)
    allowed = "an exact token counter, as gp.tokens.Tiktoken; an estimate would refuse what fits"
    check(fine, owner, option.name, value, allowed)


@attrs.define(kw_only=True, eq=False)
class Limits:
    """What is known of a model, looked up when it is first needed."""

    who: str
    """Begins the message of each error."""

    model: str
    catalogue: ModelCatalogue | None
    """What to look it up in."""

    refers: bool
    """Whether to look it up in the reference catalogue, where no other is given."""

    context_window: int | None
    """What counts in place of what the catalogue says."""

    counter: TokenCounter | None
    """Counts the tokens of a text exactly."""

    _refuse: Callable[[Request], None] | None = attrs.field(default=None, init=False)

    def refuse(self, request: Request) -> None:
        """
        Raise for a *request* that the model surely does not take.

        `ContextOverflow` where the prompt is longer than it reads, `InvalidRequest` where more is
        asked for than it writes.
        """
        if self._refuse is None:
            from genai_pipeline.catalogue._fit import refuse_what_cannot_fit  # noqa: PLC0415

            self._refuse = partial(
                refuse_what_cannot_fit, info=self._info(), count=self._count(), who=self.who
            )
        self._refuse(request)

    def check_output(self, owner: object, option: str, limit: int | None) -> None:
        """Raise `ConfigurationError` for a *limit* of output above what the model writes."""
        most = None if limit is None else self._info().max_output_tokens
        if limit is not None and most is not None:
            allowed = f"at most {most}, as {self.model!r} writes no more; or a catalogue= that says"
            check(limit <= most, owner, option, limit, f"{allowed} otherwise")

    def check_counter(self, owner: object) -> None:
        """Raise `ConfigurationError` for a counter where nothing is known to compare with."""
        if self.counter is not None:
            known = self._info().most_read is not None
            allowed = f"context_window= too, as it is not known how much {self.model!r} reads"
            check(known, owner, "counter", self.counter, allowed)

    def _count(self) -> Callable[[str], int] | None:
        return None if self.counter is None else partial(self.counter.count, model=self.model)

    def _info(self) -> ModelInfo:
        from genai_pipeline.catalogue import ModelCatalogue, ModelInfo  # noqa: PLC0415 - see above

        known = self.catalogue
        if known is None and self.refers:
            known = ModelCatalogue.reference()
        info = None if known is None else known.find(self.model)
        if info is None:
            info = ModelInfo(model="unknown")
        if self.context_window is None:
            return info
        window = self.context_window
        return attrs.evolve(info, context_window=window, max_input_tokens=None, as_of=None)
