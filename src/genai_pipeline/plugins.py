"""
Plug-ins: what other distributions offer by name, for configuration that cannot import.

A distribution offers a class with an entry point::

    [project.entry-points."genai_pipeline.providers"]
    acme = "genai_pipeline_acme:Acme"

Code that knows the class imports it; `load` is for a name out of a file or a command line.
Nothing is looked up, let alone imported, before it is asked for, and nothing at all while the
environment variable ``GENAI_PIPELINE_NO_PLUGINS`` is set (to anything but ``0``).
"""

from __future__ import annotations

import os
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, TypeAlias, get_args

import attrs

from genai_pipeline.errors import ConfigurationError

__all__ = ["Kind", "Plugin", "enabled", "installed", "load"]

Kind: TypeAlias = Literal["providers", "sinks", "sources", "stores"]

OFF_SWITCH = "GENAI_PIPELINE_NO_PLUGINS"
"""The environment variable that keeps every plug-in out."""


@attrs.frozen(kw_only=True)
class Plugin:
    """A class that an installed distribution offers under a name; not imported yet."""

    kind: Kind
    name: str
    target: str
    """Where the class is, as ``module:attribute``."""

    distribution: str
    """The distribution that offers it, with its version; empty when that is unknown."""

    entry: EntryPoint = attrs.field(repr=False, eq=False)
    """What the distribution's metadata says."""

    def load(self) -> type[Any]:
        """
        Import the class.

        Raises `ConfigurationError`, naming the plug-in and its distribution, when importing it
        fails in any way or gives something that is no class.
        """
        try:
            found = self.entry.load()
        except Exception as error:
            raise ConfigurationError(
                f"{self} cannot be imported: {type(error).__name__}: {error}; "
                f"upgrade or uninstall it, or set {OFF_SWITCH}=1 to do without plug-ins"
            ) from error
        if not isinstance(found, type):
            raise ConfigurationError(
                f"{self} is a {type(found).__name__}; an entry point of "
                f"genai_pipeline.{self.kind} must name a class"
            )
        return found

    def __str__(self) -> str:
        origin = f"{self.distribution}, " if self.distribution else ""
        return f"plug-in {self.name!r} of {self.kind} ({origin}{self.target})"


def enabled() -> bool:
    """Tell whether plug-ins are looked for: unless the environment says no."""
    return os.environ.get(OFF_SWITCH, "0") in ("", "0")


def installed(kind: Kind | None = None) -> list[Plugin]:
    """Answer the plug-ins of *kind*, or of every kind, by name; none while they are off."""
    kinds = get_args(Kind) if kind is None else (_known(kind),)
    if not enabled():
        return []
    found = [_describe(each, entry) for each in kinds for entry in _entries(each)]
    return sorted(found, key=lambda plugin: (plugin.kind, plugin.name, plugin.distribution))


def load(kind: Kind, name: str) -> type[Any]:
    """
    Import the class that is installed as *name* among the plug-ins of *kind*.

    Raises `ConfigurationError` when there is none, when several distributions claim the name,
    when plug-ins are off, and for a class that cannot be imported.
    """
    _known(kind)
    if not enabled():
        raise ConfigurationError(
            f"plug-in {name!r} of {kind}: plug-ins are off; unset {OFF_SWITCH} to use it"
        )
    known = installed(kind)
    chosen = [plugin for plugin in known if plugin.name == name]
    if not chosen:
        there = ", ".join(sorted({repr(plugin.name) for plugin in known})) or "none"
        raise ConfigurationError(
            f"plug-in {name!r} of {kind} is not installed; installed there: {there}"
        )
    if len({plugin.target for plugin in chosen}) > 1:
        claims = " and ".join(f"{plugin.distribution} ({plugin.target})" for plugin in chosen)
        raise ConfigurationError(
            f"plug-in {name!r} of {kind} is claimed by {claims}; uninstall all but one"
        )
    return chosen[0].load()


def _known(kind: Kind) -> Kind:
    if kind not in get_args(Kind):
        allowed = ", ".join(map(repr, get_args(Kind)))
        raise ConfigurationError(f"plugins: kind={kind!r}; give one of {allowed}")
    return kind


def _entries(kind: Kind) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=f"genai_pipeline.{kind}"))


def _describe(kind: Kind, entry: EntryPoint) -> Plugin:
    origin = entry.dist
    return Plugin(
        kind=kind,
        name=entry.name,
        target=entry.value,
        distribution=f"{origin.name} {origin.version}" if origin is not None else "",
        entry=entry,
    )
