"""
A catalogue of this machine's Python standard library: a topic and a line for every module.

Offline: ``genai-pipeline run examples/stdlib_catalogue.py`` writes ``stdlib_catalogue.jsonl``.
"""

import ast
import importlib
import sys
import sysconfig
import threading
from pathlib import Path

import genai_pipeline as gp

TOPICS = {
    "data structures": "abstract classes, collections, containers, queues, sorting, iterators",
    "text and encodings": "strings, unicode, python character mapping codecs, regular expressions",
    "numbers and dates": "mathematics, decimals, statistics, random numbers, dates, time zones",
    "files and folders": "paths, directories, temporary files, file names, file systems, streams",
    "data formats": "json, csv, xml, config files, pickle, databases, archives, compression, audio",
    "internet": "http, urls, web servers and clients, wsgi, email, sockets, ftp, protocols",
    "concurrency": "threads, processes, asyncio, event loops, coroutines, tasks, futures, locks",
    "operating system": "unix, windows, macos platforms, system calls, signals, users, terminals",
    "security": "cryptography, hashes, digests, passwords, secrets, ssl, certificates",
    "windows and graphics": "tkinter widgets, dialogs, idle editor windows, turtle drawing, curses",
    "testing and debugging": "unit tests, assertions, mocks, debuggers, profilers, logging",
    "source code": "lib2to3 fixers that convert code, syntax trees, tokens, bytecode, imports",
    "packaging": "distutils commands, build, install, distributions, virtual environments, pip",
}
HOME = Path(sysconfig.get_path("stdlib"))
LEFT_OUT = {"__main__", "antigravity", "idle_test", "test", "tests", "this"}  # tests and tricks
IMPORTING = threading.Lock()  # imports that meet in a circle would see each other half done
model = gp.providers.Local(descriptions=TOPICS)


def modules() -> list[str]:
    """Find every module of the library by its name or file, without importing any."""
    files = [file.relative_to(HOME).with_suffix("").parts for file in HOME.rglob("*.py")]
    inside = [parts for parts in files if parts[0] in sys.stdlib_module_names]
    names = {".".join(parts).removesuffix(".__init__") for parts in inside}
    return sorted(n for n in names | sys.stdlib_module_names if not LEFT_OUT & {*n.split(".")})


def opening(name: str) -> list[tuple[str, str]]:
    """Read the first paragraph of a module's docstring; nothing where there is none."""
    path = HOME.joinpath(*name.split("."))
    file = next((f for f in (path.with_suffix(".py"), path / "__init__.py") if f.exists()), None)
    source = file.read_bytes() if file else b"__doc__"  # modules in C tell theirs when imported
    try:
        text = ast.get_docstring(ast.parse(source))
        if not text and b"__doc__" in source:
            with IMPORTING:
                text = importlib.import_module(name).__doc__
    except ImportError:
        return []  # built for another operating system
    paragraphs = (text or "").strip().split("\n\n")
    first = next((part for part in paragraphs if " " in part.strip()), paragraphs[0])
    return [(name, first)] if first else []


async def entry(module: tuple[str, str]) -> dict[str, str]:
    """Write a module's entry: its topic, and the sentence that says most about it."""
    name, text = module
    topic = await model(gp.Request(f"{name}: {text}", labels=TOPICS))
    summary = await model(model.summary(text))
    return {"module": name, "topic": topic.text, "summary": summary.text}


pipeline = gp.Pipeline(
    source=gp.sources.Values(modules(), key=str),
    stage=gp.chain(gp.flat_map(opening, thread=True), gp.map(entry)),
    sink=gp.in_order(gp.sinks.JsonLines("stdlib_catalogue.jsonl")),
)
