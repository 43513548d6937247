"""What users see: the names, their documentation, and what an import costs."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pytest

import genai_pipeline as gp

DOCS = Path(__file__).parent.parent / "docs"

PUBLIC = (
    "genai_pipeline",
    "genai_pipeline.catalogue",
    "genai_pipeline.clock",
    "genai_pipeline.embeddings",
    "genai_pipeline.errors",
    "genai_pipeline.events",
    "genai_pipeline.journals",
    "genai_pipeline.messages",
    "genai_pipeline.money",
    "genai_pipeline.parts",
    "genai_pipeline.plugins",
    "genai_pipeline.providers",
    "genai_pipeline.records",
    "genai_pipeline.report",
    "genai_pipeline.sinks",
    "genai_pipeline.sources",
    "genai_pipeline.stores",
    "genai_pipeline.telemetry",
    "genai_pipeline.testing",
    "genai_pipeline.tokens",
    "genai_pipeline.types",
    "genai_pipeline.walk",
)
"""The modules whose names users import."""

HEAVY = (
    *(
        "aiohttp",
        "asyncio",
        "coredis",
        "cryptography",
        "concurrent.futures.process",
        "ctypes",
        "email",
        "h11",
        "httpx",
    ),
    *("httpx_aiohttp", "hypothesis", "json_repair", "jsonschema", "msgspec", "multiprocessing"),
    *("numpy", "pybreaker", "pydantic", "pytest", "rich"),
    *("safetensors", "sqlite3", "structlog", "tenacity", "tiktoken", "tokenizers", "trio"),
    *("urllib.request", "xml", "zstandard"),
)
"""What ``import genai_pipeline`` must not pull in."""

EXTRAS: dict[str, tuple[str, ...]] = {
    "cli": ("rich",),
    "crypto": ("cryptography",),
    "llamacpp": ("xllamacpp",),
    "local": ("wordllama", "numpy", "safetensors", "tokenizers"),
    "redis": ("coredis",),
    "schema": ("json_repair", "jsonschema", "referencing"),
    "tokens": ("tiktoken",),
    "trio": ("trio",),
    "zstd": ("zstandard",),
}
"""What each extra brings, by the names under which it is imported."""


def _run(code: str, *blocked: str) -> str:
    """Run *code* in a fresh interpreter where the modules *blocked* cannot be imported."""
    source = Path(gp.__file__).parent.parent
    prelude = (
        "import sys\n"
        f"sys.path.insert(0, {str(source)!r})\n"
        f"sys.modules.update(dict.fromkeys({blocked!r}))\n"
    )
    # Measuring coverage inside would load what the tests say is not loaded.
    environment = {key: value for key, value in os.environ.items() if "COVERAGE" not in key}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", prelude + code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _module(name: str) -> ModuleType:
    return importlib.import_module(name)


@pytest.mark.parametrize("name", PUBLIC)
def test_all_is_sorted_and_true(name: str) -> None:
    """``__all__`` is sorted, names nothing twice, and every name of it is there."""
    module = _module(name)
    names = list(module.__all__)
    assert names == sorted(set(names))
    for each in names:
        getattr(module, each)


@pytest.mark.parametrize("name", PUBLIC)
def test_nothing_else_is_visible(name: str) -> None:
    """Each public thing of our own that a module shows is in its ``__all__``."""
    module = _module(name)
    stray = [
        each
        for each, thing in vars(module).items()
        if not each.startswith("_")
        and not inspect.ismodule(thing)
        and not isinstance(thing, TypeVar)
        and each not in module.__all__
        and str(getattr(thing, "__module__", "")).startswith(name)
    ]
    assert set(stray) <= INTERNAL.get(name, set())


INTERNAL = {
    "genai_pipeline.events": {"listened"},
    "genai_pipeline.records": {"accept"},
    "genai_pipeline.walk": {"detach", "set_walk"},
}
"""Names shared inside the package alone, which promise nothing."""


def _undocumented(owner: str, thing: Any) -> list[str]:
    if not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return []
    missing = [] if inspect.getdoc(thing) else [owner]
    if inspect.isclass(thing) and thing.__module__.startswith("genai_pipeline"):
        for name, member in vars(thing).items():
            public = not name.startswith("_")
            described = member.fget if isinstance(member, property) else member
            described = getattr(described, "__func__", described)
            if public and inspect.isroutine(described) and not inspect.getdoc(getattr(thing, name)):
                missing.append(f"{owner}.{name}")
    return missing


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_documented(name: str) -> None:
    """Modules, public classes, their public methods and functions say what they are for."""
    module = _module(name)
    assert module.__doc__
    missing = [
        each for public in module.__all__ for each in _undocumented(public, getattr(module, public))
    ]
    assert missing == []


def test_every_public_name_is_in_the_reference() -> None:
    """The reference describes each public name: it renders its docstring, or speaks of it."""
    pages = "\n".join(page.read_text("utf-8") for page in (DOCS / "reference").glob("*.md"))
    spoken_of = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", pages))))
    rendered = [_resolve(path) for path in re.findall(r"^::: ([\w.]+)$", pages, re.MULTILINE)]
    modules = [thing for thing in rendered if inspect.ismodule(thing)]
    things = rendered + [getattr(module, each) for module in modules for each in module.__all__]
    known = {id(thing) for thing in things}
    missing = [
        f"{name}.{each}"
        for name in PUBLIC
        for each in _module(name).__all__
        if each not in spoken_of
        and not inspect.ismodule(getattr(_module(name), each))
        and id(getattr(_module(name), each)) not in known
    ]
    assert missing == []


def _resolve(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return _module(path)
    except ModuleNotFoundError:
        return getattr(_module(module), name)


def test_the_top_level_offers_the_names_that_others_rely_on() -> None:
    """The names that the documentation promises at the top level are there."""
    promised = (
        "Pipeline Report Request Response Record Delivery chain map flat_map filter batched "
        "gather generate reduce branch tee wrap listen in_order "
        "sources sinks providers stores testing errors events"
    )
    assert [name for name in promised.split() if not hasattr(gp, name)] == []
    assert set(promised.split()) <= set(dir(gp))


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name fails as in any module, and names the module and the name."""
    with pytest.raises(AttributeError, match=r"genai_pipeline.*Pipelin\b"):
        gp.Pipelin


@pytest.mark.parametrize(
    "used",
    [
        "gp",
        "gp.Pipeline, gp.chain, gp.generate, gp.sources, gp.sinks, gp.stores, gp.providers",
        "gp.TokenEstimator().count('x')",
    ],
)
def test_import_pulls_in_nothing_heavy(used: str) -> None:
    """Neither the import nor naming the parts loads an HTTP client, event loop or terminal."""
    code = f"import genai_pipeline as gp, json; {used}; print(json.dumps(list(sys.modules)))"
    loaded = set(json.loads(_run(code)))
    assert sorted(loaded & set(HEAVY)) == []


def test_import_opens_no_socket() -> None:
    """``import genai_pipeline`` and its edges touch no network."""
    _run(
        "import socket\n"
        "def refuse(*args, **kwargs): raise AssertionError('a socket was opened')\n"
        "socket.socket.connect = refuse\n"
        "socket.getaddrinfo = refuse\n"
        "import genai_pipeline as gp\n"
        "gp.Pipeline, gp.sources, gp.sinks, gp.stores, gp.providers.OpenAI, gp.providers.Local\n"
    )


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_each_extra_may_be_absent(extra: str) -> None:
    """A pipeline can be built, and the command imported, without any one of the extras."""
    _run(
        "import genai_pipeline as gp\n"
        "gp.generate(print, prompt='{value}', output=list[int])\n"
        "gp.stores.Memory(), gp.providers.OpenAI('m', api_key='k'), gp.providers.Local\n"
        "gp.sources.JsonLines('a.jsonl'), gp.sinks.JsonLines('b.jsonl')\n"
        "gp.Pipeline(source=gp.sources.Values([1]), stage=gp.map(str), sink=gp.sinks.Collect())\n"
        "import genai_pipeline.cli, genai_pipeline.telemetry\n",
        *EXTRAS[extra],
    )


def test_what_needs_an_extra_says_which() -> None:
    """Building the embedded model without its extra fails with the command that mends it."""
    _run(
        "import genai_pipeline as gp\n"
        "try: gp.providers.Local()\n"
        "except gp.ConfigurationError as error:\n"
        "    assert 'genai_pipeline[local]' in str(error), error\n"
        "else: raise AssertionError('it was built')\n",
        *EXTRAS["local"],
    )


def test_the_package_is_marked_as_typed() -> None:
    """Type checkers of users find ``py.typed``."""
    assert (Path(gp.__file__).parent / "py.typed").is_file()
