"""How a shape is asked for: what the request says, and how the answer's text is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import attrs

from genai_pipeline._generate._documents import document_in
from genai_pipeline._generate._issues import Unfit, shown
from genai_pipeline._generate._output import Output
from genai_pipeline._lifespan import Composite
from genai_pipeline._options import apply, check, one_of
from genai_pipeline._tools import Tool
from genai_pipeline._wrap import Wrapped
from genai_pipeline.messages import Request, Response

__all__ = ["Form", "Mode", "Reading", "form_of", "modes_of", "text_form"]

Mode: TypeAlias = Literal["auto", "native", "tool", "prompt"]
"""How to ask for a shape: by a parameter of the API, as the arguments of a tool, or in words."""

_MODES = ("auto", "native", "tool", "prompt")
_TOOL = "answer"
_UNTOLD = frozenset({"prompt"})
_DOCUMENT_AGAIN = "Answer again, with the whole JSON document, corrected, and nothing else."


@attrs.frozen
class Reading:
    """What an answer's text stands for, and whether it had to be mended."""

    value: Any
    repaired: bool = False


@attrs.frozen
class Form:
    """One way to ask for a shape."""

    name: str
    asked: Callable[[Request], Request] = attrs.field(repr=False)
    """Puts into a request what it takes."""

    read: Callable[[str, bool], Reading] = attrs.field(repr=False)
    """Reads an answer's text, mends it if told to; raises `Unfit`."""

    once_more: str = attrs.field(repr=False)
    """What to say when the answer was not what was asked for."""

    text_of: Callable[[Response], str] = attrs.field(
        default=lambda response: response.text, repr=False
    )
    """Where in an answer the text is."""

    ends: frozenset[str] = frozenset({"stop"})
    """The finish reasons of an answer that is whole."""


def modes_of(provider: object) -> frozenset[str]:
    """
    Answer what *provider* says it can, as its ``output_modes``: of a route, what all targets can.

    What stands around a provider changes nothing. One that says nothing can be asked in words.
    """
    told = getattr(provider, "output_modes", None)
    if told is not None:
        return frozenset(told)
    targets: list[object]
    if isinstance(provider, Wrapped):
        targets = [provider.handler]
        for middleware in provider.middlewares:
            targets.extend(getattr(middleware, "others", ()))
    else:
        targets = [*provider.parts()] if isinstance(provider, Composite) else []
    return frozenset.intersection(*map(modes_of, targets)) if targets else _UNTOLD


def form_of(output: Output, provider: object, mode: Mode) -> Form:
    """
    Answer the form in which *provider* is asked for *output*: the best it has, or as *mode* says.

    Raises `ConfigurationError` when it has none.
    """
    apply(one_of(*_MODES), "generate", "mode", mode)
    modes = modes_of(provider)
    if mode in {"auto", "native"} and output.labels is not None and "labels" in modes:
        return _labels_form(output.labels)
    if mode == "native" or (mode == "auto" and "native" in modes):
        return _native_form(output)
    if mode == "tool" or (mode == "auto" and "tool" in modes):
        return _tool_form(output)
    can = ", ".join(sorted(modes)) or "nothing that all its targets can"
    fine = mode == "prompt" or "prompt" in modes
    check(fine, "generate", "output", output.name, f"what the provider can, which is: {can}")
    return _prompt_form(output)


def text_form() -> Form:
    """Answer the form in which a text is asked for: as it is."""

    def read(text: str, repair: bool) -> Reading:  # noqa: ARG001, FBT001 - as of all forms
        if not text.strip():
            raise Unfit(("$", "the answer is empty"))
        return Reading(text)

    return Form("text", lambda request: request, read, "Answer again.")


def _labels_form(labels: Mapping[str, Any]) -> Form:
    def read(text: str, repair: bool) -> Reading:  # noqa: ARG001, FBT001 - as of all forms
        if text not in labels:
            raise Unfit(("$", f"{shown(text)} is none of {', '.join(map(shown, labels))}"))
        return Reading(labels[text])

    return Form(
        "labels",
        lambda request: attrs.evolve(request, labels=tuple(labels)),
        read,
        "Answer again, with one of the labels and nothing else.",
    )


def _native_form(output: Output) -> Form:
    return Form(
        "native",
        lambda request: attrs.evolve(request, schema=output.schema),
        _reader(output),
        _DOCUMENT_AGAIN,
    )


def _tool_form(output: Output) -> Form:
    tool = Tool(_TOOL, "Takes the answer.", output.schema)

    def text_of(response: Response) -> str:
        # Several calls are several documents, which is one too many.
        return "\n".join(call.arguments for call in response.tool_calls) or response.text

    return Form(
        "tool",
        lambda request: attrs.evolve(request, tools=(tool,), tool_choice=_TOOL),
        _reader(output),
        f"Call the tool {_TOOL} again, with the whole answer, corrected.",
        text_of,
        frozenset({"stop", "tool"}),
    )


def _prompt_form(output: Output) -> Form:
    schema = json.dumps(output.schema, ensure_ascii=False)
    words = (
        "Answer with one JSON document and nothing else: no explanation, no code fence. It must "
        f"obey this JSON Schema:\n{schema}"
    )

    def asked(request: Request) -> Request:
        system = words if request.system is None else f"{request.system}\n\n{words}"
        return attrs.evolve(request, system=system)

    return Form("prompt", asked, _reader(output), _DOCUMENT_AGAIN)


def _reader(output: Output) -> Callable[[str, bool], Reading]:
    def read(text: str, repair: bool) -> Reading:  # noqa: FBT001 - as of all forms
        document = document_in(text, repair=repair)
        try:
            return Reading(output.take(document.value), document.repaired)
        except RecursionError:
            raise Unfit(("$", "nested too deeply")) from None

    return read
