"""What this machine has, and how much of it this process may use."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import attrs

from genai_pipeline.telemetry._figures import size

__all__ = ["Measure", "environment", "importable", "measures", "python", "system"]

_CGROUP = Path("/sys/fs/cgroup")
_LEAST_FILES = 256
_LEAST_SPACE = 100 << 20
_FILES_FOR_OTHERS = 64
"""Open files that a process needs beside its connections."""

_MATTERS = (
    "ALL_PROXY",
    "ANTHROPIC_API_KEY",
    "GEMINI_API_KEY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_COLOR",
    "NO_PROXY",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "PYTHONASYNCIODEBUG",
    "PYTHONDEVMODE",
    "PYTHONUNBUFFERED",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TERM",
    "TMPDIR",
    "TZ",
)


@attrs.frozen(kw_only=True)
class Measure:
    """One limit of the machine."""

    name: str
    text: str
    state: Literal["fine", "note", "missing"] = "fine"
    mend: str | None = None


def python() -> str:
    """Answer the interpreter that runs this."""
    return f"{platform.python_version()} ({platform.python_implementation()}, {sys.executable})"


def system() -> str:
    """Answer the operating system."""
    return f"{platform.system()} {platform.release()} {platform.machine()}"


def importable(name: str) -> bool:
    """Tell whether there is a module *name*, without importing it."""
    return find_spec(name) is not None


def environment() -> list[str]:
    """Answer the names of the environment variables that matter and are set; never values."""
    ours = [name for name in os.environ if name.startswith("GENAI_PIPELINE_")]
    known = [name for name in os.environ if name.upper() in _MATTERS]
    return sorted({*ours, *known})


def measures() -> Iterator[Measure]:
    """Yield the limits that a run may meet here."""
    yield _cpus()
    yield _memory()
    yield _open_files()
    yield _space("temporary files", Path(tempfile.gettempdir()))
    yield _space("current folder", Path.cwd())
    yield _clock()


def _cpus() -> Measure:
    there = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    told = f"{there}" if usable == there else f"{usable} of {there}"
    quota = _quota()
    if quota is not None and quota < usable:
        told += f", limited to {quota:g} by the control group"
    return Measure(name="CPUs", text=told)


def _quota() -> float | None:
    """Answer how many CPUs the control group allows; `None` when it does not say."""
    limit, _, period = (_cgroup("cpu.max") or "").partition(" ")
    if not (limit.isdigit() and period.isdigit()):
        return None
    return int(limit) / int(period)


def _cgroup(name: str) -> str | None:
    """Answer what the innermost control group of this process says in the file *name*."""
    try:
        own = Path("/proc/self/cgroup").read_text().strip().rpartition(":")[2]
    except OSError:
        return None
    for folder in (_CGROUP / own.lstrip("/"), _CGROUP):
        try:
            return (folder / name).read_text().strip()
        except OSError:
            continue
    return None


def _memory() -> Measure:
    total = _system_memory()
    if total is None:
        return Measure(name="memory", text="unknown")
    told = size(total)
    limit = _cgroup("memory.max")
    if limit is not None and limit.isdigit() and int(limit) < total:
        told += f", limited to {size(int(limit))} by the control group"
    return Measure(name="memory", text=told)


def _system_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _open_files() -> Measure:
    name = "open files"
    try:
        import resource  # noqa: PLC0415 - not on every system
    except ImportError:
        return Measure(name=name, text="unknown")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return Measure(name=name, text="unlimited")
    room = max(0, soft - _FILES_FOR_OTHERS)
    text = f"{soft}, enough for about {room} connections at once"
    if soft >= _LEAST_FILES:
        return Measure(name=name, text=text)
    most = "unlimited" if hard == resource.RLIM_INFINITY else str(hard)
    mend = f"raise it with: ulimit -n 4096 (at most {most} here)"
    return Measure(name=name, text=text, state="missing", mend=mend)


def _space(name: str, folder: Path) -> Measure:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Measure(name=name, text=f"{folder}: {error.strerror}", state="missing")
    text = f"{folder}, {size(free)} free"
    if not os.access(folder, os.W_OK | os.X_OK):
        return Measure(name=name, text=f"{text}, but not writable", state="note")
    if free < _LEAST_SPACE:
        return Measure(name=name, text=text, state="missing", mend="free some space")
    return Measure(name=name, text=text)


def _clock() -> Measure:
    zone = time.strftime("%Z%z")
    now = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime())
    return Measure(name="time", text=f"{now} {zone}; compare it, signed requests need it right")
