"""`StreamScript`: a streaming provider that answers what the test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TypeAlias

from genai_pipeline._options import check
from genai_pipeline._streaming import interruption
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import StreamInterrupted
from genai_pipeline.events import CallFinished, emit
from genai_pipeline.messages import Chunk, Request, Usage
from genai_pipeline.testing._script import ScriptError, words_of

__all__ = ["StreamScript"]

Piece: TypeAlias = "str | float | Chunk | BaseException | type[BaseException] | None"
"""A text, seconds of silence, a `Chunk`, an exception to raise, or `None`: an early end."""

StreamAnswer: TypeAlias = "str | BaseException | type[BaseException] | Sequence[Piece]"


class StreamScript:
    """
    A streaming provider that gives *answers* in the order of calls, and remembers the requests.

    An answer is a text, which comes word by word; an exception, raised on entering; or a list of
    pieces: a text is a chunk, a number the seconds of silence on *clock* before the next piece, a
    `Chunk` goes out as it is, an exception is raised at that place, and `None` ends the stream
    there without its last chunk. All others end with a last chunk that counts words as tokens,
    as `Script` does.

    An answer too many is a `ScriptError`. Each stream emits one `CallFinished`.
    """

    def __init__(
        self, *answers: StreamAnswer, clock: Clock | None = None, model: str = "script"
    ) -> None:
        for index, answer in enumerate(answers):
            fine = isinstance(answer, Sequence | BaseException) or _is_error(answer)
            allowed = "a text, an exception or a list of pieces"
            check(fine, self, f"answers[{index}]", answer, allowed)
        self.requests: list[Request] = []
        """The requests, in the order of calls."""
        self.in_flight = 0
        """Streams that were entered and not left, nor over."""
        self.most_in_flight = 0
        self.model = model
        self.clock = clock or SystemClock()
        self._answers = answers

    @property
    def calls(self) -> int:
        """How many streams were begun."""
        return len(self.requests)

    @property
    def left(self) -> int:
        """How many answers nobody has called for yet."""
        return max(0, len(self._answers) - self.calls)

    def __call__(self, request: Request) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """Answer the stream of the next answer; it begins when it is entered."""
        return _ScriptStream(self, request)

    def begin(self, request: Request) -> list[Piece]:
        """Answer the pieces of the next answer, the last chunk among them."""
        number = len(self.requests)
        self.requests.append(request)
        if number >= len(self._answers):
            count = len(self._answers)
            raise ScriptError(
                f"the script has {count} answer{'' if count == 1 else 's'}, and this is call "
                f"{number + 1}; give more answers"
            )
        answer = self._answers[number]
        if isinstance(answer, BaseException | type):
            raise answer
        pieces: list[Piece] = [*_words(answer)] if isinstance(answer, str) else [*answer]
        ended = any(isinstance(each, Chunk) and each.finish_reason for each in pieces)
        if not ended and None not in pieces:
            text = "".join(_text_of(each) for each in pieces)
            usage = words_of(request, text)
            pieces.append(Chunk(finish_reason="stop", usage=usage, model=self.model))
        return pieces

    def __repr__(self) -> str:
        return f"<StreamScript: {len(self._answers)} answers, {self.calls} calls>"


class _ScriptStream(AbstractAsyncContextManager[AsyncIterator[Chunk]], AsyncIterator[Chunk]):
    def __init__(self, script: StreamScript, request: Request) -> None:
        self._script = script
        self._request = request
        self._pieces: list[Piece] = []
        self._text = ""
        self._usage: Usage | None = None
        self._seconds = 0.0
        self._first_chunk: float | None = None
        self._is_open = False

    async def __aenter__(self) -> AsyncIterator[Chunk]:
        script = self._script
        script.in_flight += 1
        script.most_in_flight = max(script.most_in_flight, script.in_flight)
        self._is_open = True
        try:
            await script.clock.sleep(0)
            self._pieces = script.begin(self._request)
        except BaseException as error:
            self._end(error)
            raise
        return self

    async def __anext__(self) -> Chunk:
        if not self._is_open:
            raise StopAsyncIteration
        began = self._script.clock.now()
        try:
            chunk = await self._next()
        except Exception as error:
            self._seconds += self._script.clock.now() - began
            if self._first_chunk is not None:
                error = interruption(error, partial=self._text, usage=self._usage)
            self._end(error)
            raise error from error.__cause__
        except BaseException as error:
            self._end(error)
            raise
        self._seconds += self._script.clock.now() - began
        if self._first_chunk is None:
            self._first_chunk = self._seconds
        self._text += chunk.text
        self._usage = chunk.usage or self._usage
        if chunk.finish_reason is not None:
            self._end(None, chunk.finish_reason)
        return chunk

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, Exception):
            error = GeneratorExit()
        self._end(error)

    async def _next(self) -> Chunk:
        silence = 0.0
        while self._pieces and isinstance(self._pieces[0], int | float):
            silence += self._pieces.pop(0)  # type: ignore[operator]
        await self._script.clock.sleep(silence)
        piece = self._pieces.pop(0) if self._pieces else None
        if piece is None:
            told = "the script ends the stream here"
            raise StreamInterrupted(told, partial=self._text, usage=self._usage)
        if isinstance(piece, BaseException | type):
            raise piece
        return piece if isinstance(piece, Chunk) else Chunk(str(piece))

    def _end(self, error: BaseException | None, finish_reason: str | None = None) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._script.in_flight -= 1
        usage = self._usage or Usage()
        emit(
            CallFinished(
                provider="script",
                model=self._script.model,
                seconds=self._seconds,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cost=usage.cost,
                finish_reason=finish_reason,
                error=None if error is None else _failure(error),
                first_chunk=self._first_chunk,
            )
        )


def _failure(error: BaseException) -> str:
    if isinstance(error, Exception):
        return type(error).__name__
    return "Abandoned" if isinstance(error, GeneratorExit) else "Cancelled"


def _words(text: str) -> list[str]:
    return [word + " " for word in text.split(" ")[:-1]] + text.split(" ")[-1:]


def _text_of(piece: Piece) -> str:
    return piece.text if isinstance(piece, Chunk) else piece if isinstance(piece, str) else ""


def _is_error(answer: object) -> bool:
    return isinstance(answer, type) and issubclass(answer, BaseException)
