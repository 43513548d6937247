"""What the embedded model can do with a text: file it under a label, pick its sentences."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

import attrs

from genai_pipeline.errors import InvalidRequest, Truncated
from genai_pipeline.messages import FinishReason, Response, Usage
from genai_pipeline.providers._local_sentences import split_sentences

if TYPE_CHECKING:
    from genai_pipeline.providers._local_vectors import Reading, WordVectors

__all__ = ["MODEL", "Labelling", "Summary"]

MODEL = "local-wordvectors-256"

# How much the place of a sentence counts beside its likeness to all the others (at most 1):
# writers put first what matters, so each later sentence gets seven tenths of the one before.
_PLACE, _FADING = 0.2, 0.7
# How much a length counts that can stand alone: neither a heading nor a paragraph.
_LENGTH, _SHORT, _LONG = 0.1, 8, 25
# A sentence more like a chosen one than this says the same, and loses twice what is above.
_REPETITION = 0.5


@attrs.frozen
class Labelling:
    """To choose one of *labels* for *text*."""

    text: str
    labels: tuple[str, ...]
    descriptions: Mapping[str, str]

    @property
    def size(self) -> int:
        """The characters to read; those of labels weigh little, since they are remembered."""
        described = sum(len(self.descriptions.get(label, "")) for label in self.labels)
        return len(self.text) + (sum(map(len, self.labels)) + described) // 10

    def answer(self, words: WordVectors) -> Response:
        """Answer the label whose name and description are most like the text."""
        said = tuple(
            f"{label}: {self.descriptions[label]}" if label in self.descriptions else label
            for label in self.labels
        )
        choices = words.read_all(said)
        for label, choice in zip(self.labels, choices, strict=True):
            if choice.empty:
                raise InvalidRequest(
                    f"Local: the label {label!r} holds no word to compare the text with; "
                    "describe it in Local(descriptions={...})"
                )
        reading = _read(words, self.text)
        scores = words.similarities(reading, choices)
        best = max(range(len(scores)), key=scores.__getitem__)
        return _response(
            self.labels[best],
            reading,
            words.count(self.labels[best]),
            scores=dict(zip(self.labels, scores, strict=True)),
        )


@attrs.frozen
class Summary:
    """To choose the *sentences* that stand best for all of *text*."""

    text: str
    sentences: int
    max_tokens: int | None

    @property
    def size(self) -> int:
        """The characters to read."""
        return 2 * len(self.text)

    def answer(self, words: WordVectors) -> Response:
        """Answer the sentences chosen, in the order of the text."""
        whole = _read(words, self.text)
        sentences = split_sentences(self.text)
        readings = [words.read(sentence) for sentence in sentences]
        worths = [
            _worth(place, sentence, likeness)
            for place, (sentence, likeness) in enumerate(
                zip(sentences, words.centralities(readings), strict=True)
            )
        ]
        chosen, cut = self._choose(words, readings, worths)
        if not chosen:
            raise Truncated(
                f"Local: no sentence of the text fits max_output_tokens={self.max_tokens}; "
                "a summary is made of whole sentences, so allow more"
            )
        return _response(
            " ".join(sentences[place] for place in chosen),
            whole,
            sum(readings[place].tokens for place in chosen),
            finish_reason="length" if cut else "stop",
        )

    def _choose(
        self, words: WordVectors, readings: list[Reading], worths: list[float]
    ) -> tuple[list[int], bool]:
        """Answer the places chosen, and whether the token limit kept any out."""
        left = {place for place, reading in enumerate(readings) if not reading.empty}
        room = self.max_tokens
        chosen: list[int] = []
        cut = False
        worths = list(worths)
        while left and len(chosen) < self.sentences:
            best = max(sorted(left), key=worths.__getitem__)
            left.discard(best)
            if room is not None and readings[best].tokens > room:
                cut = True
                continue
            room = None if room is None else room - readings[best].tokens
            chosen.append(best)
            if len(chosen) < self.sentences:
                for place, likeness in enumerate(words.similarities(readings[best], readings)):
                    worths[place] -= 2 * max(0.0, likeness - _REPETITION)
        return sorted(chosen), cut and len(chosen) < self.sentences


def _worth(place: int, sentence: str, likeness: float) -> float:
    length = len(sentence.split())
    fit = min(1.0, length / _SHORT, _LONG / length)
    return likeness + float(_PLACE * _FADING**place) + _LENGTH * fit


def _read(words: WordVectors, text: str) -> Reading:
    reading = words.read(text)
    if reading.empty:
        start = text if len(text) <= 40 else text[:40] + "…"  # noqa: PLR2004 - a glimpse
        raise InvalidRequest(f"Local: the text {start!r} holds no word to go by")
    return reading


def _response(
    text: str,
    reading: Reading,
    output_tokens: int,
    *,
    finish_reason: FinishReason = "stop",
    **attributes: object,
) -> Response:
    usage = Usage(input_tokens=reading.tokens, output_tokens=output_tokens, cost=Decimal(0))
    return Response(
        text, usage=usage, finish_reason=finish_reason, model=MODEL, attributes=attributes
    )
