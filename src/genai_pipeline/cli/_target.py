"""Finds the pipeline that a TARGET names: ``file.py``, ``module``, either with ``:name``."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import attrs

from genai_pipeline.errors import PipelineError
from genai_pipeline.pipeline import Pipeline

__all__ = ["LoadFailed", "Target", "UsageError", "find", "in_own_code"]

_DEFAULT = "pipeline"


class UsageError(Exception):
    """Raised when the command line asks for something that is not there."""


class LoadFailed(Exception):
    """Raised when the user's own code raised while it was loaded; its cause says what."""


@attrs.frozen
class Target:
    """What was found: a `Pipeline` or a function that answers one, and how to speak of it."""

    found: object
    name: str
    """The file's or module's name, with the name inside unless that is the usual one."""


def find(target: str) -> Target:
    """
    Import what *target* names.

    Raises `UsageError` when there is no such file, module or pipeline, `LoadFailed` when the
    code in it raises; what is wrong with the pipeline itself comes as `PipelineError`.
    """
    place, name = _split(target)
    module = _load(place)
    stem = Path(place).stem if _is_path(place) else place
    if name:
        return Target(_named(module, place, name), f"{stem}:{name}")
    if hasattr(module, _DEFAULT):
        return Target(getattr(module, _DEFAULT), stem)
    only = _only_pipeline(module, place)
    return Target(getattr(module, only), f"{stem}:{only}")


def _split(target: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.+):([^\W\d][\w.]*)", target)
    place, name = (match[1], match[2]) if match else (target, "")
    if not place or place.endswith(":"):
        raise UsageError(f"TARGET {target!r} names nothing; give file.py:name or module:name")
    return place, name


def _is_path(place: str) -> bool:
    return place.endswith(".py") or os.sep in place or Path(place).is_file()


def _load(place: str) -> ModuleType:
    if _is_path(place):
        return _load_file(place)
    if not all(part.isidentifier() for part in place.split(".")):
        raise UsageError(f"TARGET {place!r} is neither a Python file nor the name of a module")
    # As `python -m` does, so that modules in the current directory are found.
    _look_first_in(str(Path.cwd()))
    with in_own_code(f"importing {place} raised"):
        spec = _spec_of(place)
    if spec is None:
        raise UsageError(
            f"no module {place!r} in {Path.cwd()} or among the installed packages; "
            f"for a file, give its path: {place.replace('.', '/')}.py"
        )
    with in_own_code(f"importing {place} raised"):
        return importlib.import_module(place)


def _spec_of(module: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module + ".").startswith(error.name + "."):
            return None  # a parent package is not there, rather than something it imports
        raise


def _load_file(place: str) -> ModuleType:
    path = Path(place).expanduser()
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UsageError(f"the file {place} {what} (looked from {Path.cwd()})")
    path = path.resolve()
    _look_first_in(str(path.parent))
    spec = importlib.util.spec_from_file_location(_module_name(path), path)
    if spec is None or spec.loader is None:
        raise UsageError(f"the file {place} is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    # Worker processes import functions by the name of their module, so it must have one.
    sys.modules[spec.name] = module
    try:
        with in_own_code(f"importing {place} raised"):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _module_name(path: Path) -> str:
    """Answer the file's own name, unless a module of that name is there already."""
    stem = path.stem
    taken = stem in sys.modules or stem in sys.stdlib_module_names
    return f"genai_pipeline_target_{stem}" if taken or not stem.isidentifier() else stem


def _look_first_in(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)


@contextmanager
def in_own_code(what: str) -> Iterator[None]:
    """Turn what the user's own code raises inside the block into `LoadFailed`, with the place."""
    try:
        yield
    except (PipelineError, UsageError):
        raise
    except SystemExit as error:
        raise LoadFailed(f"{what} SystemExit: {error}") from error
    except Exception as error:
        raise LoadFailed(f"{what} {type(error).__name__}: {error}{_own_line(error)}") from error


def _own_line(error: Exception) -> str:
    """Answer the last line outside this library and the import machinery."""
    if isinstance(error, SyntaxError):
        return ""  # its text has file and line already
    home = str(Path(__file__).parents[1])
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if not frame.filename.startswith((home, "<frozen")) and "importlib" not in frame.filename
    ]
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""


def _named(module: ModuleType, place: str, name: str) -> object:
    found: object = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise UsageError(f"{place} has no {name!r}; {_candidates(module)}")
        found = getattr(found, part)
    return found


def _only_pipeline(module: ModuleType, place: str) -> str:
    names = _pipelines(module)
    if len(names) == 1:
        return names[0]
    problem = "several pipelines" if names else f"no {_DEFAULT!r}"
    raise UsageError(f"{place} has {problem}; {_candidates(module)}")


def _pipelines(module: ModuleType) -> list[str]:
    """Answer the names of the pipelines in *module*; one with several names counts once."""
    found: dict[int, str] = {}
    for name, value in vars(module).items():
        if isinstance(value, Pipeline) and not name.startswith("_"):
            found.setdefault(id(value), name)
    return list(found.values())


def _functions(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if callable(value)
        and not isinstance(value, type)
        and not name.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
    ]


def _candidates(module: ModuleType) -> str:
    pipelines = ", ".join(_pipelines(module))
    if pipelines:
        return f"name one of its pipelines after a colon: {pipelines}"
    functions = ", ".join(_functions(module))
    if functions:
        return f"it has no gp.Pipeline either; if a function answers one, name it: {functions}"
    return f"it has no gp.Pipeline at all; write one as {_DEFAULT} = gp.Pipeline(...)"
