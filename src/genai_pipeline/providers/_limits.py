"""`Limits`: what a model surely does not take is refused before it is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from genai_pipeline._options import check
from genai_pipeline.errors import ContextOverflow
from genai_pipeline.messages import Request

if TYPE_CHECKING:  # it is loaded by the first call, not by building a provider
    from genai_pipeline.catalogue import ModelCatalogue, ModelInfo
    from genai_pipeline.embeddings import EmbeddingRequest
    from genai_pipeline.types import TokenCounter

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

    most_read: int | None
    """What counts in place of what the catalogue says."""

    option: str = "context_window"
    """What that is called as an option."""

    counter: TokenCounter | None
    """Counts the tokens of a text exactly."""

    _refuse: Callable[[Request], None] | None = attrs.field(default=None, init=False)
    _overflow: Callable[[EmbeddingRequest], ContextOverflow | None] | None = attrs.field(
        default=None, init=False
    )

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

    def overflow_of(self, request: EmbeddingRequest) -> ContextOverflow | None:
        """Answer the error of a *request* whose texts the model surely does not take, if it has."""
        if self._overflow is None:
            from genai_pipeline.catalogue._fit import overflow_of_texts  # noqa: PLC0415

            self._overflow = partial(
                overflow_of_texts, info=self._info(), count=self._count(), who=self.who
            )
        return self._overflow(request)

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
            allowed = f"{self.option}= too, as it is not known how much {self.model!r} reads"
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
        if self.most_read is None:
            return info
        window = self.most_read
        return attrs.evolve(info, context_window=window, max_input_tokens=None, as_of=None)
