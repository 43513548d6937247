"""
Draws ``live-display.svg``: the live display of a real run, at about two thirds of it.

``python docs/images/make_live_display.py`` runs ``examples/stdlib_catalogue.py``, with its
output kept in memory, and takes the picture from the display that the command shows.
"""

from __future__ import annotations

import io
from pathlib import Path

import anyio
import attrs
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

import genai_pipeline as gp
from genai_pipeline.cli._target import find
from genai_pipeline.cli._total import total
from genai_pipeline.telemetry._live import Panel
from genai_pipeline.telemetry._snapshot import Observer, Snapshot

_HERE = Path(__file__).parent
_JOB = "examples/stdlib_catalogue.py"
_COMMAND = f"genai-pipeline run {_JOB}"
_WIDTH = 84
_SHARE = 0.66

_NORMAL = [
    *[(40, 46, 56), (224, 108, 117), (120, 200, 130), (229, 192, 123)],
    *[(97, 175, 239), (198, 120, 221), (86, 196, 206), (208, 214, 224)],
]
_THEME = TerminalTheme((17, 21, 28), (208, 214, 224), _NORMAL, _NORMAL)
_FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
    <title>The live display of a run</title>
    <style>
    .{unique_id}-matrix {{
        font-family: ui-monospace, "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
        font-size: {char_height}px;
        line-height: {line_height}px;
        white-space: pre;
    }}
    .{unique_id}-title {{
        font-family: ui-sans-serif, system-ui, "DejaVu Sans", sans-serif;
        font-size: 16px;
        opacity: 0.6;
    }}
    {styles}
    </style>
    <defs>
    <clipPath id="{unique_id}-clip-terminal">
      <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
    </clipPath>
    {lines}
    </defs>
    {chrome}
    <g transform="translate({terminal_x}, {terminal_y})"
       clip-path="url(#{unique_id}-clip-terminal)">
    {backgrounds}
    <g class="{unique_id}-matrix">
    {matrix}
    </g>
    </g>
</svg>
"""


async def look_at_a_run() -> Snapshot:
    """Run the example; answer how it looked at about two thirds."""
    job = find(_JOB).found
    assert isinstance(job, gp.Pipeline)
    pipeline = attrs.evolve(job, sink=gp.sinks.Collect())
    observer = Observer(name=Path(_JOB).stem, total=await total(pipeline.source))
    seen: list[Snapshot] = []

    async def watch() -> None:
        while True:
            await anyio.sleep(1 / 8)
            seen.append(observer.look(pipeline.report()))

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        await pipeline.run()
        group.cancel_scope.cancel()
    return min(seen, key=lambda snapshot: abs((snapshot.share or 0) - _SHARE))


def draw(snapshot: Snapshot) -> str:
    """Answer the picture."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.assemble(("$ ", "bold green"), (_COMMAND, "bold")))
    console.print(Panel(snapshot))
    return console.export_svg(
        title="genai-pipeline", theme=_THEME, code_format=_FORMAT, unique_id="live"
    )


if __name__ == "__main__":
    picture = draw(anyio.run(look_at_a_run))
    (_HERE / "live-display.svg").write_text(picture, encoding="utf-8")
