"""The command ``doctor``: what a run needs, and what this machine has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Literal, TypeAlias

import attrs

from genai_pipeline import plugins
from genai_pipeline.cli import _machine, _versions
from genai_pipeline.cli._exits import Exit
from genai_pipeline.errors import ConfigurationError

__all__ = ["Finding", "doctor"]

State: TypeAlias = Literal["fine", "note", "missing"]

_MARKS: dict[State, str] = {"fine": " ", "note": "-", "missing": "!"}


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that was looked at."""

    section: str
    name: str
    text: str
    state: State = "fine"
    """``note``: could be better; ``missing``: needed, and not there."""

    mend: str | None = None


def doctor(*, as_json: bool) -> int:
    """Print what was found; answer 0 when nothing that is needed is missing, else 1."""
    findings = list(_findings())
    missing = [finding for finding in findings if finding.state == "missing"]
    if as_json:
        found = [attrs.asdict(finding) for finding in findings]
        print(json.dumps({"fine": not missing, "findings": found}, indent=2))
    else:
        _print(findings, missing)
    return Exit.FAILED if missing else Exit.DONE


def _print(findings: list[Finding], missing: list[Finding]) -> None:
    section = ""
    for finding in findings:
        if finding.section != section:
            section = finding.section
            print(section)
        print(f"{_MARKS[finding.state]} {finding.name:<18} {finding.text}")
        if finding.mend and finding.state != "missing":
            print(f"  {'':<18} {finding.mend}")
    print()
    if not missing:
        print("Nothing that is needed is missing.")
        return
    print("Missing:")
    for finding in missing:
        print(f"! {finding.name}: {finding.text}" + (f"; {finding.mend}" if finding.mend else ""))


def _findings() -> Iterator[Finding]:
    yield from _library()
    yield from _extras()
    for measure in _machine.measures():
        yield Finding(section="machine", **attrs.asdict(measure))
    yield from _event_loops()
    yield from _plugins()
    yield _local_model()
    yield from _environment()


def _library() -> Iterator[Finding]:
    section = "versions"
    yield Finding(section=section, name="genai_pipeline", text=_versions.version())
    yield Finding(section=section, name="python", text=_machine.python())
    yield Finding(section=section, name="system", text=_machine.system())
    for package in _versions.requirements():
        if package.version is None:
            yield Finding(
                section=section,
                name=package.name,
                text="not installed",
                state="missing",
                mend=f"pip install {package.name}",
            )
        else:
            yield Finding(section=section, name=package.name, text=package.version)


def _extras() -> Iterator[Finding]:
    for extra, packages in _versions.extras().items():
        absent = [package.name for package in packages if package.version is None]
        if absent:
            yield Finding(
                section="extras",
                name=extra,
                text=f"not installed: {', '.join(absent)}",
                state="note",
                mend=f"pip install 'genai_pipeline[{extra}]'",
            )
        else:
            there = ", ".join(f"{package.name} {package.version}" for package in packages)
            yield Finding(section="extras", name=extra, text=there)


def _event_loops() -> Iterator[Finding]:
    for name in ("asyncio", "trio", "uvloop"):
        there = _machine.importable(name)
        yield Finding(
            section="event loops", name=name, text="available" if there else "not installed"
        )


def _plugins() -> Iterator[Finding]:
    section = "plug-ins"
    if not plugins.enabled():
        yield Finding(section=section, name="off", text=f"{plugins.OFF_SWITCH} is set")
        return
    found = plugins.installed()
    if not found:
        yield Finding(section=section, name="none", text="no distribution offers any")
    for plugin in found:
        try:
            plugin.load()
        except ConfigurationError as error:
            yield Finding(section=section, name=plugin.name, text=str(error), state="missing")
        else:
            yield Finding(
                section=section,
                name=plugin.name,
                text=f"{plugin.kind}: {plugin.target} ({plugin.distribution})",
            )


def _local_model() -> Finding:
    section, name = "models", "local"
    try:
        from genai_pipeline.providers._local_files import (  # noqa: PLC0415 - quick start
            find_model_files,
        )

        files = find_model_files()
    except ConfigurationError as error:
        return Finding(section=section, name=name, text=str(error), state="note")
    except Exception as error:  # noqa: BLE001 - whatever is broken here is what we look for
        text = f"cannot be looked for: {type(error).__name__}: {error}"
        return Finding(section=section, name=name, text=text, state="missing")
    return Finding(section=section, name=name, text=str(files.weights))


def _environment() -> Iterator[Finding]:
    names = _machine.environment()
    yield Finding(
        section="environment (names only)",
        name="set",
        text=", ".join(names) if names else "none of those that matter",
    )
