"""`HttpLimited`: a provider behind HTTP that refuses what its model surely does not take."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

from genai_pipeline._options import optional
from genai_pipeline.providers._http_options import HttpOptions
from genai_pipeline.providers._limits import Limits, is_catalogue, is_exact_counter

if TYPE_CHECKING:  # it is loaded by the first call
    from genai_pipeline.catalogue import ModelCatalogue
    from genai_pipeline.types import TokenCounter

__all__ = ["HttpLimited"]


@attrs.frozen(eq=False)
class HttpLimited(HttpOptions):
    """
    A provider behind HTTP, and what is known of its model; subclasses say the rest.

    What the model surely does not take is refused before it is sent, as *catalogue*, *counter*
    and an option of the subclass tell.
    """

    limit_option: ClassVar[str] = "context_window"
    """The option that says how much the model reads, in place of what the *catalogue* says."""

    catalogue: ModelCatalogue | None = attrs.field(
        default=None, kw_only=True, repr=False, validator=optional(is_catalogue)
    )
    """
    What is known of models: what this one surely does not take is refused before it is sent.

    By default `ModelCatalogue.reference`, where *base_url* is the API of the model's maker or
    host; elsewhere a name may mean another model, so nothing. Give an empty one to refuse nothing.
    """

    counter: TokenCounter | None = attrs.field(
        default=None, kw_only=True, repr=False, validator=optional(is_exact_counter)
    )
    """
    Counts the tokens of a text as this model has them, exactly: `tokens.Tiktoken`, a tokenizer.

    Then what has more tokens than the model reads is refused to the token. It is asked only where
    neither the words nor the bytes of a text decide, and in the event loop.
    """

    _limits: Limits = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        HttpOptions.__attrs_post_init__(self)
        limits = Limits(
            who=self._caller.who,
            model=self.model,
            catalogue=self.catalogue,
            refers=self._is_known_host(),
            most_read=self._window(),
            option=self.limit_option,
            counter=self.counter,
        )
        limits.check_counter(self)
        object.__setattr__(self, "_limits", limits)

    def _is_known_host(self) -> bool:
        """Tell whether *base_url* serves the models that the reference catalogue names."""
        return False

    def _window(self) -> int | None:
        """Answer the most tokens that the model reads, where that is set here."""
        return None
