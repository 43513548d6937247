"""The stage: asks, judges the end of the answer, reads it, mends it, and asks again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from genai_pipeline._canonical import digest, json_copy
from genai_pipeline._generate._forms import Form, Reading
from genai_pipeline._generate._issues import Unfit, told
from genai_pipeline._generate._prompts import Prompt
from genai_pipeline._lifespan import Composite
from genai_pipeline._paid import OnUnknown
from genai_pipeline.errors import InvalidAnswer, InvalidRequest, Refused, Truncated
from genai_pipeline.events import AnswerMended, emit
from genai_pipeline.messages import Message, Request, Response
from genai_pipeline.records import Record
from genai_pipeline.types import Provider
from genai_pipeline.walk import current_walk

__all__ = ["Generate", "Limits"]


@attrs.frozen(kw_only=True)
class Limits:
    """How much is done about answers that cannot be used as they are."""

    reasks: int
    raise_cap: float
    repair: bool


class Generate(Composite):
    """A stage that asks a model about each record, and answers values of one shape."""

    __slots__ = (
        "_form",
        "_limits",
        "_prompt",
        "_shape",
        "fingerprint",
        "name",
        "on_unknown",
        "provider",
        "version",
    )

    def __init__(
        self,
        provider: Provider,
        prompt: Prompt,
        form: Form,
        limits: Limits,
        *,
        name: str,
        shape: str,
        version: str,
        on_unknown: OnUnknown,
        identity: list[Any],
    ) -> None:
        self.provider = provider
        self.name = name
        self.version = version
        self.on_unknown = on_unknown
        self.fingerprint = digest(json_copy([prompt.told, form.name, *identity], where="generate"))
        self._prompt = prompt
        self._form = form
        self._limits = limits
        self._shape = shape

    def parts(self) -> Iterable[object]:
        """Answer the provider: what is entered and left with this."""
        return (self.provider,)

    async def __call__(self, record: Record[Any]) -> Sequence[Record[Any]]:
        """Answer the record with what the model made of its value."""
        request = self._form.asked(self._prompt.request(record.value))
        asking = _Asking(self, request, self._limits)
        reading = await asking.answer()
        made = record.with_value(reading.value)
        return (made.with_attributes(repaired=True) if reading.repaired else made,)

    def __repr__(self) -> str:
        return f"<stage {self.name}>"


class _Asking:
    """The calls for one record."""

    def __init__(self, stage: Generate, request: Request, limits: Limits) -> None:
        self._stage = stage
        self._form = stage._form  # noqa: SLF001 - its own
        self._first = request
        """What is asked, with as much room as the answer needs."""
        self._limits = limits
        self._reasks_left = limits.reasks
        self._cut: tuple[str, str] | None = None
        """What was said of an answer that was cut, and what arrived, once the limit was raised."""
        self._further = 0

    async def answer(self) -> Reading:
        """Ask until an answer can be read; raises `Truncated`, `Refused` or `InvalidAnswer`."""
        request = self._first
        while True:
            try:
                reading = await self._ask(request)
            except Truncated as cut:
                if not self._raise_cap(cut):
                    raise
                # From the beginning: what led to an answer too long need not do so again.
                request = self._first
            except InvalidRequest as error:
                if self._cut is None:
                    raise
                message, partial = self._cut  # the model has no more room than that
                raise Truncated(message, partial=partial) from error
            except InvalidAnswer as error:
                if not error.issues or not self._reasks_left:
                    raise
                request = self._once_more(error)
            else:
                self._count(-self._further)
                return reading

    async def _ask(self, request: Request) -> Reading:
        """Make one call; raises `InvalidAnswer` with issues where asking again may help."""
        try:
            response = await self._stage.provider(request)
        except InvalidAnswer as error:
            if not error.text:
                raise
            # The provider found nothing in the text; perhaps it can be mended.
            text, whole = error.text, True
        else:
            text = self._form.text_of(response)
            _judge(response, text, self._stage.name)
            whole = response.finish_reason in self._form.ends
        try:
            reading = self._form.read(text, whole and self._limits.repair)
        except Unfit as unfit:
            raise self._invalid(text, unfit) from None
        if reading.repaired:
            self._tell("repaired")
        return reading

    def _invalid(self, text: str, unfit: Unfit) -> InvalidAnswer:
        stage, reasks = self._stage, self._limits.reasks
        asked = f" (asked {1 + reasks} times)" if reasks else ""
        return InvalidAnswer(
            f"{stage.name}: the answer is no {stage._shape}{asked}: {unfit}",  # noqa: SLF001 - its own
            text=text,
            issues=unfit.issues,
        )

    def _raise_cap(self, cut: Truncated) -> bool:
        cap, factor = self._first.max_output_tokens, self._limits.raise_cap
        if self._cut is not None or cap is None or factor == 1:
            return False
        self._cut = (str(cut), cut.partial)
        self._first = attrs.evolve(self._first, max_output_tokens=math.ceil(cap * factor))
        self._tell("cap_raised")
        self._count(1)
        return True

    def _once_more(self, error: InvalidAnswer) -> Request:
        self._reasks_left -= 1
        self._tell("reasked")
        self._count(1)
        issues = "\n".join(f"- {line}" for line in told(error.issues, "\n").splitlines())
        said = (Message("assistant", error.text),) if error.text.strip() else ()
        wanted = f"This answer cannot be used:\n{issues}\n{self._form.once_more}"
        turns = (*self._first.messages, *said, Message("user", wanted))
        return attrs.evolve(self._first, messages=turns)

    def _count(self, calls: int) -> None:
        """Count calls beyond the first as attempts at the record, for as long as none was good."""
        self._further += calls
        walk = current_walk()
        if walk is not None:
            walk.attempts += calls

    def _tell(self, how: Any) -> None:
        emit(AnswerMended(stage=self._stage.name, how=how))


def _judge(response: Response, text: str, who: str) -> None:
    """Raise what the end of an answer means, before anybody reads it."""
    finish = response.finish_reason
    if finish == "length":
        raise Truncated(
            f"{who}: the answer was cut at the output limit; raise max_output_tokens", partial=text
        )
    if finish in {"refusal", "filter"}:
        by = "the content filter" if finish == "filter" else "the model"
        told = f": {text[:300]}" if text else ""
        raise Refused(f"{who}: {by} refused{told}", explanation=text)
