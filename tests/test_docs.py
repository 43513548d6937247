"""The documentation is true: every block of code in it runs, page by page, as a reader would."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import attrs
import pytest

import genai_pipeline

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,}) *(?P<language>\w*)(?P<info>[^\n]*)\n"
    r"(?P<body>.*?)^(?P=indent)(?P=fence) *$",
    re.MULTILINE | re.DOTALL,
)
_COMMENT = re.compile(r"<!-- *(?P<words>[^>]*?) *-->\s*\Z")
_TITLE = re.compile(r"""title=["']([^"']+)["']""")


PLUGIN = {"PYTEST_PLUGINS": "genai_pipeline.testing.pytest_plugin"}
"""What tells pytest of our plugin, where the package runs from its source uninstalled."""


@attrs.frozen
class Block:
    """A fenced block of a page, and what the comment right before it says."""

    page: Path
    line: int
    language: str
    title: str | None
    comment: str
    body: str

    @property
    def is_run(self) -> bool:
        """False when a comment gives the reason why not."""
        return not re.match(r"not run: .", self.comment)

    @property
    def exit_code(self) -> int:
        """What the commands of the block exit with, when a comment says so."""
        said = re.match(r"exits with (\d+)", self.comment)
        return int(said[1]) if said else 0


def blocks(page: Path) -> Iterator[Block]:
    """Answer the fenced blocks of *page*, in order."""
    text = page.read_text("utf-8")
    for found in _FENCE.finditer(text):
        comment = _COMMENT.search(text[: found.start()])
        title = _TITLE.search(found["info"])
        yield Block(
            page=page,
            line=text.count("\n", 0, found.start("body")),
            language=found["language"],
            title=title[1] if title else None,
            comment=comment["words"] if comment else "",
            body=textwrap.dedent(found["body"]),
        )


def run_python(block: Block, names: dict[str, Any]) -> None:
    """Run a block with the names of those before it; ``await`` may stand at its top level."""
    code = compile(
        "\n" * block.line + block.body,
        str(block.page),
        "exec",
        flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        dont_inherit=True,
    )
    result = eval(code, names)
    if code.co_flags & inspect.CO_COROUTINE:

        async def wait() -> None:
            await result

        anyio.run(wait)


def commands(block: Block) -> str:
    """Answer the commands of a console block: what follows ``$``, without the output shown."""
    chosen: list[str] = []
    for line in block.body.splitlines():
        if line.startswith("$ "):
            chosen.append(line[2:])
        elif chosen and chosen[-1].endswith("\\"):
            chosen[-1] += "\n" + line.removeprefix("> ")
    return "\n".join(chosen)


def run_console(block: Block, environment: dict[str, str]) -> None:
    """Run the commands of a block in one shell that stops at the first that fails."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands(block)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == block.exit_code, (
        f"{block.page.name}:{block.line}: {commands(block)}\n{done.stdout}"
    )


def run_page(page: Path, environment: dict[str, str]) -> int:
    """Run every block of *page* in the current directory; answer how many were run."""
    module = ModuleType("page")
    sys.modules["page"] = module  # classes look for the module they were made in
    count = 0
    for block in blocks(page):
        if block.title and block.is_run:
            path = Path(block.title)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.body, "utf-8")
        if block.language not in {"python", "console"} or not block.is_run:
            continue
        count += 1
        if block.language == "console":
            run_console(block, environment)
        else:
            run_python(block, vars(module))
    return count


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A directory to work in, with the examples; the command and this Python on the PATH."""
    bin_, work = tmp_path / "bin", tmp_path / "work"
    bin_.mkdir()
    work.mkdir()
    command = bin_ / "genai-pipeline"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m genai_pipeline "$@"\n', "utf-8")
    command.chmod(0o755)
    (work / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(work)
    monkeypatch.syspath_prepend(str(work))
    before = set(sys.modules)
    source = str(Path(genai_pipeline.__file__).parent.parent)
    plugin = {} if entry_points(group="pytest11", name="genai_pipeline") else PLUGIN
    yield {
        **os.environ,
        **plugin,
        "PATH": os.pathsep.join([str(bin_), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": source,
        "COLUMNS": "100",
    }
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(tmp_path)):
            del sys.modules[name]
    sys.modules.pop("page", None)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_runs(page: Path, environment: dict[str, str]) -> None:
    """Each python and console block of a page runs, in order, in one directory."""
    run_page(page, environment)


def test_a_page_runs_in_order_and_says_how_much(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """Blocks share names and files, await at the top level, and run as console commands."""
    page = tmp_path / "page.md"
    page.write_text(
        '```python title="one.py"\nimport anyio\nx = 1\n```\n'
        "```python\nimport one\nawait anyio.lowlevel.checkpoint()\nassert one.x == x\n```\n"
        '```json title="data/a.json"\n{}\n```\n'
        "```console\n$ test -f one.py\n$ python -c \\\n> 'import one' && cat data/a.json\n{}\n```\n"
        "<!-- exits with 3 -->\n```console\n$ exit 3\n```\n"
        "<!-- not run: it would not end -->\n```python\nraise ValueError\n```\n",
        "utf-8",
    )
    assert run_page(page, environment) == 4


@pytest.mark.parametrize("block", ["```python\n1 / 0\n```", "```console\n$ false\n$ true\n```"])
def test_a_page_that_lies_fails(tmp_path: Path, environment: dict[str, str], block: str) -> None:
    """A block that raises, or a command that fails, fails its page."""
    page = tmp_path / "page.md"
    page.write_text(f"```python\nx = 1\n```\n\n{block}\n", "utf-8")
    with pytest.raises((ZeroDivisionError, AssertionError)):
        run_page(page, environment)


def _navigation(entries: Any) -> Iterator[str]:
    if isinstance(entries, str):
        yield entries
    else:
        for entry in entries.values() if isinstance(entries, dict) else entries:
            yield from _navigation(entry)


def test_every_page_is_in_the_navigation() -> None:
    """Readers can reach each page, and the navigation leads nowhere else."""
    with (ROOT / "zensical.toml").open("rb") as file:
        listed = list(_navigation(tomllib.load(file)["project"]["nav"]))
    there = [str(page.relative_to(ROOT / "docs")) for page in PAGES[1:]]
    assert sorted(listed) == sorted(there)


def test_every_fragment_of_the_changelog_has_a_kind() -> None:
    """``changelog.d`` holds only fragments that the next release will gather."""
    kinds = "added|changed|deprecated|removed|fixed"
    wrong = [
        path.name
        for path in (ROOT / "changelog.d").iterdir()
        if path.name != "README.md" and not re.fullmatch(rf"[a-z0-9-]+\.({kinds})\.md", path.name)
    ]
    assert wrong == []
