"""What ``import genai_pipeline`` costs a process that starts, and to build each provider."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial

from benchmarks.harness import Goal, Table, take_turns

_SLOWEST = 8

_PROVIDERS = (
    "Anthropic('m', api_key='k')",
    "AzureOpenAI('m', base_url='https://r.openai.azure.com', api_key='k')",
    "Bedrock('m', region='eu-west-1', credentials=lambda: None)",
    "BedrockEmbeddings('amazon.titan-embed-text-v2:0', region='eu-west-1', api_key='k')",
    "Gemini('m', api_key='k')",
    "GeminiEmbeddings('m', api_key='k')",
    "LlamaCpp('m.gguf')",
    "Ollama('m')",
    "OllamaEmbeddings('m')",
    "OpenAI('m', api_key='k')",
    "OpenAIEmbeddings('m', api_key='k')",
    "OpenAIModerations('m', api_key='k')",
    "OpenAIResponses('m', api_key='k')",
)
"""Each as it is built, with what it cannot do without."""


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _start(code: str) -> float:
    began = _children()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (_children() - began) * 1000


def _slowest() -> list[str]:
    """Answer which modules take longest by themselves, as ``-X importtime`` tells."""
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import genai_pipeline"],
        check=True,
        capture_output=True,
        text=True,
    ).stderr
    rows = []
    for line in told.splitlines()[1:]:
        own, _, name = line.removeprefix("import time:").split("|")
        rows.append((int(own), name.strip()))
    return [f"{own / 1000:.1f} ms {name}" for own, name in sorted(rows)[: -_SLOWEST - 1 : -1]]


def _added(cases: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Answer how much longer than one that does nothing each process takes."""
    bare = "python -c pass"
    runs = take_turns({bare: partial(_start, "pass"), **cases}, repeats)
    return {
        case: [value - base for value, base in zip(runs[case], runs[bare], strict=True)]
        for case in cases
    }


def measure(*, smoke: bool = False) -> list[Table]:
    """Measure whole processes by turns, and answer the difference to one that does nothing."""
    cases = {
        "import anyio, attrs": partial(_start, "import anyio, attrs"),
        "import genai_pipeline": partial(_start, "import genai_pipeline"),
        "and use Pipeline, map, sources and sinks": partial(
            _start, "import genai_pipeline as gp; gp.Pipeline, gp.map, gp.sources, gp.sinks"
        ),
    }
    providers = {
        built.partition("(")[0]: partial(
            _start, f"import genai_pipeline as gp; gp.providers.{built}"
        )
        for built in _PROVIDERS
    }
    each = _added(providers, 2 if smoke else 11)
    slowest = max(each, key=lambda name: statistics.median(each[name]))
    return [
        Table(
            title="Import: the time it adds to the start of a process",
            unit="ms of CPU",
            runs=_added(cases, 2 if smoke else 21),
            baseline="import genai_pipeline",
            goals=(Goal("import genai_pipeline", at_most=60),),
            notes=("slowest by themselves: " + ", ".join(_slowest()),),
        ),
        Table(
            title="Import: the same, for the import and one provider that is built",
            unit="ms of CPU",
            runs=each,
            baseline="OpenAI",
            goals=(Goal(slowest, at_most=120),),
            notes=("the goal is for each of them, and told of the slowest",),
        ),
    ]
