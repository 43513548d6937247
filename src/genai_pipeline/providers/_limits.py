"""`Limits`: what a model surely does not take is refused before it is sent."""

from __future__ import annotations

import attrs

from genai_pipeline._options import check
from genai_pipeline.catalogue import ModelCatalogue, ModelInfo
from genai_pipeline.catalogue._fit import refuse_what_cannot_fit
from genai_pipeline.messages import Request

__all__ = ["Limits"]


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

    _info: ModelInfo | None = attrs.field(default=None, init=False)

    def refuse(self, request: Request) -> None:
        """
        Raise for a *request* that the model surely does not take.

        `ContextOverflow` where the prompt is longer than it reads, `InvalidRequest` where more is
        asked for than it writes.
        """
        refuse_what_cannot_fit(request, self._info or self._find(), who=self.who)

    def check_output(self, owner: object, option: str, limit: int | None) -> None:
        """Raise `ConfigurationError` for a *limit* of output above what the model writes."""
        most = None if limit is None else (self._info or self._find()).max_output_tokens
        if limit is not None and most is not None:
            allowed = f"at most {most}, as {self.model!r} writes no more; or a catalogue= that says"
            check(limit <= most, owner, option, limit, f"{allowed} otherwise")

    def _find(self) -> ModelInfo:
        catalogue = self.catalogue
        if catalogue is None and self.refers:
            catalogue = ModelCatalogue.reference()
        info = None if catalogue is None else catalogue.find(self.model)
        info = info or ModelInfo(model="unknown")
        if self.context_window is not None:
            window = self.context_window
            info = attrs.evolve(info, context_window=window, max_input_tokens=None, as_of=None)
        self._info = info
        return info
