"""The house keeps its floors: who may import whom, proved from the imports themselves."""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import genai_pipeline

PACKAGE = Path(genai_pipeline.__file__).parent
NAME = "genai_pipeline"

FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "clock", "events", "_listeners"}),
    frozenset(
        {
            *(
                "_attempt_time",
                "_canonical",
                "_group_body",
                "_journal",
                "_journal_admin",
                "_journal_tables",
                "_key_function",
                "_key_sources",
                "_options",
                "_paid",
                "_reconcile",
                "_replay",
                "_quotas",
                "_raw_answer",
                "_secret",
                "_shared",
                "_sqlite_errors",
                "_strict_json",
            ),
            *(
                "_part_forms",
                "_request_options",
                "embeddings",
                "messages",
                "parts",
                "records",
                "tokens",
                "_tools",
                "types",
                "walk",
            ),
        }
    ),
    frozenset(
        {
            *("_answer_codec", "_batched", "_branch", "_chain", "_closing", "_costs", "_embed"),
            *("_encode", "_error_groups", "_fan_out", "_frozen_groups", "_functions", "_gather"),
            *("_generate", "_isolated_words", "_paid_response", "_versions"),
            *("_identity", "_ledger", "_lifespan", "_lives", "_order", "_stack", "_stages"),
            *("_streaming", "_subjects", "_table_sinks", "_wrap", "catalogue"),
        }
    ),
    frozenset(
        {
            *(
                "_alone",
                "_budget_lines",
                "_dry_walk",
                "_expected_calls",
                "_failure_limit",
                "_intake",
                "_isolated_worker",
                "_isolation",
                "_journaled",
                "_lost_calls",
                "_plan",
                "_reader",
                "_recorder",
                "_redact",
                "_resident_memory",
                "_run_journal",
            ),
            *("pipeline", "report", "_carrier", "_handoff", "_histogram", "_runner"),
            *("_signals", "_space", "_tally", "_turnstile", "money", "resilience"),
        }
    ),
    frozenset({"journals", "providers", "sources", "sinks", "stores", "telemetry", "plugins"}),
    frozenset({"testing", "cli", "__main__"}),
)
"""What stands on which floor, by the first part of its name below the package."""

ENGINE, EDGES = 3, 4

ONLY_IN: dict[str, tuple[str, ...]] = {
    "aiohttp": ("providers._http",),
    "asyncio": ("testing", "cli", "providers._http", "journals._desk"),
    "coredis": ("stores._redis",),
    "cryptography": ("journals._ciphers",),
    "httpx": ("providers._http",),
    "httpx2": ("providers._http._httpx_names",),
    "json_repair": ("_generate._repair",),
    "jsonschema": ("_generate._json_schema",),
    "multidict": ("providers._http",),
    "xllamacpp": ("providers._llama_server",),
    "yarl": ("providers._http",),
    "numpy": ("providers._local",),
    "pybreaker": ("resilience._circuit",),
    "pytest": ("testing",),
    "hypothesis": ("testing",),
    "referencing": ("_generate._json_schema",),
    "requests": (),
    "rich": ("telemetry", "cli"),
    "safetensors": ("providers._local",),
    "structlog": ("telemetry",),
    "tiktoken": ("tokens._tiktoken",),
    "tenacity": ("resilience._retry",),
    "tokenizers": ("providers._local",),
    "trio": ("testing", "cli"),
    "wordllama": (),
    "zstandard": ("sources._zstd", "providers._http"),
}
"""Where a library may be imported: in modules whose names begin so, nowhere else."""

MOST_LINES = 420
MEDIAN_LINES = 200


@attrs.frozen
class Import:
    """One import statement: *module* imports *target* at *line*."""

    module: str
    target: str
    line: int
    deferred: bool

    @property
    def ours(self) -> str | None:
        """The first part of the target below the package; `None` when it is not ours."""
        if self.target == NAME or not self.target.startswith(f"{NAME}."):
            return None
        return self.target.split(".")[1]

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def _modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return found


MODULES = _modules()


def _targets(node: ast.stmt, module: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{module}:{node.lineno}: imports are absolute here"
        base = node.module or ""
        for alias in node.names:
            name = f"{base}.{alias.name}"
            below = name.removeprefix(f"{NAME}.")
            yield name if base == NAME and below in MODULES else base


def _imports(module: str) -> Iterator[Import]:
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for target in _targets(node, module):
                yield Import(module, target, node.lineno, id(node) not in top)


IMPORTS = [found for module in MODULES for found in _imports(module)]


def _floor(part: str) -> int:
    for number, names in enumerate(FLOORS):
        if part in names:
            return number
    raise AssertionError(
        f"{part} stands on no floor; name it in tests/test_architecture.py, where it belongs"
    )


def _part(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


def test_every_module_stands_on_a_floor() -> None:
    """Each module of the package belongs to one floor."""
    for module in MODULES:
        if module != "__init__":
            _floor(_part(module))


def test_imports_only_go_down() -> None:
    """A module imports only from lower floors, its own package, and its own floor's words."""
    wrong = [
        str(found)
        for found in IMPORTS
        if found.ours is not None
        and found.module != "__init__"
        and _floor(found.ours) > _floor(_part(found.module))
    ]
    assert wrong == []


def test_edges_never_see_the_engine() -> None:
    """Sources, sinks, stores, providers and telemetry know the words, not what runs them."""
    wrong = [
        str(found)
        for found in IMPORTS
        if found.ours is not None
        and found.module != "__init__"
        and _floor(_part(found.module)) == EDGES
        and _floor(found.ours) == ENGINE
        and not (_part(found.module) == "telemetry" and found.ours == "report")
    ]
    assert wrong == []


def test_policies_and_engine_do_not_know_each_other() -> None:
    """What stands around a call knows nothing of what runs the pipeline, and the other way."""
    wrong = [
        str(found)
        for found in IMPORTS
        if found.ours is not None
        and found.module != "__init__"
        and _floor(_part(found.module)) == _floor(found.ours) == ENGINE
        and (_part(found.module) == "resilience") != (found.ours == "resilience")
    ]
    assert wrong == []


def test_edges_never_see_each_other() -> None:
    """No edge imports another, so each can be used, replaced and removed alone."""
    wrong = [
        str(found)
        for found in IMPORTS
        if found.ours is not None
        and found.module != "__init__"
        and _floor(found.ours) == EDGES == _floor(_part(found.module))
        and found.ours != _part(found.module)
    ]
    assert wrong == []


def test_nothing_imports_the_package_as_a_whole() -> None:
    """Modules name the module they need, so that no import depends on the order of others."""
    exempt = ("__init__", "cli", "testing")
    wrong = [
        str(found)
        for found in IMPORTS
        if found.target == NAME and _part(found.module) not in exempt
    ]
    assert wrong == []


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_a_library_has_its_one_importer(library: str) -> None:
    """A foreign library is imported only where this table says, so it can be replaced there."""
    allowed = ONLY_IN[library]
    wrong = [
        str(found)
        for found in IMPORTS
        if found.target.split(".")[0] == library and not found.module.startswith(allowed)
    ]
    assert wrong == []


def test_the_packages_dependencies_are_known() -> None:
    """Every foreign import is of the standard library, a base dependency or the table above."""
    known = {*sys.stdlib_module_names, *ONLY_IN, NAME, "anyio", "attrs"}
    wrong = [str(found) for found in IMPORTS if found.target.split(".")[0] not in known]
    assert wrong == []


FORBIDDEN = {
    "time.sleep": (),
    "time.time": ("clock", "telemetry", "cli", "testing"),
    "time.monotonic": ("clock", "telemetry", "cli", "testing"),
    "datetime.now": ("cli", "testing"),
    "datetime.utcnow": (),
    "anyio.sleep": ("clock", "testing", "cli"),
    "random.random": ("resilience",),
    "random.uniform": (),
    "threading.Thread": ("cli", "journals._writer", "testing"),
}
"""Time, chance and threads are given from outside; here is who may take them by himself."""


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("call", sorted(FORBIDDEN))
def test_time_and_chance_are_injected(call: str) -> None:
    """Nobody outside the named modules reads the clock, sleeps, rolls dice or starts threads."""
    allowed = FORBIDDEN[call]
    wrong = [
        f"{module}:{node.lineno} uses {call}"
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and (_dotted(node) == call or _dotted(node).endswith(f".{call}"))
        and not module.startswith(allowed)
    ]
    assert wrong == []


def test_files_stay_small() -> None:
    """A file holds one concept: half of them are under 200 lines and none much over 400."""
    lines = {module: path.read_text("utf-8").count("\n") for module, path in MODULES.items()}
    assert {module: count for module, count in lines.items() if count > MOST_LINES} == {}
    assert statistics.median(lines.values()) <= MEDIAN_LINES
