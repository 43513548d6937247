"""`generate`: a stage out of a prompt and a type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypedDict, TypeVar, Unpack, overload

import attrs

from genai_pipeline import _options
from genai_pipeline._generate._forms import Mode, form_of, text_form
from genai_pipeline._generate._output import output_of
from genai_pipeline._generate._prompts import FromFunction, FromTemplate, Parameters, Prompt
from genai_pipeline._generate._stage import Generate, Limits
from genai_pipeline._generate._template import template_of
from genai_pipeline._options import apply, check
from genai_pipeline._paid import OnUnknown
from genai_pipeline._versions import check_mark
from genai_pipeline.messages import Request
from genai_pipeline.types import Provider, Stage

__all__ = ["generate"]

A = TypeVar("A")
B = TypeVar("B")

_MOST_REASKS = 5
_MOST_RAISE = 8


class _Options(TypedDict, total=False):
    """What `generate` takes beside provider, prompt, input and output."""

    system: str | None
    max_output_tokens: int | None
    temperature: float | None
    extra: Mapping[str, Any]
    mode: Mode
    reasks: int
    raise_cap: float
    repair: bool
    delimit: bool
    name: str | None
    version: str
    on_unknown: OnUnknown


@overload
def generate(
    provider: Provider,
    *,
    prompt: Callable[[A], Request | str],
    output: type[B],
    **options: Unpack[_Options],
) -> Stage[A, B]: ...
@overload
def generate(
    provider: Provider,
    *,
    prompt: Callable[[A], Request | str],
    output: object,
    **options: Unpack[_Options],
) -> Stage[A, Any]: ...
@overload
def generate(
    provider: Provider,
    *,
    prompt: str,
    input: type[A],
    output: type[B],
    **options: Unpack[_Options],
) -> Stage[A, B]: ...
@overload
def generate(
    provider: Provider,
    *,
    prompt: str,
    input: type[A],
    output: object,
    **options: Unpack[_Options],
) -> Stage[A, Any]: ...
@overload
def generate(
    provider: Provider,
    *,
    prompt: str,
    output: type[B],
    **options: Unpack[_Options],
) -> Stage[Any, B]: ...
@overload
def generate(
    provider: Provider,
    *,
    prompt: str,
    output: object,
    **options: Unpack[_Options],
) -> Stage[Any, Any]: ...
def generate(
    provider: Provider,
    *,
    prompt: str | Callable[[Any], Request | str],
    output: Any,
    input: Any = None,
    system: str | None = None,
    max_output_tokens: int | None = None,
    temperature: float | None = None,
    extra: Mapping[str, Any] | None = None,
    mode: Mode = "auto",
    reasks: int = 1,
    raise_cap: float = 2.0,
    repair: bool = True,
    delimit: bool = True,
    name: str | None = None,
    version: str = "1",
    on_unknown: OnUnknown = "retry",
) -> Stage[Any, Any]:
    """
    Make a stage that asks *provider* about each record, and answers values of the type *output*.

    *prompt* is a text in which ``{name}`` stands for the field of that name, ``{value}`` for a
    record that is a text or a number, and ``{{`` for a brace; or a function of the value that
    answers a text or a `Request`, which goes out as it is. With *input*, the type of the values
    (an attrs or data class, a `TypedDict`, pydantic, msgspec, str), a placeholder that it does not
    have is a `ConfigurationError` here; without, or in a dict, a `DataError` for the record.

    *output* is an attrs or data class or a `TypedDict` of texts, numbers, dates, enumerations,
    lists and more of its kind; any of these by itself; a pydantic model, a msgspec Struct; or a
    JSON Schema, which answers plain data. ``str`` is the answer's text as it is.

    *system*, *max_output_tokens*, *temperature* and *extra* are those of `Request`. *mode* says
    how to ask for JSON: as a parameter of the API (``"native"``), as the arguments of a tool
    (``"tool"``), or in words (``"prompt"``); by default as the provider can, see its
    ``output_modes``.

    Before an answer is read, its end is looked at. One that was cut is asked for once more, with
    *raise_cap* times the room (1: not at all; it takes *max_output_tokens*), and then raises
    `Truncated`; a refusal raises `Refused`. The JSON is found in a code fence and among prose;
    with *repair*, and the extra ``schema``, broken JSON is mended, and the record's attribute
    ``repaired`` is true. What does not fit is sent back with the errors, up to *reasks* times, and
    then raises `InvalidAnswer` with all of them as ``issues``. Each of these emits
    `events.AnswerMended`.

    With *delimit*, texts of the record stand between tags, which the system prompt says are
    material and no instructions. That makes it harder to talk a model into something, not
    impossible; whatever it says becomes a value of *output* and nothing else.

    In a pipeline with a journal, each of these calls is kept by itself. The template, the
    parameters and the schema are part of what the stage's work is known by, and so is *version*:
    change it when a function given as *prompt*, or what the type makes of values, changes. *name*
    and *on_unknown* are as for `map`.
    """
    check(
        callable(provider) and not isinstance(provider, type),
        "generate",
        "provider",
        provider,
        "a provider, no class",
    )
    check_mark("generate", version, on_unknown)
    limits = _limits(reasks=reasks, raise_cap=raise_cap, repair=repair)
    apply(_options.flag, "generate", "delimit", delimit)
    apply(_options.optional(_options.text), "generate", "name", name)
    parameters = Parameters(
        system=system,
        max_output_tokens=max_output_tokens,
        temperature=temperature,
        extra={} if extra is None else extra,
    )
    parameters.request("checks the options")
    shape = None if output is str else output_of(output)
    form = text_form() if shape is None else form_of(shape, provider, mode)
    asked = "text" if shape is None else shape.name
    return Generate(
        provider,
        _prompt(prompt, input, parameters, delimit=delimit),
        form,
        limits,
        name=name or f"generate-{asked}",
        shape=asked,
        version=version,
        on_unknown=on_unknown,
        identity=[attrs.asdict(parameters), delimit, None if shape is None else shape.schema],
    )


def _limits(*, reasks: int, raise_cap: float, repair: bool) -> Limits:
    apply(_options.at_least(0, _MOST_REASKS), "generate", "reasks", reasks)
    apply(_options.from_to(1, _MOST_RAISE), "generate", "raise_cap", raise_cap)
    apply(_options.flag, "generate", "repair", repair)
    return Limits(reasks=reasks, raise_cap=raise_cap, repair=repair)


def _prompt(
    prompt: str | Callable[[Any], Request | str],
    kind: Any,
    parameters: Parameters,
    *,
    delimit: bool,
) -> Prompt:
    if isinstance(prompt, str):
        template = template_of(prompt, record=kind, delimit=delimit)
        return FromTemplate.of(template, parameters)
    fine = _options.is_function(prompt) and not isinstance(prompt, type)
    allowed = "a template, or a plain function of the record's value"
    check(fine, "generate", "prompt", prompt, allowed)
    check(kind is None, "generate", "input", kind, "none, since prompt= is a function")
    return FromFunction(prompt, parameters)
