"""``python -m tests.mutation MODULE …``: lists the mutants that no test notices."""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import attrs

from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.running import fates_of

PACKAGE = Path("src/genai_pipeline")
EQUIVALENT = Path(__file__).with_name("equivalent.toml")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print each survivor when it is found, and answer 1 if there is one."""
    options = _parser().parse_args(arguments)
    paths = [_path_of(name) for name in options.modules]
    mutants = [mutant for path in paths for mutant in mutants_of(path)]
    if options.lines:
        first, last = map(int, options.lines.split("-"))
        mutants = [each for each in mutants if first <= each.line <= last]
    excuses = Excuses.read()
    counts: dict[Path, Counter[str]] = {path: Counter() for path in paths}
    for mutant, fate in fates_of(mutants, options.tests, options.slowest):
        told: str = fate
        if fate in {"survived", "no test"} and excuses.covers(mutant):
            told = "equivalent"
        counts[mutant.path][told] += 1
        if options.verbose or told in {"survived", "no test"}:
            print(f"{_place(mutant)}: {told}: {mutant.change}", flush=True)
    for path, count in counts.items():
        figures = ", ".join(f"{number} {fate}" for fate, number in sorted(count.items()))
        print(f"{path.relative_to(Path.cwd())}: {count.total()} mutants: {figures}")
    if not options.lines:
        for line in excuses.unused(paths):
            print(f"{EQUIVALENT.name}: nothing survives any more as {line}")
    return int(any(count["survived"] or count["no test"] for count in counts.values()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="+", help="such as resilience/_retry")
    parser.add_argument(
        "--tests", nargs="+", default=["tests/resilience"], help="what to run: %(default)s"
    )
    parser.add_argument("--lines", metavar="FIRST-LAST", help="mutants of these lines only")
    parser.add_argument(
        "--slowest", type=float, default=2.0, help="no test that takes more seconds: %(default)s"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="tell of the killed too")
    return parser


def _path_of(name: str) -> Path:
    path = (PACKAGE / name).with_suffix(".py").resolve()
    if not path.is_file():
        raise SystemExit(f"there is no module {name}: {path} is not a file")
    return path


def _place(mutant: Mutant) -> str:
    return f"{mutant.path.relative_to(Path.cwd())}:{mutant.line}:{mutant.column}"


@attrs.frozen
class Excuses:
    """The mutants in ``equivalent.toml``: no test can notice them, and it says why."""

    reasons: dict[tuple[str, str, str], str]
    used: set[tuple[str, str, str]] = attrs.field(factory=set)

    @classmethod
    def read(cls) -> Excuses:
        """Read the file."""
        tables = tomllib.loads(EQUIVALENT.read_text())["equivalent"]
        return cls({(each["module"], each["line"], each["mutant"]): each["why"] for each in tables})

    def covers(self, mutant: Mutant) -> bool:
        """Answer whether this one is known to be equivalent."""
        key = (_module(mutant.path), mutant.source, mutant.change)
        if key in self.reasons:
            self.used.add(key)
        return key in self.reasons

    def unused(self, paths: Sequence[Path]) -> list[str]:
        """Answer those of these modules that excuse nothing."""
        modules = {_module(path) for path in paths}
        left = self.reasons.keys() - self.used
        return [
            f"{line!r} in {module}: {change}" for module, line, change in left if module in modules
        ]


def _module(path: Path) -> str:
    return path.relative_to(PACKAGE.resolve()).with_suffix("").as_posix()


sys.exit(main())
