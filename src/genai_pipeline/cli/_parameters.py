"""Binds ``-p name=value`` to the parameters of a function, typed as the function says."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from genai_pipeline.cli._target import UsageError

__all__ = ["bind"]

_WORDS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def bind(function: Callable[..., Any], given: Sequence[str], *, name: str) -> dict[str, Any]:
    """
    Answer the keyword arguments that *given*, texts of the form ``name=value``, make.

    The type is the parameter's annotation, or else its default's: int, float, bool, str, Path,
    a `Literal`, any of them or `None`; without both, the text itself. Raises `UsageError` that
    names the parameter for unknown and missing ones and for a value that does not fit.
    """
    parameters = _parameters(function)
    texts = _texts(given)
    open_ended = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    named = {
        each.name: each
        for each in parameters.values()
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    }
    for key in texts:
        if key not in named and not open_ended:
            raise UsageError(f"{name} has no parameter {key!r}; {_offer(named)}")
    missing = [
        key for key, each in named.items() if each.default is each.empty and key not in texts
    ]
    if missing:
        needed = " ".join(f"-p {key}=..." for key in missing)
        raise UsageError(f"{name} needs {needed}; {_offer(named)}")
    return {
        key: _value(text, _type_of(named[key]) if key in named else str, key)
        for key, text in texts.items()
    }


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError:
        signature = inspect.signature(function)  # annotations of names for type checkers only
    return signature.parameters


def _texts(given: Sequence[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for each in given:
        key, equals, text = each.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key.isidentifier():
            raise UsageError(f"-p {each}: give it as NAME=VALUE")
        if key in texts:
            raise UsageError(f"-p {key}= is given twice")
        texts[key] = text
    return texts


def _offer(named: Mapping[str, inspect.Parameter]) -> str:
    if not named:
        return "it takes none"
    return "it takes " + ", ".join(
        each.name if each.default is each.empty else f"{each.name}={each.default!r}"
        for each in named.values()
    )


def _type_of(parameter: inspect.Parameter) -> Any:
    if parameter.annotation is not parameter.empty:
        return parameter.annotation
    default = parameter.default
    return str if default is parameter.empty or default is None else type(default)


def _value(text: str, kind: Any, name: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _first_that_fits(text, get_args(kind), name)
    if origin is Literal:
        return _one_of(text, get_args(kind), name)
    read = _READERS.get(kind)
    if read is None:
        spoken = getattr(kind, "__name__", kind)
        raise UsageError(
            f"-p {name}={text}: the parameter is a {spoken}, which a command line cannot give; "
            "int, float, bool, str, Path and Literal work"
        )
    return read(text, name)


def _first_that_fits(text: str, kinds: Sequence[Any], name: str) -> Any:
    """Try the kinds in their order, but plain text last, since everything is a text."""
    ordered = sorted(kinds, key=lambda kind: (kind is str, kind is not types.NoneType))
    problem: UsageError | None = None
    for kind in ordered:
        try:
            return _value(text, kind, name)
        except UsageError as error:
            if problem is None or kind is not types.NoneType:
                problem = error
    assert problem is not None
    raise problem


def _whole_number(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"-p {name}={text}: give a whole number") from None


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"-p {name}={text}: give a number") from None


def _truth(text: str, name: str) -> bool:
    try:
        return _WORDS[text.strip().lower()]
    except KeyError:
        raise UsageError(f"-p {name}={text}: give true or false") from None


def _one_of(text: str, choices: Sequence[object], name: str) -> object:
    for choice in choices:
        if str(choice) == text:
            return choice
    raise UsageError(f"-p {name}={text}: give one of {', '.join(map(str, choices))}")


def _none(text: str, name: str) -> None:
    if text.strip().lower() not in ("", "none"):
        raise UsageError(f"-p {name}={text}: give none")


def _text(text: str, _: str) -> str:
    return text


def _path(text: str, _: str) -> Path:
    return Path(text)


_READERS: Mapping[Any, Callable[[str, str], Any]] = {
    bool: _truth,
    float: _number,
    int: _whole_number,
    types.NoneType: _none,
    Path: _path,
    type(Path()): _path,
    str: _text,
    object: _text,
    Any: _text,
    inspect.Parameter.empty: _text,
}
