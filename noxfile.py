# /// script
# dependencies = ["nox[uv]>=2025.5"]
# ///
"""
What continuous integration runs, on the machine at hand: plain ``nox`` runs all of it.

``nox -l`` lists the sessions, ``nox -s lint`` runs one, ``nox -s tests-3.12 -- -k retry`` passes
arguments on to pytest. Not part of the default are ``nox -s bench``, which measures at full length,
``nox -s mutation -- resilience/_retry``, which asks of a module what no test would notice,
``nox -s worlds``, which simulates many more worlds than the tests do, ``nox -s stress``, which lets
processes share a store for long, and ``nox -s fuzz``, which looks for a text that the reading of
answers cannot bear.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import nox

VERSIONS = ("3.11", "3.12", "3.13")
PROJECT = nox.project.load_toml("pyproject.toml")
# Most tests wait, for processes, disks and sockets, so two share a core well.
PYTEST = ("pytest", "-n", "2", "--dist", "worksteal")
# What needs extras only to be collected, or as a whole; single tests have the marker.
NEED_EXTRAS = (
    "tests/cli/test_doctor.py",
    "tests/telemetry/test_live.py",
    "tests/test_docs.py",
)
# Kills, power cuts and simulated worlds by the thousand hang on the Python and on its SQLite, so
# that the oldest and the newest with all extras tell enough.
QUICK = "not thorough"
TYPED = ("src", "tests", "examples", "benchmarks")


def interpreters() -> list[str]:
    """
    Answer the versions of `VERSIONS` that this machine has, in their order.

    Those that pyenv keeps go on the PATH, before its shims, which may refuse to run them.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for version in VERSIONS:
        for kept in sorted(pyenv.glob(f"versions/{version}.*/bin")):
            os.environ["PATH"] = f"{kept}{os.pathsep}{os.environ['PATH']}"
    return [version for version in VERSIONS if _runs(f"python{version}")]


def _runs(name: str) -> bool:
    found = shutil.which(name)
    if found is None:
        return False
    return subprocess.run([found, "-c", ""], check=False, capture_output=True).returncode == 0


def group(*names: str) -> list[str]:
    """Answer what the dependency groups of these names hold."""
    return list(nox.project.dependency_groups(PROJECT, *names))


PYTHONS = interpreters()
if not PYTHONS:
    raise SystemExit(f"none of Python {', '.join(VERSIONS)} is on the PATH or under pyenv")

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False
nox.options.stop_on_first_error = False
nox.options.sessions = [
    "lint",
    "typing",
    "docs",
    "bench_smoke",
    "tests_no_extras",
    "tests_lowest",
    "tests_httpx2",
    "tests",
]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """
    Run the tests with all extras; on the oldest Python measure their branch coverage.

    Of Pythons between the oldest and the newest, the quick ones, unless there are arguments.
    """
    session.install(".[all]", *group("test"))
    if session.python != PYTHONS[0] or session.posargs:
        between = session.python not in (PYTHONS[0], PYTHONS[-1])
        session.run(*PYTEST, *(session.posargs or (["-m", QUICK] if between else [])))
        return
    session.env["COVERAGE_FILE"] = str(Path(session.create_tmp(), "coverage").resolve())
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", *PYTEST)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session(python=PYTHONS[-1])
def tests_no_extras(session: nox.Session) -> None:
    """Run the quick tests with nothing but what the package itself depends on."""
    session.install(".", *group("test"))
    ignored = [f"--ignore={path}" for path in NEED_EXTRAS]
    session.run(*PYTEST, "-m", f"not extras and {QUICK}", *ignored, *session.posargs)


@nox.session(python=PYTHONS[0])
def tests_lowest(session: nox.Session) -> None:
    """Run the quick tests with the lowest versions that the project says it works with."""
    session.install("uv")
    lowest = str(Path(session.create_tmp(), "lowest.txt").resolve())
    session.run(
        *("uv", "pip", "compile", "--quiet", "--no-header", "--all-extras"),
        *("--resolution", "lowest-direct", "--python-version", str(session.python)),
        *("--output-file", lowest, "pyproject.toml"),
    )
    # The plugin of the oldest anyio that we work with does not know the latest pytest.
    session.install("--constraint", lowest, ".[all]", *group("test"), "pytest<9")
    # What the SDKs stand on forgets a socket where it is cancelled while opening one, with an old
    # anyio, and the collector may find it when another test than that runs.
    forgetful = ("-W", "ignore:unclosed <socket.socket:ResourceWarning")
    session.run(*PYTEST, "-m", QUICK, *forgetful, *session.posargs)


@nox.session(python=PYTHONS[-1])
def tests_httpx2(session: nox.Session) -> None:
    """Run the tests of the providers with httpx2 in the place of httpx."""
    session.install(".[all,httpx2]", *group("test"))
    session.env["GENAI_PIPELINE_HTTPX"] = "httpx2"
    session.run(*PYTEST, "tests/providers", *session.posargs)


@nox.session(python=PYTHONS[0])
def typing(session: nox.Session) -> None:
    """Check the types, and those that users see, with mypy and pyright."""
    session.install(".[all]", *group("test", "typing", "bench"), "nox")
    session.run("mypy", *(path for path in TYPED if Path(path).is_dir()), "noxfile.py")
    session.run("pyright")


@nox.session(python=PYTHONS[-1])
def lint(session: nox.Session) -> None:
    """Check style, form and the fragments of the changelog; ``-- --fix`` mends what it can."""
    session.install(*group("lint"))
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", *([] if session.posargs else ["--check"]))
    session.run("towncrier", "build", "--draft", "--version", "next", silent=True)


@nox.session(python=PYTHONS[-1])
def docs(session: nox.Session) -> None:
    """Build the documentation, where a warning is an error, and run all its code."""
    session.install(".[all]", *group("docs", "test"))
    session.run("zensical", "build", "--clean", "--strict")
    session.run("pytest", "tests/test_docs.py")


@nox.session(python=PYTHONS[-1])
def bench_smoke(session: nox.Session) -> None:
    """Run each benchmark shortly, to see that it runs; the figures mean nothing."""
    session.install(".[all]", *group("bench"))
    session.run("python", "-m", "benchmarks", "--smoke")


@nox.session(python=PYTHONS[-1])
def worlds(session: nox.Session) -> None:
    """Simulate 100,000 worlds with faults; ``-- 1 --first 42`` runs one of them again."""
    session.install(".[all]", *group("test"))
    session.run("python", "-m", "tests.journaled.sweep", *(session.posargs or ["100000"]))


@nox.session(python=PYTHONS[-1])
def stress(session: nox.Session) -> None:
    """Let processes and threads share a store for ten minutes; ``-- 60`` for one."""
    session.install(".[all]", *group("test"))
    session.run("python", "-m", "tests.stores.stress", *(session.posargs or ["600"]))


@nox.session(python=PYTHONS[0])
def bench(session: nox.Session) -> None:
    """Measure at full length, alone on the machine, and write ``bench.json``."""
    session.install(".[all]", *group("bench", "bench-peers"))
    session.run("python", "-m", "benchmarks", *(session.posargs or ["--json", "bench.json"]))


@nox.session(python=PYTHONS[0])
def fuzz(session: nox.Session) -> None:
    """Fuzz the reading of answers for ten minutes; ``-- -max_total_time=60`` for one."""
    session.install("--editable", ".[all]", *group("test", "fuzz"))
    corpus = session.create_tmp()
    limits = session.posargs or ["-max_total_time=600"]
    session.run("python", "-m", "tests.fuzz.documents", corpus, "-max_len=2000", *limits)


@nox.session(python=PYTHONS[0])
def mutation(session: nox.Session) -> None:
    """Change a module in small ways, and list the changes that no test notices."""
    session.install("--editable", ".[all]", *group("test"))
    session.run("python", "-m", "tests.mutation", *session.posargs)
